//! The EVM: revm, and what it takes to feed it. No revm type leaves this module's parent crate.

pub(crate) mod assemble;
mod call;
mod codes;
mod database;
mod engine;
mod executors;
mod forced;
mod in_order;
mod job;
mod parallel;
mod transaction;

pub(crate) use assemble::Executed;
pub(crate) use assemble::empty_header;
pub use call::{
    CallError, CallOutcome, CallRequest, CallSettings, call, estimate_gas, revert_message,
};
pub(crate) use codes::CodeCache;
pub(crate) use engine::{Engine, Finished, Run, Sequential, Session};
pub use executors::{ParallelExecutor, SequentialExecutor};
pub(crate) use forced::{DoneForced, Forced, ForcedJob, ForcedRan};
pub(crate) use in_order::InOrder;
pub(crate) use job::{Body, Charge, Job, JobResult, Ran};
pub use parallel::MAX_THREADS as MAX_EXECUTION_THREADS;
pub(crate) use parallel::Parallel;
pub use transaction::Transaction;

use alloy_primitives::{Address, B256, U256};
use revm::context::{BlockEnv, CfgEnv, Journal, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::context_interface::result::InvalidTransaction;
use revm::handler::MainnetContext;
use revm::primitives::hardfork::SpecId;
use revm::{Context, Database, MainBuilder, MainnetEvm};

use blindfold_wire::SkipReason;

/// The rules every block runs under.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;

/// What a block tells its transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockFacts {
    /// The rules it runs under.
    pub(crate) spec: SpecId,
    pub(crate) chain_id: u64,
    pub(crate) height: u64,
    pub(crate) beneficiary: Address,
    pub(crate) timestamp_s: u64,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee_wei: u64,
    /// Zero since the merge.
    pub(crate) difficulty: U256,
    /// None before the merge.
    pub(crate) prev_randao: Option<B256>,
    /// Excess blob gas; none before Cancun.
    pub(crate) excess_blob_gas: Option<u64>,
    /// How fast the blob base fee follows the excess; none for the figure of `spec`.
    pub(crate) blob_update_fraction: Option<u64>,
}

impl BlockFacts {
    fn block_env(&self) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.height),
            beneficiary: self.beneficiary,
            timestamp: U256::from(self.timestamp_s),
            gas_limit: self.gas_limit,
            basefee: self.base_fee_wei,
            difficulty: self.difficulty,
            prevrandao: self.prev_randao,
            blob_excess_gas_and_price: self.excess_blob_gas.map(|excess| {
                match self.blob_update_fraction {
                    Some(fraction) => BlobExcessGasAndPrice::new(excess, fraction),
                    None => BlobExcessGasAndPrice::new_with_spec(excess, self.spec),
                }
            }),
            slot_num: 0,
        }
    }
}

/// An EVM over `db` for one block; `configure` may loosen rules for simulation.
pub(crate) fn build<DB: Database>(
    db: DB,
    facts: &BlockFacts,
    configure: impl FnOnce(&mut CfgEnv),
) -> MainnetEvm<MainnetContext<DB>> {
    let context: Context<BlockEnv, TxEnv, CfgEnv, DB, Journal<DB>, ()> =
        Context::new(db, facts.spec);
    context
        .modify_cfg_chained(|cfg| {
            cfg.chain_id = facts.chain_id;
            cfg.max_blobs_per_tx = Some(if facts.spec == SpecId::PRAGUE { 9 } else { 6 });
            cfg.blob_base_fee_update_fraction = facts.blob_update_fraction;
            configure(cfg);
        })
        .with_block(facts.block_env())
        .build_mainnet()
}

/// The reason to skip a transaction that the EVM's validation refused.
pub(crate) const fn skip_reason(invalid: &InvalidTransaction) -> SkipReason {
    use InvalidTransaction as I;
    match invalid {
        I::PriorityFeeGreaterThanMaxFee => SkipReason::PriorityAboveFeeCap,
        I::GasPriceLessThanBasefee => SkipReason::FeeCapTooLow,
        I::CallerGasLimitMoreThanBlock | I::TxGasLimitGreaterThanCap { .. } => {
            SkipReason::GasAboveClass
        }
        I::CallGasCostMoreThanGasLimit { .. } | I::GasFloorMoreThanGasLimit { .. } => {
            SkipReason::IntrinsicGas
        }
        I::RejectCallerWithCode => SkipReason::SenderHasCode,
        I::LackOfFundForMaxFee { .. } | I::OverflowPaymentInTransaction => {
            SkipReason::InsufficientFunds
        }
        I::NonceOverflowInTransaction => SkipReason::NonceOverflow,
        I::NonceTooHigh { .. } => SkipReason::NonceTooHigh,
        I::NonceTooLow { .. } => SkipReason::NonceTooLow,
        I::CreateInitCodeSizeLimit => SkipReason::InitCodeTooLarge,
        I::InvalidChainId | I::MissingChainId => SkipReason::WrongChain,
        I::EmptyAuthorizationList => SkipReason::EmptyAuthorizationList,
        _ => SkipReason::Invalid,
    }
}
