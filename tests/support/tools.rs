//! Programs that the tests need beside the server.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Tests run side by side, and the package manager serves one at a time.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Makes sure that the programs can be started; if one cannot, installs the Debian packages (as root) or fails with a
/// sentence.
pub fn need(programs: &[&str], packages: &[&str]) {
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if programs.iter().all(|program| exists(program)) {
        return;
    }
    let otherwise = format!("{programs:?} are needed: as root, `apt-get install {}`", packages.join(" "));
    // A machine fresh from its image has no package lists.
    run(Command::new("apt-get").args(["update", "-qq"]), &otherwise);
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]);
    run(install.args(packages).env("DEBIAN_FRONTEND", "noninteractive"), &otherwise);
}

fn exists(program: &str) -> bool {
    match Command::new(program).arg("--version").output() {
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        other => other.unwrap_or_else(|e| panic!("{program} does not start: {e}")).status.success(),
    }
}

/// Installs the npm packages of a folder, as its lock file says.
pub fn npm_ci(folder: &Path) {
    // npm writes its copy of the lock file last: older than ours, or missing, it says that the modules are stale.
    let changed = |name: &str| folder.join(name).metadata().and_then(|file| file.modified()).ok();
    if changed("node_modules/.package-lock.json") < changed("package-lock.json") {
        let mut npm = Command::new("npm");
        run(
            npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder),
            &format!("npm ci in {} failed", folder.display()),
        );
    }
}

/// Runs to the end; panics with `otherwise` and the whole output if that is not a success.
pub fn run(command: &mut Command, otherwise: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("{otherwise}: {e}"));
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{otherwise}\n{out}{err}");
}
