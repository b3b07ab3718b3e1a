//! Merkle proofs of accounts and storage (EIP-1186).

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;

use super::account::Account;
use super::parent::ParentState;
use super::seal::StoredTrie;
use super::store::StoreError;
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
