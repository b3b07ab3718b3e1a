//! The embedded L1 on disk.
//!
//! ```text
//! <folder>/config.json      how the chain began; fixed
//!          snapshot-N.bin   the chain when generation N began (absent for N = 0)
//!          journal-N.bin    what happened since, appended and synced before anyone sees it
//!          lock
//! ```
//!
//! A new generation begins with a snapshot that is written beside the old one, synced and renamed; from
//! then on the old files count no more and are removed. A crash at any point leaves one whole generation.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use blindfold_settlement::l1::embedded::{
    Config, Embedded, MAX_SNAPSHOT_BYTES, RestoreError, Sink, Wanted,
};
use serde::{Deserialize, Serialize};

/// Bytes of a journal after which a new generation begins, unless the snapshot is larger.
const JOURNAL_BYTES: u64 = 16 << 20;

/// Entries of a journal after which a new generation begins: what is run again at a start.
const JOURNAL_ENTRIES: u64 = 4_096;

/// Largest journal that is read, in bytes.
const MAX_JOURNAL_BYTES: u64 = MAX_SNAPSHOT_BYTES as u64 * 2;

/// Largest `config.json` that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Why the folder gives no chain.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// `config.json` is not what this program wrote.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The chain in the folder began otherwise than is asked for.
    #[error(
        "the chain in {path} has {what} {kept}, not {asked}; use another folder or the same value"
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As it is.
        kept: String,
        /// As asked for.
        asked: String,
    },
    /// Files are damaged.
    #[error("{path}: {source}")]
    Restore {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: RestoreError,
    },
}

/// What must not change, as `config.json` has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fixed {
    version: u32,
    chain_id: u64,
    genesis_timestamp_s: u64,
    base_fee_wei: u64,
    block_gas_limit: u64,
    alloc: Vec<(alloy_primitives::Address, alloy_primitives::U256)>,
}

const VERSION: u32 = 1;

/// Opens the chain in `folder`, or begins one there. Of a chain that exists, the time and base fee of
/// its beginning are its own; chain id and balances must be those asked for.
///
/// # Errors
/// [`DiskError`].
pub fn open(folder: &Path, asked: Config) -> Result<Embedded, DiskError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DiskError::Io { path: path.clone(), source }
    };
    fs::create_dir_all(folder).map_err(io(folder))?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
        .map_err(io(folder))?;
    lock.try_lock().map_err(|_| DiskError::InUse(folder.to_owned()))?;

    let config = fixed(folder, asked)?;
    let generation = newest_generation(folder).map_err(io(folder))?;
    let snapshot_path = snapshot_path(folder, generation);
    let snapshot = match generation {
        0 => None,
        _ => Some(read(&snapshot_path, MAX_SNAPSHOT_BYTES as u64).map_err(io(&snapshot_path))?),
    };
    let path = journal_path(folder, generation);
    let journal = match read(&path, MAX_JOURNAL_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.map_err(io(&path))?,
    };
    let (l1, whole) = Embedded::restore(config, snapshot.as_deref(), &journal)
        .map_err(|source| DiskError::Restore { path: folder.to_owned(), source })?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io(&path))?;
    if whole < journal.len() {
        tracing::warn!(
            target: "blindfold::l1",
            lost = journal.len() - whole,
            "the last block was not written to its end; nobody saw it"
        );
    }
    let whole = whole as u64;
    file.set_len(whole).and_then(|()| file.sync_all()).map_err(io(&path))?;
    let mut disk = Disk {
        folder: folder.to_owned(),
        generation,
        journal: file,
        bytes: whole,
        entries: 0,
        snapshot_bytes: snapshot.map_or(0, |bytes| bytes.len() as u64),
        _lock: lock,
    };
    io::Seek::seek(&mut disk.journal, io::SeekFrom::End(0)).map_err(io(&path))?;
    remove_others(folder, generation);
    l1.set_sink(Box::new(disk));
    Ok(l1)
}

/// The configuration that the chain in the folder began with; written down if it is new.
fn fixed(folder: &Path, mut asked: Config) -> Result<Config, DiskError> {
    let path = folder.join("config.json");
    let wrong = |reason: String| DiskError::Config { path: path.clone(), reason };
    let io = |source| DiskError::Io { path: path.clone(), source };
    let kept = match read(&path, MAX_CONFIG_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fixed = Fixed {
                version: VERSION,
                chain_id: asked.chain_id,
                genesis_timestamp_s: asked.genesis_timestamp_s,
                base_fee_wei: asked.base_fee_wei,
                block_gas_limit: asked.block_gas_limit,
                alloc: asked.alloc.clone(),
            };
            let text =
                serde_json::to_vec_pretty(&fixed).map_err(|error| wrong(error.to_string()))?;
            replace(&path, &text).map_err(io)?;
            return Ok(asked);
        }
        result => result.map_err(io)?,
    };
    let kept: Fixed = serde_json::from_slice(&kept).map_err(|error| wrong(error.to_string()))?;
    let same = |what, kept: String, asked: String| {
        if kept == asked {
            return Ok(());
        }
        Err(DiskError::Other { path: folder.to_owned(), what, kept, asked })
    };
    same("version", kept.version.to_string(), VERSION.to_string())?;
    same("chain id", kept.chain_id.to_string(), asked.chain_id.to_string())?;
    same("balances", format!("{:?}", kept.alloc), format!("{:?}", asked.alloc))?;
    asked.genesis_timestamp_s = kept.genesis_timestamp_s;
    asked.base_fee_wei = kept.base_fee_wei;
    asked.block_gas_limit = kept.block_gas_limit;
    Ok(asked)
}

/// The journal of a generation, open.
struct Disk {
    folder: PathBuf,
    generation: u64,
    journal: File,
    bytes: u64,
    entries: u64,
    snapshot_bytes: u64,
    _lock: File,
}

impl Sink for Disk {
    fn append(&mut self, entry: &[u8]) -> Result<Wanted, String> {
        let written = self.journal.write_all(entry).and_then(|()| self.journal.sync_data());
        written.map_err(|error| {
            format!("{}: {error}", journal_path(&self.folder, self.generation).display())
        })?;
        self.bytes += entry.len() as u64;
        self.entries += 1;
        let full =
            self.bytes > JOURNAL_BYTES.max(self.snapshot_bytes) || self.entries >= JOURNAL_ENTRIES;
        Ok(if full { Wanted::Snapshot } else { Wanted::Nothing })
    }

    fn snapshot(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let next = self.generation + 1;
        let path = journal_path(&self.folder, next);
        let begin = || {
            // The journal first: it is empty, and means nothing before there is a snapshot.
            let journal = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
            journal.sync_all()?;
            replace(&snapshot_path(&self.folder, next), snapshot)?;
            Ok(journal)
        };
        let begun: io::Result<File> = begin();
        self.journal = begun.map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.generation = next;
        (self.bytes, self.entries) = (0, 0);
        self.snapshot_bytes = snapshot.len() as u64;
        remove_others(&self.folder, next);
        Ok(())
    }
}

fn snapshot_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("snapshot-{generation}.bin"))
}

fn journal_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("journal-{generation}.bin"))
}

/// The generation of a file's name, if it is one of ours.
fn generation_of(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.strip_prefix('-')?.strip_suffix(".bin")?.parse().ok()
}

fn newest_generation(folder: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let generation = name.to_str().and_then(|name| generation_of(name, "snapshot"));
        newest = newest.max(generation.unwrap_or(0));
    }
    Ok(newest)
}

/// Removes files of other generations. Failing to is no harm: they do not count.
fn remove_others(folder: &Path, generation: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let of = generation_of(name, "snapshot").or_else(|| generation_of(name, "journal"));
        if of.is_some_and(|of| of != generation) || name.ends_with(".new") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > limit {
        return Err(io::Error::other(format!("{length} bytes, over the limit of {limit}")));
    }
    fs::read(path)
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_settlement::l1::Dropped;

    fn config() -> Config {
        Config::default()
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn a_chain_goes_on_where_it_was() {
        let folder = folder();
        let l1 = open(folder.path(), config()).expect("new");
        for _ in 0..5 {
            l1.mine(0).expect("a block");
        }
        l1.reorg(2, Dropped::Forgotten, 0).expect("two blocks");
        let (head, snapshot) = (l1.head(), l1.snapshot());
        assert!(matches!(open(folder.path(), config()), Err(DiskError::InUse(_))));
        drop(l1);
        let l1 = open(folder.path(), config()).expect("again");
        assert_eq!((l1.head(), l1.snapshot()), (head, snapshot));
    }

    #[test]
    fn generations_follow_each_other() {
        let folder = folder();
        let l1 = open(folder.path(), config()).expect("new");
        let rounds = JOURNAL_ENTRIES + 3;
        for _ in 0..rounds {
            l1.mine(0).expect("a block");
        }
        let head = l1.head();
        drop(l1);
        assert_eq!(newest_generation(folder.path()).expect("readable"), 1);
        assert!(!journal_path(folder.path(), 0).exists(), "the old generation is gone");
        // What a crash in the middle of a snapshot leaves is no generation.
        fs::write(folder.path().join("snapshot-2.new"), b"half").expect("written");
        fs::write(journal_path(folder.path(), 2), b"").expect("written");
        let l1 = open(folder.path(), config()).expect("again");
        assert_eq!(l1.head(), head);
        assert!(!folder.path().join("snapshot-2.new").exists());
    }

    #[test]
    fn a_torn_end_is_cut_off_and_damage_is_refused() {
        let folder = folder();
        let l1 = open(folder.path(), config()).expect("new");
        for _ in 0..3 {
            l1.mine(0).expect("a block");
        }
        drop(l1);
        let path = journal_path(folder.path(), 0);
        let whole = fs::read(&path).expect("there");
        fs::write(&path, &whole[..whole.len() - 7]).expect("written");
        let l1 = open(folder.path(), config()).expect("torn");
        assert_eq!(l1.head().number, 2);
        l1.mine(0).expect("a block");
        drop(l1);
        assert_eq!(open(folder.path(), config()).expect("whole again").head().number, 3);
        let mut damaged = fs::read(&path).expect("there");
        damaged[40] ^= 1;
        fs::write(&path, &damaged).expect("written");
        assert!(matches!(open(folder.path(), config()), Err(DiskError::Restore { .. })));
    }

    #[test]
    fn another_chain_is_refused() {
        let folder = folder();
        drop(open(folder.path(), config()).expect("new"));
        let other = Config { chain_id: 1, ..config() };
        let refused = open(folder.path(), other);
        assert!(matches!(refused, Err(DiskError::Other { what: "chain id", .. })));
        let later = Config { genesis_timestamp_s: 5, ..config() };
        open(folder.path(), later).expect("its beginning is its own");
    }
}
