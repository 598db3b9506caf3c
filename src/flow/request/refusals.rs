//! What is answered where nobody needs to be asked: the request is wrong, or not allowed.

use crate::flow::identity::{BadUser, Denied};
use crate::flow::limits::trust::Untrusted;
use crate::wire::http::Response;

/// There is no such path.
pub fn no_page() -> Response<'static> {
    Response::text(404, "404 page not found\n")
}

/// A name that is no key and no pattern.
pub fn key_invalid() -> Response<'static> {
    Response::text(400, "ooo: key is not valid")
}

/// Something is not allowed, in the ooo dialect: plain text.
pub fn denied(denied: Denied) -> Response<'static> {
    Response::new(403).body("text/plain; charset=utf-8", denied.to_string().into_bytes())
}

/// The same as a problem document.
pub fn forbidden(denied: Denied) -> Response<'static> {
    Response::problem(403, "forbidden", &denied.to_string())
}

/// `?user=` is not the name of a user.
pub fn bad_user(bad_user: BadUser) -> Response<'static> {
    bad("invalid_user", &bad_user.to_string())
}

/// It comes from where nobody is trusted. No page may read this, and no cache may give it to another page.
pub fn untrusted(untrusted: &Untrusted) -> Response<'static> {
    Response::problem(403, untrusted.code(), &untrusted.to_string()).header("Vary", "Origin")
}

/// The request itself is wrong.
pub fn bad(code: &str, detail: &str) -> Response<'static> {
    Response::problem(400, code, detail)
}

/// Another method is needed.
pub fn method_not_allowed(detail: &str, allowed: &'static str) -> Response<'static> {
    Response::problem(405, "method_not_allowed", detail).header("Allow", allowed)
}
