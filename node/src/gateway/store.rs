//! The gateway's journal: what it holds, what it sealed, what it was charged.
//!
//! One JSON record a line, appended and synced before the gateway acts on it; rewritten when it has
//! grown. It holds plaintext transactions, so only this user may read it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use super::{hold::End, payer::Ledger};

/// Version of the records.
const VERSION: u32 = 1;
/// The file is rewritten once it is this long and twice as long as after the last time, in bytes.
const COMPACT_BYTES: u64 = 8 << 20;
/// Longest line that is read, in bytes: a transaction or an envelope as hex, and some words.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Record {
    /// The first line: whose journal this is.
    Gateway {
        /// Version of the records.
        version: u32,
        /// The chain.
        genesis_hash: B256,
        /// The payer.
        payer: Address,
    },
    /// A transaction is held.
    Held {
        /// The signed transaction.
        transaction: Bytes,
        /// When it came, in milliseconds since the Unix epoch.
        received_ms: u64,
        /// How often it was sealed anew.
        reseals: u32,
    },
    /// It was sealed. In front of everything that leaves this machine.
    Sealed {
        /// Hash of the transaction.
        hash: B256,
        /// The envelope.
        envelope: Bytes,
    },
    /// An envelope nonce is settled, or free again.
    Freed {
        /// The nonce.
        payer_nonce: u64,
    },
    /// An envelope was charged.
    Charged {
        /// All charges so far.
        ledger: Ledger,
    },
    /// A transaction waits to be sealed anew.
    Requeued {
        /// Hash of the transaction.
        hash: B256,
    },
    /// A transaction is no longer held.
    Ended {
        /// Hash of the transaction.
        hash: B256,
        /// Why.
        end: End,
    },
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error("journal {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A line in its middle is no record; someone changed it.
    #[error("journal {path}, line {line}: {problem}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// It belongs to another chain or payer.
    #[error(
        "journal {path} is of another chain or payer; settle that one, or choose another data_dir"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    first: Record,
    length: u64,
    compacted_length: u64,
    /// Whether half a line may stand behind `length`.
    torn: bool,
}

impl Journal {
    /// Opens or makes a journal, and returns what is in it. A last line that was not written to its
    /// end is cut off: nothing was done on its account.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(
        path: &Path,
        genesis_hash: B256,
        payer: Address,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let first = Record::Gateway { version: VERSION, genesis_hash, payer };
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        let (records, length) = read(path, &file)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            first,
            length,
            compacted_length: length,
            torn: false,
        };
        match records.first() {
            None => journal.rewrite(&[])?,
            Some(found) if *found == journal.first => {
                journal.file.set_len(length).map_err(io)?;
                journal.file.sync_all().map_err(io)?;
            }
            Some(_) => return Err(JournalError::Foreign { path: path.to_owned() }),
        }
        Ok((journal, records.into_iter().skip(1).collect()))
    }

    /// Appends records and waits until the disk has them.
    ///
    /// # Errors
    /// If it could not; the records then do not count.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        let text = encode(records).map_err(|source| self.io(source))?;
        if self.torn {
            // Half a line in the middle would make the rest unreadable.
            self.file.set_len(self.length).map_err(|source| self.io(source))?;
        }
        self.torn = true;
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.io(source))?;
        self.torn = false;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Whether rewriting is worth it.
    pub fn is_long(&self) -> bool {
        self.length >= COMPACT_BYTES && self.length >= 2 * self.compacted_length
    }

    /// Replaces the journal with `records`, all or nothing.
    ///
    /// # Errors
    /// If the disk refuses; the old journal is then still there.
    pub fn rewrite(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut text =
            encode(std::slice::from_ref(&self.first)).map_err(|source| self.io(source))?;
        text.extend(encode(records).map_err(|source| self.io(source))?);
        let new = self.path.with_extension("new");
        let replace = || -> std::io::Result<File> {
            let _ = fs::remove_file(&new);
            let mut file =
                File::options().read(true).append(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            if let Some(folder) = self.path.parent() {
                File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?
                    .sync_all()?;
            }
            Ok(file)
        };
        self.file = replace().map_err(|source| self.io(source))?;
        self.length = text.len() as u64;
        self.compacted_length = self.length;
        self.torn = false;
        Ok(())
    }

    fn io(&self, source: std::io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}

fn encode(records: &[Record]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// All whole lines, and their length together.
fn read(path: &Path, mut file: &File) -> Result<(Vec<Record>, u64), JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), source };
    file.rewind().map_err(io)?;
    let mut reader = BufReader::new(file);
    let (mut records, mut length) = (Vec::new(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut reader, MAX_LINE_BYTES as u64);
        let read = bounded.read_until(b'\n', &mut line).map_err(io)?;
        if line.last() != Some(&b'\n') {
            if read == MAX_LINE_BYTES {
                let problem = "too long".to_owned();
                let path = path.to_owned();
                return Err(JournalError::Corrupt { path, line: records.len() + 1, problem });
            }
            return Ok((records, length));
        }
        let record = serde_json::from_slice(&line).map_err(|error| JournalError::Corrupt {
            path: path.to_owned(),
            line: records.len() + 1,
            problem: error.to_string(),
        })?;
        records.push(record);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(at: u8) -> Record {
        Record::Held { transaction: vec![at; 3].into(), received_ms: 1, reseals: 0 }
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = || Journal::open(&path, B256::ZERO, Address::ZERO);
        let (mut journal, found) = open().unwrap();
        assert_eq!(found, []);
        journal.append(&[held(1), held(2)]).unwrap();
        let whole = fs::read(&path).unwrap();
        drop(journal);

        for cut in 1..10 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut journal, found) = open().unwrap();
            assert_eq!(found, [held(1)], "cut by {cut}");
            journal.append(&[held(3)]).unwrap();
            assert_eq!(open().unwrap().1, [held(1), held(3)]);
        }
        let (mut journal, _) = open().unwrap();
        journal.rewrite(&[held(4)]).unwrap();
        journal.append(&[held(5)]).unwrap();
        assert_eq!(open().unwrap().1, [held(4), held(5)]);
    }

    #[test]
    fn a_changed_or_foreign_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path, B256::ZERO, Address::ZERO).unwrap();
        journal.append(&[held(1)]).unwrap();
        let other = Journal::open(&path, B256::repeat_byte(1), Address::ZERO);
        assert!(matches!(other, Err(JournalError::Foreign { .. })));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"held\"", "\"hold\"")).unwrap();
        let changed = Journal::open(&path, B256::ZERO, Address::ZERO);
        assert!(matches!(changed, Err(JournalError::Corrupt { line: 2, .. })), "{changed:?}");
    }
}
