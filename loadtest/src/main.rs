//! `loadtest`: drives a broadcast server with many subscribers and prints what it delivered, how fast, at what cost.
//!
//! Reading order: [`scenario`] says what is run, [`drive`] runs it step by step, [`worker`] holds the connections of one thread,
//! [`ledger`] accounts for what arrives, [`record`] keeps what a run measured, [`outcome`] computes its figures, [`verdict`] judges them.

mod chunks;
mod cli;
mod client;
mod document;
mod drive;
mod events;
mod feed;
mod html;
mod ledger;
mod marker;
mod measure;
mod outcome;
mod proc;
mod progress;
mod reader;
mod record;
mod report;
mod scenario;
mod schedule;
mod sequence;
mod session;
mod shared;
mod target;
mod verdict;
mod wire;
mod worker;

use clap::Parser;
use cli::Args;
use drive::Setup;
use outcome::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenario::Plan;
use std::process::ExitCode;
use target::{Peer, Target};

/// Open files beside the connections.
const SPARE_FILES: u64 = 64;

/// Why there is no result: exit codes 2 and 1.
enum Failure {
    Usage(String),
    Run(String),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (code, message) = match run(&args) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::from(1),
        Err(Failure::Run(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
    };
    eprintln!("loadtest: {message}");
    ExitCode::from(code)
}

/// Runs everything; whether all of it was valid.
fn run(args: &Args) -> Result<bool, Failure> {
    let plans = plans(args).map_err(Failure::Usage)?;
    let places = Places::new(args).map_err(Failure::Usage)?;
    let conns = plans.iter().map(|plan| plan.conns).max().unwrap_or(0);
    raise_open_files(conns).map_err(Failure::Usage)?;
    target::end_with_us().map_err(|e| Failure::Run(format!("cannot watch for signals: {e}")))?;
    let setup = Setup { threads: args.threads, pins: places.client.clone(), sources: args.addrs.clone() };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for plan in &plans {
        let target = open_target(args, plan, &places.server).map_err(Failure::Run)?;
        let name = plan.scenario.name();
        let outcome = drive::run(plan, &target, &setup).map_err(|e| Failure::Run(format!("{name}: {e}")))?;
        if !args.json {
            println!("{}", report::text(&outcome));
        }
        outcomes.push(outcome);
    }
    if args.json {
        println!("{}", report::json(&outcomes));
    }
    if let Some(path) = &args.report {
        std::fs::write(path, html::page(&outcomes))
            .map_err(|e| Failure::Run(format!("{}: {e}", path.display())))?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.valid))
}

fn plans(args: &Args) -> Result<Vec<Plan>, String> {
    if args.threads == 0 || args.threads > 256 {
        return Err("--threads is between 1 and 256".into());
    }
    let over = args.overrides();
    if args.scenarios.is_empty() {
        let quick = scenario::quick();
        let same =
            quick.iter().map(|plan| plan.scenario.plan_with(&over)).collect::<Result<Vec<Plan>, String>>()?;
        // Without --seconds the quick runs are shorter than the scenarios by themselves.
        let seconds = over.seconds.unwrap_or(quick[0].seconds);
        return Ok(same.into_iter().map(|plan| Plan { seconds, ..plan }).collect());
    }
    args.scenarios.iter().map(|scenario| scenario.plan_with(&over)).collect()
}

/// Which cores the server that we start and the client threads get; empty: anywhere.
struct Places {
    server: Vec<usize>,
    client: Vec<usize>,
}

impl Places {
    fn new(args: &Args) -> Result<Places, String> {
        let allowed =
            rustix::thread::sched_getaffinity(None).map_err(|e| format!("cannot read the affinity: {e}"))?;
        let cores: Vec<usize> =
            (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let apart = cores.len() > 1 && args.target.is_none() && args.pin.as_deref() != Some("none");
        let server =
            if args.server_cores.is_empty() && apart { vec![cores[0]] } else { args.server_cores.clone() };
        let client = match args.pin.as_deref() {
            Some("none") => vec![],
            Some(list) => {
                let parsed = list.split(',').map(|core| core.trim().parse::<usize>());
                parsed
                    .collect::<Result<_, _>>()
                    .map_err(|_| format!("--pin {list}: a list of cores, or none"))?
            }
            None if apart => {
                cores.iter().rev().filter(|core| !server.contains(core)).take(args.threads).copied().collect()
            }
            None => vec![],
        };
        let strange = server.iter().chain(&client).find(|core| !cores.contains(core));
        if let Some(core) = strange {
            return Err(format!("there is no core {core} for us"));
        }
        Ok(Places { server, client })
    }
}

fn open_target(args: &Args, plan: &Plan, cores: &[usize]) -> Result<Target, String> {
    match (&args.target, &args.publisher) {
        (Some(target), Some(publisher)) => {
            let (target, publisher) = (target.clone(), publisher.clone());
            Peer { target, publisher, body: args.body.clone(), pids: args.server_pid.clone() }.target(plan)
        }
        _ => target::start(&target::find()?, plan, cores, &args.server_arg),
    }
}

/// Raises the soft limit of open files to the hard one; the server that we start inherits it.
fn raise_open_files(conns: usize) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let need = conns as u64 + SPARE_FILES;
    if limit.maximum.is_some_and(|hard| hard < need) {
        let hard = limit.maximum.unwrap_or_default();
        return Err(format!(
            "{conns} connections need {need} open files, but the hard limit is {hard}: lower --conns, or raise the \
             limit as root (`ulimit -Hn {need}`, or LimitNOFILE= of the service)"
        ));
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|e| format!("cannot raise the limit of open files: {e}"))
}
