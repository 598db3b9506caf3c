//! The shards as the control side sees them: each is asked by its lane, and whoever does not answer is done without.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::base::id::ShardId;
use crate::flow::limits::Limits;
use crate::runtime::control_lane::{ControlHandle, NotAsked};
use crate::shard::control::{ControlReply, ControlRequest};
use crate::shard::stats::Stats;

/// How long the shards have to answer. A turn takes a few milliseconds at most.
const PATIENCE: Duration = Duration::from_millis(250);
/// How soon to try again to give new limits to a shard whose lane is full.
const RETRY: Duration = Duration::from_millis(10);

/// The counters of each shard; `None` for one that has not answered in time.
pub type StatsOfShards = Arc<[Option<Box<Stats>>]>;

/// Settings are different that a running server cannot change; by their names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a restart is needed to change {}", .0.join(", "))]
pub struct RestartNeeded(pub Vec<&'static str>);

/// The running shards.
pub struct Shards {
    control: ControlHandle,
    /// What holds. Locked while it is replaced, so that all shards end with the same limits.
    limits: Mutex<Arc<Limits>>,
    /// What the last scrape came to; `None` while one is under way.
    scraped: Mutex<Option<StatsOfShards>>,
}

impl Shards {
    /// The shards behind `control`, which start with `limits`.
    pub fn new(control: ControlHandle, limits: Arc<Limits>) -> Shards {
        Shards { control, limits: Mutex::new(limits), scraped: Mutex::default() }
    }

    /// What each shard has counted. The shards are asked once at a time: who comes meanwhile shares the answer.
    pub async fn stats(&self) -> StatsOfShards {
        let mut scraped = match self.scraped.try_lock() {
            Ok(mut last) => {
                *last = None;
                last
            }
            Err(_) => self.scraped.lock().await,
        };
        if let Some(stats) = &*scraped {
            return stats.clone();
        }
        // Also where a scrape was given up that others waited for.
        let stats = self.scrape().await;
        *scraped = Some(stats.clone());
        stats
    }

    async fn scrape(&self) -> StatsOfShards {
        let deadline = Instant::now() + PATIENCE;
        let ask = |shard| self.control.ask(shard, ControlRequest::Stats).ok();
        let asked: Vec<_> = self.control.shards().map(ask).collect();
        let mut all = Vec::with_capacity(asked.len());
        for answer in asked {
            let Some(answer) = answer else {
                all.push(None);
                continue;
            };
            all.push(match timeout_at(deadline, answer).await {
                Ok(Ok(ControlReply::Stats(stats))) => Some(stats),
                Ok(Ok(ControlReply::LimitsReplaced) | Err(_)) | Err(_) => None,
            });
        }
        all.into()
    }

    /// Gives every shard other limits. When this returns, they hold everywhere; until then a shard after the other gets
    /// them. Given up halfway, they hold for some shards: replace them once more.
    ///
    /// # Errors
    /// Something differs that needs a restart; nothing is changed.
    pub async fn replace_limits(&self, next: Arc<Limits>) -> Result<(), RestartNeeded> {
        let mut limits = self.limits.lock().await;
        let restart = limits.restart_needed(&next);
        if !restart.is_empty() {
            return Err(RestartNeeded(restart));
        }
        for shard in self.control.shards() {
            self.give_limits(shard, &next).await;
        }
        *limits = next;
        Ok(())
    }

    /// Returns when the shard has the limits, or has left. Limits may be given twice.
    async fn give_limits(&self, shard: ShardId, limits: &Arc<Limits>) {
        loop {
            match self.control.ask(shard, ControlRequest::ReplaceLimits(limits.clone())) {
                // Without an answer it is busy, or has left before it came to this: then the next attempt says so.
                Ok(done) => {
                    if let Ok(Ok(_)) = timeout(PATIENCE, done).await {
                        return;
                    }
                }
                Err(NotAsked::LaneFull) => sleep(RETRY).await,
                Err(NotAsked::Left) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::limits::Access;
    use crate::runtime::control_lane::control_lanes;
    use crate::runtime::listen::Listeners;
    use crate::runtime::now;
    use crate::runtime::workers::Workers;
    use crate::shard::Shard;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use tempfile::TempDir;
    use tokio::task::{JoinHandle, yield_now};

    /// Two shards that run.
    struct TestShards {
        shards: Arc<Shards>,
        workers: Workers,
        clients: SocketAddr,
        _dir: TempDir,
    }

    impl TestShards {
        fn start() -> TestShards {
            let dir = tempfile::tempdir().unwrap();
            let listeners =
                Listeners::open(&["127.0.0.1:0".parse().unwrap()], &dir.path().join("feed.sock"), 2).unwrap();
            let (clients, limits) = (listeners.clients()[0], Arc::new(Limits::default()));
            let (control, lanes) = control_lanes(2).unwrap();
            let shards = Arc::new(Shards::new(control, limits.clone()));
            let make = move |id| Shard::new(id, 2, limits.clone(), "0".into(), now());
            let workers = Workers::start(&[0, 0], listeners, 16, lanes, make).unwrap();
            TestShards { shards, workers, clients, _dir: dir }
        }

        /// The status of an answer to a request with so many bytes.
        fn post(&self, bytes: usize) -> String {
            let mut stream = TcpStream::connect(self.clients).unwrap();
            let body = "1".repeat(bytes);
            let head = format!(
                "POST /k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
            let mut response = [0; 12];
            stream.read_exact(&mut response).unwrap();
            String::from_utf8_lossy(&response[9..]).into_owned()
        }

        fn stop(self) -> Arc<Shards> {
            self.workers.stopper().stop();
            self.workers.join().unwrap();
            self.shards
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn shards_answer_until_they_have_left() {
        let running = TestShards::start();
        running.post(1);
        // Whichever shard has the connection has counted it before it answered.
        let stats = block_on(running.shards.stats());
        let requests = stats.iter().map(|stats| stats.as_ref().expect("it runs").requests);
        assert_eq!(requests.sum::<u64>(), 1);
        let shards = running.stop();
        assert!(block_on(shards.stats()).iter().all(Option::is_none));
        block_on(shards.replace_limits(Arc::default())).expect("nobody is waited for");
    }

    fn scrape(shards: &Arc<Shards>) -> JoinHandle<StatsOfShards> {
        let shards = Arc::clone(shards);
        tokio::spawn(async move { shards.stats().await })
    }

    #[test]
    fn who_scrapes_at_once_shares_an_answer_and_who_comes_later_gets_a_new_one() {
        let running = TestShards::start();
        block_on(async {
            // both wait for one that is under way, so that neither is done before the other has come
            let under_way = running.shards.scraped.lock().await;
            let (one, other) = (scrape(&running.shards), scrape(&running.shards));
            yield_now().await;
            drop(under_way);
            let (one, other) = (one.await.unwrap(), other.await.unwrap());
            assert!(Arc::ptr_eq(&one, &other));
            assert!(!Arc::ptr_eq(&one, &running.shards.stats().await));
        });
        running.stop();
    }

    /// The shards do not run, so they answer nobody in time.
    #[test]
    fn a_scrape_that_is_given_up_leaves_nothing_old_behind() {
        let (control, _lanes) = control_lanes(2).unwrap();
        let shards = Arc::new(Shards::new(control, Arc::default()));
        *shards.scraped.try_lock().unwrap() = Some(vec![Some(Box::default())].into());
        block_on(async {
            let (first, second) = (scrape(&shards), scrape(&shards));
            yield_now().await;
            first.abort();
            assert_eq!(second.await.unwrap().iter().map(Option::is_some).collect::<Vec<_>>(), [false; 2]);
        });
    }

    #[test]
    fn limits_that_are_replaced_hold_at_every_shard_when_that_is_said() {
        let running = TestShards::start();
        for max_body in [10, 100, 10] {
            let limits = Arc::new(Limits { max_body, ..Limits::default() });
            block_on(running.shards.replace_limits(limits)).expect("no restart is needed");
            let statuses: Vec<String> = (0..8).map(|_| running.post(11)).collect();
            assert_eq!(statuses, vec![if max_body == 10 { "413" } else { "200" }; 8]);
        }
        let more = Limits { anonymous: vec![Access::Read; 2], max_body: 100, ..Limits::default() };
        let refused =
            block_on(running.shards.replace_limits(more.into())).expect_err("there is one listener");
        assert_eq!(refused.to_string(), "a restart is needed to change listen");
        assert_eq!(running.post(11), "413", "nothing is changed");
        running.stop();
    }
}
