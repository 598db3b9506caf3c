//! What connections that get server-sent events are answered.

use crate::wire::http::{Field, Head, Response, cors_headers};

/// The head of a stream of events.
pub fn response(head: &Head) -> Response<'static> {
    Response::new(200)
        .header("Content-Type", "text/event-stream")
        .header("Cache-Control", "no-cache, no-transform")
        .header("X-Accel-Buffering", "no")
        .headers(cors_headers(head.get(Field::Origin)))
        .streaming(head)
}

/// The answer to a change: done, or what of it could not be done.
pub fn changed(errors: &[String]) -> Response<'static> {
    let (status, body) = match errors {
        [] => (200, serde_json::json!({"status": "ok"})),
        _ => (207, serde_json::json!({"status": "partial", "errors": errors})),
    };
    Response::new(status).body("application/json", body.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::{changed, response};
    use crate::wire::http::{Head, MAX_HEAD, parse_head};

    fn head(line: &str, headers: &str) -> Head {
        let text = format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0
    }

    #[test]
    fn the_head_keeps_proxies_from_buffering_and_lets_pages_bring_cookies() {
        let text = |headers| {
            let response = response(&head("GET /sse", headers));
            String::from_utf8(response.encode()).unwrap()
        };
        let plain = text("");
        for line in [
            "Content-Type: text/event-stream\r\n",
            "Cache-Control: no-cache, no-transform\r\n",
            "X-Accel-Buffering: no\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: keep-alive\r\n",
        ] {
            assert!(plain.contains(line), "{line} {plain}");
        }
        let page = text("Origin: https://app.test\r\n");
        assert!(page.contains("Access-Control-Allow-Origin: https://app.test\r\n"), "{page}");
        assert!(page.contains("Access-Control-Allow-Credentials: true\r\n"));
    }

    #[test]
    fn a_change_that_is_done_in_part_has_a_status_of_its_own() {
        assert_eq!((changed(&[]).status(), changed(&["a".into()]).status()), (200, 207));
    }
}
