//! Whether the samples of a soak show a leak.
//!
//! A process that has just started grows: caches, pools and tables fill up to their bounds. A leak goes
//! on. So each life of a member is judged after its warm-up, in three parts of equal length: what grew
//! from the first to the second part, and still grows as fast from the second to the third, is a leak
//! if it is more than noise. Lives too short for that are compared with the member's other lives at the
//! same age.

use super::samples::Sample;
use serde::Serialize;
use std::collections::BTreeMap;

/// Age up to which a process may grow as it likes.
const WARM_UP_MS: u64 = 60_000;
/// Shortest stretch after the warm-up that is judged by itself.
const JUDGED_MS: u64 = 180_000;
/// Samples that a part must have.
const PART_SAMPLES: usize = 4;
/// Growth of memory from one part to the next that is noise: the allocator and RocksDB's write
/// buffers (32 MiB, filled and given back together) move by this much.
const NOISE_BYTES: u64 = 16 << 20;
/// The same between two lives at one age.
const LIVES_NOISE_BYTES: u64 = 48 << 20;
/// Files that may be open more in the last part than in the first, apart from the database's (bounded
/// by its configuration) and the journal's.
const NOISE_FILES: u64 = 12;
/// The same for threads.
const NOISE_THREADS: u64 = 6;
/// Bytes that the engine's journal may take at most: it is pruned.
const ENGINE_BYTES: u64 = 64 << 20;
/// Files of the journal that may be open at most: the engine keeps 256 views, and one file for each.
const JOURNAL_FILES: u64 = 400;
/// Window of age in which lives are compared.
const SAME_AGE_MS: std::ops::Range<u64> = 20_000..60_000;

/// One life of one member, judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LifeReport {
    /// The member.
    pub member: usize,
    /// How often it was started before.
    pub life: u32,
    /// How long the life was seen, in milliseconds.
    pub seen_ms: u64,
    /// Median heap and stacks in the three parts after the warm-up, in bytes; empty for a short life.
    pub anon_bytes: Vec<u64>,
    /// Median other open files in the parts.
    pub other_files: Vec<u64>,
    /// Median threads in the parts.
    pub threads: Vec<u64>,
    /// Heap and stacks at the age of 20 to 60 s, in bytes, if the life got there.
    pub young_anon_bytes: Option<u64>,
}

/// What the samples say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Leaks {
    /// Every life.
    pub lives: Vec<LifeReport>,
    /// What is wrong, one sentence each; empty if nothing is.
    pub problems: Vec<String>,
    /// How many lives were long enough to be judged by themselves.
    pub judged: usize,
}

/// Judges the samples, which are in the order they were taken.
pub fn judge(samples: &[Sample]) -> Leaks {
    let mut by_life: BTreeMap<(usize, u32), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by_life.entry((sample.member, sample.life)).or_default().push(sample);
    }
    let mut leaks = Leaks::default();
    for ((member, life), samples) in by_life {
        let report = life_report(member, life, &samples);
        leaks.judged += usize::from(!report.anon_bytes.is_empty());
        leaks.problems.extend(grows(&report));
        let journal_files = samples.iter().map(|sample| sample.journal_files).max();
        if let Some(files) = journal_files.filter(|files| *files > JOURNAL_FILES) {
            leaks.problems.push(format!(
                "member {member}: {files} files of the engine's journal are open, it should be pruned"
            ));
        }
        if let Some(last) = samples.last()
            && last.engine_bytes > ENGINE_BYTES
        {
            leaks.problems.push(format!(
                "member {member}: the engine's journal has {} MiB, it should be pruned",
                last.engine_bytes >> 20
            ));
        }
        leaks.lives.push(report);
    }
    leaks.problems.extend(grows_over_lives(&leaks.lives));
    leaks
}

fn life_report(member: usize, life: u32, samples: &[&Sample]) -> LifeReport {
    let warm: Vec<&Sample> =
        samples.iter().copied().filter(|sample| sample.age_ms >= WARM_UP_MS).collect();
    let seen_ms = samples.last().map_or(0, |sample| sample.age_ms);
    let young: Vec<u64> = samples
        .iter()
        .filter(|sample| SAME_AGE_MS.contains(&sample.age_ms))
        .map(|sample| sample.anon_bytes)
        .collect();
    let mut report = LifeReport { member, life, seen_ms, ..LifeReport::default() };
    if seen_ms >= SAME_AGE_MS.end {
        report.young_anon_bytes = median(young);
    }
    if seen_ms < WARM_UP_MS + JUDGED_MS || warm.len() < 3 * PART_SAMPLES {
        return report;
    }
    for part in warm.chunks(warm.len().div_ceil(3)) {
        let of =
            |value: fn(&Sample) -> u64| median(part.iter().map(|sample| value(sample)).collect());
        report.anon_bytes.extend(of(|sample| sample.anon_bytes));
        report.other_files.extend(of(|sample| sample.other_files));
        report.threads.extend(of(|sample| sample.threads));
    }
    report
}

/// What goes on growing in one life.
fn grows(report: &LifeReport) -> Vec<String> {
    let mut problems = Vec::new();
    let who = format!("member {}, life {}", report.member, report.life);
    if let [first, second, third] = report.anon_bytes[..] {
        let (before, after) = (second.saturating_sub(first), third.saturating_sub(second));
        // Slowing down by half from part to part has a bound; keeping on has none.
        if after > NOISE_BYTES && 2 * after > before {
            problems.push(format!(
                "{who}: memory goes on growing, {} then {} then {} MiB",
                first >> 20,
                second >> 20,
                third >> 20
            ));
        }
    }
    for (what, parts, noise) in [
        ("open files go", &report.other_files, NOISE_FILES),
        ("threads go", &report.threads, NOISE_THREADS),
    ] {
        if let [first, _, third] = parts[..]
            && third > first + noise
        {
            problems.push(format!("{who}: {what} from {first} to {third}"));
        }
    }
    problems
}

/// What grows from life to life: each starts with more than the one before, at one age.
fn grows_over_lives(lives: &[LifeReport]) -> Vec<String> {
    let mut by_member: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for life in lives {
        // The first life starts from an empty database: no measure for the others.
        if let (Some(bytes), 1..) = (life.young_anon_bytes, life.life) {
            by_member.entry(life.member).or_default().push(bytes);
        }
    }
    by_member
        .into_iter()
        .filter_map(|(member, bytes)| {
            let (first, last) = (bytes.first()?, bytes.last()?);
            (*last > first + LIVES_NOISE_BYTES).then(|| {
                format!(
                    "member {member}: at the same age {} MiB in an early life, {} MiB in the last",
                    first >> 20,
                    last >> 20
                )
            })
        })
        .collect()
}

/// The middle value; nothing of nothing.
pub fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life of `minutes`, sampled every five seconds.
    fn life(minutes: u64, life: u32, of: impl Fn(u64) -> Sample) -> Vec<Sample> {
        (0..minutes * 12)
            .map(|step| {
                let age_ms = step * 5_000;
                Sample { at_ms: age_ms, age_ms, life, ..of(age_ms / 1_000) }
            })
            .collect()
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_cache_that_fills_is_no_leak() {
        // Towards 200 MiB, half of the rest every two minutes.
        let leaks = judge(&life(20, 0, |second| Sample {
            anon_bytes: 200 * MIB - ((180 * MIB) >> (second / 120)),
            other_files: 30 + second % 7,
            threads: 20,
            ..Sample::default()
        }));
        assert_eq!((leaks.judged, leaks.problems), (1, Vec::<String>::new()));
    }

    #[test]
    fn steady_growth_is_found() {
        let leaks = judge(&life(20, 0, |second| Sample {
            anon_bytes: 50 * MIB + second * MIB / 15,
            ..Sample::default()
        }));
        assert!(leaks.problems[0].contains("memory goes on growing"), "{:?}", leaks.problems);
    }

    #[test]
    fn files_and_threads_that_pile_up_are_found() {
        let leaks = judge(&life(6, 0, |second| Sample {
            other_files: 20 + second / 10,
            threads: 10 + second / 10,
            ..Sample::default()
        }));
        assert_eq!(leaks.problems.len(), 2, "{:?}", leaks.problems);
    }

    #[test]
    fn lives_are_compared_at_one_age() {
        let with = |life_number: u32, mib: u64| {
            life(2, life_number, move |_| Sample { anon_bytes: mib * MIB, ..Sample::default() })
        };
        let grown: Vec<_> = [with(0, 20), with(1, 50), with(2, 80), with(3, 110)].concat();
        assert!(judge(&grown).problems[0].contains("at the same age"));
        // The first life, on an empty database, is no measure.
        let steady: Vec<_> = [with(0, 20), with(1, 90), with(2, 95)].concat();
        let leaks = judge(&steady);
        assert_eq!((leaks.judged, leaks.problems), (0, Vec::<String>::new()));
    }

    #[test]
    fn a_journal_that_is_not_pruned_is_found() {
        let leaks = judge(&life(2, 0, |_| Sample { engine_bytes: 100 * MIB, ..Sample::default() }));
        assert!(leaks.problems[0].contains("pruned"));
    }
}
