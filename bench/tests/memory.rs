//! Memory of opening, counted by the allocator of this process.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use blindfold_bench::{
    height::{Height, columns},
    limits::MESSAGE_BYTES,
    ordered::Ordered,
};
use blindfold_committee::{Contribution, decide_batch};
use blindfold_crypto::decide_all;
use blindfold_wire::Bytes;

/// Envelopes that differ, among all.
const DISTINCT: usize = 64;

/// Counts what is alive, its peak, and every allocation.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let live = LIVE_BYTES.fetch_add(bytes, Relaxed) + bytes;
    PEAK_BYTES.fetch_max(live, Relaxed);
    ALLOCATIONS.fetch_add(1, Relaxed);
}

// SAFETY: everything is the system's allocator's; counting touches none of its memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both are alive while the contents move.
        grown(new_size);
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counters belong to one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Most bytes alive at once during `work`, above those alive before it.
fn peak_above_idle<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let idle = LIVE_BYTES.load(Relaxed);
    PEAK_BYTES.store(idle, Relaxed);
    let out = work();
    (out, PEAK_BYTES.load(Relaxed) - idle)
}

/// Everything that opening a height makes, from the bytes of its envelopes on, counts; so do the shares
/// of t members. Only what stays for the process's life (tables of the key) is there before.
#[test]
fn opening_thousands_stays_small() {
    const COUNT: usize = 4_096;
    const BOUND_BYTES: usize = 64 << 20;

    let _alone = alone();
    let mut ordered = Ordered::new(16, COUNT, DISTINCT, MESSAGE_BYTES);
    let sealed = ordered.bytes.split_off(1);
    // Tables of the key, and what threads keep.
    open(&ordered, 1);
    let ((), peak) = peak_above_idle(|| {
        ordered.bytes.extend(sealed.iter().map(|bytes| Bytes::from(bytes.to_vec())));
        open(&ordered, 2);
    });
    println!("peak above idle: {:.1} MiB", peak as f64 / f64::from(1 << 20));
    assert!(peak < BOUND_BYTES, "{peak} bytes");
    // 11 × 4,096 shares of 96 bytes are there, so something was counted.
    assert!(peak > 11 * COUNT * 96, "{peak} bytes");
}

/// Admission, the shares of t members, and the decision, as a member does it.
fn open(ordered: &Ordered, threads: usize) {
    let envelopes = ordered.admit(512);
    let batch = ordered.order(envelopes.clone());
    let shares: Vec<_> = ordered
        .quorum()
        .into_iter()
        .map(|member| {
            // Envelopes repeat; so do their shares, which saves the test time.
            let few = ordered.shares(member, &envelopes[..envelopes.len().min(DISTINCT)]);
            (member as u32, few.iter().copied().cycle().take(envelopes.len()).collect::<Vec<_>>())
        })
        .collect();
    let contributions: Vec<_> =
        shares.iter().map(|(member, shares)| Contribution { member: *member, shares }).collect();
    let decided = decide_batch(&ordered.public, &batch, &contributions, threads);
    let opened = decided.into_opened().expect("complete").expect("the order's envelopes");
    assert_eq!(opened.items().len(), envelopes.len());
}

/// Eleven shares for each position or three: allocations for each position are the same, but for a few
/// buffers that a member's shares take for many positions together.
#[test]
fn nothing_is_allocated_for_a_share() {
    const POSITIONS: usize = 512;

    let _alone = alone();
    let allocations = |members: usize| {
        let height = Height::new(members, POSITIONS, MESSAGE_BYTES);
        let shares = height.shares();
        let (items, columns) = (height.items(), columns(&shares));
        // The first time makes the tables of the key.
        let decide = || decide_all(&height.public, &items, &columns);
        assert!(decide().iter().all(|verdict| verdict.opening.is_some()));
        let before = ALLOCATIONS.load(Relaxed);
        let verdicts = decide();
        let allocations = ALLOCATIONS.load(Relaxed) - before;
        drop(verdicts);
        allocations
    };
    let (few, many) = (allocations(4), allocations(16));
    println!("{POSITIONS} positions: {few} allocations with 3 shares each, {many} with 11");
    let more = many.saturating_sub(few) as f64 / POSITIONS as f64;
    assert!(more < 1.0, "{more:.2} more allocations for a position by 8 more shares");
}
