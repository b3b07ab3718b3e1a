//! Execution witnesses: what it takes to execute a block without the state.
//!
//! | part | does |
//! |---|---|
//! | [`ExecutionWitness`] | the format of `debug_executionWitness`, in its canonical form |
//! | [`build_witness`] | makes one from the parent state and what the block accessed and changed |
//! | [`WitnessState`] | the state before the block, as far as the witness proves it |
//! | [`ReplayFile`] | a block with all that is needed to execute it again, as JSON |
//! | [`replay`] | does that, in order, and compares every output with what the file claims |
//!
//! # Format
//!
//! The names are those of `debug_executionWitness`; the content follows the canonical form that the
//! specification of stateless validation defines and the fixtures of its tests use (`executionWitness`):
//!
//! - `state`: RLP of trie nodes, of accounts and storage alike: all on the way to everything that was accessed,
//!   and those that applying the changes needs, insertions before removals. A removal that leaves a branch
//!   with a single child needs that child. Nodes within their parents are not listed. Sorted, each once.
//! - `codes`: codes that were read and that an accessed account had before the block; so neither empty code
//!   nor code that the block created. Sorted, each once.
//! - `keys`: addresses (20 bytes) and slots (32 bytes) that were accessed, reads and writes. Sorted, each once.
//!   Not needed to verify; left out if there are none.
//! - `headers`: RLP of headers, ascending, without holes, up to the parent of the block. The parent's is always
//!   there: its state root is what the nodes hang on. Older ones only if `BLOCKHASH` asked for them.
//!
//! Bytes in another order, twice or over a bound are refused ([`WitnessError`]), not repaired. A witness that
//! lacks something is noticed when it is needed ([`WitnessFault`]): nothing missing is ever read as
//! empty.

mod build;
mod compare;
mod file;
mod format;
mod replay;
mod report;
mod source;
mod state;
mod trie;

pub use build::{BuildError, build_witness};
pub use file::{
    ClaimedBlock, ClaimedForced, ClaimedForcedStatus, ClaimedOutcome, ClaimedReceipt,
    ClaimedStatus, FileOpening, MAX_REPLAY_FILE_BYTES, OrderedEnvelope, REPLAY_FILE_VERSION,
    ReplayFile, ReplayFileError, ReplayParts,
};
pub use format::{
    ExecutionWitness, MAX_WITNESS_BYTES, MAX_WITNESS_HEADERS, WitnessError, WitnessHeader,
};
pub use replay::execute as execute_on;
pub use replay::{ReplayError, replay};
pub use report::{Difference, Location, MAX_DIFFERENCES, ReplayReport};
pub use state::{WitnessFault, WitnessState};
