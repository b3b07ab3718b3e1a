//! Decoding and sender recovery on all threads. A recovery costs more than running a plain transfer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::pool::Task;
use crate::evm::Transaction;
use crate::evm::engine::{Decoded, Messages};

/// Messages that a thread takes at a time.
const TAKEN_TOGETHER: usize = 4;

pub(super) struct DecodeTask {
    messages: Messages,
    chain_id: u64,
    next: AtomicUsize,
    decoded: Vec<OnceLock<Decoded>>,
}

impl DecodeTask {
    pub(super) fn new(messages: Messages, chain_id: u64) -> Self {
        let decoded = messages.iter().map(|_| OnceLock::new()).collect();
        Self { messages, chain_id, next: AtomicUsize::new(0), decoded }
    }

    fn decode(&self, at: usize) -> Decoded {
        let (message, class) = &self.messages[at];
        Transaction::decode(message, self.chain_id, *class)
    }

    /// What became of each message. All threads have left.
    pub(super) fn take(&self) -> Vec<Decoded> {
        let decoded = |(at, decoded): (usize, &OnceLock<Decoded>)| {
            // Only a thread that panicked leaves one out.
            decoded.get().cloned().unwrap_or_else(|| self.decode(at))
        };
        self.decoded.iter().enumerate().map(decoded).collect()
    }
}

impl Task for DecodeTask {
    fn work(self: Arc<Self>) {
        loop {
            let first = self.next.fetch_add(TAKEN_TOGETHER, Ordering::Relaxed);
            if first >= self.messages.len() {
                return;
            }
            let end = self.messages.len().min(first + TAKEN_TOGETHER);
            for at in first..end {
                let _ = self.decoded[at].set(self.decode(at));
            }
        }
    }
}
