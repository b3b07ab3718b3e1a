//! Reads what a world leaves behind.

use super::World;
use crate::{
    observation::{Accusation, Expected, MemberView, Observation, accusations, replay},
    plan::{MEMBERS, Mutation},
    scenario::Proof,
    stake,
};
use blindfold_node::member::records::Records;
use blindfold_ordering::engine::Identity;
use blindfold_wire::{Block, max_faults, quorum};
use std::sync::Arc;

impl World<'_> {
    /// Whether the adversary did what it is here for, and every honest member whose process was never away
    /// holds the proof of it.
    pub(super) fn caught(&self) -> bool {
        let (Some(adversary), Some(mischief)) = (self.plan.adversary, &self.mischief) else {
            return true;
        };
        if mischief.lock().deeds() == 0 {
            return false;
        }
        let Some(proof) = adversary.kind.proof() else { return true };
        let member = u32::try_from(adversary.member).expect("a small index");
        self.honest().filter(|(index, _)| !self.plan.fault.takes_down(*index)).all(|(_, shared)| {
            match proof {
                Proof::Votes(kind) => {
                    let faults = shared.vote_faults.lock();
                    faults.get(&adversary.member).is_some_and(|fault| fault.kind == kind)
                }
                Proof::Evidence(offence) => {
                    let evidence = shared.records.evidence().expect("the database reads");
                    evidence.iter().filter(|evidence| evidence.offence() == offence).any(
                        |evidence| {
                            let offender = evidence.verify(&shared.genesis, &shared.public);
                            offender.is_ok_and(|offender| offender.member == member)
                        },
                    )
                }
            }
        })
    }

    pub(super) async fn observe(&self) -> Observation {
        let views: Vec<Option<MemberView>> = self
            .shared
            .iter()
            .zip(&self.members)
            .map(|(shared, running)| {
                let shared = shared.as_ref()?;
                let accusations: Vec<Accusation> = accusations(&self.genesis, shared);
                Some(MemberView::read(shared, running.is_some(), &self.submissions, accusations))
            })
            .collect();
        let executed = |index: &usize| {
            self.shared[*index].as_ref().map(|shared| shared.chain.progress().executed_height)
        };
        let furthest = (0..MEMBERS)
            .filter(|member| self.plan.is_honest(*member))
            .max_by_key(executed)
            .unwrap_or(0);
        let index_of =
            |identity: &Identity| self.identities.iter().position(|other| other == identity);
        let blocked = self.oracle.blocked().await.expect("the network runs");
        let hidden = self.plan.mutation == Some(Mutation::HiddenAdversary);
        let honest: Vec<_> = self
            .shared
            .iter()
            .enumerate()
            .filter(|(member, _)| self.plan.is_honest(*member))
            .filter_map(|(member, shared)| Some((member, Arc::clone(shared.as_ref()?))))
            .collect();
        let (signed, mut random) = (self.observer.signed(), self.plan.random(8));
        Observation {
            quorum: quorum(MEMBERS),
            threshold: self.genesis.committee.threshold as usize,
            adversaries: max_faults(MEMBERS),
            executed_lag: self.genesis.params.executed_lag,
            genesis: Block::genesis(&self.genesis).digest(),
            adversary: self.plan.adversary.filter(|_| !hidden),
            l1: Arc::clone(&self.l1),
            ended_ms: self.now_ms(),
            deeds: self.mischief.as_ref().map_or(0, |mischief| mischief.lock().deeds()),
            away: (0..MEMBERS).map(|member| self.plan.fault.takes_down(member)).collect(),
            recovery: self.recovery.clone(),
            log: self.observer.log(),
            members: views,
            replay: replay(&self.genesis, &Records::new(self.stores[furthest].clone(), MEMBERS)),
            expected: self
                .submissions
                .iter()
                .zip(&self.admitted)
                .map(|(submission, admitted)| Expected {
                    id: submission.id,
                    content: submission.content,
                    admitted: admitted.clone().map(|_| ()),
                })
                .collect(),
            stake: stake::examine(&self.genesis, &signed, &honest, &mut random),
            blocked: blocked
                .iter()
                .filter_map(|(one, other)| Some((index_of(one)?, index_of(other)?)))
                .collect(),
        }
    }
}
