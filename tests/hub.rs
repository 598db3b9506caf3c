//! The hub of the real binary: the seeds' clients as their users write them, and the commands.

mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use support::FANFARE;
use support::Server;
use support::hub::Hub;
use support::wait_for;

/// Publishes and waits until that is done.
fn publish(server: &Server, channel: &str, data: Value) -> Value {
    server.feed().apply(json!({"op": "publish", "channel": channel, "data": data}))
}

/// Waits until so many connections are subscribed to a channel.
fn subscribed(server: &Server, channel: &str, count: u64) {
    wait_for("the subscription", || {
        let state = server.http("GET", "/?api=state", "").json();
        let pools = state["pools"].as_array().expect("a list").clone();
        pools.iter().any(|pool| pool["key"] == channel && pool["connections"] == count).then_some(())
    });
}

/// toutago's hook connects without a subprotocol and says nothing; its `on` in `setup()` comes too early to subscribe.
#[test]
fn toutagos_hook_in_its_usual_form_gets_every_channel() {
    let server = Server::start(&[], "[hub]\nimplicit_channels = \"all\"\n");
    let mut hook = Hub::open(server.listen, "ws");
    let mut chosen = Hub::open(server.listen, "ws?channels=chat");
    subscribed(&server, "chat", 1);
    // both have everybody's channel, and the hook has a part of all others at each of the two shards
    subscribed(&server, "*", 4);
    // five in one tick are five frames
    let mut feed = server.feed();
    for n in 0..5 {
        feed.send(
            json!({"op": "publish", "channel": "chat", "type": "said", "data": {"n": n}})
                .to_string()
                .as_bytes(),
        );
    }
    for n in 0..5 {
        for listener in [&mut hook, &mut chosen] {
            let frame = listener.frame();
            let seen = (&frame["channel"], &frame["type"], &frame["data"]["n"]);
            assert_eq!(seen, (&json!("chat"), &json!("said"), &json!(n)));
        }
    }
    publish(&server, "news", json!(1));
    publish(&server, "*", json!("all"));
    assert_eq!(hook.frame()["channel"], "news");
    assert_eq!((hook.frame()["data"].clone(), chosen.frame()["data"].clone()), (json!("all"), json!("all")));
    // `on` for an open socket subscribes; the first subscription ends what was given for want of one
    hook.send_text(r#"{"type":"subscribe","channel":"news"}"#);
    subscribed(&server, "news", 1);
    publish(&server, "chat", json!(2));
    publish(&server, "news", json!(3));
    assert_eq!(hook.frame()["data"], 3);
    hook.send_text(r#"{"type":"unsubscribe","channel":"news"}"#);
    hook.send_text("nonsense");
    hook.send_text(r#"{"type":"unknown"}"#);
    wait_for("the end of the subscription", || {
        let state = server.http("GET", "/?api=state", "").json().to_string();
        (!state.contains(r#""key":"news""#)).then_some(())
    });
    publish(&server, "news", json!(4));
    hook.silent();
}

/// Without that setting a connection gets what it subscribes to, whenever it does, and never an acknowledgement.
#[test]
fn a_subscription_made_after_connecting_takes_effect() {
    let server = Server::start(&[], "");
    // nobody listens: publishing does not wait for anybody
    publish(&server, "chat", json!(0));
    let mut hook = Hub::open(server.listen, "ws/app");
    hook.send_text(r#"{"type":"subscribe","channel":"chat"}"#);
    subscribed(&server, "chat", 1);
    publish(&server, "other", json!(1));
    publish(&server, "chat", json!(2));
    let frame = hook.frame();
    assert_eq!((&frame["data"], &frame["sequence"]), (&json!(2), &json!(2)));
    hook.silent();
}

/// forge's routing table (rows of rooms have their own test), row by row.
#[test]
fn forges_routing_table_row_by_row() {
    let server = Server::start(&[], "");
    let mut ann = Hub::open(server.listen, "ws?user=ann&session_id=&channels=c");
    let mut bob = Hub::open(server.listen, "ws?user=bob&session_id=");
    subscribed(&server, "c", 1);
    // message + channel_id: to the channel, the sender included, under the sender's own name
    ann.send(
        &json!({"type": "message", "channel_id": "c", "data": {"t": 1}, "user_id": "bob", "id": "mine"}),
    );
    let frame = ann.frame();
    assert_eq!(
        (&frame["user_id"], &frame["channel_id"], &frame["data"]["t"]),
        (&json!("ann"), &json!("c"), &json!(1))
    );
    assert!(frame["id"] != "mine" && frame["timestamp"].is_string() && frame["sequence"] == 1, "{frame}");
    // not subscribed: rejected with forge's code and the client's id
    bob.send(&json!({"type": "message", "channel_id": "c", "data": 1, "id": "m7"}));
    let error = bob.frame();
    assert_eq!((&error["type"], &error["event"]), (&json!("error"), &json!("message.rejected")));
    assert_eq!(
        (&error["data"]["code"], &error["data"]["rejected_id"]),
        (&json!("send_denied"), &json!("m7"))
    );
    // neither; join, leave and typing without a room; system, unknown and empty types: silence
    for frame in [
        json!({"type": "message", "data": 1}),
        json!({"type": "join"}),
        json!({"type": "leave"}),
        json!({"type": "typing", "data": true}),
        json!({"type": "system", "data": 1}),
        json!({"type": "dance"}),
        json!({"type": ""}),
    ] {
        bob.send(&frame);
    }
    bob.silent();
    // wrong data: forge's words
    bob.send(&json!({"type": "typing", "room_id": "r", "data": "yes"}));
    assert_eq!(bob.frame()["data"]["message"], "invalid typing data");
    bob.send(&json!({"type": "presence", "data": 5}));
    assert_eq!(bob.frame()["data"]["message"], "invalid presence data");
    bob.send(&json!({"type": "presence", "data": "asleep"}));
    assert_eq!(bob.frame()["data"]["message"], "invalid status");
    ann.silent();
}

/// forge's generated channels client speaks `action`, and waits for `subscribed` and `unsubscribed`.
#[test]
fn the_generated_channels_client_gets_what_it_waits_for() {
    let server = Server::start(&[], "");
    let mut one = Hub::open(server.listen, "ws");
    one.send(&json!({"action": "subscribe", "channel_id": "c"}));
    assert_eq!(one.wait("subscribed")["channel_id"], "c");
    one.send(&json!({"action": "publish", "channel_id": "c", "data": {"x": 1}}));
    let message = one.wait("message");
    assert_eq!((&message["channel_id"], &message["data"]["x"]), (&json!("c"), &json!(1)));
    assert!(message["id"].is_string() && message["timestamp"].is_string());
    one.send(&json!({"action": "unsubscribe", "channel_id": "c"}));
    assert_eq!(one.wait("unsubscribed")["channel_id"], "c");
    one.send(&json!({"action": "dance", "channel_id": "c"}));
    let error = one.wait("error");
    assert_eq!((&error["channel_id"], &error["error"]), (&json!("c"), &error["data"]["message"]));
}

#[test]
fn what_was_missed_comes_back_and_a_restart_is_told_of() {
    let rule = "[[rule]]\nchannel = \"h\"\nhistory = 3\n";
    let server = Server::start(&[], rule);
    let mut first = Hub::native(server.listen, "ws");
    let reply = first.ask(json!({"type": "subscribe", "channel": "h"}));
    assert_eq!(
        (&reply["type"], &reply["offset"], &reply["recovered"]),
        (&json!("subscribed"), &json!(0), &json!(false))
    );
    let epoch = reply["epoch"].clone();
    for n in 1..=4 {
        publish(&server, "h", json!(n));
    }
    let recover = |hub: &mut Hub, epoch: &Value, offset: u64| {
        hub.ask(json!({"type": "subscribe", "channel": "h", "recover": {"epoch": epoch, "offset": offset}}))
    };
    let mut again = Hub::native(server.listen, "ws");
    assert_eq!(recover(&mut again, &epoch, 2)["recovered"], true);
    let missed: Vec<Value> = (0..2).map(|_| again.frame()["data"].clone()).collect();
    assert_eq!(missed, [3, 4]);
    let mut late = Hub::native(server.listen, "ws");
    let reply = recover(&mut late, &epoch, 0);
    assert_eq!((&reply["recovered"], &reply["offset"]), (&json!(false), &json!(4)));
    let asked = late.ask(json!({"type": "history", "channel": "h", "limit": 2}));
    let found: Vec<&Value> =
        asked["messages"].as_array().expect("a list").iter().map(|m| &m["data"]).collect();
    assert_eq!(found, [4, 3]);
    drop(server);
    let server = Server::start(&[], rule);
    publish(&server, "h", json!("new"));
    let mut again = Hub::native(server.listen, "ws");
    let reply = recover(&mut again, &epoch, 1);
    assert!(reply["recovered"] == false && reply["epoch"] != epoch, "{reply}");
    again.silent();
}

#[test]
fn whoever_can_understand_it_is_told_why_it_is_closed() {
    let mut server = Server::start(&[], "");
    let mut crowd: Vec<Hub> = (0..5).map(|_| Hub::native(server.listen, "ws?user=ann")).collect();
    crowd.iter_mut().for_each(|hub| assert_eq!(hub.ask(json!({"type": "heartbeat"}))["type"], "heartbeat"));
    let mut sixth = Hub::native(server.listen, "ws?user=ann");
    let told = sixth.wait("disconnect");
    assert_eq!((&told["code"], &told["reconnect"]), (&json!(3009), &json!(true)));
    assert!(sixth.next(support::PATIENCE).is_none());
    assert_eq!(sixth.closed.expect("a close frame").0, 3009);
    let mut plain = Hub::open(server.listen, "ws?channels=a");
    let mut forge = Hub::open(server.listen, "ws?session_id=&channels=a");
    subscribed(&server, "a", 2);
    let ending = std::thread::spawn(move || {
        server.stop(Signal::TERM);
    });
    assert_eq!(forge.frame()["event"], "server_shutdown");
    let told = forge.frame();
    assert_eq!(
        (&told["type"], &told["code"], &told["reconnect"]),
        (&json!("disconnect"), &json!(1001), &json!(true))
    );
    assert!(plain.next(support::PATIENCE).is_none(), "a plain one gets the close frame alone");
    assert_eq!(plain.closed.expect("a close frame").0, 1001);
    drop((forge, crowd));
    ending.join().expect("the server ends");
}

#[test]
fn the_commands_publish_and_follow() {
    let server = Server::start(&[], "[[rule]]\nchannel = \"n*\"\nhistory = 10\n");
    let mut follower = Command::new(FANFARE);
    follower.args(["sub", "--channel", "news", "--count", "3", "--url", &format!("ws://{}", server.listen)]);
    let mut follower = follower.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("sub starts");
    subscribed(&server, "news", 1);
    let publish = |args: &[&str], input: Stdio| {
        let mut command = Command::new(FANFARE);
        command.arg("pub").arg("--feed").arg(&server.feed).args(args).stdin(input);
        let output = command.output().expect("pub ends");
        (output.status.success(), String::from_utf8(output.stdout).expect("text"))
    };
    let done = publish(&["--channel", "news", r#"{"a":1}"#], Stdio::null());
    assert_eq!(done, (true, "news 1\n".to_owned()));
    assert!(publish(&["--channel", "other", "1"], Stdio::null()).0);
    assert!(publish(&["--channel", "news", "--type", "alert", "2"], Stdio::null()).0);
    let file = server.dir.path().join("lines");
    std::fs::write(&file, "3\n4\n").expect("it is ours");
    let done = publish(&["--channel", "news"], std::fs::File::open(&file).expect("it is there").into());
    assert_eq!(done, (true, "news 3\nnews 4\n".to_owned()));
    let lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let got: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.expect("text")).expect("JSON")).collect();
    assert!(follower.wait().expect("sub ends").success());
    let seen: Vec<(&Value, &Value)> = got.iter().map(|frame| (&frame["type"], &frame["data"])).collect();
    let [message, alert] = ["message", "alert"].map(Value::from);
    assert_eq!(seen, [(&message, &json!({"a": 1})), (&alert, &json!(2)), (&message, &json!(3))]);
    let refused = publish(&["--channel", "$x", "1"], Stdio::null());
    assert!(!refused.0);
}
