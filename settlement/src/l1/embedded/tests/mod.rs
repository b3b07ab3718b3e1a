//! The embedded L1 by itself: what the conformance suite cannot ask of other back ends.

mod persistence;
mod pools;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_network::TxSignerSync as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use blindfold_wire::SigningKey;
use futures::executor::block_on;

use super::{Config, Dropped, Embedded, MAX_REORG_DEPTH, MineError, Mining, Refusal, pool::Pooled};
use crate::l1::{L1 as _, L1Signer, conformance};

/// The configuration that the conformance suite asks for.
pub(super) fn config() -> Config {
    Config {
        chain_id: conformance::CHAIN_ID,
        genesis_timestamp_s: conformance::GENESIS_S,
        alloc: conformance::funded().iter().map(|key| (key.address(), ether(1_000))).collect(),
        ..Config::default()
    }
}

pub(super) fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(1_000_000_000_000_000_000u64)
}

pub(super) fn key(index: usize) -> SigningKey {
    conformance::funded()[index].clone()
}

pub(super) struct Tx {
    pub(super) nonce: u64,
    pub(super) to: Option<Address>,
    pub(super) value: U256,
    pub(super) gas: u64,
    pub(super) fee: u128,
    pub(super) tip: u128,
    pub(super) input: Bytes,
}

impl Default for Tx {
    fn default() -> Self {
        Self {
            nonce: 0,
            to: Some(Address::repeat_byte(0x77)),
            value: U256::ONE,
            gas: 21_000,
            fee: 10_000_000_000,
            tip: 1_000_000_000,
            input: Bytes::new(),
        }
    }
}

impl Tx {
    pub(super) fn sign(self, key: &SigningKey, chain_id: u64) -> Vec<u8> {
        let mut tx = TxEip1559 {
            chain_id,
            nonce: self.nonce,
            gas_limit: self.gas,
            max_fee_per_gas: self.fee,
            max_priority_fee_per_gas: self.tip,
            to: self.to.map_or(TxKind::Create, TxKind::Call),
            value: self.value,
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: self.input,
        };
        let signature = L1Signer::new(key.clone()).sign_transaction_sync(&mut tx).expect("signed");
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    }
}

/// Submits, and returns the hash.
pub(super) fn submit(l1: &Embedded, key: &SigningKey, tx: Tx) -> Result<B256, Refusal> {
    submit_raw(l1, &tx.sign(key, l1.chain_id()))
}

pub(super) fn submit_raw(l1: &Embedded, raw: &[u8]) -> Result<B256, Refusal> {
    l1.inner.lock().chain.submit(Pooled::decode(raw, l1.chain_id())?)
}

pub(super) fn balance(l1: &Embedded, address: Address) -> U256 {
    l1.inner.lock().chain.account(address).balance
}

pub(super) fn nonce(l1: &Embedded, address: Address) -> u64 {
    l1.inner.lock().chain.account(address).nonce
}

#[test]
fn conforms() {
    let gas = block_on(conformance::run(&Embedded::new(config())));
    assert!(gas["two blobs"] > 21_000);
    assert!(gas.len() > 10, "{gas:?}");
}

/// After any number of blocks and a reorg over them, the state is what it was.
#[test]
fn going_back_restores_the_state() {
    let l1 = Embedded::new(config());
    let (a, b) = (key(0), key(1));
    l1.mine(0).expect("a block");
    let before = l1.snapshot();
    let state = l1.inner.lock().chain.state.clone();
    for round in 0..5 {
        submit(&l1, &a, Tx { nonce: round, value: ether(1), ..Tx::default() }).expect("taken");
        submit(&l1, &b, Tx { nonce: round, ..Tx::default() }).expect("taken");
        // A contract that stores its own address' balance and destroys itself leaves nothing behind.
        l1.mine(0).expect("a block");
    }
    assert_ne!(l1.inner.lock().chain.state.accounts, state.accounts);
    l1.inner.lock().chain.drop_blocks(5).expect("five blocks");
    assert_eq!(l1.inner.lock().chain.state.accounts, state.accounts);
    l1.inner.lock().chain.reorgs -= 1;
    assert_eq!(l1.snapshot(), before);
}

#[test]
fn a_reorg_has_a_limit() {
    let l1 = Embedded::new(config());
    for _ in 0..3 {
        l1.mine(0).expect("a block");
    }
    let too_deep = MineError::TooDeep { depth: 4, limit: 3 };
    assert_eq!(l1.reorg(4, Dropped::Forgotten, 0), Err(too_deep));
    assert_eq!(l1.head().number, 3, "nothing changed");
    l1.reorg(3, Dropped::Forgotten, 0).expect("down to genesis");
    for _ in 0..MAX_REORG_DEPTH + 10 {
        l1.mine(0).expect("a block");
    }
    let limit = MAX_REORG_DEPTH as u64;
    let too_deep = MineError::TooDeep { depth: limit + 1, limit };
    assert_eq!(l1.reorg(limit + 1, Dropped::Forgotten, 0), Err(too_deep));
    l1.reorg(limit, Dropped::Forgotten, 0).expect("as deep as can be");
}

/// Time goes forward whatever the clock says, and a block can be at the time asked for.
#[test]
fn time_goes_forward() {
    let l1 = Embedded::new(config());
    assert_eq!(l1.mine(5).expect("a block").timestamp_s, conformance::GENESIS_S + 1);
    let later = conformance::GENESIS_S + 500;
    assert_eq!(l1.mine(later).expect("a block").timestamp_s, later);
    assert_eq!(l1.mine(later).expect("a block").timestamp_s, later + 1);
}

#[test]
fn a_block_for_each_transaction_if_wanted() {
    let l1 = Embedded::new(Config { mining: Mining::PerTransaction { step_s: 12 }, ..config() });
    let raw = Tx::default().sign(&key(0), l1.chain_id());
    let hash = block_on(async {
        use alloy_provider::Provider as _;
        *l1.provider().send_raw_transaction(&raw).await.expect("taken").tx_hash()
    });
    let head = l1.head();
    assert_eq!((head.number, head.timestamp_s), (1, conformance::GENESIS_S + 12));
    let inner = l1.inner.lock();
    let (block, index) = inner.chain.place(hash).expect("in a block");
    assert_eq!((block.header.number, index), (1, 0));
    assert_eq!(block.transactions[0].tx.tx_hash(), &hash);
}

/// Calls at older blocks see the state of then.
#[test]
fn older_states_can_be_read() {
    use alloy_provider::Provider as _;
    let l1 = Embedded::new(config());
    let to = Address::repeat_byte(0x77);
    for round in 0..4 {
        submit(&l1, &key(0), Tx { nonce: round, value: ether(1), ..Tx::default() }).expect("taken");
        l1.mine(0).expect("a block");
    }
    let provider = l1.provider();
    for number in 0..=4u64 {
        let at = block_on(async { provider.get_balance(to).number(number).await });
        assert_eq!(at.expect("kept"), ether(number), "block {number}");
    }
    for _ in 0..MAX_REORG_DEPTH {
        l1.mine(0).expect("a block");
    }
    let old = block_on(async { provider.get_balance(to).number(1).await });
    assert!(old.expect_err("not kept").to_string().contains("not kept"));
}

/// A full block raises the base fee, and the fee is burned while the tip is paid.
#[test]
fn fees_go_where_they_should() {
    let beneficiary = Address::repeat_byte(0xbe);
    let l1 = Embedded::new(Config { beneficiary, block_gas_limit: 100_000, ..config() });
    for nonce in 0..4 {
        submit(&l1, &key(0), Tx { nonce, ..Tx::default() }).expect("taken");
    }
    l1.mine(0).expect("a block");
    let base_fee = l1.inner.lock().chain.head().base_fee();
    assert_eq!(balance(&l1, beneficiary), U256::from(4 * 21_000u64) * U256::from(1_000_000_000u64));
    let paid = ether(1_000) - balance(&l1, key(0).address()) - U256::from(4);
    let expected = U256::from(4 * 21_000u64) * U256::from(base_fee + 1_000_000_000);
    assert_eq!(paid, expected);
    l1.mine(0).expect("a block");
    assert!(l1.inner.lock().chain.head().base_fee() > base_fee, "84 % full");
}
