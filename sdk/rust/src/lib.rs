//! Seals transactions, submits them, and follows them to their end.
//!
//! A wallet needs three things: a key that pays, the committee of the chain, and a node to talk to.
//!
//! - [`Committee`] is taken from the genesis document, and only if that has the hash the wallet
//!   pinned and is consistent in itself. A node's word about keys is never believed.
//! - [`Wallet`] seals: signed transaction in, [`SealedTransaction`] out. It holds no connection.
//! - [`Client`] submits and waits. It holds no key, and it never sees a plaintext.
//!
//! So no value that holds a plaintext ever meets one that holds a connection.
//!
//! ```text
//! signed tx ──▶ Wallet::seal ──▶ SealedTransaction ──▶ Client::submit ──▶ receipt
//!                  ▲                     │                                  (a member's word)
//!      Committee ──┘                     └─ id() ──▶ Client::wait ──▶ TxStatus
//!      (pinned genesis hash)
//! ```
//!
//! # Example
//! ```no_run
//! use std::time::Duration;
//! use blindfold_sdk::{Client, SigningKey, Wallet};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The hash is the wallet's root of trust: from its vendor or an operator, never from the node.
//! let pinned = "0x5d1c…".parse()?;
//! let client = Client::connect("http://127.0.0.1:8545", pinned)?;
//!
//! let key = SigningKey::from_bytes(&[0x46; 32])?;
//! let wallet = Wallet::new(key, client.committee().clone());
//! client.sync(&wallet)?;
//!
//! let signed_transaction: Vec<u8> = vec![/* any signed Ethereum transaction */];
//! let fees = client.suggest_fees(100_000)?;
//! let sealed = wallet.seal(&signed_transaction, &fees)?;
//! client.submit(&sealed)?;
//! let status = client.wait(sealed.id(), Duration::from_secs(30))?;
//! println!("{status:?}");
//! # Ok(())
//! # }
//! ```
//!
//! # What stays visible
//! Payer, fee bid, gas class, size class and time of arrival are not hidden. Sealing hides the
//! transaction from fewer than t colluding committee members; more of them leave no trace.
//!
//! # Caveats
//! - Transport is plain HTTP, fit for a node on the same machine or behind a tunnel. For anything
//!   else bring a [`Transport`] of your own.
//! - A skipped transaction was opened: it is public, and may still be valid on this or another chain.

mod client;
mod committee;
mod fees;
pub mod rpc;
mod transport;
mod wallet;

#[cfg(test)]
mod tests;

/// Compiles and runs the chapter's examples.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/sdk.md")]
struct Chapter;

pub use blindfold_wire::{
    Address, B256, Bytes, U256,
    envelope::SealedTransaction,
    receipt::SignedReceipt,
    signature::SigningKey,
    status::{SkipReason, TxStatus},
};
pub use client::{Client, ClientError, ask};
pub use committee::{Committee, CommitteeError};
pub use fees::{Fees, FeesError, SUGGESTED_LIFE_HEIGHTS, escrow_needed};
pub use transport::{HttpTransport, Transport, TransportError};
pub use wallet::{SealError, Wallet};
