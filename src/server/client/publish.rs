//! `fanfare pub`: writes through the feed, and prints the reply to each line.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::server::error::ServerError;

/// What to do with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Replace the document; under a key that ends in `/*`: a new item.
    Set,
    /// Deep merge.
    Merge,
    /// The value is a list of RFC 6902 operations.
    Patch,
    /// Delete the key; takes no value.
    Del,
    /// Publish to the channel, with this type if one is given.
    Publish(Option<String>),
}

/// What to send.
#[derive(Debug)]
pub enum Input {
    /// One operation: the verb, the key, and the value unless the verb is `Del`.
    One(Verb, String, Option<String>),
    /// Each line of standard input is a value for the key.
    Values(Verb, String),
    /// Each line of standard input is an operation of the feed.
    Operations,
}

/// Sends `input` to the feed at `path`. Prints a line per reply: `KEY VERSION` (a publication: `CHANNEL OFFSET`, a
/// batch: `ok`) on standard output, `ID: CODE: MESSAGE` on standard error. An ID is the number of the input line,
/// unless the line brought its own.
///
/// # Errors
/// The feed cannot be reached or closes, or lines fail. The lines after a failed one are still sent.
pub fn run(path: PathBuf, input: &Input) -> Result<(), ServerError> {
    let (verb, key) = match input {
        Input::One(verb, key, value) => {
            let line = operation(1, verb, key, value.as_deref()).map_err(ServerError::Usage)?;
            let mut feed = FeedClient::connect(path)?;
            feed.send(&line);
            return feed.finish();
        }
        Input::Values(verb, key) => (verb, Some(key)),
        Input::Operations => (&Verb::Set, None),
    };
    let mut feed = FeedClient::connect(path)?;
    let mut stdin = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let mut text = String::new();
    for number in 1.. {
        if stdin.buffer().is_empty() {
            // The next read may block; what was read so far must not wait for it.
            feed.flush();
        }
        text.clear();
        if stdin.read_line(&mut text)? == 0 || feed.lost {
            break;
        }
        let line = match (key, text.trim()) {
            (_, "") => continue,
            (Some(key), value) => operation(number, verb, key, Some(value)),
            (None, line) => with_id(number, line),
        };
        match line {
            Ok(line) => feed.send(&line),
            Err(reason) => feed.reject(number, &reason),
        }
    }
    feed.finish()
}

/// The feed's line for one value; `id` is the number of its input line.
fn operation(id: u64, verb: &Verb, key: &str, value: Option<&str>) -> Result<String, String> {
    let (op, field) = match verb {
        Verb::Set if key.ends_with("/*") => ("push", "data"),
        Verb::Set => ("set", "data"),
        Verb::Merge => ("merge", "data"),
        Verb::Patch => ("patch", "patch"),
        Verb::Del => ("del", ""),
        Verb::Publish(_) => ("publish", "data"),
    };
    let name = if let Verb::Publish(_) = verb { "channel" } else { "key" };
    let kind = match verb {
        Verb::Publish(Some(kind)) => format!(r#","type":{}"#, serde_json::Value::from(kind.as_str())),
        _ => String::new(),
    };
    let key = serde_json::Value::from(key);
    let Some(value) = value else {
        return Ok(format!(r#"{{"id":{id},"op":"{op}","{name}":{key}}}"#));
    };
    // Verbatim except for line breaks, which would end the feed's line.
    let value: &RawValue = serde_json::from_str(value)
        .map_err(|error| format!("not JSON: {error}; text needs its double quotes: '\"text\"'"))?;
    let value = value.get().replace(['\n', '\r'], " ");
    Ok(format!(r#"{{"id":{id},"op":"{op}","{name}":{key}{kind},"{field}":{value}}}"#))
}

/// The operation `line`, with `id` added if it has none: an operation with an id gets a reply.
fn with_id(id: u64, line: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct RawOperation {
        #[serde(rename = "op")]
        _op: IgnoredAny,
        id: Option<IgnoredAny>,
    }
    let operation: RawOperation =
        serde_json::from_str(line).map_err(|error| format!("not an operation of the feed: {error}"))?;
    match (operation.id, line.strip_prefix('{')) {
        (None, Some(members)) => Ok(format!(r#"{{"id":{id},{members}"#)),
        _ => Ok(line.to_owned()),
    }
}

/// A reply of the feed.
#[derive(Deserialize)]
struct ReceivedReply<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    key: Option<String>,
    version: Option<String>,
    channel: Option<String>,
    offset: Option<u64>,
    error: Option<ReplyError>,
}

/// Why the feed refused a line.
#[derive(Deserialize)]
struct ReplyError {
    code: String,
    message: String,
}

/// A connection to the feed. Every line sent gets one reply; a thread prints the replies while lines are still being
/// sent, so that neither side waits for the other to read.
struct FeedClient {
    writer: BufWriter<UnixStream>,
    /// For each reply, whether it was a success. Closed when the server goes away.
    replies: Receiver<bool>,
    sent: u64,
    replied: u64,
    failed: u64,
    /// Writing failed: the server is gone, and `finish` says so.
    lost: bool,
}

impl FeedClient {
    fn connect(path: PathBuf) -> Result<Self, ServerError> {
        let open = || {
            let writer = UnixStream::connect(&path)?;
            Ok((writer.try_clone()?, writer))
        };
        let (reader, writer) =
            open().map_err(|source| ServerError::FeedUnreachable { path: path.clone(), source })?;
        let (sender, replies) = mpsc::channel();
        thread::spawn(move || {
            for reply in BufReader::new(reader).lines().map_while(Result::ok) {
                if sender.send(print(&reply)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { writer: BufWriter::new(writer), replies, sent: 0, replied: 0, failed: 0, lost: false })
    }

    fn send(&mut self, line: &str) {
        self.sent += 1;
        self.lost |= writeln!(self.writer, "{line}").is_err();
        while let Ok(success) = self.replies.try_recv() {
            self.count(success);
        }
    }

    /// Reports a line that cannot be sent.
    fn reject(&mut self, number: u64, reason: &str) {
        eprintln!("{number}: {reason}");
        self.sent += 1;
        self.count(false);
    }

    fn count(&mut self, success: bool) {
        self.replied += 1;
        self.failed += u64::from(!success);
    }

    fn flush(&mut self) {
        self.lost |= self.writer.flush().is_err();
    }

    fn finish(mut self) -> Result<(), ServerError> {
        self.flush();
        while self.replied < self.sent {
            match self.replies.recv() {
                Ok(success) => self.count(success),
                Err(_) => {
                    return Err(ServerError::FeedLost { open: self.sent - self.replied, sent: self.sent });
                }
            }
        }
        // The connection may be closed by now, which is fine.
        let _ = self.writer.get_ref().shutdown(Shutdown::Both);
        match self.failed {
            0 => Ok(()),
            failed => Err(ServerError::FeedRefused { failed, sent: self.sent }),
        }
    }
}

/// Prints one reply; true if it is a success. A closed standard output is not a failure of the line.
fn print(reply: &str) -> bool {
    let Ok(read) = serde_json::from_str::<ReceivedReply>(reply) else {
        eprintln!("not understood: {reply}");
        return false;
    };
    if let Some(ReplyError { code, message }) = read.error {
        let id = read.id.map_or("-", RawValue::get);
        eprintln!("{id}: {code}: {message}");
        return false;
    }
    let line = match (read.key, read.version, read.channel, read.offset) {
        (Some(key), Some(version), ..) => format!("{key} {version}"),
        (Some(key), ..) => key,
        (_, _, Some(channel), Some(offset)) => format!("{channel} {offset}"),
        _ => "ok".to_owned(),
    };
    let _ = writeln!(io::stdout(), "{line}");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_one_line_verbatim() {
        let line = |verb, key: &str, value| operation(1, &verb, key, value).expect("JSON");
        assert_eq!(line(Verb::Set, "a/b", Some("1.0")), r#"{"id":1,"op":"set","key":"a/b","data":1.0}"#);
        assert_eq!(line(Verb::Set, "a/*", Some("{\n}")), r#"{"id":1,"op":"push","key":"a/*","data":{ }}"#);
        assert_eq!(line(Verb::Patch, "a", Some("[]")), r#"{"id":1,"op":"patch","key":"a","patch":[]}"#);
        assert_eq!(line(Verb::Del, "a\"", None), r#"{"id":1,"op":"del","key":"a\""}"#);
        assert_eq!(
            line(Verb::Publish(Some("t".into())), "c", Some("1")),
            r#"{"id":1,"op":"publish","channel":"c","type":"t","data":1}"#
        );
        assert!(
            operation(1, &Verb::Set, "a", Some("text")).expect_err("no quotes").contains("double quotes")
        );
    }

    #[test]
    fn every_operation_asks_for_a_reply() {
        let line = |text| with_id(7, text).expect("an operation");
        assert_eq!(line(r#"{"op":"del","key":"a"}"#), r#"{"id":7,"op":"del","key":"a"}"#);
        assert_eq!(line(r#"{"op":"del","id":"x"}"#), r#"{"op":"del","id":"x"}"#);
        for wrong in ["[1]", "{}", r#"{"op":"del""#, "del"] {
            assert!(with_id(7, wrong).is_err(), "{wrong} was taken for an operation");
        }
    }
}
