//! The npm package `ooo-client` 1.0.0, unmodified, against the running binary.

mod support;

use std::path::Path;
use std::process::Command;

use support::Server;
use support::tools::need;
use support::tools::run;

#[test]
fn the_published_client_works_unmodified() {
    need(&["node", "npm"], &["nodejs", "npm"]);
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ooo-client");
    // npm writes its copy of the lock file last: older than ours, or missing, it says that the modules are stale.
    let changed = |name: &str| client.join(name).metadata().and_then(|file| file.modified()).ok();
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        let mut npm = Command::new("npm");
        run(
            npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&client),
            "npm ci in tests/ooo-client failed",
        );
    }
    let server = Server::start(&[], "");
    let mut node = Command::new("node");
    node.arg("--test").current_dir(&client).env("FANFARE_URL", server.listen.to_string());
    run(&mut node, "the client's tests are red");
}
