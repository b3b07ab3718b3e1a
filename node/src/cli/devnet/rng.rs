//! Choices of the devnet's actors, from one seed.

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

/// A seeded source of choices and of devnet-only keys. Not for anything that must stay secret.
pub struct Choices(StdRng);

impl Choices {
    /// One stream per (seed, purpose), so that adding a purpose does not move the others.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut material = b"blindfold devnet choices".to_vec();
        material.extend_from_slice(&seed.to_be_bytes());
        material.extend_from_slice(purpose.as_bytes());
        Self(StdRng::from_seed(alloy_primitives::keccak256(material).0))
    }

    /// 32 bytes, for a key.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.fill_bytes(&mut out);
        out
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..high)
    }
}
