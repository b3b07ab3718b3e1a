//! Which openings to ask for, of whom, and whom to answer later: two small state machines without effects.
//!
//! ```text
//!  Asking   final height without opening ─▶ due? ─▶ Wanted(h) to the least busy member
//!                                             ▲               │ no answer in ASK_TIMEOUT_MS
//!                                             └── another ────┘ (that member is asked last for a while)
//!  Parked   Wanted(h) of a height that is not opened yet ─▶ kept ─▶ answered once it is
//! ```
//!
//! A member at the tip waits for bundles first and asks late. A follower gets no bundles and asks at once;
//! so does a member for heights that the others have behind them.

use blindfold_ordering::engine::Identity;
use std::collections::{BTreeMap, BTreeSet};

/// How long a member at the tip waits for bundles before it asks.
pub const PATIENCE_MS: u64 = 1_500;
/// How long one member may take to answer before another one is asked.
pub const ASK_TIMEOUT_MS: u64 = 700;
/// Longest time between two questions about one height.
pub const MAX_ASK_TIMEOUT_MS: u64 = 4_000;
/// Heights asked of one member at a time.
pub const ASKED_PER_PEER: usize = 16;
/// How long a member that did not answer is asked last; doubled each time, until it answers.
pub const SLOW_MS: u64 = 5_000;
/// The longest such time.
pub const MAX_SLOW_MS: u64 = 60_000;

/// Heights above the highest opened one for which a question is kept.
pub const PARK_WINDOW_HEIGHTS: u64 = 64;
/// Questions kept of one peer.
pub const PARKED_PER_PEER: usize = 64;
/// Questions kept in all.
pub const PARKED_MAX: usize = 4_096;

/// A question on its way.
#[derive(Debug)]
struct Asked {
    peer: usize,
    until_ms: u64,
}

/// A height without its opening.
#[derive(Debug)]
struct Missing {
    /// Before this nobody is asked.
    from_ms: u64,
    asked: Option<Asked>,
    /// How often it was asked for.
    times: u32,
    /// An answer is being verified.
    held: bool,
}

/// One peer as it is asked.
#[derive(Clone, Debug, Default)]
struct Peer {
    /// Questions on their way.
    busy: usize,
    slow_until_ms: u64,
    /// How long it was slow for the last time.
    slow_ms: u64,
}

impl Peer {
    fn failed(&mut self, now_ms: u64) {
        // Many questions that run out together count once.
        if self.slow_until_ms <= now_ms {
            self.slow_ms = self.slow_ms.saturating_mul(2).clamp(SLOW_MS, MAX_SLOW_MS);
            self.slow_until_ms = now_ms.saturating_add(self.slow_ms);
        }
    }
}

/// Whom to ask for which openings. Members are named by their place in the list of peers.
#[derive(Debug)]
pub struct Asking {
    missing: BTreeMap<u64, Missing>,
    peers: Vec<Peer>,
    /// Where to begin among equals.
    next: usize,
}

impl Asking {
    /// Nothing is missing; `peers` members can be asked, beginning with number `first`.
    pub fn new(peers: usize, first: usize) -> Self {
        Self { missing: BTreeMap::new(), peers: vec![Peer::default(); peers], next: first }
    }

    /// The opening of `height` is missing; nobody is asked before `from_ms`.
    pub fn missing(&mut self, height: u64, from_ms: u64) {
        self.missing.entry(height).or_insert(Missing {
            from_ms,
            asked: None,
            times: 0,
            held: false,
        });
    }

    /// The opening of `height` is held and verified.
    pub fn found(&mut self, height: u64) {
        if let Some(missing) = self.missing.remove(&height)
            && let Some(asked) = missing.asked
        {
            self.peers[asked.peer].busy -= 1;
        }
    }

    /// Peer number `peer` sent openings of `height`. True if they are to be verified: it was asked, and
    /// nothing else is being verified. Then follows [`found`](Self::found) or [`refused`](Self::refused).
    pub fn answered(&mut self, height: u64, peer: usize) -> bool {
        let Some(missing) = self.missing.get_mut(&height) else { return false };
        if missing.held {
            return false;
        }
        // An answer that comes late is as good as another.
        if missing.times == 0 {
            return false;
        }
        if let Some(asked) = missing.asked.take() {
            self.peers[asked.peer].busy -= 1;
        }
        missing.held = true;
        self.peers[peer].slow_until_ms = 0;
        self.peers[peer].slow_ms = 0;
        true
    }

    /// The answer about `height` did not verify: ask another.
    pub fn refused(&mut self, height: u64, peer: usize, now_ms: u64) {
        self.peers[peer].failed(now_ms);
        if let Some(missing) = self.missing.get_mut(&height) {
            missing.held = false;
            missing.from_ms = now_ms;
        }
    }

    /// What to ask now: heights, lowest first, each with the number of a peer. They count as asked.
    pub fn due(&mut self, now_ms: u64) -> Vec<(u64, usize)> {
        let mut due = Vec::new();
        for (height, missing) in &mut self.missing {
            if missing.held || missing.from_ms > now_ms {
                continue;
            }
            let mut last = None;
            if let Some(asked) = &missing.asked {
                if asked.until_ms > now_ms {
                    continue;
                }
                self.peers[asked.peer].busy -= 1;
                self.peers[asked.peer].failed(now_ms);
                last = Some(asked.peer);
                missing.asked = None;
            }
            let count = self.peers.len();
            let free = (0..count)
                .map(|offset| (self.next + offset) % count)
                .filter(|peer| self.peers[*peer].busy < ASKED_PER_PEER)
                .min_by_key(|peer| {
                    let state = &self.peers[*peer];
                    (Some(*peer) == last, state.slow_until_ms > now_ms, state.busy)
                });
            let Some(peer) = free else { break };
            self.next = (peer + 1) % count;
            self.peers[peer].busy += 1;
            let wait_ms = ASK_TIMEOUT_MS.saturating_mul(u64::from(missing.times) + 1);
            let until_ms = now_ms.saturating_add(wait_ms.min(MAX_ASK_TIMEOUT_MS));
            missing.asked = Some(Asked { peer, until_ms });
            missing.times = missing.times.saturating_add(1);
            due.push((*height, peer));
        }
        due
    }
}

/// Questions that cannot be answered yet.
#[derive(Debug, Default)]
pub struct Parked {
    by_height: BTreeMap<u64, BTreeSet<Identity>>,
    by_peer: BTreeMap<Identity, usize>,
    total: usize,
}

impl Parked {
    /// Keeps a question of `peer` about `height`, which is not opened yet; `opened` is the highest that
    /// is, with all below. Questions beyond the bounds are dropped: the peer asks another, or again.
    pub fn park(&mut self, height: u64, opened: u64, peer: Identity) {
        let count = self.by_peer.get(&peer).copied().unwrap_or(0);
        if height > opened.saturating_add(PARK_WINDOW_HEIGHTS)
            || count >= PARKED_PER_PEER
            || self.total >= PARKED_MAX
        {
            return;
        }
        if self.by_height.entry(height).or_default().insert(peer.clone()) {
            *self.by_peer.entry(peer).or_default() += 1;
            self.total += 1;
        }
    }

    /// Who asked for `height`; forgotten now.
    pub fn take(&mut self, height: u64) -> Vec<Identity> {
        let peers = self.by_height.remove(&height).unwrap_or_default();
        for peer in &peers {
            self.total -= 1;
            if let Some(count) = self.by_peer.get_mut(peer) {
                *count -= 1;
                if *count == 0 {
                    self.by_peer.remove(peer);
                }
            }
        }
        peers.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_ordering::engine::parse_identity;

    #[test]
    fn the_lowest_are_asked_first_and_spread_over_the_peers() {
        let mut asking = Asking::new(3, 1);
        for height in (10..14).rev() {
            asking.missing(height, 100);
        }
        assert!(asking.due(99).is_empty(), "before its time");
        assert_eq!(asking.due(100), [(10, 1), (11, 2), (12, 0), (13, 1)]);
        assert!(asking.due(101).is_empty(), "each once");
        assert!(asking.answered(11, 2) && !asking.answered(11, 2), "one answer at a time");
        asking.found(11);
        assert!(!asking.answered(11, 2));
        assert!(!asking.answered(99, 0), "never asked");
    }

    #[test]
    fn another_peer_is_asked_when_one_is_silent_or_wrong() {
        let mut asking = Asking::new(2, 0);
        asking.missing(5, 0);
        assert_eq!(asking.due(0), [(5, 0)]);
        assert!(asking.due(ASK_TIMEOUT_MS - 1).is_empty());
        assert_eq!(asking.due(ASK_TIMEOUT_MS), [(5, 1)]);
        assert!(asking.answered(5, 1));
        asking.refused(5, 1, ASK_TIMEOUT_MS);
        // Both failed; it goes on asking.
        assert_eq!(asking.due(ASK_TIMEOUT_MS).len(), 1);
        asking.missing(6, 0);
        asking.missing(7, 0);
        assert_eq!(asking.due(10 * SLOW_MS).len(), 3);
    }

    #[test]
    fn a_peer_is_asked_for_a_bounded_number_at_a_time() {
        let mut asking = Asking::new(2, 0);
        for height in 0..100 {
            asking.missing(height, 0);
        }
        assert_eq!(asking.due(0).len(), 2 * ASKED_PER_PEER);
        assert!(asking.due(1).is_empty());
        for height in 0..10 {
            asking.found(height);
        }
        assert_eq!(asking.due(1).len(), 10);
        assert!(Asking::new(0, 0).due(1).is_empty(), "a lonely member asks nobody");
    }

    #[test]
    fn parked_questions_are_bounded_and_answered_once() {
        let peer = |seed: u8| {
            let public = blindfold_committee::setup::identity_public_key(&[seed; 32]);
            parse_identity(&public).expect("a key")
        };
        let mut parked = Parked::default();
        parked.park(10, 9, peer(1));
        parked.park(10, 9, peer(1));
        parked.park(10, 9, peer(2));
        parked.park(10 + PARK_WINDOW_HEIGHTS, 9, peer(1));
        assert_eq!(parked.take(10).len(), 2);
        assert!(parked.take(10).is_empty());
        assert!(parked.take(10 + PARK_WINDOW_HEIGHTS).is_empty(), "too far ahead");
        assert_eq!((parked.total, parked.by_peer.len()), (0, 0));
        for height in 0..200 {
            parked.park(height, height, peer(1));
        }
        assert_eq!(parked.total, PARKED_PER_PEER);
    }
}
