//! A member that votes twice in one view.

use super::{DEEDS_MAX, Mischief, Vote};
use crate::plan::VoteFaultKind;
use blindfold_ordering::engine::{Digest, channels};
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::simplex::types::{Finalize, Notarize, Nullify, Proposal};
use commonware_p2p::Recipients;
use commonware_runtime::IoBuf;
use rand::RngExt as _;

impl Mischief {
    pub(super) fn vote_twice(
        &mut self,
        kind: VoteFaultKind,
        channel: u64,
        message: &IoBuf,
    ) -> bool {
        if channel != channels::VOTES || self.deeds >= DEEDS_MAX {
            return true;
        }
        let Ok(vote) = Vote::decode(message.clone()) else { return true };
        let second = match (kind, vote) {
            (VoteFaultKind::ConflictingNotarize, Vote::Notarize(vote)) => {
                let other = self.another(&vote.proposal);
                Notarize::sign(&self.scheme, other).map(Vote::Notarize)
            }
            (VoteFaultKind::ConflictingFinalize, Vote::Finalize(vote)) => {
                let other = self.another(&vote.proposal);
                Finalize::sign(&self.scheme, other).map(Vote::Finalize)
            }
            (VoteFaultKind::NullifyFinalize, Vote::Finalize(vote)) => {
                Nullify::sign::<Digest>(&self.scheme, vote.proposal.round).map(Vote::Nullify)
            }
            _ => return true,
        };
        let second = second.expect("a member's key").encode();
        self.deeds += 1;
        let real_first = self.random.random();
        if real_first {
            self.send(channel, Recipients::All, message.clone());
        }
        self.send(channel, Recipients::All, second);
        !real_first
    }

    /// A proposal that nobody made.
    fn another(&mut self, proposal: &Proposal<Digest>) -> Proposal<Digest> {
        let payload = Digest::from(self.random.random::<[u8; 32]>());
        Proposal::new(proposal.round, proposal.parent, payload)
    }
}
