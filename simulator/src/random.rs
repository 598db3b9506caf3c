//! Random writes while subscribers come, stall, go and come back: at rest every copy is the server's, and at no moment do
//! two subscribers of one path have different documents at one version.

use crate::clients::application::Application;
use crate::clients::subscriber::Subscriber;
use crate::model::Model;
use crate::operations::{pick, random_operation};
use crate::world::World;
use fanfare::flow::limits::Limits;
use fanfare::flow::limits::documents::PatchMode;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::Add;

/// What is subscribed to.
const PATHS: [&str; 9] = ["a/*", "b/*", "*/*", "*", "*/1", "a/1", "a/2", "b/1", "single1"];
/// Subscribers at one time.
const SUBSCRIBERS: usize = 24;
/// Bytes that fit into a socket: next to nothing, a few messages, whatever comes.
const CAPACITIES: [usize; 3] = [100, 3000, 1 << 20];
/// How changes may travel.
const MODES: [PatchMode; 3] = [PatchMode::Auto, PatchMode::Never, PatchMode::Always];
/// Steps from one rest to the next.
const STEPS: usize = 300;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations of the application.
    pub operations: usize,
    /// Subscribers that came, those that came back included.
    pub subscribers: usize,
    /// Messages that they read.
    pub messages: usize,
    /// Times that everything came to rest and was compared with the model.
    pub rests: usize,
    /// Frames that were deflated.
    pub deflated: u64,
}

impl Add for Summary {
    type Output = Summary;

    fn add(self, other: Summary) -> Summary {
        Summary {
            operations: self.operations + other.operations,
            subscribers: self.subscribers + other.subscribers,
            messages: self.messages + other.messages,
            rests: self.rests + other.rests,
            deflated: self.deflated + other.deflated,
        }
    }
}

/// Little space for those who stall, and nearly every frame worth deflating.
pub fn tight_limits() -> Limits {
    Limits { queue_bytes: 2048, write_timeout: u64::MAX / 4, deflate_min: 100, ..Limits::default() }
}

/// Does so many steps from that seed. Panics if anything is not as it must be.
pub fn run(seed: u64, shards: u16, steps: usize) -> Summary {
    let mut run = Run::new(seed, shards);
    for step in 1..=steps {
        run.step();
        if step % STEPS == 0 || step == steps {
            run.rest();
        }
    }
    run.summary.messages += run.readers.iter().map(|reader| reader.sub.messages).sum::<usize>();
    run.summary.deflated = run.world.count(|stats| stats.encoded.deflated);
    run.summary
}

/// A subscriber, and whether it reads nothing at the moment.
#[derive(Debug)]
struct Reader {
    sub: Subscriber,
    stalled: bool,
}

struct Run {
    world: World,
    rng: Rng,
    app: Application,
    model: Model,
    readers: Vec<Reader>,
    history: History,
    /// The operations since the last rest, by their `id`, and whether the model did them.
    expected: Vec<(Value, bool)>,
    summary: Summary,
}

impl Run {
    fn new(seed: u64, shards: u16) -> Run {
        let patch = MODES[(seed % 3) as usize];
        let mut world = World::new(seed, shards, Limits { patch, ..tight_limits() });
        let app = Application::open(&mut world);
        let rng = Rng::with_seed(seed);
        let (model, readers, history, expected, summary) = Default::default();
        Run { world, rng, app, model, readers, history, expected, summary }
    }

    /// Something happens, then some turns, then everybody reads who does not stall.
    fn step(&mut self) {
        match self.rng.u8(0..10) {
            0..5 => self.write(),
            5 | 6 if self.readers.len() < SUBSCRIBERS => self.subscribe(),
            7 if !self.readers.is_empty() => self.reconnect(),
            8 if !self.readers.is_empty() => {
                let at = self.rng.usize(0..self.readers.len());
                self.readers[at].stalled ^= true;
            }
            9 => self.replace_limits(),
            _ => {}
        }
        self.world.run(self.rng.usize(0..6));
        for reader in self.readers.iter_mut().filter(|reader| !reader.stalled) {
            assert!(reader.sub.read(&mut self.world), "nobody is let go");
            self.history.record(&mut reader.sub);
        }
    }

    fn write(&mut self) {
        let mut op = random_operation(&mut self.rng);
        op["id"] = json!(self.expected.len());
        self.app.send(&mut self.world, &op);
        let done = self.model.apply(&op);
        self.expected.push((op, done));
        self.summary.operations += 1;
    }

    fn subscribe(&mut self) {
        let capacity = pick(&mut self.rng, &CAPACITIES);
        let path = pick(&mut self.rng, &PATHS);
        let sub = Subscriber::open_with(&mut self.world, path, None, capacity, self.rng.bool());
        self.readers.push(Reader { sub, stalled: false });
        self.summary.subscribers += 1;
    }

    /// Other limits hold for one of the shards.
    fn replace_limits(&mut self) {
        let limits = Limits {
            queue_bytes: pick(&mut self.rng, &[512, 2048, 8192]),
            deflate_min: pick(&mut self.rng, &[20, 100, 1000]),
            patch: pick(&mut self.rng, &MODES),
            ..tight_limits()
        };
        let at = self.rng.usize(0..self.world.shards.len());
        self.world.replace_limits(at, &limits.into());
    }

    /// One goes and comes back with the version that it had.
    fn reconnect(&mut self) {
        let at = self.rng.usize(0..self.readers.len());
        let sub = &mut self.readers[at].sub;
        sub.read(&mut self.world);
        self.history.record(sub);
        self.summary.messages += sub.messages;
        self.world.disconnect(sub.peer);
        let has = sub.version.clone().zip(sub.doc.clone());
        *sub = Subscriber::open_with(&mut self.world, &sub.path, has, 1 << 20, self.rng.bool());
        self.summary.subscribers += 1;
    }

    /// Everybody reads until nothing happens any more: now all must agree.
    fn rest(&mut self) {
        self.world.settle(|world| {
            self.app.read(world);
            self.readers.iter_mut().for_each(|reader| assert!(reader.sub.read(world)));
        });
        self.readers.iter_mut().for_each(|reader| self.history.record(&mut reader.sub));
        self.history.0.clear();
        self.check_replies();
        self.model.check_copies(self.readers.iter().map(|reader| &reader.sub));
        self.summary.rests += 1;
    }

    /// Each operation was answered as the model would have it.
    fn check_replies(&mut self) {
        let replies = std::mem::take(&mut self.app.replies);
        let by_id: HashMap<u64, &Value> =
            replies.iter().filter_map(|reply| Some((reply["id"].as_u64()?, reply))).collect();
        for (id, (op, done)) in std::mem::take(&mut self.expected).into_iter().enumerate() {
            let reply = by_id.get(&(id as u64)).unwrap_or_else(|| panic!("no reply to {op}"));
            assert_eq!(reply["ok"] == json!(true), done, "{op} -> {reply}");
        }
    }
}

/// Every document that anybody had since the last rest, by path and version.
#[derive(Debug, Default)]
struct History(HashMap<(String, String), Value>);

impl History {
    fn record(&mut self, sub: &mut Subscriber) {
        for (version, doc) in sub.seen.drain(..) {
            let before = self.0.entry((sub.path.clone(), version)).or_insert_with(|| doc.clone());
            assert_eq!(*before, doc, "two documents at one version of {}", sub.path);
        }
    }
}
