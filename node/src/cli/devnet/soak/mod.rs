//! `blindfold devnet --soak MINUTES`: the network under half of what it can carry, members killed and
//! started again at random, and a verdict on memory, files and disk.

mod load;
mod nodes;
mod report;
mod samples;
mod verdict;

use super::{
    DevnetArgs, Seated, audit,
    contracts::Market,
    level,
    processes::MemberProcess,
    rng::Choices,
    trading::open_market,
    wallets::{DevWallet, Members, require_success, settle},
};
use crate::{cli::committee::WrittenNetwork, config::NodeConfig};
use blindfold_sdk::rpc::EvidenceDocument;
use blindfold_wire::certificate::max_faults;
use eyre::{Result, WrapErr as _, ensure};
use load::Tally;
use nodes::{Kill, Node, Nodes, ms, wait};
use report::Report;
use samples::Sample;
use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the set-up may take.
const SET_UP_TIMEOUT: Duration = Duration::from_secs(180);
/// How long the network is driven at its limit to find out what half of it is, at most.
const CALIBRATION: Duration = Duration::from_secs(20);
/// Share of the time that the network is left idle at the end, to see what an idle height costs.
const IDLE_SHARE: u32 = 10;
/// Pause between two looks at the members.
const LOOK: Duration = Duration::from_secs(5);
/// Kills that a run has room for at least, so that short runs have some.
const LEAST_KILLS: u64 = 4;
/// Longest pause between two kills, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 45_000;

/// The network to soak.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    /// The members' RPCs.
    pub members: &'a Members,
    /// Its genesis document and configurations.
    pub written: &'a WrittenNetwork,
    /// Where its files are.
    pub folder: &'a Path,
    /// Raised by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// Runs the soak on members that are up. Gives the processes back, to be stopped, and whether all held.
pub fn run(
    args: &DevnetArgs,
    minutes: u64,
    seated: Seated,
    network: &Network<'_>,
    processes: Vec<MemberProcess>,
) -> Result<(Vec<MemberProcess>, ExitCode)> {
    let Network { members, written, folder, interrupted } = *network;
    ensure!(minutes > 0, "--soak needs at least one minute");
    let Seated { mut deployer, mut traders, mut bot } = seated;
    let nodes = Nodes::new(take_over(processes, written, folder)?);
    let market = Market::of_deployer(deployer.address());
    let stop = || -> Result<bool> {
        nodes.check_alive()?;
        Ok(interrupted.load(Ordering::Relaxed))
    };
    let mut set_up = open_market(&mut deployer, &mut traders, &mut bot, members, market)?;
    settle(&members.clients[0], &mut set_up, SET_UP_TIMEOUT, &stop)?;
    require_success(&set_up, "the set-up")?;

    let whole = Duration::from_secs(minutes * 60);
    let rate = match args.rate {
        Some(rate) => rate,
        None => calibrate(&mut traders, members, market, CALIBRATION.min(whole / 5), interrupted)?,
    };
    ensure!(rate > 0.0 && rate.is_finite(), "--rate must be above zero");
    let path = folder.join("soak.csv");
    let mut csv =
        File::create(&path).wrap_err_with(|| format!("cannot create {}", path.display()))?;
    writeln!(csv, "{}", Sample::CSV_HEAD)?;
    eprintln!(
        "soak: {minutes} minutes at {rate:.1} sealed transactions a second; samples in {}",
        path.display()
    );
    let watched = Watched { nodes: &nodes, members, csv: Mutex::new(csv), interrupted };
    let mut report = watched.soak(args, &mut traders, market, whole, rate)?;
    report.rate = rate;
    if let Err(error) = settle_accounts(&mut report, members, written) {
        report.problems.push(format!("{error:#}"));
    }
    report.print(args.json);
    let code = if report.good() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    Ok((nodes.into_processes(), code))
}

fn take_over(
    processes: Vec<MemberProcess>,
    written: &WrittenNetwork,
    folder: &Path,
) -> Result<Vec<Node>> {
    processes
        .into_iter()
        .zip(&written.configs)
        .enumerate()
        .map(|(member, (process, config))| {
            Ok(Node {
                process: Some(process),
                config: config.clone(),
                log: folder.join(format!("member-{member}.log")),
                data: NodeConfig::read(config)?.data_dir,
                life: 0,
                born: Instant::now(),
            })
        })
        .collect()
}

/// Half of what the network carries: transactions a second.
fn calibrate(
    traders: &mut [DevWallet],
    members: &Members,
    market: Market,
    time: Duration,
    interrupted: &AtomicBool,
) -> Result<f64> {
    eprintln!("soak: finding out what the network carries, {} s", time.as_secs());
    let (done, tally) = (AtomicBool::new(false), Mutex::new(Tally::default()));
    let counted = thread::scope(|scope| -> Result<u64> {
        let sending = scope.spawn(|| load::send(traders, members, market, None, &done, &tally));
        wait(ms(time), interrupted);
        let counted = tally.lock().unwrap_or_else(PoisonError::into_inner).ordered;
        done.store(true, Ordering::Relaxed);
        sending.join().map_err(|_| eyre::eyre!("the traders' thread panicked"))??;
        Ok(counted)
    })?;
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    let carried = counted as f64 / time.as_secs_f64();
    ensure!(counted > 0, "nothing was ordered within {} s", time.as_secs());
    eprintln!("soak: it carries {carried:.1} a second");
    Ok(carried / 2.0)
}

/// What the soak's threads share.
struct Watched<'a> {
    nodes: &'a Nodes,
    members: &'a Members,
    csv: Mutex<File>,
    interrupted: &'a AtomicBool,
}

impl Watched<'_> {
    /// Load and kills, then an idle stretch; samples all the while.
    fn soak(
        &self,
        args: &DevnetArgs,
        traders: &mut [DevWallet],
        market: Market,
        whole: Duration,
        rate: f64,
    ) -> Result<Report> {
        let began = Instant::now();
        let idle = whole / IDLE_SHARE;
        let loaded = whole - idle;
        let (stop_load, stop_kills, stop_looks) =
            (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
        let (tally, kills) = (Mutex::new(Tally::default()), Mutex::new(Vec::<Kill>::new()));
        let samples = Mutex::new(Vec::<Sample>::new());
        let period = Duration::from_secs_f64(traders.len() as f64 / rate);
        let longest_pause = LONGEST_PAUSE_MS.min(ms(loaded) / LEAST_KILLS);
        let mut choices = Choices::new(args.seed, "kills");
        let killing = max_faults(self.members.clients.len()) > 0;
        let mut problems = Vec::new();
        if !killing {
            eprintln!("soak: no kills: a committee of {} cannot spare a member", args.nodes);
        }
        let loaded_ms = thread::scope(|scope| -> Result<u64> {
            let looking = scope.spawn(|| {
                self.look_on(began, whole, &tally, &kills, &samples, &stop_looks);
            });
            let sending = scope.spawn(|| {
                load::send(traders, self.members, market, Some(period), &stop_load, &tally)
            });
            let kill = scope.spawn(|| match killing {
                true => self.nodes.kill_at_random(
                    self.members,
                    &mut choices,
                    (longest_pause / 4, longest_pause),
                    began,
                    &stop_kills,
                    &kills,
                ),
                false => Ok(()),
            });
            // Until the time is over, somebody fails, or Ctrl-C.
            while began.elapsed() < loaded
                && !self.interrupted.load(Ordering::Relaxed)
                && !kill_failed(&kill, killing)
                && !sending.is_finished()
            {
                thread::sleep(Duration::from_millis(100));
            }
            stop_kills.store(true, Ordering::Relaxed);
            match kill.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(_) => problems.push("the killer's thread panicked".to_owned()),
            }
            stop_load.store(true, Ordering::Relaxed);
            match sending.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(_) => problems.push("the traders' thread panicked".to_owned()),
            }
            let loaded_ms = ms(began.elapsed());
            if !self.interrupted.load(Ordering::Relaxed) && problems.is_empty() {
                wait(ms(whole.saturating_sub(began.elapsed()).max(idle / 2)), self.interrupted);
            }
            stop_looks.store(true, Ordering::Relaxed);
            looking.join().map_err(|_| eyre::eyre!("the watcher's thread panicked"))?;
            Ok(loaded_ms)
        })?;
        if let Err(error) = self.nodes.check_alive() {
            problems.push(format!("{error:#}"));
        }
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let kills = kills.into_inner().unwrap_or_else(PoisonError::into_inner);
        let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Report::new(tally, kills, &samples, loaded_ms, ms(began.elapsed()), problems))
    }

    /// Samples every member until told to stop; a row of the table about twenty times.
    fn look_on(
        &self,
        began: Instant,
        whole: Duration,
        tally: &Mutex<Tally>,
        kills: &Mutex<Vec<Kill>>,
        samples: &Mutex<Vec<Sample>>,
        stop: &AtomicBool,
    ) {
        let row_every = (whole / 20).max(LOOK);
        let mut next_row = Duration::ZERO;
        eprintln!("{}", report::head(self.members.clients.len()));
        loop {
            let looked = self.nodes.look(began, self.members);
            if let Ok(mut csv) = self.csv.lock() {
                for sample in &looked {
                    // The samples are in memory too; a full disk only costs the file.
                    let _ = writeln!(csv, "{}", sample.csv());
                }
            }
            if began.elapsed() >= next_row {
                next_row = began.elapsed() + row_every;
                let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                let kills = kills.lock().unwrap_or_else(PoisonError::into_inner);
                eprintln!(
                    "{}",
                    report::row(&looked, self.members.clients.len(), began, &tally, kills.len())
                );
            }
            samples.lock().unwrap_or_else(PoisonError::into_inner).extend(looked);
            if !wait(ms(LOOK), stop) {
                return;
            }
        }
    }
}

fn kill_failed<T>(kill: &thread::ScopedJoinHandle<'_, T>, killing: bool) -> bool {
    killing && kill.is_finished()
}

/// What only the end shows: all members at one height with one state, no evidence, nothing opened early.
fn settle_accounts(report: &mut Report, members: &Members, written: &WrittenNetwork) -> Result<()> {
    // Also after Ctrl-C: the members are still up, and a report without this would be worth little.
    let last = level(members, &|| Ok(false))?;
    let audit = audit::audit(members, &written.genesis, last)?;
    report.heights = last;
    report.diverged = audit.diverged_nodes;
    report.opened_before_final = audit.opened_before_final;
    report.bundles_checked = audit.bundles_checked;
    for client in &members.clients {
        let evidence: Vec<EvidenceDocument> = client.request("sealed_getEvidence", [(); 0])?;
        report.evidence += evidence.len();
        report.uncertified_releases += client.head()?.uncertified_releases;
    }
    Ok(())
}
