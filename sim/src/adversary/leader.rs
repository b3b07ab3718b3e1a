//! Leaders that sign two orders for one view.

use super::{DEEDS_MAX, Mischief, Vote};
use crate::plan::AdversaryKind;
use blindfold_ordering::{
    block::{OrderedBlock, to_digest},
    engine::{Digest, Identity, channels},
};
use blindfold_wire::{Block, order_root};
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::{
    Viewable as _,
    simplex::types::{Finalize, Notarize, Proposal},
};
use commonware_cryptography::Digestible as _;
use commonware_p2p::Recipients;
use commonware_runtime::IoBuf;
use rand::RngExt as _;
use std::collections::BTreeMap;

/// Views that it led.
#[derive(Default)]
pub(super) struct Turns {
    /// The second block of each view.
    twins: BTreeMap<u64, (Digest, OrderedBlock)>,
    /// Votes that left before their block did.
    held: Vec<(u64, IoBuf)>,
}

impl Mischief {
    pub(super) fn equivocate(&mut self, channel: u64, message: &IoBuf) -> bool {
        if let Some(block) = self.own_block(channel, message) {
            let view = block.commitment().view;
            if !self.leader.twins.contains_key(&view) {
                if self.deeds >= DEEDS_MAX {
                    return true;
                }
                self.deeds += 1;
                let twin = self.twin(&block);
                self.leader.twins.insert(view, (block.digest(), twin));
            }
            let twin = self.leader.twins[&view].1.encode();
            let (left, right) = self.sides();
            // Which of the two members see first is open.
            if self.random.random() {
                self.send(channel, left, message.clone());
                self.send(channel, right, twin);
            } else {
                self.send(channel, right, twin);
                self.send(channel, left, message.clone());
            }
            for (_, vote) in std::mem::take(&mut self.leader.held) {
                self.vote_for_both(&vote);
            }
            return false;
        }
        if channel != channels::VOTES {
            return true;
        }
        let Ok(vote) = Vote::decode(message.clone()) else { return true };
        let view = vote.view().get();
        let waits = matches!(vote, Vote::Notarize(_))
            && self.leads(view)
            && !self.leader.twins.contains_key(&view)
            && self.deeds < DEEDS_MAX;
        if waits {
            self.leader.held.push((view, message.clone()));
            return false;
        }
        !self.vote_for_both(message)
    }

    /// Sends a vote for its block to one side and the same for the twin to the other. Whether it is a vote
    /// for a block that has a twin.
    fn vote_for_both(&mut self, message: &IoBuf) -> bool {
        let Ok(vote) = Vote::decode(message.clone()) else { return false };
        let (proposal, finalize) = match &vote {
            Vote::Notarize(vote) => (&vote.proposal, false),
            Vote::Finalize(vote) => (&vote.proposal, true),
            Vote::Nullify(_) => return false,
        };
        let Some((first, twin)) = self.leader.twins.get(&proposal.view().get()) else {
            return false;
        };
        if *first != proposal.payload {
            return false;
        }
        let other = Proposal::new(proposal.round, proposal.parent, twin.digest());
        let other = match finalize {
            false => Vote::Notarize(Notarize::sign(&self.scheme, other).expect("a member's key")),
            true => Vote::Finalize(Finalize::sign(&self.scheme, other).expect("a member's key")),
        };
        let (left, right) = self.sides();
        self.send(channels::VOTES, left, message.clone());
        self.send(channels::VOTES, right, other.encode());
        true
    }

    /// Whom it shows its block, and whom the twin.
    fn sides(&self) -> (Recipients<Identity>, Recipients<Identity>) {
        match self.kind {
            AdversaryKind::EquivocatesSplit => {
                // Now one sees the block and two the twin, now the other way round.
                let (left, right) = self.others.split_at(1 + self.deeds % 2);
                (Recipients::Some(left.to_vec()), Recipients::Some(right.to_vec()))
            }
            _ => (Recipients::All, Recipients::All),
        }
    }

    /// A block as good as `block`, for the same view.
    fn twin(&self, block: &OrderedBlock) -> OrderedBlock {
        let mut commitment = block.commitment().clone();
        if commitment.count == 0 {
            commitment.timestamp_ms += 1;
        } else {
            commitment.count = 0;
            commitment.order_root = order_root(&[]);
        }
        let commitment = commitment.sign(&self.signer);
        let forced = block.block().forced.clone();
        let twin = OrderedBlock::new(Block { commitment, envelopes: Vec::new(), forced });
        let twin = twin.expect("an empty block");
        assert_ne!(to_digest(twin.id()), block.digest());
        twin
    }
}
