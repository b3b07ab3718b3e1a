//! Decoders of rows that no other crate sees, for the tests of the crates above. Feature `testkit`.
//!
//! Each decodes a stored row and returns what its encoder writes for it, or nothing if it is damaged.

pub mod fixtures;
pub mod workloads;

use crate::{
    escrow::{decode_history, history_writes},
    state::{AccountRow, Tip},
};

/// The row of an account.
pub fn account_row(bytes: &[u8]) -> Option<Vec<u8>> {
    AccountRow::decode(bytes).ok().map(|row| row.encode())
}

/// The executed tip.
pub fn tip(bytes: &[u8]) -> Option<Vec<u8>> {
    Tip::decode(bytes).ok().and_then(|tip| tip.write().2)
}

/// What one height changed in the escrow.
pub fn escrow_history(bytes: &[u8]) -> Option<Vec<u8>> {
    let former = decode_history(bytes).ok()?;
    history_writes(0, &former).into_iter().find_map(|(_, _, value)| value)
}
