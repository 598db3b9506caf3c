//! `fanfare get`: prints the documents of a key or pattern, as the server streams them.

use std::io::{self, Read, Write};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::server::error::ServerError;
use crate::server::request;

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
    let refused = |reason: String| ServerError::GetFailed { url: url.clone(), reason };
    let lost = |error: io::Error| refused(error.to_string());
    let host = request::host(url).map_err(refused)?;
    let headers = [format!("Accept: {}", request.accept)];
    let mut answer = request::get(host, &target(request), &headers, PATIENCE).map_err(lost)?;
    if answer.code() != 200 {
        return Err(refused(answer.refusal()));
    }
    let (mut out, mut buffer) = (io::stdout().lock(), vec![0; 1 << 16]);
    loop {
        let count = answer.read(&mut buffer).map_err(lost)?;
        let printed = if count == 0 { out.flush() } else { out.write_all(&buffer[..count]) };
        match printed {
            // that nobody reads on is no failure
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(()) if count == 0 => return Ok(()),
            Ok(()) => {}
        }
    }
}

fn target(request: &Request) -> String {
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pattern: Vec<String> = request.pattern.split('/').map(escape).collect();
    let parameters: Vec<String> =
        request.parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("/_/stream/{}?{}", pattern.join("/"), parameters.join("&"))
}
