//! Spreads independent positions over threads.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

/// Most threads one call uses.
pub const MAX_THREADS: usize = 64;

/// Length of the chunks that give every thread the same amount of work, up to `longest`, and at least one.
pub(crate) fn chunk_len(count: usize, threads: usize, longest: usize) -> usize {
    let threads = threads.clamp(1, MAX_THREADS);
    let rounds = count.div_ceil(threads * longest).max(1);
    count.div_ceil(threads * rounds).max(1)
}

/// Calls `f` with every index below `count`, on up to `threads` threads, and returns the results in order.
///
/// The results do not depend on `threads`. Zero threads count as one.
///
/// # Panics
///
/// When `f` does.
pub(crate) fn map_positions<T: Send>(
    count: usize,
    threads: usize,
    f: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let threads = threads.clamp(1, MAX_THREADS).min(count);
    if threads <= 1 {
        return (0..count).map(f).collect();
    }
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    let chunk_len = count.div_ceil(threads);
    std::thread::scope(|scope| {
        for (chunk_index, chunk) in results.chunks_mut(chunk_len).enumerate() {
            let f = &f;
            scope.spawn(move || {
                for (offset, result) in chunk.iter_mut().enumerate() {
                    *result = Some(f(chunk_index * chunk_len + offset));
                }
            });
        }
    });
    // Every slot is filled: the chunks cover `results`, and a panic above would have propagated.
    let results: Vec<T> = results.into_iter().flatten().collect();
    assert_eq!(results.len(), count);
    results
}

/// Calls `f` with every index below `count`, on up to `threads` threads, and hands the results to `take` in
/// order, each as soon as it and all before it are there. `take` runs on the caller's thread, beside `f`.
///
/// # Panics
///
/// When `f` or `take` does.
pub(crate) fn for_each_in_order<T: Send>(
    count: usize,
    threads: usize,
    f: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T),
) {
    let threads = threads.clamp(1, MAX_THREADS).min(count);
    if threads <= 1 {
        return (0..count).for_each(|index| take(index, f(index)));
    }
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (f, next, done) = (&f, &next, done.clone());
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    // The receiver is gone only while `take` panics.
                    if index >= count || done.send((index, f(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut taken = 0;
        // Ends when all threads have, also by a panic, which the scope passes on.
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&taken) {
                take(taken, result);
                taken += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{chunk_len, for_each_in_order, map_positions};

    #[test]
    fn chunks_are_even_and_bounded() {
        for (count, threads, longest, expected) in [
            (0, 2, 64, 1),
            (1, 2, 64, 1),
            (100, 1, 64, 50),
            (100, 2, 64, 50),
            (256, 2, 128, 128),
            (512, 3, 128, 86),
        ] {
            let length = chunk_len(count, threads, longest);
            assert_eq!(length, expected, "{count} {threads} {longest}");
            assert!(length <= longest);
        }
    }

    #[test]
    fn any_thread_count_gives_the_same() {
        for count in [0, 1, 2, 7, 64, 65] {
            for threads in [0, 1, 2, 3, 100, usize::MAX] {
                let squares = map_positions(count, threads, |index| index * index);
                let expected: Vec<_> = (0..count).map(|index| index * index).collect();
                assert_eq!(squares, expected, "{count} on {threads} threads");
            }
        }
    }

    #[test]
    fn results_are_taken_in_order_and_before_the_last_is_there() {
        for count in [0, 1, 2, 7, 65] {
            for threads in [0, 1, 2, 3, 100] {
                let mut taken = Vec::new();
                for_each_in_order(
                    count,
                    threads,
                    |at| 2 * at,
                    |at, double| taken.push((at, double)),
                );
                let expected: Vec<_> = (0..count).map(|at| (at, 2 * at)).collect();
                assert_eq!(taken, expected, "{count} on {threads} threads");
            }
        }
        // The last result is made only after the first was taken: a barrier that would never be passed else.
        let (first_taken, wait) = std::sync::mpsc::channel();
        let wait = std::sync::Mutex::new(wait);
        let make = |at| {
            if at == 3 {
                wait.lock().unwrap().recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            }
        };
        let mut taken = 0;
        for_each_in_order(4, 2, make, |at, ()| {
            if at == 0 {
                first_taken.send(()).unwrap();
            }
            taken += 1;
        });
        assert_eq!(taken, 4);
    }
}
