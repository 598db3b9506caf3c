//! The order of start and stop.
//!
//! Start: settings (`cli`) -> plan -> signals -> limits of the process -> admin -> cores and their doors -> the line
//! `listening ...`. Stop, at SIGTERM or SIGINT: not ready any more -> cores -> admin. A second signal ends at once. SIGHUP
//! changes nothing.

use std::env;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::control::admin::{Admin, Metrics, Readiness};
use crate::flow::limits::Limits;
use crate::server::bounds::Bounds;
use crate::server::config::Settings;
use crate::server::cores;
use crate::server::demo;
use crate::server::error::ServerError;
use crate::server::meant;

/// All that a server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where clients come in; `limits.anonymous` says in the same order what they may do.
    pub listen: Vec<SocketAddr>,
    /// Where operators come in.
    pub admin: SocketAddr,
    /// The application's socket.
    pub feed: PathBuf,
    /// The cores that get a shard, ascending, at least one.
    pub cores: Vec<usize>,
    /// For the shards.
    pub limits: Limits,
    /// The name of this life of the server's memory: offsets and stamps mean nothing in another one.
    pub epoch: Arc<str>,
    /// Feed the built-in data set.
    pub demo: bool,
}

impl Plan {
    /// What `settings` mean on this machine.
    ///
    /// # Errors
    /// A setting makes no sense, or names a core that is not ours.
    pub fn new(settings: &Settings) -> Result<Self, ServerError> {
        Ok(Self {
            listen: settings.listen.iter().map(|address| address.0).collect(),
            admin: settings.admin.0,
            feed: settings.feed.path.clone().unwrap_or_else(default_feed),
            cores: cores::choose(&settings.cores, &cores::ours())?,
            limits: meant::limits(settings)?,
            epoch: new_epoch().into(),
            demo: settings.demo,
        })
    }
}

/// A name that no earlier life of the server has had.
fn new_epoch() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", since.as_nanos())
}

/// Where the feed is unless set: `$XDG_RUNTIME_DIR/fanfare.sock`, else `/tmp/fanfare-$UID.sock`.
pub fn default_feed() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Path::new(&folder).join("fanfare.sock"),
        None => format!("/tmp/fanfare-{}.sock", getuid().as_raw()).into(),
    }
}

/// The running cores, as boot sees them.
pub struct Running {
    /// The clients' doors in the order of the plan, with the ports that the kernel chose.
    pub clients: Vec<SocketAddr>,
    /// The counters of all shards as Prometheus text.
    pub metrics: Metrics,
    /// Asks the cores to close every client and end. Called on another thread, while `join` waits.
    pub stop: Box<dyn FnOnce() + Send>,
    /// Waits until every core has ended and the feed's socket is removed; tells the first failure.
    pub join: Box<dyn FnOnce() -> Result<(), ServerError>>,
}

/// Serves until SIGTERM or SIGINT. `start` opens the clients' doors and the feed, and starts the cores.
///
/// # Errors
/// The admin door cannot be opened, `start` fails, or a core ends before its time.
pub fn serve(
    plan: &Plan,
    start: impl FnOnce(&Plan, &Bounds) -> Result<Running, ServerError>,
) -> Result<(), ServerError> {
    let mut signals = catch_signals()?;
    raise(Resource::Memlock);
    let bounds = Bounds::new(&plan.limits, raise(Resource::Nofile));
    log::info!("memory bounds: {bounds}");

    let admin_door = open_admin(plan.admin)?;
    let admin_addr = admin_door.local_addr()?;
    let readiness = Arc::new(Readiness::default());
    let counters: Arc<OnceLock<Metrics>> = Arc::default();
    let metrics = {
        let counters = Arc::clone(&counters);
        Arc::new(move || counters.get().map(|read| read()).unwrap_or_default())
    };
    let admin = Admin::start(admin_door, Arc::clone(&readiness), metrics)?;
    let Running { clients, metrics, stop, join } = start(plan, &bounds)?;
    // Set here only, so it was not set before.
    let _ = counters.set(metrics);

    readiness.set_ready();
    tell_systemd(NotifyState::Ready);
    // Nobody may be reading; that is no reason not to serve.
    let _ = writeln!(io::stdout(), "{}", ready_line(&clients, admin_addr, &plan.feed));

    let stopping = Arc::new(AtomicBool::new(false));
    let demo = plan.demo.then(|| start_demo(plan.feed.clone(), stopping.clone()));
    thread::spawn(move || {
        let signal = wait_for_stop(&mut signals);
        log::info!("stopping: {}", signal.and_then(signal_name).unwrap_or("signal"));
        readiness.set_stopping();
        tell_systemd(NotifyState::Stopping);
        stop();
    });
    let ended = join();
    stopping.store(true, Ordering::Relaxed);
    if let Some(demo) = demo {
        // It looks at the flag several times a second; a panic in it has told its own story.
        let _ = demo.join();
    }
    ended?;
    admin.stop();
    Ok(())
}

/// Feeds the built-in data set through the feed's own door, as any application would.
fn start_demo(feed: PathBuf, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        if let Err(error) = demo::replay(&feed, &stop) {
            log::error!("the demo ends: {error}");
        }
    })
}

fn open_admin(addr: SocketAddr) -> Result<TcpListener, ServerError> {
    let flag = "--admin";
    TcpListener::bind(addr).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ServerError::AddressBusy { addr, flag },
        _ => ServerError::AddressRefused { addr, flag, source },
    })
}

/// Waits for SIGTERM or SIGINT. SIGHUP would end the process if nobody caught it, and leave the feed's socket behind.
fn wait_for_stop(signals: &mut Signals) -> Option<i32> {
    signals.forever().find(|&signal| {
        let hangup = signal == SIGHUP;
        if hangup {
            log::info!("SIGHUP is ignored: settings cannot be reloaded yet; restart to change them");
        }
        !hangup
    })
}

/// The first SIGTERM or SIGINT is for `Signals`; the second ends the process at once, with exit code 1.
fn catch_signals() -> io::Result<Signals> {
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&second))?;
        signal_hook::flag::register(signal, Arc::clone(&second))?;
    }
    Signals::new([SIGTERM, SIGINT, SIGHUP])
}

/// Raises the soft limit to the hard one, and gives it; no limit is `u64::MAX`.
fn raise(resource: Resource) -> u64 {
    let Rlimit { current, maximum } = getrlimit(resource);
    match setrlimit(resource, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            log::warn!("cannot raise the limit of {resource:?} to {maximum:?}: {error}");
            current.unwrap_or(u64::MAX)
        }
    }
}

fn ready_line(clients: &[SocketAddr], admin: SocketAddr, feed: &Path) -> String {
    let clients: Vec<String> = clients.iter().map(|addr| format!("http://{addr}")).collect();
    format!("listening on {}, admin http://{admin}, feed {}", clients.join(", "), feed.display())
}

/// Under systemd (`Type=notify`) says how far we are; elsewhere nothing.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("systemd is not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::sync::mpsc;

    use super::*;
    use crate::server::values::Address;

    fn ready(admin: SocketAddr) -> String {
        let mut stream = TcpStream::connect(admin).expect("the admin door is open");
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
    }

    /// The only test that sends this process a signal: a second one would end it.
    #[test]
    fn the_admin_door_tells_of_start_and_stop_and_a_signal_stops_the_cores() {
        let admin = free();
        let settings = Settings { admin: Address(admin), ..Settings::default() };
        let plan = Plan::new(&settings).expect("the defaults are right");
        let start = |_: &Plan, _: &Bounds| {
            assert!(ready(admin).ends_with("starting\n"));
            signal_hook::low_level::raise(SIGTERM)?;
            let (tell, told) = mpsc::channel();
            let stop = Box::new(move || tell.send(()).expect("boot joins"));
            let join = Box::new(move || {
                told.recv().expect("the signal stops us");
                assert!(ready(admin).ends_with("stopping\n"), "clients are sent elsewhere first");
                Ok(())
            });
            Ok(Running { clients: Vec::new(), metrics: Arc::new(String::new), stop, join })
        };
        serve(&plan, start).expect("a clean end");
        assert!(TcpStream::connect(admin).is_err(), "the admin door is closed");
    }

    #[test]
    fn an_address_in_use_is_temporary_and_one_of_another_machine_is_not() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let busy = open_admin(taken.local_addr().expect("bound")).expect_err("it is in use");
        assert_eq!(busy.exit_code(), 75);
        let foreign = open_admin(([192, 0, 2, 1], 1).into()).expect_err("a documentation address");
        assert_eq!(foreign.exit_code(), 1);
    }

    #[test]
    fn the_ready_line_names_every_door() {
        let clients = [([127, 0, 0, 1], 80).into(), "[::1]:81".parse().expect("an address")];
        let line = ready_line(&clients, ([127, 0, 0, 1], 82).into(), Path::new("/f"));
        assert_eq!(
            line,
            "listening on http://127.0.0.1:80, http://[::1]:81, admin http://127.0.0.1:82, feed /f"
        );
    }
}
