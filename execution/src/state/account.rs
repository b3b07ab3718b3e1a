//! The row of an account in the flat table.

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use alloy_rlp::{Decodable, Encodable, Header};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};

use super::store::{Column, StoreError};

/// What an address owns, apart from its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Transactions sent, or contracts created (EIP-161 starts a contract at 1).
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// keccak256 of the code; of the empty string if there is none.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

impl Account {
    /// Empty in the sense of EIP-161: such an account is not part of the state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK256_EMPTY
    }

    /// Whether the account has code.
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY
    }
}

/// An account with what finds its storage.
///
/// The **incarnation** is the height at which the account last came to life. It is part of every
/// storage key, so that an account destroyed and created again starts with empty storage without
/// anybody having to find and delete the old rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub(crate) account: Account,
    pub(crate) storage_root: B256,
    pub(crate) incarnation: u64,
}

impl AccountRow {
    pub(crate) const fn fresh(account: Account, height: u64) -> Self {
        Self { account, storage_root: EMPTY_ROOT_HASH, incarnation: height }
    }

    /// RLP `[nonce, balance, storage_root, code_hash, incarnation]`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Account { nonce, balance, code_hash } = self.account;
        let payload_length = nonce.length()
            + balance.length()
            + self.storage_root.length()
            + code_hash.length()
            + self.incarnation.length();
        let mut out = Vec::with_capacity(payload_length + 3);
        Header { list: true, payload_length }.encode(&mut out);
        nonce.encode(&mut out);
        balance.encode(&mut out);
        self.storage_root.encode(&mut out);
        code_hash.encode(&mut out);
        self.incarnation.encode(&mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode_rlp(bytes).map_err(|_| StoreError::damaged(Column::Accounts, "account row"))
    }

    fn decode_rlp(mut bytes: &[u8]) -> alloy_rlp::Result<Self> {
        let buf = &mut Header::decode_bytes(&mut bytes, true)?;
        let nonce = u64::decode(buf)?;
        let balance = U256::decode(buf)?;
        let storage_root = B256::decode(buf)?;
        let code_hash = B256::decode(buf)?;
        let incarnation = u64::decode(buf)?;
        if !buf.is_empty() || !bytes.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(Self { account: Account { nonce, balance, code_hash }, storage_root, incarnation })
    }

    /// The leaf of the account trie.
    pub(crate) fn trie_leaf(&self) -> Vec<u8> {
        alloy_rlp::encode(TrieAccount {
            nonce: self.account.nonce,
            balance: self.account.balance,
            storage_root: self.storage_root,
            code_hash: self.account.code_hash,
        })
    }
}

/// Address ‖ incarnation: what every key of an account's storage begins with.
pub(crate) fn storage_prefix(address: Address, incarnation: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(20 + 8 + 64);
    key.extend_from_slice(address.as_slice());
    key.extend_from_slice(&incarnation.to_be_bytes());
    key
}

/// The key of one slot in [`Column::Storage`].
pub(crate) fn storage_key(address: Address, incarnation: u64, slot: U256) -> Vec<u8> {
    let mut key = storage_prefix(address, incarnation);
    key.extend_from_slice(&slot.to_be_bytes::<32>());
    key
}
