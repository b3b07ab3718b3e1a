//! A whole ordered height, as the stages above `crypto` see it.

use blindfold_committee::SealedBatch;
use blindfold_crypto::{CommitteePublic, Share};
use blindfold_wire::{
    AdmissionRules, Bytes, CheckedEnvelope, SigningKey, U256, testkit::TestCommittee,
};

/// A committee and the envelopes that one height orders.
pub struct Ordered {
    /// With all secrets.
    pub committee: TestCommittee,
    /// The public side of its decryption key.
    pub public: CommitteePublic,
    /// What envelopes are checked against.
    pub rules: AdmissionRules,
    /// The envelopes as they come from the network.
    pub bytes: Vec<Bytes>,
}

impl Ordered {
    /// `count` envelopes of `distinct` payers, each with a message of `message_bytes` bytes. Where `count` is
    /// larger, envelopes repeat: nothing measured here minds.
    ///
    /// # Panics
    /// If nothing can be dealt for so many members.
    pub fn new(members: usize, count: usize, distinct: usize, message_bytes: usize) -> Self {
        let committee = TestCommittee::new(members, 7);
        let public = committee.genesis.committee_public().expect("consistent keys");
        let rules = committee.genesis.admission_rules().expect("a valid key");
        let sealed: Vec<_> = (0..distinct.min(count))
            .map(|number| {
                let payer = SigningKey::random(U256::from(number + 1).to_be_bytes());
                let message = vec![number as u8; message_bytes];
                committee.envelope(&payer, committee.header(0), &message).bytes().clone()
            })
            .collect();
        // A copy of the bytes for each, as if each had arrived on its own.
        let bytes = (0..count).map(|index| Bytes::from(sealed[index % sealed.len()].to_vec()));
        Self { bytes: bytes.collect(), committee, public, rules }
    }

    /// Checks all envelopes, in batches of `batch`.
    ///
    /// # Panics
    /// Never: they were sealed by the rules.
    pub fn admit(&self, batch: usize) -> Vec<CheckedEnvelope> {
        self.bytes
            .chunks(batch)
            .flat_map(|bytes| CheckedEnvelope::check_batch(&self.rules, bytes, [3; 32]))
            .map(|verdict| verdict.expect("sealed by the rules"))
            .collect()
    }

    /// The height that orders `envelopes`.
    ///
    /// # Panics
    /// Never: the committee signs for it.
    pub fn order(&self, envelopes: Vec<CheckedEnvelope>) -> SealedBatch {
        let certified = self.committee.certify_order(&envelopes);
        SealedBatch::new(certified, envelopes).expect("the envelopes of the order")
    }

    /// One member's shares of `envelopes`.
    pub fn shares(&self, member: usize, envelopes: &[CheckedEnvelope]) -> Vec<Share> {
        let points = envelopes.iter().map(CheckedEnvelope::ephemeral);
        self.committee.members[member].decryption.shares(points)
    }

    /// The members whose shares open.
    pub fn quorum(&self) -> Vec<usize> {
        crate::limits::quorum(self.public.members())
    }
}
