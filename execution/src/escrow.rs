//! The escrow predeploy as the executor and the order rule see it.
//!
//! Balances and envelope nonces of payers are storage of the contract at [`ESCROW_ADDRESS`], so
//! they are part of the state root and anyone can prove them. Deposits and withdrawals are
//! ordinary calls of `Escrow.sol`; charges are written here, directly into the storage laid out
//! in that file.
//!
//! # Why ordered envelopes can always be paid
//!
//! An envelope ordered at height h was admitted against `balance` as of height h − k, less the
//! most that everything ordered in h − k + 1 ..= h may cost. Between those two heights `balance`
//! can fall in two ways only: by charges, which that sum bounds from above, and by
//! `requestWithdrawal`, which moves wei to `pending` of the same payer. `pending` leaves the
//! contract at the earliest [`WITHDRAW_MARGIN_HEIGHTS`] + k heights after the *last* request, so
//! nothing requested after h − k can have left when h executes, and what left in between was
//! already outside `balance` at h − k. A charge takes from `balance` first, then from `pending`;
//! together they hold at least what the order rule counted on. A request, on the other hand,
//! shows in `balance` at once, so an envelope ordered k heights later no longer counts on it.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_rlp::{Decodable, Encodable, Header};

use blindfold_wire::fees::Charge;

use crate::state::{Column, FormerSlot, Overlay, ParentState, StateError, StateWrite, StoreError};

/// Where the escrow contract lives.
pub const ESCROW_ADDRESS: Address = address!("0x0000000000000000000000000000000000005e00");

/// Where withdrawals to L1 are noted.
pub const OUTBOX_ADDRESS: Address = address!("0x0000000000000000000000000000000000005e01");

/// Holds what envelopes paid for their posting, until posters are repaid from it. It has no code, and nobody has
/// its key.
pub const POSTING_POOL_ADDRESS: Address = address!("0x0000000000000000000000000000000000005e02");

/// A withdrawal takes this many heights more than the lag between ordering and execution.
pub const WITHDRAW_MARGIN_HEIGHTS: u64 = 8;

/// Heights back from the tip for which [`EscrowView::at`] can answer.
pub const HISTORY_HEIGHTS: u64 = 1_088;

/// Longest lag between ordering and execution that the history serves.
pub const MAX_EXECUTED_LAG: u64 = HISTORY_HEIGHTS - 64;

/// Slot of `withdrawDelayBlocks`.
pub(crate) const WITHDRAW_DELAY_SLOT: U256 = U256::from_limbs([1, 0, 0, 0]);
/// Slot of `genesisHash`.
pub(crate) const GENESIS_HASH_SLOT: U256 = U256::from_limbs([2, 0, 0, 0]);

/// Where the fields of one payer lie, from its first slot on.
const BALANCE: u64 = 0;
const NEXT_NONCE: u64 = 1;
const PENDING: u64 = 2;

/// First slot of a payer: keccak256(payer, left-padded to 32 bytes ‖ mapping slot 0).
fn payer_slot(payer: Address, field: u64) -> U256 {
    let mut key = [0; 64];
    key[12..32].copy_from_slice(payer.as_slice());
    U256::from_be_bytes(keccak256(key).0).wrapping_add(U256::from(field))
}

/// Slot of a payer's balance in the predeploy's storage, for proofs.
#[must_use]
pub fn balance_slot(payer: Address) -> U256 {
    payer_slot(payer, BALANCE)
}

/// Slot of a payer's next envelope nonce in the predeploy's storage, for proofs.
#[must_use]
pub fn nonce_slot(payer: Address) -> U256 {
    payer_slot(payer, NEXT_NONCE)
}

/// Slot of what a payer has on its way out, for proofs.
#[must_use]
pub fn pending_slot(payer: Address) -> U256 {
    payer_slot(payer, PENDING)
}

/// What a payer can spend on envelopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EscrowAccount {
    /// Wei that may pay for envelopes ordered from now on.
    pub balance: U256,
    /// The next envelope nonce.
    pub next_nonce: u64,
}

/// Takes `due_wei` out of a payer's escrow, `balance` first and `pending` next; returns what was
/// taken, which is less only if the escrow holds less. The wei is in nobody's account until
/// [`settle`] hands it on, so nothing that runs in between can spend it.
pub(crate) fn take(
    overlay: &mut Overlay,
    payer: Address,
    due_wei: U256,
) -> Result<U256, StoreError> {
    let balance = overlay.storage(ESCROW_ADDRESS, balance_slot(payer))?;
    let from_balance = due_wei.min(balance);
    overlay.set_storage(ESCROW_ADDRESS, balance_slot(payer), balance - from_balance)?;
    let mut taken = from_balance;
    if from_balance < due_wei {
        let pending = overlay.storage(ESCROW_ADDRESS, pending_slot(payer))?;
        let from_pending = (due_wei - from_balance).min(pending);
        overlay.set_storage(ESCROW_ADDRESS, pending_slot(payer), pending - from_pending)?;
        taken += from_pending;
    }
    let mut contract = overlay.account(ESCROW_ADDRESS)?.unwrap_or_default();
    contract.balance = contract.balance.saturating_sub(taken);
    overlay.set_account(ESCROW_ADDRESS, contract)?;
    Ok(taken)
}

/// Ends a charge: of `taken_wei` at most what is due stays taken, the rest goes back to the payer's balance. Of what
/// stays, the part for posting goes to the posting pool, first, and the rest to `beneficiary`. Returns what was
/// charged.
pub(crate) fn settle(
    overlay: &mut Overlay,
    payer: Address,
    taken_wei: U256,
    due: Charge,
    beneficiary: Address,
) -> Result<U256, StoreError> {
    let (charged, posting) = split(due, taken_wei);
    let refund = taken_wei - charged;
    if !refund.is_zero() {
        let balance = overlay.storage(ESCROW_ADDRESS, balance_slot(payer))?;
        let balance = balance.saturating_add(refund);
        overlay.set_storage(ESCROW_ADDRESS, balance_slot(payer), balance)?;
        overlay.credit(ESCROW_ADDRESS, refund)?;
    }
    overlay.credit(POSTING_POOL_ADDRESS, posting)?;
    overlay.credit(beneficiary, charged - posting)?;
    Ok(charged)
}

/// What of `taken_wei` is charged, and how much of that pays for posting.
pub(crate) fn split(due: Charge, taken_wei: U256) -> (U256, U256) {
    let charged = due.wei.min(taken_wei);
    (charged, due.posting_wei.min(charged))
}

/// Adds a deposit that was made on L1 to a payer's balance, as the contract's `deposit` would. False, and nothing
/// changed, if there cannot be so much wei.
pub(crate) fn deposit(
    overlay: &mut Overlay,
    payer: Address,
    wei: U256,
) -> Result<bool, StoreError> {
    let balance = overlay.storage(ESCROW_ADDRESS, balance_slot(payer))?;
    let mut contract = overlay.account(ESCROW_ADDRESS)?.unwrap_or_default();
    let (Some(balance), Some(total)) =
        (balance.checked_add(wei), contract.balance.checked_add(wei))
    else {
        return Ok(false);
    };
    contract.balance = total;
    overlay.set_account(ESCROW_ADDRESS, contract)?;
    overlay.set_storage(ESCROW_ADDRESS, balance_slot(payer), balance)?;
    Ok(true)
}

/// Sets a payer's next envelope nonce.
pub(crate) fn advance_nonce(
    overlay: &mut Overlay,
    payer: Address,
    next_nonce: u64,
) -> Result<(), StoreError> {
    overlay.set_storage(ESCROW_ADDRESS, nonce_slot(payer), U256::from(next_nonce))
}

/// The writes that keep the history: this height's former values in, the oldest out.
pub(crate) fn history_writes(height: u64, former: &[FormerSlot]) -> Vec<StateWrite> {
    let payload_length = former.iter().map(|f| f.slot.length() + f.value.length()).sum();
    let mut out = Vec::with_capacity(payload_length + 5);
    Header { list: true, payload_length }.encode(&mut out);
    for FormerSlot { slot, value } in former {
        slot.encode(&mut out);
        value.encode(&mut out);
    }
    let mut writes = vec![(Column::EscrowHistory, height.to_be_bytes().to_vec(), Some(out))];
    if let Some(oldest) = height.checked_sub(HISTORY_HEIGHTS) {
        writes.push((Column::EscrowHistory, oldest.to_be_bytes().to_vec(), None));
    }
    writes
}

pub(crate) fn decode_history(mut bytes: &[u8]) -> alloy_rlp::Result<Vec<FormerSlot>> {
    let buf = &mut Header::decode_bytes(&mut bytes, true)?;
    let mut former = Vec::new();
    while !buf.is_empty() {
        former.push(FormerSlot { slot: U256::decode(buf)?, value: U256::decode(buf)? });
    }
    if !bytes.is_empty() {
        return Err(alloy_rlp::Error::UnexpectedLength);
    }
    Ok(former)
}

/// Why the escrow of a past height is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EscrowError {
    /// The height is not executed yet; ask again later.
    #[error("height {height} is not executed yet; the newest is {tip}")]
    Pending {
        /// The height asked for.
        height: u64,
        /// The newest executed height.
        tip: u64,
    },
    /// The height lies more than [`HISTORY_HEIGHTS`] behind the tip.
    #[error("height {height} is too far behind executed height {tip}")]
    TooOld {
        /// The height asked for.
        height: u64,
        /// The newest executed height.
        tip: u64,
    },
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<StoreError> for EscrowError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// The escrow as it was after one height: what the order rule counts on.
#[derive(Clone, Debug)]
pub struct EscrowView {
    state: ParentState,
    height: u64,
    /// Slots that changed after the height, with their values at it.
    former: HashMap<U256, U256>,
}

impl EscrowView {
    /// The escrow after `height`, read from a state at least as new.
    ///
    /// # Errors
    ///
    /// [`EscrowError`]; *pending* is never the fault of whoever proposed a block.
    pub fn at(state: &ParentState, height: u64) -> Result<Self, EscrowError> {
        let tip = state.tip().height;
        if height > tip {
            return Err(EscrowError::Pending { height, tip });
        }
        if tip - height > HISTORY_HEIGHTS {
            return Err(EscrowError::TooOld { height, tip });
        }
        let mut former = HashMap::new();
        for changed_at in height + 1..=tip {
            let damaged = || StoreError::damaged(Column::EscrowHistory, "former values");
            let bytes =
                state.get(Column::EscrowHistory, &changed_at.to_be_bytes())?.ok_or_else(damaged)?;
            for FormerSlot { slot, value } in decode_history(&bytes).map_err(|_| damaged())? {
                // The first height that changed a slot holds the value we look for.
                former.entry(slot).or_insert(value);
            }
        }
        state.check_current()?;
        Ok(Self { state: state.clone(), height, former })
    }

    /// The height this is the escrow of.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// A payer's balance and next envelope nonce after the height.
    ///
    /// # Errors
    ///
    /// [`EscrowError::State`] if the store failed or moved on; take a newer state then.
    pub fn account(&self, payer: Address) -> Result<EscrowAccount, EscrowError> {
        let account = self.read(payer, self.incarnation()?)?;
        self.state.check_current()?;
        Ok(account)
    }

    /// The accounts of many payers, in their order. What is the same for all is read once.
    ///
    /// # Errors
    ///
    /// As [`Self::account`].
    pub fn accounts(
        &self,
        payers: impl IntoIterator<Item = Address>,
    ) -> Result<Vec<(Address, EscrowAccount)>, EscrowError> {
        let incarnation = self.incarnation()?;
        let accounts = payers
            .into_iter()
            .map(|payer| Ok((payer, self.read(payer, incarnation)?)))
            .collect::<Result<_, EscrowError>>()?;
        self.state.check_current()?;
        Ok(accounts)
    }

    /// Of the contract's storage; none while there is no contract.
    fn incarnation(&self) -> Result<Option<u64>, EscrowError> {
        Ok(self.state.row(ESCROW_ADDRESS)?.map(|row| row.incarnation))
    }

    fn read(&self, payer: Address, incarnation: Option<u64>) -> Result<EscrowAccount, EscrowError> {
        let first = payer_slot(payer, BALANCE);
        let read = |field: u64| {
            let slot = first.wrapping_add(U256::from(field));
            match (self.former.get(&slot), incarnation) {
                (Some(value), _) => Ok(*value),
                (None, Some(incarnation)) => {
                    self.state.storage_of(ESCROW_ADDRESS, incarnation, slot)
                }
                (None, None) => Ok(U256::ZERO),
            }
        };
        let balance = read(BALANCE)?;
        let next_nonce = u64::try_from(read(NEXT_NONCE)?)
            .map_err(|_| StoreError::damaged(Column::Storage, "envelope nonce over 64 bits"))?;
        Ok(EscrowAccount { balance, next_nonce })
    }
}

impl ParentState {
    /// A payer's escrow balance in wei and next envelope nonce after `height`.
    ///
    /// For more than one payer build one [`EscrowView`] and ask it.
    ///
    /// # Errors
    ///
    /// [`EscrowError`].
    pub fn escrow_at(&self, height: u64, payer: Address) -> Result<(U256, u64), EscrowError> {
        let account = EscrowView::at(self, height)?.account(payer)?;
        Ok((account.balance, account.next_nonce))
    }
}

/// Storage of the predeploy at genesis: parameters, and what genesis funds.
pub(crate) fn genesis_storage(
    executed_lag: u64,
    genesis_hash: B256,
    funded: &[(Address, U256)],
) -> Vec<(U256, U256)> {
    let delay = executed_lag.saturating_add(WITHDRAW_MARGIN_HEIGHTS);
    let mut storage = vec![
        (WITHDRAW_DELAY_SLOT, U256::from(delay)),
        (GENESIS_HASH_SLOT, U256::from_be_bytes(genesis_hash.0)),
    ];
    storage.extend(funded.iter().map(|(payer, amount)| (balance_slot(*payer), *amount)));
    storage
}
