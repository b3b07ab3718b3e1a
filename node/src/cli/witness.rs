//! `blindfold inspect witness` and `blindfold inspect replay-witness`: a block executed again without a node,
//! a database or the state.

use alloy_primitives::B256;
use blindfold_execution::witness::{MAX_REPLAY_FILE_BYTES, ReplayFile, ReplayReport, replay};
use blindfold_sdk::{HttpTransport, ask};
use clap::Args;
use eyre::{Context as _, Result, ensure};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A block of a running node.
#[derive(Debug, Args)]
pub struct WitnessInput {
    /// JSON-RPC of a node that keeps witnesses.
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    rpc: String,
    /// The height.
    #[arg(long)]
    height: u64,
    /// File to write to; without it the standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A file that `inspect witness` wrote.
#[derive(Debug, Args)]
pub struct ReplayWitnessInput {
    /// The file.
    path: PathBuf,
    /// Hash of the genesis document that the file must carry.
    #[arg(long)]
    genesis_hash: Option<B256>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Fetches all that it takes to execute a height again.
pub fn fetch(args: &WitnessInput) -> Result<()> {
    let transport = HttpTransport::new(&args.rpc)?;
    let file: ReplayFile = ask(&transport, "debug_replayFile", [format!("{:#x}", args.height)])?;
    let text = file.to_json();
    match &args.out {
        None => println!("{text}"),
        Some(path) => std::fs::write(path, text)
            .wrap_err_with(|| format!("cannot write {}", path.display()))?,
    }
    Ok(())
}

/// Executes a block again and says whether everything is as claimed.
pub fn verify(args: &ReplayWitnessInput) -> Result<ExitCode> {
    let file = ReplayFile::from_json(&read(&args.path)?)
        .wrap_err_with(|| format!("{} is no block to execute again", args.path.display()))?;
    if let Some(expected) = args.genesis_hash {
        let found = file.genesis.hash();
        ensure!(found == expected, "the file is of the chain with genesis hash {found}");
    }
    let report = replay(&file).wrap_err("the block cannot be executed again")?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => show(&report),
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .wrap_err_with(unreadable)?
        .take(MAX_REPLAY_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .wrap_err_with(unreadable)?;
    Ok(bytes)
}

fn show(report: &ReplayReport) {
    println!("height: {}", report.height);
    println!("block hash: {}", report.block_hash);
    println!("genesis hash: {}", report.genesis_hash);
    if let Some(state_root) = report.state_root {
        println!("state root: {state_root}");
        println!(
            "positions: {} executed, {} skipped, {} undecryptable",
            report.executed, report.skipped, report.undecryptable
        );
        println!("gas used: {}", report.gas_used);
    }
    match report.first() {
        None => println!("verdict: as claimed"),
        Some(first) => {
            println!("verdict: NOT AS CLAIMED");
            println!("first difference: {first}");
            for further in report.differences.iter().skip(1) {
                println!("further: {further}");
            }
        }
    }
}
