//! Diff, apply and merge against each other and against other people's code, on seeded random documents.

use fastrand::Rng;
use serde_json::Value;

use crate::flow::request::write::MergeRule;
use crate::flow::state::align::align;
use crate::flow::state::apply::{Why, apply};
use crate::flow::state::diff::{OpKind, Patch, diff};
use crate::flow::state::merge::merge;
use crate::wire::json::tree::{Tree, ValueKind};
use crate::wire::json::{Json, MAX_DEPTH};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn written(patch: &Patch, prefix: &str) -> String {
    let mut out = b"[".to_vec();
    patch.write(prefix, &mut out);
    assert_eq!(out.len() - 1, patch.text_len(prefix.len()), "text_len must be exact");
    out.push(b']');
    String::from_utf8(out).unwrap()
}

/// The diff is right by the crate json-patch and by `apply`, and never longer than replacing the root.
fn check(old: &str, new: &str) -> String {
    let (a, b) = (json(old), json(new));
    let patch = diff(&a, &b);
    let text = written(&patch, "");
    let ops: json_patch::Patch = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut theirs = value(old);
    json_patch::patch(&mut theirs, &ops).unwrap_or_else(|e| panic!("{old} {new} {text}: {e}"));
    assert_eq!(theirs, value(new), "{old} by {text}");
    let ours = apply(&a, &json(&text)).unwrap();
    assert_eq!(value(ours.as_str()), value(new), "{old} by {text}");
    assert!(diff(&ours, &b).is_empty(), "{ours:?} is not {new}");
    let whole = format!(r#"[{{"op":"replace","path":"","value":{}}}]"#, b.as_str());
    assert!(text.len() <= whole.len(), "{text} is longer than {whole}");
    // Below another value, as in an item of a list.
    let around = |inner: &str| format!(r#"[0,{{"data":{inner},"n":1}}]"#);
    let mut listed = value(&around(old));
    json_patch::patch(
        &mut listed,
        &serde_json::from_str::<json_patch::Patch>(&written(&patch, "/1/data")).unwrap(),
    )
    .unwrap();
    assert_eq!(listed, value(&around(new)));
    text
}

const NAMES: [&str; 14] = [
    "a",
    "b",
    "id",
    "key",
    "c/d",
    "~",
    "/",
    "",
    "q\\\"q",
    "back\\\\slash",
    "\\u0000\\n",
    "\u{1f600}",
    "\\u0061",
    "~1\\/",
];
const LEAVES: [&str; 12] = [
    "0",
    "1",
    "2",
    "-0",
    "1.0",
    "1e3",
    "12345678901234567890",
    "true",
    "null",
    "\"x\"",
    "\"\\u003c\"",
    "\"a longer string\"",
];

fn document(rng: &mut Rng, depth: usize) -> String {
    match rng.u8(0..if depth == 0 { 1 } else { 3 }) {
        0 => (*rng.choice(LEAVES).unwrap()).to_owned(),
        1 => {
            let len = rng.usize(0..7);
            list(&(0..len).map(|_| document(rng, depth - 1)).collect::<Vec<_>>())
        }
        _ => {
            let most = if rng.u8(0..9) == 0 { 30 } else { 5 };
            let mut names: Vec<String> = NAMES.map(str::to_owned).to_vec();
            names.extend((0..20).map(|i| format!("n{i}")));
            rng.shuffle(&mut names);
            names.truncate(rng.usize(0..most));
            // Some names say the same ("a" and its escape): of those serde_json keeps the last, as we do.
            let members: Vec<_> =
                names.iter().map(|name| format!("\"{name}\":{}", document(rng, depth - 1))).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn list(elements: &[String]) -> String {
    format!("[{}]", elements.join(","))
}

/// Another version: every value may be changed, elements may come, go, be doubled or change places.
fn mutate(rng: &mut Rng, text: &str) -> String {
    fn walk(rng: &mut Rng, text: &Json, out: &mut String) {
        let tree = Tree::new(text);
        let root = tree.root();
        if rng.u8(0..12) == 0 {
            out.push_str(&document(rng, 2));
            return;
        }
        let mut inside: Vec<String> = Vec::new();
        for child in root.children() {
            let name = child.quoted_name().map(|name| format!("{name}:")).unwrap_or_default();
            let mut changed = name;
            walk(rng, &json(child.text()), &mut changed);
            match rng.u8(0..12) {
                0 => {}
                1 if root.kind() == ValueKind::Array => inside.extend([changed.clone(), changed]),
                _ => inside.push(changed),
            }
        }
        if rng.u8(0..6) == 0 && !inside.is_empty() {
            let (from, to) = (rng.usize(..inside.len()), rng.usize(..inside.len()));
            let moved = inside.remove(from);
            inside.insert(to, moved);
        }
        match root.kind() {
            ValueKind::Array => {
                if rng.u8(0..6) == 0 {
                    inside.insert(rng.usize(..=inside.len()), document(rng, 1));
                }
                out.push_str(&list(&inside));
            }
            ValueKind::Object => out.push_str(&format!("{{{}}}", inside.join(","))),
            _ => out.push_str(root.text()),
        }
    }
    let mut out = String::new();
    walk(rng, &json(text), &mut out);
    out
}

#[test]
fn the_index_knows_every_value_and_name() {
    fn rebuild(node: crate::wire::json::tree::Node<'_>) -> String {
        let inside: Vec<_> = node
            .children()
            .map(|child| match child.quoted_name() {
                Some(name) => format!("{name}:{}", rebuild(child)),
                None => rebuild(child),
            })
            .collect();
        match node.kind() {
            ValueKind::Array => list(&inside),
            ValueKind::Object => format!("{{{}}}", inside.join(",")),
            _ => node.text().to_owned(),
        }
    }
    let mut rng = Rng::with_seed(10);
    for _ in 0..3000 {
        let text = json(&document(&mut rng, 4));
        assert_eq!(rebuild(Tree::new(&text).root()), text.as_str());
    }
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    for many in [0, 20] {
        let more: String = (0..many).map(|i| format!(",\"m{i}\":0")).collect();
        let text = json(&format!(r#"{{"a":1,"b":2,"\u0061":3{more},"b":4}}"#));
        let tree = Tree::new(&text);
        let members = tree.root().members();
        let found: Vec<_> = members.iter().take(2).map(|m| (m.name.as_ref(), m.value.text())).collect();
        assert_eq!(found, [("a", "3"), ("b", "4")]);
        assert_eq!(members.get("a").unwrap().text(), "3");
        assert_eq!(members.iter().count(), 2 + many);
        assert!(members.get("nothing").is_none());
    }
    check(r#"{"a":1,"a":2}"#, r#"{"a":3,"a":2}"#);
    check(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#);
}

#[test]
fn a_diff_applied_gives_the_new_document() {
    let mut rng = Rng::with_seed(11);
    let mut fine = 0;
    for _ in 0..2_000 {
        let old = document(&mut rng, 4);
        let new = if rng.u8(0..8) == 0 { document(&mut rng, 4) } else { mutate(&mut rng, &old) };
        fine += usize::from(!check(&old, &new).starts_with(r#"[{"op":"replace","path":"""#));
    }
    assert!(fine > 1_000, "hardly any case goes below the root: {fine}");
}

#[test]
fn array_diffs_are_exact() {
    let mut rng = Rng::with_seed(12);
    for _ in 0..3_000 {
        let array = |rng: &mut Rng| {
            let (len, kinds) = (rng.usize(0..12), rng.u32(1..6));
            list(&(0..len).map(|_| (1000 + rng.u32(..kinds)).to_string()).collect::<Vec<_>>())
        };
        let (old, new) = (array(&mut rng), array(&mut rng));
        check(&old, &new);
        check(
            &format!(r#"{{"pad":"{}","a":{old}}}"#, "x".repeat(200)),
            &format!(r#"{{"pad":"{}","a":{new}}}"#, "x".repeat(200)),
        );
    }
}

#[test]
fn upstream_bug_b3_arrays() {
    let pad = |array: &str| format!(r#"{{"data":{array},"pad":"{}"}}"#, "x".repeat(300));
    for (old, new) in [("[1,2]", "[3,2,1]"), ("[3,2,1]", "[3,1]"), ("[1,1,2]", "[1,2]")] {
        check(old, new);
        check(&pad(old), &pad(new));
    }
    assert_eq!(check(&pad("[3,2,1]"), &pad("[3,1]")), r#"[{"op":"remove","path":"/data/1"}]"#);
}

#[test]
fn upstream_bug_b9_values_of_other_kinds_change_places() {
    check(r#"[1,{"b":2}]"#, r#"[{"b":3},1]"#);
    check(r#"{"data":[1,{"b":2}]}"#, r#"{"data":[{"b":3},1]}"#);
}

#[test]
fn upstream_bug_b10_names_that_need_escaping() {
    let pad = "x".repeat(300);
    for name in NAMES {
        let object = |n: u32| format!(r#"{{"pad":"{pad}","{name}":{n}}}"#);
        let without = format!(r#"{{"pad":"{pad}"}}"#);
        assert!(check(&object(1), &object(2)).contains("replace"));
        assert!(check(&object(1), &without).contains("remove"));
        assert!(check(&without, &object(1)).contains("add"));
    }
    let old = json(&format!(r#"{{"pad":"{pad}","a~/\\\"\u0001":[0]}}"#));
    let new = json(&format!(r#"{{"pad":"{pad}","a~/\\\"\u0001":[0,5]}}"#));
    assert_eq!(diff(&old, &new).ops()[0].path, r#"/a~0~1\\\"\u0001/1"#);
}

#[test]
fn no_path_goes_where_clients_refuse_to_go() {
    for (old, new, path) in [
        (
            r#"{"p":{"__proto__":{"x":1},"pad":"%"},"q":"%"}"#,
            r#"{"p":{"__proto__":{"x":2},"pad":"%"},"q":"%"}"#,
            "/p",
        ),
        (r#"{"p":{"pad":"%"},"q":"%"}"#, r#"{"p":{"pad":"%","__proto__":1},"q":"%"}"#, "/p"),
        (r#"{"p":{"__proto__":1,"pad":"%"},"q":"%"}"#, r#"{"p":{"pad":"%"},"q":"%"}"#, "/p"),
        (r#"{"__prot\u006f__":{"x":1},"q":"%"}"#, r#"{"__prot\u006f__":{"x":2},"q":"%"}"#, ""),
        (
            r#"{"constructor":{"prototype":{"x":1}},"q":"%"}"#,
            r#"{"constructor":{"prototype":{"x":2}},"q":"%"}"#,
            "/constructor",
        ),
        (
            r#"{"constr\u0075ctor":{"prototype":{"x":1}},"q":"%"}"#,
            r#"{"constr\u0075ctor":{"prototype":{"x":2}},"q":"%"}"#,
            r"/constr\u0075ctor",
        ),
        (
            r#"{"a":{"prototype":{"x":1}},"q":"%"}"#,
            r#"{"a":{"prototype":{"x":2}},"q":"%"}"#,
            "/a/prototype/x",
        ),
    ] {
        let padded = |text: &str| text.replace('%', &"y".repeat(200));
        check(&padded(old), &padded(new));
        let patch = diff(&json(&padded(old)), &json(&padded(new)));
        let paths: Vec<&str> = patch.ops().iter().map(|op| &*op.path).collect();
        assert_eq!(paths, [path], "{old} {new}");
    }
}

#[test]
fn operations_come_in_one_order() {
    let pad = "x".repeat(300);
    let old = format!(r#"{{"z":1,"pad":"{pad}","a":1,"m":1,"k":1}}"#);
    let new = format!(r#"{{"n":2,"k":3,"pad":"{pad}","a":1,"b":4}}"#);
    assert_eq!(
        check(&old, &new),
        r#"[{"op":"remove","path":"/z"},{"op":"remove","path":"/m"},{"op":"add","path":"/n","value":2},{"op":"replace","path":"/k","value":3},{"op":"add","path":"/b","value":4}]"#
    );
}

#[test]
fn nothing_changed_is_no_operation() {
    for (old, new) in [
        ("1", "1"),
        (r#"{"a":1,"b":{"c":2,"d":[]}}"#, r#"{"b":{"d":[],"c":2},"a":1}"#),
        (r#"[{"a":1,"b":2}]"#, r#"[{"b":2,"a":1}]"#),
    ] {
        assert_eq!(check(old, new), "[]");
    }
    assert_eq!(check("1", "1.0"), r#"[{"op":"replace","path":"","value":1.0}]"#);
}

#[test]
fn small_changes_are_small_patches() {
    let row = |id: u32, n: u32| format!(r#"{{"id":{id},"name":"row number {id}","n":{n}}}"#);
    let rows = |ids: &[u32]| list(&ids.iter().map(|id| row(*id, 0)).collect::<Vec<_>>());
    let old = rows(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(diff(&json(&old), &json(&rows(&[1, 2, 4, 5, 6]))).ops().len(), 1);
    assert_eq!(check(&old, &rows(&[1, 2, 4, 5, 6])), r#"[{"op":"remove","path":"/2"}]"#);
    // A row comes in front of one that changes: the name decides which one is which.
    let new = rows(&[1, 2, 9, 3, 4, 5, 6]).replace(&row(3, 0), &row(3, 7));
    let patch = diff(&json(&old), &json(&new));
    assert_eq!(patch.ops().iter().map(|op| op.kind).collect::<Vec<_>>(), [OpKind::Add, OpKind::Replace]);
    check(&old, &new);
    // A window that moves on.
    let window = |from: u32| list(&(from..from + 60).map(|i| (i * i % 7).to_string()).collect::<Vec<_>>());
    assert_eq!(check(&window(0), &window(1)).matches("\"op\"").count(), 2);
}

#[test]
fn replacing_whole_wins_where_it_is_shorter() {
    let object = |n: u32| {
        let members: Vec<_> = (0..50).map(|i| format!(r#""field{i}":{n}"#)).collect();
        format!(r#"{{"other":"{}","object":{{{}}}}}"#, "x".repeat(2000), members.join(","))
    };
    assert!(check(&object(1), &object(2)).starts_with(r#"[{"op":"replace","path":"/object","value":{"#));
}

/// That it costs no more for each element than a short one is held in instructions (`tests/budgets.rs`).
#[test]
fn a_long_array_below_a_long_name_is_replaced_whole() {
    let deep = |n: u32| {
        let leaf = list(&vec![n.to_string(); 10_000]);
        format!(r#"{{"{}":{leaf}}}"#, "x".repeat(10_000))
    };
    assert_eq!(diff(&json(&deep(1)), &json(&deep(2))).ops().len(), 1);
}

#[test]
fn alignment_is_exact_where_it_is_small_and_sound_where_it_is_not() {
    let mut rng = Rng::with_seed(14);
    let names: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    for round in 0..400 {
        let (len, kinds) = if round % 40 == 0 { (1500, 3000) } else { (rng.usize(0..30), rng.usize(1..20)) };
        let any = |rng: &mut Rng, len| {
            (0..len).map(|_| Some(names[rng.usize(..kinds)].as_str())).collect::<Vec<_>>()
        };
        let old = any(&mut rng, len);
        let other = rng.usize(0..30);
        let new = any(&mut rng, len + other);
        let pairs = align(&old, &new);
        assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        assert!(pairs.iter().all(|(i, j)| old[*i] == new[*j]));
        if old.len() != new.len() && len < 30 {
            assert_eq!(pairs.len(), longest_common(&old, &new), "{old:?} {new:?}");
        }
    }
}

/// The length of a longest common subsequence, by the textbook's table.
fn longest_common(old: &[Option<&str>], new: &[Option<&str>]) -> usize {
    let mut row = vec![0; new.len() + 1];
    for a in old {
        let mut diagonal = 0;
        for (j, b) in new.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if a == b { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[new.len()]
}

fn applied(doc: &str, patch: &str) -> Result<String, String> {
    apply(&json(doc), &json(patch)).map(|doc| doc.as_str().to_owned()).map_err(|e| e.to_string())
}

#[test]
fn all_six_operations_apply_and_numbers_stay_verbatim() {
    let doc = r#"{"a":[1e3,2.50],"b":{"c/d":12345678901234567890},"s":"\u00e9\/"}"#;
    let patch = r#"[
        {"op":"test","path":"/s","value":"\u00E9/"}, {"op":"test","path":"/a/0","value":1000.0},
        {"op":"add","path":"/a/-","value":1E+2}, {"op":"add","path":"/a/0","value":{"<":-0}},
        {"op":"replace","path":"/b/c~1d","value":1.0}, {"op":"copy","from":"/a/1","path":"/x"},
        {"op":"move","from":"/b","path":"/y"}, {"op":"remove","path":"/a/2"}]"#;
    let new = applied(doc, patch).unwrap();
    assert_eq!(new, r#"{"a":[{"\u003c":-0},1e3,1E+2],"x":1e3,"s":"\u00e9\/","y":{"c/d":1.0}}"#);
    assert_eq!(
        applied("1", r#"[{"op":"replace","path":"","value":2.0},{"op":"test","path":"","value":2}]"#)
            .unwrap(),
        "2.0"
    );
}

#[test]
fn test_compares_numbers_by_their_exact_value() {
    for (is, tested, same) in [
        ("0", "-0", true),
        ("1e400", "10e399", true),
        ("0.1", "0.10000000000000001", false),
        ("0", "1e-400", false),
        ("9007199254740993", "9007199254740992.0", false),
        ("12345678901234567890", "1.234567890123456789e19", true),
        ("[1.0]", "[1]", true),
        ("1", r#""1""#, false),
        ("null", "0", false),
    ] {
        let test = format!(r#"[{{"op":"test","path":"","value":{tested}}}]"#);
        assert_eq!(applied(is, &test).is_ok(), same, "{is} {tested}");
    }
}

#[test]
fn a_patch_applies_whole_or_not_and_says_why() {
    for (patch, why) in [
        (r#"{}"#, "a patch must be an array of operations"),
        (r#"[5]"#, "operation 0: must be an object"),
        (r#"[{"path":"/a"}]"#, "operation 0: has no \"op\""),
        (r#"[{"op":"add","path":5,"value":1}]"#, "operation 0: \"path\" must be a string"),
        (r#"[{"op":"add","path":"/a"}]"#, "operation 0: has no \"value\""),
        (
            r#"[{"op":"swap","path":"/a"}]"#,
            "operation 0: \"swap\" is none of add, remove, replace, move, copy, test",
        ),
        (r#"[{"op":"remove","path":"a"}]"#, "operation 0: \"a\" is not a JSON pointer"),
        (r#"[{"op":"remove","path":"/~2"}]"#, "operation 0: \"/~2\" is not a JSON pointer"),
        (r#"[{"op":"remove","path":"/a"},{"op":"remove","path":"/a"}]"#, "operation 1: there is no \"/a\""),
        (r#"[{"op":"add","path":"/l/3","value":0}]"#, "operation 0: there is no \"/l/3\""),
        (r#"[{"op":"add","path":"/l/01","value":0}]"#, "operation 0: there is no \"/l/01\""),
        (r#"[{"op":"copy","from":"/zz","path":"/a"}]"#, "operation 0: there is no \"/zz\""),
        (
            r#"[{"op":"move","from":"/o","path":"/o/p"}]"#,
            "operation 0: cannot move a value to \"/o/p\", which is inside it",
        ),
        (r#"[{"op":"test","path":"/a","value":2}]"#, "operation 0: the value at \"/a\" is another one"),
        (r#"[{"op":"test","path":"/a","value":"1"}]"#, "operation 0: the value at \"/a\" is another one"),
    ] {
        assert_eq!(applied(r#"{"a":1,"l":[1,2],"o":{}}"#, patch).unwrap_err(), why, "{patch}");
    }
}

#[test]
fn a_patch_cannot_grow_a_document_without_bound() {
    let doubling: Vec<_> =
        (0..100).map(|_| r#"{"op":"copy","from":"/a","path":"/a/-"}"#.to_owned()).collect();
    let error = apply(&json(r#"{"a":["xxxxxxxxxxxx"]}"#), &json(&list(&doubling))).unwrap_err();
    assert_eq!(error.why, Why::TooMuch);
    let nesting: Vec<_> = (0..200)
        .flat_map(|_| {
            [
                r#"{"op":"add","path":"/b","value":[]}"#,
                r#"{"op":"move","from":"/a","path":"/b/0"}"#,
                r#"{"op":"move","from":"/b","path":"/a"}"#,
            ]
        })
        .map(str::to_owned)
        .collect();
    let error = apply(&json(r#"{"a":0}"#), &json(&list(&nesting))).unwrap_err();
    assert_eq!(error.why, Why::TooDeep);
}

#[test]
fn the_deepest_document_can_be_diffed_merged_and_patched() {
    let deep = |leaf: &str| format!("{}{leaf}{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
    let (old, new) = (json(&deep("1")), json(&deep("2")));
    let patch = json(&written(&diff(&old, &new), ""));
    assert_eq!(apply(&old, &patch).unwrap(), new);
    assert_eq!(merge(&old, &new, MergeRule::Ooo).unwrap(), new);
}

#[test]
fn the_private_names_of_serde_json_mean_nothing_here() {
    let number = r#"{"$serde_json::private::Number":"12"}"#;
    let raw = r#"{"$serde_json::private::RawValue":"{}"}"#;
    let patch =
        format!(r#"[{{"op":"add","path":"/x","value":{number}}},{{"op":"test","path":"/r","value":{raw}}}]"#);
    assert_eq!(
        applied(&format!(r#"{{"r":{raw}}}"#), &patch).unwrap(),
        format!(r#"{{"r":{raw},"x":{number}}}"#)
    );
    let patch = diff(&json(number), &json(raw));
    assert_eq!(apply(&json(number), &json(&written(&patch, ""))).unwrap(), json(raw));
}

fn merged(doc: &str, patch: &str) -> Result<String, String> {
    merged_by(MergeRule::Ooo, doc, patch)
}

fn merged_by(rule: MergeRule, doc: &str, patch: &str) -> Result<String, String> {
    merge(&json(doc), &json(patch), rule).map(|doc| doc.as_str().to_owned()).map_err(|e| e.to_string())
}

#[test]
fn merging_is_deep_and_keeps_order_and_literals() {
    let doc = r#"{"a":1.0,"b":{"c":1,"d":[1,2]},"e\/":"x"}"#;
    for (patch, new) in [
        (
            r#"{"z":1e3,"a":null,"b":{"d":[],"n":{"m":null}}}"#,
            r#"{"a":null,"b":{"c":1,"d":[],"n":{"m":null}},"e\/":"x","z":1e3}"#,
        ),
        (r#"{"a":{"deep":{}},"e/":2}"#, r#"{"a":{"deep":{}},"b":{"c":1,"d":[1,2]},"e\/":2}"#),
        (r#"{"b":{"d":{"1":"two"}}}"#, r#"{"a":1.0,"b":{"c":1,"d":[1,"two"]},"e\/":"x"}"#),
        ("{}", doc),
    ] {
        assert_eq!(merged(doc, patch).unwrap(), new);
    }
    assert_eq!(merged("{}", r#"{"a":1}"#).unwrap(), r#"{"a":1}"#);
    assert_eq!(merged("[[],{}]", r#"{"1":{"a":1}}"#).unwrap(), r#"[[],{"a":1}]"#);
}

#[test]
fn merging_something_else_over_an_object_is_refused() {
    let doc = r#"{"a":1,"b":{"c":{"d":1}},"l":[{}]}"#;
    for (patch, error) in [
        (r#"{"a":2,"b":5}"#, r#"merge: patch value must be object for key "b""#),
        (r#"{"b":null}"#, r#"merge: patch value must be object for key "b""#),
        (r#"{"b":{"c":[]}}"#, r#"merge: patch value must be object for key "b.c""#),
        (r#"{"l":{"0":1}}"#, r#"merge: patch value must be object for key "l.0""#),
        ("5", "merge: patch value must be object"),
        (r#"{"l":{"0":{},"1":2}}"#, "merge: patch names an element that the array of 1 does not have"),
        (r#"{"l":{"00":{}}}"#, "merge: patch names an element that the array of 1 does not have"),
    ] {
        assert_eq!(merged(doc, patch).unwrap_err(), error);
    }
    for doc in ["5", "null", r#""s""#] {
        let error = merged(doc, r#"{"a":1}"#).unwrap_err();
        assert_eq!(error, "merge: the document is neither an object nor an array");
    }
}

#[test]
fn what_is_no_object_takes_the_new_value_of_the_feed() {
    for (doc, patch, new) in [
        ("5", r#"{"a":1}"#, r#"{"a":1}"#),
        ("null", r#"{"a":null}"#, r#"{"a":null}"#),
        ("[1,2,3]", r#"{"1":9}"#, r#"{"1":9}"#),
        (
            r#"{"k":[1,2],"b":{"c":1,"d":2}}"#,
            r#"{"k":{"x":8},"b":{"d":[]}}"#,
            r#"{"k":{"x":8},"b":{"c":1,"d":[]}}"#,
        ),
        (r#"{"k":{"a":1}}"#, r#"{"k":5}"#, r#"{"k":5}"#),
        (r#"{"k":1}"#, "[2]", "[2]"),
    ] {
        assert_eq!(merged_by(MergeRule::Feed, doc, patch).unwrap(), new);
    }
}

/// The examples of RFC 7396, appendix A.
#[test]
fn a_merge_patch_does_what_its_standard_says() {
    for (doc, patch, new) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        assert_eq!(merged_by(MergeRule::MergePatch, doc, patch).unwrap(), new, "{doc} {patch}");
    }
}

#[test]
fn merging_agrees_with_a_naive_model() {
    fn model(doc: &mut Value, patch: &Value) -> bool {
        match (doc, patch) {
            (Value::Object(doc), Value::Object(patch)) => {
                patch.iter().all(|(name, new)| match doc.get_mut(name) {
                    Some(old) => model(old, new),
                    None => doc.insert(name.clone(), new.clone()).is_none(),
                })
            }
            (Value::Object(_), _) => false,
            (Value::Array(list), Value::Object(patch)) => {
                let places: Vec<String> = (0..list.len()).map(|i| i.to_string()).collect();
                let each = list.iter_mut().zip(&places);
                patch.keys().all(|name| places.contains(name))
                    && each.into_iter().all(|(old, at)| patch.get(at).is_none_or(|new| model(old, new)))
            }
            (doc, patch) => {
                *doc = patch.clone();
                true
            }
        }
    }
    let mut rng = Rng::with_seed(15);
    for _ in 0..5000 {
        let (doc, patch) = (document(&mut rng, 3), document(&mut rng, 3));
        let (doc, patch) = (format!("{{\"a\":{doc}}}"), format!("{{\"a\":{patch}}}"));
        let mut expected = value(&doc);
        let fits = model(&mut expected, &value(&patch));
        let ours = merged(&doc, &patch);
        assert_eq!(ours.is_ok(), fits, "{doc} {patch} {ours:?}");
        if let Ok(ours) = ours {
            assert_eq!(value(&ours), expected);
        }
    }
}
