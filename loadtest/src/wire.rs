//! What is said to a server in each dialect: path, opening frame, and the form of a publication.

use crate::scenario::{Dialect, Transport};
use std::net::SocketAddr;

/// Text with `{t}` (the topic's number) and `{payload}` in it, cut up once.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Topic,
    Payload,
}

impl Template {
    /// Cuts `text` at its placeholders; everything else stands for itself.
    pub fn new(text: &str) -> Template {
        const MARKS: [(&str, Part); 2] = [("{t}", Part::Topic), ("{payload}", Part::Payload)];
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((at, (mark, part))) =
            MARKS.iter().filter_map(|mark| Some((rest.find(mark.0)?, mark))).min_by_key(|hit| hit.0)
        {
            parts.push(Part::Text(rest[..at].to_owned()));
            parts.push(part.clone());
            rest = &rest[at + mark.len()..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Template(parts)
    }

    /// Appends the filled-in text to `out`.
    pub fn fill(&self, topic: usize, payload: &str, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Topic => out.extend_from_slice(topic.to_string().as_bytes()),
                Part::Payload => out.extend_from_slice(payload.as_bytes()),
            }
        }
    }

    /// The filled-in text of a template without a payload.
    pub fn for_topic(&self, topic: usize) -> String {
        let mut out = Vec::new();
        self.fill(topic, "", &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// How subscribers reach the server, and what they send first.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Protocol.
    pub dialect: Dialect,
    /// What carries it.
    pub transport: Transport,
    /// Where to connect.
    pub addr: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Request path.
    pub path: Template,
    /// Text frame sent once the connection is open.
    pub on_open: Option<Template>,
}

impl Wire {
    /// The usual wire of a dialect; `path` replaces the dialect's own.
    pub fn new(
        dialect: Dialect,
        transport: Transport,
        addr: SocketAddr,
        host: &str,
        path: Option<&str>,
    ) -> Wire {
        let (own, on_open) = match (dialect, transport) {
            (Dialect::Hub, Transport::Ws) => ("/ws", Some(r#"{"type":"subscribe","channel":"t{t}"}"#)),
            (Dialect::Hub, Transport::Sse) => ("/sse?channels=t{t}", None),
            (Dialect::Ooo | Dialect::Raw, _) => ("/t{t}", None),
        };
        let path = Template::new(path.unwrap_or(own));
        Wire { dialect, transport, addr, host: host.to_owned(), path, on_open: on_open.map(Template::new) }
    }

    /// Messages must come in frames of this kind: text, binary, or either.
    pub fn binary(&self) -> Option<bool> {
        match self.dialect {
            Dialect::Hub => Some(false),
            Dialect::Ooo => Some(true),
            Dialect::Raw => None,
        }
    }

    /// A subscriber has the state of its topic only with the first message, and starts from it.
    pub fn opens_with_state(&self) -> bool {
        self.dialect == Dialect::Ooo
    }
}

/// The body of a publication in a dialect, unless `--body` says otherwise.
pub fn publication(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Hub => r#"{"op":"publish","channel":"t{t}","type":"u","data":{payload}}"#,
        Dialect::Ooo => r#"{"op":"set","key":"t{t}","data":{payload}}"#,
        Dialect::Raw => "{payload}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fill_their_placeholders_and_nothing_else() {
        let mut out = Vec::new();
        Template::new("t{t} {payload}{t}{").fill(3, "{t}", &mut out);
        assert_eq!(out, b"t3 {t}3{");
        assert_eq!(Template::new("/plain").for_topic(1), "/plain");
    }

    #[test]
    fn publications_are_json_lines() {
        for dialect in [Dialect::Hub, Dialect::Ooo] {
            let mut out = Vec::new();
            Template::new(publication(dialect)).fill(2, r#"{"m":1}"#, &mut out);
            let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(line["data"]["m"], 1);
        }
    }
}
