//! Choices of the devnet's actors, from one seed.

use alloy_primitives::{B256, keccak256};

/// A seeded source of choices and of devnet-only keys: keccak over a counter. Not for anything that
/// must stay secret.
#[derive(Clone, Debug)]
pub struct Choices {
    stream: B256,
    drawn: u64,
}

impl Choices {
    /// One stream per (seed, purpose), so that adding a purpose does not move the others.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let material =
            [b"blindfold devnet choices", &seed.to_be_bytes()[..], purpose.as_bytes()].concat();
        Self { stream: keccak256(material), drawn: 0 }
    }

    /// 32 bytes, for a key.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        keccak256([self.stream.as_slice(), &self.drawn.to_be_bytes()].concat()).0
    }

    /// A number in `low..high`, which must not be empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let word = self.bytes();
        let draw = u64::from_be_bytes([
            word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
        ]);
        low + draw % high.saturating_sub(low).max(1)
    }

    /// An index below `length`, which must not be zero.
    pub fn below(&mut self, length: usize) -> usize {
        usize::try_from(self.between(0, length as u64)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_seed_and_purpose() {
        let draw = |seed, purpose| Choices::new(seed, purpose).bytes();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        let mut choices = Choices::new(7, "range");
        assert!((0..200).map(|_| choices.between(3, 5)).all(|number| (3..5).contains(&number)));
        assert!((0..50).all(|_| choices.below(1) == 0));
    }
}
