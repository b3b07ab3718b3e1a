//! Merkle proofs of accounts and storage (EIP-1186).

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Decodable as _;
use alloy_trie::{
    EMPTY_ROOT_HASH,
    nodes::{RlpNode, TrieNode},
};

use super::account::Account;
use super::parent::ParentState;
use super::seal::StoredTrie;
use super::store::{Column, StoreError};
use super::trie::{Nibbles, PagedTrie, StateTrie};

/// Slots that one proof request may name.
pub const MAX_PROOF_SLOTS: usize = 1024;

/// Proof of one storage slot against its account's storage root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageProof {
    /// The slot asked for.
    pub slot: U256,
    /// Its value; zero if it is not set.
    pub value: U256,
    /// RLP nodes from the storage root; empty if the storage is.
    pub nodes: Vec<Bytes>,
}

/// Proof of an account, present or absent, against the state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The address asked for.
    pub address: Address,
    /// The account, default if it is not part of the state.
    pub account: Account,
    /// Root of the account's storage trie.
    pub storage_root: B256,
    /// RLP nodes from the state root.
    pub nodes: Vec<Bytes>,
    /// One proof for each slot asked for, in that order.
    pub storage: Vec<StorageProof>,
}

/// Why no proof was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProofError {
    /// The store failed or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The request names too many slots; the caller's fault.
    #[error("{asked} slots asked for, at most {MAX_PROOF_SLOTS} allowed")]
    TooManySlots {
        /// How many were asked for.
        asked: usize,
    },
}

impl ParentState {
    /// Proves an account and some of its slots against [`super::Tip::state_root`].
    ///
    /// # Errors
    ///
    /// [`ProofError`].
    ///
    /// # Source
    ///
    /// EIP-1186.
    pub fn proof(&self, address: Address, slots: &[U256]) -> Result<AccountProof, ProofError> {
        if slots.len() > MAX_PROOF_SLOTS {
            return Err(ProofError::TooManySlots { asked: slots.len() });
        }
        let key = Nibbles::unpack_array(&keccak256(address).0);
        let nodes = PagedTrie.proof(&StoredTrie::accounts(self), self.tip().state_root, &key)?;
        let row = self.row(address)?;
        let storage_root = row.map_or(EMPTY_ROOT_HASH, |row| row.storage_root);
        let incarnation = row.map_or(0, |row| row.incarnation);
        let trie = StoredTrie::storage(self, address, incarnation);
        let storage = slots
            .iter()
            .map(|slot| {
                let value = match row {
                    Some(row) => self.storage_of(address, row.incarnation, *slot)?,
                    None => U256::ZERO,
                };
                let key = Nibbles::unpack_array(&keccak256(slot.to_be_bytes::<32>()).0);
                let nodes = PagedTrie.proof(&trie, storage_root, &key)?;
                Ok(StorageProof { slot: *slot, value, nodes })
            })
            .collect::<Result<_, StoreError>>()?;
        let account = row.map(|row| row.account).unwrap_or_default();
        Ok(AccountProof { address, account, storage_root, nodes, storage })
    }

    /// The nodes of an account's storage trie that are not `known` by their hash, each with its hash, from the root down.
    /// Nothing below a known node is looked at: for who keeps every node it was given, all of that is known too. So
    /// what is asked of this state after every block, and kept, is every storage trie that the account ever had, at the
    /// price of what changed.
    ///
    /// # Errors
    ///
    /// What `known` fails with, or [`StoreError`] if the store failed or is damaged.
    pub fn new_storage_nodes<E: From<StoreError>>(
        &self,
        address: Address,
        mut known: impl FnMut(B256) -> Result<bool, E>,
    ) -> Result<Vec<(B256, Bytes)>, E> {
        let root = self.row(address)?.map_or(EMPTY_ROOT_HASH, |row| row.storage_root);
        let mut found: Vec<(B256, Bytes)> = Vec::new();
        if root == EMPTY_ROOT_HASH {
            return Ok(found);
        }
        let damaged = |what| StoreError::damaged(Column::StorageTrie, what);
        let mut todo = vec![(root, Nibbles::new())];
        while let Some((hash, path)) = todo.pop() {
            if known(hash)? {
                continue;
            }
            // Any key below the node leads past it.
            let mut key = B256::ZERO;
            let packed = path.pack();
            key[..packed.len()].copy_from_slice(&packed);
            let nodes = self.nodes_to(Some(address), root, key)?;
            let node = nodes.into_iter().find(|node| keccak256(node) == hash);
            let node = node.ok_or_else(|| damaged("trie node missing"))?;
            children(&node, path, &mut todo).ok_or_else(|| damaged("trie node malformed"))?;
            found.push((hash, node));
        }
        Ok(found)
    }

    /// The nodes from a root to a key, or to where its path leaves the trie: of the account trie, or of the
    /// storage trie of an account. `root` is that trie's.
    pub(crate) fn nodes_to(
        &self,
        storage_of: Option<Address>,
        root: B256,
        key: B256,
    ) -> Result<Vec<Bytes>, StoreError> {
        let trie = match storage_of {
            None => StoredTrie::accounts(self),
            Some(address) => {
                let incarnation = self.row(address)?.map_or(0, |row| row.incarnation);
                StoredTrie::storage(self, address, incarnation)
            }
        };
        PagedTrie.proof(&trie, root, &Nibbles::unpack_array(&key.0))
    }
}

/// Appends the nodes that a node at `path` names by their hash, with their paths. Nodes inside it name none: they
/// are too short.
fn children(mut node: &[u8], path: Nibbles, into: &mut Vec<(B256, Nibbles)>) -> Option<()> {
    let mut push = |path: Nibbles, child: &RlpNode| {
        into.extend(child.as_hash().map(|hash| (hash, path)));
    };
    match TrieNode::decode(&mut node).ok().filter(|_| node.is_empty())? {
        TrieNode::EmptyRoot | TrieNode::Leaf(_) => {}
        TrieNode::Extension(extension) => push(path.join(&extension.key), &extension.child),
        TrieNode::Branch(branch) => {
            let branch = branch.as_ref();
            for (nibble, child) in branch.children() {
                let mut below = path;
                below.push(nibble);
                child.into_iter().for_each(|child| push(below, child));
            }
        }
    }
    Some(())
}
