//! What a soak ends with: a table over time, figures for each member, a verdict.

use super::{
    load::Tally,
    nodes::Kill,
    samples::Sample,
    verdict::{Leaks, judge, median},
};
use crate::cli::devnet::summary::Quantiles;
use serde::Serialize;
use std::{fmt::Write as _, time::Instant};

/// Disk that half of the run may cost for each transaction, over that of the other half: more than this
/// factor is not linear. Compactions come in steps, so it is generous.
const LINEAR_FACTOR: f64 = 2.5;
/// Growth below this is too little to judge its shape, in bytes.
const JUDGED_DISK_BYTES: u64 = 24 << 20;

/// Bytes on disk of one member.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Disk {
    /// At the end: database, its log, the engine's journal.
    pub database_bytes: u64,
    /// The write-ahead log, which is bounded.
    pub log_bytes: u64,
    /// The engine's journal, which is pruned.
    pub engine_bytes: u64,
    /// Growth for each ordered transaction while there was load, empty heights included.
    pub bytes_per_transaction: f64,
    /// Growth for each height while there was none.
    pub bytes_per_idle_height: f64,
}

/// The closing report. Field names are the interface of `--json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Sealed transactions a second that were asked for.
    pub rate: f64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Admitted transactions.
    pub admitted: u64,
    /// Of these, ordered and done with.
    pub ordered: u64,
    /// Executed.
    pub executed: u64,
    /// Not ordered before their expiry height.
    pub expired: u64,
    /// Replaced or evicted.
    pub dropped: u64,
    /// Without an end.
    pub lost: u64,
    /// Turns at which a trader had too much in flight to send.
    pub late: u64,
    /// From handing in to the known end.
    pub end_ms: Quantiles,
    /// Every kill.
    pub kills: Vec<Kill>,
    /// From the start of a killed member to being level with the others.
    pub back_ms: Quantiles,
    /// Height at which all members agree.
    pub heights: u64,
    /// Members whose order or state differs from the majority's somewhere.
    pub diverged: usize,
    /// Pieces of evidence, over all members.
    pub evidence: usize,
    /// Transactions in heights that some member released without proof of finality.
    pub opened_before_final: usize,
    /// Signed bundles that were checked for that.
    pub bundles_checked: usize,
    /// Bundles that arrived for an order other than the final one, over all members.
    pub uncertified_releases: u64,
    /// Memory, files and threads.
    pub leaks: Leaks,
    /// Disk, by member.
    pub disk: Vec<Disk>,
    /// What went wrong besides.
    pub problems: Vec<String>,
}

impl Report {
    /// Puts together what the threads gathered.
    pub fn new(
        tally: Tally,
        kills: Vec<Kill>,
        samples: &[Sample],
        loaded_ms: u64,
        elapsed_ms: u64,
        mut problems: Vec<String>,
    ) -> Self {
        let members = samples.iter().map(|sample| sample.member + 1).max().unwrap_or_default();
        let disk: Vec<_> = (0..members)
            .map(|member| {
                let own: Vec<_> =
                    samples.iter().copied().filter(|sample| sample.member == member).collect();
                problems.extend(not_linear(member, &own, loaded_ms));
                disk_of(&own, loaded_ms, tally.ordered)
            })
            .collect();
        Self {
            elapsed_ms,
            admitted: tally.admitted,
            ordered: tally.ordered,
            executed: tally.executed,
            expired: tally.expired,
            dropped: tally.dropped,
            lost: tally.lost,
            late: tally.late,
            end_ms: Quantiles::of(tally.latencies_ms),
            back_ms: Quantiles::of(kills.iter().map(|kill| kill.back_ms).collect()),
            kills,
            leaks: judge(samples),
            disk,
            problems,
            ..Self::default()
        }
    }

    /// Whether nothing leaks and nothing was lost.
    pub fn good(&self) -> bool {
        self.wrong().is_empty()
    }

    /// Everything that is wrong, one sentence each.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = self.problems.clone();
        wrong.extend(self.leaks.problems.iter().cloned());
        for (count, what) in [
            (self.lost, "transactions were admitted and have no end"),
            (self.expired, "transactions expired"),
            (self.dropped, "transactions were dropped"),
            (self.diverged as u64, "members diverged"),
            (self.evidence as u64, "pieces of evidence against honest members"),
            (self.opened_before_final as u64, "transactions were opened before they were final"),
            (self.uncertified_releases, "share bundles for an order that is not final"),
        ] {
            if count > 0 {
                wrong.push(format!("{count} {what}"));
            }
        }
        if self.ordered == 0 {
            wrong.push("nothing was ordered".to_owned());
        }
        wrong
    }

    /// Prints it on standard output; with `json`, as one object on the last line too.
    pub fn print(&self, json: bool) {
        println!();
        println!(
            "{} admitted in {:.0} s ({:.1} a second asked for): {} ordered, {} executed, {} expired, {} dropped, {} lost; {} turns late",
            self.admitted,
            self.elapsed_ms as f64 / 1_000.0,
            self.rate,
            self.ordered,
            self.executed,
            self.expired,
            self.dropped,
            self.lost,
            self.late
        );
        println!("submitted to executed {} ms (p99 {})", self.end_ms.p50, self.end_ms.p99);
        println!(
            "{} kills, {} of them of the leader; started to level {} ms (p99 {})",
            self.kills.len(),
            self.kills.iter().filter(|kill| kill.led).count(),
            self.back_ms.p50,
            self.back_ms.p99
        );
        println!(
            "height {}; diverged members: {}; evidence: {}; opened before final: {} ({} bundles checked)",
            self.heights,
            self.diverged,
            self.evidence,
            self.opened_before_final,
            self.bundles_checked
        );
        println!("\nmember  life     seen   heap MiB in thirds     files      threads");
        for life in &self.leaks.lives {
            let list = |values: &[u64], unit: u64| match values {
                [] => "-".to_owned(),
                values => values
                    .iter()
                    .map(|value| (value / unit).to_string())
                    .collect::<Vec<_>>()
                    .join(" "),
            };
            println!(
                "{:>6}  {:>4}  {:>5} s   {:<20}   {:<9}  {}",
                life.member,
                life.life,
                life.seen_ms / 1_000,
                list(&life.anon_bytes, 1 << 20),
                list(&life.other_files, 1),
                list(&life.threads, 1)
            );
        }
        println!(
            "\nmember  database MiB  log MiB  journal MiB  bytes/transaction  bytes/idle height"
        );
        for (member, disk) in self.disk.iter().enumerate() {
            println!(
                "{member:>6}  {:>12.1}  {:>7.1}  {:>11.1}  {:>17.0}  {:>17.0}",
                mib(disk.database_bytes),
                mib(disk.log_bytes),
                mib(disk.engine_bytes),
                disk.bytes_per_transaction,
                disk.bytes_per_idle_height
            );
        }
        let wrong = self.wrong();
        println!();
        match wrong.as_slice() {
            [] if self.leaks.judged == 0 => {
                println!("verdict: nothing lost; too short to judge memory (five minutes do)");
            }
            [] => println!("verdict: no leak, nothing lost"),
            wrong => wrong.iter().for_each(|problem| println!("verdict: {problem}")),
        }
        if json {
            match serde_json::to_string(self) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: the report does not serialize: {error}"),
            }
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1u32 << 20)
}

/// What a member's disk held and cost. The log of the database is left out of the costs: it fills and
/// empties in steps of tens of MiB.
fn disk_of(own: &[Sample], loaded_ms: u64, ordered: u64) -> Disk {
    let Some(last) = own.last() else { return Disk::default() };
    let mut disk = Disk {
        database_bytes: last.database_bytes,
        log_bytes: last.log_bytes,
        engine_bytes: last.engine_bytes,
        ..Disk::default()
    };
    let (loaded, idle): (Vec<_>, Vec<_>) =
        own.iter().copied().partition(|sample| sample.at_ms <= loaded_ms);
    if let (Some(first), Some(last)) = (loaded.first(), loaded.last()) {
        disk.bytes_per_transaction = growth(first, last) / (ordered.max(1) as f64);
    }
    if let (Some(first), Some(last)) = (idle.first(), idle.last()) {
        let heights = last.height.saturating_sub(first.height);
        disk.bytes_per_idle_height = growth(first, last) / (heights.max(1) as f64);
    }
    disk
}

/// Growth of what stays: tables, and the log that will become tables.
fn growth(first: &Sample, last: &Sample) -> f64 {
    let stays = |sample: &Sample| (sample.database_bytes + sample.log_bytes) as f64;
    stays(last) - stays(first)
}

/// Disk that grows faster and faster.
fn not_linear(member: usize, own: &[Sample], loaded_ms: u64) -> Option<String> {
    let loaded: Vec<_> = own.iter().filter(|sample| sample.at_ms <= loaded_ms).collect();
    let part = loaded.len() / 6;
    if part < 3 {
        return None;
    }
    // Medians around the beginning, the middle and the end: compactions come and go.
    let around = |from: usize, value: fn(&Sample) -> u64| {
        median(loaded[from..from + part].iter().map(|sample| value(sample)).collect())
    };
    let middle = (loaded.len() - part) / 2;
    let ends = [0, middle, loaded.len() - part];
    let [first, half, whole] =
        ends.map(|from| around(from, Sample::disk_bytes).unwrap_or_default());
    let [h_first, h_half, h_whole] =
        ends.map(|from| around(from, |sample| sample.height).unwrap_or_default());
    let per_height = |bytes: u64, heights: u64| bytes as f64 / heights.max(1) as f64;
    let early = per_height(half.saturating_sub(first), h_half.saturating_sub(h_first));
    let late = per_height(whole.saturating_sub(half), h_whole.saturating_sub(h_half));
    (whole.saturating_sub(first) > JUDGED_DISK_BYTES && late > LINEAR_FACTOR * early.max(1.0)).then(|| {
        format!("member {member}: a height cost {early:.0} bytes of disk at first and {late:.0} later")
    })
}

/// The head of the table over time.
pub fn head(members: usize) -> String {
    let mut out =
        format!("{:>6} {:>7} {:>8} {:>8} {:>5}", "s", "height", "admitted", "ordered", "kills");
    for member in 0..members {
        let _ = write!(out, " | {member}: {:>4} {:>4} {:>3} {:>6}", "MiB", "file", "thr", "disk");
    }
    out
}

/// One row of it.
pub fn row(
    looked: &[Sample],
    members: usize,
    began: Instant,
    tally: &Tally,
    kills: usize,
) -> String {
    let height = looked.iter().map(|sample| sample.height).max().unwrap_or_default();
    let mut out = format!(
        "{:>6} {height:>7} {:>8} {:>8} {kills:>5}",
        began.elapsed().as_secs(),
        tally.admitted,
        tally.ordered
    );
    for member in 0..members {
        let _ = match looked.iter().find(|sample| sample.member == member) {
            Some(sample) => write!(
                out,
                " |    {:>4} {:>4} {:>3} {:>6.1}",
                sample.anon_bytes >> 20,
                sample.open_files(),
                sample.threads,
                mib(sample.disk_bytes())
            ),
            None => write!(out, " | {:>22}", "away"),
        };
    }
    out
}
