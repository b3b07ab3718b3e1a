//! What an envelope costs its payer, and how the base fee moves. Public figures only.
//!
//! An envelope pays for its own handling always, and a quarter of the reserved gas its inner
//! transaction leaves unused, at base fee plus its effective priority fee. The gas that the inner
//! transaction does use is paid by its sender, under Ethereum's rules.

use alloy_primitives::U256;

use crate::{envelope::EnvelopeHeader, genesis::ChainParams};

/// The share of unused reserved gas that is charged: one in this many.
pub const UNUSED_GAS_DIVISOR: u64 = 4;

/// Gas for handling an envelope of `len_bytes`: base, bytes and opening. Saturates.
pub fn envelope_gas(params: &ChainParams, len_bytes: usize) -> u64 {
    let bytes = u64::try_from(len_bytes).unwrap_or(u64::MAX);
    params
        .envelope_byte_gas
        .saturating_mul(bytes)
        .saturating_add(params.envelope_base_gas)
        .saturating_add(params.opening_gas)
}

/// The most an envelope can cost, in wei: max_fee × (envelope gas + ⌈gas_limit / 4⌉). What admission
/// and ordering require the payer's escrow to cover.
pub fn max_charge(params: &ChainParams, header: &EnvelopeHeader, len_bytes: usize) -> U256 {
    let gas = envelope_gas(params, len_bytes)
        .saturating_add(header.gas_limit.div_ceil(UNUSED_GAS_DIVISOR));
    U256::from(header.max_fee_per_gas) * U256::from(gas)
}

/// What an executed envelope costs, in wei: (base_fee + effective priority fee) × (envelope gas +
/// ⌈(gas_limit − used_gas) / 4⌉). Never over [`max_charge`] if `base_fee` ≤ max_fee, which ordering
/// guarantees; a higher base fee is charged as max_fee.
pub fn charge(
    params: &ChainParams,
    header: &EnvelopeHeader,
    len_bytes: usize,
    base_fee: u128,
    used_gas: u64,
) -> U256 {
    let price = header
        .effective_priority_fee(base_fee)
        .map_or(header.max_fee_per_gas, |priority| base_fee.saturating_add(priority));
    let unused = header.gas_limit.saturating_sub(used_gas).div_ceil(UNUSED_GAS_DIVISOR);
    let gas = envelope_gas(params, len_bytes).saturating_add(unused);
    U256::from(price) * U256::from(gas)
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
        ) {
            let params = ChainParams::default();
            let header = header(max_fee, priority, 1 << class);
            let base_fee = base_fee.min(max_fee);
            prop_assert!(charge(&params, &header, len, base_fee, used) <= max_charge(&params, &header, len));
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
