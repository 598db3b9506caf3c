//! Listening sockets: TCP, one per shard and address, and the Unix socket of the feed.

use crate::runtime::error::RuntimeError;
use crate::shard::io::Door;
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 16384;

/// Bytes that the kernel may hold for one reader without having sent them. Left alone it would keep megabytes for each
/// that does not read: memory that no budget of ours counts, and whose first touch stops everybody for milliseconds.
const UNSENT: u32 = 128 << 10;

/// The longest path of a Unix socket, in bytes (`sun_path`, with its end).
const LONGEST_PATH: usize = 107;

/// How long a door may be taken before it counts as taken: of a server that has ended, the kernel takes the ring apart,
/// and with it what the ring listens on, only after the process is gone (seen: 50 ms).
const LETTING_GO: Duration = Duration::from_secs(1);
/// Between two attempts.
const ATTEMPTS: Duration = Duration::from_millis(20);

/// Makes attempts until the address is not in use, or for `LETTING_GO`.
fn when_free<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + LETTING_GO;
    loop {
        match attempt() {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(ATTEMPTS);
            }
            other => return other,
        }
    }
}

/// Every socket that is listened on, by the shard that accepts from it.
pub struct Listeners {
    pub(super) of_shards: Vec<Vec<(Socket, Door)>>,
    pub(super) feed: FeedPath,
    clients: Vec<SocketAddr>,
}

impl Listeners {
    /// Opens the clients' addresses, whose places are the numbers of [`Door::Clients`], and the feed's Unix socket. What
    /// connects from now on waits for the shards.
    pub fn open(clients: &[SocketAddr], feed: &Path, shards: usize) -> Result<Listeners, RuntimeError> {
        let mut of_shards: Vec<Vec<(Socket, Door)>> = (0..shards).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for (place, &addr) in clients.iter().enumerate() {
            let (sockets, bound) = tcp(addr, shards)?;
            addresses.push(bound);
            for (shard, socket) in sockets.into_iter().enumerate() {
                of_shards[shard].push((socket, Door::Clients(place as u8)));
            }
        }
        // One shard accepts the feed's few connections: of several waiting in one accept queue the kernel always wakes
        // the same one anyway.
        let (socket, feed) = self::feed(feed)?;
        of_shards[0].push((socket, Door::Feed));
        Ok(Listeners { of_shards, feed, clients: addresses })
    }

    /// The clients' addresses as bound: with the ports that were found for port 0.
    pub fn clients(&self) -> &[SocketAddr] {
        &self.clients
    }
}

/// One listener per shard on `addr`; the kernel spreads new connections over them by their hash. With port 0 the first
/// one picks the port for all. Also returns the address as bound.
fn tcp(addr: SocketAddr, shards: usize) -> Result<(Vec<Socket>, SocketAddr), RuntimeError> {
    let fail = |cause| RuntimeError::Listen { addr, cause };
    // Sharing a port among our shards would also share it with another server of ours, and split its clients: so first
    // see whether the port can be had alone.
    when_free(|| tcp_one(addr, false)).map_err(fail)?;
    let mut bound = addr;
    let mut sockets = Vec::new();
    for _ in 0..shards {
        let socket = tcp_one(bound, true).map_err(fail)?;
        let local = socket.local_addr().map_err(fail)?;
        bound = local.as_socket().expect("a TCP socket has an IP address");
        sockets.push(socket);
    }
    // Only now: a shard's share of connections would be lost to a listener that comes later.
    for socket in &sockets {
        socket.listen(BACKLOG).map_err(fail)?;
    }
    Ok((sockets, bound))
}

fn tcp_one(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Inherited by what it accepts, which saves calls per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// The name of the feed's socket in the file system; removed when dropped.
#[derive(Debug)]
pub(super) struct FeedPath(PathBuf);

impl Drop for FeedPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on `path`, for this user only (mode 0600). A socket that nobody listens on any more is replaced, a live one
/// is an error, and so is anything there that is not a socket.
fn feed(path: &Path) -> Result<(Socket, FeedPath), RuntimeError> {
    let fail = |cause| RuntimeError::Feed { path: path.to_owned(), cause };
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        let why =
            format!("its path has {length} bytes, and that of a Unix socket has at most {LONGEST_PATH}");
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, why)));
    }
    let alive = when_free(|| match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        // Nobody there, or nobody behind it: what is left is replaced.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(())
        }
        Err(error) => Err(error),
    });
    match alive {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return Err(RuntimeError::FeedTaken { path: path.to_owned() });
        }
        alive => alive.map_err(fail)?,
    }
    match path.symlink_metadata() {
        Ok(there) if !there.file_type().is_socket() => {
            let why = "a file that is not a socket is in the way";
            return Err(fail(io::Error::new(io::ErrorKind::AlreadyExists, why)));
        }
        Ok(_) => std::fs::remove_file(path).map_err(fail)?,
        Err(_) => {}
    }
    let socket = unix(path).map_err(fail)?;
    Ok((socket, FeedPath(path.to_owned())))
}

/// Binds under the name itself, which is how others know that the socket is alive (/proc/net/unix).
fn unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode that its socket has now, so nobody else can connect, not even for a moment.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_feed_socket_is_for_its_user_only_and_goes_when_we_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.sock");
        let (_socket, name) = feed(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        UnixStream::connect(&path).unwrap();
        drop(name);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn the_kernel_knows_the_feed_by_its_name_which_may_be_as_long_as_any() {
        let dir = tempfile::tempdir().unwrap();
        let of_length = |length: usize| {
            let start = dir.path().join("f");
            start.with_file_name("f".repeat(length - start.as_os_str().len() + 1))
        };
        let path = of_length(LONGEST_PATH);
        let _feed = feed(&path).unwrap();
        let known = std::fs::read_to_string("/proc/net/unix").unwrap();
        assert!(known.lines().any(|line| line.ends_with(path.to_str().unwrap())), "{known}");
        let error = feed(&of_length(LONGEST_PATH + 1)).unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("at most 107"), "{error}");
    }

    #[test]
    fn a_stale_feed_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _feed = feed(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_feed_socket_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.sock");
        let _live = feed(&path).unwrap();
        let error = feed(&path).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_plain_file_in_the_way_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(feed(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_port_that_another_server_listens_on_is_refused() {
        let (_sockets, bound) = tcp("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert!(matches!(tcp(bound, 2), Err(RuntimeError::Listen { .. })));
    }

    #[test]
    fn all_shards_share_the_port_that_the_first_one_got() {
        let (sockets, bound) = tcp("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(bound.port(), 0);
        for socket in sockets {
            assert_eq!(socket.local_addr().unwrap().as_socket(), Some(bound));
        }
    }
}
