//! One client thread: its connections, one edge-triggered epoll set, one read buffer for all.
//!
//! Before it sleeps it spins for up to 200 us, and while little arrives it polls at most every 10 us, as a network card
//! moderates its interrupts. Otherwise each send of the server would pay for waking this thread, and the measurement
//! would change what it measures. Time spun does not count as work.

use crate::client::{self, Event};
use crate::document::Fold;
use crate::ledger::{Ledger, Subscriber};
use crate::measure::Account;
use crate::scenario::{Content, Upset};
use crate::schedule::SECOND;
use crate::sequence::Track;
use crate::session::Session;
use crate::shared::Shared;
use rustix::event::{Timespec, epoll};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const READ_BUFFER: usize = 256 << 10;
const SPIN: u64 = 200_000;
const GATHER: u64 = 10_000;
/// A poll that finds fewer sockets than this found little.
const FEW: usize = 16;
/// Connections in their handshake at the same time, all threads together; a listen queue holds more.
const OPENING: usize = 128;
/// The receive buffer of a connection that will stop reading: small, so that the server soon notices.
const SLOW_RECEIVE: usize = 64 << 10;
/// The token of a descriptor that is not a connection (the publisher's).
const WATCHED: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Connecting,
    Opening,
    Ready,
    Gone,
}

struct Conn {
    stage: Stage,
    socket: Option<TcpStream>,
    session: Session,
    who: Subscriber,
}

/// A client thread's whole state.
pub struct Worker {
    shared: Arc<Shared>,
    thread: usize,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// For whatever is read; empty between reads.
    pub buffer: Vec<u8>,
    conns: Vec<Conn>,
    waiting: VecDeque<usize>,
    opening: usize,
    ledger: Ledger,
    storms: u32,
    held: bool,
    churned_at: u64,
    churn_next: usize,
    found_few: bool,
    polled_at: u64,
}

impl Worker {
    /// The worker of thread number `thread`; connection `i` of the plan belongs to thread `i % threads`.
    pub fn new(shared: Arc<Shared>, thread: usize) -> Result<Worker, String> {
        let plan = &shared.plan;
        let new = |index: usize| {
            let slow = plan.is_slow(index);
            let folds = plan.content == Content::Document || (slow && shared.wire.opens_with_state());
            let track = if shared.wire.opens_with_state() { Track::joining() } else { Track::from_start() };
            let who = Subscriber {
                topic: index % plan.topics,
                slow,
                track,
                fold: folds.then(Fold::default),
                since: 0,
            };
            Conn { stage: Stage::Waiting, socket: None, session: Session::new(&shared.wire), who }
        };
        let conns: Vec<Conn> = (thread..plan.conns).step_by(shared.threads).map(new).collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?;
        let nothing = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Ok(Worker {
            thread,
            epoll,
            events: vec![nothing; 1024],
            buffer: vec![0; READ_BUFFER],
            waiting: (0..conns.len()).collect(),
            conns,
            opening: 0,
            ledger: Ledger::new(shared.clone()),
            storms: 0,
            held: false,
            churned_at: 0,
            churn_next: 0,
            found_few: false,
            polled_at: 0,
            shared,
        })
    }

    /// Also watches `fd`; [`Worker::turn`] tells when it is ready.
    pub fn watch(&self, fd: BorrowedFd) -> Result<(), String> {
        self.add(fd, WATCHED).map_err(|e| format!("epoll: {e}"))
    }

    fn add(&self, fd: BorrowedFd, token: u64) -> rustix::io::Result<()> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags)
    }

    /// Runs until the run is over; for all threads but the main one.
    pub fn run(mut self) -> Account {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.turn(self.shared.now() + SECOND / 100);
        }
        self.finish()
    }

    /// One round: commands, then whatever is ready, or nothing until (at most a spin before) `until`. True if the watched
    /// descriptor is ready.
    pub fn turn(&mut self, until: u64) -> bool {
        self.apply_commands();
        let found = self.poll(until);
        self.found_few = found < FEW;
        self.polled_at = self.shared.now();
        let tally = &mut self.ledger.account.tally;
        tally.polls += u64::from(found > 0);
        tally.events += found as u64;
        let mut watched_ready = false;
        for at in 0..found {
            let event = self.events[at];
            match event.data.u64() {
                WATCHED => watched_ready = true,
                index => self.handle_ready(index as usize, event.flags),
            }
        }
        self.shared.post(self.thread, self.ledger.account.tally);
        watched_ready
    }

    fn apply_commands(&mut self) {
        if !self.shared.go.load(Ordering::Relaxed) {
            return;
        }
        let storms = self.shared.storms.load(Ordering::Acquire);
        if storms > self.storms {
            self.storms = storms;
            let since = self.shared.storm_at.load(Ordering::Relaxed);
            (0..self.conns.len()).for_each(|index| self.replace(index, since));
        }
        self.churn();
        let hold = self.shared.hold.load(Ordering::Relaxed);
        if self.held && !hold {
            // Edge-triggered: what came meanwhile is not announced again.
            for index in 0..self.conns.len() {
                if self.conns[index].who.slow {
                    self.read(index);
                }
            }
        }
        self.held = hold;
        while self.opening < (OPENING / self.shared.threads).max(1) {
            let Some(index) = self.waiting.pop_front() else { break };
            self.start(index);
        }
    }

    /// Replaces as many connections as are due since the last look.
    fn churn(&mut self) {
        let Upset::Churn(share) = self.shared.plan.upset else { return };
        let now = self.shared.now();
        if !self.shared.churning.load(Ordering::Relaxed) {
            self.churned_at = now;
            return;
        }
        let per_second = share * self.conns.len() as f64;
        let due = ((now - self.churned_at) as f64 / SECOND as f64 * per_second) as u64;
        self.churned_at += (due as f64 / per_second * SECOND as f64) as u64;
        for _ in 0..due {
            self.churn_next = (self.churn_next + 1) % self.conns.len();
            if self.conns[self.churn_next].stage == Stage::Ready {
                self.replace(self.churn_next, now);
            }
        }
    }

    fn replace(&mut self, index: usize, since: u64) {
        let conn = &mut self.conns[index];
        match conn.stage {
            Stage::Connecting | Stage::Opening => self.opening -= 1,
            Stage::Ready => {}
            Stage::Waiting | Stage::Gone => return,
        }
        self.ledger.handle_replace(&conn.who, conn.stage == Stage::Ready);
        conn.socket = None;
        conn.stage = Stage::Waiting;
        conn.who.track = Track::joining();
        conn.who.since = since;
        self.waiting.push_back(index);
    }

    fn start(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        conn.stage = Stage::Connecting;
        if conn.who.since == 0 {
            conn.who.since = self.shared.now();
        }
        self.opening += 1;
        match self.connect(index) {
            Ok(socket) => {
                let conn = &mut self.conns[index];
                conn.session = Session::new(&self.shared.wire);
                conn.socket = Some(socket);
            }
            Err(e) => self.end(index, format!("connect: {e}")),
        }
    }

    fn connect(&self, index: usize) -> std::io::Result<TcpStream> {
        let addr = self.shared.wire.addr;
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        // Ends with a reset, so that runs leave no TIME_WAIT behind.
        socket.set_linger(Some(Duration::ZERO))?;
        if self.conns[index].who.slow {
            socket.set_recv_buffer_size(SLOW_RECEIVE)?;
        }
        if let Some(source) = self.shared.sources.get(index % self.shared.sources.len().max(1)) {
            socket.bind(&SocketAddr::new(*source, 0).into())?;
        }
        match socket.connect(&addr.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(e);
            }
            _ => {}
        }
        self.add(socket.as_fd(), index as u64)?;
        Ok(socket.into())
    }

    fn handle_ready(&mut self, index: usize, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        let conn = &mut self.conns[index];
        let Some(socket) = &conn.socket else { return };
        match conn.stage {
            Stage::Connecting if flags.intersects(Flags::OUT | Flags::ERR | Flags::HUP) => {
                if let Ok(Some(e)) | Err(e) = socket.take_error() {
                    return self.end(index, format!("connect: {e}"));
                }
                conn.stage = Stage::Opening;
                let path = self.shared.wire.path.for_topic(conn.who.topic);
                let request = conn.session.request(&self.shared.wire.host, &path);
                self.send(index, &request);
            }
            Stage::Opening | Stage::Ready
                if flags.intersects(Flags::IN | Flags::RDHUP | Flags::ERR | Flags::HUP)
                    && !(self.held && conn.who.slow) =>
            {
                self.read(index);
            }
            _ => {}
        }
    }

    /// Clients send a few hundred bytes in all, which an empty send buffer takes at once.
    fn send(&mut self, index: usize, bytes: &[u8]) {
        let Some(socket) = &mut self.conns[index].socket else { return };
        if let Err(e) = socket.write_all(bytes) {
            self.end(index, format!("write: {e}"));
        }
    }

    fn read(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(socket) = &mut self.conns[index].socket {
            match socket.read(&mut buffer) {
                Ok(0) => self.end(index, "closed without a close frame".into()),
                Ok(n) => {
                    self.ledger.account.tally.bytes += n as u64;
                    self.ledger.account.tally.reads += 1;
                    if let Err(fault) = self.handle_bytes(index, &buffer[..n]) {
                        self.end(index, fault);
                    }
                    // A short read has emptied the socket.
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => self.end(index, format!("read: {e}")),
            }
        }
        self.buffer = buffer;
    }

    fn handle_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), client::Fault> {
        let now = self.shared.now();
        let Conn { stage, session, who, .. } = &mut self.conns[index];
        let (ledger, before) = (&mut self.ledger, session.frames());
        let (mut reply, mut opened, mut message, mut closed) = (Vec::new(), false, false, None);
        session.handle_bytes(bytes, &mut |event| match event {
            Event::Opened => opened = true,
            Event::Message(body) => {
                message = true;
                ledger.handle_message(who, body, now);
            }
            Event::Ping(body) => client::put_frame(OpCode::Control(Control::Pong), body, &mut reply),
            Event::Closed(code) => closed = Some(code),
        })?;
        ledger.account.tally.frames += session.frames() - before;
        if let (true, Some(frame)) = (opened, &self.shared.wire.on_open) {
            client::put_frame(OpCode::Data(Data::Text), frame.for_topic(who.topic).as_bytes(), &mut reply);
        }
        let arrived = if self.shared.wire.opens_with_state() { message } else { opened };
        if *stage == Stage::Opening && arrived {
            *stage = Stage::Ready;
            self.opening -= 1;
            ledger.handle_join(who);
        }
        if !reply.is_empty() {
            self.send(index, &reply);
        }
        closed.map_or(Ok(()), |code| Err(format!("close frame {code}")))
    }

    fn end(&mut self, index: usize, why: String) {
        let conn = &mut self.conns[index];
        conn.socket = None;
        let stage = std::mem::replace(&mut conn.stage, Stage::Gone);
        self.opening -= usize::from(matches!(stage, Stage::Connecting | Stage::Opening));
        self.ledger.handle_end(&conn.who, stage == Stage::Ready, why);
    }

    /// How many sockets are ready, at the latest at `until`.
    fn poll(&mut self, until: u64) -> usize {
        let began = self.shared.now();
        let mut idle_until = began;
        if self.found_few {
            self.spin_until((self.polled_at + GATHER).min(until));
            idle_until = self.shared.now();
        }
        let mut found = self.poll_for(0);
        while found == 0 && idle_until < until && idle_until - began < SPIN {
            self.spin_until((idle_until + GATHER).min(until));
            idle_until = self.shared.now();
            found = self.poll_for(0);
        }
        self.ledger.account.tally.spun += idle_until - began;
        // The caller comes back for the rest and spins it away, because a sleep ends late.
        let sleep_until = until.saturating_sub(SPIN / 2);
        if found == 0 && idle_until < sleep_until { self.poll_for(sleep_until - idle_until) } else { found }
    }

    fn spin_until(&self, until: u64) {
        while self.shared.now() < until {
            std::hint::spin_loop();
        }
    }

    fn poll_for(&mut self, nanoseconds: u64) -> usize {
        let (sec, nsec) = ((nanoseconds / SECOND) as i64, (nanoseconds % SECOND) as i64);
        let timeout = Timespec { tv_sec: sec, tv_nsec: nsec };
        // An interrupted wait has found nothing; anything else would be a bug that the silence shows.
        epoll::wait(&self.epoll, &mut self.events[..], Some(&timeout)).unwrap_or(0)
    }

    /// Why connections of this thread have ended so far, as the end of a sentence.
    pub fn why(&self) -> String {
        self.ledger.account.closed.keys().next().map_or(String::new(), |why| format!(" ({why})"))
    }

    /// Closes the accounts.
    pub fn finish(mut self) -> Account {
        for conn in &mut self.conns {
            self.ledger.handle_finish(&mut conn.who);
        }
        self.ledger.account
    }
}
