//! Independent jobs on a few threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does jobs `0..jobs` and returns their results in that order. Threads take the next job when they
/// are done with one; the caller is one of them, so one thread means none is started.
pub(super) fn in_turn<T: Send>(
    jobs: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                return done;
            }
            done.push((job, work(job)));
        }
    };
    let others = threads.min(jobs).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(take)).collect();
        let mut done = take();
        for other in others {
            match other.join() {
                Ok(results) => done.extend(results),
                Err(panic) => resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(job, _)| *job);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::in_turn;

    #[test]
    fn results_come_in_order_whoever_did_the_job() {
        for threads in [0, 1, 2, 4, 100] {
            assert_eq!(in_turn(37, threads, |job| job * 2), (0..74).step_by(2).collect::<Vec<_>>());
        }
        assert_eq!(in_turn(0, 4, |job| job), Vec::<usize>::new());
    }

    #[test]
    #[should_panic = "third"]
    fn a_panic_is_handed_on() {
        in_turn(8, 2, |job| assert_ne!(job, 3, "third"));
    }
}
