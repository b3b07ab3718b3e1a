//! Blocks with their receipts, and their shapes in JSON-RPC.

use alloy_consensus::{
    Header, ReceiptEnvelope, Transaction as _, TxEnvelope, transaction::Recovered,
};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockTransactions, Header as RpcHeader, Log as RpcLog,
    Transaction as RpcTransaction, TransactionReceipt,
};

use super::evm::BLOBS;
use crate::l1::BlockRef;

/// A transaction in a block.
#[derive(Clone, Debug)]
pub(super) struct Mined {
    /// Without blobs.
    pub(super) tx: TxEnvelope,
    pub(super) sender: Address,
    pub(super) receipt: ReceiptEnvelope,
    pub(super) gas_used: u64,
}

/// A block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) header: Header,
    pub(super) hash: B256,
    pub(super) transactions: Vec<Mined>,
}

impl Block {
    pub(super) fn new(header: Header, transactions: Vec<Mined>) -> Self {
        Self { hash: header.hash_slow(), header, transactions }
    }

    pub(super) fn place(&self) -> BlockRef {
        BlockRef { number: self.header.number, hash: self.hash, timestamp_s: self.header.timestamp }
    }

    pub(super) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    /// Wei per blob gas in this block.
    pub(super) fn blob_fee(&self) -> u128 {
        BLOBS.calc_blob_fee(self.header.excess_blob_gas.unwrap_or_default())
    }

    pub(super) fn to_rpc(&self, whole: bool) -> RpcBlock {
        let transactions = if whole {
            let all = 0..self.transactions.len();
            BlockTransactions::Full(all.filter_map(|index| self.transaction(index)).collect())
        } else {
            let hashes = self.transactions.iter().map(|mined| *mined.tx.tx_hash());
            BlockTransactions::Hashes(hashes.collect())
        };
        let header = RpcHeader {
            hash: self.hash,
            inner: self.header.clone(),
            total_difficulty: None,
            size: None,
        };
        RpcBlock {
            header,
            uncles: Vec::new(),
            transactions,
            withdrawals: Some(Withdrawals::default()),
        }
    }

    pub(super) fn transaction(&self, index: usize) -> Option<RpcTransaction> {
        let mined = self.transactions.get(index)?;
        Some(RpcTransaction {
            inner: Recovered::new_unchecked(mined.tx.clone(), mined.sender),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            transaction_index: Some(index as u64),
            effective_gas_price: Some(mined.tx.effective_gas_price(Some(self.base_fee()))),
            block_timestamp: Some(self.header.timestamp),
        })
    }

    /// All logs in order.
    pub(super) fn logs(&self) -> impl Iterator<Item = RpcLog> + '_ {
        self.transactions
            .iter()
            .enumerate()
            .flat_map(|(index, mined)| {
                mined.receipt.logs().iter().map(move |log| (index, mined, log))
            })
            .enumerate()
            .map(|(number, (index, mined, log))| RpcLog {
                inner: log.clone(),
                block_hash: Some(self.hash),
                block_number: Some(self.header.number),
                block_timestamp: Some(self.header.timestamp),
                transaction_hash: Some(*mined.tx.tx_hash()),
                transaction_index: Some(index as u64),
                log_index: Some(number as u64),
                removed: false,
            })
    }

    pub(super) fn receipt(&self, index: usize) -> Option<TransactionReceipt> {
        let mined = self.transactions.get(index)?;
        let mut logs = self.logs().filter(|log| log.transaction_index == Some(index as u64));
        let inner = mined.receipt.clone().map_logs(|log| {
            logs.next().unwrap_or_else(|| RpcLog { inner: log, ..RpcLog::default() })
        });
        let blob_gas_used = mined.tx.blob_gas_used();
        Some(TransactionReceipt {
            inner,
            transaction_hash: *mined.tx.tx_hash(),
            transaction_index: Some(index as u64),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            gas_used: mined.gas_used,
            effective_gas_price: mined.tx.effective_gas_price(Some(self.base_fee())),
            blob_gas_used,
            blob_gas_price: blob_gas_used.map(|_| self.blob_fee()),
            from: mined.sender,
            to: mined.tx.to(),
            contract_address: (mined.tx.is_create() && mined.receipt.status())
                .then(|| mined.sender.create(mined.tx.nonce())),
        })
    }
}
