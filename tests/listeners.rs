//! The clients' listener and the feed: the finer points of HTTP, and half-closed connections.

mod support;

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use serde_json::json;
use support::Server;
use support::http;
use support::hub::Hub;
use support::wait_for;

fn head(method: &str, path: &str, extra: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n")
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::start(&[], "");
    let mut stream = http::connect(server.listen);
    let mut requests = String::new();
    for n in 0..200 {
        let body = n.to_string();
        requests += &head("POST", &format!("/box/{}", n % 7), &format!("Content-Length: {}\r\n", body.len()));
        requests += &body;
        requests += &head("GET", &format!("/box/{}", n % 7), "");
    }
    stream.write_all(requests.as_bytes()).expect("the requests are taken");
    for n in 0..200 {
        let wrote = http::read(&mut stream).expect("an answer to the write");
        assert_eq!((wrote.status, wrote.json()["index"].as_str()), (200, Some(&*(n % 7).to_string())));
        let read = http::read(&mut stream).expect("an answer to the read");
        assert_eq!(read.json()["data"], n);
    }
}

#[test]
fn a_half_closed_client_gets_all_its_answers() {
    let server = Server::start(&[], "");
    let large = "x".repeat(3 << 20);
    assert_eq!(server.http("POST", "/large", &json!(large).to_string()).status, 200);
    let mut stream = http::connect(server.listen);
    let requests = head("GET", "/missing", "") + &head("GET", "/large", "").repeat(3);
    stream.write_all(requests.as_bytes()).expect("the requests are taken");
    stream.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(http::read(&mut stream).expect("the first answer").status, 404);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(http::read(&mut stream).expect("an answer").json()["data"], large.as_str());
    }
    assert_eq!(stream.read(&mut [0; 16]).expect("a clean end"), 0);
}

#[test]
fn a_body_that_waits_for_permission_gets_it_once() {
    let server = Server::start(&[], "");
    let mut stream = http::connect(server.listen);
    for n in 0..2 {
        let expect = head("POST", "/box", "Content-Length: 1\r\nExpect: 100-continue\r\n");
        stream.write_all(expect.as_bytes()).expect("the head is taken");
        let mut permission = [0; 25];
        stream.read_exact(&mut permission).expect("permission in time");
        assert_eq!(&permission, b"HTTP/1.1 100 Continue\r\n\r\n");
        write!(stream, "{n}").expect("the body is taken");
        assert_eq!(http::read(&mut stream).expect("the answer").status, 200);
    }
    assert_eq!(server.http("GET", "/box", "").json()["data"], 1);
    let refused = head("POST", "/box", "Content-Length: 99999999\r\nExpect: 100-continue\r\n");
    assert_eq!(http::raw(server.listen, refused.as_bytes()).expect("an answer").status, 413);
}

#[test]
fn a_request_hidden_in_a_body_is_never_answered() {
    let server = Server::start(&[], "");
    let hidden = head("POST", "/hidden", "Content-Length: 1\r\n") + "1";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: +0\r\n",
        "Content-Length : 0\r\n",
    ] {
        let mut stream = http::connect(server.listen);
        let request = head("POST", "/box", framing) + "0\r\n\r\n" + &hidden;
        stream.write_all(request.as_bytes()).expect("the bytes are taken");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        let mut all = String::new();
        stream.read_to_string(&mut all).expect("an answer, then the end");
        assert!(all.starts_with("HTTP/1.1 400 ") || all.starts_with("HTTP/1.1 501 "), "{framing:?}: {all}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{framing:?}: {all}");
    }
    assert_eq!(server.http("GET", "/hidden", "").status, 404);
    assert_eq!(server.http("GET", "/box", "").status, 404);
}

#[test]
fn methods_and_paths_that_mean_nothing_are_answered_as_upstream_does() {
    let server = Server::start(&[], "");
    server.feed().apply(json!({"op": "set", "key": "box", "data": 1}));
    for (method, path) in [("PUT", "/box"), ("OPTIONS", "/box"), ("BREW", "/box"), ("GET", "/?api=nonsense")]
    {
        let response = server.http(method, path, "");
        assert_eq!((response.status, response.text()), (404, "404 page not found\n"), "{method} {path}");
        assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    }
    let mut stream = http::connect(server.listen);
    stream.write_all((head("HEAD", "/box", "") + &head("GET", "/box", "")).as_bytes()).expect("taken");
    let mut all = [0; 4096];
    let mut got = Vec::new();
    while !got.ends_with(b"\"data\":1}") {
        let n = stream.read(&mut all).expect("both answers");
        got.extend_from_slice(&all[..n]);
    }
    let got = String::from_utf8(got).expect("text");
    let (first, second) = got.split_at(got.rfind("HTTP/1.1 200").expect("two answers"));
    assert!(first.starts_with("HTTP/1.1 200") && first.ends_with("\r\n\r\n"), "a HEAD has no body: {got}");
    let (first, (second, _)) = (first.trim_end(), second.split_once("\r\n\r\n").expect("a head"));
    assert_eq!(first, second, "and the same head");
}

#[test]
fn the_keys_and_the_state_can_be_asked_for() {
    let server = Server::start(&[], "");
    let mut feed = server.feed();
    for key in ["b", "a/2", "A/1"] {
        feed.apply(json!({"op": "set", "key": key, "data": 1}));
    }
    assert_eq!(server.http("GET", "/", "").json(), json!({"keys": ["A/1", "a/2", "b"]}));
    assert_eq!(
        server.http("GET", "/?api=keys", "").text(),
        "{\"keys\":[\"A/1\",\"a/2\",\"b\"],\"total\":3,\"page\":1,\"limit\":50,\"filter\":\"\"}\n"
    );
    let page = server.http("GET", "/?api=keys&page=2&limit=1&filter=a/", "").json();
    assert_eq!((&page["keys"], &page["total"]), (&json!(["a/2"]), &json!(2)));
    let mut subscribers = [server.subscribe("b"), server.subscribe("b"), server.subscribe("a/*")];
    subscribers.iter_mut().for_each(|subscriber| subscriber.wait("the state", |_| true));
    let state = server.http("GET", "/?api=state", "");
    assert_eq!(
        state.text(),
        "{\"pools\":[{\"key\":\"a/*\",\"connections\":1},{\"key\":\"b\",\"connections\":2}],\"totalConnections\":3}\n"
    );
}

#[test]
fn the_channels_are_listed_with_their_offsets_and_subscribers() {
    let server = Server::start(&[], "");
    assert_eq!(server.http("GET", "/?api=channels", "").json()["channels"], json!([]));
    let _ann = Hub::native(server.listen, "ws?channels=a,news/b");
    let _bob = Hub::open(server.listen, "ws?channels=news/b");
    let mut feed = server.feed();
    for channel in ["a", "a", "C", "*"] {
        feed.apply(json!({"op": "publish", "channel": channel, "data": 1}));
    }
    let row =
        |name: &str, offset, subscribers| json!({"name": name, "offset": offset, "subscribers": subscribers});
    let rows = json!([row("a", 2, 1), row("C", 1, 0), row("news/b", 0, 2)]);
    wait_for("all subscriptions", || {
        (server.http("GET", "/?api=channels", "").json()["channels"] == rows).then_some(())
    });
    let page = server.http("GET", "/?api=channels&limit=1&page=2&filter=A", "").text().to_owned();
    assert_eq!(page, "{\"channels\":[],\"total\":1,\"page\":2,\"limit\":1,\"filter\":\"A\"}\n");
    // what is said in a private room is not for everybody, nor that it is there
    server.http("POST", "/_/rooms", r#"{"id":"C","private":true}"#);
    assert_eq!(server.http("GET", "/?api=channels&filter=c", "").json()["total"], 0);
}

#[test]
fn a_feed_that_ends_has_all_its_lines_done_and_answered() {
    let server = Server::start(&[], "");
    let mut feed = server.feed();
    let lines: String = (0..5000)
        .map(|n| json!({"op": "set", "key": format!("k/{n}"), "data": n, "id": n}).to_string() + "\n")
        .collect();
    // An application that writes all before it reads any: the replies are more than the socket holds.
    let writer = std::thread::spawn({
        let mut stream = feed.stream.try_clone().expect("a second handle");
        move || {
            stream.write_all(lines.as_bytes()).expect("the lines are taken");
            stream.write_all(b"{\"op\":\"set\",\"key\":\"last\",\"data\":1,\"id\":\"last\"}").expect("taken");
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let mut answered = 0;
    while answered < 5000 {
        let reply = feed.reply().expect("a reply to each line");
        assert_eq!(reply["ok"], true, "{reply}");
        answered += 1;
    }
    writer.join().expect("the writer");
    feed.end();
    assert_eq!(feed.reply().expect("the last line needs no line end")["id"], "last");
    assert!(feed.reply().is_none(), "then it is closed");
    assert_eq!(server.http("GET", "/?api=keys&limit=1", "").json()["total"], 5001);
}
