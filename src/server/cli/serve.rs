//! `fanfare serve`: its flags, and the settings that they make with the file and the variables.

use std::path::PathBuf;

use clap::Args;
use log::LevelFilter;

use crate::flow::limits::Access;
use crate::flow::limits::documents::PatchMode;
use crate::server::config::Settings;
use crate::server::config::values::{Address, Cores};
use crate::server::config::variables;
use crate::server::error::ServerError;

/// The flags of `fanfare serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Settings file, TOML ('fanfare default-config' prints one)
    #[arg(short, long, value_name = "FILE", env = "FANFARE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Address for clients; repeatable [default: 127.0.0.1:8800]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<Address>,
    /// Address for operators: /livez, /readyz, /metrics [default: 127.0.0.1:8801]
    #[arg(long, value_name = "ADDR")]
    admin: Option<Address>,
    /// The application's Unix socket [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH")]
    feed: Option<PathBuf>,
    /// Cores to run on: 'all', how many, or a list (0,2 or 0-3 or 0,) [default: all]
    #[arg(long, value_name = "all|N|LIST")]
    pub(super) cores: Option<Cores>,
    /// What anonymous clients may do [default: write on loopback listeners, none elsewhere]
    #[arg(long, value_name = "none|read|write")]
    anonymous: Option<Access>,
    /// When a change is sent as a patch: if that is smaller (auto), never, or always [default: auto]
    #[arg(long, value_name = "auto|never|always")]
    patch: Option<PatchMode>,
    /// Origins of further web pages that may use the server, separated by commas; '*' is all [default: pages of this machine on loopback listeners, the same origin elsewhere]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    origins: Vec<String>,
    /// Further names of the server on loopback listeners (the Host header), separated by commas; '*' is all
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Serve a built-in public data set, to have something to look at
    #[arg(long)]
    pub(super) demo: bool,
    /// Log level on standard error: off, error, warn, info, debug or trace; FANFARE_LOG filters by module [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<LevelFilter>,
}

impl ServeArgs {
    /// The settings: the defaults, overridden by the file, then by variables, then by these flags.
    ///
    /// # Errors
    /// The file cannot be read, or a value is wrong.
    pub fn settings(self) -> Result<Settings, ServerError> {
        let mut settings = match &self.config {
            Some(path) => Settings::from_file(path)?,
            None => Settings::default(),
        };
        // None of our variables has a name or value that is not UTF-8.
        let text = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        for name in variables::apply(&mut settings, text)? {
            log::warn!("{name} is set, but there is no such setting; 'fanfare default-config' lists them");
        }
        override_with(&mut settings.listen, Some(self.listen).filter(|list| !list.is_empty()));
        override_with(&mut settings.admin, self.admin);
        override_with(&mut settings.feed.path, self.feed.map(Some));
        override_with(&mut settings.cores, self.cores);
        override_with(&mut settings.anonymous, self.anonymous.map(Some));
        override_with(&mut settings.patch, self.patch);
        override_with(&mut settings.origins, Some(self.origins).filter(|list| !list.is_empty()));
        override_with(&mut settings.hosts, Some(self.hosts).filter(|list| !list.is_empty()));
        settings.demo |= self.demo;
        Ok(settings)
    }
}

/// Overrides a setting by its flag, if that was given.
fn override_with<T>(setting: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *setting = value;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        args: ServeArgs,
    }

    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, "patch = 'never'\norigins = ['https://a.example']").expect("it is ours");
        let path = file.path().to_str().expect("its name is text");
        let line = ["fanfare", "-c", path, "--patch", "always", "--listen", "[::1]:1", "--listen", "[::1]:2"];
        let read = Serve::parse_from(line).args.settings().expect("right");
        assert_eq!(read.patch, PatchMode::Always);
        assert_eq!(read.listen.len(), 2);
        assert_eq!(read.origins, ["https://a.example"]);
    }
}
