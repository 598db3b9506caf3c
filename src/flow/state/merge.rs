//! Deep merge, as the ooo dialect's PATCH and the feed's `merge` mean it.

use crate::flow::request::write::MergeRule;
use crate::wire::json::tree::{MemberNode, Node, Tree, ValueKind};
use crate::wire::json::{Json, MAX_LEN};

/// A merge that is refused. The texts are the ones that ooo's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The patch as a whole is no object. (ooo says yes to such a patch and ignores it.)
    #[error("merge: patch value must be object")]
    Root,
    /// The patch has something else where the document has an object; the names on the way there, with dots between.
    #[error("merge: patch value must be object for key \"{0}\"")]
    Member(String),
    /// The document is a string, a number or a literal. (ooo says yes and leaves it as it is.)
    #[error("merge: the document is neither an object nor an array")]
    Document,
    /// The patch names elements that an array of so many does not have. (ooo says yes and ignores them.)
    #[error("merge: patch names an element that the array of {0} does not have")]
    Element(usize),
    /// The result would be longer than any text that is taken.
    #[error("merge: the document would be longer than {MAX_LEN} bytes")]
    TooLong,
}

/// Merges `patch` into `doc`. Members stay where they were, new ones come at the end.
///
/// # Errors
/// [`MergeError`]; nothing is merged then.
pub fn merge(doc: &Json, patch: &Json, rule: MergeRule) -> Result<Json, MergeError> {
    let (doc_tree, patch_tree) = (Tree::new(doc), Tree::new(patch));
    let (old, new) = (doc_tree.root(), patch_tree.root());
    if rule == MergeRule::Ooo {
        if new.kind() != ValueKind::Object {
            return Err(MergeError::Root);
        }
        if !matches!(old.kind(), ValueKind::Object | ValueKind::Array) {
            return Err(MergeError::Document);
        }
    }
    if doc.as_str().len() + patch.as_str().len() > MAX_LEN {
        return Err(MergeError::TooLong);
    }
    let out = String::with_capacity(doc.as_str().len() + patch.as_str().len());
    let mut merger = Merger { rule, out, names: Vec::new() };
    merger.value(old, Some(new))?;
    Ok(Json::from_normalised(merger.out))
}

/// The merged text so far, and the way to where it grows.
struct Merger {
    rule: MergeRule,
    out: String,
    names: Vec<String>,
}

impl Merger {
    fn value(&mut self, old: Node<'_>, new: Option<Node<'_>>) -> Result<(), MergeError> {
        let Some(new) = new else {
            self.out.push_str(old.text());
            return Ok(());
        };
        match (old.kind(), new.kind()) {
            (ValueKind::Object, ValueKind::Object) => self.object(old, new)?,
            (ValueKind::Object, _) if self.rule == MergeRule::Ooo => {
                return Err(MergeError::Member(self.names.join(".")));
            }
            (ValueKind::Array, ValueKind::Object) if self.rule == MergeRule::Ooo => self.array(old, new)?,
            _ => self.new_value(new),
        }
        Ok(())
    }

    /// A value where none was, or none that it is merged into.
    fn new_value(&mut self, new: Node<'_>) {
        if self.rule != MergeRule::MergePatch || new.kind() != ValueKind::Object {
            return self.out.push_str(new.text());
        }
        self.out.push('{');
        for MemberNode { value, .. } in new.members().iter() {
            self.new_member(*value);
        }
        self.close('}');
    }

    /// Whether a member of the patch only says that there shall be none.
    fn removes(&self, new: Node<'_>) -> bool {
        self.rule == MergeRule::MergePatch && new.text() == "null"
    }

    /// A member that was not there.
    fn new_member(&mut self, member: Node<'_>) {
        if !self.removes(member) {
            self.name(member);
            self.new_value(member);
            self.out.push(',');
        }
    }

    fn object(&mut self, old: Node<'_>, new: Node<'_>) -> Result<(), MergeError> {
        let (before, patch) = (old.members(), new.members());
        self.out.push('{');
        for MemberNode { name, value } in before.iter() {
            let new = patch.get(name);
            if new.is_some_and(|new| self.removes(new)) {
                continue;
            }
            self.name(*value);
            self.names.push(name.clone().into_owned());
            self.value(*value, new)?;
            self.names.pop();
            self.out.push(',');
        }
        for MemberNode { value, .. } in patch.iter().filter(|member| before.get(&member.name).is_none()) {
            self.new_member(*value);
        }
        self.close('}');
        Ok(())
    }

    fn array(&mut self, old: Node<'_>, new: Node<'_>) -> Result<(), MergeError> {
        let patch = new.members();
        let (mut found, mut places) = (0, 0);
        self.out.push('[');
        for (i, element) in old.children().enumerate() {
            let place = i.to_string();
            let new = patch.get(&place);
            found += usize::from(new.is_some());
            places = i + 1;
            self.names.push(place);
            self.value(element, new)?;
            self.names.pop();
            self.out.push(',');
        }
        if found < patch.iter().len() {
            return Err(MergeError::Element(places));
        }
        self.close(']');
        Ok(())
    }

    fn name(&mut self, member: Node<'_>) {
        self.out.push_str(member.quoted_name().expect("a member has a name"));
        self.out.push(':');
    }

    /// Ends a container whose elements each have a comma behind them.
    fn close(&mut self, end: char) {
        if self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(end);
    }
}
