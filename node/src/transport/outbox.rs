//! The bounded queue between senders and the writer of one stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::config::OFFLINE_HOLD;

/// Messages for one peer on one channel.
///
/// Full in messages or bytes, it drops the oldest message without priority first: every protocol
/// above repeats what it still needs, and what it sends now is worth more than what it sent then.
/// While the peer is away it keeps taking messages for [`OFFLINE_HOLD`], which bridges start-up
/// and short restarts; after that, pushes are refused so that a fetch turns to another peer.
#[derive(Debug)]
pub(super) struct Outbox {
    max_messages: usize,
    max_bytes: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    urgent: VecDeque<(Instant, Bytes)>,
    normal: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Counts links; only the writer of the newest may take messages.
    generation: u64,
    offline_since: Option<Instant>,
}

/// What became of a pushed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Queued; this many older messages had to go.
    Queued { dropped: u64 },
    /// The peer has been away for too long.
    Offline,
}

impl State {
    fn pop(&mut self) -> Option<(Instant, Bytes)> {
        let entry = self.urgent.pop_front().or_else(|| self.normal.pop_front())?;
        self.bytes -= entry.1.len();
        Some(entry)
    }

    fn drop_oldest(&mut self) -> bool {
        match self.normal.pop_front().or_else(|| self.urgent.pop_front()) {
            Some((_, message)) => {
                self.bytes -= message.len();
                true
            }
            None => false,
        }
    }
}

impl Outbox {
    pub(super) fn new(max_messages: usize, max_bytes: usize, now: Instant) -> Self {
        let state = State {
            urgent: VecDeque::new(),
            normal: VecDeque::new(),
            bytes: 0,
            generation: 0,
            offline_since: Some(now),
        };
        Self { max_messages, max_bytes, state: Mutex::new(state), wake: Notify::new() }
    }

    /// Queues a message of at most `max_bytes`.
    pub(super) fn push(&self, message: Bytes, urgent: bool, now: Instant) -> Pushed {
        let mut state = self.state.lock();
        if is_long_gone(state.offline_since, now) {
            return Pushed::Offline;
        }
        let mut dropped = 0;
        while state.urgent.len() + state.normal.len() >= self.max_messages
            || state.bytes + message.len() > self.max_bytes
        {
            if !state.drop_oldest() {
                break;
            }
            dropped += 1;
        }
        state.bytes += message.len();
        let queue = if urgent { &mut state.urgent } else { &mut state.normal };
        queue.push_back((now, message));
        drop(state);
        self.wake.notify_one();
        Pushed::Queued { dropped }
    }

    /// Hands the outbox to the writer of a new link; the writer before it gets no more messages.
    pub(super) fn attach(&self) -> u64 {
        let mut state = self.state.lock();
        state.generation += 1;
        state.offline_since = None;
        let generation = state.generation;
        drop(state);
        self.wake.notify_waiters();
        generation
    }

    /// Notes that the link of `generation` is gone, unless a newer one has taken over.
    pub(super) fn detach(&self, generation: u64, now: Instant) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.offline_since = Some(now);
        }
    }

    /// The next message for the writer of `generation`, or `None` once another took over. What
    /// has waited longer than [`OFFLINE_HOLD`] is skipped; the second value counts it.
    pub(super) async fn next(&self, generation: u64) -> Option<(Bytes, u64)> {
        let mut stale = 0;
        loop {
            let woken = self.wake.notified();
            {
                let mut state = self.state.lock();
                if state.generation != generation {
                    return None;
                }
                while let Some((queued, message)) = state.pop() {
                    if queued.elapsed() <= OFFLINE_HOLD {
                        return Some((message, stale));
                    }
                    stale += 1;
                }
            }
            woken.await;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let state = self.state.lock();
        state.urgent.len() + state.normal.len()
    }
}

fn is_long_gone(offline_since: Option<Instant>, now: Instant) -> bool {
    offline_since.is_some_and(|since| now.saturating_duration_since(since) > OFFLINE_HOLD)
}

/// The pause before dialing attempt number `attempt` (from 0): doubles from
/// [`BACKOFF_BASE_MS`](super::config::BACKOFF_BASE_MS) to
/// [`BACKOFF_MAX_MS`](super::config::BACKOFF_MAX_MS), of which the upper half is jitter.
pub(super) fn backoff(attempt: u32, random: u64) -> Duration {
    let full = super::config::BACKOFF_BASE_MS
        .saturating_mul(1u64.checked_shl(attempt.min(32)).unwrap_or(u64::MAX))
        .min(super::config::BACKOFF_MAX_MS);
    Duration::from_millis(full / 2 + random % (full / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::config::{BACKOFF_BASE_MS, BACKOFF_MAX_MS};
    use proptest::prelude::*;

    fn message(byte: u8, len: usize) -> Bytes {
        vec![byte; len].into()
    }

    #[tokio::test]
    async fn full_outbox_drops_the_oldest_ordinary_message() {
        let now = Instant::now();
        let outbox = Outbox::new(3, 1_000, now);
        let generation = outbox.attach();
        outbox.push(message(1, 1), true, now);
        outbox.push(message(2, 1), false, now);
        outbox.push(message(3, 1), false, now);
        assert_eq!(outbox.push(message(4, 1), false, now), Pushed::Queued { dropped: 1 });
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(outbox.next(generation).await.expect("queued").0[0]);
        }
        assert_eq!(seen, [1, 3, 4]);
    }

    #[test]
    fn bytes_are_bounded() {
        let now = Instant::now();
        let outbox = Outbox::new(100, 10, now);
        for byte in 0..5 {
            outbox.push(message(byte, 4), false, now);
        }
        assert_eq!(outbox.len(), 2);
        assert_eq!(outbox.push(message(9, 10), false, now), Pushed::Queued { dropped: 2 });
        assert_eq!(outbox.len(), 1);
    }

    #[tokio::test]
    async fn an_old_writer_gets_nothing_once_replaced() {
        let now = Instant::now();
        let outbox = Outbox::new(3, 10, now);
        let old = outbox.attach();
        let new = outbox.attach();
        outbox.push(message(7, 1), false, now);
        assert!(outbox.next(old).await.is_none());
        assert_eq!(outbox.next(new).await.expect("kept for the new writer").0[0], 7);
        // A late farewell of the old link does not take the new one offline.
        outbox.detach(old, now);
        let later = now + OFFLINE_HOLD * 2;
        assert_eq!(outbox.push(message(8, 1), false, later), Pushed::Queued { dropped: 0 });
    }

    #[test]
    fn a_long_absent_peer_takes_no_messages() {
        let now = Instant::now();
        let outbox = Outbox::new(3, 10, now);
        assert_eq!(outbox.push(message(1, 1), false, now), Pushed::Queued { dropped: 0 });
        let later = now + OFFLINE_HOLD + Duration::from_millis(1);
        assert_eq!(outbox.push(message(1, 1), false, later), Pushed::Offline);
    }

    proptest! {
        #[test]
        fn backoff_stays_in_bounds(attempt in 0u32..1_000, random: u64) {
            let pause = backoff(attempt, random).as_millis() as u64;
            prop_assert!(pause >= BACKOFF_BASE_MS / 2);
            prop_assert!(pause <= BACKOFF_MAX_MS);
        }
    }
}
