//! What a request for a stream asks for: its name, its parameters, its headers.

use crate::flow::filter::select::{Condition, Mask, Select, SortOrder};
use crate::flow::identity::Caller;
use crate::flow::limits::stream::StreamLimits;
use crate::flow::limits::{Access, Limits};
use crate::flow::request::query::parameters;
use crate::flow::request::refusals::{bad, forbidden, method_not_allowed};
use crate::wire::http::{Field, Head, Method, Response};
use crate::wire::key::Name;
use crate::wire::stream::{Coding, Format};
use std::sync::Arc;

/// A stream as it was asked for.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Which documents.
    pub select: Arc<Select>,
    /// Which fields of their values; all if nothing is said.
    pub fields: Option<Mask>,
    /// In which order, if not by key.
    pub order: Option<SortOrder>,
    /// The bare values instead of the items.
    pub bare: bool,
    /// How many are passed over.
    pub offset: u64,
    /// How many are sent at most.
    pub limit: u64,
    /// The settings, with the request's parameters over them.
    pub settings: StreamLimits,
    /// The format.
    pub format: Format,
    /// The compression.
    pub coding: Coding,
}

/// The most that a request may set a parameter to: what its answer costs stays small, whoever asks.
const MOST: [(&str, u64); 5] = [
    ("chunk_threshold", 256 << 10),
    ("batch_size", 10_000),
    ("buffer_size", 1 << 20),
    ("channel_buffer", 16),
    ("rate_limit", 1_000_000_000),
];

/// The most conditions of one request.
const CONDITIONS: usize = 64;

impl StreamRequest {
    /// Reads a request for the stream of `name`.
    ///
    /// # Errors
    /// The response that says what is wrong.
    pub fn read(
        head: &Head,
        name: &str,
        caller: Caller<'_>,
        limits: &Limits,
    ) -> Result<StreamRequest, Response<'static>> {
        if !matches!(head.method, Method::Get | Method::Head) {
            return Err(method_not_allowed("a stream is read with GET or HEAD", "GET, HEAD"));
        }
        caller.may(Access::Read).map_err(forbidden)?;
        let name = Name::parse_native(name).map_err(|why| bad("invalid_pattern", &why.to_string()))?;
        let mut request = StreamRequest {
            select: Arc::new(Select { name, conditions: Vec::new() }),
            fields: None,
            order: None,
            bare: false,
            offset: 0,
            limit: u64::MAX,
            settings: limits.stream,
            format: Format::accepted(head.list(Field::Accept)).ok_or_else(not_acceptable)?,
            coding: Coding::accepted(head.list(Field::AcceptEncoding)),
        };
        let mut conditions = Vec::new();
        for parameter in parameters(head) {
            let (name, value) = parameter?;
            request.take(&name, &value, &mut conditions)?;
        }
        request.select = Arc::new(Select { name: request.select.name.clone(), conditions });
        if request.order.is_some()
            && request.limit < u64::MAX
            && request.needed() > request.settings.sort_limit as u64
        {
            return Err(too_many_to_sort(request.settings.sort_limit));
        }
        Ok(request)
    }

    /// How many documents have to be seen at most, those that are passed over included.
    pub fn needed(&self) -> u64 {
        self.offset.saturating_add(self.limit)
    }

    /// How many documents an owner is asked for at a time.
    pub fn batch(&self) -> u32 {
        self.needed().min(self.settings.batch_size as u64).max(1) as u32
    }

    /// Parameters that mean nothing here are passed over, as everywhere on the web.
    fn take(
        &mut self,
        name: &str,
        value: &str,
        conditions: &mut Vec<Condition>,
    ) -> Result<(), Response<'static>> {
        let wrong = |why: &str| bad("invalid_parameter", &format!("{name}: {why}"));
        match name {
            "shape" => {
                self.bare = match value {
                    "value" => true,
                    "item" => false,
                    _ => return Err(wrong("there are the shapes item and value")),
                }
            }
            "fields" => {
                self.fields = Some(Mask::parse(value).ok_or_else(|| wrong("give names, such as a,b.c"))?)
            }
            "order" => {
                self.order = Some(SortOrder::parse(value).ok_or_else(|| wrong("give a field, or -field"))?)
            }
            "where" if conditions.len() == CONDITIONS => {
                return Err(bad("invalid_where", &format!("at most {CONDITIONS} conditions")));
            }
            "where" => conditions.push(
                Condition::parse(value)
                    .map_err(|why| bad("invalid_where", &format!("where={value}: {why}")))?,
            ),
            "limit" => self.limit = number(value).map_err(wrong)?.unwrap_or(u64::MAX),
            "offset" => self.offset = number(value).map_err(wrong)?.unwrap_or(0),
            _ => {
                let Some((_, most)) = MOST.iter().find(|(known, _)| *known == name) else { return Ok(()) };
                let Some(set) = number(value).map_err(wrong)? else { return Ok(()) };
                if set > *most {
                    return Err(wrong(&format!("at most {most}")));
                }
                let settings = &mut self.settings;
                match name {
                    "chunk_threshold" => settings.chunk_threshold = set as usize,
                    "batch_size" => settings.batch_size = set as usize,
                    "buffer_size" => settings.buffer_size = set as usize,
                    "channel_buffer" => settings.channel_buffer = set as usize,
                    // the operator's limit may be made stricter only
                    _ if settings.rate_limit > 0 => settings.rate_limit = set.min(settings.rate_limit),
                    _ => settings.rate_limit = set,
                }
            }
        }
        Ok(())
    }
}

/// A number; what is not more than 0 means the default.
fn number(text: &str) -> Result<Option<u64>, &'static str> {
    match text.parse::<i64>() {
        Ok(n) => Ok(u64::try_from(n).ok().filter(|n| *n > 0)),
        Err(_) => Err("give a whole number of at most 19 digits"),
    }
}

fn not_acceptable() -> Response<'static> {
    let detail = "there are application/json, application/x-ndjson, application/msgpack and application/cbor";
    Response::problem(406, "not_acceptable", detail)
}

/// That an order is wanted over more documents than are sorted.
pub fn too_many_to_sort(most: usize) -> Response<'static> {
    let detail = format!(
        "at most {most} documents are sorted for one answer; give a limit, or conditions that fewer meet, or no order"
    );
    Response::problem(413, "too_many_to_sort", &detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::identity::Identity;
    use crate::wire::http::{MAX_HEAD, parse_head};

    fn spec(query: &str, accept: &str) -> Result<StreamRequest, (u16, String)> {
        let text = format!("GET /_/stream/a/*?{query} HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n");
        let head = parse_head(text.as_bytes(), MAX_HEAD).unwrap().unwrap().0;
        let who = Identity::anonymous(Access::Read);
        StreamRequest::read(&head, "a/*", who.at(0), &Limits::default()).map_err(|response| {
            let text = String::from_utf8(response.encode()).unwrap();
            let status = text.split(' ').nth(1).unwrap().parse().unwrap();
            let body: serde_json::Value =
                serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            (status, body["code"].as_str().unwrap().to_owned())
        })
    }

    #[test]
    fn parameters_are_read_and_what_is_not_positive_is_the_default() {
        let read = spec("limit=3&offset=2&batch_size=0&chunk_threshold=-5&rate_limit=7&shape=value&x=y", "")
            .unwrap();
        assert_eq!((read.limit, read.offset, read.needed(), read.batch(), read.bare), (3, 2, 5, 5, true));
        let defaults = StreamLimits { rate_limit: 7, ..StreamLimits::default() };
        assert_eq!(read.settings, defaults);
        assert_eq!(spec("limit=0&offset=-1", "").unwrap().needed(), u64::MAX);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_code() {
        for (query, accept, status, code) in [
            ("limit=x", "", 400, "invalid_parameter"),
            ("limit=99999999999999999999", "", 400, "invalid_parameter"),
            ("chunk_threshold=999999999", "", 400, "invalid_parameter"),
            ("channel_buffer=17", "", 400, "invalid_parameter"),
            ("shape=round", "", 400, "invalid_parameter"),
            ("fields=", "", 400, "invalid_parameter"),
            ("order=-", "", 400, "invalid_parameter"),
            ("where=a", "", 400, "invalid_where"),
            ("where=a:like:b", "", 400, "invalid_where"),
            ("limit=%zz", "", 400, "invalid_parameter"),
            ("order=a&limit=60000", "", 413, "too_many_to_sort"),
            ("", "text/csv", 406, "not_acceptable"),
        ] {
            assert_eq!(spec(query, accept).unwrap_err(), (status, code.to_owned()), "{query} {accept}");
        }
    }
}
