//! What the benchmarks share: a clock that other processes do not disturb, heights to open, and the
//! maker of the table that is printed from their figures.
//!
//! ```text
//! benches/*       ──criterion──▶ target/bench/criterion/**/{benchmark,estimates}.json
//!                                      │ results            limits: formulas over the primitives
//!                                      ▼                        │
//!                                   report ◀────────────────────┘ machine: model, cores, load, versions
//!                                      │
//!                 bench.json ◀─────────┼─────────▶ bench.md (markdown), *.svg (plot)
//! ```

pub mod clock;
pub mod execution;
pub mod height;
pub mod id;
pub mod interpolation;
pub mod limits;
pub mod machine;
pub mod markdown;
pub mod ordered;
pub mod plot;
pub mod report;
pub mod results;
pub mod targets;
