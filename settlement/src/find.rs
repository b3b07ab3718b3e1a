//! Compares a posted batch with what was certified, and finds everything that can be held against somebody.
//!
//! Only roots are on L1. Evidence wants leaves and their proofs, which only the poster has for sure: they are
//! guessed from its data and from the certified history, in every combination of a few honest and dishonest
//! ways to make them, until the roots are right. What cannot be guessed is asked for on L1
//! ([`Challenge`]); what is then revealed is put in here ([`Revealed`]) and searched again.
//!
//! An honest batch yields nothing, whatever valid signatures its poster held.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::B256;
use blindfold_wire::{
    CheckedEnvelope, MerkleProof, Opening, OrderCommitment, Signature65, opening_hash, order_proof,
    order_root,
};

use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, Trees, signature_hash},
    batch::{Batch, CertifiedHeight},
    codec::{self, BatchData, CodecError, PostedItem},
    derive::{self, ChainRules, Start},
    evidence::{
        BatchLeaf, BrokenCount, BrokenFirst, BrokenLeaf, BrokenLink, Challenge, ForgedCommitment,
        Offence, OffenceKind, Reordering, WrongOpening, opens,
    },
};

/// What is known of a posted batch.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    /// Its header, as the inbox emitted it.
    pub header: &'a Batch,
    /// The batch before, if there is one.
    pub previous: Option<&'a Batch>,
    /// Its data, if it could be had and belongs to the header's hash.
    pub data: Option<&'a [u8]>,
    /// What its poster showed in answer to challenges.
    pub revealed: &'a Revealed,
}

/// What a poster showed when it was challenged, as L1 accepted it.
#[derive(Clone, Debug, Default)]
pub struct Revealed {
    /// Leaves of heights with the signatures that they have the hashes of, by index in the accumulator.
    pub heights: BTreeMap<u32, (BatchLeaf, Signature65)>,
    /// Openings with their leaves, by index in the opening tree.
    pub openings: BTreeMap<u32, (OpeningLeaf, MerkleProof, Opening)>,
}

/// Something that is wrong with a batch.
#[allow(clippy::large_enum_variant, reason = "a handful for a batch")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It can be proven, here and now.
    Proven(Offence),
    /// It can be asked for, and what is revealed may prove more.
    Ask {
        /// What to ask for.
        challenge: Challenge,
        /// What an answer may prove; no answer is [`OffenceKind::Withheld`].
        suspected: OffenceKind,
    },
    /// The opening is not the one that the committee derived, but passes the test that L1 can make. Only a
    /// wallet that sealed against the rules can bring this about, together with the poster.
    Unprovable {
        /// The height.
        height: u64,
        /// The position.
        position: u32,
    },
}

/// Why there is nothing to compare with. The caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The history does not consist of exactly the batch's heights.
    #[error("history does not cover the heights of the batch")]
    History,
}

/// Why L1 does not accept a batch: what the inbox checks of its roots and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not follow the batch before: `BrokenChain`.
    #[error("the batch does not follow the one before")]
    BrokenChain,
    /// The last commitment is not certified: `BadCertificate`.
    #[error("the last commitment is not certified")]
    BadCertificate,
    /// The last leaf is not that of the last commitment, or not the accumulator's last: `BadLastLeaf`.
    #[error("the last leaf is wrong")]
    BadLastLeaf,
}

/// What the inbox checks of a batch before it accepts it, but for stake, forced items and the certificate
/// itself: `last` must be the commitment that is certified for the batch's last height.
///
/// # Errors
/// The rule that is broken.
pub fn check_rules(
    start: &Start,
    header: &Batch,
    last: &OrderCommitment,
    leaf: &AccumulatorLeaf,
    proof: &MerkleProof,
) -> Result<(), Refusal> {
    let follows = header.parent == start.batch
        && header.first_height == start.first_height
        && header.heights() > 0;
    if !follows {
        return Err(Refusal::BrokenChain);
    }
    let digest = last.digest();
    if header.last_commitment != digest || header.last_height != last.height {
        return Err(Refusal::BadCertificate);
    }
    let placed = u64::from(proof.count) == header.heights()
        && proof.index.checked_add(1) == Some(proof.count)
        && proof.verify(header.accumulator_root, leaf.hash());
    let right = leaf.height == last.height
        && leaf.digest == digest
        && leaf.order_root == last.order_root
        && leaf.offset.checked_add(last.count) == Some(header.opening_count);
    if placed && right { Ok(()) } else { Err(Refusal::BadLastLeaf) }
}

/// Finds what is wrong with an accepted batch. `history` are the certified heights of its range, in order. Nothing can
/// be wrong with one without heights, which the inbox made itself.
///
/// # Errors
/// If the history is of other heights.
pub fn find(
    chain: &ChainRules,
    start: &Start,
    posted: &Posted<'_>,
    history: &[CertifiedHeight],
) -> Result<Vec<Finding>, FindError> {
    if posted.header.heights() == 0 && history.is_empty() {
        return Ok(Vec::new());
    }
    let heights = history.iter().map(|height| height.opened.height());
    let covered = !history.is_empty()
        && history.len() as u64 == posted.header.heights()
        && heights.eq(posted.header.first_height..=posted.header.last_height);
    if !covered {
        return Err(FindError::History);
    }
    let mut search = Search::new(chain, posted, history);
    search.heights();
    search.openings();
    search.count();
    search.ask(start);
    Ok(search.findings)
}

/// One opening as it was posted.
struct PostedOpening {
    /// Id of what sealing again gives; `None` if it cannot be sealed.
    rebuilt: Option<B256>,
    opening: Opening,
}

struct Search<'a> {
    chain: &'a ChainRules,
    posted: &'a Posted<'a>,
    history: &'a [CertifiedHeight],
    /// Commitments of the history by digest.
    commitments: HashMap<B256, &'a OrderCommitment>,
    /// Ids of the history by height.
    ids: Vec<Vec<B256>>,
    data: Option<BatchData>,
    /// By height and position.
    items: Vec<Vec<PostedOpening>>,
    /// Trees whose accumulator has the header's root.
    accumulator: Option<Trees>,
    /// Trees whose opening tree has the header's root.
    openings: Option<Trees>,
    findings: Vec<Finding>,
}

impl<'a> Search<'a> {
    fn new(chain: &'a ChainRules, posted: &'a Posted<'a>, history: &'a [CertifiedHeight]) -> Self {
        let commitments = history
            .iter()
            .map(|height| (height.opened.certified().digest(), height.opened.commitment()));
        let ids = history.iter().map(|height| {
            height.opened.items().iter().map(|item| item.envelope.id()).collect::<Vec<_>>()
        });
        let mut search = Self {
            chain,
            posted,
            history,
            commitments: commitments.collect(),
            ids: ids.collect(),
            data: readable(chain, posted).ok(),
            items: Vec::new(),
            accumulator: None,
            openings: None,
            findings: Vec::new(),
        };
        search.items = search.posted_items();
        search.guess();
        search
    }

    fn header(&self) -> &'a Batch {
        self.posted.header
    }

    fn height(&self, index: usize) -> u64 {
        self.history[index].opened.height()
    }

    /// The posted items with the ids that they lead to. What is posted as it should be is not sealed again.
    fn posted_items(&self) -> Vec<Vec<PostedOpening>> {
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
    fn guess(&mut self) {
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
    fn leaf(&self, index: usize) -> Option<AccumulatorLeaf> {
        let number = u32::try_from(index).ok()?;
        if let Some((at, _)) = self.posted.revealed.heights.get(&number) {
            return Some(at.leaf);
        }
        self.accumulator.as_ref()?.heights().get(index).copied()
    }

    fn at(&self, index: usize) -> Option<BatchLeaf> {
        let number = u32::try_from(index).ok()?;
        if let Some((at, _)) = self.posted.revealed.heights.get(&number) {
            return Some(at.clone());
        }
        let (leaf, proof) = self.accumulator.as_ref()?.prove_height(number)?;
        Some(BatchLeaf { leaf, proof })
    }

    fn opening_at(&self, index: u32) -> Option<OpeningLeaf> {
        if let Some((leaf, ..)) = self.posted.revealed.openings.get(&index) {
            return Some(*leaf);
        }
        self.openings.as_ref()?.openings().get(index as usize).copied()
    }

    fn prove_opening(&self, index: u32) -> Option<(OpeningLeaf, MerkleProof)> {
        if let Some((leaf, proof, _)) = self.posted.revealed.openings.get(&index) {
            return Some((*leaf, proof.clone()));
        }
        self.openings.as_ref()?.prove_opening(index)
    }

    fn proven(&mut self, offence: Option<Offence>) {
        self.findings.extend(offence.map(Finding::Proven));
    }

    /// What the leaves of the accumulator prove.
    fn heights(&mut self) {
        for index in 0..self.history.len() {
            let Some(leaf) = self.leaf(index) else { continue };
            let commitment = self.commitments.get(&leaf.digest).copied();
            if let Some(commitment) = commitment {
                let offence = self.broken_leaf(index, &leaf, commitment);
                self.proven(offence);
                let offence = self.broken_first(index, commitment);
                self.proven(offence);
                let offence = self.forged(index, &leaf, commitment);
                self.proven(offence);
            }
            let Some(upper) = self.leaf(index + 1) else { continue };
            if let Some(above) = self.commitments.get(&upper.digest).copied()
                && above.parent != leaf.digest
            {
                let link = self.link(index, above);
                self.proven(link.map(Offence::BrokenParent));
            }
            if let Some(commitment) = commitment
                && leaf.offset.checked_add(commitment.count) != Some(upper.offset)
            {
                let link = self.link(index, commitment);
                self.proven(link.map(Offence::BrokenOffset));
            }
        }
    }

    fn broken_leaf(
        &self,
        index: usize,
        leaf: &AccumulatorLeaf,
        commitment: &OrderCommitment,
    ) -> Option<Offence> {
        let height = self.height(index);
        let right = leaf.height == height
            && commitment.height == height
            && leaf.order_root == commitment.order_root
            && (index != 0 || leaf.offset == 0);
        if right {
            return None;
        }
        Some(Offence::BrokenLeaf(Box::new(BrokenLeaf {
            batch: self.header().clone(),
            at: self.at(index)?,
            commitment: commitment.clone(),
        })))
    }

    fn broken_first(&self, index: usize, commitment: &OrderCommitment) -> Option<Offence> {
        let previous = self.posted.previous.filter(|previous| {
            index == 0
                && previous.last_commitment != B256::ZERO
                && previous.last_commitment != commitment.parent
        })?;
        Some(Offence::BrokenFirst(Box::new(BrokenFirst {
            batch: self.header().clone(),
            previous: previous.clone(),
            at: self.at(index)?,
            commitment: commitment.clone(),
        })))
    }

    /// The signature that a leaf has the hash of, if anybody knows it.
    fn signature(&self, index: usize, leaf: &AccumulatorLeaf) -> Option<Signature65> {
        let number = u32::try_from(index).ok()?;
        let revealed = self.posted.revealed.heights.get(&number).map(|(_, signature)| *signature);
        let data = self.data.as_ref().and_then(|data| data.heights.get(index));
        [revealed, data.map(|height| height.signature), Some(self.history[index].signed.signature)]
            .into_iter()
            .flatten()
            .find(|signature| signature_hash(signature) == leaf.signature_hash)
    }

    fn forged(
        &self,
        index: usize,
        leaf: &AccumulatorLeaf,
        commitment: &OrderCommitment,
    ) -> Option<Offence> {
        let signature = self.signature(index, leaf)?;
        let (leader, schedule_proof) = self.chain.leaders.prove(commitment.view)?;
        if signature.recover(leaf.digest) == Ok(leader) {
            return None;
        }
        Some(Offence::ForgedCommitment(Box::new(ForgedCommitment {
            batch: self.header().clone(),
            at: self.at(index)?,
            commitment: commitment.clone(),
            signature,
            leader,
            schedule_proof,
        })))
    }

    fn link(&self, lower: usize, commitment: &OrderCommitment) -> Option<Box<BrokenLink>> {
        Some(Box::new(BrokenLink {
            batch: self.header().clone(),
            lower: self.at(lower)?,
            upper: self.at(lower + 1)?,
            commitment: commitment.clone(),
        }))
    }

    /// What the leaves of the opening tree prove.
    fn openings(&mut self) {
        for index in 0..self.history.len() {
            let Some(leaf) = self.leaf(index) else { continue };
            let Some(commitment) = self.commitments.get(&leaf.digest).copied() else { continue };
            // The leaf may name the commitment of another height: then its openings are that one's.
            let Some(known) =
                self.history.iter().position(|h| h.opened.height() == commitment.height)
            else {
                continue;
            };
            for position in 0..commitment.count {
                let Some(at) = leaf.offset.checked_add(position) else { continue };
                let Some(posted) = self.opening_at(at) else { continue };
                let ordered_id = self.ids[known][position as usize];
                let same = posted.height == commitment.height
                    && posted.position == position
                    && posted.id == ordered_id;
                let finding = if same {
                    self.wrong_opening(known, position, at, &posted)
                } else {
                    self.reordering(index, known, position, at).map(Finding::Proven)
                };
                self.findings.extend(finding);
            }
        }
    }

    fn reordering(&self, index: usize, known: usize, position: u32, at: u32) -> Option<Offence> {
        let (posted, opening_proof) = self.prove_opening(at)?;
        Some(Offence::Reordering(Box::new(Reordering {
            batch: self.header().clone(),
            at: self.at(index)?,
            commitment: self.history[known].opened.commitment().clone(),
            posted,
            opening_proof,
            ordered_id: *self.ids[known].get(position as usize)?,
            order_proof: order_proof(&self.ids[known], position)?,
        })))
    }

    fn wrong_opening(
        &self,
        known: usize,
        position: u32,
        at: u32,
        posted: &OpeningLeaf,
    ) -> Option<Finding> {
        let certified = self.history[known].opened.items().get(position as usize)?;
        if posted.opening_hash == opening_hash(&certified.opening) {
            return None;
        }
        let height = self.height(known);
        let opening = self.opening_of(known, position, at, posted.opening_hash)?;
        if opens(self.chain, &certified.envelope, &opening) {
            return Some(Finding::Unprovable { height, position });
        }
        let (_, opening_proof) = self.prove_opening(at)?;
        Some(Finding::Proven(Offence::WrongOpening(Box::new(WrongOpening {
            batch: self.header().clone(),
            height,
            position,
            opening_proof,
            envelope: CheckedEnvelope::bytes(&certified.envelope).to_vec(),
            opening,
        }))))
    }

    /// The opening that a leaf has the hash of, if it was revealed or posted.
    fn opening_of(&self, known: usize, position: u32, at: u32, hash: B256) -> Option<Opening> {
        let revealed = self.posted.revealed.openings.get(&at).map(|(.., opening)| opening);
        let items = self.items.get(known).and_then(|items| items.get(position as usize));
        [revealed, items.map(|item| &item.opening)]
            .into_iter()
            .flatten()
            .find(|opening| opening_hash(opening) == hash)
            .cloned()
    }

    fn count(&mut self) {
        let header = self.header();
        let Some(trees) = &self.openings else { return };
        if trees.opening_count() == header.opening_count {
            return;
        }
        let offence = BrokenCount {
            batch: header.clone(),
            count: trees.opening_count(),
            top: trees.opening_top(),
        };
        self.proven(Some(Offence::BrokenCount(Box::new(offence))));
    }

    /// What there is to ask for: nothing if something was proven (one offence takes the whole stake), or if
    /// data and roots lead to the certified heights.
    fn ask(&mut self, start: &Start) {
        if !self.findings.is_empty() {
            return;
        }
        let header = self.header();
        let Some(data) = self.posted.data.filter(|_| self.data.is_some()) else {
            return self.ask_for(header.first_height, None, OffenceKind::Withheld);
        };
        let forced = derive::InboxChecked;
        let Err(fault) = derive::derive(self.chain, start, header, data, &forced, 1) else {
            return;
        };
        let (height, position) = match fault.place {
            derive::Place::Position(height, position) => (height, Some(position)),
            derive::Place::Height(height) => (height, None),
            derive::Place::Batch => self.suspect(),
        };
        self.ask_for(height, position, fault.kind.suspected());
    }

    /// Where to ask first when only the roots are wrong: a height whose leaf nobody knows, else an opening.
    fn suspect(&self) -> (u64, Option<u32>) {
        let revealed = &self.posted.revealed.heights;
        let unknown = (0u32..)
            .zip(self.history)
            .find(|(index, _)| !revealed.contains_key(index))
            .map(|(_, height)| height.opened.height());
        let first = self.header().first_height;
        match (&self.accumulator, unknown) {
            (None, Some(height)) => (height, None),
            _ => {
                let filled = self.history.iter().find(|h| h.opened.commitment().count > 0);
                (filled.map_or(first, |h| h.opened.height()), filled.map(|_| 0))
            }
        }
    }

    fn ask_for(&mut self, height: u64, position: Option<u32>, suspected: OffenceKind) {
        let challenge = Challenge { batch: self.header().clone(), height, position };
        self.findings.push(Finding::Ask { challenge, suspected });
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
fn readable(chain: &ChainRules, posted: &Posted<'_>) -> Result<BatchData, CodecError> {
    let data = codec::decode(posted.data.ok_or(CodecError::Truncated)?)?;
    let header = posted.header;
    let same = data.chain_id == chain.chain_id()
        && data.epoch == header.epoch
        && data.first_height == header.first_height
        && data.heights.len() as u64 == header.heights();
    if same { Ok(data) } else { Err(CodecError::NotCanonical) }
}
