//! What the benchmarks share: a clock that other processes do not disturb, and heights to open.

pub mod clock;
pub mod height;
