//! Who is kept out: blocked until this process ends, or banned for a while.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use commonware_cryptography::ed25519::PublicKey;
use commonware_utils::ordered::Set;

use super::config::{FAULT_BAN, MAX_BLOCKED, MAX_BLOCKED_FOLLOWERS};

/// The keys that are refused.
#[derive(Default)]
pub(super) struct Refusals {
    blocked: BTreeSet<PublicKey>,
    /// Those of `blocked` that are in no tracked set, oldest first.
    blocked_followers: VecDeque<PublicKey>,
    banned_until: BTreeMap<PublicKey, Instant>,
}

impl Refusals {
    pub(super) fn refuses(&self, key: &PublicKey, now: Instant) -> bool {
        self.is_blocked(key) || self.is_banned(key, now)
    }

    pub(super) fn is_blocked(&self, key: &PublicKey) -> bool {
        self.blocked.contains(key)
    }

    fn is_banned(&self, key: &PublicKey, now: Instant) -> bool {
        self.banned_until.get(key).is_some_and(|until| now < *until)
    }

    pub(super) fn blocked(&self) -> Set<PublicKey> {
        Set::from_iter_dedup(self.blocked.iter().cloned())
    }

    /// Blocks `key` for good if it is of a tracked set, and else until [`MAX_BLOCKED_FOLLOWERS`] others
    /// were blocked after it.
    pub(super) fn block(&mut self, key: PublicKey, tracked: bool) {
        if self.blocked.contains(&key) {
            // Known.
        } else if !tracked {
            self.blocked_followers.push_back(key.clone());
            self.blocked.insert(key);
            if self.blocked_followers.len() > MAX_BLOCKED_FOLLOWERS
                && let Some(oldest) = self.blocked_followers.pop_front()
            {
                self.blocked.remove(&oldest);
            }
        } else if self.blocked.len() - self.blocked_followers.len() < MAX_BLOCKED {
            self.blocked.insert(key);
        } else {
            tracing::error!(target: "blindfold::transport", "block list is full");
        }
    }

    /// Notes that `keys` are of a tracked set now: those that were blocked as strangers
    /// stay blocked for good, like any other of the set.
    pub(super) fn track(&mut self, keys: &BTreeSet<PublicKey>) {
        let mut room =
            MAX_BLOCKED.saturating_sub(self.blocked.len() - self.blocked_followers.len());
        self.blocked_followers.retain(|key| {
            let moves = room > 0 && keys.contains(key);
            room -= usize::from(moves);
            !moves
        });
    }

    /// Refuses `key` for [`FAULT_BAN`].
    pub(super) fn ban(&mut self, key: PublicKey, now: Instant) {
        self.forget_past(now);
        self.banned_until.insert(key, now + FAULT_BAN);
    }

    /// Forgets the bans that are over.
    pub(super) fn forget_past(&mut self, now: Instant) {
        self.banned_until.retain(|_, until| now < *until);
    }

    #[cfg(test)]
    pub(super) fn bans(&self) -> usize {
        self.banned_until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Identity;

    fn key(number: usize) -> PublicKey {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Identity::from_seed(seed).expect("seed").public_key()
    }

    #[test]
    fn followers_that_are_blocked_push_out_followers_alone() {
        let mut refusals = Refusals::default();
        let (member, first, second) = (key(0), key(1), key(2));
        refusals.block(member.clone(), true);
        for number in 1..=MAX_BLOCKED_FOLLOWERS {
            refusals.block(key(number), false);
        }
        refusals.block(second.clone(), false);
        assert!(refusals.is_blocked(&first), "one that was blocked before is not counted again");
        refusals.block(key(MAX_BLOCKED_FOLLOWERS + 1), false);
        assert!(!refusals.is_blocked(&first), "the oldest");
        assert!(refusals.is_blocked(&second) && refusals.is_blocked(&member));
        assert_eq!(refusals.blocked().len(), 1 + MAX_BLOCKED_FOLLOWERS);
    }

    #[test]
    fn who_was_blocked_as_a_stranger_stays_out_as_a_member() {
        let mut refusals = Refusals::default();
        let (member, stranger) = (key(0), key(1));
        refusals.block(member.clone(), false);
        refusals.block(stranger.clone(), false);
        refusals.track(&[member.clone(), key(2)].into());
        assert!(!refusals.is_blocked(&key(2)), "tracking blocks nobody");
        for number in 2..=MAX_BLOCKED_FOLLOWERS + 1 {
            refusals.block(key(number), false);
        }
        assert!(!refusals.is_blocked(&stranger), "pushed out");
        assert!(refusals.is_blocked(&member));
        assert_eq!(refusals.blocked().len(), 1 + MAX_BLOCKED_FOLLOWERS);
    }

    #[test]
    fn bans_end_and_blocks_do_not() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        refusals.ban(key(1), now);
        refusals.block(key(2), true);
        assert!(refusals.refuses(&key(1), now) && refusals.refuses(&key(2), now));
        let later = now + FAULT_BAN;
        assert!(!refusals.refuses(&key(1), later) && refusals.refuses(&key(2), later));
        refusals.ban(key(3), later);
        assert_eq!(refusals.bans(), 1, "what is over takes no memory");
    }
}
