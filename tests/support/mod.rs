//! What the tests of the real binary share: a server on free ports, and connections to its listeners.
//!
//! Each test file uses its own part of this.
#![allow(dead_code)]

pub mod browser;
pub mod events;
pub mod http;
pub mod hub;
pub mod proxy;
pub mod raw_ws;
pub mod subscriber;
pub mod tools;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

/// How long a test waits for what should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub const FANFARE: &str = env!("CARGO_BIN_EXE_fanfare");

/// A running server with a directory of its own; killed when dropped, and its log shown if the test failed.
pub struct Server {
    child: Child,
    log: Option<JoinHandle<Vec<u8>>>,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The feed's socket.
    pub feed: PathBuf,
    /// Holds the feed's socket and the configuration; removed with the server.
    pub dir: tempfile::TempDir,
}

impl Server {
    /// Starts `serve` with two shards, `args` and the text of a configuration file, and waits until it is ready.
    pub fn start(args: &[&str], config: &str) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Server::start_in(dir, args, config)
    }

    /// As `start`, with a directory that may already hold something (`feed.sock`).
    pub fn start_in(dir: tempfile::TempDir, args: &[&str], config: &str) -> Server {
        Server::start_at([127, 0, 0, 1].into(), dir, None, args, config)
    }

    /// As `start`, with listeners that other machines can reach.
    pub fn start_for_all(args: &[&str], config: &str) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Server::start_at([0, 0, 0, 0].into(), dir, None, args, config)
    }

    /// As `start`, with a limit of open files.
    pub fn start_with_files(files: u32) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Server::start_at([127, 0, 0, 1].into(), dir, Some(files), &[], "")
    }

    fn start_at(
        ip: IpAddr,
        dir: tempfile::TempDir,
        files: Option<u32>,
        args: &[&str],
        config: &str,
    ) -> Server {
        let (listen, admin) = (free_port(), free_port());
        let feed = dir.path().join("feed.sock");
        let at = |port: SocketAddr| SocketAddr::new(ip, port.port());
        let mut command = serve(at(listen), at(admin), &feed);
        if !args.contains(&"--cores") {
            command.args(["--cores", "2"]);
        }
        let file = dir.path().join("fanfare.toml");
        std::fs::write(&file, config).expect("the configuration is written");
        command.arg("--config").arg(&file).args(args);
        if let Some(files) = files {
            command = with_files(files, &command);
        }
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{FANFARE} does not start: {e}"));

        let (ready, log) = watch(&mut child);
        let server = Server { child, log: Some(log), listen, admin, feed, dir };
        if ready.recv_timeout(PATIENCE).is_err() {
            panic!("the server did not say that it is listening");
        }
        server
    }

    /// Opens a connection to the feed.
    pub fn feed(&self) -> Feed {
        Feed::connect(&self.feed)
    }

    /// One request on a connection of its own.
    pub fn http(&self, method: &str, path: &str, body: &str) -> http::Response {
        http::request(self.listen, method, path, body.as_bytes())
    }

    /// Subscribes to a key or pattern (with `?v=...` if wanted).
    pub fn subscribe(&self, key: &str) -> subscriber::Subscriber {
        subscriber::Subscriber::open(self.listen, key)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while the process runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    /// Sends a signal and waits for the end.
    pub fn stop(&mut self, signal: rustix::process::Signal) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the signal is delivered");
        wait_for("the server to end", || self.child.try_wait().expect("the child can be asked"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        if thread::panicking() {
            eprintln!("--- standard error of the server ---\n{}---", String::from_utf8_lossy(&log));
        }
    }
}

/// `fanfare serve` with these addresses, its outputs piped.
pub fn serve(listen: SocketAddr, admin: SocketAddr, feed: &Path) -> Command {
    let mut command = Command::new(FANFARE);
    command.args(["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "--feed"]);
    command.arg(feed).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same command, which may open so many files.
pub fn with_files(files: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    limited
}

/// Drains both outputs until they end. The receiver hears of the line that says `listening`, or is cut off at the end;
/// the thread gives standard error.
fn watch(child: &mut Child) -> (mpsc::Receiver<()>, JoinHandle<Vec<u8>>) {
    let (sender, ready) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if line.contains("listening") {
                let _ = sender.send(());
            }
        }
    });
    let mut stderr = child.stderr.take().expect("piped");
    let log = thread::spawn(move || {
        let mut log = Vec::new();
        let _ = stderr.read_to_end(&mut log);
        log
    });
    (ready, log)
}

/// An address that nobody listens on, below the ports that the kernel gives out by itself; never the same one twice in a
/// process.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + offset as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Asks until there is an answer; panics if there is none in time.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// One connection to the feed.
pub struct Feed {
    /// For bytes that are not a line.
    pub stream: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Feed {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Feed {
        let stream = UnixStream::connect(path).expect("the feed is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let replies = BufReader::new(stream.try_clone().expect("a second handle"));
        Feed { stream, replies }
    }

    /// Writes one line and waits for no reply.
    pub fn send(&mut self, line: &[u8]) {
        let mut bytes = line.to_vec();
        bytes.push(b'\n');
        self.stream.write_all(&bytes).expect("the feed takes a line");
    }

    /// The next reply; `None` when the server has closed.
    pub fn reply(&mut self) -> Option<Value> {
        let mut line = String::new();
        let n = self.replies.read_line(&mut line).expect("a reply in time");
        (n > 0).then(|| serde_json::from_str(&line).expect("a reply is JSON"))
    }

    /// Ends the sending side; replies still come.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the feed is open");
    }

    /// Sends one operation with an id and waits until it is applied; gives the reply.
    pub fn apply(&mut self, mut op: Value) -> Value {
        op["id"] = "t".into();
        self.send(op.to_string().as_bytes());
        let reply = self.reply().expect("a reply");
        assert_eq!(reply["ok"], true, "{op} was answered by {reply}");
        assert_eq!(reply["id"], "t");
        reply
    }
}
