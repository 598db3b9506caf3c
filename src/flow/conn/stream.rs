//! A streamed answer: the owners' batches in, merged in the order of keys; chunks out, as the reader takes them.

use crate::base::id::ShardId;
use crate::base::time::{Now, SEC};
use crate::flow::conn::writer::Writer;
use crate::flow::encode::frame::Frame;
use crate::flow::filter::select::Rank;
use crate::flow::request::stream::{StreamRequest, too_many_to_sort};
use crate::flow::state::item::Item;
use crate::flow::state::scan::{Chunk, Then};
use crate::wire::http::{Field, Head, Method, Response, Version, cors_headers};
use crate::wire::json::tree::Tree;
use crate::wire::stream::{Coding, Format};
use std::collections::VecDeque;
use std::sync::Arc;

/// A paced stream may be ahead of its pace by a part of a second, so that it need not be woken for each element.
const BURST: u64 = SEC / 20;

/// What a byte of a document counts that is read, not only copied: for a projection, or for another format.
const READ: usize = 4;
/// What a byte counts that is compressed.
const COMPRESSED: usize = 16;
/// A chunk that has cost this much goes out however little is in it, so that no turn is long.
const CHUNK_COST: usize = 128 << 10;
/// Bytes of texts by which one answer may be ordered: they are copied.
const RANKS: usize = 16 << 20;

/// What an owner gives.
#[derive(Debug)]
struct Source {
    queue: VecDeque<Arc<Item>>,
    /// With so many left, or fewer, the next batch is asked for: half of the last one.
    low: usize,
    asked: bool,
    ended: bool,
    total: Option<u64>,
}

/// What is to be done next.
#[derive(Debug)]
pub enum StreamStep {
    /// Ask this owner for its next batch.
    Ask(ShardId),
    /// Send this.
    Send(Frame),
    /// Send this; it is the end.
    Last(Frame),
    /// Answer this instead of a stream; it is the end.
    Refuse(Response<'static>),
    /// Break the connection off: the client must see that something is missing.
    Abort,
    /// Nothing, until an owner answers.
    Wait,
    /// Nothing, until then (nanoseconds, monotonic).
    Until(u64),
}

/// One stream. Call order: `take` for each batch that comes; `poll` whenever the connection has nothing left to send.
#[derive(Debug)]
pub struct Stream {
    /// Tells it from earlier ones of the connection.
    pub count: u32,
    /// The request's head.
    pub head: Head,
    /// What was asked for.
    pub spec: StreamRequest,
    sources: Vec<Source>,
    /// How many documents have come in.
    came: u64,
    skip: u64,
    left: u64,
    /// For an order other than by key: what has come in; the next one last, once all is there.
    sorted: Vec<(Rank, Arc<Item>)>,
    /// Bytes of the ranks in it.
    ranks: usize,
    begun: bool,
    ready: bool,
    broken: bool,
    too_many: bool,
    writer: Writer,
    /// What a byte of a document counts here.
    weight: usize,
    /// What the chunk under way has cost.
    cost: usize,
    /// What making chunks has cost since this was last set to 0, in bytes copied.
    pub spent: usize,
    /// When the next element is due, if there is a pace.
    due: u64,
}

impl Stream {
    /// A stream from `shards` owners, each of which has been asked for its first batch.
    pub fn new(count: u32, head: Head, spec: StreamRequest, shards: u16) -> Stream {
        let source = || Source { queue: VecDeque::new(), low: 0, asked: true, ended: false, total: None };
        let s = &spec.settings;
        let chunked = head.version == Version::Http11;
        let writer = Writer::new(spec.format, spec.coding, chunked, s.chunk_threshold, s.buffer_size);
        let packed = matches!(spec.format, Format::Msgpack | Format::Cbor);
        let weight = match spec.coding {
            Coding::Gzip | Coding::Zstd => COMPRESSED,
            Coding::Plain if packed || spec.fields.is_some() => READ,
            Coding::Plain => 1,
        };
        Stream {
            count,
            head,
            sources: (0..shards).map(|_| source()).collect(),
            came: 0,
            skip: spec.offset,
            left: spec.limit,
            sorted: Vec::new(),
            ranks: 0,
            begun: false,
            ready: false,
            broken: false,
            too_many: false,
            writer,
            weight,
            cost: 0,
            spent: 0,
            due: 0,
            spec,
        }
    }

    /// The owners that hold a scan open for it.
    pub fn open(&self) -> impl Iterator<Item = ShardId> {
        let open = self.sources.iter().enumerate().filter(|(_, source)| !source.ended);
        open.map(|(shard, _)| ShardId(shard as u16))
    }

    /// How many documents wait here to be sent.
    pub fn held(&self) -> usize {
        self.sorted.len() + self.sources.iter().map(|source| source.queue.len()).sum::<usize>()
    }

    /// An owner's batch has come.
    pub fn take(&mut self, from: ShardId, chunk: Chunk) {
        let source = &mut self.sources[from.index()];
        source.asked = false;
        source.ended = chunk.then != Then::More;
        source.total = source.total.or(chunk.total);
        self.broken |= chunk.then == Then::Broken;
        self.came += chunk.items.len() as u64;
        source.low = chunk.items.len() / 2;
        let Some(order) = &self.spec.order else {
            match source.queue.is_empty() {
                true => source.queue = chunk.items.into(),
                false => source.queue.extend(chunk.items),
            }
            return;
        };
        for item in chunk.items {
            let rank = order.rank(&item.value);
            self.ranks += rank.text_len();
            self.sorted.push((rank, item));
        }
        let most = self.spec.settings.sort_limit;
        if self.spec.limit == u64::MAX {
            self.too_many |= self.sorted.len() > most;
        } else if self.sorted.len() as u64 > 2 * self.spec.needed().max(1000) {
            self.sort();
            self.sorted.truncate(self.spec.needed() as usize);
            self.ranks = self.sorted.iter().map(|(rank, _)| rank.text_len()).sum();
        }
        self.too_many |= self.ranks > RANKS;
    }

    fn sort(&mut self) {
        let Some(order) = &self.spec.order else { return };
        let by = |a: &(Rank, Arc<Item>), b: &(Rank, Arc<Item>)| {
            order.compare(&a.0, &b.0).then_with(|| a.1.key.cmp(&b.1.key))
        };
        self.sorted.sort_unstable_by(by);
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Now) -> StreamStep {
        if self.broken {
            return if self.begun { StreamStep::Abort } else { StreamStep::Refuse(torn()) };
        }
        if self.too_many {
            return StreamStep::Refuse(too_many_to_sort(self.spec.settings.sort_limit));
        }
        if let Some(ask) = self.ask() {
            return ask;
        }
        if !self.ready && !self.begin() {
            return StreamStep::Wait;
        }
        if !self.begun {
            self.begun = true;
            return StreamStep::Send(self.response().encode().into());
        }
        if self.head.method == Method::Head {
            return StreamStep::Last(Frame::default());
        }
        self.fill(now)
    }

    /// An owner whose batch is half used up is asked for the next one.
    fn ask(&mut self) -> Option<StreamStep> {
        let shard = self.sources.iter().position(|s| !s.asked && !s.ended && s.queue.len() <= s.low)?;
        self.sources[shard].asked = true;
        Some(StreamStep::Ask(ShardId(shard as u16)))
    }

    /// Whether the first element can be told: by key when each owner has said something, else when all have said all.
    fn begin(&mut self) -> bool {
        let ordered = self.spec.order.is_some();
        let has_said = |s: &Source| s.ended || !ordered && !s.queue.is_empty();
        self.ready = self.sources.iter().all(has_said);
        if self.ready && ordered {
            self.sort();
            self.sorted.reverse();
        }
        self.ready
    }

    fn response(&self) -> Response<'static> {
        let ended = self.sources.iter().all(|s| s.ended);
        let known: Option<u64> = self.sources.iter().map(|s| s.total).sum();
        let total = if ended { Some(self.came) } else { known };
        let total = total.map_or("-1".to_owned(), |total| total.to_string());
        let mut response = Response::new(200)
            .header("Content-Type", self.spec.format.media_type())
            .header("X-Total-Count", total)
            .header("Cache-Control", "no-store");
        if let Some(coding) = self.spec.coding.name() {
            response = response.header("Content-Encoding", coding);
        }
        if self.head.get(Field::Origin).is_some() {
            response = response.header("Access-Control-Expose-Headers", "X-Total-Count");
        }
        response.headers(cors_headers(self.head.get(Field::Origin))).streaming(&self.head)
    }

    fn fill(&mut self, now: Now) -> StreamStep {
        let pace = SEC.checked_div(self.spec.settings.rate_limit).unwrap_or(0);
        self.due = self.due.max(now.mono.saturating_sub(BURST));
        loop {
            if self.left == 0 {
                return StreamStep::Last(self.writer.finish());
            }
            if pace > 0 && self.due > now.mono {
                let ready = self.writer.has_elements();
                return if ready { self.send() } else { StreamStep::Until(self.due + BURST / 2) };
            }
            let item = match self.next() {
                NextItem::Item(item) => item,
                NextItem::Wait => return self.ask().unwrap_or(StreamStep::Wait),
                NextItem::End => return StreamStep::Last(self.writer.finish()),
            };
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.left -= 1;
            self.due += pace;
            self.write(&item);
            if self.writer.is_full() || self.cost > CHUNK_COST {
                return self.send();
            }
        }
    }

    fn send(&mut self) -> StreamStep {
        self.cost = 0;
        StreamStep::Send(self.writer.cut())
    }

    fn write(&mut self, item: &Item) {
        self.cost += self.weight * item.text_len();
        self.spent += self.weight * item.text_len();
        let StreamRequest { fields, bare, .. } = &self.spec;
        let value = |out: &mut Vec<u8>| match fields {
            None => out.extend_from_slice(item.value.as_bytes()),
            Some(mask) => mask.write(Tree::new(&item.value).root(), out),
        };
        self.writer.element(|out| if *bare { value(out) } else { item.write_with(out, value) });
    }

    /// The next document: the one with the first key, when every owner that has more has said what its next one is.
    fn next(&mut self) -> NextItem {
        if self.spec.order.is_some() {
            return self.sorted.pop().map_or(NextItem::End, |(_, item)| NextItem::Item(item));
        }
        let mut first: Option<usize> = None;
        for (at, source) in self.sources.iter().enumerate() {
            match source.queue.front() {
                None if source.ended => {}
                None => return NextItem::Wait,
                Some(item) => {
                    let smaller = |first: usize| item.key < self.sources[first].queue[0].key;
                    if first.is_none_or(smaller) {
                        first = Some(at);
                    }
                }
            }
        }
        let item = first.and_then(|at| self.sources[at].queue.pop_front());
        item.map_or(NextItem::End, NextItem::Item)
    }
}

enum NextItem {
    Item(Arc<Item>),
    Wait,
    End,
}

fn torn() -> Response<'static> {
    let detail = "more was written meanwhile than is kept for streams ([stream] cut_bytes); try again";
    Response::problem(503, "cut_broken", detail).header("Retry-After", "1")
}
