use super::*;

mod forced;

use alloy_primitives::U256;
use blindfold_wire::{Block, testkit::TestCommittee};

const LAG: u64 = 2;
const NOW_MS: u64 = 1_700_000_100_000;

struct Setting {
    committee: TestCommittee,
    leaders: LeaderBook,
    parent: Link,
    executed: Executed,
}

fn candidate_of(payer: u8, nonce: u64, tip: u128) -> Candidate {
    Candidate {
        id: B256::repeat_byte(payer ^ tip as u8),
        payer: Address::repeat_byte(payer),
        nonce,
        max_fee_per_gas: 1 << 40,
        max_priority_fee_per_gas: tip,
        gas_limit: 1 << 15,
        expiry_height: 1_000,
        size_bytes: 700,
        max_charge: U256::from(10),
    }
}

/// A parent at height 4, view 9 (one view was skipped), and executed state of height 3.
fn setting() -> Setting {
    setting_with(|_| {})
}

fn setting_with(adjust: impl FnOnce(&mut Genesis)) -> Setting {
    let committee = TestCommittee::with(4, 3, |genesis| {
        genesis.params.executed_lag = LAG;
        adjust(genesis);
    });
    let schedule = LeaderSchedule::new(0, committee.genesis.hash(), &[4, 3, 2, 1]).unwrap();
    let leaders = LeaderBook::new(&committee.genesis, schedule);
    let mut commitment = Block::genesis(&committee.genesis).commitment.commitment;
    commitment.height = 4;
    commitment.view = 9;
    commitment.timestamp_ms = NOW_MS - 500;
    let parent = Link {
        digest: commitment.digest(),
        commitment,
        candidates: vec![candidate_of(1, 5, 1)].into(),
        forced: Arc::default(),
    };
    let executed = Executed {
        executed_root: B256::repeat_byte(0xee),
        accounts: Accounts::from([
            (Address::repeat_byte(1), Account { next_nonce: 5, budget: U256::from(30) }),
            (Address::repeat_byte(2), Account { next_nonce: 0, budget: U256::from(30) }),
        ]),
    };
    Setting { committee, leaders, parent, executed }
}

impl Setting {
    fn commitment(&self) -> OrderCommitment {
        let parent = &self.parent.commitment;
        OrderCommitment {
            height: 5,
            view: 11,
            parent: self.parent.digest,
            timestamp_ms: NOW_MS,
            base_fee: next_base_fee(&self.committee.genesis.params, &self.parent),
            executed_root: self.executed.executed_root,
            ..parent.clone()
        }
    }

    fn sign(&self, commitment: OrderCommitment) -> SignedCommitment {
        let leader = self.leaders.schedule().leader(commitment.view);
        commitment.sign(&self.committee.members[leader].signer)
    }

    fn verdict(&self, signed: &SignedCommitment, body: &[Candidate], executed: bool) -> Verdict {
        let link = Link {
            commitment: signed.commitment.clone(),
            digest: signed.digest(),
            candidates: body.into(),
            forced: Arc::default(),
        };
        self.validate(signed, &link, executed, &L1View::new())
    }

    fn validate(
        &self,
        signed: &SignedCommitment,
        link: &Link,
        executed: bool,
        l1: &L1View,
    ) -> Verdict {
        let since = [self.parent.clone()];
        validate(
            signed,
            link,
            &Surroundings {
                params: &self.committee.genesis.params,
                leaders: &self.leaders,
                current_view: 12,
                parent: &self.parent,
                since: &since,
                executed: executed.then_some(&self.executed),
                now_ms: NOW_MS,
                l1,
            },
        )
    }
}

#[test]
fn a_good_block_is_valid_and_pending_until_executed() {
    let setting = setting();
    let signed = setting.sign(setting.commitment());
    let body = [candidate_of(1, 6, 2), candidate_of(2, 0, 1)];
    assert_eq!(setting.verdict(&signed, &body, true), Verdict::Valid);
    assert_eq!(
        setting.verdict(&signed, &body, false),
        Verdict::Pending(Pending::Execution { height: 3 })
    );
}

#[test]
fn a_future_timestamp_is_pending_never_invalid() {
    let setting = setting();
    let drift = setting.committee.genesis.params.clock_drift_ms;
    let mut commitment = setting.commitment();
    commitment.timestamp_ms = NOW_MS + drift;
    assert_eq!(setting.verdict(&setting.sign(commitment.clone()), &[], true), Verdict::Valid);
    commitment.timestamp_ms += 7;
    for executed in [true, false] {
        assert_eq!(
            setting.verdict(&setting.sign(commitment.clone()), &[], executed),
            Verdict::Pending(Pending::Clock { wait_ms: 7 })
        );
    }
}

#[test]
fn objective_faults_are_invalid_before_anything_is_executed() {
    let setting = setting();
    let parent = setting.parent.commitment.clone();
    type Change = (&'static str, fn(&mut OrderCommitment));
    let changes: [Change; 13] = [
        ("chain", |c| c.chain_id += 1),
        ("settlement", |c| c.settlement = Address::repeat_byte(9)),
        ("epoch", |c| c.epoch = 1),
        ("l1 block", |c| c.l1_block = 1),
        ("l1 base fee", |c| c.l1_base_fee = 1),
        ("forced cursor", |c| c.forced_cursor = 1),
        ("forced hash", |c| c.forced_hash = B256::repeat_byte(1)),
        ("parent", |c| c.parent = B256::repeat_byte(1)),
        ("height skips", |c| c.height += 1),
        ("view not above the parent's", |c| c.view = 9),
        ("view above the current", |c| c.view = 13),
        ("timestamp stands still", |c| c.timestamp_ms = NOW_MS - 500),
        ("base fee", |c| c.base_fee += 1),
    ];
    assert_eq!(parent.timestamp_ms, NOW_MS - 500);
    for (name, change) in changes {
        let mut commitment = setting.commitment();
        change(&mut commitment);
        let verdict = setting.verdict(&setting.sign(commitment), &[], false);
        assert!(matches!(verdict, Verdict::Invalid(_)), "{name}: {verdict:?}");
    }
}

#[test]
fn only_the_leader_of_the_commitments_view_may_sign() {
    let setting = setting();
    let commitment = setting.commitment();
    let leader = setting.leaders.schedule().leader(commitment.view);
    for member in 0..4 {
        let signed = commitment.clone().sign(&setting.committee.members[member].signer);
        let valid = setting.verdict(&signed, &[], true) == Verdict::Valid;
        assert_eq!(valid, member == leader, "member {member}");
    }
}

#[test]
fn a_reproposal_keeps_its_first_view() {
    // The block of view 11 is proposed again in view 12: view 11's leader signed it.
    let setting = setting();
    let signed = setting.sign(setting.commitment());
    assert_eq!(signed.commitment.view, 11);
    assert_eq!(setting.verdict(&signed, &[], true), Verdict::Valid);
}

#[test]
fn another_executed_root_is_invalid() {
    let setting = setting();
    let mut commitment = setting.commitment();
    commitment.executed_root = B256::repeat_byte(0xef);
    assert_eq!(
        setting.verdict(&setting.sign(commitment), &[], true),
        Verdict::Invalid(CommitmentError::ExecutedRoot { height: 3 })
    );
}

#[test]
fn no_root_is_certified_below_the_lag() {
    let mut setting = setting();
    setting.parent.commitment.height = 0;
    setting.parent.digest = setting.parent.commitment.digest();
    let mut commitment = setting.commitment();
    commitment.height = 1;
    assert!(matches!(
        setting.verdict(&setting.sign(commitment.clone()), &[], true),
        Verdict::Invalid(CommitmentError::ExecutedRoot { height: 0 })
    ));
    commitment.executed_root = B256::ZERO;
    assert_eq!(setting.verdict(&setting.sign(commitment), &[], true), Verdict::Valid);
}

#[test]
fn ancestors_advance_nonces_and_eat_escrow() {
    let setting = setting();
    let signed = setting.sign(setting.commitment());
    let verdict = |body: &[Candidate]| setting.verdict(&signed, body, true);
    // The parent ordered nonce 5 of payer 1 at a maximum charge of 10 of 30.
    assert_eq!(
        verdict(&[candidate_of(1, 5, 1)]),
        Verdict::Invalid(OrderError::Nonce { position: 0, expected: 6, found: 5 }.into())
    );
    assert_eq!(verdict(&[candidate_of(1, 6, 3), candidate_of(1, 7, 2)]), Verdict::Valid);
    assert_eq!(
        verdict(&[candidate_of(1, 6, 3), candidate_of(1, 7, 2), candidate_of(1, 8, 1)]),
        Verdict::Invalid(OrderError::Escrow { position: 2 }.into())
    );
    let full = [candidate_of(2, 0, 3), candidate_of(2, 1, 2), candidate_of(2, 2, 1)];
    assert_eq!(verdict(&full), Verdict::Valid, "a payer without ancestors has all 30");
}

#[test]
fn reserved_gas_of_the_parent_moves_the_base_fee() {
    let mut setting = setting();
    let params = setting.committee.genesis.params.clone();
    let low = next_base_fee(&params, &setting.parent);
    setting.parent.candidates =
        (0..2_000).map(|nonce| candidate_of(1, nonce, 1)).collect::<Vec<_>>().into();
    let high = next_base_fee(&params, &setting.parent);
    assert!(low < params.initial_base_fee && high > params.initial_base_fee);
}
