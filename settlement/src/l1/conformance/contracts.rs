//! The real contracts: deployment, and every call that a network makes while all is well.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolError as _};
use blindfold_wire::{Block, SigningKey, merkle, testkit::TestCommittee};

use super::{Bench, Miner};
use crate::{
    accumulator::LeaderTable,
    bindings::{BatchInbox, Bridge, ForcedQueue, StakeVault},
    deploy::{self, Addresses, DeploymentPlan, Funding, L1Params},
    l1::{SendFault, blob_hash, fault, seal_blobs},
};

/// Members of the committee that is deployed.
const MEMBERS: usize = 4;

/// A network's settlement on the chain under test.
struct Settlement {
    committee: TestCommittee,
    addresses: Addresses,
    params: L1Params,
}

/// Deploys, funds, and uses.
pub(super) async fn settlement(bench: &mut Bench<'_>) {
    let settlement = deployment(bench).await;
    forced(bench, &settlement).await;
    batches(bench, &settlement).await;
    exit(bench, &settlement).await;
}

async fn deployment(bench: &mut Bench<'_>) -> Settlement {
    let plan = DeploymentPlan::new(bench.address(0), bench.nonce(0).await);
    let committee = TestCommittee::with(MEMBERS, 7, |genesis| {
        genesis.settlement = plan.settlement_address();
    });
    let (genesis, key) = (&committee.genesis, bench.keys[0].clone());
    let leaders = genesis.committee.members.iter().map(|member| member.signer).collect();
    let leaders = LeaderTable::new(leaders).expect("there are members");
    let params = L1Params { min_stake_wei: U256::from(1_000), ..L1Params::development() };
    let creations = deploy::creations(&plan, genesis, &leaders, &params).expect("they fit");
    let pause = Miner(bench.l1);

    // A crash after three of them.
    let begun = deploy::deploy(bench.l1, &key, &plan, &creations[..3], genesis, &pause).await;
    assert!(
        matches!(begun, Err(deploy::DeployError::NotOurs { contract: "ForcedQueue", .. })),
        "{begun:?}"
    );
    let gas = deploy::deploy(bench.l1, &key, &plan, &creations, genesis, &pause).await;
    let gas = gas.expect("the rest");
    assert_eq!(gas.len(), 5, "three were there");
    let again = deploy::deploy(bench.l1, &key, &plan, &creations, genesis, &pause).await;
    assert!(again.expect("nothing is left to do").is_empty());
    bench.gas.extend(gas.into_iter().map(|(name, gas)| (format!("create {name}"), gas)));
    for (creation, address) in creations.iter().zip(plan.addresses().all()) {
        assert_eq!(creation.address, address);
    }

    let addresses = plan.addresses();
    let signers: Vec<SigningKey> =
        committee.members.iter().map(|member| member.signer.clone()).collect();
    let funding =
        Funding { stake_wei: U256::from(5_000), gas_wei: U256::from(1_000_000_000_000_000_000u64) };
    for _ in 0..2 {
        let funded =
            deploy::fund_members(bench.l1, &key, &addresses, genesis, &signers, &funding, &pause);
        funded.await.expect("funded");
    }
    for signer in &signers {
        let stake = StakeVault::stakeOfCall { signer: signer.address() };
        assert_eq!(bench.call(addresses.vault, stake).await, U256::from(5_000), "once each");
    }
    bench.keys.extend(signers);
    Settlement { committee, addresses, params }
}

async fn forced(bench: &mut Bench<'_>, settlement: &Settlement) {
    let (queue, bridge) = (settlement.addresses.queue, settlement.addresses.bridge);
    let item =
        |kind, length: usize| ForcedQueue::forceCall { kind, data: vec![0x5e; length].into() };
    let fee = settlement.params.forced_fee_wei;
    for (name, length) in [("force 100 bytes", 100), ("force 2,048 bytes", 2_048)] {
        bench.send_call(name, 0, queue, fee, item(0, length)).await;
    }
    let deposit = Bridge::depositToBalanceCall { to: bench.address(1) };
    bench.send_call("deposit to balance", 0, bridge, U256::from(9), deposit).await;
    let deposit = Bridge::depositToEscrowCall { to: bench.address(1) };
    bench.send_call("deposit to escrow", 0, bridge, U256::from(9), deposit).await;
    assert_eq!(bench.call(queue, ForcedQueue::lengthCall {}).await, 4);
    // Without the fee, and too long.
    let error = bench.refusal(queue, U256::ZERO, item(0, 100)).await;
    assert_eq!(error, SendFault::Reverted(ForcedQueue::FeeTooLow {}.abi_encode().into()));
    let error = bench.refusal(queue, fee, item(0, 2_049)).await;
    assert_eq!(error, SendFault::Reverted(ForcedQueue::WrongLength {}.abi_encode().into()));
}

/// What a poster sends for the one height after `parent`.
struct Posting {
    call: BatchInbox::postBatchCall,
    commitment: blindfold_wire::OrderCommitment,
}

impl Settlement {
    fn posting(
        &self,
        before: &blindfold_wire::OrderCommitment,
        parent: B256,
        data: Bytes,
        forced: (u64, B256),
    ) -> Posting {
        let mut commitment = self.committee.commitment(before, &[]);
        (commitment.forced_cursor, commitment.forced_hash) = forced;
        let leaf = BatchInbox::AccumulatorLeaf {
            height: commitment.height,
            digest: commitment.digest(),
            orderRoot: commitment.order_root,
            offset: 0,
            signatureHash: keccak256(b"a signature"),
        };
        let leaves = [keccak256(
            [
                b"BLINDFOLD-V1/accumulator-leaf/".as_slice(),
                &leaf.height.to_be_bytes(),
                leaf.digest.as_slice(),
                leaf.orderRoot.as_slice(),
                &leaf.offset.to_be_bytes(),
                leaf.signatureHash.as_slice(),
            ]
            .concat(),
        )];
        let certificate = self.committee.certificate(&commitment);
        let call = BatchInbox::postBatchCall {
            input: BatchInbox::PostInput {
                parent,
                firstHeight: commitment.height,
                accumulatorRoot: merkle::root(&leaves),
                openingRoot: merkle::root(&[]),
                openingCount: 0,
                stateRoot: B256::repeat_byte(3),
            },
            last: (&commitment).into(),
            cert: (&certificate).try_into().expect("a point"),
            lastLeaf: leaf,
            lastProof: (&merkle::prove(&leaves, 0).expect("in range")).into(),
            data,
        };
        Posting { call, commitment }
    }
}

async fn batches(bench: &mut Bench<'_>, settlement: &Settlement) {
    let inbox = settlement.addresses.inbox;
    let genesis = Block::genesis(&settlement.committee.genesis).commitment.commitment;
    let hash_at =
        bench.call(settlement.addresses.queue, ForcedQueue::hashAtCall { index: 4 }).await;
    let all = (4, hash_at);
    // The first member posts; it is the third funded account.
    let poster = 2;
    let data = Bytes::from((0..1_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let first = settlement.posting(&genesis, settlement.committee.genesis.hash(), data, all);
    bench
        .send_call("post a batch of 1,000 bytes", poster, inbox, U256::ZERO, first.call.clone())
        .await;

    // Refused: again, by somebody without stake, with another signature, with a wrong hash of the queue.
    let head = bench.call(inbox, BatchInbox::headCall {}).await;
    assert_eq!((head.count, head.lastHeight, head.forcedHead), (1, 1, 4));
    let is = |error: SendFault, expected: Vec<u8>| {
        assert_eq!(error, SendFault::Reverted(expected.into()))
    };
    let error = bench.refusal_of(poster, inbox, first.call).await;
    is(error, BatchInbox::BrokenChain {}.abi_encode());
    let data = Bytes::from_static(b"more");
    let second = settlement.posting(&first.commitment, head.hash, data.clone(), all);
    is(
        bench.refusal_of(0, inbox, second.call.clone()).await,
        BatchInbox::NotStaked {}.abi_encode(),
    );
    let mut forged = second.call.clone();
    forged.cert.view_ += 1;
    is(bench.refusal_of(poster, inbox, forged).await, BatchInbox::BadCertificate {}.abi_encode());
    let wrong = settlement.posting(&first.commitment, head.hash, data, (4, B256::repeat_byte(1)));
    let error = bench.refusal_of(poster, inbox, wrong.call).await;
    is(error, BatchInbox::WrongForcedHash {}.abi_encode());

    // The same height in a blob.
    let mut call = second.call;
    call.data = Bytes::new();
    let mut blob = alloy_eips::eip4844::Blob::default();
    blob[31] = 1;
    let expected = keccak256([&[1], blob_hash(&blob).expect("a blob").as_slice()].concat());
    let sidecar = seal_blobs(vec![blob]).expect("a blob");
    let request = bench.blob_request(poster, inbox, call.abi_encode().into(), sidecar).await;
    let receipt = bench.perform_by(poster, "post a batch in a blob", request).await;
    assert!(receipt.status(), "reverted");
    let event = receipt
        .inner
        .logs()
        .iter()
        .find_map(|log| {
            use alloy_sol_types::SolEvent as _;
            BatchInbox::BatchPosted::decode_log(&log.inner).ok()
        })
        .expect("the event carries the batch");
    assert_eq!(event.batch.dataHash, expected);
    assert_eq!(event.batch.index, 2);

    bench
        .send_call("claim for posting", poster, inbox, U256::ZERO, BatchInbox::claimPostingCall {})
        .await;
    assert_eq!(bench.call(settlement.addresses.queue, ForcedQueue::lengthCall {}).await, 5);
}

async fn exit(bench: &mut Bench<'_>, settlement: &Settlement) {
    let vault = settlement.addresses.vault;
    let signer = bench.address(3);
    let deposit = StakeVault::depositCall { signer };
    bench.send_call("delegate stake", 0, vault, U256::from(100), deposit).await;
    let request = StakeVault::requestExitCall { signer, amount: U256::from(40) };
    bench.send_call("request exit", 0, vault, U256::ZERO, request).await;
    let claim = StakeVault::claimCall { signer };
    let error = bench.refusal_of(0, vault, claim.clone()).await;
    assert!(matches!(error, SendFault::Reverted(_)), "the delay is not over: {error:?}");
    let head = bench.l1.heads().await.expect("heads").latest;
    let control = bench.l1.control().expect("a chain for tests");
    control.mine(head.timestamp_s + settlement.params.exit_delay_s).await.expect("a block");
    bench.send_call("claim after exit", 0, vault, U256::ZERO, claim).await;
}

impl Bench<'_> {
    /// Reads from a contract.
    async fn call<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let request = self.view(0, to, U256::ZERO, call.abi_encode());
        let output = self.provider_call(request).await.expect("a call");
        C::abi_decode_returns(&output).expect("what was declared")
    }

    /// Sends to a contract, and expects success.
    async fn send_call<C: SolCall>(
        &mut self,
        name: &str,
        who: usize,
        to: Address,
        value: U256,
        call: C,
    ) {
        let mut request = self.request(who, Some(to), call.abi_encode().into()).await;
        request.value = Some(value);
        let receipt = self.perform_by(who, name, request).await;
        assert!(receipt.status(), "{name} reverted");
    }

    /// What a call is refused with.
    async fn refusal<C: SolCall>(&self, to: Address, value: U256, call: C) -> SendFault {
        let request = self.view(0, to, value, call.abi_encode());
        fault(&self.provider_call(request).await.expect_err("it must revert"))
    }

    async fn refusal_of<C: SolCall>(&self, who: usize, to: Address, call: C) -> SendFault {
        let request = self.view(who, to, U256::ZERO, call.abi_encode());
        fault(&self.provider_call(request).await.expect_err("it must revert"))
    }
}
