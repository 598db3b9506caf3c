//! `fanfare sub --channel`: follows a channel over the hub's WebSocket, and prints its publications.

use serde::Deserialize;
use serde_json::json;
use tungstenite::Message;

use crate::server::client::follow::{End, Follower, print};
use crate::server::client::websocket::{connect, next_message};

/// The fields of a hub frame that are used here.
#[derive(Deserialize)]
struct ReceivedFrame {
    #[serde(rename = "type")]
    kind: String,
    channel: Option<String>,
    sequence: Option<u64>,
    epoch: Option<String>,
    offset: Option<u64>,
    recovered: Option<bool>,
    error: Option<String>,
}

/// Follows one channel; after a reconnect it asks for the publications that it missed.
pub struct ChannelFollower {
    url: String,
    channel: String,
    /// End after this many publications.
    count: Option<u64>,
    /// The epoch, and the offset of the last publication that was printed.
    position: Option<(String, u64)>,
    messages: u64,
}

impl Follower for ChannelFollower {
    fn url(&self) -> String {
        format!("{}/ws", self.url.trim_end_matches('/'))
    }

    fn progress(&self) -> u64 {
        self.messages
    }

    fn follow(&mut self, url: &str) -> End {
        let mut socket = match connect(url, Some("fanfare.v1")) {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let mut subscribe = json!({"type": "subscribe", "channel": self.channel});
        if let Some((epoch, offset)) = &self.position {
            subscribe["recover"] = json!({"epoch": epoch, "offset": offset});
        }
        if let Err(error) = socket.send(Message::text(subscribe.to_string())) {
            return End::Lost(error.to_string());
        }
        loop {
            if let Err(end) = next_message(&mut socket).and_then(|text| self.take(&text)) {
                return end;
            }
        }
    }
}

impl ChannelFollower {
    /// Follows `channel` at `ws://HOST:PORT`. `count`: end after this many publications.
    pub fn new(url: String, channel: String, count: Option<u64>) -> Self {
        Self { url, channel, count, position: None, messages: 0 }
    }

    fn take(&mut self, text: &str) -> Result<(), End> {
        let Ok(frame) = serde_json::from_str::<ReceivedFrame>(text) else {
            return Err(End::Refused(
                "a message is not a frame of the hub; is this a fanfare server?".to_owned(),
            ));
        };
        match (frame.sequence, frame.epoch, frame.offset) {
            // A publication to all clients comes under another channel's name.
            (Some(sequence), ..) if frame.channel.as_ref() == Some(&self.channel) => {
                if let Some((_, offset)) = &mut self.position {
                    *offset = sequence;
                }
                self.messages += 1;
                print(text, self.count == Some(self.messages))
            }
            (_, Some(epoch), Some(offset)) if frame.kind == "subscribed" => {
                if self.position.is_some() && frame.recovered == Some(false) {
                    log::warn!("some publications were missed and are no longer kept");
                    self.position = None;
                }
                self.position.get_or_insert((epoch, offset));
                Ok(())
            }
            _ if frame.kind == "error" => Err(End::Refused(frame.error.unwrap_or_default())),
            _ => Ok(()),
        }
    }
}
