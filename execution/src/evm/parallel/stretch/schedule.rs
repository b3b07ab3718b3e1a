//! Who runs what, who waits, and who wakes whom.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{DONE, IDLE, RUNNING, Stretch};
use crate::evm::parallel::attempt::Attempt;
use crate::evm::parallel::handler::LazyEvm;
use crate::evm::parallel::pool::Task;
use crate::state::StoreError;

/// Positions ahead of the frontier that may run, for each thread.
const WINDOW_PER_THREAD: usize = 32;

/// Looks around so often before a thread that has nothing to do sleeps.
const LOOKS_BEFORE_SLEEP: usize = 64;

impl Stretch {
    /// A position ahead of the frontier that is worth running.
    pub(super) fn claim(&self) -> Option<usize> {
        let frontier = self.frontier.load(Ordering::Acquire);
        let end = self.slots.len().min(frontier + WINDOW_PER_THREAD * self.rules.threads);
        (frontier + 1..end).find(|at| {
            let slot = &self.slots[*at];
            let done = |before: u32| {
                (before as usize) < frontier
                    || self.slots[before as usize].status.load(Ordering::Acquire) == DONE
            };
            slot.status.load(Ordering::Relaxed) == IDLE
                && !slot.at_frontier_only.load(Ordering::Relaxed)
                && slot.after.is_none_or(done)
                && match &slot.profile {
                    _ if self.rules.jitter.is_some() => true,
                    Some(profile) if profile.worth_running_ahead() => true,
                    _ => {
                        slot.at_frontier_only.store(true, Ordering::Relaxed);
                        false
                    }
                }
                && slot
                    .status
                    .compare_exchange(IDLE, RUNNING, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
        })
    }

    /// Runs a position ahead of the frontier and shows the others what it would change.
    pub(super) fn run_ahead(&self, evm: &mut LazyEvm, at: usize) {
        let slot = &self.slots[at];
        // Whatever happens, the frontier must not wait for this thread for ever.
        let release = Release(self, at);
        // A failure here may be due to what was seen too early: the frontier finds out.
        let Ok(mut attempt) = self.run(evm, at) else { return };
        self.jitter();
        // What is shown in part was seen in part: the frontier takes it back.
        attempt.shown = self.publish(&attempt, at).is_ok();
        *slot.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(attempt));
        slot.status.store(DONE, Ordering::SeqCst);
        drop(release);
    }

    fn publish(&self, attempt: &Attempt, at: usize) -> Result<(), StoreError> {
        for (hash, code) in &attempt.changes.codes {
            self.create(*hash, code)?;
        }
        for (address, entry) in &attempt.changes.accounts {
            self.cells.publish_account(self, *address, at as u32, *entry)?;
        }
        for (key, entry) in &attempt.changes.slots {
            self.cells.publish_slot(self, *key, at as u32, *entry)?;
        }
        Ok(())
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
        self.happened();
    }

    /// Tells whoever sleeps that there may be something to do. A stretch goes on without it but for one case: a
    /// run ahead ends at the frontier while its thread cannot commit, because another just looked and left.
    pub(super) fn happened(&self) {
        self.events.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _bed = self.bed();
            self.wake.notify_all();
        }
    }

    fn bed(&self) -> MutexGuard<'_, ()> {
        self.bed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has happened since `events` was read.
    pub(super) fn rest(&self, events: u64) {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if self.events.load(Ordering::SeqCst) != events {
                return;
            }
            std::hint::spin_loop();
        }
        let mut bed = self.bed();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.events.load(Ordering::SeqCst) == events {
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Gives a position back to the frontier if its run ahead came to nothing.
pub(super) struct Release<'a>(pub(super) &'a Stretch, pub(super) usize);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let Self(stretch, at) = self;
        let slot = &stretch.slots[*at];
        if slot.status.load(Ordering::Acquire) != DONE {
            slot.at_frontier_only.store(true, Ordering::Relaxed);
            slot.status.store(IDLE, Ordering::SeqCst);
        }
        // Whoever looked at it while it ran, at the frontier, may have gone to sleep over it.
        if stretch.frontier.load(Ordering::SeqCst) >= *at {
            stretch.happened();
        }
    }
}

/// Ends the stretch if its thread panics: the others must not wait for it.
struct EndOnPanic<'a>(&'a Stretch);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::SeqCst);
            self.0.finish();
        }
    }
}

impl Task for Stretch {
    fn work(self: Arc<Self>) {
        let _end = EndOnPanic(&self);
        let mut evm = self.evm();
        loop {
            let events = self.events.load(Ordering::SeqCst);
            self.advance(&mut evm);
            if self.finished.load(Ordering::SeqCst) {
                return;
            }
            match self.claim() {
                Some(at) => self.run_ahead(&mut evm, at),
                None => self.rest(events),
            }
        }
    }
}
