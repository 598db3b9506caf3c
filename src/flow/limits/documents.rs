//! The rules of documents and lists.

use crate::wire::key::Name;

/// Whether changes are sent as patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PatchMode {
    /// A patch where it is shorter than the snapshot.
    #[default]
    Auto,
    /// Always a snapshot.
    Never,
    /// Always a patch, once the subscriber has a value.
    Always,
}

impl PatchMode {
    /// The mode for a subscriber that asks for `requested`, where the operator has set `self`. Where the operator forbids
    /// patches, there are none.
    pub fn with(self, requested: PatchMode) -> PatchMode {
        match (self, requested) {
            (PatchMode::Never, _) | (_, PatchMode::Auto) => self,
            (_, requested) => requested,
        }
    }
}

/// Overrides for a key, or for the keys of one pattern and their list.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The key, or the pattern of keys and of exactly one list.
    pub name: Name,
    /// Overrides the server's mode.
    pub patch: Option<PatchMode>,
    /// At most this many items; a new one beyond it deletes the oldest.
    pub limit: Option<usize>,
}
