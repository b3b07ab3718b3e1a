//! blindfold-node runs the stages: runtime, QUIC, RocksDB, RPC, metrics and the command line.
//!
//! Decisions live in the crates below; here effects happen, and persisting comes before sending. The
//! wiring in [`member`] is generic over the runtime and the network, so that the simulator runs the
//! same code.

pub mod cli;
pub mod config;
pub mod gateway;
pub mod identity;
pub mod journal_mark;
pub mod l1;
mod listen;
pub mod member;
pub mod metrics;
mod places;
pub mod rpc;
pub mod run;
pub mod settlement;
pub mod store;
pub mod transport;
