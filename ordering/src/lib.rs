//! Orders sealed envelopes blind: the rule, the schedule, validity, and the consensus engine under them.
//!
//! # Parts
//!
//! | module | is |
//! |---|---|
//! | [`rule`] | the only valid permutation of a set of envelopes |
//! | [`schedule`] | who leads which view |
//! | [`validity`] | all a member checks before its first vote: valid, invalid, or *pending* |
//! | [`l1`] | what a member knows of L1: finalized blocks and the forced queue |
//! | [`watch`] | first-seen commitments, and evidence when a leader signs two |
//! | [`block`] | a wire block as the engine's block |
//! | [`application`] | builds and checks blocks for the engine, over what the node provides ([`ChainHooks`]) |
//! | [`events`] | what the engine tells the node ([`OrderingReporter`]) |
//! | [`engine`] | the wiring ([`engine::start`]) |
//! | [`store`] | finalized blocks and certificates in memory |
//!
//! The first five are pure: input in, verdict out. The consensus itself is commonware's simplex with
//! marshal; this crate writes rules, not consensus. `docs/ordering.md` holds the safety argument.
//!
//! [`ChainHooks`]: application::ChainHooks
//! [`OrderingReporter`]: events::OrderingReporter

pub mod application;
pub mod block;
pub mod engine;
pub mod events;
mod gossip;
pub mod l1;
pub mod rule;
pub mod schedule;
mod screen;
pub mod store;
pub mod validity;
pub mod watch;
