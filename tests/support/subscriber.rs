//! A subscriber in the ooo dialect that folds what it receives, by crates that the server does not check itself with.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use tungstenite::Message;
use tungstenite::WebSocket;

use super::PATIENCE;
use super::http;

/// One WebSocket connection and the document that it has made of its frames.
pub struct Subscriber {
    socket: WebSocket<TcpStream>,
    /// The document after the last frame; `None` before the first.
    pub document: Option<Value>,
    /// The version of the last frame.
    pub version: String,
    /// Frames received so far.
    pub frames: usize,
    /// Those of them that were patches.
    pub patches: usize,
}

impl Subscriber {
    /// Subscribes to a key or pattern.
    pub fn open(to: SocketAddr, key: &str) -> Subscriber {
        Subscriber::over(http::connect(to), key)
    }

    /// Subscribes over an open connection.
    pub fn over(stream: TcpStream, key: &str) -> Subscriber {
        let to = stream.peer_addr().expect("it is connected");
        let (socket, _) = tungstenite::client(format!("ws://{to}/{key}"), stream)
            .unwrap_or_else(|e| panic!("no subscription to {key}: {e}"));
        Subscriber { socket, document: None, version: String::new(), frames: 0, patches: 0 }
    }

    /// Folds the next frame; false if none came in time.
    pub fn next(&mut self, timeout: Duration) -> bool {
        self.socket.get_ref().set_read_timeout(Some(timeout)).expect("a timeout");
        match self.socket.read() {
            Ok(Message::Binary(frame)) => {
                self.fold(&frame);
                true
            }
            Ok(Message::Ping(_) | Message::Pong(_)) => false,
            Ok(other) => panic!("not a binary frame: {other:?}"),
            Err(tungstenite::Error::Io(e))
                if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                false
            }
            Err(e) => panic!("the connection broke: {e}"),
        }
    }

    /// Folds frames until the document satisfies `wanted`.
    pub fn wait(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.document.as_ref().is_some_and(&mut wanted) {
            assert!(Instant::now() < deadline, "waited for {what}, have {:?}", self.document);
            self.next(Duration::from_millis(50));
        }
    }

    /// Folds whatever still comes until it has been quiet for `quiet`.
    pub fn settle(&mut self, quiet: Duration) {
        while self.next(quiet) {}
    }

    fn fold(&mut self, frame: &[u8]) {
        let text = std::str::from_utf8(frame).expect("a frame is UTF-8");
        assert!(text.starts_with(r#"{"snapshot":"#), "not the envelope: {text}");
        let mut envelope: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"));
        self.version = envelope["version"].as_str().expect("a version").to_owned();
        self.frames += 1;
        let data = envelope["data"].take();
        if envelope["snapshot"] == true {
            self.document = Some(data);
            return;
        }
        self.patches += 1;
        let patch: json_patch::Patch = serde_json::from_value(data).expect("RFC 6902 operations");
        let document = self.document.as_mut().expect("a snapshot before the first patch");
        json_patch::patch(document, &patch).unwrap_or_else(|e| panic!("{e}: {text} on {document}"));
    }
}
