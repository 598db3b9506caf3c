//! The page at `/`, in a real browser.

mod support;

use serde_json::json;
use support::Server;
use support::browser::Browser;

const DOCUMENT: &str = "document.getElementById('document').innerText";
const NEWEST: &str = "document.querySelector('#log li')";

fn press(browser: &Browser, key: &str) {
    let button = format!("document.querySelector('#keys button[data-key=\"{key}\"]')");
    browser.wait(&format!("{button} !== null"));
    browser.run(&format!("{button}.click()"));
    browser.wait(&format!("document.getElementById('state').textContent === 'following {key}'"));
}

#[test]
fn it_lists_the_keys_and_follows_a_list_and_a_key_by_patches() {
    let server = Server::start(&[], "");
    let mut feed = server.feed();
    for (key, name) in [("things/one", "Uno"), ("things/two", "Due"), ("alone", "Solo")] {
        let filler = "some words, so that a patch is the smaller way to say what has changed";
        feed.apply(json!({"op": "set", "key": key, "data": {"name": name, "n": 1, "filler": filler}}));
    }
    let browser = Browser::open(&format!("http://{}/", server.listen));

    press(&browser, "things/*");
    browser.wait(&format!(
        "{DOCUMENT}.indexOf('Due') < {DOCUMENT}.indexOf('Uno') && {DOCUMENT}.includes('Due')"
    ));
    browser.wait(&format!("{NEWEST}.className === 'snapshot'"));
    feed.apply(json!({"op": "merge", "key": "things/one", "data": {"n": 12345678901234567890_u64}}));
    browser.wait(&format!("{DOCUMENT}.includes('\"n\": 12345678901234567890')"));
    browser.wait(&format!("{NEWEST}.className === 'patch' && {NEWEST}.innerText.includes('/1/data/n')"));
    browser.wait("document.querySelectorAll('#document .flash').length > 0");
    browser.wait("/[1-9]\\d* B saved/.test(document.getElementById('saved').textContent)");
    feed.apply(json!({"op": "del", "key": "things/two"}));
    browser.wait(&format!("{DOCUMENT}.includes('Uno') && !{DOCUMENT}.includes('Due')"));

    press(&browser, "alone");
    browser.wait(&format!("{DOCUMENT}.includes('Solo')"));
    feed.apply(json!({"op": "merge", "key": "alone", "data": {"n": 2}}));
    browser.wait(&format!("{DOCUMENT}.includes('\"n\": 2')"));
}

#[test]
fn it_lists_channels_and_rooms_and_follows_what_is_published() {
    let server = Server::start(&[], "[[rule]]\nchannel = 'news'\nhistory = 10\n");
    let mut feed = server.feed();
    for data in ["<b>first</b>", "second"] {
        feed.apply(json!({"op": "publish", "channel": "news", "type": "alert", "data": {"text": data}}));
    }
    server.http("POST", "/_/rooms", r#"{"id":"attic","name":"The attic"}"#);
    let browser = Browser::open(&format!("http://{}/", server.listen));
    let log = "[...document.querySelectorAll('#log .op')].map(op => JSON.parse(op.textContent).text).join()";

    // nothing else is there to be followed, so it follows the channel, and begins with what was said before
    browser.wait("document.getElementById('state').textContent === 'following channel news'");
    browser.wait(&format!("{log} === 'second,<b>first</b>'"));
    browser.wait("document.querySelector('#channels button[data-channel=news] small').textContent === '1'");
    feed.apply(
        json!({"op": "publish", "channel": "news", "data": {"text": "third", "n": 12345678901234567890_u64}}),
    );
    browser.wait(&format!("{DOCUMENT}.includes('\"n\": 12345678901234567890')"));
    browser.wait(&format!("{log} === 'third,second,<b>first</b>'"));
    // what is missed while the connection is away comes first when it is back
    browser.run("socket.close()");
    for text in ["fourth", "fifth"] {
        feed.apply(json!({"op": "publish", "channel": "news", "data": {"text": text}}));
    }
    browser.wait(&format!("{log} === 'fifth,fourth,third,second,<b>first</b>'"));

    browser
        .wait("document.querySelector('#rooms button[data-room=attic]')?.textContent.includes('The attic')");
    browser.run("document.querySelector('#rooms button[data-room=attic]').click()");
    browser.wait("document.getElementById('state').textContent === 'following room attic'");
    server.http("PUT", "/_/rooms/attic/members/ann", "");
    server.http("POST", "/_/rooms/attic/messages?user=ann", r#"{"data":{"text":"hello"}}"#);
    browser.wait(&format!("{log} === 'hello' && {NEWEST}.innerText.includes('ann')"));
    // rooms are channels, and are listed once
    assert_eq!(
        browser.run("return document.querySelector('#channels button[data-channel=attic]')"),
        json!(null)
    );
}

#[test]
fn a_broken_connection_is_resumed_with_its_version() {
    let server = Server::start(&[], "");
    let mut feed = server.feed();
    feed.apply(json!({"op": "set", "key": "box", "data": "before"}));
    let browser = Browser::open(&format!("http://{}/#box", server.listen));
    browser.wait(&format!("{DOCUMENT}.includes('before')"));
    browser.run("socket.close()");
    feed.apply(json!({"op": "set", "key": "box", "data": "after"}));
    browser.wait("/[?]v=[0-9a-f]+$/.test(socket.url)");
    browser.wait(&format!("{DOCUMENT}.includes('after')"));
}

#[test]
fn what_comes_from_the_server_is_shown_as_text() {
    let server = Server::start(&[], "");
    let markup = "<img src=x onerror='document.title=1'><script>document.title=1</script>";
    let data = json!({markup: markup, "__proto__": {"polluted": 1}, "constructor": markup});
    server.feed().apply(json!({"op": "set", "key": "box", "data": data}));
    let browser = Browser::open(&format!("http://{}/#box", server.listen));
    browser.wait(&format!("{DOCUMENT}.includes('onerror')"));
    server
        .feed()
        .apply(json!({"op": "merge", "key": "box", "data": {"__proto__": {"polluted": 2}, "more": markup}}));
    browser.wait(&format!("{DOCUMENT}.includes('\"polluted\": 2')"));
    assert_eq!(browser.run("return document.querySelectorAll('img, #document script').length"), 0);
    assert_eq!(browser.run("return [document.title, {}.polluted ?? null]"), json!(["fanfare", null]));
}
