//! JSON-RPC methods.

use alloy_consensus::{Transaction as _, transaction::Recovered};
use alloy_eips::{BlockId, BlockNumberOrTag, eip1559::BaseFeeParams, eip2718::Encodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rpc_types_eth::{
    FeeHistory, Filter, FilterBlockOption, Log, Transaction as RpcTransaction, TransactionRequest,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    BANNER, Embedded, Inner, Mining,
    block::Block,
    chain::Chain,
    errors::RpcError,
    evm::{self, BLOBS},
    pool::MAX_RAW_TX_BYTES,
    state::View,
};

/// Logs that one `eth_getLogs` returns; with more it is refused, so that nobody takes a part for all.
pub const MAX_LOG_RESULTS: usize = 20_000;

/// Blocks that one `eth_feeHistory` covers.
const MAX_FEE_HISTORY: u64 = 1_024;

/// Percentiles in one `eth_feeHistory`.
const MAX_PERCENTILES: usize = 100;

/// Tip that is suggested when the blocks say nothing, in wei per gas.
const DEFAULT_TIP: u128 = 1_000_000_000;

/// Every method there is.
pub const METHODS: &[&str] = &[
    "eth_chainId",
    "net_version",
    "net_listening",
    "web3_clientVersion",
    "eth_syncing",
    "eth_accounts",
    "eth_blockNumber",
    "eth_gasPrice",
    "eth_maxPriorityFeePerGas",
    "eth_blobBaseFee",
    "eth_feeHistory",
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_call",
    "eth_estimateGas",
    "eth_sendRawTransaction",
    "eth_getTransactionByHash",
    "eth_getRawTransactionByHash",
    "eth_getTransactionReceipt",
    "eth_getBlockReceipts",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getLogs",
    "blindfold_l1",
    "blindfold_getBlobs",
];

type Answer = Result<Box<RawValue>, RpcError>;

/// Answers one call.
pub(super) fn answer(l1: &Embedded, method: &str, params: Option<&RawValue>) -> Answer {
    let params = Params::new(params)?;
    if method == "eth_sendRawTransaction" {
        return send(l1, &params);
    }
    let inner = l1.inner.lock();
    let chain = &inner.chain;
    match method {
        "eth_chainId" => json(U64::from(l1.chain_id)),
        "net_version" => json(l1.chain_id.to_string()),
        "net_listening" => json(true),
        "web3_clientVersion" => json(format!("blindfold/{} ({BANNER})", env!("CARGO_PKG_VERSION"))),
        "eth_syncing" => json(false),
        "eth_accounts" => json::<[Address; 0]>([]),
        "eth_blockNumber" => json(U64::from(chain.head().header.number)),
        "eth_gasPrice" => {
            json(U256::from(u128::from(next_base_fee(chain)).saturating_add(suggested_tip(chain))))
        }
        "eth_maxPriorityFeePerGas" => json(U256::from(suggested_tip(chain))),
        "eth_blobBaseFee" => json(U256::from(next_blob_fee(chain))),
        "eth_feeHistory" => fee_history(chain, &params),
        "eth_getBalance" => {
            let address: Address = params.get(0)?;
            at(chain, params.optional(1)?, |view| view().info(address).unwrap_or_default().balance)
        }
        "eth_getTransactionCount" => transaction_count(chain, &params),
        "eth_getCode" => {
            let address: Address = params.get(0)?;
            at(chain, params.optional(1)?, |view| view().code(address))
        }
        "eth_getStorageAt" => {
            let (address, slot): (Address, U256) = (params.get(0)?, params.get(1)?);
            at(chain, params.optional(2)?, |view| {
                B256::from(view().slot(address, slot).to_be_bytes::<32>())
            })
        }
        "eth_call" => call(chain, &params),
        "eth_estimateGas" => estimate(chain, &params),
        "eth_getTransactionByHash" => json(transaction(chain, params.get(0)?)),
        "eth_getRawTransactionByHash" => {
            json(chain.raw(params.get(0)?).map(|tx| Bytes::from(tx.encoded_2718())))
        }
        "eth_getTransactionReceipt" => {
            json(chain.place(params.get(0)?).and_then(|(block, index)| block.receipt(index)))
        }
        "eth_getBlockReceipts" => {
            let block = params.get::<BlockId>(0).and_then(|id| block(chain, id))?;
            json(block.map(|block| {
                let all = 0..block.transactions.len();
                all.filter_map(|index| block.receipt(index)).collect::<Vec<_>>()
            }))
        }
        "eth_getBlockByNumber" => {
            let id = BlockId::Number(params.get(0)?);
            let whole = params.optional(1)?.unwrap_or(false);
            json(block(chain, id)?.map(|block| block.to_rpc(whole)))
        }
        "eth_getBlockByHash" => {
            let whole = params.optional(1)?.unwrap_or(false);
            json(chain.block_by_hash(params.get(0)?).map(|block| block.to_rpc(whole)))
        }
        "eth_getLogs" => logs(chain, &params.get::<Filter>(0)?),
        "blindfold_l1" => json(health(&inner)),
        "blindfold_getBlobs" => {
            let hashes: Vec<B256> = params.get(0)?;
            if hashes.len() > BLOBS.max_blob_count as usize {
                return Err(RpcError::limit("too many blobs in one call"));
            }
            json(hashes.into_iter().map(|hash| chain.blob(hash)).collect::<Vec<_>>())
        }
        _ => Err(RpcError::unknown_method(method)),
    }
}

/// What the back end is, for health pages.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    real: bool,
    banner: &'static str,
    head: U64,
    waiting: usize,
    reorgs: u64,
    failed: Option<String>,
}

fn health(inner: &Inner) -> Health {
    Health {
        real: false,
        banner: BANNER,
        head: U64::from(inner.chain.head().header.number),
        waiting: inner.chain.pool.len(),
        reorgs: inner.chain.reorgs,
        failed: inner.failed.clone(),
    }
}

/// The parameters of a call, by position.
struct Params(Vec<serde_json::Value>);

impl Params {
    fn new(params: Option<&RawValue>) -> Result<Self, RpcError> {
        let Some(params) = params else { return Ok(Self(Vec::new())) };
        match serde_json::from_str(params.get()) {
            Ok(serde_json::Value::Array(items)) => Ok(Self(items)),
            Ok(serde_json::Value::Null) => Ok(Self(Vec::new())),
            _ => Err(RpcError::params("parameters must be an array")),
        }
    }

    fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcError> {
        self.optional(index)?
            .ok_or_else(|| RpcError::params(format!("missing value for required argument {index}")))
    }

    fn optional<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>, RpcError> {
        match self.0.get(index) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| RpcError::params(format!("invalid argument {index}: {error}"))),
        }
    }
}

fn json<T: Serialize>(value: T) -> Answer {
    to_raw_value(&value).map_err(|error| RpcError::server(format!("cannot encode: {error}")))
}

fn send(l1: &Embedded, params: &Params) -> Answer {
    let raw: Bytes = params.get(0)?;
    if raw.len() > MAX_RAW_TX_BYTES {
        return Err(super::Refusal::TooLarge.into());
    }
    // The proofs of blobs take milliseconds to check: not under the lock.
    let pooled = super::pool::Pooled::decode(&raw, l1.chain_id)?;
    let mut inner = l1.inner.lock();
    let hash = inner.chain.submit(pooled)?;
    if let Mining::PerTransaction { .. } = inner.chain.config.mining {
        let timestamp_s = inner.chain.next_timestamp();
        inner.mine(timestamp_s, false).map_err(|error| RpcError::server(error.to_string()))?;
    }
    json(hash)
}

/// The number that a block is named by; pending is the head, since blocks are made on demand.
fn number(chain: &Chain, tag: BlockNumberOrTag) -> u64 {
    match tag {
        BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => chain.head().header.number,
        BlockNumberOrTag::Safe => chain.safe(),
        BlockNumberOrTag::Finalized => chain.finalized(),
        BlockNumberOrTag::Earliest => chain.oldest(),
        BlockNumberOrTag::Number(number) => number,
    }
}

fn block(chain: &Chain, id: BlockId) -> Result<Option<&Block>, RpcError> {
    match id {
        BlockId::Number(tag) => Ok(chain.block(number(chain, tag))),
        BlockId::Hash(hash) => Ok(chain.block_by_hash(hash.block_hash)),
    }
}

fn existing(chain: &Chain, id: Option<BlockId>) -> Result<&Block, RpcError> {
    block(chain, id.unwrap_or(BlockId::latest()))?
        .ok_or_else(|| RpcError::server("header not found"))
}

/// Reads from the state at a block.
fn at<T: Serialize>(
    chain: &Chain,
    id: Option<BlockId>,
    read: impl for<'v> FnOnce(&'v (dyn Fn() -> View<'v> + 'v)) -> T,
) -> Answer {
    let block = existing(chain, id)?;
    match chain.at(block.header.number, |view| read(view)) {
        Some(value) => json(value),
        None => Err(too_old()),
    }
}

fn too_old() -> RpcError {
    RpcError::server("missing trie node: the state of that block is not kept any more")
}

fn transaction_count(chain: &Chain, params: &Params) -> Answer {
    let address: Address = params.get(0)?;
    let id: Option<BlockId> = params.optional(1)?;
    if id == Some(BlockId::pending()) {
        let account = chain.account(address);
        return json(U64::from(chain.pool.next_nonce(address, account.nonce)));
    }
    at(chain, id, |view| U64::from(view().info(address).unwrap_or_default().nonce))
}

fn call(chain: &Chain, params: &Params) -> Answer {
    let request: TransactionRequest = params.get(0)?;
    let block = existing(chain, params.optional(1)?)?;
    let chain_id = chain.config.chain_id;
    let result =
        chain.at(block.header.number, |view| evm::call(view(), &block.header, chain_id, &request));
    json(result.ok_or_else(too_old)??)
}

fn estimate(chain: &Chain, params: &Params) -> Answer {
    let request: TransactionRequest = params.get(0)?;
    let block = existing(chain, params.optional(1)?)?;
    let chain_id = chain.config.chain_id;
    let result = chain
        .at(block.header.number, |view| evm::estimate(view, &block.header, chain_id, &request));
    json(U64::from(result.ok_or_else(too_old)??))
}

fn transaction(chain: &Chain, hash: B256) -> Option<RpcTransaction> {
    if let Some((block, index)) = chain.place(hash) {
        return block.transaction(index);
    }
    let pooled = chain.pool.get(hash)?;
    Some(RpcTransaction {
        inner: Recovered::new_unchecked(pooled.tx.clone(), pooled.sender),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    })
}

fn logs(chain: &Chain, filter: &Filter) -> Answer {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block =
                chain.block_by_hash(hash).ok_or_else(|| RpcError::server("unknown block"))?;
            (block.header.number, block.header.number)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let head = chain.head().header.number;
            let from = from_block.map_or(head, |tag| number(chain, tag));
            let to = to_block.map_or(head, |tag| number(chain, tag));
            if from > to {
                return Err(RpcError::params("invalid block range params"));
            }
            if from < chain.oldest() {
                return Err(RpcError::server("logs of blocks that old are not kept any more"));
            }
            (from, to.min(head))
        }
    };
    let mut found: Vec<Log> = Vec::new();
    for block in (from..=to).filter_map(|number| chain.block(number)) {
        if !filter.matches_bloom(block.header.logs_bloom) {
            continue;
        }
        for log in block.logs().filter(|log| filter.matches(&log.inner)) {
            if found.len() == MAX_LOG_RESULTS {
                return Err(RpcError::limit(format!(
                    "query returned more than {MAX_LOG_RESULTS} results"
                )));
            }
            found.push(log);
        }
    }
    json(found)
}

fn next_base_fee(chain: &Chain) -> u64 {
    chain.head().header.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default()
}

fn next_blob_fee(chain: &Chain) -> u128 {
    chain.head().header.next_block_blob_fee(BLOBS).unwrap_or_default()
}

/// The median tip of the newest block that has transactions, out of the last few.
fn suggested_tip(chain: &Chain) -> u128 {
    let head = chain.head().header.number;
    let blocks = (head.saturating_sub(20)..=head).rev().filter_map(|number| chain.block(number));
    let full = blocks.into_iter().find(|block| !block.transactions.is_empty());
    full.and_then(|block| {
        let mut tips = tips(block);
        tips.sort_unstable_by_key(|(tip, _)| *tip);
        tips.get(tips.len() / 2).map(|(tip, _)| *tip)
    })
    .unwrap_or(DEFAULT_TIP)
}

/// Tip and gas of each transaction.
fn tips(block: &Block) -> Vec<(u128, u64)> {
    block
        .transactions
        .iter()
        .map(|one| {
            let tip = one.tx.effective_tip_per_gas(block.base_fee()).unwrap_or_default();
            (tip, one.gas_used)
        })
        .collect()
}

fn fee_history(chain: &Chain, params: &Params) -> Answer {
    let count = params.get::<U64>(0)?.to::<u64>();
    let newest = number(chain, params.optional(1)?.unwrap_or(BlockNumberOrTag::Latest));
    let percentiles: Vec<f64> = params.optional(2)?.unwrap_or_default();
    if count > MAX_FEE_HISTORY || percentiles.len() > MAX_PERCENTILES {
        return Err(RpcError::limit("fee history is limited to 1024 blocks and 100 percentiles"));
    }
    if !percentiles.is_sorted() || percentiles.iter().any(|one| !(0.0..=100.0).contains(one)) {
        return Err(RpcError::params("percentiles must ascend from 0 to 100"));
    }
    if newest > chain.head().header.number {
        return Err(RpcError::server("request beyond head block"));
    }
    let oldest = (newest + 1).saturating_sub(count).max(chain.oldest());
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    let mut last = None;
    for block in (oldest..=newest).filter_map(|number| chain.block(number)) {
        let header = &block.header;
        history.base_fee_per_gas.push(block.base_fee().into());
        history.base_fee_per_blob_gas.push(block.blob_fee());
        history.gas_used_ratio.push(ratio(header.gas_used, header.gas_limit));
        let blob_gas = header.blob_gas_used.unwrap_or_default();
        history.blob_gas_used_ratio.push(ratio(blob_gas, BLOBS.max_blob_gas_per_block()));
        rewards.push(block_rewards(block, &percentiles));
        last = Some(header);
    }
    if let Some(header) = last {
        let next = header.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default();
        history.base_fee_per_gas.push(next.into());
        history.base_fee_per_blob_gas.push(header.next_block_blob_fee(BLOBS).unwrap_or_default());
    }
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    json(history)
}

#[allow(clippy::cast_precision_loss, reason = "a ratio for humans")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Tips at percentiles of the block's gas.
#[allow(clippy::cast_precision_loss, reason = "percentiles of gas, as the method defines them")]
fn block_rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut tips = tips(block);
    tips.sort_unstable_by_key(|(tip, _)| *tip);
    let used = block.transactions.last().map_or(0, |one| one.receipt.cumulative_gas_used());
    let at = |percentile: &f64| {
        let threshold = used as f64 * percentile / 100.0;
        let mut sum = 0u64;
        let reached = tips.iter().find(|(_, gas)| {
            sum += gas;
            sum as f64 >= threshold
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}
