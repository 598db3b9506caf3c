//! What keeps the tree readable: a purpose on every file, bounds on length, links that lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file.
const MAX_FILE: usize = 800;
/// The median of the source files' lines is at most this.
const MEDIAN_FILE: usize = 200;
/// Lines of a function, signature and closing brace included.
const MAX_FUNCTION: usize = 60;
/// Parameters of a function, `self` included.
const MAX_PARAMETERS: usize = 6;
/// Folders that hold nothing of ours.
const FOREIGN: [&str; 3] = ["target", "node_modules", ".git"];
/// Texts that nobody should commit; in two parts, so that this file does not hold them.
const UNFINISHED: [(&str, &str); 5] =
    [("to", "do!("), ("unimple", "mented!("), ("FIX", "ME"), ("TO", "DO"), ("db", "g!(")];
/// Where developers keep their trees.
const PRIVATE: [(&str, &str); 4] = [("/ho", "me/"), ("/wo", "rk/"), ("/Us", "ers/"), ("/ro", "ot/")];

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn shown(&self) -> String {
        self.path.strip_prefix(root()).expect("it is ours").display().to_string()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().unwrap_or_default();
        if FOREIGN.iter().any(|foreign| name == *foreign) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push(File { path, text });
        }
    }
}

/// The tree's text files whose names end like this.
fn files(ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.retain(|file| file.path.to_string_lossy().ends_with(ending));
    assert!(!found.is_empty(), "the walk finds no *{ending}");
    found
}

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Functions that are too long, as `(line, length)`, by the braces that rustfmt puts in the column of the `fn`.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let function = |line: &str| {
        let code = line.trim_start().trim_start_matches("pub");
        let code = code.strip_prefix("(super)").or(code.strip_prefix("(crate)")).unwrap_or(code).trim_start();
        ["fn ", "async fn ", "const fn ", "unsafe fn "].iter().any(|begin| code.starts_with(begin))
    };
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| function(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |(n, line): (usize, &&str)| {
            let rest = line.strip_prefix(indent).filter(|rest| !rest.starts_with(' ')).unwrap_or_default();
            rest == "}" || rest.ends_with(';') || rest.ends_with("{}") || (n == 0 && rest.ends_with('}'))
        };
        let len = lines[i..].iter().enumerate().position(ends).map_or(0, |n| n + 1);
        if len > MAX_FUNCTION {
            found.push((i + 1, len));
        }
    }
    found
}

/// Functions with too many parameters, as `(line, parameters)`.
fn wide_functions(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn ").filter(|(at, _)| !text[..*at].ends_with(is_word)) {
        let line = text[..at].lines().count();
        let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let Some(open) = text[at..].find('(').filter(|_| !text[begin..at].contains("//")) else { continue };
        // brackets of every kind hold commas that part no parameters; an arrow closes none
        let signature = text[at + open + 1..].replace("->", "  ");
        let (mut depth, mut parameters, mut begun) = (0, 0, false);
        for c in signature.chars() {
            match c {
                '(' | '[' | '{' | '<' => depth += 1,
                ')' if depth == 0 => break,
                ')' | ']' | '}' | '>' => depth -= 1,
                _ => {}
            }
            if c == ',' && depth == 0 {
                parameters += usize::from(std::mem::take(&mut begun));
            } else {
                begun |= !c.is_whitespace();
            }
        }
        parameters += usize::from(begun);
        if parameters > MAX_PARAMETERS {
            found.push((line, parameters));
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn the_median_file_is_short() {
    let mut lines: Vec<usize> = files(".rs")
        .iter()
        .filter(|file| file.shown().starts_with("src/"))
        .map(|file| file.text.lines().count())
        .collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median <= MEDIAN_FILE, "the median file has {median} lines");
}

#[test]
fn every_source_file_says_what_it_is_for_and_is_not_too_long() {
    let mut faults = Vec::new();
    for file in files(".rs") {
        if !file.text.starts_with("//! ") {
            faults.push(format!("{}: does not begin with `//!`", file.shown()));
        }
        let lines = file.text.lines().count();
        if lines > MAX_FILE {
            faults.push(format!("{}: {lines} lines", file.shown()));
        }
        for (line, len) in long_functions(&file.text) {
            faults.push(format!("{}:{line}: a function of {len} lines", file.shown()));
        }
        for (line, parameters) in wide_functions(&file.text) {
            faults.push(format!("{}:{line}: a function of {parameters} parameters", file.shown()));
        }
    }
    report(faults);
}

#[test]
fn long_functions_are_seen() {
    let body = |lines: usize| "    x();\n".repeat(lines);
    let split = |n| format!("fn a() {{}}\n\npub(super) fn b(\n    y: u8,\n) -> u8 {{\n{}}}\n", body(n));
    assert_eq!((long_functions(&split(56)), long_functions(&split(57))), (vec![], vec![(3, 61)]));
    let long = format!("trait T {{\n    fn a();\n}}\n\npub const fn b() {{\n{}}}\nfn c() {{}}\n", body(59));
    assert_eq!(long_functions(&long), [(5, 61)]);
}

#[test]
fn wide_functions_are_seen() {
    let six = "fn a(&self, b: (u8, u8), c: Map<K, V>, d: fn(u8, u8) -> u8, e: [u8; 2], f: u8) {}\n";
    let seven = six.replace("f: u8)", "f: u8, g: u8)");
    assert_eq!((wide_functions(six), wide_functions(&format!("\n{seven}"))), (vec![], vec![(1, 7)]));
}

#[test]
fn nothing_unfinished_and_nothing_private_is_committed() {
    let mut faults = Vec::new();
    for file in files("").iter().filter(|file| !file.shown().ends_with(".lock")) {
        let kinds = if file.shown().ends_with(".rs") { &UNFINISHED[..] } else { &[] };
        for (a, b) in kinds.iter().chain(&PRIVATE) {
            let text = format!("{a}{b}");
            let line = |at: usize| file.text[..at].lines().count();
            let alone = |at: &usize| !file.text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let found = file.text.match_indices(&text).map(|(at, _)| at).find(alone);
            faults.extend(found.map(|at| format!("{}:{}: {text}", file.shown(), line(at))));
        }
    }
    report(faults);
}

/// The text of a page without its code blocks.
fn prose(text: &str) -> String {
    let mut code = false;
    let keep = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence && !line.starts_with("    ")
    };
    text.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

/// Where the links of a page lead, without those that leave the tree.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchors that mdBook and GitHub give a page's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut faults = Vec::new();
    for page in files(".md") {
        let prose = prose(&page.text);
        for link in links(&prose) {
            let (path, anchor) =
                link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => page.path.clone(),
                path => page.path.parent().expect("it is in a folder").join(path),
            };
            let there = || fs::read_to_string(&target).unwrap_or_default();
            if !target.exists() || anchor.is_some_and(|anchor| !anchors(&there()).iter().any(|a| a == anchor))
            {
                faults.push(format!("{}: `{link}` leads nowhere", page.shown()));
            }
        }
    }
    report(faults);
}

#[test]
fn every_path_that_the_documents_name_is_there() {
    let mut faults = Vec::new();
    for page in files(".md") {
        let prose = prose(&page.text);
        let ours = |name: &&str| {
            let path = name.strip_suffix('/').unwrap_or(name);
            let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
            let inside =
                ["src/", "tests/", "docs/", "loadtest/", "simulator/", ".ci/", "benches/", "examples/"];
            plain && inside.iter().any(|folder| path.starts_with(folder))
        };
        for name in prose.split('`').skip(1).step_by(2).filter(ours) {
            // A page beside sources may name them from where it stands.
            if !root().join(name).exists() && !page.path.parent().is_some_and(|here| here.join(name).exists())
            {
                faults.push(format!("{}: `{name}` is not there", page.shown()));
            }
        }
    }
    report(faults);
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for page in files(".md") {
        let prose = prose(&page.text);
        for (path, name) in prose.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(".rs::")) {
            seen += 1;
            let file = fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
            let test = |line: &str| line.trim_start() == format!("fn {name}() {{");
            let lines: Vec<&str> = file.lines().collect();
            if !lines.windows(2).any(|pair| pair[0].trim_start().starts_with("#[") && test(pair[1])) {
                faults.push(format!("{}: `{path}.rs::{name}` is no test", page.shown()));
            }
        }
    }
    assert!(seen > 40, "only {seen} were found");
    report(faults);
}

#[test]
fn the_summary_lists_every_page() {
    let book = root().join("docs/src");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).expect("the book has a summary");
    let listed = links(&summary);
    let mut pages: Vec<String> = fs::read_dir(&book)
        .expect("the book is there")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a plain name"))
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .collect();
    pages.sort();
    assert!(pages.len() > 5, "only {pages:?} were found");
    pages.retain(|page| !listed.contains(&page.as_str()));
    assert!(pages.is_empty(), "not in the summary: {pages:?}");
}

#[test]
fn every_crate_has_its_reason() {
    let reasons = fs::read_to_string(root().join("docs/src/dependencies.md")).expect("the page is there");
    let mut faults = Vec::new();
    for manifest in files("Cargo.toml") {
        let sections = manifest
            .text
            .split("\n[")
            .filter(|s| s.split(']').next().is_some_and(|s| s.ends_with("dependencies")));
        let lines = sections.flat_map(|section| section.lines().skip(1));
        let names =
            lines.filter_map(|line| line.split(['=', '.', ' ']).next()).filter(|name| !name.is_empty());
        faults.extend(names.filter(|name| !reasons.contains(&format!("`{name}`"))).map(str::to_owned));
    }
    report(faults);
}
