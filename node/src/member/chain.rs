//! How far this node has got: ordered, opened, executed; and the accounts as the mempool and the
//! leader see them.
//!
//! One lock guards it all. Readers hold it for a handful of lookups, the executor for the write of a
//! height ([`Chain::commit`]), so that nobody ever reads a half-written height.

use super::{MemberError, records::Records};
use alloy_primitives::{Address, B256, U256};
use blindfold_execution::{ExecutedBlock, escrow::EscrowView, state::ParentState};
use blindfold_mempool::AccountView;
use blindfold_ordering::{rule::Account, validity::Executed};
use blindfold_wire::{
    Floor, Prices, checked::CheckedEnvelope, commitment::OrderCommitment, fees,
    genesis::ChainParams,
};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::watch;

/// Executed roots kept in memory; older ones are read from the database.
const ROOTS_KEPT: usize = 256;

/// What one final, not yet executed height holds of one payer's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reservation {
    height: u64,
    /// After the highest nonce that the height used.
    next_nonce: u64,
    max_charge_wei: U256,
}

/// Reservations of all payers. Asked for a few payers at a time, however much is in flight.
#[derive(Debug, Default)]
struct Reservations {
    by_payer: HashMap<Address, Vec<Reservation>>,
    /// The payers of each height.
    by_height: BTreeMap<u64, Vec<Address>>,
}

impl Reservations {
    /// Notes what a height reserves, once.
    fn insert(&mut self, height: u64, envelopes: impl Iterator<Item = (Address, u64, U256)>) {
        if self.by_height.contains_key(&height) {
            return;
        }
        let mut payers = Vec::new();
        for (payer, nonce, max_charge_wei) in envelopes {
            let reservations = self.by_payer.entry(payer).or_default();
            let next_nonce = nonce.saturating_add(1);
            match reservations.last_mut().filter(|last| last.height == height) {
                Some(last) => {
                    last.next_nonce = last.next_nonce.max(next_nonce);
                    last.max_charge_wei = last.max_charge_wei.saturating_add(max_charge_wei);
                }
                None => {
                    payers.push(payer);
                    reservations.push(Reservation { height, next_nonce, max_charge_wei });
                }
            }
        }
        self.by_height.insert(height, payers);
    }

    /// Forgets the heights up to and including `height`: they are executed.
    fn executed(&mut self, height: u64) {
        let above = self.by_height.split_off(&height.saturating_add(1));
        for payer in std::mem::replace(&mut self.by_height, above).into_values().flatten() {
            if let Some(reservations) = self.by_payer.get_mut(&payer) {
                reservations.retain(|reservation| reservation.height > height);
                if reservations.is_empty() {
                    self.by_payer.remove(&payer);
                }
            }
        }
    }

    fn of(&self, payer: &Address) -> &[Reservation] {
        self.by_payer.get(payer).map_or(&[], Vec::as_slice)
    }
}

struct Inner {
    state: ParentState,
    roots: BTreeMap<u64, B256>,
    /// Final heights above the executed one.
    ordered: Reservations,
    ordered_height: u64,
    opened_height: u64,
    /// Prices of the height after `ordered_height`; that of L1 as the newest height has it.
    next: Prices,
}

/// The chain as this node has it. Shared by all its tasks.
pub struct Chain {
    params: ChainParams,
    records: Records,
    inner: RwLock<Inner>,
    executed: watch::Sender<u64>,
}

/// The three heights and the fee of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Highest final height.
    pub ordered_height: u64,
    /// Highest height opened, with all below.
    pub opened_height: u64,
    /// Highest height executed.
    pub executed_height: u64,
    /// Prices of the next height, as far as they are known: it may name a newer L1 block.
    pub next: Prices,
}

impl Progress {
    /// What an envelope must offer at the next height.
    pub fn floor(&self, params: &ChainParams) -> Floor {
        Floor::new(params, self.next)
    }
}

impl Chain {
    /// The chain as it was left; `state` is the executed tip.
    pub fn new(params: ChainParams, records: Records, state: ParentState) -> Self {
        let height = state.tip().height;
        let next = Prices { base_fee: params.initial_base_fee, l1_base_fee: 0 };
        let inner = Inner {
            state,
            roots: BTreeMap::new(),
            ordered: Reservations::default(),
            ordered_height: height,
            opened_height: height,
            next,
        };
        Self { params, records, inner: RwLock::new(inner), executed: watch::channel(height).0 }
    }

    /// Where the node stands.
    pub fn progress(&self) -> Progress {
        let inner = self.inner.read();
        Progress {
            ordered_height: inner.ordered_height,
            opened_height: inner.opened_height,
            executed_height: inner.state.tip().height,
            next: inner.next,
        }
    }

    /// Sets what gas costs on L1, as the newest final height says.
    pub(super) fn set_l1_base_fee(&self, l1_base_fee: u64) {
        self.inner.write().next.l1_base_fee = l1_base_fee;
    }

    /// The state at the executed tip. Another task may write the next height while it is read: for
    /// the executor, which writes itself, and for readers that check afterwards.
    pub fn state(&self) -> ParentState {
        self.inner.read().state.clone()
    }

    /// Reads the state at the executed tip, which does not move meanwhile. Keep it short.
    pub fn read<T>(&self, read: impl FnOnce(&ParentState) -> T) -> T {
        read(&self.inner.read().state)
    }

    /// Notes a final height and what it reserves.
    pub fn on_ordered(&self, commitment: &OrderCommitment, envelopes: &[CheckedEnvelope]) {
        let reservations = envelopes.iter().map(|envelope| {
            let header = envelope.header();
            let max_charge_wei = fees::max_charge(&self.params, header, envelope.size_bytes());
            (envelope.payer(), header.payer_nonce, max_charge_wei)
        });
        let reserved_gas = envelopes
            .iter()
            .fold(0u64, |sum, envelope| sum.saturating_add(envelope.header().gas_limit));
        let mut inner = self.inner.write();
        if commitment.height > inner.state.tip().height {
            inner.ordered.insert(commitment.height, reservations);
        }
        if commitment.height >= inner.ordered_height {
            inner.ordered_height = commitment.height;
            inner.next = Prices {
                base_fee: fees::next_base_fee(&self.params, commitment.base_fee, reserved_gas),
                l1_base_fee: commitment.l1_base_fee,
            };
        }
    }

    /// Notes that a height and all below it are opened.
    pub fn on_opened(&self, height: u64) {
        let mut inner = self.inner.write();
        inner.opened_height = inner.opened_height.max(height);
    }

    /// Writes an executed block and makes it visible: readers see the whole height or nothing of it.
    ///
    /// # Errors
    /// If the block does not follow the tip, or the database fails; nothing is visible then.
    pub fn commit(
        &self,
        block: &ExecutedBlock,
        write: impl FnOnce() -> Result<(), MemberError>,
    ) -> Result<(), MemberError> {
        let height = block.record.height();
        // Held over the write: a reader either finishes before it, or starts with the new tip.
        let mut inner = self.inner.write();
        let extended = inner.state.extend(Arc::clone(&block.layer))?;
        write()?;
        inner.state = extended.prune(height);
        inner.roots.insert(height, block.record.executed_root);
        while inner.roots.len() > ROOTS_KEPT {
            inner.roots.pop_first();
        }
        inner.ordered.executed(height);
        inner.opened_height = inner.opened_height.max(height);
        inner.ordered_height = inner.ordered_height.max(height);
        drop(inner);
        self.executed.send_replace(height);
        Ok(())
    }

    /// Resolves once `height` is executed.
    pub async fn wait_executed(&self, height: u64) {
        let mut executed = self.executed.subscribe();
        // The sender lives as long as `self`, so this cannot fail while we are borrowed.
        let _ = executed.wait_for(|tip| *tip >= height).await;
    }

    /// What ordering needs of an executed height: its certified root and the payers' accounts then.
    ///
    /// # Errors
    /// If the height is not executed, or too old to be known.
    pub fn executed(
        &self,
        height: u64,
        payers: &BTreeSet<Address>,
    ) -> Result<Executed, MemberError> {
        let inner = self.inner.read();
        let view = EscrowView::at(&inner.state, height)?;
        let accounts = view
            .accounts(payers.iter().copied())?
            .into_iter()
            .map(|(payer, account)| {
                (payer, Account { next_nonce: account.next_nonce, budget: account.balance })
            })
            .collect();
        let root = match inner.roots.get(&height) {
            Some(root) => *root,
            None => self.root_from_records(height)?,
        };
        Ok(Executed { executed_root: root, accounts })
    }

    fn root_from_records(&self, height: u64) -> Result<B256, MemberError> {
        let block = self.records.executed(height)?;
        Ok(block.ok_or(MemberError::Missing { what: "executed block", height })?.executed_root)
    }

    /// Accounts at the final tip: the executed state minus what is ordered above it.
    pub fn accounts(
        &self,
        payers: impl IntoIterator<Item = Address>,
    ) -> Result<TipAccounts, MemberError> {
        let inner = self.inner.read();
        let view = EscrowView::at(&inner.state, inner.state.tip().height)?;
        let accounts = view
            .accounts(payers)?
            .into_iter()
            .map(|(payer, account)| {
                let (mut next_nonce, mut escrow_wei) = (account.next_nonce, account.balance);
                for reservation in inner.ordered.of(&payer) {
                    next_nonce = next_nonce.max(reservation.next_nonce);
                    escrow_wei = escrow_wei.saturating_sub(reservation.max_charge_wei);
                }
                (payer, (next_nonce, escrow_wei))
            })
            .collect();
        Ok(TipAccounts {
            accounts,
            height: inner.ordered_height,
            floor: Floor::new(&self.params, inner.next),
        })
    }
}

/// Some payers' accounts at the final tip.
#[derive(Clone, Debug)]
pub struct TipAccounts {
    accounts: HashMap<Address, (u64, U256)>,
    /// The final tip.
    pub height: u64,
    /// What an envelope must offer at the next height.
    pub floor: Floor,
}

impl AccountView for TipAccounts {
    fn next_nonce(&self, payer: &Address) -> u64 {
        self.accounts.next_nonce(payer)
    }

    fn escrow_wei(&self, payer: &Address) -> U256 {
        self.accounts.escrow_wei(payer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_last_until_their_height_is_executed() {
        let (a, b) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let wei = |wei: u64| U256::from(wei);
        let mut reservations = Reservations::default();
        reservations.insert(7, [(a, 0, wei(5)), (b, 4, wei(1)), (a, 1, wei(6))].into_iter());
        reservations.insert(8, [(a, 2, wei(7))].into_iter());
        // Delivered again.
        reservations.insert(8, [(a, 2, wei(7))].into_iter());
        let of = |height, next_nonce, charge| Reservation {
            height,
            next_nonce,
            max_charge_wei: wei(charge),
        };
        assert_eq!(reservations.of(&a), [of(7, 2, 11), of(8, 3, 7)]);
        assert_eq!(reservations.of(&b), [of(7, 5, 1)]);
        reservations.executed(7);
        assert_eq!((reservations.of(&a), reservations.of(&b)), (&[of(8, 3, 7)][..], &[][..]));
        reservations.executed(9);
        assert!(reservations.by_payer.is_empty() && reservations.by_height.is_empty());
    }
}
