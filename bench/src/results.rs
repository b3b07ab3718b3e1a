//! Reads what `criterion` and the benchmarks of threads leave behind.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Id, IdError},
    markdown::time,
};

/// Name of the file with the measured speed-ups, next to criterion's folders.
pub const THREADS_FILE: &str = "threads.json";

/// One benchmark's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its name.
    pub id: Id,
    /// Median of one iteration, in nanoseconds.
    pub median_ns: f64,
    /// Median absolute deviation of one iteration, in nanoseconds.
    pub deviation_ns: f64,
    /// Items (transactions, or operations of a primitive) in one iteration.
    pub items: u64,
}

impl Measured {
    /// Median for each item, in nanoseconds.
    pub fn each_ns(&self) -> f64 {
        self.median_ns / self.items.max(1) as f64
    }
}

/// One and two threads on the same work, alternating: the ratio of minima.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedUp {
    /// Name of the work, without the number of threads.
    pub work: String,
    /// How many times both were run.
    pub rounds: usize,
    /// Least wall time on one thread, in nanoseconds.
    pub one_thread_min_ns: f64,
    /// Least wall time on two threads, in nanoseconds.
    pub two_threads_min_ns: f64,
    /// Least CPU time of the process on one thread, in nanoseconds.
    pub one_thread_cpu_min_ns: f64,
    /// Least CPU time of the process on two threads, in nanoseconds.
    pub two_threads_cpu_min_ns: f64,
    /// CPU time of the process divided by wall time, in the best round of two threads.
    pub cpu_per_wall: f64,
}

impl SpeedUp {
    /// How many times as fast two threads are.
    pub fn ratio(&self) -> f64 {
        self.one_thread_min_ns / self.two_threads_min_ns
    }

    /// What the ratio would be with two free cores, if both threads had the same to do: from CPU times, which
    /// other processes disturb less.
    pub fn ratio_by_cpu(&self) -> f64 {
        2.0 * self.one_thread_cpu_min_ns / self.two_threads_cpu_min_ns
    }
}

/// Name of the file with what took turns, next to criterion's folders.
pub const TURNS_FILE: &str = "turns.json";

/// Work that took turns with other work in the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turns {
    /// Its benchmark.
    pub id: String,
    /// How many times it was run.
    pub rounds: usize,
    /// Least wall time, in nanoseconds.
    pub min_ns: f64,
    /// Median of the wall times, in nanoseconds.
    pub median_ns: f64,
    /// Least CPU time of the process, in nanoseconds.
    pub cpu_min_ns: f64,
}

impl Turns {
    /// Adds to the file of all benchmarks of a run.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn add(file: &Path, turns: Vec<Self>) -> Result<(), ResultsError> {
        let mut all: Vec<Self> = if file.exists() { json(file)? } else { Vec::new() };
        all.retain(|old| turns.iter().all(|new| new.id != old.id));
        all.extend(turns);
        let json = serde_json::to_vec_pretty(&all)
            .map_err(|error| ResultsError::Json { path: file.to_owned(), error })?;
        fs::write(file, json).map_err(|error| ResultsError::Io { path: file.to_owned(), error })
    }

    /// From the wall and CPU time of each round; `None` without rounds.
    pub fn of(id: &str, rounds: &[(Duration, Duration)]) -> Option<Self> {
        let ns = |time: Duration| time.as_secs_f64() * 1e9;
        let mut walls: Vec<_> = rounds.iter().map(|(wall, _)| *wall).collect();
        walls.sort_unstable();
        Some(Self {
            id: id.to_owned(),
            rounds: rounds.len(),
            min_ns: ns(*walls.first()?),
            median_ns: ns(*walls.get(walls.len() / 2)?),
            cpu_min_ns: ns(rounds.iter().map(|(_, cpu)| *cpu).min()?),
        })
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, rounds, .. } = self;
        let [min, median, cpu] = [self.min_ns, self.median_ns, self.cpu_min_ns].map(time);
        write!(f, "{id}: {rounds} rounds, least {min}, median {median}, least CPU time {cpu}")
    }
}

/// What a run measured.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// By name.
    pub measured: BTreeMap<String, Measured>,
    /// Speed-ups by threads.
    pub speed_ups: Vec<SpeedUp>,
    /// What took turns.
    pub turns: Vec<Turns>,
}

/// Why a folder of figures could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A file or folder.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Not the expected JSON.
    #[error("{path}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: serde_json::Error,
    },
    /// A benchmark with another kind of name.
    #[error("{path}")]
    Id {
        /// The file.
        path: PathBuf,
        /// The name.
        #[source]
        error: IdError,
    },
}

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
    median_abs_dev: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

impl Results {
    /// Reads every `**/new/benchmark.json` with its `estimates.json` below `folder`.
    ///
    /// # Errors
    /// When a file is not readable, or not what criterion writes.
    pub fn read(folder: &Path) -> Result<Self, ResultsError> {
        let mut results = Self::default();
        results.descend(folder)?;
        let threads = folder.join(THREADS_FILE);
        if threads.exists() {
            results.speed_ups = json(&threads)?;
        }
        let turns = folder.join(TURNS_FILE);
        if turns.exists() {
            results.turns = json(&turns)?;
        }
        Ok(results)
    }

    fn descend(&mut self, folder: &Path) -> Result<(), ResultsError> {
        let error = |error| ResultsError::Io { path: folder.to_owned(), error };
        for entry in fs::read_dir(folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            if path.is_dir() {
                self.descend(&path)?;
            } else if path.ends_with("new/benchmark.json") {
                let benchmark: Benchmark = json(&path)?;
                let estimates: Estimates = json(&path.with_file_name("estimates.json"))?;
                let id = benchmark
                    .full_id
                    .parse()
                    .map_err(|error| ResultsError::Id { path: path.clone(), error })?;
                let items = benchmark.throughput.and_then(|kinds| kinds.get("Elements").copied());
                let measured = Measured {
                    id,
                    median_ns: estimates.median.point_estimate,
                    deviation_ns: estimates.median_abs_dev.point_estimate,
                    items: items.unwrap_or(1),
                };
                self.measured.insert(benchmark.full_id, measured);
            }
        }
        Ok(())
    }

    /// Median for each item of a benchmark, in nanoseconds.
    pub fn each_ns(&self, id: &str) -> Option<f64> {
        self.measured.get(id).map(Measured::each_ns)
    }
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ResultsError> {
    let bytes =
        fs::read(path).map_err(|error| ResultsError::Io { path: path.to_owned(), error })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ResultsError::Json { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTIMATES: &str = r#"{"mean":{"point_estimate":9.0},
        "median":{"confidence_interval":{"lower_bound":1.0},"point_estimate":51200.0,"standard_error":2.0},
        "median_abs_dev":{"point_estimate":3.5},"slope":null}"#;

    fn write(folder: &Path, name: &str, benchmark: &str, estimates: &str) {
        let folder = folder.join(name).join("new");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("benchmark.json"), benchmark).unwrap();
        fs::write(folder.join("estimates.json"), estimates).unwrap();
    }

    #[test]
    fn reads_what_criterion_writes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            "open__share/batch=512",
            r#"{"group_id":"open::share","function_id":null,"value_str":"batch=512",
                "throughput":{"Elements":512},"full_id":"open::share/batch=512",
                "directory_name":"open__share/batch=512","title":"open::share/batch=512"}"#,
            ESTIMATES,
        );
        // An earlier run's figures stay in `base` and do not count.
        fs::create_dir_all(root.join("open__share/batch=512/base")).unwrap();
        fs::write(root.join("open__share/batch=512/base/benchmark.json"), "{}").unwrap();
        fs::write(
            root.join(THREADS_FILE),
            r#"[{"work":"open::after_commit/batch=512","rounds":3,"one_thread_min_ns":19.0,
                "two_threads_min_ns":10.0,"one_thread_cpu_min_ns":18.0,"two_threads_cpu_min_ns":20.0,
                "cpu_per_wall":1.95}]"#,
        )
        .unwrap();

        let results = Results::read(root).unwrap();
        assert_eq!(results.measured.len(), 1);
        let share = &results.measured["open::share/batch=512"];
        assert_eq!((share.median_ns, share.deviation_ns, share.items), (51200.0, 3.5, 512));
        assert_eq!(results.each_ns("open::share/batch=512"), Some(100.0));
        assert_eq!(results.each_ns("open::share/batch=1"), None);
        assert_eq!((results.speed_ups[0].ratio(), results.speed_ups[0].ratio_by_cpu()), (1.9, 1.8));
    }

    #[test]
    fn says_which_file_is_wrong() {
        for (benchmark, estimates) in [
            ("{", ESTIMATES),
            (r#"{"full_id":"share/512"}"#, ESTIMATES),
            (r#"{"full_id":"open::share/batch=1"}"#, r#"{"median":{"point_estimate":1.0}}"#),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "a", benchmark, estimates);
            let error = Results::read(folder.path()).unwrap_err().to_string();
            assert!(error.ends_with(".json"), "{error}");
        }
        assert!(Results::read(Path::new("/nowhere/at/all")).is_err());
    }
}
