//! Processes and threads: their CPU and memory, from /proc, and the cores they run on. What cannot be read (ended,
//! not ours) counts as zero.

use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs;

/// Scheduler time and the tick-counted split of it, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// All time on a core, by the scheduler's nanosecond clock.
    pub run: f64,
    /// Part spent in user space, in clock ticks (10 ms steps).
    pub user: f64,
    /// Part spent in the kernel, in clock ticks.
    pub system: f64,
}

/// Binds the calling thread to one core. A core that we may not use leaves it where it is.
pub fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    if let Err(e) = sched_setaffinity(None, &set) {
        eprintln!("loadtest: cannot pin to core {cores:?}: {e}");
    }
}

/// `root` and all its descendants.
pub fn tree(root: &[u32]) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> =
        pids.filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?))).collect();
    let mut found = root.to_vec();
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        let children =
            parents.iter().filter(|(pid, of)| *of == parent && !root.contains(pid)).map(|(pid, _)| *pid);
        found.extend(children);
        at += 1;
    }
    found
}

/// The fields of `/proc/PID/stat` behind the command's name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind = text.rsplit_once(") ")?.1;
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

/// CPU used so far by all threads of these processes.
pub fn cpu(pids: &[u32]) -> Cpu {
    let tick = rustix::param::clock_ticks_per_second() as f64;
    let mut sum = Cpu::default();
    for &pid in pids {
        if let Some(fields) = stat(pid) {
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
            sum.user += ticks(11) / tick;
            sum.system += ticks(12) / tick;
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        sum.run += threads.map(|thread| sched_seconds(&thread.path().join("schedstat"))).sum::<f64>();
    }
    sum
}

/// CPU seconds of one of our own threads.
pub fn own_thread_cpu(tid: i32) -> f64 {
    sched_seconds(format!("/proc/self/task/{tid}/schedstat").as_ref())
}

fn sched_seconds(path: &std::path::Path) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Resident bytes of these processes.
pub fn rss(pids: &[u32]) -> u64 {
    let pages = pids.iter().filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    });
    pages.sum::<u64>() * rustix::param::page_size() as u64
}

/// What all cores of this machine did so far, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// Neither idle nor waiting.
    pub busy: f64,
    /// Taken away by the host of a virtual machine.
    pub stolen: f64,
}

/// Reads the first line of `/proc/stat`.
pub fn machine() -> Machine {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let tick = rustix::param::clock_ticks_per_second() as f64;
    let seconds: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|n| Some(n.parse::<f64>().ok()? / tick)).collect();
    // user nice system idle iowait irq softirq steal
    let [user, nice, system, _, _, irq, softirq, stolen] =
        seconds[..].first_chunk().copied().unwrap_or_default();
    Machine { busy: user + nice + system + irq + softirq, stolen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_memory_and_uses_cpu() {
        let me = [std::process::id()];
        assert!(rss(&me) > 100_000);
        let before = cpu(&me).run;
        let mut x = 0u64;
        while cpu(&me).run < before + 0.02 {
            x = std::hint::black_box(x + 1);
        }
        assert!(tree(&me).starts_with(&me));
        assert_eq!(rss(&[u32::MAX]), 0);
    }
}
