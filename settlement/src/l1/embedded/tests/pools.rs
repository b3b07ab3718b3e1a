//! What waits, what replaces what, and what a block takes.

use alloy_primitives::U256;

use super::{Tx, balance, config, ether, key, nonce, submit, submit_raw};
use crate::l1::embedded::{Config, Embedded, MAX_NONCE_GAP, MAX_TX_GAS, Refusal};

const GWEI: u128 = 1_000_000_000;

#[test]
fn both_fees_must_rise_by_a_tenth() {
    let l1 = Embedded::new(config());
    let key = key(0);
    let offer = |fee: u128, tip: u128| {
        submit(&l1, &key, Tx { fee, tip, value: U256::from(fee), ..Tx::default() })
    };
    offer(10 * GWEI, GWEI).expect("the first");
    assert_eq!(offer(11 * GWEI - 1, 2 * GWEI), Err(Refusal::Underpriced));
    assert_eq!(offer(20 * GWEI, GWEI * 11 / 10 - 1), Err(Refusal::Underpriced));
    offer(11 * GWEI, GWEI * 11 / 10).expect("a tenth more");
    assert_eq!(l1.waiting(), 1, "it took the other's place");
}

/// What offers less than the base fee waits until that falls, or a higher offer comes.
#[test]
fn what_pays_too_little_waits() {
    let l1 = Embedded::new(config());
    let key = key(0);
    let low = |nonce| Tx { nonce, fee: 800_000_000, tip: 1, ..Tx::default() };
    submit(&l1, &key, low(0)).expect("taken in");
    l1.mine(0).expect("a block");
    assert_eq!((nonce(&l1, key.address()), l1.waiting()), (0, 1), "the base fee is 0.875 gwei");
    l1.mine(0).expect("a block");
    assert_eq!((nonce(&l1, key.address()), l1.waiting()), (1, 0), "now it is 0.766");
}

#[test]
fn gaps_wait_and_fill() {
    let l1 = Embedded::new(config());
    let key = key(0);
    submit(&l1, &key, Tx { nonce: 1, ..Tx::default() }).expect("waits for 0");
    l1.mine(0).expect("a block");
    assert_eq!(nonce(&l1, key.address()), 0);
    submit(&l1, &key, Tx::default()).expect("fills the gap");
    l1.mine(0).expect("a block");
    assert_eq!((nonce(&l1, key.address()), l1.waiting()), (2, 0));
    let far = submit(&l1, &key, Tx { nonce: 3 + MAX_NONCE_GAP, ..Tx::default() });
    assert_eq!(far, Err(Refusal::NonceTooHigh { next: 2, got: 3 + MAX_NONCE_GAP }));
    let used = submit(&l1, &key, Tx { nonce: 1, value: U256::ZERO, ..Tx::default() });
    assert_eq!(used, Err(Refusal::NonceTooLow { next: 2, got: 1 }));
}

#[test]
fn malformed_transactions_are_refused() {
    let l1 = Embedded::new(config());
    let raw = Tx::default().sign(&key(0), 1);
    assert_eq!(submit_raw(&l1, &raw), Err(Refusal::WrongChain));
    let mut raw = Tx::default().sign(&key(0), l1.chain_id());
    raw.push(0);
    assert!(matches!(submit_raw(&l1, &raw), Err(Refusal::Undecodable(_))));
    assert!(matches!(submit_raw(&l1, &[]), Err(Refusal::Undecodable(_))));
    let over = submit(&l1, &key(0), Tx { gas: MAX_TX_GAS + 1, ..Tx::default() });
    assert_eq!(over, Err(Refusal::GasLimitTooHigh { limit: MAX_TX_GAS + 1 }));
    let below = submit(&l1, &key(0), Tx { gas: 20_999, ..Tx::default() });
    assert_eq!(below, Err(Refusal::IntrinsicGas { limit: 20_999, least: 21_000 }));
    let floor = 21_000 + 40 * 100;
    let input = vec![1; 100].into();
    let below = submit(&l1, &key(0), Tx { gas: floor - 1, input, ..Tx::default() });
    assert_eq!(below, Err(Refusal::IntrinsicGas { limit: floor - 1, least: floor }), "EIP-7623");
    let tip = submit(&l1, &key(0), Tx { fee: 1, tip: 2, ..Tx::default() });
    assert_eq!(tip, Err(Refusal::TipAboveFeeCap));
    assert_eq!(l1.waiting(), 0);
}

/// What waits is paid for together, and one that cannot pay any more when its turn comes is dropped.
#[test]
fn nobody_spends_twice() {
    let l1 = Embedded::new(config());
    let key = key(0);
    submit(&l1, &key, Tx { value: ether(600), ..Tx::default() }).expect("it has a thousand");
    let second = submit(&l1, &key, Tx { nonce: 1, value: ether(600), ..Tx::default() });
    assert!(matches!(second, Err(Refusal::Funds { .. })), "{second:?}");
    l1.mine(0).expect("a block");
    assert!(balance(&l1, key.address()) < ether(400));
}

/// The highest tips go first, each sender's in order, and no block is overfull.
#[test]
fn blocks_take_the_best_offers_that_fit() {
    let l1 = Embedded::new(Config { block_gas_limit: 21_000 * 3, ..config() });
    for nonce in 0..3 {
        let tip = if nonce == 1 { 5 * GWEI } else { GWEI };
        submit(&l1, &key(0), Tx { nonce, tip, ..Tx::default() }).expect("taken");
        submit(&l1, &key(1), Tx { nonce, tip: 2 * GWEI, ..Tx::default() }).expect("taken");
    }
    l1.mine(0).expect("a block");
    let tips: Vec<u128> = {
        let inner = l1.inner.lock();
        let block = inner.chain.head();
        use alloy_consensus::Transaction as _;
        block.transactions.iter().filter_map(|one| one.tx.max_priority_fee_per_gas()).collect()
    };
    assert_eq!(tips, [2 * GWEI, 2 * GWEI, 2 * GWEI]);
    l1.mine(0).expect("a block");
    assert_eq!((nonce(&l1, key(0).address()), l1.waiting()), (3, 0));
}

/// Blobs are compared with what the transaction says of them before anything waits.
#[test]
fn blobs_must_be_those_that_are_named() {
    use alloy_consensus::{
        SignableTransaction as _, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope,
    };
    use alloy_eips::{
        eip2718::Encodable2718 as _, eip4844::Blob, eip7594::BlobTransactionSidecarVariant,
    };
    use alloy_network::TxSignerSync as _;
    use alloy_primitives::{Address, B256};

    let l1 = Embedded::new(config());
    let mut blob = Blob::default();
    blob[1] = 7;
    let sidecar = crate::l1::seal_blobs(vec![blob]).expect("a blob");
    let hashes: Vec<B256> = sidecar.versioned_hashes().collect();
    let send = |hashes: Vec<B256>, sidecar: Option<BlobTransactionSidecarVariant>| {
        let mut tx = TxEip4844 {
            chain_id: l1.chain_id(),
            gas_limit: 21_000,
            max_fee_per_gas: 10 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: Address::repeat_byte(1),
            blob_versioned_hashes: hashes,
            max_fee_per_blob_gas: GWEI,
            ..TxEip4844::default()
        };
        let signer = crate::l1::L1Signer::new(key(0));
        let signature = signer.sign_transaction_sync(&mut tx).expect("signed");
        let variant = match sidecar {
            Some(sidecar) => TxEip4844Variant::from(TxEip4844WithSidecar { tx, sidecar }),
            None => TxEip4844Variant::TxEip4844(tx),
        };
        let envelope = TxEnvelope::Eip4844(variant.into_signed(signature));
        submit_raw(&l1, &envelope.encoded_2718())
    };
    let whole = || Some(BlobTransactionSidecarVariant::Eip7594(sidecar.clone()));
    for (hashes, sidecar) in [
        (vec![B256::repeat_byte(1)], whole()),
        (vec![hashes[0], hashes[0]], whole()),
        (hashes.clone(), None),
        (Vec::new(), None),
        (vec![hashes[0]; 7], whole()),
    ] {
        let refused = send(hashes, sidecar);
        assert!(matches!(refused, Err(Refusal::Blobs(_))), "{refused:?}");
    }
    send(hashes.clone(), whole()).expect("as they are");
    l1.mine(0).expect("a block");
    assert_eq!(l1.blob(hashes[0]), Some(blob));
}
