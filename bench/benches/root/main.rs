//! The state root after a block: what the product does, beside `ethrex-trie` in the same database.
//!
//! Wall time, with the write. The variants take turns, each on a block of its own; the tries stay equal because
//! whoever was not asked catches up outside of the measurement.

mod ethrex;
mod world;

use std::{
    cell::RefCell,
    env,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use blindfold_bench::{
    clock::{criterion as settings, measure_with, thread_time},
    results::{TURNS_FILE, Turns},
};
use criterion::{Criterion, criterion_group, criterion_main, measurement::WallTime};
use mimalloc::MiMalloc;
use world::World;

/// That of the node.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Changed accounts of a block.
const SIZES: [usize; 2] = [10_000, 1_000];

/// What takes turns: threads of ours, the baseline, or only reading and writing what ours reads and writes.
#[derive(Clone, Copy)]
enum Variant {
    Ours(usize),
    Baseline,
    Limit,
}

const VARIANTS: [Variant; 4] =
    [Variant::Ours(1), Variant::Ours(2), Variant::Baseline, Variant::Limit];

impl Variant {
    fn id(self, accounts: usize) -> String {
        match self {
            Self::Ours(1) => format!("root::update/accounts={accounts}"),
            Self::Ours(threads) => format!("root::update/accounts={accounts},threads={threads}"),
            Self::Baseline => format!("baseline::ethrex_trie_update/accounts={accounts}"),
            Self::Limit => format!("primitive::root_rows/accounts={accounts}"),
        }
    }
}

/// Wall time of every round, and CPU time of the thread that asked: compactions in the background, of either trie,
/// belong to no round.
type Rounds = [Vec<(Duration, Duration)>; VARIANTS.len()];

/// A block for each variant; returns the time of the one asked for.
fn take_turns(world: &mut World, accounts: usize, asked: usize, rounds: &mut Rounds) -> Duration {
    for (variant, rounds) in VARIANTS.into_iter().zip(rounds.iter_mut()) {
        let changes = world.changes(accounts);
        let rows_of = matches!(variant, Variant::Limit).then(|| world.rows_of(&changes));
        let (start, cpu_start) = (Instant::now(), thread_time());
        match variant {
            Variant::Ours(threads) => world.update(&changes, threads),
            Variant::Baseline => world.update_baseline(&changes),
            Variant::Limit => rows_of.into_iter().for_each(|rows| world.read_and_write(rows)),
        }
        rounds.push((start.elapsed(), thread_time() - cpu_start));
        match variant {
            Variant::Ours(_) | Variant::Limit => world.update_baseline(&changes),
            Variant::Baseline => world.update(&changes, 1),
        }
        assert!(world.agrees(), "different roots");
    }
    rounds[asked].last().map_or(Duration::ZERO, |(wall, _)| *wall)
}

fn updates(criterion: &mut Criterion<WallTime>) {
    let world = Rc::new(RefCell::new(None));
    let mut turns = Vec::new();
    for accounts in SIZES {
        let mut rounds = Rounds::default();
        for (asked, variant) in VARIANTS.into_iter().enumerate() {
            measure_with(criterion, &variant.id(accounts), accounts, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut world = world.borrow_mut();
                    let world = world.get_or_insert_with(World::new);
                    let turn = |_| take_turns(world, accounts, asked, &mut rounds);
                    (0..iterations).map(turn).sum()
                });
            });
        }
        for (variant, rounds) in VARIANTS.into_iter().zip(&rounds) {
            turns.extend(Turns::of(&variant.id(accounts), rounds));
        }
    }
    for turns in &turns {
        println!("{turns}");
    }
    if let (Some(folder), false) = (env::var_os("CRITERION_HOME"), turns.is_empty()) {
        let path = PathBuf::from(folder).join(TURNS_FILE);
        Turns::add(&path, turns).expect("criterion writes there, too");
    }
}

criterion_group! {
    name = wall;
    config = settings(WallTime);
    targets = updates
}

criterion_main!(wall);
