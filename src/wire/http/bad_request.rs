//! Why a request is refused before anyone looks at what it asks for.

/// What is wrong with it. The connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not HTTP.
    #[error("malformed request: {0}")]
    Malformed(httparse::Error),
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    /// Too many bytes or too many headers.
    #[error("the request's head is too large")]
    HeadTooLarge,
    /// A target that names no path.
    #[error("malformed request target")]
    Target,
    /// A header that is read here and is not UTF-8.
    #[error("a header is not valid UTF-8")]
    HeaderText,
    /// No `Host` in HTTP/1.1, or several.
    #[error("exactly one Host header is required")]
    Host,
    /// A length that is no number, or several different ones.
    #[error("invalid Content-Length")]
    ContentLength,
    /// A transfer coding other than `chunked` once, or any in HTTP/1.0.
    #[error("invalid Transfer-Encoding")]
    TransferEncoding,
    /// Two ways to find the end of the body.
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    TwoLengths,
    /// A chunk or trailer that is malformed or too long.
    #[error("malformed chunked body")]
    Chunk,
    /// A body beyond the limit.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// An upgrade that RFC 6455, section 4.2.1, does not allow.
    #[error("this is not a WebSocket handshake")]
    NotWebSocket,
    /// A WebSocket version other than 13.
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    WebSocketVersion,
    /// A `Sec-WebSocket-Key` that is not 16 bytes in base64.
    #[error("invalid Sec-WebSocket-Key")]
    WebSocketKey,
}

impl BadRequest {
    /// The status of the answer, and the name of the error for programs.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            BadRequest::Malformed(_)
            | BadRequest::Target
            | BadRequest::HeaderText
            | BadRequest::Host
            | BadRequest::ContentLength
            | BadRequest::TransferEncoding
            | BadRequest::TwoLengths
            | BadRequest::Chunk => (400, "malformed_request"),
            BadRequest::NotWebSocket | BadRequest::WebSocketKey => (400, "invalid_handshake"),
            BadRequest::BodyTooLarge => (413, "body_too_large"),
            BadRequest::WebSocketVersion => (426, "websocket_version"),
            BadRequest::HeadTooLarge => (431, "head_too_large"),
            BadRequest::Version => (505, "http_version"),
        }
    }
}
