//! A poster that lies about the state, so as to be paid what nobody sent: it is found out, loses its bond, and those who
//! did send something are paid all the same.

use super::world::{BOND_WEI, CHALLENGED, NONE, PROPOSED, PROVE_S, PROVEN, WINDOW_S, World};
use crate::settlement::ETHER;
use alloy_consensus::Transaction as _;
use alloy_network::Ethereum;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_provider::{PendingTransactionBuilder, Provider as _};
use alloy_rlp::RlpEncodable;
use alloy_rpc_types_eth::{Filter, TransactionReceipt};
use alloy_sol_types::{SolCall as _, SolEvent as _};
use blindfold_node::run::Loaded;
use blindfold_sdk::{SigningKey, rpc::OutputState};
use blindfold_settlement::{
    batch::Batch,
    bindings::{BatchInbox, Bridge, OutputOracle},
    l1::{Dropped, L1 as _, sending},
    withdrawal::{OUTBOX, Withdrawal, WithdrawalProof},
};

/// A state that never was, with a withdrawal on record that nobody sent.
struct Forgery {
    root: B256,
    withdrawal: Withdrawal,
    proof: WithdrawalProof,
}

#[derive(RlpEncodable)]
struct Account {
    nonce: u64,
    balance: U256,
    storage_root: B256,
    code_hash: B256,
}

#[derive(RlpEncodable)]
struct Leaf {
    path: Bytes,
    value: Bytes,
}

/// A trie with one key, which is its root's only node.
fn lone_leaf(key: B256, value: Vec<u8>) -> (B256, Bytes) {
    // A leaf (2) with an even number of nibbles (0): all of the key.
    let path = [&[0x20], key.as_slice()].concat();
    let node = Bytes::from(alloy_rlp::encode(Leaf { path: path.into(), value: value.into() }));
    (keccak256(&node), node)
}

impl Forgery {
    /// Pays `thief` this much, if anybody believes it.
    fn to(thief: Address, wei: u128) -> Self {
        let withdrawal =
            Withdrawal { index: 0, sender: thief, to: thief, amount_wei: U256::from(wei) };
        let slot = keccak256(withdrawal.slot());
        let (storage_root, storage) = lone_leaf(slot, alloy_rlp::encode(1u64));
        let (balance, code_hash) = (U256::ZERO, keccak256([]));
        let account = Account { nonce: 1, balance, storage_root, code_hash };
        let (root, account) = lone_leaf(keccak256(OUTBOX), alloy_rlp::encode(account));
        let proof = WithdrawalProof { account: vec![account], storage: vec![storage] };
        assert_eq!(proof.check(root, &withdrawal), Ok(()), "nothing but the root is wrong");
        Self { root, withdrawal, proof }
    }
}

impl World {
    /// The batch in the newest block of L1, and its transaction, if it holds `height`.
    fn newest_batch(&self, height: u64) -> Option<(Batch, B256)> {
        let found = self.batches(self.l1().head().number).into_iter();
        found.rev().find(|(batch, _)| (batch.first_height..=batch.last_height).contains(&height))
    }

    /// The batches in L1's blocks from `first` on.
    fn batches(&self, first: u64) -> Vec<(Batch, B256)> {
        let filter = Filter::new()
            .address(self.contracts.inbox)
            .event_signature(BatchInbox::BatchPosted::SIGNATURE_HASH)
            .from_block(first);
        let provider = self.l1().provider();
        let logs = self.settled.runtime.block_on(provider.get_logs(&filter)).unwrap();
        let batch = |log: &alloy_rpc_types_eth::Log| {
            let event = BatchInbox::BatchPosted::decode_log(&log.inner).unwrap();
            (Batch::from(&event.data.batch), log.transaction_hash.unwrap())
        };
        logs.iter().map(batch).collect()
    }

    /// Has L1, which stands still, take a transaction.
    fn take(
        &self,
        send: impl Future<Output = Result<PendingTransactionBuilder<Ethereum>, alloy_contract::Error>>,
    ) -> TransactionReceipt {
        let receipt = self.settled.runtime.block_on(async {
            let hash = *send.await.unwrap().tx_hash();
            self.mine(1);
            self.l1().provider().get_transaction_receipt(hash).await.unwrap()
        });
        let receipt = receipt.expect("the block has what waited");
        assert!(receipt.status(), "{receipt:?}");
        receipt
    }

    /// Takes a batch back from L1 before it is final there, and posts another in its place: the same but for its state.
    fn post_instead(
        &self,
        key: &SigningKey,
        (batch, transaction): (&Batch, B256),
        state_root: B256,
    ) -> Batch {
        let l1 = self.l1();
        let sent = self.settled.runtime.block_on(async {
            l1.provider().get_transaction_by_hash(transaction).await.unwrap().unwrap()
        });
        let input = sent.inner.input().clone();
        let mut call = BatchInbox::postBatchCall::abi_decode(&input).unwrap();
        assert!(!call.data.is_empty(), "the data is in the call, not in blobs");
        call.input.stateRoot = state_root;
        l1.clear_pool();
        l1.reorg(1, Dropped::Forgotten, l1.head().timestamp_s).unwrap();
        assert_eq!(self.newest_batch(batch.last_height), None);
        let inbox = BatchInbox::new(self.contracts.inbox, sending(&l1, key));
        self.take(async { inbox.call_builder(&call).send().await });
        self.newest_batch(batch.last_height).unwrap().0
    }

    /// A proof that fits an output pays nobody as long as that is not final.
    fn expect_not_paid(&self, forgery: &Forgery, batch: u64) {
        let bridge = Bridge::new(self.contracts.bridge, self.l1().provider());
        let call = forgery.proof.clone().into_call(batch, &forgery.withdrawal);
        let paid = self.settled.runtime.block_on(async { bridge.call_builder(&call).call().await });
        let Err(error) = paid else { panic!("a thief is paid") };
        let reason = error.as_decoded_interface_error::<OutputOracle::OutputOracleErrors>();
        let is_not_final = matches!(reason, Some(OutputOracle::OutputOracleErrors::NotFinal(_)));
        assert!(is_not_final, "{error}");
        assert_eq!(self.l1_balance(forgery.withdrawal.to), U256::ZERO);
    }

    /// What the oracle has paid out to an account, transaction by transaction.
    fn bonds_taken(&self, account: Address) -> Vec<U256> {
        let oracle = self.oracle();
        let events = async { oracle.Withdrawn_filter().from_block(0).query().await };
        let events = self.settled.runtime.block_on(events).unwrap();
        let of = events.iter().filter(|(event, _)| event.account == account);
        of.map(|(event, _)| event.amount).collect()
    }
}

#[test]
fn wrong_outputs_are_challenged_and_rejected() {
    let mut world = World::start(|config| {
        config.blobs = false;
        config.takeover_s = 6;
    });
    let [saver, to, thief] = [0xd1, 0xcc, 0xee].map(Address::repeat_byte);
    let args = ["deposit", "--amount", "2ether", "--to", &saver.to_string()];
    world.bridge(0, "l1", &args).expect(0);

    // L1 makes blocks only for what waits, so that the batch with a withdrawal is the newest that L1 has.
    world.stand_still();
    let args = ["withdraw", "--amount", "0.5ether", "--to", &to.to_string()];
    world.bridge(2, "own", &args).expect(0);
    let height = world.withdrawal(2, 0).height;
    let (right, transaction) = world.settled.network.until("a withdrawal is posted", || {
        if world.l1().waiting() > 0 {
            world.mine(1);
        }
        world.newest_batch(height)
    });

    // Its poster lies about the state, and bonds the lie: one in which the bridge owes a thief all it has.
    let members = world.members();
    let liar = members.iter().position(|member| *member == right.poster).expect("a member");
    let honest: Vec<_> = (0..4).filter(|member| *member != liar).collect();
    world.settled.network.kill(liar);
    honest.iter().for_each(|member| world.settled.network.freeze(*member));
    let loaded = Loaded::read(&world.settled.network.config_file(liar)).unwrap();
    let key = loaded.secrets.unwrap().signing_key().unwrap();
    let forgery = Forgery::to(thief, 2 * ETHER);
    let lie = world.post_instead(&key, (&right, transaction), forgery.root);
    let (l1_block, posted_at) = (lie.l1_block, lie.posted_at);
    assert_eq!(lie, Batch { state_root: forgery.root, l1_block, posted_at, ..right.clone() });
    let oracle = OutputOracle::new(world.contracts.oracle, sending(&world.l1(), &key));
    let proposal = oracle.propose((&lie).into()).value(U256::from(BOND_WEI));
    world.take(async { proposal.send().await });
    assert_eq!(world.output(lie.index).stateRoot, forgery.root);
    assert_eq!(world.output_status(lie.index), PROPOSED);
    world.expect_not_paid(&forgery, lie.index);

    // Everybody else notices, and one of them stakes a bond on it.
    honest.iter().for_each(|member| world.settled.network.thaw(*member));
    world.go_on();
    let network = &world.settled.network;
    for member in &honest {
        network.until("a member knows that an output is wrong", || {
            network.log(*member).contains("an output has another state root").then_some(())
        });
        let named = world.withdrawal(*member, 0).output;
        assert!(named.is_none_or(|output| output.batch > lie.index), "{named:?}");
    }
    network.until("a wrong output is challenged", || {
        (world.output_status(lie.index) == CHALLENGED).then_some(())
    });
    let challenger = world.output(lie.index).challenger;
    assert!(members.contains(&challenger) && challenger != right.poster, "{challenger}");
    assert!(world.l1_balance(world.contracts.oracle) >= U256::from(2 * BOND_WEI));
    world.expect_not_paid(&forgery, lie.index);

    // A right output of a later batch is proposed beside it, and is what everybody is told to wait for.
    for member in &honest {
        let output = world.until_proposed(*member, 0).output.unwrap();
        assert!(output.batch > lie.index && output.state == OutputState::Proposed, "{output:?}");
        assert!(members.contains(&output.proposer) && output.proposer != right.poster);
    }
    let early = world.bridge(honest[0], "l1", &["claim", "0"]).expect(1);
    assert!(early.stdout.contains("covers it and is final in "), "{}", early.stdout);

    // Nobody proves the wrong one, so it goes, and both bonds to whoever challenged it.
    world.mine(PROVE_S + 1);
    network.until("a wrong output is rejected", || {
        (world.output_status(lie.index) == NONE).then_some(())
    });
    let both = [U256::from(2 * BOND_WEI)];
    network.until("the bonds are taken", || (world.bonds_taken(challenger) == both).then_some(()));
    assert_eq!(world.owed(right.poster), U256::ZERO);
    assert_eq!(world.bonds_taken(right.poster), [U256::ZERO; 0]);
    world.expect_not_paid(&forgery, lie.index);
    let early = world.bridge(honest[1], "l1", &["claim", "0"]).expect(1);
    assert!(early.stdout.contains("covers it and is final in "), "{}", early.stdout);

    // Batches go on behind it, also of the member in whose name somebody lied, once its own node is back.
    world.settled.network.run(liar);
    let network = &world.settled.network;
    let newest = world.batches(0).last().unwrap().0.index;
    network.until("a member posts again", || {
        let posts = |batch: &Batch| batch.index > newest && batch.poster == right.poster;
        world.batches(0).iter().any(|(batch, _)| posts(batch)).then_some(())
    });
    world.settled.until_posted(liar, network.head(honest[0]).executed_height);
    let derived = world.settled.derive();
    assert!(derived.iter().zip(1..).all(|(one, at)| one.signed.commitment.height == at));
    assert!(derived.len() as u64 > lie.last_height);

    // And who sent something is paid, once.
    let output = world.withdrawal(liar, 0).output.expect("a right one");
    world.mine(WINDOW_S + 1);
    let claimed =
        world.bridge(honest[2], "l1", &["claim", "0", "--wait", "--json"]).expect(0).json();
    assert_eq!(claimed["claimed"], 1, "{claimed}");
    let again = world.bridge(liar, "l1", &["claim", "0"]).expect(1);
    assert!(again.stdout.contains("claimed"), "{}", again.stdout);
    assert_eq!(world.l1_balance(to), U256::from(ETHER / 2));
    assert_eq!(world.l1_balance(world.contracts.bridge), U256::from(2 * ETHER - ETHER / 2));
    network.until("the bond is returned", || {
        (world.output_status(output.batch) == PROVEN).then_some(())
    });

    // Nothing but the lie was ever challenged, and it was final at no time.
    world.expect_not_paid(&forgery, lie.index);
    world.settled.runtime.block_on(async {
        let oracle = world.oracle();
        let challenged = oracle.Challenged_filter().from_block(0).query().await.unwrap();
        let challenged: Vec<_> =
            challenged.iter().map(|(event, _)| (event.index, event.challenger)).collect();
        assert_eq!(challenged, [(lie.index, challenger)]);
        let proven = oracle.Proven_filter().from_block(0).query().await.unwrap();
        assert!(proven.is_empty(), "{proven:?}");
        let returned = oracle.BondReturned_filter().from_block(0).query().await.unwrap();
        assert!(returned.iter().all(|(event, _)| event.index > lie.index), "{returned:?}");
    });
    network.expect_agreement(&[0, 1, 2, 3]);
}
