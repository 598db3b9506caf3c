//! What the core may cost (`benches/budgets.toml`): counted in instructions, so that a busy machine changes nothing.

mod support;

use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use support::tools::need;
use support::tools::run;

#[derive(Deserialize)]
struct Budgets {
    instructions: Vec<Instructions>,
    growth: Vec<Growth>,
    trie: Trie,
    patches: Patches,
}

#[derive(Deserialize)]
struct Instructions {
    piece: String,
    size: usize,
    times: usize,
    most: f64,
}

#[derive(Deserialize)]
struct Growth {
    piece: String,
    sizes: [usize; 2],
    times: usize,
    growth: f64,
}

#[derive(Deserialize)]
struct Trie {
    patterns: usize,
    most: usize,
}

#[derive(Deserialize)]
struct Patches {
    versions: usize,
    most: f64,
}

fn budgets() -> Budgets {
    toml::from_str(include_str!("../benches/budgets.toml")).expect("the budgets are TOML")
}

/// The optimised program that does the pieces.
fn gate() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--example", "gate", "--manifest-path"]);
    run(cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")), "the gate does not build");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is target/tmp");
    target.join("release/examples/gate")
}

/// Instructions for one operation.
fn count(gate: &Path, piece: &str, size: usize, times: usize) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.args(["--collect-atstart=no", "--toggle-collect=*counted_by_callgrind*"]);
    let output = valgrind.arg(gate).args([piece, &size.to_string(), &times.to_string()]).output();
    let output = output.expect("valgrind starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let collected =
        err.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<f64>().ok());
    match (collected, out.trim().parse::<f64>()) {
        (Some(count), Ok(operations)) if count > 0.0 => count / operations,
        _ => panic!("callgrind counted nothing for {piece} at {size}:\n{out}{err}"),
    }
}

#[test]
fn the_path_of_an_event_stays_within_its_instructions() {
    need(&["valgrind"], &["valgrind"]);
    let (gate, mut over) = (gate(), Vec::new());
    for Instructions { piece, size, times, most } in budgets().instructions {
        let count = count(&gate, &piece, size, times);
        println!("{piece} at {size}: {count:.1} instructions, at most {most}");
        if count > most {
            over.push(format!("{piece} at {size} costs {count:.1} instructions; the budget is {most}"));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}

#[test]
fn cost_does_not_follow_size() {
    need(&["valgrind"], &["valgrind"]);
    let (gate, mut over) = (gate(), Vec::new());
    for Growth { piece, sizes: [small, large], times, growth } in budgets().growth {
        let [few, many] = [small, large].map(|size| count(&gate, &piece, size, times));
        println!("{piece}: {few:.0} instructions at {small}, {many:.0} at {large}: x {:.3}", many / few);
        if many > few * growth {
            over.push(format!(
                "{piece} costs {few:.0} instructions at {small} and {many:.0} at {large}, more than {growth} times"
            ));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}

#[test]
fn a_million_patterns_fit() {
    let Trie { patterns, most } = budgets().trie;
    let output =
        Command::new(gate()).args(["memory", &patterns.to_string()]).output().expect("the gate starts");
    let bytes: usize =
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("the gate prints a number");
    println!("{bytes} bytes for each of {patterns} patterns, at most {most}");
    assert!(bytes <= most, "a pattern takes {bytes} bytes of memory; the budget is {most}");
}

#[test]
fn a_small_change_is_a_small_patch() {
    let Patches { versions, most } = budgets().patches;
    let dir = tempfile::tempdir().expect("a folder");
    let mut gate = Command::new(gate());
    run(gate.arg("versions").arg(dir.path()).arg(versions.to_string()), "the gate wrote no versions");
    let sum = |kind: &str| -> u64 {
        let path = |i| dir.path().join(format!("{i}.{kind}"));
        (1..versions).map(|i| fs::metadata(path(i)).expect("the gate wrote it").len()).sum()
    };
    let percent = 100.0 * sum("patch") as f64 / sum("snapshot") as f64;
    println!("an update has {percent:.2} % of the snapshot's bytes, at most {most}");
    assert!(percent <= most, "an update has {percent:.2} % of the snapshot's bytes; the budget is {most}");
}
