//! The server over HTTP and WebSocket, on the double.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U64};
use alloy_rpc_types_eth::{Block, Log, Transaction, TransactionReceipt};
use blindfold_sdk::{
    Client, ClientError, Committee, Fees, SigningKey, TxStatus, Wallet,
    rpc::{
        CommitmentDocument, EvidenceDocument, ExecutedNotice, HeadDocument, OpenedNotice,
        OpeningDocument, OrderedNotice, WithdrawalDocument, codes,
    },
};
use jsonrpsee::{
    core::{
        client::{ClientT, Error, SubscriptionClientT},
        params::{ArrayParams, BatchRequestBuilder},
    },
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
    types::error::INVALID_PARAMS_CODE,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json};

use super::{
    RpcServer,
    api::{CallOutcome, NodeApi, NodeEvent, Readiness},
    double::{EVENT_CAPACITY, EXCHANGE, PENDING_BYTES, SWAP, TestNode, WITHDRAWALS},
};
use crate::config::RpcConfig;

struct Served {
    node: Arc<TestNode>,
    server: RpcServer,
    http: HttpClient,
}

impl Served {
    async fn new(heights: u64) -> Self {
        Self::with(heights, |_| {}).await
    }

    async fn with(heights: u64, adjust: impl FnOnce(&mut RpcConfig)) -> Self {
        let mut config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
        adjust(&mut config);
        let node = TestNode::new(heights);
        let server = RpcServer::start(config, node.clone()).await.unwrap();
        let http = HttpClientBuilder::default().build(url("http", &server)).unwrap();
        Self { node, server, http }
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, params: ArrayParams) -> T {
        self.http.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Code and message of the expected refusal.
    async fn refused(&self, method: &str, params: ArrayParams) -> (i32, String) {
        match self.http.request::<Value, _>(method, params).await {
            Err(Error::Call(error)) => (error.code(), error.message().to_owned()),
            other => panic!("{method}: expected a refusal, got {other:?}"),
        }
    }

    async fn ws(&self) -> WsClient {
        WsClientBuilder::default().build(url("ws", &self.server)).await.unwrap()
    }
}

fn url(scheme: &str, server: &RpcServer) -> String {
    format!("{scheme}://{}", server.local_addr())
}

#[tokio::test]
async fn blocks_transactions_and_receipts_agree() {
    let served = Served::new(3).await;
    let block: Block = served.ask("eth_getBlockByNumber", rpc_params!["latest", true]).await;
    assert_eq!(block.header.number, 3);
    assert_eq!(block.header.hash, block.header.inner.hash_slow(), "clients hash the header again");
    let full = block.transactions.as_transactions().unwrap();
    assert_eq!(full.len(), 3);

    let by_hash: Block =
        served.ask("eth_getBlockByHash", rpc_params![block.header.hash, false]).await;
    assert_eq!(by_hash.transactions.as_hashes().unwrap().len(), 3);
    assert_eq!(by_hash.header, block.header);

    let receipts: Vec<TransactionReceipt> =
        served.ask("eth_getBlockReceipts", rpc_params!["0x3"]).await;
    for (index, (transaction, receipt)) in full.iter().zip(&receipts).enumerate() {
        let hash = *transaction.inner.tx_hash();
        assert_eq!(receipt.transaction_hash, hash);
        assert_eq!(
            receipt.inner.logs()[0].log_index,
            Some(index as u64),
            "numbered through the block"
        );
        assert_eq!(receipt.effective_gas_price, 1_003 + index as u128 + 1);
        let again: TransactionReceipt =
            served.ask("eth_getTransactionReceipt", rpc_params![hash]).await;
        assert_eq!(&again, receipt);
        let again: Transaction = served.ask("eth_getTransactionByHash", rpc_params![hash]).await;
        assert_eq!(&again, transaction);
        let at = U64::from(index);
        let again: Transaction =
            served.ask("eth_getTransactionByBlockNumberAndIndex", rpc_params!["0x3", at]).await;
        assert_eq!(&again, transaction);
    }
    let none: Value = served.ask("eth_getBlockByNumber", rpc_params!["0x4", false]).await;
    assert_eq!(none, Value::Null);
    let none: Value = served.ask("eth_getTransactionReceipt", rpc_params![B256::ZERO]).await;
    assert_eq!(none, Value::Null);
    let count: U64 =
        served.ask("eth_getBlockTransactionCountByHash", rpc_params![block.header.hash]).await;
    assert_eq!(count, U64::from(3));
}

#[tokio::test]
async fn withdrawals_come_in_pages() {
    let served = Served::new(1).await;
    let mut found: Vec<WithdrawalDocument> = Vec::new();
    loop {
        let from = U64::from(found.len());
        let page: Vec<WithdrawalDocument> =
            served.ask("sealed_getWithdrawals", rpc_params![EXCHANGE, from]).await;
        assert!(page.len() <= 256);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found.len() as u64, WITHDRAWALS);
    assert!((0..).zip(&found).all(|(index, document)| document.index == index));
    let first: Vec<WithdrawalDocument> =
        served.ask("sealed_getWithdrawals", rpc_params![EXCHANGE]).await;
    assert_eq!(first, found[..256]);
    let none: Value = served.ask("sealed_getWithdrawals", rpc_params![Address::ZERO]).await;
    assert_eq!(none, json!([]));
    let one: WithdrawalDocument = served.ask("sealed_getWithdrawal", rpc_params!["0x7"]).await;
    assert_eq!(one, found[7]);
    let none: Value = served.ask("sealed_getWithdrawal", rpc_params![U64::from(WITHDRAWALS)]).await;
    assert_eq!(none, Value::Null);
}

/// The JSON itself, for clients that are stricter than ours.
#[tokio::test]
async fn json_has_the_shapes_that_clients_expect() {
    let served = Served::new(2).await;
    let chain = U64::from(served.node.committee.genesis.chain_id);
    let cases: Vec<(&str, ArrayParams, Value)> = vec![
        ("eth_chainId", rpc_params![], json!(chain)),
        ("net_version", rpc_params![], json!(chain.to::<u64>().to_string())),
        ("eth_blockNumber", rpc_params![], json!("0x2")),
        ("eth_syncing", rpc_params![], json!(false)),
        ("eth_accounts", rpc_params![], json!([])),
        ("eth_gasPrice", rpc_params![], json!("0x7d7")),
        ("eth_maxPriorityFeePerGas", rpc_params![], json!("0x7")),
        ("net_listening", rpc_params![], json!(true)),
        ("net_peerCount", rpc_params![], json!("0x3")),
        ("web3_clientVersion", rpc_params![], json!(super::CLIENT_VERSION)),
        ("eth_getBalance", rpc_params![EXCHANGE], json!("0x3ea")),
        ("eth_getBalance", rpc_params![EXCHANGE, "pending"], json!("0x3ea")),
        ("eth_getTransactionCount", rpc_params![EXCHANGE, "0x1"], json!("0x1")),
        ("eth_getCode", rpc_params![EXCHANGE, "latest"], json!("0x60")),
        (
            "eth_getStorageAt",
            rpc_params![EXCHANGE, "0x5", "latest"],
            json!(B256::with_last_byte(5)),
        ),
        (
            "eth_call",
            rpc_params![json!({"to": EXCHANGE, "data": "0x01"}), "latest"],
            json!("0x0102"),
        ),
        ("eth_estimateGas", rpc_params![json!({"to": EXCHANGE})], json!("0x5208")),
        (
            "web3_sha3",
            rpc_params!["0x"],
            json!("0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        ),
    ];
    for (method, params, expected) in cases {
        let answer: Value = served.ask(method, params).await;
        assert_eq!(answer, expected, "{method}");
    }
    let block: Value = served.ask("eth_getBlockByNumber", rpc_params!["0x1", false]).await;
    for key in [
        "hash",
        "parentHash",
        "number",
        "stateRoot",
        "baseFeePerGas",
        "logsBloom",
        "size",
        "uncles",
    ] {
        assert!(block[key] != Value::Null, "{key} is missing");
    }
    let receipts: Value = served.ask("eth_getBlockReceipts", rpc_params!["0x1"]).await;
    assert_eq!(receipts[0]["status"], "0x1");
    assert_eq!(receipts[0]["type"], "0x2");
    let proof: Value = served.ask("eth_getProof", rpc_params![EXCHANGE, ["0x1"], "latest"]).await;
    assert_eq!(
        proof["storageProof"][0]["key"], "0x1",
        "keys come back in the form they were asked in"
    );

    *served.node.readiness.lock() = Readiness::Syncing { started_at: 0, current: 2, highest: 9 };
    let syncing: Value = served.ask("eth_syncing", rpc_params![]).await;
    assert_eq!(syncing["highestBlock"], "0x9");
}

#[tokio::test]
async fn plaintext_is_refused_unparsed() {
    let served = Served::new(1).await;
    let block: Block = served.ask("eth_getBlockByNumber", rpc_params!["0x1", true]).await;
    let signed = alloy_eips::eip2718::Encodable2718::encoded_2718(
        block.transactions.as_transactions().unwrap()[0].inner.inner(),
    );
    for method in ["eth_sendRawTransaction", "eth_sendRawTransactionSync", "sealed_sendTransaction"]
    {
        let (code, message) =
            served.refused(method, rpc_params![Bytes::from(signed.clone())]).await;
        assert_eq!(code, codes::PLAINTEXT_REFUSED, "{method}");
        assert!(message.contains("seal the transaction"));
    }
    for params in [rpc_params![], rpc_params![json!({"odd": 1})]] {
        let (code, _) = served.refused("eth_sendTransaction", params).await;
        assert_eq!(code, codes::PLAINTEXT_REFUSED);
    }
    assert_eq!(served.node.submissions.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn refusals_are_typed() {
    let served = Served::new(9).await;
    let (code, message) = served.refused("eth_getBalance", rpc_params![EXCHANGE, "0x1"]).await;
    assert_eq!(code, codes::HISTORY_UNAVAILABLE);
    assert!(message.contains("available: 7 to 9"));
    let (code, _) = served.refused("eth_getBalance", rpc_params![EXCHANGE, "0xff"]).await;
    assert_eq!(code, codes::NOT_FOUND);
    let (code, _) = served.refused("eth_getBalance", rpc_params!["0x12"]).await;
    assert_eq!(code, INVALID_PARAMS_CODE);
    let overrides = json!({ EXCHANGE.to_string(): { "balance": "0x1" } });
    let (code, _) =
        served.refused("eth_call", rpc_params![json!({"to": EXCHANGE}), "latest", overrides]).await;
    assert_eq!(code, INVALID_PARAMS_CODE);
    let both = json!({"to": EXCHANGE, "data": "0x01", "input": "0x02"});
    assert_eq!(served.refused("eth_call", rpc_params![both]).await.0, INVALID_PARAMS_CODE);
    *served.node.outcome.lock() = CallOutcome::Reverted(Bytes::from_static(&[9]));
    let reverted =
        served.http.request::<Value, _>("eth_call", rpc_params![json!({"to": EXCHANGE})]).await;
    let Err(Error::Call(error)) = reverted else { panic!("expected a revert") };
    assert_eq!((error.code(), error.data().unwrap().get()), (codes::REVERTED, "\"0x09\""));
    let slots = vec!["0x1"; super::eth::MAX_PROOF_SLOTS + 1];
    let (code, _) = served.refused("eth_getProof", rpc_params![EXCHANGE, slots, "latest"]).await;
    assert_eq!(code, codes::LIMIT_EXCEEDED);
}

#[tokio::test]
async fn calls_are_clamped_to_the_gas_cap() {
    let served = Served::with(1, |config| config.call_gas_cap = 1_000).await;
    for (asked, granted) in [(json!("0x10"), 16), (json!("0xffffff"), 1_000), (Value::Null, 1_000)]
    {
        let call = json!({"to": EXCHANGE, "gas": asked});
        let _: Bytes = served.ask("eth_call", rpc_params![call]).await;
        assert_eq!(served.node.last_call.lock().as_ref().unwrap().gas_limit, granted);
    }
}

#[tokio::test]
async fn logs_are_found_in_order_and_bounded() {
    let served = Served::with(5, |config| {
        config.max_log_blocks = 5;
        config.max_log_results = 14;
    })
    .await;
    let filter = |extra: Value| {
        let mut filter = json!({"fromBlock": "0x1", "toBlock": "0x4", "address": EXCHANGE});
        filter.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        rpc_params![filter]
    };
    let all: Vec<Log> = served.ask("eth_getLogs", filter(json!({}))).await;
    assert_eq!(all.len(), 1 + 2 + 3 + 4);
    assert!(all.is_sorted_by_key(|log| (log.block_number, log.log_index)));
    let second = B256::with_last_byte(1);
    let some: Vec<Log> = served.ask("eth_getLogs", filter(json!({"topics": [SWAP, second]}))).await;
    let places: Vec<_> =
        some.iter().map(|log| (log.block_number.unwrap(), log.log_index.unwrap())).collect();
    assert_eq!(places, [(2, 1), (3, 1), (4, 1)]);
    let none: Vec<Log> = served.ask("eth_getLogs", filter(json!({"topics": [B256::ZERO]}))).await;
    assert!(none.is_empty());
    let beyond: Vec<Log> =
        served.ask("eth_getLogs", rpc_params![json!({"fromBlock": "0x9"})]).await;
    assert!(beyond.is_empty());
    // Six blocks are one too many; five of them hold one log too many.
    let (code, message) =
        served.refused("eth_getLogs", filter(json!({"fromBlock": "0x0", "toBlock": "0x5"}))).await;
    assert_eq!((code, message.contains("5 blocks")), (codes::LIMIT_EXCEEDED, true));
    let (code, message) = served.refused("eth_getLogs", filter(json!({"toBlock": "0x5"}))).await;
    assert_eq!((code, message.contains("14 logs")), (codes::LIMIT_EXCEEDED, true));
    let (code, _) = served.refused("eth_getLogs", filter(json!({"fromBlock": "0x5"}))).await;
    assert_eq!(code, INVALID_PARAMS_CODE, "from above to");
    let at = served.node.block(3).unwrap().unwrap().hash;
    let one: Vec<Log> = served.ask("eth_getLogs", rpc_params![json!({"blockHash": at})]).await;
    assert_eq!(one.len(), 3);
}

#[tokio::test]
async fn fee_history_covers_the_next_height() {
    let served = Served::new(4).await;
    let history: Value =
        served.ask("eth_feeHistory", rpc_params!["0x2", "latest", [0.0, 50.0, 100.0]]).await;
    assert_eq!(history["oldestBlock"], "0x3");
    assert_eq!(history["baseFeePerGas"], json!(["0x3eb", "0x3ec", "0x7d0"]));
    assert_eq!(history["reward"], json!([["0x1", "0x2", "0x3"], ["0x1", "0x2", "0x4"]]));
    let all: Value = served.ask("eth_feeHistory", rpc_params!["0xffff", "latest"]).await;
    assert_eq!(all["gasUsedRatio"].as_array().unwrap().len(), 5, "cut at genesis");
    for percentiles in [json!([2.0, 1.0]), json!([101.0]), json!([-1.0])] {
        let (code, _) =
            served.refused("eth_feeHistory", rpc_params!["0x1", "latest", percentiles]).await;
        assert_eq!(code, INVALID_PARAMS_CODE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_seals_submits_and_waits() {
    let served = Served::new(2).await;
    let (node, url) = (served.node.clone(), url("http", &served.server));
    tokio::task::spawn_blocking(move || {
        let pinned = node.committee.genesis.hash();
        assert!(matches!(Client::connect(&url, B256::ZERO), Err(ClientError::Committee(_))));
        let client = Client::connect(&url, pinned).unwrap();
        let committee: Committee = client.committee().clone();
        let wallet = Wallet::new(SigningKey::from_bytes(&[3; 32]).unwrap(), committee);
        client.sync(&wallet).unwrap();
        let fees: Fees = client.suggest_fees(50_000).unwrap();
        assert_eq!(fees.max_fee_per_gas, 4_007);
        let sealed = wallet.seal(b"a signed transaction", &fees).unwrap();
        let receipt = client.submit(&sealed).unwrap();
        assert_eq!((receipt.receipt.envelope_id, receipt.receipt.member), (sealed.id(), 2));
        assert_eq!(client.status(sealed.id()).unwrap(), Some(TxStatus::Pending));
        let again = client.submit(&sealed);
        let Err(ClientError::Refused { code, data, .. }) = again else { panic!("admitted twice") };
        assert_eq!(code, codes::ENVELOPE_REFUSED);
        assert_eq!(data.unwrap(), json!({"reason": "already_known", "fault": "nobody"}));

        let early = client.wait(sealed.id(), Duration::from_millis(1));
        assert!(matches!(early, Err(ClientError::TimedOut { last: Some(TxStatus::Pending), .. })));
        let end = TxStatus::Undecryptable { height: 3, position: 0 };
        let (later, expected, id) = (node.clone(), end.clone(), sealed.id());
        let setter = std::thread::spawn(move || later.set_status(id, end));
        assert_eq!(client.wait(sealed.id(), Duration::from_secs(20)).unwrap(), expected);
        setter.join().unwrap();

        let mut broken = sealed.clone();
        broken.ciphertext.body[0] ^= 1;
        let refused = client.submit(&broken);
        assert!(matches!(refused, Err(ClientError::Refused { code, .. }) if code == codes::ENVELOPE_INVALID));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn sealed_reads() {
    let served = Served::new(2).await;
    let head: HeadDocument = served.ask("sealed_getHead", rpc_params![]).await;
    assert_eq!((head.ordered_height, head.opened_height, head.executed_height), (4, 3, 2));
    for key in [json!("0x1"), json!(SWAP)] {
        let found: CommitmentDocument = served.ask("sealed_getCommitment", rpc_params![key]).await;
        assert_eq!(found.height, 1);
    }
    let none: Value = served.ask("sealed_getCommitment", rpc_params!["0x2"]).await;
    assert_eq!(none, Value::Null);
    for wrong in ["1", "0x", "0x+1", "latest"] {
        assert_eq!(
            served.refused("sealed_getCommitment", rpc_params![wrong]).await.0,
            INVALID_PARAMS_CODE
        );
    }
    let found: OpeningDocument = served.ask("sealed_getOpening", rpc_params!["0x1", "0x0"]).await;
    assert!(found.decryptable);
    let none: Value = served.ask("sealed_getOpening", rpc_params!["0x1", "0x100000000"]).await;
    assert_eq!(none, Value::Null, "a position beyond 32 bits does not wrap round");
    let none: Value = served.ask("sealed_getTransaction", rpc_params![SWAP]).await;
    assert_eq!(none, Value::Null);
}

#[tokio::test]
async fn pending_envelopes_fit_the_answer() {
    let served = Served::with(1, |config| config.max_response_bytes = 200_000).await;
    let some: Vec<Value> = served.ask("sealed_getPending", rpc_params!["0x2"]).await;
    assert_eq!(some.len(), 2);
    let all: Vec<Value> = served.ask("sealed_getPending", rpc_params![]).await;
    assert_eq!(all.len(), 100_000 / (2 * PENDING_BYTES + 256));
}

#[tokio::test]
async fn evidence_is_served_with_its_id() {
    let served = Served::new(1).await;
    let found: Vec<EvidenceDocument> = served.ask("sealed_getEvidence", rpc_params![]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, alloy_primitives::keccak256(&found[0].evidence));
}

#[tokio::test]
async fn latest_follows_a_moving_head() {
    let served = Served::new(3).await;
    served.node.restless.store(3, std::sync::atomic::Ordering::SeqCst);
    let balance: Value = served.ask("eth_getBalance", rpc_params![EXCHANGE, "latest"]).await;
    assert_eq!(balance, json!(format!("{:#x}", 1_000 + 12)));
    served.node.restless.store(1, std::sync::atomic::Ordering::SeqCst);
    let (code, _) = served.refused("eth_getBalance", rpc_params![EXCHANGE, "0xc"]).await;
    assert_eq!(code, codes::HISTORY_UNAVAILABLE, "a height asked for by number is meant");
    served.node.restless.store(1_000, std::sync::atomic::Ordering::SeqCst);
    let (code, _) = served.refused("eth_getBalance", rpc_params![EXCHANGE]).await;
    assert_eq!(code, codes::HISTORY_UNAVAILABLE, "not for ever");
}

#[tokio::test]
async fn subscriptions_deliver_what_happens() {
    let served = Served::new(1).await;
    let ws = served.ws().await;
    let mut heads = ws
        .subscribe::<Value, _>("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe")
        .await
        .unwrap();
    let filter = json!({"topics": [SWAP, B256::with_last_byte(1)]});
    let mut logs = ws
        .subscribe::<Log, _>("eth_subscribe", rpc_params!["logs", filter], "eth_unsubscribe")
        .await
        .unwrap();
    let mut executed = ws
        .subscribe::<ExecutedNotice, _>(
            "sealed_subscribe",
            rpc_params!["executed"],
            "sealed_unsubscribe",
        )
        .await
        .unwrap();
    served.node.set_status(SWAP, TxStatus::Pending);
    let mut status = ws
        .subscribe::<TxStatus, _>(
            "sealed_subscribe",
            rpc_params!["status", SWAP],
            "sealed_unsubscribe",
        )
        .await
        .unwrap();

    let view = served.node.grow();
    let head = heads.next().await.unwrap().unwrap();
    assert_eq!(head["number"], "0x2");
    assert_eq!(head["hash"], json!(view.hash));
    let log = logs.next().await.unwrap().unwrap();
    assert_eq!((log.block_number, log.log_index), (Some(2), Some(1)));
    assert_eq!(executed.next().await.unwrap().unwrap().block_hash, view.hash);

    assert_eq!(
        status.next().await.unwrap().unwrap(),
        TxStatus::Pending,
        "the present status comes at once"
    );
    served.node.set_status(EXCHANGE.into_word(), TxStatus::Evicted);
    let ordered = TxStatus::Ordered { height: 3, position: 1 };
    served.node.set_status(SWAP, ordered.clone());
    assert_eq!(
        status.next().await.unwrap().unwrap(),
        ordered,
        "others' statuses are not delivered"
    );

    for params in [rpc_params!["newPendingTransactions"], rpc_params!["nonsense"], rpc_params![]] {
        assert!(
            ws.subscribe::<Value, _>("eth_subscribe", params, "eth_unsubscribe").await.is_err()
        );
    }
}

#[tokio::test]
async fn a_status_is_followed_through_heights() {
    let served = Served::new(1).await;
    let ws = served.ws().await;
    let follow = || {
        let params = rpc_params!["status", SWAP];
        ws.subscribe::<TxStatus, _>("sealed_subscribe", params, "sealed_unsubscribe")
    };
    let notify = |event| served.node.events.send(event).unwrap();
    let ordered = |height, envelope_ids| {
        NodeEvent::Ordered(Arc::new(OrderedNotice {
            height,
            digest: B256::ZERO,
            leader: 0,
            timestamp_ms: 0,
            envelope_ids,
        }))
    };
    let other = B256::with_last_byte(1);

    // Nothing is known of it when it is subscribed to.
    let mut status = follow().await.unwrap();
    served.node.statuses.lock().insert(SWAP, TxStatus::Pending);
    notify(ordered(2, vec![other]));
    assert_eq!(status.next().await.unwrap().unwrap(), TxStatus::Pending);
    notify(ordered(3, vec![other, SWAP]));
    let expected = TxStatus::Ordered { height: 3, position: 1 };
    assert_eq!(status.next().await.unwrap().unwrap(), expected);
    notify(NodeEvent::Opened(OpenedNotice { height: 2, opened: 1, undecryptable: 0 }));
    notify(NodeEvent::Opened(OpenedNotice { height: 3, opened: 2, undecryptable: 0 }));
    let expected = TxStatus::Opened { height: 3, position: 1 };
    assert_eq!(status.next().await.unwrap().unwrap(), expected);

    // What no height announces is looked up.
    served.node.statuses.lock().insert(SWAP, TxStatus::Pending);
    let mut status = follow().await.unwrap();
    assert_eq!(status.next().await.unwrap().unwrap(), TxStatus::Pending);
    let replaced = TxStatus::Replaced { by: other };
    served.node.statuses.lock().insert(SWAP, replaced.clone());
    notify(ordered(4, vec![]));
    assert_eq!(status.next().await.unwrap().unwrap(), replaced);
}

#[tokio::test]
async fn a_subscriber_that_lags_is_cut_off() {
    // One thread: the subscription's task cannot run between the events below.
    let served = Served::new(1).await;
    let ws = served.ws().await;
    let mut heads = ws
        .subscribe::<Value, _>("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe")
        .await
        .unwrap();
    for _ in 0..=EVENT_CAPACITY {
        served.node.grow();
    }
    let outcome = tokio::time::timeout(Duration::from_secs(10), heads.next()).await.unwrap();
    assert!(!matches!(outcome, Some(Ok(_))), "silently skipped events: {outcome:?}");
}

#[tokio::test]
async fn requests_and_batches_are_bounded() {
    let served = Served::with(1, |config| {
        config.max_batch = 2;
        config.max_request_bytes = 2_000;
    })
    .await;
    let mut batch = BatchRequestBuilder::new();
    for _ in 0..3 {
        batch.insert("eth_chainId", rpc_params![]).unwrap();
    }
    assert!(served.http.batch_request::<Value>(batch).await.is_err());
    let large = "00".repeat(3_000);
    assert!(
        served
            .http
            .request::<Value, _>("web3_sha3", rpc_params![format!("0x{large}")])
            .await
            .is_err()
    );
    let _: U64 = served.ask("eth_chainId", rpc_params![]).await;
    served.server.stop().await;
}
