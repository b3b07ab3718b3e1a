//! blindfold-mempool admits, replaces, expires and evicts sealed envelopes, and knows ciphertext only.
//!
//! # Roles
//!
//! - A **submitter** (wallet or forwarding peer) hands in bytes. The owner of the pool turns them into a
//!   [`CheckedEnvelope`](blindfold_wire::checked::CheckedEnvelope), which settles every rule that needs no
//!   state.
//! - The **pool** ([`Mempool`]) settles the rules that need the payer's account and the pool's content.
//! - The **owner** (a node) persists, gossips and reports what [`Mempool::drain_changes`] yields.
//! - The **leader** asks for [`Mempool::candidates`].
//!
//! # The way of one envelope
//!
//! ```text
//!              CheckedEnvelope
//!                    │ admit: known? expiry? nonce? replacement? escrow? room?
//!        Rejection ◀─┤
//!                    ▼
//!   ┌───────── pooled: pending ◀──▶ gapped (a lower nonce is missing)
//!   │                │
//!   │                │ candidates: per payer a contiguous run from its next nonce
//!   │                ▼
//!   │        proposed in a block (the pool keeps it)
//!   │                │ on_height: the block is final
//!   ▼                ▼
//! replaced      ordered / superseded
//! expired
//! evicted
//! unpaid
//! ```
//!
//! # What it cannot do
//!
//! It holds no key, no share and no plaintext, and does not depend on any crate that can parse a
//! transaction. It has no clock, no randomness and no I/O: heights, fees and accounts are arguments, effects
//! are [`Change`]s.
//!
//! # Caveats
//!
//! A pool is one member's offer, not consensus: two honest members' pools differ all the time. What may be
//! ordered is decided by the order rule on public data alone.

pub mod account;
pub mod change;
pub mod config;
pub mod pool;
mod queue;
pub mod rejection;
pub mod select;

#[cfg(test)]
mod tests;

pub use account::AccountView;
pub use change::{Change, Removal};
pub use config::{ENTRY_OVERHEAD_BYTES, MAX_PENDING_CHANGES, MempoolConfig};
pub use pool::{Admission, Mempool, OrderedEnvelope, PoolStatus, Restored};
pub use rejection::Rejection;
pub use select::BlockTarget;
