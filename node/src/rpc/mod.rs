//! JSON-RPC over HTTP and WebSocket on one port: `sealed_*` for wallets that seal, `eth_*` to
//! follow and read what became public.
//!
//! ```text
//!            ┌────────── server ──────────┐
//! HTTP ─────▶│ limits: connections, bytes, │     ┌──────────┐
//! WS   ─────▶│ batch, calls at a time      │────▶│ NodeApi  │  one trait, in `api`
//!            │ eth  sealed  net            │     └──────────┘
//!            └─────── subscriptions ◀──────┘◀──── NodeEvent
//! ```
//!
//! - **`api`**: what the server asks of the node.
//! - **`server`**, **`gate`**: listening, limits, who may ask, the registration of methods.
//! - **`eth`**, **`logs`**, **`fees`**, **`net`**, **`sealed`**, **`debug`**: the methods.
//! - **`subscriptions`**: `eth_subscribe` and `sealed_subscribe`.
//! - **`convert`**, **`errors`**: JSON shapes and error answers.
//! - **`reasons`**: the table of refusals.
//!
//! No method accepts a plaintext transaction, and the bytes of a refused one are neither parsed
//! nor logged. `docs/rpc.md` lists every method with its limits and error codes.

pub mod api;
pub(crate) mod convert;
mod debug;
pub(crate) mod errors;
pub(crate) mod eth;
mod fees;
mod gate;
mod logs;
mod net;
pub mod reasons;
mod sealed;
pub(crate) mod server;
mod subscriptions;

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod tests;

pub use api::NodeApi;
pub use server::{RpcServer, StartError};

/// Version text of `web3_clientVersion`.
pub const CLIENT_VERSION: &str = concat!("blindfold/v", env!("CARGO_PKG_VERSION"));
