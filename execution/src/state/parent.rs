//! The state a block starts from: a store, and the blocks executed since it was last written.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_rlp::{Decodable, Encodable, Header};

use super::account::{Account, AccountRow, storage_key};
use super::store::{Column, StateStore, StateWrites, StoreError};

/// Blocks that may be executed before the store has taken the oldest of them.
pub const MAX_LAYERS: usize = 64;

/// Key of the tip in [`Column::Meta`].
const TIP_KEY: &[u8] = b"tip";

/// The newest executed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height; 0 is the genesis block.
    pub height: u64,
    /// Hash of the EVM block header.
    pub block_hash: B256,
    /// State root after the block.
    pub state_root: B256,
    /// Seconds since the Unix epoch, as in the header.
    pub timestamp_s: u64,
    /// Base fee of the block, wei per gas.
    pub base_fee_wei: u64,
}

impl Tip {
    /// The write that makes this the tip of a store.
    pub(crate) fn write(&self) -> (Column, Vec<u8>, Option<Vec<u8>>) {
        let payload_length = self.height.length()
            + self.block_hash.length()
            + self.state_root.length()
            + self.timestamp_s.length()
            + self.base_fee_wei.length();
        let mut out = Vec::with_capacity(payload_length + 3);
        Header { list: true, payload_length }.encode(&mut out);
        self.height.encode(&mut out);
        self.block_hash.encode(&mut out);
        self.state_root.encode(&mut out);
        self.timestamp_s.encode(&mut out);
        self.base_fee_wei.encode(&mut out);
        (Column::Meta, TIP_KEY.to_vec(), Some(out))
    }

    fn read(store: &dyn StateStore) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = store.get(Column::Meta, TIP_KEY)? else { return Ok(None) };
        Self::decode(&bytes)
            .map(Some)
            .map_err(|_| StoreError::damaged(Column::Meta, "executed tip"))
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> alloy_rlp::Result<Self> {
        let buf = &mut Header::decode_bytes(&mut bytes, true)?;
        let tip = Self {
            height: u64::decode(buf)?,
            block_hash: B256::decode(buf)?,
            state_root: B256::decode(buf)?,
            timestamp_s: u64::decode(buf)?,
            base_fee_wei: u64::decode(buf)?,
        };
        if buf.is_empty() && bytes.is_empty() {
            Ok(tip)
        } else {
            Err(alloy_rlp::Error::UnexpectedLength)
        }
    }
}

/// What one block changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub(crate) tip: Tip,
    pub(crate) writes: StateWrites,
}

impl Layer {
    /// The block the layer belongs to.
    #[must_use]
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// What the store has to take, in one atomic batch.
    #[must_use]
    pub const fn writes(&self) -> &StateWrites {
        &self.writes
    }
}

/// Why a state could not be opened or extended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// The store failed or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds no genesis yet.
    #[error("the state store is empty: write the genesis block first")]
    Empty,
    /// The block does not follow the tip.
    #[error("block {height} does not follow executed height {tip}")]
    NotNext {
        /// Height of the block.
        height: u64,
        /// Height of the state.
        tip: u64,
    },
    /// More than [`MAX_LAYERS`] blocks wait to be written.
    #[error("{MAX_LAYERS} executed blocks wait for the store: write them and prune first")]
    TooManyLayers,
    /// The store was written past this state while it was being read.
    #[error("the store moved past height {height} while it was read: take the newest state")]
    Moved {
        /// Height of the state that was read.
        height: u64,
    },
}

/// The state after one height: a store, plus the layers of blocks the store may not have yet.
///
/// Cheap to clone. Executing height h + 1 on top of an unwritten height h is
/// `state.extend(block_h.layer())`; once the store has taken h, [`ParentState::prune`] drops the
/// layer. A layer that the store has too is harmless: both say the same.
///
/// A state without layers reads the store as it is. If the store is written past
/// [`ParentState::tip`], what it returns is newer than the tip says; readers who race with the
/// writer ask [`ParentState::check_current`] after reading and retry on a newer state.
#[derive(Clone)]
pub struct ParentState {
    store: Arc<dyn StateStore>,
    layers: Vec<Arc<Layer>>,
    tip: Tip,
}

impl std::fmt::Debug for ParentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentState")
            .field("tip", &self.tip)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl ParentState {
    /// The state that the store holds.
    ///
    /// # Errors
    ///
    /// [`StateError::Empty`] if no genesis was written, [`StateError::Store`] if it failed.
    pub fn open(store: Arc<dyn StateStore>) -> Result<Self, StateError> {
        let tip = Tip::read(store.as_ref())?.ok_or(StateError::Empty)?;
        Ok(Self { store, layers: Vec::new(), tip })
    }

    /// A state before genesis: nothing at all.
    pub(crate) fn void(store: Arc<dyn StateStore>) -> Self {
        let tip = Tip {
            height: 0,
            block_hash: B256::ZERO,
            state_root: alloy_trie::EMPTY_ROOT_HASH,
            timestamp_s: 0,
            base_fee_wei: 0,
        };
        Self { store, layers: Vec::new(), tip }
    }

    /// The state after the next block.
    ///
    /// # Errors
    ///
    /// [`StateError::NotNext`] if the layer is of another height than the next,
    /// [`StateError::TooManyLayers`] if the store is too far behind.
    pub fn extend(&self, layer: Arc<Layer>) -> Result<Self, StateError> {
        if Some(layer.tip.height) != self.tip.height.checked_add(1) {
            return Err(StateError::NotNext { height: layer.tip.height, tip: self.tip.height });
        }
        if self.layers.len() >= MAX_LAYERS {
            return Err(StateError::TooManyLayers);
        }
        let tip = layer.tip;
        let mut layers = self.layers.clone();
        layers.push(layer);
        Ok(Self { store: Arc::clone(&self.store), layers, tip })
    }

    /// Drops the layers that the store has taken: those up to `written_height`.
    #[must_use]
    pub fn prune(&self, written_height: u64) -> Self {
        let layers =
            self.layers.iter().filter(|layer| layer.tip.height > written_height).cloned().collect();
        Self { store: Arc::clone(&self.store), layers, tip: self.tip }
    }

    /// The block this is the state after.
    #[must_use]
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// How many unwritten blocks the state carries.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Fails if the store was written past this state, so that what was read may be mixed.
    ///
    /// # Errors
    ///
    /// [`StateError::Moved`], or [`StateError::Store`] if the store failed.
    pub fn check_current(&self) -> Result<(), StateError> {
        match Tip::read(self.store.as_ref())? {
            Some(stored) if stored.height > self.tip.height => {
                Err(StateError::Moved { height: self.tip.height })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for layer in self.layers.iter().rev() {
            if let Some(value) = layer.writes.get(column, key) {
                return Ok(value.map(<[u8]>::to_vec));
            }
        }
        self.store.get(column, key)
    }

    /// The values under some keys, in their order.
    pub(crate) fn get_many(
        &self,
        column: Column,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if self.layers.is_empty() {
            return self.store.get_many(column, keys);
        }
        let mut values = Vec::with_capacity(keys.len());
        let mut rest = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let mut layers = self.layers.iter().rev();
            match layers.find_map(|layer| layer.writes.get(column, key)) {
                Some(value) => values.push(value.map(<[u8]>::to_vec)),
                None => {
                    values.push(None);
                    rest.push(index);
                }
            }
        }
        let keys: Vec<_> = rest.iter().map(|index| keys[*index].clone()).collect();
        for (index, value) in rest.into_iter().zip(self.store.get_many(column, &keys)?) {
            values[index] = value;
        }
        Ok(values)
    }

    pub(crate) fn rows(
        &self,
        addresses: &[Address],
    ) -> Result<Vec<Option<AccountRow>>, StoreError> {
        let keys: Vec<_> = addresses.iter().map(|address| address.to_vec()).collect();
        let rows = self.get_many(Column::Accounts, &keys)?.into_iter();
        rows.map(|row| row.map(|bytes| AccountRow::decode(&bytes)).transpose()).collect()
    }

    pub(crate) fn row(&self, address: Address) -> Result<Option<AccountRow>, StoreError> {
        self.get(Column::Accounts, address.as_slice())?
            .map(|bytes| AccountRow::decode(&bytes))
            .transpose()
    }

    pub(crate) fn storage_of(
        &self,
        address: Address,
        incarnation: u64,
        slot: U256,
    ) -> Result<U256, StoreError> {
        let key = storage_key(address, incarnation, slot);
        match self.get(Column::Storage, &key)? {
            Some(bytes) => U256::try_from_be_slice(&bytes)
                .ok_or(StoreError::damaged(Column::Storage, "value longer than 32 bytes")),
            None => Ok(U256::ZERO),
        }
    }

    /// The account at `address`, or `None` if it is not part of the state.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store failed or is damaged.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        Ok(self.row(address)?.map(|row| row.account))
    }

    /// The value of a storage slot; zero if it was never set.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store failed or is damaged.
    pub fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        match self.row(address)? {
            Some(row) => self.storage_of(address, row.incarnation, slot),
            None => Ok(U256::ZERO),
        }
    }

    /// The code with this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store failed, or has no such code.
    pub fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        if code_hash == KECCAK256_EMPTY || code_hash == B256::ZERO {
            return Ok(Bytes::new());
        }
        self.get(Column::Code, code_hash.as_slice())?
            .map(Bytes::from)
            .ok_or(StoreError::damaged(Column::Code, "code missing"))
    }

    /// The code at an address; empty if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store failed or is damaged.
    pub fn code_at(&self, address: Address) -> Result<Bytes, StoreError> {
        match self.account(address)? {
            Some(account) => self.code(account.code_hash),
            None => Ok(Bytes::new()),
        }
    }

    /// The hash of an EVM block among the last 256 up to the tip, or `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store failed or is damaged.
    pub fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        self.get(Column::BlockHashes, &height.to_be_bytes())?
            .map(|bytes| {
                B256::try_from(bytes.as_slice())
                    .map_err(|_| StoreError::damaged(Column::BlockHashes, "hash length"))
            })
            .transpose()
    }
}
