//! The npm package `ooo-client` 1.0.0, unmodified, against the running binary.

mod support;

use std::path::Path;
use std::process::Command;

use support::Server;
use support::tools::need;
use support::tools::npm_ci;
use support::tools::run;

#[test]
fn the_published_client_works_unmodified() {
    need(&["node", "npm"], &["nodejs", "npm"]);
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ooo-client");
    npm_ci(&client);
    let server = Server::start(&[], "");
    let mut node = Command::new("node");
    node.arg("--test").current_dir(&client).env("FANFARE_URL", server.listen.to_string());
    run(&mut node, "the client's tests are red");
}
