//! The gateway over a node whose chain the test makes.

use std::collections::HashMap;

use alloy_consensus::{Header, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes, TxKind, U256};
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use blindfold_execution::{
    bal::BlockAccessList,
    witness::{ExecutionWitness, ReplayFile},
};
use blindfold_sdk::rpc::{
    CommitmentDocument, EvidenceDocument, HeadDocument, HeightDocument, OpeningDocument,
    PendingDocument, SettlementDocument, SettlementHeadDocument, WithdrawalDocument,
};
use blindfold_wire::{SignedReceipt, SkipReason, TxStatus, genesis::Genesis};
use futures::future::BoxFuture;
use tokio::sync::broadcast;

use super::{hold::End, *};
use crate::rpc::{api::*, double::TestNode};

const GWEI: u128 = 1_000_000_000;

/// A chain at the test's command; the rest is the server tests' double.
struct Chain {
    rest: Arc<TestNode>,
    head: Mutex<HeadDocument>,
    next_nonce: Mutex<u64>,
    escrow: Mutex<U256>,
    nonces: Mutex<HashMap<Address, u64>>,
    statuses: Mutex<HashMap<B256, TxStatus>>,
}

impl Chain {
    fn new() -> Arc<Self> {
        let rest = TestNode::new(2);
        let mut head = rest.head();
        (head.ordered_height, head.executed_height) = (10, 10);
        (head.next_base_fee_wei, head.suggested_priority_fee_wei) = (GWEI, GWEI / 10);
        head.least_max_fee_wei = GWEI;
        Arc::new(Self {
            rest,
            head: Mutex::new(head),
            next_nonce: Mutex::new(0),
            escrow: Mutex::new(U256::from(GWEI) * U256::from(GWEI)),
            nonces: Mutex::default(),
            statuses: Mutex::default(),
        })
    }

    /// Moves on by some heights.
    fn pass(&self, heights: u64) {
        let mut head = self.head.lock();
        head.ordered_height += heights;
        head.executed_height += heights;
    }

    /// Orders an envelope, and ends it.
    fn end(&self, nonce: u64, id: B256, status: TxStatus) {
        *self.next_nonce.lock() = nonce + 1;
        self.statuses.lock().insert(id, status);
        self.pass(1);
    }
}

impl NodeApi for Chain {
    fn genesis(&self) -> Arc<Genesis> {
        self.rest.genesis()
    }
    fn head(&self) -> HeadDocument {
        *self.head.lock()
    }
    fn readiness(&self) -> Readiness {
        self.rest.readiness()
    }
    fn peer_count(&self) -> usize {
        0
    }
    fn submit(&self, envelope: Bytes) -> BoxFuture<'_, Result<SignedReceipt, SubmitError>> {
        self.rest.submit(envelope)
    }
    fn status(&self, id: B256) -> Result<Option<TxStatus>, ReadError> {
        Ok(self.statuses.lock().get(&id).cloned())
    }
    fn settlement(&self, height: u64) -> Result<Option<SettlementDocument>, ReadError> {
        self.rest.settlement(height)
    }
    fn settlement_head(&self) -> Result<SettlementHeadDocument, ReadError> {
        self.rest.settlement_head()
    }
    fn withdrawal(&self, index: u64) -> Result<Option<WithdrawalDocument>, ReadError> {
        self.rest.withdrawal(index)
    }
    fn withdrawals(
        &self,
        sender: Address,
        first: u64,
        limit: usize,
    ) -> Result<Vec<WithdrawalDocument>, ReadError> {
        self.rest.withdrawals(sender, first, limit)
    }
    fn payer(&self, payer: Address) -> Result<PayerDocument, ReadError> {
        let next_nonce = *self.next_nonce.lock();
        Ok(PayerDocument {
            address: payer,
            next_nonce,
            pending_nonce: next_nonce,
            escrow_wei: *self.escrow.lock(),
            executed_height: self.head().executed_height,
        })
    }
    fn pending(&self, limit: usize) -> Vec<PendingDocument> {
        self.rest.pending(limit)
    }
    fn height_record(&self, height: u64) -> Result<Option<HeightDocument>, ReadError> {
        self.rest.height_record(height)
    }
    fn evidence(&self) -> Result<Vec<EvidenceDocument>, ReadError> {
        self.rest.evidence()
    }
    fn commitment_by_height(&self, height: u64) -> Result<Option<CommitmentDocument>, ReadError> {
        self.rest.commitment_by_height(height)
    }
    fn commitment_by_digest(&self, digest: B256) -> Result<Option<CommitmentDocument>, ReadError> {
        self.rest.commitment_by_digest(digest)
    }
    fn opening(&self, height: u64, position: u32) -> Result<Option<OpeningDocument>, ReadError> {
        self.rest.opening(height, position)
    }
    fn header(&self, height: u64) -> Result<Option<HeaderView>, ReadError> {
        let header = Header {
            number: height,
            base_fee_per_gas: Some(u64::try_from(GWEI).unwrap()),
            ..Default::default()
        };
        Ok(Some(HeaderView { hash: header.hash_slow(), header }))
    }
    fn block(&self, height: u64) -> Result<Option<Arc<BlockView>>, ReadError> {
        self.rest.block(height)
    }
    fn height_of(&self, block_hash: B256) -> Result<Option<u64>, ReadError> {
        self.rest.height_of(block_hash)
    }
    fn transaction_location(&self, hash: B256) -> Result<Option<TransactionLocation>, ReadError> {
        self.rest.transaction_location(hash)
    }
    fn account(&self, _: u64, address: Address) -> Result<AccountView, ReadError> {
        let nonce = self.nonces.lock().get(&address).copied().unwrap_or_default();
        Ok(AccountView { balance: U256::from(GWEI) * U256::from(GWEI), nonce })
    }
    fn code(&self, height: u64, address: Address) -> Result<Bytes, ReadError> {
        self.rest.code(height, address)
    }
    fn storage(&self, height: u64, address: Address, slot: B256) -> Result<B256, ReadError> {
        self.rest.storage(height, address, slot)
    }
    fn witness(&self, height: u64) -> Result<Option<ExecutionWitness>, ReadError> {
        self.rest.witness(height)
    }
    fn access_list(&self, height: u64) -> Result<Option<BlockAccessList>, ReadError> {
        self.rest.access_list(height)
    }
    fn replay_file(&self, height: u64) -> Result<Option<ReplayFile>, ReadError> {
        self.rest.replay_file(height)
    }
    fn proof(
        &self,
        height: u64,
        address: Address,
        slots: &[B256],
    ) -> Result<EIP1186AccountProofResponse, ReadError> {
        self.rest.proof(height, address, slots)
    }
    fn call(&self, height: u64, call: CallRequest) -> Result<CallOutcome, ReadError> {
        self.rest.call(height, call)
    }
    fn estimate_gas(
        &self,
        height: u64,
        call: CallRequest,
    ) -> Result<Result<u64, CallOutcome>, ReadError> {
        self.rest.estimate_gas(height, call)
    }
    fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.rest.events()
    }
}

struct World {
    chain: Arc<Chain>,
    gateway: Arc<Gateway>,
    folder: tempfile::TempDir,
    config: GatewayConfig,
}

fn sender(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

fn open(config: &GatewayConfig, chain: &Arc<Chain>, folder: &Path) -> Result<Arc<Gateway>> {
    Gateway::open(config.clone(), sender(0x70), folder, Arc::clone(chain) as Arc<dyn NodeApi>)
}

impl World {
    fn new(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config =
            GatewayConfig { submit: vec!["http://127.0.0.1:9".to_owned()], ..Default::default() };
        change(&mut config);
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let gateway = open(&config, &chain, folder.path()).unwrap();
        Self { chain, gateway, folder, config }
    }

    /// As after a crash: nothing but the journal is left.
    fn restart(self) -> Self {
        let Self { chain, gateway, folder, config } = self;
        drop(gateway);
        let gateway = open(&config, &chain, folder.path()).unwrap();
        Self { chain, gateway, folder, config }
    }

    fn transaction(&self, seed: u8, nonce: u64, fee: u128) -> TxEnvelope {
        let unsigned = TxEip1559 {
            chain_id: self.chain.genesis().chain_id,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: fee / 10,
            to: TxKind::Call(Address::repeat_byte(0xaa)),
            value: U256::ONE,
            ..Default::default()
        };
        crate::cli::tx::sign(unsigned, &sender(seed))
    }

    fn send(&self, transaction: &TxEnvelope) -> Result<B256, String> {
        let raw = Bytes::from(transaction.encoded_2718());
        self.gateway.take(&raw).map_err(|error| error.message().to_owned())
    }

    fn round(&self) -> Vec<(u64, B256)> {
        let due = self.gateway.round().unwrap();
        due.iter().map(|due| (due.payer_nonce, due.id)).collect()
    }

    /// As if members had taken everything.
    fn taken(&self) {
        let mut state = self.gateway.state.lock();
        let nonces: Vec<_> = state.hold.slots().keys().copied().collect();
        for nonce in nonces {
            state.hold.slot_mut(nonce).unwrap().taken_at = Some(self.chain.head().ordered_height);
        }
    }

    fn end_of(&self, hash: B256) -> Option<End> {
        self.gateway.state.lock().hold.end_of(&hash).cloned()
    }

    fn executed(&self, seed: u8, nonce: u64, slot: (u64, B256), hash: B256) {
        self.chain.nonces.lock().insert(sender(seed).address(), nonce + 1);
        let status = TxStatus::Executed {
            height: self.chain.head().executed_height,
            position: 0,
            tx_hash: hash,
            tx_index: 0,
            success: true,
        };
        self.chain.end(slot.0, slot.1, status);
    }
}

#[test]
fn a_gap_waits_and_everything_goes_in_order() {
    let world = World::new(|_| {});
    let second = world.send(&world.transaction(1, 1, 4 * GWEI)).unwrap();
    assert_eq!(world.round(), [], "nonce 1 before nonce 0");
    let first = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let due = world.round();
    assert_eq!(due.iter().map(|(nonce, _)| *nonce).collect::<Vec<_>>(), [0, 1]);
    {
        let state = world.gateway.state.lock();
        let inside: Vec<_> =
            state.hold.slots().values().map(|slot| slot.last().unwrap().hash).collect();
        assert_eq!(inside, [first, second]);
    }
    world.executed(1, 0, due[0], first);
    assert_eq!(world.round(), [due[1]]);
    assert!(matches!(world.end_of(first), Some(End::Executed { success: true, .. })));
    assert!(world.gateway.state.lock().hold.ledger().total_wei > U256::ZERO);
}

/// What is held, sealed and charged is the same after a crash; the same envelope goes out again.
#[test]
fn a_restart_loses_nothing_and_pays_nothing_twice() {
    let world = World::new(|_| {});
    let first = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let gap = world.send(&world.transaction(1, 5, 4 * GWEI)).unwrap();
    let due = world.round();
    let world = world.restart();
    assert_eq!(world.round(), due, "another envelope for the same nonce");
    assert!(world.gateway.state.lock().hold.get(&gap).is_some());
    world.executed(1, 0, due[0], first);
    world.round();
    let spent = world.gateway.state.lock().hold.ledger().total_wei;
    assert!(spent > U256::ZERO);
    let world = world.restart();
    assert_eq!(world.round(), []);
    assert_eq!(world.gateway.state.lock().hold.ledger().total_wei, spent);
    assert!(matches!(world.end_of(first), Some(End::Executed { .. })));
    assert!(world.gateway.state.lock().hold.get(&gap).is_some());
}

/// A replacement takes the envelope nonce of what it replaces, for at least 10 % more of both fees.
#[test]
fn a_replacement_in_flight_is_sealed_under_the_same_nonce() {
    let world = World::new(|_| {});
    let first = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let before = world.round();
    let dearer = world.transaction(1, 0, 4 * GWEI + GWEI / 10);
    assert!(world.send(&dearer).unwrap_err().contains("replacement transaction underpriced"));
    let second = world.send(&world.transaction(1, 0, 5 * GWEI)).unwrap();
    let after = world.round();
    assert_eq!((before.len(), after.len(), after[0].0), (1, 1, before[0].0));
    assert_ne!(after[0].1, before[0].1);
    {
        let state = world.gateway.state.lock();
        let [old, new] = &state.hold.slots()[&0].envelopes[..] else { panic!("two envelopes") };
        assert!(new.header.max_fee_per_gas * 100 >= old.header.max_fee_per_gas * 110);
        let tips = (new.header.max_priority_fee_per_gas, old.header.max_priority_fee_per_gas);
        assert!(tips.0 * 100 >= tips.1 * 110);
        assert_eq!((old.hash, new.hash), (first, second));
        assert_ne!(old.bytes[200..], new.bytes[200..], "sealed with the same seed");
    }
    let world = world.restart();
    world.executed(1, 0, after[0], second);
    world.round();
    assert_eq!(world.end_of(first), Some(End::Replaced { by: second }));
    assert!(matches!(world.end_of(second), Some(End::Executed { .. })));
}

/// If the replaced one was ordered first, it is what happened.
#[test]
fn a_replacement_that_comes_too_late_is_told_so() {
    let world = World::new(|_| {});
    let first = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let before = world.round();
    let second = world.send(&world.transaction(1, 0, 5 * GWEI)).unwrap();
    world.round();
    world.executed(1, 0, before[0], first);
    world.round();
    world.round();
    assert!(matches!(world.end_of(first), Some(End::Executed { .. })));
    assert_eq!(world.end_of(second), Some(End::NonceUsed));
    assert!(world.gateway.state.lock().hold.slots().is_empty());
}

#[test]
fn an_expired_envelope_is_sealed_anew_once() {
    let world = World::new(|_| {});
    let hash = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    // As long as no member takes it, it is not the transaction's turn that is used up.
    let mut first = world.round();
    for _ in 0..3 {
        world.chain.pass(500);
        first = world.round();
        assert_eq!(first.len(), 1);
    }
    world.taken();
    world.chain.pass(500);
    let second = world.round();
    assert_eq!((second.len(), second[0].0), (1, 0), "the nonce stays");
    assert_ne!(first[0].1, second[0].1);
    world.taken();
    world.chain.pass(500);
    assert_eq!(world.round(), []);
    assert_eq!(world.end_of(hash), Some(End::Expired));
    // The nonce is free for the next.
    world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    assert_eq!(world.round()[0].0, 0);
}

#[test]
fn a_nonce_that_someone_else_used_is_left_to_them() {
    let world = World::new(|_| {});
    world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let lost = world.round();
    *world.chain.next_nonce.lock() = 3;
    assert!(world.round().iter().all(|due| *due == lost[0]), "the chain may be ahead of its index");
    world.chain.pass(1);
    let due = world.round();
    assert_eq!(due.iter().map(|(nonce, _)| *nonce).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_skip_is_told() {
    let world = World::new(|_| {});
    let hash = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let told = || world.gateway.told(hash);
    assert_eq!(told()["state"], "queued");
    let due = world.round();
    assert_eq!(told()["state"], "sealed");
    assert_eq!(told()["envelopeId"], due[0].1.to_string());
    world.taken();
    assert_eq!(told()["state"], "submitted");
    let reason = SkipReason::InsufficientFunds;
    world.chain.end(due[0].0, due[0].1, TxStatus::Skipped { height: 11, position: 0, reason });
    world.round();
    assert!(
        matches!(world.end_of(hash), Some(End::Skipped { reason: found, .. }) if found == reason)
    );
    assert_eq!(told()["state"], "skipped");
    assert_eq!(told()["reason"], "insufficient_funds");
    assert_eq!(world.gateway.told(B256::ZERO), serde_json::Value::Null);
    assert!(world.gateway.state.lock().hold.is_empty());
}

/// An envelope can be ordered only while what is in it can pay the base fee.
#[test]
fn a_fee_cap_below_the_base_fee_waits_sealed_from_everyone() {
    let world = World::new(|_| {});
    world.chain.head.lock().next_base_fee_wei = 3 * GWEI;
    world.send(&world.transaction(1, 0, 2 * GWEI)).unwrap();
    assert_eq!(world.round(), []);
    world.chain.head.lock().next_base_fee_wei = GWEI + GWEI / 2;
    assert_eq!(world.round().len(), 1);
    let state = world.gateway.state.lock();
    assert_eq!(state.hold.slots()[&0].last().unwrap().header.max_fee_per_gas, 2 * GWEI);
}

#[test]
fn limits_and_an_empty_escrow_refuse_with_their_reason() {
    let world = World::new(|config| config.max_day_wei = U256::from(150_000 * 2 * GWEI));
    world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap();
    let refused = world.send(&world.transaction(1, 1, 4 * GWEI)).unwrap_err();
    assert!(refused.contains("spending limit") && refused.contains("a day"), "{refused}");
    let world = World::new(|config| config.max_total_wei = U256::from(1));
    let refused = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap_err();
    assert!(refused.contains("spending limit") && refused.contains("in total"), "{refused}");
    let world = World::new(|_| {});
    *world.chain.escrow.lock() = U256::from(1_000);
    let refused = world.send(&world.transaction(1, 0, 4 * GWEI)).unwrap_err();
    assert!(refused.contains("cannot pay for the envelope"), "{refused}");
    world.round();
    assert!(world.gateway.state.lock().alarmed, "no alarm");
}

#[test]
fn what_is_wrong_is_said_in_the_words_wallets_know() {
    let world = World::new(|config| config.max_held_per_sender = 2);
    world.chain.nonces.lock().insert(sender(1).address(), 3);
    let good = world.transaction(1, 3, 4 * GWEI);
    world.send(&good).unwrap();
    assert_eq!(world.send(&good).unwrap_err(), "already known");
    let sign = |change: &dyn Fn(&mut TxEip1559)| {
        let TxEnvelope::Eip1559(signed) = world.transaction(1, 4, 4 * GWEI) else { panic!() };
        let mut unsigned = signed.tx().clone();
        change(&mut unsigned);
        crate::cli::tx::sign(unsigned, &sender(1))
    };
    type Change<'a> = &'a dyn Fn(&mut TxEip1559);
    let expected: [(Change, &str); 8] = [
        (&|tx| tx.nonce = 2, "nonce too low: next nonce 3, tx nonce 2"),
        (&|tx| tx.chain_id += 1, "invalid chain id for signer"),
        (&|tx| tx.gas_limit = 20_999, "intrinsic gas too low"),
        (&|tx| tx.gas_limit = 1 << 25, "exceeds block gas limit"),
        (&|tx| tx.value = U256::MAX >> 1, "insufficient funds for gas * price + value"),
        (&|tx| tx.max_fee_per_gas = 10, "max priority fee per gas higher than max fee per gas"),
        (
            &|tx| (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (1, 1),
            "transaction underpriced",
        ),
        (&|tx| tx.input = vec![1; 70_000].into(), "oversized data"),
    ];
    for (change, words) in expected {
        let said = world.send(&sign(change)).unwrap_err();
        assert!(said.starts_with(words), "{said}, not {words}");
    }
    world.send(&sign(&|tx| tx.nonce = 9)).unwrap();
    assert!(world.send(&sign(&|_| {})).unwrap_err().starts_with("txpool is full"));
    for (raw, words) in [
        (vec![0x5e, 0xc0], "transaction type not supported"),
        (vec![3, 1], "transaction type not supported"),
        (vec![0xf8], "invalid transaction"),
    ] {
        let said = world.gateway.take(&raw.into()).unwrap_err();
        assert!(said.message().starts_with(words), "{said}");
    }
}

#[test]
fn it_listens_on_loopback_only() {
    let config =
        GatewayConfig { submit: vec!["http://127.0.0.1:9".to_owned()], ..Default::default() };
    let rpc = |listen: &str| RpcConfig { listen: listen.parse().unwrap(), ..Default::default() };
    assert!(check(&config, &rpc("127.0.0.1:8545")).is_ok());
    assert!(check(&config, &rpc("[::1]:8545")).is_ok());
    for listen in ["0.0.0.0:8545", "192.168.1.2:8545", "[::]:8545"] {
        assert!(check(&config, &rpc(listen)).unwrap_err().to_string().contains("loopback"));
    }
}
