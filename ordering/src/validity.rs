//! What a member checks before its first vote for a proposed block.
//!
//! # Three answers
//!
//! | answer | meaning | what the member does |
//! |---|---|---|
//! | [`Verdict::Valid`] | every rule holds | votes |
//! | [`Verdict::Invalid`] | a rule is broken, for every member and for good | never votes for it |
//! | [`Verdict::Pending`] | cannot tell *yet* | waits; the view may time out meanwhile |
//!
//! *Pending* is for what depends on this member's clock or progress: a timestamp ahead of our clock,
//! and a height `h − k` we have not executed. It must never turn into *invalid*: a slow member would
//! then vote against good blocks, and honest members would disagree on one digest.
//!
//! # Rules (protocol §4)
//!
//! 1. chain, settlement contract and epoch are ours; the L1 fields are zero until there is a
//!    settlement layer;
//! 2. `parent` is the parent's digest and `height` one more than its height;
//! 3. `view` is above the parent's view and not above the view being voted in (a re-proposal keeps its
//!    first view), and that view's scheduled leader signed the commitment;
//! 4. `parent.timestamp < timestamp ≤ now + drift` (the second half is *pending*);
//! 5. `base_fee` is what the formula makes of the parent's base fee and reserved gas;
//! 6. `count` and `order_root` are those of the envelopes (checked when the block was decoded);
//! 7. bounds on bytes, count and reserved gas; expiry; base fee covered; nonces; escrow at `h − k` minus
//!    everything ordered since; and the order rule ([`crate::rule`]);
//! 8. `executed_root` is ours at `h − k` (*pending* until we have it), zero below height `k`.
//!
//! [`validate`] is a pure function of the block, its ancestry and what the member knows.

use crate::{
    block::OrderedBlock,
    rule::{self, Account, Accounts, Bounds, Candidate, OrderError, RuleContext},
    schedule::LeaderSchedule,
};
use alloy_primitives::{Address, B256};
use blindfold_wire::{
    ChainParams, CheckedEnvelope, Genesis, OrderCommitment, SignatureError, SignedCommitment, fees,
};
use std::sync::Arc;

/// Who may sign commitments of one epoch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LeaderBook {
    chain_id: u64,
    settlement: Address,
    epoch: u64,
    schedule: LeaderSchedule,
    signers: Arc<[Address]>,
}

/// Why a commitment is not one of the scheduled leader's. The fault of whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaderError {
    /// Of another chain or settlement contract.
    #[error("commitment of another chain")]
    WrongChain,
    /// Of another epoch.
    #[error("commitment of epoch {found}, expected {expected}")]
    WrongEpoch {
        /// Our epoch.
        expected: u64,
        /// The commitment's.
        found: u64,
    },
    /// The signature recovers to no key.
    #[error("commitment signature: {0}")]
    Signature(#[source] SignatureError),
    /// Another than the view's leader signed it.
    #[error("view {view} is led by {expected}, but {found} signed")]
    WrongLeader {
        /// The commitment's view.
        view: u64,
        /// The scheduled leader's signer address.
        expected: Address,
        /// The address that signed.
        found: Address,
    },
}

impl LeaderBook {
    /// Leaders under `schedule` of the committee in `genesis`.
    pub fn new(genesis: &Genesis, schedule: LeaderSchedule) -> Self {
        Self {
            chain_id: genesis.chain_id,
            settlement: genesis.settlement,
            epoch: schedule.epoch(),
            schedule,
            signers: genesis.committee.members.iter().map(|member| member.signer).collect(),
        }
    }

    /// The schedule.
    pub const fn schedule(&self) -> &LeaderSchedule {
        &self.schedule
    }

    /// Signer address of the leader of `view`; zero if the schedule names a member that is not there.
    pub fn signer(&self, view: u64) -> Address {
        self.signers.get(self.schedule.leader(view)).copied().unwrap_or_default()
    }

    /// Checks chain, epoch and that the scheduled leader of the commitment's view signed it.
    ///
    /// # Errors
    ///
    /// [`LeaderError`], permanent.
    pub fn check(&self, signed: &SignedCommitment) -> Result<(), LeaderError> {
        let commitment = &signed.commitment;
        if commitment.chain_id != self.chain_id || commitment.settlement != self.settlement {
            return Err(LeaderError::WrongChain);
        }
        if commitment.epoch != self.epoch {
            return Err(LeaderError::WrongEpoch { expected: self.epoch, found: commitment.epoch });
        }
        let found = signed.recover_leader().map_err(LeaderError::Signature)?;
        let expected = self.signer(commitment.view);
        if found != expected {
            return Err(LeaderError::WrongLeader { view: commitment.view, expected, found });
        }
        Ok(())
    }
}

/// Why a block can never be valid on this parent. The leader's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// Not signed by the scheduled leader, or of another chain or epoch (rules 1 and 3).
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// A field about L1 is set (rule 1).
    #[error("the fields about L1 must be zero")]
    L1Fields,
    /// Does not extend the parent (rule 2).
    #[error("does not extend its parent at height {parent_height}")]
    Parent {
        /// The parent's height.
        parent_height: u64,
    },
    /// The view is not above the parent's or above the one voted in (rule 3).
    #[error("view {found} is not in ({parent}, {current}]")]
    View {
        /// The parent's view.
        parent: u64,
        /// The view voted in.
        current: u64,
        /// The commitment's view.
        found: u64,
    },
    /// The timestamp does not move forward (rule 4).
    #[error("timestamp {found} ms is not after the parent's {parent} ms")]
    Timestamp {
        /// The parent's timestamp, ms since the Unix epoch.
        parent: u64,
        /// The commitment's.
        found: u64,
    },
    /// Another base fee than the formula's (rule 5).
    #[error("base fee {found} wei, the formula gives {expected} wei")]
    BaseFee {
        /// The formula's.
        expected: u128,
        /// The commitment's.
        found: u128,
    },
    /// Not the order the rule makes (rule 7).
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Another executed root than ours (rule 8).
    #[error("executed root differs from ours at height {height}")]
    ExecutedRoot {
        /// `h − k`.
        height: u64,
    },
}

/// What the member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Our clock: valid no sooner than in this many milliseconds.
    Clock {
        /// Time to wait, in ms.
        wait_ms: u64,
    },
    /// Execution of this height.
    Execution {
        /// `h − k`, or 0 below `k`.
        height: u64,
    },
}

/// The answer. See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Vote.
    Valid,
    /// Never vote.
    Invalid(CommitmentError),
    /// Ask again later.
    Pending(Pending),
}

/// Result of executing height `h − k`, as far as ordering needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// State root and opening root combined.
    pub executed_root: B256,
    /// Next nonce and escrow of the payers in question. Absent means nonce 0 and no escrow.
    pub accounts: Accounts,
}

/// An ancestor, or the block itself: its commitment and its envelopes as the rule sees them.
#[derive(Clone, Debug)]
pub struct Link {
    /// The commitment.
    pub commitment: OrderCommitment,
    /// Its digest.
    pub digest: B256,
    /// The envelopes, in order.
    pub candidates: Arc<[Candidate]>,
}

impl Link {
    /// The link of a block whose envelopes were checked.
    pub fn new(block: &OrderedBlock, checked: &[CheckedEnvelope], params: &ChainParams) -> Self {
        Self {
            commitment: block.commitment().clone(),
            digest: block.id(),
            candidates: checked.iter().map(|envelope| candidate(envelope, params)).collect(),
        }
    }

    /// Sum of the reserved gas classes, in gas.
    pub fn reserved_gas(&self) -> u64 {
        self.candidates.iter().fold(0, |sum, candidate| sum.saturating_add(candidate.gas_limit))
    }

    /// Payers of this height, with repetitions.
    pub fn payers(&self) -> impl Iterator<Item = Address> + '_ {
        self.candidates.iter().map(|candidate| candidate.payer)
    }
}

/// What the order rule sees of a checked envelope.
pub fn candidate(envelope: &CheckedEnvelope, params: &ChainParams) -> Candidate {
    let header = envelope.header();
    Candidate {
        id: envelope.id(),
        payer: envelope.payer(),
        nonce: header.payer_nonce,
        max_fee_per_gas: header.max_fee_per_gas,
        max_priority_fee_per_gas: header.max_priority_fee_per_gas,
        gas_limit: header.gas_limit,
        expiry_height: header.expiry_height,
        size_bytes: envelope.size_bytes(),
        max_charge: fees::max_charge(params, header, envelope.size_bytes()),
    }
}

/// Height whose execution `height` certifies: `height − k`. `None` below `k`.
pub const fn certified_height(params: &ChainParams, height: u64) -> Option<u64> {
    height.checked_sub(params.executed_lag)
}

/// Height whose executed state the accounts at `height` start from: `height − k`, or genesis.
pub const fn reference_height(params: &ChainParams, height: u64) -> u64 {
    height.saturating_sub(params.executed_lag)
}

/// Block bounds of a chain.
pub fn bounds(params: &ChainParams) -> Bounds {
    Bounds {
        max_count: usize::try_from(params.max_block_count).unwrap_or(usize::MAX),
        max_bytes: usize::try_from(params.max_block_bytes)
            .unwrap_or(usize::MAX)
            .saturating_sub(BLOCK_OVERHEAD_BYTES),
        max_gas: params.block_gas_limit,
    }
}

/// Bytes of an encoded block besides its envelopes: commitment, signature, list headers; and four
/// per envelope of the largest count, rounded up.
pub const BLOCK_OVERHEAD_BYTES: usize = 1024 + 4 * blindfold_wire::MAX_BLOCK_COUNT;

/// Base fee of the height after `parent`, wei per gas.
pub fn next_base_fee(params: &ChainParams, parent: &Link) -> u128 {
    fees::next_base_fee(params, parent.commitment.base_fee, parent.reserved_gas())
}

/// Accounts at the parent: executed state minus what `ancestors` ordered since. The ancestors are
/// those above the reference height, in any contiguous order from newest to oldest.
pub fn replay(executed: &Accounts, ancestors_newest_first: &[Link]) -> Accounts {
    let mut accounts = executed.clone();
    for link in ancestors_newest_first.iter().rev() {
        for candidate in link.candidates.iter() {
            let account: &mut Account = accounts.entry(candidate.payer).or_default();
            *account = account.after(candidate);
        }
    }
    accounts
}

/// What [`validate`] needs besides the block.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Chain parameters.
    pub params: &'a ChainParams,
    /// Who leads.
    pub leaders: &'a LeaderBook,
    /// View being voted in.
    pub current_view: u64,
    /// The parent.
    pub parent: &'a Link,
    /// Ancestors above the reference height, newest first; begins with the parent unless the parent is
    /// the reference height itself.
    pub since: &'a [Link],
    /// Execution of the reference height, if we have it.
    pub executed: Option<&'a Executed>,
    /// Our clock, ms since the Unix epoch.
    pub now_ms: u64,
}

/// Checks every rule. Objective rules come first, so that *pending* is only said of blocks that can
/// still become valid.
pub fn validate(signed: &SignedCommitment, link: &Link, around: &Surroundings<'_>) -> Verdict {
    if let Err(error) = objective(signed, around) {
        return Verdict::Invalid(error);
    }
    let commitment = &link.commitment;

    // Rule 4, subjective half.
    let latest = around.now_ms.saturating_add(around.params.clock_drift_ms);
    if let Some(wait_ms) = commitment.timestamp_ms.checked_sub(latest).filter(|wait| *wait > 0) {
        return Verdict::Pending(Pending::Clock { wait_ms });
    }

    // Rules 7 and 8 need the executed state.
    let reference = reference_height(around.params, commitment.height);
    let Some(executed) = around.executed else {
        return Verdict::Pending(Pending::Execution { height: reference });
    };
    let expected = match certified_height(around.params, commitment.height) {
        Some(_) => executed.executed_root,
        None => B256::ZERO,
    };
    if commitment.executed_root != expected {
        return Verdict::Invalid(CommitmentError::ExecutedRoot { height: reference });
    }
    let accounts = replay(&executed.accounts, around.since);
    let context = RuleContext {
        parent: commitment.parent,
        height: commitment.height,
        base_fee: commitment.base_fee,
        accounts: &accounts,
        bounds: bounds(around.params),
    };
    match rule::check(&link.candidates, &context) {
        Ok(()) => Verdict::Valid,
        Err(error) => Verdict::Invalid(error.into()),
    }
}

/// Rules 1 to 5: everything that needs only the commitment and its parent.
fn objective(signed: &SignedCommitment, around: &Surroundings<'_>) -> Result<(), CommitmentError> {
    let commitment = &signed.commitment;
    let parent = &around.parent.commitment;
    // Rule 1.
    let of_l1 = (commitment.l1_block, commitment.l1_base_fee, commitment.forced_cursor);
    if of_l1 != (0, 0, 0) || commitment.forced_hash != B256::ZERO {
        return Err(CommitmentError::L1Fields);
    }
    // Rule 2.
    if commitment.parent != around.parent.digest
        || Some(commitment.height) != parent.height.checked_add(1)
    {
        return Err(CommitmentError::Parent { parent_height: parent.height });
    }
    // Rule 3. Views start again in every epoch.
    let parent_view = if parent.epoch == commitment.epoch { parent.view } else { 0 };
    if commitment.view <= parent_view || commitment.view > around.current_view {
        return Err(CommitmentError::View {
            parent: parent_view,
            current: around.current_view,
            found: commitment.view,
        });
    }
    around.leaders.check(signed)?;
    // Rule 4, objective half.
    if commitment.timestamp_ms <= parent.timestamp_ms {
        return Err(CommitmentError::Timestamp {
            parent: parent.timestamp_ms,
            found: commitment.timestamp_ms,
        });
    }
    // Rule 5.
    let expected = next_base_fee(around.params, around.parent);
    if commitment.base_fee != expected {
        return Err(CommitmentError::BaseFee { expected, found: commitment.base_fee });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
