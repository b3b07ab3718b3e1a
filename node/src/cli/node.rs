//! `blindfold node`: one member or follower of a chain.

use crate::{
    config::{LogFormat, NodeConfig},
    member::executor::ExecutorKind,
    run::{self, Loaded},
};
use blindfold_committee::setup::DEALER_WARNING;
use clap::{Args, Subcommand};
use commonware_runtime::{Runner as _, tokio as runtime};
use eyre::{Context as _, Result, bail};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tracing::{error, info, warn};

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
    /// Run a member without its keys: catch up, execute and serve, but sign nothing. For a member that
    /// lost its data folder.
    #[arg(long)]
    observe: bool,
    /// What to execute blocks with, "parallel" or "sequential", instead of what the configuration says.
    #[arg(long)]
    executor: Option<ExecutorKind>,
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

fn check(path: &Path) -> Result<ExitCode> {
    let loaded = Loaded::read(path)?;
    drop(loaded.open_store(rand::random())?);
    println!(
        "ok: {} of chain {}, genesis {}",
        loaded.role(),
        loaded.genesis.chain_id,
        loaded.genesis.hash()
    );
    Ok(ExitCode::SUCCESS)
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
    let mut loaded = Loaded::read(&args.config.config)?;
    if args.observe {
        loaded.observe();
    }
    if let Some(executor) = args.executor {
        loaded.execute_with(executor);
    }
    run_to_end(loaded, |context, loaded| serve(context, loaded, args.stop_with_stdin))
}

/// Starts log and runtime, and has `serve` run the node in it until it ends. A disk that cannot be
/// written is named in the error.
pub(super) fn run_to_end<F>(
    loaded: Loaded,
    serve: impl FnOnce(runtime::Context, Loaded) -> F,
) -> Result<ExitCode>
where
    F: Future<Output = Result<ExitCode>>,
{
    start_log(&loaded.config)?;
    warn!(target: "blindfold::node", "{DEALER_WARNING}");
    std::fs::create_dir_all(&loaded.config.data_dir)
        .wrap_err_with(|| format!("cannot create {}", loaded.config.data_dir.display()))?;
    let runner = runtime::Runner::new(
        runtime::Config::new().with_storage_directory(loaded.config.data_dir.join("engine")),
    );
    let data_dir = loaded.config.data_dir.clone();
    let serving = || runner.start(|context| serve(context, loaded));
    // The engine library panics where it cannot write; nothing of the node outlives that. To whoever
    // runs the node it is an error like any other.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(serving));
    let outcome = outcome.unwrap_or_else(|panic| {
        Err(eyre::eyre!("a task of the node failed: {}", panic_message(panic.as_ref())))
    });
    outcome.map_err(|reason| match probe_disk(&data_dir) {
        Ok(()) => reason,
        // What failed first does not always know why.
        Err(disk) => reason.wrap_err(format!(
            "cannot write to {}: {disk}; make room or repair the disk, then start the node again: it goes on \
             from its database",
            data_dir.display()
        )),
    })
}

/// Writes a little into `folder` and takes it away again.
fn probe_disk(folder: &Path) -> std::io::Result<()> {
    /// More than what a full disk may still take in half-used blocks.
    const PROBE_BYTES: usize = 64 << 10;
    let path = folder.join("probe.tmp");
    let written = std::fs::File::create(&path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &[0; PROBE_BYTES])?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&path);
    written
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

async fn serve(
    context: runtime::Context,
    loaded: Loaded,
    stop_with_stdin: bool,
) -> Result<ExitCode> {
    let mut node = run::start(context, loaded, |channels| channels).await?;
    let outcome = tokio::select! {
        reason = node.failed() => Err(eyre::eyre!("{reason}")),
        () = stop_requested(stop_with_stdin) => Ok(ExitCode::SUCCESS),
    };
    if let Err(reason) = &outcome {
        error!(target: "blindfold::node", %reason, "stopping");
    } else {
        info!(target: "blindfold::node", "stopping");
    }
    node.stop().await;
    outcome
}

/// Resolves on Ctrl-C, on SIGTERM, or, if asked for, when standard input closes.
pub(super) async fn stop_requested(with_stdin: bool) {
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
