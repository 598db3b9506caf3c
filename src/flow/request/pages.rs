//! The pages that browsers get.

/// The page at `/`.
pub const INDEX: &str = include_str!("pages/index.html");
/// The example at `/_/chat`.
pub const CHAT: &str = include_str!("pages/chat.html");

/// What they may do and who may show them: their own script, requests to this server, and no frame of another page.
pub const HEADERS: [(&str, &str); 4] = [
    ("Content-Security-Policy", include_str!("pages/policy.txt")),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
];
