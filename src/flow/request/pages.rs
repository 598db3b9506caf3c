//! The pages that browsers get.

/// The page at `/`.
pub const INDEX: &str = include_str!("pages/index.html");
/// The example at `/_/chat`.
pub const CHAT: &str = include_str!("pages/chat.html");
