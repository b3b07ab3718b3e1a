//! Makes a world: the chain, the network, the databases, the wallets.

use super::World;
use crate::{
    adversary::Mischief,
    l1::{self, L1},
    observer::Observer,
    plan::{MEMBERS, Plan, WALLETS},
    storm::Storm,
    wallets,
};
use alloy_primitives::{Address, U256};
use blindfold_committee::{secrets::MemberSecrets, setup::deal_committee};
use blindfold_node::{
    member::{
        messages::{MAX_ENVELOPE_MESSAGE_BYTES, MAX_SHARE_MESSAGE_BYTES},
        records::Records,
    },
    store::Store,
};
use blindfold_ordering::engine;
use blindfold_wire::{ChainParams, Genesis, GenesisAccount};
use commonware_p2p::simulated::{self, Config};
use commonware_runtime::{Supervisor as _, deterministic::Context};
use commonware_utils::{NZUsize, sync::Mutex};
use rand::RngExt as _;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tempfile::TempDir;

/// Memory-backed folder of Linux, where a synchronous write costs nothing.
const MEMORY_FOLDER: &str = "/dev/shm";
/// A leader that is silent for so long loses its view, in milliseconds.
pub const LEADER_TIMEOUT_MS: u64 = 700;

/// The chain of a plan: short timeouts, a small lag, and wallets with funds and escrow.
///
/// # Panics
/// Never: a dealt committee makes a valid genesis.
pub fn genesis(plan: &Plan) -> (Genesis, Vec<MemberSecrets>) {
    let dealt = deal_committee(&[100; MEMBERS], plan.bytes(1)).expect("a possible committee");
    let ether = U256::from(10u64.pow(18));
    // All with funds; all but one of those that force with escrow.
    let mut wallets: Vec<(Address, bool)> =
        (0..WALLETS).map(|wallet| (wallets::key(plan, wallet).address(), true)).collect();
    wallets.extend(l1::forcers(plan));
    wallets.sort_unstable();
    let account = |address: &Address| GenesisAccount {
        address: *address,
        balance: ether,
        nonce: 0,
        code: Default::default(),
        storage: BTreeMap::new(),
    };
    let mut genesis = Genesis {
        chain_id: 5_318_008,
        settlement: l1::SETTLEMENT,
        // Where the simulated clock starts.
        timestamp_ms: 0,
        activation: 0,
        params: ChainParams {
            executed_lag: 4,
            leader_timeout_ms: LEADER_TIMEOUT_MS,
            certification_timeout_ms: 1_000,
            idle_block_interval_ms: 250,
            ..ChainParams::default().settled()
        },
        committee: dealt.info,
        alloc: wallets.iter().map(|(address, _)| account(address)).collect(),
        escrow: wallets.iter().filter(|(_, escrow)| *escrow).map(|(it, _)| (*it, ether)).collect(),
    };
    l1::adjust(&mut genesis.params);
    genesis.validate().expect("a valid genesis");
    (genesis, dealt.secrets)
}

impl<'a> World<'a> {
    pub(super) async fn new(context: &'a Context, plan: &'a Plan) -> Self {
        let (genesis, secrets) = genesis(plan);
        let genesis = Arc::new(genesis);
        let identities = engine::identities(&genesis).expect("dealt identities");
        let max_bytes = engine::max_message_bytes(&genesis)
            .max(MAX_ENVELOPE_MESSAGE_BYTES)
            .max(MAX_SHARE_MESSAGE_BYTES);
        let (network, oracle) = simulated::Network::new_with_peers(
            context.child("network"),
            Config {
                max_size: u32::try_from(max_bytes).expect("far below 4 GiB"),
                max_peers_per_set: NZUsize!(MEMBERS),
                disconnect_on_block: true,
                tracked_peer_sets: NZUsize!(1),
            },
            identities.clone(),
        )
        .await;
        network.start();
        let mut random = plan.random(3);
        // Each direction of each pair has a delay of its own.
        let mut delays = [[0; MEMBERS]; MEMBERS];
        for (from, row) in delays.iter_mut().enumerate() {
            for (_, delay) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                *delay = plan.latency_ms * random.random_range(50..=200) / 100;
            }
        }
        let folder = folder();
        let stores: Vec<Store> = (0..MEMBERS)
            .map(|member| {
                Store::open(folder.path().join(member.to_string()), genesis.hash().0)
                    .expect("a fresh folder")
            })
            .collect();
        let records = stores.iter().map(|store| Records::new(store.clone(), MEMBERS)).collect();
        let submissions = wallets::submissions(plan, &genesis);
        let storm = plan.storm.then(|| plan.calm_ms()).flatten();
        let l1 = Arc::new(L1::new(plan, &genesis));
        let mischief = plan.adversary.map(|adversary| {
            let secrets = &secrets[adversary.member];
            let l1 = Arc::clone(&l1);
            Arc::new(Mutex::new(Mischief::new(plan, adversary, &genesis, secrets, l1)))
        });
        let world = Self {
            plan,
            context,
            observer: Arc::new(Observer::new(context.child("observer"), &genesis, records)),
            genesis,
            secrets,
            identities,
            oracle,
            _folder: folder,
            stores,
            members: (0..MEMBERS).map(|_| None).collect(),
            shared: vec![None; MEMBERS],
            starts: 0,
            admitted: vec![Err("never handed in".to_owned()); submissions.len()],
            submissions,
            delays,
            loss_percent: plan.loss_percent,
            mischief,
            l1,
            storm: storm.map(|until_ms| {
                Arc::new(Storm::new(context.child("storm"), plan.random(4), until_ms))
            }),
            recovery: None,
        };
        world.link_all(|_, _| true).await;
        world
    }
}

fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("blindfold-sim-");
    let memory = Path::new(MEMORY_FOLDER);
    // Where it is missing or full, the disk does as well.
    let folder = if memory.is_dir() {
        builder.tempdir_in(memory).or_else(|_| builder.tempdir())
    } else {
        builder.tempdir()
    };
    folder.expect("a folder for temporary files")
}
