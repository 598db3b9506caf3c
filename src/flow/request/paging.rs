//! Which page of a list of names is wanted: `?api=keys` and `?api=channels`.

use crate::flow::request::query::parameter;
use crate::wire::http::Head;

/// Names on a page, where the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// The most names on a page.
const MAX_LIMIT: usize = 500;

/// Which page of the names is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub page: usize,
    /// How many to a page.
    pub limit: usize,
    /// What the names must contain, in whatever case.
    pub filter: String,
}

impl Page {
    /// Reads `?page=`, `?limit=` and `?filter=`; a number that is none is the default.
    pub fn read(head: &Head) -> Page {
        let number = |name| parameter(head, name).and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        Page {
            page: number("page").unwrap_or(1),
            limit: number("limit").unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
            filter: parameter(head, "filter").unwrap_or_default().into_owned(),
        }
    }
}
