//! `simulator`: random operations in the simulated world, for as many steps as one likes. Whatever is wrong ends it with
//! the command that replays it.

use clap::Parser;
use simulator::SHARDS;
use simulator::random::{Summary, run};
use std::panic;
use std::process;

/// Runs fanfare's shards in a simulated world, and compares every copy of a subscriber with a naive model.
#[derive(Parser)]
struct Options {
    /// What everything that happens follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps for each number of shards
    #[arg(long, default_value_t = 10_000)]
    steps: usize,
    /// The number of shards; 1, 2, 3 and 8 one after the other unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
}

fn main() {
    let Options { seed, steps, shards } = Options::parse();
    let mut sum = Summary::default();
    let all = shards.map_or(SHARDS.to_vec(), |shards| vec![shards]);
    for shards in &all {
        replay_on_panic(seed, steps, *shards);
        sum = sum + run(seed, *shards, steps);
    }
    let Summary { operations, subscribers, messages, rests, .. } = sum;
    println!(
        "seed {seed}, {steps} steps at each of {all:?} shards: {operations} operations, {subscribers} subscribers, \
         {messages} messages; at all {rests} rests every copy was the model's"
    );
}

/// Whatever fails, an oracle or an invariant of the server, says how to see it again.
fn replay_on_panic(seed: u64, steps: usize, shards: u16) {
    panic::set_hook(Box::new(move |what| {
        eprintln!(
            "{what}\nto see it again: cargo run --release -p simulator -- --seed {seed} --steps {steps} --shards {shards}"
        );
        process::exit(1);
    }));
}
