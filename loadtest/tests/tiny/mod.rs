//! A fan-out server of a hundred lines for the tests of the load test: both doors and the feed of fanfare, blocking
//! threads, one lock, and the faults that a test asks for.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// What the server does wrong, to the first subscriber that it ever had, at every fifth publication.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is left out.
    Drop,
    /// It comes twice.
    Repeat,
    /// It comes after the next one.
    Swap,
}

struct Subscriber {
    id: usize,
    name: String,
    binary: bool,
    stream: TcpStream,
    held: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    joined: usize,
    published: usize,
    subscribers: Vec<Subscriber>,
    documents: HashMap<String, Value>,
}

/// A running server; its threads end with the test process, its socket file with this value.
pub struct Tiny {
    pub port: u16,
    pub feed: PathBuf,
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.feed);
    }
}

impl Tiny {
    pub fn start(name: &str, fault: Fault) -> Tiny {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let feed = std::env::temp_dir().join(format!("loadtest-tiny-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&feed);
        let lines = UnixListener::bind(&feed).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        std::thread::spawn(move || {
            for stream in lines.incoming().map_while(Result::ok) {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    state.lock().unwrap().publish(&serde_json::from_str(&line).unwrap(), fault);
                }
            }
        });
        Tiny { port, feed }
    }
}

#[allow(clippy::result_large_err)]
fn serve(stream: TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut path = String::new();
    let note_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    // A client that is gone before its handshake is over is nobody's fault.
    let Ok(mut socket) = tungstenite::accept_hdr(stream, note_path) else { return };
    let hub = path == "/ws";
    let name = if hub {
        let Ok(frame) = socket.read() else { return };
        let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        assert_eq!(frame["type"], "subscribe");
        frame["channel"].as_str().unwrap().to_owned()
    } else {
        path.trim_start_matches('/').to_owned()
    };
    let id = state.lock().unwrap().join(name, !hub, socket.get_ref().try_clone().unwrap());
    while socket.read().is_ok() {}
    state.lock().unwrap().subscribers.retain(|subscriber| subscriber.id != id);
}

impl State {
    fn join(&mut self, name: String, binary: bool, stream: TcpStream) -> usize {
        let id = self.joined;
        self.joined += 1;
        let mut subscriber = Subscriber { id, name, binary, stream, held: None };
        if binary {
            let data = self.documents.get(&subscriber.name).cloned().unwrap_or(json!({"data": {}}));
            subscriber.send(json!({"snapshot": true, "version": "1", "data": data}).to_string().as_bytes());
        }
        self.subscribers.push(subscriber);
        id
    }

    fn publish(&mut self, line: &Value, fault: Fault) {
        let (name, message) = match line["op"].as_str().unwrap() {
            "publish" => {
                let name = line["channel"].as_str().unwrap();
                (name, json!({"channel": name, "type": line["type"], "data": line["data"]}))
            }
            "set" => {
                let name = line["key"].as_str().unwrap();
                let item = json!({"data": line["data"]});
                let before =
                    self.documents.insert(name.to_owned(), item.clone()).unwrap_or(json!({"data": {}}));
                (name, json!({"snapshot": false, "version": "2", "data": json_patch::diff(&before, &item)}))
            }
            other => panic!("{other}"),
        };
        self.published += 1;
        let message = message.to_string().into_bytes();
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| subscriber.name == name) {
            if fault == Fault::None || subscriber.id > 0 || !self.published.is_multiple_of(5) {
                subscriber.send(&message);
                if let Some(held) = subscriber.held.take() {
                    subscriber.send(&held);
                }
                continue;
            }
            match fault {
                Fault::Repeat => (0..2).for_each(|_| subscriber.send(&message)),
                Fault::Swap => subscriber.held = Some(message.clone()),
                Fault::Drop | Fault::None => {}
            }
        }
    }
}

impl Subscriber {
    fn send(&mut self, body: &[u8]) {
        let opcode = OpCode::Data(if self.binary { Data::Binary } else { Data::Text });
        let mut bytes = Vec::new();
        FrameHeader { opcode, ..FrameHeader::default() }.format(body.len() as u64, &mut bytes).unwrap();
        bytes.extend_from_slice(body);
        // A client that has just left is noticed by its reader.
        let _ = self.stream.write_all(&bytes);
    }
}
