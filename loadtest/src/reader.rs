//! Reads streamed responses beside the subscribers: one connection, on a thread of lower priority than theirs.

use crate::chunks::{self, Chunks};
use crate::client::Fault;
use crate::proc;
use crate::scenario::Pace;
use memchr::memmem;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What each element has once, and its value does not.
const MARK: &[u8] = b"{\"created\":";
/// Bytes of one read: so few that a subscriber's thread on the same core soon runs again.
const BUFFER: usize = 64 << 10;
/// What a slow reader reads at a time, and its pause.
const SIP: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(20);
/// A server that sends nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes between two samples of the server's memory.
const LOOK: usize = 1 << 20;

/// What is read.
#[derive(Clone, Debug)]
pub struct Task {
    /// Where.
    pub addr: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The path of the stream.
    pub path: String,
    /// How it is read.
    pub pace: Pace,
    /// The server's processes.
    pub pids: Vec<u32>,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Responses read to their end.
    pub passes: u64,
    /// Elements, those of those of an unfinished response included.
    pub items: u64,
    /// Elements of the last whole response.
    pub last: u64,
    /// Bytes.
    pub bytes: u64,
    /// Seconds spent with them.
    pub seconds: f64,
    /// Microseconds from the request to the first byte of the body, at worst.
    pub first_byte: f64,
    /// The server's memory at its highest meanwhile.
    pub rss_peak: u64,
    /// What the server did wrong.
    pub fault: Option<Fault>,
}

/// A running reader.
pub struct Reader {
    stop: Arc<AtomicBool>,
    passes: Arc<AtomicU64>,
    thread: JoinHandle<Reading>,
}

impl Reader {
    /// Begins, and begins anew at each end, until it is stopped.
    pub fn start(task: Task) -> Result<Reader, String> {
        let (stop, passes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), passes.clone());
        let body = move || {
            // Where it is refused the subscribers' latencies include our own reading.
            let _ = rustix::process::setpriority_process(None, 19);
            let (mut reading, start) = (Reading::default(), Instant::now());
            while !stopped.load(Ordering::Relaxed) && reading.fault.is_none() {
                reading.fault = reading.pass(&task, &stopped).err();
                count.store(reading.passes, Ordering::Relaxed);
            }
            reading.seconds = start.elapsed().as_secs_f64();
            reading
        };
        let thread =
            std::thread::Builder::new().spawn(body).map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Reader { stop, passes, thread })
    }

    /// Whether it has read one response to its end, or has failed.
    pub fn has_one(&self) -> bool {
        self.passes.load(Ordering::Relaxed) > 0 || self.thread.is_finished()
    }

    /// Stops reading the current response.
    pub fn stop(self) -> Result<Reading, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the reader's thread panicked".into())
    }
}

impl Reading {
    /// Reads one response, or as much of it as there is time for.
    fn pass(&mut self, task: &Task, stop: &AtomicBool) -> Result<(), Fault> {
        let broken = |e: std::io::Error| format!("stream: {e}");
        let mut socket = request(task, "GET").map_err(broken)?;
        let (began, mut buffer) = (Instant::now(), vec![0; BUFFER]);
        let share = if task.pace == Pace::Slow { SIP } else { BUFFER };
        let (mut held, mut body, mut tail) = (Vec::new(), None, Tail::default());
        let (before, mut looked) = (self.items, 0);
        while !stop.load(Ordering::Relaxed) {
            let count = socket.read(&mut buffer[..share]).map_err(broken)?;
            if count == 0 {
                return Err("stream: the server broke the answer off".into());
            }
            self.bytes += count as u64;
            looked += count;
            if looked > LOOK || task.pace == Pace::Slow {
                looked = 0;
                self.rss_peak = self.rss_peak.max(proc::rss(&task.pids));
            }
            let bytes = &buffer[..count];
            let chunks = match &mut body {
                Some(chunks) => chunks,
                None => {
                    held.extend_from_slice(bytes);
                    let Some(head) = chunks::head(&held)?.filter(|head| held.len() > head.length) else {
                        continue;
                    };
                    if head.status != 200 || !head.chunked {
                        return Err(format!("stream: answered with {}", head.status));
                    }
                    self.first_byte = self.first_byte.max(began.elapsed().as_secs_f64() * 1e6);
                    held.drain(..head.length);
                    body.insert(Chunks::default())
                }
            };
            let first = std::mem::take(&mut held);
            let mut rest = if first.is_empty() { bytes } else { &first[..] };
            while let Some(piece) = chunks.next(&mut rest)? {
                self.items += tail.count(piece);
            }
            if chunks.is_done() {
                self.passes += 1;
                self.last = self.items - before;
                return Ok(());
            }
            match task.pace {
                // a low priority alone lets the scheduler finish a slice of some milliseconds
                Pace::Fast => std::thread::yield_now(),
                Pace::Slow => std::thread::sleep(PAUSE),
            }
        }
        Ok(())
    }
}

/// The end of what has come, too short for a whole mark: so each mark is counted with the piece in which it ends.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn count(&mut self, piece: &[u8]) -> u64 {
        const KEPT: usize = MARK.len() - 1;
        self.0.extend_from_slice(&piece[..piece.len().min(KEPT)]);
        let count = memmem::find_iter(&self.0, MARK).count() + memmem::find_iter(piece, MARK).count();
        let end = if piece.len() > KEPT { piece } else { &self.0[..] };
        self.0 = end[end.len().saturating_sub(KEPT)..].to_vec();
        count as u64
    }
}

fn request(task: &Task, method: &str) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&task.addr, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let Task { host, path, .. } = task;
    // in one piece: each write would be a packet of its own
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    Ok(socket)
}

/// How many elements the response will have.
pub fn total(task: &Task) -> Result<Option<u64>, String> {
    let fail = |e: std::io::Error| format!("cannot ask for {}: {e}", task.path);
    let (mut socket, mut answer) = (request(task, "HEAD").map_err(fail)?, Vec::new());
    socket.read_to_end(&mut answer).map_err(fail)?;
    let head = chunks::head(&answer)?.ok_or("the answer breaks off")?;
    match head.status {
        200 => Ok(head.total),
        status => Err(format!("{}: answered with {status}", task.path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted_once_in_every_cut() {
        let element = |i: u32| format!("{{\"created\":{i},\"data\":\"created{{{{\"}}");
        let body: String = (0..5).map(element).collect();
        for piece in 1..=body.len() {
            let mut tail = Tail::default();
            let count: u64 = body.as_bytes().chunks(piece).map(|part| tail.count(part)).sum();
            assert_eq!(count, 5, "{piece}");
        }
    }
}
