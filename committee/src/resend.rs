//! When to send a bundle again.
//!
//! A bundle is owed to the committee until this member holds the verified opening of its height: then anyone
//! can be served the opening instead. Until then it is sent again at growing intervals, since a receiver may
//! have been down, or may have dropped it for want of room before it knew the height's certificate.
//!
//! After a restart the schedule is empty. The owner goes through the final heights without an opening, calls
//! [`Releaser::release`](crate::release::Releaser::release) for each, which returns the journalled bundle, and
//! hands it to [`ResendSchedule::on_released`].

use std::{collections::BTreeMap, sync::Arc};

use blindfold_wire::bundle::ShareBundle;

/// Most heights that wait for an opening at once. The lowest are kept: they block the rest.
pub const MAX_PENDING_HEIGHTS: usize = 64;

/// First interval between two sends, in milliseconds.
pub const FIRST_INTERVAL_MS: u64 = 250;

/// Longest interval between two sends, in milliseconds.
pub const MAX_INTERVAL_MS: u64 = 8_000;

#[derive(Debug)]
struct Pending {
    bundle: Arc<ShareBundle>,
    next_ms: u64,
    interval_ms: u64,
}

/// The bundles still owed, and when each is due again.
#[derive(Debug, Default)]
pub struct ResendSchedule {
    pending: BTreeMap<u64, Pending>,
}

impl ResendSchedule {
    /// An empty schedule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `bundle` was sent at `now_ms`. Returns `false` when there are
    /// [`MAX_PENDING_HEIGHTS`] lower heights, and this one has to be released again later.
    pub fn on_released(&mut self, bundle: Arc<ShareBundle>, now_ms: u64) -> bool {
        let height = bundle.header.height;
        let next_ms = now_ms.saturating_add(FIRST_INTERVAL_MS);
        self.pending.insert(height, Pending { bundle, next_ms, interval_ms: FIRST_INTERVAL_MS });
        if self.pending.len() > MAX_PENDING_HEIGHTS {
            self.pending.pop_last();
        }
        self.pending.contains_key(&height)
    }

    /// Whether the bundle of `height` is in the schedule.
    pub fn holds(&self, height: u64) -> bool {
        self.pending.contains_key(&height)
    }

    /// Notes that the verified opening of `height` is held durably.
    pub fn on_opened(&mut self, height: u64) {
        self.pending.remove(&height);
    }

    /// The bundles to send at `now_ms`, lowest height first. Each doubles its interval up to
    /// [`MAX_INTERVAL_MS`].
    pub fn due(&mut self, now_ms: u64) -> Vec<Arc<ShareBundle>> {
        self.pending
            .values_mut()
            .filter(|pending| pending.next_ms <= now_ms)
            .map(|pending| {
                pending.interval_ms = pending.interval_ms.saturating_mul(2).min(MAX_INTERVAL_MS);
                pending.next_ms = now_ms.saturating_add(pending.interval_ms);
                Arc::clone(&pending.bundle)
            })
            .collect()
    }

    /// When [`due`](Self::due) has something next, in milliseconds; `None` when nothing is owed.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.pending.values().map(|pending| pending.next_ms).min()
    }

    /// The heights still owed, ascending.
    pub fn heights(&self) -> impl Iterator<Item = u64> + '_ {
        self.pending.keys().copied()
    }
}

/// Which final heights a restarted member has to release again: those from `first` to `finalized` whose
/// opening it does not hold, lowest first, at most [`MAX_PENDING_HEIGHTS`].
pub fn owed_after_restart(
    first: u64,
    finalized: u64,
    holds_opening: impl Fn(u64) -> bool,
) -> Vec<u64> {
    (first..=finalized).filter(|height| !holds_opening(*height)).take(MAX_PENDING_HEIGHTS).collect()
}

#[cfg(test)]
mod tests {
    use blindfold_wire::{Address, B256, BundleHeader, Signature65};

    use super::*;

    fn bundle(height: u64) -> Arc<ShareBundle> {
        let header = BundleHeader {
            chain_id: 1,
            settlement: Address::ZERO,
            height,
            commitment: B256::ZERO,
            shares_root: B256::ZERO,
            member: 0,
        };
        Arc::new(ShareBundle { header, shares: Vec::new(), signature: Signature65::ZERO })
    }

    fn heights(bundles: &[Arc<ShareBundle>]) -> Vec<u64> {
        bundles.iter().map(|bundle| bundle.header.height).collect()
    }

    #[test]
    fn resends_at_growing_intervals_until_opened() {
        let mut schedule = ResendSchedule::new();
        assert_eq!(schedule.next_due_ms(), None);
        assert!(schedule.on_released(bundle(5), 1_000));
        let mut now_ms = 1_000;
        for interval_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000] {
            assert!(schedule.due(now_ms + interval_ms - 1).is_empty(), "before {interval_ms}");
            now_ms += interval_ms;
            assert_eq!(schedule.next_due_ms(), Some(now_ms));
            assert_eq!(heights(&schedule.due(now_ms)), [5]);
        }
        schedule.on_opened(5);
        assert!(schedule.due(u64::MAX).is_empty());
    }

    #[test]
    fn keeps_the_lowest_heights() {
        let mut schedule = ResendSchedule::new();
        let most = MAX_PENDING_HEIGHTS as u64;
        for height in (1..=most).rev() {
            assert!(schedule.on_released(bundle(height), 0));
        }
        assert!(!schedule.on_released(bundle(most + 1), 0), "lower heights come first");
        assert!(schedule.holds(most) && !schedule.holds(most + 1));
        assert!(schedule.on_released(bundle(0), 0));
        assert_eq!(schedule.heights().collect::<Vec<_>>(), (0..most).collect::<Vec<_>>());
        assert_eq!(schedule.due(FIRST_INTERVAL_MS).len(), MAX_PENDING_HEIGHTS);
    }

    #[test]
    fn a_restart_owes_what_is_not_opened() {
        assert_eq!(owed_after_restart(3, 8, |height| height == 5), [3, 4, 6, 7, 8]);
        assert!(owed_after_restart(9, 8, |_| false).is_empty());
        assert_eq!(owed_after_restart(1, u64::MAX, |_| false).len(), MAX_PENDING_HEIGHTS);
    }
}
