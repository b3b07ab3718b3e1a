//! `blindfold devnet`: a whole network on this machine, with wallets, a market and a bot.
//!
//! Every member is a process of its own with its own keys, database and ports on loopback; the
//! devnet's own process is only a wallet and an observer that trusts nothing but the genesis document
//! it wrote.

pub(super) mod audit;
mod bot;
mod contracts;
mod gateway;
pub(super) mod l1;
mod live;
mod processes;
pub(super) mod rng;
mod soak;
#[cfg(feature = "demo")]
mod stage;
pub(super) mod summary;
mod trading;
pub(super) mod wallets;

use super::committee::{NodeAddresses, Plan, WrittenNetwork};
#[cfg(feature = "demo")]
pub(super) use stage::{Stage, stage};

use crate::{config::NodeConfig, member::executor::ExecutorKind};
use alloy_primitives::{Address, U256};
use blindfold_committee::setup::DEALER_WARNING;
use blindfold_sdk::Committee;
use blindfold_wire::genesis::ChainParams;
use bot::Bot;
use clap::Args;
use contracts::Market;
use eyre::{Result, bail, ensure};
use processes::MemberProcess;
use rng::Choices;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use summary::Summary;
use trading::{TRADERS, open_market, trade};
use wallets::{DevWallet, Members, require_success, settle};
use zeroize::Zeroizing;

/// Chain id of a devnet.
const CHAIN_ID: u64 = 0xb11d;
/// Ether that each wallet starts with, and has in escrow, in wei.
const FUNDS_WEI: u128 = 1_000_000_000_000_000_000_000;
/// How long the members may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the set-up, and the last transactions, may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(180);

/// What network to run, and for how long.
#[derive(Clone, Debug, Args)]
pub struct DevnetArgs {
    /// Number of members.
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Sealed transactions to send.
    #[arg(long, default_value_t = 50)]
    transactions: usize,
    /// Leave when they are all settled, instead of running on.
    #[arg(long)]
    exit: bool,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    /// Fixes keys and the wallets' choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Start no gateway for wallets that do not seal.
    #[arg(long)]
    no_gateway: bool,
    /// Folder for keys, databases and logs. Default: a new one in the temporary folder, removed at the
    /// end of a good run with --exit.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    l1: l1::L1Args,
    /// What the members execute blocks with: "parallel" or "sequential".
    #[arg(long, default_value_t)]
    executor: ExecutorKind,
    /// Instead: run for this many minutes under half load while members are killed at random, and
    /// judge memory, open files and disk. Ends by itself.
    #[arg(long, value_name = "MINUTES", conflicts_with = "transactions")]
    soak: Option<u64>,
    /// Sealed transactions a second of --soak. Default: half of what the network is found to carry.
    #[arg(long, requires = "soak")]
    rate: Option<f64>,
}

/// Runs a devnet.
pub fn run(mut args: DevnetArgs) -> Result<ExitCode> {
    // A soak looks at members alone.
    args.no_gateway |= args.soak.is_some();
    ensure!((1..=16).contains(&args.nodes), "--nodes must be between 1 and 16 on one machine");
    let interrupted = on_ctrl_c();
    let folder = match &args.data_dir {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("blindfold-devnet-{}", std::process::id())),
    };
    eprintln!("{DEALER_WARNING}");
    eprintln!("data folder: {}", folder.display());

    let mut cast = Cast::new(&args);
    let l1 = match args.soak {
        // A soak looks at members alone.
        Some(_) => None,
        None => l1::DevL1::start(&args.l1, &folder, args.seed)?,
    };
    let written = write_network(&args, &folder, &cast, l1.as_ref())?;
    if let Some(l1) = &l1 {
        l1.deploy(&written.genesis)?;
        eprintln!("the contracts are on L1; every member has a stake");
    }
    let mut processes = Processes::start(&written, &folder)?;
    let committee = Committee::from_genesis(written.genesis.clone(), written.genesis.hash())?;
    cast.seat(&committee);
    let members = Members::connect(&processes.rpc_urls, &committee, Arc::clone(&interrupted))?;
    if let Err(error) = processes.wait_ready(&members, &interrupted) {
        processes.stop();
        if interrupted.load(Ordering::Relaxed) {
            eprintln!("interrupted");
            return Ok(ExitCode::SUCCESS);
        }
        return Err(error);
    }
    if let Some(config) = written.followers.first() {
        match processes.start_gateway(config, &folder, &interrupted) {
            Ok(url) => gateway::print(&url, args.seed),
            Err(_) if interrupted.load(Ordering::Relaxed) => {
                processes.stop();
                eprintln!("interrupted");
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => {
                processes.stop();
                return Err(error.wrap_err(format!("see the logs in {}", folder.display())));
            }
        }
    }
    eprintln!("{} members are up; deploying two tokens and an exchange", args.nodes);

    if let Some(minutes) = args.soak {
        let Some(seated) = cast.seated.take() else { bail!("nobody is seated") };
        let network = soak::Network {
            members: &members,
            written: &written,
            folder: &folder,
            interrupted: &interrupted,
        };
        let taken = std::mem::take(&mut processes.members);
        let (members, code) = soak::run(&args, minutes, seated, &network, taken)?;
        processes.members = members;
        return Ok(finish(&mut processes, &args, &folder, code));
    }
    let mut checks = || -> Result<bool> {
        processes.check_alive()?;
        Ok(interrupted.load(Ordering::Relaxed))
    };
    let outcome = perform(&args, cast, &members, &written, l1.as_ref(), &mut checks);
    let code = match outcome {
        Ok(summary) => {
            summary.print(args.json);
            let good = summary.good();
            if !args.exit && !interrupted.load(Ordering::Relaxed) {
                print_addresses(&processes.rpc_urls, &folder, args.json);
                while !interrupted.load(Ordering::Relaxed) {
                    processes.check_alive()?;
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(_) if interrupted.load(Ordering::Relaxed) => {
            eprintln!("interrupted");
            ExitCode::SUCCESS
        }
        Err(error) => {
            processes.stop();
            return Err(error.wrap_err(format!("see the logs in {}", folder.display())));
        }
    };
    Ok(finish(&mut processes, &args, &folder, code))
}

/// Stops the members, and cleans up after a good run.
fn finish(
    processes: &mut Processes,
    args: &DevnetArgs,
    folder: &std::path::Path,
    code: ExitCode,
) -> ExitCode {
    let killed = processes.stop();
    if !killed.is_empty() {
        eprintln!(
            "{} did not stop by themselves; see their logs in {}",
            killed.join(", "),
            folder.display()
        );
        return ExitCode::from(1);
    }
    if args.exit && args.data_dir.is_none() && code == ExitCode::SUCCESS {
        let _ = std::fs::remove_dir_all(folder);
    }
    code
}

/// Everybody who holds a key.
struct Cast {
    deployer: Choices,
    traders: Vec<Choices>,
    bot: Choices,
    seated: Option<Seated>,
}

struct Seated {
    deployer: DevWallet,
    traders: Vec<DevWallet>,
    bot: DevWallet,
}

impl Cast {
    fn new(args: &DevnetArgs) -> Self {
        let role = |name: &str| Choices::new(args.seed, name);
        let traders = TRADERS.min(args.transactions.max(1));
        Self {
            deployer: role("deployer"),
            traders: (0..traders).map(|at| role(&format!("trader {at}"))).collect(),
            bot: role("bot"),
            seated: None,
        }
    }

    /// Everyone's address: the first thing each draws is its key.
    fn addresses(&self) -> Vec<alloy_primitives::Address> {
        std::iter::once(&self.deployer)
            .chain(&self.traders)
            .chain([&self.bot])
            .map(|choices| blindfold_sdk::SigningKey::random(choices.clone().bytes()).address())
            .collect()
    }

    fn seat(&mut self, committee: &Committee) {
        let wallet = |choices: &Choices| DevWallet::new(choices.clone(), committee);
        self.seated = Some(Seated {
            deployer: wallet(&self.deployer),
            traders: self.traders.iter().map(wallet).collect(),
            bot: wallet(&self.bot),
        });
    }
}

fn write_network(
    args: &DevnetArgs,
    folder: &std::path::Path,
    cast: &Cast,
    l1: Option<&l1::DevL1>,
) -> Result<WrittenNetwork> {
    let funded: BTreeMap<_, _> =
        cast.addresses().into_iter().map(|address| (address, U256::from(FUNDS_WEI))).collect();
    let (mut alloc, mut escrow) = (funded.clone(), funded);
    if !args.no_gateway {
        alloc.insert(gateway::guest(args.seed)?.address(), U256::from(FUNDS_WEI));
        escrow.insert(gateway::payer(args.seed)?.address(), U256::from(FUNDS_WEI));
    }
    let followers = usize::from(!args.no_gateway);
    let plan = Plan {
        chain_id: CHAIN_ID,
        members: args.nodes,
        followers,
        seed: Zeroizing::new(Choices::new(args.seed, "dealer").bytes()),
        settlement: l1.map_or(Address::ZERO, l1::DevL1::settlement),
        params: l1.map_or_else(ChainParams::default, l1::DevL1::chain_params),
        alloc,
        escrow,
    };
    let written = plan.write(folder, &free_addresses(args.nodes + followers)?)?;
    for path in &written.configs {
        let mut config = NodeConfig::parse(&std::fs::read_to_string(path)?)?;
        config.execution.executor = args.executor;
        std::fs::write(path, config.to_toml()?)?;
    }
    if let Some(l1) = l1 {
        l1.configure(&written.configs)?;
        l1.configure(&written.followers)?;
    }
    if let Some(config) = written.followers.first() {
        gateway::configure(config, &written.configs, args.seed)?;
    }
    Ok(written)
}

/// Ports that are free now, three per member. All are held until all are found, so that they differ.
pub(super) fn free_addresses(members: usize) -> Result<Vec<NodeAddresses>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut held = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..members {
        let (quic, rpc, metrics) =
            (UdpSocket::bind(any)?, TcpListener::bind(any)?, TcpListener::bind(any)?);
        addresses.push(NodeAddresses {
            quic: quic.local_addr()?,
            rpc: rpc.local_addr()?,
            metrics: metrics.local_addr()?,
        });
        held.push((quic, rpc, metrics));
    }
    Ok(addresses)
}

/// The members' processes.
pub(super) struct Processes {
    /// One for each member, and the gateway's.
    pub(super) members: Vec<MemberProcess>,
    /// The members' RPCs.
    pub(super) rpc_urls: Vec<String>,
}

impl Processes {
    /// Starts every member of a network.
    pub(super) fn start(written: &WrittenNetwork, folder: &std::path::Path) -> Result<Self> {
        let mut processes = Self { members: Vec::new(), rpc_urls: Vec::new() };
        for (index, config) in written.configs.iter().enumerate() {
            let rpc = crate::config::NodeConfig::read(config)?.rpc.listen;
            let log = folder.join(format!("member-{index}.log"));
            processes.members.push(MemberProcess::start(index, config, &log)?);
            processes.rpc_urls.push(format!("http://{rpc}"));
        }
        Ok(processes)
    }

    /// Starts the gateway and waits until it follows; returns where it listens.
    fn start_gateway(
        &mut self,
        config: &std::path::Path,
        folder: &std::path::Path,
        interrupted: &AtomicBool,
    ) -> Result<String> {
        let log = folder.join("gateway.log");
        self.members.push(MemberProcess::start_gateway(config, &log)?);
        let url = format!("http://{}", crate::config::NodeConfig::read(config)?.rpc.listen);
        let deadline = Instant::now() + START_TIMEOUT;
        while !gateway::follows(&url)? {
            self.check_alive()?;
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            ensure!(
                Instant::now() < deadline,
                "the gateway did not follow within {START_TIMEOUT:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(url)
    }

    fn check_alive(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(MemberProcess::check_alive)
    }

    /// Waits until all members order and execute.
    pub(super) fn wait_ready(&mut self, members: &Members, interrupted: &AtomicBool) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        // A chain with two heights is one in which a quorum votes and executes.
        let ready = || {
            members
                .clients
                .iter()
                .all(|client| client.head().is_ok_and(|head| head.executed_height >= 2))
        };
        while !ready() {
            self.check_alive()?;
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            ensure!(
                Instant::now() < deadline,
                "the members did not start ordering within {START_TIMEOUT:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops all; returns the names of those that had to be killed.
    pub(super) fn stop(&mut self) -> Vec<String> {
        let killed = processes::stop_all(&mut self.members);
        self.members.clear();
        killed
    }
}

/// Deploys, trades, watches and audits.
fn perform(
    args: &DevnetArgs,
    cast: Cast,
    members: &Members,
    written: &WrittenNetwork,
    l1: Option<&l1::DevL1>,
    checks: &mut (dyn FnMut() -> Result<bool> + Send),
) -> Result<Summary> {
    let Some(Seated { mut deployer, mut traders, mut bot }) = cast.seated else {
        bail!("nobody is seated")
    };
    let checks = Mutex::new(checks);
    let stop =
        || -> Result<bool> { (checks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))() };
    let watch = &members.clients[0];
    let market = Market::of_deployer(deployer.address());

    let mut set_up = open_market(&mut deployer, &mut traders, &mut bot, members, market)?;
    settle(watch, &mut set_up, SETTLE_TIMEOUT, &stop)?;
    require_success(&set_up, "the set-up")?;

    let escrow_before = watch.payer(bot.address())?.escrow_wei;
    let bot = Bot::new(bot, members, market)?;
    let (trading_done, table_done) = (AtomicBool::new(false), AtomicBool::new(false));
    let started = Instant::now();
    let (sent, bot_sent, bot) = std::thread::scope(|scope| -> Result<_> {
        let table = scope.spawn(|| live::show(watch, &table_done));
        let watcher = scope.spawn(|| bot.run(&trading_done));
        let sent = trade(args.transactions, &mut traders, members, market, &stop)
            .and_then(|mut sent| settle(watch, &mut sent, SETTLE_TIMEOUT, &stop).map(|()| sent));
        trading_done.store(true, Ordering::Relaxed);
        let bot = watcher.join().map_err(|_| eyre::eyre!("the bot's thread panicked"));
        let settled = sent.and_then(|sent| {
            let bot = bot?;
            let mut bot_sent = bot.sent();
            settle(watch, &mut bot_sent, SETTLE_TIMEOUT, &stop)?;
            Ok((sent, bot_sent, bot))
        });
        table_done.store(true, Ordering::Relaxed);
        table.join().map_err(|_| eyre::eyre!("the table's thread panicked"))?;
        settled
    })?;
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    ensure!(!stop()?, "interrupted");

    let last = level(members, &stop)?;
    let audit = audit::audit(members, &written.genesis, last)?;
    let mut summary = Summary::of(&sent, &audit);
    if let Some(l1) = l1 {
        l1.wait_posted(watch, summary.last_height(&sent), &stop)?;
        summary.settled(&l1.report(&written.genesis)?);
    }
    summary.nodes = args.nodes;
    summary.elapsed_ms = elapsed_ms;
    for client in &members.clients {
        let head = client.head()?;
        summary.heights.push(head.executed_height);
        summary.uncertified_releases += head.uncertified_releases;
    }
    summary.unresolved += bot_sent.iter().filter(|sent| sent.end.is_none()).count();
    summary.bot = bot.report(escrow_before)?;
    Ok(summary)
}

/// Waits until every member has executed what the furthest one has now; returns that height.
pub(super) fn level(members: &Members, stop: &dyn Fn() -> Result<bool>) -> Result<u64> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let mut target = 0;
    for client in &members.clients {
        target = target.max(client.head()?.executed_height);
    }
    loop {
        let there = members
            .clients
            .iter()
            .all(|client| client.head().is_ok_and(|head| head.executed_height >= target));
        if there {
            return Ok(target);
        }
        ensure!(!stop()? && Instant::now() < deadline, "a member does not reach height {target}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says where the members that run on can be reached; with `json`, not on standard output, whose last
/// line is the summary.
fn print_addresses(rpc_urls: &[String], folder: &std::path::Path, json: bool) {
    let mut lines = vec!["\nrunning on; Ctrl-C stops it".to_owned()];
    lines
        .extend(rpc_urls.iter().enumerate().map(|(index, url)| format!("  member {index}: {url}")));
    lines.push(format!("  genesis: {}", folder.join("genesis.json").display()));
    let text = lines.join("\n");
    if json { eprintln!("{text}") } else { println!("{text}") }
}

/// Sets the flag on the first Ctrl-C; the second one ends the process at once.
pub(super) fn on_ctrl_c() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if raised.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    });
    flag
}
