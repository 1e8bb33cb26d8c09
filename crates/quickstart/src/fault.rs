//! Why a first look did not come about.

use std::{io, path::Path};

use kos_authority::StartError;
use kosd::life::LifeError;

/// What failed, in the words of whoever failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// This build was made for the FIPS module, and does not have it.
    #[error(transparent)]
    ModuleMissing(#[from] kosctl::approved::ModuleMissing),
    /// The runtime could not be started.
    #[error("the program cannot start its threads: {0}")]
    Runtime(io::Error),
    /// The authority did not start, or stopped by itself.
    #[error(transparent)]
    Authority(#[from] StartError),
    /// The device did not start, or stopped by itself.
    #[error(transparent)]
    Device(#[from] LifeError),
    /// The API refused something.
    #[error(transparent)]
    Api(#[from] kosctl::Fault),
    /// A file could not be written.
    #[error("`{path}` cannot be written: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// One of the two ends stopped before it should.
    #[error("{0} stopped by itself")]
    Stopped(&'static str),
    /// No heartbeat came.
    #[error("the device did not report within {seconds} s{why}")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
        /// What it said last.
        why: String,
    },
}

impl Fault {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    /// The stable code and what to try.
    pub(crate) fn code(&self) -> (String, String) {
        let known = match self {
            Self::ModuleMissing(missing) => missing.code(),
            Self::Authority(error) => error.code(),
            Self::Device(error) => error.code(),
            Self::Api(fault) => fault.code(),
            Self::File { .. } => kosctl::code::config::FILE_UNWRITABLE,
            Self::Runtime(_) | Self::Stopped(_) | Self::Silent { .. } => kosctl::code::config::INTERNAL,
        };
        (known.to_string(), known.fix().to_owned())
    }

    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::ModuleMissing(missing) => missing.code().exit().code(),
            Self::Authority(error) => error.code().exit().code(),
            Self::Device(error) => error.code().exit().code(),
            Self::Api(fault) => fault.code().exit().code(),
            _ => 1,
        }
    }
}
