//! The one clock below the node. What calls cost decides what runs where, and never what comes of it.

use std::time::{Duration, Instant};

/// Measures one run.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
