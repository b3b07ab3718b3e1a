//! What one position sees while it runs ahead of the positions before it, and a note of all it saw.

use std::sync::Arc;

use alloy_primitives::map::B256Map;
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::bytecode::Bytecode;
use revm::database_interface::Database;
use revm::state::AccountInfo;

use super::stretch::Stretch;
use crate::escrow::ESCROW_ADDRESS;
use crate::evm::database::account_info;
use crate::state::{Account, StoreError};

/// An account as a position saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenAccount {
    pub(super) address: Address,
    pub(super) account: Option<Account>,
    /// What may change in the balance without changing what the position did.
    pub(super) balance: BalanceRule,
}

/// What of a balance a position's run depended on. That the account exists, its nonce and its code always count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BalanceRule {
    /// It never looked.
    Any,
    /// It asked whether there is at least so much, and there was.
    AtLeast(U256),
    /// It asked whether there is at least so much, and there was not.
    Below(U256),
    /// It saw the number.
    Exact,
}

/// A slot as a position saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenSlot {
    pub(super) address: Address,
    pub(super) slot: U256,
    pub(super) value: U256,
    /// It only asked whether there is at least so much, and there was.
    pub(super) at_least: Option<U256>,
}

/// All a position saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) accounts: Vec<SeenAccount>,
    pub(super) slots: Vec<SeenSlot>,
    pub(super) codes: Vec<B256>,
    pub(super) block_hashes: Vec<u64>,
}

/// What the charge of an envelope has taken before its content runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) balance_slot: U256,
    pub(super) from_balance: U256,
    pub(super) pending_slot: U256,
    pub(super) from_pending: U256,
    pub(super) nonce_slot: U256,
    pub(super) next_nonce: u64,
}

impl Taken {
    pub(super) fn wei(&self) -> U256 {
        self.from_balance.saturating_add(self.from_pending)
    }

    /// What is left in a slot of the escrow.
    pub(super) fn left(&self, slot: U256, value: U256) -> U256 {
        if slot == self.balance_slot {
            value.saturating_sub(self.from_balance)
        } else if slot == self.pending_slot {
            value.saturating_sub(self.from_pending)
        } else if slot == self.nonce_slot {
            U256::from(self.next_nonce)
        } else {
            value
        }
    }
}

/// The database of a position that runs in parallel with others.
pub(super) struct View {
    pub(super) stretch: Arc<Stretch>,
    /// Sees what positions before this one did.
    pub(super) position: u32,
    pub(super) seen: Seen,
    /// Accounts whose balance the position looked at.
    pub(super) exact: Vec<Address>,
    pub(super) taken: Option<Taken>,
    /// What the beneficiary earned in priority fees, in wei.
    pub(super) reward_wei: U256,
    codes: B256Map<OwnCode>,
    runs: u32,
}

/// Code that this thread has run, and how often it was asked for.
struct OwnCode {
    code: Bytecode,
    asked: u32,
}

/// Asked for so often, code is copied.
const COPIED_WHEN_ASKED: u32 = 4;

impl View {
    pub(super) fn new(stretch: Arc<Stretch>) -> Self {
        Self {
            stretch,
            position: 0,
            seen: Seen::default(),
            exact: Vec::new(),
            taken: None,
            reward_wei: U256::ZERO,
            codes: B256Map::default(),
            runs: 0,
        }
    }

    /// Begins another position.
    pub(super) fn begin(&mut self, position: u32) {
        self.position = position;
        self.seen.accounts.reserve(16);
        self.seen.slots.reserve(16);
        self.exact.clear();
        self.taken = None;
        self.reward_wei = U256::ZERO;
    }

    /// Numbers the runs of a thread, from 0.
    pub(super) const fn count_run(&mut self) -> u32 {
        let run = self.runs;
        self.runs = run.wrapping_add(1);
        run
    }

    /// Notes that a balance was looked at.
    pub(super) fn look_at(&mut self, address: Address) {
        if !self.exact.contains(&address) {
            self.exact.push(address);
        }
    }

    /// The account before the position, noted as seen.
    pub(super) fn see_account(&mut self, address: Address) -> Result<Option<Account>, StoreError> {
        self.stretch.jitter();
        let account = self.stretch.account(address, self.position)?;
        let balance = BalanceRule::Any;
        self.seen.accounts.push(SeenAccount { address, account, balance });
        Ok(account)
    }

    /// The slot before the position, noted as seen.
    pub(super) fn see_slot(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        self.stretch.jitter();
        let value = self.stretch.slot(address, slot, self.position)?;
        self.seen.slots.push(SeenSlot { address, slot, value, at_least: None });
        Ok(value)
    }

    /// Whether a slot holds at least so much; its value if it does not. Only the answer is noted as seen.
    pub(super) fn see_at_least(
        &mut self,
        address: Address,
        slot: U256,
        amount: U256,
    ) -> Result<Option<U256>, StoreError> {
        let value = self.stretch.slot(address, slot, self.position)?;
        let enough = value >= amount;
        let at_least = enough.then_some(amount);
        self.seen.slots.push(SeenSlot { address, slot, value, at_least });
        Ok((!enough).then_some(value))
    }
}

impl View {
    /// The code, as this thread's own copy if it is asked for often: every frame counts references to it, and
    /// a count that two processors change costs each of them more than most instructions.
    fn own_code(&mut self, code_hash: B256) -> Result<Bytecode, StoreError> {
        if let Some(own) = self.codes.get_mut(&code_hash) {
            own.asked = own.asked.saturating_add(1);
            if own.asked == COPIED_WHEN_ASKED {
                own.code = copied(&own.code);
            }
            return Ok(own.code.clone());
        }
        let code = self.stretch.code(code_hash)?;
        self.codes.insert(code_hash, OwnCode { code: code.clone(), asked: 1 });
        Ok(code)
    }
}

/// Analysed code once more, sharing nothing.
fn copied(code: &Bytecode) -> Bytecode {
    let Some(jumps) = code.legacy_jump_table().filter(|_| !code.is_empty()) else {
        return code.clone();
    };
    let bytes = Bytes::copy_from_slice(code.bytes_slice());
    // SAFETY: all three parts are those of code that was analysed, padding included.
    unsafe { Bytecode::new_analyzed(bytes, code.len(), jumps.clone()) }
}

impl Database for View {
    type Error = StoreError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        let account = self.see_account(address)?;
        let taken_wei = match &self.taken {
            Some(taken) if address == ESCROW_ADDRESS => taken.wei(),
            _ => U256::ZERO,
        };
        Ok(account.map(|account| {
            let balance = account.balance.saturating_sub(taken_wei);
            account_info(Account { balance, ..account })
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, StoreError> {
        self.seen.codes.push(code_hash);
        self.own_code(code_hash)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let value = self.see_slot(address, slot)?;
        match &self.taken {
            Some(taken) if address == ESCROW_ADDRESS => Ok(taken.left(slot, value)),
            _ => Ok(value),
        }
    }

    fn block_hash(&mut self, height: u64) -> Result<B256, StoreError> {
        self.seen.block_hashes.push(height);
        self.stretch.block_hash(height)
    }
}
