//! `blindfold inspect replay-blocks`: Ethereum blocks through both executors, against each other and
//! their headers.

use std::{
    fs::File,
    io::{self, Read as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use blindfold_execution::{
    replay::{
        Engine, ReplayOutcome,
        folder::{BlockFolder, Disk, FolderBlock},
        replay,
    },
    state::StateView,
};
use clap::Args;
use eyre::{Result, WrapErr as _};
use serde_json::json;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Differences of one block that are told.
const MAX_TOLD: usize = 10;

/// How long a sample is to last at least: short blocks run several times in one. What a clock, an interrupt or
/// waking a thread costs would else decide over blocks of a millisecond.
const SAMPLE: Duration = Duration::from_millis(10);

/// Runs of a block in a sample at most.
const MAX_RUNS_IN_SAMPLE: u128 = 1_000;

/// A folder of blocks.
#[derive(Debug, Args)]
pub struct ReplayBlocksInput {
    /// The folder: `<number>/{block,pre_state,codes,block_hashes}.json` for each block, and possibly a
    /// `manifest.json` that names their forks. Also the folder of one block.
    folder: PathBuf,
    /// Threads of the parallel executor; as many as the machine has cores if absent.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Timed samples of each executor on each block, taking turns; the best of each counts. A sample is a run,
    /// or as many as it takes to last ten milliseconds.
    #[arg(long, default_value_t = NonZeroUsize::new(15).expect("not zero"))]
    runs: NonZeroUsize,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// In the JSON object, too: a list `per_block`.
    #[arg(long, requires = "json")]
    per_block: bool,
}

/// This machine's files.
struct LocalDisk;

impl Disk for LocalDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        let entry = |entry: io::Result<std::fs::DirEntry>| {
            let path = entry?.path();
            let is_folder = path.is_dir();
            Ok((path, is_folder))
        };
        folder.read_dir()?.map(entry).collect()
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let problem = format!("longer than {MAX_FILE_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        Ok(bytes)
    }
}

/// What came of one block.
struct Replayed {
    number: u64,
    fork: &'static str,
    transactions: usize,
    gas_used: u64,
    sequential: Duration,
    parallel: Duration,
    wrong: Vec<String>,
}

impl Replayed {
    fn ratio(&self) -> f64 {
        self.sequential.as_secs_f64() / self.parallel.as_secs_f64()
    }
}

/// Replays a folder.
pub fn run(args: &ReplayBlocksInput) -> Result<ExitCode> {
    let folder = BlockFolder::open(&args.folder, &LocalDisk)?;
    let threads = match args.threads {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let engines = [Engine::sequential(), Engine::parallel(threads)];
    if !args.json {
        println!("block      fork            txs        gas  sequential    parallel  ratio");
    }
    let mut blocks = Vec::new();
    for number in folder.numbers() {
        let Some(block) = folder.load(number)? else { continue };
        let replayed = replay_block(&block, &engines, args.runs.get())
            .wrap_err_with(|| format!("block {number}"))?;
        if !args.json {
            println!(
                "{:<10} {:<14} {:>4} {:>10} {:>8.3} ms {:>8.3} ms {:>6.3}  {}",
                replayed.number,
                replayed.fork,
                replayed.transactions,
                replayed.gas_used,
                replayed.sequential.as_secs_f64() * 1e3,
                replayed.parallel.as_secs_f64() * 1e3,
                replayed.ratio(),
                if replayed.wrong.is_empty() { "equal" } else { "MISMATCH" },
            );
        }
        for problem in replayed.wrong.iter().take(MAX_TOLD) {
            eprintln!("block {number}: {problem}");
        }
        blocks.push(replayed);
    }

    let mismatches = blocks.iter().filter(|block| !block.wrong.is_empty()).count();
    let ratios: Vec<f64> = blocks.iter().map(Replayed::ratio).collect();
    let geomean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    if args.json {
        let mut report = json!({
            "blocks": blocks.len(),
            "mismatches": mismatches,
            "geomean_ratio": geomean,
            "worst_ratio": worst,
        });
        if args.per_block {
            report["per_block"] = blocks.iter().map(row).collect();
        }
        println!("{report}");
    } else {
        println!("blocks: {}\nmismatches: {mismatches}", blocks.len());
        println!("geomean_ratio: {geomean:.3}\nworst_ratio: {worst:.3}");
    }
    Ok(if mismatches == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn row(block: &Replayed) -> serde_json::Value {
    json!({
        "number": block.number,
        "fork": block.fork,
        "transactions": block.transactions,
        "gas_used": block.gas_used,
        "sequential_ns": u64::try_from(block.sequential.as_nanos()).unwrap_or(u64::MAX),
        "parallel_ns": u64::try_from(block.parallel.as_nanos()).unwrap_or(u64::MAX),
        "ratio": block.ratio(),
        "problems": block.wrong,
    })
}

/// Runs a block on both engines in turns, twice to warm up and then timed. Every single run is compared.
fn replay_block(found: &FolderBlock, engines: &[Engine; 2], samples: usize) -> Result<Replayed> {
    let (block, header) = (&found.block, &found.header);
    let state: Arc<dyn StateView> = Arc::new(found.pre_state.clone());
    let mut first: Option<ReplayOutcome> = None;
    let mut wrong = Vec::new();
    let mut run =
        |which: usize| -> Result<Duration> {
            let begun = Instant::now();
            let outcome = replay(block, &state, &engines[which])?;
            let took = begun.elapsed();
            match &first {
                None => {
                    wrong = header.disagreements(block.fork, &outcome);
                    first = Some(outcome);
                }
                Some(first) => wrong.extend(first.first_difference(&outcome).map(|difference| {
                    format!("{}: {difference}", ["sequential", "parallel"][which])
                })),
            }
            Ok(took)
        };
    run(0)?;
    run(1)?;
    let warm = run(0)?.min(run(1)?);
    let runs = SAMPLE.as_nanos().div_ceil(warm.as_nanos().max(1)).clamp(1, MAX_RUNS_IN_SAMPLE);
    let runs = u32::try_from(runs).unwrap_or(1);
    let mut best = [Duration::MAX; 2];
    for sample in 0..samples {
        let mut took = [Duration::ZERO; 2];
        for turn in 0..runs as usize {
            // Who goes first changes, so that neither always finds what the other left in the caches.
            let first = (sample + turn) % 2;
            for which in [first, 1 - first] {
                took[which] += run(which)?;
            }
        }
        for (best, took) in best.iter_mut().zip(took) {
            *best = (*best).min(took / runs);
        }
    }
    Ok(Replayed {
        number: block.number,
        fork: block.fork.name(),
        transactions: block.transactions.len(),
        gas_used: first.map_or(0, |outcome| outcome.gas_used),
        sequential: best[0],
        parallel: best[1],
        wrong,
    })
}
