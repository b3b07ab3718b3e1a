//! The devnet's L1: brought along or named, with the contracts on it, and read at the end by somebody who trusts
//! nothing but the genesis document.

use super::rng::Choices;
use crate::{
    config::{NodeConfig, SettlementConfig},
    l1::{
        Sleep,
        anvil::{Anvil, AnvilOptions},
        server::{L1Server, L1ServerConfig},
    },
    settlement::{self, leader_table, read},
};
use alloy_primitives::{Address, U256};
use alloy_provider::Provider as _;
use blindfold_sdk::{Client, SigningKey};
use blindfold_settlement::{
    deploy::{self, DeploymentPlan, Funding, L1Params},
    derive::{ChainRules, InboxChecked, Start, derive},
    l1::{Kind, SharedL1},
};
use blindfold_wire::genesis::{ChainParams, Genesis};
use clap::{Args, ValueEnum};
use eyre::{Context as _, Result, ensure};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Chain id of an L1 that is brought along.
const L1_CHAIN_ID: u64 = 31_337;
/// Time between two blocks of it.
const BLOCK_TIME: Duration = Duration::from_secs(1);
/// Wei that the deployer has on it: a million ether.
const DEPLOYER_WEI: u128 = 1_000_000_000_000_000_000_000_000;
/// Stake of each member, and what its account has for gas, in wei.
const STAKE_WEI: u128 = 32_000_000_000_000_000_000;
const GAS_WEI: u128 = 10_000_000_000_000_000_000;
/// How long batches may take to arrive.
const POSTED_TIMEOUT: Duration = Duration::from_secs(120);

/// Which L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// One inside this process. No real L1.
    Embedded,
    /// Foundry's anvil, started here. No real L1 either.
    Anvil,
    /// None: nothing is posted.
    None,
}

/// The devnet's L1.
#[derive(Clone, Debug, Args)]
pub struct L1Args {
    /// The L1 to bring along.
    #[arg(long, value_enum, default_value = "embedded")]
    pub l1: Choice,
    /// JSON-RPC of an L1 that is there already, in place of one brought along.
    #[arg(long, requires = "l1_key_file")]
    pub l1_rpc: Option<String>,
    /// File with the secret key of a funded account of that L1: it deploys, stakes and funds the members.
    #[arg(long)]
    pub l1_key_file: Option<PathBuf>,
}

/// An L1 that a devnet settles on.
pub(in crate::cli) struct DevL1 {
    runtime: Runtime,
    l1: SharedL1,
    url: String,
    deployer: SigningKey,
    plan: DeploymentPlan,
    from_block: u64,
    /// Ended when dropped, if they were brought along. After the runtime's last use.
    _server: Option<L1Server>,
    _anvil: Option<Anvil>,
}

/// What L1 has at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct L1Report {
    pub(super) batches: u64,
    pub(super) openings: u64,
    pub(super) data_bytes: u64,
    pub(super) gas: u64,
    pub(super) blob_gas: u64,
    pub(super) derived_heights: u64,
}

impl DevL1 {
    /// Starts or reaches it; nothing with `--l1 none`.
    pub(super) fn start(args: &L1Args, folder: &Path, seed: u64) -> Result<Option<Self>> {
        if args.l1 == Choice::None && args.l1_rpc.is_none() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("l1")
            .enable_all()
            .build()?;
        let deployer = match &args.l1_key_file {
            Some(file) => crate::cli::tx::read_key(Some(file))?,
            None => SigningKey::random(Choices::new(seed, "L1 deployer").bytes()),
        };
        let (mut server, mut process) = (None, None);
        let (l1, url): (SharedL1, String) = match (&args.l1_rpc, args.l1) {
            (Some(url), _) => (runtime.block_on(reach(url))?, url.clone()),
            (None, Choice::Anvil) => {
                let options = AnvilOptions { chain_id: L1_CHAIN_ID, ..AnvilOptions::default() };
                let started = runtime.block_on(Anvil::start(&options))?;
                let url = started.url().to_owned();
                let l1 = runtime.block_on(reach(&url))?;
                let give = (deployer.address(), U256::from(DEPLOYER_WEI));
                let _: serde_json::Value =
                    runtime.block_on(l1.provider().raw_request("anvil_setBalance".into(), give))?;
                process = Some(started);
                (l1, url)
            }
            (None, _) => {
                let config = L1ServerConfig {
                    listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    chain_id: L1_CHAIN_ID,
                    block_time: Some(BLOCK_TIME),
                    data_dir: Some(folder.join("l1")),
                    genesis_timestamp_s: None,
                    alloc: vec![(deployer.address(), U256::from(DEPLOYER_WEI))],
                    admin: false,
                };
                let started = runtime.block_on(L1Server::start(config))?;
                let (l1, url) = (Arc::new(started.l1()), started.url());
                server = Some(started);
                (l1, url)
            }
        };
        if let Some(banner) = l1.kind().banner() {
            eprintln!("L1 at {url}: {banner}");
        }
        let (nonce, from_block) = runtime.block_on(async {
            let provider = l1.provider();
            let nonce = provider.get_transaction_count(deployer.address()).await?;
            Ok::<_, eyre::Report>((nonce, provider.get_block_number().await?))
        })?;
        let plan = DeploymentPlan::new(deployer.address(), nonce);
        Ok(Some(Self {
            runtime,
            l1,
            url,
            deployer,
            plan,
            from_block,
            _server: server,
            _anvil: process,
        }))
    }

    /// What the genesis document names.
    pub(super) fn settlement(&self) -> Address {
        self.plan.settlement_address()
    }

    /// Chain parameters for an L1 with a block a second, so that everything about it shows within a minute.
    pub(super) fn chain_params(&self) -> ChainParams {
        let params = ChainParams::default().settled();
        match self.l1.kind() {
            Kind::Rpc => params,
            Kind::Embedded | Kind::Anvil => ChainParams {
                forced_delay_blocks: 2,
                forced_deadline_blocks: 300,
                max_l1_lag_blocks: 120,
                ..params
            },
        }
    }

    /// Puts the contracts there, stakes for every member and funds its account.
    pub(super) fn deploy(&self, genesis: &Genesis) -> Result<()> {
        let params = L1Params {
            forced_delay_blocks: genesis.params.forced_delay_blocks,
            forced_deadline_blocks: genesis.params.forced_deadline_blocks,
            forced_fallback_blocks: genesis.params.forced_deadline_blocks.saturating_mul(4),
            ..match self.l1.kind() {
                Kind::Rpc => L1Params::default(),
                Kind::Embedded | Kind::Anvil => L1Params::development(),
            }
        };
        let table = leader_table(genesis)?;
        let creations = deploy::creations(&self.plan, genesis, &table, &params)?;
        let pause = Sleep(Duration::from_millis(100));
        let funding = Funding { stake_wei: U256::from(STAKE_WEI), gas_wei: U256::from(GAS_WEI) };
        self.runtime.block_on(async {
            let l1 = self.l1.as_ref();
            deploy::deploy(l1, &self.deployer, &self.plan, &creations, genesis, &pause).await?;
            let addresses = self.plan.addresses();
            deploy::fund_members(l1, &self.deployer, &addresses, genesis, &[], &funding, &pause)
                .await
        })?;
        Ok(())
    }

    /// Tells nodes where it is.
    pub(super) fn configure(&self, configs: &[PathBuf]) -> Result<()> {
        for path in configs {
            let mut config = NodeConfig::parse(&std::fs::read_to_string(path)?)?;
            config.settlement = SettlementConfig {
                l1_rpc: self.url.clone(),
                from_block: self.from_block,
                ..config.settlement
            };
            if self.l1.kind() != Kind::Rpc {
                config.settlement.poll_ms = 500;
                config.settlement.interval_s = 4;
                config.settlement.full_heights = 64;
                config.settlement.takeover_s = 15;
                config.settlement.bump_after_s = 6;
                config.settlement.output_interval_s = 10;
            }
            std::fs::write(path, config.to_toml()?)?;
        }
        Ok(())
    }

    /// Waits until L1 has every height up to `height`, as a member sees it.
    pub(super) fn wait_posted(
        &self,
        client: &Client,
        height: u64,
        stop: &dyn Fn() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + POSTED_TIMEOUT;
        loop {
            let head: blindfold_sdk::rpc::SettlementHeadDocument =
                client.request("sealed_getSettlement", [(); 0])?;
            if head.posted_height >= height {
                return Ok(());
            }
            ensure!(
                !stop()? && Instant::now() < deadline,
                "height {height} is not on L1 within {POSTED_TIMEOUT:?}: only {} is",
                head.posted_height
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Reads everything from L1 and derives the chain again from that alone.
    pub(super) fn report(&self, genesis: &Genesis) -> Result<L1Report> {
        let posted =
            self.runtime.block_on(read::batches(self.l1.as_ref(), genesis, self.from_block))?;
        let chain = ChainRules::new(Arc::new(genesis.clone()), leader_table(genesis)?)?;
        let mut start = Start::of_chain(genesis);
        let mut report = L1Report::default();
        for batch in &posted {
            let heights = derive(&chain, &start, &batch.header, &batch.data, &InboxChecked, 2)
                .wrap_err_with(|| format!("batch {} on L1", batch.header.index))?;
            start = start.after(&batch.header);
            report.batches += 1;
            report.openings += u64::from(batch.header.opening_count);
            report.data_bytes += batch.data.len() as u64;
            report.gas += batch.gas_used;
            report.blob_gas += batch.blob_gas_used;
            report.derived_heights += heights.len() as u64;
        }
        Ok(report)
    }

    /// The L1 itself, for who wants to do more with it.
    #[cfg(feature = "demo")]
    pub(in crate::cli) fn parts(&self) -> (&Runtime, &SharedL1, &SigningKey, &DeploymentPlan, u64) {
        (&self.runtime, &self.l1, &self.deployer, &self.plan, self.from_block)
    }
}

async fn reach(url: &str) -> Result<SharedL1> {
    let config = SettlementConfig { l1_rpc: url.to_owned(), ..SettlementConfig::default() };
    settlement::connect(&config).await.wrap_err_with(|| format!("L1 at {url}"))
}
