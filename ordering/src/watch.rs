//! The equivocation watch: which commitment each leader was first seen to sign in each view.
//!
//! A leader that signs two commitments for one (epoch, view) and shows them to different members
//! never meets itself in one engine: each member votes for one of them and the engine stays silent.
//! So every member keeps the first commitment it saw signed for each (epoch, view), from a block or from
//! another member's gossip, and gossips it. Two that differ are evidence, which anybody can verify.
//!
//! ```text
//!   leader ──A──▶ m1 ──gossip A──▶ m2   m2 holds B: {A, B} is evidence; m2 gossips A on, so that
//!          ──B──▶ m2 ──gossip B──▶ m1   m3, who only saw B, has it as well
//!          ──B──▶ m3
//! ```
//!
//! [`Watch`] is the state machine: a signed commitment in, an [`Effect`] out. It is bounded: it keeps
//! [`WINDOW_VIEWS`] views behind the finalized tip and accepts at most as many ahead, one commitment
//! each, and only what the view's scheduled leader signed. `gossip` runs it over a channel.

use crate::validity::{LeaderBook, LeaderError};
use alloy_primitives::B256;
use blindfold_wire::{Evidence, SignedCommitment};
use std::collections::{BTreeMap, BTreeSet};

/// Views kept behind the finalized tip, and accepted ahead of it.
pub const WINDOW_VIEWS: u64 = 1024;

/// What to do after a signed commitment was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Known already, or outside the window.
    Nothing,
    /// The first one seen for its (epoch, view): keep it and gossip it.
    Gossip(SignedCommitment),
    /// It conflicts with the first one seen. Gossip it too, so that everybody holds the evidence.
    /// Given once per (epoch, view).
    Evidence {
        /// The evidence, which verifies offline.
        evidence: Box<Evidence>,
        /// The later one of the two.
        second: SignedCommitment,
    },
}

/// First-seen commitments. See the module's text.
#[derive(Clone, Debug)]
pub struct Watch {
    leaders: LeaderBook,
    tip_view: u64,
    first: BTreeMap<u64, (B256, SignedCommitment)>,
    proven: BTreeSet<u64>,
}

impl Watch {
    /// Starts an empty watch of one epoch.
    pub const fn new(leaders: LeaderBook) -> Self {
        Self { leaders, tip_view: 0, first: BTreeMap::new(), proven: BTreeSet::new() }
    }

    /// Observes a commitment, from a block or from gossip.
    ///
    /// # Errors
    ///
    /// [`LeaderError`] if it is of another chain or epoch or the view's leader did not sign it: the
    /// fault of whoever sent it.
    pub fn observe(&mut self, signed: SignedCommitment) -> Result<Effect, LeaderError> {
        let view = signed.commitment.view;
        if view.saturating_add(WINDOW_VIEWS) < self.tip_view
            || view > self.tip_view.saturating_add(WINDOW_VIEWS)
        {
            return Ok(Effect::Nothing);
        }
        let digest = signed.digest();
        if self.first.get(&view).is_some_and(|(known, _)| *known == digest)
            || self.proven.contains(&view)
        {
            return Ok(Effect::Nothing);
        }
        self.leaders.check(&signed)?;
        match self.first.get(&view) {
            None => {
                self.first.insert(view, (digest, signed.clone()));
                Ok(Effect::Gossip(signed))
            }
            Some((_, first)) => {
                self.proven.insert(view);
                let evidence =
                    Evidence::Equivocation { first: first.clone(), second: signed.clone() };
                Ok(Effect::Evidence { evidence: Box::new(evidence), second: signed })
            }
        }
    }

    /// Moves the window: `view` was finalized.
    pub fn advance(&mut self, view: u64) {
        if view <= self.tip_view {
            return;
        }
        self.tip_view = view;
        let floor = view.saturating_sub(WINDOW_VIEWS);
        self.first = self.first.split_off(&floor);
        self.proven = self.proven.split_off(&floor);
    }

    /// The commitment first seen for `view`, if it is in the window.
    pub fn first_seen(&self, view: u64) -> Option<&SignedCommitment> {
        self.first.get(&view).map(|(_, signed)| signed)
    }

    /// Number of commitments kept.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::LeaderSchedule;
    use blindfold_wire::{OrderCommitment, testkit::TestCommittee};

    fn setting() -> (TestCommittee, LeaderBook) {
        let committee = TestCommittee::new(4, 1);
        let schedule = LeaderSchedule::new(0, committee.genesis.hash(), &[1; 4]).unwrap();
        let leaders = LeaderBook::new(&committee.genesis, schedule);
        (committee, leaders)
    }

    fn signed(
        committee: &TestCommittee,
        leaders: &LeaderBook,
        view: u64,
        order: u8,
    ) -> SignedCommitment {
        let leader = leaders.schedule().leader(view);
        OrderCommitment {
            chain_id: committee.genesis.chain_id,
            settlement: committee.genesis.settlement,
            height: 1,
            view,
            order_root: B256::repeat_byte(order),
            ..OrderCommitment::default()
        }
        .sign(&committee.members[leader].signer)
    }

    #[test]
    fn the_first_is_gossiped_and_a_second_one_is_evidence_once() {
        let (committee, leaders) = setting();
        let mut watch = Watch::new(leaders.clone());
        let a = signed(&committee, &leaders, 5, 1);
        let b = signed(&committee, &leaders, 5, 2);
        let c = signed(&committee, &leaders, 5, 3);
        assert_eq!(watch.observe(a.clone()), Ok(Effect::Gossip(a.clone())));
        assert_eq!(watch.observe(a.clone()), Ok(Effect::Nothing));
        let Ok(Effect::Evidence { evidence, second }) = watch.observe(b.clone()) else {
            panic!("two commitments in one view are evidence");
        };
        assert_eq!(second, b);
        let public = committee.genesis.committee_public().unwrap();
        let offender = evidence.verify(&committee.genesis, &public).expect("evidence verifies");
        assert_eq!(offender.member as usize, leaders.schedule().leader(5));
        assert_eq!(watch.observe(b), Ok(Effect::Nothing));
        assert_eq!(watch.observe(c), Ok(Effect::Nothing));
        assert_eq!(watch.first_seen(5), Some(&a), "the first is kept");
    }

    #[test]
    fn another_view_is_no_conflict() {
        let (committee, leaders) = setting();
        let mut watch = Watch::new(leaders.clone());
        for view in 1..9 {
            let signed = signed(&committee, &leaders, view, view as u8);
            assert!(matches!(watch.observe(signed), Ok(Effect::Gossip(_))));
        }
    }

    #[test]
    fn only_the_views_leader_counts() {
        let (committee, leaders) = setting();
        let mut watch = Watch::new(leaders.clone());
        let honest = signed(&committee, &leaders, 5, 1);
        let stranger = (leaders.schedule().leader(5) + 1) % 4;
        let forged =
            signed(&committee, &leaders, 5, 2).commitment.sign(&committee.members[stranger].signer);
        assert!(matches!(watch.observe(forged.clone()), Err(LeaderError::WrongLeader { .. })));
        assert!(matches!(watch.observe(honest), Ok(Effect::Gossip(_))));
        assert!(matches!(watch.observe(forged), Err(LeaderError::WrongLeader { .. })));
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let (committee, leaders) = setting();
        let mut watch = Watch::new(leaders.clone());
        let far = signed(&committee, &leaders, WINDOW_VIEWS + 1, 1);
        assert_eq!(watch.observe(far.clone()), Ok(Effect::Nothing), "too far ahead");
        let early = signed(&committee, &leaders, 1, 1);
        assert!(matches!(watch.observe(early.clone()), Ok(Effect::Gossip(_))));
        watch.advance(WINDOW_VIEWS + 2);
        assert!(watch.is_empty(), "views behind the window are forgotten");
        assert_eq!(watch.observe(early), Ok(Effect::Nothing), "too far behind");
        assert!(matches!(watch.observe(far), Ok(Effect::Gossip(_))));
        assert_eq!(watch.len(), 1);
    }
}
