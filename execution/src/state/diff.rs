//! What a block changed in the state, and nothing it merely read.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};

use super::account::Account;

/// What a block changed in one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDiff {
    /// The account after the block; `None` if it is not part of the state any more.
    pub account: Option<Account>,
    /// Whether the account's former storage is gone: it was created anew or destroyed on the way.
    pub wiped: bool,
    /// Slots whose value changed, with the new one; after a wipe all that are not zero.
    pub storage: BTreeMap<U256, U256>,
}

/// What a block changed in the state. Two executions of a block agree if and only if these are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDiff {
    /// Changed accounts.
    pub accounts: BTreeMap<Address, AccountDiff>,
    /// Code of contracts and delegations that the block created, by hash.
    pub codes: BTreeMap<B256, Bytes>,
}
