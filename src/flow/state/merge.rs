//! Deep merge, as the ooo dialect's PATCH and the feed's `merge` mean it.

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
    /// The result would be longer than any text that is taken.
    #[error("merge: the document would be longer than {MAX_LEN} bytes")]
    TooLong,
}

/// Merges `patch` into `doc`: objects member by member, at every depth; anything else takes the patch's value. `null`
/// is stored (it deletes nothing, unlike RFC 7386). Members stay where they were, new ones come at the end.
///
/// As in ooo, an object over an array changes the elements that its names number (others are ignored), and an object
/// over a document that is a string, number or literal leaves that document as it is.
///
/// # Errors
/// [`MergeError`]; nothing is merged then.
pub fn merge(doc: &Json, patch: &Json) -> Result<Json, MergeError> {
    let (doc_tree, patch_tree) = (Tree::new(doc), Tree::new(patch));
    let (old, new) = (doc_tree.root(), patch_tree.root());
    if new.kind() != ValueKind::Object {
        return Err(MergeError::Root);
    }
    if !matches!(old.kind(), ValueKind::Object | ValueKind::Array) {
        return Ok(doc.clone());
    }
    if doc.as_str().len() + patch.as_str().len() > MAX_LEN {
        return Err(MergeError::TooLong);
    }
    let mut merger =
        Merger { out: String::with_capacity(doc.as_str().len() + patch.as_str().len()), names: Vec::new() };
    merger.value(old, Some(new))?;
    Ok(Json::from_normalised(merger.out))
}

/// The merged text so far, and the way to where it grows.
struct Merger {
    out: String,
    names: Vec<String>,
}

impl Merger {
    fn value(&mut self, old: Node<'_>, new: Option<Node<'_>>) -> Result<(), MergeError> {
        match (old.kind(), new) {
            (_, None) => self.out.push_str(old.text()),
            (ValueKind::Object, Some(new)) if new.kind() == ValueKind::Object => self.object(old, new)?,
            (ValueKind::Object, Some(_)) => return Err(MergeError::Member(self.names.join("."))),
            (ValueKind::Array, Some(new)) if new.kind() == ValueKind::Object => self.array(old, new)?,
            (_, Some(new)) => self.out.push_str(new.text()),
        }
        Ok(())
    }

    fn object(&mut self, old: Node<'_>, new: Node<'_>) -> Result<(), MergeError> {
        let (before, patch) = (old.members(), new.members());
        self.out.push('{');
        for MemberNode { name, value } in before.iter() {
            self.name(*value);
            self.names.push(name.clone().into_owned());
            self.value(*value, patch.get(name))?;
            self.names.pop();
            self.out.push(',');
        }
        for MemberNode { value, .. } in patch.iter().filter(|member| before.get(&member.name).is_none()) {
            self.name(*value);
            self.out.push_str(value.text());
            self.out.push(',');
        }
        self.close('}');
        Ok(())
    }

    fn array(&mut self, old: Node<'_>, new: Node<'_>) -> Result<(), MergeError> {
        let patch = new.members();
        self.out.push('[');
        for (i, element) in old.children().enumerate() {
            let place = i.to_string();
            let new = patch.get(&place);
            self.names.push(place);
            self.value(element, new)?;
            self.names.pop();
            self.out.push(',');
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
