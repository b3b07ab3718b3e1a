//! A block as it is replayed: what its header tells transactions, and the transactions.

use alloy_consensus::TxType;
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

use super::Fork;

/// A block to replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayBlock {
    /// The chain's id.
    pub chain_id: u64,
    /// Its rules.
    pub fork: Fork,
    /// Height.
    pub number: u64,
    /// Hash of the block before it; EIP-2935 writes it into the state.
    pub parent_hash: B256,
    /// Who receives the fees.
    pub beneficiary: Address,
    /// Seconds since 1970.
    pub timestamp_s: u64,
    /// Gas limit of the block. No transaction may ask for more; what they use together is not
    /// compared with it.
    pub gas_limit: u64,
    /// Wei per gas that is burnt; 0 before London.
    pub base_fee_wei: u64,
    /// Difficulty; what `DIFFICULTY` answers before Paris.
    pub difficulty: U256,
    /// What `PREVRANDAO` answers from Paris on.
    pub prev_randao: B256,
    /// Excess blob gas, from Cancun on.
    pub excess_blob_gas: Option<u64>,
    /// How fast the blob base fee follows the excess (EIP-4844, EIP-7892).
    pub blob_update_fraction: u64,
    /// Root of the parent beacon block, from Cancun on; EIP-4788 writes it into the state.
    pub parent_beacon_block_root: Option<B256>,
    /// The transactions, in order.
    pub transactions: Vec<ReplayTransaction>,
}

impl ReplayBlock {
    /// A block without transactions: number 1 of chain 1, with room for 30 million gas.
    #[must_use]
    pub const fn empty(fork: Fork) -> Self {
        Self {
            chain_id: 1,
            fork,
            number: 1,
            parent_hash: B256::ZERO,
            beneficiary: Address::ZERO,
            timestamp_s: 1_000,
            gas_limit: 30_000_000,
            base_fee_wei: 0,
            difficulty: U256::ZERO,
            prev_randao: B256::ZERO,
            excess_blob_gas: None,
            blob_update_fraction: fork.blob_update_fraction(),
            parent_beacon_block_root: None,
            transactions: Vec::new(),
        }
    }
}

/// A transaction to replay: its fields, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayTransaction {
    /// EIP-2718 type.
    pub tx_type: TxType,
    /// Who signed it.
    pub sender: Address,
    /// The sender's nonce.
    pub nonce: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Most wei per gas; the gas price of types 0 and 1.
    pub max_fee_per_gas_wei: u128,
    /// Most wei per gas for the beneficiary; `None` for types 0 and 1.
    pub max_priority_fee_per_gas_wei: Option<u128>,
    /// Target, or a creation.
    pub to: TxKind,
    /// Wei sent along.
    pub value_wei: U256,
    /// Input, or creation code.
    pub input: Bytes,
    /// The chain it is signed for, if it says so.
    pub chain_id: Option<u64>,
    /// Addresses and slots to warm up (EIP-2930).
    pub access_list: AccessList,
    /// Hashes of its blobs (EIP-4844).
    pub blob_versioned_hashes: Vec<B256>,
    /// Most wei per blob gas (EIP-4844).
    pub max_fee_per_blob_gas_wei: u128,
    /// Delegations (EIP-7702).
    pub authorization_list: Vec<SignedAuthorization>,
}

impl ReplayTransaction {
    /// A legacy transaction without value, input or price: for others to fill in.
    #[must_use]
    pub fn legacy(sender: Address, nonce: u64, to: TxKind, gas_limit: u64) -> Self {
        Self {
            tx_type: TxType::Legacy,
            sender,
            nonce,
            gas_limit,
            max_fee_per_gas_wei: 0,
            max_priority_fee_per_gas_wei: None,
            to,
            value_wei: U256::ZERO,
            input: Bytes::new(),
            chain_id: None,
            access_list: AccessList::default(),
            blob_versioned_hashes: Vec::new(),
            max_fee_per_blob_gas_wei: 0,
            authorization_list: Vec::new(),
        }
    }
}
