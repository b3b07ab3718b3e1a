//! `blindfold committee`: the keys of a committee.

use crate::config::{NetworkConfig, NodeConfig, PeerConfig, Role};
use blindfold_committee::setup::{DEALER_WARNING, DealtCommittee, deal_committee};
use blindfold_wire::{
    Address, U256,
    genesis::{ChainParams, Genesis, GenesisAccount},
};
use clap::{Args, Subcommand};
use eyre::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use zeroize::Zeroizing;

/// Members one dealt committee may have.
const MAX_MEMBERS: usize = 64;
/// Followers that may be written at once.
const MAX_FOLLOWERS: usize = 64;
/// Stake of each dealt member.
const STAKE: u64 = 100;

/// Committee keys.
#[derive(Debug, Subcommand)]
pub enum CommitteeCommand {
    /// Make the keys of a new chain: genesis, and a folder of configuration and secrets per member.
    Init(InitArgs),
}

/// What committee to make.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Use the test dealer: one process makes, and so knows, every secret.
    #[arg(long)]
    dealer: bool,
    /// Number of members.
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Chain id.
    #[arg(long, default_value_t = 0xb11d)]
    chain_id: u64,
    /// New folder for genesis.json, member-0, member-1, …, and follower-0, …
    #[arg(long, default_value = "committee")]
    out: PathBuf,
    /// Number of followers to write a node.toml for: they hold no secret.
    #[arg(long, default_value_t = 0)]
    followers: usize,
    /// Settlement contract on L1, where it will be deployed [default: none, nothing is posted].
    #[arg(long)]
    settlement: Option<Address>,
    /// First port on loopback; each member, then each follower, takes three (QUIC, RPC, metrics).
    #[arg(long, default_value_t = 30_600)]
    base_port: u16,
    /// An account to fund, and its wei: `0xADDRESS=WEI`. May be repeated.
    #[arg(long, value_parser = parse_allocation)]
    fund: Vec<(Address, U256)>,
    /// An escrow to fill, and its wei: `0xADDRESS=WEI`. May be repeated.
    #[arg(long, value_parser = parse_allocation)]
    escrow: Vec<(Address, U256)>,
}

/// Runs a `committee` command.
pub fn run(command: CommitteeCommand) -> Result<ExitCode> {
    let CommitteeCommand::Init(args) = command;
    ensure!(
        args.dealer,
        "this version makes keys with the test dealer only; say so with --dealer if that is what you want"
    );
    let mut seed = Zeroizing::new([0; 32]);
    rand::Rng::fill_bytes(&mut rand::rng(), seed.as_mut_slice());
    let plan = Plan {
        chain_id: args.chain_id,
        members: args.nodes,
        followers: args.followers,
        seed,
        settlement: args.settlement.unwrap_or_default(),
        params: match args.settlement {
            Some(_) => ChainParams::default().settled(),
            None => ChainParams::default(),
        },
        alloc: args.fund.into_iter().collect(),
        escrow: args.escrow.into_iter().collect(),
    };
    let port = |at: usize, offset: u16| {
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        args.base_port.checked_add(at.saturating_mul(3)).and_then(|port| port.checked_add(offset))
    };
    let nodes = args.nodes.saturating_add(args.followers);
    let addresses: Option<Vec<NodeAddresses>> = (0..nodes)
        .map(|at| {
            let local =
                |offset| port(at, offset).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
            Some(NodeAddresses { quic: local(0)?, rpc: local(1)?, metrics: local(2)? })
        })
        .collect();
    let Some(addresses) = addresses else { bail!("--base-port is too high for {nodes} nodes") };
    eprintln!("{DEALER_WARNING}");
    let network = plan.write(&args.out, &addresses)?;
    println!("{}", network.genesis.hash());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn parse_allocation(text: &str) -> Result<(Address, U256), String> {
    let (address, wei) = text.split_once('=').ok_or("expected 0xADDRESS=WEI")?;
    let address = address.parse().map_err(|_| format!("{address} is no address"))?;
    let wei = wei.parse().map_err(|_| format!("{wei} is no number of wei"))?;
    Ok((address, wei))
}

/// Where one node listens.
#[derive(Clone, Copy, Debug)]
pub struct NodeAddresses {
    /// QUIC.
    pub quic: SocketAddr,
    /// JSON-RPC.
    pub rpc: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
}

/// A chain to be made with the test dealer.
pub struct Plan {
    /// Chain id.
    pub chain_id: u64,
    /// Number of members.
    pub members: usize,
    /// Number of followers to write a configuration for.
    pub followers: usize,
    /// The dealer's seed: the secret of the whole network.
    pub seed: Zeroizing<[u8; 32]>,
    /// Settlement contract on L1; zero if there is none.
    pub settlement: Address,
    /// Chain parameters.
    pub params: ChainParams,
    /// Balances in wei.
    pub alloc: BTreeMap<Address, U256>,
    /// Escrow in wei.
    pub escrow: BTreeMap<Address, U256>,
}

/// A chain whose files are written.
pub struct WrittenNetwork {
    /// The genesis document.
    pub genesis: Genesis,
    /// Each member's `node.toml`.
    pub configs: Vec<PathBuf>,
    /// Each follower's `node.toml`.
    pub followers: Vec<PathBuf>,
}

impl Plan {
    /// Deals the keys and writes `genesis.json` and a folder per member, readable by this user only,
    /// and one per follower. `addresses` are the members', then the followers'.
    ///
    /// # Errors
    /// If the folder exists already with a genesis in it, or a file cannot be written.
    pub fn write(self, folder: &Path, addresses: &[NodeAddresses]) -> Result<WrittenNetwork> {
        ensure!(
            (1..=MAX_MEMBERS).contains(&self.members),
            "--nodes must be between 1 and {MAX_MEMBERS}"
        );
        ensure!(self.followers <= MAX_FOLLOWERS, "--followers must be at most {MAX_FOLLOWERS}");
        ensure!(
            addresses.len() == self.members + self.followers,
            "{} addresses for {} nodes",
            addresses.len(),
            self.members + self.followers
        );
        let genesis_path = folder.join("genesis.json");
        ensure!(
            !genesis_path.exists(),
            "{} exists: keys are never overwritten; choose another folder",
            genesis_path.display()
        );
        let DealtCommittee { info, secrets } =
            deal_committee(&vec![STAKE; self.members], *self.seed)?;
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).wrap_err("the clock is before 1970")?;
        let genesis = Genesis {
            chain_id: self.chain_id,
            settlement: self.settlement,
            timestamp_ms: u64::try_from(now.as_millis())?,
            activation: 0,
            params: self.params,
            committee: info,
            alloc: self
                .alloc
                .into_iter()
                .map(|(address, balance)| GenesisAccount {
                    address,
                    balance,
                    nonce: 0,
                    code: Default::default(),
                    storage: BTreeMap::new(),
                })
                .collect(),
            escrow: self.escrow.into_iter().collect(),
        };
        genesis.validate()?;
        fs::create_dir_all(folder)
            .wrap_err_with(|| format!("cannot create {}", folder.display()))?;

        let (mut configs, mut followers) = (Vec::new(), Vec::new());
        for (index, own) in addresses.iter().enumerate() {
            let secrets = secrets.get(index);
            let (role, home) = match secrets {
                Some(_) => (Role::Member, format!("member-{index}")),
                None => (Role::Follower, format!("follower-{}", index - self.members)),
            };
            let home = folder.join(home);
            fs::create_dir_all(&home)
                .wrap_err_with(|| format!("cannot create {}", home.display()))?;
            if let Some(secrets) = secrets {
                write_secret(&home.join("secrets.toml"), secrets.to_text().as_bytes())?;
            }
            let peers = genesis
                .committee
                .members
                .iter()
                .zip(addresses)
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, (member, addresses))| PeerConfig {
                    identity: member.identity,
                    address: addresses.quic,
                })
                .collect();
            let mut config = NodeConfig {
                role,
                genesis: "../genesis.json".into(),
                network: NetworkConfig { listen: own.quic, peers, ..NetworkConfig::default() },
                ..NodeConfig::default()
            };
            config.rpc.listen = own.rpc;
            config.metrics.listen = own.metrics;
            let path = home.join("node.toml");
            fs::write(&path, config.to_toml()?)
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
            match role {
                Role::Member => configs.push(path),
                Role::Follower => followers.push(path),
            }
        }
        // Last, so that a folder with a genesis is a whole one.
        fs::write(&genesis_path, genesis.to_json())
            .wrap_err_with(|| format!("cannot write {}", genesis_path.display()))?;
        Ok(WrittenNetwork { genesis, configs, followers })
    }
}

/// Writes a new file that only this user may read.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let context = || format!("cannot write {}", path.display());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .wrap_err_with(context)?;
    file.write_all(bytes).wrap_err_with(context)?;
    file.sync_all().wrap_err_with(context)
}
