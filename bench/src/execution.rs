//! Sequential and parallel execution of the same blocks, beside each other.

use std::fmt::Write;

use crate::{
    id::Id,
    markdown::{short, time},
    results::Turns,
};

/// Below this share of the sequential speed, the parallel engine counts as slower.
pub const NEVER_SLOWER: f64 = 0.97;

/// One workload on all engines.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared<'a> {
    /// Its name.
    pub workload: String,
    /// On the sequential engine.
    pub sequential: &'a Turns,
    /// On the parallel one, by number of threads.
    pub parallel: Vec<(usize, &'a Turns)>,
}

impl Compared<'_> {
    /// The parallel engine with so many threads.
    fn with_threads(&self, threads: usize) -> Option<&Turns> {
        self.parallel.iter().find(|(other, _)| *other == threads).map(|(_, turns)| *turns)
    }

    /// How many times as fast as the sequential engine the parallel one is: least wall times.
    pub fn ratio(&self, threads: usize) -> Option<f64> {
        Some(self.sequential.min_ns / self.with_threads(threads)?.min_ns)
    }

    /// How many times as much CPU time it takes: least times of the process.
    pub fn cpu_ratio(&self, threads: usize) -> Option<f64> {
        Some(self.with_threads(threads)?.cpu_min_ns / self.sequential.cpu_min_ns)
    }
}

/// What took turns, by workload, in the order of the run.
pub fn compared(turns: &[Turns]) -> Vec<Compared<'_>> {
    let with_id: Vec<(Id, &Turns)> =
        turns.iter().filter_map(|turns| Some((turns.id.parse().ok()?, turns))).collect();
    let of = |operation: &str| {
        let operation = operation.to_owned();
        with_id.iter().filter(move |(id, _)| id.stage == "execute" && id.operation == operation)
    };
    of("sequential")
        .filter_map(|(id, sequential)| {
            let workload = id.workload.clone()?;
            let parallel = of("parallel")
                .filter(|(id, _)| id.workload.as_ref() == Some(&workload))
                .filter_map(|(id, turns)| Some((id.number("threads")?, *turns)))
                .collect();
            Some(Compared { workload, sequential, parallel })
        })
        .collect()
}

/// The table of all workloads; empty if none was measured.
pub fn table(turns: &[Turns]) -> String {
    let all = compared(turns);
    if all.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n**Execution** (engines taking turns; least wall time, median of the rounds behind it)\n\n\
         | workload | rounds | sequential | 1 thread | ratio | 2 threads | ratio | CPU time, 2 threads |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let figure = |turns: Option<&Turns>| match turns {
        Some(turns) => format!("{} ({})", time(turns.min_ns), time(turns.median_ns)),
        None => "–".to_owned(),
    };
    let times = |ratio: Option<f64>| match ratio {
        Some(ratio) => format!("{} ×", short(ratio)),
        None => "–".to_owned(),
    };
    for compared in all {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
            compared.workload,
            compared.sequential.rounds,
            figure(Some(compared.sequential)),
            figure(compared.with_threads(1)),
            times(compared.ratio(1)),
            figure(compared.with_threads(2)),
            times(compared.ratio(2)),
            times(compared.cpu_ratio(2)),
        );
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two workloads.
    pub(crate) fn turns() -> Vec<Turns> {
        [
            ("execute::sequential/swaps", 40e6, 40e6),
            ("execute::parallel/threads=1/swaps", 41e6, 41e6),
            ("execute::parallel/threads=2/swaps", 25e6, 44e6),
            ("execute::sequential/mainnet-7", 2e6, 2e6),
            ("execute::parallel/threads=2/mainnet-7", 2.5e6, 2.5e6),
            ("root::update/accounts=10", 2e6, 2e6),
        ]
        .map(|(id, min_ns, cpu_min_ns)| Turns {
            id: id.to_owned(),
            rounds: 15,
            min_ns,
            median_ns: 1.5 * min_ns,
            cpu_min_ns,
        })
        .to_vec()
    }

    #[test]
    fn engines_stand_beside_each_other() {
        let turns = turns();
        let all = compared(&turns);
        let names: Vec<_> = all.iter().map(|compared| compared.workload.as_str()).collect();
        assert_eq!(names, ["swaps", "mainnet-7"]);
        assert_eq!((all[0].ratio(2), all[0].cpu_ratio(2)), (Some(1.6), Some(1.1)));
        assert_eq!((all[1].ratio(2), all[1].ratio(1)), (Some(0.8), None));
        let text = table(&turns);
        assert!(
            text.contains(
                "| `swaps` | 15 | 40.0 ms (60.0 ms) | 41.0 ms (61.5 ms) | 0.98 × | \
                 25.0 ms (37.5 ms) | 1.60 × | 1.10 × |"
            ),
            "{text}"
        );
        assert!(text.contains("| – | – | 2.50 ms"), "{text}");
        assert_eq!(table(&[]), "");
    }
}
