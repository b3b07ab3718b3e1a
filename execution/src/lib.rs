//! Executes opened batches: certified order plus openings plus parent state give a block.
//!
//! # Roles
//!
//! | part | does |
//! |---|---|
//! | [`Executor`] | turns an opened batch and a [`state::ParentState`] into an [`ExecutedBlock`] |
//! | [`state`] | accounts, storage, code and their Merkle-Patricia tries over a byte store |
//! | [`escrow`] | what payers set aside for envelopes, as the order rule and the executor see it |
//! | [`Transaction`] | the inner transaction; nothing below this crate can name it |
//! | [`call`], [`estimate_gas`] | pretended transactions for RPC |
//! | [`genesis_block`] | the state everything starts from |
//!
//! # Steps
//!
//! Forced items come first, in the order of the queue on L1: transactions that were not sealed, deposits, and what
//! posters get back. Then, for every envelope, in certified order (protocol §6):
//!
//! 1. take from the payer's escrow what the envelope costs if all its reserved gas stays unused,
//!    and move the payer's envelope nonce past it;
//! 2. undecryptable: done. Otherwise decode what was sealed;
//! 3. validate and run it under Ethereum's rules; what is not valid is **skipped** with a reason,
//!    never an error of the block, and leaves no trace in it;
//! 4. give back what the used gas saves of the reservation; the charge goes to the beneficiary, but for the part
//!    that pays for posting, which goes to the posting pool.
//!
//! ```text
//! OpenedBatch ─┐                              ┌─▶ record: header, transactions, receipts, outcomes
//!              ├─▶ overlay ─▶ tries ─▶ block ─┤
//! ParentState ─┘                              └─▶ layer: state writes, to commit with the record
//!      ▲                                             │
//!      └──────────────── extend ◀────────────────────┘
//! ```
//!
//! No clock, no randomness, no I/O but reads of the store. The same input gives the same bytes on
//! every machine.
//!
//! # Caveats
//!
//! - The header's timestamp is in seconds, the commitment's in milliseconds: several blocks may
//!   share a timestamp, which Ethereum does not allow.
//! - The system calls of EIP-2935 and EIP-4788 are not made; `BLOCKHASH` works for 256 heights.
//! - Skipped transactions are public once opened, and may be valid later or elsewhere.

mod access;
pub mod bal;
mod block;
mod chain;
pub mod contracts;
pub mod escrow;
mod evm;
mod executor;
pub mod replay;
pub mod state;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod unsealed;
pub mod witness;

#[cfg(test)]
mod tests;

pub use access::{AccessRecord, AccountAccess};
pub use block::{
    BLOCK_RECORD_VERSION, BlockRecord, ExecutedBlock, ForcedOutcome, ForcedVerdict, Outcome,
    Receipt, RecordError, Verdict,
};
pub use chain::{BLOCK_HASH_HEIGHTS, GenesisStateError, genesis_block};
pub use evm::{
    CallError, CallOutcome, CallRequest, CallSettings, MAX_EXECUTION_THREADS, ParallelExecutor,
    SequentialExecutor, Transaction, call, estimate_gas, revert_message,
};
pub use executor::{BlockContext, Execution, ExecutionError, Executor};
pub use unsealed::{ExecutionParent, UnsealedBlock};
