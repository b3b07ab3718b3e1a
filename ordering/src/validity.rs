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
//! *Pending* is for what depends on this member's clock or progress: a timestamp ahead of our clock, a height
//! `h − k` we have not executed, an L1 block we do not know as final. It must never turn into *invalid*: a slow member would
//! then vote against good blocks, and honest members would disagree on one digest.
//!
//! # Rules (protocol §4)
//!
//! 1. chain, settlement contract and epoch are ours; without a settlement contract the L1 fields are zero. With one,
//!    `l1_block` does not go back, `l1_base_fee` stays while it stands, and the height consumes no more forced
//!    items than its bounds allow. (That items, `forced_cursor` and `forced_hash` belong together and follow the
//!    parent's was checked when the block was decoded.)
//! 2. `parent` is the parent's digest and `height` one more than its height;
//! 3. `view` is above the parent's view and not above the view being voted in (a re-proposal keeps its
//!    first view), and that view's scheduled leader signed the commitment;
//! 4. `parent.timestamp < timestamp ≤ now + drift` (the second half is *pending*);
//! 5. `base_fee` is what the formula makes of the parent's base fee and reserved gas;
//! 6. `count` and `order_root` are those of the envelopes (checked when the block was decoded);
//! 7. bounds on bytes, count and reserved gas; expiry; base fee and posting covered; nonces; escrow at `h − k` minus
//!    everything ordered since; and the order rule ([`crate::rule`]), forced envelopes first;
//! 8. `executed_root` is ours at `h − k` (*pending* until we have it), zero below height `k`;
//! 9. with a settlement contract, what L1 says, all of it *pending* while it is not so: `l1_block` is final to us, not
//!    further behind what is than `max_l1_lag_blocks`, and has the base fee named; the forced items are those that
//!    are due there, none too few, none too many. A proposal that leaves one out stays pending until its view
//!    times out, and the next leader brings it.
//!
//! [`validate`] is a pure function of the block, its ancestry and what the member knows.

use crate::{
    block::OrderedBlock,
    l1::L1View,
    rule::{self, Account, Accounts, Bounds, Candidate, OrderError, RuleContext},
    schedule::LeaderSchedule,
};
use alloy_primitives::{Address, B256};
use blindfold_wire::{
    ChainParams, CheckedEnvelope, Floor, ForcedItem, ForcedKind, ForcedSpan, Genesis,
    OrderCommitment, Prices, SignatureError, SignedCommitment, fees, forced::taken_at_once,
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
    /// A field about L1 is set, and there is no settlement contract (rule 1).
    #[error("the fields about L1 must be zero")]
    L1Fields,
    /// The L1 block is older than the parent's, or has another base fee than the parent says (rule 1).
    #[error("L1 block {found} does not follow the parent's {parent}")]
    L1Block {
        /// The parent's.
        parent: u64,
        /// The commitment's.
        found: u64,
    },
    /// More forced items than one height consumes (rule 1).
    #[error("{found} forced items, this height consumes at most {most}")]
    TooManyForced {
        /// As many as fit.
        most: usize,
        /// Items found.
        found: usize,
    },
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
    /// L1, as we know it.
    L1(L1Wait),
}

/// What does not agree with what we know of L1. What we know may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L1Wait {
    /// The block is not final to us.
    Block {
        /// The block that the commitment names.
        named: u64,
    },
    /// The block has another base fee, or lies too far back to tell.
    BaseFee {
        /// The block that the commitment names.
        named: u64,
    },
    /// A newer block has long been final.
    Lag {
        /// The block that the commitment names.
        named: u64,
        /// The newest that is final to us.
        finalized: u64,
    },
    /// Other forced items are due there: one is left out, comes too early, or is not in the queue.
    Forced {
        /// How many are due; `None` if we do not know the queue from the parent's head on.
        due: Option<usize>,
    },
}

impl std::fmt::Display for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clock { wait_ms } => write!(f, "our clock, for {wait_ms} ms"),
            Self::Execution { height } => write!(f, "execution of height {height}"),
            Self::L1(L1Wait::Block { named }) => write!(f, "L1 block {named} to be final"),
            Self::L1(L1Wait::BaseFee { named }) => {
                write!(f, "another word on the base fee of L1 block {named}")
            }
            Self::L1(L1Wait::Lag { named, finalized }) => {
                write!(f, "a newer L1 block than {named}: {finalized} is final")
            }
            Self::L1(L1Wait::Forced { due: Some(due) }) => {
                write!(f, "the forced items that are due, of which there are {due}")
            }
            Self::L1(L1Wait::Forced { due: None }) => write!(f, "the forced queue to be known"),
        }
    }
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

/// An ancestor, or the block itself: its commitment, its envelopes and its forced items as the rule sees them.
#[derive(Clone, Debug)]
pub struct Link {
    /// The commitment.
    pub commitment: OrderCommitment,
    /// Its digest.
    pub digest: B256,
    /// The envelopes, in order.
    pub candidates: Arc<[Candidate]>,
    /// The forced items, in order.
    pub forced: Arc<ForcedCandidates>,
}

/// Forced items as the rule sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForcedCandidates {
    /// The items, with the parent's commitment.
    pub span: ForcedSpan,
    /// The envelope of each item; `None` where it holds none that is valid.
    pub envelopes: Vec<Option<Candidate>>,
}

impl ForcedCandidates {
    /// Items with the envelopes that were found in them: one entry for each.
    pub fn new(
        span: ForcedSpan,
        checked: &[Option<CheckedEnvelope>],
        params: &ChainParams,
    ) -> Self {
        let seen = |checked: &Option<CheckedEnvelope>| Some(candidate(checked.as_ref()?, params));
        Self { span, envelopes: checked.iter().map(seen).collect() }
    }

    /// Payers of the envelopes.
    pub fn payers(&self) -> impl Iterator<Item = Address> + '_ {
        self.envelopes.iter().flatten().map(|candidate| candidate.payer)
    }
}

impl Link {
    /// The link of a block whose envelopes, and those of its forced items, were checked.
    pub fn new(
        block: &OrderedBlock,
        checked: &[CheckedEnvelope],
        forced: &[Option<CheckedEnvelope>],
        params: &ChainParams,
    ) -> Self {
        let span = block.block().forced.clone();
        Self {
            commitment: block.commitment().clone(),
            digest: block.id(),
            candidates: checked.iter().map(|envelope| candidate(envelope, params)).collect(),
            forced: Arc::new(ForcedCandidates::new(span, forced, params)),
        }
    }

    /// Sum of the reserved gas classes, in gas.
    pub fn reserved_gas(&self) -> u64 {
        self.candidates.iter().fold(0, |sum, candidate| sum.saturating_add(candidate.gas_limit))
    }

    /// Payers of this height, with repetitions, those of forced envelopes without a position among them.
    pub fn payers(&self) -> impl Iterator<Item = Address> + '_ {
        self.candidates.iter().map(|candidate| candidate.payer).chain(self.forced.payers())
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

/// Bounds of the envelopes of a block that consumes these forced items: bytes and gas of the items are taken off.
pub fn bounds(params: &ChainParams, forced: &ForcedSpan) -> Bounds {
    let plain = |item: &&ForcedItem| item.kind() != Some(ForcedKind::Sealed);
    let gas = forced.items().iter().filter(plain).map(ForcedItem::reserved_gas).sum();
    Bounds {
        max_count: usize::try_from(params.max_block_count).unwrap_or(usize::MAX),
        max_bytes: usize::try_from(params.max_block_bytes)
            .unwrap_or(usize::MAX)
            .saturating_sub(BLOCK_OVERHEAD_BYTES)
            .saturating_sub(forced.size_bytes()),
        max_gas: params.block_gas_limit.saturating_sub(gas),
    }
}

/// Bytes of an encoded block besides its envelopes and forced items: commitment, signature, the parent's commitment,
/// list headers; and four per envelope of the largest count, rounded up.
pub const BLOCK_OVERHEAD_BYTES: usize = 2048 + 4 * blindfold_wire::MAX_BLOCK_COUNT;

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
    /// What we know of L1.
    pub l1: &'a L1View,
}

/// Checks every rule. Objective rules come first, so that *pending* is only said of blocks that can
/// still become valid.
pub fn validate(signed: &SignedCommitment, link: &Link, around: &Surroundings<'_>) -> Verdict {
    if let Err(error) = objective(signed, &link.forced.span, around) {
        return Verdict::Invalid(error);
    }
    let commitment = &link.commitment;

    // Rule 4, subjective half.
    let latest = around.now_ms.saturating_add(around.params.clock_drift_ms);
    if let Some(wait_ms) = commitment.timestamp_ms.checked_sub(latest).filter(|wait| *wait > 0) {
        return Verdict::Pending(Pending::Clock { wait_ms });
    }

    // Rule 9.
    if let Some(wait) = unlike_l1(commitment, &link.forced.span, around) {
        return Verdict::Pending(Pending::L1(wait));
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
        floor: Floor::new(around.params, Prices::from(commitment)),
        accounts: &accounts,
        bounds: bounds(around.params, &link.forced.span),
    };
    match rule::check(&link.forced.envelopes, &link.candidates, &context) {
        Ok(()) => Verdict::Valid,
        Err(error) => Verdict::Invalid(error.into()),
    }
}

/// Rules 1 to 5: everything that needs only the block and its parent.
fn objective(
    signed: &SignedCommitment,
    forced: &ForcedSpan,
    around: &Surroundings<'_>,
) -> Result<(), CommitmentError> {
    let commitment = &signed.commitment;
    let parent = &around.parent.commitment;
    // Rule 1.
    if commitment.settlement.is_zero() {
        let of_l1 = (commitment.l1_block, commitment.l1_base_fee, commitment.forced_cursor);
        if of_l1 != (0, 0, 0) || commitment.forced_hash != B256::ZERO {
            return Err(CommitmentError::L1Fields);
        }
    }
    let stands = commitment.l1_block == parent.l1_block;
    if commitment.l1_block < parent.l1_block
        || (stands && commitment.l1_base_fee != parent.l1_base_fee)
    {
        return Err(CommitmentError::L1Block {
            parent: parent.l1_block,
            found: commitment.l1_block,
        });
    }
    let (most, found) = (taken_at_once(forced.items(), around.params), forced.items().len());
    if found > most {
        return Err(CommitmentError::TooManyForced { most, found });
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

/// Rule 9: what keeps us from agreeing with what a commitment says of L1.
fn unlike_l1(
    commitment: &OrderCommitment,
    forced: &ForcedSpan,
    around: &Surroundings<'_>,
) -> Option<L1Wait> {
    let (named, parent) = (commitment.l1_block, &around.parent.commitment);
    if commitment.settlement.is_zero() {
        return None;
    }
    let finalized = around.l1.finalized().map_or(0, |block| block.number);
    if named > finalized {
        return Some(L1Wait::Block { named });
    }
    if finalized - named > around.params.max_l1_lag_blocks {
        return Some(L1Wait::Lag { named, finalized });
    }
    // Where the block stands, the base fee is the parent's, which a quorum agreed to.
    let told_by_parent = named == parent.l1_block;
    if !told_by_parent && around.l1.base_fee(named) != Some(commitment.l1_base_fee) {
        return Some(L1Wait::BaseFee { named });
    }
    let due = around.l1.due(parent.forced_cursor, named, around.params);
    let same = |due: &Vec<&ForcedItem>| {
        due.len() == forced.items().len()
            && around.l1.hash_at(commitment.forced_cursor) == Some(commitment.forced_hash)
    };
    match due {
        Some(due) if same(&due) => None,
        due => Some(L1Wait::Forced { due: due.map(|due| due.len()) }),
    }
}

#[cfg(test)]
mod tests;
