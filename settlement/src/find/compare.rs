//! What the leaves of a batch prove, each compared with what is certified.

use alloy_primitives::B256;
use blindfold_wire::{
    CheckedEnvelope, Opening, OrderCommitment, Signature65, merkle, opening_hash, order_proof,
};

use super::{Finding, MAX_PROVEN, Search};
use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, signature_hash},
    batch,
    evidence::{
        BrokenCount, BrokenFirst, BrokenLeaf, BrokenLink, DisownedOpening, ExecutedRoot,
        ForgedCommitment, Offence, Reordering, WrongOpening, opens,
    },
};

impl Search<'_> {
    fn is_enough(&self) -> bool {
        self.proofs >= MAX_PROVEN
    }

    fn proven(&mut self, offence: Option<Offence>) {
        self.proofs += usize::from(offence.is_some());
        self.findings.extend(offence.map(Finding::Proven));
    }

    /// What the leaves of the accumulator prove.
    pub(super) fn heights(&mut self) {
        for index in 0..self.history.len() {
            if self.is_enough() {
                return;
            }
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
    pub(super) fn openings(&mut self) {
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
                if self.is_enough() {
                    return;
                }
                let Some(at) = leaf.offset.checked_add(position) else { continue };
                let Some(posted) = self.opening_at(at) else { continue };
                let ordered_id = self.ids[known][position as usize];
                let same = posted.height == commitment.height
                    && posted.position == position
                    && posted.id == ordered_id;
                match same {
                    true => match self.wrong_opening(known, position, at, &posted) {
                        Some(Finding::Proven(offence)) => self.proven(Some(offence)),
                        other => self.findings.extend(other),
                    },
                    false => {
                        let offence = self.reordering(index, known, position, at);
                        self.proven(offence);
                    }
                }
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

    /// An opening that is not the one that was derived. L1 can test it by itself, and almost always that is
    /// enough; else the committee's root tells.
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
        let opening = self.opening_of(known, position, at, posted.opening_hash);
        if let Some(opening) = &opening
            && !opens(self.chain, &certified.envelope, opening)
        {
            let (_, opening_proof) = self.prove_opening(at)?;
            return Some(Finding::Proven(Offence::WrongOpening(Box::new(WrongOpening {
                batch: self.header().clone(),
                height,
                position,
                opening_proof,
                envelope: CheckedEnvelope::bytes(&certified.envelope).to_vec(),
                opening: opening.clone(),
            }))));
        }
        if let Some(offence) = self.disowned(known, position, at) {
            return Some(Finding::Proven(offence));
        }
        // What nobody knows is asked for.
        opening.map(|_| Finding::Unproven {
            height,
            position,
            certified_at: height.saturating_add(self.executed_lag()),
        })
    }

    fn executed_lag(&self) -> u64 {
        self.chain.genesis.params.executed_lag
    }

    /// The posted leaf beside the certified one, if the executed root is known that covers it.
    fn disowned(&self, known: usize, position: u32, at: u32) -> Option<Offence> {
        let opened = &self.history[known].opened;
        let executed = self.posted.executed;
        let state_root = *executed.state_roots.get(&opened.height())?;
        let carried_at = opened.height().checked_add(self.executed_lag())?;
        let commitments = self
            .history
            .iter()
            .map(|height| height.opened.certified())
            .chain(executed.above)
            .skip_while(|certified| certified.get().height < carried_at);
        // Another height's root would not be the first one's.
        let executed = ExecutedRoot::new(state_root, opened.opening_root(), commitments)?;
        if executed.chain.first()?.height != carried_at {
            return None;
        }
        let leaves: Vec<_> = batch::opening_leaves(opened).iter().map(OpeningLeaf::hash).collect();
        let (posted, posted_proof) = self.prove_opening(at)?;
        Some(Offence::DisownedOpening(Box::new(DisownedOpening {
            batch: self.header().clone(),
            posted,
            posted_proof,
            certified_hash: opening_hash(&opened.items().get(position as usize)?.opening),
            certified_proof: merkle::prove(&leaves, position)?,
            executed,
        })))
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

    pub(super) fn count(&mut self) {
        let header = self.header();
        let known =
            self.openings.as_ref().map(|trees| (trees.opening_count(), trees.opening_top()));
        let shown = self.posted.revealed.openings.values();
        let mut shown = shown.map(|(leaf, proof, _)| (proof.count, proof.top(leaf.hash())));
        let known = known.or_else(|| shown.find_map(|(count, top)| Some((count, top?))));
        let Some((count, top)) = known.filter(|(count, _)| *count != header.opening_count) else {
            return;
        };
        let offence = BrokenCount { batch: header.clone(), count, top };
        self.proven(Some(Offence::BrokenCount(Box::new(offence))));
    }
}
