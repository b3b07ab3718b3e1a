//! The order rule: which permutation of a set of envelopes is the only valid one.
//!
//! # Rule (protocol §4)
//!
//! 1. Every payer has a queue of envelopes, sorted by payer nonce.
//! 2. Look at the *heads* of all queues: each payer's lowest remaining nonce.
//! 3. Take the head with the highest effective priority fee
//!    (`min(max_priority_fee, max_fee − base_fee)`).
//! 4. Break ties by the smallest `keccak256(parent ‖ envelope_id)`, so that nobody can buy a place
//!    among equals before the parent is known.
//! 5. Repeat until the set is exhausted.
//!
//! ```text
//!   payer A:  n7 fee 2   n8 fee 9          heads: A.n7 (2)  B.n0 (5)  C.n3 (5)
//!   payer B:  n0 fee 5                     take B or C, by the tie hash
//!   payer C:  n3 fee 5                     ... then A.n7, and only then A.n8
//! ```
//!
//! An envelope is *orderable* if its maximum fee covers the base fee and the posting of its bytes to L1, it has not
//! expired, its nonce continues its payer's, and the payer's escrow budget covers its maximum charge together with
//! everything the payer has ordered since the budget was read.
//!
//! # Forced envelopes
//!
//! Envelopes that come in through the queue on L1 (*forced*) stand in front, in the order of the queue. Each that is
//! orderable where its turn is gets the next position; one that is not has none and is consumed without. That is
//! no choice of the leader's: [`take_forced`] says which. What is left of the block and of the payers' accounts
//! is for the rule above.
//!
//! # Use
//!
//! The leader calls [`select`] on what its mempool offers and gets the prefix-closed set that fits,
//! in the one valid order. A member calls [`check`] on what the leader proposed: the list must be
//! what the rule makes out of its own members. So the leader chooses a *set*, never a permutation.
//!
//! Both are pure functions of public data: no clock, no mempool, no randomness.

use alloy_primitives::{Address, B256, U256, keccak256};
use blindfold_wire::Floor;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
};

/// What the rule needs to know of one envelope. All of it is public before opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Envelope id (32 bytes).
    pub id: B256,
    /// Account that pays for the envelope, recovered from its signature.
    pub payer: Address,
    /// The payer's envelope nonce.
    pub nonce: u64,
    /// Upper bound on the gas price, wei per gas.
    pub max_fee_per_gas: u128,
    /// Upper bound on the tip, wei per gas.
    pub max_priority_fee_per_gas: u128,
    /// Reserved gas class, in gas.
    pub gas_limit: u64,
    /// Last height at which the envelope may be ordered.
    pub expiry_height: u64,
    /// Encoded size of the envelope, in bytes.
    pub size_bytes: usize,
    /// The most that ordering it can cost the payer, in wei.
    pub max_charge: U256,
}

/// A payer's ordering account: where its nonces continue and what it can still pay for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Nonce of the payer's next envelope.
    pub next_nonce: u64,
    /// Escrow still free to cover maximum charges, in wei.
    pub budget: U256,
}

impl Account {
    /// Account after an ancestor ordered `candidate`. Saturates: a certified ancestor was checked
    /// by a quorum, and a budget never goes below zero.
    #[must_use]
    pub fn after(self, candidate: &Candidate) -> Self {
        Self {
            next_nonce: candidate.nonce.saturating_add(1),
            budget: self.budget.saturating_sub(candidate.max_charge),
        }
    }
}

/// Accounts of the payers at the parent of the block in question: executed state at `h − k` minus
/// everything ordered since. A payer that is absent has nonce 0 and no escrow.
pub type Accounts = BTreeMap<Address, Account>;

/// Bounds of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Largest number of envelopes.
    pub max_count: usize,
    /// Largest sum of encoded envelope sizes, in bytes.
    pub max_bytes: usize,
    /// Largest sum of reserved gas classes, in gas.
    pub max_gas: u64,
}

/// Everything the rule depends on besides the envelopes.
#[derive(Clone, Debug)]
pub struct RuleContext<'a> {
    /// Digest of the parent commitment.
    pub parent: B256,
    /// Height that is being ordered.
    pub height: u64,
    /// What an envelope must offer at this height.
    pub floor: Floor,
    /// Payers' accounts at the parent.
    pub accounts: &'a Accounts,
    /// Block bounds.
    pub bounds: Bounds,
}

/// Why an ordered list is not what the rule makes of its members. Always the leader's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// More envelopes than [`Bounds::max_count`].
    #[error("{count} envelopes, at most {limit} are allowed")]
    TooMany {
        /// Envelopes in the list.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// More bytes than [`Bounds::max_bytes`].
    #[error("{bytes} bytes of envelopes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes in the list.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// More reserved gas than [`Bounds::max_gas`].
    #[error("{gas} gas reserved, at most {limit} is allowed")]
    TooMuchGas {
        /// Sum of reserved classes.
        gas: u64,
        /// The bound.
        limit: u64,
    },
    /// Another envelope stands where a forced one belongs.
    #[error("position {position}: a forced envelope belongs here")]
    Forced {
        /// Position in the list.
        position: usize,
    },
    /// The envelope's maximum fee does not cover the base fee, or not the posting of its bytes.
    #[error("position {position}: maximum fee is below the base fee or the price of posting")]
    Underpriced {
        /// Position in the list.
        position: usize,
    },
    /// The envelope expired before this height.
    #[error("position {position}: expired")]
    Expired {
        /// Position in the list.
        position: usize,
    },
    /// The payer's nonces have a hole, a repetition or a wrong start.
    #[error("position {position}: payer nonce {found}, expected {expected}")]
    Nonce {
        /// Position in the list.
        position: usize,
        /// The payer's next nonce there.
        expected: u64,
        /// The envelope's nonce.
        found: u64,
    },
    /// The payer's escrow does not cover everything it has ordered.
    #[error("position {position}: the payer's escrow does not cover the maximum charge")]
    Escrow {
        /// Position in the list.
        position: usize,
    },
    /// Another envelope of the same list should stand here.
    #[error("position {position}: the order rule puts another envelope here")]
    Permuted {
        /// First position that differs from the rule's.
        position: usize,
    },
}

/// Sort key of a queue's head: the greatest key is taken first.
#[derive(PartialEq, Eq)]
struct HeadKey {
    priority_fee: u128,
    tie: Reverse<B256>,
    index: usize,
}

impl Ord for HeadKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.priority_fee, &self.tie, Reverse(self.index)).cmp(&(
            other.priority_fee,
            &other.tie,
            Reverse(other.index),
        ))
    }
}

impl PartialOrd for HeadKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Hash that breaks ties between equal priority fees: `keccak256(parent ‖ envelope_id)`.
pub fn tie_hash(parent: &B256, id: &B256) -> B256 {
    let mut bytes = [0u8; 64];
    bytes[..32].copy_from_slice(parent.as_slice());
    bytes[32..].copy_from_slice(id.as_slice());
    keccak256(bytes)
}

impl RuleContext<'_> {
    /// Effective priority fee of a candidate whose maximum fee covers what it must.
    fn priority_fee(&self, candidate: &Candidate) -> Option<u128> {
        self.floor.priority_fee(candidate.max_fee_per_gas, candidate.max_priority_fee_per_gas)
    }
}

fn head(candidates: &[Candidate], index: usize, context: &RuleContext<'_>) -> Option<HeadKey> {
    let candidate = &candidates[index];
    Some(HeadKey {
        priority_fee: context.priority_fee(candidate)?,
        tie: Reverse(tie_hash(&context.parent, &candidate.id)),
        index,
    })
}

/// What a block holds already, and the accounts that this changed.
#[derive(Debug, Default)]
struct Filled {
    count: usize,
    bytes: usize,
    gas: u64,
    accounts: BTreeMap<Address, Account>,
}

impl Filled {
    fn account(&self, payer: &Address, context: &RuleContext<'_>) -> Account {
        let changed = self.accounts.get(payer).or_else(|| context.accounts.get(payer));
        changed.copied().unwrap_or_default()
    }

    /// Whether there is room in the block for one more, and in its payer's budget.
    fn fits(&self, candidate: &Candidate, account: &Account, bounds: &Bounds) -> bool {
        self.count < bounds.max_count
            && self.bytes.saturating_add(candidate.size_bytes) <= bounds.max_bytes
            && self.gas.saturating_add(candidate.gas_limit) <= bounds.max_gas
            && account.budget >= candidate.max_charge
    }

    fn add(&mut self, candidate: &Candidate, account: Account) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(candidate.size_bytes);
        self.gas = self.gas.saturating_add(candidate.gas_limit);
        self.accounts.insert(candidate.payer, account.after(candidate));
    }
}

/// Which of the envelopes that forced items hold get a position, in the order of the queue: indices into `forced`,
/// which has one entry for each item, `None` where the item holds no valid envelope. They stand at the first
/// positions; the others are consumed without one.
pub fn take_forced(forced: &[Option<Candidate>], context: &RuleContext<'_>) -> Vec<usize> {
    fill_forced(forced, context).0
}

fn fill_forced(forced: &[Option<Candidate>], context: &RuleContext<'_>) -> (Vec<usize>, Filled) {
    let (mut taken, mut filled) = (Vec::new(), Filled::default());
    for (index, candidate) in forced.iter().enumerate() {
        let Some(candidate) = candidate else { continue };
        let account = filled.account(&candidate.payer, context);
        let orderable = candidate.expiry_height >= context.height
            && context.priority_fee(candidate).is_some()
            && candidate.nonce == account.next_nonce
            && filled.fits(candidate, &account, &context.bounds);
        if orderable {
            filled.add(candidate, account);
            taken.push(index);
        }
    }
    (taken, filled)
}

/// What a leader orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Forced items whose envelopes come first, in order: [`take_forced`].
    pub forced: Vec<usize>,
    /// Candidates that come after them, in order.
    pub chosen: Vec<usize>,
}

/// Chooses from `candidates` what fits into a block after the `forced` envelopes and returns both in the only valid
/// order.
///
/// Takes greedily by the rule. A payer whose head is not orderable, or does not fit any more, is
/// left out from there on (its later nonces cannot jump a hole); other payers go on. Two candidates
/// of one payer and nonce compete: the one the rule ranks higher stands. [`check`] accepts the
/// result under the same context.
pub fn select(
    forced: &[Option<Candidate>],
    candidates: &[Candidate],
    context: &RuleContext<'_>,
) -> Selection {
    let (forced, mut filled) = fill_forced(forced, context);

    // Step 1: one queue per payer, from its next nonce on without holes.
    let mut queues: BTreeMap<Address, BTreeMap<u64, HeadKey>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        if candidate.expiry_height < context.height {
            continue;
        }
        let Some(key) = head(candidates, index, context) else {
            continue;
        };
        let queue = queues.entry(candidate.payer).or_default();
        match queue.get(&candidate.nonce) {
            Some(standing) if *standing >= key => {}
            _ => {
                queue.insert(candidate.nonce, key);
            }
        }
    }

    // Step 2: the heads.
    let mut heads = BinaryHeap::new();
    for (payer, queue) in &mut queues {
        if let Some(key) = queue.remove(&filled.account(payer, context).next_nonce) {
            heads.push(key);
        }
    }

    // Steps 3 to 5.
    let mut chosen = Vec::new();
    while filled.count < context.bounds.max_count {
        let Some(HeadKey { index, .. }) = heads.pop() else {
            break;
        };
        let candidate = &candidates[index];
        let account = filled.account(&candidate.payer, context);
        if !filled.fits(candidate, &account, &context.bounds) {
            continue;
        }
        filled.add(candidate, account);
        chosen.push(index);
        let next_nonce = account.after(candidate).next_nonce;
        if let Some(next) =
            queues.get_mut(&candidate.payer).and_then(|queue| queue.remove(&next_nonce))
        {
            heads.push(next);
        }
    }
    Selection { forced, chosen }
}

/// Checks that `ordered` begins with the `forced` envelopes that have a position, and that the rest is orderable and
/// stands in the one order the rule makes of its members.
///
/// # Errors
///
/// The first [`OrderError`] found; every one of them is permanent for this parent and the leader's
/// fault.
pub fn check(
    forced: &[Option<Candidate>],
    ordered: &[Candidate],
    context: &RuleContext<'_>,
) -> Result<(), OrderError> {
    check_bounds(ordered, &context.bounds)?;

    // What was forced, first.
    let (taken, Filled { mut accounts, .. }) = fill_forced(forced, context);
    for (position, index) in taken.iter().enumerate() {
        let expected = forced[*index].as_ref().map(|candidate| candidate.id);
        if ordered.get(position).map(|candidate| candidate.id) != expected {
            return Err(OrderError::Forced { position });
        }
    }
    let first = taken.len();

    // The rest orderable one by one, in list order.
    let mut queues: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for (position, candidate) in ordered.iter().enumerate().skip(first) {
        if candidate.expiry_height < context.height {
            return Err(OrderError::Expired { position });
        }
        if context.priority_fee(candidate).is_none() {
            return Err(OrderError::Underpriced { position });
        }
        let account = accounts
            .entry(candidate.payer)
            .or_insert_with(|| context.accounts.get(&candidate.payer).copied().unwrap_or_default());
        if candidate.nonce != account.next_nonce {
            return Err(OrderError::Nonce {
                position,
                expected: account.next_nonce,
                found: candidate.nonce,
            });
        }
        if account.budget < candidate.max_charge {
            return Err(OrderError::Escrow { position });
        }
        *account = account.after(candidate);
        queues.entry(candidate.payer).or_default().push(position);
    }

    // Order the same set again; nonces are contiguous by now, so queues are in list order.
    let mut cursors: BTreeMap<Address, usize> = BTreeMap::new();
    let mut heads: BinaryHeap<HeadKey> =
        queues.values().filter_map(|queue| head(ordered, *queue.first()?, context)).collect();
    for position in first..ordered.len() {
        match heads.pop() {
            Some(HeadKey { index, .. }) if index == position => {}
            _ => return Err(OrderError::Permuted { position }),
        }
        let payer = ordered[position].payer;
        let cursor = cursors.entry(payer).or_default();
        *cursor += 1;
        if let Some(next) = queues
            .get(&payer)
            .and_then(|queue| queue.get(*cursor))
            .and_then(|index| head(ordered, *index, context))
        {
            heads.push(next);
        }
    }
    Ok(())
}

fn check_bounds(ordered: &[Candidate], bounds: &Bounds) -> Result<(), OrderError> {
    if ordered.len() > bounds.max_count {
        return Err(OrderError::TooMany { count: ordered.len(), limit: bounds.max_count });
    }
    let bytes = ordered.iter().fold(0usize, |sum, c| sum.saturating_add(c.size_bytes));
    if bytes > bounds.max_bytes {
        return Err(OrderError::TooLarge { bytes, limit: bounds.max_bytes });
    }
    let gas = ordered.iter().fold(0u64, |sum, c| sum.saturating_add(c.gas_limit));
    if gas > bounds.max_gas {
        return Err(OrderError::TooMuchGas { gas, limit: bounds.max_gas });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
