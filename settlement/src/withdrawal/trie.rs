//! Ways through a Merkle-Patricia trie by the hashes of its nodes.
//!
//! One walk makes proofs and checks them: it asks for nodes by hash, and whoever answers has them in an archive, or
//! in the proof that is being checked.

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Decodable as _;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, nodes::TrieNode};

/// Why there is no way to a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieFault {
    /// A node is needed and not there.
    #[error("the node {0} is missing")]
    Missing(B256),
    /// The proof has another node where this one is needed.
    #[error("the proof has another node in place of {0}")]
    Other(B256),
    /// What has the hash of a node is none, or none that can stand in a trie of 32-byte keys.
    #[error("the node {0} is malformed")]
    Malformed(B256),
    /// The proof goes on behind its end.
    #[error("the proof has nodes that it does not need")]
    Excess,
}

/// The way to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// RLP of the nodes from the root to the key, or to where its path leaves the trie; without those that lie
    /// inside others. None for an empty trie.
    pub nodes: Vec<Bytes>,
    /// What the trie has at the key.
    pub value: Option<Vec<u8>>,
}

/// Walks from `root` to `key`. `node` gives the RLP of nodes by their hash, and is believed.
///
/// # Errors
/// What `node` fails with, or [`TrieFault::Malformed`].
pub fn walk<E: From<TrieFault>>(
    root: B256,
    key: B256,
    mut node: impl FnMut(B256) -> Result<Bytes, E>,
) -> Result<Way, E> {
    let key = Nibbles::unpack(key);
    let mut way = Way { nodes: Vec::new(), value: None };
    if root == EMPTY_ROOT_HASH {
        return Ok(way);
    }
    let (mut hash, mut depth) = (root, 0);
    let mut encoded = node(root)?;
    way.nodes.push(encoded.clone());
    loop {
        let malformed = || E::from(TrieFault::Malformed(hash));
        // Every turn but the last takes a nibble or more, so there are at most 65.
        let child = match decode(&encoded).ok_or_else(malformed)? {
            TrieNode::EmptyRoot => return Err(malformed()),
            TrieNode::Leaf(leaf) => {
                way.value = (leaf.key == key.slice(depth..)).then_some(leaf.value);
                return Ok(way);
            }
            TrieNode::Extension(extension) => {
                if extension.key.is_empty() {
                    return Err(malformed());
                }
                if !key.slice(depth..).starts_with(&extension.key) {
                    return Ok(way);
                }
                depth += extension.key.len();
                extension.child
            }
            TrieNode::Branch(branch) => {
                let nibble = key.get(depth).ok_or_else(malformed)?;
                depth += 1;
                let branch = branch.as_ref();
                let mut children = branch.children();
                let child = children.find_map(|(at, child)| child.filter(|_| at == nibble));
                let Some(child) = child.cloned() else { return Ok(way) };
                child
            }
        };
        match child.as_hash() {
            Some(next) => {
                hash = next;
                encoded = node(next)?;
                way.nodes.push(encoded.clone());
            }
            None => encoded = Bytes::copy_from_slice(&child),
        }
    }
}

/// What the trie with this root has at a key, by a proof that is believed for its hashes alone.
///
/// # Errors
/// [`TrieFault`], whose fault is the proof's maker's.
pub fn value(root: B256, key: B256, proof: &[Bytes]) -> Result<Option<Vec<u8>>, TrieFault> {
    let mut rest = proof.iter();
    let way = walk(root, key, |hash| {
        let node = rest.next().ok_or(TrieFault::Missing(hash))?;
        if keccak256(node) == hash { Ok(node.clone()) } else { Err(TrieFault::Other(hash)) }
    })?;
    if rest.next().is_some() { Err(TrieFault::Excess) } else { Ok(way.value) }
}

fn decode(mut encoded: &[u8]) -> Option<TrieNode> {
    TrieNode::decode(&mut encoded).ok().filter(|_| encoded.is_empty())
}
