//! The feed's lines: one JSON object each, and one for each reply.

use crate::base::offset::Offset;
use crate::base::stamp::Stamp;
use crate::wire::json::{Json, JsonError, write_string};
use crate::wire::key::{Key, KeyError, Name, Pattern};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use thiserror::Error;

/// The longest name of a channel, in bytes.
pub const MAX_CHANNEL: usize = 1024;

/// Whether a text can be the name of a channel.
pub fn is_channel(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_CHANNEL && !name.starts_with('$')
}

/// The operation of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedOp {
    /// Replace a document.
    Set(Key, Json),
    /// Create a new item under a pattern.
    Push(Pattern, Json),
    /// Merge into a document.
    Merge(Key, Json),
    /// Patch a document.
    Patch(Key, Json),
    /// Delete a document, or all that match.
    Del(Name),
    /// Append to a channel.
    Publish(Arc<Publish>),
    /// All of these or none.
    Batch(Vec<FeedOp>),
}

/// The kind of a publication that does not say it.
const MESSAGE: &str = "message";

/// One publication as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The channel; `*` means every hub connection.
    pub channel: Arc<str>,
    /// The kind, if it is not `message`.
    pub kind: Option<Arc<str>>,
    /// The payload.
    pub data: Json,
    /// The name of its event.
    pub event: Option<Arc<str>>,
    /// The sender.
    pub user_id: Option<Arc<str>>,
    /// Metadata, an object.
    pub metadata: Option<Json>,
    /// The thread that it belongs to.
    pub thread_id: Option<Arc<str>>,
    /// Whether a client sent it, not the application.
    pub client: bool,
}

impl Publish {
    /// A publication with nothing but its payload.
    pub fn new(channel: &str, kind: &str, data: Json) -> Publish {
        let (event, user_id, metadata, thread_id) = Default::default();
        let (channel, kind, client) = (channel.into(), (kind != MESSAGE).then(|| kind.into()), false);
        Publish { channel, kind, data, event, user_id, metadata, thread_id, client }
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(MESSAGE)
    }

    /// Roughly what it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let metadata = self.metadata.as_ref().map_or(0, |json| json.as_bytes().len());
        let texts = text(&self.event) + text(&self.user_id) + text(&self.thread_id) + text(&self.kind);
        size_of::<Publish>() + self.data.as_bytes().len() + metadata + texts
    }
}

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineError {
    /// Not a JSON object.
    #[error("the line is not a JSON object: {0}")]
    Json(String),
    /// A field is missing or of the wrong type.
    #[error("{0}")]
    Field(&'static str),
    /// An `op` that does not exist.
    #[error("there is no op {0:?}; there are set, push, merge, patch, del, publish and batch")]
    Op(String),
    /// The key is invalid.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The data is not JSON, or cannot be stored.
    #[error("{0}")]
    Data(#[from] JsonError),
    /// The channel name is invalid.
    #[error("a channel's name has 1 to 1024 bytes and does not begin with '$'")]
    Channel,
    /// An operation of a batch is wrong.
    #[error("operation {0} of the batch: {1}")]
    Batch(usize, Box<LineError>),
    /// Over `[feed] max_line`.
    #[error("the line is longer than {0} bytes ([feed] max_line); the connection closes")]
    TooLong(usize),
}

impl LineError {
    /// The stable code of the reply.
    pub fn code(&self) -> &'static str {
        match self {
            LineError::Json(_) => "invalid_json",
            LineError::Field(_) => "invalid_field",
            LineError::Op(_) => "unknown_op",
            LineError::Key(_) => "invalid_key",
            LineError::Data(_) => "invalid_data",
            LineError::Channel => "invalid_channel",
            LineError::Batch(_, why) => why.code(),
            LineError::TooLong(_) => "line_too_long",
        }
    }
}

#[derive(Default, Deserialize)]
struct LineFields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    op: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    patch: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    event: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    user_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    thread_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ack: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ops: Option<&'a RawValue>,
}

/// Keeps a `null` that is there apart from a field that is not.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads the members of an object. (serde would take an array too, member by member.)
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("it does not begin with '{'".into());
    }
    // the encoding is checked once for all members; serde would do it for each
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// A parsed line: the `id` for the reply (a JSON string or number, as written), and its operation.
pub fn parse(line: &[u8]) -> (Option<Box<str>>, Result<FeedOp, LineError>) {
    let fields: LineFields<'_> = match object(line) {
        Ok(fields) => fields,
        Err(e) => return (None, Err(LineError::Json(e))),
    };
    let Some(id) = fields.id else { return (None, op(&fields, true)) };
    match id.get().as_bytes()[0] {
        b'"' | b'-' | b'0'..=b'9' => (Some(id.get().into()), op(&fields, true)),
        _ => (None, Err(LineError::Field("\"id\" must be a string or a number"))),
    }
}

fn text<'a>(field: Option<&'a RawValue>, why: &'static str) -> Result<Cow<'a, str>, LineError> {
    let raw = field.ok_or(LineError::Field(why))?.get();
    if let Some(plain) = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).filter(|r| !r.contains('\\'))
    {
        return Ok(Cow::Borrowed(plain));
    }
    serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| LineError::Field(why))
}

fn op(fields: &LineFields<'_>, outer: bool) -> Result<FeedOp, LineError> {
    let name = text(fields.op, "\"op\" is missing or not a string")?;
    let key = || text(fields.key, "\"key\" is missing or not a string");
    let json = |field: Option<&RawValue>, why| {
        Ok::<_, LineError>(Json::parse(field.ok_or(LineError::Field(why))?.get().as_bytes())?)
    };
    let data = || json(fields.data, "\"data\" is missing");
    if fields.ack.is_some() && text(fields.ack, "\"ack\" must be a string")? != "accepted" {
        return Err(LineError::Field("\"ack\" can only be \"accepted\" here"));
    }
    Ok(match &*name {
        "set" => FeedOp::Set(Key::parse(&key()?)?, data()?),
        "push" => match Name::parse(&key()?)? {
            Name::Pattern(pattern) if pattern.push("0").is_some() => FeedOp::Push(pattern, data()?),
            _ => return Err(LineError::Key(KeyError::Push)),
        },
        "merge" => FeedOp::Merge(Key::parse(&key()?)?, data()?),
        "patch" => FeedOp::Patch(Key::parse(&key()?)?, json(fields.patch, "\"patch\" is missing")?),
        "del" => FeedOp::Del(Name::parse(&key()?)?),
        "publish" => FeedOp::Publish(Arc::new(publish(fields, data()?)?)),
        "batch" if outer => batch(fields.ops)?,
        _ => return Err(LineError::Op(name.into_owned())),
    })
}

fn publish<'a>(fields: &LineFields<'a>, data: Json) -> Result<Publish, LineError> {
    let channel = text(fields.channel, "\"channel\" is missing or not a string")?;
    if !is_channel(&channel) {
        return Err(LineError::Channel);
    }
    // encoders of typed languages write null for a member that is not there
    let given = |field: Option<&'a RawValue>| field.filter(|field| field.get() != "null");
    let word = |field: Option<&'a RawValue>, why| {
        given(field).map(|field| text(Some(field), why).map(|text| Arc::from(&*text))).transpose()
    };
    let metadata = given(fields.metadata).map(RawValue::get);
    if metadata.is_some_and(|raw| !raw.starts_with('{')) {
        return Err(LineError::Field("\"metadata\" must be an object"));
    }
    Ok(Publish {
        channel: (*channel).into(),
        kind: word(fields.kind, "\"type\" must be a string")?.filter(|kind| **kind != *MESSAGE),
        data,
        event: word(fields.event, "\"event\" must be a string")?,
        user_id: word(fields.user_id, "\"user_id\" must be a string")?,
        metadata: metadata.map(|raw| Json::parse(raw.as_bytes())).transpose()?,
        thread_id: word(fields.thread_id, "\"thread_id\" must be a string")?,
        client: false,
    })
}

fn batch(ops: Option<&RawValue>) -> Result<FeedOp, LineError> {
    let why = LineError::Field("\"ops\" is missing or not an array of objects");
    let ops: Vec<&RawValue> =
        ops.and_then(|ops| serde_json::from_str(ops.get()).ok()).ok_or_else(|| why.clone())?;
    let fields = ops.iter().map(|op| object(op.get().as_bytes()));
    let fields: Vec<LineFields<'_>> = fields.collect::<Result<_, _>>().map_err(|_| why)?;
    let each =
        fields.iter().enumerate().map(|(i, f)| op(f, false).map_err(|e| LineError::Batch(i, Box::new(e))));
    Ok(FeedOp::Batch(each.collect::<Result<_, _>>()?))
}

/// What a successful reply reports.
#[derive(Clone, Copy, Debug)]
pub enum FeedReply<'a> {
    /// The document's version now.
    Document(&'a str, Stamp),
    /// This many documents were deleted.
    Swept(u32),
    /// The channel's offset now.
    Channel(&'a str, Offset),
    /// Every operation of a batch was applied.
    Batch,
}

/// Appends the reply to a line that was applied.
pub fn write_ok(id: &str, reply: FeedReply<'_>, out: &mut Vec<u8>) {
    write!(out, r#"{{"id":{id},"ok":true"#).expect("a Vec takes all");
    match reply {
        FeedReply::Document(key, version) => {
            out.extend_from_slice(br#","key":"#);
            write_string(key, out);
            write!(out, r#","version":"{version:x}""#).expect("a Vec takes all");
        }
        FeedReply::Swept(count) => write!(out, r#","deleted":{count}"#).expect("a Vec takes all"),
        FeedReply::Channel(channel, offset) => {
            out.extend_from_slice(br#","channel":"#);
            write_string(channel, out);
            write!(out, r#","offset":{offset}"#).expect("a Vec takes all");
        }
        FeedReply::Batch => {}
    }
    out.extend_from_slice(b"}\n");
}

/// Appends the reply to a line that failed.
pub fn write_error(id: Option<&str>, line: u64, code: &str, message: &str, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(id) = id {
        write!(out, r#""id":{id},"#).expect("a Vec takes all");
    }
    write!(out, r#""line":{line},"error":{{"code":"{code}","message":"#).expect("a Vec takes all");
    write_string(message, out);
    out.extend_from_slice(b"}}\n");
}

#[cfg(test)]
mod tests {
    use super::{FeedOp, LineError, parse};

    fn code(line: &str) -> &'static str {
        parse(line.as_bytes()).1.expect_err(line).code()
    }

    #[test]
    fn every_op_is_read() {
        for line in [
            r#"{"op":"set","key":"a/b","data":{"x":1.0}}"#,
            r#"{"op":"push","key":"a/*","data":null}"#,
            r#"{"op":"merge","key":"a","data":{}}"#,
            r#"{"op":"patch","key":"a","patch":[]}"#,
            r#"{"op":"del","key":"a/*"}"#,
            r#"{"op":"publish","channel":"c:1","data":[],"type":"t","ack":"accepted"}"#,
            r#"{"op":"publish","channel":"c","data":1,"event":"e","user_id":"u","metadata":{},"thread_id":"t"}"#,
            r#"{"op":"publish","channel":"c","data":null,"type":null,"event":null,"user_id":null,"metadata":null}"#,
            r#"{"op":"batch","ops":[{"op":"set","key":"a","data":1},{"op":"del","key":"b"}]}"#,
        ] {
            assert!(parse(line.as_bytes()).1.is_ok(), "{line}");
        }
    }

    #[test]
    fn the_id_comes_back_as_written() {
        assert_eq!(parse(br#"{"id":7.0,"op":"del","key":"a"}"#).0.as_deref(), Some("7.0"));
        let (id, op) = parse(br#"{"op":"nope","id":"\u00e9"}"#);
        assert_eq!((id.as_deref(), op), (Some(r#""\u00e9""#), Err(LineError::Op("nope".into()))));
    }

    #[test]
    fn every_fault_has_its_code() {
        for (line, want) in [
            ("", "invalid_json"),
            ("[]", "invalid_json"),
            (r#"{"op":"set"} x"#, "invalid_json"),
            (r#"{"key":"a"}"#, "invalid_field"),
            (r#"{"op":1}"#, "invalid_field"),
            (r#"{"id":[],"op":"del","key":"a"}"#, "invalid_field"),
            (r#"{"op":"set","key":"a"}"#, "invalid_field"),
            (r#"{"op":"set","key":"a","data":1,"ack":"durable"}"#, "invalid_field"),
            (r#"{"op":"fly"}"#, "unknown_op"),
            (r#"{"op":"set","key":"a/*","data":1}"#, "invalid_key"),
            (r#"{"op":"set","key":"sse/x","data":1}"#, "invalid_key"),
            (r#"{"op":"push","key":"a","data":1}"#, "invalid_key"),
            (r#"{"op":"push","key":"*/a/*","data":1}"#, "invalid_key"),
            (r#"{"op":"set","key":"a","data":"\ud800"}"#, "invalid_data"),
            (r#"{"op":"publish","channel":"$x","data":1}"#, "invalid_channel"),
            (r#"{"op":"publish","channel":"x","data":1,"event":1}"#, "invalid_field"),
            (r#"{"op":"publish","channel":"x","data":1,"metadata":[]}"#, "invalid_field"),
            (r#"{"op":"batch","ops":[{"op":"batch","ops":[]}]}"#, "unknown_op"),
            (r#"{"op":"batch","ops":{}}"#, "invalid_field"),
            (r#"{"op":"batch","ops":[[]]}"#, "invalid_field"),
        ] {
            assert_eq!(code(line), want, "{line}");
        }
    }

    #[test]
    fn hostile_member_names_stay_names() {
        let line = br#"{"op":"set","key":"a","data":{"$serde_json::private::Number":"1","x":{"$serde_json::private::RawValue":"2"}}}"#;
        let Ok(FeedOp::Set(_, json)) = parse(line).1 else { panic!() };
        assert!(json.as_str().contains("private::Number"));
    }
}
