//! The command line: the commands, and what runs each.

pub mod client;
pub mod serve;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use log::LevelFilter;

use crate::server::boot::{self, BootPlan};
use crate::server::cli::client::{GET_HELP, GetArgs, PUB_HELP, PubArgs, SUB_HELP, SubArgs};
use crate::server::cli::serve::ServeArgs;
use crate::server::config::{DEFAULT_CONFIG, Settings};
use crate::server::doctor::probe::Probe;
use crate::server::doctor::{self, Severity};
use crate::server::error::ServerError;

const EXAMPLES: &str = "\
Examples:
  fanfare                                   serve on http://127.0.0.1:8800
  fanfare serve --demo                      serve a built-in data set to look at
  fanfare pub things/1 '{\"name\":\"kettle\"}'  write a document
  fanfare sub 'things/*'                    follow all things
  fanfare doctor                            check this machine

Settings: a flag overrides a FANFARE_... variable, which overrides the file,
which overrides the default.
Exit codes: 0 ok, 1 failed, 2 wrong usage, 75 try again later (an address or the
feed is in use, io_uring is denied), 78 wrong settings.";

/// A broadcast tier: keeps every subscriber's copy of the data up to date, by snapshot and JSON Patch.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Commands>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Run the server (the default command)
    Serve(ServeArgs),
    /// Write documents through the feed of a server on this machine
    #[command(after_help = PUB_HELP)]
    Pub(PubArgs),
    /// Follow a key, pattern or channel, and print each change
    #[command(after_help = SUB_HELP)]
    Sub(SubArgs),
    /// Print the documents of a key or pattern
    #[command(after_help = GET_HELP)]
    Get(GetArgs),
    /// Check whether this machine can run the server, and print the commands that fix what it lacks
    Doctor,
    /// Check a settings file, and that this process may use the cores that it names
    CheckConfig {
        /// The settings file, TOML
        file: PathBuf,
    },
    /// Print a settings file with every setting, its default and its meaning
    DefaultConfig,
}

/// Reads the arguments and runs the command; if that fails, prints why on standard error.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Commands::Serve(cli.serve));
    let level = match &command {
        Commands::Serve(args) => args.log_level,
        _ => None,
    };
    start_log(level);
    match dispatch(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: Commands) -> Result<(), ServerError> {
    match command {
        Commands::Serve(args) => boot::serve(&BootPlan::new(&args.settings()?)?),
        Commands::Pub(args) => args.run(),
        Commands::Sub(args) => args.run(),
        Commands::Get(args) => args.run(),
        Commands::Doctor => {
            let findings = doctor::examine(&Probe::take());
            for finding in &findings {
                print(&format!("{finding}\n"))?;
            }
            match findings.iter().any(|finding| finding.severity == Severity::Wrong) {
                true => Err(ServerError::DoctorFailed),
                false => Ok(()),
            }
        }
        Commands::CheckConfig { file } => {
            BootPlan::new(&Settings::from_file(&file)?)?;
            print(&format!("{}: ok\n", file.display()))
        }
        Commands::DefaultConfig => print(DEFAULT_CONFIG),
    }
}

/// Prints to standard output. A closed pipe is not an error.
fn print(text: &str) -> Result<(), ServerError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn start_log(level: Option<LevelFilter>) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Info).parse_env("FANFARE_LOG");
    if let Some(level) = level {
        builder.filter_level(level);
    }
    builder.init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::server::config::values::Cores;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_serve_with_the_same_flags() {
        let bare = Cli::parse_from(["fanfare", "--demo", "--cores", "0,"]);
        assert!(bare.command.is_none() && bare.serve.demo && bare.serve.cores == Some(Cores::List(vec![0])));
    }
}
