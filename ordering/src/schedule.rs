//! The leader schedule: who proposes in which view of an epoch.
//!
//! # Shape
//!
//! An epoch's schedule is a table of `L = max(64, 4n)` slots; view `v` belongs to slot `v mod L`. The
//! table has two halves with the same number of slots per member, each half shuffled on its own:
//!
//! ```text
//!   slot     0 ........ L/2−1 | L/2 ........ L−1
//!   half     shuffle(seats,0) | shuffle(seats,1)        seats: member i appears seats[i] ≥ 1 times
//! ```
//!
//! - **Weights.** Seats of a half are given out by the Webster/Sainte-Laguë rule over the members'
//!   weights (stake × reliability, from finalized data only), after every member got one. So leadership
//!   follows stake, and still every member leads in each half of any window of `L` views.
//! - **Seed.** Fisher–Yates driven by keccak256 of (domain, beacon, epoch, half, counter). The beacon
//!   is the genesis hash in epoch 0 and later an output the previous committee signs after its last
//!   height is final; never raw certificate bytes, which differ between honest members.
//! - **Predictable.** The whole epoch is known at its start, so a standby can warm up before its slot.
//!
//! Stake weighs only this table. Votes and key shares are one per member.

use alloy_primitives::{B256, keccak256};
use blindfold_wire::Genesis;
use commonware_consensus::{
    simplex::elector::{Config, Elector, Scheduled, Terms},
    types::{Participant, Round},
};
use commonware_cryptography::certificate::Scheme;
use commonware_utils::ordered::Set;
use std::sync::Arc;

/// Fewest slots of a table.
pub const MIN_SLOTS: usize = 64;

/// Slots per member, at least.
pub const SLOTS_PER_MEMBER: usize = 4;

/// Most members a table is built for.
pub const MAX_MEMBERS: usize = 1024;

/// Domain of the shuffle.
const SHUFFLE_DOMAIN: &[u8] = b"blindfold/leader-schedule/shuffle/v1";

/// Why a schedule cannot be built. The configuration's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There is no member.
    #[error("a leader schedule needs at least one member")]
    NoMembers,
    /// More than [`MAX_MEMBERS`].
    #[error("a leader schedule is built for at most {MAX_MEMBERS} members")]
    TooManyMembers,
}

/// Leaders of one epoch. Cheap to clone.
///
/// ```
/// use blindfold_ordering::schedule::LeaderSchedule;
/// let schedule = LeaderSchedule::new(0, [7; 32].into(), &[40, 30, 20, 10]).unwrap();
/// assert_eq!(schedule.slots(), 64);
/// assert!(schedule.leader(12) < 4);
/// assert_eq!(schedule.leader(12), schedule.leader(12 + 64));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderSchedule {
    epoch: u64,
    table: Arc<[u16]>,
}

impl LeaderSchedule {
    /// Builds the table of `epoch` from the epoch's `beacon` and the members' `weights`, indexed as
    /// the committee is. A weight of zero still keeps one slot in each half.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] if there is no member or there are too many.
    pub fn new(epoch: u64, beacon: B256, weights: &[u64]) -> Result<Self, ScheduleError> {
        if weights.is_empty() {
            return Err(ScheduleError::NoMembers);
        }
        if weights.len() > MAX_MEMBERS {
            return Err(ScheduleError::TooManyMembers);
        }
        let half = MIN_SLOTS.max(SLOTS_PER_MEMBER * weights.len()) / 2;
        let seats = apportion(weights, half);
        let mut table = Vec::with_capacity(2 * half);
        for which in 0..2u8 {
            let mut slots: Vec<u16> = Vec::with_capacity(half);
            for (member, count) in seats.iter().enumerate() {
                // At most MAX_MEMBERS, so the index fits.
                slots.extend(std::iter::repeat_n(member as u16, *count));
            }
            shuffle(&mut slots, beacon, epoch, which);
            table.extend(slots);
        }
        Ok(Self { epoch, table: table.into() })
    }

    /// The table of a chain's first epoch: the genesis hash is its beacon, stakes are the weights.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] if there is no member or there are too many.
    pub fn first(genesis: &Genesis) -> Result<Self, ScheduleError> {
        let weights: Vec<u64> =
            genesis.committee.members.iter().map(|member| member.stake).collect();
        Self::new(0, genesis.hash(), &weights)
    }

    /// Index of the member that leads `view`.
    pub fn leader(&self, view: u64) -> usize {
        // The remainder is below the table's length, which is a usize.
        usize::from(self.table[(view % self.table.len() as u64) as usize])
    }

    /// The epoch this table is for.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Length of the table, in views.
    pub fn slots(&self) -> usize {
        self.table.len()
    }

    /// Number of slots `member` has in the table.
    pub fn slots_of(&self, member: usize) -> usize {
        self.table.iter().filter(|slot| usize::from(**slot) == member).count()
    }

    /// First view after `view` that `member` leads, so that it can prepare. `None` for a stranger.
    pub fn next_turn(&self, member: usize, view: u64) -> Option<u64> {
        (1..=self.table.len() as u64)
            .map_while(|ahead| view.checked_add(ahead))
            .find(|view| self.leader(*view) == member)
    }
}

/// Distributes `seats` over `weights`: one each, the rest by Webster's rule; ties go to the lower
/// index. `seats ≥ weights.len()`.
fn apportion(weights: &[u64], seats: usize) -> Vec<usize> {
    let mut counts = vec![1usize; weights.len()];
    for _ in weights.len()..seats {
        let mut best = 0;
        for member in 1..weights.len() {
            // weight / (2·seats + 1), compared by cross multiplication.
            let challenger = u128::from(weights[member]) * (2 * counts[best] as u128 + 1);
            let standing = u128::from(weights[best]) * (2 * counts[member] as u128 + 1);
            if challenger > standing {
                best = member;
            }
        }
        counts[best] += 1;
    }
    counts
}

/// Fisher–Yates with unbiased indices from a keccak stream.
fn shuffle(slots: &mut [u16], beacon: B256, epoch: u64, half: u8) {
    let mut counter = 0u64;
    let mut draw = |bound: u64| loop {
        let mut input = Vec::with_capacity(SHUFFLE_DOMAIN.len() + 49);
        input.extend_from_slice(SHUFFLE_DOMAIN);
        input.extend_from_slice(beacon.as_slice());
        input.extend_from_slice(&epoch.to_be_bytes());
        input.push(half);
        input.extend_from_slice(&counter.to_be_bytes());
        counter += 1;
        let hash = keccak256(&input);
        let mut word = [0u8; 8];
        word.copy_from_slice(&hash[..8]);
        let value = u64::from_be_bytes(word);
        // Reject the incomplete last interval, so that every index is equally likely.
        if value < u64::MAX - u64::MAX % bound {
            return value % bound;
        }
    };
    for last in (1..slots.len()).rev() {
        let chosen = draw(last as u64 + 1) as usize;
        slots.swap(last, chosen);
    }
}

/// The schedule as the engine's elector: one leader per view, known before the view starts.
#[derive(Clone, Debug)]
pub struct ScheduleElector(LeaderSchedule);

impl From<LeaderSchedule> for ScheduleElector {
    fn from(schedule: LeaderSchedule) -> Self {
        Self(schedule)
    }
}

impl<S: Scheme> Config<S> for ScheduleElector {
    type Elector = Self;

    fn build(self, participants: &Set<S::PublicKey>) -> Self {
        assert!(!participants.is_empty(), "no participants");
        assert!(
            self.0.table.iter().all(|slot| usize::from(*slot) < participants.len()),
            "the schedule names members the committee does not have"
        );
        self
    }
}

impl<S: Scheme> Elector<S> for ScheduleElector {
    type Mode = Scheduled;

    fn terms(&self) -> Terms {
        Terms::rotating()
    }

    fn elect(&self, round: Round, (): ()) -> Participant {
        Participant::from_usize(self.0.leader(round.view().get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn halves(schedule: &LeaderSchedule) -> [Vec<usize>; 2] {
        let half = schedule.slots() as u64 / 2;
        [
            (0..half).map(|view| schedule.leader(view)).collect(),
            (half..2 * half).map(|view| schedule.leader(view)).collect(),
        ]
    }

    #[test]
    fn slots_follow_stake() {
        let schedule = LeaderSchedule::new(0, B256::repeat_byte(7), &[40, 30, 20, 10]).unwrap();
        let slots: Vec<_> = (0..4).map(|member| schedule.slots_of(member)).collect();
        assert_eq!(slots, [26, 20, 12, 6]);
    }

    #[test]
    fn a_seed_changes_the_order_and_an_epoch_too() {
        let weights = [1; 7];
        let a = LeaderSchedule::new(0, B256::repeat_byte(1), &weights).unwrap();
        let b = LeaderSchedule::new(0, B256::repeat_byte(2), &weights).unwrap();
        let c = LeaderSchedule::new(1, B256::repeat_byte(1), &weights).unwrap();
        assert_ne!(a.table, b.table);
        assert_ne!(a.table, c.table);
        assert_ne!(halves(&a)[0], halves(&a)[1], "halves are shuffled apart");
    }

    #[test]
    fn the_table_is_frozen() {
        let schedule = LeaderSchedule::new(3, B256::repeat_byte(9), &[5, 1, 1, 1]).unwrap();
        let bytes: Vec<u8> = schedule.table.iter().flat_map(|slot| slot.to_be_bytes()).collect();
        assert_eq!(alloy_primitives::hex::encode(keccak256(bytes)), FROZEN_TABLE);
    }

    /// Changing the table changes who may sign a commitment: it needs a new epoch rule.
    const FROZEN_TABLE: &str = "8e9a0b925c7821b138f29b9a9254f9820881fa1542929b3522f14a35b37a431f";

    #[test]
    fn next_turn_finds_the_next_slot() {
        let schedule = LeaderSchedule::new(0, B256::ZERO, &[1, 1, 1, 97]).unwrap();
        let turn = schedule.next_turn(1, 10).unwrap();
        assert!(turn > 10 && schedule.leader(turn) == 1);
        assert!((11..turn).all(|view| schedule.leader(view) != 1));
        assert_eq!(schedule.next_turn(4, 0), None);
    }

    #[test]
    fn refuses_an_empty_committee() {
        assert_eq!(LeaderSchedule::new(0, B256::ZERO, &[]), Err(ScheduleError::NoMembers));
    }

    proptest! {
        #[test]
        fn every_member_leads_in_each_half(
            weights in proptest::collection::vec(0u64..1_000_000, 1..60),
            seed: [u8; 32],
        ) {
            let schedule = LeaderSchedule::new(0, seed.into(), &weights).unwrap();
            prop_assert_eq!(schedule.slots(), MIN_SLOTS.max(4 * weights.len()));
            for half in halves(&schedule) {
                for member in 0..weights.len() {
                    prop_assert!(half.contains(&member));
                }
            }
        }

        #[test]
        fn more_stake_never_means_fewer_slots(
            weights in proptest::collection::vec(0u64..1_000_000, 2..40),
            seed: [u8; 32],
        ) {
            let schedule = LeaderSchedule::new(0, seed.into(), &weights).unwrap();
            for a in 0..weights.len() {
                for b in 0..weights.len() {
                    if weights[a] > weights[b] {
                        prop_assert!(schedule.slots_of(a) >= schedule.slots_of(b));
                    }
                }
            }
        }
    }
}
