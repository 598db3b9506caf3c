//! Start and end of the shards' threads.

use crate::base::id::ShardId;
use crate::runtime::error::RuntimeError;
use crate::runtime::kernel;
use crate::runtime::listen::{self, FeedPath};
use crate::runtime::mailbox::{Post, mesh};
use crate::runtime::ring::Ring;
use crate::runtime::turn::{Board, Turn};
use crate::runtime::wake::Wake;
use crate::shard::Shard;
use crate::shard::io::Door;
use crate::shard::mail::Mail;
use crate::shard::stats::Stats;
use crossbeam_channel::{Sender, bounded};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Memory that glommio sets aside for its own disk I/O, of which we do none.
const GLOMMIO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings.
const GLOMMIO_ENTRIES: usize = 16;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The core of each shard, in the order of the shards.
    pub cpus: Vec<usize>,
    /// The clients' addresses; their places are the numbers of [`Door::Clients`].
    pub clients: Vec<SocketAddr>,
    /// The feed's Unix socket.
    pub feed: Option<PathBuf>,
    /// Connections that one shard may have; further ones are closed at once.
    pub connections: u32,
}

/// The running shards.
pub struct Running {
    threads: Vec<ExecutorJoinHandle<Result<(), RuntimeError>>>,
    stopper: Stopper,
    cpus: Vec<usize>,
    clients: Vec<SocketAddr>,
    feed: Option<FeedPath>,
    boards: Vec<Board>,
}

/// Stops the shards, from any thread.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    wakes: Vec<Arc<Wake>>,
}

/// Held by each shard's thread: when one leaves, for whatever reason, all do, so that `join` gets to tell why.
struct LeaveTogether(Stopper);

impl Drop for LeaveTogether {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Stopper {
    /// Asks all shards to leave; each closes its listeners and takes one last turn.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wakes.iter().for_each(|wake| wake.ring());
    }
}

impl Running {
    /// The clients' addresses as bound: with the ports that were found for port 0.
    pub fn clients(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// The counters of each shard.
    pub fn boards(&self) -> Vec<Board> {
        self.boards.clone()
    }

    /// Something that can stop the shards while this thread joins them.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Asks all shards to leave.
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits until all shards have left and tells the first failure. The feed's socket is removed.
    pub fn join(self) -> Result<(), RuntimeError> {
        let mut outcome = Ok(());
        for (shard, thread) in self.threads.into_iter().enumerate() {
            let ended =
                thread.join().unwrap_or_else(|cause| Err(glommio_error(shard, self.cpus[shard], &cause)));
            outcome = outcome.and(ended);
        }
        drop(self.feed);
        outcome
    }
}

/// What one thread starts with.
struct Seat<F> {
    make: F,
    post: Post<Mail>,
    stopper: Stopper,
    listeners: Vec<(Socket, Door)>,
    connections: u32,
    board: Board,
}

/// Starts one pinned thread per element of `makes`, in the order of the shards; each makes its shard there. When this
/// returns, every door is open and served.
pub fn run<F>(plan: Plan, makes: Vec<F>) -> Result<Running, RuntimeError>
where
    F: FnOnce() -> Shard + Send + 'static,
{
    assert_eq!(plan.cpus.len(), makes.len(), "one core per shard");
    kernel::check()?;
    let shards = makes.len();
    let wakes = (0..shards).map(|_| Wake::new().map(Arc::new)).collect::<io::Result<Vec<_>>>();
    let wakes = wakes.map_err(|cause| RuntimeError::Ring { cause })?;
    let stopper = Stopper { stop: Arc::new(AtomicBool::new(false)), wakes };

    let mut listeners: Vec<Vec<(Socket, Door)>> = (0..shards).map(|_| Vec::new()).collect();
    let mut clients = Vec::new();
    for (place, &addr) in plan.clients.iter().enumerate() {
        let (sockets, bound) = listen::tcp(addr, shards)?;
        clients.push(bound);
        for (shard, socket) in sockets.into_iter().enumerate() {
            listeners[shard].push((socket, Door::Clients(place as u8)));
        }
    }
    // One shard accepts the feed's few connections: of several waiting in one accept queue the kernel always wakes the
    // same one anyway.
    let feed = plan.feed.as_deref().map(listen::feed).transpose()?.map(|(socket, path)| {
        listeners[0].push((socket, Door::Feed));
        path
    });

    let (ready, is_ready) = bounded(shards);
    let mut running =
        Running { threads: Vec::new(), stopper, cpus: plan.cpus, clients, feed, boards: Vec::new() };
    let posts = mesh(&running.stopper.wakes);
    for (shard, ((make, post), listeners)) in makes.into_iter().zip(posts).zip(listeners).enumerate() {
        let board: Board = std::iter::repeat_with(AtomicU64::default).take(Stats::VALUES).collect();
        running.boards.push(board.clone());
        let (stopper, connections) = (running.stopper(), plan.connections);
        let seat = Seat { make, post, stopper, listeners, connections, board };
        match seat.start(ShardId(shard as u16), running.cpus[shard], ready.clone()) {
            Ok(thread) => running.threads.push(thread),
            Err(error) => {
                running.stop();
                // The others leave because we ask; this failure is the one to tell.
                let _ = running.join();
                return Err(error);
            }
        }
    }
    // A thread that fails before it is ready drops its sender unused.
    drop(ready);
    if is_ready.iter().count() == shards {
        return Ok(running);
    }
    Err(running.join().expect_err("a shard that was never ready has failed"))
}

impl<F: FnOnce() -> Shard + Send + 'static> Seat<F> {
    fn start(
        self,
        shard: ShardId,
        cpu: usize,
        ready: Sender<()>,
    ) -> Result<ExecutorJoinHandle<Result<(), RuntimeError>>, RuntimeError> {
        LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .name(&format!("shard-{}", shard.0))
            .io_memory(GLOMMIO_MEMORY)
            .ring_depth(GLOMMIO_ENTRIES)
            .spawn(move || async move {
                let wake = self.stopper.wakes[shard.index()].clone();
                let stop = self.stopper.stop.clone();
                let _together = LeaveTogether(self.stopper);
                let mut ring = Ring::new(self.connections, wake.clone())
                    .map_err(|cause| RuntimeError::ring(cause, kernel::io_uring_disabled()))?;
                let shard = (self.make)();
                for (socket, door) in self.listeners {
                    ring.listen(socket, door);
                }
                // Fails only if the start was given up meanwhile, and then the stop flag says so.
                let _ = ready.send(());
                drop(ready);
                Turn { shard, ring, post: self.post, wake, stop, board: self.board, told: 0 }.run().await;
                Ok(())
            })
            .map_err(|cause| glommio_error(shard.index(), cpu, &cause))
    }
}

fn glommio_error<T>(shard: usize, cpu: usize, cause: &glommio::GlommioError<T>) -> RuntimeError {
    RuntimeError::Shard { shard: shard as u16, cpu, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: u16, shards: u16) -> Shard {
        Shard::new(ShardId(id), shards, Arc::default(), "0".into(), crate::runtime::now())
    }

    /// Shards that nobody talks to.
    fn blank(n: usize) -> Vec<impl FnOnce() -> Shard + Send + 'static> {
        (0..n as u16).map(move |id| move || shard(id, n as u16)).collect()
    }

    fn plan(feed: &std::path::Path) -> Plan {
        Plan {
            cpus: vec![0, 0],
            clients: vec!["127.0.0.1:0".parse().unwrap()],
            feed: Some(feed.to_owned()),
            connections: 16,
        }
    }

    #[test]
    fn shards_start_sleep_and_leave_when_asked_and_the_feed_goes_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let feed = dir.path().join("feed.sock");
        for _ in 0..3 {
            let running = run(plan(&feed), blank(2)).unwrap();
            assert!(feed.exists());
            let addr = running.clients()[0];
            std::thread::sleep(std::time::Duration::from_millis(50));
            running.stop();
            running.join().unwrap();
            assert!(!feed.exists());
            assert!(std::net::TcpStream::connect(addr).is_err());
        }
    }

    #[test]
    fn glommio_pins_each_thread_to_the_core_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let (tell, told) = bounded(2);
        let makes = vec![tell.clone(), tell].into_iter().map(|tell| {
            move || {
                let cores = rustix::thread::sched_getaffinity(None).unwrap();
                tell.send((cores.count(), cores.is_set(0))).unwrap();
                shard(0, 2)
            }
        });
        let running = run(plan(&dir.path().join("feed.sock")), makes.collect()).unwrap();
        running.stop();
        running.join().unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), [(1, true), (1, true)]);
    }

    #[test]
    fn a_shard_that_dies_takes_the_others_with_it_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let feed = dir.path().join("feed.sock");
        let makes: Vec<Box<dyn FnOnce() -> Shard + Send>> =
            vec![Box::new(|| shard(0, 2)), Box::new(|| panic!("on purpose"))];
        let error = run(plan(&feed), makes).err().expect("shard 1 cannot be made");
        assert!(matches!(error, RuntimeError::Shard { shard: 1, .. }), "{error}");
        assert!(!feed.exists());
    }

    #[test]
    fn a_shard_that_cannot_be_placed_fails_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let feed = dir.path().join("feed.sock");
        let plan = Plan { cpus: vec![0, 100_000], ..plan(&feed) };
        let error = run(plan, blank(2)).err().expect("there is no such core");
        assert!(matches!(error, RuntimeError::Shard { shard: 1, cpu: 100_000, .. }), "{error}");
        assert!(!feed.exists());
    }
}
