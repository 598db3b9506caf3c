//! `loadtest` as a newcomer runs it: it starts the server itself, and says how it went.

use std::process::Command;

#[test]
fn without_arguments_it_starts_what_it_needs_and_prints_its_numbers() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).output().expect("it runs");
    let [text, said] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    // A busy machine, or a server without optimizations, can make a run invalid; loss is never excused.
    let valid = !text.contains("INVALID: ");
    assert_eq!(output.status.code(), Some(i32::from(!valid)), "{text}{said}");
    for number in ["connects/s", "deliveries/s", "p50", "p99", "server CPU", "server memory"] {
        assert!(text.contains(number), "{number} is not in {text}{said}");
    }
    assert!(!text.contains("LOSS: "), "{text}");
    let lost = text.lines().find(|line| line.trim_start().starts_with("lost")).expect("a line about loss");
    let zeros = lost.split_whitespace().filter(|word| *word == "0").count();
    assert_eq!(zeros, 3, "{lost}");
}
