//! Envelopes that were checked before, so that a block of known envelopes costs nothing again.

use alloy_primitives::{B256, Bytes, keccak256};
use blindfold_wire::{
    ForcedItem, ForcedKind,
    block::{Block, BlockError},
    checked::{AdmissionRules, CheckedEnvelope, EnvelopeError},
};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};

/// Envelopes remembered.
pub const CHECKED_CACHE: usize = 16_384;
/// Bytes of envelopes remembered, by their encoding; in memory it is about twice that. Above a few
/// blocks' worth. Anybody can have envelopes checked, so their number alone bounds nothing.
pub const CHECKED_CACHE_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Cache {
    by_hash: HashMap<B256, CheckedEnvelope>,
    order: VecDeque<B256>,
    bytes: usize,
}

impl Cache {
    fn insert(&mut self, hash: B256, envelope: &CheckedEnvelope) {
        if self.by_hash.insert(hash, envelope.clone()).is_none() {
            self.order.push_back(hash);
            self.bytes += envelope.size_bytes();
        }
        while self.order.len() > CHECKED_CACHE || self.bytes > CHECKED_CACHE_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.by_hash.remove(&oldest) {
                self.bytes -= gone.size_bytes();
            }
        }
    }
}

/// Checks envelopes, remembering those that passed by the hash of their bytes.
pub struct Checker {
    rules: AdmissionRules,
    /// Makes the weights of batched proofs unpredictable to the makers of envelopes.
    secret: [u8; 32],
    cache: Mutex<Cache>,
}

impl Checker {
    /// `secret` must be random and stay in this process.
    pub fn new(rules: AdmissionRules, secret: [u8; 32]) -> Self {
        Self { rules, secret, cache: Mutex::default() }
    }

    /// Checks many envelopes; the verdicts are in the order of `envelopes`.
    pub fn check_all(&self, envelopes: &[Bytes]) -> Vec<Result<CheckedEnvelope, EnvelopeError>> {
        let hashes: Vec<B256> = envelopes.iter().map(keccak256).collect();
        let mut verdicts: Vec<Option<Result<CheckedEnvelope, EnvelopeError>>> = {
            let cache = self.cache.lock();
            hashes.iter().map(|hash| cache.by_hash.get(hash).cloned().map(Ok)).collect()
        };
        let unknown: Vec<usize> =
            (0..envelopes.len()).filter(|at| verdicts[*at].is_none()).collect();
        if !unknown.is_empty() {
            let bytes: Vec<Bytes> = unknown.iter().map(|at| envelopes[*at].clone()).collect();
            let checked =
                CheckedEnvelope::check_batch(&self.rules, &bytes, self.weights_seed(&hashes));
            let mut cache = self.cache.lock();
            for (at, verdict) in unknown.into_iter().zip(checked) {
                if let Ok(envelope) = &verdict {
                    cache.insert(hashes[at], envelope);
                }
                verdicts[at] = Some(verdict);
            }
        }
        verdicts.into_iter().flatten().collect()
    }

    /// Checks the shape of a block and each of its envelopes.
    ///
    /// # Errors
    /// As [`Block::check_envelopes`].
    pub fn check_block(&self, block: &Block) -> Result<Vec<CheckedEnvelope>, BlockError> {
        block.validate_shape()?;
        self.check_all(&block.envelopes)
            .into_iter()
            .enumerate()
            .map(|(position, verdict)| {
                verdict.map_err(|source| BlockError::Envelope { position, source })
            })
            .collect()
    }

    /// Checks the envelopes that sealed forced items hold, one verdict for each item: `None` for an item of another
    /// kind, and for one that holds no valid envelope.
    pub fn check_forced(&self, items: &[ForcedItem]) -> Vec<Option<CheckedEnvelope>> {
        let is_sealed = |item: &ForcedItem| item.kind() == Some(ForcedKind::Sealed);
        let sealed: Vec<Bytes> =
            items.iter().filter(|item| is_sealed(item)).map(|item| item.data.clone()).collect();
        let mut verdicts = self.check_all(&sealed).into_iter();
        let verdict = |item: &ForcedItem| match is_sealed(item) {
            true => verdicts.next().and_then(Result::ok),
            false => None,
        };
        items.iter().map(verdict).collect()
    }

    /// Fixed by what is checked and by the secret: whoever chooses the envelopes cannot foresee it.
    fn weights_seed(&self, hashes: &[B256]) -> [u8; 32] {
        let mut input = Vec::with_capacity(32 * (hashes.len() + 1));
        input.extend_from_slice(&self.secret);
        hashes.iter().for_each(|hash| input.extend_from_slice(hash.as_slice()));
        keccak256(input).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_wire::{SigningKey, testkit::TestCommittee};

    #[test]
    fn large_envelopes_do_not_fill_the_memory() {
        let committee = TestCommittee::new(4, 1);
        let payer = SigningKey::random([3; 32]);
        let large = committee.envelope(&payer, committee.header(0), &[7; 40_000]);
        let mut cache = Cache::default();
        for number in 0u64..2_000 {
            cache.insert(keccak256(number.to_be_bytes()), &large);
        }
        assert!(cache.bytes <= CHECKED_CACHE_BYTES);
        assert_eq!(cache.bytes, cache.by_hash.len() * large.size_bytes());
        assert_eq!(cache.order.len(), cache.by_hash.len());
        assert!(cache.by_hash.contains_key(&keccak256(1_999u64.to_be_bytes())), "the newest stays");
    }
}
