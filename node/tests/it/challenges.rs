//! Challenges on L1: whoever asks is answered by the network, which nobody tells to, and no stake is lost.

use crate::settlement::{ETHER, STAKE_ETHER, Settled};
use alloy_network::ReceiptResponse as _;
use alloy_primitives::{Address, B256, U256};
use alloy_provider::{DynProvider, Provider as _};
use alloy_rpc_types_eth::{Filter, TransactionRequest};
use alloy_sol_types::SolEvent as _;
use blindfold_node::{
    l1::http::{self, HttpOptions},
    store::{Durability, Family, Store},
};
use blindfold_sdk::{SigningKey, TxStatus};
use blindfold_settlement::{
    bindings::{BatchInbox, StakeVault},
    l1::{L1 as _, RpcL1, sending},
    reveal::{Asked, COMMITMENT},
};
use std::time::Duration;

/// Time to answer, in seconds. Members begin to answer for others after a quarter of it.
const WINDOW_S: u64 = 240;
/// A position that no height has.
const NOWHERE: u32 = 4_000;

/// Somebody who owes the chain nothing, and sees it through L1's port.
struct Outsider {
    l1: RpcL1,
    provider: DynProvider,
    inbox: Address,
    asked: Vec<(BatchInbox::Batch, Asked)>,
}

impl Outsider {
    fn new(settled: &Settled) -> Self {
        let key = SigningKey::random([0xe; 32]);
        settled.runtime.block_on(async {
            let l1 = http::connect(&settled.server.url(), &HttpOptions::default()).await.unwrap();
            let give =
                TransactionRequest::default().to(key.address()).value(U256::from(100 * ETHER));
            let giver = sending(&l1, &settled.deployer);
            giver.send_transaction(give).await.unwrap().get_receipt().await.unwrap();
            let provider = sending(&l1, &key);
            Self { l1, provider, inbox: settled.network.genesis.settlement, asked: Vec::new() }
        })
    }

    fn inbox(&self) -> BatchInbox::BatchInboxInstance<&DynProvider> {
        BatchInbox::new(self.inbox, &self.provider)
    }

    /// The batch that holds `height`.
    fn batch(&self, settled: &Settled, height: u64) -> BatchInbox::Batch {
        let filter = Filter::new()
            .address(self.inbox)
            .event_signature(BatchInbox::BatchPosted::SIGNATURE_HASH)
            .from_block(0);
        let logs = settled.runtime.block_on(self.l1.provider().get_logs(&filter)).unwrap();
        logs.iter()
            .map(|log| BatchInbox::BatchPosted::decode_log(&log.inner).unwrap().data.batch)
            .find(|batch| (batch.firstHeight..=batch.lastHeight).contains(&height))
            .unwrap()
    }

    fn ask(&mut self, settled: &Settled, batch: &BatchInbox::Batch, height: u64, position: u32) {
        settled.runtime.block_on(async {
            let inbox = self.inbox();
            let bond = inbox.challengeBond().call().await.unwrap();
            let sent =
                inbox.challenge(batch.clone(), height, position).value(bond).send().await.unwrap();
            let receipt = sent.get_receipt().await.unwrap();
            assert!(receipt.status(), "height {height}, position {position}");
        });
        self.asked.push((batch.clone(), Asked { batch: batch.index, height, position }));
    }

    fn is_open(&self, settled: &Settled, asked: &Asked) -> bool {
        let inbox = self.inbox();
        let found =
            settled.runtime.block_on(async { inbox.challengeOf(asked.id()).call().await.unwrap() });
        // After a reorg the question may wait for its block again.
        found.challenger.is_zero() || !found.settled
    }

    fn until_answered(&self, settled: &Settled) {
        settled.network.until("challenges are answered", || {
            self.asked.iter().all(|(_, asked)| !self.is_open(settled, asked)).then_some(())
        });
    }

    /// The account that answered.
    fn answerer(&self, settled: &Settled, asked: &Asked) -> Address {
        settled.runtime.block_on(async {
            let filter = Filter::new()
                .address(self.inbox)
                .event_signature(vec![
                    BatchInbox::CommitmentRevealed::SIGNATURE_HASH,
                    BatchInbox::OpeningRevealed::SIGNATURE_HASH,
                ])
                .topic1(B256::from(U256::from(asked.batch)))
                .topic2(B256::from(U256::from(asked.height)))
                .from_block(0);
            let logs = self.l1.provider().get_logs(&filter).await.unwrap();
            let position = U256::from(asked.position).to_be_bytes::<32>();
            let log = logs.iter().find(|log| log.data().data.as_ref() == position).unwrap();
            let hash = log.transaction_hash.unwrap();
            let receipt = self.l1.provider().get_transaction_receipt(hash).await.unwrap().unwrap();
            receipt.from()
        })
    }
}

/// Lets L1's clock jump.
fn jump(settled: &Settled, seconds: u64) {
    let l1 = settled.server.l1();
    l1.mine(l1.head().timestamp_s + seconds).unwrap();
}

/// Puts other openings of a height, or none, into the database of a member that does not run; what it had before.
fn exchange_openings(
    settled: &Settled,
    member: usize,
    height: u64,
    openings: Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let db = settled.network.config(member).data_dir.join("db");
    let store = Store::open(db, settled.network.genesis.hash().0).unwrap();
    let key = height.to_be_bytes();
    let before = store.get(Family::Openings, &key).unwrap();
    let write = vec![(Family::Openings, key.to_vec(), openings)];
    store.write(write, Durability::Synced).unwrap();
    before
}

/// Height and position of an executed envelope.
fn place(settled: &Settled, id: B256) -> (u64, u32) {
    match settled.network.clients[0].status(id).unwrap() {
        Some(TxStatus::Executed { height, position, .. }) => (height, position),
        other => panic!("{other:?}"),
    }
}

/// A poster shows what it is asked for, also after it was killed between question and answer; and where it stays
/// away, another member does.
#[test]
fn challenges_are_answered_and_no_stake_is_lost() {
    let key = SigningKey::random([9; 32]);
    let mut settled = Settled::prepare_with(
        &[key.address()],
        |params| params.challenge_window_s = WINDOW_S,
        |config| config.answer_for_others = false,
    );
    settled.network.run_all();
    let mut payer = settled.network.wallet(key);
    let sent = payer.send(&settled.network, 0, 8);
    settled.network.expect_executed(0, &sent);
    let places: Vec<_> = sent.iter().map(|id| place(&settled, *id)).collect();
    settled.until_posted(0, places[7].0);
    let mut outsider = Outsider::new(&settled);
    // A batch with two of them.
    let batches: Vec<_> = places.iter().map(|place| outsider.batch(&settled, place.0)).collect();
    let at = batches.windows(2).position(|pair| pair[0].index == pair[1].index).unwrap();
    let batch = batches[at].clone();
    let [(height, position), second] = [places[at], places[at + 1]];
    let members = settled.network.genesis.committee.members.clone();
    let poster = members.iter().position(|member| member.signer == batch.poster).unwrap();

    // The commitment, the opening, and what is not there; of the height, and of the batch's last.
    for position in [COMMITMENT, position, NOWHERE] {
        outsider.ask(&settled, &batch, height, position);
    }
    outsider.ask(&settled, &batch, batch.lastHeight, NOWHERE + 1);
    outsider.until_answered(&settled);
    for (_, asked) in &outsider.asked {
        assert_eq!(outsider.answerer(&settled, asked), batch.poster, "{asked:?}");
    }

    // Killed at the moment it is asked, and away when it is asked.
    outsider.ask(&settled, &batch, height, NOWHERE + 2);
    settled.network.kill(poster);
    outsider.ask(&settled, &batch, batch.firstHeight, NOWHERE + 3);
    let open = outsider.asked.last().unwrap().1;
    std::thread::sleep(Duration::from_secs(3));
    assert!(outsider.is_open(&settled, &open), "nobody else answers for others here");
    settled.network.run(poster);
    outsider.until_answered(&settled);
    assert_eq!(outsider.answerer(&settled, &open), batch.poster);

    // A reorg takes questions and answers back: what is mined again is answered again.
    let head = settled.server.l1().head();
    outsider.ask(&settled, &batch, batch.lastHeight, NOWHERE + 4);
    settled
        .server
        .l1()
        .reorg(2, blindfold_settlement::l1::Dropped::BackToPool, head.timestamp_s)
        .unwrap();
    outsider.until_answered(&settled);

    // It stays away, and another member is there for it, but only after its turn: one that lost what it stored of the
    // batch, and finds it on L1.
    let other = (poster + 1) % 4;
    settled.network.stop(other);
    let lost = exchange_openings(&settled, other, second.0, None);
    settled.network.configure(other, |config| config.settlement.answer_for_others = true);
    settled.network.run(other);
    settled.network.kill(poster);
    outsider.ask(&settled, &batch, second.0, second.1);
    let open = outsider.asked.last().unwrap().1;
    std::thread::sleep(Duration::from_secs(3));
    assert!(outsider.is_open(&settled, &open), "it is the poster's turn");
    jump(&settled, WINDOW_S / 2);
    outsider.until_answered(&settled);
    assert_eq!(outsider.answerer(&settled, &open), members[other].signer);
    assert!(settled.network.log(other).contains("shows=Opening"));
    settled.network.run(poster);
    settled.network.stop(other);
    exchange_openings(&settled, other, second.0, lost);
    settled.network.run(other);

    // All deadlines pass, and nobody has lost anything.
    jump(&settled, WINDOW_S + 1);
    settled.runtime.block_on(async {
        let inbox = outsider.inbox();
        for (batch, asked) in &outsider.asked {
            let failed = inbox.failReveal(batch.clone(), asked.height, asked.position).call().await;
            let Err(error) = failed else { panic!("{asked:?} cost a stake") };
            let reason = error.as_decoded_interface_error::<BatchInbox::BatchInboxErrors>();
            assert!(
                matches!(reason, Some(BatchInbox::BatchInboxErrors::NoChallenge(_))),
                "{asked:?}: {error}"
            );
        }
        let vault = inbox.contracts().call().await.unwrap().vault;
        let vault = StakeVault::new(vault, &outsider.provider);
        for member in &members {
            let stake = vault.stakeOf(member.signer).call().await.unwrap();
            assert_eq!(stake, U256::from(STAKE_ETHER * ETHER), "{}", member.signer);
        }
    });
    // And batches go on.
    let executed = settled.network.head(other).executed_height;
    settled.until_posted(other, executed);
    settled.network.expect_agreement(&[0, 1, 2, 3]);
}
