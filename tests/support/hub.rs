//! A client of the hub, on a crate's WebSocket.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tungstenite::Message;
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;

use super::PATIENCE;
use super::http;

/// How long silence must last to count as such.
pub const SILENCE: Duration = Duration::from_millis(300);

/// One connection to `/ws`.
pub struct Hub {
    socket: WebSocket<TcpStream>,
    /// The code and reason with which the server has closed.
    pub closed: Option<(u16, String)>,
}

impl Hub {
    /// Connects to a path such as `ws?channels=a`, without a subprotocol.
    pub fn open(to: SocketAddr, path: &str) -> Hub {
        Hub::with(to, path, None)
    }

    /// The same, by agreement on `fanfare.v1`.
    pub fn native(to: SocketAddr, path: &str) -> Hub {
        Hub::with(to, path, Some("fanfare.v1"))
    }

    fn with(to: SocketAddr, path: &str, protocol: Option<&str>) -> Hub {
        let mut request = format!("ws://{to}/{path}").into_client_request().expect("an address");
        if let Some(protocol) = protocol {
            let value = protocol.parse().expect("a header's value");
            request.headers_mut().insert("Sec-WebSocket-Protocol", value);
        }
        let (socket, response) = tungstenite::client(request, http::connect(to))
            .unwrap_or_else(|e| panic!("no hub at {path}: {e}"));
        let agreed =
            response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().expect("text"));
        assert_eq!(agreed, protocol);
        Hub { socket, closed: None }
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    /// Sends a text, whatever it is.
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the frame is taken");
    }

    /// The next frame; `None` if none comes in time, or the server has closed.
    pub fn next(&mut self, timeout: Duration) -> Option<Value> {
        self.socket.get_ref().set_read_timeout(Some(timeout)).expect("a timeout");
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Some(serde_json::from_str(&text).expect("one JSON document"));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    self.closed = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Ok(other) => panic!("not a text frame: {other:?}"),
                Err(tungstenite::Error::Io(e))
                    if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => return None,
                Err(e) => panic!("the connection broke: {e}"),
            }
        }
    }

    /// The next frame, which must come.
    pub fn frame(&mut self) -> Value {
        self.next(PATIENCE).unwrap_or_else(|| panic!("no frame came; closed: {:?}", self.closed))
    }

    /// The next frame of that type; those before it are passed over.
    pub fn wait(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Sends a frame with a `request_id` and gives the reply.
    pub fn ask(&mut self, mut frame: Value) -> Value {
        frame["request_id"] = "asked".into();
        self.send(&frame);
        loop {
            let reply = self.frame();
            if reply["request_id"] == "asked" {
                return reply;
            }
        }
    }

    /// Asserts that nothing comes.
    pub fn silent(&mut self) {
        let frame = self.next(SILENCE);
        assert!(frame.is_none(), "{}", frame.unwrap_or_default());
    }
}
