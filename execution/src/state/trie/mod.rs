//! Merkle-Patricia tries of the state, stored by path and updated a block at a time.
//!
//! [`StateTrie`] is all that the rest of the crate knows of tries; [`PagedTrie`] is what it uses.
//!
//! ```text
//! changes, sorted ─▶ load  every stored row on their way, level by level     (arena)
//!                    apply inserts, removals, splits, collapses, in one walk (apply)
//!                    hash  the changed nodes, deepest level first            (seal)
//!                    store a node in its parent's row, or in a row of its own (row, seal)
//! ```
//!
//! The sixteen subtries under the root know nothing of each other, so threads take them in turn.
//! What comes out is the same for any number of threads.
//!
//! # Rows
//!
//! A node is stored within the row of its parent while its encoding is short, and in a row of its
//! own, under its path, once it is not. Reading and writing a database costs by row more than by
//! byte, so a row holds a branch with the leaves and small branches under it, about a kilobyte.
//! Only the newest state is kept: rows are overwritten.

mod apply;
mod arena;
mod keccak;
mod proof;
mod row;
mod seal;
mod update;

#[cfg(test)]
mod tests;

use alloy_primitives::{B256, Bytes};
pub use alloy_trie::Nibbles;

use super::store::{Column, StoreError};

/// A row to write under a path's [`row_key`], or to delete.
pub type RowWrite = (Vec<u8>, Option<Vec<u8>>);

/// Where a trie finds its stored rows.
pub trait RowSource: Sync {
    /// The column the rows come from, for error messages.
    fn column(&self) -> Column;

    /// The rows stored under some paths, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] if the database failed.
    fn rows(&self, paths: &[Nibbles]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
}

/// A new value for a key, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key. In the tries of the state it is a hash, so that no key begins another.
    pub key: Nibbles,
    /// The value, not empty; `None` removes it. Removing what is not there is no error.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// A change of a key of the state's tries.
    #[must_use]
    pub fn new(key: B256, value: Option<Vec<u8>>) -> Self {
        Self { key: Nibbles::unpack_array(&key.0), value }
    }
}

/// What [`StateTrie::update`] computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The root after the changes.
    pub root: B256,
    /// What the store has to take.
    pub writes: Vec<RowWrite>,
}

/// A Merkle-Patricia trie over stored rows.
pub trait StateTrie: Send + Sync {
    /// Applies changes to the trie with this root. `changes` ascend by key, each key once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store failed, lacks a row or holds a malformed one.
    fn update(
        &self,
        source: &dyn RowSource,
        root: B256,
        changes: &[Change],
        threads: usize,
    ) -> Result<Updated, StoreError>;

    /// The RLP of the nodes from the root to a key, or to where its path leaves the trie.
    ///
    /// # Errors
    ///
    /// As [`Self::update`].
    fn proof(
        &self,
        source: &dyn RowSource,
        root: B256,
        key: &Nibbles,
    ) -> Result<Vec<Bytes>, StoreError>;
}

/// [`StateTrie`] with several nodes in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct PagedTrie;

impl StateTrie for PagedTrie {
    fn update(
        &self,
        source: &dyn RowSource,
        root: B256,
        changes: &[Change],
        threads: usize,
    ) -> Result<Updated, StoreError> {
        update::update(source, root, changes, threads)
    }

    fn proof(
        &self,
        source: &dyn RowSource,
        root: B256,
        key: &Nibbles,
    ) -> Result<Vec<Bytes>, StoreError> {
        proof::proof(source, root, key)
    }
}

/// What a path's row is stored under: the number of nibbles, then two nibbles in a byte. The number
/// comes first so that the rows of one level lie together.
#[must_use]
pub fn row_key(path: &Nibbles) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + path.byte_len());
    push_row_key(path, &mut key);
    key
}

/// Appends the [`row_key`] of a path.
pub fn push_row_key(path: &Nibbles, out: &mut Vec<u8>) {
    // A path has at most 64 nibbles.
    out.push(path.len() as u8);
    out.extend_from_slice(&path.pack());
}

/// Nibbles of the longest key.
const MAX_NIBBLES: usize = 64;

fn damaged(source: &dyn RowSource, what: &'static str) -> StoreError {
    StoreError::damaged(source.column(), what)
}
