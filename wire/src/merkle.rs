//! keccak Merkle trees over an ordered list of leaves.
//!
//! A leaf is a 32-byte hash that its maker has separated by a domain of its own. Nodes are
//! keccak256([`domain::MERKLE_NODE`] ‖ left ‖ right); the last node of an odd level moves up
//! unchanged. The root is keccak256([`domain::MERKLE_ROOT`] ‖ number of leaves, u32 big-endian ‖
//! topmost node, or 32 zero bytes without leaves), so a root fixes the shape of its tree and no
//! leaf can pass for a node.

use alloy_primitives::{B256, keccak256};

use crate::{
    codec::{DecodeError, ListReader, ListWriter},
    domain,
};

/// Most siblings a proof may have: the depth of a tree with 2^32 leaves.
pub const MAX_PROOF_SIBLINGS: usize = 32;

/// keccak256 of a domain string followed by fixed-width parts.
pub(crate) fn hash(domain: &[u8], parts: &[&[u8]]) -> B256 {
    let length = domain.len() + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut input = Vec::with_capacity(length);
    input.extend_from_slice(domain);
    for part in parts {
        input.extend_from_slice(part);
    }
    keccak256(input)
}

fn node(left: &B256, right: &B256) -> B256 {
    hash(domain::MERKLE_NODE, &[left.as_slice(), right.as_slice()])
}

fn seal_root(count: u32, top: &B256) -> B256 {
    hash(domain::MERKLE_ROOT, &[&count.to_be_bytes(), top.as_slice()])
}

fn level_up(level: &[B256]) -> Vec<B256> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node(left, right),
            lone => lone[0],
        })
        .collect()
}

/// The root over `leaves`, in order.
///
/// # Panics
/// With more than `u32::MAX` leaves.
pub fn root(leaves: &[B256]) -> B256 {
    let count = u32::try_from(leaves.len()).expect("trees are bounded by the block count");
    seal_root(count, &top(leaves))
}

/// The topmost node over `leaves`, which their root covers together with their number; zero without leaves.
pub fn top(leaves: &[B256]) -> B256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level_up(&level);
    }
    level.first().copied().unwrap_or_default()
}

/// The proof that the leaf at `index` belongs to the tree over `leaves`; `None` if out of range.
pub fn prove(leaves: &[B256], index: u32) -> Option<MerkleProof> {
    let count = u32::try_from(leaves.len()).ok()?;
    if index >= count {
        return None;
    }
    let mut siblings = Vec::new();
    let mut level = leaves.to_vec();
    let mut position = index as usize;
    while level.len() > 1 {
        if let Some(sibling) = level.get(position ^ 1) {
            siblings.push(*sibling);
        }
        level = level_up(&level);
        position /= 2;
    }
    Some(MerkleProof { count, index, siblings })
}

/// Proof that a leaf stands at an index of a tree: siblings from the bottom up, none where a node
/// moved up unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleProof {
    /// Number of leaves in the tree.
    pub count: u32,
    /// Index of the leaf, from 0.
    pub index: u32,
    /// Sibling hashes from the bottom up.
    pub siblings: Vec<B256>,
}

impl MerkleProof {
    /// Whether `leaf` stands at [`Self::index`] of the tree with `root`.
    pub fn verify(&self, root: B256, leaf: B256) -> bool {
        self.top(leaf).is_some_and(|top| seal_root(self.count, &top) == root)
    }

    /// The topmost node of the tree in which `leaf` stands at [`Self::index`]; `None` if no tree of
    /// [`Self::count`] leaves has so many siblings there.
    pub fn top(&self, leaf: B256) -> Option<B256> {
        if self.index >= self.count {
            return None;
        }
        let mut siblings = self.siblings.iter();
        let (mut current, mut position, mut width) = (leaf, self.index, self.count);
        while width > 1 {
            if position ^ 1 < width {
                let sibling = siblings.next()?;
                current = if position % 2 == 0 {
                    node(&current, sibling)
                } else {
                    node(sibling, &current)
                };
            }
            position /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none().then_some(current)
    }

    /// RLP `[count, index, [sibling…]]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut siblings = ListWriter::new();
        for sibling in &self.siblings {
            siblings.bytes(sibling.as_slice());
        }
        ListWriter::new().int(self.count).int(self.index).raw(&siblings.finish()).finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are not the canonical encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut list = ListReader::exact(bytes, "merkle proof")?;
        let count = list.get("count")?;
        let index = list.get("index")?;
        let siblings = list.list("siblings")?.items("siblings", MAX_PROOF_SIBLINGS, |items| {
            items.get::<[u8; 32]>("sibling").map(B256::from)
        })?;
        list.finish()?;
        Ok(Self { count, index, siblings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<B256> {
        (0..count).map(|i| keccak256([i])).collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_nothing_else() {
        for count in 1..=20u8 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for index in 0..u32::from(count) {
                let proof = prove(&leaves, index).expect("in range");
                let leaf = leaves[index as usize];
                assert!(proof.verify(root, leaf), "{index} of {count}");
                assert_eq!(proof.top(leaf), Some(top(&leaves)));
                assert_eq!(MerkleProof::decode(&proof.encode()), Ok(proof.clone()));
                assert!(!proof.verify(root, keccak256(leaf)), "other leaf");
                for other in (0..u32::from(count) + 2).filter(|other| *other != index) {
                    assert!(
                        !MerkleProof { index: other, ..proof.clone() }.verify(root, leaf),
                        "other index"
                    );
                }
                for other in
                    (0..u32::from(count) * 2 + 2).filter(|other| *other != u32::from(count))
                {
                    assert!(
                        !MerkleProof { count: other, ..proof.clone() }.verify(root, leaf),
                        "other count"
                    );
                }
                let mut longer = proof.clone();
                longer.siblings.push(root);
                assert!(!longer.verify(root, leaf), "surplus sibling");
            }
            assert_eq!(prove(&leaves, count.into()), None);
        }
    }

    #[test]
    fn roots_differ_by_order_and_count() {
        let mut seen = std::collections::HashSet::new();
        for count in 0..=16u8 {
            assert!(seen.insert(root(&leaves(count))));
        }
        let mut swapped = leaves(4);
        swapped.swap(1, 2);
        assert!(seen.insert(root(&swapped)));
    }
}
