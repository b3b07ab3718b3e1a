//! Forced items: what runs before position 0.
//!
//! They are known from the block, before anything is opened, and run in order on one thread whatever the engine
//! is: there are few of them, and positions begin on the state that they leave.

use std::sync::Arc;

use alloy_primitives::{Address, U256};
use blindfold_wire::{
    ChainParams, ForcedItem, ForcedKind, ForcedSpan, OrderCommitment, SkipReason,
    forced::FORCED_TRANSACTION_GAS,
};
use revm::context::TxEnv;

use super::{BlockFacts, CodeCache, InOrder, Ran, Transaction};
use crate::executor::ExecutionError;
use crate::state::Overlay;

/// What to do for one item.
#[derive(Clone, Debug)]
pub(crate) enum ForcedJob {
    /// Nothing: its envelope, if it has one, is charged and run at its position.
    Nothing,
    /// Nothing, for a reason that no state can change.
    Skip(SkipReason),
    Run(Box<TxEnv>),
    Credit(Credit),
}

/// Wei that comes into an account without a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credit {
    pub(crate) source: Source,
    pub(crate) to: Address,
    pub(crate) wei: U256,
}

/// Where the wei of a credit comes from, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From L1 to a balance.
    Deposit,
    /// From L1 to a payer's escrow.
    EscrowDeposit,
    /// From the posting pool, as far as it goes, to a balance.
    PostingPool,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ForcedRan {
    /// Nothing to execute, a transaction, or skipped.
    Ran(Ran),
    Credited {
        to: Address,
        wei: U256,
    },
}

impl ForcedRan {
    pub(crate) const fn gas_used(&self) -> u64 {
        match self {
            Self::Ran(ran) => ran.gas_used(),
            Self::Credited { .. } => 0,
        }
    }
}

/// Items ready to run, and the transaction that each holds if it holds one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forced {
    pub(crate) span: Arc<ForcedSpan>,
    pub(crate) jobs: Vec<ForcedJob>,
    pub(crate) held: Vec<Option<Transaction>>,
}

impl Forced {
    /// The items of a height. Refuses those of another.
    pub(crate) fn of(
        span: &Arc<ForcedSpan>,
        commitment: &OrderCommitment,
        chain_id: u64,
    ) -> Result<Self, ExecutionError> {
        let height = commitment.height;
        span.check(commitment).map_err(|source| ExecutionError::Forced { height, source })?;
        let (jobs, held) = span.items().iter().map(|item| prepare(item, chain_id)).unzip();
        Ok(Self { span: Arc::clone(span), jobs, held })
    }

    /// Runs them, before anything else of a block; returns the gas they used, too.
    pub(crate) fn run(
        self,
        params: &Arc<ChainParams>,
        facts: BlockFacts,
        mut overlay: Overlay,
    ) -> Result<(DoneForced, Overlay, u64), ExecutionError> {
        if self.jobs.is_empty() {
            return Ok((DoneForced { forced: self, ran: Vec::new() }, overlay, 0));
        }
        overlay.follow(facts.spec);
        let mut in_order =
            InOrder::new(Arc::clone(params), facts, overlay, CodeCache::default(), 0);
        let ran = self.jobs.iter().map(|job| in_order.forced(job)).collect::<Result<_, _>>()?;
        let (overlay, gas_used) = in_order.into_parts();
        Ok((DoneForced { forced: self, ran }, overlay, gas_used))
    }
}

/// Items that were run.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoneForced {
    pub(crate) forced: Forced,
    pub(crate) ran: Vec<ForcedRan>,
}

fn prepare(item: &ForcedItem, chain_id: u64) -> (ForcedJob, Option<Transaction>) {
    let credit = |source| match item.credit() {
        Some((to, wei)) => ForcedJob::Credit(Credit { source, to, wei }),
        None => ForcedJob::Skip(SkipReason::ForcedInvalid),
    };
    let job = match item.kind() {
        Some(ForcedKind::Sealed) => ForcedJob::Nothing,
        Some(ForcedKind::Plain) => {
            let decoded = Transaction::decode(&item.data, chain_id, FORCED_TRANSACTION_GAS);
            return match decoded {
                Ok(transaction) => {
                    (ForcedJob::Run(Box::new(transaction.tx_env())), Some(transaction))
                }
                Err(reason) => (ForcedJob::Skip(reason), None),
            };
        }
        Some(ForcedKind::Deposit) => credit(Source::Deposit),
        Some(ForcedKind::EscrowDeposit) => credit(Source::EscrowDeposit),
        Some(ForcedKind::Reimbursement) => credit(Source::PostingPool),
        None => ForcedJob::Skip(SkipReason::ForcedInvalid),
    };
    (job, None)
}
