//! What the followers of `fanfare sub` share: reconnecting, printing, and applying patches.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::server::error::ServerError;

/// Why one connection ended.
pub enum End {
    /// The last message that was asked for is printed, or nobody reads standard output any more.
    Done,
    /// The connection is lost, or cannot be opened; trying again may help.
    Lost(String),
    /// The server refuses, and would refuse again.
    Refused(String),
}

/// The upper bound of the first wait before reconnecting; it doubles with each try that brings no message.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The upper bound of every wait.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Follows one subscription, over one connection after the other.
pub trait Follower {
    /// The URL, for connecting and for messages.
    fn url(&self) -> String;
    /// Messages received so far.
    fn progress(&self) -> u64;
    /// Follows over one connection to `url`.
    fn follow(&mut self, url: &str) -> End;
}

/// Follows until the last line that was asked for is printed, nobody reads standard output any more, or the server
/// refuses. `reconnect`: over as many connections as it takes.
///
/// # Errors
/// The server refuses the subscription; or the connection ends and `reconnect` is off.
pub fn follow(mut follower: impl Follower, reconnect: bool) -> Result<(), ServerError> {
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
///
/// # Errors
/// `End::Done`, after the last line or if nobody reads standard output any more.
pub fn print(line: &str, last: bool) -> Result<(), End> {
    match writeln!(io::stdout(), "{line}").is_err() || last {
        true => Err(End::Done),
        false => Ok(()),
    }
}

/// A document with RFC 6902 operations applied.
///
/// # Errors
/// The operations are malformed or do not apply; the text says which.
pub fn patched(mut document: Value, operations: Value) -> Result<Value, String> {
    let patch: json_patch::Patch = serde_json::from_value(operations).map_err(|error| error.to_string())?;
    json_patch::patch(&mut document, &patch).map_err(|error| error.to_string())?;
    Ok(document)
}
