//! The report as Markdown.

use std::fmt::Write;

use crate::{
    execution,
    report::{Report, Row},
};

/// Where a snapshot lies in `docs/performance.md`: the lines before and after it.
pub type Marks = (&'static str, &'static str);

/// Around everything but execution.
pub const SNAPSHOT: Marks =
    ("<!-- snapshot: written by `make bench-snapshot` -->", "<!-- end of the snapshot -->");
/// Around execution.
pub const EXECUTION: Marks =
    ("<!-- execution: written by `make bench-snapshot` -->", "<!-- end of execution -->");

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut text = without_execution(report);
    text.push_str(&execution::table(&report.turns));
    text
}

/// Execution alone, with where and when it was measured; `None` if it was not.
pub fn execution(report: &Report) -> Option<String> {
    let table = execution::table(&report.turns);
    if table.is_empty() {
        return None;
    }
    let machine = &report.machine;
    let (cpu, cores, commit) = (&machine.cpu, machine.cores, &machine.commit);
    let (start, end, date) =
        (&machine.load_at_start, &machine.load_at_end, date(machine.made_unix_s));
    Some(format!(
        "{cpu}, {cores} cores, commit {commit}, {date}; load average at start {start}, at end {end}.\n{table}\n\
         ![Sequential time divided by parallel time, by workload](performance-execution.svg)\n"
    ))
}

/// The report but for execution.
pub fn without_execution(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    // Writing to a string does not fail.
    let _ = writeln!(text, "| machine | |\n|---|---|");
    let crates: Vec<_> =
        machine.crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
    for (name, value) in [
        ("processor", machine.cpu.clone()),
        ("cores", machine.cores.to_string()),
        ("load average at start (1, 5, 15 min)", machine.load_at_start.clone()),
        ("load average at end", machine.load_at_end.clone()),
        ("compiler", machine.rustc.clone()),
        ("commit", machine.commit.clone()),
        ("date", date(machine.made_unix_s)),
        ("crates", crates.join(", ")),
    ] {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    if report.quick {
        text.push_str("\n**A quick run: figures to try things out with, not to compare.**\n");
    }
    targets(&mut text, report);
    for (stage, title) in [
        ("open", "Opening"),
        ("root", "State root"),
        ("settle", "Settlement"),
        ("baseline", "Other libraries"),
        ("primitive", "Primitives"),
    ] {
        table(&mut text, title, &report.stage(stage).collect::<Vec<_>>());
    }
    if !report.speed_ups.is_empty() {
        text.push_str("\n**Two threads** (alternating with one; least wall times)\n\n");
        text.push_str("| work | rounds | 1 thread | 2 threads | ratio | ratio by CPU time | CPU time / wall |\n");
        text.push_str("|---|--:|--:|--:|--:|--:|--:|\n");
        for speed_up in &report.speed_ups {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} × | {} × | {} |",
                speed_up.work,
                speed_up.rounds,
                time(speed_up.one_thread_min_ns),
                time(speed_up.two_threads_min_ns),
                short(speed_up.ratio()),
                short(speed_up.ratio_by_cpu()),
                short(speed_up.cpu_per_wall)
            );
        }
    }
    text
}

fn targets(text: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    text.push_str("\n| target | figure | reach | | at reference speed | limit here |\n");
    text.push_str("|---|--:|--:|---|--:|--:|\n");
    for target in &report.targets {
        let unit = &target.unit;
        let with_unit = |value: f64| format!("{} {unit}", short(value));
        // A ratio is the same at every speed.
        let scaled =
            report.slowness.filter(|_| unit != "×").map(|slowness| target.figure / slowness);
        let _ = writeln!(
            text,
            "| {} | {} | {} {} | {} | {} | {} |",
            target.what,
            with_unit(target.figure),
            if target.at_least { "≥" } else { "≤" },
            with_unit(target.reach),
            if target.reached { "reached" } else { "**not reached**" },
            scaled.map_or("–".to_owned(), with_unit),
            target.limit.map_or("–".to_owned(), with_unit),
        );
    }
    if let Some(slowness) = report.slowness {
        let _ = writeln!(
            text,
            "\nThe targets are stated for a machine on which `blst` takes {} of the time that it took here \
             (geometric mean over seven primitives); *at reference speed* is the figure times that.",
            short(1.0 / slowness)
        );
    }
}

fn table(text: &mut String, title: &str, rows: &[&Row]) {
    if rows.is_empty() {
        return;
    }
    let limits = rows.iter().any(|row| row.limit.is_some());
    let baselines = rows.iter().any(|row| !row.baselines.is_empty());
    let _ = write!(text, "\n**{title}**\n\n| benchmark | figure | ± | each |");
    let mut rule = "|---|--:|--:|--:|".to_owned();
    if limits {
        text.push_str(" limit, each | figure / limit | limit by products | figure / that |");
        rule.push_str("--:|--:|--:|--:|");
    }
    if baselines {
        text.push_str(" others, each (× ours) |");
        rule.push_str("---|");
    }
    let _ = writeln!(text, "\n{rule}");
    for row in rows {
        let deviation = 100.0 * row.deviation / row.figure.max(f64::MIN_POSITIVE);
        let _ = write!(
            text,
            "| `{}` | {} | {} % | {} |",
            row.id,
            time(row.figure),
            short(deviation),
            time(1e3 * row.each_us)
        );
        if limits {
            for (limit, ratio) in [
                (row.limit, row.ratio_to_limit),
                (row.limit_by_products, row.ratio_to_limit_by_products),
            ] {
                match limit.zip(ratio) {
                    Some((limit, ratio)) => {
                        let each = limit / row.items.max(1) as f64;
                        let _ = write!(text, " {} | {} |", time(each), short(ratio));
                    }
                    None => text.push_str(" – | – |"),
                }
            }
        }
        if baselines {
            let others: Vec<_> = row
                .baselines
                .iter()
                .map(|baseline| {
                    let id = baseline.id.trim_start_matches("baseline::");
                    let library = id.split_once('/').map_or(id, |(operation, _)| operation);
                    let ratio = short(baseline.ratio);
                    format!("{library} {} ({ratio} ×)", time(1e3 * baseline.each_us))
                })
                .collect();
            let _ = write!(text, " {} |", others.join("; "));
        }
        text.push('\n');
    }
}

/// Puts a new snapshot between marks of a document; `None` when it lacks them.
pub fn replace_snapshot(document: &str, marks: Marks, snapshot: &str) -> Option<String> {
    let (begin, end) = marks;
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", snapshot.trim()))
}

/// A time with a unit that leaves one to three digits before the point.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", short(value))
}

/// Three digits that count.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The day, from seconds since 1970.
fn date(unix_s: u64) -> String {
    // Days to a civil date, counted in years that begin in March.
    let days = (unix_s / 86_400) as i64 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn every_figure_is_in_the_table() {
        let report = report();
        let text = markdown(&report);
        for row in &report.rows {
            assert_eq!(text.matches(&format!("| `{}` |", row.id)).count(), 1, "{}", row.id);
        }
        assert!(
            text.contains(
                "| `open::share/batch=512` | 32.3 ms | 0.00 % | 63.0 µs | 60.0 µs | 1.05 | 40.4 µs | 1.56 |"
            )
        );
        assert!(
            text.contains(
                "blsttc_total 15.0 ms (50.0 ×); blsttc_unverified_total 1.80 ms (6.00 ×)"
            )
        );
        assert!(
            text.contains("| after the last share, each | 150 µs | ≤ 160 µs | reached | – | – |")
        );
        assert!(!text.contains("quick"));
        // Each row of a table has as many cells as its head.
        let mut columns = 0;
        for line in text.lines() {
            let cells = line.matches('|').count();
            if line.starts_with('|') && columns != 0 {
                assert_eq!(cells, columns, "{line}");
            }
            columns = if line.starts_with('|') { cells } else { 0 };
        }
    }

    #[test]
    fn a_snapshot_replaces_the_last_one() {
        let (begin, end) = SNAPSHOT;
        let document = format!("# Title\n{begin}\nold\n{end}\nend\n");
        let once = replace_snapshot(&document, SNAPSHOT, "\nnew\n").unwrap();
        assert_eq!(once, format!("# Title\n{begin}\n\nnew\n\n{end}\nend\n"));
        assert_eq!(replace_snapshot(&once, SNAPSHOT, "new").unwrap(), once);
        assert_eq!(replace_snapshot(&once, EXECUTION, "new"), None);
    }

    #[test]
    fn execution_stands_for_itself() {
        assert_eq!(execution(&report()), None);
        let turns = crate::execution::tests::turns();
        let report = Report { turns, ..report() };
        let text = execution(&report).unwrap();
        assert!(text.contains("2 threads") && text.contains("`swaps`"), "{text}");
        assert!(markdown(&report).contains("`swaps`"));
        assert!(!without_execution(&report).contains("`swaps`"));
    }

    #[test]
    fn times_are_readable() {
        let times = [0.5, 29.94, 999.0, 1_000.0, 62_345.0, 82_000_000.0, 6.02e9].map(time);
        assert_eq!(
            times,
            ["0.50 ns", "29.9 ns", "999 ns", "1.00 µs", "62.3 µs", "82.0 ms", "6.02 s"]
        );
        assert_eq!((date(0), date(951_782_400)), ("1970-01-01".into(), "2000-02-29".into()));
        assert_eq!(date(1_795_305_600), "2026-11-22");
    }
}
