//! What the figures should reach, and how fast this machine is beside the one that they were stated for.

use serde::{Deserialize, Serialize};

use crate::{
    execution::{NEVER_SLOWER, compared},
    limits::limits,
    results::{Results, Turns},
};

/// Prices of `blst` on the machine that the targets are stated for, in nanoseconds.
const REFERENCE_NS: &[(&str, f64)] = &[
    ("g1_mul/bits=255", 62_000.0),
    ("g1_decompress/points=1", 10_300.0),
    ("g1_subgroup/points=1", 32_000.0),
    ("g1_msm/bits=255,points=512", 6_600_000.0),
    ("hash_to_g1/bytes=32", 43_000.0),
    ("miller_loop/pairs=1", 203_000.0),
    ("final_exponentiation/pairs=1", 280_000.0),
];

/// How many times as long `blst` takes here as on the machine that the targets are stated for: the geometric
/// mean over some primitives. `None` unless all were measured.
pub fn slowness(results: &Results) -> Option<f64> {
    let logarithms = REFERENCE_NS
        .iter()
        .map(|(id, ns)| Some((results.each_ns(&format!("primitive::{id}"))? / ns).ln()))
        .collect::<Option<Vec<_>>>()?;
    Some((logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

/// A figure and what it should reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What is measured.
    pub what: String,
    /// The figure.
    pub figure: f64,
    /// Its unit.
    pub unit: String,
    /// What to reach.
    pub reach: f64,
    /// Whether the figure should be at least that, not at most.
    pub at_least: bool,
    /// Whether it is.
    pub reached: bool,
    /// The computed limit on this machine by `blst`'s operations, in the same unit.
    pub limit: Option<f64>,
}

impl Target {
    fn new(what: &str, figure: f64, unit: &str, reach: f64, at_least: bool) -> Self {
        let reached = if at_least { figure >= reach } else { figure <= reach };
        Self {
            what: what.to_owned(),
            figure,
            unit: unit.to_owned(),
            reach,
            at_least,
            reached,
            limit: None,
        }
    }
}

/// The targets whose figures were measured, for n = 16, t = 11 and messages of 256 bytes.
pub fn targets(results: &Results) -> Vec<Target> {
    let each_us = |id: &str| Some(results.each_ns(id)? / 1e3);
    // A figure of each item (or of the whole batch), with its limit.
    let at_most = |what: &str, id: &str, whole: bool, unit: &str, reach: f64| {
        let measured = results.measured.get(id)?;
        let items = if whole { 1.0 } else { measured.items as f64 };
        let scale = items * if unit == "ms" { 1e6 } else { 1e3 };
        let limit = limits(&measured.id, results).by_operations_ns.map(|limit| limit / scale);
        Some(Target { limit, ..Target::new(what, measured.median_ns / scale, unit, reach, false) })
    };
    let total = each_us("open::total/batch=512");
    let times = |what: &str, operation: &str, reach: f64| {
        let baseline = results.measured.values().find(|measured| {
            measured.id.stage == "baseline" && measured.id.operation == operation
        })?;
        Some(Target::new(what, baseline.each_ns() / 1e3 / total?, "×", reach, true))
    };
    let mut targets: Vec<_> = [
        at_most("admission, each", "open::admission/batch=512", false, "µs", 110.0),
        at_most("one member's share, each", "open::share/batch=512", false, "µs", 63.0),
        at_most("after the last share, each", "open::after_commit/batch=512", false, "µs", 160.0),
        at_most("blame, all 11 × 512 shares", "open::blame/batch=512", true, "ms", 45.0),
        at_most("seal", "open::seal/bytes=256", false, "µs", 250.0),
        times("blsttc, shares verified / total", "blsttc_total", 40.0),
        times("blsttc, shares unverified / total", "blsttc_unverified_total", 3.0),
    ]
    .into_iter()
    .flatten()
    .collect();
    targets.extend(results.speed_ups.iter().map(|speed_up| {
        let what = format!("two threads, {}", speed_up.work);
        Target::new(&what, speed_up.ratio(), "×", 1.8, true)
    }));
    targets.extend(of_execution(&results.turns));
    targets
}

/// The targets of execution with two threads; none unless it was measured.
fn of_execution(turns: &[Turns]) -> Vec<Target> {
    let all = compared(turns);
    let ratios = || all.iter().filter_map(|compared| compared.ratio(2));
    let cpu_ratios = || all.iter().filter_map(|compared| compared.cpu_ratio(2));
    let swaps = all.iter().find(|compared| compared.workload == "swaps");
    let mut targets = Vec::new();
    if let Some(worst) = ratios().min_by(f64::total_cmp) {
        let what = "two threads, the worst workload / sequential";
        targets.push(Target::new(what, worst, "×", NEVER_SLOWER, true));
    }
    if let Some(most) = cpu_ratios().max_by(f64::total_cmp) {
        let what = "two threads, CPU time of the worst workload / sequential";
        targets.push(Target::new(what, most, "×", 1.15, false));
    }
    if let Some(ratio) = swaps.and_then(|compared| compared.ratio(2)) {
        let what = "two threads, independent swaps / sequential";
        targets.push(Target::new(what, ratio, "×", 1.6, true));
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Measured, SpeedUp};

    #[test]
    fn slowness_is_a_mean_of_ratios() {
        let mut results = Results::default();
        assert_eq!(slowness(&results), None);
        // One primitive takes 2⁷ times as long, the other six as long as there.
        for (index, (id, ns)) in REFERENCE_NS.iter().enumerate() {
            let id = format!("primitive::{id}");
            let median_ns = if index == 0 { 128.0 * ns } else { *ns };
            let measured =
                Measured { id: id.parse().unwrap(), median_ns, deviation_ns: 0.0, items: 1 };
            results.measured.insert(id, measured);
        }
        assert!((slowness(&results).unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn reached_or_not() {
        let mut results = Results::default();
        for (id, median_ns, items) in [
            ("open::admission/batch=512", 512.0 * 120e3, 512),
            ("open::share/batch=512", 512.0 * 60e3, 512),
            ("primitive::g1_mul/bits=255", 48e3, 1),
            ("open::total/batch=512", 512.0 * 300e3, 512),
            ("open::blame/batch=512", 44e6, 512),
            ("baseline::blsttc_total/batch=4", 4.0 * 15_000e3, 4),
        ] {
            let measured =
                Measured { id: id.parse().unwrap(), median_ns, deviation_ns: 0.0, items };
            results.measured.insert(id.to_owned(), measured);
        }
        results.speed_ups.push(SpeedUp {
            work: "open::total/batch=512".to_owned(),
            rounds: 3,
            one_thread_min_ns: 18.0,
            two_threads_min_ns: 10.0,
            one_thread_cpu_min_ns: 18.0,
            two_threads_cpu_min_ns: 19.0,
            cpu_per_wall: 1.9,
        });
        let figures: Vec<_> = targets(&results)
            .into_iter()
            .map(|target| (target.figure, target.unit, target.reached, target.limit))
            .collect();
        assert_eq!(
            figures,
            [
                (120.0, "µs".to_owned(), false, None),
                (60.0, "µs".to_owned(), true, Some(48.0)),
                (44.0, "ms".to_owned(), true, None),
                (50.0, "×".to_owned(), true, None),
                (1.8, "×".to_owned(), true, None),
            ]
        );
        assert_eq!(targets(&Results::default()), []);
        let turns = crate::execution::tests::turns();
        let figures: Vec<_> = targets(&Results { turns, ..Results::default() })
            .into_iter()
            .map(|target| (target.figure, target.reached))
            .collect();
        assert_eq!(figures, [(0.8, false), (1.25, false), (1.6, true)]);
    }
}
