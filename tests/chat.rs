//! The chat example, in two real browsers.

mod support;

use serde_json::json;
use support::Server;
use support::browser::Browser;

const MESSAGES: &str = "document.getElementById('messages').innerText";
const TYPING: &str = "document.getElementById('typing').textContent";

fn enter(server: &Server, user: &str) -> Browser {
    let browser = Browser::open(&format!("http://{}/_/chat?user={user}&room=attic", server.listen));
    browser.wait("document.getElementById('state').textContent === 'in attic'");
    browser
}

fn say(browser: &Browser, text: &str) {
    browser.run(&format!(
        "const form = document.getElementById('say'); form.elements[0].value = {}; form.requestSubmit()",
        json!(text)
    ));
}

fn person(user: &str, status: &str) -> String {
    format!("document.querySelector('#members li[data-user=\"{user}\"].{status}') !== null")
}

fn row(sequence: u32) -> String {
    format!("document.querySelector('#messages li[data-sequence=\"{sequence}\"]')")
}

fn press(browser: &Browser, sequence: u32, label: &str) {
    browser.run(&format!("{}.querySelector('button[aria-label=\"{label}\"]').click()", row(sequence)));
}

#[test]
fn two_browsers_talk_see_each_other_and_find_the_history_again() {
    let server = Server::start(&[], "");
    let ada = enter(&server, "ada");
    say(&ada, "is anybody <b>here</b>?");
    ada.wait(&format!("{MESSAGES}.includes('is anybody <b>here</b>?')"));

    let bob = enter(&server, "bob");
    bob.wait(&format!("{MESSAGES}.includes('is anybody')"));
    for browser in [&ada, &bob] {
        browser.wait(&person("ada", "online"));
        browser.wait(&person("bob", "online"));
    }
    ada.run("const say = document.getElementById('say').elements[0]; say.value = 'h'; say.oninput()");
    bob.wait(&format!("{TYPING} === 'ada is typing…'"));
    // it ends by itself, although nothing more is said
    bob.wait(&format!("{TYPING} === ''"));

    say(&bob, "I am");
    ada.wait(&format!("{MESSAGES}.includes('I am')"));
    bob.run("const s = document.getElementById('status'); s.value = 'busy'; s.onchange()");
    ada.wait(&person("bob", "busy"));

    // a lost connection comes back to the same room, and nothing is shown twice
    ada.run("socket.close()");
    say(&bob, "still there?");
    ada.wait(&format!("{MESSAGES}.includes('still there?')"));
    let rows = "return [...document.querySelectorAll('#messages li[data-sequence]')].map(row => Number(row.dataset.sequence))";
    assert_eq!(ada.run(rows), json!([1, 2, 3]));

    // messages are marked, changed and deleted for both; the one who comes back finds them so
    press(&ada, 2, "👍");
    bob.wait(&format!("{}.innerText.includes('👍 1')", row(2)));
    press(&bob, 2, "change");
    say(&bob, "I am, quite");
    ada.wait(&format!("{}.innerText.includes('quite')", row(2)));
    press(&bob, 3, "delete");
    ada.wait(&format!("{} === null", row(3)));
    ada.run("location.reload()");
    ada.wait(&format!("/I am, quite.*changed.*👍 1/.test({}?.innerText)", row(2)));
    assert_eq!(ada.run(rows), json!([1, 2]));
    assert_eq!(ada.run("return document.querySelectorAll('#messages b b').length"), 0);

    drop(bob);
    ada.wait(&person("bob", "offline"));
}
