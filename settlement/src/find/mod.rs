//! Compares a posted batch with what was certified, and finds everything that can be held against somebody.
//!
//! Only roots are on L1. Evidence wants leaves and their proofs, which only the poster has for sure: they are
//! guessed from its data and from the certified history, in every combination of a few honest and dishonest
//! ways to make them, until the roots are right. What cannot be guessed is asked for on L1
//! ([`Challenge`]); what is then revealed is put in here ([`Revealed`]) and searched again.
//!
//! An honest batch yields nothing, whatever valid signatures its poster held.

mod compare;
mod leaves;

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy_primitives::B256;
use blindfold_wire::{Certified, MerkleProof, Opening, OrderCommitment, Signature65};

use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, Trees},
    batch::{Batch, CertifiedHeight},
    codec::BatchData,
    derive::{self, ChainRules, Start},
    evidence::{BatchLeaf, Challenge, Offence, OffenceKind},
};

/// Proofs that are looked for in one batch, at most: one offence takes the whole stake, and each proof costs a pass
/// over a tree, of which a poster may have as many leaves wrong as it likes.
pub const MAX_PROVEN: usize = 32;

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
    /// What is known of the execution of its heights; [`Executed::UNKNOWN`] is enough for all but openings that
    /// pass the test that L1 can make of them alone.
    pub executed: Executed<'a>,
}

/// What executing the heights of a batch gave, and what was certified above them.
#[derive(Clone, Copy, Debug)]
pub struct Executed<'a> {
    /// State roots after heights of the batch, by height, as far as known.
    pub state_roots: &'a BTreeMap<u64, B256>,
    /// What is certified above the last height of the batch, from the next height on and without holes, as far
    /// as known; `executed_lag` heights and the next certificate are enough.
    pub above: &'a [Certified<OrderCommitment>],
}

impl Executed<'_> {
    /// For who does not execute.
    pub const UNKNOWN: Executed<'static> = Executed { state_roots: &BTreeMap::new(), above: &[] };
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
    /// The opening is not the one that the committee derived, but passes the test that L1 can make of it alone,
    /// which takes a wallet that sealed against the rules, or a false *undecryptable* with the right secret. It is
    /// proven ([`Offence::DisownedOpening`]) by the executed root that the height `certified_at` carries: search
    /// again when that is certified and [`Executed`] has it.
    Unproven {
        /// The height.
        height: u64,
        /// The position.
        position: u32,
        /// Height whose commitment carries the height's executed root.
        certified_at: u64,
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
    /// Heights and positions whose openings were revealed.
    shown: HashSet<(u64, u32)>,
    /// By height and position.
    items: Vec<Vec<PostedOpening>>,
    /// Trees whose accumulator has the header's root.
    accumulator: Option<Trees>,
    /// Trees whose opening tree has the header's root.
    openings: Option<Trees>,
    findings: Vec<Finding>,
    /// How many of them are proofs.
    proofs: usize,
}

impl<'a> Search<'a> {
    fn new(chain: &'a ChainRules, posted: &'a Posted<'a>, history: &'a [CertifiedHeight]) -> Self {
        let commitments = history
            .iter()
            .map(|height| (height.opened.certified().digest(), height.opened.commitment()));
        let ids = history.iter().map(|height| {
            height.opened.items().iter().map(|item| item.envelope.id()).collect::<Vec<_>>()
        });
        let shown = posted.revealed.openings.values();
        let mut search = Self {
            chain,
            posted,
            history,
            commitments: commitments.collect(),
            ids: ids.collect(),
            data: leaves::readable(chain, posted).ok(),
            shown: shown.map(|(leaf, ..)| (leaf.height, leaf.position)).collect(),
            items: Vec::new(),
            accumulator: None,
            openings: None,
            findings: Vec::new(),
            proofs: 0,
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

    /// What there is to ask for: nothing if something was proven (one offence takes the whole stake), if data and
    /// roots lead to the certified heights, or if everything that could be wrong was shown. Nothing is asked for
    /// twice: L1 does not take a second challenge.
    fn ask(&mut self, start: &Start) {
        if !self.findings.is_empty() {
            return;
        }
        let header = self.header();
        let (place, suspected) = match self.posted.data.filter(|_| self.data.is_some()) {
            None => (Some((header.first_height, None)), OffenceKind::Withheld),
            Some(data) => {
                let forced = derive::InboxChecked;
                let Err(fault) = derive::derive(self.chain, start, header, data, &forced, 1) else {
                    return;
                };
                let place = match fault.place {
                    derive::Place::Position(height, position) => Some((height, Some(position))),
                    derive::Place::Height(height) => Some((height, None)),
                    derive::Place::Batch => None,
                };
                (place, fault.kind.suspected())
            }
        };
        let place = place.filter(|(height, position)| !self.is_shown(*height, *position));
        if let Some((height, position)) = place.or_else(|| self.suspect()) {
            self.ask_for(height, position, suspected);
        }
    }

    /// Where to ask when only the roots are wrong, or the data is where its poster has shown what belongs there: a
    /// height whose leaf nobody knows, else an opening. Nowhere once all of them are known.
    fn suspect(&self) -> Option<(u64, Option<u32>)> {
        let heights = || self.history.iter().map(|height| height.opened.commitment());
        let unknown = match self.accumulator {
            Some(_) => None,
            None => heights().map(|it| (it.height, None)).find(|(at, _)| !self.is_shown(*at, None)),
        };
        let mut positions =
            heights().flat_map(|it| (0..it.count).map(|position| (it.height, Some(position))));
        match self.openings {
            Some(_) => unknown,
            None => unknown.or_else(|| positions.find(|(at, p)| !self.is_shown(*at, *p))),
        }
    }

    /// Whether the poster has shown the opening of a position, or for none the commitment of a height. The
    /// commitment also answers for a position that the height does not have.
    fn is_shown(&self, height: u64, position: Option<u32>) -> bool {
        let Some(index) = self.header().index_of(height) else { return false };
        let commitment_shown = self.posted.revealed.heights.contains_key(&index);
        let Some(position) = position else { return commitment_shown };
        let certified = self.leaf(index as usize).and_then(|it| self.commitments.get(&it.digest));
        let has = certified.is_some_and(|commitment| position < commitment.count);
        self.shown.contains(&(height, position)) || (commitment_shown && !has)
    }

    fn ask_for(&mut self, height: u64, position: Option<u32>, suspected: OffenceKind) {
        let challenge = Challenge { batch: self.header().clone(), height, position };
        self.findings.push(Finding::Ask { challenge, suspected });
    }
}
