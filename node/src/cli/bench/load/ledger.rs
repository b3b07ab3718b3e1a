//! What became of every transaction, from one member's records of the heights.

use super::drive::Submitted;
use crate::cli::devnet::summary::Quantiles;
use alloy_primitives::B256;
use blindfold_sdk::{
    Client,
    rpc::{CommitmentDocument, HeightDocument},
};
use eyre::{Result, WrapErr as _};
use serde::Serialize;
use std::collections::HashMap;

/// How the envelopes of one phase ended. Every one is in exactly one of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// Sealed for the phase.
    pub sealed: usize,
    /// Of these: executed.
    pub executed: usize,
    /// Opened, but could not run.
    pub skipped: usize,
    /// Ordered, with a ciphertext that opens to nothing.
    pub undecryptable: usize,
    /// Never admitted by the member it was handed to.
    pub refused: usize,
    /// Admitted, and not executed when the waiting ended.
    pub unresolved: usize,
}

impl Ends {
    /// Whether every envelope ended, each once.
    pub fn accounted(&self) -> bool {
        let ends = self.executed + self.skipped + self.undecryptable + self.refused;
        self.unresolved == 0 && ends == self.sealed
    }
}

/// Latencies of one phase, in milliseconds. Submission counts from when the envelope was *due*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latencies {
    /// Due to final order.
    pub submit_to_ordered_ms: Quantiles,
    /// Final order to opened.
    pub ordered_to_opened_ms: Quantiles,
    /// Opened to executed.
    pub opened_to_executed_ms: Quantiles,
    /// Due to executed.
    pub submit_to_executed_ms: Quantiles,
}

/// The heights of one phase, and which envelopes they ordered.
pub struct Ledger {
    heights: Vec<HeightDocument>,
    /// Index into `heights`.
    places: HashMap<B256, usize>,
}

impl Ledger {
    /// Reads the heights from the one after `after` to the executed tip.
    pub fn read(client: &Client, after: u64) -> Result<Self> {
        let tip = client.head()?.executed_height;
        let (mut heights, mut places) = (Vec::new(), HashMap::new());
        for height in after + 1..=tip {
            let hex = [format!("0x{height:x}")];
            let missing = || eyre::eyre!("height {height} has no record");
            let document: Option<HeightDocument> = client.request("sealed_getHeight", &hex)?;
            let document = document.ok_or_else(missing)?;
            if document.count > 0 {
                let commitment: Option<CommitmentDocument> =
                    client.request("sealed_getCommitment", &hex).wrap_err("a commitment")?;
                let ids = commitment.ok_or_else(missing)?.envelope_ids;
                places.extend(ids.into_iter().map(|id| (id, heights.len())));
            }
            heights.push(document);
        }
        Ok(Self { heights, places })
    }

    /// Counts the ends of what was sealed and submitted.
    pub fn ends(&self, sealed: usize, submitted: &Submitted) -> Ends {
        let unresolved = submitted.admitted.iter().filter(|(id, _)| !self.places.contains_key(id));
        let mut ends = Ends {
            sealed,
            refused: submitted.refused.values().sum(),
            unresolved: unresolved.count(),
            ..Ends::default()
        };
        for height in &self.heights {
            ends.executed += height.executed as usize;
            ends.skipped += height.skipped as usize;
            ends.undecryptable += height.undecryptable as usize;
        }
        ends
    }

    /// The latencies of what was admitted.
    pub fn latencies(&self, submitted: &Submitted) -> Latencies {
        let (mut ordered, mut opened, mut executed, mut whole) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, due_ms) in &submitted.admitted {
            let Some(height) = self.places.get(id).map(|at| &self.heights[*at]) else { continue };
            ordered.push(height.ordered_ms.saturating_sub(*due_ms));
            opened.push(height.opened_ms.saturating_sub(height.ordered_ms));
            executed.push(height.executed_ms.saturating_sub(height.opened_ms));
            whole.push(height.executed_ms.saturating_sub(*due_ms));
        }
        Latencies {
            submit_to_ordered_ms: Quantiles::of(ordered),
            ordered_to_opened_ms: Quantiles::of(opened),
            opened_to_executed_ms: Quantiles::of(executed),
            submit_to_executed_ms: Quantiles::of(whole),
        }
    }

    /// Transactions executed a second between two moments.
    pub fn rate(&self, from_ms: u64, to_ms: u64) -> f64 {
        let executed: u64 = self
            .heights
            .iter()
            .filter(|height| (from_ms..to_ms).contains(&height.executed_ms))
            .map(|height| u64::from(height.executed))
            .sum();
        executed as f64 * 1_000.0 / to_ms.saturating_sub(from_ms).max(1) as f64
    }

    /// Transactions that were executed at `moment_ms` or later.
    pub fn executed_from(&self, moment_ms: u64) -> u64 {
        let later = self.heights.iter().filter(|height| height.executed_ms >= moment_ms);
        later.map(|height| u64::from(height.executed)).sum()
    }

    /// Heights, and those of them that ordered something.
    pub fn heights(&self) -> (usize, usize) {
        (self.heights.len(), self.heights.iter().filter(|height| height.count > 0).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn height(count: u32, ordered_ms: u64) -> HeightDocument {
        HeightDocument {
            height: 1,
            digest: B256::ZERO,
            leader: 0,
            count,
            proposed_ms: ordered_ms - 20,
            ordered_ms,
            opened_ms: ordered_ms + 5,
            executed_ms: ordered_ms + 8,
            commitment: Default::default(),
            certificate: Default::default(),
            descendants: Vec::new(),
            released: None,
            l1_block: 0,
            l1_base_fee_wei: 0,
            forced: Vec::new(),
            state_root: None,
            executed: count,
            skipped: 0,
            undecryptable: 0,
        }
    }

    #[test]
    fn every_envelope_has_one_end_and_times() {
        let id = |byte| B256::repeat_byte(byte);
        let ledger = Ledger {
            heights: vec![height(1, 1_000), height(0, 1_200), height(1, 2_000)],
            places: [(id(1), 0), (id(2), 2)].into(),
        };
        let mut submitted =
            Submitted { admitted: vec![(id(1), 900), (id(2), 1_900)], ..Submitted::default() };
        assert!(ledger.ends(2, &submitted).accounted());
        let latencies = ledger.latencies(&submitted);
        assert_eq!(latencies.submit_to_ordered_ms, Quantiles { p50: 100, p99: 100 });
        assert_eq!(latencies.submit_to_executed_ms, Quantiles { p50: 108, p99: 108 });
        assert_eq!(ledger.rate(1_000, 3_000), 1.0);
        assert_eq!(ledger.executed_from(1_500), 1);

        submitted.admitted.push((id(3), 1_950));
        let ends = ledger.ends(3, &submitted);
        assert_eq!((ends.unresolved, ends.accounted()), (1, false));
        submitted.admitted.pop();
        assert!(!ledger.ends(3, &submitted).accounted(), "one is nowhere");
        submitted.refused.insert("full".to_owned(), 1);
        assert!(ledger.ends(3, &submitted).accounted());
    }
}
