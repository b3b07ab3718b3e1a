//! One position after the other, on one thread: the reference that faster engines must equal.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use revm::context::{ContextTr, JournalTr, TxEnv};
use revm::context_interface::result::{EVMError, ExecutionResult, InvalidTransaction};
use revm::handler::MainnetContext;
use revm::{ExecuteEvm, MainnetEvm, SystemCallEvm};

use blindfold_wire::{ChainParams, SkipReason};

use super::codes::CodeCache;
use super::database::{self, Reader};
use super::forced::{Credit, ForcedJob, ForcedRan, Source};
use super::job::{Body, Charge, Job, JobResult, Ran};
use super::{BlockFacts, build, skip_reason};
use crate::escrow::{self, POSTING_POOL_ADDRESS};
use crate::executor::ExecutionError;
use crate::state::{Overlay, StoreError};

/// A block being executed in order.
pub(crate) struct InOrder {
    params: Arc<ChainParams>,
    facts: BlockFacts,
    evm: MainnetEvm<MainnetContext<Reader>>,
    gas_used: u64,
}

impl InOrder {
    /// Goes on after positions that used `gas_used`.
    pub(crate) fn new(
        params: Arc<ChainParams>,
        facts: BlockFacts,
        overlay: Overlay,
        codes: CodeCache,
        gas_used: u64,
    ) -> Self {
        let evm = build(Reader { overlay, codes }, &facts, |_| {});
        Self { params, facts, evm, gas_used }
    }

    /// What the positions left behind, and the gas they used.
    pub(crate) fn into_parts(self) -> (Overlay, u64) {
        (self.evm.ctx.journaled_state.database.overlay, self.gas_used)
    }

    pub(crate) fn overlay(&mut self) -> &mut Overlay {
        &mut self.evm.ctx.journal_mut().db_mut().overlay
    }

    /// Goes on with another state, as if nothing had run before; returns the one so far. Cheaper than another
    /// EVM.
    pub(crate) fn restart(&mut self, overlay: Overlay) -> Overlay {
        self.gas_used = 0;
        std::mem::replace(self.overlay(), overlay)
    }

    /// Calls a contract on behalf of the protocol, outside of any position.
    pub(crate) fn system_call(
        &mut self,
        contract: Address,
        input: Bytes,
    ) -> Result<(), ExecutionError> {
        match self.evm.system_call(contract, input) {
            Ok(result) => Ok(database::commit(self.overlay(), result.state)?),
            Err(EVMError::Database(error)) => Err(error.into()),
            Err(error) => Err(ExecutionError::Evm(error.to_string())),
        }
    }

    /// Protocol §6, per envelope: charge, open, execute, settle.
    pub(crate) fn job(&mut self, job: &Job) -> Result<JobResult, ExecutionError> {
        self.overlay().begin();
        let taken = match &job.charge {
            Some(charge) => Some((charge, self.take(charge)?)),
            None => None,
        };
        let ran = match &job.body {
            Body::Nothing => Ran::Nothing,
            Body::Skip(reason) => Ran::Skipped(*reason),
            Body::Run(tx) => self.run(tx)?,
        };
        self.gas_used = self.gas_used.saturating_add(ran.gas_used());
        let charge_wei = match taken {
            Some((charge, taken_wei)) => {
                let due = charge.due(&self.params, ran.gas_used());
                let beneficiary = self.facts.beneficiary;
                escrow::settle(self.overlay(), charge.payer, taken_wei, due, beneficiary)?
            }
            None => Default::default(),
        };
        self.overlay().end()?;
        Ok(JobResult { ran, charge_wei })
    }

    /// A forced item, which nobody is charged for.
    pub(crate) fn forced(&mut self, job: &ForcedJob) -> Result<ForcedRan, ExecutionError> {
        self.overlay().begin();
        let ran = match job {
            ForcedJob::Nothing => ForcedRan::Ran(Ran::Nothing),
            ForcedJob::Skip(reason) => ForcedRan::Ran(Ran::Skipped(*reason)),
            ForcedJob::Run(tx) => ForcedRan::Ran(self.run(tx)?),
            ForcedJob::Credit(credit) => self.credit(credit)?,
        };
        self.gas_used = self.gas_used.saturating_add(ran.gas_used());
        self.overlay().end()?;
        Ok(ran)
    }

    fn credit(&mut self, credit: &Credit) -> Result<ForcedRan, StoreError> {
        let Credit { source, to, wei } = *credit;
        let overlay = self.overlay();
        let credited = match source {
            Source::Deposit => {
                let balance = overlay.account(to)?.unwrap_or_default().balance;
                match balance.checked_add(wei) {
                    Some(_) => {
                        overlay.credit(to, wei)?;
                        Some(wei)
                    }
                    None => None,
                }
            }
            Source::EscrowDeposit => escrow::deposit(overlay, to, wei)?.then_some(wei),
            Source::PostingPool => {
                let mut pool = overlay.account(POSTING_POOL_ADDRESS)?.unwrap_or_default();
                let paid = wei.min(pool.balance);
                pool.balance -= paid;
                overlay.set_account(POSTING_POOL_ADDRESS, pool)?;
                overlay.credit(to, paid)?;
                Some(paid)
            }
        };
        // More wei than there can be: nobody deposited that.
        let invalid = ForcedRan::Ran(Ran::Skipped(SkipReason::ForcedInvalid));
        Ok(credited.map_or(invalid, |wei| ForcedRan::Credited { to, wei }))
    }

    fn take(&mut self, charge: &Charge) -> Result<U256, StoreError> {
        let due_wei = charge.due(&self.params, 0).wei;
        let taken_wei = escrow::take(self.overlay(), charge.payer, due_wei)?;
        if taken_wei < due_wei {
            // The order rule makes this impossible; say so rather than stop the chain.
            tracing::error!(
                target: "blindfold::execution",
                height = self.facts.height,
                payer = %charge.payer,
                %due_wei,
                %taken_wei,
                "escrow does not cover an ordered envelope"
            );
        }
        escrow::advance_nonce(self.overlay(), charge.payer, charge.next_nonce)?;
        Ok(taken_wei)
    }

    fn run(&mut self, tx: &TxEnv) -> Result<Ran, ExecutionError> {
        // Classes of a height never add up to more than the block holds; stay within it anyway.
        if tx.gas_limit > self.facts.gas_limit.saturating_sub(self.gas_used) {
            return Ok(Ran::Skipped(SkipReason::GasAboveClass));
        }
        let result = match self.evm.transact(tx.clone()) {
            Ok(result) => result,
            Err(error) => return refused(error).map(Ran::Skipped),
        };
        database::commit(self.overlay(), result.state)?;
        Ok(executed(result.result))
    }
}

/// The reason to skip, if that is what the EVM's refusal means.
pub(crate) fn refused(
    error: EVMError<StoreError, InvalidTransaction>,
) -> Result<SkipReason, ExecutionError> {
    match error {
        EVMError::Transaction(invalid) => Ok(skip_reason(&invalid)),
        EVMError::Database(error) => Err(error.into()),
        error => Err(ExecutionError::Evm(error.to_string())),
    }
}

pub(crate) fn executed(result: ExecutionResult) -> Ran {
    let (success, gas_used) = (result.is_success(), result.tx_gas_used());
    let logs = match result {
        ExecutionResult::Success { logs, .. } => logs,
        _ => Vec::new(),
    };
    Ran::Executed { success, gas_used, logs }
}
