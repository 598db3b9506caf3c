//! An import: elements out of a body as it comes, each written by its owner, a bounded number of them at a time.

use crate::flow::identity::Caller;
use crate::flow::limits::{Access, Limits};
use crate::flow::request::refusals::forbidden;
use crate::wire::http::{BadRequest, BodyDecoder, Field, Head, Method, Response};
use crate::wire::json::{Json, write_string};
use crate::wire::key::Key;
use crate::wire::stream::{Elements, Format, RowError, element};
use crate::wire::url;

/// How many elements of one import may wait for their owners.
const WINDOW: u32 = 256;
/// Bytes of the body that are looked at in one go.
const PIECE: usize = 16 << 10;

/// What comes next in an import.
#[derive(Debug)]
pub enum NextElement {
    /// This is to be written.
    Write(Key, Json),
    /// More of the body is needed.
    More,
    /// The owners are to answer first.
    Wait,
    /// It is over; the connection can be used further only if the body was read to its end.
    Done(Response<'static>),
}

/// An import under way.
#[derive(Debug)]
pub struct Import {
    /// The request's head.
    pub head: Head,
    body: BodyDecoder,
    complete: bool,
    elements: Elements,
    /// Keys up to this one are passed over.
    after: Option<Key>,
    in_flight: u32,
    seen: u64,
    imported: u64,
    last: Option<Key>,
    error: Option<(&'static str, String)>,
}

impl Import {
    /// Whether a request is an import.
    pub fn is_one(head: &Head) -> bool {
        head.method == Method::Post && head.path == "/_/import"
    }

    /// Reads the head of one; `body` is what will come.
    ///
    /// # Errors
    /// The response that says what is wrong, after which the connection is closed.
    pub fn new(head: Head, mut body: BodyDecoder, caller: Caller<'_>) -> Result<Import, Response<'static>> {
        let refuse = |status, code, detail: &str| Err(Response::problem(status, code, detail).closing());
        caller.may(Access::Write).map_err(|denied| forbidden(denied).closing())?;
        let kind = head.get(Field::ContentType).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if let Some(coding) = head.get(Field::ContentEncoding).filter(|coding| *coding != "identity") {
            return refuse(
                415,
                "unsupported_coding",
                &format!("an import is not compressed; this one is {coding}"),
            );
        }
        let format = match Format::of(kind) {
            Some(format) => format,
            // what curl says of data when it is told nothing
            None if kind == "application/x-www-form-urlencoded" => Format::Json,
            None => {
                let detail = "an import is application/json, application/x-ndjson, application/msgpack or application/cbor";
                return refuse(415, "unsupported_format", detail);
            }
        };
        let mut after = None;
        for parameter in url::query(head.query.as_deref().unwrap_or_default()).flatten() {
            if parameter.0 == "after" {
                match Key::parse(&parameter.1) {
                    Ok(key) => after = Some(key),
                    Err(why) => return refuse(400, "invalid_parameter", &format!("after: {why}")),
                }
            }
        }
        let mut elements = Elements::new(format);
        // a body without bytes is complete before anything comes
        let complete = body.feed(b"", elements.buf()).is_ok_and(|fed| fed.done);
        let import = Import {
            head,
            body,
            complete,
            elements,
            after,
            in_flight: 0,
            seen: 0,
            imported: 0,
            last: None,
            error: None,
        };
        Ok(import)
    }

    /// An owner has written an element.
    pub fn written(&mut self) {
        self.in_flight -= 1;
    }

    /// The next element of what has come, which is taken from `buf`.
    pub fn next(&mut self, buf: &mut Vec<u8>, limits: &Limits) -> NextElement {
        loop {
            if self.error.is_some() {
                return if self.in_flight > 0 {
                    NextElement::Wait
                } else {
                    NextElement::Done(self.response())
                };
            }
            if self.in_flight >= WINDOW {
                return NextElement::Wait;
            }
            match self.step(limits.max_body) {
                Ok(Some(next)) => return next,
                Ok(None) => {}
                Err(why) => {
                    let message = format!("element {}: {why}", self.seen + 1);
                    self.error = Some((why.code(), message));
                    continue;
                }
            }
            if self.complete {
                return if self.in_flight > 0 {
                    NextElement::Wait
                } else {
                    NextElement::Done(self.response())
                };
            }
            if buf.is_empty() {
                return NextElement::More;
            }
            let piece = &buf[..buf.len().min(PIECE)];
            match self.body.feed(piece, self.elements.buf()) {
                Ok(fed) => {
                    buf.drain(..fed.used);
                    self.complete = fed.done;
                }
                Err(bad) => self.error = Some((BadRequest::status(bad).1, bad.to_string())),
            }
        }
    }

    /// The next element of what has been read; `None`: there is none.
    fn step(&mut self, max: usize) -> Result<Option<NextElement>, RowError> {
        loop {
            let Some(text) = self.elements.next(self.complete, max)? else { return Ok(None) };
            let (key, value) = element(text)?;
            self.seen += 1;
            if self.after.as_ref().is_some_and(|after| key <= *after) {
                continue;
            }
            self.in_flight += 1;
            self.imported += 1;
            self.last = Some(key.clone());
            return Ok(Some(NextElement::Write(key, value)));
        }
    }

    fn response(&self) -> Response<'static> {
        let mut out = format!("{{\"imported\":{},\"last_key\":", self.imported).into_bytes();
        match &self.last {
            Some(key) => write_string(key.as_str(), &mut out),
            None => out.extend_from_slice(b"null"),
        }
        let mut status = 200;
        if let Some((code, message)) = &self.error {
            status = 400;
            out.extend_from_slice(b",\"error\":{\"code\":");
            write_string(code, &mut out);
            out.extend_from_slice(b",\"message\":");
            write_string(message, &mut out);
            out.push(b'}');
        }
        out.push(b'}');
        let response = Response::new(status).body("application/json", out);
        if self.complete { response } else { response.closing() }
    }
}
