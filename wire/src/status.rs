//! The states of an envelope as a wallet sees them.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

/// Why an opened envelope was not executed. Never an error of the block; its charge is due anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum SkipReason {
    /// The payload is no encoded transaction.
    #[error("payload is not an encoded transaction")]
    Undecodable = 1,
    /// A transaction type that may not be sealed (EIP-4844, or unknown).
    #[error("transaction type is not supported")]
    UnsupportedType = 2,
    /// The inner signature is invalid.
    #[error("inner signature is invalid")]
    BadSignature = 3,
    /// The inner transaction is for another chain, or names none.
    #[error("inner transaction is for another chain")]
    WrongChain = 4,
    /// The inner nonce was used already.
    #[error("inner nonce is too low")]
    NonceTooLow = 5,
    /// The inner nonce is ahead of the account.
    #[error("inner nonce is too high")]
    NonceTooHigh = 6,
    /// The inner sender cannot pay value and gas.
    #[error("sender's balance is too low")]
    InsufficientFunds = 7,
    /// The inner gas limit exceeds the envelope's class.
    #[error("inner gas limit exceeds the envelope's gas class")]
    GasAboveClass = 8,
    /// The inner gas limit is below the intrinsic cost.
    #[error("inner gas limit is below the intrinsic cost")]
    IntrinsicGas = 9,
    /// The inner fee cap is below the base fee.
    #[error("inner fee cap is below the base fee")]
    FeeCapTooLow = 10,
    /// The inner priority fee is above the fee cap.
    #[error("inner priority fee is above the fee cap")]
    PriorityAboveFeeCap = 11,
    /// The sender has code (EIP-3607).
    #[error("sender is a contract")]
    SenderHasCode = 12,
    /// Init code is over the limit (EIP-3860).
    #[error("init code is too large")]
    InitCodeTooLarge = 13,
    /// An EIP-7702 transaction without authorizations.
    #[error("authorization list is empty")]
    EmptyAuthorizationList = 14,
    /// The sender's nonce cannot grow.
    #[error("sender's nonce is exhausted")]
    NonceOverflow = 15,
    /// A due forced item that is no valid transaction.
    #[error("forced item is invalid")]
    ForcedInvalid = 16,
    /// Any other rule of the EVM's transaction validation.
    #[error("refused by another transaction rule")]
    Invalid = 17,
}

impl SkipReason {
    /// All reasons, by code.
    pub const ALL: [Self; 17] = [
        Self::Undecodable,
        Self::UnsupportedType,
        Self::BadSignature,
        Self::WrongChain,
        Self::NonceTooLow,
        Self::NonceTooHigh,
        Self::InsufficientFunds,
        Self::GasAboveClass,
        Self::IntrinsicGas,
        Self::FeeCapTooLow,
        Self::PriorityAboveFeeCap,
        Self::SenderHasCode,
        Self::InitCodeTooLarge,
        Self::EmptyAuthorizationList,
        Self::NonceOverflow,
        Self::ForcedInvalid,
        Self::Invalid,
    ];

    /// The reason's number in stored records, from 1.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// Where an envelope stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum TxStatus {
    /// In the mempool.
    Pending,
    /// Its position is final; still sealed.
    Ordered {
        /// Height.
        height: u64,
        /// Position within the height, from 0.
        position: u32,
    },
    /// Opened, not executed yet.
    Opened {
        /// Height.
        height: u64,
        /// Position within the height, from 0.
        position: u32,
    },
    /// Its inner transaction was executed.
    Executed {
        /// Height.
        height: u64,
        /// Position within the height, from 0.
        position: u32,
        /// Hash of the inner transaction.
        tx_hash: B256,
        /// Index among the block's executed transactions.
        tx_index: u32,
        /// Whether the inner transaction succeeded; `false` if it reverted.
        success: bool,
    },
    /// Its inner transaction could not be executed. It is public now.
    Skipped {
        /// Height.
        height: u64,
        /// Position within the height, from 0.
        position: u32,
        /// Why.
        reason: SkipReason,
    },
    /// It holds nothing that opens. Nobody is blamed.
    Undecryptable {
        /// Height.
        height: u64,
        /// Position within the height, from 0.
        position: u32,
    },
    /// It was not ordered up to its expiry height.
    Expired {
        /// Its expiry height.
        height: u64,
    },
    /// Another envelope of the same payer and nonce took its place.
    Replaced {
        /// Id of the other envelope.
        by: B256,
    },
    /// It was dropped from a full mempool and may be sent again.
    Evicted,
}

impl TxStatus {
    /// The height at which the envelope was ordered; `None` as long as, or if, it was not.
    pub fn height(&self) -> Option<u64> {
        match self {
            Self::Ordered { height, .. }
            | Self::Opened { height, .. }
            | Self::Executed { height, .. }
            | Self::Skipped { height, .. }
            | Self::Undecryptable { height, .. } => Some(*height),
            Self::Pending | Self::Expired { .. } | Self::Replaced { .. } | Self::Evicted => None,
        }
    }

    /// Whether the state can no longer change (settlement aside).
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Pending | Self::Ordered { .. } | Self::Opened { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_codes_are_unique_and_stable() {
        for (index, reason) in SkipReason::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(reason.code()), index + 1);
            assert_eq!(SkipReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(SkipReason::from_code(0), None);
        assert_eq!(SkipReason::from_code(18), None);
    }

    #[test]
    fn status_is_tagged_json() {
        let status = TxStatus::Skipped { height: 3, position: 1, reason: SkipReason::NonceTooLow };
        let json = serde_json::to_string(&status).expect("serializable");
        assert_eq!(json, r#"{"state":"skipped","height":3,"position":1,"reason":"nonce_too_low"}"#);
        assert_eq!(serde_json::from_str::<TxStatus>(&json).expect("own output"), status);
        let status = TxStatus::Executed {
            height: 3,
            position: 1,
            tx_hash: B256::ZERO,
            tx_index: 0,
            success: true,
        };
        assert!(serde_json::to_string(&status).expect("serializable").contains(r#""txIndex":0"#));
    }
}
