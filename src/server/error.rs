//! Every way in which a command can fail: one sentence that says what to do, and one exit code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::runtime::error::RuntimeError;

/// Why a command ended without success.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The arguments do not make sense together (clap answers for each alone).
    #[error("{0}\nFor more information, try '--help'.")]
    Usage(String),
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {source}. Check the path and its permissions.", path.display())]
    ConfigUnreadable {
        /// The file named by `--config`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A setting is unknown, malformed, or makes no sense beside the others.
    #[error("{place}: {reason}")]
    ConfigWrong {
        /// The file, the environment variable, or the setting.
        place: String,
        /// What is wrong and what would be right; names the line if `place` is a file.
        reason: String,
    },
    /// Someone else listens there.
    #[error("{addr} is in use. Stop the server that listens there, or choose another address with {flag}.")]
    AddressBusy {
        /// The address asked for.
        addr: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {addr}: {source}. Choose another address with {flag}.")]
    AddressRefused {
        /// The address asked for.
        addr: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The cores did not start, or one ended before its time.
    #[error(transparent)]
    Start(RuntimeError),
    /// No server answers on the feed's socket.
    #[error("no server answers on the feed {}: {source}. Start one with 'fanfare serve', or name its socket with --feed.", path.display())]
    FeedSilent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The feed was lost before every line was answered.
    #[error(
        "the feed closed with {open} of {sent} lines unanswered; whether those were applied is not known."
    )]
    FeedLost {
        /// Lines without a reply.
        open: u64,
        /// Lines sent.
        sent: u64,
    },
    /// The feed refused lines; each was reported as its answer came.
    #[error("{failed} of {sent} lines failed.")]
    FeedRefused {
        /// Lines answered by an error.
        failed: u64,
        /// Lines read.
        sent: u64,
    },
    /// The server will not serve this subscription, however often it is asked.
    #[error("{url}: the server refuses: {reason}")]
    SubscriptionRefused {
        /// What was asked for.
        url: String,
        /// Status and body of its answer.
        reason: String,
    },
    /// The subscription ended and `--no-reconnect` was given.
    #[error("{url}: {reason}")]
    SubscriptionLost {
        /// What was asked for.
        url: String,
        /// Why it ended.
        reason: String,
    },
    /// The documents could not be read, or not all of them.
    #[error("{url}: {reason}")]
    GetFailed {
        /// The server.
        url: String,
        /// What it said, or what happened.
        reason: String,
    },
    /// The doctor found what prevents serving; it is printed already.
    #[error("this machine cannot serve yet: see the lines marked 'wrong' above.")]
    Unfit,
    /// Standard input or output failed.
    #[error("standard input or output: {0}")]
    Stream(#[from] io::Error),
}

impl ServerError {
    /// The process's exit code: 1 runtime error, 2 usage, 75 temporary (try again later), 78 bad settings.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::AddressBusy { .. } => 75,
            Self::Start(
                RuntimeError::FeedTaken { .. } | RuntimeError::Disabled | RuntimeError::Forbidden { .. },
            ) => 75,
            Self::Start(_) => 1,
            Self::ConfigUnreadable { .. } | Self::ConfigWrong { .. } => 78,
            Self::AddressRefused { .. }
            | Self::FeedSilent { .. }
            | Self::FeedLost { .. }
            | Self::FeedRefused { .. }
            | Self::SubscriptionRefused { .. }
            | Self::SubscriptionLost { .. }
            | Self::GetFailed { .. }
            | Self::Unfit
            | Self::Stream(_) => 1,
        }
    }

    /// A setting that is wrong: where it stands, and what would be right.
    pub fn wrong(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::ConfigWrong { place: place.into(), reason: reason.into() }
    }
}

impl From<RuntimeError> for ServerError {
    fn from(error: RuntimeError) -> Self {
        let flag = "--listen";
        match error {
            RuntimeError::Listen { addr, cause } if cause.kind() == io::ErrorKind::AddrInUse => {
                Self::AddressBusy { addr, flag }
            }
            RuntimeError::Listen { addr, cause } => Self::AddressRefused { addr, flag, source: cause },
            error => Self::Start(error),
        }
    }
}
