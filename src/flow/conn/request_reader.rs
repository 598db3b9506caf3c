//! Requests out of the bytes of a connection.

use crate::flow::conn::import::Import;
use crate::wire::http::{BadRequest, BodyDecoder, Head, MAX_HEAD, parse_head};

/// The requests of a connection, as they come in.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// Bytes that belong to no request yet.
    buf: Vec<u8>,
    /// The request whose body is coming in.
    incoming: Option<(Head, BodyDecoder, Vec<u8>)>,
}

/// A request that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// What of its head could be read.
    pub head: Head,
    /// What is wrong with it.
    pub why: BadRequest,
}

/// What has become of the bytes so far.
#[derive(Debug)]
pub enum Progress {
    /// More is needed.
    Partial,
    /// The client waits for a `100 Continue` before it sends the body.
    Continue,
    /// A whole request.
    Whole(Head, Vec<u8>),
    /// The head of an import, whose body is read as it comes; whether the client waits for a `100 Continue`.
    Import(Head, BodyDecoder, bool),
}

impl RequestReader {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Whether nothing of a request is there.
    pub fn is_idle(&self) -> bool {
        self.buf.is_empty() && self.incoming.is_none()
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.buf.len()
    }

    /// What is left when the connection goes on to speak something else.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buf)
    }

    /// The bytes that belong to no request yet: the body of an import is taken from them as it comes.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// The next request, as far as it is there.
    ///
    /// # Errors
    /// It cannot be read; nor can what comes behind it.
    pub fn poll(&mut self, max_body: usize) -> Result<Progress, Unreadable> {
        self.read(max_body).map_err(|why| Unreadable { head: self.head(), why })
    }

    /// As much as there is of the head of the request that is coming in.
    pub fn head(&self) -> Head {
        match &self.incoming {
            Some((head, ..)) => head.clone(),
            None => Head::salvage(&self.buf),
        }
    }

    fn read(&mut self, max_body: usize) -> Result<Progress, BadRequest> {
        if self.incoming.is_none() {
            // blank lines before a request are to be ignored (RFC 9112, 2.2)
            let blank = self.buf.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            self.buf.drain(..blank);
            let Some((head, len)) = parse_head(&self.buf, MAX_HEAD)? else { return Ok(Progress::Partial) };
            let import = Import::is_one(&head);
            let body = BodyDecoder::new(head.framing, if import { usize::MAX } else { max_body })?;
            self.buf.drain(..len);
            let waits = head.expects_continue();
            if import {
                return Ok(Progress::Import(head, body, waits && self.buf.is_empty()));
            }
            self.incoming = Some((head, body, Vec::new()));
            if waits && self.buf.is_empty() {
                return Ok(Progress::Continue);
            }
        }
        let Some((_, body, content)) = &mut self.incoming else { return Ok(Progress::Partial) };
        let fed = body.feed(&self.buf, content)?;
        self.buf.drain(..fed.used);
        match self.incoming.take_if(|_| fed.done) {
            Some((head, _, content)) => Ok(Progress::Whole(head, content)),
            None => Ok(Progress::Partial),
        }
    }
}
