//! Accounts, storage, code and their Merkle-Patricia tries over a plain byte store.
//!
//! Reads of the EVM go to flat tables ([`Column::Accounts`], [`Column::Storage`],
//! [`Column::Code`]); the tries beside them exist for the state root and for proofs. A block reads
//! through a [`StateView`], collects what it changes in an overlay, ends in a [`StateDiff`], and leaves as a
//! [`Layer`]: exactly the writes its height needs, to be committed in one batch by whoever owns the database.

mod account;
mod diff;
mod overlay;
mod parent;
mod proof;
mod seal;
mod store;
mod threads;
pub mod trie;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use account::Account;
pub use diff::{AccountDiff, StateDiff};
pub use parent::{Layer, MAX_LAYERS, ParentState, StateError, Tip};
pub use proof::{AccountProof, MAX_PROOF_SLOTS, ProofError, StorageProof};
pub use store::{Column, Entry, MemoryStore, StateStore, StateWrite, StateWrites, StoreError};

#[cfg(any(test, feature = "testkit"))]
pub(crate) use account::AccountRow;
pub(crate) use overlay::{Changes, Overlay, PARTS, Part, part_of};
pub(crate) use seal::{FormerSlot, Sealed, seal};
pub(crate) use view::BlockView;
pub use view::StateView;
