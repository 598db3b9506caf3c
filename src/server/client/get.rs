//! `fanfare get`: prints the documents of a key or pattern, as the server streams them.

use std::io::{self, Read, Write};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::server::client::http;
use crate::server::error::ServerError;

/// How long connecting, and each pause within the response, may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which documents to get, and how.
#[derive(Clone, Debug)]
pub struct DocumentQuery {
    /// `http://HOST:PORT`.
    pub url: String,
    /// A key or pattern.
    pub pattern: String,
    /// The media type to ask for.
    pub accept: &'static str,
    /// Parameters of the stream, by name.
    pub parameters: Vec<(&'static str, String)>,
}

/// Copies the response to standard output.
///
/// # Errors
/// The server refuses, cannot be reached, or breaks off; what was received before is printed.
pub fn run(query: &DocumentQuery) -> Result<(), ServerError> {
    let url = &query.url;
    let refused = |reason: String| ServerError::GetFailed { url: url.clone(), reason };
    let lost = |error: io::Error| refused(error.to_string());
    let host = http::host(url).map_err(refused)?;
    let headers = [format!("Accept: {}", query.accept)];
    let mut response = http::get(host, &target(query), &headers, TIMEOUT).map_err(lost)?;
    if response.code() != 200 {
        return Err(refused(response.refusal()));
    }
    let (mut out, mut buffer) = (io::stdout().lock(), vec![0; 1 << 16]);
    loop {
        let count = response.read(&mut buffer).map_err(lost)?;
        let printed = if count == 0 { out.flush() } else { out.write_all(&buffer[..count]) };
        match printed {
            // That nobody reads any more is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(()) if count == 0 => return Ok(()),
            Ok(()) => {}
        }
    }
}

fn target(query: &DocumentQuery) -> String {
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pattern: Vec<String> = query.pattern.split('/').map(escape).collect();
    let parameters: Vec<String> =
        query.parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("/_/stream/{}?{}", pattern.join("/"), parameters.join("&"))
}
