//! What can go wrong with the database. Never the fault of a peer.

use std::path::{Path, PathBuf};

use super::Family;

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("cannot create the database folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has the database open.
    #[error(
        "{path} is in use by another process; stop that node first. Do not delete the LOCK file: \
         two nodes with one identity would sign against each other"
    )]
    Locked {
        /// The database's folder.
        path: PathBuf,
    },
    /// The database belongs to another chain.
    #[error(
        "{path} belongs to the chain with genesis hash {found}, not {expected}; choose another \
         data folder or the right genesis file"
    )]
    WrongChain {
        /// The database's folder.
        path: PathBuf,
        /// Genesis hash in the database, in hex.
        found: String,
        /// Genesis hash of the configuration, in hex.
        expected: String,
    },
    /// The database was written by an incompatible version of this software.
    #[error(
        "{path} has schema {found}, this version reads schema {expected}; use the version that wrote it, or start with an empty data folder and catch up"
    )]
    Schema {
        /// The database's folder.
        path: PathBuf,
        /// What the database says.
        found: String,
        /// The version of this software.
        expected: u32,
    },
    /// The disk failed or is full.
    #[error("the disk failed or is full: {0}; free space or replace it, then start again")]
    Disk(#[source] rocksdb::Error),
    /// The database is damaged.
    #[error(
        "the database is damaged: {0}; keep it for inspection, restore the keys and catch up into an empty folder"
    )]
    Damaged(#[source] rocksdb::Error),
    /// A stored value does not decode.
    #[error("a value in column family {family} does not decode: {what}; the database is damaged")]
    Value {
        /// Name of the column family.
        family: &'static str,
        /// What was expected.
        what: String,
    },
    /// A column family is missing.
    #[error("column family {0} is missing")]
    Family(&'static str),
    /// A family holds more entries than its reader is prepared for.
    #[error("column family {family} holds more than {max} entries")]
    TooMany {
        /// Name of the column family.
        family: &'static str,
        /// The bound.
        max: usize,
    },
    /// The database refused for another reason.
    #[error("the database failed: {0}")]
    Engine(#[source] rocksdb::Error),
    /// The thread that waited for the disk is gone: the process is shutting down.
    #[error("interrupted while waiting for the disk")]
    Interrupted,
}

impl StoreError {
    /// A value that does not decode.
    pub fn value(family: Family, what: impl ToString) -> Self {
        Self::Value { family: family.name(), what: what.to_string() }
    }

    pub(super) fn opening(path: &Path, error: rocksdb::Error) -> Self {
        let message = error.to_string();
        let io = error.kind() == rocksdb::ErrorKind::IOError;
        if io && message.contains("LOCK") || message.contains("lock hold by current process") {
            return Self::Locked { path: path.to_owned() };
        }
        error.into()
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            rocksdb::ErrorKind::IOError => Self::Disk(error),
            rocksdb::ErrorKind::Corruption => Self::Damaged(error),
            _ => Self::Engine(error),
        }
    }
}
