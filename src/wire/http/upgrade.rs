//! From HTTP to a WebSocket (RFC 6455, section 4.2).

use tungstenite::handshake::derive_accept_key;

use crate::wire::http::bad_request::BadRequest;
use crate::wire::http::head::{Field, Framing, Head, Method, Version};
use crate::wire::http::response::{start, write_header};

/// A proper handshake, ready to be answered.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    head: &'a Head,
    accept: String,
}

/// Holds a request against section 4.2.1.
pub fn upgrade(head: &Head) -> Result<Upgrade<'_>, BadRequest> {
    let proper = head.method == Method::Get
        && head.version == Version::Http11
        && head.framing == Framing::Length(0)
        && head.wants_websocket()
        && head.lists(Field::Connection, "upgrade");
    if !proper {
        return Err(BadRequest::NotWebSocket);
    }
    if head.get(Field::SecWebSocketVersion) != Some("13") {
        return Err(BadRequest::WebSocketVersion);
    }
    let key = head.get(Field::SecWebSocketKey).unwrap_or_default().as_bytes();
    if !is_sixteen_bytes(key) {
        return Err(BadRequest::WebSocketKey);
    }
    Ok(Upgrade { head, accept: derive_accept_key(key) })
}

impl<'a> Upgrade<'a> {
    /// The value of `Sec-WebSocket-Accept`.
    pub fn accept(&self) -> &str {
        &self.accept
    }

    /// The subprotocols on offer, the client's favourite first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.head.list(Field::SecWebSocketProtocol)
    }

    /// The 101, with the chosen one of `protocols` and any other headers. WebSocket frames follow it.
    pub fn response(&self, protocol: Option<&str>, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        start(101, &mut out);
        write_header("Upgrade", "websocket", &mut out);
        write_header("Connection", "Upgrade", &mut out);
        write_header("Sec-WebSocket-Accept", &self.accept, &mut out);
        if let Some(protocol) = protocol {
            write_header("Sec-WebSocket-Protocol", protocol, &mut out);
        }
        for (name, value) in headers {
            write_header(name, value, &mut out);
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Whether it is 16 bytes in base64: 22 digits and the padding. What the last digit's spare bits hold is no matter.
fn is_sixteen_bytes(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{MAX_HEAD, parse_head};

    const PROPER: &str = "GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                          Sec-WebSocket-Protocol: bearer, token\r\nSec-WebSocket-Protocol: fanfare.v1\r\n\r\n";

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0
    }

    #[test]
    fn a_proper_handshake_gets_the_key_of_rfc_6455_and_its_protocols() {
        let head = head(PROPER);
        let upgrade = upgrade(&head).unwrap();
        assert_eq!(upgrade.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(upgrade.protocols().collect::<Vec<_>>(), ["bearer", "token", "fanfare.v1"]);
        let plain = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(upgrade.response(None, &[]), format!("{plain}\r\n").into_bytes());
        let chosen = format!("{plain}Sec-WebSocket-Protocol: bearer\r\nA: b\r\n\r\n");
        assert_eq!(upgrade.response(Some("bearer"), &[("A", "b")]), chosen.into_bytes());
    }

    #[test]
    fn every_improper_handshake_is_refused() {
        for (from, to, error) in [
            ("GET", "POST", BadRequest::NotWebSocket),
            ("HTTP/1.1", "HTTP/1.0", BadRequest::NotWebSocket),
            ("Upgrade: WebSocket", "Upgrade: h2c", BadRequest::NotWebSocket),
            ("keep-alive, Upgrade", "keep-alive", BadRequest::NotWebSocket),
            ("Host: h", "Host: h\r\nContent-Length: 1", BadRequest::NotWebSocket),
            ("Version: 13", "Version: 8", BadRequest::WebSocketVersion),
            ("Sec-WebSocket-Version: 13\r\n", "", BadRequest::WebSocketVersion),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=", BadRequest::WebSocketKey),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTA=", BadRequest::WebSocketKey),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q==", BadRequest::WebSocketKey),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", BadRequest::WebSocketKey),
        ] {
            assert!(PROPER.contains(from));
            assert_eq!(upgrade(&head(&PROPER.replace(from, to))).unwrap_err(), error, "{to}");
        }
    }

    #[test]
    fn tungstenites_client_accepts_the_answer() {
        use tungstenite::client::IntoClientRequest;
        use tungstenite::handshake::client::generate_request;
        let mut request = "ws://h/a".into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "bearer".parse().unwrap());
        let (bytes, key) = generate_request(request).unwrap();
        let (head, size) = parse_head(&bytes, MAX_HEAD).unwrap().unwrap();
        assert_eq!(size, bytes.len());
        let upgrade = upgrade(&head).unwrap();
        assert_eq!(upgrade.accept(), derive_accept_key(key.as_bytes()));
    }
}
