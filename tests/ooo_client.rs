//! The npm package `ooo-client` 1.0.0, unmodified, against the running binary.

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

#[test]
fn the_published_client_works_unmodified() {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ooo-client");
    let program = |name: &str| {
        let mut command = Command::new(name);
        command.current_dir(&client);
        command
    };
    if ["node", "npm"].iter().any(|name| !exists(program(name).arg("--version"))) {
        let mut apt = program("apt-get");
        run(
            apt.args(["install", "-y", "nodejs", "npm"]),
            "Node.js and npm are needed: as root, `apt-get install nodejs npm`",
        );
    }
    // npm writes this copy of the lock file last; it is older than ours, or missing, when the modules are stale.
    let changed = |name: &str| client.join(name).metadata().and_then(|file| file.modified()).ok();
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        run(program("npm").args(["ci", "--no-audit", "--no-fund"]), "npm ci in tests/ooo-client failed");
    }
    let server = support::Server::start(&[], "");
    run(
        program("node").arg("--test").env("FANFARE_URL", server.listen.to_string()),
        "the client's tests are red",
    );
}

/// Whether the program can be started at all.
fn exists(command: &mut Command) -> bool {
    match command.output() {
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        other => other.expect("a program that is there starts").status.success(),
    }
}

/// Runs to the end; panics with `otherwise` and the whole output if that is not a success.
fn run(command: &mut Command, otherwise: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("{otherwise}: {e}"));
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{otherwise}\n{out}{err}");
}
