//! Answers to the questions of connections, by what on the connection gets them.

use crate::base::id::ConnId;
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::request::write::{Done, Refused};
use crate::flow::state::presence::Shown;
use crate::flow::state::room::Refusal;
use crate::shard::mail::question::{Origin, Ticket, WriteOrigin, WriteTicket};
use crate::wire::hub::ReplyTo;
use std::sync::Arc;

/// An answer to a connection of the receiver.
#[derive(Debug)]
pub enum Answer {
    /// A part of the response that a connection waits for.
    Request {
        /// The connection.
        conn: ConnId,
        /// The part.
        part: ResponsePart,
    },
    /// To a frame of the hub.
    Frame {
        /// The connection.
        conn: ConnId,
        /// What the reply says of the frame.
        reply_to: Box<ReplyTo>,
        /// Whether the connection was not listened to until now.
        waited: bool,
        /// What it led to.
        reply: Reply,
    },
    /// To a line of the feed.
    Line {
        /// The connection.
        conn: ConnId,
        /// The line's number.
        number: u64,
        /// The `id` of the reply, if one is wanted.
        id: Option<Box<str>>,
        /// What it led to.
        result: Result<Done, WriteRefused>,
    },
    /// An element of an import was written.
    Element {
        /// The connection.
        conn: ConnId,
    },
    /// How a user shows itself.
    Presence {
        /// The connection that asked.
        conn: ConnId,
        /// Its number for the question.
        query: u32,
        /// The user, and how it shows itself; none if the asker may not know.
        shown: Box<(Arc<str>, Option<Shown>)>,
    },
}

/// What a frame led to.
#[derive(Debug)]
pub enum Reply {
    /// A publication.
    Published(Result<Done, WriteRefused>),
    /// What a room's owner, or a user's, says: the members of a JSON object.
    Room(Result<Vec<u8>, Refusal>),
    /// What was published into a channel: JSON.
    History(Result<Vec<u8>, Refusal>),
}

/// Why a write was not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteRefused {
    /// It does not fit what is there.
    Invalid(Refused),
    /// The room does not allow it.
    Forbidden(Refusal),
}

impl WriteTicket {
    /// The answer to a write.
    pub fn answer(self, result: Result<Done, WriteRefused>) -> Answer {
        let conn = self.conn;
        match self.origin {
            WriteOrigin::Request => Answer::Request { conn, part: written(result) },
            WriteOrigin::Frame(reply_to) => {
                Answer::Frame { conn, reply_to, waited: false, reply: Reply::Published(result) }
            }
            WriteOrigin::Element => Answer::Element { conn },
            WriteOrigin::Line { number, id } => Answer::Line { conn, number, id, result },
        }
    }
}

/// What a write adds to a response.
fn written(result: Result<Done, WriteRefused>) -> ResponsePart {
    match result {
        Ok(done) => ResponsePart::Wrote(Ok(done)),
        Err(WriteRefused::Invalid(refused)) => ResponsePart::Wrote(Err(refused)),
        Err(WriteRefused::Forbidden(refusal)) => ResponsePart::Room(Err(refusal)),
    }
}

impl Ticket {
    /// Whether an HTTP request asks, which gets everything; frames get what fits.
    pub fn is_request(&self) -> bool {
        matches!(self.origin, Origin::Request)
    }

    /// The answer of a room's owner, or a user's.
    pub fn answer_room(self, result: Result<Vec<u8>, Refusal>) -> Answer {
        let conn = self.conn;
        match self.origin {
            Origin::Request => Answer::Request { conn, part: ResponsePart::Room(result) },
            Origin::Frame { reply_to, waits } => {
                Answer::Frame { conn, reply_to, waited: waits, reply: Reply::Room(result) }
            }
        }
    }

    /// The answer to a question about a channel's past.
    pub fn answer_history(self, result: Result<Vec<u8>, Refusal>) -> Answer {
        let conn = self.conn;
        match self.origin {
            Origin::Request => {
                let part =
                    result.map_or_else(|refusal| ResponsePart::Room(Err(refusal)), ResponsePart::History);
                Answer::Request { conn, part }
            }
            Origin::Frame { reply_to, waits } => {
                Answer::Frame { conn, reply_to, waited: waits, reply: Reply::History(result) }
            }
        }
    }
}
