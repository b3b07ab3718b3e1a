//! Addresses, parameters, and the largest committee.

use alloy_primitives::{U256, address};
use blindfold_wire::testkit::TestCommittee;
use futures::executor::block_on;

use super::*;
use crate::l1::{
    conformance::{self, Miner},
    embedded::{Config, Embedded},
};

fn chain() -> Embedded {
    let alloc = conformance::funded().iter().map(|key| (key.address(), U256::MAX >> 128)).collect();
    Embedded::new(Config { alloc, ..Config::default() })
}

fn committee(members: usize, plan: &DeploymentPlan) -> (TestCommittee, LeaderTable) {
    let committee = TestCommittee::with(members, 3, |genesis| {
        genesis.settlement = plan.settlement_address();
    });
    let members = committee.genesis.committee.members.iter();
    let leaders = LeaderTable::new(members.map(|member| member.signer).collect());
    (committee, leaders.expect("there are members"))
}

/// Addresses as every Ethereum tool computes them.
#[test]
fn addresses_follow_from_deployer_and_nonce() {
    let deployer = address!("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0");
    let plan = DeploymentPlan::new(deployer, 0);
    let addresses = plan.addresses();
    // The vectors that go-ethereum tests its own function with.
    assert_eq!(addresses.vault, address!("cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"));
    assert_eq!(addresses.operators, address!("343c43a37d37dff08ae8c4a11544c718abb4fcf8"));
    assert_eq!(addresses.committees, address!("f778b86fa74e846c4f0a1fbd1335fe81c00a0c91"));
    assert_eq!(plan.settlement_address(), addresses.inbox);
    assert_eq!(DeploymentPlan::new(deployer, 4).addresses().vault, addresses.inbox);
}

#[test]
fn parameters_that_the_contracts_refuse_are_refused_before() {
    L1Params::default().validate().expect("the defaults");
    L1Params::development().validate().expect("those of development networks");
    type Change = (&'static str, fn(&mut L1Params));
    let change: [Change; 6] = [
        ("forcedDeadlineBlocks", |p| p.forced_deadline_blocks = p.forced_delay_blocks),
        ("forcedFallbackBlocks", |p| p.forced_fallback_blocks = p.forced_deadline_blocks),
        ("challengeWindowS", |p| p.challenge_window_s = 0),
        ("exitDelayS", |p| p.exit_delay_s = p.challenge_window_s + p.evidence_window_s),
        ("proveWindowS", |p| p.prove_window_s = 0),
        ("revealDelayBlocks", |p| p.reveal_delay_blocks = 0),
    ];
    for (expected, change) in change {
        let mut params = L1Params::default();
        change(&mut params);
        let refused = params.validate();
        assert!(matches!(refused, Err(DeployError::Params { name, .. }) if name == expected));
    }
    let json = serde_json::to_string(&L1Params::default()).expect("JSON");
    assert_eq!(serde_json::from_str::<L1Params>(&json).expect("the same"), L1Params::default());
}

/// The largest committee fits into one transaction, below the caps of EIP-3860 and EIP-7825.
#[test]
fn the_largest_committee_can_be_deployed() {
    let (l1, key) = (chain(), conformance::funded()[0].clone());
    let plan = DeploymentPlan::new(key.address(), 0);
    let (committee, leaders) = committee(MAX_GENESIS_MEMBERS, &plan);
    let params = L1Params::default();
    let creations = creations(&plan, &committee.genesis, &leaders, &params).expect("it fits");
    let miner = Miner(&l1);
    let gas = block_on(deploy(&l1, &key, &plan, &creations, &committee.genesis, &miner));
    let gas = gas.expect("deployed");
    println!("gas of creations with {MAX_GENESIS_MEMBERS} members: {gas:#?}");
    for creation in &creations {
        assert!(creation.gas_limit <= MAX_TX_GAS);
        let used = gas[creation.contract];
        assert!(used <= creation.gas_limit, "{}: {used}", creation.contract);
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (l1, key) = (chain(), conformance::funded()[0].clone());
    let plan = DeploymentPlan::new(key.address(), 0);
    let (ours, leaders) = committee(4, &plan);
    let params = L1Params::development();
    let other = DeploymentPlan::new(key.address(), 1);
    let refused = creations(&other, &ours.genesis, &leaders, &params);
    assert!(matches!(refused, Err(DeployError::OtherSettlement { .. })));

    let creations = creations(&plan, &ours.genesis, &leaders, &params).expect("it fits");
    let (miner, stranger) = (Miner(&l1), conformance::funded()[1].clone());
    let refused = block_on(deploy(&l1, &stranger, &plan, &creations, &ours.genesis, &miner));
    assert!(matches!(refused, Err(DeployError::OtherDeployer { .. })));
    let refused = block_on(deploy(&l1, &key, &other, &creations, &ours.genesis, &miner));
    assert!(matches!(refused, Err(DeployError::NonceAhead { planned: 1, got: 0 })));

    block_on(deploy(&l1, &key, &plan, &creations, &ours.genesis, &miner)).expect("deployed");
    // The same addresses, another document.
    let (mut theirs, _) = committee(4, &plan);
    theirs.genesis.timestamp_ms += 1;
    let provider = crate::l1::L1::provider(&l1);
    let refused = block_on(check(&provider, &plan, &theirs.genesis));
    assert!(matches!(refused, Err(DeployError::NotOurs { contract: "BatchInbox", .. })));
    block_on(check(&provider, &plan, &ours.genesis)).expect("ours");
}
