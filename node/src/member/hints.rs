//! Access lists that peers gave with openings: the executor follows them where they are right, and whoever gave
//! a wrong one is named.

use alloy_primitives::Bytes;
use blindfold_ordering::engine::Identity;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Lists kept for heights that are not executed yet.
pub const HINTS_MAX: usize = 128;

/// Bytes of all lists that are kept.
pub const HINTS_MAX_BYTES: usize = 64 << 20;

/// An access list of a height, as somebody gave it.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Who.
    pub peer: Identity,
    /// The encoded list.
    pub bytes: Bytes,
}

#[derive(Default)]
struct Inner {
    by_height: BTreeMap<u64, Hint>,
    size_bytes: usize,
    liars: Vec<Identity>,
}

/// Access lists by height.
#[derive(Default)]
pub struct Hints(Mutex<Inner>);

impl Hints {
    /// Keeps a list of a height, unless there is one or there are too many.
    pub fn keep(&self, height: u64, hint: Hint) {
        let mut inner = self.0.lock();
        let size_bytes = inner.size_bytes.saturating_add(hint.bytes.len());
        let full = inner.by_height.len() >= HINTS_MAX || size_bytes > HINTS_MAX_BYTES;
        if !full && !inner.by_height.contains_key(&height) {
            inner.by_height.insert(height, hint);
            inner.size_bytes = size_bytes;
        }
    }

    /// The list of a height that is being executed. Older ones are let go.
    pub fn take(&self, height: u64) -> Option<Hint> {
        let mut inner = self.0.lock();
        let above = inner.by_height.split_off(&height.saturating_add(1));
        let mut taken = std::mem::replace(&mut inner.by_height, above);
        inner.size_bytes = inner.by_height.values().map(|hint| hint.bytes.len()).sum();
        taken.remove(&height)
    }

    /// Notes that a peer gave a list that is not the block's.
    pub fn wrong(&self, peer: Identity) {
        let mut inner = self.0.lock();
        if inner.liars.len() < HINTS_MAX && !inner.liars.contains(&peer) {
            inner.liars.push(peer);
        }
    }

    /// Who gave wrong lists since the last time.
    pub fn liars(&self) -> Vec<Identity> {
        std::mem::take(&mut self.0.lock().liars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_ordering::engine::parse_identity;

    fn hint(seed: u8, length: usize) -> Hint {
        let public = blindfold_committee::setup::identity_public_key(&[seed; 32]);
        Hint { peer: parse_identity(&public).expect("a key"), bytes: vec![seed; length].into() }
    }

    #[test]
    fn lists_are_bounded_and_taken_once() {
        let hints = Hints::default();
        hints.keep(3, hint(1, 10));
        hints.keep(3, hint(2, 10));
        hints.keep(4, hint(2, 10));
        assert_eq!(hints.take(3).expect("kept").bytes[0], 1, "the first one counts");
        assert!(hints.take(3).is_none());
        hints.keep(9, hint(3, HINTS_MAX_BYTES));
        assert!(hints.take(9).is_none(), "too large beside what is kept");
        assert!(hints.take(4).is_none(), "let go with what came later");
        for height in 0..2 * HINTS_MAX as u64 {
            hints.keep(height, hint(1, 1));
        }
        assert_eq!(hints.0.lock().by_height.len(), HINTS_MAX);
        hints.keep(HINTS_MAX as u64 * 3, hint(1, 1));
        assert!(hints.take(HINTS_MAX as u64 * 3).is_none());
        assert_eq!(hints.0.lock().size_bytes, 0);
        hints.wrong(hint(1, 0).peer);
        hints.wrong(hint(1, 0).peer);
        assert_eq!(hints.liars().len(), 1);
        assert!(hints.liars().is_empty());
    }
}
