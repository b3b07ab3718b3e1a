//! Whole networks: worlds of every kind, and worlds broken on purpose.

mod mutations;
mod replay;
mod worlds;

use blindfold_sim::{
    plan::Plan,
    report::ReplayHint,
    world::{self, Outcome},
};

/// Runs a world; if anything panics, the output says how to see it again.
fn run(plan: &Plan) -> Outcome {
    let _hint = ReplayHint(plan.seed, String::new());
    world::run(plan)
}
