//! A block whose state root is not known yet, and the state after it.
//!
//! The root is of no interest to the transactions of the next height, so that one may be executed while this
//! one's root is computed. Only `BLOCKHASH` of the block just before needs it, and waits.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::access::AccessRecord;
use crate::block::ExecutedBlock;
use crate::evm::Executed;
use crate::executor::ExecutionError;
use crate::state::{Account, BlockView, ParentState, StateDiff, StateView, StoreError};

/// The hash of a block, once it is known.
#[derive(Debug, Default)]
struct LateHash {
    hash: Mutex<Late>,
    known: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
enum Late {
    #[default]
    Unknown,
    Known(B256),
    Never,
}

impl LateHash {
    fn set(&self, late: Late) {
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*hash, Late::Unknown) {
            *hash = late;
        }
        self.known.notify_all();
    }

    fn wait(&self) -> Result<B256, StoreError> {
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *hash {
                Late::Known(hash) => return Ok(hash),
                Late::Never => {
                    let reason = "the block before was given up".to_owned();
                    return Err(StoreError::Backend(reason));
                }
                Late::Unknown => {
                    hash = self.known.wait(hash).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// An executed block without its state root.
#[derive(Debug)]
pub struct UnsealedBlock {
    height: u64,
    diff: Arc<StateDiff>,
    /// Gone once it is sealed.
    executed: Option<Executed>,
    hash: Arc<LateHash>,
}

impl UnsealedBlock {
    pub(crate) fn new(executed: Executed) -> Self {
        let (height, diff) = (executed.facts.height, Arc::clone(&executed.diff));
        Self { height, diff, executed: Some(executed), hash: Arc::default() }
    }

    /// The height.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// What every position read and changed.
    pub(crate) fn access(&self) -> Option<&AccessRecord> {
        self.executed.as_ref().map(|executed| executed.access.as_ref())
    }

    /// Computes the state root and completes the block. `parent` is the state that it was executed on.
    ///
    /// # Errors
    ///
    /// [`ExecutionError::NotNext`] if it is another, [`ExecutionError::Store`] if it cannot be read.
    pub fn seal(mut self, parent: &ParentState) -> Result<ExecutedBlock, ExecutionError> {
        let (height, tip) = (self.height, parent.tip().height);
        let not_next = ExecutionError::NotNext { height, tip };
        let executed = match self.executed.take() {
            Some(executed) if Some(height) == tip.checked_add(1) => executed,
            _ => return Err(not_next),
        };
        let block = executed.seal(parent)?;
        self.hash.set(Late::Known(block.record.hash));
        Ok(block)
    }
}

impl Drop for UnsealedBlock {
    fn drop(&mut self) {
        // Nobody must wait for what will not come.
        self.hash.set(Late::Never);
    }
}

/// The state that a height is executed on.
#[derive(Clone)]
pub struct ExecutionParent {
    pub(crate) height: u64,
    pub(crate) view: Arc<dyn StateView>,
}

impl std::fmt::Debug for ExecutionParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutionParent").field("height", &self.height).finish_non_exhaustive()
    }
}

impl ExecutionParent {
    /// A state as it is.
    #[must_use]
    pub fn of(state: &ParentState) -> Self {
        Self { height: state.tip().height, view: Arc::new(BlockView::new(state.clone())) }
    }

    /// The state after a block that was executed on `parent` and is not sealed yet.
    #[must_use]
    pub fn after(parent: &ParentState, block: &UnsealedBlock) -> Self {
        let view = AfterBlock {
            parent: BlockView::new(parent.clone()),
            height: block.height(),
            diff: Arc::clone(&block.diff),
            hash: Arc::clone(&block.hash),
        };
        Self { height: block.height(), view: Arc::new(view) }
    }
}

struct AfterBlock {
    parent: BlockView,
    height: u64,
    diff: Arc<StateDiff>,
    hash: Arc<LateHash>,
}

impl StateView for AfterBlock {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        match self.diff.accounts.get(&address) {
            Some(changed) => Ok(changed.account),
            None => self.parent.account(address),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(changed) = self.diff.accounts.get(&address) {
            if let Some(value) = changed.storage.get(&slot) {
                return Ok(*value);
            }
            if changed.wiped || changed.account.is_none() {
                return Ok(U256::ZERO);
            }
        }
        self.parent.storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        match self.diff.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None => self.parent.code(code_hash),
        }
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        match height == self.height {
            true => self.hash.wait().map(Some),
            false => self.parent.block_hash(height),
        }
    }
}
