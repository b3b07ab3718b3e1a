//! What execution is, whatever does it.

use std::sync::Arc;

use alloy_primitives::Address;
use blindfold_wire::{
    Certified, ForcedError, ForcedSpan, OpenedBatch, OpenedEnvelope, OrderCommitment,
};

use crate::block::ExecutedBlock;
use crate::state::{ParentState, StoreError};
use crate::unsealed::{ExecutionParent, UnsealedBlock};

/// What a block needs that its commitment does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// The fee address of the leader that the commitment's signature names. Receives envelope
    /// charges and priority fees.
    pub beneficiary: Address,
    /// The forced items that the height consumes, as its block has them.
    pub forced: Arc<ForcedSpan>,
}

impl BlockContext {
    /// Of a height that consumes no forced items, on a chain on which nothing was ever forced.
    #[must_use]
    pub fn without_forced(beneficiary: Address) -> Self {
        Self { beneficiary, forced: Arc::default() }
    }
}

/// Why a height could not be executed. Never anything an envelope holds: that is skipped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecutionError {
    /// The batch does not follow the parent state; the caller's mistake.
    #[error("height {height} does not follow executed height {tip}")]
    NotNext {
        /// Height of the batch.
        height: u64,
        /// Height of the parent state.
        tip: u64,
    },
    /// The forced items are not those that the commitment consumes; the caller's mistake.
    #[error("height {height} consumes other forced items: {source}")]
    Forced {
        /// Height of the batch.
        height: u64,
        /// What does not agree.
        source: ForcedError,
    },
    /// The certified base fee does not fit an Ethereum header.
    #[error("base fee of {base_fee_wei} wei does not fit 64 bits")]
    BaseFeeRange {
        /// The commitment's base fee.
        base_fee_wei: u128,
    },
    /// What was executed bit by bit is not the beginning of the batch; the caller's mistake.
    #[error("height {height} was begun with other envelopes or openings than it has")]
    OtherBatch {
        /// Height of the batch.
        height: u64,
    },
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The EVM failed in a way that no input should cause.
    #[error("EVM failed: {0}")]
    Evm(String),
}

/// Turns an opened, certified height and the state before it into a block.
///
/// All implementations give the same bytes for the same input: header, receipts, outcomes, writes.
pub trait Executor: Send + Sync {
    /// Begins a height whose positions are still being opened. Its forced items run at once.
    ///
    /// # Errors
    ///
    /// [`ExecutionError`] if the height does not follow `parent`, or consumes other forced items.
    fn begin(
        &self,
        parent: &ExecutionParent,
        order: &Certified<OrderCommitment>,
        context: &BlockContext,
    ) -> Result<Box<dyn Execution>, ExecutionError>;

    /// Executes `batch` on top of `parent`. Nothing is written anywhere: the block carries its
    /// state changes as a layer.
    ///
    /// # Errors
    ///
    /// [`ExecutionError`]. A batch that opened to nonsense is no error.
    fn execute(
        &self,
        parent: &ParentState,
        batch: &OpenedBatch,
        context: &BlockContext,
    ) -> Result<ExecutedBlock, ExecutionError> {
        let execution = self.begin(&ExecutionParent::of(parent), batch.certified(), context)?;
        execution.finish(batch)?.seal(parent)
    }
}

/// A height being executed while it is being opened.
pub trait Execution: Send {
    /// Executes the next positions. They come in order, from the first, without gaps.
    ///
    /// # Errors
    ///
    /// [`ExecutionError::Store`] or [`ExecutionError::Evm`]; the execution is of no use then.
    fn push(&mut self, items: &[OpenedEnvelope]) -> Result<(), ExecutionError>;

    /// Executes the rest of the batch.
    ///
    /// # Errors
    ///
    /// [`ExecutionError::OtherBatch`] if what was pushed is not how the batch begins; otherwise as
    /// [`Self::push`].
    fn finish(self: Box<Self>, batch: &OpenedBatch) -> Result<UnsealedBlock, ExecutionError>;
}
