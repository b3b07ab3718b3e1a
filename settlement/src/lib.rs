//! Posts what was ordered and opened to L1, and proves there what was posted wrongly.
//!
//! # The way of a batch
//!
//! ```text
//! certified heights ─▶ batch: roots, data ─▶ calldata or blobs ─▶ inbox on L1
//!                                                                     │
//! evidence ─▶ slasher on L1 ◀── find: compare with what is certified ◀─ derive: heights again
//! ```
//!
//! State roots of batches become outputs, and withdrawals are proven against these ([`outputs`], [`withdrawal`]).
//!
//! What may enter this crate: formats of batches and evidence, what can be derived from L1 alone, the
//! contracts with their bindings, and access to an L1. No clock, no files; decisions are functions.

pub mod accumulator;
pub mod batch;
pub mod bindings;
pub mod blobs;
pub mod codec;
pub mod deploy;
pub mod derive;
pub mod evidence;
pub mod find;
pub mod l1;
pub mod outputs;
pub mod points;
pub mod poster;
pub mod posting;
pub mod reveal;
mod sol;
pub mod withdrawal;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(test)]
mod tests;

pub use crate::{
    accumulator::{AccumulatorLeaf, LeaderTable, OpeningLeaf, Trees},
    batch::{Batch, BatchBuilder, CertifiedHeight, Draft, Limits, Posting},
    codec::{BatchData, CodecError, EncodeError, PostedHeight, PostedItem},
    derive::{ChainRules, DerivedHeight, DerivedItem, Fault, FaultKind, Start, derive},
    evidence::{Challenge, Culprit, Offence, OffenceError, OffenceKind, PostedBatches},
    find::{Executed, Finding, Posted, Revealed, find},
    withdrawal::{Withdrawal, WithdrawalProof},
};
