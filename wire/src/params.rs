//! Parameters of the chain, part of the genesis document.

use serde::{Deserialize, Serialize};

use crate::{
    block::{MAX_BLOCK_BYTES, MAX_BLOCK_COUNT},
    codec::{DecodeError, ListReader, ListWriter},
    envelope::{MAX_ENVELOPE_BYTES, MAX_GAS_CLASS},
    genesis::GenesisError,
    human,
};

/// Most L1 blocks that `max_l1_lag_blocks` may be: members keep the base fees of so many.
pub const MAX_L1_LAG_BLOCKS: u64 = 2_048;

/// Parameters that every member computes with. Fixed for a protocol version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChainParams {
    /// k: a commitment carries the executed root of k heights below.
    pub executed_lag: u64,
    /// Largest encoded block, in bytes; at most [`MAX_BLOCK_BYTES`].
    pub max_block_bytes: u64,
    /// Most envelopes in a block; at most [`MAX_BLOCK_COUNT`].
    pub max_block_count: u32,
    /// Most reserved gas in a block, and the EVM block's gas limit.
    pub block_gas_limit: u64,
    /// Reserved gas per block at which the base fee stays.
    pub gas_target: u64,
    /// Base fee of genesis, in wei per gas.
    #[serde(with = "human::decimal")]
    pub initial_base_fee: u128,
    /// Least base fee, in wei per gas.
    #[serde(with = "human::decimal")]
    pub min_base_fee: u128,
    /// The base fee changes by at most one in this many per height.
    pub base_fee_change_denominator: u64,
    /// How far ahead of a voter's clock a timestamp may be, in milliseconds.
    pub clock_drift_ms: u64,
    /// How many heights ahead an envelope's expiry may be.
    pub max_expiry_window: u64,
    /// How far a payer nonce may be ahead of the next one.
    pub nonce_window: u64,
    /// Gas every envelope pays.
    pub envelope_base_gas: u64,
    /// Gas per byte of an encoded envelope.
    pub envelope_byte_gas: u64,
    /// Gas for opening an envelope.
    pub opening_gas: u64,
    /// A leader that is silent for this long loses its view, in milliseconds.
    pub leader_timeout_ms: u64,
    /// A view that is not certified after this long is given up, in milliseconds.
    pub certification_timeout_ms: u64,
    /// How long a leader without envelopes waits for some, in milliseconds; below
    /// `leader_timeout_ms`.
    pub idle_block_interval_ms: u64,
    /// After this many heights without an opening a height's envelopes expire and are refunded.
    pub release_deadline_heights: u64,
    /// A forced item is due this many L1 blocks after its own. Of no effect without settlement, as all that
    /// follow.
    pub forced_delay_blocks: u64,
    /// After this many L1 blocks the inbox on L1 takes no batch without the item.
    pub forced_deadline_blocks: u64,
    /// A commitment may name an L1 block this far behind the newest that its voter knows as final.
    pub max_l1_lag_blocks: u64,
    /// Gas on L1 that posting one byte of an envelope costs on average, compression and data format considered; 0
    /// if payers of envelopes do not pay for posting.
    pub l1_gas_per_byte: u64,
}

/// Largest encoded block of a chain with settlement, in bytes: whatever its envelopes hold, a height must fit the
/// blobs of one L1 transaction, or nothing after it could ever be posted.
pub const MAX_SETTLED_BLOCK_BYTES: u64 = 700_000;

impl Default for ChainParams {
    fn default() -> Self {
        Self {
            executed_lag: 8,
            max_block_bytes: 2 << 20,
            max_block_count: 1_024,
            block_gas_limit: 60_000_000,
            gas_target: 30_000_000,
            initial_base_fee: 1_000_000_000,
            min_base_fee: 1_000_000,
            base_fee_change_denominator: 8,
            clock_drift_ms: 2_000,
            max_expiry_window: 4_096,
            nonce_window: 16,
            envelope_base_gas: 21_000,
            envelope_byte_gas: 16,
            opening_gas: 30_000,
            leader_timeout_ms: 2_000,
            certification_timeout_ms: 3_000,
            idle_block_interval_ms: 500,
            release_deadline_heights: 7_200,
            forced_delay_blocks: 32,
            forced_deadline_blocks: 600,
            max_l1_lag_blocks: 96,
            l1_gas_per_byte: 12,
        }
    }
}

impl ChainParams {
    /// The same for a chain with settlement: blocks are at most [`MAX_SETTLED_BLOCK_BYTES`] long.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { max_block_bytes: self.max_block_bytes.min(MAX_SETTLED_BLOCK_BYTES), ..self }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first parameter that is out of range.
    pub fn validate(&self) -> Result<(), GenesisError> {
        let check = |ok: bool, name, reason| {
            if ok { Ok(()) } else { Err(GenesisError::Params { name, reason }) }
        };
        let block_bytes = usize::try_from(self.max_block_bytes).unwrap_or(usize::MAX);
        let block_count = usize::try_from(self.max_block_count).unwrap_or(usize::MAX);
        check(
            (1..=1_024).contains(&self.executed_lag),
            "executedLag",
            "must be between 1 and 1024",
        )?;
        check(
            (2 * MAX_ENVELOPE_BYTES..=MAX_BLOCK_BYTES).contains(&block_bytes),
            "maxBlockBytes",
            "must hold two of the largest envelopes and not exceed 4 MiB",
        )?;
        check(
            (1..=MAX_BLOCK_COUNT).contains(&block_count),
            "maxBlockCount",
            "must be between 1 and 4096",
        )?;
        check(
            self.block_gas_limit >= MAX_GAS_CLASS,
            "blockGasLimit",
            "must hold the largest gas class",
        )?;
        check(
            (1..=self.block_gas_limit).contains(&self.gas_target),
            "gasTarget",
            "must be 1 to blockGasLimit",
        )?;
        check(
            self.initial_base_fee >= self.min_base_fee,
            "initialBaseFee",
            "must not be below minBaseFee",
        )?;
        check(
            self.base_fee_change_denominator > 0,
            "baseFeeChangeDenominator",
            "must not be zero",
        )?;
        check(self.max_expiry_window > 0, "maxExpiryWindow", "must not be zero")?;
        check(
            (1..=1_024).contains(&self.nonce_window),
            "nonceWindow",
            "must be between 1 and 1024",
        )?;
        check(self.leader_timeout_ms > 0, "leaderTimeoutMs", "must not be zero")?;
        check(
            self.certification_timeout_ms >= self.leader_timeout_ms,
            "certificationTimeoutMs",
            "must not be below leaderTimeoutMs",
        )?;
        check(
            self.idle_block_interval_ms < self.leader_timeout_ms,
            "idleBlockIntervalMs",
            "must be below leaderTimeoutMs",
        )?;
        check(
            self.release_deadline_heights > self.executed_lag,
            "releaseDeadlineHeights",
            "must exceed executedLag",
        )?;
        check(
            (1..=MAX_L1_LAG_BLOCKS).contains(&self.max_l1_lag_blocks),
            "maxL1LagBlocks",
            "must be between 1 and 2048",
        )?;
        let overdue = self.forced_delay_blocks.saturating_add(self.max_l1_lag_blocks);
        check(
            self.forced_deadline_blocks > overdue,
            "forcedDeadlineBlocks",
            "must exceed forcedDelayBlocks + maxL1LagBlocks",
        )?;
        check(
            self.l1_gas_per_byte == 0 || self.envelope_byte_gas > 0,
            "l1GasPerByte",
            "must be zero if envelopeByteGas is",
        )
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        ListWriter::new()
            .int(self.executed_lag)
            .int(self.max_block_bytes)
            .int(self.max_block_count)
            .int(self.block_gas_limit)
            .int(self.gas_target)
            .int(self.initial_base_fee)
            .int(self.min_base_fee)
            .int(self.base_fee_change_denominator)
            .int(self.clock_drift_ms)
            .int(self.max_expiry_window)
            .int(self.nonce_window)
            .int(self.envelope_base_gas)
            .int(self.envelope_byte_gas)
            .int(self.opening_gas)
            .int(self.leader_timeout_ms)
            .int(self.certification_timeout_ms)
            .int(self.idle_block_interval_ms)
            .int(self.release_deadline_heights)
            .int(self.forced_delay_blocks)
            .int(self.forced_deadline_blocks)
            .int(self.max_l1_lag_blocks)
            .int(self.l1_gas_per_byte)
            .finish()
    }

    pub(crate) fn read(mut list: ListReader<'_>) -> Result<Self, DecodeError> {
        let params = Self {
            executed_lag: list.get("executed_lag")?,
            max_block_bytes: list.get("max_block_bytes")?,
            max_block_count: list.get("max_block_count")?,
            block_gas_limit: list.get("block_gas_limit")?,
            gas_target: list.get("gas_target")?,
            initial_base_fee: list.get("initial_base_fee")?,
            min_base_fee: list.get("min_base_fee")?,
            base_fee_change_denominator: list.get("base_fee_change_denominator")?,
            clock_drift_ms: list.get("clock_drift_ms")?,
            max_expiry_window: list.get("max_expiry_window")?,
            nonce_window: list.get("nonce_window")?,
            envelope_base_gas: list.get("envelope_base_gas")?,
            envelope_byte_gas: list.get("envelope_byte_gas")?,
            opening_gas: list.get("opening_gas")?,
            leader_timeout_ms: list.get("leader_timeout_ms")?,
            certification_timeout_ms: list.get("certification_timeout_ms")?,
            idle_block_interval_ms: list.get("idle_block_interval_ms")?,
            release_deadline_heights: list.get("release_deadline_heights")?,
            forced_delay_blocks: list.get("forced_delay_blocks")?,
            forced_deadline_blocks: list.get("forced_deadline_blocks")?,
            max_l1_lag_blocks: list.get("max_l1_lag_blocks")?,
            l1_gas_per_byte: list.get("l1_gas_per_byte")?,
        };
        list.finish()?;
        Ok(params)
    }
}
