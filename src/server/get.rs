//! `fanfare get`: prints the documents of a key or pattern, as the server streams them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::server::error::ServerError;

/// How long connecting, and any silence within the answer, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to get.
#[derive(Clone, Debug)]
pub struct Request {
    /// `http://HOST:PORT`.
    pub url: String,
    /// A key or pattern.
    pub pattern: String,
    /// The media type wanted.
    pub accept: &'static str,
    /// Parameters of the stream, by name.
    pub parameters: Vec<(&'static str, String)>,
}

/// Copies the answer to standard output.
///
/// # Errors
/// The server refuses, cannot be reached, or breaks off; what came before is printed then.
pub fn run(request: &Request) -> Result<(), ServerError> {
    let url = &request.url;
    let lost = |error: io::Error| ServerError::GetFailed { url: url.clone(), reason: error.to_string() };
    let refused = |reason: String| ServerError::GetFailed { url: url.clone(), reason };
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let host = host.filter(|host| !host.contains('/'));
    let host = host.ok_or_else(|| refused("the URL is http://HOST:PORT".to_owned()))?;
    let has_port = host.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let mut stream = connect(&address).map_err(lost)?;
    stream.write_all(head(request, host).as_bytes()).map_err(lost)?;
    let mut answer = BufReader::with_capacity(1 << 16, stream);
    let mut first = String::new();
    answer.read_line(&mut first).map_err(lost)?;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if answer.read_line(&mut line).map_err(lost)? == 0 {
            return Err(refused("the connection closed before the answer".to_owned()));
        }
        chunked |= line.to_ascii_lowercase().trim_end() == "transfer-encoding: chunked";
        if line == "\r\n" {
            break;
        }
    }
    if first.split(' ').nth(1) != Some("200") {
        let mut body = String::new();
        let _ = answer.take(1 << 16).read_to_string(&mut body);
        return Err(refused(format!("{} {body}", first.trim_end())));
    }
    let mut out = io::stdout().lock();
    match copy(&mut answer, chunked, &mut out) {
        Err(Broken::Answer(error)) => Err(lost(error)),
        // that nobody reads on is no failure
        Err(Broken::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Broken::Output(error)) => Err(error.into()),
        Ok(()) => Ok(out.flush()?),
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn head(request: &Request, host: &str) -> String {
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pattern: Vec<String> = request.pattern.split('/').map(escape).collect();
    let parameters: Vec<String> =
        request.parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!(
        "GET /_/stream/{}?{} HTTP/1.1\r\nHost: {host}\r\nAccept: {}\r\nConnection: close\r\n\r\n",
        pattern.join("/"),
        parameters.join("&"),
        request.accept
    )
}

/// Which side failed.
enum Broken {
    Answer(io::Error),
    Output(io::Error),
}

/// Copies a body without its framing.
fn copy(from: &mut impl BufRead, chunked: bool, to: &mut impl Write) -> Result<(), Broken> {
    let broken =
        || Broken::Answer(io::Error::new(io::ErrorKind::UnexpectedEof, "the server broke the answer off"));
    loop {
        let mut left = u64::MAX;
        if chunked {
            let mut size = String::new();
            from.read_line(&mut size).map_err(Broken::Answer)?;
            left = u64::from_str_radix(size.trim_end(), 16).map_err(|_| broken())?;
        }
        let whole = left;
        while left > 0 {
            let bytes = from.fill_buf().map_err(Broken::Answer)?;
            if bytes.is_empty() {
                return if chunked { Err(broken()) } else { Ok(()) };
            }
            let len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            to.write_all(&bytes[..len]).map_err(Broken::Output)?;
            from.consume(len);
            left -= len as u64;
        }
        let mut end = [0; 2];
        from.read_exact(&mut end).map_err(|_| broken())?;
        if whole == 0 {
            return Ok(());
        }
    }
}
