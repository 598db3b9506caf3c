//! `fanfare sub`: follows a key or pattern through the clients' door, and prints it.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use socket2::{SockRef, TcpKeepalive};
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::http::Response;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::server::error::ServerError;

/// What to follow, and how to print it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// `ws://HOST:PORT`.
    pub url: String,
    /// A key or pattern; empty: the clock.
    pub pattern: String,
    /// Print each message as it came instead of the folded document.
    pub changes: bool,
    /// End after so many messages.
    pub count: Option<u64>,
    /// Come back with `?v=` when the connection ends.
    pub reconnect: bool,
}

/// Why one connection ended.
pub enum End {
    /// As many messages as were asked for, or nobody reads the output any more.
    Done,
    /// Something that another try may mend.
    Lost(String),
    /// The server will say the same again.
    Refused(String),
}

/// The first wait is a random part of it; it doubles with each try that brings no message.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How long connecting, and each step of the handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which the system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Something that is followed over one connection after the other.
pub trait Follow {
    /// What it is called in messages.
    fn url(&self) -> String;
    /// How much has come so far.
    fn progress(&self) -> u64;
    /// Follows over one connection to `url`.
    fn follow(&mut self, url: &str) -> End;
}

/// Follows until `count` messages are printed, the reader of standard output goes away, or the server refuses.
///
/// # Errors
/// The server refuses the subscription; or the connection ends and `reconnect` is off.
pub fn run(subscription: Subscription) -> Result<(), ServerError> {
    let reconnect = subscription.reconnect;
    keep_following(Follower { subscription, document: None, version: None, messages: 0 }, reconnect)
}

/// Follows over as many connections as it takes.
///
/// # Errors
/// As `run`.
pub fn keep_following(mut follower: impl Follow, reconnect: bool) -> Result<(), ServerError> {
    let mut wait = FIRST_WAIT;
    loop {
        let before = follower.progress();
        let url = follower.url();
        let reason = match follower.follow(&url) {
            End::Done => return Ok(()),
            End::Refused(reason) => return Err(ServerError::SubscriptionRefused { url, reason }),
            End::Lost(reason) => reason,
        };
        if !reconnect {
            return Err(ServerError::SubscriptionLost { url, reason });
        }
        if follower.progress() > before {
            wait = FIRST_WAIT;
        }
        // Full jitter: many followers of one server do not come back at once.
        let pause = wait.mul_f64(fastrand::f64());
        log::warn!("{url}: {reason}; trying again in {} ms", pause.as_millis());
        thread::sleep(pause);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Prints a line; `last`: it is the last one that was asked for.
pub(super) fn print(line: &str, last: bool) -> Result<(), End> {
    match writeln!(io::stdout(), "{line}").is_err() || last {
        true => Err(End::Done),
        false => Ok(()),
    }
}

/// A message of the ooo dialect.
#[derive(Deserialize)]
struct Envelope {
    snapshot: bool,
    version: String,
    data: Value,
}

/// The copy that is kept up to date.
struct Follower {
    subscription: Subscription,
    document: Option<Value>,
    version: Option<String>,
    messages: u64,
}

impl Follow for Follower {
    fn url(&self) -> String {
        let Subscription { url, pattern, .. } = &self.subscription;
        let base = format!("{}/{pattern}", url.trim_end_matches('/'));
        match &self.version {
            Some(version) => format!("{base}?v={version}"),
            None => base,
        }
    }

    fn progress(&self) -> u64 {
        self.messages
    }

    fn follow(&mut self, url: &str) -> End {
        let mut socket = match connect(url, None) {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        loop {
            let taken = next_message(&mut socket).and_then(|text| self.take(&text));
            if let Err(end) = taken {
                return end;
            }
        }
    }
}

/// The next message's text.
pub(super) fn next_message(socket: &mut WebSocket<TcpStream>) -> Result<String, End> {
    loop {
        match socket.read() {
            Ok(Message::Binary(bytes)) => {
                let foreign =
                    |_| End::Refused("a message is not UTF-8; is this a fanfare server?".to_owned());
                return String::from_utf8(bytes.into()).map_err(foreign);
            }
            Ok(Message::Text(text)) => return Ok(text.as_str().to_owned()),
            Ok(Message::Close(frame)) => {
                let why = frame.map_or("without a code".to_owned(), |frame| frame.to_string());
                return Err(End::Lost(format!("closed by the server, {why}")));
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(error) => return Err(End::Lost(error.to_string())),
        }
    }
}

impl Follower {
    /// Folds and prints one message.
    fn take(&mut self, text: &str) -> Result<(), End> {
        let line = match &self.subscription {
            Subscription { pattern, .. } if pattern.is_empty() => text.to_owned(),
            Subscription { changes: true, .. } => self.fold(text).map(|_| text.to_owned())?,
            _ => self.fold(text)?.to_string(),
        };
        self.messages += 1;
        print(&line, self.subscription.count == Some(self.messages))
    }

    fn fold(&mut self, text: &str) -> Result<&Value, End> {
        let Ok(Envelope { snapshot, version, data }) = serde_json::from_str(text) else {
            return Err(End::Refused(
                "a message is no snapshot and no patch; is this a fanfare server?".to_owned(),
            ));
        };
        let document = match (snapshot, self.document.take()) {
            (true, _) => Ok(data),
            (false, Some(document)) => patched(document, data),
            (false, None) => Err("there is no snapshot for it".to_owned()),
        };
        match document {
            Ok(document) => {
                self.version = Some(version);
                Ok(self.document.insert(document))
            }
            Err(reason) => {
                // Without a version the server sends a snapshot, which mends it.
                self.version = None;
                Err(End::Lost(format!("a patch does not apply: {reason}")))
            }
        }
    }
}

/// A document with RFC 6902 operations done to it.
pub(super) fn patched(mut document: Value, operations: Value) -> Result<Value, String> {
    let patch: json_patch::Patch = serde_json::from_value(operations).map_err(|error| error.to_string())?;
    json_patch::patch(&mut document, &patch).map_err(|error| error.to_string())?;
    Ok(document)
}

/// Opens a WebSocket, with a subprotocol if one is wanted.
pub(super) fn connect(url: &str, protocol: Option<&str>) -> Result<WebSocket<TcpStream>, End> {
    let Some(host) = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()) else {
        return Err(End::Refused("the URL is ws://HOST:PORT".to_owned()));
    };
    // In an IPv6 address only what follows the bracket is a port.
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let host = if has_port { host.to_owned() } else { format!("{host}:80") };
    let lost = |error: io::Error| End::Lost(error.to_string());
    let addresses = host.to_socket_addrs().map_err(lost)?;
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let found = addresses.map(|addr| TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT));
    let stream = found.filter_map(|tried| tried.map_err(|error| refused = error).ok()).next();
    let Some(stream) = stream else {
        return Err(lost(refused));
    };
    let alive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&alive).map_err(lost)?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(lost)?;
    // A list's snapshot is one message, and it may be as large as the list.
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let refused = |error: Error| End::Refused(error.to_string());
    let mut request = url.into_client_request().map_err(refused)?;
    if let Some(protocol) = protocol.and_then(|name| name.parse().ok()) {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    }
    match client_with_config(request, stream, Some(config)) {
        Ok((socket, _)) => socket.get_ref().set_read_timeout(None).map(|()| socket).map_err(lost),
        Err(HandshakeError::Failure(Error::Http(response))) if response.status().is_client_error() => {
            Err(End::Refused(said(&response)))
        }
        Err(HandshakeError::Failure(Error::Http(response))) => Err(End::Lost(said(&response))),
        Err(HandshakeError::Failure(Error::Url(error))) => Err(End::Refused(error.to_string())),
        Err(HandshakeError::Failure(Error::HttpFormat(error))) => Err(End::Refused(error.to_string())),
        Err(error) => Err(End::Lost(error.to_string())),
    }
}

fn said(response: &Response<Option<Vec<u8>>>) -> String {
    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{} {}", response.status(), body.trim())
}
