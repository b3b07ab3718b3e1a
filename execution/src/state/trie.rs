//! Merkle-Patricia tries of the state, keyed by path.
//!
//! [`StateTrie`] is all that the rest of the crate knows. The implementation keeps only the newest
//! version: a node is stored under its nibble path and overwritten in place. When a deletion makes
//! a branch collapse, nodes below it may stay behind; no live node refers to them, and whatever
//! comes to live at their path is written anew before anything refers to it, so they cost a little
//! space and can never be read.

use std::sync::{Arc, Mutex};

use alloy_primitives::{B256, Bytes};
use ethereum_types::H256;
use ethrex_crypto::NativeCrypto;
use ethrex_trie::{Nibbles, Trie, TrieDB, TrieError};

use super::store::{Column, StoreError};

/// Marks the end of a leaf's path in the trie crate's notation. Entries whose path ends with it
/// are copies of values, which the flat tables hold already.
const PATH_TERMINATOR: u8 = 16;

/// Stored nodes: nibble path and RLP.
pub(crate) type NodeWrites = Vec<(Vec<u8>, Vec<u8>)>;

/// Where a trie finds its stored nodes.
pub(crate) trait NodeSource: Send + Sync {
    /// The column the nodes come from, for error messages.
    fn column(&self) -> Column;
    /// The node stored under a nibble path.
    fn node(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A secure trie: keys are hashes already.
pub(crate) trait StateTrie {
    /// Sets a non-empty value.
    fn insert(&mut self, key: B256, value: Vec<u8>) -> Result<(), StoreError>;
    /// Removes a value; absent ones are no error.
    fn remove(&mut self, key: B256) -> Result<(), StoreError>;
    /// The nodes from the root to the key, or to where the path leaves the trie.
    fn proof(&self, key: B256) -> Result<Vec<Bytes>, StoreError>;
    /// The root, and the nodes to store.
    fn finish(&mut self) -> (B256, NodeWrites);
}

/// [`StateTrie`] on `ethrex-trie`.
pub(crate) struct PathTrie {
    trie: Trie,
    column: Column,
    failure: Arc<Mutex<Option<StoreError>>>,
}

impl PathTrie {
    /// Opens the trie with this root. Nothing is read before it is needed.
    pub(crate) fn open(source: Box<dyn NodeSource>, root: B256) -> Self {
        let column = source.column();
        let failure = Arc::default();
        let nodes = Nodes { source, failure: Arc::clone(&failure) };
        Self { trie: Trie::open(Box::new(nodes), H256(root.0)), column, failure }
    }

    /// What made the trie fail: the store's own error if there was one, a hole otherwise.
    fn error(&self) -> StoreError {
        self.failure
            .lock()
            .ok()
            .and_then(|mut failure| failure.take())
            .unwrap_or(StoreError::damaged(self.column, "trie node missing or malformed"))
    }
}

impl StateTrie for PathTrie {
    fn insert(&mut self, key: B256, value: Vec<u8>) -> Result<(), StoreError> {
        self.trie.insert(key.to_vec(), value).map_err(|_| self.error())
    }

    fn remove(&mut self, key: B256) -> Result<(), StoreError> {
        self.trie.remove(key.as_slice()).map(|_| ()).map_err(|_| self.error())
    }

    fn proof(&self, key: B256) -> Result<Vec<Bytes>, StoreError> {
        let nodes = self.trie.get_proof(key.as_slice()).map_err(|_| self.error())?;
        Ok(nodes.into_iter().map(Bytes::from).collect())
    }

    fn finish(&mut self) -> (B256, NodeWrites) {
        let (root, nodes) = self.trie.collect_changes_since_last_hash(&NativeCrypto);
        let nodes = nodes
            .into_iter()
            .map(|(path, node)| (path.into_vec(), node))
            .filter(|(path, node)| path.last() != Some(&PATH_TERMINATOR) && !node.is_empty())
            .collect();
        (B256::from(root.0), nodes)
    }
}

/// Bridges [`NodeSource`] to the trie crate, keeping the store's error for the caller.
struct Nodes {
    source: Box<dyn NodeSource>,
    failure: Arc<Mutex<Option<StoreError>>>,
}

impl TrieDB for Nodes {
    fn get(&self, key: Nibbles) -> Result<Option<Vec<u8>>, TrieError> {
        self.source.node(key.as_ref()).map_err(|error| {
            if let Ok(mut failure) = self.failure.lock() {
                failure.get_or_insert(error);
            }
            TrieError::LockError
        })
    }

    fn put_batch(&self, _: Vec<(Nibbles, Vec<u8>)>) -> Result<(), TrieError> {
        // Changes are collected by `finish`; nothing is written behind the caller's back.
        Err(TrieError::InvalidInput)
    }
}
