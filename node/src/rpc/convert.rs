//! From the node's blocks to the JSON shapes that Ethereum clients expect.

use alloy_consensus::{
    BlockBody, ReceiptEnvelope, Transaction as _, TxEnvelope, TxReceipt, transaction::Recovered,
};
use alloy_primitives::U256;
use alloy_rpc_types_eth::{
    Block, BlockTransactions, Filter, Header, Log, Transaction, TransactionInfo, TransactionReceipt,
};

use super::api::{BlockView, ExecutedTransaction, HeaderView};

/// Header as `newHeads` shows it.
pub(crate) fn header(view: &HeaderView) -> Header {
    Header { hash: view.hash, inner: view.header.clone(), total_difficulty: None, size: None }
}

/// Block with full transactions, or with their hashes only.
pub(crate) fn block(view: &BlockView, full: bool) -> Block {
    let transactions = if full {
        BlockTransactions::Full(
            (0..view.transactions.len()).filter_map(|index| transaction(view, index)).collect(),
        )
    } else {
        BlockTransactions::Hashes(
            view.transactions.iter().map(|executed| *executed.transaction.tx_hash()).collect(),
        )
    };
    let header = Header {
        hash: view.hash,
        inner: view.header.clone(),
        total_difficulty: None,
        size: Some(U256::from(size_bytes(view))),
    };
    let withdrawals = view.header.withdrawals_root.is_some().then(Default::default);
    Block::new(header, transactions).with_withdrawals(withdrawals)
}

/// Length of the block's RLP in bytes.
fn size_bytes(view: &BlockView) -> usize {
    let transactions: Vec<&TxEnvelope> =
        view.transactions.iter().map(|executed| &executed.transaction).collect();
    let withdrawals = view.header.withdrawals_root.is_some().then(Default::default);
    let body = BlockBody { transactions, ommers: Vec::new(), withdrawals };
    alloy_consensus::Block::rlp_length_for(&view.header, &body)
}

/// Transaction `index` of a block, or `None` past its end.
pub(crate) fn transaction(view: &BlockView, index: usize) -> Option<Transaction> {
    let executed = view.transactions.get(index)?;
    let info = TransactionInfo {
        hash: Some(*executed.transaction.tx_hash()),
        index: Some(index as u64),
        block_hash: Some(view.hash),
        block_number: Some(view.header.number),
        base_fee: view.header.base_fee_per_gas,
        block_timestamp: Some(view.header.timestamp),
    };
    let recovered = Recovered::new_unchecked(executed.transaction.clone(), executed.sender);
    Some(Transaction::from_transaction(recovered, info))
}

/// Receipt of transaction `index` of a block, or `None` past its end.
pub(crate) fn receipt(view: &BlockView, index: usize) -> Option<TransactionReceipt> {
    let executed = view.transactions.get(index)?;
    let first_log =
        view.transactions[..index].iter().map(|earlier| earlier.receipt.logs.len()).sum();
    let transaction = &executed.transaction;
    let contract_address = (transaction.is_create() && executed.receipt.status())
        .then(|| executed.sender.create(transaction.nonce()));
    let with_bloom = alloy_consensus::Receipt {
        status: executed.receipt.status,
        cumulative_gas_used: executed.receipt.cumulative_gas_used,
        logs: logs(view, index, executed, first_log),
    };
    let with_bloom = alloy_consensus::ReceiptWithBloom {
        logs_bloom: executed.receipt.bloom(),
        receipt: with_bloom,
    };
    Some(TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(transaction.tx_type(), with_bloom),
        transaction_hash: *transaction.tx_hash(),
        transaction_index: Some(index as u64),
        block_hash: Some(view.hash),
        block_number: Some(view.header.number),
        gas_used: executed.gas_used,
        effective_gas_price: transaction.effective_gas_price(view.header.base_fee_per_gas),
        blob_gas_used: None,
        blob_gas_price: None,
        from: executed.sender,
        to: transaction.to(),
        contract_address,
    })
}

/// Logs of one transaction; `first_log` is the block-wide index of the first.
fn logs(
    view: &BlockView,
    index: usize,
    executed: &ExecutedTransaction,
    first_log: usize,
) -> Vec<Log> {
    let hash = *executed.transaction.tx_hash();
    let to_rpc = |(at, log): (usize, &alloy_primitives::Log)| Log {
        inner: log.clone(),
        block_hash: Some(view.hash),
        block_number: Some(view.header.number),
        block_timestamp: Some(view.header.timestamp),
        transaction_hash: Some(hash),
        transaction_index: Some(index as u64),
        log_index: Some((first_log + at) as u64),
        removed: false,
    };
    executed.receipt.logs.iter().enumerate().map(to_rpc).collect()
}

/// The block's logs that pass a filter's addresses and topics, in order.
pub(crate) fn matching_logs(view: &BlockView, filter: &Filter) -> Vec<Log> {
    let mut first_log = 0;
    let mut found = Vec::new();
    for (index, executed) in view.transactions.iter().enumerate() {
        let all = logs(view, index, executed, first_log);
        first_log += all.len();
        found.extend(all.into_iter().filter(|log| filter.matches(&log.inner)));
    }
    found
}
