//! The list itself: canonical, or refused.

use alloy_eip7928::{AccountChanges, BlockAccessListValidationError, validate_block_access_list};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Decodable;

/// Longest encoded list. The largest block that the gas limit allows stays far below: a slot costs 2,100 gas
/// and 33 bytes, a byte of code 200 gas.
pub const MAX_ACCESS_LIST_BYTES: usize = 8 << 20;

/// Why bytes are no block access list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessListError {
    /// More bytes than any block needs.
    #[error("access list has {got_bytes} of at most {MAX_ACCESS_LIST_BYTES} bytes")]
    TooLong {
        /// How many there are.
        got_bytes: usize,
    },
    /// Not RLP of the list's structure.
    #[error("access list does not decode: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// Another encoding of the same list is the canonical one.
    #[error("access list is not canonically encoded")]
    Encoding,
    /// Order or uniqueness is violated.
    #[error(transparent)]
    Order(#[from] BlockAccessListValidationError),
    /// An index names no forced item and no position of the block.
    #[error(
        "access list names index {index}, the block has {positions} forced items and positions"
    )]
    Index {
        /// The index.
        index: u64,
        /// Forced items and positions of the block.
        positions: usize,
    },
}

/// What a block accessed and changed, in canonical form (EIP-7928). Indices count forced items, then
/// positions, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockAccessList(Vec<AccountChanges>);

impl BlockAccessList {
    /// Takes a list over if it is canonical, for a block with so many forced items and positions.
    ///
    /// # Errors
    ///
    /// [`AccessListError`]: accounts, slots or indices out of order, given twice, or out of range.
    pub fn new(accounts: Vec<AccountChanges>, positions: usize) -> Result<Self, AccessListError> {
        validate_block_access_list(&accounts, positions)?;
        let largest = accounts.iter().filter_map(largest_index).max().unwrap_or(0);
        if largest > positions as u64 {
            return Err(AccessListError::Index { index: largest, positions });
        }
        Ok(Self(accounts))
    }

    /// Takes over what the builder made.
    pub(super) const fn canonical(accounts: Vec<AccountChanges>) -> Self {
        Self(accounts)
    }

    /// Reads canonical RLP, for a block with so many forced items and positions.
    ///
    /// # Errors
    ///
    /// [`AccessListError`].
    pub fn decode(bytes: &[u8], positions: usize) -> Result<Self, AccessListError> {
        if bytes.len() > MAX_ACCESS_LIST_BYTES {
            return Err(AccessListError::TooLong { got_bytes: bytes.len() });
        }
        let mut rest = bytes;
        let accounts = Vec::<AccountChanges>::decode(&mut rest)?;
        let list = Self::new(accounts, positions)?;
        if !rest.is_empty() || list.encode().as_ref() != bytes {
            return Err(AccessListError::Encoding);
        }
        Ok(list)
    }

    /// Canonical RLP.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        alloy_rlp::encode(&self.0).into()
    }

    /// keccak256 of the canonical RLP.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(self.encode())
    }

    /// Accounts and slots that it names.
    #[must_use]
    pub fn items(&self) -> usize {
        let slots =
            |account: &AccountChanges| account.storage_changes.len() + account.storage_reads.len();
        self.0.iter().map(|account| 1 + slots(account)).sum()
    }

    /// Accessed accounts, ordered by address.
    #[must_use]
    pub fn accounts(&self) -> &[AccountChanges] {
        &self.0
    }
}

fn largest_index(account: &AccountChanges) -> Option<u64> {
    let slots = account.storage_changes.iter().flat_map(|slot| &slot.changes);
    (slots.map(|change| change.block_access_index))
        .chain(account.balance_changes.iter().map(|change| change.block_access_index))
        .chain(account.nonce_changes.iter().map(|change| change.block_access_index))
        .chain(account.code_changes.iter().map(|change| change.block_access_index))
        .map(|index| index.get())
        .max()
}
