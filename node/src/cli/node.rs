//! `blindfold node`: one member or follower of a chain.

use crate::{
    config::{LogFormat, NodeConfig, Role},
    member::{Channels, Member, Options, api::Api, messages},
    metrics::{self, MetricsServer},
    rpc::{NodeApi, RpcServer},
    store::Store,
    transport::{ChannelSpec, Identity, Transport, TransportConfig},
};
use blindfold_committee::{secrets::MemberSecrets, setup::DEALER_WARNING};
use blindfold_ordering::engine::{self, channels};
use blindfold_wire::genesis::Genesis;
use clap::{Args, Subcommand};
use commonware_p2p::Manager as _;
use commonware_runtime::{Runner as _, Supervisor as _, tokio as runtime};
use eyre::{Context as _, Result, bail, ensure};
use rand::Rng as _;
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tracing::{error, info, warn};
use zeroize::Zeroizing;

/// Largest genesis or secrets file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Prefix of the engine's partitions below the data folder. Never changes.
const ENGINE_PARTITION: &str = "engine";

/// One member or follower.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Write a `node.toml` that spells out every default.
    Init(InitArgs),
    /// Check configuration, genesis, keys and database, and start nothing.
    Check(ConfigArgs),
    /// Run until Ctrl-C.
    Run(RunArgs),
}

/// Where to write the configuration.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The file to write.
    #[arg(long, default_value = "node.toml")]
    config: PathBuf,
    /// Overwrite an existing file.
    #[arg(long)]
    force: bool,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The node's configuration.
    #[arg(long, default_value = "node.toml")]
    config: PathBuf,
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Leave when standard input closes: for a supervisor that holds the other end.
    #[arg(long)]
    stop_with_stdin: bool,
}

/// Runs a `node` command.
pub fn run(command: NodeCommand) -> Result<ExitCode> {
    match command {
        NodeCommand::Init(args) => init(&args),
        NodeCommand::Check(args) => check(&args.config),
        NodeCommand::Run(args) => run_node(args),
    }
}

fn init(args: &InitArgs) -> Result<ExitCode> {
    if args.config.exists() && !args.force {
        bail!("{} exists; use --force to overwrite it", args.config.display());
    }
    std::fs::write(&args.config, NodeConfig::default_toml_with_comments())
        .wrap_err_with(|| format!("cannot write {}", args.config.display()))?;
    println!("{}", args.config.display());
    Ok(ExitCode::SUCCESS)
}

/// What the files say, checked against each other.
struct Loaded {
    config: NodeConfig,
    genesis: Arc<Genesis>,
    secrets: Option<MemberSecrets>,
    /// Public ed25519 identity and its seed.
    identity: ([u8; 32], Zeroizing<[u8; 32]>),
}

fn load(path: &Path) -> Result<Loaded> {
    let config = NodeConfig::read(path)?;
    let document = read_file(&config.genesis).wrap_err(
        "put the chain's genesis document where node.toml says, or make a test chain with \
         `blindfold committee init --dealer`",
    )?;
    let genesis = Genesis::from_json(&document)
        .wrap_err_with(|| format!("genesis {}", config.genesis.display()))?;
    genesis.validate().wrap_err_with(|| format!("genesis {}", config.genesis.display()))?;
    let (secrets, identity) = match config.role {
        Role::Member => {
            let text = Zeroizing::new(read_file(&config.secrets)?);
            let secrets = MemberSecrets::from_text(&text)
                .wrap_err_with(|| format!("secrets {}", config.secrets.display()))?;
            let seed = secrets.expose_identity(|seed| Zeroizing::new(*seed));
            let public = blindfold_committee::setup::identity_public_key(&seed);
            let member = usize::try_from(secrets.member())
                .ok()
                .and_then(|at| genesis.committee.members.get(at));
            ensure!(
                member.is_some_and(|member| member.identity == public),
                "the secrets in {} belong to no member of this genesis; take the files of one committee",
                config.secrets.display()
            );
            (Some(secrets), (public, seed))
        }
        Role::Follower => {
            bail!(
                "role = \"follower\" is not supported by this version: run a member, or read a member's RPC"
            )
        }
    };
    Ok(Loaded { config, genesis: Arc::new(genesis), secrets, identity })
}

fn read_file(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).wrap_err_with(context)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).wrap_err_with(context)?;
    Ok(text)
}

fn check(path: &Path) -> Result<ExitCode> {
    let loaded = load(path)?;
    let store = Store::open(loaded.config.data_dir.join("db"), loaded.genesis.hash().0)?;
    drop(store);
    println!(
        "ok: {} of chain {}, genesis {}",
        role(&loaded),
        loaded.genesis.chain_id,
        loaded.genesis.hash()
    );
    Ok(ExitCode::SUCCESS)
}

fn role(loaded: &Loaded) -> String {
    match &loaded.secrets {
        Some(secrets) => {
            format!("member {} of {}", secrets.member(), loaded.genesis.committee.members.len())
        }
        None => "follower".to_owned(),
    }
}

/// Sends the log to stderr.
fn start_log(config: &NodeConfig) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log_filter)
        .wrap_err("node.toml: log_filter is not a tracing filter")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn run_node(args: RunArgs) -> Result<ExitCode> {
    let loaded = load(&args.config.config)?;
    start_log(&loaded.config)?;
    warn!(target: "blindfold::node", "{DEALER_WARNING}");
    std::fs::create_dir_all(&loaded.config.data_dir)
        .wrap_err_with(|| format!("cannot create {}", loaded.config.data_dir.display()))?;
    let runner = runtime::Runner::new(
        runtime::Config::new().with_storage_directory(loaded.config.data_dir.join("engine")),
    );
    runner.start(|context| serve(context, loaded, args.stop_with_stdin))
}

async fn serve(
    mut context: runtime::Context,
    loaded: Loaded,
    stop_with_stdin: bool,
) -> Result<ExitCode> {
    let role = role(&loaded);
    let Loaded { config, genesis, secrets, identity: (public, seed) } = loaded;
    let genesis_hash = genesis.hash();
    let store = Store::open(config.data_dir.join("db"), genesis_hash.0)?;
    let metrics_handle = metrics::install()?;

    let addresses = config
        .network
        .peers
        .iter()
        .map(|peer| {
            let key = engine::parse_identity(&peer.identity).ok_or_else(|| {
                eyre::eyre!(
                    "node.toml: network.peers: {} is no ed25519 key",
                    hex::encode(peer.identity)
                )
            })?;
            Ok((key, peer.address.to_string()))
        })
        .collect::<Result<_>>()?;
    let (transport, ends) = Transport::bind(
        TransportConfig {
            listen: config.network.listen,
            genesis_hash: genesis_hash.0,
            identity: Identity::from_seed(*seed)?,
            addresses,
        },
        channel_specs(&genesis),
    )?;
    let mut control = transport.control();
    let members: commonware_utils::ordered::Set<_> = engine::identities(&genesis)?
        .try_into()
        .map_err(|_| eyre::eyre!("genesis: an identity repeats"))?;
    control.track(0, members);
    let [votes, certificates, resolver, blocks, backfill, commitments, envelopes, shares] = ends;
    let channels = Channels {
        engine: engine::Network {
            votes,
            certificates,
            resolver,
            blocks,
            backfill,
            commitments,
            peers: control.clone(),
            blocker: control.clone(),
        },
        envelopes,
        shares,
        blocker: control.clone(),
    };
    let mut checker_secret = [0; 32];
    context.fill_bytes(&mut checker_secret);
    let options = Options {
        mempool: config.mempool.clone(),
        checker_secret,
        engine_partition: ENGINE_PARTITION.to_owned(),
    };
    let member = Member::start(
        context.child("member"),
        Arc::clone(&genesis),
        &public,
        secrets.as_ref(),
        store,
        channels,
        options,
    )
    .await?;
    drop(secrets);

    let api: Arc<dyn NodeApi> =
        Arc::new(Api::new(Arc::clone(&member.shared), member.pool.clone(), control));
    let rpc = match config.rpc.enabled {
        true => Some(RpcServer::start(config.rpc.clone(), Arc::clone(&api)).await?),
        false => None,
    };
    let pages = match config.metrics.enabled {
        true => Some(
            MetricsServer::start(config.metrics.listen, metrics_handle, api).await.wrap_err_with(
                || {
                    format!(
                        "cannot listen on {}; see [metrics] in node.toml",
                        config.metrics.listen
                    )
                },
            )?,
        ),
        false => None,
    };
    info!(target: "blindfold::node", %genesis_hash, chain_id = genesis.chain_id, "running as {role}");

    let outcome = tokio::select! {
        reason = member.failed() => Err(eyre::eyre!("{reason}")),
        () = stop_requested(stop_with_stdin) => Ok(ExitCode::SUCCESS),
    };
    if let Err(reason) = &outcome {
        error!(target: "blindfold::node", %reason, "stopping");
    } else {
        info!(target: "blindfold::node", "stopping");
    }
    if let Some(rpc) = rpc {
        rpc.stop().await;
    }
    if let Some(pages) = pages {
        pages.stop().await;
    }
    transport.shutdown().await;
    outcome
}

/// The channels of the transport: the engine's six, then ours. Priorities keep votes ahead of blocks.
fn channel_specs(genesis: &Genesis) -> [ChannelSpec; 8] {
    let engine_bytes = engine::max_message_bytes(genesis);
    [
        ChannelSpec::small(channels::VOTES, "votes"),
        ChannelSpec::small(channels::CERTIFICATES, "certificates"),
        ChannelSpec::large(channels::RESOLVER, "resolver", engine_bytes),
        ChannelSpec::large(channels::BLOCKS, "blocks", engine_bytes),
        ChannelSpec::large(channels::BACKFILL, "backfill", engine_bytes),
        ChannelSpec::small(channels::COMMITMENTS, "commitments"),
        ChannelSpec::large(
            messages::ENVELOPE_CHANNEL,
            "envelopes",
            messages::MAX_ENVELOPE_MESSAGE_BYTES,
        ),
        ChannelSpec::large(messages::SHARE_CHANNEL, "shares", messages::MAX_SHARE_MESSAGE_BYTES),
    ]
}

/// Resolves on Ctrl-C, on SIGTERM, or, if asked for, when standard input closes.
async fn stop_requested(with_stdin: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (closed, stdin_closed) = tokio::sync::oneshot::channel();
    if with_stdin {
        // A thread of its own: a blocked read must not hold up the runtime's end.
        std::thread::spawn(move || {
            let mut sink = [0; 64];
            let mut stdin = std::io::stdin();
            while matches!(stdin.read(&mut sink), Ok(read) if read > 0) {}
            let _ = closed.send(());
        });
    } else {
        std::mem::forget(closed);
    }
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(reason) => {
            warn!(target: "blindfold::node", %reason, "SIGTERM is not handled");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = stdin_closed => {}
    }
}
