//! Token buckets. Pure: the caller passes the time.

use std::time::{Duration, Instant};

/// A sustained rate and the burst on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Messages regained per second.
    pub per_second: u32,
    /// Messages that may go at once after a pause.
    pub burst: u32,
}

impl Quota {
    /// The quota with rate and burst multiplied by `factor`, saturating.
    pub fn times(self, factor: u32) -> Self {
        Self {
            per_second: self.per_second.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor),
        }
    }
}

/// A bucket that starts full. Internally it keeps the virtual time at which it would be full
/// again (GCRA), so it needs no refill step.
#[derive(Debug)]
pub(super) struct TokenBucket {
    interval: Duration,
    tolerance: Duration,
    full_at: Instant,
}

impl TokenBucket {
    pub(super) fn new(quota: Quota, now: Instant) -> Self {
        Self::with_interval(Duration::from_secs(1) / quota.per_second.max(1), quota.burst, now)
    }

    pub(super) fn with_interval(interval: Duration, burst: u32, now: Instant) -> Self {
        Self { interval, tolerance: interval * burst.max(1), full_at: now }
    }

    /// Takes one token, or says how long to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let next = self.full_at.max(now) + self.interval;
        let ahead = next.saturating_duration_since(now);
        match ahead.checked_sub(self.tolerance) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = next;
                Ok(())
            }
        }
    }
}

/// Counts offences within a window, to tell a burst from an attack.
#[derive(Debug)]
pub(super) struct AbuseCounter {
    limit: u32,
    window: Duration,
    since: Instant,
    count: u32,
}

impl AbuseCounter {
    pub(super) fn new(limit: u32, window: Duration, now: Instant) -> Self {
        Self { limit, window, since: now, count: 0 }
    }

    /// Notes one offence. True once more than `limit` fell into one window.
    pub(super) fn note(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) > self.window {
            self.since = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_gives_burst_then_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Quota { per_second: 10, burst: 3 }, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(100);
        assert_eq!(bucket.take(later), Ok(()));
        assert!(bucket.take(later).is_err());
        // A long pause refills the burst, not more.
        let much_later = start + Duration::from_secs(60);
        let taken = (0..10).filter(|_| bucket.take(much_later).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn refusal_costs_no_token() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Quota { per_second: 1, burst: 1 }, start);
        assert!(bucket.take(start).is_ok());
        for _ in 0..1_000 {
            assert!(bucket.take(start).is_err());
        }
        assert!(bucket.take(start + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn abuse_is_per_window() {
        let start = Instant::now();
        let mut abuse = AbuseCounter::new(2, Duration::from_secs(10), start);
        assert!(!abuse.note(start));
        assert!(!abuse.note(start));
        assert!(!abuse.note(start + Duration::from_secs(11)), "a new window forgets");
        assert!(!abuse.note(start + Duration::from_secs(11)));
        assert!(abuse.note(start + Duration::from_secs(12)));
    }
}
