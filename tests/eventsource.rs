//! A real browser's EventSource: cut off, it comes back with nothing lost and nothing twice; after a restart of the
//! server it is told so once, and has the right state.

mod support;

use serde_json::Value;
use serde_json::json;
use support::Server;
use support::browser::Browser;
use support::proxy::Proxy;
use support::wait_for;

const CONFIG: &str = "[sse]\nretry = '50ms'\n[[rule]]\nchannel = '*'\nhistory = 100000\n";

/// Collects everything in the page.
const COLLECT: &str = "
    window.got = []; window.documents = {}; window.resyncs = 0; window.opens = 0;
    window.source = new EventSource('/sse?channels=news,other&keys=doc/*');
    source.onopen = () => opens++;
    source.onmessage = event => { const m = JSON.parse(event.data); got.push([m.channel, m.data.n]); };
    const document = event => { const m = JSON.parse(event.data); documents[m.key] = m.data; };
    source.addEventListener('snapshot', document);
    source.addEventListener('delete', event => { delete documents[JSON.parse(event.data).key]; });
    source.addEventListener('resync_required', () => { resyncs++; documents = {}; });
";

#[test]
fn a_browser_that_is_cut_off_loses_nothing_and_gets_nothing_twice() {
    let server = Server::start(&["--patch", "never"], CONFIG);
    let proxy = Proxy::start(server.listen);
    let mut feed = server.feed();
    let browser = Browser::open(&format!("http://{}/", proxy.listen));
    browser.run(COLLECT);
    browser.wait("opens === 1");
    let mut want = Vec::new();
    for n in 0..300 {
        let channel = if n % 3 == 0 { "other" } else { "news" };
        feed.apply(json!({"op": "publish", "channel": channel, "data": {"n": n}}));
        feed.apply(json!({"op": "set", "key": format!("doc/{}", n % 7), "data": n}));
        want.push((channel, n));
        if n % 60 == 30 {
            feed.apply(json!({"op": "del", "key": format!("doc/{}", (n + 1) % 7)}));
            let opens = browser.run("return opens");
            proxy.cut();
            // some of what follows comes while nobody is there, some to a connection that has just come back
            if n % 120 == 30 {
                browser.wait(&format!("opens > {opens}"));
            }
        }
    }
    browser.wait("got.filter(([channel]) => channel === 'news').length >= 200 && got.length >= 300");
    let got = browser.run("return got");
    for channel in ["news", "other"] {
        let of = got.as_array().expect("a list").iter().filter(|pair| pair[0] == channel);
        let numbers: Vec<u64> = of.map(|pair| pair[1].as_u64().expect("a number")).collect();
        let sent: Vec<u64> = want.iter().filter(|(of, _)| *of == channel).map(|(_, n)| *n).collect();
        assert_eq!(numbers, sent, "{channel}");
    }
    let documents: Value =
        (0..7).map(|key| (format!("doc/{key}"), json!((293..300).find(|n| n % 7 == key)))).collect();
    wait_for("the documents", || (browser.run("return documents") == documents).then_some(()));
    assert_eq!(browser.run("return resyncs"), 0);
}

#[test]
fn a_restart_of_the_server_is_one_resync_and_the_right_state() {
    let server = Server::start(&["--patch", "never"], CONFIG);
    let proxy = Proxy::start(server.listen);
    let browser = Browser::open(&format!("http://{}/", proxy.listen));
    server.feed().apply(json!({"op": "set", "key": "doc/old", "data": 1}));
    browser.run(COLLECT);
    browser.wait("opens === 1");
    server.feed().apply(json!({"op": "publish", "channel": "news", "data": {"n": 1}}));
    browser.wait("got.length === 1 && documents['doc/old'] === 1");
    proxy.point(None);
    drop(server);
    proxy.cut();
    let server = Server::start(&["--patch", "never"], CONFIG);
    server.feed().apply(json!({"op": "set", "key": "doc/new", "data": 2}));
    server.feed().apply(json!({"op": "publish", "channel": "news", "data": {"n": 2}}));
    proxy.point(Some(server.listen));
    browser.wait("resyncs === 1 && documents['doc/new'] === 2");
    server.feed().apply(json!({"op": "publish", "channel": "news", "data": {"n": 3}}));
    browser.wait("got.length === 2");
    assert_eq!(
        browser.run("return [got, resyncs, documents]"),
        json!([[["news", 1], ["news", 3]], 1, {"doc/new": 2}])
    );
}
