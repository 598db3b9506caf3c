//! The order of start and stop.
//!
//! Start: settings (`cli`) -> plan -> signals -> limits of the process -> admin -> kernel -> doors -> cores -> the
//! line `listening ...`. Stop, at SIGTERM or SIGINT: not ready any more -> cores -> admin. A second signal ends at once. SIGHUP
//! changes nothing.

use std::env;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::control::admin::{Admin, Readiness};
use crate::control::shards::Shards;
use crate::flow::limits::Limits;
use crate::runtime::control_lane::{ControlLanes, control_lanes};
use crate::runtime::error::RuntimeError;
use crate::runtime::kernel;
use crate::runtime::listen::Listeners;
use crate::runtime::now;
use crate::runtime::workers::Workers;
use crate::server::config::Settings;
use crate::server::cores;
use crate::server::demo;
use crate::server::error::ServerError;
use crate::server::memory_budget::MemoryBudget;
use crate::server::resolve;
use crate::shard::Shard;

/// All that a server needs to know, checked.
#[derive(Clone, Debug)]
pub struct BootPlan {
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

impl BootPlan {
    /// What `settings` mean on this machine.
    ///
    /// # Errors
    /// A setting makes no sense, or names a core that is not ours.
    pub fn new(settings: &Settings) -> Result<Self, ServerError> {
        Ok(Self {
            listen: settings.listen.iter().map(|address| address.0).collect(),
            admin: settings.admin.0,
            feed: settings.feed.path.clone().map_or_else(default_feed, Ok)?,
            cores: cores::choose(&settings.cores, &cores::available())?,
            limits: resolve::limits(settings)?,
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
///
/// # Errors
/// That is not ours: the folder, or the file that is there, belongs to another user, or others may write in the folder.
pub fn default_feed() -> Result<PathBuf, ServerError> {
    let user = getuid().as_raw();
    let Some(folder) = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) else {
        return own_feed(format!("/tmp/fanfare-{user}.sock").into(), user);
    };
    let folder = Path::new(&folder);
    if folder.metadata().is_ok_and(|is| is.uid() != user || is.mode() & 0o022 != 0) {
        let reason = format!(
            "{} is not for user {user} alone: unset the variable, or name the feed with --feed",
            folder.display()
        );
        return Err(ServerError::wrong("XDG_RUNTIME_DIR", reason));
    }
    own_feed(folder.join("fanfare.sock"), user)
}

/// A path in a folder in which others may write, if nobody has put anything there before us.
fn own_feed(path: PathBuf, user: u32) -> Result<PathBuf, ServerError> {
    match path.symlink_metadata() {
        Ok(there) if there.uid() != user => {
            let reason = format!(
                "{} belongs to user {}: set XDG_RUNTIME_DIR to a folder of your own, or name the feed with --feed",
                path.display(),
                there.uid()
            );
            Err(ServerError::wrong("feed", reason))
        }
        _ => Ok(path),
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// A door cannot be opened, the cores do not start, or one ends before its time.
pub fn serve(plan: &BootPlan) -> Result<(), ServerError> {
    let mut signals = catch_signals()?;
    raise(Resource::Memlock);
    let budget = MemoryBudget::new(&plan.limits, plan.cores.len(), raise(Resource::Nofile))?;
    log::info!("memory budget: {budget}");

    let admin_door = open_admin(plan.admin)?;
    let admin_addr = admin_door.local_addr()?;
    let readiness = Arc::new(Readiness::default());
    let limits = Arc::new(plan.limits.clone());
    let (control, lanes) = control_lanes(plan.cores.len())?;
    let shards = Arc::new(Shards::new(control, limits.clone()));
    let admin = Admin::start(admin_door, Arc::clone(&readiness), shards, plan.limits.trust.clone())?;
    kernel::check()?;
    let listeners = Listeners::open(&plan.listen, &plan.feed, plan.cores.len())?;
    let ready_line = ready_line(listeners.clients(), admin_addr, &plan.feed);
    let workers = start_workers(plan, limits, listeners, &budget, lanes)?;

    readiness.set_ready();
    tell_systemd(NotifyState::Ready);
    // Nobody may be reading; that is no reason not to serve.
    let _ = writeln!(io::stdout(), "{ready_line}");

    let stopping = Arc::new(AtomicBool::new(false));
    let demo = plan.demo.then(|| start_demo(plan.feed.clone(), stopping.clone()));
    let stopper = workers.stopper();
    thread::spawn(move || stop_at_signal(&mut signals, &readiness, || stopper.stop()));
    let ended = workers.join();
    stopping.store(true, Ordering::Relaxed);
    if let Some(demo) = demo {
        // It looks at the flag several times a second; a panic in it has told its own story.
        let _ = demo.join();
    }
    ended?;
    admin.stop();
    Ok(())
}

fn start_workers(
    plan: &BootPlan,
    limits: Arc<Limits>,
    listeners: Listeners,
    budget: &MemoryBudget,
    control: ControlLanes,
) -> Result<Workers, RuntimeError> {
    let shards = plan.cores.len() as u16;
    let epoch = plan.epoch.clone();
    let make = move |id| Shard::new(id, shards, limits.clone(), epoch.clone(), now());
    let connections = u32::try_from(budget.connections).unwrap_or(u32::MAX);
    Workers::start(&plan.cores, listeners, connections, control, make)
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

/// Waits for SIGTERM or SIGINT, sends clients elsewhere, then calls `stop`. SIGHUP would end the process if nobody caught
/// it, and leave the feed's socket behind.
fn stop_at_signal(signals: &mut Signals, readiness: &Readiness, stop: impl FnOnce()) {
    let signal = signals.forever().find(|&signal| {
        let hangup = signal == SIGHUP;
        if hangup {
            log::info!("SIGHUP is ignored: settings cannot be reloaded yet; restart to change them");
        }
        !hangup
    });
    log::info!("stopping: {}", signal.and_then(signal_name).unwrap_or("signal"));
    readiness.set_stopping();
    tell_systemd(NotifyState::Stopping);
    stop();
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

    use super::*;
    use crate::flow::limits::trust::Trust;

    fn ready(admin: SocketAddr) -> String {
        let mut stream = TcpStream::connect(admin).expect("the admin door is open");
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The only test that sends this process a signal: a second one would end it.
    #[test]
    fn the_admin_door_tells_of_start_and_stop_and_a_signal_stops_the_cores() {
        let mut signals = catch_signals().expect("signals can be caught");
        let door = open_admin(([127, 0, 0, 1], 0).into()).expect("a free port");
        let addr = door.local_addr().expect("bound");
        let readiness = Arc::new(Readiness::default());
        let (control, _lanes) = control_lanes(0).expect("no shard needs an eventfd");
        let shards = Arc::new(Shards::new(control, Arc::default()));
        let admin = Admin::start(door, Arc::clone(&readiness), shards, Trust::default()).expect("a thread");
        assert!(ready(addr).ends_with("starting\n"));
        signal_hook::low_level::raise(SIGTERM).expect("it is delivered");
        let mut stopped = false;
        stop_at_signal(&mut signals, &readiness, || {
            assert!(ready(addr).ends_with("stopping\n"), "clients are sent elsewhere first");
            stopped = true;
        });
        assert!(stopped, "the signal stops the cores");
        admin.stop();
        assert!(TcpStream::connect(addr).is_err(), "the admin door is closed");
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
    fn a_feed_that_another_user_has_put_there_is_not_ours() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (path, user) = (file.path().to_owned(), getuid().as_raw());
        assert_eq!(own_feed(path.clone(), user).expect("it is ours"), path);
        let error = own_feed(path, user + 1).expect_err("it is of another user").to_string();
        assert!(error.contains(&format!("belongs to user {user}")) && error.contains("--feed"), "{error}");
        let free = file.path().with_extension("free");
        assert_eq!(own_feed(free.clone(), user).expect("nothing is there"), free);
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
