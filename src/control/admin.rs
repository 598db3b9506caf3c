//! The admin door: health and metrics over plain HTTP, for operators and their machines.
//!
//! `/livez` says that this thread runs; `/readyz` whether clients should be sent here; `/metrics` is Prometheus text.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use crate::control::metrics;
use crate::control::shards::Shards;

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

/// More scrapers and probes at once than this wait their turn.
const MAX_CONNECTIONS: usize = 64;
/// A request head must be complete after this long; also how long a kept connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to hold back after a failed accept (out of file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running admin door; `stop` or a drop closes it.
#[derive(Debug)]
pub struct Admin {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Serves `listener` on a thread of its own, which asks the shards at each scrape.
    ///
    /// # Errors
    /// The system gives no thread, or no memory or descriptors for its event loop.
    pub fn start(listener: TcpListener, readiness: Arc<Readiness>, shards: Arc<Shards>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = executor.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        executor.spawn(accept(listener, readiness, shards));
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

async fn accept(listener: tokio::net::TcpListener, readiness: Arc<Readiness>, shards: Arc<Shards>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("admin door: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (readiness, shards) = (Arc::clone(&readiness), Arc::clone(&shards));
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                Ok::<_, Infallible>(answer(request, &readiness, &shards).await)
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                log::debug!("admin door: {error}");
            }
            drop(permit);
        });
    }
}

async fn answer(request: Request<Incoming>, readiness: &Readiness, shards: &Shards) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        refusal.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a header value"));
        return refusal;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let (status, body) = readiness.answer();
            text(status, body)
        }
        "/metrics" => {
            let mut page = text(StatusCode::OK, metrics::page(&shards.stats().await));
            let kind = "text/plain; version=0.0.4; charset=utf-8".parse().expect("a header value");
            page.headers_mut().insert(CONTENT_TYPE, kind);
            page
        }
        _ => text(StatusCode::NOT_FOUND, "the admin door has /livez, /readyz and /metrics\n"),
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
        write!(stream, "{line} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").expect("it reads");
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
        let admin = Admin::start(listener, Arc::clone(&readiness), shards).expect("a thread");

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
