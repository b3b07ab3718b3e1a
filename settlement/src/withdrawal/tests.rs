//! Withdrawals and outputs against the real contracts: what is accepted here is accepted there, and nothing else.

use std::collections::{BTreeMap, HashMap};

use alloy_contract::{CallBuilder, CallDecoder};
use alloy_eips::Encodable2718 as _;
use alloy_network::{
    Ethereum, EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _,
};
use alloy_primitives::keccak256;
use alloy_provider::{DynProvider, Provider as _};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::{SolError, SolEvent as _};
use alloy_trie::{HashBuilder, Nibbles, proof::ProofRetainer, proof::verify_proof};
use blindfold_wire::{
    Block, OrderCommitment, SigningKey, executed_root, merkle, testkit::TestCommittee,
};
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::{
    accumulator::{AccumulatorLeaf, LeaderTable},
    batch::Batch,
    bindings::{BatchInbox, OutputOracle},
    deploy::{self, Addresses, DeploymentPlan, Funding, L1Params},
    l1::{
        L1 as _, L1Signer, SendFault,
        conformance::{self, Miner},
        embedded::{Config, Embedded},
        fault,
    },
    outputs::committee_proof,
};

fn stranger() -> SigningKey {
    conformance::funded()[1].clone()
}

fn done<T: IntoFuture>(task: T) -> T::Output {
    block_on(task.into_future())
}

/// A trie with every node at hand.
struct Trie {
    root: B256,
    nodes: HashMap<B256, Bytes>,
    by_path: BTreeMap<Nibbles, Bytes>,
}

impl Trie {
    /// Built by alloy, from keys that are hashed already.
    fn new(entries: &BTreeMap<B256, Vec<u8>>) -> Self {
        let keys = entries.keys().map(Nibbles::unpack).collect();
        let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(keys));
        for (key, value) in entries {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        let root = builder.root();
        let by_path: BTreeMap<_, _> =
            builder.take_proof_nodes().into_nodes_sorted().into_iter().collect();
        let nodes = by_path.values().map(|node| (keccak256(node), node.clone())).collect();
        Self { root, nodes, by_path }
    }

    fn way(&self, key: B256) -> trie::Way {
        trie::walk(self.root, key, |hash| {
            self.nodes.get(&hash).cloned().ok_or(TrieFault::Missing(hash))
        })
        .unwrap()
    }

    /// The same, as alloy has it.
    fn alloys_way(&self, key: B256) -> Vec<Bytes> {
        let key = Nibbles::unpack(key);
        self.by_path
            .iter()
            .filter(|(path, node)| key.starts_with(path) && (path.is_empty() || node.len() >= 32))
            .map(|(_, node)| node.clone())
            .collect()
    }
}

fn withdrawal(index: u64) -> Withdrawal {
    let [sender, to] = [0x11, 0x22].map(Address::repeat_byte);
    Withdrawal { index, sender, to, amount_wei: U256::from(1_000 + index) }
}

/// A state with an outbox that has withdrawals 0 to `count`.
struct State {
    accounts: Trie,
    storage: Trie,
}

impl State {
    fn new(count: u64) -> Self {
        let mut slots: BTreeMap<_, _> = (0..count)
            .map(|index| (keccak256(withdrawal(index).slot()), alloy_rlp::encode(1u64)))
            .collect();
        slots.insert(keccak256(B256::with_last_byte(1)), alloy_rlp::encode(count));
        let storage = Trie::new(&slots);
        let mut accounts: BTreeMap<_, _> = (0..300u64)
            .map(|i| {
                let account = TrieAccount { nonce: i, ..TrieAccount::default() };
                (keccak256(i.to_be_bytes()), alloy_rlp::encode(account))
            })
            .collect();
        let outbox = TrieAccount {
            nonce: 1,
            balance: U256::from(7),
            storage_root: storage.root,
            code_hash: B256::repeat_byte(7),
        };
        accounts.insert(keccak256(OUTBOX), alloy_rlp::encode(outbox));
        Self { accounts: Trie::new(&accounts), storage }
    }

    fn proof(&self, withdrawal: &Withdrawal) -> WithdrawalProof {
        WithdrawalProof {
            account: self.accounts.way(keccak256(OUTBOX)).nodes,
            storage: self.storage.way(keccak256(withdrawal.slot())).nodes,
        }
    }
}

/// The contracts on an embedded L1, with one posted batch after which the state root is the one given.
struct World {
    l1: Embedded,
    committee: TestCommittee,
    addresses: Addresses,
    params: L1Params,
    batch: Batch,
    posted: OrderCommitment,
}

impl World {
    fn new(state_root: B256) -> Self {
        let keys = conformance::funded();
        let alloc = keys.iter().map(|key| (key.address(), U256::MAX >> 128)).collect();
        let l1 = Embedded::new(Config { alloc, ..Config::default() });
        let plan = DeploymentPlan::new(keys[0].address(), 0);
        let committee = TestCommittee::with(4, 5, |genesis| {
            genesis.settlement = plan.settlement_address();
        });
        let genesis = &committee.genesis;
        let signers: Vec<_> = genesis.committee.members.iter().map(|m| m.signer).collect();
        let params = L1Params { min_stake_wei: U256::from(1_000), ..L1Params::development() };
        let leaders = LeaderTable::new(signers).unwrap();
        let creations = deploy::creations(&plan, genesis, &leaders, &params).unwrap();
        let funding = Funding { stake_wei: U256::from(5_000), gas_wei: U256::from(10u64.pow(19)) };
        let (addresses, miner) = (plan.addresses(), Miner(&l1));
        done(deploy::deploy(&l1, &keys[0], &plan, &creations, genesis, &miner)).unwrap();
        done(deploy::fund_members(&l1, &keys[0], &addresses, genesis, &[], &funding, &miner))
            .unwrap();
        let before = Block::genesis(genesis).commitment.commitment;
        let posted = committee.commitment(&before, &[]);
        let mut world = Self { l1, committee, addresses, params, batch: Batch::default(), posted };
        world.post(state_root);
        world
    }

    fn post(&mut self, state_root: B256) {
        let signature_hash = keccak256(b"a signature");
        let leaf = AccumulatorLeaf {
            height: self.posted.height,
            digest: self.posted.digest(),
            order_root: self.posted.order_root,
            offset: 0,
            signature_hash,
        };
        let leaves = [leaf.hash()];
        let inbox = BatchInbox::new(self.addresses.inbox, self.l1.provider());
        let input = BatchInbox::PostInput {
            parent: self.committee.genesis.hash(),
            firstHeight: self.posted.height,
            accumulatorRoot: merkle::root(&leaves),
            openingRoot: merkle::root(&[]),
            openingCount: 0,
            stateRoot: state_root,
        };
        let call = inbox.postBatch(
            input,
            (&self.posted).into(),
            (&self.committee.certificate(&self.posted)).try_into().unwrap(),
            (&leaf).into(),
            (&merkle::prove(&leaves, 0).unwrap()).into(),
            Bytes::from_static(b"data"),
        );
        let receipt = self.send(self.member(), call);
        let event = receipt
            .logs()
            .iter()
            .find_map(|log| BatchInbox::BatchPosted::decode_log(&log.inner).ok());
        self.batch = (&event.unwrap().data.batch).into();
    }

    fn member(&self) -> &SigningKey {
        &self.committee.members[0].signer
    }

    /// Signs, sends, mines, and expects success.
    fn send<P: alloy_provider::Provider, D: CallDecoder>(
        &self,
        key: &SigningKey,
        call: CallBuilder<P, D, Ethereum>,
    ) -> TransactionReceipt {
        let provider = self.l1.provider();
        let nonce = done(provider.get_transaction_count(key.address())).unwrap();
        let request = call
            .into_transaction_request()
            .with_from(key.address())
            .with_chain_id(self.l1.chain_id())
            .with_nonce(nonce)
            .with_gas_limit(3_000_000)
            .with_max_fee_per_gas(20_000_000_000)
            .with_max_priority_fee_per_gas(1_000_000_000);
        let wallet = EthereumWallet::from(L1Signer::new(key.clone()));
        let raw = done(request.build(&wallet)).unwrap().encoded_2718();
        let hash = *done(provider.send_raw_transaction(&raw)).unwrap().tx_hash();
        self.pass(12);
        let receipt = done(provider.get_transaction_receipt(hash)).unwrap().unwrap();
        assert!(receipt.status(), "reverted");
        receipt
    }

    fn pass(&self, seconds: u64) {
        self.l1.mine(self.l1.head().timestamp_s + seconds).unwrap();
    }

    fn bridge(&self) -> Bridge::BridgeInstance<DynProvider> {
        Bridge::new(self.addresses.bridge, self.l1.provider())
    }

    fn oracle(&self) -> OutputOracle::OutputOracleInstance<DynProvider> {
        OutputOracle::new(self.addresses.oracle, self.l1.provider())
    }

    fn propose(&self) {
        let oracle = self.oracle();
        let call = oracle.propose((&self.batch).into()).value(self.params.output_bond_wei);
        self.send(self.member(), call);
    }

    /// Whether the bridge would pay out; if not, it must be for the proof.
    fn pays(&self, withdrawal: &Withdrawal, proof: &WithdrawalProof) -> bool {
        let bridge = self.bridge();
        let call = proof.clone().into_call(self.batch.index, withdrawal);
        match done(bridge.call_builder(&call).call()) {
            Ok(_) => true,
            refused => {
                refused_with::<Bridge::BadProof, _>(refused);
                false
            }
        }
    }
}

fn refused_with<E: SolError, T>(outcome: alloy_contract::Result<T>) {
    let Err(error) = outcome else { panic!("accepted") };
    let alloy_contract::Error::TransportError(error) = error else { panic!("{error}") };
    let SendFault::Reverted(data) = fault(&error) else { panic!("{error}") };
    assert_eq!(data[..], E::SELECTOR, "{error}");
}

#[test]
fn the_bridge_pays_what_a_final_output_has_on_record_and_once() {
    let state = State::new(60);
    let world = World::new(state.accounts.root);
    let bridge = world.bridge();
    world.send(&stranger(), bridge.depositToBalance(Address::ZERO).value(U256::from(1_000_000)));
    world.propose();
    let first = withdrawal(0);
    let call = state.proof(&first).into_call(1, &first);
    refused_with::<OutputOracle::NotFinal, _>(done(bridge.call_builder(&call).call()));
    world.pass(world.params.output_window_s + 1);
    assert_eq!(done(bridge.OUTBOX().call()).unwrap(), OUTBOX);

    for index in [0, 17, 59] {
        let withdrawal = withdrawal(index);
        assert_eq!(
            done(bridge.withdrawalHash((&withdrawal).into()).call()).unwrap(),
            withdrawal.hash()
        );
        let proof = state.proof(&withdrawal);
        proof.check(state.accounts.root, &withdrawal).unwrap();
        let call = proof.clone().into_call(1, &withdrawal);
        let balance = || done(world.l1.provider().get_balance(withdrawal.to)).unwrap();
        let before = balance();
        world.send(&stranger(), bridge.call_builder(&call));
        assert_eq!(balance() - before, withdrawal.amount_wei);
        assert!(done(bridge.spent(withdrawal.hash()).call()).unwrap());
        refused_with::<Bridge::AlreadySpent, _>(done(bridge.call_builder(&call).call()));
    }
}

/// The verdicts here and there are the same, whatever is done to a proof.
#[test]
fn proofs_are_judged_as_the_bridge_judges_them() {
    let state = State::new(60);
    let world = World::new(state.accounts.root);
    let bridge = world.bridge();
    world.send(&stranger(), bridge.depositToBalance(Address::ZERO).value(U256::from(1_000_000)));
    world.propose();
    world.pass(world.params.output_window_s + 1);
    let root = state.accounts.root;
    let good = withdrawal(3);
    let proof = state.proof(&good);
    let same = |withdrawal: &Withdrawal, proof: &WithdrawalProof, expected: Option<ProofFault>| {
        let verdict = proof.check(root, withdrawal);
        assert_eq!(world.pays(withdrawal, proof), verdict.is_ok(), "{verdict:?}");
        if let Some(expected) = expected {
            assert_eq!(verdict, Err(expected));
        }
    };
    assert!(world.pays(&good, &proof));
    let unknown = withdrawal(60);
    same(&unknown, &state.proof(&unknown), Some(ProofFault::NotRecorded));
    for changed in [
        Withdrawal { index: 4, ..good },
        Withdrawal { sender: good.to, ..good },
        Withdrawal { to: good.sender, ..good },
        Withdrawal { amount_wei: good.amount_wei + U256::ONE, ..good },
    ] {
        same(&changed, &proof, None);
        assert!(proof.check(root, &changed).is_err());
        // With the way to where it would be.
        same(&changed, &state.proof(&changed), None);
    }
    let swapped =
        WithdrawalProof { account: proof.storage.clone(), storage: proof.account.clone() };
    let other = TrieFault::Other(root);
    same(&good, &swapped, Some(ProofFault::Account(other)));
    let none = WithdrawalProof { storage: Vec::new(), ..proof.clone() };
    same(&good, &none, Some(ProofFault::Storage(TrieFault::Missing(state.storage.root))));
    let mut short = proof.clone();
    short.account.pop();
    same(&good, &short, None);
    let mut long = proof.clone();
    long.storage.push(Bytes::from_static(&[0xc0]));
    same(&good, &long, Some(ProofFault::Storage(TrieFault::Excess)));
    let mut large = proof.clone();
    large.account.push(vec![0; MAX_NODE_BYTES + 1].into());
    same(&good, &large, Some(ProofFault::TooLarge));
    for half in 0..2 {
        let nodes = [&proof.account, &proof.storage][half].len();
        for node in 0..nodes {
            let length = [&proof.account, &proof.storage][half][node].len();
            // A few bytes of each at the contract, all of them here.
            for at in 0..length {
                let mut changed = proof.clone();
                let half = if half == 0 { &mut changed.account } else { &mut changed.storage };
                let mut bytes = half[node].to_vec();
                bytes[at] ^= 1;
                half[node] = bytes.into();
                assert!(changed.check(root, &good).is_err());
                if at % 97 == 0 {
                    same(&good, &changed, None);
                }
            }
        }
    }
}

/// The way to a node's proof of an output, through every kind of chain above it.
#[test]
fn a_challenged_output_is_proven_by_the_committee() {
    let state = State::new(2);
    let world = World::new(state.accounts.root);
    let lag = world.committee.genesis.params.executed_lag;
    let opening_root = B256::repeat_byte(0x0b);
    let mut chain = vec![world.posted.clone()];
    while chain.last().unwrap().height < 1 + lag + 2 {
        let parent = chain.last().unwrap().clone();
        let mut next = world.committee.commitment(&parent, &[]);
        if next.height == 1 + lag {
            next.executed_root = executed_root(state.accounts.root, opening_root);
        }
        chain.push(next);
    }
    let above = &chain[usize::try_from(lag).unwrap()..];
    assert_eq!((above[0].height, above.len()), (1 + lag, 3));
    let oracle = world.oracle();
    let bond = world.params.output_bond_wei;
    world.propose();
    world.send(&stranger(), oracle.challenge(1).value(bond));

    let proof = |opening_root, chain: &[OrderCommitment]| {
        let certificate = world.committee.certificate(chain.last().unwrap());
        committee_proof(&world.batch, opening_root, chain, &certificate).unwrap()
    };
    for wrong in [
        proof(B256::ZERO, above),
        proof(opening_root, &above[1..]),
        proof(opening_root, &[above[0].clone(), above[2].clone()]),
        committee_proof(
            &world.batch,
            opening_root,
            &above[..1],
            &world.committee.certificate(&above[1]),
        )
        .unwrap(),
    ] {
        refused_with::<OutputOracle::BadProof, _>(done(oracle.prove(1, wrong).call()));
    }
    for length in 1..=above.len() {
        done(oracle.prove(1, proof(opening_root, &above[..length])).call()).unwrap();
    }
    world.send(world.member(), oracle.prove(1, proof(opening_root, above)));
    assert_eq!(done(oracle.finalOutput(1).call()).unwrap(), state.accounts.root);
    let prover = world.member().address();
    assert_eq!(done(oracle.owed(prover).call()).unwrap(), bond * U256::from(2));
}

proptest! {
    /// Ways to keys that are there and keys that are not, in tries of every shape, as alloy makes and checks them.
    #[test]
    fn ways_are_alloys(
        entries in prop::collection::btree_map(prop::array::uniform2(0u8..4), 0u64..1 << 40, 0..40),
        spread: bool,
        wanted in prop::array::uniform2(0u8..4),
    ) {
        // Keys that differ late give extensions and nodes inside nodes; hashed ones give neither.
        let key = |short: [u8; 2]| {
            if spread { keccak256(short) } else { B256::right_padding_from(&[7; 30]) | B256::left_padding_from(&short) }
        };
        let entries: BTreeMap<_, _> = entries
            .into_iter()
            .map(|(short, value)| (key(short), alloy_rlp::encode(value + 1)))
            .collect();
        let (trie, wanted) = (Trie::new(&entries), key(wanted));
        prop_assume!(!entries.is_empty());
        let way = trie.way(wanted);
        prop_assert_eq!(way.value.as_ref(), entries.get(&wanted));
        if way.value.is_some() {
            prop_assert_eq!(&way.nodes, &trie.alloys_way(wanted));
        }
        verify_proof(trie.root, Nibbles::unpack(wanted), way.value.clone(), &way.nodes).unwrap();
        prop_assert_eq!(super::trie::value(trie.root, wanted, &way.nodes), Ok(way.value));
    }

    /// No bytes make it panic.
    #[test]
    fn garbage_is_refused(nodes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
        let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
        let root = nodes.first().map_or(B256::ZERO, keccak256);
        let proof = WithdrawalProof { account: nodes, storage: Vec::new() };
        prop_assert!(proof.check(root, &withdrawal(0)).is_err());
    }
}

#[test]
fn an_empty_trie_has_nothing() {
    assert_eq!(trie::value(alloy_trie::EMPTY_ROOT_HASH, B256::ZERO, &[]), Ok(None));
}
