//! One run of one position: what it saw, what it would change, and what came of it.

use alloy_primitives::map::AddressMap;
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::context::{ContextSetters as _, ContextTr, JournalTr, TxEnv};
use revm::handler::Handler as _;
use revm::state::EvmState;

use blindfold_wire::{ChainParams, SkipReason};

use super::cells::{AccountEntry, Delta, SlotEntry};
use super::handler::{LazyEvm, LazyHandler};
use super::view::{BalanceRule, Seen, SeenAccount, SeenSlot, Taken, View};
use crate::escrow::{self, ESCROW_ADDRESS, POSTING_POOL_ADDRESS};
use crate::evm::in_order::{executed, refused};
use crate::evm::{Body, Charge, Job, JobResult, Ran};
use crate::executor::ExecutionError;
use crate::state::{Account, StoreError};

/// Balances above this are compared as numbers: near 2^256 a receipt could overflow.
const HUGE: U256 = U256::from_limbs([0, 0, 0, 1 << 62]);

/// Accounts that are looked through rather than put into a map.
const LOOKED_THROUGH: usize = 24;

/// What a position would change, in the order in which it applies.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) accounts: Vec<(Address, AccountEntry)>,
    pub(super) slots: Vec<((Address, U256), SlotEntry)>,
    pub(super) codes: Vec<(B256, Bytes)>,
    /// Slots of accounts created on the way, which the EVM knows to be zero.
    pub(super) noted: Vec<(Address, U256)>,
}

/// One run of one position.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Where the frontier was when it began.
    pub(super) begun_at: usize,
    /// Whether the later positions can see all that it would change.
    pub(super) shown: bool,
    pub(super) seen: Seen,
    pub(super) changes: Changes,
    pub(super) result: JobResult,
}

/// Runs a job as `position`, on what the view shows.
pub(super) fn attempt(
    evm: &mut LazyEvm,
    params: &ChainParams,
    beneficiary: Address,
    job: &Job,
    position: u32,
) -> Result<Attempt, ExecutionError> {
    let view = evm.ctx.db_mut();
    view.begin(position);
    if let Some(charge) = &job.charge {
        take(view, charge, params)?;
    }
    let (ran, state) = match &job.body {
        Body::Nothing => (Ran::Nothing, EvmState::default()),
        Body::Skip(reason) => (Ran::Skipped(*reason), EvmState::default()),
        Body::Run(tx) => run(evm, tx)?,
    };
    let view = evm.ctx.db_mut();
    if let Body::Run(tx) = &job.body {
        set_rules(view, tx, &ran);
    }
    let mut changes = Changes::default();
    let beneficiary_gone = changed(&mut changes, view, &state);
    let mut earned = Delta::default();
    let is_gone = beneficiary_gone.contains(&beneficiary);
    if matches!(ran, Ran::Executed { .. }) && !is_gone {
        earned = Delta::plus(view.reward_wei);
    }
    let executed = matches!(ran, Ran::Executed { .. });
    let charge_wei = match (&job.charge, view.taken) {
        (Some(charge), Some(taken)) => {
            let (charged, posting) = escrow::split(charge.due(params, ran.gas_used()), taken.wei());
            settle(&mut changes, &taken, charged);
            if !posting.is_zero() {
                changes.accounts.push((POSTING_POOL_ADDRESS, credit(Delta::plus(posting))));
            }
            earned = earned.and(Delta::plus(charged - posting));
            charged
        }
        _ => U256::ZERO,
    };
    // One that destroyed itself is not touched again: below EIP-161 that would bring it back, empty.
    if executed && !is_gone || !earned.is_zero() {
        changes.accounts.push((beneficiary, credit(earned)));
    }
    let seen = std::mem::take(&mut view.seen);
    Ok(Attempt { begun_at: 0, shown: false, seen, changes, result: JobResult { ran, charge_wei } })
}

/// The attempt of a position whose transaction the block has no room for.
pub(super) fn without_room(
    evm: &mut LazyEvm,
    params: &ChainParams,
    beneficiary: Address,
    job: &Job,
    position: u32,
) -> Result<Attempt, ExecutionError> {
    let job = Job { body: Body::Skip(SkipReason::GasAboveClass), charge: job.charge.clone() };
    attempt(evm, params, beneficiary, &job, position)
}

const fn credit(balance: Delta) -> AccountEntry {
    AccountEntry::Update { nonce: None, code_hash: None, balance, wipe: false }
}

fn take(view: &mut View, charge: &Charge, params: &ChainParams) -> Result<(), StoreError> {
    let due_wei = charge.due(params, 0).wei;
    let balance_slot = escrow::balance_slot(charge.payer);
    let pending_slot = escrow::pending_slot(charge.payer);
    let (mut from_balance, mut from_pending) = (due_wei, U256::ZERO);
    // Wherever the order rule was kept, the balance or what is pending suffices.
    if let Some(balance) = view.see_at_least(ESCROW_ADDRESS, balance_slot, due_wei)? {
        from_balance = balance;
        from_pending = view.see_slot(ESCROW_ADDRESS, pending_slot)?.min(due_wei - balance);
    }
    view.taken = Some(Taken {
        balance_slot,
        from_balance,
        pending_slot,
        from_pending,
        nonce_slot: escrow::nonce_slot(charge.payer),
        next_nonce: charge.next_nonce,
    });
    Ok(())
}

fn run(evm: &mut LazyEvm, tx: &TxEnv) -> Result<(Ran, EvmState), ExecutionError> {
    evm.ctx.set_tx(tx.clone());
    let result = LazyHandler.run(evm);
    let state = evm.ctx.journal_mut().finalize();
    match result {
        Ok(result) => Ok((executed(result), state)),
        // What was loaded before the refusal was seen; nothing was changed.
        Err(error) => Ok((Ran::Skipped(refused(error)?), EvmState::default())),
    }
}

/// Finds out what of each balance mattered.
fn set_rules(view: &mut View, tx: &TxEnv, ran: &Ran) {
    let most = U256::from(tx.gas_limit)
        .saturating_mul(U256::from(tx.gas_price))
        .saturating_add(tx.value)
        .saturating_add(blob_fee(tx));
    for seen in &mut view.seen.accounts {
        let balance = seen.account.unwrap_or_default().balance;
        seen.balance = if view.exact.contains(&seen.address) || balance > HUGE {
            BalanceRule::Exact
        } else if seen.address == tx.caller {
            match ran {
                Ran::Skipped(SkipReason::InsufficientFunds) => BalanceRule::Below(most),
                Ran::Skipped(_) => BalanceRule::Any,
                _ => BalanceRule::AtLeast(most),
            }
        } else {
            BalanceRule::Any
        };
    }
}

fn blob_fee(tx: &TxEnv) -> U256 {
    const GAS_PER_BLOB: u64 = 1 << 17;
    U256::from(tx.max_fee_per_blob_gas)
        .saturating_mul(U256::from(tx.blob_hashes.len() as u64 * GAS_PER_BLOB))
}

/// Notes what the EVM changed; returns the accounts that were destroyed.
fn changed(changes: &mut Changes, view: &View, state: &EvmState) -> Vec<Address> {
    let mut destroyed = Vec::new();
    // Mostly there are few, and looking them through is faster than any map.
    let many = view.seen.accounts.len() > LOOKED_THROUGH;
    let all = view.seen.accounts.iter().filter(|_| many);
    let by_address: AddressMap<Option<Account>> =
        all.map(|seen| (seen.address, seen.account)).collect();
    let seen = |address: Address| match many {
        true => by_address.get(&address).copied().flatten(),
        false => {
            let mut seen = view.seen.accounts.iter().rev();
            seen.find(|seen| seen.address == address).and_then(|seen| seen.account)
        }
    };
    for (address, after) in state {
        let address = *address;
        if after.is_created() {
            changes.noted.extend(after.storage.keys().map(|slot| (address, *slot)));
        }
        if !after.is_touched() {
            continue;
        }
        if after.is_selfdestructed() {
            changes.accounts.push((address, AccountEntry::Destroy));
            destroyed.push(address);
            continue;
        }
        let before = seen(address);
        let existed = before.is_some();
        let before = before.unwrap_or_default();
        let taken_wei = match &view.taken {
            Some(taken) if address == ESCROW_ADDRESS => taken.wei(),
            _ => U256::ZERO,
        };
        let info = &after.info;
        let code_hash = (info.code_hash != before.code_hash).then_some(info.code_hash);
        if let (Some(hash), Some(code)) = (code_hash, &info.code)
            && !code.is_empty()
        {
            changes.codes.push((hash, code.original_bytes()));
        }
        let nonce = (info.nonce != before.nonce).then_some(info.nonce);
        let balance = Delta::between(before.balance.saturating_sub(taken_wei), info.balance);
        let wipe = after.is_created() && existed;
        // An empty account leaves the state when it is touched (EIP-161), or comes into it before that rule.
        let same = nonce.is_none() && code_hash.is_none() && balance.is_zero() && !wipe;
        if !(same && existed && !before.is_empty()) {
            let entry = AccountEntry::Update { nonce, code_hash, balance, wipe };
            changes.accounts.push((address, entry));
        }
        for (slot, value) in after.storage.iter().filter(|(_, value)| value.is_changed()) {
            changes.slots.push(((address, *slot), SlotEntry::Set(value.present_value)));
        }
    }
    destroyed
}

/// Ends a charge: `charged` stays taken, the rest goes back to the payer's balance.
fn settle(changes: &mut Changes, taken: &Taken, charged: U256) {
    let refund = taken.wei().saturating_sub(charged);
    let at = |slot| (ESCROW_ADDRESS, slot);
    // A slot that the content wrote holds what the charge left of it already.
    let mut written = |slot: U256, add: U256| {
        let entry = changes.slots.iter_mut().find(|(key, _)| *key == at(slot));
        if let Some((_, SlotEntry::Set(value))) = entry {
            *value = value.saturating_add(add);
            return true;
        }
        false
    };
    let balance_written = written(taken.balance_slot, refund);
    let pending_written = written(taken.pending_slot, U256::ZERO);
    let nonce_written = written(taken.nonce_slot, U256::ZERO);
    if !balance_written {
        let delta = Delta::between(taken.from_balance, refund);
        changes.slots.push((at(taken.balance_slot), SlotEntry::Add(delta)));
    }
    if !pending_written && !taken.from_pending.is_zero() {
        let delta = Delta::between(taken.from_pending, U256::ZERO);
        changes.slots.push((at(taken.pending_slot), SlotEntry::Add(delta)));
    }
    if !nonce_written {
        let nonce = SlotEntry::Set(U256::from(taken.next_nonce));
        changes.slots.push((at(taken.nonce_slot), nonce));
    }
    let paid = Delta::between(taken.wei(), refund);
    changes.accounts.push((ESCROW_ADDRESS, credit(paid)));
}

impl SeenAccount {
    /// Whether the position would have done the same had it seen `now`.
    pub(super) fn holds(&self, now: Option<Account>) -> bool {
        if self.account.is_some() != now.is_some() {
            return false;
        }
        let (seen, now) = (self.account.unwrap_or_default(), now.unwrap_or_default());
        seen.nonce == now.nonce
            && seen.is_empty() == now.is_empty()
            && seen.code_hash == now.code_hash
            && match self.balance {
                BalanceRule::Any => now.balance <= HUGE || seen.balance == now.balance,
                BalanceRule::AtLeast(amount) => {
                    now.balance >= amount && (now.balance <= HUGE || seen.balance == now.balance)
                }
                BalanceRule::Below(amount) => now.balance < amount,
                BalanceRule::Exact => seen.balance == now.balance,
            }
    }
}

impl SeenSlot {
    /// Whether the position would have done the same had it seen `now`.
    pub(super) fn holds(&self, now: U256) -> bool {
        match self.at_least {
            Some(amount) => now >= amount,
            None => self.value == now,
        }
    }
}
