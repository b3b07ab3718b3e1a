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
//! An envelope is *orderable* if its maximum fee covers the base fee, it has not expired, its nonce
//! continues its payer's, and the payer's escrow budget covers its maximum charge together with
//! everything the payer has ordered since the budget was read.
//!
//! # Use
//!
//! The leader calls [`select`] on what its mempool offers and gets the prefix-closed set that fits,
//! in the one valid order. A member calls [`check`] on what the leader proposed: the list must be
//! what the rule makes out of its own members. So the leader chooses a *set*, never a permutation.
//!
//! Both are pure functions of public data: no clock, no mempool, no randomness.

use alloy_primitives::{Address, B256, U256, keccak256};
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

impl Candidate {
    /// Effective priority fee under `base_fee`, wei per gas. `None` if the maximum fee does not
    /// cover the base fee.
    pub fn effective_priority_fee(&self, base_fee: u128) -> Option<u128> {
        let room = self.max_fee_per_gas.checked_sub(base_fee)?;
        Some(room.min(self.max_priority_fee_per_gas))
    }
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
    /// Base fee of this height, wei per gas.
    pub base_fee: u128,
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
    /// The envelope's maximum fee does not cover the base fee.
    #[error("position {position}: maximum fee is below the base fee")]
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

fn head(candidates: &[Candidate], index: usize, context: &RuleContext<'_>) -> Option<HeadKey> {
    let candidate = &candidates[index];
    Some(HeadKey {
        priority_fee: candidate.effective_priority_fee(context.base_fee)?,
        tie: Reverse(tie_hash(&context.parent, &candidate.id)),
        index,
    })
}

/// Chooses from `candidates` what fits into a block and returns their indices in the only valid
/// order.
///
/// Takes greedily by the rule. A payer whose head is not orderable, or does not fit any more, is
/// left out from there on (its later nonces cannot jump a hole); other payers go on. Two candidates
/// of one payer and nonce compete: the one the rule ranks higher stands. [`check`] accepts the
/// result under the same context.
pub fn select(candidates: &[Candidate], context: &RuleContext<'_>) -> Vec<usize> {
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
    let mut accounts: BTreeMap<Address, Account> = BTreeMap::new();
    let mut heads = BinaryHeap::new();
    for (payer, queue) in &mut queues {
        let account = context.accounts.get(payer).copied().unwrap_or_default();
        if let Some(key) = queue.remove(&account.next_nonce) {
            accounts.insert(*payer, account);
            heads.push(key);
        }
    }

    // Steps 3 to 5.
    let mut chosen = Vec::new();
    let (mut bytes, mut gas) = (0usize, 0u64);
    while chosen.len() < context.bounds.max_count {
        let Some(HeadKey { index, .. }) = heads.pop() else {
            break;
        };
        let candidate = &candidates[index];
        let Some(account) = accounts.get_mut(&candidate.payer) else {
            continue;
        };
        let fits = bytes.saturating_add(candidate.size_bytes) <= context.bounds.max_bytes
            && gas.saturating_add(candidate.gas_limit) <= context.bounds.max_gas
            && account.budget >= candidate.max_charge;
        if !fits {
            continue;
        }
        bytes += candidate.size_bytes;
        gas += candidate.gas_limit;
        *account = account.after(candidate);
        chosen.push(index);
        if let Some(next) =
            queues.get_mut(&candidate.payer).and_then(|queue| queue.remove(&account.next_nonce))
        {
            heads.push(next);
        }
    }
    chosen
}

/// Checks that `ordered` is orderable and stands in the one order the rule makes of its members.
///
/// # Errors
///
/// The first [`OrderError`] found; every one of them is permanent for this parent and the leader's
/// fault.
pub fn check(ordered: &[Candidate], context: &RuleContext<'_>) -> Result<(), OrderError> {
    check_bounds(ordered, &context.bounds)?;

    // Orderable one by one, in list order.
    let mut accounts: BTreeMap<Address, Account> = BTreeMap::new();
    let mut queues: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for (position, candidate) in ordered.iter().enumerate() {
        if candidate.expiry_height < context.height {
            return Err(OrderError::Expired { position });
        }
        if candidate.effective_priority_fee(context.base_fee).is_none() {
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
    for position in 0..ordered.len() {
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
