//! Witnesses of executed heights: made when a height is executed, because the state before it is overwritten
//! with it, and kept for a while.

use super::records::Records;
use alloy_primitives::Bytes;
use blindfold_execution::{BlockRecord, ExecutedBlock, state::ParentState, witness::build_witness};
use parking_lot::Mutex;
use std::sync::Arc;
use tracing::error;

/// A witness to store, and how many heights keep theirs.
pub struct NewWitness {
    /// The encoded witness.
    pub bytes: Bytes,
    /// Heights that keep theirs, this one included.
    pub heights: u64,
}

/// Makes the witnesses of a node's heights.
pub struct Witnesses {
    heights: u64,
    /// The block executed last: its header is in the next one's witness.
    last: Mutex<Option<Arc<BlockRecord>>>,
}

impl Witnesses {
    /// For the newest `heights`; 0 makes none.
    pub fn new(heights: u64) -> Self {
        Self { heights, last: Mutex::default() }
    }

    /// Heights that keep their witness.
    pub fn heights(&self) -> u64 {
        self.heights
    }

    /// Makes the witness of a block on top of `parent`, before the block is written. A node goes on without
    /// one that cannot be made: nothing but auditors depends on it. One that is `wanted` is made in any case.
    pub fn make(
        &self,
        records: &Records,
        parent: &ParentState,
        block: &ExecutedBlock,
        wanted: bool,
    ) -> Option<NewWitness> {
        let last = self.last.lock().replace(Arc::clone(&block.record));
        if self.heights == 0 && !wanted {
            return None;
        }
        let header = |height| match &last {
            Some(last) if last.height() == height => Some(last.header.clone()),
            _ => records.executed(height).ok().flatten().map(|record| record.header),
        };
        let state_root = block.record.state_root();
        match build_witness(parent, &block.access, &block.diff, state_root, header) {
            Ok(witness) => {
                Some(NewWitness { bytes: witness.encode().into(), heights: self.heights })
            }
            Err(reason) => {
                let height = block.height();
                error!(target: "blindfold::execution", height, %reason, "no witness");
                None
            }
        }
    }
}
