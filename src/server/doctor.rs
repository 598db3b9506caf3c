//! `fanfare doctor`: what of this machine is wrong for serving, what that means, and the command that mends it.

use std::fmt;

use crate::server::cores::listed;

/// What `facts` read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// Whether a ring can be made.
    pub ring: Ring,
    /// `kernel.io_uring_disabled`: 0 for everyone, 1 for a group, 2 for nobody.
    pub io_uring_disabled: u32,
    /// Soft and hard RLIMIT_MEMLOCK in bytes; `None` is no limit.
    pub memlock: (Option<u64>, Option<u64>),
    /// Soft and hard RLIMIT_NOFILE; `None` is no limit.
    pub open_files: (Option<u64>, Option<u64>),
    /// The cores that this process may use.
    pub cores: Vec<usize>,
    /// The cores of the machine, as the system lists them; empty if unknown.
    pub online: String,
    /// `net.core.somaxconn`; `None` if unknown.
    pub somaxconn: Option<u32>,
}

/// What came of making a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// It works.
    Works,
    /// A sysctl, a seccomp filter or a security module forbids it.
    Denied,
    /// The system call is not there: built without it, or hidden by a sandbox's filter.
    Absent,
    /// The kernel knows io_uring, but not the flags that we need.
    Old,
    /// Anything else.
    Failed(String),
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing to do.
    Ok,
    /// Serves, with less than it could.
    Weak,
    /// Does not serve.
    Wrong,
}

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub state: State,
    /// What was found and what it means.
    pub found: String,
    /// The command that mends it; `None` where nothing is to be done.
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: String) -> Self {
        Self { check, state: State::Ok, found, mend: None }
    }

    fn bad(check: &'static str, state: State, found: String, mend: impl Into<String>) -> Self {
        Self { check, state, found, mend: Some(mend.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Weak => "weak",
            State::Wrong => "wrong",
        };
        write!(to, "{state:<6} {:<11} {}", self.check, self.found)?;
        match &self.mend {
            Some(command) => write!(to, "\n       {:<11} mend: {command}", ""),
            None => Ok(()),
        }
    }
}

/// glommio makes no executor below this.
const MIN_MEMLOCK: u64 = 512 * 1024;
/// Below it fewer than some 60,000 clients fit.
const MANY_FILES: u64 = 65_536;
/// Below it a burst of connections is refused while a core is busy.
const LONG_QUEUE: u32 = 1024;

/// Judges every fact, in the order in which they should be mended.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let Facts { memlock, open_files, .. } = facts;
    vec![
        kernel(&facts.kernel),
        io_uring(facts),
        locked(*memlock),
        files(*open_files),
        cores(facts),
        queue(facts.somaxconn),
    ]
}

fn kernel(release: &str) -> Finding {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 1) {
        return Finding::ok("kernel", release.to_owned());
    }
    let found = format!("{release} is older than 6.1; rings as fanfare needs them came with 6.1");
    let mend = "sudo apt-get install linux-image-amd64 && sudo reboot   # Debian 12 or newer";
    Finding::bad("kernel", State::Wrong, found, mend)
}

fn io_uring(facts: &Facts) -> Finding {
    let wrong = |found: &str, mend: &str| Finding::bad("io_uring", State::Wrong, found.to_owned(), mend);
    match &facts.ring {
        Ring::Works => Finding::ok("io_uring", "a ring can be made".to_owned()),
        Ring::Denied if facts.io_uring_disabled > 0 => {
            let found =
                format!("kernel.io_uring_disabled is {}: the system forbids rings", facts.io_uring_disabled);
            wrong(&found, "sudo sysctl -w kernel.io_uring_disabled=0")
        }
        Ring::Denied => wrong(
            "forbidden by a seccomp filter or security module; container runtimes do that by default",
            "docker run --security-opt seccomp=unconfined ...   # better: a profile that allows io_uring_*",
        ),
        Ring::Absent => wrong(
            "this kernel has none, or a container's seccomp filter hides it",
            "grep io_uring_setup /proc/kallsyms   # none: a kernel with CONFIG_IO_URING=y; else --security-opt seccomp=...",
        ),
        Ring::Old => wrong(
            "this kernel's rings lack SINGLE_ISSUER or DEFER_TASKRUN (6.1)",
            "sudo apt-get install linux-image-amd64 && sudo reboot   # Debian 12 or newer",
        ),
        Ring::Failed(reason) => {
            wrong(&format!("a ring cannot be made: {reason}"), "ulimit -l unlimited; sudo dmesg | tail")
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
    let found = format!("{} KiB may be locked; each core's executor wants 512 KiB", low / 1024);
    if hard.is_none_or(|hard| hard >= MIN_MEMLOCK) {
        // The server raises the soft limit to the hard one by itself.
        return Finding::ok("memlock", format!("{found}; raised at start"));
    }
    let mend = "sudo prlimit --pid $$ --memlock=unlimited   # lasting: LimitMEMLOCK=infinity in the unit";
    Finding::bad("memlock", State::Wrong, found, mend)
}

fn files((soft, hard): (Option<u64>, Option<u64>)) -> Finding {
    let Some(most) = hard.filter(|most| *most < MANY_FILES) else {
        let raised = if soft == hard { "" } else { "; raised to the hard limit at start" };
        return Finding::ok("open files", format!("soft {}, hard {}{raised}", count(soft), count(hard)));
    };
    let found = format!("at most {most}: about as many clients, however much memory there is");
    let mend = "sudo prlimit --pid $$ --nofile=1048576   # lasting: LimitNOFILE=1048576 in the unit";
    Finding::bad("open files", State::Weak, found, mend)
}

fn count(limit: Option<u64>) -> String {
    limit.map_or("none".to_owned(), |limit| limit.to_string())
}

fn cores(facts: &Facts) -> Finding {
    let ours = listed(&facts.cores);
    if facts.cores.is_empty() {
        let found = "the system does not say which cores this process may use".to_owned();
        return Finding::bad("cores", State::Wrong, found, "fanfare serve --cores 0,");
    }
    match facts.online.is_empty() || facts.online == ours {
        true => Finding::ok("cores", ours),
        false => Finding::ok("cores", format!("{ours} of the machine's {}", facts.online)),
    }
}

fn queue(somaxconn: Option<u32>) -> Finding {
    match somaxconn {
        Some(short) if short < LONG_QUEUE => {
            let found = format!("{short} connections may wait to be accepted; a burst of more is refused");
            Finding::bad("somaxconn", State::Weak, found, "sudo sysctl -w net.core.somaxconn=4096")
        }
        Some(long) => Finding::ok("somaxconn", long.to_string()),
        None => Finding::ok("somaxconn", "not readable here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Facts {
        Facts {
            kernel: "6.1.0-18-amd64".to_owned(),
            ring: Ring::Works,
            io_uring_disabled: 0,
            memlock: (Some(8 << 20), Some(8 << 20)),
            open_files: (Some(1024), Some(1 << 20)),
            cores: vec![0, 1],
            online: "0-1".to_owned(),
            somaxconn: Some(4096),
        }
    }

    /// The one finding that a single changed fact makes worse.
    fn ill(change: impl FnOnce(&mut Facts)) -> Finding {
        let mut facts = healthy();
        change(&mut facts);
        let mut bad = examine(&facts).into_iter().filter(|finding| finding.state != State::Ok);
        let finding = bad.next().expect("something is wrong");
        assert_eq!(bad.next(), None, "one fact, one finding");
        assert!(finding.mend.is_some(), "{finding} does not say what mends it");
        finding
    }

    #[test]
    fn a_healthy_machine_has_nothing_to_mend() {
        for finding in examine(&healthy()) {
            assert_eq!((finding.state, &finding.mend), (State::Ok, &None), "{finding}");
        }
    }

    #[test]
    fn each_fact_that_prevents_serving_is_wrong() {
        for release in ["5.15.0-91-generic", "6.0.19", "4.19", "strange"] {
            assert_eq!(ill(|facts| facts.kernel = release.to_owned()).state, State::Wrong, "{release}");
        }
        for ring in [Ring::Denied, Ring::Absent, Ring::Old, Ring::Failed("no memory".to_owned())] {
            assert_eq!(ill(|facts| facts.ring = ring.clone()).state, State::Wrong, "{ring:?}");
        }
        assert_eq!(ill(|facts| facts.memlock = (Some(65_536), Some(65_536))).state, State::Wrong);
        assert_eq!(ill(|facts| facts.cores.clear()).state, State::Wrong);
    }

    #[test]
    fn what_only_weakens_is_no_reason_to_refuse() {
        assert_eq!(ill(|facts| facts.open_files = (Some(1024), Some(4096))).state, State::Weak);
        assert_eq!(ill(|facts| facts.somaxconn = Some(128)).state, State::Weak);
    }

    #[test]
    fn a_denied_ring_names_who_denies_it() {
        let sysctl = ill(|facts| (facts.ring, facts.io_uring_disabled) = (Ring::Denied, 2));
        assert_eq!(sysctl.mend.as_deref(), Some("sudo sysctl -w kernel.io_uring_disabled=0"));
        assert!(ill(|facts| facts.ring = Ring::Denied).found.contains("seccomp"));
    }

    #[test]
    fn a_soft_limit_that_the_server_raises_is_fine() {
        let mut facts = healthy();
        facts.memlock = (Some(65_536), None);
        facts.open_files = (Some(1024), None);
        facts.kernel = "6.10".to_owned();
        assert!(examine(&facts).iter().all(|finding| finding.state == State::Ok));
    }
}
