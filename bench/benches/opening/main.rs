//! Every step of opening, beside other libraries that do the same job and the primitives it is made of.
//!
//! CPU time of the thread, but for [`threads`]. One filter selects by name: `make bench BENCH_FILTER=share`.

mod baselines;
mod committees;
mod primitives;
mod sizes;
mod steps;
mod threads;

use blindfold_bench::clock::{ThreadTime, criterion as settings};
use criterion::{criterion_group, criterion_main};

criterion_group! {
    name = cpu;
    config = settings(ThreadTime::new());
    targets = primitives::all, steps::all, sizes::all, committees::all, baselines::all
}

criterion_group! {
    name = wall;
    config = threads::settings();
    targets = threads::all
}

criterion_main!(cpu, wall);
