//! Documents over HTTP, as the ooo dialect has them: `POST`, `PATCH`, `DELETE` and `GET` of a key or a pattern.

use crate::base::stamp::Stamp;
use crate::flow::request::refusals::{key_invalid, no_page};
use crate::flow::request::write::{MergeRule, Write};
use crate::flow::request::{Request, ResponseKind};
use crate::wire::http::{Field, Head, Method, Response};
use crate::wire::json::{Json, JsonError, JsonFault};
use crate::wire::key::{Key, Name};

type Rest = Result<Request, Response<'static>>;

/// Reads a request about `name`, of somebody who may do that.
///
/// # Errors
/// The response that says what is wrong.
pub fn read(head: &Head, name: &str, body: &[u8]) -> Rest {
    match head.method {
        Method::Post => post(name, body),
        Method::Patch => patch(head.get(Field::ContentType), name, body),
        Method::Delete => Ok(match parse(name)? {
            Name::Key(key) => Request::Write(key.clone(), Write::Del(key), ResponseKind::Gone),
            Name::Pattern(pattern) => Request::Sweep(pattern),
        }),
        Method::Get | Method::Head => Ok(match parse(name)? {
            Name::Key(key) => Request::Get(key),
            Name::Pattern(pattern) => Request::Gather(ResponseKind::Items(pattern)),
        }),
        Method::Put | Method::Options | Method::Other => Err(no_page()),
    }
}

fn parse(name: &str) -> Result<Name, Response<'static>> {
    Name::parse(name).map_err(|_| key_invalid())
}

fn post(name: &str, body: &[u8]) -> Rest {
    let stars = name.matches('*').count();
    let name = parse(name)?;
    if stars > 1 {
        return Err(Response::text(400, "key: contains more than one glob pattern"));
    }
    match name {
        Name::Pattern(pattern) if pattern.push("0").is_none() => {
            Err(Response::text(400, "key: glob pattern must be at the end of the path"))
        }
        Name::Pattern(pattern) => Ok(Request::Push(pattern, json(body)?)),
        Name::Key(key) => {
            let value = json(body)?;
            Ok(written(key.clone(), Write::Set(key, value, Stamp::ZERO)))
        }
    }
}

/// What a change may be written in.
const PATCHES: &str = "application/json, application/merge-patch+json, application/json-patch+json";

/// The media type says what kind of change it is; ooo's clients may leave it out.
fn patch(media_type: Option<&str>, name: &str, body: &[u8]) -> Rest {
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or("application/json").trim();
    let kind: fn(Key, Json) -> Write = match &*essence.to_ascii_lowercase() {
        "application/json" => |key, value| Write::Merge(key, value, MergeRule::Ooo),
        "application/merge-patch+json" => |key, value| Write::Merge(key, value, MergeRule::MergePatch),
        "application/json-patch+json" => Write::Patch,
        _ => {
            let refused =
                Response::problem(415, "unsupported_media_type", "Accept-Patch names what a PATCH may be");
            return Err(refused.header("Accept-Patch", PATCHES));
        }
    };
    match parse(name)? {
        Name::Pattern(_) => Err(Response::text(400, "ooo: glob pattern not allowed for this operation")),
        Name::Key(key) => {
            let value = json(body)?;
            Ok(written(key.clone(), kind(key, value)))
        }
    }
}

/// A write that is answered by the key's last part.
fn written(key: Key, write: Write) -> Request {
    let kind = ResponseKind::Index(key.index().to_owned());
    Request::Write(key, write, kind)
}

/// The first value of a body; what stands behind it is ignored, as the seed does.
fn json(body: &[u8]) -> Result<Json, Response<'static>> {
    let why = match Json::parse_prefix(body) {
        Ok((value, _)) => return Ok(value),
        Err(JsonError { byte: None, .. }) if body.trim_ascii().is_empty() => "EOF".to_owned(),
        Err(JsonError { fault: JsonFault::Literal(word), byte: Some(byte), .. }) => {
            format!("json: invalid character {} as {word}", byte as char)
        }
        Err(error) => format!("json: {error}"),
    };
    Err(Response::new(400).body("text/plain; charset=utf-8", why.into_bytes()))
}
