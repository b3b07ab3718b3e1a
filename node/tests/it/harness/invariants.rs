//! What must hold in the end, whatever was done to the members.

use super::{Network, journals::Signatures, witness::Sightings};
use alloy_primitives::{B256, U64};
use blindfold_committee::Slot;
use blindfold_node::store::Store;
use blindfold_sdk::{
    TxStatus,
    rpc::{EvidenceDocument, HeightDocument},
};
use blindfold_wire::{Evidence, OrderCommitment, SignedBundleHeader};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lines that no log may hold after faults that break no rule.
const FORBIDDEN: &[(&str, &str)] = &[
    ("panicked at", "a panic"),
    ("cast conflicting engine votes", "a double vote"),
    ("signed two orders", "an equivocation"),
    ("can be slashed", "an offence"),
    ("not final", "an early release"),
    ("blocking the peer", "an honest member was blocked"),
    ("this node has diverged", "a divergence"),
];

/// The commitment of a height's record.
pub fn commitment(height: &HeightDocument) -> OrderCommitment {
    OrderCommitment::decode(&height.commitment).unwrap()
}

/// What a test expects in the end.
pub struct Outcome<'a> {
    /// Members that must have come through.
    pub members: Vec<usize>,
    /// Members that must be proven guilty, and nobody else.
    pub offenders: BTreeSet<u32>,
    /// Of [`FORBIDDEN`], what the test provoked.
    pub tolerated: &'a [&'a str],
}

impl Network {
    /// What must hold after faults by which nobody broke a rule; see [`Self::expect`].
    pub fn expect_unharmed(&mut self, sent: &[B256], seen: &Sightings) {
        let members = (0..self.members()).collect();
        self.expect(sent, seen, &Outcome { members, offenders: BTreeSet::new(), tolerated: &[] });
    }

    /// Everything at once, and stops the network. `sent` was taken by some member; `seen` is what
    /// members said on the way.
    pub fn expect(&mut self, sent: &[B256], seen: &Sightings, outcome: &Outcome<'_>) {
        let members = &outcome.members;
        self.expect_all_ended(members, sent);
        self.expect_agreement(members);
        self.expect_kept(members, seen);
        let public = self.genesis.committee_public().unwrap();
        for member in members {
            let offenders: BTreeSet<u32> = self
                .evidence(*member)
                .iter()
                .map(|document| {
                    let evidence = Evidence::decode(&document.evidence).unwrap();
                    evidence.verify(&self.genesis, &public).unwrap().member
                })
                .collect();
            assert_eq!(offenders, outcome.offenders, "evidence at member {member}");
            assert_eq!(self.head(*member).uncertified_releases, 0, "member {member}");
        }
        self.expect_quiet_logs(outcome.tolerated);
        self.expect_nothing_signed_twice(seen);
    }

    /// Every member has the same order, state root and block hash at every height all have executed.
    pub fn expect_agreement(&self, members: &[usize]) {
        let executed = |member: &usize| self.head(*member).executed_height;
        let target = members.iter().map(executed).max().unwrap();
        members.iter().for_each(|member| self.until_executed(*member, target));
        for height in 1..=target {
            let said: Vec<_> = members
                .iter()
                .copied()
                .map(|member| {
                    let record = self.height(member, height).expect("an executed height");
                    let block: Value = self.until("a member answers", || {
                        let params = (U64::from(height), false);
                        self.clients[member].request("eth_getBlockByNumber", params).ok()
                    });
                    (record.digest, record.state_root.unwrap(), block["hash"].clone())
                })
                .collect();
            assert!(said.iter().all(|one| *one == said[0]), "height {height}: {said:?}");
        }
    }

    /// Every envelope that was taken was executed or skipped, at the same place on all members.
    pub fn expect_all_ended(&self, members: &[usize], sent: &[B256]) {
        for id in sent {
            let ends: Vec<_> = members
                .iter()
                .copied()
                .map(|member| {
                    self.until("an envelope ends", || {
                        let status = self.clients[member].status(*id).ok().flatten();
                        status.filter(TxStatus::is_terminal)
                    })
                })
                .collect();
            assert!(ends.iter().all(|end| *end == ends[0]), "{id}: {ends:?}");
            let ran = matches!(ends[0], TxStatus::Executed { .. } | TxStatus::Skipped { .. });
            assert!(ran, "{id}: {:?}\n{}", ends[0], self.logs());
        }
    }

    /// Whatever any member ever called final is what `members`, who agree, call final now.
    pub fn expect_kept(&self, members: &[usize], seen: &Sightings) {
        let witness = members[0];
        assert!(seen.contradictions.is_empty(), "{:?}", seen.contradictions);
        let mut digests: BTreeMap<u64, B256> = BTreeMap::new();
        for ((member, height), digest) in &seen.ordered {
            let now = digests.entry(*height).or_insert_with(|| {
                self.until_executed(witness, *height);
                self.height(witness, *height).expect("an ordered height").digest
            });
            assert_eq!(now, digest, "member {member} took back height {height}");
        }
        assert!(!seen.ordered.is_empty(), "the witness saw nothing");
    }

    /// Proofs that a member keeps.
    pub fn evidence(&self, member: usize) -> Vec<EvidenceDocument> {
        self.until("a member answers", || {
            self.clients[member].request("sealed_getEvidence", [(); 0]).ok()
        })
    }

    /// No log tells of something that must not happen.
    pub fn expect_quiet_logs(&self, tolerated: &[&str]) {
        for member in 0..self.members() {
            let log = self.log(member);
            let forbidden = FORBIDDEN.iter().filter(|(line, _)| !tolerated.contains(line));
            for (line, what) in forbidden {
                let found = log.lines().find(|logged| logged.contains(line));
                assert!(found.is_none(), "{what} at member {member}: {found:?}");
            }
        }
    }

    /// Stops all members and holds their signing journals against each other and against what was
    /// seen: nobody ever saw a signature that is not the one in its signer's journal.
    pub fn expect_nothing_signed_twice(&mut self, seen: &Sightings) {
        self.stop_all();
        assert!(self.journals.contradictions().is_empty(), "{:?}", self.journals.contradictions());
        let genesis_hash = self.genesis.hash().0;
        let stopped: Vec<_> = (0..self.members())
            .map(|member| Signatures::open(&self.config(member).data_dir.join("db"), genesis_hash))
            .collect();
        let schedule = self.schedule();
        let mut compared = 0;
        for (member, one) in stopped.iter().enumerate() {
            for ((epoch, view), signed) in &one.first_seen {
                let slot = Slot::Commitment { epoch: *epoch, view: *view };
                let journaled = stopped[schedule.leader(*view)].journaled(slot);
                let digest = signed.commitment.digest();
                assert_eq!(journaled, Some(digest), "view {view} as member {member} saw it signed");
                compared += 1;
            }
        }
        assert!(compared > 0, "nobody saw a commitment");
        for ((member, height), released) in &seen.released {
            let header = SignedBundleHeader::decode(released).unwrap().header;
            let journaled = stopped[*member].journaled(Slot::Bundle { height: *height });
            assert_eq!(journaled, Some(header.digest()), "member {member}, bundle of {height}");
        }
    }

    /// Opens a stopped member's database as the member would.
    pub fn open_store(&self, member: usize) -> Store {
        Store::open(self.config(member).data_dir.join("db"), self.genesis.hash().0).unwrap()
    }
}
