//! What execution asks of a database: bytes by column and key, and nothing else.

use std::collections::BTreeMap;
use std::sync::RwLock;

use crate::witness::WitnessFault;

/// A family of keys. A database keeps each one apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Address (20 bytes) → account row.
    Accounts,
    /// Address (20) ‖ incarnation (8) ‖ slot (32) → value, big-endian without leading zeros.
    Storage,
    /// Code hash (32) → code.
    Code,
    /// Path ([`super::trie::row_key`]) → nodes of the account trie.
    AccountTrie,
    /// Address (20) ‖ incarnation (8) ‖ path → nodes of a storage trie.
    StorageTrie,
    /// Height (8, big-endian) → escrow slots that the height changed, with their former values.
    EscrowHistory,
    /// Height (8, big-endian) → EVM block hash, for the last 256 heights and a few more.
    BlockHashes,
    /// Single values: the executed tip.
    Meta,
}

impl Column {
    /// Every column, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Accounts,
        Self::Storage,
        Self::Code,
        Self::AccountTrie,
        Self::StorageTrie,
        Self::EscrowHistory,
        Self::BlockHashes,
        Self::Meta,
    ];

    /// A stable name, fit for a column family.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "state_accounts",
            Self::Storage => "state_storage",
            Self::Code => "state_code",
            Self::AccountTrie => "state_account_trie",
            Self::StorageTrie => "state_storage_trie",
            Self::EscrowHistory => "state_escrow_history",
            Self::BlockHashes => "state_block_hashes",
            Self::Meta => "state_meta",
        }
    }
}

/// Why the state could not answer. Never the fault of a peer, unless the state is a peer's witness.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database itself failed.
    #[error("state database failed: {0}")]
    Backend(String),
    /// A stored value does not decode: the database is damaged or of another version.
    #[error("stored value in {column} is damaged: {what}", column = .column.name())]
    Damaged {
        /// Where the value lies.
        column: Column,
        /// What did not fit.
        what: &'static str,
    },
    /// The state is that of a witness, which does not suffice.
    #[error(transparent)]
    Witness(#[from] WitnessFault),
}

impl StoreError {
    pub(crate) const fn damaged(column: Column, what: &'static str) -> Self {
        Self::Damaged { column, what }
    }
}

/// A read-only byte store. Writes leave execution as [`StateWrites`], so that whoever owns the
/// database can commit them in one batch with the block they belong to.
pub trait StateStore: Send + Sync {
    /// Returns the value under `key`, or `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] if the database failed.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the values under some keys, in their order. A database that can look for many keys at
    /// once does so here.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    fn get_many(
        &self,
        column: Column,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(column, key)).collect()
    }
}

/// One change: column, key, and the new value or `None` to delete.
pub type StateWrite = (Column, Vec<u8>, Option<Vec<u8>>);

/// The changes of one block, sorted by column and key, each key at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateWrites(Vec<StateWrite>);

impl StateWrites {
    /// Sorts `writes`; of several writes to one key the last one counts.
    #[must_use]
    pub fn new(mut writes: Vec<StateWrite>) -> Self {
        // The sort is stable, so equal keys keep their order and the last of them wins below.
        writes.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut unique: Vec<StateWrite> = Vec::with_capacity(writes.len());
        for write in writes {
            match unique.last_mut() {
                Some(last) if last.0 == write.0 && last.1 == write.1 => last.2 = write.2,
                _ => unique.push(write),
            }
        }
        Self(unique)
    }

    /// Looks a key up: `None` if the block did not touch it, `Some(None)` if it deleted it.
    #[must_use]
    pub fn get(&self, column: Column, key: &[u8]) -> Option<Option<&[u8]>> {
        let at =
            self.0.binary_search_by(|(c, k, _)| (*c, k.as_slice()).cmp(&(column, key))).ok()?;
        self.0.get(at).map(|(_, _, value)| value.as_deref())
    }

    /// All writes, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Column, &[u8], Option<&[u8]>)> {
        self.0.iter().map(|(column, key, value)| (*column, key.as_slice(), value.as_deref()))
    }

    /// How many keys are written or deleted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A stored key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory, for tests, simulation and throw-away networks.
#[derive(Debug, Default)]
pub struct MemoryStore {
    columns: RwLock<BTreeMap<Column, Rows>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the writes of one block.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] if a thread panicked while it held the store.
    pub fn apply(&self, writes: &StateWrites) -> Result<(), StoreError> {
        let mut columns = self.columns.write().map_err(|_| poisoned())?;
        for (column, key, value) in writes.iter() {
            let column = columns.entry(column).or_default();
            match value {
                Some(value) => column.insert(key.to_vec(), value.to_vec()),
                None => column.remove(key),
            };
        }
        Ok(())
    }

    /// Everything one column holds, by key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] if a thread panicked while it held the store.
    pub fn entries(&self, column: Column) -> Result<Vec<Entry>, StoreError> {
        let columns = self.columns.read().map_err(|_| poisoned())?;
        let entries = columns.get(&column).into_iter().flatten();
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl StateStore for MemoryStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let columns = self.columns.read().map_err(|_| poisoned())?;
        Ok(columns.get(&column).and_then(|column| column.get(key)).cloned())
    }
}

fn poisoned() -> StoreError {
    StoreError::Backend("lock poisoned".to_owned())
}
