//! Imports: elements go to their owners as the body comes, as far as there is room for them.

use crate::base::id::ConnId;
use crate::flow::conn::import::{Import, NextElement};
use crate::flow::conn::pending;
use crate::flow::identity::Identity;
use crate::flow::request::write::Write;
use crate::shard::Shard;
use crate::shard::connections::{Clients, Reason};
use crate::shard::context::Context;
use crate::shard::io::Action;
use crate::shard::mail::question::{Question, WriteOrigin, WriteTicket};
use crate::wire::http::{BodyDecoder, Head};

impl Clients {
    /// The head of an import has come.
    pub(in crate::shard) fn open_import(
        &mut self,
        ctx: &mut Context,
        id: ConnId,
        head: Head,
        body: BodyDecoder,
    ) {
        let Some(access) = self.get(id).map(|conn| conn.access) else { return };
        match (Import::new(head.clone(), body, Identity::anonymous(access).at(ctx.now.wall)), self.http(id)) {
            (Ok(import), Some(http)) => {
                http.import = Some(Box::new(import));
                self.import_ready(id);
            }
            (Err(response), _) => {
                self.respond(ctx, id, &pending::dress(response, &head, &ctx.limits.clone()))
            }
            (Ok(_), None) => {}
        }
    }

    /// An import can go on: bytes or answers have come.
    pub(in crate::shard) fn import_ready(&mut self, id: ConnId) {
        if !self.held_imports.contains(&id) {
            self.held_imports.push(id);
        }
    }

    /// An owner has written an element.
    pub(in crate::shard) fn import_written(&mut self, id: ConnId) {
        if let Some(import) = self.http(id).and_then(|http| http.import.as_mut()) {
            import.written();
            self.import_ready(id);
        }
    }
}

impl Shard {
    /// Goes on with the imports that can.
    pub(in crate::shard) fn imports_on(&mut self) {
        for id in std::mem::take(&mut self.clients.held_imports) {
            self.import_on(id);
        }
        self.deliver_local();
    }

    /// Whether an import can go on at once.
    pub(in crate::shard) fn can_import(&self) -> bool {
        !self.clients.held_imports.is_empty() && !self.ctx.is_behind()
    }

    fn import_on(&mut self, id: ConnId) {
        loop {
            let limits = self.ctx.limits.clone();
            let Some(http) = self.clients.http(id) else { return };
            match http.next_element(&limits) {
                None => return,
                Some(NextElement::Wait) => {
                    if let Some(conn) = self.clients.get(id) {
                        conn.due = u64::MAX;
                    }
                    return;
                }
                Some(NextElement::Write(key, value)) => {
                    let ticket = WriteTicket { conn: id, origin: WriteOrigin::Element };
                    let name = key.clone();
                    let question = Question::Write { write: Write::Set(key, value), ticket };
                    self.ctx.ask(name.as_str(), question);
                }
                Some(NextElement::More) => {
                    let due = self.ctx.now.mono + limits.handshake_timeout;
                    let Some(conn) = self.clients.get(id) else { return };
                    conn.due = due;
                    if conn.ended {
                        return self.clients.finish(&mut self.ctx, id, Reason::Gone);
                    }
                    if std::mem::replace(&mut conn.paused, false) {
                        self.clients.actions.push_back(Action::Resume(id));
                    }
                    return;
                }
                Some(NextElement::Done(response)) => {
                    let Some(import) = self.clients.http(id).and_then(|http| http.import.take()) else {
                        return;
                    };
                    let response = pending::dress(response, &import.head, &limits);
                    self.clients.respond(&mut self.ctx, id, &response);
                    return self.clients.request_done(&mut self.ctx, id);
                }
            }
        }
    }
}
