//! The admin door: health and metrics over plain HTTP, for operators and their machines.
//!
//! `/livez` says that this thread runs; `/readyz` whether clients should be sent here; `/metrics` is Prometheus text.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::base::complaints::Complaints;
use crate::control::metrics;
use crate::control::shards::Shards;
use crate::flow::limits::trust::{Exposure, Trust};
use crate::runtime::now;
use crate::wire::http::cors_headers;

/// Where the server stands, as `/readyz` tells it. Shared between the boot sequence, which writes, and the admin door.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Readiness {
    /// Every door is open.
    pub fn set_ready(&self) {
        self.0.store(READY, Ordering::Release);
    }

    /// Clients should go elsewhere. Final.
    pub fn set_stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::Acquire) {
            STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            READY => (StatusCode::OK, "ready\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        }
    }
}

/// More scrapers and probes at once than this cost the oldest one its connection: whoever opens many cannot keep others
/// out.
pub const MAX_CONNECTIONS: usize = 64;
/// From the accept on, a request must be there and its response be read after this long. A connection is for one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to hold back after a failed accept (out of file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running admin door; `stop` or a drop closes it.
#[derive(Debug)]
pub struct Admin {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Admin {
    /// Serves `listener` on a thread of its own, which asks the shards at each scrape.
    ///
    /// # Errors
    /// The system gives no thread, or no memory or descriptors for its event loop.
    pub fn start(
        listener: TcpListener,
        readiness: Arc<Readiness>,
        shards: Arc<Shards>,
        trust: Trust,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let exposure = Exposure::of(listener.local_addr()?.ip());
        let desk = Arc::new(Desk { readiness, shards, trust, exposure });
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = executor.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        executor.spawn(accept(listener, desk));
        let run = move || {
            // Ends at `stop`; the executor's end drops the listener and its connections.
            let _ = executor.block_on(stopped);
        };
        let thread = thread::Builder::new().name("control".to_owned()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Closes the door and its connections, and waits for the thread.
    pub fn stop(self) {
        // A thread that has ended already needs no word, and one that panicked has said so on standard error.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What the answers are made of.
struct Desk {
    readiness: Arc<Readiness>,
    shards: Arc<Shards>,
    trust: Trust,
    exposure: Exposure,
}

async fn accept(listener: tokio::net::TcpListener, desk: Arc<Desk>) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    let mut complaints = Complaints::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if let Some(before) = complaints.due(now().mono) {
                    log::warn!("admin door: {error} ({before} times before)");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() == MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(serve(stream, desk.clone())));
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    let desk = &desk;
    let service = service_fn(move |request: Request<Incoming>| async move {
        Ok::<_, Infallible>(desk.answer(&request).await)
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false);
    match timeout(TIMEOUT, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("admin door: {error}"),
        Err(_) => log::debug!("admin door: a request, or the reading of its response, took too long"),
    }
}

impl Desk {
    /// Pages are judged here as at the clients' doors.
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("null"));
        let origin = header(ORIGIN);
        if let Err(why) = self.trust.admit(self.exposure, header(HOST), origin) {
            let mut refusal = text(StatusCode::FORBIDDEN, format!("{why}\n"));
            refusal.headers_mut().insert(VARY, "Origin".parse().expect("a header value"));
            return refusal;
        }
        let mut response = self.respond(request).await;
        for (name, value) in cors_headers(origin) {
            let value = value.parse().expect("an origin that was a header is one");
            response.headers_mut().insert(name, value);
        }
        response
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            refusal.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a header value"));
            return refusal;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, body) = self.readiness.answer();
                text(status, body)
            }
            "/metrics" => {
                let mut page = text(StatusCode::OK, metrics::page(&self.shards.stats().await));
                let kind = "text/plain; version=0.0.4; charset=utf-8".parse().expect("a header value");
                page.headers_mut().insert(CONTENT_TYPE, kind);
                page
            }
            _ => text(StatusCode::NOT_FOUND, "the admin door has /livez, /readyz and /metrics\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(CACHE_CONTROL, "no-store")
        .body(Full::new(body.into()))
        .expect("constant headers make a response")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::flow::limits::Limits;
    use crate::runtime::control_lane::control_lanes;

    fn get(addr: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(addr).expect("the door is open");
        write!(stream, "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("it reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("it answers");
        response
    }

    #[test]
    fn health_follows_readiness_and_metrics_come_whether_the_shards_answer_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let readiness = Arc::new(Readiness::default());
        let (control, lanes) = control_lanes(1).expect("an eventfd");
        let shards = Arc::new(Shards::new(control, Arc::new(Limits::default())));
        let admin =
            Admin::start(listener, Arc::clone(&readiness), shards, Trust::default()).expect("a thread");

        let status = |line: &str| get(addr, line)[9..12].to_owned();
        assert_eq!(status("GET /readyz"), "503");
        assert_eq!(status("GET /livez"), "200");
        readiness.set_ready();
        assert_eq!(status("GET /readyz?verbose"), "200");
        readiness.set_stopping();
        assert!(get(addr, "GET /readyz").ends_with("stopping\n"));

        let page = get(addr, "GET /metrics");
        assert!(
            page.contains("version=0.0.4") && page.contains("\nfanfare_shard_up{shard=\"0\"} 0\n"),
            "{page}"
        );
        drop(lanes);
        assert!(get(addr, "GET /metrics").contains("\nfanfare_shard_up{shard=\"0\"} 0\n"), "it has left");
        assert!(get(addr, "HEAD /metrics").ends_with("\r\n\r\n"), "HEAD has no body");
        assert_eq!(status("POST /metrics"), "405");
        assert_eq!(status("GET /"), "404");

        admin.stop();
        assert!(TcpStream::connect(addr).is_err(), "the door is closed");
    }
}
