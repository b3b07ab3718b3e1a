//! The genesis block, and what every block leaves for its successors.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256, keccak256};
use blindfold_wire::{Block, Genesis, GenesisAccount, executed_root, opening_root};

use crate::block::{BlockRecord, ExecutedBlock};
use crate::contracts;
use crate::escrow::{self, ESCROW_ADDRESS, MAX_EXECUTED_LAG, OUTBOX_ADDRESS, POSTING_POOL_ADDRESS};
use crate::evm::{BlockFacts, SPEC, empty_header};
use crate::state::{
    Account, Column, Layer, MemoryStore, Overlay, ParentState, Sealed, StateWrite, StateWrites,
    StoreError, Tip, seal,
};

/// Heights back from a block whose hashes `BLOCKHASH` returns.
pub const BLOCK_HASH_HEIGHTS: u64 = 256;

/// Prefix of EIP-7702 delegations, and of formats no account may start with.
const RESERVED_CODE_PREFIX: u8 = 0xef;

/// Why a genesis document makes no state.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GenesisStateError {
    /// The lag between ordering and execution is longer than the escrow history.
    #[error("executed lag of {lag} heights is over {MAX_EXECUTED_LAG}")]
    LagTooLong {
        /// The document's lag.
        lag: u64,
    },
    /// The initial base fee does not fit an Ethereum header.
    #[error("initial base fee does not fit 64 bits")]
    BaseFeeRange,
    /// An account stands where the protocol puts the escrow.
    #[error("the account at {ESCROW_ADDRESS} is the protocol's: fund payers in `escrow` instead")]
    EscrowTaken,
    /// An account stands where the protocol puts something of its own.
    #[error("the account at {address} is the protocol's")]
    Reserved {
        /// The address.
        address: Address,
    },
    /// Escrow amounts add up to more than 2^256 wei.
    #[error("escrow amounts overflow")]
    EscrowOverflow,
    /// Code that no transaction could have put there (EIP-3541, EIP-7702).
    #[error("code of {address} starts with 0xef")]
    ReservedCode {
        /// The account.
        address: Address,
    },
    /// The account would not be part of the state (EIP-161), but has storage.
    #[error("account {address} has storage, but no balance, nonce or code")]
    EmptyWithStorage {
        /// The account.
        address: Address,
    },
    /// The state could not be built.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Builds the genesis block: accounts, the escrow predeploy with what payers start with, header.
///
/// The document's own consistency is [`Genesis::validate`]'s affair and not checked again.
///
/// # Errors
///
/// [`GenesisStateError`].
pub fn genesis_block(genesis: &Genesis) -> Result<ExecutedBlock, GenesisStateError> {
    let lag = genesis.params.executed_lag;
    if lag > MAX_EXECUTED_LAG {
        return Err(GenesisStateError::LagTooLong { lag });
    }
    let base_fee_wei = u64::try_from(genesis.params.initial_base_fee)
        .map_err(|_| GenesisStateError::BaseFeeRange)?;

    let void = ParentState::void(Arc::new(MemoryStore::new()));
    let mut overlay = Overlay::new(Arc::new(void.clone()));
    for account in &genesis.alloc {
        put_account(&mut overlay, account)?;
    }
    put_escrow(&mut overlay, genesis)?;
    put_settlement(&mut overlay)?;
    let (diff, _) = overlay.finish();
    let Sealed { state_root, mut writes, .. } = seal(&void, &diff, 0, ESCROW_ADDRESS, 1)?;

    let digest = Block::genesis(genesis).digest();
    let facts = BlockFacts {
        spec: SPEC,
        chain_id: genesis.chain_id,
        height: 0,
        beneficiary: Address::ZERO,
        timestamp_s: genesis.timestamp_ms / 1_000,
        gas_limit: genesis.params.block_gas_limit,
        base_fee_wei,
        difficulty: U256::ZERO,
        prev_randao: Some(keccak256(digest)),
        excess_blob_gas: Some(0),
        blob_update_fraction: None,
    };
    let mut header = empty_header(&facts, digest);
    header.state_root = state_root;
    let tip = Tip {
        height: 0,
        block_hash: header.hash_slow(),
        state_root,
        timestamp_s: facts.timestamp_s,
        base_fee_wei,
    };
    writes.extend(tip_writes(&tip));
    let opening_root = opening_root(0, &[]);
    Ok(ExecutedBlock {
        record: Arc::new(BlockRecord {
            hash: tip.block_hash,
            header,
            commitment: digest,
            transactions: Vec::new(),
            receipts: Vec::new(),
            outcomes: Vec::new(),
            forced: Vec::new(),
            opening_root,
            executed_root: executed_root(state_root, opening_root),
        }),
        layer: Arc::new(Layer { tip, writes: StateWrites::new(writes) }),
        diff: Arc::new(diff),
        access: Arc::default(),
    })
}

fn put_account(overlay: &mut Overlay, account: &GenesisAccount) -> Result<(), GenesisStateError> {
    let address = account.address;
    if address == ESCROW_ADDRESS {
        return Err(GenesisStateError::EscrowTaken);
    }
    if [OUTBOX_ADDRESS, POSTING_POOL_ADDRESS].contains(&address) {
        return Err(GenesisStateError::Reserved { address });
    }
    if account.code.first() == Some(&RESERVED_CODE_PREFIX) {
        return Err(GenesisStateError::ReservedCode { address });
    }
    let code_hash = overlay.set_code(account.code.clone());
    let state = Account { nonce: account.nonce, balance: account.balance, code_hash };
    if state.is_empty() {
        return if account.storage.is_empty() {
            Ok(())
        } else {
            Err(GenesisStateError::EmptyWithStorage { address })
        };
    }
    overlay.set_account(address, state)?;
    for (slot, value) in &account.storage {
        overlay.set_storage(address, (*slot).into(), (*value).into())?;
    }
    Ok(())
}

fn put_escrow(overlay: &mut Overlay, genesis: &Genesis) -> Result<(), GenesisStateError> {
    let balance = genesis
        .escrow
        .iter()
        .try_fold(U256::ZERO, |sum, (_, amount)| sum.checked_add(*amount))
        .ok_or(GenesisStateError::EscrowOverflow)?;
    let code_hash = overlay.set_code(contracts::escrow_runtime_code());
    // A contract's nonce starts at 1 (EIP-161).
    overlay.set_account(ESCROW_ADDRESS, Account { nonce: 1, balance, code_hash })?;
    let storage =
        escrow::genesis_storage(genesis.params.executed_lag, genesis.hash(), &genesis.escrow);
    for (slot, value) in storage {
        overlay.set_storage(ESCROW_ADDRESS, slot, value)?;
    }
    Ok(())
}

/// The outbox and the posting pool.
fn put_settlement(overlay: &mut Overlay) -> Result<(), StoreError> {
    let code_hash = overlay.set_code(contracts::outbox_runtime_code());
    overlay.set_account(OUTBOX_ADDRESS, Account { nonce: 1, balance: U256::ZERO, code_hash })?;
    // With a nonce it stays in the state when it is empty, so that paying into it never creates an account.
    let pool = Account { nonce: 1, ..Account::default() };
    overlay.set_account(POSTING_POOL_ADDRESS, pool)
}

/// The writes that make a block the tip: its hash for `BLOCKHASH`, and the tip itself.
pub(crate) fn tip_writes(tip: &Tip) -> Vec<StateWrite> {
    let key = |height: u64| height.to_be_bytes().to_vec();
    let hash: B256 = tip.block_hash;
    let mut writes = vec![tip.write(), (Column::BlockHashes, key(tip.height), Some(hash.to_vec()))];
    if let Some(oldest) = tip.height.checked_sub(BLOCK_HASH_HEIGHTS) {
        writes.push((Column::BlockHashes, key(oldest), None));
    }
    writes
}
