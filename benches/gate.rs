//! Does one piece a number of times, so that callgrind can count it (`tests/budgets.rs`), and prints how many operations
//! that was; and says what only a process of its own can: time ratios, memory per pattern.
//!
//! `gate PIECE SIZE TIMES` · `gate against PIECE OTHER SIZE` · `gate ratios` · `gate memory PATTERNS` · `gate versions DIR COUNT`

mod pieces;

use fanfare::base::stamp::Stamp;
use fanfare::flow::encode::frame::Encoder;
use fanfare::flow::encode::ooo;
use fanfare::flow::limits::documents::PatchMode;
use fanfare::flow::state::diff::diff;
use fanfare::flow::state::item::Item;
use fanfare::wire::key::Key;
use pieces::document::versions;
use pieces::{Piece, Work};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Instant;
use std::{env, fs, hint};

/// How often a piece is done before it is counted.
const WARM: usize = 4;
/// A stamp of our days.
const CREATED: u64 = 1_800_000_000_000_000_000;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |text: &str| text.parse().expect("a number");
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ratios"] => ratios(),
        ["memory", patterns] => memory(number(patterns)),
        ["versions", dir, count] => write_versions(Path::new(dir), number(count)),
        ["against", name, other, size] => against(name, other, number(size)),
        [name, size, times] => {
            let (piece, size, times) = (piece(name), number(size), number(times));
            let mut work = (piece.make)(size);
            // buffers find their size, and everything is in use that will be
            for _ in 0..WARM {
                hint::black_box(work());
            }
            counted_by_callgrind(&mut work, times);
            println!("{}", times * (piece.operations)(size));
        }
        _ => panic!(
            "gate PIECE SIZE TIMES, or against PIECE OTHER SIZE, or ratios, or memory PATTERNS, or versions DIR COUNT"
        ),
    }
}

fn piece(name: &str) -> &'static Piece {
    pieces::find(name).unwrap_or_else(|| panic!("there is no piece {name:?}"))
}

/// `--toggle-collect` knows this function by its name.
#[inline(never)]
fn counted_by_callgrind(work: &mut Work, times: usize) {
    for _ in 0..times {
        hint::black_box(work());
    }
}

/// Nanoseconds for each operation of `work`, the least of a few short runs.
fn nanos(work: &mut Work, operations: usize) -> f64 {
    const LEAST: u128 = 2_000_000;
    let mut best = f64::MAX;
    let mut times = 1;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..times {
            hint::black_box(work());
        }
        let took = start.elapsed().as_nanos();
        if took < LEAST {
            times *= 2;
        } else {
            best = best.min(took as f64 / times as f64 / operations as f64);
        }
    }
    best
}

/// For each piece whose cost should not follow its size: the time at the smallest size, and how many times that the
/// others take, interleaved.
fn ratios() {
    for name in [
        "trie_match",
        "trie_match_any",
        "trie_subscribe",
        "list_update",
        "list_add",
        "list_remove",
        "list_item",
    ] {
        let piece = piece(name);
        let mut works: Vec<Work> = piece.sizes.iter().map(|size| (piece.make)(*size)).collect();
        let mut best = vec![f64::MAX; works.len()];
        for _ in 0..7 {
            for ((work, size), best) in works.iter_mut().zip(piece.sizes).zip(&mut best) {
                *best = best.min(nanos(work, (piece.operations)(*size)));
            }
        }
        let others = piece.sizes.iter().zip(&best).skip(1);
        let others: String = others.map(|(size, ns)| format!("  {size}: x {:.2}", ns / best[0])).collect();
        println!("{name:15} {}: {:.0} ns{others}", piece.sizes[0], best[0]);
    }
}

/// How many times the CPU time of another piece one takes, both at their best, interleaved.
fn against(name: &str, other: &str, size: usize) {
    let mut best = [i64::MAX; 2];
    let mut works = [name, other].map(|name| (piece(name).make)(size));
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    for _ in 0..40 {
        for (work, best) in works.iter_mut().zip(&mut best) {
            let start = cpu();
            hint::black_box(work());
            *best = (*best).min(cpu() - start);
        }
    }
    println!("{:.3}", best[0] as f64 / best[1] as f64);
}

/// Bytes of resident memory for each pattern.
fn memory(patterns: usize) {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has VmRSS");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    };
    let before = resident();
    let trie = pieces::trie::filled(patterns);
    println!("{}", (resident() - before) / patterns);
    drop(trie);
}

/// Versions of the real document as `N.snapshot`, and how a subscriber gets from one to the next as `N.patch`: the
/// payloads of the messages that the server sends. For `fossil/compare.js`.
fn write_versions(dir: &Path, count: usize) {
    let write = |name: String, frame: &[u8]| {
        let header = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        fs::write(dir.join(name), &frame[header..]).expect("the folder takes files");
    };
    let (mut encoder, versions) = (Encoder::default(), versions(60, count));
    let key = Key::parse("quakes/week").expect("a key");
    for (i, version) in versions.iter().enumerate() {
        let stamp = Stamp::new(CREATED + 1_000_000 * i as u64);
        let item = Item::new(key.clone(), Stamp::new(CREATED), stamp, version.clone());
        write(format!("{i}.snapshot"), &ooo::item(&mut encoder, stamp, Some(&item)));
        if i > 0 {
            let patch = diff(&versions[i - 1], version);
            let change = ooo::item_change(&mut encoder, PatchMode::Auto, stamp, Some(&item), Some(&patch));
            write(format!("{i}.patch"), &change);
        }
    }
}
