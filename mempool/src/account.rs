//! What a pool needs to know of a payer.

use std::collections::HashMap;

use blindfold_wire::{Address, U256};

/// A payer's account at the tip of some chain of ordered heights.
///
/// Both figures must already account for everything ordered up to that tip: the nonce advances at
/// ordering, and the escrow is the executed balance minus the greatest possible charge of what was
/// ordered but not executed yet. Then a pool that asks at the parent of a proposal never offers what an
/// unfinalized ancestor already holds.
pub trait AccountView {
    /// The lowest nonce of `payer` that is not ordered yet.
    fn next_nonce(&self, payer: &Address) -> u64;

    /// What `payer` can still reserve, in wei.
    fn escrow_wei(&self, payer: &Address) -> U256;
}

impl<V: AccountView + ?Sized> AccountView for &V {
    fn next_nonce(&self, payer: &Address) -> u64 {
        (**self).next_nonce(payer)
    }

    fn escrow_wei(&self, payer: &Address) -> U256 {
        (**self).escrow_wei(payer)
    }
}

/// A table of accounts, (next nonce, escrow in wei) by payer; absent payers have neither.
impl AccountView for HashMap<Address, (u64, U256)> {
    fn next_nonce(&self, payer: &Address) -> u64 {
        self.get(payer).map_or(0, |account| account.0)
    }

    fn escrow_wei(&self, payer: &Address) -> U256 {
        self.get(payer).map_or(U256::ZERO, |account| account.1)
    }
}
