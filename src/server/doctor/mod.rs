//! `fanfare doctor`: checks whether this machine can run the server; says what is wrong, what that means, and how to fix it.

pub mod probe;

use std::fmt;

use crate::runtime::kernel::{OLDEST, version};
use crate::server::cores::format_cores;
use crate::server::doctor::probe::{Probe, RingProbe};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// The server runs, but not at its best.
    Weak,
    /// The server does not run.
    Wrong,
}

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what it means.
    pub found: String,
    /// The command that fixes it; `None` if nothing is to be done.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: String) -> Self {
        Self { check, severity: Severity::Ok, found, fix: None }
    }

    fn bad(check: &'static str, severity: Severity, found: String, fix: impl Into<String>) -> Self {
        Self { check, severity, found, fix: Some(fix.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok",
            Severity::Weak => "weak",
            Severity::Wrong => "wrong",
        };
        write!(to, "{severity:<6} {:<11} {}", self.check, self.found)?;
        match &self.fix {
            Some(command) => write!(to, "\n       {:<11} fix: {command}", ""),
            None => Ok(()),
        }
    }
}

/// Bytes of locked memory without which glommio creates no executor.
const MIN_MEMLOCK: u64 = 512 * 1024;
/// Open files below which fewer than about 60,000 clients fit.
const MIN_OPEN_FILES: u64 = 65_536;
/// An accept queue below which a burst of connections is refused while a core is busy.
const MIN_SOMAXCONN: u32 = 1024;

/// Checks everything, in the order in which it should be fixed.
pub fn examine(probe: &Probe) -> Vec<Finding> {
    let Probe { memlock, open_files, .. } = probe;
    vec![
        kernel(&probe.kernel),
        io_uring(probe),
        locked(*memlock),
        files(*open_files),
        cores(probe),
        queue(probe.somaxconn),
    ]
}

fn kernel(release: &str) -> Finding {
    if version(release).is_some_and(|version| version >= OLDEST) {
        return Finding::ok("kernel", release.to_owned());
    }
    let found = format!("{release} is older than 6.1; fanfare needs io_uring as of 6.1");
    let fix = "sudo apt-get install linux-image-amd64 && sudo reboot   # Debian 12 or newer";
    Finding::bad("kernel", Severity::Wrong, found, fix)
}

fn io_uring(probe: &Probe) -> Finding {
    let wrong = |found: &str, fix: &str| Finding::bad("io_uring", Severity::Wrong, found.to_owned(), fix);
    match &probe.ring {
        RingProbe::Works => Finding::ok("io_uring", "rings work".to_owned()),
        RingProbe::Denied if probe.io_uring_disabled > 0 => {
            let found =
                format!("kernel.io_uring_disabled is {}: the system forbids rings", probe.io_uring_disabled);
            wrong(&found, "sudo sysctl -w kernel.io_uring_disabled=0")
        }
        RingProbe::Denied => wrong(
            "forbidden by a seccomp filter or security module; container runtimes do that by default",
            "docker run --security-opt seccomp=unconfined ...   # better: a profile that allows io_uring_*",
        ),
        RingProbe::Absent => wrong(
            "this kernel has none, or a container's seccomp filter hides it",
            "grep io_uring_setup /proc/kallsyms   # none: a kernel with CONFIG_IO_URING=y; else --security-opt seccomp=...",
        ),
        RingProbe::Old => wrong(
            "this kernel's rings lack SINGLE_ISSUER or DEFER_TASKRUN (6.1)",
            "sudo apt-get install linux-image-amd64 && sudo reboot   # Debian 12 or newer",
        ),
        RingProbe::Failed(reason) => {
            wrong(&format!("a ring cannot be created: {reason}"), "ulimit -l unlimited; sudo dmesg | tail")
        }
    }
}

fn locked((soft, hard): (Option<u64>, Option<u64>)) -> Finding {
    let Some(low) = soft.filter(|soft| *soft < MIN_MEMLOCK) else {
        return Finding::ok(
            "memlock",
            soft.map_or("no limit".to_owned(), |soft| format!("{} KiB", soft / 1024)),
        );
    };
    let found = format!("{} KiB may be locked; each core's executor needs 512 KiB", low / 1024);
    if hard.is_none_or(|hard| hard >= MIN_MEMLOCK) {
        // The server raises the soft limit to the hard one by itself.
        return Finding::ok("memlock", format!("{found}; raised at start"));
    }
    let fix = "sudo prlimit --pid $$ --memlock=unlimited   # lasting: LimitMEMLOCK=infinity in the unit";
    Finding::bad("memlock", Severity::Wrong, found, fix)
}

fn files((soft, hard): (Option<u64>, Option<u64>)) -> Finding {
    let Some(most) = hard.filter(|most| *most < MIN_OPEN_FILES) else {
        let raised = if soft == hard { "" } else { "; raised to the hard limit at start" };
        return Finding::ok("open files", format!("soft {}, hard {}{raised}", count(soft), count(hard)));
    };
    let found = format!("at most {most}: about as many clients, however much memory there is");
    let fix = "sudo prlimit --pid $$ --nofile=1048576   # lasting: LimitNOFILE=1048576 in the unit";
    Finding::bad("open files", Severity::Weak, found, fix)
}

fn count(limit: Option<u64>) -> String {
    limit.map_or("none".to_owned(), |limit| limit.to_string())
}

fn cores(probe: &Probe) -> Finding {
    let available = format_cores(&probe.cores);
    if probe.cores.is_empty() {
        let found = "the system does not say which cores this process may use".to_owned();
        return Finding::bad("cores", Severity::Wrong, found, "fanfare serve --cores 0,");
    }
    match probe.online.is_empty() || probe.online == available {
        true => Finding::ok("cores", available),
        false => Finding::ok("cores", format!("{available} of the machine's {}", probe.online)),
    }
}

fn queue(somaxconn: Option<u32>) -> Finding {
    match somaxconn {
        Some(short) if short < MIN_SOMAXCONN => {
            let found = format!("{short} connections may wait to be accepted; a burst of more is refused");
            Finding::bad("somaxconn", Severity::Weak, found, "sudo sysctl -w net.core.somaxconn=4096")
        }
        Some(long) => Finding::ok("somaxconn", long.to_string()),
        None => Finding::ok("somaxconn", "not readable here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Probe {
        Probe {
            kernel: "6.1.0-18-amd64".to_owned(),
            ring: RingProbe::Works,
            io_uring_disabled: 0,
            memlock: (Some(8 << 20), Some(8 << 20)),
            open_files: (Some(1024), Some(1 << 20)),
            cores: vec![0, 1],
            online: "0-1".to_owned(),
            somaxconn: Some(4096),
        }
    }

    /// The one finding that a single changed fact causes.
    fn finding_of(change: impl FnOnce(&mut Probe)) -> Finding {
        let mut probe = healthy();
        change(&mut probe);
        let mut bad = examine(&probe).into_iter().filter(|finding| finding.severity != Severity::Ok);
        let finding = bad.next().expect("something is wrong");
        assert_eq!(bad.next(), None, "one fact, one finding");
        assert!(finding.fix.is_some(), "{finding} does not say what fixes it");
        finding
    }

    #[test]
    fn a_healthy_machine_has_nothing_to_fix() {
        for finding in examine(&healthy()) {
            assert_eq!((finding.severity, &finding.fix), (Severity::Ok, &None), "{finding}");
        }
    }

    #[test]
    fn each_fact_that_prevents_serving_is_wrong() {
        for release in ["5.15.0-91-generic", "6.0.19", "4.19", "strange"] {
            assert_eq!(
                finding_of(|probe| probe.kernel = release.to_owned()).severity,
                Severity::Wrong,
                "{release}"
            );
        }
        for ring in
            [RingProbe::Denied, RingProbe::Absent, RingProbe::Old, RingProbe::Failed("no memory".to_owned())]
        {
            assert_eq!(finding_of(|probe| probe.ring = ring.clone()).severity, Severity::Wrong, "{ring:?}");
        }
        assert_eq!(
            finding_of(|probe| probe.memlock = (Some(65_536), Some(65_536))).severity,
            Severity::Wrong
        );
        assert_eq!(finding_of(|probe| probe.cores.clear()).severity, Severity::Wrong);
    }

    #[test]
    fn what_only_weakens_is_no_reason_to_refuse() {
        assert_eq!(finding_of(|probe| probe.open_files = (Some(1024), Some(4096))).severity, Severity::Weak);
        assert_eq!(finding_of(|probe| probe.somaxconn = Some(128)).severity, Severity::Weak);
    }

    #[test]
    fn a_denied_ring_names_who_denies_it() {
        let sysctl = finding_of(|probe| (probe.ring, probe.io_uring_disabled) = (RingProbe::Denied, 2));
        assert_eq!(sysctl.fix.as_deref(), Some("sudo sysctl -w kernel.io_uring_disabled=0"));
        assert!(finding_of(|probe| probe.ring = RingProbe::Denied).found.contains("seccomp"));
    }

    #[test]
    fn a_soft_limit_that_the_server_raises_is_fine() {
        let mut probe = healthy();
        probe.memlock = (Some(65_536), None);
        probe.open_files = (Some(1024), None);
        probe.kernel = "6.10".to_owned();
        assert!(examine(&probe).iter().all(|finding| finding.severity == Severity::Ok));
    }
}
