//! L1 back ends with what they need of the outside: HTTP, files, processes and the clock.
//!
//! | source | what |
//! |---|---|
//! | [`server`] | the embedded L1 over HTTP, mined by this machine's clock, kept on disk |
//! | [`http`] | `--l1-rpc URL`: any Ethereum node, and a beacon node for blobs |
//! | [`anvil`] | `--l1 anvil`: Foundry's development chain, spawned |
//!
//! All of them come out as a `settlement::l1::L1`; nothing above asks which it is.

pub mod anvil;
pub mod disk;
pub mod http;
pub mod server;

use async_trait::async_trait;
use blindfold_settlement::deploy::Pace;
use std::time::Duration;

/// Waits by the clock between two looks at a chain.
#[derive(Clone, Copy, Debug)]
pub struct Sleep(pub Duration);

#[async_trait]
impl Pace for Sleep {
    async fn pause(&self) {
        tokio::time::sleep(self.0).await;
    }
}
