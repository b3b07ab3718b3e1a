//! What the fuzzer runs: one function for every decoder, and for the ways that bytes from outside take
//! through the node. Each returns whether the bytes were accepted, and panics on a finding.
//!
//! # What counts as a finding
//! - a panic, an overflow, or a run over its time;
//! - a value with two encodings: what decodes must encode to the same bytes;
//! - two paths that disagree: our decoder and the engine's, one-by-one and batched checks, two executions;
//! - memory out of proportion to the input ([`bounded`]);
//! - something believed that nobody sealed, signed or opened.
//!
//! The crate is an ordinary member of the workspace, so that seeds and past findings are replayed by
//! `make test`. The libFuzzer binaries in `libfuzzer/` are a workspace of their own; `make fuzz` builds
//! and runs them. `docs/fuzz.md` has the figures.

mod admission;
pub mod bounded;
mod documents;
mod formats;
mod gateway;
mod heights;
mod input;
mod messages;
mod node;
mod opened;
pub mod seeds;
mod settled;
mod stateless;
mod stored;
mod world;

/// One thing to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of the binary and of the corpus folder.
    pub name: &'static str,
    /// Runs one input; true if it was accepted.
    pub run: fn(&[u8]) -> bool,
}

macro_rules! targets {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// Every target.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $module::$name }),*];
    };
}

targets![
    formats::envelope,
    formats::commitment,
    formats::signed_commitment,
    formats::block,
    formats::forced_item,
    formats::forced_span,
    formats::bundle_header,
    formats::signed_bundle_header,
    formats::bundle,
    formats::opening,
    formats::opening_set,
    formats::receipt,
    formats::evidence,
    formats::genesis_rlp,
    formats::genesis_json,
    formats::merkle_proof,
    formats::status,
    formats::keys,
    messages::ordered_block,
    messages::certificate,
    messages::watch,
    messages::share_message,
    messages::envelope_message,
    stored::height_record,
    stored::block_record,
    stored::state_row,
    stored::journal_record,
    stored::member_secrets,
    stored::node_config,
    documents::documents,
    admission::ciphertext,
    admission::admission,
    admission::mempool,
    opened::shares,
    heights::height,
    opened::served_opening,
    opened::inner_transaction,
    opened::execution,
    stateless::witness,
    stateless::access_list,
    stateless::replay_file,
    settled::batch_data,
    settled::blob_data,
    settled::offence,
    settled::misposted,
];

/// The target called `name`.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
