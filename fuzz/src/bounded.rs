//! Counts what a decoder allocates, so that "bounded memory" is an assertion of every single run.
//!
//! libFuzzer's own limits see the whole process, and only megabytes at a time. This allocator counts
//! the bytes that one thread holds, at the cost of two additions.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// What any run may hold at a time, whatever its input: tables that are made on first use, errors.
pub const FREE_BYTES: usize = 256 << 10;
/// What it may hold for each byte of input. The worst case known is a list of empty byte strings: one
/// byte of RLP becomes a handle of 32 bytes in a vector that is being doubled.
pub const FACTOR: usize = 128;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a count.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(bytes: usize) {
    // `try_with`: a thread frees and allocates for a moment after its thread-locals are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get().wrapping_add(bytes));
        let _ = PEAK.try_with(|peak| {
            // What was allocated before the run may be freed in it: below zero is not a peak.
            if held.get() as isize > peak.get() as isize {
                peak.set(held.get());
            }
        });
    });
}

fn shrunk(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub(bytes)));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks exist while one is copied into the other.
        grown(new_size);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(pointer, layout, new_size) };
        shrunk(layout.size());
        moved
    }
}

/// Runs `decode` and fails if it holds more memory at a time than its input of `input_bytes` bytes
/// can justify.
///
/// # Panics
/// If it does.
pub fn bounded<R>(input_bytes: usize, decode: impl FnOnce() -> R) -> R {
    HELD.set(0);
    PEAK.set(0);
    let value = decode();
    let (peak, limit) = (PEAK.get(), FREE_BYTES + FACTOR * input_bytes);
    assert!(peak <= limit, "{peak} bytes held for an input of {input_bytes}; allowed are {limit}");
    value
}

/// Decodes `data`, and demands that what decodes encodes to the same bytes, in bounded memory.
///
/// # Panics
/// If it does not.
pub fn canonical<T>(
    data: &[u8],
    decode: impl FnOnce(&[u8]) -> Option<T>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Option<T> {
    let value = bounded(data.len(), || decode(data))?;
    assert_eq!(hex::encode(encode(&value)), hex::encode(data), "two encodings of one value");
    Some(value)
}
