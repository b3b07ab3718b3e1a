//! blindfold-sim runs whole networks of the real stages on a deterministic runtime, by seed.
//!
//! ```text
//!  seed ─▶ Plan ─▶ world::run ─▶ Observation ─▶ properties::check ─▶ violations
//!                   │   members (the node's own wiring, RocksDB, engine) over simulated links
//!                   │   wallets ─ submissions         taps ─ Observer sees every message sent
//!                   ├─ faults: delay, jitter, loss, storm, members down, crashed, restarted, cut off
//!                   └─ an adversary: mischief between a member and its links
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`plan`], [`scenario`] | choose a world by its seed |
//! | [`wallets`] | seals what is submitted |
//! | [`world`] | runs it |
//! | [`observer`], [`tap`] | see what goes over the network |
//! | [`storm`] | delivers late, twice, and again |
//! | [`l1`] | has L1 blocks become final, with forced items |
//! | [`adversary`] | breaks the protocol on purpose |
//! | [`observation`], [`votes`] | gather what a run leaves behind, and replay and verify it |
//! | [`stake`] | offers all that was sent, and batches of it, to the slasher |
//! | [`properties`] | judge it |
//! | [`report`] | says how to replay |
//!
//! The same seed gives the same run, event by event. See `docs/sim.md`.
//!
//! This crate is a test: it panics on what cannot happen in a world of its own making.

pub mod adversary;
pub mod l1;
pub mod observation;
pub mod observer;
pub mod plan;
pub mod properties;
pub mod report;
pub mod scenario;
pub mod stake;
pub mod storm;
pub mod tap;
pub mod votes;
pub mod wallets;
pub mod world;
