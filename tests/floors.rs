//! The floors: a file imports its own floor and lower ones, and names nothing that belongs above it. The wings of a
//! shard do not know each other, no files import each other in a circle, and a type has one home.
//!
//! A line scan is exact because imports are written singly rooted: `use crate::{` and `super::super` are forbidden, and
//! `super::` where it would leave a floor or a step. Test modules may import freely downwards and name the machine.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A place in the building; a lower one may not import a higher one.
type Rank = (u8, u8);

/// The floors, from the ground up.
const FLOORS: [(&str, u8); 7] =
    [("base", 0), ("wire", 1), ("flow", 2), ("shard", 3), ("runtime", 4), ("control", 5), ("server", 6)];

/// The steps of one event; `limits`, `actor` and `filter` lie below them all.
const STEPS: [&str; 9] =
    ["limits", "identity", "filter", "request", "route", "state", "encode", "fanout", "conn"];

/// The two wings of a shard. Each imports itself and what lies between them.
const WINGS: [&str; 2] = ["connections", "owner"];

/// What lies between the wings, and imports neither.
const BETWEEN: [&str; 9] =
    ["context", "control", "credit", "end_reason", "inspect", "io", "mail", "stats", "timers"];

/// What no floor below `runtime` names: I/O, the clock, threads, the log, chance, locks.
const MACHINE: [&str; 24] = [
    "std::net",
    "std::fs",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "std::time",
    "Instant",
    "SystemTime",
    "log::",
    "println!",
    "eprintln!",
    "glommio",
    "tokio",
    "rustix",
    "libc::",
    "io_uring",
    "socket2",
    "crossbeam",
    "fastrand",
    "Mutex",
    "RwLock",
    "Condvar",
];

/// Traits and types of `std::io` that work on bytes in memory.
const IN_MEMORY: [&str; 2] = ["std::io::Write", "std::io::Cursor"];

/// One source file, its comments and test modules taken out.
struct Source {
    path: String,
    code: Vec<(usize, String)>,
    tests: Vec<(usize, String)>,
}

fn rank(path: &[&str]) -> Option<Rank> {
    let (_, floor) = FLOORS.iter().find(|(name, _)| path.first() == Some(name))?;
    if path[0] != "flow" || path.len() == 1 {
        return Some((*floor, 0));
    }
    let step = STEPS.iter().position(|step| *step == path[1])?;
    Some((*floor, step as u8))
}

/// `flow/state/diff.rs` as a path of modules: `["flow", "state", "diff"]`.
fn modules(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib" | &"main")) {
        parts.pop();
    }
    parts
}

fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `name` stands in `line` as a whole name, not as part of a longer one.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let open_end = !name.ends_with(is_word);
        !line[..at].ends_with(is_word) && (open_end || !line[at + name.len()..].starts_with(is_word))
    })
}

/// The paths behind `crate::` in a line.
fn imports(line: &str) -> impl Iterator<Item = Vec<&str>> {
    line.match_indices("crate::").filter(|(at, _)| !line[..*at].ends_with(is_word)).map(|(at, root)| {
        let rest = &line[at + root.len()..];
        let end = rest.find(|c| !is_word(c) && c != ':').unwrap_or(rest.len());
        rest[..end].split("::").collect()
    })
}

/// What is wrong with the imports of a line in the file of these modules.
fn import_fault(own: &[&str], line: &str) -> Option<String> {
    if line.contains("use crate::{") || line.contains("super::super") {
        return Some("imports are written singly rooted: `use crate::a::b`".into());
    }
    let at_edge = own.len() == 1 || (own.first() == Some(&"flow") && own.len() == 2);
    if at_edge && line.contains("super::") {
        return Some("`super::` would leave the floor or the step".into());
    }
    // The crate's root only declares the floors.
    let Some(here) = rank(own) else { return (own.len() > 1).then(|| "stands on no floor".into()) };
    imports(line).find_map(|path| match rank(&path) {
        None => Some(format!("`{}` is on no floor that we know", path.join("::"))),
        Some(there) if there > here => Some(format!("imports upwards: `{}`", path.join("::"))),
        Some(_) => None,
    })
}

/// What is wrong with the imports of a line between the wings of a shard.
fn wing_fault(own: &[&str], line: &str) -> Option<String> {
    let ["shard", here, ..] = own else { return None };
    let may = |there: &str| BETWEEN.contains(&there) || WINGS.contains(here) && there == *here;
    let wrong =
        imports(line).find(|path| path[0] == "shard" && !path.get(1).is_some_and(|there| may(there)))?;
    Some(format!("a wall is between: `{}`", wrong.join("::")))
}

/// What a line of the file of these modules names that its floor must not.
fn name_fault(own: &[&str], line: &str) -> Option<String> {
    if own.first() != Some(&"runtime") && names(line, "unsafe") {
        return Some("`unsafe` is for the runtime".into());
    }
    if own.first() == Some(&"runtime") {
        let protocol = ["crate::wire", "crate::flow"].into_iter().find(|name| names(line, name));
        return protocol.map(|name| format!("the runtime knows no protocol, but names `{name}`"));
    }
    if rank(own).is_none_or(|(floor, _)| floor > 3) {
        return None;
    }
    let mut line = line.to_owned();
    for allowed in IN_MEMORY.iter().filter(|allowed| names(&line, allowed)).collect::<Vec<_>>() {
        line = line.replace(*allowed, "");
    }
    MACHINE.iter().find(|name| names(&line, name)).map(|name| format!("names `{name}`"))
}

fn faults(source: &Source) -> Vec<String> {
    let own = modules(&source.path);
    let told = |(number, line): &(usize, String), fault: String| {
        format!("src/{}:{number}: {fault}\n    {}", source.path, line.trim())
    };
    let in_code = source.code.iter().filter_map(|entry| {
        let fault = import_fault(&own, &entry.1).or_else(|| wing_fault(&own, &entry.1));
        Some(told(entry, fault.or_else(|| name_fault(&own, &entry.1))?))
    });
    // In a test module `super::` is the file itself.
    let in_tests = source.tests.iter().filter_map(|entry| {
        let fault = import_fault(&own, &entry.1.replacen("super::", "", 1))?;
        Some(told(entry, fault))
    });
    in_code.chain(in_tests).collect()
}

/// Splits a text into code and inline test modules (as rustfmt lays them out), without comments.
fn read(path: &str, text: &str) -> Source {
    let mut source = Source { path: path.to_owned(), code: Vec::new(), tests: Vec::new() };
    let (mut in_tests, mut marked) = (false, false);
    for (i, line) in text.lines().enumerate() {
        in_tests |= marked && line.starts_with("mod ") && line.ends_with('{');
        let part = if in_tests { &mut source.tests } else { &mut source.code };
        part.push((i + 1, without_comment(line).to_owned()));
        marked = line == "#[cfg(test)]";
        in_tests &= line != "}";
    }
    source
}

/// The files of test modules: those declared by `#[cfg(test)]` and `mod name;`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let parent = modules(path).join("/");
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    let name = |pair: &[&str]| pair[1].trim().strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned);
    declared.filter_map(name).map(|name| format!("{parent}/{name}")).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).expect("it is under src").to_str().expect("a plain name");
            (path.to_owned(), fs::read_to_string(file).expect("it is text"))
        })
        .collect();
    let tests: HashSet<String> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &str| {
        let own = modules(path);
        (1..=own.len()).any(|len| tests.contains(&own[..len].join("/")))
    };
    let split = |(path, text): &(String, String)| {
        let mut source = read(path, text);
        if is_test(path) {
            source.tests.append(&mut source.code);
        }
        source
    };
    texts.iter().map(split).collect()
}

#[test]
fn every_import_goes_down_and_no_floor_names_what_is_above_it() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    let faults: Vec<String> = sources.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The files that a file imports, by their places in `files`.
fn imported(files: &[(String, &Source)], at: usize) -> HashSet<usize> {
    let own = modules(&files[at].1.path);
    let find = |path: &[&str]| {
        (1..=path.len())
            .rev()
            .find_map(|len| files.iter().position(|(name, _)| *name == path[..len].join("/")))
    };
    let relative = |line: &str| -> Option<usize> {
        let rest = line.trim_start().trim_start_matches("pub ").strip_prefix("use ")?;
        let path: Vec<&str> = rest.split(|c: char| !is_word(c) && c != ':').next()?.split("::").collect();
        let (base, path) = match path.split_first()? {
            (&"super", path) => (&own[..own.len() - 1], path),
            (&"self", path) => (&own[..], path),
            _ => (&own[..], &path[..]),
        };
        let first = [base, &path[..1]].concat();
        files.iter().any(|(name, _)| *name == first.join("/")).then(|| find(&[base, path].concat()))?
    };
    let lines = files[at].1.code.iter().map(|(_, line)| line.as_str());
    let found = lines.flat_map(|line| imports(line).filter_map(|path| find(&path)).chain(relative(line)));
    found.filter(|there| *there != at).collect()
}

/// The files of a circle of imports, if there is one.
fn circle(sources: &[Source]) -> Option<Vec<String>> {
    let files: Vec<(String, &Source)> =
        sources.iter().map(|source| (modules(&source.path).join("/"), source)).collect();
    let mut left: Vec<HashSet<usize>> = (0..files.len()).map(|at| imported(&files, at)).collect();
    // files that import nothing which is left stand in no circle, and then those that import only them
    let mut gone = HashSet::new();
    while let Some(free) = (0..files.len()).find(|at| !gone.contains(at) && left[*at].is_empty()) {
        gone.insert(free);
        for imports in &mut left {
            imports.remove(&free);
        }
    }
    let mut at = (0..files.len()).find(|at| !gone.contains(at))?;
    let mut way = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        at = *left[at].iter().min().expect("what is left imports something that is left");
    }
    let start = way.iter().position(|place| *place == at).expect("it came back to it");
    Some(way[start..].iter().map(|place| files[*place].1.path.clone()).collect())
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_eq!(circle(&sources()), None);
}

/// The type of an inherent `impl` that begins here.
fn implemented(line: &str) -> Option<String> {
    // an arrow closes no bracket
    let line = line.replace("->", "  ");
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        })?;
        rest = &rest[end + 1..];
    }
    let name = rest.trim_start().split(|c| !is_word(c)).next()?;
    (!line.contains(" for ") && name.starts_with(char::is_uppercase)).then(|| name.to_owned())
}

#[test]
fn a_type_has_one_home() {
    let mut homes: HashMap<String, HashSet<String>> = HashMap::new();
    for source in sources() {
        for name in source.code.iter().filter_map(|(_, line)| implemented(line)) {
            homes.entry(name).or_default().insert(source.path.clone());
        }
    }
    assert!(homes.len() > 50, "the scan sees nothing");
    let spread: Vec<_> = homes.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(spread.is_empty(), "{spread:#?}");
}

#[test]
fn circles_and_homes_are_seen() {
    let files = |lines: [&str; 3]| -> Vec<Source> {
        let paths = ["base/mod.rs", "base/a.rs", "base/b.rs"];
        paths.iter().zip(lines).map(|(path, line)| read(path, line)).collect()
    };
    for (lines, wrong) in [
        (["pub mod a;\npub mod b;", "use crate::base::b::B;", ""], false),
        (["pub use a::A;", "use crate::base::b::B;", "use super::a::A;"], true),
        (["use a::A;", "use super::X;", ""], false),
        (["use a::A;", "use crate::base::X;", ""], true),
    ] {
        assert_eq!(circle(&files(lines)).is_some(), wrong, "{lines:?}");
    }
    for (line, name) in [
        ("impl<T: Ord> Timers<T> {", Some("Timers")),
        ("impl<F: FnOnce() -> Shard> Worker<F> {", Some("Worker")),
        ("impl Shard {", Some("Shard")),
        ("impl Default for Shard {", None),
        ("    impl Inner {", None),
    ] {
        assert_eq!(implemented(line).as_deref(), name, "{line}");
    }
}

#[test]
fn every_unsafe_block_of_the_runtime_gives_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let mut blocks = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            if !names(without_comment(line), "unsafe") {
                continue;
            }
            blocks += 1;
            let near = &lines[i.saturating_sub(4)..i];
            assert!(near.iter().any(|l| l.contains("// SAFETY:")), "{}:{}: {line}", file.display(), i + 1);
        }
    }
    assert!(blocks > 0, "the scan sees nothing");
}

/// The ledger gives out for changes what no record makes: who watches, and who is in the rooms. Its state it gives to be
/// read only, so that it changes by `commit` alone.
#[test]
fn the_ledger_gives_its_state_to_be_read_only() {
    let ledger = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shard/owner/ledger.rs"));
    let ledger = ledger.expect("the ledger is there");
    let given: Vec<&str> =
        ledger.lines().filter_map(|line| line.split_once("-> &mut ")).map(|(_, is)| is).collect();
    assert_eq!(given, ["Watchers {", "Occupancies {"]);
    assert!(!ledger.contains("    pub state:"), "the state is the ledger's own");
}

/// The scan itself must be able to fail.
#[test]
fn made_up_offences_are_found() {
    let offends = |path: &str, line: &str| !faults(&read(path, line)).is_empty();
    for (path, line) in [
        ("base/slab.rs", "use crate::wire::key::Key;"),
        ("wire/feed.rs", "    let x = crate::flow::limits::Limits::default();"),
        ("flow/state/diff.rs", "use crate::flow::encode::frame::Frame;"),
        ("flow/limits/mod.rs", "use crate::flow::request::write::Write;"),
        ("flow/fanout/plan.rs", "use crate::shard::mail::Mail;"),
        ("flow/conn/mod.rs", "use crate::flow::nowhere::X;"),
        ("flow/conn/mod.rs", "use crate::flow::{fanout, state};"),
        ("flow/state/mod.rs", "use super::conn::Conn;"),
        ("wire/mod.rs", "use super::server::cli;"),
        ("wire/key.rs", "use crate::{base, wire};"),
        ("wire/http/head.rs", "use super::super::key;"),
        ("runtime/ring.rs", "use crate::control::admin::Admin;"),
        ("control/admin.rs", "use crate::server::cli;"),
        ("runtime/event_loop.rs", "use crate::wire::ws;"),
        ("shard/mod.rs", "use std::time::Instant;"),
        ("shard/mod.rs", "    let now = Instant::now();"),
        ("shard/mod.rs", "    log::info!(\"no\");"),
        ("wire/feed.rs", "use std::io::{Read, Write};"),
        ("wire/feed.rs", "use std::io::Write; use std::net::TcpStream;"),
        ("flow/fanout/plan.rs", "use std::sync::Mutex;"),
        ("shard/mod.rs", "    unsafe { go() }"),
        ("server/cli.rs", "#[allow(unsafe_code)] unsafe fn f() {}"),
        ("base/slab.rs", "#[cfg(test)]\nmod tests {\n    use crate::wire::key::Key;\n}"),
        ("base/slab.rs", "#[cfg(test)]\nmod tests {\n}\nuse crate::wire::key::Key;"),
        ("attic/lamp.rs", "use crate::base::id::Id;"),
        ("shard/connections/view.rs", "use crate::shard::owner::lists::Lists;"),
        ("shard/owner/mod.rs", "use crate::shard::connections::Connections;"),
        ("shard/owner/rooms.rs", "use crate::shard::Shard;"),
        ("shard/mail/mod.rs", "use crate::shard::owner::Owner;"),
        ("shard/context.rs", "use crate::shard::connections::Reason;"),
    ] {
        assert!(offends(path, line), "{path}: {line}");
    }
    for (path, line) in [
        ("wire/feed.rs", "use crate::base::id::Id;"),
        ("wire/feed.rs", "use std::io::Write;"),
        ("wire/feed.rs", "// use crate::shard::Shard; unsafe, Instant"),
        ("flow/encode/ooo.rs", "use crate::flow::state::item::Item;"),
        ("flow/encode/ooo.rs", "    let logs = dialog::Instants;"),
        ("wire/http/head.rs", "use super::BadRequest;"),
        (
            "base/slab.rs",
            "#[cfg(test)]\nmod tests {\n    use super::Slab;\n    let t = std::time::Instant::now();\n}",
        ),
        ("runtime/ring.rs", "    unsafe { push() }"),
        ("control/shards.rs", "use crate::runtime::control_lane::ControlHandle;"),
        ("server/cli.rs", "use crate::control::admin::Admin;"),
        ("shard/owner/rooms.rs", "use crate::shard::owner::channels::Channels;"),
        ("shard/owner/rooms.rs", "use crate::shard::mail::to_owner::ToOwner;"),
        ("shard/mod.rs", "use crate::shard::owner::Owner;"),
    ] {
        assert!(!offends(path, line), "{path}: {line}");
    }
}
