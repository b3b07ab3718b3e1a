//! Work that falls into independent shares.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pool::Task;

/// Shares by number; every thread has a state `S` of its own.
pub(super) struct Shares<S, M, W> {
    count: usize,
    next: AtomicUsize,
    state: M,
    work: W,
    made: PhantomData<fn() -> S>,
}

impl<S, M: Fn() -> S, W: Fn(&mut S, usize)> Shares<S, M, W> {
    pub(super) const fn new(count: usize, state: M, work: W) -> Self {
        Self { count, next: AtomicUsize::new(0), state, work, made: PhantomData }
    }
}

impl<S, M, W> Task for Shares<S, M, W>
where
    M: Fn() -> S + Send + Sync,
    W: Fn(&mut S, usize) + Send + Sync,
{
    fn work(self: Arc<Self>) {
        let take = || {
            let share = self.next.fetch_add(1, Ordering::Relaxed);
            (share < self.count).then_some(share)
        };
        // Whoever comes too late needs no state.
        let Some(first) = take() else { return };
        let mut state = (self.state)();
        (self.work)(&mut state, first);
        while let Some(share) = take() {
            (self.work)(&mut state, share);
        }
    }
}
