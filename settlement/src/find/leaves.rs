//! The leaves that a poster may have made its roots of, guessed until the roots are right.

use alloy_primitives::B256;
use blindfold_wire::{MerkleProof, order_root};

use super::{Posted, PostedOpening, Search};
use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, Trees, signature_hash},
    codec::{self, BatchData, CodecError, PostedItem},
    derive::{self, ChainRules},
    evidence::BatchLeaf,
};

impl Search<'_> {
    /// The posted items with the ids that they lead to. What is posted as it should be is not sealed again.
    pub(super) fn posted_items(&self) -> Vec<Vec<PostedOpening>> {
        let Some(data) = &self.data else { return Vec::new() };
        let items = data.heights.iter().zip(self.history).map(|(posted, height)| {
            let known = height.opened.items();
            let items = posted.items.iter().enumerate().map(|(position, item)| {
                let expected = known.get(position);
                let expected = expected
                    .filter(|known| PostedItem::new(&known.envelope, &known.opening) == *item);
                let rebuilt = match expected {
                    Some(known) => Some(known.envelope.id()),
                    None => derive::rebuilt_id(self.chain, item),
                };
                PostedOpening { rebuilt, opening: item.opening() }
            });
            items.collect()
        });
        items.collect()
    }

    /// Looks for leaves that lead to the header's roots.
    pub(super) fn guess(&mut self) {
        let openings = [Ids::Certified, Ids::Rebuilt].map(|ids| self.posted_leaves(ids));
        let mut candidates = vec![self.certified_leaves()];
        candidates.extend(openings.into_iter().flatten());
        let opening_trees =
            candidates.into_iter().map(|leaves| Trees::from_leaves(Vec::new(), leaves));
        let root = self.header().opening_root;
        self.openings = opening_trees.into_iter().find(|trees| trees.opening_root() == root);

        let root = self.header().accumulator_root;
        let roots = self.rebuilt_roots();
        let choices = Choice::all().take(if self.data.is_some() { usize::MAX } else { 1 });
        self.accumulator = choices
            .map(|choice| Trees::from_leaves(self.height_leaves(&roots, choice), Vec::new()))
            .find(|trees| trees.accumulator_root() == root);
    }

    fn certified_leaves(&self) -> Vec<OpeningLeaf> {
        self.history.iter().flat_map(|h| crate::batch::opening_leaves(&h.opened)).collect()
    }

    /// Leaves of the posted openings, under the ids of one kind.
    fn posted_leaves(&self, ids: Ids) -> Option<Vec<OpeningLeaf>> {
        self.data.as_ref()?;
        let mut leaves = Vec::new();
        for (index, items) in self.items.iter().enumerate() {
            for (position, item) in items.iter().enumerate() {
                let certified = self.ids[index].get(position).copied();
                let id = match ids {
                    Ids::Certified => certified.or(item.rebuilt),
                    Ids::Rebuilt => item.rebuilt.or(certified),
                };
                let position = u32::try_from(position).ok()?;
                leaves.push(OpeningLeaf::of(self.height(index), position, id?, &item.opening));
            }
        }
        Some(leaves)
    }

    /// Leaves of all heights, each field from the data or from the history. Of the last leaf L1 has seen to all
    /// but the signature.
    fn height_leaves(&self, roots: &[B256], choice: Choice) -> Vec<AccumulatorLeaf> {
        let last = self.history.len() - 1;
        let mut offset = 0u32;
        let mut below = None;
        let mut leaves = Vec::with_capacity(self.history.len());
        for (index, height) in self.history.iter().enumerate() {
            let commitment = height.opened.commitment();
            let mut leaf = AccumulatorLeaf::of(commitment, &height.signed.signature, offset);
            let mut count = commitment.count;
            let posted = self.data.as_ref().and_then(|data| data.heights.get(index));
            if let (Some(posted), Some(root)) = (posted, roots.get(index)) {
                if choice.signature {
                    leaf.signature_hash = signature_hash(&posted.signature);
                }
                if choice.order_root && index != last {
                    leaf.order_root = *root;
                }
                let parent = below.filter(|_| choice.digest == Digest::Chained);
                let place =
                    (commitment.epoch, commitment.height, parent.unwrap_or(commitment.parent));
                let rebuilt = derive::commitment_of(self.chain, place, posted, *root).digest();
                below = Some(rebuilt);
                if choice.digest != Digest::Certified && index != last {
                    leaf.digest = rebuilt;
                }
                if choice.count {
                    count = u32::try_from(posted.items.len()).unwrap_or(u32::MAX);
                }
            }
            if index == last {
                leaf.offset = self.header().opening_count.saturating_sub(commitment.count);
            }
            leaves.push(leaf);
            offset = offset.saturating_add(count);
        }
        leaves
    }

    /// Order roots of what was posted, by height.
    fn rebuilt_roots(&self) -> Vec<B256> {
        let roots = self.items.iter().map(|items| {
            let ids: Vec<_> = items.iter().map(|item| item.rebuilt.unwrap_or_default()).collect();
            order_root(&ids)
        });
        roots.collect()
    }

    /// The leaf of a height, as guessed or revealed.
    pub(super) fn leaf(&self, index: usize) -> Option<AccumulatorLeaf> {
        let number = u32::try_from(index).ok()?;
        if let Some((at, _)) = self.posted.revealed.heights.get(&number) {
            return Some(at.leaf);
        }
        self.accumulator.as_ref()?.heights().get(index).copied()
    }

    pub(super) fn at(&self, index: usize) -> Option<BatchLeaf> {
        let number = u32::try_from(index).ok()?;
        if let Some((at, _)) = self.posted.revealed.heights.get(&number) {
            return Some(at.clone());
        }
        let (leaf, proof) = self.accumulator.as_ref()?.prove_height(number)?;
        Some(BatchLeaf { leaf, proof })
    }

    pub(super) fn opening_at(&self, index: u32) -> Option<OpeningLeaf> {
        if let Some((leaf, ..)) = self.posted.revealed.openings.get(&index) {
            return Some(*leaf);
        }
        self.openings.as_ref()?.openings().get(index as usize).copied()
    }

    pub(super) fn prove_opening(&self, index: u32) -> Option<(OpeningLeaf, MerkleProof)> {
        if let Some((leaf, proof, _)) = self.posted.revealed.openings.get(&index) {
            return Some((*leaf, proof.clone()));
        }
        self.openings.as_ref()?.prove_opening(index)
    }
}

/// Whose ids stand in the leaves.
#[derive(Clone, Copy)]
enum Ids {
    Certified,
    Rebuilt,
}

/// Whose digests stand in the leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digest {
    /// The certified ones.
    Certified,
    /// Those of the posted commitments, each above the certified one below.
    Alone,
    /// Those of the posted commitments, each above the posted one below.
    Chained,
}

/// Which fields of the leaves are from the data.
#[derive(Clone, Copy)]
struct Choice {
    digest: Digest,
    signature: bool,
    order_root: bool,
    count: bool,
}

impl Choice {
    /// Every choice, beginning with nothing from the data.
    fn all() -> impl Iterator<Item = Self> {
        [Digest::Certified, Digest::Alone, Digest::Chained].into_iter().flat_map(|digest| {
            (0..8u8).map(move |bits| Self {
                digest,
                signature: bits & 1 != 0,
                order_root: bits & 2 != 0,
                count: bits & 4 != 0,
            })
        })
    }
}

/// The data, if it is of the header's heights.
pub(super) fn readable(chain: &ChainRules, posted: &Posted<'_>) -> Result<BatchData, CodecError> {
    let data = codec::decode(posted.data.ok_or(CodecError::Truncated)?)?;
    let header = posted.header;
    let same = data.chain_id == chain.chain_id()
        && data.epoch == header.epoch
        && data.first_height == header.first_height
        && data.heights.len() as u64 == header.heights();
    if same { Ok(data) } else { Err(CodecError::NotCanonical) }
}
