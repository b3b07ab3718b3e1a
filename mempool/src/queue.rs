//! The pooled envelopes of one payer.

use std::collections::BTreeMap;

use blindfold_wire::{B256, Floor, U256, checked::CheckedEnvelope, fees, genesis::ChainParams};

use crate::config::ENTRY_OVERHEAD_BYTES;

/// A pooled envelope and the figures the pool compares.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) envelope: CheckedEnvelope,
    pub(crate) max_charge_wei: U256,
    pub(crate) cost_bytes: usize,
}

impl Entry {
    pub(crate) fn new(params: &ChainParams, envelope: CheckedEnvelope) -> Self {
        let size_bytes = envelope.bytes().len();
        let max_charge_wei = fees::max_charge(params, &envelope.envelope().header, size_bytes);
        Self { envelope, max_charge_wei, cost_bytes: size_bytes + ENTRY_OVERHEAD_BYTES }
    }

    pub(crate) fn id(&self) -> B256 {
        self.envelope.id()
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.envelope.envelope().header.payer_nonce
    }

    pub(crate) fn max_fee(&self) -> u128 {
        self.envelope.envelope().header.max_fee_per_gas
    }

    pub(crate) fn max_priority_fee(&self) -> u128 {
        self.envelope.envelope().header.max_priority_fee_per_gas
    }

    pub(crate) fn expiry_height(&self) -> u64 {
        self.envelope.envelope().header.expiry_height
    }

    /// Effective priority fee, wei per gas; `None` if the offer is not enough.
    pub(crate) fn priority_fee(&self, floor: &Floor) -> Option<u128> {
        floor.priority_fee(self.max_fee(), self.max_priority_fee())
    }

    fn score(&self, floor: &Floor, contiguous: bool) -> Score {
        let effective = self.priority_fee(floor);
        let readiness = match (contiguous, effective) {
            (false, _) => Readiness::Gapped,
            (true, None) => Readiness::Underpriced,
            (true, Some(_)) => Readiness::Ready,
        };
        Score { readiness, priority_fee: effective.unwrap_or(0), max_fee: self.max_fee() }
    }
}

/// How much a pool wants to keep an envelope: the lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    readiness: Readiness,
    priority_fee: u128,
    max_fee: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    /// A lower nonce is missing, so it cannot be ordered at any fee.
    Gapped,
    /// Its maximum is below the base fee.
    Underpriced,
    Ready,
}

/// One payer's pooled envelopes by nonce.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The lowest nonce not ordered yet, as last reported.
    pub(crate) next_nonce: u64,
    /// The score it stands with among the eviction candidates.
    pub(crate) indexed: Option<Score>,
    entries: BTreeMap<u64, Entry>,
    reserved_wei: U256,
}

impl Queue {
    /// An empty queue of a payer whose next nonce is `next_nonce`.
    pub(crate) fn starting_at(next_nonce: u64) -> Self {
        Self { next_nonce, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, nonce: u64) -> Option<&Entry> {
        self.entries.get(&nonce)
    }

    /// The entry with the `index`-th lowest nonce.
    pub(crate) fn nth(&self, index: usize) -> Option<&Entry> {
        self.entries.values().nth(index)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// The sum of all greatest possible charges.
    pub(crate) fn reserved_wei(&self) -> U256 {
        self.reserved_wei
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        self.reserved_wei = self.reserved_wei.saturating_add(entry.max_charge_wei);
        let previous = self.entries.insert(entry.nonce(), entry);
        debug_assert!(previous.is_none(), "the caller removes what it replaces first");
    }

    pub(crate) fn remove(&mut self, nonce: u64) -> Option<Entry> {
        let entry = self.entries.remove(&nonce)?;
        self.reserved_wei = self
            .entries
            .values()
            .fold(U256::ZERO, |sum, kept| sum.saturating_add(kept.max_charge_wei));
        Some(entry)
    }

    /// What the pool loses with the last of the first `kept` envelopes: an envelope is worth no more than
    /// the cheapest that has to be ordered before it. `None` for no envelopes.
    pub(crate) fn score(&self, kept: usize, floor: &Floor) -> Option<Score> {
        let mut expected = self.next_nonce;
        let mut contiguous = true;
        self.entries
            .values()
            .take(kept)
            .map(|entry| {
                contiguous &= entry.nonce() == expected;
                expected = entry.nonce().saturating_add(1);
                entry.score(floor, contiguous)
            })
            .min()
    }

    /// The score of `newcomer` as if it stood in this queue, in place of any with its nonce.
    pub(crate) fn score_with(&self, newcomer: &Entry, floor: &Floor) -> Score {
        let mut expected = self.next_nonce;
        let mut contiguous = true;
        let mut lowest: Option<Score> = None;
        let before = self.entries.range(..newcomer.nonce()).map(|(_, entry)| entry);
        for entry in before.chain([newcomer]) {
            contiguous &= entry.nonce() == expected;
            expected = entry.nonce().saturating_add(1);
            let score = entry.score(floor, contiguous);
            lowest = Some(lowest.map_or(score, |low| low.min(score)));
        }
        lowest.unwrap_or_else(|| newcomer.score(floor, false))
    }
}
