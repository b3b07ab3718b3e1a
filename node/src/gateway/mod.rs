//! The gateway: an Ethereum JSON-RPC on this machine for wallets that know nothing of sealing.
//!
//! ```text
//!              this machine                                    │ others
//!  wallet ──▶ module ──▶ hold ──▶ journal ──▶ seal ──▶ submit ─┼▶ members: envelopes only
//!               │          ▲                            ▲      │
//!               └─ reads ──┴───── follower (run) ───────┴──────┼─ peers: what every follower asks
//! ```
//!
//! - **`module`**: the node's methods, with those replaced that a wallet sends transactions with.
//! - **`send`**: what is wrong with a transaction, in the words that wallets know.
//! - **`hold`**: what is held, and under which envelope nonce; **`store`**: its journal.
//! - **`round`**: settles, seals; **`submit`**: hands envelopes to members; **`payer`**: key and limits.
//!
//! A plaintext has three ways out of a type here: into the journal, into `Wallet::seal_with_nonce`, and
//! back to the wallet. `submit` gets encoded envelopes and nothing else.

pub mod config;
pub mod hold;
mod module;
pub mod payer;
mod round;
mod send;
pub mod store;
mod submit;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::Address;
use blindfold_sdk::{Committee, SealError, SigningKey, Wallet, rpc::PayerDocument};
use blindfold_wire::genesis::ChainParams;
use eyre::{Context as _, Result, ensure};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    config::RpcConfig,
    metrics,
    rpc::{NodeApi, RpcServer, api::ReadError},
};
use config::GatewayConfig;
use hold::{Contradiction, Hold};
use payer::Limits;
use store::{Journal, JournalError, Record};
use submit::Members;

/// Longest pause between two rounds.
const ROUND_INTERVAL: Duration = Duration::from_millis(200);
/// Name of the journal in the data folder.
const JOURNAL: &str = "gateway.journal";

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Why a round, or keeping a transaction, did not work.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What changes, and where it is written first.
struct State {
    hold: Hold,
    journal: Journal,
    alarmed: bool,
    /// What the last round failed on, so that the log tells it once.
    trouble: Option<String>,
}

impl State {
    /// Writes records, then does what they say.
    fn commit(&mut self, records: &[Record]) -> Result<(), Trouble> {
        self.journal.append(records)?;
        for record in records {
            self.hold.apply(record)?;
        }
        Ok(())
    }
}

/// A gateway over a node.
struct Gateway {
    api: Arc<dyn NodeApi>,
    wallet: Wallet,
    config: GatewayConfig,
    members: Members,
    state: Mutex<State>,
    wake: Notify,
}

impl Gateway {
    fn open(
        config: GatewayConfig,
        key: SigningKey,
        data_dir: &Path,
        api: Arc<dyn NodeApi>,
    ) -> Result<Arc<Self>> {
        let genesis = api.genesis();
        // The operator's own file is what this machine trusts.
        let committee = Committee::from_genesis((*genesis).clone(), genesis.hash())?;
        let members = Members::new(&config.submit, &committee)?;
        std::fs::create_dir_all(data_dir)
            .wrap_err_with(|| format!("cannot create {}", data_dir.display()))?;
        let path = data_dir.join(JOURNAL);
        let (mut journal, records) = Journal::open(&path, genesis.hash(), key.address())?;
        let mut hold = Hold::new(genesis.chain_id);
        for record in &records {
            hold.apply(record).wrap_err_with(|| format!("journal {}", path.display()))?;
        }
        journal.rewrite(&hold.snapshot())?;
        let wallet = Wallet::new(key, committee);
        let state = Mutex::new(State { hold, journal, alarmed: false, trouble: None });
        Ok(Arc::new(Self { api, wallet, config, members, state, wake: Notify::new() }))
    }

    fn params(&self) -> &ChainParams {
        self.wallet.committee().params()
    }

    fn limits(&self) -> Limits {
        Limits { day_wei: self.config.max_day_wei, total_wei: self.config.max_total_wei }
    }

    /// Tells metrics and, once, the log how the payer stands.
    fn report(&self, state: &mut State, payer: &PayerDocument) {
        metrics::gateway(state.hold.len(), f64::from(payer.escrow_wei));
        let low = payer.escrow_wei < self.config.alarm_below_wei;
        if low && !state.alarmed {
            tracing::warn!(
                target: "blindfold::gateway", payer = %payer.address, escrow_wei = %payer.escrow_wei,
                "ALARM: the payer's escrow is low; deposit more"
            );
        }
        state.alarmed = low;
    }

    /// Rounds until the task is aborted. What fails is tried again.
    async fn drive(self: Arc<Self>) {
        let mut events = self.api.events();
        loop {
            let gateway = Arc::clone(&self);
            let done = tokio::task::spawn_blocking(move || gateway.round_and_submit()).await;
            if let Err(failure) = done {
                tracing::error!(target: "blindfold::gateway", %failure, "a round failed");
            }
            tokio::select! {
                () = self.wake.notified() => {}
                event = events.recv() => {
                    if let Err(tokio::sync::broadcast::error::RecvError::Closed) = event {
                        tokio::time::sleep(ROUND_INTERVAL).await;
                    }
                }
                () = tokio::time::sleep(ROUND_INTERVAL) => {}
            }
        }
    }

    fn round_and_submit(&self) {
        match self.round() {
            Ok(submissions) => {
                self.state.lock().trouble = None;
                self.submit(submissions);
            }
            Err(trouble) => {
                let told = self.state.lock().trouble.replace(trouble.to_string());
                if told != Some(trouble.to_string()) {
                    tracing::error!(target: "blindfold::gateway", %trouble, "cannot go on; trying again");
                }
            }
        }
    }
}

/// A gateway that serves.
pub struct RunningGateway {
    server: RpcServer,
    driver: JoinHandle<()>,
    payer: Address,
}

impl RunningGateway {
    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.local_addr())
    }

    /// Who pays for the envelopes.
    pub fn payer(&self) -> Address {
        self.payer
    }

    /// Stops serving and sealing. What is held is in the journal.
    pub async fn stop(self) {
        self.driver.abort();
        self.server.stop().await;
    }
}

/// Serves wallets on `rpc`, over a node that runs in this process.
///
/// # Errors
/// If the address is not loopback or taken, no member is named, or the journal is another's.
pub async fn start(
    config: GatewayConfig,
    rpc: RpcConfig,
    data_dir: &Path,
    api: Arc<dyn NodeApi>,
) -> Result<RunningGateway> {
    check(&config, &rpc)?;
    let key = payer::read_key(&config.payer_key)?;
    let payer = key.address();
    let gateway = Gateway::open(config, key, data_dir, Arc::clone(&api))?;
    let methods = module::module(rpc.clone(), api, &gateway)?;
    let server = RpcServer::start_with(rpc, methods).await?;
    tracing::info!(
        target: "blindfold::gateway", %payer, address = %server.local_addr(),
        "sealing what wallets send"
    );
    let driver = tokio::spawn(gateway.drive());
    Ok(RunningGateway { server, driver, payer })
}

/// Checks what needs no node.
///
/// # Errors
/// If wallets on other machines could reach it, or it knows no member.
pub fn check(config: &GatewayConfig, rpc: &RpcConfig) -> Result<()> {
    ensure!(
        rpc.listen.ip().is_loopback(),
        "a gateway listens on loopback only, since whoever reaches it spends the payer's money and \
         sends it plaintexts: [rpc] listen = {} is not",
        rpc.listen
    );
    ensure!(
        !config.submit.is_empty(),
        "name the JSON-RPC of at least one member: submit in [gateway]"
    );
    ensure!(
        config.max_held > 0 && config.max_held_per_sender > 0,
        "max_held and max_held_per_sender in [gateway] must be at least 1"
    );
    Ok(())
}
