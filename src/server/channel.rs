//! `fanfare sub --channel`: follows a channel through the hub, and prints it.

use serde::Deserialize;
use serde_json::json;
use tungstenite::Message;

use crate::server::error::ServerError;
use crate::server::subscribe::{End, Follow, connect, keep_following, next_message, print};

/// What to follow.
#[derive(Clone, Debug)]
pub struct Listening {
    /// `ws://HOST:PORT`.
    pub url: String,
    /// The channel.
    pub channel: String,
    /// End after so many publications.
    pub count: Option<u64>,
    /// Come back when the connection ends, and ask for what was missed.
    pub reconnect: bool,
}

/// Follows until `count` publications are printed, the reader of standard output goes away, or the server refuses.
///
/// # Errors
/// The server refuses the subscription; or the connection ends and `reconnect` is off.
pub fn run(listening: Listening) -> Result<(), ServerError> {
    let reconnect = listening.reconnect;
    keep_following(Listener { listening, place: None, messages: 0 }, reconnect)
}

/// What a frame of the hub may have that matters here.
#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    channel: Option<String>,
    sequence: Option<u64>,
    epoch: Option<String>,
    offset: Option<u64>,
    recovered: Option<bool>,
    error: Option<String>,
}

struct Listener {
    listening: Listening,
    /// The epoch, and the last publication that was printed.
    place: Option<(String, u64)>,
    messages: u64,
}

impl Follow for Listener {
    fn url(&self) -> String {
        format!("{}/ws", self.listening.url.trim_end_matches('/'))
    }

    fn progress(&self) -> u64 {
        self.messages
    }

    fn follow(&mut self, url: &str) -> End {
        let mut socket = match connect(url, Some("fanfare.v1")) {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let mut ask = json!({"type": "subscribe", "channel": self.listening.channel});
        if let Some((epoch, offset)) = &self.place {
            ask["recover"] = json!({"epoch": epoch, "offset": offset});
        }
        if let Err(error) = socket.send(Message::text(ask.to_string())) {
            return End::Lost(error.to_string());
        }
        loop {
            if let Err(end) = next_message(&mut socket).and_then(|text| self.take(&text)) {
                return end;
            }
        }
    }
}

impl Listener {
    fn take(&mut self, text: &str) -> Result<(), End> {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else {
            return Err(End::Refused(
                "a message is no frame of the hub; is this a fanfare server?".to_owned(),
            ));
        };
        match (frame.sequence, frame.epoch, frame.offset) {
            // what goes to everybody's channel is not of this one
            (Some(sequence), ..) if frame.channel.as_ref() == Some(&self.listening.channel) => {
                if let Some((_, offset)) = &mut self.place {
                    *offset = sequence;
                }
                self.messages += 1;
                print(text, self.listening.count == Some(self.messages))
            }
            (_, Some(epoch), Some(offset)) if frame.kind == "subscribed" => {
                if self.place.is_some() && frame.recovered == Some(false) {
                    log::warn!("some publications were missed, and are not kept any more");
                    self.place = None;
                }
                self.place.get_or_insert((epoch, offset));
                Ok(())
            }
            _ if frame.kind == "error" => Err(End::Refused(frame.error.unwrap_or_default())),
            _ => Ok(()),
        }
    }
}
