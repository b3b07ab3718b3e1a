//! A whole network with an L1: batches, kills, reorgs, and what is forced.

use crate::{
    harness::{BLINDFOLD, Network},
    l1::start_anvil,
};
use alloy_primitives::{Address, U256};
use blindfold_node::{
    config::SettlementConfig,
    l1::{
        Sleep,
        anvil::{Anvil, AnvilOptions},
        server::{L1Server, L1ServerConfig},
    },
    settlement::{leader_table, read},
};
use blindfold_sdk::{
    SigningKey,
    rpc::{SettlementHeadDocument, SettlementState, TransactionDocument},
};
use blindfold_settlement::{
    deploy::{self, DeploymentPlan, Funding, L1Params},
    derive::{ChainRules, DerivedHeight, InboxChecked, Start, derive},
    l1::{Dropped, Embedded, SharedL1, conformance},
};
use std::{process::Command, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

pub const ETHER: u128 = 1_000_000_000_000_000_000;
/// What stands behind each member, in ether.
pub const STAKE_ETHER: u128 = 32;

/// An L1 for tests.
pub trait Chain {
    fn url(&self) -> String;

    /// Access with power over it.
    fn back_end(&self) -> SharedL1;
}

impl Chain for L1Server {
    fn url(&self) -> String {
        self.url()
    }

    fn back_end(&self) -> SharedL1 {
        Arc::new(self.l1())
    }
}

impl Chain for Anvil {
    fn url(&self) -> String {
        self.url().to_owned()
    }

    fn back_end(&self) -> SharedL1 {
        Arc::new(self.l1.clone())
    }
}

/// A network of four whose contracts are on an L1, embedded if nothing else is said. Nothing runs yet.
pub struct Settled<L = L1Server> {
    pub network: Network,
    pub runtime: Runtime,
    pub server: L,
    pub deployer: SigningKey,
}

impl Settled {
    pub fn prepare(funded: &[Address]) -> Self {
        Self::prepare_with(funded, |_| {}, |_| {})
    }

    /// As `prepare`, with other parameters on L1 and other settings of the members.
    pub fn prepare_with(
        funded: &[Address],
        change_params: impl FnOnce(&mut L1Params),
        change_config: impl Fn(&mut SettlementConfig),
    ) -> Self {
        let (runtime, server, deployer) = Self::serve(Some(Duration::from_secs(1)));
        Self::on(runtime, server, deployer, funded, change_params, change_config)
    }

    /// As `prepare_with`, on an L1 that makes no blocks by itself: `miner` begins with that, since the deployment waits
    /// for them.
    pub fn prepare_mined<M>(
        funded: &[Address],
        change_params: impl FnOnce(&mut L1Params),
        change_config: impl Fn(&mut SettlementConfig),
        miner: impl FnOnce(Embedded) -> M,
    ) -> (Self, M) {
        let (runtime, server, deployer) = Self::serve(None);
        let miner = miner(server.l1());
        (Self::on(runtime, server, deployer, funded, change_params, change_config), miner)
    }

    fn serve(block_time: Option<Duration>) -> (Runtime, L1Server, SigningKey) {
        let runtime = runtime();
        let deployer = SigningKey::random([0xd; 32]);
        let server = runtime
            .block_on(L1Server::start(L1ServerConfig {
                listen: ([127, 0, 0, 1], 0).into(),
                chain_id: 31_337,
                block_time,
                data_dir: None,
                genesis_timestamp_s: None,
                alloc: vec![(deployer.address(), U256::from(1_000_000 * ETHER))],
                admin: false,
            }))
            .unwrap();
        (runtime, server, deployer)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

impl<L: Chain> Settled<L> {
    /// Deploys to an L1 on which `deployer` has ether and has sent nothing.
    fn on(
        runtime: Runtime,
        server: L,
        deployer: SigningKey,
        funded: &[Address],
        change_params: impl FnOnce(&mut L1Params),
        change_config: impl Fn(&mut SettlementConfig),
    ) -> Self {
        let mut params = L1Params {
            forced_delay_blocks: 2,
            forced_deadline_blocks: 400,
            forced_fallback_blocks: 2_000,
            ..L1Params::default()
        };
        change_params(&mut params);
        let (delay, deadline) = (params.forced_delay_blocks, params.forced_deadline_blocks);
        let plan = DeploymentPlan::new(deployer.address(), 0);
        let mut network = Network::prepare(4, funded);
        network.genesis.settlement = plan.settlement_address();
        network.change_params(|params| {
            *params = params.clone().settled();
            params.forced_delay_blocks = delay;
            params.forced_deadline_blocks = deadline;
            params.max_l1_lag_blocks = 120;
        });
        let genesis = network.genesis.clone();
        let table = leader_table(&genesis).unwrap();
        let creations = deploy::creations(&plan, &genesis, &table, &params).unwrap();
        let funding =
            Funding { stake_wei: U256::from(STAKE_ETHER * ETHER), gas_wei: U256::from(10 * ETHER) };
        let pace = Sleep(Duration::from_millis(100));
        runtime.block_on(async {
            let l1 = server.back_end();
            deploy::deploy(&*l1, &deployer, &plan, &creations, &genesis, &pace).await.unwrap();
            let addresses = plan.addresses();
            deploy::fund_members(&*l1, &deployer, &addresses, &genesis, &[], &funding, &pace)
                .await
                .unwrap();
        });
        for member in 0..4 {
            network.configure(member, |config| {
                config.settlement.l1_rpc = server.url();
                config.settlement.poll_ms = 300;
                config.settlement.interval_s = 3;
                config.settlement.full_heights = 48;
                config.settlement.takeover_s = 8;
                config.settlement.bump_after_s = 5;
                change_config(&mut config.settlement);
            });
        }
        Self { network, runtime, server, deployer }
    }

    pub fn posted_height(&self, member: usize) -> u64 {
        let client = &self.network.clients[member];
        let head = self.network.until("a member tells how far L1 has got", || {
            client.request::<SettlementHeadDocument>("sealed_getSettlement", [(); 0]).ok()
        });
        head.posted_height
    }

    pub fn until_posted(&self, member: usize, height: u64) {
        self.network
            .until("heights are posted", || (self.posted_height(member) >= height).then_some(()));
    }

    /// Derives the chain from L1 alone.
    pub fn derive(&self) -> Vec<DerivedHeight> {
        let genesis = &self.network.genesis;
        let batches =
            self.runtime.block_on(read::batches(&*self.server.back_end(), genesis, 0)).unwrap();
        let chain =
            ChainRules::new(Arc::new(genesis.clone()), leader_table(genesis).unwrap()).unwrap();
        let mut start = Start::of_chain(genesis);
        let mut heights = Vec::new();
        for batch in &batches {
            let derived =
                derive(&chain, &start, &batch.header, &batch.data, &InboxChecked, 2).unwrap();
            start = start.after(&batch.header);
            heights.extend(derived);
        }
        heights
    }
}

#[test]
fn batches_survive_kills_and_reorgs_without_a_gap() {
    let key = SigningKey::random([7; 32]);
    survives_kills_and_reorgs(Settled::prepare(&[key.address()]), key);
}

/// The same on anvil, whose reorgs are its own (`anvil_reorg`).
#[test]
fn batches_survive_kills_and_reorgs_of_anvil() {
    let runtime = runtime();
    let Some(anvil) = runtime.block_on(start_anvil(&AnvilOptions::default())) else { return };
    let (key, deployer) = (SigningKey::random([7; 32]), conformance::funded()[0].clone());
    let settled = Settled::on(runtime, anvil, deployer, &[key.address()], |_| {}, |_| {});
    survives_kills_and_reorgs(settled, key);
}

/// Posters are killed and L1 takes blocks back; in the end every height is on L1 once, and what anyone derives from
/// it alone is what members executed.
fn survives_kills_and_reorgs(mut settled: Settled<impl Chain>, key: SigningKey) {
    settled.network.run_all();
    let mut payer = settled.network.wallet(key);
    let mut sent = payer.send(&settled.network, 0, 4);
    settled.network.expect_executed(0, &sent);
    settled.until_posted(0, 1);

    // Transactions of dropped blocks come back, or never do.
    for dropped in [Dropped::BackToPool, Dropped::Forgotten] {
        let l1 = settled.server.back_end();
        settled.runtime.block_on(async {
            let head = l1.heads().await.unwrap().latest;
            let control = l1.control().expect("a chain for tests");
            control.reorg(3, dropped, head.timestamp_s).await.unwrap();
        });
        sent.extend(payer.send(&settled.network, 1, 3));
    }
    // Each member in turn, so also whoever is about to post or waits for its batch.
    for member in 0..4 {
        settled.network.kill(member);
        let other = (member + 1) % 4;
        sent.extend(payer.send(&settled.network, other, 2));
        settled.network.run(member);
    }
    settled.network.expect_executed(2, &sent);
    let height = settled.network.head(2).executed_height;
    for member in 0..4 {
        settled.until_posted(member, height);
    }

    let derived = settled.derive();
    for (height, expected) in derived.iter().zip(1..) {
        assert_eq!(height.signed.commitment.height, expected, "a height is missing or twice");
    }
    let on_l1: Vec<_> =
        derived.iter().flat_map(|height| &height.items).map(|item| item.id).collect();
    for id in &sent {
        assert_eq!(on_l1.iter().filter(|other| *other == id).count(), 1, "{id} on L1");
    }
    // Wallets hear of it, and of the end.
    let last = sent.last().unwrap();
    let client = &settled.network.clients[0];
    let settlement =
        client.wait_settled(*last, SettlementState::Finalized, Duration::from_secs(60)).unwrap();
    let document: TransactionDocument =
        client.request::<Option<_>>("sealed_getTransaction", [last]).unwrap().unwrap();
    assert_eq!(document.settlement, Some(settlement));
    let height = document.status.height().unwrap();
    assert!((settlement.first_height..=settlement.last_height).contains(&height));
    settled.network.expect_agreement(&[0, 1, 2, 3]);
}

/// What is forced through L1 is executed, sealed or plain, although no member was asked for it.
#[test]
fn what_is_forced_through_l1_is_executed() {
    let key = SigningKey::random([8; 32]);
    let mut settled = Settled::prepare(&[key.address()]);
    settled.network.run_all();
    settled.network.until_heights(0, 2);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, key: &SigningKey| {
        let path = folder.path().join(name);
        key.expose(|secret| std::fs::write(&path, hex::encode(secret)).unwrap());
        path
    };
    let (own, l1) = (file("own", &key), file("l1", &settled.deployer));
    for plain in [false, true] {
        let mut force = Command::new(BLINDFOLD);
        force
            .args(["tx", "force", "--json", "--to", "0x00000000000000000000000000000000000000bb"])
            .args(["--value", "5", "--l1-rpc", &settled.server.url()])
            .args(["--rpc", &format!("http://{}", settled.network.config(0).rpc.listen)])
            .args(["--genesis-hash", &settled.network.genesis.hash().to_string()])
            .arg("--key-file")
            .arg(&own)
            .arg("--l1-key-file")
            .arg(&l1);
        if plain {
            force.arg("--plain");
        }
        let output = force.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "plain {plain}: {stdout}\n{stderr}");
    }
    let balance: U256 = settled.network.clients[1]
        .request("eth_getBalance", ("0x00000000000000000000000000000000000000bb", "latest"))
        .unwrap();
    assert_eq!(balance, U256::from(10));
    settled.until_posted(0, 1);
    settled.network.expect_agreement(&[0, 1, 2, 3]);
}
