//! The shards' threads: how they start, stop and end.

use crate::base::id::ShardId;
use crate::runtime::control_lane::{ControlLane, ControlLanes};
use crate::runtime::error::RuntimeError;
use crate::runtime::event_loop::EventLoop;
use crate::runtime::kernel;
use crate::runtime::listen::{FeedPath, Listeners};
use crate::runtime::mailbox::{Mailbox, mesh};
use crate::runtime::places::Places;
use crate::runtime::ring::Ring;
use crate::runtime::stopper::{StopOnDrop, Stopper};
use crate::shard::Shard;
use crate::shard::io::Door;
use crate::shard::mail::Mail;
use crossbeam_channel::{Sender, bounded};
use glommio::{ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement};
use socket2::Socket;
use std::sync::Arc;

/// Memory that glommio sets aside for its own disk I/O, of which we do none.
const GLOMMIO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings.
const GLOMMIO_ENTRIES: usize = 16;

/// The running shards.
pub struct Workers {
    threads: Vec<(usize, Thread)>,
    stopper: Stopper,
    feed: FeedPath,
}

type Thread = ExecutorJoinHandle<Result<(), RuntimeError>>;

impl Workers {
    /// Starts one thread pinned to each of `cores`, in the order of the shards. Each makes its shard, accepts from its
    /// listeners (all together up to `connections` clients; further ones are closed at once), and answers what comes by its lane of
    /// `control`. When this returns, every door is served.
    ///
    /// # Errors
    /// The kernel gives no ring, or a thread cannot start; none is left running then.
    pub fn start(
        cores: &[usize],
        listeners: Listeners,
        connections: u32,
        control: ControlLanes,
        make: impl Fn(ShardId) -> Shard + Clone + Send + 'static,
    ) -> Result<Workers, RuntimeError> {
        assert_eq!(cores.len(), listeners.of_shards.len(), "listeners for every shard");
        assert_eq!(cores.len(), control.lanes.len(), "a lane for every shard");
        let places = Arc::new(Places::new(connections));
        let stopper = Stopper::new(control.notifiers);
        let (ready, is_ready) = bounded(cores.len());
        let mailboxes = mesh(stopper.notifiers());
        let mut workers = Workers { threads: Vec::new(), stopper, feed: listeners.feed };
        let ends = listeners.of_shards.into_iter().zip(mailboxes).zip(control.lanes);
        for (id, (((listeners, mailbox), control), &core)) in ends.zip(cores).enumerate() {
            let worker = Worker {
                id: ShardId(id as u16),
                core,
                listeners,
                mailbox,
                places: places.clone(),
                control,
                make: make.clone(),
            };
            match worker.start(workers.stopper(), ready.clone()) {
                Ok(thread) => workers.threads.push((core, thread)),
                Err(error) => {
                    workers.stopper.stop();
                    // The others leave because we ask; this failure is the one to tell.
                    let _ = workers.join();
                    return Err(error);
                }
            }
        }
        // A thread that fails before it is ready drops its sender unused.
        drop(ready);
        if is_ready.iter().count() == cores.len() {
            return Ok(workers);
        }
        Err(workers.join().expect_err("a shard that was never ready has failed"))
    }

    /// Something that can stop the shards while this thread joins them.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until all shards have left and tells the first failure. The feed's socket is removed.
    ///
    /// # Errors
    /// A shard ended before its time.
    pub fn join(self) -> Result<(), RuntimeError> {
        let mut outcome = Ok(());
        for (shard, (core, thread)) in self.threads.into_iter().enumerate() {
            let ended =
                thread.join().unwrap_or_else(|cause| Err(failure(ShardId(shard as u16), core, &cause)));
            outcome = outcome.and(ended);
        }
        drop(self.feed);
        outcome
    }
}

/// What one thread starts with.
struct Worker<F> {
    id: ShardId,
    core: usize,
    listeners: Vec<(Socket, Door)>,
    mailbox: Mailbox<Mail>,
    places: Arc<Places>,
    control: ControlLane,
    make: F,
}

impl<F> Worker<F>
where
    F: FnOnce(ShardId) -> Shard + Send + 'static,
{
    fn start(self, stopper: Stopper, ready: Sender<()>) -> Result<Thread, RuntimeError> {
        let Worker { id, core, .. } = self;
        LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("shard-{}", id.0))
            .io_memory(GLOMMIO_MEMORY)
            .ring_depth(GLOMMIO_ENTRIES)
            .spawn(move || self.run(stopper, ready))
            .map_err(|cause| failure(id, core, &cause))
    }

    async fn run(self, stopper: Stopper, ready: Sender<()>) -> Result<(), RuntimeError> {
        let _together = StopOnDrop(stopper.clone());
        let notifier = stopper.notifier(self.id);
        let mut ring = Ring::new(self.places, notifier.clone())
            .map_err(|cause| RuntimeError::ring(cause, kernel::io_uring_disabled()))?;
        let shard = (self.make)(self.id);
        for (socket, door) in self.listeners {
            ring.listen(socket, door);
        }
        // Fails only if the start was given up meanwhile, and then the stopper says so.
        let _ = ready.send(());
        drop(ready);
        let (mailbox, control) = (self.mailbox, self.control);
        EventLoop { shard, ring, mailbox, control, notifier, stopper }.run().await;
        Ok(())
    }
}

fn failure<T>(shard: ShardId, core: usize, cause: &GlommioError<T>) -> RuntimeError {
    RuntimeError::Shard { shard: shard.0, core, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::now;
    use crate::runtime::control_lane::control_lanes;
    use crate::shard::control::{ControlReply, ControlRequest};
    use std::path::Path;
    use std::time::Duration;
    use tokio::sync::oneshot::error::TryRecvError;

    /// A shard that nobody talks to.
    fn blank(id: ShardId) -> Shard {
        Shard::new(id, 2, Arc::default(), "0".into(), now())
    }

    fn listeners(feed: &Path) -> Listeners {
        Listeners::open(&["127.0.0.1:0".parse().unwrap()], feed, 2).unwrap()
    }

    fn start(
        cores: [usize; 2],
        feed: &Path,
        make: impl Fn(ShardId) -> Shard + Clone + Send + 'static,
    ) -> Result<Workers, RuntimeError> {
        Workers::start(&cores, listeners(feed), 16, control_lanes(2).unwrap().1, make)
    }

    #[test]
    fn shards_start_sleep_and_leave_when_asked_and_the_feed_goes_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let feed = dir.path().join("feed.sock");
        for _ in 0..3 {
            let listeners = listeners(&feed);
            let addr = listeners.clients()[0];
            let (_, control) = control_lanes(2).unwrap();
            let workers = Workers::start(&[0, 0], listeners, 16, control, blank).unwrap();
            assert!(feed.exists());
            std::thread::sleep(Duration::from_millis(50));
            workers.stopper().stop();
            workers.join().unwrap();
            assert!(!feed.exists());
            assert!(std::net::TcpStream::connect(addr).is_err());
        }
    }

    /// A shard that nobody wakes sleeps for about a second: the answers would take minutes.
    #[test]
    fn sleeping_shards_wake_up_and_answer_the_control_side() {
        let dir = tempfile::tempdir().unwrap();
        let listeners = listeners(&dir.path().join("feed.sock"));
        let (control, lanes) = control_lanes(2).unwrap();
        let early = control.ask(ShardId(1), ControlRequest::Stats).unwrap();
        let workers = Workers::start(&[0, 0], listeners, 16, lanes, blank).unwrap();
        let answer = |mut answer: tokio::sync::oneshot::Receiver<ControlReply>| loop {
            match answer.try_recv() {
                Ok(reply) => break reply,
                Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_micros(100)),
                Err(TryRecvError::Closed) => panic!("the shard has left"),
            }
        };
        let (tell, told) = bounded(1);
        std::thread::spawn(move || {
            answer(early);
            for n in 0..500 {
                let reply = answer(control.ask(ShardId(n % 2), ControlRequest::Stats).unwrap());
                assert!(matches!(reply, ControlReply::Stats(_)));
            }
            tell.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(60)).expect("500 answers");
        workers.stopper().stop();
        workers.join().unwrap();
    }

    #[test]
    fn glommio_pins_each_thread_to_the_core_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let (tell, told) = bounded(2);
        let make = move |id| {
            let cores = rustix::thread::sched_getaffinity(None).unwrap();
            tell.send((cores.count(), cores.is_set(0))).unwrap();
            blank(id)
        };
        let workers = start([0, 0], &dir.path().join("feed.sock"), make).unwrap();
        workers.stopper().stop();
        workers.join().unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), [(1, true), (1, true)]);
    }

    #[test]
    fn a_shard_that_dies_takes_the_others_with_it_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let feed = dir.path().join("feed.sock");
        let make = |id| if id == ShardId(1) { panic!("on purpose") } else { blank(id) };
        let error = start([0, 0], &feed, make).err().expect("shard 1 cannot be made");
        assert!(matches!(error, RuntimeError::Shard { shard: 1, .. }), "{error}");
        assert!(!feed.exists());
    }

    #[test]
    fn a_shard_that_cannot_be_placed_fails_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let feed = dir.path().join("feed.sock");
        let error = start([0, 100_000], &feed, blank).err().expect("there is no such core");
        assert!(matches!(error, RuntimeError::Shard { shard: 1, core: 100_000, .. }), "{error}");
        assert!(!feed.exists());
    }
}
