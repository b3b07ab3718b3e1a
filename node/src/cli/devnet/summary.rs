//! What a devnet run ends with: figures, a verdict, one JSON object.

use super::{audit::Audit, contracts::TOKEN, l1::L1Report, wallets::Sent};
use blindfold_sdk::TxStatus;
use serde::Serialize;
use std::collections::BTreeMap;

/// Median and 99th percentile of one latency, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
}

impl Quantiles {
    /// Nearest-rank quantiles of `samples`; zeros when there are none.
    pub fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let rank = |percent: usize| match samples.len() {
            0 => 0,
            len => samples[(len * percent).div_ceil(100).clamp(1, len) - 1],
        };
        Self { p50: rank(50), p99: rank(99) }
    }
}

/// What the sandwich bot saw, tried and earned.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BotReport {
    /// Envelopes it saw waiting, in the clear part that any mempool observer has.
    pub seen: usize,
    /// Bytes of sealed bodies it had in hand.
    pub sealed_bytes: usize,
    /// Bodies in which it recognised a call of the exchange.
    pub recognised: usize,
    /// Sandwiches it tried all the same, guessing from payer, size and gas class.
    pub attempts: usize,
    /// Of these, how many had exactly its victim between its two swaps.
    pub landed: usize,
    /// What its trading added: its tokens at the end minus those at the start, both at the closing
    /// price, in the smallest unit of token A.
    pub earned_token_wei: i128,
    /// What its envelopes cost it, in wei of ether.
    pub spent_fees_wei: u128,
}

/// The closing summary. Field names are the interface of `--json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Members that ran.
    pub nodes: usize,
    /// Sealed transactions that were sent.
    pub sealed: usize,
    /// Of these, how many got a final position.
    pub ordered: usize,
    /// Of these, how many were opened.
    pub opened: usize,
    /// Executed (whether the call itself succeeded or reverted).
    pub executed: usize,
    /// Opened, but could not run.
    pub skipped: usize,
    /// Ordered, with a ciphertext that opens to nothing.
    pub undecryptable: usize,
    /// Left the pool because their expiry height passed.
    pub expired: usize,
    /// Replaced by their own payer.
    pub replaced: usize,
    /// Sent, but in none of the states above at the end.
    pub unresolved: usize,
    /// Sealed transactions whose shares some member signed away without holding a certificate that
    /// makes their height final.
    pub opened_before_final: usize,
    /// Signed share bundles, of all members, that were checked for the figure above.
    pub bundles_checked: usize,
    /// Share bundles, over all members, that arrived for an order other than the final one.
    pub uncertified_releases: u64,
    /// Members whose state root differs from the majority's at some height.
    pub diverged_nodes: usize,
    /// Submission to final order.
    pub ordered_ms: Quantiles,
    /// Final order to opened.
    pub opened_ms: Quantiles,
    /// Opened to executed.
    pub executed_ms: Quantiles,
    /// Executed height of each member, by index.
    pub heights: Vec<u64>,
    /// State root at the lowest of these heights.
    pub state_root: String,
    /// Reasons of the skipped ones.
    pub skip_reasons: BTreeMap<String, usize>,
    /// Wall time of the sending and settling phase, in milliseconds.
    pub elapsed_ms: u64,
    /// Batches on L1; zero if there is no L1.
    pub batches: u64,
    /// Sealed transactions in these batches.
    pub posted: u64,
    /// Bytes of batch data on L1 for each of them.
    pub posted_bytes_per_tx: f64,
    /// Gas on L1 that the batches took, blob gas aside.
    pub l1_gas: u64,
    /// Blob gas on L1 that the batches took.
    pub l1_blob_gas: u64,
    /// Heights that were derived again from what is on L1 alone, every envelope sealed again.
    pub derived_heights: u64,
    /// The observer's balance sheet.
    pub bot: BotReport,
}

impl Summary {
    /// Counts how `sent` ended, with the times of the heights they were ordered at.
    pub fn of(sent: &[Sent], audit: &Audit) -> Self {
        let mut summary = Summary {
            sealed: sent.len(),
            opened_before_final: audit.opened_before_final,
            bundles_checked: audit.bundles_checked,
            diverged_nodes: audit.diverged_nodes,
            state_root: audit.state_root.clone(),
            ..Summary::default()
        };
        let (mut ordered_ms, mut opened_ms, mut executed_ms) = (Vec::new(), Vec::new(), Vec::new());
        for sent in sent {
            let height = match &sent.end {
                Some(TxStatus::Executed { height, .. }) => {
                    summary.executed += 1;
                    *height
                }
                Some(TxStatus::Skipped { height, reason, .. }) => {
                    summary.skipped += 1;
                    *summary.skip_reasons.entry(reason.to_string()).or_default() += 1;
                    *height
                }
                Some(TxStatus::Undecryptable { height, .. }) => {
                    summary.undecryptable += 1;
                    *height
                }
                Some(TxStatus::Expired { .. }) => {
                    summary.expired += 1;
                    continue;
                }
                Some(TxStatus::Replaced { .. }) => {
                    summary.replaced += 1;
                    continue;
                }
                _ => {
                    summary.unresolved += 1;
                    continue;
                }
            };
            summary.ordered += 1;
            if let Some(times) = audit.heights.get(&height) {
                ordered_ms.push(times.ordered_ms.saturating_sub(sent.submitted_ms));
                opened_ms.push(times.opened_ms.saturating_sub(times.ordered_ms));
                executed_ms.push(times.executed_ms.saturating_sub(times.opened_ms));
            }
        }
        summary.opened = summary.executed + summary.skipped;
        summary.ordered_ms = Quantiles::of(ordered_ms);
        summary.opened_ms = Quantiles::of(opened_ms);
        summary.executed_ms = Quantiles::of(executed_ms);
        summary
    }

    /// The highest height at which one of `sent` was ordered.
    pub(super) fn last_height(&self, sent: &[Sent]) -> u64 {
        sent.iter().filter_map(|sent| sent.end.as_ref()?.height()).max().unwrap_or_default()
    }

    /// Adds what L1 has.
    pub(super) fn settled(&mut self, report: &L1Report) {
        self.batches = report.batches;
        self.posted = report.openings;
        self.posted_bytes_per_tx = match report.openings {
            0 => 0.0,
            openings => report.data_bytes as f64 / openings as f64,
        };
        self.l1_gas = report.gas;
        self.l1_blob_gas = report.blob_gas;
        self.derived_heights = report.derived_heights;
    }

    /// Prints it on standard output; with `json`, as one object on the last line too.
    pub fn print(&self, json: bool) {
        let summary = self;
        let tokens = |amount: i128| amount as f64 / TOKEN as f64;
        let Summary { bot, ordered_ms, opened_ms, executed_ms, .. } = summary;
        println!();
        println!(
            "{} sealed: {} ordered, {} opened, {} executed, {} skipped, {} undecryptable, {} expired, {} replaced, {} unresolved",
            summary.sealed,
            summary.ordered,
            summary.opened,
            summary.executed,
            summary.skipped,
            summary.undecryptable,
            summary.expired,
            summary.replaced,
            summary.unresolved
        );
        println!(
            "in {:.1} s; submitted to ordered {} ms (p99 {}), to opened {} ms (p99 {}), to executed {} ms (p99 {})",
            summary.elapsed_ms as f64 / 1_000.0,
            ordered_ms.p50,
            ordered_ms.p99,
            opened_ms.p50,
            opened_ms.p99,
            executed_ms.p50,
            executed_ms.p99
        );
        println!(
            "opened before final: {} (checked {} signed bundles against their certificates); diverged members: {}",
            summary.opened_before_final, summary.bundles_checked, summary.diverged_nodes
        );
        if summary.batches > 0 {
            println!(
                "on L1: {} batches with {} sealed transactions, {:.1} bytes each, {} gas and {} blob gas; {} heights derived \
                 again from L1 alone",
                summary.batches,
                summary.posted,
                summary.posted_bytes_per_tx,
                summary.l1_gas,
                summary.l1_blob_gas,
                summary.derived_heights
            );
        }
        println!(
            "the bot saw {} envelopes ({} sealed bytes), recognised {} swaps, tried {} sandwiches blind, put {} around a victim, \
         earned {:.3} tokens and paid {:.6} ether in fees",
            bot.seen,
            bot.sealed_bytes,
            bot.recognised,
            bot.attempts,
            bot.landed,
            tokens(bot.earned_token_wei),
            bot.spent_fees_wei as f64 / 1e18
        );
        println!("state root {} at heights {:?}", summary.state_root, summary.heights);
        if json {
            match serde_json::to_string(summary) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: the summary does not serialize: {error}"),
            }
        }
    }

    /// Whether the run kept its promises: every sealed transaction ended in a state of its own, none
    /// was opened early, all members agree, and every member's releases could be checked.
    pub fn good(&self) -> bool {
        self.unresolved == 0
            && self.opened_before_final == 0
            && self.uncertified_releases == 0
            && self.diverged_nodes == 0
            && self.heights.len() == self.nodes
            && (self.opened + self.undecryptable == 0 || self.bundles_checked > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        assert_eq!(Quantiles::of(vec![]), Quantiles { p50: 0, p99: 0 });
        assert_eq!(Quantiles::of(vec![7]), Quantiles { p50: 7, p99: 7 });
        assert_eq!(Quantiles::of((1..=200).rev().collect()), Quantiles { p50: 100, p99: 198 });
    }

    #[test]
    fn one_early_opening_spoils_the_verdict() {
        let good = Summary {
            nodes: 1,
            heights: vec![3],
            opened: 2,
            bundles_checked: 1,
            ..Summary::default()
        };
        assert!(good.good());
        assert!(!Summary { opened_before_final: 1, ..good.clone() }.good());
        assert!(!Summary { uncertified_releases: 1, ..good.clone() }.good());
        assert!(!Summary { unresolved: 1, ..good.clone() }.good());
        assert!(!Summary { diverged_nodes: 1, ..good.clone() }.good());
        assert!(!Summary { heights: vec![], ..good.clone() }.good());
        assert!(!Summary { bundles_checked: 0, ..good }.good());
    }
}
