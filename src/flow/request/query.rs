//! The parameters of a request.

use crate::flow::request::refusals::bad;
use crate::wire::http::{Head, Response};
use crate::wire::url;
use std::borrow::Cow;
use std::sync::Arc;

/// All of them, or the response to one that is not well-formed.
pub(super) fn parameters(
    head: &Head,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), Response<'static>>> {
    let query = url::query(head.query.as_deref().unwrap_or_default());
    query.map(|parameter| parameter.map_err(|why| bad("invalid_parameter", &why.to_string())))
}

/// The first of this name; those that are not well-formed are passed over.
pub(super) fn parameter<'a>(head: &'a Head, name: &str) -> Option<Cow<'a, str>> {
    let query = url::query(head.query.as_deref().unwrap_or_default());
    query.flatten().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// `?channels=a,b`; names that cannot be are passed over, as the hub does with what it does not understand.
pub(super) fn names(head: &Head, parameter_name: &str, is: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
    let list = parameter(head, parameter_name).unwrap_or_default();
    list.split(',').filter(|name| is(name)).map(Arc::from).collect()
}
