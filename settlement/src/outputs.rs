//! Outputs, the state roots on L1 that withdrawals rely on: what a member does about them, decided without I/O.
//!
//! # Roles
//!
//! | who | does |
//! |---|---|
//! | proposer | bonds the state root of a posted batch, one it has computed itself |
//! | anyone | challenges for the same bond; a member does if it has computed another root |
//! | prover | answers a challenge with the committee's certificate of the root; a member does if the root is its own |
//!
//! # Steps
//!
//! ```text
//!            Propose                Prove
//!   batch ────────────▶ Proposed ─ Challenge ▶ Challenged ──────────▶ final, both bonds owed
//!                          │ window over           │ not proven in time
//!                          ▼                       ▼
//!                        final ─ ReturnBond ▶    Reject: gone, both bonds owed to the challenger
//! ```
//!
//! Times are L1's, in seconds. All that is asked for is on L1 (and the roots that this member has computed), so a
//! restart or a reorg forgets nothing: the next look finds what is still to be done.
//!
//! # Turns
//!
//! One member does a thing at a time: the seat that posts batch i begins with output i, and who does nothing for
//! `takeover_s` loses its turn. In the last quarter of a window everyone tries: two transactions of which one
//! reverts cost less than a bond.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolValue as _;
use blindfold_wire::{FinalizationCertificate, OrderCommitment};

use crate::{batch::Batch, bindings::CommitteeVerifier, points::PointError, poster::Rotation};

/// How far an output has got on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStatus {
    /// Bonded; final once its deadline is over.
    Proposed,
    /// Somebody demands a proof until its deadline.
    Challenged,
    /// Final, and the bonds are free: proven, or nobody challenged and the bond was returned.
    Settled,
}

/// An output on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// Number of its batch.
    pub index: u64,
    /// The state root proposed.
    pub state_root: B256,
    /// Who has the bond in it.
    pub proposer: Address,
    /// When it was proposed.
    pub proposed_at_s: u64,
    /// When its present window ends; the last second in which it can be challenged, or proven.
    pub deadline_s: u64,
    /// How far it has got.
    pub status: OutputStatus,
    /// Who challenged it; zero if nobody did.
    pub challenger: Address,
}

impl Output {
    /// Whether the bridge pays out against it in an L1 block of time `now_s`.
    #[must_use]
    pub const fn is_final(&self, now_s: u64) -> bool {
        match self.status {
            OutputStatus::Settled => true,
            OutputStatus::Proposed => now_s > self.deadline_s,
            OutputStatus::Challenged => false,
        }
    }
}

/// What this member thinks of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// It is the root that this member has computed, and a quorum has certified it.
    Right,
    /// It is not the root that this member has computed and a quorum has certified.
    Wrong,
    /// This member has not got so far.
    Unknown,
}

/// A batch that could be proposed, because withdrawals wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Number of the batch: the newest whose root is right.
    pub batch: u64,
    /// Number of the batch with the first withdrawal that no output covers. The turn goes by it, since newer batches
    /// come all the time.
    pub waiting: u64,
    /// When that one was posted.
    pub waiting_since_s: u64,
}

/// When to do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPolicy {
    /// Whose turn it is.
    pub rotation: Rotation,
    /// Seconds from one output to the next, at least: every one has a bond in it until its window is over.
    pub interval_s: u64,
    /// The oracle's time to challenge.
    pub output_window_s: u64,
    /// The oracle's time to prove.
    pub prove_window_s: u64,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Prove this output, which is challenged.
    Prove(u64),
    /// Challenge this output, which is wrong.
    Challenge(u64),
    /// End the own challenge of this output, which nobody answered.
    Reject(u64),
    /// Propose the output of this batch.
    Propose(u64),
    /// Take the own bond out of this output, which nobody challenged.
    ReturnBond(u64),
}

impl Duty {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Prove(_) => "prove",
            Self::Challenge(_) => "challenge",
            Self::Reject(_) => "reject",
            Self::Propose(_) => "propose",
            Self::ReturnBond(_) => "return_bond",
        }
    }

    /// Number of the batch.
    #[must_use]
    pub const fn index(&self) -> u64 {
        let (Self::Prove(index)
        | Self::Challenge(index)
        | Self::Reject(index)
        | Self::Propose(index)
        | Self::ReturnBond(index)) = self;
        *index
    }
}

/// What the member with this seat and account has to do at `now_s`, the most urgent first. `outputs` are those that
/// are not [`OutputStatus::Settled`], with what this member thinks of them; `last_proposed_s` is when the newest output that is not
/// wrong was proposed.
#[must_use]
pub fn duties(
    seat: u32,
    own: Address,
    policy: &OutputPolicy,
    now_s: u64,
    outputs: &[(Output, Judgement)],
    candidate: Option<&Candidate>,
    last_proposed_s: Option<u64>,
) -> Vec<Duty> {
    let mut duties: Vec<_> = outputs
        .iter()
        .filter_map(|(output, judgement)| of(seat, own, policy, now_s, output, *judgement))
        .collect();
    if let Some(candidate) = candidate {
        let from = last_proposed_s.map_or(0, |last| last.saturating_add(policy.interval_s));
        let from = from.max(candidate.waiting_since_s);
        let waited = now_s.checked_sub(from);
        if waited.is_some_and(|waited| policy.rotation.seat(candidate.waiting, waited) == seat) {
            duties.push(Duty::Propose(candidate.batch));
        }
    }
    let urgency = |duty: &Duty| match duty {
        Duty::Prove(_) => 0,
        Duty::Challenge(_) => 1,
        Duty::Reject(_) => 2,
        Duty::Propose(_) => 3,
        Duty::ReturnBond(_) => 4,
    };
    duties.sort_by_key(|duty| (urgency(duty), duty.index()));
    duties
}

fn of(
    seat: u32,
    own: Address,
    policy: &OutputPolicy,
    now_s: u64,
    output: &Output,
    judgement: Judgement,
) -> Option<Duty> {
    let Output { index, status, deadline_s, .. } = *output;
    let open = now_s <= deadline_s;
    let turn = |window_s: u64| {
        let waited = now_s.saturating_sub(deadline_s.saturating_sub(window_s));
        let late = deadline_s.saturating_sub(now_s) <= window_s / 4;
        late || policy.rotation.seat(index, waited) == seat
    };
    match (status, judgement) {
        (OutputStatus::Challenged, Judgement::Right) if open && turn(policy.prove_window_s) => {
            Some(Duty::Prove(index))
        }
        (OutputStatus::Proposed, Judgement::Wrong) if open && turn(policy.output_window_s) => {
            Some(Duty::Challenge(index))
        }
        (OutputStatus::Challenged, _) if !open && output.challenger == own => {
            Some(Duty::Reject(index))
        }
        (OutputStatus::Proposed, _) if !open && output.proposer == own => {
            Some(Duty::ReturnBond(index))
        }
        _ => None,
    }
}

/// The proof that the oracle's `CommitteeVerifier` takes for the output of `batch`: ABI encoding of a `CommitteeProof`.
///
/// `opening_root` is the one of the batch's last height; `chain` the commitments from `executedLag` heights above it
/// upwards, without holes, and `certificate` the last one's.
///
/// # Errors
/// [`PointError`] if the certificate's signature is no point: then it is no certificate.
pub fn committee_proof(
    batch: &Batch,
    opening_root: B256,
    chain: &[OrderCommitment],
    certificate: &FinalizationCertificate,
) -> Result<Bytes, PointError> {
    let proof = CommitteeVerifier::CommitteeProof {
        batch: batch.into(),
        openingRoot: opening_root,
        chain: chain.iter().map(Into::into).collect(),
        certificate: certificate.try_into()?,
    };
    Ok(proof.abi_encode().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);
    const POLICY: OutputPolicy = OutputPolicy {
        rotation: Rotation { members: 4, takeover_s: 60 },
        interval_s: 3_600,
        output_window_s: 10_000,
        prove_window_s: 1_000,
    };

    /// Output 5, which is seat 0's, proposed at 50,000 by another.
    fn output() -> Output {
        Output {
            index: 5,
            state_root: B256::repeat_byte(5),
            proposer: OTHER,
            proposed_at_s: 50_000,
            deadline_s: 60_000,
            status: OutputStatus::Proposed,
            challenger: Address::ZERO,
        }
    }

    fn challenged() -> Output {
        let status = OutputStatus::Challenged;
        Output { status, challenger: OTHER, deadline_s: 52_000, ..output() }
    }

    fn done(seat: u32, now_s: u64, output: Output, judgement: Judgement) -> Vec<Duty> {
        duties(seat, OWN, &POLICY, now_s, &[(output, judgement)], None, None)
    }

    #[test]
    fn a_right_output_is_proven_when_challenged_and_only_then() {
        use Judgement::{Right, Unknown, Wrong};
        // Challenged at 51,000: seat 0's for a minute, then seat 1's, and in the end everybody's.
        for (seat, now_s, judgement, expected) in [
            (0, 51_000, Right, true),
            (1, 51_000, Right, false),
            (0, 51_060, Right, false),
            (1, 51_060, Right, true),
            (0, 51_749, Right, true),
            (2, 51_749, Right, false),
            (2, 51_750, Right, true),
            (2, 52_000, Right, true),
            (2, 52_001, Right, false),
            (0, 51_000, Unknown, false),
            (0, 51_000, Wrong, false),
        ] {
            let duties = done(seat, now_s, challenged(), judgement);
            let expected = if expected { vec![Duty::Prove(5)] } else { Vec::new() };
            assert_eq!(duties, expected, "{seat} {now_s} {judgement:?}");
        }
        assert!(done(0, 50_000, output(), Right).is_empty());
    }

    #[test]
    fn a_wrong_output_is_challenged_in_time() {
        use Judgement::{Right, Unknown, Wrong};
        assert_eq!(done(0, 50_000, output(), Wrong), [Duty::Challenge(5)]);
        assert!(done(1, 50_000, output(), Wrong).is_empty());
        assert_eq!(done(1, 60_000, output(), Wrong), [Duty::Challenge(5)], "late: everybody");
        assert!(done(0, 60_001, output(), Wrong).is_empty(), "too late");
        assert!(done(0, 50_000, output(), Unknown).is_empty());
        assert!(done(0, 50_000, output(), Right).is_empty());
        assert!(done(0, 51_000, challenged(), Wrong).is_empty(), "somebody did");
    }

    #[test]
    fn own_bonds_are_taken_back_when_their_time_is_over() {
        let own = Output { proposer: OWN, ..output() };
        assert!(done(0, 60_000, own, Judgement::Right).is_empty());
        assert_eq!(done(3, 60_001, own, Judgement::Right), [Duty::ReturnBond(5)]);
        assert!(done(3, 60_001, output(), Judgement::Right).is_empty());
        let own = Output { challenger: OWN, ..challenged() };
        assert!(done(0, 52_000, own, Judgement::Wrong).is_empty());
        assert_eq!(done(3, 52_001, own, Judgement::Wrong), [Duty::Reject(5)]);
        assert!(done(3, 52_001, challenged(), Judgement::Wrong).is_empty());
    }

    #[test]
    fn one_member_proposes_where_withdrawals_wait_and_not_too_often() {
        let candidate = Candidate { batch: 9, waiting: 6, waiting_since_s: 70_000 };
        let proposed = |seat, now_s, last| {
            duties(seat, OWN, &POLICY, now_s, &[], Some(&candidate), last) == [Duty::Propose(9)]
        };
        // Batch 6 is seat 1's.
        assert!(proposed(1, 70_000, None) && !proposed(2, 70_000, None));
        assert!(!proposed(1, 70_060, None) && proposed(2, 70_060, None));
        assert!(!proposed(1, 69_999, None), "before it was posted");
        assert!(!proposed(1, 70_000, Some(66_401)) && proposed(1, 70_001, Some(66_401)));
        assert!(duties(1, OWN, &POLICY, 70_000, &[], None, None).is_empty());
    }

    #[test]
    fn the_most_urgent_comes_first() {
        let own = Output { proposer: OWN, index: 1, ..output() };
        let candidate = Candidate { batch: 9, waiting: 1, waiting_since_s: 60_001 };
        let late = Output { deadline_s: 60_100, ..challenged() };
        let wrong = Output { index: 9, deadline_s: 70_001, ..output() };
        let outputs =
            [(own, Judgement::Right), (wrong, Judgement::Wrong), (late, Judgement::Right)];
        assert_eq!(
            duties(0, OWN, &POLICY, 60_001, &outputs, Some(&candidate), None),
            [Duty::Prove(5), Duty::Challenge(9), Duty::Propose(9), Duty::ReturnBond(1)]
        );
    }

    proptest! {
        /// Whatever L1 says, nothing is done that the oracle would refuse, and outside the last quarter by one seat only.
        #[test]
        fn duties_are_possible(
            index in 1u64..100, now_s: u64, deadline_s: u64, status in 0u8..3, judgement in 0u8..3, own: bool,
        ) {
            let status = [OutputStatus::Proposed, OutputStatus::Challenged, OutputStatus::Settled][usize::from(status)];
            let judgement = [Judgement::Right, Judgement::Wrong, Judgement::Unknown][usize::from(judgement)];
            let who = if own { OWN } else { OTHER };
            let output = Output { index, deadline_s, status, proposer: who, challenger: who, ..output() };
            let by_seat: Vec<_> = (0..4).map(|seat| done(seat, now_s, output, judgement)).collect();
            for duties in &by_seat {
                prop_assert!(duties.len() <= 1);
                let Some(duty) = duties.first() else { continue };
                let allowed = match duty {
                    Duty::Prove(_) => status == OutputStatus::Challenged && now_s <= deadline_s,
                    Duty::Challenge(_) => status == OutputStatus::Proposed && now_s <= deadline_s,
                    Duty::Reject(_) => status == OutputStatus::Challenged && now_s > deadline_s && own,
                    Duty::ReturnBond(_) => status == OutputStatus::Proposed && now_s > deadline_s && own,
                    Duty::Propose(_) => false,
                };
                prop_assert!(allowed, "{duty:?}");
            }
            let asked = by_seat.iter().filter(|duties| {
                matches!(duties.first(), Some(Duty::Prove(_) | Duty::Challenge(_)))
            }).count();
            prop_assert!(asked <= 1 || asked == 4);
        }
    }
}
