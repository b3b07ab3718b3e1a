//! The same update by `ethrex-trie`, used plainly: a row for every node, under its nibble path.

use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use blindfold_execution::state::trie::Change;
use ethereum_types::H256;
use ethrex_crypto::NativeCrypto;
use ethrex_trie::{Nibbles, Trie, TrieDB, TrieError};

use crate::world::Rows;

/// Marks the end of a leaf's path in the library's notation. Entries whose path ends with it are
/// copies of values; leaving them out makes the baseline faster.
const PATH_TERMINATOR: u8 = 16;

#[derive(Clone)]
struct Nodes(Rows);

impl TrieDB for Nodes {
    fn get(&self, key: Nibbles) -> Result<Option<Vec<u8>>, TrieError> {
        Ok(self.0.get(key.as_ref()))
    }

    fn put_batch(&self, _: Vec<(Nibbles, Vec<u8>)>) -> Result<(), TrieError> {
        Err(TrieError::InvalidInput)
    }
}

/// Applies changes to the trie with this root, writes what it says and returns the new root.
pub fn update(rows: &Rows, root: B256, changes: &[Change]) -> B256 {
    let nodes = Box::new(Nodes(rows.clone()));
    let mut trie =
        if root == EMPTY_ROOT_HASH { Trie::new(nodes) } else { Trie::open(nodes, H256(root.0)) };
    for change in changes {
        let value = change.value.clone().expect("only insertions");
        trie.insert(change.key.pack().to_vec(), value).expect("a sound trie");
    }
    let (root, nodes) = trie.collect_changes_since_last_hash(&NativeCrypto);
    let nodes = nodes.into_iter().map(|(path, node)| (path.into_vec(), node));
    let kept =
        nodes.filter(|(path, node)| path.last() != Some(&PATH_TERMINATOR) && !node.is_empty());
    rows.write(kept.map(|(path, node)| (path, Some(node))).collect());
    B256::from(root.0)
}
