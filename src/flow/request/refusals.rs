//! What is answered where nobody needs to be asked: the request is wrong, or not allowed.

use crate::wire::http::Response;

/// There is no such path.
pub fn no_page() -> Response<'static> {
    Response::text(404, "404 page not found\n")
}

/// A name that is no key and no pattern.
pub fn key_invalid() -> Response<'static> {
    Response::text(400, "ooo: key is not valid")
}

/// Reading is not allowed, in the words of the ooo dialect.
pub fn no_read() -> Response<'static> {
    let text = "reading is not allowed here without a token; the operator can allow it with --anonymous read";
    Response::text(403, text)
}

/// Writing is not allowed, in the words of the ooo dialect.
pub fn no_write() -> Response<'static> {
    let text =
        "writing is not allowed here without a token; the operator can allow it with --anonymous write";
    Response::text(403, text)
}

/// The same as a problem document: `doing` is not allowed to whoever has not this `access`.
pub fn forbidden(doing: &str, access: &str) -> Response<'static> {
    let detail = format!(
        "{doing} is not allowed here without a token; the operator can allow it with --anonymous {access}"
    );
    Response::problem(403, "forbidden", &detail)
}

/// The request itself is wrong.
pub fn bad(code: &str, detail: &str) -> Response<'static> {
    Response::problem(400, code, detail)
}

/// Another method is needed.
pub fn method_not_allowed(detail: &str, allowed: &'static str) -> Response<'static> {
    Response::problem(405, "method_not_allowed", detail).header("Allow", allowed)
}
