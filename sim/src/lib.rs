//! blindfold-sim runs whole networks of the real stages on a deterministic runtime, by seed.
//!
//! ```text
//!  seed ─▶ Plan ─▶ world::run ─▶ Observation ─▶ properties::check ─▶ violations
//!                   │   members (the node's own wiring, RocksDB, engine) over simulated links
//!                   │   wallets ─ submissions         taps ─ Observer sees every message sent
//!                   └─ faults: delay, jitter, loss, a member down, crashed, restarted
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`plan`] | chooses a world by its seed |
//! | [`wallets`] | seals what is submitted |
//! | [`world`] | runs it |
//! | [`observer`], [`tap`] | see what goes over the network |
//! | [`observation`] | gathers what a run leaves behind, and replays it |
//! | [`properties`] | judge it |
//! | [`eager`] | breaks the protocol on purpose |
//! | [`report`] | says how to replay |
//!
//! The same seed gives the same run, event by event. See `docs/sim.md`.
//!
//! This crate is a test: it panics on what cannot happen in a world of its own making.

pub mod eager;
pub mod observation;
pub mod observer;
pub mod plan;
pub mod properties;
pub mod report;
pub mod tap;
pub mod wallets;
pub mod world;
