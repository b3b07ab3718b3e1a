//! A devnet for demonstrations: the same network, traded on for as long as somebody looks at its L1.

use super::{
    Cast, DevnetArgs, Processes, SETTLE_TIMEOUT, Seated,
    contracts::Market,
    l1::{DevL1, L1Args},
    on_ctrl_c,
    trading::{open_market, trade},
    wallets::{Members, require_success, settle},
    write_network,
};
use crate::{config::NodeConfig, member::executor::ExecutorKind};
use blindfold_sdk::Committee;
use blindfold_wire::Genesis;
use eyre::{OptionExt as _, Result};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Transactions that are sent together, again and again.
const ROUND: usize = 24;

/// What to set up.
pub(crate) struct Stage {
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) l1: L1Args,
    pub(crate) data_dir: Option<PathBuf>,
}

/// Runs a devnet whose members are configured by `configure`, trades on it, and lets `show` look at its L1
/// meanwhile. Everything ends when `show` does.
pub(crate) fn stage<T: Send>(
    stage: &Stage,
    configure: &dyn Fn(usize, &mut NodeConfig),
    show: &mut (dyn FnMut(&DevL1, &Genesis) -> Result<T> + Send),
) -> Result<T> {
    let interrupted = on_ctrl_c();
    let folder = match &stage.data_dir {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("blindfold-demo-{}", std::process::id())),
    };
    eprintln!("{}", blindfold_committee::setup::DEALER_WARNING);
    eprintln!("data folder: {}", folder.display());
    let args = DevnetArgs {
        nodes: stage.nodes,
        transactions: ROUND,
        exit: true,
        json: false,
        seed: stage.seed,
        no_gateway: true,
        data_dir: stage.data_dir.clone(),
        l1: stage.l1.clone(),
        executor: ExecutorKind::default(),
        soak: None,
        rate: None,
    };
    let l1 =
        DevL1::start(&args.l1, &folder, args.seed)?.ok_or_eyre("a demonstration needs an L1")?;
    let mut cast = Cast::new(&args);
    let written = write_network(&args, &folder, &cast, Some(&l1))?;
    for (member, path) in written.configs.iter().enumerate() {
        let mut config = NodeConfig::parse(&std::fs::read_to_string(path)?)?;
        configure(member, &mut config);
        std::fs::write(path, config.to_toml()?)?;
    }
    l1.deploy(&written.genesis)?;
    let mut processes = Processes::start(&written, &folder)?;
    let committee = Committee::from_genesis(written.genesis.clone(), written.genesis.hash())?;
    cast.seat(&committee);
    let members = Members::connect(&processes.rpc_urls, &committee, Arc::clone(&interrupted))?;
    processes.wait_ready(&members, &interrupted)?;
    let Seated { mut deployer, mut traders, mut bot } =
        cast.seated.take().ok_or_eyre("nobody is seated")?;
    let market = Market::of_deployer(deployer.address());
    let done = AtomicBool::new(false);
    let stop = || Ok(done.load(Ordering::Relaxed) || interrupted.load(Ordering::Relaxed));
    let watch = &members.clients[0];
    let mut set_up = open_market(&mut deployer, &mut traders, &mut bot, &members, market)?;
    settle(watch, &mut set_up, SETTLE_TIMEOUT, &stop)?;
    require_success(&set_up, "the set-up")?;

    let shown = std::thread::scope(|scope| {
        let trading = scope.spawn(|| -> Result<()> {
            while !stop()? {
                let mut sent = trade(ROUND, &mut traders, &members, market, &stop)?;
                settle(watch, &mut sent, SETTLE_TIMEOUT, &stop)?;
            }
            Ok(())
        });
        let shown = show(&l1, &written.genesis);
        done.store(true, Ordering::Relaxed);
        // What it says now is only that it was told to stop.
        let _ = trading.join();
        shown
    });
    processes.stop();
    match &shown {
        Ok(_) if stage.data_dir.is_none() => {
            let _ = std::fs::remove_dir_all(&folder);
        }
        Ok(_) => {}
        Err(_) => eprintln!("see the logs in {}", folder.display()),
    }
    shown
}
