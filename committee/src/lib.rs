//! blindfold-committee releases decryption shares for final heights, collects them, opens, and blames.
//!
//! # Roles
//!
//! - A **member** holds a share of the decryption key. Its [`Releaser`] lets shares out for a
//!   [`SealedBatch`] only, which only a certified commitment makes, and writes to its [`SigningJournal`] first.
//! - A **collector** ([`Collector`]; every member and follower is one) gathers bundles and decides.
//! - A **latecomer** takes openings from anyone and believes none: [`verify_openings`].
//! - The **test dealer** ([`setup`]) stands in for the key ceremony.
//!
//! # The way of one height
//!
//! ```text
//!  Certified<OrderCommitment> + envelopes
//!        │ SealedBatch::new: count, order root
//!        ▼
//!   SealedBatch ──▶ Releaser::release ──▶ ShareBundle ──▶ to all members, resent until opened
//!        │                                                       │
//!        └─────────▶ Collector ◀─────────── bundles of others ◀──┘
//!                        │ t members
//!                        ▼
//!                  DecideJob::run ──▶ DecidedBatch ──▶ OpenedBatch ──▶ execution
//!                        │
//!                        └──▶ Evidence: bad share, double release
//! ```
//!
//! # What it cannot do
//!
//! No clock, no I/O: times are arguments, disks are a trait, arithmetic that takes long is a job the owner
//! runs. It cannot parse a transaction.

mod ahead;
pub mod batch;
pub mod catchup;
pub mod collector;
pub mod decide;
mod evidence;
pub mod journal;
pub mod parallel;
pub mod release;
pub mod resend;
pub mod secrets;
pub mod setup;
mod store_error;

#[cfg(test)]
mod tests;

pub use ahead::MAX_SHARES_AHEAD;
pub use batch::{MismatchError, SealedBatch};
pub use catchup::{CatchUpError, verify_openings};
pub use collector::{
    BundleError, CertifiedError, Collector, CollectorConfig, DecideJob, Effect, UncertifiedRelease,
};
pub use decide::{Blame, Contribution, DecidedBatch, OpenedChunk, OpenedPosition, decide_batch};
pub use journal::{JournalError, JournalStore, MemoryJournal, Signed, SigningJournal, Slot};
pub use release::{MemberSeat, Release, ReleaseError, ReleaseRecord, Releaser};
pub use resend::ResendSchedule;
pub use secrets::{MemberSecrets, SecretsError};
pub use setup::{DEALER_WARNING, DealtCommittee, deal_committee};
pub use store_error::StoreError;
