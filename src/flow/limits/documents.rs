//! What holds for documents and lists.

use crate::wire::key::Name;

/// Whether changes travel as patches.
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
    /// The mode for a subscriber that wants `wish`, where `self` holds. Where the operator wants no patches, there are
    /// none.
    pub fn with(self, wish: PatchMode) -> PatchMode {
        match (self, wish) {
            (PatchMode::Never, _) | (_, PatchMode::Auto) => self,
            (_, wish) => wish,
        }
    }
}

/// What holds for a key, or for the keys of one pattern and their list.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The key or the keys meant; the list of exactly this pattern.
    pub name: Name,
    /// Overrides the server's mode.
    pub patch: Option<PatchMode>,
    /// At most this many items; the oldest leaves when a new one comes.
    pub limit: Option<usize>,
}
