//! `fanfare sub --sse`: follows keys, patterns or channels by server-sent events, and prints them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::server::client::follow::{End, Follower, patched, print};
use crate::server::client::http;

/// How long connecting, and each pause, may take: several of the server's keep-alives.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Follows keys, patterns or channels, and keeps copies of their documents.
#[derive(Clone, Debug)]
pub struct EventFollower {
    url: String,
    query: (&'static str, String),
    changes: bool,
    count: Option<u64>,
    /// The copies that are kept up to date, by key.
    documents: HashMap<String, Value>,
    /// The cursor: the `id` of the last event.
    last: Option<String>,
    /// Lines printed.
    printed: u64,
}

/// The data of an event about a document.
#[derive(Deserialize, Serialize)]
struct DocumentFrame {
    #[serde(rename = "type")]
    kind: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// An event, as far as its lines have been read.
#[derive(Default)]
struct ServerSentEvent {
    kind: String,
    data: String,
    id: Option<String>,
}

impl ServerSentEvent {
    /// Adds one line.
    fn add_line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.to_owned(),
            "id" => self.id = Some(value.to_owned()),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // `retry` is for browsers, a line without a name is a comment
            _ => {}
        }
    }
}

impl Follower for EventFollower {
    fn url(&self) -> String {
        let (name, list) = &self.query;
        format!("{}/sse?{name}={list}", self.url.trim_end_matches('/'))
    }

    fn progress(&self) -> u64 {
        self.printed
    }

    fn follow(&mut self, _url: &str) -> End {
        let host = match http::host(&self.url) {
            Ok(host) => host,
            Err(why) => return End::Refused(why),
        };
        let (name, list) = &self.query;
        let target = format!("/sse?{name}={}", utf8_percent_encode(list, NON_ALPHANUMERIC));
        let mut headers = vec!["Accept: text/event-stream".to_owned()];
        headers.extend(self.last.iter().map(|id| format!("Last-Event-ID: {id}")));
        let response = match http::get(host, &target, &headers, TIMEOUT) {
            Ok(response) if response.code() == 200 => response,
            Ok(response) if (400..500).contains(&response.code()) => return End::Refused(response.refusal()),
            Ok(response) => return End::Lost(response.refusal()),
            Err(error) => return End::Lost(error.to_string()),
        };
        let (mut lines, mut event) = (BufReader::new(response).lines(), ServerSentEvent::default());
        loop {
            match lines.next() {
                None => return End::Lost("the server ended the stream".to_owned()),
                Some(Err(error)) => return End::Lost(error.to_string()),
                Some(Ok(line)) if !line.is_empty() => event.add_line(&line),
                Some(Ok(_)) => {
                    if let Err(end) = self.take(std::mem::take(&mut event)) {
                        return end;
                    }
                }
            }
        }
    }
}

impl EventFollower {
    /// Follows at `http://HOST:PORT` what `query` asks for: `keys` or `channels`, and their names with commas between them.
    /// `changes`: print each event's data as received instead of whole documents. `count`: end after this many lines.
    pub fn new(
        url: String,
        query: (&'static str, String),
        changes: bool,
        count: Option<u64>,
    ) -> EventFollower {
        EventFollower { url, query, changes, count, documents: HashMap::new(), last: None, printed: 0 }
    }

    /// Applies one event to its document's copy, and prints it.
    fn take(&mut self, event: ServerSentEvent) -> Result<(), End> {
        let data = event.data.trim_end_matches('\n');
        let line = match event.kind.as_str() {
            _ if data.is_empty() => None,
            "connected" | "ping" => None,
            "resync_required" => {
                self.documents.clear();
                self.changes.then(|| data.to_owned())
            }
            "snapshot" | "patch" | "delete" => {
                let folded = self.fold(data)?;
                Some(if self.changes { data.to_owned() } else { folded })
            }
            "synced" => self.changes.then(|| data.to_owned()),
            _ => Some(data.to_owned()),
        };
        // Only now: what the cursor covers has been applied.
        self.last = event.id.or(self.last.take());
        let Some(line) = line else { return Ok(()) };
        self.printed += 1;
        print(&line, self.count == Some(self.printed))
    }

    /// Applies a frame; gives its whole document, as a frame.
    fn fold(&mut self, data: &str) -> Result<String, End> {
        let wrong = |what: &str| End::Refused(format!("{what}; is this a fanfare server?"));
        let Ok(DocumentFrame { kind, key, version, data }) = serde_json::from_str(data) else {
            return Err(wrong("an event does not hold a document"));
        };
        let data = match kind.as_str() {
            "delete" => {
                self.documents.remove(&key);
                return Ok(serde_json::to_string(&DocumentFrame { kind, key, version, data: None })
                    .unwrap_or_default());
            }
            "snapshot" => data.unwrap_or_default(),
            _ => {
                let document = self.documents.remove(&key).ok_or("there is no snapshot for it".to_owned());
                let patched = document.and_then(|document| patched(document, data.unwrap_or_default()));
                patched.map_err(|reason| {
                    // without a cursor the server sends snapshots, which repair it
                    self.last = None;
                    End::Lost(format!("a patch does not apply: {reason}"))
                })?
            }
        };
        self.documents.insert(key.clone(), data.clone());
        let whole = DocumentFrame { kind: "snapshot".to_owned(), key, version, data: Some(data) };
        Ok(serde_json::to_string(&whole).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> EventFollower {
        EventFollower::new("http://h".to_owned(), ("keys", "a".to_owned()), false, None)
    }

    #[test]
    fn patches_are_folded_into_whole_documents() {
        let mut follower = follower();
        let snapshot = r#"{"type":"snapshot","key":"a","version":"1","data":{"n":1,"m":2}}"#;
        let patch = r#"{"type":"patch","key":"a","from":"1","version":"2","data":[{"op":"replace","path":"/n","value":5}]}"#;
        assert_eq!(follower.fold(snapshot).ok().as_deref(), Some(snapshot));
        let want = r#"{"type":"snapshot","key":"a","version":"2","data":{"n":5,"m":2}}"#;
        assert_eq!(follower.fold(patch).ok().as_deref(), Some(want));
        assert!(follower.fold(r#"{"type":"delete","key":"a","from":"2","version":"3"}"#).is_ok());
        follower.last = Some("cursor".to_owned());
        assert!(matches!(follower.fold(patch), Err(End::Lost(_))) && follower.last.is_none());
        assert!(matches!(follower.fold("{}"), Err(End::Refused(_))));
    }

    #[test]
    fn the_cursor_follows_what_was_taken() {
        let mut follower = follower();
        let mut event = ServerSentEvent::default();
        for line in ["event: connected", "id:c1", "data: {}", ": a comment", "retry: 3"] {
            event.add_line(line);
        }
        assert!(follower.take(event).is_ok());
        assert_eq!((follower.last.as_deref(), follower.printed), (Some("c1"), 0));
        assert!(
            follower.take(ServerSentEvent { kind: "ping".into(), data: "{}\n".into(), id: None }).is_ok()
        );
        assert_eq!(follower.last.as_deref(), Some("c1"));
    }
}
