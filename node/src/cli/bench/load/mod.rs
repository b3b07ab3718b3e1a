//! `blindfold bench load`: a devnet under sealed transactions that come at a fixed rate, however fast
//! it answers, and what that took.
//!
//! ```text
//!  seal in advance ─▶ [ search: short steps, twice the rate until it does not hold ] ─▶ full ─▶ half load
//!                                                     each: submit open loop ─▶ wait for the last ─▶ read the records
//! ```
//!
//! Everything is on loopback, bounded, and ends by itself. The members are processes of the same program
//! with the configuration that `committee init` writes; figures come from outside: `/proc`, metrics pages,
//! and the members' records of their heights.

mod cost;
mod drive;
mod ledger;
mod report;
mod search;
mod stock;

use super::progress::Progress;
use crate::{
    cli::{
        committee::{Plan, WrittenNetwork},
        devnet::{
            self, Processes,
            audit::audit,
            rng::Choices,
            wallets::{Members, now_ms},
        },
    },
    config::NodeConfig,
};
use alloy_primitives::{Address, U256};
use blindfold_committee::setup::DEALER_WARNING;
use blindfold_sdk::Committee;
use blindfold_wire::genesis::ChainParams;
use clap::Args;
use cost::{Cpu, Page};
use drive::{Live, drive};
use eyre::{Result, bail, ensure};
use ledger::Ledger;
use report::{Phase, Report};
use search::Search;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use stock::Stock;
use zeroize::Zeroizing;

/// Highest rate that is offered, in sealed transactions a second.
const MAX_RATE: f64 = 5_000.0;
/// Longest stretch at one rate, in seconds.
const MAX_SECONDS: u64 = 120;
/// Most transactions sealed for one stretch: they wait in memory, about a kilobyte each.
const MAX_SEALED: usize = 200_000;
/// Most members: all run on this machine.
const MAX_MEMBERS: usize = 16;
/// Payers. Each may have the protocol's nonce window in flight, so together they never are the bound.
const PAYERS: usize = 512;
/// Length of one step of the search.
const STEP_SECONDS: u64 = 5;
/// Part of a stretch that is not counted for the sustained rate: the pipeline fills.
const WARM_UP_SHARE: f64 = 0.25;
/// A rate held if so much of it was executed …
const HELD_SHARE: f64 = 0.9;
/// … and what was left over at the end is no more than this many seconds of it.
const HELD_BACKLOG_SECONDS: f64 = 2.5;
/// How long the last transactions may take to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks at a member's metrics.
const LOOK: Duration = Duration::from_millis(400);
/// Heights from now on at which sealed transactions expire; below the protocol's window.
const LIFE_HEIGHTS: u64 = 4_000;
/// Wei that each payer starts with, and has in escrow.
const FUNDS_WEI: u128 = 1_000_000_000_000_000_000_000;
/// Chain id of the devnet.
const CHAIN_ID: u64 = 0xb11d;

/// What load, for how long.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// Sealed transactions a second; `auto` searches for the highest rate that the network keeps up with.
    #[arg(long, default_value = "auto")]
    rate: Rate,
    /// Length of the stretch at this rate, and of the one at half of what was sustained.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Number of members.
    #[arg(long, default_value_t = 4)]
    n: usize,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    /// Fixes the keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for keys, databases and logs. Default: a new one in the temporary folder, removed at the end
    /// of a good run.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// A rate, or the wish to find one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Auto,
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate <= MAX_RATE => Ok(Self::PerSecond(rate)),
            _ => Err(format!("expected `auto` or a number above 0 and up to {MAX_RATE}")),
        }
    }
}

/// Runs a load. Exit code 1 if a transaction is not accounted for, or something unsafe was seen.
pub fn run(args: &LoadArgs) -> Result<ExitCode> {
    ensure!(
        (1..=MAX_SECONDS).contains(&args.seconds),
        "--seconds must be between 1 and {MAX_SECONDS}"
    );
    ensure!((1..=MAX_MEMBERS).contains(&args.n), "--n must be between 1 and {MAX_MEMBERS}");
    if let Rate::PerSecond(rate) = args.rate {
        ensure!(
            count(rate, args.seconds) <= MAX_SEALED,
            "--rate times --seconds must not exceed {MAX_SEALED}"
        );
    }
    let interrupted = devnet::on_ctrl_c();
    let folder = match &args.data_dir {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("blindfold-load-{}", std::process::id())),
    };
    eprintln!("{DEALER_WARNING}");
    eprintln!("data folder: {}", folder.display());
    let keys = stock::keys(args.seed, PAYERS);
    let written = write_network(args, &folder, &keys)?;
    let mut processes = Processes::start(&written, &folder)?;
    let outcome = measure(args, &written, &mut processes, keys, &interrupted);
    let killed = processes.stop();
    let report = match outcome {
        Ok(report) => report,
        Err(_) if interrupted.load(Ordering::Relaxed) => {
            eprintln!("interrupted");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error.wrap_err(format!("see the logs in {}", folder.display()))),
    };
    report.print(args.json);
    if !killed.is_empty() {
        eprintln!("{} did not stop by themselves; see {}", killed.join(", "), folder.display());
        return Ok(ExitCode::from(1));
    }
    if !report.good() {
        return Ok(ExitCode::from(1));
    }
    if args.data_dir.is_none() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(ExitCode::SUCCESS)
}

fn write_network(
    args: &LoadArgs,
    folder: &Path,
    keys: &[blindfold_sdk::SigningKey],
) -> Result<WrittenNetwork> {
    let funds: BTreeMap<_, _> =
        keys.iter().map(|key| (key.address(), U256::from(FUNDS_WEI))).collect();
    let plan = Plan {
        chain_id: CHAIN_ID,
        members: args.n,
        followers: 0,
        seed: Zeroizing::new(Choices::new(args.seed, "dealer").bytes()),
        settlement: Address::ZERO,
        params: ChainParams::default(),
        alloc: funds.clone(),
        escrow: funds,
    };
    plan.write(folder, &devnet::free_addresses(args.n)?)
}

fn count(rate: f64, seconds: u64) -> usize {
    (rate * seconds as f64).ceil() as usize
}

fn measure(
    args: &LoadArgs,
    written: &WrittenNetwork,
    processes: &mut Processes,
    keys: Vec<blindfold_sdk::SigningKey>,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let committee = Committee::from_genesis(written.genesis.clone(), written.genesis.hash())?;
    let members = Members::connect(&processes.rpc_urls, &committee, Arc::clone(interrupted))?;
    processes.wait_ready(&members, interrupted)?;
    let pages = written
        .configs
        .iter()
        .map(|config| Ok(NodeConfig::read(config)?.metrics.listen))
        .collect::<Result<Vec<_>>>()?;
    let mut bench = Bench {
        cores: thread::available_parallelism().map_or(1, usize::from),
        rpc_urls: processes.rpc_urls.clone(),
        ids: processes.members.iter().map(|member| member.id()).collect(),
        stock: Stock::new(keys, &committee),
        members: &members,
        pages,
        interrupted,
        envelope_bytes: 0,
    };
    let mut report = Report {
        nodes: args.n,
        cores: bench.cores,
        release_build: !cfg!(debug_assertions),
        payers: bench.stock.payers(),
        ..Report::default()
    };
    let rate = match args.rate {
        Rate::PerSecond(rate) => rate,
        Rate::Auto => bench.search(args.seconds, &mut report)?,
    };
    report.full = bench.phase("full rate", rate, args.seconds)?;
    report.sustained_per_s = report.full.sustained_per_s;
    let half = (report.sustained_per_s / 2.0).min(rate / 2.0).max(1.0);
    report.half = bench.phase("half load", half, args.seconds)?;
    report.envelope_bytes = bench.envelope_bytes;
    let per_transaction_us = report.full.members_cpu_us_per_transaction;
    if per_transaction_us > 0.0 {
        report.limit_per_s = bench.cores as f64 * 1e6 / per_transaction_us;
        report.ratio = report.sustained_per_s / report.limit_per_s;
        let free = (bench.cores as f64 - report.full.others_cores).max(f64::EPSILON);
        report.ratio_of_free_cores = report.ratio * bench.cores as f64 / free;
    }
    processes.members.iter_mut().try_for_each(|member| member.check_alive())?;
    let stop = || Ok(interrupted.load(Ordering::Relaxed));
    let last = devnet::level(&members, &stop)?;
    let audit = audit(&members, &written.genesis, last)?;
    report.opened_before_final = audit.opened_before_final;
    report.bundles_checked = audit.bundles_checked;
    report.diverged_nodes = audit.diverged_nodes;
    Ok(report)
}

/// A running network and what is needed to load it.
struct Bench<'a> {
    cores: usize,
    members: &'a Members,
    rpc_urls: Vec<String>,
    ids: Vec<u32>,
    pages: Vec<SocketAddr>,
    stock: Stock,
    interrupted: &'a AtomicBool,
    envelope_bytes: usize,
}

impl Bench<'_> {
    /// The highest rate that held in short steps.
    fn search(&mut self, seconds: u64, report: &mut Report) -> Result<f64> {
        let max_rate = MAX_RATE.min(MAX_SEALED as f64 / seconds.max(STEP_SECONDS) as f64);
        let mut search = Search::new(max_rate);
        while let Some(rate) = search.next() {
            let phase = self.phase("search", rate, STEP_SECONDS)?;
            ensure!(phase.ends.unresolved == 0, "at {rate:.0} a second some never ended");
            search.note(rate, phase.held);
            report.search.push((rate, phase.sustained_per_s, phase.held));
        }
        match search.best() {
            Some(rate) => Ok(rate),
            None => bail!("the network keeps up with no rate; see --rate"),
        }
    }

    /// Seals, submits at `rate` for `seconds`, waits for the last, and reads what happened.
    fn phase(&mut self, name: &str, rate: f64, seconds: u64) -> Result<Phase> {
        let client = &self.members.clients[0];
        let sealed = count(rate, seconds);
        let expiry_height = client.head()?.ordered_height + LIFE_HEIGHTS;
        let ready = self.stock.seal(sealed, expiry_height, self.cores, self.interrupted)?;
        self.envelope_bytes =
            ready.iter().map(|one| one.bytes.len()).sum::<usize>() / ready.len().max(1);

        let after = client.head()?.ordered_height;
        let pages_before = self.read_pages()?;
        let cpu_before = Cpu::now(&self.ids)?;
        let progress = Progress::new(format!("{name}: {rate:.0}/s for {seconds} s"));
        let live = Arc::new(Live::default());
        let ended_before = pages_before[0].ended;
        let urls = &self.rpc_urls;
        let interrupted = self.interrupted;
        let submitted = thread::scope(|scope| {
            let driving = scope.spawn(|| drive(urls, ready, rate, &live, interrupted));
            while !driving.is_finished() {
                thread::sleep(LOOK);
                let ended = Page::read(self.pages[0]).map_or(0, |page| page.ended - ended_before);
                show(&progress, &live, sealed, ended);
            }
            driving.join().map_err(|_| eyre::eyre!("the generator's thread panicked"))?
        })?;
        let admitted = submitted.admitted.len() as u64;
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        loop {
            let ended = Page::read(self.pages[0])?.ended - ended_before;
            show(&progress, &live, sealed, ended);
            if ended >= admitted || Instant::now() >= deadline {
                break;
            }
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            thread::sleep(LOOK);
        }
        let cpu = Cpu::now(&self.ids)? - cpu_before;
        let elapsed_ms = now_ms().saturating_sub(submitted.span_ms.0).max(1);
        let pages = self.read_pages()?;
        drop(progress);

        let ledger = Ledger::read(client, after)?;
        let ends = ledger.ends(sealed, &submitted);
        let (from_ms, to_ms) = submitted.span_ms;
        let warm_ms = from_ms + ((to_ms - from_ms) as f64 * WARM_UP_SHARE) as u64;
        let sustained = ledger.rate(warm_ms, to_ms);
        let backlog = ledger.executed_from(to_ms) as f64 + ends.unresolved as f64;
        let transactions = ends.executed.max(1) as f64;
        let sent = |of: fn(&Page) -> u64| {
            let total: u64 =
                pages.iter().zip(&pages_before).map(|(now, then)| of(now) - of(then)).sum();
            total as f64 / transactions / pages.len() as f64
        };
        let cores = |us: u64| us as f64 / (elapsed_ms as f64 * 1_000.0);
        Ok(Phase {
            offered_per_s: rate,
            seconds: seconds as f64,
            sustained_per_s: sustained,
            held: sustained >= HELD_SHARE * rate && backlog <= HELD_BACKLOG_SECONDS * rate,
            latencies: ledger.latencies(&submitted),
            heights: ledger.heights(),
            elapsed_ms,
            members_cpu_us_per_transaction: cpu.members_us as f64 / transactions,
            generator_cpu_us_per_transaction: cpu.generator_us as f64 / transactions,
            members_cores: cores(cpu.members_us),
            generator_cores: cores(cpu.generator_us),
            others_cores: cores(cpu.others_us()),
            wire_sent_bytes_per_transaction_per_member: sent(|page| page.wire_sent_bytes),
            payload_sent_bytes_per_transaction_per_member: sent(|page| page.payload_sent_bytes),
            refusals: submitted.refused,
            retries: submitted.retries,
            sent_late: submitted.late,
            ends,
        })
    }

    fn read_pages(&self) -> Result<Vec<Page>> {
        self.pages.iter().map(|page| Page::read(*page)).collect()
    }
}

fn show(progress: &Progress, live: &Live, sealed: usize, ended: u64) {
    let sent = live.sent.load(Ordering::Relaxed);
    let admitted = live.admitted.load(Ordering::Relaxed);
    let words = format!("{sent} sent, {admitted} admitted, {ended} executed");
    progress.show(ended as f64 / sealed.max(1) as f64, &words);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bounded() {
        assert_eq!("auto".parse(), Ok(Rate::Auto));
        assert_eq!("12.5".parse(), Ok(Rate::PerSecond(12.5)));
        for wrong in ["0", "-1", "5001", "NaN", "inf", "fast", ""] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
