//! The server under load: our own, started for the run, or one that already runs.

use crate::feed::FeedSpec;
use crate::proc;
use crate::scenario::{Plan, Transport};
use crate::wire::{Template, Wire, publication};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The server of a run. One that we started ends when this is dropped.
pub struct Target {
    /// How subscribers reach it.
    pub wire: Wire,
    /// How the publisher reaches it.
    pub feed: FeedSpec,
    /// Its processes, for CPU and memory.
    pub pids: Vec<u32>,
    /// For the report.
    pub name: String,
    _server: Option<Server>,
}

/// A peer, as the command line describes it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// `ws://HOST:PORT[/PATH]` or `sse://HOST:PORT[/PATH]`, `{t}` in the path stands for the topic's number.
    pub target: String,
    /// See [`FeedSpec::to`].
    pub publisher: String,
    /// The body of a publication, if not the dialect's.
    pub body: Option<String>,
    /// Its processes.
    pub pids: Vec<u32>,
}

impl Peer {
    /// Resolves the addresses. The error is a sentence for the user.
    pub fn target(&self, plan: &Plan) -> Result<Target, String> {
        let (target, dialect) = (&self.target, plan.dialect);
        let scheme = match plan.transport {
            Transport::Ws => "ws://",
            Transport::Sse => "sse://",
        };
        let rest = target.strip_prefix(scheme).ok_or(format!("--target {target}: {scheme}HOST:PORT/PATH"))?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = (&rest[..slash], &rest[slash..]);
        let mut addrs = host.to_socket_addrs().map_err(|e| format!("--target {target}: {e}"))?;
        let addr = addrs.next().ok_or(format!("--target {target}: no address"))?;
        let wire = Wire::new(dialect, plan.transport, addr, host, (path.len() > 1).then_some(path));
        let body = Template::new(self.body.as_deref().unwrap_or(publication(dialect)));
        let feed = FeedSpec { to: self.publisher.clone(), body };
        Ok(Target { wire, feed, pids: self.pids.clone(), name: target.clone(), _server: None })
    }
}

struct Server {
    child: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // Fails only when it has already ended, and then `try_wait` says so.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            eprintln!("loadtest: the server did not end on SIGTERM within 5 s and was killed");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        RUNNING.store(0, Ordering::Relaxed);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The process of the server that we started, for whoever must end it when we are ended; 0: none.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT and SIGTERM end a server that we started before they end us.
pub fn end_with_us() -> std::io::Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            if let Some(pid) = Pid::from_raw(RUNNING.load(Ordering::Relaxed)) {
                // Fails only when it has already ended.
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = std::fs::remove_dir_all(folder());
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Holds the feed's socket while our server runs.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("loadtest-{}", std::process::id()))
}

/// Starts our own server on free ports with `cores` (its affinity; empty: one core, anywhere) and waits until it listens.
pub fn start(binary: &Path, plan: &Plan, cores: &[usize], extra: &[String]) -> Result<Target, String> {
    let folder = folder();
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let socket = folder.join("feed.sock");
    let (listen, admin) = free_ports()?;
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "--feed"]);
    command.arg(&socket).args(["--cores", &cores.len().max(1).to_string()]).args(extra);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child =
        spawn_on(cores, &mut command).map_err(|e| format!("cannot start {}: {e}", binary.display()))?;
    RUNNING.store(child.id() as i32, Ordering::Relaxed);
    let mut server = Server { child, folder };
    let stdout = server.child.stdout.take().ok_or("the server has no output")?;
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // Reads on after the first line, so that the server never blocks on a full pipe.
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.filter(|line| line.contains("listening")).for_each(|line| drop(send.send(line)));
    });
    lines.recv_timeout(START_TIMEOUT).map_err(|_| {
        let ended = matches!(server.child.try_wait(), Ok(Some(_)));
        let what = if ended { "ended at once" } else { "did not say that it is listening within 10 s" };
        format!("{} {what}; its messages are above", binary.display())
    })?;
    let wire = Wire::new(plan.dialect, plan.transport, listen, &listen.to_string(), None);
    let body = Template::new(publication(plan.dialect));
    let feed = FeedSpec { to: format!("unix:{}", socket.display()), body };
    let pids = vec![server.child.id()];
    Ok(Target { wire, feed, pids, name: binary.display().to_string(), _server: Some(server) })
}

/// A child inherits the affinity of the thread that starts it, so that thread takes it on for the moment.
fn spawn_on(cores: &[usize], command: &mut Command) -> std::io::Result<Child> {
    if cores.is_empty() {
        return command.spawn();
    }
    std::thread::scope(|scope| {
        let spawned = scope.spawn(|| {
            proc::pin(cores);
            command.spawn()
        });
        spawned.join().unwrap_or_else(|_| Err(std::io::Error::other("the starting thread panicked")))
    })
}

/// Two ports of the loopback that nobody listens on now.
fn free_ports() -> Result<(SocketAddr, SocketAddr), String> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let both = || -> std::io::Result<_> { Ok((bind()?, bind()?)) };
    let addrs = both().and_then(|(a, b)| Ok((a.local_addr()?, b.local_addr()?)));
    addrs.map_err(|e| format!("no free port: {e}"))
}

/// Our binary: `FANFARE_BIN`, the one beside `loadtest` (built now if need be), or the one in `PATH`.
pub fn find() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("FANFARE_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let beside = own.with_file_name("fanfare");
    if beside.is_file() {
        return Ok(beside);
    }
    let workspace = own.ancestors().find(|folder| folder.join("Cargo.toml").is_file());
    if let Some(folder) = workspace {
        eprintln!("loadtest: building fanfare first");
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let cargo = Command::new("cargo")
            .args(["build", "--bin", "fanfare", "--profile", profile])
            .current_dir(folder)
            .status();
        if cargo.is_ok_and(|status| status.success()) && beside.is_file() {
            return Ok(beside);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("fanfare")).find(|file| file.is_file());
    found.ok_or("no fanfare binary: `cargo build --release`, or say where it is with FANFARE_BIN".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Dialect, Scenario};

    #[test]
    fn a_target_is_an_address_with_an_optional_path() {
        let peer = |target: &str| Peer {
            target: target.into(),
            publisher: "unix:/x".into(),
            body: None,
            pids: vec![],
        };
        let plan = |dialect, transport| Plan { dialect, transport, ..Scenario::Fanout.plan() };
        let raw = plan(Dialect::Raw, Transport::Ws);
        let target = peer("ws://127.0.0.1:9101/sub/t{t}").target(&raw).unwrap();
        assert_eq!((target.wire.path.for_topic(2).as_str(), target.wire.addr.port()), ("/sub/t2", 9101));
        let target = peer("ws://127.0.0.1:8800").target(&plan(Dialect::Hub, Transport::Ws)).unwrap();
        assert_eq!(target.wire.path.for_topic(0), "/ws");
        let target = peer("sse://127.0.0.1:8800").target(&plan(Dialect::Hub, Transport::Sse)).unwrap();
        assert_eq!(target.wire.path.for_topic(3), "/sse?channels=t3");
        for wrong in ["http://127.0.0.1:1", "sse://127.0.0.1:1", "ws://127.0.0.1"] {
            assert!(peer(wrong).target(&raw).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported() {
        let error = start(Path::new("/bin/false"), &Scenario::Patch.plan(), &[], &[]).err().unwrap();
        assert!(error.contains("ended") || error.contains("listening"), "{error}");
    }
}
