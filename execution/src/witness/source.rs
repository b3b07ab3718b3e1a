//! The tries of one state, wherever their nodes come from.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};

use super::trie::{Key, Source, SparseTrie, key};
use crate::state::{Account, StateDiff};

/// Nodes of the account trie (no address) and of the storage tries (their accounts' addresses).
pub(super) trait Tries {
    /// Why there is no node.
    type Error;

    /// The RLP of a node; its keccak256 is `hash`.
    fn node(
        &mut self,
        trie: Option<Address>,
        hash: B256,
        path: &[u8],
    ) -> Result<Vec<u8>, Self::Error>;

    /// The bytes with this hash are no node.
    fn malformed(&self, hash: B256) -> Self::Error;

    /// A leaf holds no account, or no value of a slot.
    fn malformed_leaf(&self, address: Address) -> Self::Error;
}

/// One of the tries.
struct One<'a, T> {
    tries: &'a mut T,
    trie: Option<Address>,
}

impl<T: Tries> Source for One<'_, T> {
    type Error = T::Error;

    fn node(&mut self, hash: B256, path: &[u8]) -> Result<Vec<u8>, T::Error> {
        self.tries.node(self.trie, hash, path)
    }

    fn malformed(&self, hash: B256) -> T::Error {
        self.tries.malformed(hash)
    }
}

fn account_key(address: Address) -> Key {
    key(keccak256(address))
}

fn slot_key(slot: U256) -> Key {
    key(keccak256(slot.to_be_bytes::<32>()))
}

/// The leaf of an account; `None` if the state has none.
pub(super) fn account<T: Tries>(
    tries: &mut T,
    state_root: B256,
    address: Address,
) -> Result<Option<TrieAccount>, T::Error> {
    let source = &mut One { tries, trie: None };
    let Some(leaf) = SparseTrie::get(state_root, source, &account_key(address))? else {
        return Ok(None);
    };
    match exact::<TrieAccount>(&leaf) {
        Some(account) => Ok(Some(account)),
        None => Err(tries.malformed_leaf(address)),
    }
}

/// The value of a slot; zero if the storage has none.
pub(super) fn slot<T: Tries>(
    tries: &mut T,
    address: Address,
    storage_root: B256,
    slot: U256,
) -> Result<U256, T::Error> {
    let source = &mut One { tries, trie: Some(address) };
    let Some(leaf) = SparseTrie::get(storage_root, source, &slot_key(slot))? else {
        return Ok(U256::ZERO);
    };
    match exact::<U256>(&leaf) {
        Some(value) if !value.is_zero() => Ok(value),
        _ => Err(tries.malformed_leaf(address)),
    }
}

/// The state root after these changes. Insertions come before removals, so that no branch collapses which
/// is none in the end: else more nodes would have to be known.
pub(super) fn root_after<T: Tries>(
    tries: &mut T,
    state_root: B256,
    diff: &StateDiff,
) -> Result<B256, T::Error> {
    let mut leaves = Vec::with_capacity(diff.accounts.len());
    for (address, changed) in &diff.accounts {
        let former = account(tries, state_root, *address)?;
        let leaf = match changed.account {
            None => None,
            Some(account) => {
                let former_root = match former {
                    Some(former) if !changed.wiped => former.storage_root,
                    _ => EMPTY_ROOT_HASH,
                };
                let slots = changed.storage.iter().map(|(slot, value)| {
                    (slot_key(*slot), (!value.is_zero()).then(|| alloy_rlp::encode(value)))
                });
                let trie = Some(*address);
                Some(leaf(account, updated(tries, trie, former_root, slots.collect())?))
            }
        };
        leaves.push((account_key(*address), leaf));
    }
    updated(tries, None, state_root, leaves)
}

/// What a trie's root becomes when these values are set and, where there is none, removed.
fn updated<T: Tries>(
    tries: &mut T,
    trie: Option<Address>,
    root: B256,
    changes: Vec<(Key, Option<Vec<u8>>)>,
) -> Result<B256, T::Error> {
    let source = &mut One { tries, trie };
    let mut trie = SparseTrie::new(root);
    let mut removed = Vec::new();
    for (key, value) in changes {
        match value {
            Some(value) => trie.insert(source, &key, value)?,
            None => removed.push(key),
        }
    }
    for key in removed {
        trie.remove(source, &key)?;
    }
    Ok(trie.root())
}

fn leaf(account: Account, storage_root: B256) -> Vec<u8> {
    let Account { nonce, balance, code_hash } = account;
    alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash })
}

/// Decodes canonical RLP without anything after it.
fn exact<T: Decodable + alloy_rlp::Encodable>(rlp: &[u8]) -> Option<T> {
    let mut rest = rlp;
    let value = T::decode(&mut rest).ok()?;
    (rest.is_empty() && alloy_rlp::encode(&value) == rlp).then_some(value)
}
