//! The fallback of the forced queue: a committee that is away is passed over on L1, comes back, and goes on.

use crate::{harness::BLINDFOLD, settlement::Settled};
use alloy_primitives::{Address, U256};
use blindfold_node::settlement::read;
use blindfold_sdk::{SigningKey, rpc::SettlementHeadDocument};
use blindfold_settlement::bindings::BatchInbox;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// L1 blocks after which anyone may take items out of the committee's hands.
const FALLBACK_BLOCKS: u64 = 200;
/// Most heights of a batch: far fewer than are ordered before anybody posts.
const MAX_HEIGHTS: u32 = 16;
/// Heights that nobody has posted when the committee goes away.
const BACKLOG: u64 = 40;

/// What an outsider needs for the command line.
struct Outsider {
    folder: tempfile::TempDir,
    l1_rpc: String,
    genesis: PathBuf,
}

impl Outsider {
    fn new(settled: &Settled) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            l1_rpc: settled.server.url(),
            genesis: settled.network.folder.path().join("genesis.json"),
        }
    }

    fn key_file(&self, name: &str, key: &SigningKey) -> PathBuf {
        let path = self.folder.path().join(name);
        key.expose(|secret| std::fs::write(&path, hex::encode(secret)).unwrap());
        path
    }

    /// Forces a transfer of 5 wei to `to`, not sealed, without asking any node.
    fn force(&self, from: &Path, l1_key: &Path, nonce: u64, to: Address) {
        let output = Command::new(BLINDFOLD)
            .args(["tx", "force", "--plain", "--no-wait", "--json", "--value", "5"])
            .args(["--to", &to.to_string(), "--nonce", &nonce.to_string()])
            .args(["--max-fee", "100gwei", "--priority-fee", "0", "--expiry-height", "1000000"])
            .args(["--l1-rpc", &self.l1_rpc, "--rpc", "http://127.0.0.1:1"])
            .arg("--genesis")
            .arg(&self.genesis)
            .arg("--key-file")
            .arg(from)
            .arg("--l1-key-file")
            .arg(l1_key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn fallback(&self, l1_key: &Path) -> Output {
        Command::new(BLINDFOLD)
            .args(["l1", "fallback", "--json", "--l1-rpc", &self.l1_rpc])
            .arg("--genesis")
            .arg(&self.genesis)
            .arg("--key-file")
            .arg(l1_key)
            .output()
            .unwrap()
    }
}

/// Makes L1 blocks at once.
fn mine(settled: &Settled, blocks: u64) {
    let l1 = settled.server.l1();
    for _ in 0..blocks {
        l1.mine(l1.head().timestamp_s + 1).unwrap();
    }
}

/// The committee goes away with more heights unposted than a batch holds. What is forced meanwhile is taken out of its
/// hands, part of it before it is due. When it is back it executes all of it, shows so on L1, posts everything in
/// several batches, and whoever derives the chain from L1 alone finds the same.
#[test]
fn a_committee_that_was_passed_over_goes_on() {
    let key = SigningKey::random([11; 32]);
    let mut settled = Settled::prepare_with(
        &[key.address()],
        |params| {
            params.forced_deadline_blocks = FALLBACK_BLOCKS - 50;
            params.forced_fallback_blocks = FALLBACK_BLOCKS;
        },
        |config| {
            config.post = false;
            // Their proofs would be most of what this test computes.
            config.blobs = false;
            config.max_heights = MAX_HEIGHTS;
            config.full_heights = MAX_HEIGHTS.into();
        },
    );
    settled.network.run_all();
    settled.network.until_heights(0, BACKLOG);
    for member in 0..4 {
        settled.network.kill(member);
    }

    let outsider = Outsider::new(&settled);
    let own = outsider.key_file("own", &key);
    // The deployer is as much of an outsider as anybody: it has ether on L1, and nothing else.
    let l1_key = outsider.key_file("l1", &settled.deployer);
    let refused = outsider.fallback(&l1_key);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("no forced item waits"), "{text}");
    let recipient = Address::repeat_byte(0xfa);
    outsider.force(&own, &l1_key, 0, recipient);
    let refused = outsider.fallback(&l1_key);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("it is the committee's until"), "{text}");
    mine(&settled, FALLBACK_BLOCKS);
    outsider.force(&own, &l1_key, 1, recipient);
    let posted = outsider.fallback(&l1_key);
    assert!(posted.status.success(), "{}", String::from_utf8_lossy(&posted.stderr));
    let posted: serde_json::Value = serde_json::from_slice(&posted.stdout).unwrap();
    assert_eq!(
        (&posted["from"], &posted["to"], &posted["batch"]),
        (&0.into(), &2.into(), &1.into())
    );

    for member in 0..4 {
        settled.network.configure(member, |config| config.settlement.post = true);
    }
    settled.network.run_all();
    settled.network.until("what was forced is executed", || {
        let balance: U256 =
            settled.network.clients[1].request("eth_getBalance", (recipient, "latest")).ok()?;
        (balance == U256::from(10)).then_some(())
    });
    // Posting goes on, also beyond what was there when the items were executed.
    let height = settled.network.head(0).executed_height;
    for member in 0..4 {
        settled.until_posted(member, height);
    }
    let heads = settled.runtime.block_on(async {
        let l1 = settled.server.l1();
        let provider = blindfold_settlement::l1::L1::provider(&l1);
        let inbox = BatchInbox::new(settled.network.genesis.settlement, provider);
        (inbox.head().call().await.unwrap(), inbox.shown().call().await.unwrap())
    });
    assert_eq!(heads.0.forcedHead, 2);
    assert!(heads.1.height > BACKLOG && heads.1.forcedCursor == 2, "it was shown: {:?}", heads.1);

    let genesis = &settled.network.genesis;
    let batches =
        settled.runtime.block_on(read::batches(&settled.server.l1(), genesis, 0)).unwrap();
    assert_eq!((batches[0].header.heights(), batches[0].header.forced_head), (0, 2));
    assert_eq!((batches[1].header.first_height, batches[1].header.forced_head), (1, 0));
    assert!(batches.len() as u64 > 1 + BACKLOG / u64::from(MAX_HEIGHTS));
    assert!(batches.iter().all(|batch| batch.header.heights() <= u64::from(MAX_HEIGHTS)));
    let derived = settled.derive();
    for (height, expected) in derived.iter().zip(1..) {
        assert_eq!(height.signed.commitment.height, expected, "a height is missing or twice");
    }
    assert!(derived.len() as u64 >= height);
    assert_eq!(derived.last().unwrap().signed.commitment.forced_cursor, 2);
    // Nodes count it, too.
    let head: SettlementHeadDocument =
        settled.network.clients[0].request("sealed_getSettlement", [(); 0]).unwrap();
    assert!(head.batches >= batches.len() as u64, "{head:?}");
    settled.network.expect_agreement(&[0, 1, 2, 3]);
}
