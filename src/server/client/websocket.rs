//! WebSocket connections of the commands.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::http::Response;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::server::client::follow::End;

/// How long connecting, and each step of the handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle time before the kernel sends TCP keep-alive probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The text of the next message.
///
/// # Errors
/// The connection ends, or the message is not UTF-8.
pub fn next_message(socket: &mut WebSocket<TcpStream>) -> Result<String, End> {
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

/// Opens a WebSocket to `ws://HOST[:PORT]/PATH`, with a subprotocol if one is given.
///
/// # Errors
/// The server cannot be reached, or refuses the handshake.
pub fn connect(url: &str, protocol: Option<&str>) -> Result<WebSocket<TcpStream>, End> {
    let Some(host) = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()) else {
        return Err(End::Refused("the URL is ws://HOST:PORT".to_owned()));
    };
    // In an IPv6 address a port follows only the closing bracket.
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
            Err(End::Refused(status_and_body(&response)))
        }
        Err(HandshakeError::Failure(Error::Http(response))) => Err(End::Lost(status_and_body(&response))),
        Err(HandshakeError::Failure(Error::Url(error))) => Err(End::Refused(error.to_string())),
        Err(HandshakeError::Failure(Error::HttpFormat(error))) => Err(End::Refused(error.to_string())),
        Err(error) => Err(End::Lost(error.to_string())),
    }
}

fn status_and_body(response: &Response<Option<Vec<u8>>>) -> String {
    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{} {}", response.status(), body.trim())
}
