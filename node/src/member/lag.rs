//! Says how far behind the network this node is, and how fast it catches up.

use super::Shared;
use crate::metrics;
use commonware_runtime::Clock;
use std::{sync::Arc, time::Duration};
use tracing::info;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Heights behind from which a node counts as catching up, and is said to be.
pub const BEHIND_HEIGHTS: u64 = 64;

/// One sample, and the catch-up it belongs to.
#[derive(Debug)]
struct Meter {
    last: (u64, u64),
    /// Where and when the current catch-up began.
    began: Option<(u64, u64)>,
}

/// What a sample shows.
#[derive(Debug, PartialEq)]
enum Reading {
    /// In step with the network.
    InStep,
    /// Behind, at this many heights a second since the last sample.
    Behind { rate: f64 },
    /// In step again: so many heights in so many milliseconds.
    CaughtUp { heights: u64, took_ms: u64 },
}

fn rate(heights: u64, took_ms: u64) -> f64 {
    heights as f64 * 1_000.0 / took_ms.max(1) as f64
}

impl Meter {
    fn read(&mut self, executed: u64, highest: u64, now_ms: u64) -> Reading {
        let (before, before_ms) = std::mem::replace(&mut self.last, (executed, now_ms));
        let behind = highest.saturating_sub(executed);
        // In step only when nearly there, so that a node at the limit does not flicker.
        let in_step =
            behind < if self.began.is_some() { BEHIND_HEIGHTS / 4 } else { BEHIND_HEIGHTS };
        match self.began {
            None if in_step => Reading::InStep,
            Some((from, since_ms)) if in_step => {
                self.began = None;
                let took_ms = now_ms.saturating_sub(since_ms);
                Reading::CaughtUp { heights: executed.saturating_sub(from), took_ms }
            }
            _ => {
                self.began.get_or_insert((before, before_ms));
                let took_ms = now_ms.saturating_sub(before_ms);
                Reading::Behind { rate: rate(executed.saturating_sub(before), took_ms) }
            }
        }
    }
}

/// Loop: one log line and two gauges per interval while behind, one line at the end. Never ends.
pub async fn run<C: Clock>(clock: C, shared: Arc<Shared>) {
    let now_ms = || super::unix_ms(clock.current());
    let mut meter = Meter { last: (shared.started_at, now_ms()), began: None };
    loop {
        clock.sleep(INTERVAL).await;
        let executed = shared.chain.progress().executed_height;
        let highest = shared.highest_known();
        let reading = meter.read(executed, highest, now_ms());
        let rate = match reading {
            Reading::InStep => 0.0,
            Reading::Behind { rate } => {
                info!(target: "blindfold::node", executed, highest, heights_per_second = rate.round(), "catching up");
                rate
            }
            Reading::CaughtUp { heights, took_ms } => {
                let rate = rate(heights, took_ms);
                info!(target: "blindfold::node", executed, heights, took_ms, heights_per_second = rate.round(), "caught up");
                0.0
            }
        };
        metrics::behind(highest.saturating_sub(executed), rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catch_up_is_measured_from_its_beginning_to_its_end() {
        let mut meter = Meter { last: (0, 1_000), began: None };
        assert_eq!(meter.read(10, 12, 3_000), Reading::InStep);
        assert_eq!(meter.read(210, 4_000, 5_000), Reading::Behind { rate: 100.0 });
        assert_eq!(meter.read(3_970, 4_010, 7_000), Reading::Behind { rate: 1_880.0 });
        let all = Reading::CaughtUp { heights: 4_000, took_ms: 6_000 };
        assert_eq!(meter.read(4_010, 4_012, 9_000), all);
        assert_eq!(meter.read(4_020, 4_060, 11_000), Reading::InStep, "no flicker");
    }
}
