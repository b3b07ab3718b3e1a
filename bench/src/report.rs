//! The table: every figure with its baselines and its limit.

use serde::{Deserialize, Serialize};

use crate::{
    id::Id,
    limits::{MEMBERS, MESSAGE_BYTES, limits},
    machine::Machine,
    results::{Measured, Results, SpeedUp, Turns},
    targets::{Target, slowness, targets},
};

/// Libraries whose figures stand beside ours, as they begin the operation of a baseline.
pub const LIBRARIES: &[&str] = &["blsttc", "blsttc_unverified", "threshold_crypto"];

/// Everything that one run tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// Shortened measurements: for trying out only.
    pub quick: bool,
    /// How many times as long as on the machine that the targets are stated for `blst` takes here.
    pub slowness: Option<f64>,
    /// The targets.
    pub targets: Vec<Target>,
    /// The figures.
    pub rows: Vec<Row>,
    /// What a second thread gains.
    pub speed_ups: Vec<SpeedUp>,
    /// What took turns.
    #[serde(default)]
    pub turns: Vec<Turns>,
}

/// One benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// Median of one iteration.
    pub figure: f64,
    /// Unit of `figure`, `deviation` and `limit`: `ns`.
    pub unit: String,
    /// Median absolute deviation of one iteration.
    pub deviation: f64,
    /// Items in one iteration: transactions, or operations of a primitive.
    pub items: u64,
    /// Figure for each item, in microseconds.
    pub each_us: f64,
    /// The same job by other libraries, in the same run.
    pub baselines: Vec<Baseline>,
    /// The computed limit of one iteration, by the prices of `blst`'s operations.
    pub limit: Option<f64>,
    /// The figure divided by that limit: 1 is at the limit.
    pub ratio_to_limit: Option<f64>,
    /// The computed limit by products of the base field.
    pub limit_by_products: Option<f64>,
    /// The figure divided by that limit.
    pub ratio_to_limit_by_products: Option<f64>,
}

/// Another library's figure for the same job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its benchmark.
    pub id: String,
    /// For each transaction, in microseconds.
    pub each_us: f64,
    /// How many times as much as ours that is.
    pub ratio: f64,
}

impl Report {
    /// Puts the figures of a run together.
    pub fn new(machine: Machine, quick: bool, results: &Results) -> Self {
        let mut measured: Vec<_> = results.measured.values().collect();
        measured.sort_by_key(|measured| sort_key(&measured.id));
        Self {
            machine,
            quick,
            slowness: slowness(results),
            targets: targets(results),
            rows: measured.into_iter().map(|measured| row(measured, results)).collect(),
            speed_ups: results.speed_ups.clone(),
            turns: results.turns.clone(),
        }
    }

    /// The rows of a stage.
    pub fn stage<'a>(&'a self, stage: &str) -> impl Iterator<Item = &'a Row> {
        let prefix = format!("{stage}::");
        self.rows.iter().filter(move |row| row.id.starts_with(&prefix))
    }
}

fn row(measured: &Measured, results: &Results) -> Row {
    let limits = limits(&measured.id, results);
    let ratio = |limit: f64| measured.median_ns / limit;
    Row {
        id: measured.id.to_string(),
        figure: measured.median_ns,
        unit: "ns".to_owned(),
        deviation: measured.deviation_ns,
        items: measured.items,
        each_us: measured.each_ns() / 1e3,
        baselines: baselines(measured, results),
        limit: limits.by_operations_ns,
        ratio_to_limit: limits.by_operations_ns.map(ratio),
        limit_by_products: limits.by_products_ns,
        ratio_to_limit_by_products: limits.by_products_ns.map(ratio),
    }
}

fn baselines(ours: &Measured, results: &Results) -> Vec<Baseline> {
    let id = &ours.id;
    if id.stage == "root" {
        // Both write to the same kind of database; the library knows one thread only.
        let accounts = id.parameters.get("accounts").map_or("", String::as_str);
        let baseline = format!("baseline::ethrex_trie_{}/accounts={accounts}", id.operation);
        return results
            .measured
            .get(&baseline)
            .into_iter()
            .map(|baseline| beside(ours, baseline))
            .collect();
    }
    if id.stage == "settle" {
        // The compression alone, of the same batch.
        let heights = id.parameters.get("heights").map_or("", String::as_str);
        let baseline = format!("baseline::zstd_{}/heights={heights}", id.operation);
        let measured = results.measured.get(&baseline).into_iter();
        return measured.map(|baseline| beside(ours, baseline)).collect();
    }
    let comparable = id.stage == "open"
        && id.number("n").is_none_or(|members| members == MEMBERS)
        && id.number("bytes").is_none_or(|bytes| bytes == MESSAGE_BYTES)
        && !["threads", "kind"].iter().any(|key| id.parameters.contains_key(*key));
    if !comparable {
        return Vec::new();
    }
    LIBRARIES
        .iter()
        .flat_map(|library| {
            let operation = format!("{library}_{}", id.operation);
            results.measured.values().filter(move |measured| {
                measured.id.stage == "baseline" && measured.id.operation == operation
            })
        })
        .map(|baseline| beside(ours, baseline))
        .collect()
}

fn beside(ours: &Measured, baseline: &Measured) -> Baseline {
    Baseline {
        id: baseline.id.to_string(),
        each_us: baseline.each_ns() / 1e3,
        ratio: baseline.each_ns() / ours.each_ns(),
    }
}

/// Stages in the order of interest; within one, figures for the standard committee first, numbers ascending.
fn sort_key(id: &Id) -> (usize, usize, String, Vec<(String, usize, String)>) {
    let stages = ["open", "execute", "root", "settle", "baseline", "primitive"];
    let steps = [
        "total",
        "seal",
        "payer_recovery",
        "admission",
        "share",
        "combine",
        "open",
        "reseal",
        "after_commit",
        "undecryptable",
        "blame",
        "encode",
        "decode",
        "derive",
    ];
    let place = |list: &[&str], name: &str| {
        list.iter().position(|known| *known == name).unwrap_or(list.len())
    };
    let parameters =
        ["n", "kind", "accounts", "heights", "threads", "bytes", "batch", "points", "bits"]
            .iter()
            .map(|key| {
                let value = id.parameters.get(*key).cloned().unwrap_or_default();
                ((*key).to_owned(), value.parse().unwrap_or(0), value)
            })
            .collect();
    (place(&stages, &id.stage), place(&steps, &id.operation), id.operation.clone(), parameters)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run with a few figures.
    pub(crate) fn results() -> Results {
        let mut results = Results::default();
        for (id, median_ns, items) in [
            ("open::total/batch=512", 512.0 * 300e3, 512),
            ("open::after_commit/batch=512", 512.0 * 150e3, 512),
            ("open::after_commit/batch=512,threads=2", 512.0 * 80e3, 512),
            ("open::after_commit/batch=32", 32.0 * 170e3, 32),
            ("open::after_commit/batch=128,n=4", 128.0 * 60e3, 128),
            ("open::after_commit/batch=128,n=16", 128.0 * 155e3, 128),
            ("open::share/batch=512", 512.0 * 63e3, 512),
            ("root::update/accounts=10000,threads=2", 60e6, 10_000),
            ("baseline::ethrex_trie_update/accounts=10000", 240e6, 10_000),
            ("settle::decode/heights=256", 8e6, 2_000),
            ("baseline::zstd_decode/heights=256", 1e6, 2_000),
            ("baseline::blsttc_total/batch=4", 4.0 * 15_000e3, 4),
            ("baseline::blsttc_unverified_total/batch=16", 16.0 * 1_800e3, 16),
            ("primitive::g1_mul/bits=255", 60e3, 1),
            ("primitive::fp_mul/products=1000", 30e3, 1000),
        ] {
            let measured =
                Measured { id: id.parse().unwrap(), median_ns, deviation_ns: 1.0, items };
            results.measured.insert(id.to_owned(), measured);
        }
        results
    }

    pub(crate) fn report() -> Report {
        Report::new(Machine::default(), false, &results())
    }

    #[test]
    fn figures_stand_beside_baselines_and_limits() {
        let report = report();
        let row = |id: &str| report.rows.iter().find(|row| row.id == id).unwrap();
        let total = row("open::total/batch=512");
        assert_eq!(total.each_us, 300.0);
        let ratios: Vec<_> =
            total.baselines.iter().map(|baseline| (&*baseline.id, baseline.ratio)).collect();
        assert_eq!(
            ratios,
            [
                ("baseline::blsttc_total/batch=4", 50.0),
                ("baseline::blsttc_unverified_total/batch=16", 6.0)
            ]
        );
        let root = row("root::update/accounts=10000,threads=2");
        assert_eq!((root.baselines[0].ratio, root.each_us), (4.0, 6.0));
        let decode = row("settle::decode/heights=256");
        assert_eq!((decode.baselines[0].ratio, decode.each_us), (0.125, 4.0));
        let share = row("open::share/batch=512");
        assert_eq!((share.limit, share.ratio_to_limit), (Some(512.0 * 60e3), Some(1.05)));
        assert_eq!(share.limit_by_products, Some(512.0 * 1347.0 * 30.0));
        assert_eq!((total.limit, total.ratio_to_limit_by_products), (None, None));
        assert_eq!(row("primitive::fp_mul/products=1000").each_us, 0.03);
    }

    #[test]
    fn the_whole_comes_first_and_numbers_ascend() {
        let ids: Vec<_> = report().rows.into_iter().map(|row| row.id).collect();
        assert_eq!(
            ids[..6],
            [
                "open::total/batch=512",
                "open::share/batch=512",
                "open::after_commit/batch=32",
                "open::after_commit/batch=512",
                "open::after_commit/batch=512,threads=2",
                "open::after_commit/batch=128,n=4",
            ]
        );
        assert!(ids.last().unwrap().starts_with("primitive::"));
    }

    #[test]
    fn a_report_survives_json() {
        let report = report();
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
