//! The live table: a row for each height that ordered something, on stderr.

use blindfold_sdk::{Client, rpc::HeightDocument};
use std::{
    io::{IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How often the table looks for new heights.
const LOOK_INTERVAL: Duration = Duration::from_millis(150);
/// Rows between two repetitions of the head.
const HEAD_EVERY: usize = 24;

/// Prints rows until `done`.
pub fn show(client: &Client, done: &AtomicBool) {
    let in_place = std::io::stderr().is_terminal();
    let (mut next, mut rows, mut idle) = (1u64, 0usize, 0u64);
    loop {
        // Read before the rows, so that the last rows are printed after `done` too.
        let last_round = done.load(Ordering::Relaxed);
        let executed = client.head().map_or(0, |head| head.executed_height);
        while next <= executed {
            let Ok(Some(row)) = client
                .request::<Option<HeightDocument>>("sealed_getHeight", [format!("0x{next:x}")])
            else {
                break;
            };
            next += 1;
            if row.count == 0 {
                idle += 1;
                if in_place {
                    eprint!(
                        "\r{:>8}  {:<60}",
                        row.height,
                        format!("idle ({idle} heights without envelopes)")
                    );
                    let _ = std::io::stderr().flush();
                }
                continue;
            }
            if rows % HEAD_EVERY == 0 {
                eprintln!(
                    "{}{:>8}  {:>6}  {:>6}  {:>10}  {:>9}  {:>8}  {:>7}",
                    if in_place { "\r" } else { "" },
                    "height",
                    "leader",
                    "sealed",
                    "ordered ms",
                    "opened ms",
                    "executed",
                    "skipped"
                );
            }
            rows += 1;
            eprintln!("{}{}", if in_place { "\r" } else { "" }, line(&row));
        }
        if last_round {
            if in_place {
                eprintln!();
            }
            return;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn line(row: &HeightDocument) -> String {
    format!(
        "{:>8}  {:>6}  {:>6}  {:>10}  {:>9}  {:>8}  {:>7}",
        row.height,
        row.leader,
        row.count,
        row.ordered_ms.saturating_sub(row.proposed_ms),
        row.opened_ms.saturating_sub(row.ordered_ms),
        row.executed,
        row.skipped,
    )
}
