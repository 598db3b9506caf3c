//! The real binary against a tiny server that is right, or wrong in a known way.
//!
//! Whether a run is *valid* also depends on how busy this machine is (a late publisher makes it invalid), so these
//! tests check what was counted, and that the exit code says what the verdict says.

mod tiny;

use serde_json::Value;
use std::process::{Command, Output};
use tiny::{Fault, Tiny};

fn loadtest(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(args).output().unwrap()
}

/// Runs a scenario against a tiny server; the first run of its JSON.
fn drive(name: &str, fault: Fault, args: &str) -> Value {
    let server = Tiny::start(name, fault);
    let scheme = if args.contains("--transport sse") { "sse" } else { "ws" };
    let (target, publisher) =
        (format!("{scheme}://127.0.0.1:{}", server.port), format!("unix:{}", server.feed.display()));
    let pid = std::process::id().to_string();
    let fixed =
        ["--target", &target, "--publisher", &publisher, "--server-pid", &pid, "--json", "--seconds", "1"];
    let all: Vec<&str> = args.split(' ').chain(fixed).collect();
    let output = loadtest(&all);
    let text = String::from_utf8_lossy(&output.stdout);
    let json: Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(if json["valid"] == true { 0 } else { 1 }));
    let run = json["runs"][0].clone();
    assert_eq!(
        run["valid"] == true,
        run["loss"] == Value::Array(vec![]) && run["invalid"] == Value::Array(vec![])
    );
    run
}

fn nothing_is_wrong(run: &Value) {
    assert_eq!(run["loss"], Value::Array(vec![]), "{run:#}");
    for count in ["lost", "duplicates", "out_of_order", "alien", "damaged"] {
        assert_eq!(run[count], 0, "{count}");
    }
}

#[test]
fn every_delivery_of_a_right_server_is_counted_once() {
    let run = drive("fanout", Fault::None, "fanout --dialect hub --conns 20 --rate 50");
    nothing_is_wrong(&run);
    assert_eq!((run["published"].as_u64(), run["delivered"].as_u64()), (Some(50), Some(50 * 20)));
    assert_eq!(run["latency_us"]["count"], 1000);
    assert_eq!(run["to_last_us"]["count"], 50);
    assert!(
        run["rss_connected"].as_u64() > Some(0) && run["server_cpu_us_per_delivery"].as_f64() > Some(0.0)
    );
}

#[test]
fn events_are_counted_and_checked_as_messages_are() {
    let sse = "fanout --dialect hub --transport sse --conns 5 --rate 50";
    let run = drive("sse", Fault::None, sse);
    nothing_is_wrong(&run);
    assert_eq!((run["published"].as_u64(), run["delivered"].as_u64()), (Some(50), Some(50 * 5)));
    assert_eq!((&run["plan"]["transport"], &run["latency_us"]["count"]), (&"sse".into(), &250.into()));
    let run = drive("sse-drop", Fault::Drop, sse);
    assert_eq!((run["lost"].as_u64(), run["valid"].as_bool()), (Some(15), Some(false)));
}

#[test]
fn a_stream_is_read_beside_the_subscribers_and_counted() {
    let args = "stream --dialect hub --conns 5 --rate 50 --documents 3000 --document-size 400";
    let run = drive("stream", Fault::None, args);
    nothing_is_wrong(&run);
    let stream = &run["stream"];
    let (passes, items) = (stream["passes"].as_u64().unwrap(), stream["items"].as_u64().unwrap());
    assert!(passes > 0 && (passes * 3000..(passes + 1) * 3000).contains(&items), "{stream:#}");
    assert_eq!(
        (&stream["calm_us"]["count"], run["latency_us"]["count"].as_u64() >= Some(250)),
        (&250.into(), true)
    );
    assert!(stream["first_byte_us"].as_f64() > Some(0.0) && stream["p99_ratio"].as_f64() > Some(0.0));
    let slow = drive("stream-slow", Fault::None, &format!("{args} --reader slow"));
    nothing_is_wrong(&slow);
    assert!(slow["stream"]["items"].as_u64() < Some(3000), "{:#}", slow["stream"]);
}

#[test]
fn a_stream_that_breaks_off_is_a_loss() {
    let run = drive("break", Fault::Break, "stream --dialect hub --conns 2 --documents 3000");
    let loss = run["loss"][0].as_str().unwrap_or_default();
    assert!(loss.contains("broke the answer off"), "{run:#}");
}

#[test]
fn threads_source_addresses_and_topics_share_the_work() {
    let args =
        "topics --dialect hub --conns 30 --topics 7 --rate 200 --threads 2 --addrs 127.0.0.1,127.0.0.2";
    let run = drive("topics", Fault::None, args);
    nothing_is_wrong(&run);
    // 200 publications on 7 topics, which have 4 or 5 subscribers each.
    let delivered = run["delivered"].as_u64().unwrap();
    assert!((800..=1000).contains(&delivered), "{delivered}");
    assert_eq!(run["to_last_us"]["count"], 200);
}

#[test]
fn a_window_keeps_going_and_loses_nothing() {
    let run = drive("saturate", Fault::None, "saturate --dialect ooo --conns 5 --window 4 --threads 2");
    nothing_is_wrong(&run);
    // the first window is 4 publications to 5 subscribers
    assert!(run["delivered"].as_u64() > Some(4 * 5));
}

#[test]
fn a_dropped_delivery_is_a_loss() {
    let run = drive("drop", Fault::Drop, "fanout --dialect hub --conns 5 --rate 50");
    // 25 publications of the warm-up and 50 measured ones, of which every fifth is left out for one subscriber.
    assert_eq!((run["lost"].as_u64(), run["valid"].as_bool()), (Some(15), Some(false)));
}

#[test]
fn a_repeated_delivery_is_a_duplicate_and_a_swapped_one_is_out_of_order() {
    let run = drive("repeat", Fault::Repeat, "fanout --dialect hub --conns 5 --rate 50");
    assert_eq!((run["duplicates"].as_u64(), run["lost"].as_u64()), (Some(15), Some(0)));
    let run = drive("swap", Fault::Swap, "fanout --dialect hub --conns 5 --rate 48");
    assert_eq!((run["out_of_order"].as_u64(), run["lost"].as_u64()), (Some(14), Some(0)));
}

#[test]
fn folded_patches_give_the_publishers_document() {
    let run = drive("patch", Fault::None, "patch --dialect ooo --conns 4 --rate 10");
    nothing_is_wrong(&run);
    assert_eq!((run["documents"]["right"].as_u64(), run["documents"]["wrong"].as_u64()), (Some(4), Some(0)));
    assert!(run["documents"]["update_percent"].as_f64() < Some(5.0));
    assert!(run["documents"]["snapshot_bytes"].as_f64() > Some(40_000.0));
}

#[test]
fn a_lost_patch_leaves_a_wrong_document() {
    let run = drive("wrong", Fault::Drop, "patch --dialect ooo --conns 4 --rate 10");
    assert!(run["lost"].as_u64() > Some(0));
    assert!(run["documents"]["wrong"].as_u64() > Some(0), "{run:#}");
}

#[test]
fn slow_readers_end_with_the_right_document() {
    let run = drive("slow", Fault::None, "slow --dialect ooo --conns 20 --rate 20 --size 512");
    nothing_is_wrong(&run);
    assert_eq!((run["slow"]["conns"].as_u64(), run["documents"]["right"].as_u64()), (Some(2), Some(2)));
    assert!(run["slow"]["received"].as_u64() >= Some(40));
}

#[test]
fn after_a_storm_all_have_their_state_again() {
    let run = drive("storm", Fault::None, "storm --dialect ooo --conns 20 --rate 20");
    nothing_is_wrong(&run);
    assert_eq!(run["replaced"], 60);
    let storms = run["storms_s"].as_array().unwrap();
    assert!(storms.len() == 3 && storms.iter().all(|s| s.as_f64() > Some(0.0)), "{storms:?}");
}

#[test]
fn connections_come_and_go_without_loss() {
    for dialect in ["hub", "ooo"] {
        let run =
            drive(&format!("churn-{dialect}"), Fault::None, &format!("churn --dialect {dialect} --conns 40"));
        nothing_is_wrong(&run);
        assert!(run["replaced"].as_u64() > Some(0), "{run:#}");
    }
}

#[test]
fn idle_connections_are_only_counted() {
    let run = drive("idle", Fault::None, "idle --dialect hub --conns 30");
    nothing_is_wrong(&run);
    assert_eq!((run["delivered"].as_u64(), run["published"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn wrong_usage_is_2_and_no_server_is_1() {
    for usage in [
        "nonsense",
        "fanout --conns 0",
        "saturate --rate 5",
        "fanout --target ws://x",
        "patch --transport sse",
        "fanout --documents 5",
        "fanout --conns 99999999",
    ] {
        let code = loadtest(&usage.split(' ').collect::<Vec<_>>()).status.code();
        assert_eq!(code, Some(2), "{usage}");
    }
    let gone = "fanout --target ws://127.0.0.1:9 --publisher unix:/nonexistent";
    assert_eq!(loadtest(&gone.split(' ').collect::<Vec<_>>()).status.code(), Some(1));
}

#[test]
fn help_explains_every_number_that_is_printed() {
    let help = String::from_utf8(loadtest(&["--help"]).stdout).unwrap();
    for number in [
        "connects/s",
        "deliveries/s",
        "to the last",
        "to state",
        "frames per read",
        "right documents",
        "client busy",
        "first byte",
        "latency without it",
        "p99 with it",
        "CPU per item",
    ] {
        assert!(help.contains(number), "{number}");
    }
}

#[test]
fn the_html_report_is_one_page() {
    let server = Tiny::start("html", Fault::None);
    let file = std::env::temp_dir().join(format!("loadtest-{}.html", std::process::id()));
    let (target, publisher) =
        (format!("ws://127.0.0.1:{}", server.port), format!("unix:{}", server.feed.display()));
    let fixed = ["fanout", "--dialect", "hub", "--conns", "3", "--seconds", "0.5", "--target", &target];
    let rest = ["--publisher", &publisher, "--report", file.to_str().unwrap()];
    let output = loadtest(&[&fixed[..], &rest[..]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains("deliveries/s"));
    let page = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(page.matches("<polyline").count(), 3);
    assert!(page.contains("fanout: 3 connections"));
}
