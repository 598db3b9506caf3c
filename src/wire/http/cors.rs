//! Which pages of other origins may use the server: CORS for requests, a check of the origin for WebSockets.

use std::borrow::Cow;

use crate::wire::http::head::{Field, Head, Method};
use crate::wire::http::response::Response;

/// The methods that pages may use.
const METHODS: [&str; 5] = ["GET", "POST", "DELETE", "PUT", "PATCH"];

/// The origins that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, as `https://host[:port]`; case does not matter.
    List(Vec<String>),
}

impl Origins {
    /// From the setting: nothing, or `*` among others, means all.
    pub fn new(list: Vec<String>) -> Origins {
        if list.is_empty() || list.iter().any(|origin| origin == "*") {
            Origins::Any
        } else {
            Origins::List(list)
        }
    }

    /// Whether a page of that request's origin may open a WebSocket: every allowed origin, the server's own,
    /// and programs, which send none. Otherwise the response is 403.
    pub fn origin_allowed(&self, head: &Head) -> bool {
        let Some(origin) = head.get(Field::Origin) else { return true };
        let own = origin.split_once("://").zip(head.get(Field::Host));
        self.welcome(origin) || own.is_some_and(|((_, of), host)| of.eq_ignore_ascii_case(host))
    }

    /// The headers for the response to a request that is not a preflight.
    pub fn headers(&self, head: &Head) -> Vec<(&'static str, Cow<'static, str>)> {
        let mut headers = vec![("Vary", Cow::Borrowed("Origin, Accept-Encoding"))];
        headers.extend(self.allow_origin(head));
        headers
    }

    /// The whole response to a preflight; `None` if the request is none. What is not allowed is answered too, by the
    /// absence of the headers that would allow it.
    pub fn preflight(&self, head: &Head) -> Option<Response<'static>> {
        let method = head.get(Field::AccessControlRequestMethod)?;
        if head.method != Method::Options || head.get(Field::Origin).is_none() {
            return None;
        }
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        let response = Response::new(204).header("Vary", vary).answering(head);
        let Some(allow_origin) = self.allow_origin(head).filter(|_| METHODS.contains(&method)) else {
            return Some(response);
        };
        let response =
            response.headers([allow_origin]).header("Access-Control-Allow-Methods", method.to_owned());
        Some(match head.get(Field::AccessControlRequestHeaders) {
            Some(names) => response.header("Access-Control-Allow-Headers", names.to_owned()),
            None => response,
        })
    }

    fn allow_origin(&self, head: &Head) -> Option<(&'static str, Cow<'static, str>)> {
        let origin = head.get(Field::Origin).filter(|origin| self.welcome(origin))?;
        let value = match self {
            Origins::Any => Cow::Borrowed("*"),
            Origins::List(_) => Cow::Owned(origin.to_owned()),
        };
        Some(("Access-Control-Allow-Origin", value))
    }

    fn welcome(&self, origin: &str) -> bool {
        match self {
            Origins::Any => true,
            Origins::List(list) => list.iter().any(|listed| listed.eq_ignore_ascii_case(origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{MAX_HEAD, parse_head};

    fn head(line: &str, headers: &str) -> Head {
        let text = format!("{line} / HTTP/1.1\r\nHost: own.test:8800\r\n{headers}\r\n");
        parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0
    }

    fn listed() -> Origins {
        Origins::new(vec!["https://app.test".into()])
    }

    #[test]
    fn a_web_socket_is_open_to_programs_the_own_host_and_listed_origins() {
        for (headers, allowed) in [
            ("", true),
            ("Origin: http://OWN.test:8800\r\n", true),
            ("Origin: https://APP.test\r\n", true),
            ("Origin: http://own.test\r\n", false),
            ("Origin: http://app.test\r\n", false),
            ("Origin: https://app.test.evil\r\n", false),
            ("Origin: null\r\n", false),
        ] {
            let head = head("GET", headers);
            assert_eq!(listed().origin_allowed(&head), allowed, "{headers}");
            assert!(Origins::Any.origin_allowed(&head));
        }
    }

    #[test]
    fn no_list_or_a_star_means_any() {
        assert_eq!(Origins::new(vec![]), Origins::Any);
        assert_eq!(Origins::new(vec!["https://a".into(), "*".into()]), Origins::Any);
        assert_ne!(listed(), Origins::Any);
    }

    #[test]
    fn a_simple_request_learns_whether_its_page_may_read() {
        let vary = ("Vary", Cow::Borrowed("Origin, Accept-Encoding"));
        let allow = |origin: &'static str| ("Access-Control-Allow-Origin", Cow::Borrowed(origin));
        let app = head("GET", "Origin: https://app.test\r\n");
        assert_eq!(Origins::Any.headers(&app), [vary.clone(), allow("*")]);
        assert_eq!(listed().headers(&app), [vary.clone(), allow("https://app.test")]);
        assert_eq!(listed().headers(&head("GET", "Origin: https://b\r\n")), std::slice::from_ref(&vary));
        assert_eq!(Origins::Any.headers(&head("GET", "")), [vary]);
    }

    #[test]
    fn a_preflight_echoes_what_is_allowed() {
        let asked = "Origin: https://app.test\r\nAccess-Control-Request-Method: PATCH\r\n\
                     Access-Control-Request-Headers: content-type, x-a\r\n";
        let expected = "HTTP/1.1 204 No Content\r\n\
            Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n\
            Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: PATCH\r\n\
            Access-Control-Allow-Headers: content-type, x-a\r\nConnection: keep-alive\r\n\r\n";
        let answer = |origins: &Origins, line: &str, headers: &str| {
            let response = origins.preflight(&head(line, headers));
            response.map(|response| String::from_utf8(response.encode()).unwrap())
        };
        assert_eq!(answer(&Origins::Any, "OPTIONS", asked).as_deref(), Some(expected));
        let own = expected.replace("Origin: *", "Origin: https://app.test");
        assert_eq!(answer(&listed(), "OPTIONS", asked), Some(own));
        for refused in [asked.replace("PATCH", "TRACE"), asked.replace("app", "evil")] {
            let answer = answer(&listed(), "OPTIONS", &refused).unwrap();
            assert!(answer.starts_with("HTTP/1.1 204 ") && !answer.contains("Allow"), "{answer}");
        }
        assert_eq!(answer(&Origins::Any, "GET", asked), None);
        assert_eq!(answer(&Origins::Any, "OPTIONS", "Origin: https://app.test\r\n"), None);
        assert_eq!(answer(&Origins::Any, "OPTIONS", "Access-Control-Request-Method: PUT\r\n"), None);
    }
}
