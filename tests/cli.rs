//! The command line as its users meet it: output, messages and exit codes of the real binary.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread;

use tungstenite::Message;

fn fanfare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    fanfare(arguments).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn out(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

fn err(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

fn config(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, text).expect("it is ours");
    file
}

fn check(text: &str) -> Output {
    run(&["check-config", config(text).path().to_str().expect("its name is text")])
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
    for word in
        ["serve", "pub", "sub", "doctor", "check-config", "default-config", "--listen", "Examples:", "78"]
    {
        assert!(out(&help).contains(word), "{word} is not in {}", out(&help));
    }
    for command in ["serve", "pub", "sub", "doctor", "check-config", "default-config"] {
        assert_eq!(code(&run(&[command, "--help"])), 0, "{command} --help");
    }
}

#[test]
fn version_prints_name_and_version() {
    assert_eq!(out(&run(&["--version"])), concat!("fanfare ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_exits_2() {
    for line in [
        &["dance"] as &[&str],
        &["--listen", "nowhere"],
        &["serve", "--cores", "some"],
        &["--patch", "sometimes"],
        &["check-config"],
        &["sub"],
        &["sub", "a", "--count", "0"],
        &["pub", "--del"],
        &["pub", "--del", "a", "1"],
        &["pub", "--merge", "--patch", "a", "1"],
        &["pub", "a", "no json"],
    ] {
        let output = run(line);
        assert_eq!(code(&output), 2, "{line:?} said {}", err(&output));
        assert!(err(&output).contains("--help"), "{line:?} said {}", err(&output));
    }
}

#[test]
fn a_wrong_file_exits_78_and_names_the_line() {
    let wrong = config("patch = 'auto'\n\n[conn]\nqueue_size = 1\n");
    let path = wrong.path().to_str().expect("its name is text");
    for line in [&["check-config", path] as &[&str], &["serve", "--config", path], &["-c", path]] {
        let output = run(line);
        assert_eq!(code(&output), 78, "{line:?}");
        assert!(
            err(&output).contains(path) && err(&output).contains("line 4"),
            "{line:?} said {}",
            err(&output)
        );
    }
    assert_eq!(code(&run(&["check-config", "/nonexistent/fanfare.toml"])), 78);
}

#[test]
fn settings_without_sense_exit_78() {
    assert_eq!(code(&check("[ooo]\npong_timeout = '1s'")), 78);
    let cores = check("cores = '4095,'");
    assert_eq!(code(&cores), 78);
    assert!(err(&cores).contains("core 4095") && err(&cores).contains("may use"), "{}", err(&cores));
    let variable = fanfare(&["serve"]).env("FANFARE_CONN_QUEUE_BYTES", "much").output().expect("it runs");
    assert_eq!(code(&variable), 78);
    assert!(err(&variable).contains("FANFARE_CONN_QUEUE_BYTES"), "{}", err(&variable));
}

#[test]
fn the_default_file_is_accepted_by_check_config() {
    let default = run(&["default-config"]);
    assert_eq!(code(&default), 0);
    let checked = check(out(&default));
    assert_eq!((code(&checked), out(&checked).ends_with(": ok\n")), (0, true), "{}", err(&checked));
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = taken.local_addr().expect("bound").to_string();
    // The busy admin address ends the start after the settings are read.
    let output = fanfare(&["--admin", &admin]).env("FANFARE_TYPO", "1").output().expect("it runs");
    assert!(err(&output).contains("FANFARE_TYPO"), "{}", err(&output));
    assert_eq!(code(&output), 75);
    assert!(err(&output).contains("--admin") && out(&output).is_empty(), "{}", err(&output));
}

#[test]
fn doctor_prints_each_check() {
    let doctor = run(&["doctor"]);
    for check in ["kernel", "io_uring", "memlock", "open files", "cores", "somaxconn"] {
        assert!(out(&doctor).contains(&format!(" {check} ")), "{check} is not in {}", out(&doctor));
    }
    assert_eq!(code(&doctor), i32::from(out(&doctor).contains("wrong ")), "{}", out(&doctor));
}

/// A feed that takes one connection, and answers each line by what `answer` says; gives the lines it got.
fn feed(answer: fn(usize) -> String) -> (tempfile::TempDir, String, thread::JoinHandle<Vec<String>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("feed.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("pub connects");
        let lines = BufReader::new(stream.try_clone().expect("a file")).lines();
        let mut got = Vec::new();
        for line in lines.map_while(Result::ok) {
            got.push(line);
            stream.write_all(answer(got.len()).as_bytes()).expect("pub reads");
        }
        got
    });
    let path = path.to_str().expect("its name is text").to_owned();
    (folder, path, server)
}

#[test]
fn pub_sends_one_value_and_prints_key_and_version() {
    let (_folder, path, server) =
        feed(|_| "{\"id\":1,\"ok\":true,\"key\":\"things/1\",\"version\":\"18e9\"}\n".into());
    let output = run(&["pub", "--feed", &path, "things/*", "-1.50"]);
    assert_eq!((code(&output), out(&output)), (0, "things/1 18e9\n"), "{}", err(&output));
    let sent = server.join().expect("the feed");
    assert_eq!(sent, ["{\"id\":1,\"op\":\"push\",\"key\":\"things/*\",\"data\":-1.50}"]);
}

#[test]
fn pub_reads_standard_input_and_reports_what_failed() {
    let (_folder, path, server) = feed(|line| match line {
        2 => "{\"id\":3,\"line\":2,\"error\":{\"code\":\"invalid_key\",\"message\":\"no\"}}\n".into(),
        _ => "{\"id\":1,\"ok\":true,\"key\":\"a\",\"version\":\"1\"}\n".into(),
    });
    let mut command = fanfare(&["pub", "--feed", &path]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut input = child.stdin.take().expect("piped");
    input
        .write_all(b"{\"op\":\"del\",\"key\":\"a\"}\n\n{\"op\":\"del\",\"key\":\"-\"}\nnonsense\n")
        .expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), out(&output)), (1, "a 1\n"));
    let said = err(&output);
    assert!(said.contains("3: invalid_key: no\n") && said.contains("4: not an operation"), "{said}");
    assert!(said.contains("2 of 3 lines failed"), "{said}");
    assert_eq!(server.join().expect("the feed").len(), 2);
}

#[test]
fn pub_without_a_server_says_how_to_start_one() {
    let output = run(&["pub", "--feed", "/nonexistent/feed.sock", "a", "1"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("fanfare serve"), "{}", err(&output));
}

/// A server that sends each connection one script of messages and closes it; gives the requested paths.
fn scripted_server(scripts: &'static [&'static [&'static str]]) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().expect("sub connects");
            #[allow(clippy::result_large_err, reason = "tungstenite's type")]
            let note = |request: &tungstenite::handshake::server::Request, response| {
                asked.push(request.uri().to_string());
                Ok(response)
            };
            let mut socket = tungstenite::accept_hdr(stream, note).expect("a handshake");
            for message in *script {
                socket.send(Message::binary(message.as_bytes())).expect("sub reads");
            }
            let _ = socket.close(None);
            while socket.read().is_ok() {}
        }
        asked
    });
    (url, server)
}

const FIRST: &str = r#"{"snapshot":true,"version":"a1","data":[{"data":1.0}]}"#;
const SECOND: &str = r#"{"snapshot":false,"version":"a2","data":[{"op":"add","path":"/0","value":2}]}"#;
const THIRD: &str = r#"{"snapshot":false,"version":"a3","data":[{"op":"remove","path":"/1"}]}"#;

#[test]
fn sub_folds_patches_and_goes_on_from_the_last_version() {
    let (url, server) = scripted_server(&[&[FIRST, SECOND], &[THIRD]]);
    let output = run(&["sub", "/things/*", "--url", &url, "--count", "3"]);
    assert_eq!(
        (code(&output), out(&output)),
        (0, "[{\"data\":1.0}]\n[2,{\"data\":1.0}]\n[2]\n"),
        "{}",
        err(&output)
    );
    assert_eq!(server.join().expect("the server"), ["/things/*", "/things/*?v=a2"]);
}

#[test]
fn sub_asks_anew_where_a_patch_does_not_apply() {
    let (url, server) = scripted_server(&[
        &[FIRST, r#"{"snapshot":false,"version":"a2","data":[{"op":"remove","path":"/7"}]}"#],
        &[FIRST],
    ]);
    let output = run(&["sub", "things/*", "--url", &url, "--count", "2"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(server.join().expect("the server"), ["/things/*", "/things/*"]);
}

#[test]
fn sub_prints_raw_changes_and_ends_without_reconnect() {
    let (url, server) = scripted_server(&[&[FIRST, SECOND]]);
    let output = run(&["sub", "things/*", "--url", &url, "--changes", "--no-reconnect"]);
    assert_eq!(
        (code(&output), out(&output)),
        (1, format!("{FIRST}\n{SECOND}\n").as_str()),
        "{}",
        err(&output)
    );
    server.join().expect("the server");
}

#[test]
fn sub_gives_up_where_the_server_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("sub connects");
        let mut head = BufReader::new(stream.try_clone().expect("a file")).lines();
        while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 21\r\n\r\nooo: key is not valid";
        stream.write_all(answer.as_bytes()).expect("sub reads");
    });
    let output = run(&["sub", "a", "--url", &url]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("400 Bad Request ooo: key is not valid"), "{}", err(&output));
    server.join().expect("the server");
}

/// Answers one request for events with these, in chunks, and breaks off; gives the request's head.
fn send_events(listener: &TcpListener, events: &[&str]) -> String {
    let (stream, _) = listener.accept().expect("somebody follows");
    let mut lines = BufReader::new(&stream).lines().map(|line| line.expect("a line"));
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let mut out =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for event in events {
        let event = format!("{event}\n\n");
        out.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    (&stream).write_all(out.as_bytes()).expect("it reads");
    head.join("\n")
}

#[test]
fn sub_folds_events_and_comes_back_with_its_cursor() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = thread::spawn(move || {
        let first = [
            "retry: 3000",
            "event: connected\ndata: {\"conn_id\":\"x\"}",
            "id: c1\nevent: snapshot\ndata: {\"type\":\"snapshot\",\"key\":\"a/1\",\"version\":\"1\",\"data\":{\"n\":1}}",
            "event: synced\ndata: {\"type\":\"synced\",\"key\":\"a/*\",\"count\":1}",
            ": still here",
            "id: c2\nevent: patch\ndata: {\"type\":\"patch\",\"key\":\"a/1\",\"from\":\"1\",\"version\":\"2\",\"data\":[{\"op\":\"add\",\"path\":\"/m\",\"value\":2}]}",
        ];
        let second = [
            "event: resync_required\ndata: {}",
            "id: d1\nevent: snapshot\ndata: {\"type\":\"snapshot\",\"key\":\"a/2\",\"version\":\"3\",\"data\":[]}",
            "id: d2\nevent: delete\ndata: {\"type\":\"delete\",\"key\":\"a/2\",\"from\":\"3\",\"version\":\"4\"}",
        ];
        [send_events(&listener, &first), send_events(&listener, &second)]
    });
    let output = run(&["sub", "a/*", "--sse", "--url", &url, "--count", "4"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let lines: Vec<&str> = out(&output).lines().collect();
    let want = [
        r#"{"type":"snapshot","key":"a/1","version":"1","data":{"n":1}}"#,
        r#"{"type":"snapshot","key":"a/1","version":"2","data":{"n":1,"m":2}}"#,
        r#"{"type":"snapshot","key":"a/2","version":"3","data":[]}"#,
        r#"{"type":"delete","key":"a/2","version":"4"}"#,
    ];
    assert_eq!(lines, want);
    let [first, second] = server.join().expect("the server's thread");
    assert!(
        first.starts_with("GET /sse?keys=a%2F%2A HTTP/1.1") && !first.contains("Last-Event-ID"),
        "{first}"
    );
    assert!(second.contains("Last-Event-ID: c2"), "{second}");
}

#[test]
fn sub_says_why_events_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody follows");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        while lines.next().is_some_and(|line| !line.expect("a line").is_empty()) {}
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno: ").expect("it reads");
    });
    let output = run(&["sub", "a", "--sse", "--url", &url]);
    server.join().expect("the server's thread");
    assert!(code(&output) == 1 && err(&output).contains("403 Forbidden no:"), "{}", err(&output));
}

#[test]
fn a_default_feed_in_a_folder_where_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("it is ours");
    for arguments in [&["pub", "k", "1"][..], &["serve"]] {
        let mut command = fanfare(arguments);
        let refused = command.env("XDG_RUNTIME_DIR", folder.path()).output().expect("the binary runs");
        assert_eq!(code(&refused), 78, "{}", err(&refused));
        assert!(err(&refused).contains("XDG_RUNTIME_DIR") && err(&refused).contains("--feed"));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was put there");
}
