//! Keeps everything a node must remember, in one RocksDB database.
//!
//! # Promises
//!
//! - **Atomic.** The writes of one [`Store::write`] are there all or none, also after a crash. An
//!   executed height is one such write: state, block and indexes.
//! - **A prefix.** All families share one write-ahead log. What a power failure takes is a suffix of
//!   the writes: if a write survived, so did every one before it.
//! - **Durable when said so.** [`Durability::Synced`] returns after fsync, and makes durable all
//!   writes before it. Used for the signing journal and where the engine demands it. Executed
//!   heights are written [`Durability::Buffered`]: they can be computed again from blocks and
//!   openings.
//! - **Exclusive.** One process at a time; a second one is refused with [`StoreError::Locked`].
//! - **Of one chain and version.** Genesis hash and schema are written at creation and compared at
//!   every start.
//! - **No silent loss.** A damaged log in other places than its torn end refuses to open: a node
//!   that forgot what it signed is worse than one that stops.
//!
//! # Caveats
//!
//! Methods block on the disk for a moment (reads, buffered writes) or for an fsync. Nothing is
//! deleted by age yet: see `docs/storage.md`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy_primitives::hex;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Direction, IteratorMode, Options, WriteBatch, WriteOptions,
};

use crate::config::StorageConfig;

mod adapters;
mod error;
mod family;
pub mod marshal;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use family::Family;

/// Version of the set of families and of their keys and values.
pub const SCHEMA_VERSION: u32 = 4;

/// Bytes of unwritten data over all families together (32 MiB).
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// Bytes of unwritten data of one family (8 MiB).
const COLUMN_BUFFER_BYTES: usize = 8 << 20;
/// Bytes of the write-ahead log above which old families are flushed (64 MiB).
const LOG_BYTES: u64 = 64 << 20;
/// Bytes of a record in a write batch besides key and value, at most: tag, family, two lengths.
const RECORD_BYTES: usize = 1 + 5 + 5 + 5;
/// Entries that [`Store::scan`] and [`Store::range`] return at most.
pub const MAX_SCAN: usize = 262_144;

const KEY_SCHEMA: &[u8] = b"schema_version";
const KEY_GENESIS: &[u8] = b"genesis_hash";

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When every reader sees it. A crash of the process keeps it, a power failure may not.
    Buffered,
    /// After fsync: a power failure keeps it and everything written before it.
    Synced,
}

/// One change: family, key, and the new value or `None` to delete.
pub type Write = (Family, Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The database. Cheap to clone; closed with its last clone.
#[derive(Clone)]
pub struct Store {
    db: Arc<DB>,
    path: Arc<Path>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Store {
    /// [`open_within`](Self::open_within) the default bounds.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(path: impl AsRef<Path>, genesis_hash: [u8; 32]) -> Result<Self, StoreError> {
        Self::open_within(path, genesis_hash, &StorageConfig::default())
    }

    /// Opens the database in folder `path`, or creates it for the chain of `genesis_hash`. All families
    /// together cache and hold open as much as `bounds` allow.
    ///
    /// # Errors
    ///
    /// [`StoreError::Folder`], [`StoreError::Locked`], [`StoreError::WrongChain`],
    /// [`StoreError::Schema`], or what the disk says.
    pub fn open_within(
        path: impl AsRef<Path>,
        genesis_hash: [u8; 32],
        bounds: &StorageConfig,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        std::fs::create_dir_all(path)
            .map_err(|source| StoreError::Folder { path: path.to_owned(), source })?;
        let options = database_options(bounds.max_open_files);
        refuse_unknown_families(&options, path)?;
        let cache = Cache::new_lru_cache(bounds.cache_bytes);
        let families = Family::all().map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache))
        });
        let db = DB::open_cf_descriptors(&options, path, families)
            .map_err(|error| StoreError::opening(path, error))?;
        let store = Self { db: Arc::new(db), path: path.into() };
        store.check_identity(genesis_hash)?;
        Ok(store)
    }

    /// The database's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_identity(&self, genesis_hash: [u8; 32]) -> Result<(), StoreError> {
        let path = || PathBuf::from(&*self.path);
        let schema = self.get(Family::Meta, KEY_SCHEMA)?;
        let genesis = self.get(Family::Meta, KEY_GENESIS)?;
        let (Some(schema), Some(genesis)) = (schema, genesis) else {
            // Both are written in the first batch ever, so without them there is nothing else.
            let schema = SCHEMA_VERSION.to_be_bytes().to_vec();
            let writes = vec![
                (Family::Meta, KEY_SCHEMA.to_vec(), Some(schema)),
                (Family::Meta, KEY_GENESIS.to_vec(), Some(genesis_hash.to_vec())),
            ];
            return self.write(writes, Durability::Synced);
        };
        if schema != SCHEMA_VERSION.to_be_bytes() {
            let found = match <[u8; 4]>::try_from(schema.as_slice()) {
                Ok(bytes) => u32::from_be_bytes(bytes).to_string(),
                Err(_) => format!("0x{}", hex::encode(&schema)),
            };
            return Err(StoreError::Schema { path: path(), found, expected: SCHEMA_VERSION });
        }
        if genesis != genesis_hash {
            return Err(StoreError::WrongChain {
                path: path(),
                found: hex::encode(&genesis),
                expected: hex::encode(genesis_hash),
            });
        }
        Ok(())
    }

    /// A value of [`Family::Meta`].
    pub(crate) fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Family::Meta, key)
    }

    /// Sets a value of [`Family::Meta`], durably.
    pub(crate) fn set_meta(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let write = (Family::Meta, key.to_vec(), Some(value.to_vec()));
        self.write(vec![write], Durability::Synced)
    }

    fn cf(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(family.name()).ok_or(StoreError::Family(family.name()))
    }

    /// The value under `key`.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get_cf(self.cf(family)?, key)?)
    }

    /// The values under some keys, in their order. Much cheaper than one by one, more so if they ascend.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let cf = self.cf(family)?;
        let values = self.db.batched_multi_get_cf(cf, keys, keys.is_sorted());
        values.into_iter().map(|value| Ok(value?.map(|bytes| bytes.to_vec()))).collect()
    }

    /// Whether there is a value under `key`, without copying it.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn has(&self, family: Family, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.db.get_pinned_cf(self.cf(family)?, key)?.is_some())
    }

    /// All entries of a small family, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooMany`] if there are more than [`MAX_SCAN`], or if the disk fails.
    pub fn scan(&self, family: Family) -> Result<Vec<Entry>, StoreError> {
        let entries = self.collect(family, IteratorMode::Start, MAX_SCAN + 1)?;
        if entries.len() > MAX_SCAN {
            return Err(StoreError::TooMany { family: family.name(), max: MAX_SCAN });
        }
        Ok(entries)
    }

    /// Up to `limit` (at most [`MAX_SCAN`]) entries with keys from `from` on, ascending.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn range(
        &self,
        family: Family,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mode = IteratorMode::From(from, Direction::Forward);
        self.collect(family, mode, limit.min(MAX_SCAN))
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn last(&self, family: Family) -> Result<Option<Entry>, StoreError> {
        Ok(self.collect(family, IteratorMode::End, 1)?.pop())
    }

    /// Up to `limit` (at most [`MAX_SCAN`]) entries with the largest keys, descending.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn newest(&self, family: Family, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.collect(family, IteratorMode::End, limit.min(MAX_SCAN))
    }

    fn collect(
        &self,
        family: Family,
        mode: IteratorMode<'_>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for entry in self.db.iterator_cf(self.cf(family)?, mode).take(limit) {
            let (key, value) = entry?;
            entries.push((key.into_vec(), value.into_vec()));
        }
        Ok(entries)
    }

    /// Calls `visit` with every entry of `family`, ascending, until it errs. For start-up only.
    ///
    /// # Errors
    ///
    /// If the disk fails, or what `visit` returns.
    pub fn for_each(
        &self,
        family: Family,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for entry in self.db.iterator_cf(self.cf(family)?, IteratorMode::Start) {
            let (key, value) = entry?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    /// Applies `writes` in order, all or none.
    ///
    /// # Errors
    ///
    /// If the disk fails. With [`Durability::Synced`] the writes may then be there or not; never
    /// in part.
    pub fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        let bytes = writes
            .iter()
            .map(|(_, key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_BYTES)
            .sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes);
        for (family, key, value) in &writes {
            let cf = self.cf(*family)?;
            match value {
                Some(value) => batch.put_cf(cf, key, value),
                None => batch.delete_cf(cf, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        Ok(self.db.write_opt(batch, &options)?)
    }

    /// Makes every earlier write durable.
    ///
    /// # Errors
    ///
    /// If the disk fails: then nothing is known about the writes since the last success.
    pub fn sync(&self) -> Result<(), StoreError> {
        Ok(self.db.flush_wal(true)?)
    }

    /// [`sync`](Self::sync) on a thread of its own, if there is a tokio runtime. Without one, as in the
    /// simulator, it happens here.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync), or if the runtime ends meanwhile.
    pub async fn sync_apart(&self) -> Result<(), StoreError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return self.sync();
        }
        let store = self.clone();
        let synced = tokio::task::spawn_blocking(move || store.sync()).await;
        synced.map_err(|_| StoreError::Interrupted)?
    }
}

fn database_options(max_open_files: i32) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_total_wal_size(LOG_BYTES);
    options.set_max_open_files(max_open_files);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    if family.is_bulk() {
        table.set_block_size(64 << 10);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    // Rows of tries are hashes for the most part, which no compression makes shorter.
    options.set_compression_type(if family.is_hashes() {
        DBCompressionType::None
    } else {
        DBCompressionType::Lz4
    });
    options.set_write_buffer_size(COLUMN_BUFFER_BYTES);
    options
}

/// A database of a later version may have families that this one does not know; opening it would
/// fail with RocksDB's own words.
fn refuse_unknown_families(options: &Options, path: &Path) -> Result<(), StoreError> {
    if !path.join("CURRENT").exists() {
        return Ok(());
    }
    let known: Vec<&str> = Family::all().map(Family::name).chain(["default"]).collect();
    let found = DB::list_cf(options, path).map_err(|error| StoreError::opening(path, error))?;
    match found.into_iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(StoreError::Schema {
            path: path.to_owned(),
            found: format!("with unknown column family {unknown:?}"),
            expected: SCHEMA_VERSION,
        }),
    }
}

/// Decodes eight big-endian bytes.
fn height_from(family: Family, bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes =
        bytes.try_into().map_err(|_| StoreError::value(family, "a height of eight bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
