//! Ethereum blocks through the executors: what they make of real and constructed blocks of any fork.
//!
//! ```text
//! BlockFolder ─▶ ReplayBlock ──┐
//!                              ├─▶ replay(engine) ─▶ ReplayOutcome ─▶ compared with the header, and
//!                StateView ────┘                                      with the other engine's
//! ```
//!
//! A replay is the transactions of a block and the two system calls before them (EIP-4788, EIP-2935, where
//! their contracts are). Block rewards, withdrawals and requests are not made: nothing in the block can see
//! them. Transactions that cannot run are skipped, as everywhere in this crate; in a valid block there are none.
//!
//! Nothing here needs a store, a genesis or envelopes. Types are alloy's.

mod block;
pub mod folder;
mod fork;
mod memory;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use alloy_consensus::proofs::calculate_receipt_root;
use alloy_consensus::{EthereumReceipt, TxReceipt, TxType};
use alloy_primitives::{B256, Bloom, Log};
use blindfold_wire::SkipReason;

pub use self::block::{ReplayBlock, ReplayTransaction};
pub use self::fork::Fork;
pub use self::memory::MemoryState;
use crate::evm;
use crate::executor::ExecutionError;
use crate::state::{StateDiff, StateView};

/// What executes a block: one of the crate's two engines.
#[derive(Clone)]
pub struct Engine {
    name: String,
    engine: Arc<dyn evm::Engine>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Engine").field(&self.name).finish()
    }
}

impl Engine {
    /// One transaction after the other.
    #[must_use]
    pub fn sequential() -> Self {
        Self { name: "sequential".to_owned(), engine: Arc::new(evm::Sequential::default()) }
    }

    /// Several at a time where that pays, on so many threads, with the same results.
    #[must_use]
    pub fn parallel(threads: usize) -> Self {
        let engine = evm::Parallel::new(threads, evm::CodeCache::default());
        Self { name: format!("parallel on {threads} threads"), engine: Arc::new(engine) }
    }

    /// Several at a time whether it pays or not, with delays injected.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn forced(threads: usize, seed: u64) -> Self {
        let engine = evm::Parallel::new(threads, evm::CodeCache::default()).forced(seed);
        Self { name: format!("forced on {threads} threads, seed {seed}"), engine: Arc::new(engine) }
    }
}

/// The receipt of one executed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayReceipt {
    /// EIP-2718 type of the transaction.
    pub tx_type: TxType,
    /// Whether it succeeded.
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// Gas used in the block up to and including it.
    pub cumulative_gas_used: u64,
    /// Its logs; none if it failed.
    pub logs: Vec<Log>,
}

/// What came of a block. Two executions of it agree if and only if these are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayOutcome {
    /// One receipt for each transaction that was executed, in order.
    pub receipts: Vec<ReplayReceipt>,
    /// Transactions that could not be executed, by index.
    pub skipped: Vec<(usize, SkipReason)>,
    /// Gas all of them used.
    pub gas_used: u64,
    /// What changed in the state.
    pub diff: StateDiff,
}

impl ReplayOutcome {
    /// Bloom filter of all logs.
    #[must_use]
    pub fn logs_bloom(&self) -> Bloom {
        self.receipts.iter().flat_map(|receipt| &receipt.logs).collect()
    }

    /// The root over the receipts, as headers have it since Byzantium.
    #[must_use]
    pub fn receipts_root(&self) -> B256 {
        let receipts: Vec<_> = self
            .receipts
            .iter()
            .map(|receipt| {
                EthereumReceipt {
                    tx_type: receipt.tx_type,
                    success: receipt.success,
                    cumulative_gas_used: receipt.cumulative_gas_used,
                    logs: receipt.logs.clone(),
                }
                .into_with_bloom()
            })
            .collect();
        calculate_receipt_root(&receipts)
    }

    /// The first thing in which another execution of the same block differs, in words.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let pairs = self.receipts.iter().zip(&other.receipts).enumerate();
        if let Some((at, (left, right))) =
            pairs.into_iter().find(|(_, (left, right))| left != right)
        {
            return Some(format!("receipt {at}: {left:?} against {right:?}"));
        }
        if self.skipped != other.skipped {
            return Some(format!("skipped: {:?} against {:?}", self.skipped, other.skipped));
        }
        if (self.gas_used, self.receipts.len()) != (other.gas_used, other.receipts.len()) {
            return Some(format!("gas used: {} against {}", self.gas_used, other.gas_used));
        }
        let addresses = self.diff.accounts.keys().chain(other.diff.accounts.keys());
        for address in addresses {
            let of = |outcome: &Self| outcome.diff.accounts.get(address).cloned();
            let (left, right) = (of(self), of(other));
            if left != right {
                return Some(format!("account {address}: {left:?} against {right:?}"));
            }
        }
        (self != other).then(|| "codes differ".to_owned())
    }
}

/// Executes a block on top of `state`.
///
/// # Errors
///
/// [`ExecutionError`] if the state cannot be read or lacks code; never for anything a transaction does.
pub fn replay(
    block: &ReplayBlock,
    state: &Arc<dyn StateView>,
    engine: &Engine,
) -> Result<ReplayOutcome, ExecutionError> {
    run::run(block, state, &*engine.engine)
}
