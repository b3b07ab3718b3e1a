//! What a payer offers.

use blindfold_wire::{
    U256, envelope::SealedTransaction, envelope::gas_class, fees::max_charge, genesis::ChainParams,
};

use crate::rpc::HeadDocument;

/// Heights until a suggested offer expires.
pub const SUGGESTED_LIFE_HEIGHTS: u64 = 200;

/// The offer that goes with a sealed transaction, all of it public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Most the payer gives per unit of gas, in wei.
    pub max_fee_per_gas: u128,
    /// Most of it that goes to the leader, in wei. The order within a height follows it.
    pub max_priority_fee_per_gas: u128,
    /// Gas the inner transaction may use: at least its own gas limit. Rounded up to the next gas
    /// class, so that it says little about the transaction.
    pub gas_limit: u64,
    /// Last height at which the transaction may be ordered.
    pub expiry_height: u64,
}

/// Why an offer cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeesError {
    /// The priority fee is above the fee cap.
    #[error("max_priority_fee_per_gas is above max_fee_per_gas")]
    PriorityAboveCap,
    /// No gas class is that large.
    #[error("no gas class holds {0} gas")]
    GasTooHigh(u64),
}

impl Fees {
    /// An offer that survives a few full heights, and a rise of L1's base fee: twice the least that is orderable
    /// plus the suggested priority fee, for [`SUGGESTED_LIFE_HEIGHTS`].
    ///
    /// The figures come from a node; a caller with limits of its own should apply them.
    pub fn suggest(head: &HeadDocument, gas_limit: u64) -> Self {
        let priority = head.suggested_priority_fee_wei;
        let least = head.least_max_fee_wei.max(head.next_base_fee_wei);
        Self {
            max_fee_per_gas: least.saturating_mul(2).saturating_add(priority),
            max_priority_fee_per_gas: priority,
            gas_limit,
            expiry_height: head.ordered_height.saturating_add(SUGGESTED_LIFE_HEIGHTS),
        }
    }

    /// The offer that replaces this one for the same nonce: both fees up by `percent`, at least by
    /// 1 wei. Nodes ask for 10 %. Seal the transaction again with it; the seed is fresh.
    #[must_use]
    pub fn bumped(&self, percent: u32) -> Self {
        let up = |fee: u128| {
            let rise = fee.saturating_mul(u128::from(percent)).div_ceil(100).max(1);
            fee.saturating_add(rise)
        };
        Self {
            max_fee_per_gas: up(self.max_fee_per_gas),
            max_priority_fee_per_gas: up(self.max_priority_fee_per_gas),
            ..*self
        }
    }

    /// Checks the offer and returns its gas class.
    ///
    /// # Errors
    /// See [`FeesError`].
    pub fn gas_class(&self) -> Result<u64, FeesError> {
        if self.max_priority_fee_per_gas > self.max_fee_per_gas {
            return Err(FeesError::PriorityAboveCap);
        }
        gas_class(self.gas_limit).ok_or(FeesError::GasTooHigh(self.gas_limit))
    }
}

/// Most that a sealed transaction can cost its payer's escrow, in wei. The inner transaction's own
/// fee and value come on top, from its sender.
pub fn escrow_needed(params: &ChainParams, sealed: &SealedTransaction) -> U256 {
    max_charge(params, &sealed.header, sealed.size_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Fees = Fees {
        max_fee_per_gas: 105,
        max_priority_fee_per_gas: 0,
        gas_limit: 40_000,
        expiry_height: 9,
    };

    #[test]
    fn a_bump_is_enough_for_a_replacement() {
        let bumped = OFFER.bumped(10);
        assert_eq!((bumped.max_fee_per_gas, bumped.max_priority_fee_per_gas), (116, 1));
        assert!(bumped.max_fee_per_gas * 100 >= OFFER.max_fee_per_gas * 110);
        let top = Fees { max_fee_per_gas: u128::MAX, ..OFFER };
        assert_eq!(top.bumped(10).max_fee_per_gas, u128::MAX);
    }

    #[test]
    fn a_suggestion_covers_what_posting_asks_for() {
        let head = |least_max_fee_wei| HeadDocument {
            ordered_height: 3,
            opened_height: 3,
            executed_height: 3,
            executed_hash: Default::default(),
            next_base_fee_wei: 100,
            least_max_fee_wei,
            l1_base_fee_wei: 0,
            suggested_priority_fee_wei: 7,
            uncertified_releases: 0,
        };
        // A node that says nothing sensible is not believed below the base fee.
        for (least, expected) in [(100, 207), (900, 1_807), (0, 207)] {
            let fees = Fees::suggest(&head(least), 40_000);
            assert_eq!((fees.max_fee_per_gas, fees.max_priority_fee_per_gas), (expected, 7));
        }
    }

    #[test]
    fn gas_is_rounded_to_a_class() {
        assert_eq!(OFFER.gas_class(), Ok(1 << 16));
        let priority = Fees { max_priority_fee_per_gas: 106, ..OFFER };
        assert_eq!(priority.gas_class(), Err(FeesError::PriorityAboveCap));
        let gas = Fees { gas_limit: u64::MAX, ..OFFER };
        assert_eq!(gas.gas_class(), Err(FeesError::GasTooHigh(u64::MAX)));
    }
}
