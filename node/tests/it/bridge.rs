//! Ether to L2 and back, by the commands, the members and the contracts that people use.

mod world;
mod wrong;

use crate::settlement::ETHER;
use alloy_primitives::{Address, B256, U64, U256};
use blindfold_sdk::{
    ClientError,
    rpc::{OutputState, PayerDocument, codes},
};
use blindfold_settlement::{
    bindings::{Bridge, OutputOracle},
    l1::{Dropped, L1 as _, sending},
    withdrawal::{OUTBOX, Withdrawal},
};
use serde_json::Value;
use std::time::Duration;
use world::{BOND_WEI, PROVEN, WINDOW_S, World};

#[test]
fn ether_goes_to_l2_and_comes_back() {
    let mut world = World::start(|_| {});
    let [saver, payer, to] = [0xd1, 0xd2, 0xcc].map(Address::repeat_byte);

    // In: to a balance, and to an escrow.
    let args = ["deposit", "--amount", "2ether", "--to", &saver.to_string(), "--json"];
    let deposited = world.bridge(0, "l1", &args).expect(0).json();
    assert_eq!(deposited["outcome"]["state"], "credited", "{deposited}");
    let args = ["deposit", "--amount", "1ether", "--to", &payer.to_string(), "--escrow"];
    let deposited = world.bridge(1, "l1", &args).expect(0);
    assert!(deposited.stdout.contains("to the escrow of"), "{}", deposited.stdout);
    let client = &world.settled.network.clients[1];
    let balance: U256 = client.request("eth_getBalance", (saver, "latest")).unwrap();
    assert_eq!(balance, U256::from(2 * ETHER));
    let escrow: PayerDocument = client.request("sealed_getPayer", [payer]).unwrap();
    assert_eq!(escrow.escrow_wei, U256::from(ETHER));
    assert_eq!(world.l1_balance(world.contracts.bridge), U256::from(3 * ETHER));

    // Out: nothing to claim before somebody proposed an output, nor before that is final.
    let args = ["withdraw", "--amount", "0.5ether", "--to", &to.to_string(), "--json"];
    let withdrawn = world.bridge(2, "own", &args).expect(0).json();
    assert_eq!(withdrawn["withdrawal"]["index"], 0, "{withdrawn}");
    let early = world.bridge(2, "l1", &["claim", "0"]).expect(1);
    assert!(early.stdout.contains("nothing was claimed"), "{}", early.stdout);
    let document = world.until_proposed(0, 0);
    // A reorg takes the proposal away, if it is as new as that, and a member is killed meanwhile.
    world.l1().reorg(5, Dropped::Forgotten, world.l1().head().timestamp_s).unwrap();
    let members = world.members();
    let proposer = document.output.unwrap().proposer;
    let proposer = members.iter().position(|signer| *signer == proposer).expect("a member");
    world.settled.network.kill(proposer);
    world.settled.network.run(proposer);
    let other = (proposer + 1) % 4;
    let sender = world.user.address().to_string();
    let listed = world.settled.network.until("an output is proposed", || {
        let args = ["withdrawals", "--sender", &sender, "--json"];
        let listed = world.bridge(other, "l1", &args).expect(0).json();
        (listed["withdrawals"][0]["stage"] == "proposed").then_some(listed)
    });
    let left_s = listed["withdrawals"][0]["secondsLeft"].as_u64().unwrap();
    assert!((1..=WINDOW_S + 1).contains(&left_s), "{listed}");
    let early = world.bridge(other, "l1", &["claim", "0"]).expect(1);
    assert!(early.stdout.contains("covers it and is final in "), "{}", early.stdout);

    // Final: it is paid, once, and whoever proposed has its bond back.
    let proposed = world.until_proposed(other, 0).output.unwrap();
    assert_eq!(proposed.state, OutputState::Proposed);
    world.mine(WINDOW_S + 1);
    let claimed = world.bridge(other, "l1", &["claim", "0", "--wait", "--json"]).expect(0).json();
    assert_eq!(claimed["claimed"], 1, "{claimed}");
    assert_eq!(world.l1_balance(to), U256::from(ETHER / 2));
    let again = world.bridge(0, "l1", &["claim", "0"]).expect(1);
    assert!(again.stdout.contains("claimed"), "{}", again.stdout);
    assert_eq!(world.l1_balance(to), U256::from(ETHER / 2));
    world.settled.network.until("the bond is returned", || {
        (world.output_status(proposed.batch) == PROVEN && world.owed(proposed.proposer).is_zero())
            .then_some(())
    });

    challenged_outputs_are_proven(&world, to);
    proofs_are_kept_where_they_are_needed(&world);
    world.settled.network.expect_agreement(&[0, 1, 2, 3]);
}

/// Somebody demands a proof of a right output while its proposer sleeps: another member gives it, and the output is
/// final at once. The proposer takes its bond when it wakes, though it ended nothing itself.
fn challenged_outputs_are_proven(world: &World, to: Address) {
    let args = ["withdraw", "--amount", "0.25ether", "--to", &to.to_string()];
    let withdrawn = world.bridge(3, "own", &args).expect(0);
    assert!(withdrawn.stdout.contains("withdrawal   1:"), "{}", withdrawn.stdout);
    let output = world.until_proposed(3, 1).output.unwrap();
    assert_eq!(output.state, OutputState::Proposed);
    let members = world.members();
    let proposer = members.iter().position(|signer| *signer == output.proposer).expect("a member");
    let other = (proposer + 1) % 4;
    world.settled.network.freeze(proposer);
    let challenger = world.settled.deployer.clone();
    let prover = world.settled.runtime.block_on(async {
        let l1 = world.l1();
        let oracle = OutputOracle::new(world.contracts.oracle, sending(&l1, &challenger));
        let challenge = oracle.challenge(output.batch).value(U256::from(BOND_WEI));
        let receipt = challenge.send().await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status(), "the challenge came too late");
        let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let proven = oracle.Proven_filter().from_block(0).query().await.unwrap();
            let proven = proven.iter().find(|(event, _)| event.index == output.batch);
            if let Some((event, _)) = proven {
                break event.prover;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "nobody proves\n{}",
                world.settled.network.logs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    world.settled.network.thaw(proposer);
    assert!(members.contains(&prover) && prover != output.proposer, "{prover}");
    assert_eq!(world.output_status(output.batch), PROVEN);
    assert_eq!(world.owed(challenger.address()), U256::ZERO, "the challenger has lost its bond");
    // No window has passed.
    let listed = world.settled.network.until("the output is claimable", || {
        let listed = world.bridge(other, "own", &["withdrawals", "--json"]).expect(0).json();
        (listed["withdrawals"][1]["stage"] == "claimable").then_some(listed)
    });
    assert_eq!(listed["withdrawals"][0]["stage"], "claimed", "{listed}");
    let sender = world.user.address().to_string();
    let claimed = world.bridge(other, "l1", &["claim", "--sender", &sender]).expect(0);
    assert!(claimed.stdout.contains("claimed in L1 transaction"), "{}", claimed.stdout);
    assert_eq!(world.l1_balance(to), U256::from(ETHER / 2 + ETHER / 4));
    // Both bonds are taken out: nothing is left in the oracle but what newer outputs hold.
    world.settled.network.until("the bonds are taken out", || {
        members.iter().all(|member| world.owed(*member).is_zero()).then_some(())
    });
}

/// Proofs of the outbox are served for ends of batches, however old, and for nothing else.
fn proofs_are_kept_where_they_are_needed(world: &World) {
    let client = &world.settled.network.clients[2];
    let document = world.withdrawal(2, 0);
    let output = document.output.unwrap();
    let withdrawal = Withdrawal {
        index: 0,
        sender: world.user.address(),
        to: document.to,
        amount_wei: document.amount_wei,
    };
    let bridge = Bridge::new(world.contracts.bridge, world.l1().provider());
    let spent =
        world.settled.runtime.block_on(async { bridge.spent(withdrawal.hash()).call().await });
    assert!(spent.unwrap(), "the same hash here and there");
    let ask = |address: Address, height: u64| {
        let slots: [B256; 1] = [withdrawal.slot()];
        client.request::<Value>("eth_getProof", (address, slots, U64::from(height)))
    };
    let proof = ask(OUTBOX, output.last_height).unwrap();
    assert_eq!(proof["storageProof"][0]["value"], "0x1");
    let refused = |address, height| {
        let refused = ask(address, height).unwrap_err();
        matches!(refused, ClientError::Refused { code: codes::HISTORY_UNAVAILABLE, .. })
    };
    assert!(refused(Address::ZERO, output.last_height));
    let settlement = document.settlement.unwrap();
    for height in settlement.first_height..settlement.last_height {
        assert!(refused(OUTBOX, height), "height {height} lies within {settlement:?}");
    }
}
