//! A small fan-out server for the tests of the load test: the doors and the feed of fanfare, blocking threads, one
//! lock, and the faults that a test asks for.

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
    /// Streams break off before their end.
    Break,
}

/// How a subscriber gets its messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Text,
    Event,
}

struct Subscriber {
    id: usize,
    name: String,
    form: Form,
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
                std::thread::spawn(move || serve(stream, &shared, fault));
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
fn serve(mut stream: TcpStream, state: &Mutex<State>, fault: Fault) {
    stream.set_nodelay(true).unwrap();
    let mut start = [0; 64];
    let seen = stream.peek(&mut start).unwrap_or(0);
    let start = String::from_utf8_lossy(&start[..seen]);
    let (method, target) = start.split_once(' ').unwrap_or_default();
    let target = target.split(' ').next().unwrap_or_default();
    if let Some(channel) = target.strip_prefix("/sse?channels=") {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let hello = chunk("retry: 3000\nevent: connected\ndata: {}\n\n");
        stream.write_all(&[head.as_bytes(), &hello].concat()).unwrap();
        let id = state.lock().unwrap().join(channel.to_owned(), Form::Event, stream.try_clone().unwrap());
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        return state.lock().unwrap().subscribers.retain(|subscriber| subscriber.id != id);
    }
    if target.starts_with("/_/stream/") {
        // What is left unread would reset the connection.
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        // A reader that goes away half-way is nobody's fault.
        let _ = send_stream(stream, method, state, fault);
        return;
    }
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
    let form = if hub { Form::Text } else { Form::Binary };
    let id = state.lock().unwrap().join(name, form, socket.get_ref().try_clone().unwrap());
    while socket.read().is_ok() {}
    state.lock().unwrap().subscribers.retain(|subscriber| subscriber.id != id);
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// All documents below `loadtest/`, some in each chunk.
fn send_stream(
    mut stream: TcpStream,
    method: &str,
    state: &Mutex<State>,
    fault: Fault,
) -> std::io::Result<()> {
    let items: Vec<String> = {
        let documents = &state.lock().unwrap().documents;
        let items = documents.iter().filter(|(key, _)| key.starts_with("loadtest/"));
        items.map(|(_, item)| format!("{{\"created\":1,\"data\":{}}}", item["data"])).collect()
    };
    let count = items.len();
    write!(stream, "HTTP/1.1 200 OK\r\nX-Total-Count: {count}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    if method == "HEAD" {
        return Ok(());
    }
    let keep = if fault == Fault::Break { count / 2 } else { count };
    for (i, some) in items[..keep].chunks(7).enumerate() {
        let before = if i == 0 { "[" } else { "," };
        stream.write_all(&chunk(&format!("{before}{}", some.join(","))))?;
    }
    if keep == count {
        stream.write_all(&[chunk("]"), b"0\r\n\r\n".to_vec()].concat())?;
    }
    Ok(())
}

impl State {
    fn join(&mut self, name: String, form: Form, stream: TcpStream) -> usize {
        let id = self.joined;
        self.joined += 1;
        let mut subscriber = Subscriber { id, name, form, stream, held: None };
        if form == Form::Binary {
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
            if matches!(fault, Fault::None | Fault::Break)
                || subscriber.id > 0
                || !self.published.is_multiple_of(5)
            {
                subscriber.send(&message);
                if let Some(held) = subscriber.held.take() {
                    subscriber.send(&held);
                }
                continue;
            }
            match fault {
                Fault::Repeat => (0..2).for_each(|_| subscriber.send(&message)),
                Fault::Swap => subscriber.held = Some(message.clone()),
                Fault::Drop | Fault::None | Fault::Break => {}
            }
        }
    }
}

impl Subscriber {
    fn send(&mut self, body: &[u8]) {
        let mut bytes = Vec::new();
        let mut frame = |data| {
            let header = FrameHeader { opcode: OpCode::Data(data), ..FrameHeader::default() };
            header.format(body.len() as u64, &mut bytes).unwrap();
            bytes.extend_from_slice(body);
        };
        match self.form {
            Form::Binary => frame(Data::Binary),
            Form::Text => frame(Data::Text),
            Form::Event => {
                let text = std::str::from_utf8(body).unwrap();
                bytes = chunk(&format!("event: message\nid: 1\ndata: {text}\n\n"));
            }
        }
        // A client that has just left is noticed by its reader.
        let _ = self.stream.write_all(&bytes);
    }
}
