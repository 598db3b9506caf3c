//! `fanfare sub`: follows a key or pattern over WebSocket in the ooo dialect, and prints its document.

use serde::Deserialize;
use serde_json::Value;

use crate::server::client::follow::{End, Follower, patched, print};
use crate::server::client::websocket::{connect, next_message};

/// A message of the ooo dialect.
#[derive(Deserialize)]
struct Envelope {
    snapshot: bool,
    version: String,
    data: Value,
}

/// Follows a key or pattern: keeps a copy of its document up to date, and prints it.
pub struct DocumentFollower {
    url: String,
    /// A key or pattern; empty: the clock.
    pattern: String,
    /// Print each message as received instead of the whole document.
    changes: bool,
    /// End after this many messages.
    count: Option<u64>,
    document: Option<Value>,
    version: Option<String>,
    messages: u64,
}

impl Follower for DocumentFollower {
    fn url(&self) -> String {
        let base = format!("{}/{}", self.url.trim_end_matches('/'), self.pattern);
        match &self.version {
            Some(version) => format!("{base}?v={version}"),
            None => base,
        }
    }

    fn progress(&self) -> u64 {
        self.messages
    }

    fn follow(&mut self, url: &str) -> End {
        let mut socket = match connect(url, None) {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        loop {
            let taken = next_message(&mut socket).and_then(|text| self.take(&text));
            if let Err(end) = taken {
                return end;
            }
        }
    }
}

impl DocumentFollower {
    /// Follows `pattern` at `ws://HOST:PORT`; an empty one is the clock. `changes`: print each message as received
    /// instead of the whole document. `count`: end after this many messages.
    pub fn new(url: String, pattern: String, changes: bool, count: Option<u64>) -> Self {
        Self { url, pattern, changes, count, document: None, version: None, messages: 0 }
    }

    /// Applies one message to the copy, and prints it.
    fn take(&mut self, text: &str) -> Result<(), End> {
        let line = if self.pattern.is_empty() {
            text.to_owned()
        } else if self.changes {
            self.fold(text).map(|_| text.to_owned())?
        } else {
            self.fold(text)?.to_string()
        };
        self.messages += 1;
        print(&line, self.count == Some(self.messages))
    }

    fn fold(&mut self, text: &str) -> Result<&Value, End> {
        let Ok(Envelope { snapshot, version, data }) = serde_json::from_str(text) else {
            return Err(End::Refused(
                "a message is neither a snapshot nor a patch; is this a fanfare server?".to_owned(),
            ));
        };
        let document = match (snapshot, self.document.take()) {
            (true, _) => Ok(data),
            (false, Some(document)) => patched(document, data),
            (false, None) => Err("there is no snapshot for it".to_owned()),
        };
        match document {
            Ok(document) => {
                self.version = Some(version);
                Ok(self.document.insert(document))
            }
            Err(reason) => {
                // Without a version the server sends a snapshot, which repairs it.
                self.version = None;
                Err(End::Lost(format!("a patch does not apply: {reason}")))
            }
        }
    }
}
