//! CORS: the headers that let a page of another origin read a response. Only requests of pages that are welcome come here.

use std::borrow::Cow;

use crate::wire::http::head::{Field, Head, Method};
use crate::wire::http::response::Response;

/// The methods that pages may use.
const METHODS: [&str; 5] = ["GET", "POST", "DELETE", "PUT", "PATCH"];

/// The headers of every response: the page of that origin may read it, with its cookies. Never `*`, which browsers refuse
/// beside cookies.
pub fn cors_headers(origin: Option<&str>) -> Vec<(&'static str, Cow<'static, str>)> {
    let mut headers = vec![("Vary", Cow::Borrowed("Origin, Accept-Encoding"))];
    if let Some(origin) = origin {
        headers.push(("Access-Control-Allow-Origin", Cow::Owned(origin.to_owned())));
        headers.push(("Access-Control-Allow-Credentials", Cow::Borrowed("true")));
    }
    headers
}

/// The response to a preflight, without the headers of every response; `None` if the request is none. What is not allowed
/// is answered too, by the absence of the headers that would allow it.
pub fn preflight(head: &Head) -> Option<Response<'static>> {
    let method = head.get(Field::AccessControlRequestMethod)?;
    if head.method != Method::Options || head.get(Field::Origin).is_none() {
        return None;
    }
    let vary = "Access-Control-Request-Method, Access-Control-Request-Headers";
    let response = Response::new(204).header("Vary", vary);
    if !METHODS.contains(&method) {
        return Some(response);
    }
    let response = response.header("Access-Control-Allow-Methods", method.to_owned());
    Some(match head.get(Field::AccessControlRequestHeaders) {
        Some(names) => response.header("Access-Control-Allow-Headers", names.to_owned()),
        None => response,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{MAX_HEAD, parse_head};

    fn head(line: &str, headers: &str) -> Head {
        let text = format!("{line} / HTTP/1.1\r\nHost: own.test:8800\r\n{headers}\r\n");
        parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0
    }

    #[test]
    fn a_page_may_read_the_response_with_its_cookies() {
        let vary = ("Vary", Cow::Borrowed("Origin, Accept-Encoding"));
        assert_eq!(
            cors_headers(Some("https://app.test")),
            [
                vary.clone(),
                ("Access-Control-Allow-Origin", Cow::Borrowed("https://app.test")),
                ("Access-Control-Allow-Credentials", Cow::Borrowed("true")),
            ]
        );
        assert_eq!(cors_headers(None), [vary]);
    }

    #[test]
    fn a_preflight_echoes_what_is_allowed() {
        let asked = "Origin: https://app.test\r\nAccess-Control-Request-Method: PATCH\r\n\
                     Access-Control-Request-Headers: content-type, x-a\r\n";
        let expected = "HTTP/1.1 204 No Content\r\n\
            Vary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n\
            Access-Control-Allow-Methods: PATCH\r\n\
            Access-Control-Allow-Headers: content-type, x-a\r\nConnection: keep-alive\r\n\r\n";
        let answer = |line: &str, headers: &str| {
            let response = preflight(&head(line, headers));
            response.map(|response| String::from_utf8(response.encode()).unwrap())
        };
        assert_eq!(answer("OPTIONS", asked).as_deref(), Some(expected));
        let refused = answer("OPTIONS", &asked.replace("PATCH", "TRACE")).unwrap();
        assert!(refused.starts_with("HTTP/1.1 204 ") && !refused.contains("Allow"), "{refused}");
        assert_eq!(answer("GET", asked), None);
        assert_eq!(answer("OPTIONS", "Origin: https://app.test\r\n"), None);
        assert_eq!(answer("OPTIONS", "Access-Control-Request-Method: PUT\r\n"), None);
    }
}
