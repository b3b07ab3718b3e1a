//! What an envelope costs its payer, and how the base fee moves. Public figures only.
//!
//! An envelope pays for its own handling always, and a quarter of the reserved gas its inner
//! transaction leaves unused, at base fee plus its effective priority fee. The gas that the inner
//! transaction does use is paid by its sender, under Ethereum's rules.
//!
//! # What posting costs
//! Bytes are posted to L1, at L1's price. So the bytes of an envelope cost the dearer of two: their gas at the
//! envelope's own price, or the gas that posting them takes at the base fee of L1 that the commitment names
//! ([`ChainParams::l1_gas_per_byte`]). What posting takes goes to a pool that repays posters, the rest to the
//! leader. The payer's maximum fee bounds both: an envelope is orderable only if it covers them
//! ([`least_max_fee`]), so [`max_charge`] needs no figure of L1.

use alloy_primitives::U256;

use crate::{commitment::OrderCommitment, envelope::EnvelopeHeader, genesis::ChainParams};

/// The share of unused reserved gas that is charged: one in this many.
pub const UNUSED_GAS_DIVISOR: u64 = 4;

/// What gas costs at one height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Base fee of the height, in wei per gas.
    pub base_fee: u128,
    /// Base fee of the L1 block that the height names, in wei per gas; 0 without settlement.
    pub l1_base_fee: u64,
}

impl From<&OrderCommitment> for Prices {
    fn from(commitment: &OrderCommitment) -> Self {
        Self { base_fee: commitment.base_fee, l1_base_fee: commitment.l1_base_fee }
    }
}

/// What an envelope must offer to be orderable at one height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Base fee, in wei per gas.
    pub base_fee: u128,
    /// The least max_fee, in wei per gas: [`least_max_fee`]. Not below the base fee.
    pub least_max_fee: u128,
}

impl Floor {
    /// Under these prices.
    pub fn new(params: &ChainParams, prices: Prices) -> Self {
        Self { base_fee: prices.base_fee, least_max_fee: least_max_fee(params, prices) }
    }

    /// The effective priority fee of an offer, min(max_priority, max_fee − base_fee), in wei per gas; `None` if it is
    /// not enough.
    pub fn priority_fee(&self, max_fee: u128, max_priority_fee: u128) -> Option<u128> {
        let room = max_fee.checked_sub(self.base_fee)?;
        (max_fee >= self.least_max_fee).then(|| room.min(max_priority_fee))
    }
}

/// A base fee alone: where posting costs nothing.
impl From<u128> for Floor {
    fn from(base_fee: u128) -> Self {
        Self { base_fee, least_max_fee: base_fee }
    }
}

/// What an envelope costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// All of it, in wei.
    pub wei: U256,
    /// The part of it that pays for posting, in wei.
    pub posting_wei: U256,
}

/// Gas for handling an envelope of `len_bytes`: base, bytes and opening. Saturates.
pub fn envelope_gas(params: &ChainParams, len_bytes: usize) -> u64 {
    byte_gas(params, len_bytes)
        .saturating_add(params.envelope_base_gas)
        .saturating_add(params.opening_gas)
}

fn byte_gas(params: &ChainParams, len_bytes: usize) -> u64 {
    params.envelope_byte_gas.saturating_mul(len_bytes as u64)
}

/// The most an envelope can cost, in wei: max_fee × (envelope gas + ⌈gas_limit / 4⌉). What admission
/// and ordering require the payer's escrow to cover.
pub fn max_charge(params: &ChainParams, header: &EnvelopeHeader, len_bytes: usize) -> U256 {
    let gas = envelope_gas(params, len_bytes)
        .saturating_add(header.gas_limit.div_ceil(UNUSED_GAS_DIVISOR));
    U256::from(header.max_fee_per_gas) * U256::from(gas)
}

/// The least max_fee with which an envelope is orderable, in wei per gas: the base fee, or what makes its bytes
/// pay for their posting if that is more: ⌈l1_base_fee × l1_gas_per_byte / envelope_byte_gas⌉.
pub fn least_max_fee(params: &ChainParams, prices: Prices) -> u128 {
    let posting = u128::from(prices.l1_base_fee) * u128::from(params.l1_gas_per_byte);
    let posting = match (posting, params.envelope_byte_gas) {
        (0, _) => 0,
        // Bytes without gas pay for nothing; parameters like that are not valid.
        (_, 0) => u128::MAX,
        (posting, byte_gas) => posting.div_ceil(u128::from(byte_gas)),
    };
    prices.base_fee.max(posting)
}

/// What an executed envelope costs: price × (base + opening gas + ⌈(gas_limit − used_gas) / 4⌉) + bytes × max(price
/// × byte gas, l1_base_fee × l1_gas_per_byte), price being base fee + effective priority fee. The second of the
/// two is the part that pays for posting; it is at most bytes × max_fee × byte gas.
///
/// Never over [`max_charge`]; a base fee over max_fee, which ordering excludes, is charged as max_fee.
pub fn charge(
    params: &ChainParams,
    header: &EnvelopeHeader,
    len_bytes: usize,
    prices: Prices,
    used_gas: u64,
) -> Charge {
    let max_fee = header.max_fee_per_gas;
    let price = header
        .effective_priority_fee(prices.base_fee)
        .map_or(max_fee, |priority| prices.base_fee.saturating_add(priority));
    let unused = header.gas_limit.saturating_sub(used_gas).div_ceil(UNUSED_GAS_DIVISOR);
    let gas = envelope_gas(params, len_bytes).saturating_add(unused);
    let byte_gas = byte_gas(params, len_bytes);
    let rest = U256::from(price) * U256::from(gas.saturating_sub(byte_gas));
    let posting_wei =
        posting(params, len_bytes, prices).min(U256::from(max_fee) * U256::from(byte_gas));
    let bytes = (U256::from(price) * U256::from(byte_gas)).max(posting_wei);
    Charge { wei: rest.saturating_add(bytes), posting_wei }
}

/// What posting so many bytes of envelopes costs, in wei.
fn posting(params: &ChainParams, len_bytes: usize, prices: Prices) -> U256 {
    let per_byte = u128::from(prices.l1_base_fee) * u128::from(params.l1_gas_per_byte);
    U256::from(per_byte) * U256::from(len_bytes)
}

/// The base fee of the next height, in wei per gas, from the parent's base fee and the sum of gas
/// classes the parent ordered. Never below `min_base_fee`.
///
/// # Source
/// EIP-1559, with reserved gas in place of gas used and `gas_target` as target.
pub fn next_base_fee(
    params: &ChainParams,
    parent_base_fee: u128,
    parent_reserved_gas: u64,
) -> u128 {
    let target = params.gas_target.max(1);
    let denominator = u128::from(params.base_fee_change_denominator.max(1));
    let step = |gap: u64| {
        let exact = U256::from(parent_base_fee) * U256::from(gap)
            / U256::from(target)
            / U256::from(denominator);
        u128::try_from(exact).unwrap_or(u128::MAX)
    };
    let next = if parent_reserved_gas > target {
        parent_base_fee.saturating_add(step(parent_reserved_gas - target).max(1))
    } else {
        parent_base_fee.saturating_sub(step(target - parent_reserved_gas))
    };
    next.max(params.min_base_fee)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::KeyId;

    fn header(max_fee: u128, priority: u128, gas_limit: u64) -> EnvelopeHeader {
        EnvelopeHeader {
            chain_id: 1,
            key_id: KeyId::ZERO,
            payer_nonce: 0,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: priority,
            gas_limit,
            expiry_height: 1,
        }
    }

    proptest! {
        #[test]
        fn charge_never_exceeds_the_reservation(
            max_fee: u128, priority: u128, class in 15u32..=24, len in 0usize..70_000, base_fee: u128, used: u64,
            l1_base_fee: u64, l1_gas_per_byte: u64, envelope_byte_gas: u64,
        ) {
            let params = ChainParams { l1_gas_per_byte, envelope_byte_gas, ..ChainParams::default() };
            let header = header(max_fee, priority, 1 << class);
            let prices = Prices { base_fee, l1_base_fee };
            let Charge { wei, posting_wei } = charge(&params, &header, len, prices, used);
            prop_assert!(wei <= max_charge(&params, &header, len));
            prop_assert!(posting_wei <= wei);
        }

        /// What is orderable pays for its posting in full, and what L1 asks for comes on top of nothing else.
        #[test]
        fn orderable_envelopes_cover_their_posting(
            priority in 0u128..1 << 60, over in 0u128..1 << 60, class in 15u32..=24, len in 1usize..70_000,
            base_fee in 0u128..1 << 60, used: u64, l1_base_fee in 0u64..1 << 50, l1_gas_per_byte in 0u64..64,
        ) {
            let params = ChainParams { l1_gas_per_byte, ..ChainParams::default() };
            let prices = Prices { base_fee, l1_base_fee };
            let least = least_max_fee(&params, prices);
            let header = header(least + over, priority, 1 << class);
            let Charge { wei, posting_wei } = charge(&params, &header, len, prices, used);
            let per_byte = U256::from(l1_base_fee) * U256::from(l1_gas_per_byte);
            prop_assert_eq!(posting_wei, per_byte * U256::from(len));
            let without = charge(&params, &header, len, Prices { l1_base_fee: 0, ..prices }, used);
            prop_assert_eq!(without.posting_wei, U256::ZERO);
            // The bytes cost the dearer of the two, so the leader never gets more than without L1.
            prop_assert!(wei >= without.wei && wei - posting_wei <= without.wei);
            // A wei less would not do, where it is posting that decides.
            if least > base_fee {
                let header = EnvelopeHeader { max_fee_per_gas: least - 1, ..header };
                let short = charge(&params, &header, len, prices, used).posting_wei;
                prop_assert!(short < posting_wei);
            }
        }

        #[test]
        fn base_fee_follows_demand(base in 1_000u128..1 << 100, reserved in 0u64..60_000_000) {
            let params = ChainParams::default();
            let next = next_base_fee(&params, base.max(params.min_base_fee), reserved);
            let base = base.max(params.min_base_fee);
            prop_assert!(next >= params.min_base_fee);
            prop_assert!(next <= base + (base / 8).max(1));
            prop_assert_eq!(next > base, reserved > params.gas_target);
        }
    }

    #[test]
    fn eip1559_examples() {
        let params = ChainParams { gas_target: 100, min_base_fee: 0, ..ChainParams::default() };
        assert_eq!(next_base_fee(&params, 1_000, 100), 1_000);
        assert_eq!(next_base_fee(&params, 1_000, 200), 1_125);
        assert_eq!(next_base_fee(&params, 1_000, 0), 875);
        assert_eq!(next_base_fee(&params, 1, 101), 2);
    }
}
