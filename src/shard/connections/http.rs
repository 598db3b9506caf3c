//! HTTP requests: one after the other, each answered before the next is looked at.

use crate::base::id::ShardId;
use crate::flow::conn::import::{Import, NextElement};
use crate::flow::conn::pending::{self, Pending};
use crate::flow::conn::request_reader::{Progress, RequestReader, Unreadable};
use crate::flow::conn::response_part::ResponsePart;
use crate::flow::identity::Identity;
use crate::flow::limits::trust::Untrusted;
use crate::flow::request::events::not_found;
use crate::flow::request::refusals::{bad_user, untrusted};
use crate::flow::request::stream::StreamRequest;
use crate::flow::request::write::Write;
use crate::flow::request::{Request, router};
use crate::flow::state::scan::Chunk;
use crate::shard::connections::events::EventsSession;
use crate::shard::connections::hub::HubSession;
use crate::shard::connections::ooo::OooSession;
use crate::shard::connections::requests;
use crate::shard::connections::route::RouteSession;
use crate::shard::connections::shared::list_once;
use crate::shard::connections::stream::{StreamEnd, StreamSession};
use crate::shard::connections::subscriber::Subscriber;
use crate::shard::connections::view::View;
use crate::shard::end_reason::EndReason;
use crate::shard::io::Door;
use crate::shard::mail::question::{Question, WriteOrigin, WriteTicket};
use crate::wire::http::{BadRequest, BodyDecoder, CONTINUE, Head, Response};

/// What a connection speaks instead of HTTP from here on.
#[derive(Debug)]
pub struct ProtocolChange {
    /// Its new protocol.
    pub subscriber: Subscriber,
    /// Bytes of it that have come already.
    pub rest: Vec<u8>,
}

/// What the request that is being answered waits for.
#[derive(Debug)]
enum Answering {
    /// The owners' answers.
    Owners(Box<Pending>),
    /// The reader of a streamed answer.
    Stream(Box<StreamSession>),
    /// The body of an import, and the owners of what is in it.
    Import(Box<Import>),
}

/// A connection that speaks HTTP.
#[derive(Debug, Default)]
pub struct HttpSession {
    reader: RequestReader,
    answering: Option<Answering>,
}

impl HttpSession {
    /// Bytes from the client.
    pub fn bytes(&mut self, view: &mut View<'_>, bytes: &[u8]) -> Option<ProtocolChange> {
        self.reader.push(bytes);
        self.go_on(view)
    }

    /// How many documents of the stream that it gives wait here to be sent; `None` if it gives none.
    pub fn held_documents(&self) -> Option<usize> {
        if let Some(Answering::Stream(stream)) = &self.answering { Some(stream.held()) } else { None }
    }

    /// Handles requests until bytes are missing, or one must wait: for an answer, or for the peer to read.
    pub fn go_on(&mut self, view: &mut View<'_>) -> Option<ProtocolChange> {
        while !view.is_ending() {
            let unread = view.is_unread();
            if unread {
                view.wait_until_read();
            }
            if unread || self.answering.is_some() {
                view.pause_beyond_read_ahead(self.reader.held());
                if let Some(Answering::Import(_)) = self.answering {
                    list_once(&mut view.shared.imports, view.id);
                }
                return None;
            }
            view.resume_reading();
            match self.reader.poll(view.ctx.limits.max_body) {
                Ok(Progress::Partial) => {
                    if view.record.eof {
                        view.finish(EndReason::Gone);
                    } else if self.reader.is_idle() {
                        view.due_in(Some(view.ctx.limits.handshake_timeout));
                    }
                    return None;
                }
                Ok(Progress::Continue) => view.try_send(CONTINUE),
                Ok(Progress::Import(head, body, waits)) => {
                    view.ctx.stats.requests += 1;
                    if waits {
                        view.try_send(CONTINUE);
                    }
                    self.open_import(view, head, body);
                }
                Ok(Progress::Whole(head, body)) => {
                    view.due_in(None);
                    view.ctx.stats.requests += 1;
                    let request = match admit(view, &head) {
                        Ok(()) => router::route(&head, &body, view.caller(), &view.ctx.limits),
                        Err(response) => {
                            respond(view, &response);
                            continue;
                        }
                    };
                    let upgrade = self.carry_out(view, head, request);
                    if upgrade.is_some() {
                        return upgrade;
                    }
                }
                Err(Unreadable { head, why: BadRequest::BodyTooLarge }) => {
                    let response = Response::text(413, "Request Entity Too Large").closing();
                    respond(view, &legible(view, &head, response));
                }
                Err(Unreadable { head, why }) => respond(view, &legible(view, &head, Response::from(why))),
            }
        }
        None
    }

    fn carry_out(&mut self, view: &mut View<'_>, head: Head, request: Request) -> Option<ProtocolChange> {
        let (kind, answers) = match request {
            Request::Respond(response) => {
                respond_to(view, &head, response);
                return None;
            }
            Request::Follow(name, handshake, version) => {
                let session = OooSession::open(view, handshake, name, version);
                return Some(self.upgrade(Subscriber::Ooo(session)));
            }
            Request::Hub(handshake, request) => {
                let session = HubSession::open(view, handshake, *request);
                return Some(self.upgrade(Subscriber::Hub(session)));
            }
            Request::Events(request) => match EventsSession::open(view, &head, *request) {
                Ok(session) => return Some(self.upgrade(Subscriber::Events(session))),
                Err(response) => {
                    respond_to(view, &head, response);
                    return None;
                }
            },
            Request::Stream(request) => {
                self.open_stream(view, head, *request);
                return None;
            }
            Request::Change(change) if change.conn.shard.0 >= view.ctx.shards => {
                respond_to(view, &head, not_found());
                return None;
            }
            Request::Change(change) => requests::change(view, change),
            Request::Route(request) => requests::open_route(view, request),
            Request::Views(channel, route, views) => requests::views(view, channel, route, views),
            Request::Push(pattern, value) => requests::push(view, &pattern, value),
            Request::Room(request) => requests::room(view, request),
            Request::Get(key) => requests::get(view, key),
            Request::Write(key, write, kind) => requests::put(view, &key, write, kind),
            Request::Sweep(pattern) => requests::sweep(view, &pattern),
            Request::Gather(kind) => requests::gather(view, kind),
        };
        self.answering = Some(Answering::Owners(Box::new(Pending::new(head, kind, answers))));
        None
    }

    fn upgrade(&mut self, subscriber: Subscriber) -> ProtocolChange {
        ProtocolChange { subscriber, rest: self.reader.take_rest() }
    }

    /// An answer to the request, which is taken unless nothing waits for it.
    pub fn answer(&mut self, view: &mut View<'_>, part: &mut Option<ResponsePart>) -> Option<ProtocolChange> {
        let Some(Answering::Owners(pending)) = &mut self.answering else { return None };
        let part = match part.take()? {
            ResponsePart::Entered(route, user, true) => {
                let Some((head, request)) = pending.route() else {
                    *part = Some(ResponsePart::Entered(route, user, true));
                    return None;
                };
                let session = RouteSession::open(view, &head, request);
                return Some(self.upgrade(Subscriber::Route(Box::new(session))));
            }
            part => part,
        };
        let response = pending.answer(part, &view.ctx.limits)?;
        let response = pending::dress(response, &pending.head);
        self.answering = None;
        respond(view, &response);
        self.next_request(view)
    }

    /// A request is answered: the next one may come.
    fn next_request(&mut self, view: &mut View<'_>) -> Option<ProtocolChange> {
        view.due_in(Some(view.ctx.limits.handshake_timeout));
        self.go_on(view)
    }

    fn open_stream(&mut self, view: &mut View<'_>, head: Head, request: StreamRequest) {
        if view.shared.streams.count() >= view.ctx.limits.stream.streams {
            let detail = "as many streams as are allowed at once are under way ([stream] streams); try again";
            let response = Response::problem(503, "too_many_streams", detail).header("Retry-After", "1");
            return respond_to(view, &head, response);
        }
        let stream = StreamSession::open(view, head, request);
        self.answering = Some(Answering::Stream(Box::new(stream)));
    }

    /// An owner's chunk of a stream.
    pub fn chunk(&mut self, view: &mut View<'_>, from: ShardId, count: u32, chunk: Chunk) {
        if let Some(Answering::Stream(stream)) = &mut self.answering {
            stream.take(view, from, count, chunk);
        }
    }

    /// Goes on with the streamed answer; adds to `spent` what its chunks have cost, in bytes copied.
    pub fn go_on_stream(&mut self, view: &mut View<'_>, spent: &mut usize) -> Option<ProtocolChange> {
        let Some(Answering::Stream(stream)) = &mut self.answering else { return None };
        let end = stream.go_on(view, spent)?;
        stream.close(view);
        let Some(Answering::Stream(stream)) = self.answering.take() else { return None };
        match end {
            StreamEnd::Done => {}
            StreamEnd::Refused(response) => respond_to(view, stream.head(), response),
            StreamEnd::Aborted => view.finish(EndReason::Aborted),
        }
        // HTTP/1.0 knows the end of a body without a length by the end of the connection
        if Response::new(200).streaming(stream.head()).closes() {
            view.finish(EndReason::Gone);
        }
        self.next_request(view)
    }

    fn open_import(&mut self, view: &mut View<'_>, head: Head, body: BodyDecoder) {
        if let Err(response) = admit(view, &head) {
            return respond(view, &response.closing());
        }
        match Import::new(head.clone(), body, view.caller()) {
            Ok(import) => {
                self.answering = Some(Answering::Import(Box::new(import)));
                list_once(&mut view.shared.imports, view.id);
            }
            Err(response) => respond_to(view, &head, response),
        }
    }

    /// An owner has written an element.
    pub fn element_written(&mut self, view: &mut View<'_>) {
        if let Some(Answering::Import(import)) = &mut self.answering {
            import.written();
            list_once(&mut view.shared.imports, view.id);
        }
    }

    /// Elements of an import go to their owners as the body comes, as far as there is room for them.
    pub fn go_on_import(&mut self, view: &mut View<'_>) -> Option<ProtocolChange> {
        let limits = view.ctx.limits.clone();
        while let Some(Answering::Import(import)) = &mut self.answering {
            match import.next(self.reader.bytes_mut(), &limits) {
                NextElement::Wait => {
                    view.due_in(None);
                    return None;
                }
                NextElement::Write(key, value) => {
                    let ticket = WriteTicket { conn: view.id, origin: WriteOrigin::Element };
                    let name = key.clone();
                    let write = Write::Set(key, value, view.ctx.stamp());
                    view.ctx.ask(name.as_str(), Question::Write { write, ticket });
                }
                NextElement::More => {
                    view.due_in(Some(limits.handshake_timeout));
                    if view.record.eof {
                        view.finish(EndReason::Gone);
                    } else {
                        view.resume_reading();
                    }
                    return None;
                }
                NextElement::Done(response) => {
                    respond_to(view, &import.head.clone(), response);
                    self.answering = None;
                    return self.next_request(view);
                }
            }
        }
        None
    }

    /// The request did not come in time.
    pub fn overdue(&mut self, view: &mut View<'_>) {
        if self.reader.is_idle() && self.answering.is_none() {
            return view.abort(EndReason::RequestTimeout);
        }
        let response = Response::text(408, "the request did not come in time").closing();
        view.try_send(legible(view, &self.reader.head(), response).encode());
        view.finish(EndReason::RequestTimeout);
    }

    /// The connection ends.
    pub fn ended(&mut self, view: &mut View<'_>) {
        if let Some(Answering::Stream(stream)) = &self.answering {
            stream.close(view);
        }
    }
}

fn respond(view: &mut View<'_>, response: &Response<'_>) {
    view.force_send(response.encode());
    if response.closes() {
        view.finish(EndReason::Gone);
    }
}

/// Answers a request, with what every response has besides.
fn respond_to(view: &mut View<'_>, head: &Head, response: Response<'static>) {
    respond(view, &pending::dress(response, head));
}

/// The answer to a request that could not be read whole: a page that is welcome may read why.
fn legible(view: &View<'_>, head: &Head, response: Response<'static>) -> Response<'static> {
    if trusts(view, head).is_ok() { pending::dress(response, head) } else { response }
}

/// Whether a request may come from where it comes, and who sends it: that is who the connection is from now on.
///
/// # Errors
/// The whole response to one that nobody looks at further.
fn admit(view: &mut View<'_>, head: &Head) -> Result<(), Response<'static>> {
    trusts(view, head).map_err(|why| untrusted(&why).answering(head))?;
    match Identity::read(head, view.shared.identity(view.record.door)) {
        Ok(identity) => view.record.identity = identity,
        Err(bad) => return Err(pending::dress(bad_user(bad), head)),
    }
    Ok(())
}

fn trusts(view: &View<'_>, head: &Head) -> Result<(), Untrusted> {
    match view.record.door {
        Door::Clients(listener) => view.ctx.limits.admit(listener, head),
        Door::Feed => Ok(()),
    }
}
