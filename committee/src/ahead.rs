//! Shares computed before their height is final, kept in this process.
//!
//! # Why this leaks nothing
//!
//! A share that exists is as sensitive as the key it was made with, and no more: this process holds the key.
//! What must not happen is that one *leaves* before the order is final. Nothing here is public: shares go in
//! from [`Releaser::precompute`](crate::Releaser::precompute) and come out in
//! [`Releaser::release`](crate::Releaser::release) alone, which takes a [`SealedBatch`](crate::SealedBatch),
//! which takes a certified commitment. There is no other reader, no `Debug` of a share, and no copy on disk.
//!
//! # Key
//!
//! A share is fixed by the point u and the key it is made with. The envelope id commits to u, and the key id
//! is kept beside it: what was computed under one committee key is not found under another.
//!
//! # Memory
//!
//! At most [`MAX_SHARES_AHEAD`], in blocks that never move, so that no stale copy stays behind when the cache
//! grows. A place is wiped when its share is released or pushed out, and all of them on drop.

use std::collections::{HashMap, VecDeque};

use blindfold_crypto::Share;
use blindfold_wire::{B256, CheckedEnvelope, envelope::KeyId};
use zeroize::Zeroize as _;

/// Most shares computed ahead and not released yet; the oldest are wiped and, if needed, computed again.
pub const MAX_SHARES_AHEAD: usize = 8_192;

/// Shares in one block of memory.
const BLOCK_SHARES: usize = 256;

/// A share's place before and after it is used.
const WIPED: Share = Share([0; 96]);

/// What a share is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    envelope: B256,
    key: KeyId,
}

impl Key {
    fn of(envelope: &CheckedEnvelope) -> Self {
        Self { envelope: envelope.id(), key: envelope.header().key_id }
    }
}

/// The cache; see the [module](self).
#[derive(Default)]
pub(crate) struct SharesAhead {
    places: HashMap<Key, usize>,
    /// Oldest first. May name keys that are gone.
    order: VecDeque<Key>,
    blocks: Vec<Box<[Share; BLOCK_SHARES]>>,
    free: Vec<usize>,
}

impl SharesAhead {
    pub(crate) fn contains(&self, envelope: &CheckedEnvelope) -> bool {
        self.places.contains_key(&Key::of(envelope))
    }

    pub(crate) fn get(&self, envelope: &CheckedEnvelope) -> Option<Share> {
        let place = *self.places.get(&Key::of(envelope))?;
        Some(self.blocks[place / BLOCK_SHARES][place % BLOCK_SHARES])
    }

    pub(crate) fn insert(&mut self, envelope: &CheckedEnvelope, share: &Share) {
        self.put(Key::of(envelope), share);
    }

    fn put(&mut self, key: Key, share: &Share) {
        if self.places.contains_key(&key) {
            return;
        }
        while self.places.len() >= MAX_SHARES_AHEAD
            && let Some(oldest) = self.order.pop_front()
        {
            self.wipe(oldest);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            let first = self.blocks.len() * BLOCK_SHARES;
            self.blocks.push(Box::new([WIPED; BLOCK_SHARES]));
            self.free.extend((first + 1..first + BLOCK_SHARES).rev());
            first
        });
        self.blocks[place / BLOCK_SHARES][place % BLOCK_SHARES] = *share;
        self.places.insert(key, place);
        self.order.push_back(key);
    }

    /// Wipes the shares of envelopes that are released.
    pub(crate) fn forget(&mut self, envelopes: &[CheckedEnvelope]) {
        for envelope in envelopes {
            self.wipe(Key::of(envelope));
        }
        let places = &self.places;
        self.order.retain(|key| places.contains_key(key));
    }

    fn wipe(&mut self, key: Key) {
        if let Some(place) = self.places.remove(&key) {
            self.blocks[place / BLOCK_SHARES][place % BLOCK_SHARES].0.zeroize();
            self.free.push(place);
        }
    }
}

impl Drop for SharesAhead {
    fn drop(&mut self) {
        for share in self.blocks.iter_mut().flat_map(|block| block.iter_mut()) {
            share.0.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_wire::{SigningKey, testkit::TestCommittee};

    fn share(number: usize) -> Share {
        let mut share = WIPED;
        share.0[..8].copy_from_slice(&number.to_be_bytes());
        share.0[95] = 1;
        share
    }

    fn kept(cache: &SharesAhead) -> usize {
        cache.blocks.iter().flat_map(|block| block.iter()).filter(|share| **share != WIPED).count()
    }

    #[test]
    fn a_share_is_found_under_its_envelope_and_key_until_it_is_released() {
        let committee = TestCommittee::new(4, 3);
        let payer = SigningKey::random([5; 32]);
        let envelope = |nonce| committee.envelope(&payer, committee.header(nonce), b"m");
        let (one, other) = (envelope(0), envelope(1));
        let mut cache = SharesAhead::default();
        cache.insert(&one, &share(7));
        assert_eq!((cache.get(&one), cache.get(&other)), (Some(share(7)), None));
        // The same envelope id under another committee key is another place.
        let foreign = Key { key: KeyId::repeat_byte(0xee), ..Key::of(&one) };
        assert!(!cache.places.contains_key(&foreign));
        cache.insert(&other, &share(8));
        cache.forget(std::slice::from_ref(&one));
        assert_eq!((cache.get(&one), cache.get(&other)), (None, Some(share(8))));
        assert_eq!(kept(&cache), 1, "the released share was wiped");
        assert_eq!(cache.order.len(), 1);
        // Its place is used again.
        cache.insert(&one, &share(9));
        assert_eq!((cache.get(&one), kept(&cache), cache.blocks.len()), (Some(share(9)), 2, 1));
    }

    #[test]
    fn the_oldest_are_wiped_and_no_more_than_the_bound_is_kept() {
        let mut cache = SharesAhead::default();
        let key = |number: usize| Key {
            envelope: B256::left_padding_from(&number.to_be_bytes()),
            key: KeyId::ZERO,
        };
        for number in 0..MAX_SHARES_AHEAD {
            cache.put(key(number), &share(number));
        }
        assert_eq!((cache.places.len(), kept(&cache)), (MAX_SHARES_AHEAD, MAX_SHARES_AHEAD));
        cache.put(key(MAX_SHARES_AHEAD), &share(1));
        assert!(!cache.places.contains_key(&key(0)), "the oldest");
        assert!(cache.places.contains_key(&key(MAX_SHARES_AHEAD)), "the newest");
        assert_eq!((cache.places.len(), kept(&cache)), (MAX_SHARES_AHEAD, MAX_SHARES_AHEAD));
        cache.wipe(key(5));
        assert_eq!(kept(&cache), MAX_SHARES_AHEAD - 1, "wiped, not only forgotten");
        assert_eq!(cache.blocks.len() * BLOCK_SHARES, MAX_SHARES_AHEAD);
    }
}
