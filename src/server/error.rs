//! Every way in which a command can fail: a message that says what to do, and an exit code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::runtime::error::RuntimeError;

/// Why a command ended without success.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The arguments do not make sense together (clap checks each alone).
    #[error("{0}\nFor more information, try '--help'.")]
    Usage(String),
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {source}. Check the path and its permissions.", path.display())]
    ConfigUnreadable {
        /// The file named by `--config`.
        path: PathBuf,
        /// The system's error.
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
    /// Another process listens there.
    #[error("{addr} is in use. Stop the server that listens there, or choose another address with {flag}.")]
    AddressBusy {
        /// The address.
        addr: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// The system does not allow listening there.
    #[error("cannot listen on {addr}: {source}. Choose another address with {flag}.")]
    AddressRefused {
        /// The address.
        addr: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The process may not open enough files to serve anybody.
    #[error(
        "this process may open {open_files} files, and needs {needed} to serve one client: raise the hard limit (ulimit -Hn, LimitNOFILE= in a unit, --ulimit nofile= of docker)."
    )]
    FewFiles {
        /// How many it may open.
        open_files: u64,
        /// How many it needs.
        needed: u64,
    },
    /// The cores did not start, or one ended unexpectedly.
    #[error(transparent)]
    Start(RuntimeError),
    /// No server answers on the feed's socket.
    #[error("no server answers on the feed {}: {source}. Start one with 'fanfare serve', or name its socket with --feed.", path.display())]
    FeedUnreachable {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The feed closed before every line got its reply.
    #[error(
        "the feed closed with {open} of {sent} lines unanswered; whether those were applied is not known."
    )]
    FeedLost {
        /// Lines without a reply.
        open: u64,
        /// Lines sent.
        sent: u64,
    },
    /// The feed refused lines; each was reported as its reply came.
    #[error("{failed} of {sent} lines failed.")]
    FeedRefused {
        /// Lines that got an error.
        failed: u64,
        /// Lines read.
        sent: u64,
    },
    /// The server refuses this subscription; trying again is of no use.
    #[error("{url}: the server refuses: {reason}")]
    SubscriptionRefused {
        /// The URL of the subscription.
        url: String,
        /// Status and body of its response.
        reason: String,
    },
    /// The subscription ended and `--no-reconnect` was given.
    #[error("{url}: {reason}")]
    SubscriptionLost {
        /// The URL of the subscription.
        url: String,
        /// Why it ended.
        reason: String,
    },
    /// The documents could not be read, or not all of them.
    #[error("{url}: {reason}")]
    GetFailed {
        /// The server.
        url: String,
        /// The server's refusal, or what happened.
        reason: String,
    },
    /// `doctor` found what prevents serving; it is printed already.
    #[error("this machine cannot run the server yet: see the lines marked 'wrong' above.")]
    DoctorFailed,
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
            Self::ConfigUnreadable { .. } | Self::ConfigWrong { .. } | Self::FewFiles { .. } => 78,
            Self::AddressRefused { .. }
            | Self::FeedUnreachable { .. }
            | Self::FeedLost { .. }
            | Self::FeedRefused { .. }
            | Self::SubscriptionRefused { .. }
            | Self::SubscriptionLost { .. }
            | Self::GetFailed { .. }
            | Self::DoctorFailed
            | Self::Stream(_) => 1,
        }
    }

    /// A wrong setting: which one, and what would be right.
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
