//! A proxy in front of the server that can cut connections, as a network would.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

/// Passes bytes on to wherever it is pointed at.
pub struct Proxy {
    /// Where clients connect.
    pub listen: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// A proxy in front of `target`.
    pub fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listen = listener.local_addr().expect("it is bound");
        let target = Arc::new(Mutex::new(Some(target)));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (to, all) = (target.clone(), open.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target: Option<SocketAddr> = *to.lock().expect("no panic under it");
                let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else {
                    continue;
                };
                all.lock().expect("no panic under it").extend([dup(&client), dup(&server)]);
                pass(dup(&client), dup(&server));
                pass(server, client);
            }
        });
        Proxy { listen, target, open }
    }

    /// Where new connections lead; `None`: nowhere.
    pub fn point(&self, target: Option<SocketAddr>) {
        *self.target.lock().expect("no panic under it") = target;
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for stream in self.open.lock().expect("no panic under it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn dup(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a second handle")
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut buf = [0; 4096];
        while let Ok(n) = from.read(&mut buf) {
            if n == 0 || to.write_all(&buf[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
