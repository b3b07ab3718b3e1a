//! The cases.

use alloy_eips::{BlockId, BlockNumberOrTag, eip4844::Blob};
use alloy_network::TransactionBuilder as _;
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall as _, SolConstructor as _, SolError as _, SolEvent as _};

use super::{Bench, CHAIN_ID, GENESIS_S, probe::Probe};
use crate::l1::{BlobsAt, Dropped, L1Error, SendFault, blob_hash, fault, revert_data, seal_blobs};

/// A contract is where it must be, keeps what it was told, and sees the chain it is on.
pub(super) async fn deploys_and_calls(bench: &mut Bench<'_>) {
    assert_eq!(bench.provider.get_chain_id().await.expect("chain id"), CHAIN_ID);
    let nonce = bench.nonce(0).await;
    let constructor = Probe::constructorCall { first: U256::from(7) }.abi_encode();
    let code = [Probe::BYTECODE.to_vec(), constructor].concat();
    let request = bench.request(0, None, code.into()).await;
    let receipt = bench.perform("deploy", request).await;
    let expected = bench.address(0).create(nonce);
    assert!(receipt.inner.status());
    assert_eq!(receipt.contract_address, Some(expected));
    bench.probe = expected;
    let code = bench.provider.get_code_at(expected).await.expect("code");
    assert!(code.len() > 100, "{} bytes of code", code.len());
    assert_eq!(bench.read(Probe::notedCall(U256::ZERO)).await, U256::from(7));

    let note = Probe::noteCall { key: U256::from(5), data: Bytes::from_static(b"five") };
    bench.call_probe("note", note.abi_encode()).await;
    let expected: U256 = keccak256(b"five").into();
    assert_eq!(bench.read(Probe::notedCall(U256::from(5))).await, expected);
    // The mapping is in slot 0.
    let slot = keccak256([U256::from(5).to_be_bytes::<32>(), [0; 32]].concat());
    let stored = bench.provider.get_storage_at(bench.probe, slot.into()).await.expect("slot");
    assert_eq!(stored, expected);

    let burn = Probe::burnCall { rounds: U256::from(500) };
    bench.call_probe("burn 500", burn.abi_encode()).await;
    let fees = bench.read(Probe::feesCall {}).await;
    assert_eq!(fees.chain, U256::from(CHAIN_ID));
    assert!(fees.blobFee > U256::ZERO, "a blob costs something");

    let head = bench.l1.heads().await.expect("heads").latest;
    let parent = bench.provider.get_block_by_number((head.number - 1).into()).await;
    let parent = parent.expect("an answer").expect("a parent").header.hash;
    let seen = bench.read(Probe::hashOfCall { number: U256::from(head.number - 1) }).await;
    assert_eq!(seen, parent, "BLOCKHASH and the header agree");
}

/// Logs are found by address, topic and block, and carry their place.
pub(super) async fn events_are_found(bench: &mut Bench<'_>) {
    let from = bench.l1.heads().await.expect("heads").latest.number + 1;
    let mut places = Vec::new();
    for key in [11u64, 12, 11] {
        let data = Bytes::from(vec![u8::try_from(key).expect("small"); 40]);
        let note = Probe::noteCall { key: U256::from(key), data };
        let receipt =
            bench.call_probe(&format!("note {key} ({})", places.len()), note.abi_encode()).await;
        assert!(!receipt.inner.logs_bloom().is_zero());
        assert_eq!(receipt.inner.logs().len(), 1);
        places.push((receipt.block_number, receipt.block_hash, receipt.transaction_hash));
    }
    let filter = || Filter::new().address(bench.probe).from_block(from);
    let all = bench.provider.get_logs(&filter()).await.expect("logs");
    assert_eq!(all.len(), 3);
    for (log, (number, hash, transaction)) in all.iter().zip(&places) {
        assert_eq!((log.block_number, log.block_hash), (*number, *hash));
        assert_eq!(log.transaction_hash, Some(*transaction));
        assert_eq!((log.transaction_index, log.log_index), (Some(0), Some(0)));
        assert!(!log.removed);
        let event = Probe::Noted::decode_log(&log.inner).expect("our event");
        assert_eq!(event.who, bench.address(0));
    }
    let topic = |key: u64| B256::from(U256::from(key).to_be_bytes::<32>());
    let eleven = filter().event_signature(Probe::Noted::SIGNATURE_HASH).topic1(topic(11));
    assert_eq!(bench.provider.get_logs(&eleven).await.expect("logs").len(), 2);
    let either = filter().topic1(vec![topic(11), topic(12)]);
    assert_eq!(bench.provider.get_logs(&either).await.expect("logs").len(), 3);
    let nobody = filter().topic1(topic(13));
    assert_eq!(bench.provider.get_logs(&nobody).await.expect("logs").len(), 0);
    let elsewhere = Filter::new().address(bench.address(1)).from_block(from);
    assert_eq!(bench.provider.get_logs(&elsewhere).await.expect("logs").len(), 0);
    let one = Filter::new().at_block_hash(places[1].1.expect("in a block"));
    assert_eq!(bench.provider.get_logs(&one).await.expect("logs").len(), 1);
    let before = Filter::new().address(bench.probe).from_block(from).to_block(from + 1);
    assert_eq!(bench.provider.get_logs(&before).await.expect("logs").len(), 2);
}

/// What a contract reverts with arrives whole, from calls, estimates and as a failed receipt.
pub(super) async fn reverts_say_why(bench: &mut Bench<'_>) {
    let refuse = Probe::refuseCall { code: U256::from(99) }.abi_encode();
    let mut request = bench.request(0, Some(bench.probe), refuse.clone().into()).await;
    request.nonce = None;
    let expected = Probe::Refused { code: U256::from(99), who: bench.address(0) }.abi_encode();
    let error = bench.provider.call(request.clone()).await.expect_err("a revert");
    assert_eq!(revert_data(&error).expect("data"), expected, "{error}");
    assert_eq!(fault(&error), SendFault::Reverted(expected.clone().into()));
    request.gas = None;
    let error = bench.provider.estimate_gas(request.clone()).await.expect_err("a revert");
    assert_eq!(fault(&error), SendFault::Reverted(expected.into()), "{error}");

    let words = Probe::refuseInWordsCall {}.abi_encode();
    let error = bench.provider.call(request.with_input(words)).await.expect_err("a revert");
    assert!(error.to_string().contains("no such thing"), "{error}");

    let request = bench.request(0, Some(bench.probe), refuse.into()).await;
    let receipt = bench.perform("a revert", request).await;
    assert!(!receipt.inner.status());
    assert!(receipt.inner.logs().is_empty());
}

/// Nonces and replacement: the errors that a sender must tell apart.
pub(super) async fn nonces_and_replacement(bench: &mut Bench<'_>) {
    let to = Some(bench.address(1));
    let transfer = bench.request(0, to, Bytes::new()).await.with_gas_limit(21_000);
    let nonce = transfer.nonce.expect("set");

    let old = transfer.clone().with_nonce(nonce - 1);
    let error = bench.submit(0, old).await.expect_err("used");
    assert_eq!(fault(&error), SendFault::NonceTooLow, "{error}");

    let first = bench.submit(0, transfer.clone()).await.expect("taken");
    let error = bench.submit(0, transfer.clone()).await.expect_err("known");
    assert_eq!(fault(&error), SendFault::Known, "{error}");
    // The same nonce for something else, at the same price.
    let same = transfer.clone().with_value(U256::ONE);
    let error = bench.submit(0, same).await.expect_err("not a higher offer");
    assert_eq!(fault(&error), SendFault::Underpriced, "{error}");

    let pending = bench.provider.get_transaction_count(bench.address(0)).pending().await;
    assert_eq!(pending.expect("pending nonce"), nonce + 1);
    assert_eq!(bench.nonce(0).await, nonce, "not mined yet");
    let known = bench.provider.get_transaction_by_hash(first).await.expect("an answer");
    assert!(known.expect("it waits").block_hash.is_none());
    assert!(bench.receipt(first).await.is_none());

    let poor = transfer.clone().with_nonce(nonce + 1).with_value(U256::MAX >> 8);
    let error = bench.submit(0, poor).await.expect_err("too much");
    assert_eq!(fault(&error), SendFault::Funds, "{error}");

    bench.mine().await;
    let receipt = bench.receipt(first).await.expect("mined");
    assert_eq!(receipt.gas_used, 21_000);
    assert_eq!(bench.nonce(0).await, nonce + 1);
}

/// A waiting transaction is replaced by one with the same nonce and a higher offer, and only that one is
/// ever mined. (How much
/// more it must offer, and whether one below the base fee waits at all, is each node's own policy.)
pub(super) async fn a_higher_fee_gets_through(bench: &mut Bench<'_>) {
    let base_fee = u128::from(bench.base_fee().await);
    let request = bench.request(0, Some(bench.address(1)), Bytes::new()).await;
    let low = request
        .clone()
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(base_fee * 2)
        .with_max_priority_fee_per_gas(1_000);
    let stuck = bench.submit(0, low).await.expect("taken in");
    let high = request
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(base_fee * 4 + 2_000_000_000)
        .with_max_priority_fee_per_gas(2_000_000_000);
    let bumped = bench.submit(0, high).await.expect("replaces it");
    bench.mine().await;
    let receipt = bench.receipt(bumped).await.expect("mined");
    assert!(bench.receipt(stuck).await.is_none(), "replaced for good");
    let base_fee = u128::from(bench.base_fee().await); // of the block it is in
    assert_eq!(receipt.effective_gas_price, base_fee + 2_000_000_000);
}

/// Empty blocks lower the base fee by EIP-1559's rule, exactly.
pub(super) async fn base_fee_moves(bench: &mut Bench<'_>) {
    bench.mine().await;
    let first = bench.base_fee().await;
    bench.mine().await;
    assert_eq!(bench.base_fee().await, first - first / 8, "after an empty block");
    let history = bench
        .provider
        .get_fee_history(2, BlockNumberOrTag::Latest, &[50.0])
        .await
        .expect("fee history");
    assert_eq!(history.base_fee_per_gas.len(), 3);
    assert_eq!(history.base_fee_per_gas[1], u128::from(first - first / 8));
    assert!(history.base_fee_per_gas[2] < history.base_fee_per_gas[1]);
}

/// Blobs are seen by the contract as hashes and read back by the node as bytes.
pub(super) async fn blobs_go_in_and_come_out(bench: &mut Bench<'_>) {
    let blobs: Vec<Blob> = (1..=2u8)
        .map(|seed| {
            let mut blob = Blob::default();
            // The first byte of each element stays zero, which keeps it below the modulus.
            for (index, byte) in blob.iter_mut().enumerate().filter(|(index, _)| index % 32 != 0) {
                *byte = seed.wrapping_mul(u8::try_from(index % 251).expect("small"));
            }
            blob
        })
        .collect();
    let hashes: Vec<B256> = blobs.iter().map(|blob| blob_hash(blob).expect("a blob")).collect();
    let sidecar = seal_blobs(blobs.clone()).expect("blobs");
    assert_eq!(sidecar.versioned_hashes().collect::<Vec<_>>(), hashes);

    let input: Bytes = Probe::takeBlobsCall {}.abi_encode().into();
    let mut forged = sidecar.clone();
    forged.cell_proofs.swap(0, 1);
    let forged = bench.blob_request(0, bench.probe, input.clone(), forged).await;
    bench.submit(0, forged).await.expect_err("a wrong proof");
    let request = bench.blob_request(0, bench.probe, input, sidecar).await;
    let receipt = bench.perform("two blobs", request).await;
    assert!(receipt.inner.status());
    assert_eq!(receipt.blob_gas_used, Some(2 << 17));
    assert_eq!(receipt.blob_gas_price, Some(1));
    assert_eq!(bench.read(Probe::firstBlobCall {}).await, hashes[0]);
    assert_eq!(bench.read(Probe::blobCountCall {}).await, U256::from(2));

    let heads = bench.l1.heads().await.expect("heads");
    let mut at = BlobsAt {
        transaction: receipt.transaction_hash,
        block_timestamp_s: heads.latest.timestamp_s,
        hashes: hashes.iter().rev().copied().collect(),
    };
    let got = bench.l1.blobs(&at).await.expect("both");
    assert!(got.iter().eq(blobs.iter().rev()), "the bytes, in the order asked for");
    at.hashes = vec![B256::repeat_byte(1)];
    let missing = bench.l1.blobs(&at).await.expect_err("nobody's");
    assert!(matches!(missing, L1Error::BlobsMissing(hash) if hash == B256::repeat_byte(1)));
}

/// The price of bytes (EIP-7623). Limits below it, and over EIP-7825's cap, are not asked
/// for: anvil takes both in.
pub(super) async fn gas_limits_are_kept(bench: &mut Bench<'_>) {
    let to = Some(bench.address(1));
    let data = Bytes::from(vec![1; 1_000]);
    let floor = 21_000 + 40 * 1_000;
    let request = bench.request(0, to, data).await.with_gas_limit(floor);
    let receipt = bench.perform("1,000 bytes for nobody", request).await;
    assert_eq!(receipt.gas_used, floor);
}

/// Heads and tags.
pub(super) async fn heads_are_in_order(bench: &mut Bench<'_>) {
    let heads = bench.l1.heads().await.expect("heads");
    assert!(heads.finalized.number <= heads.safe.number);
    assert!(heads.safe.number <= heads.latest.number);
    assert!(heads.latest.timestamp_s > GENESIS_S);
    let id = BlockId::number(heads.latest.number);
    let by_number = bench.provider.get_block(id).await.expect("an answer").expect("the head");
    let by_hash = bench.provider.get_block_by_hash(heads.latest.hash).await;
    let by_hash = by_hash.expect("an answer").expect("the head");
    assert_eq!(by_number.header.hash, by_hash.header.hash);
    assert_eq!(by_number.header.hash_slow(), heads.latest.hash, "the hash is the header's");
    let parent = bench.provider.get_block_by_number((heads.latest.number - 1).into()).await;
    let parent = parent.expect("an answer").expect("the parent");
    assert_eq!(by_number.header.parent_hash, parent.header.hash);
    assert!(bench.provider.get_block_by_hash(B256::ZERO).await.expect("an answer").is_none());
}

/// Blocks go, and with them logs and receipts; transactions go too, or come again.
pub(super) async fn reorgs(bench: &mut Bench<'_>) {
    let note = |key: u64| Probe::noteCall { key: U256::from(key), data: Bytes::from(vec![1; 9]) };
    for (round, dropped) in
        [Dropped::Forgotten, Dropped::BackToPool, Dropped::MinedAgain].into_iter().enumerate()
    {
        let key = 100 + round as u64;
        bench.mine().await;
        let before = bench.l1.heads().await.expect("heads").latest;
        let nonce = bench.nonce(0).await;
        let receipt =
            bench.call_probe(&format!("to be dropped {round}"), note(key).abi_encode()).await;
        bench.mine().await;
        let old = bench.l1.heads().await.expect("heads").latest;
        assert_eq!(old.number, before.number + 2);

        let control = bench.l1.control().expect("a chain for tests");
        let new = control.reorg(2, dropped, old.timestamp_s + 5).await.expect("a reorg");
        assert_eq!(new.number, old.number, "{dropped:?}: as many blocks as before");
        assert_ne!(new.hash, old.hash, "{dropped:?}: other blocks");
        let gone = receipt.block_hash.expect("was in a block");
        let gone = bench.provider.get_block_by_hash(gone).await.expect("an answer");
        assert!(gone.is_none(), "{dropped:?}: the old block is gone");
        let base = bench.provider.get_block_by_number(before.number.into()).await;
        assert_eq!(base.expect("an answer").expect("it stays").header.hash, before.hash);

        let again = bench.receipt(receipt.transaction_hash).await;
        let noted = bench.read(Probe::notedCall(U256::from(key))).await;
        assert_eq!(again.is_some(), dropped == Dropped::MinedAgain, "{dropped:?}");
        assert_eq!(noted != U256::ZERO, dropped == Dropped::MinedAgain, "{dropped:?}");
        let filter = Filter::new().address(bench.probe).from_block(before.number + 1);
        let logs = bench.provider.get_logs(&filter).await.expect("logs");
        assert_eq!(logs.len(), usize::from(dropped == Dropped::MinedAgain), "{dropped:?}");

        bench.mine().await;
        let back = bench.receipt(receipt.transaction_hash).await;
        assert_eq!(back.is_some(), dropped != Dropped::Forgotten, "{dropped:?}");
        let used = u64::from(dropped != Dropped::Forgotten);
        assert_eq!(bench.nonce(0).await, nonce + used, "{dropped:?}");
        if let Some(back) = back {
            assert_eq!(back.gas_used, receipt.gas_used);
            assert_ne!(back.block_hash, receipt.block_hash);
        }
    }
}
