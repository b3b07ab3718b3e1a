//! Blocks on the sequential engine, and on the parallel one with one and two threads.
//!
//! Wall time, without decoding and signatures, from transactions to receipts and the changed state. The engines
//! take turns on the same block, and who begins changes from round to round; every run's outcome is compared
//! with the first. The figure to compare is the least time of all rounds, of which there are at least fifteen:
//! other programs can only make a round longer.

use std::{
    cell::RefCell,
    env,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use blindfold_bench::{
    clock::{criterion, measure_with, process_time, quick},
    results::{TURNS_FILE, Turns},
};
use blindfold_execution::{
    replay::{Engine, ReplayOutcome, replay},
    state::StateView,
    testkit::workloads::{CONSTRUCTED, Workload, mainnet_numbers},
};
use criterion::{Criterion, criterion_group, criterion_main, measurement::WallTime};
use mimalloc::MiMalloc;

/// That of the node.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Threads that the parallel engine is measured with.
const THREADS: [usize; 2] = [1, 2];

/// One engine more: the sequential one comes first.
const ENGINES: usize = 1 + THREADS.len();

fn ids(workload: &str) -> [String; ENGINES] {
    std::array::from_fn(|engine| match engine {
        0 => format!("execute::sequential/{workload}"),
        parallel => format!("execute::parallel/threads={}/{workload}", THREADS[parallel - 1]),
    })
}

/// How long each engine works in a round at least: short blocks run several times. What a clock, an interrupt
/// or waking a thread costs would else decide over blocks of a millisecond.
const ROUND: Duration = Duration::from_millis(10);

/// Wall and CPU time of one run in every round.
type Rounds = [Vec<(Duration, Duration)>; ENGINES];

/// A block, its state and the engines.
struct World {
    workload: Workload,
    state: Arc<dyn StateView>,
    engines: [Engine; ENGINES],
    outcome: ReplayOutcome,
    /// Runs of each engine in a round.
    runs: u32,
}

impl World {
    fn new(name: &str) -> Self {
        let workload = Workload::named(name).expect("a workload");
        let state: Arc<dyn StateView> = Arc::new(workload.state.clone());
        let engines = std::array::from_fn(|engine| match engine {
            0 => Engine::sequential(),
            parallel => Engine::parallel(THREADS[parallel - 1]),
        });
        let outcome = replay(&workload.block, &state, &engines[0]).expect("a whole state");
        let warm = Instant::now();
        let _ = replay(&workload.block, &state, &engines[0]);
        let runs = ROUND.as_nanos().div_ceil(warm.elapsed().as_nanos().max(1));
        Self { workload, state, engines, outcome, runs: u32::try_from(runs).unwrap_or(1) }
    }

    /// A round: every engine in turn; returns the time of one run of the one asked for.
    fn round(&self, asked: usize, rounds: &mut Rounds) -> Duration {
        let first = rounds[0].len();
        let mut took = [(Duration::ZERO, Duration::ZERO); ENGINES];
        for turn in 0..ENGINES * self.runs as usize {
            // Every engine follows on every other.
            let engine = (first + turn + turn / ENGINES) % ENGINES;
            let (start, cpu_start) = (Instant::now(), process_time());
            let outcome = replay(&self.workload.block, &self.state, &self.engines[engine]);
            took[engine].0 += start.elapsed();
            took[engine].1 += process_time() - cpu_start;
            assert!(outcome.is_ok_and(|outcome| outcome == self.outcome), "a different outcome");
        }
        for (rounds, (wall, cpu)) in rounds.iter_mut().zip(took) {
            rounds.push((wall / self.runs, cpu / self.runs));
        }
        took[asked].0 / self.runs
    }
}

fn all(criterion: &mut Criterion<WallTime>) {
    let mut turns = Vec::new();
    let mainnet = mainnet_numbers().into_iter().map(|number| format!("mainnet-{number}"));
    for name in CONSTRUCTED.into_iter().map(str::to_owned).chain(mainnet) {
        // Made when the first of its benchmarks is asked for, and gone with the last.
        let world = Rc::new(RefCell::new(None));
        let mut rounds = Rounds::default();
        for (asked, id) in ids(&name).iter().enumerate() {
            measure_with(criterion, id, 1, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut world = world.borrow_mut();
                    let world: &World = world.get_or_insert_with(|| World::new(&name));
                    (0..iterations).map(|_| world.round(asked, &mut rounds)).sum()
                });
            });
        }
        for (id, rounds) in ids(&name).iter().zip(&rounds) {
            turns.extend(Turns::of(id, rounds));
        }
    }
    for turns in &turns {
        println!("{turns}");
    }
    if let (Some(folder), false) = (env::var_os("CRITERION_HOME"), turns.is_empty()) {
        Turns::add(&PathBuf::from(folder).join(TURNS_FILE), turns)
            .expect("criterion writes there, too");
    }
}

/// At least fifteen rounds, of which each is a chance that no other program runs.
fn settings() -> Criterion<WallTime> {
    criterion(WallTime).sample_size(if quick() { 10 } else { 15 })
}

criterion_group! {
    name = wall;
    config = settings();
    targets = all
}

criterion_main!(wall);
