//! Both engines on everything there is: real blocks, the Ethereum state tests, generated blocks.

mod eest;
mod folders;
mod forks;
mod generated;
mod mainnet;
mod slots;
mod state_tests;

use std::sync::Arc;

use super::{Engine, MemoryState, ReplayBlock, ReplayOutcome, replay};
use crate::state::StateView;

/// Numbers of threads that the parallel engine is run with.
const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Seed of the delays injected into parallel runs.
const SEED: u64 = 7;

/// The engines, kept from block to block as a node keeps them.
struct Engines {
    sequential: Engine,
    parallel: Vec<Engine>,
}

impl Engines {
    fn new() -> Self {
        Self::with_threads(&THREADS)
    }

    fn with_threads(threads: &[usize]) -> Self {
        let parallel = threads.iter().map(|threads| Engine::forced(*threads, SEED)).collect();
        Self { sequential: Engine::sequential(), parallel }
    }

    /// Runs a block on all engines; what the parallel ones find must be what the sequential one finds.
    fn agree(&self, name: &str, block: &ReplayBlock, state: &MemoryState) -> ReplayOutcome {
        let view: Arc<dyn StateView> = Arc::new(state.clone());
        let expected = replay(block, &view, &self.sequential).expect("the state is whole");
        for parallel in &self.parallel {
            let outcome = replay(block, &view, parallel).expect("the state is whole");
            if let Some(difference) = outcome.first_difference(&expected) {
                panic!("{name}, {parallel:?}: {difference}");
            }
        }
        expected
    }
}
