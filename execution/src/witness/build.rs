//! Making a witness.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::format::ExecutionWitness;
use super::source::{self, Tries};
use crate::access::AccessRecord;
use crate::state::{Column, ParentState, StateDiff, StoreError};

/// Why no witness was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// The state cannot be read, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The header of a height that `BLOCKHASH` asked for is not at hand.
    #[error("no header of height {height}")]
    NoHeader {
        /// The height.
        height: u64,
    },
    /// Applying the changes to the nodes gives another root than the block has: the record of accesses, the
    /// changes and the block do not belong together.
    #[error("the witness leads to state root {computed}, the block has {claimed}")]
    Root {
        /// The block's.
        claimed: B256,
        /// Computed from the nodes.
        computed: B256,
    },
}

/// Makes the witness of a block: of what it `accessed` and `changed` on top of `parent`, which the store must not
/// have been written past. `header` finds the headers of former heights; the parent's is always asked for.
///
/// `state_root` is the block's, which the witness has to lead to.
///
/// # Errors
///
/// [`BuildError`].
pub fn build_witness(
    parent: &ParentState,
    accessed: &AccessRecord,
    changed: &StateDiff,
    state_root: B256,
    mut header: impl FnMut(u64) -> Option<Header>,
) -> Result<ExecutionWitness, BuildError> {
    let slots = accessed_slots(accessed, changed);
    let tries = &mut StoredTries {
        parent,
        roots: BTreeMap::new(),
        known: HashMap::new(),
        needed: BTreeSet::new(),
    };
    let parent_root = parent.tip().state_root;
    let mut code_hashes = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for (address, slots) in &slots {
        keys.insert(Bytes::copy_from_slice(address.as_slice()));
        keys.extend(slots.iter().map(|slot| Bytes::from(slot.to_be_bytes::<32>())));
        tries.read(None, parent_root, keccak256(address))?;
        let Some(account) = source::account(tries, parent_root, *address)? else { continue };
        if accessed.codes.contains(&account.code_hash) {
            code_hashes.insert(account.code_hash);
        }
        for slot in slots {
            tries.read(
                Some(*address),
                account.storage_root,
                keccak256(slot.to_be_bytes::<32>()),
            )?;
            source::slot(tries, *address, account.storage_root, *slot)?;
        }
    }
    let computed = source::root_after(tries, parent_root, changed)?;
    if computed != state_root {
        return Err(BuildError::Root { claimed: state_root, computed });
    }
    let state = std::mem::take(&mut tries.needed).into_iter().collect();
    let codes: Result<BTreeSet<Bytes>, _> =
        code_hashes.into_iter().map(|hash| parent.code(hash)).collect();

    let newest = parent.tip().height;
    let oldest = accessed.block_hashes.first().copied().unwrap_or(newest).min(newest);
    let headers: Result<Vec<Bytes>, _> = (oldest..=newest)
        .map(|height| match header(height) {
            Some(header) => Ok(alloy_rlp::encode(header).into()),
            None => Err(BuildError::NoHeader { height }),
        })
        .collect();
    Ok(ExecutionWitness {
        state,
        codes: codes?.into_iter().filter(|code| !code.is_empty()).collect(),
        keys: keys.into_iter().collect(),
        headers: headers?,
    })
}

/// Everything a block read or wrote, by account.
fn accessed_slots(
    accessed: &AccessRecord,
    changed: &StateDiff,
) -> BTreeMap<Address, BTreeSet<U256>> {
    let mut slots: BTreeMap<Address, BTreeSet<U256>> = BTreeMap::new();
    for access in accessed.positions.iter().flatten() {
        let of = slots.entry(access.address).or_default();
        of.extend(&access.reads);
        of.extend(access.writes.iter().map(|(slot, _)| slot));
    }
    for (address, account) in &changed.accounts {
        slots.entry(*address).or_default().extend(account.storage.keys());
    }
    slots
}

/// The tries of a stored state, and the nodes that were taken from them.
struct StoredTries<'a> {
    parent: &'a ParentState,
    /// Roots of the tries that were looked into.
    roots: BTreeMap<Option<Address>, B256>,
    /// Nodes read so far.
    known: HashMap<B256, Bytes>,
    /// Those of them that were needed.
    needed: BTreeSet<Bytes>,
}

impl StoredTries<'_> {
    /// Reads the nodes on the way to a key.
    fn read(&mut self, trie: Option<Address>, root: B256, key: B256) -> Result<(), StoreError> {
        self.roots.insert(trie, root);
        for node in self.parent.nodes_to(trie, root, key)? {
            self.known.insert(keccak256(&node), node);
        }
        Ok(())
    }
}

impl Tries for StoredTries<'_> {
    type Error = StoreError;

    fn node(
        &mut self,
        trie: Option<Address>,
        hash: B256,
        path: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        if !self.known.contains_key(&hash) {
            // Beside the way to what was accessed: any key below the node leads to it.
            if let Some(root) = self.roots.get(&trie).copied() {
                self.read(trie, root, key_below(path))?;
            }
        }
        let missing = StoreError::damaged(Column::AccountTrie, "trie node missing");
        let node = self.known.get(&hash).ok_or(missing)?;
        self.needed.insert(node.clone());
        Ok(node.to_vec())
    }

    fn malformed(&self, _: B256) -> StoreError {
        StoreError::damaged(Column::AccountTrie, "trie node malformed")
    }

    fn malformed_leaf(&self, _: Address) -> StoreError {
        StoreError::damaged(Column::AccountTrie, "trie leaf malformed")
    }
}

/// A key that begins with these nibbles.
fn key_below(path: &[u8]) -> B256 {
    let mut key = B256::ZERO;
    for (at, nibble) in path.iter().enumerate() {
        if let Some(byte) = key.0.get_mut(at / 2) {
            *byte |= if at % 2 == 0 { nibble << 4 } else { *nibble };
        }
    }
    key
}
