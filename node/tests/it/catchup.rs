//! Who was away, or is new, comes to where the others are, while they go on; and believes nobody on the way.

use crate::harness::{
    BLINDFOLD, Load, Network, PATIENCE, free_ports, keys,
    processes::{Launch, MemberProcess},
};
use alloy_primitives::U64;
use blindfold_node::{
    config::{NodeConfig, PeerConfig, Role},
    run::{self, Loaded},
    transport::Rewrite,
};
use blindfold_ordering::events;
use blindfold_sdk::{
    Client, ClientError, Committee, HttpTransport, SigningKey, TxStatus, rpc::HeightDocument,
};
use blindfold_wire::{FinalizationCertificate, OrderCommitment, VoteCommittee, genesis::Genesis};
use bytes::{Bytes, BytesMut};
use commonware_runtime::{Runner as _, tokio as runtime};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Idle pace of the tests' chains: heights come as fast as the members agree.
const IDLE_MS: u64 = 2;

#[test]
fn a_member_that_was_away_and_a_new_follower_catch_up_under_load() {
    let keys = keys::<2>();
    let mut network = fast_network(&keys);
    let load = Load::start(&network, &keys, &[0, 1, 2]);
    network.until_heights(0, 3);
    network.kill(3);
    network.until_heights(0, 150);
    let target = network.head(0).executed_height;

    network.run(3);
    let follower = Follower::start(&network, 0);
    network.until_executed(3, target);
    follower.until_executed(&network, target);
    // In step, not only up to where the others were.
    let sent = load.stop();
    let last = network.head(0).ordered_height + 5;
    network.until_executed(0, last);
    follower.until_executed(&network, last);
    follower.expect_agreement(&network, last);
    for id in &sent {
        network.until("the follower knows how an envelope ended", || {
            follower.client.status(*id).ok().flatten().filter(|status| status.is_terminal())
        });
    }
    network.expect_agreement(&[0, 1, 2, 3]);
    network.expect_quiet_logs(&[]);
    assert!(!follower.log().contains("panicked"), "{}", follower.log());

    // It holds no key, and passes on what is submitted to it.
    let mut payer = network.wallet(SigningKey::random([3; 32]));
    let sealed = payer.seal(&follower.client).expect("a follower suggests fees");
    match follower.client.submit(&sealed) {
        Err(ClientError::Refused { message, .. }) => {
            assert!(message.contains("passed on"), "{message}");
        }
        other => panic!("a follower has no key to sign a receipt with: {other:?}"),
    }
    network.expect_executed(1, &[sealed.id()]);
    network.until("the follower sees it executed", || {
        follower.client.status(sealed.id()).ok().flatten().filter(|status| status.is_terminal())
    });
}

/// Followers that are started until one of them asks the liar.
const FOLLOWERS_PER_LIE: usize = 10;

/// A member that serves wrong certificates, blocks, openings, access lists or noise delays nobody for long:
/// whoever asks it finds out, cuts it off, and takes the rest from the others.
#[test]
fn a_peer_that_lies_to_those_who_catch_up_is_cut_off() {
    let keys = keys::<1>();
    let mut network = fast_network(&keys);
    network.stop(3);
    let lies = Arc::new(Lies::default());
    let liar = InProcess::start(network.config_file(3), Arc::clone(&lies));
    let load = Load::start(&network, &keys, &[0, 1, 2]);
    network.until_heights(0, 60);
    load.stop();

    for (number, lie) in [CERTIFICATE, BLOCK, OPENINGS, NOISE, ACCESS_LIST].into_iter().enumerate()
    {
        lies.kind.store(lie, Ordering::Relaxed);
        let told = lies.told.load(Ordering::Relaxed);
        // Whom a follower asks is left to chance: one may get all it wants from the honest three.
        let follower = (0..FOLLOWERS_PER_LIE).find_map(|attempt| {
            let target = network.head(0).executed_height;
            let follower = Follower::start(&network, number * FOLLOWERS_PER_LIE + attempt);
            follower.until_executed(&network, target);
            follower.expect_agreement(&network, target);
            (lies.told.load(Ordering::Relaxed) > told).then_some(follower)
        });
        let follower = follower.unwrap_or_else(|| panic!("lie {lie} was never told"));
        let cut_off = || follower.peers().filter(|peers| *peers == 3);
        network.until("the liar is cut off, and nobody else", cut_off);
        lies.kind.store(TRUTH, Ordering::Relaxed);
    }
    liar.stop();
}

/// The journal is what keeps a member from contradicting itself: without it, it does not sign.
#[test]
fn a_member_that_lost_its_journal_does_not_sign() {
    let keys = keys::<1>();
    let mut network = fast_network(&keys);
    network.until_heights(0, 20);
    network.kill(3);
    let data = network.config(3).data_dir;
    std::fs::remove_dir_all(&data).unwrap();

    network.spawn(3);
    assert_eq!(network.until_left(3, || ()), Some(2), "it refuses");
    assert!(network.log(3).contains("--observe"), "{}", network.log(3));

    let config = network.config_file(3);
    let words = [BLINDFOLD, "node", "run", "--observe", "--stop-with-stdin", "--config"];
    let mut program: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    program.push(config.to_str().unwrap().to_owned());
    network.launch_as(3, Launch { program: Some(program), ..Launch::default() });
    network.run(3);
    let target = network.head(0).executed_height;
    network.until_executed(3, target);
    let mut payer = network.wallet(keys[0].clone());
    let sent = payer.send(&network, 0, 2);
    network.expect_executed(3, &sent);
    let Some(TxStatus::Executed { height, .. }) = network.clients[3].status(sent[0]).unwrap()
    else {
        panic!("it was executed a moment ago")
    };
    let released = |member| network.height(member, height).expect("an executed height").released;
    assert!(released(0).is_some() && released(3).is_none(), "it signed shares");
}

/// Thousands of heights, measured. `cargo nextest run --run-ignored all catchup --no-capture`.
#[test]
#[ignore = "thousands of heights take minutes"]
fn thousands_of_empty_heights_are_caught_up_with() {
    measure("empty", 3_000, 0);
}

/// The same with some 20 envelopes in a height.
#[test]
#[ignore = "thousands of envelopes take minutes"]
fn thousands_of_envelopes_are_caught_up_with() {
    measure("full", 150, 20);
}

/// Grows a chain by `heights`, with `per_height` envelopes each as far as the wallets keep up, while
/// member 3 is away; then it, a new follower, and a follower that was away catch up in turn.
fn measure(kind: &str, heights: u64, per_height: usize) {
    let keys = keys::<24>();
    let mut network = fast_network(&keys);
    let mut away = Follower::start(&network, 0);
    network.until_heights(0, 5);
    network.kill(3);
    away.kill();
    let (from, began) = (network.head(0).executed_height, Instant::now());
    let mut payers: Vec<_> =
        keys.iter().take(per_height).map(|key| network.wallet(key.clone())).collect();
    let patience = Duration::from_secs(1_200);
    while network.head(0).executed_height < from + heights {
        assert!(began.elapsed() < patience, "the chain does not grow\n{}", network.logs());
        for payer in &mut payers {
            if let Ok(sealed) = payer.seal(&network.clients[0]) {
                let _ = network.clients[0].submit(&sealed);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    let load = Load::start(&network, &keys[23..], &[0, 1, 2]);
    let grown = network.head(0).executed_height;
    let ordered = count_envelopes(&network, from, grown);
    println!(
        "{kind}: {} heights, {ordered} envelopes; grown at {:.0} heights per second",
        grown - from,
        (grown - from) as f64 / began.elapsed().as_secs_f64()
    );

    let report = |who: &str, heights: u64, took: Duration| {
        let rate = heights as f64 / took.as_secs_f64();
        println!("{kind}: {who}: {heights} heights in {took:.1?}, {rate:.0} heights per second");
    };
    let catch_up = |network: &Network, who: &str, client: &Client, from: u64, began: Instant| {
        let target = network.head(0).executed_height;
        loop {
            let reached = client.head().map_or(0, |head| head.executed_height);
            if reached >= target {
                report(who, reached - from, began.elapsed());
                return;
            }
            assert!(began.elapsed() < patience, "{who} stays behind\n{}", network.logs());
            thread::sleep(Duration::from_millis(50));
        }
    };
    let began = Instant::now();
    away.spawn();
    catch_up(&network, "a follower that was away", &away.client, from, began);
    away.kill();
    let began = Instant::now();
    let new = Follower::start(&network, 1);
    catch_up(&network, "a follower from genesis", &new.client, 0, began);
    drop(new);
    let began = Instant::now();
    network.spawn(3);
    catch_up(&network, "a member that was away", &network.clients[3], from, began);
    load.stop();
    network.expect_agreement(&[0, 3]);
    network.expect_quiet_logs(&[]);
}

fn count_envelopes(network: &Network, from: u64, to: u64) -> u64 {
    (from + 1..=to)
        .map(|height| {
            let block: Value = network.clients[0]
                .request("eth_getBlockByNumber", (U64::from(height), false))
                .unwrap();
            block["transactions"].as_array().map_or(0, |all| all.len() as u64)
        })
        .sum()
}

/// Four members whose heights follow one another as fast as they agree.
fn fast_network(funded: &[SigningKey]) -> Network {
    let mut all: Vec<_> = funded.iter().map(|key| key.address()).collect();
    all.push(SigningKey::random([3; 32]).address());
    all.sort();
    all.dedup();
    let mut network = Network::prepare(4, &all);
    network.change_params(|params| params.idle_block_interval_ms = IDLE_MS);
    network.run_all();
    network
}

/// A follower as a process of its own. Dropping it kills it.
struct Follower {
    config: PathBuf,
    log: PathBuf,
    client: Client,
    process: Option<MemberProcess>,
}

impl Follower {
    fn start(network: &Network, number: usize) -> Self {
        let home = network.folder.path().join(format!("follower-{number}"));
        std::fs::create_dir_all(&home).unwrap();
        let port = free_ports(3);
        let local = |offset| SocketAddr::from(([127, 0, 0, 1], port + offset));
        let mut config = NodeConfig {
            role: Role::Follower,
            genesis: "../genesis.json".into(),
            ..NodeConfig::default()
        };
        config.network.listen = local(0);
        config.rpc.listen = local(1);
        config.metrics.listen = local(2);
        let members = &network.genesis.committee.members;
        config.network.peers = members
            .iter()
            .enumerate()
            .map(|(at, member)| PeerConfig {
                identity: member.identity,
                address: network.config(at).network.listen,
            })
            .collect();
        let path = home.join("node.toml");
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        let client = connect(config.rpc.listen, &network.genesis);
        let mut follower = Self { config: path, log: home.join("log"), client, process: None };
        follower.spawn();
        follower
    }

    fn spawn(&mut self) {
        self.process = Some(MemberProcess::spawn(&Launch::default(), &self.config, &self.log));
    }

    fn kill(&mut self) {
        self.process.take().expect("a running follower").kill();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn peers(&self) -> Option<u64> {
        let count: U64 = self.client.request("net_peerCount", [(); 0]).ok()?;
        Some(count.to())
    }

    fn until_executed(&self, network: &Network, height: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.client.head().map_or(true, |head| head.executed_height < height) {
            assert!(
                Instant::now() < deadline,
                "the follower does not reach {height}: {:?}\n{}\n{}",
                self.client.head().ok(),
                self.log(),
                network.logs()
            );
            thread::sleep(Duration::from_millis(40));
        }
    }

    /// Every height up to `height` is what member 0 says, with a proof that a stranger accepts.
    fn expect_agreement(&self, network: &Network, height: u64) {
        let votes = VoteCommittee::from_genesis(&network.genesis).unwrap();
        let members = network.members();
        for height in 1..=height {
            let ask = |client: &Client| -> (HeightDocument, Value) {
                let record: Option<HeightDocument> =
                    client.request("sealed_getHeight", [U64::from(height)]).unwrap();
                let block: Value =
                    client.request("eth_getBlockByNumber", (U64::from(height), false)).unwrap();
                (record.expect("an executed height"), block["hash"].clone())
            };
            let (ours, theirs) = (ask(&self.client), ask(&network.clients[0]));
            assert_eq!(
                (ours.0.digest, ours.0.state_root, &ours.1),
                (theirs.0.digest, theirs.0.state_root, &theirs.1),
                "height {height}"
            );
            let link = |bytes: &alloy_primitives::Bytes| OrderCommitment::decode(bytes).unwrap();
            let certificate =
                FinalizationCertificate::decode_engine(&ours.0.certificate, members).unwrap();
            let between: Vec<_> = ours.0.descendants.iter().map(link).collect();
            let certified =
                events::certify(link(&ours.0.commitment), &between, &certificate, &votes);
            assert_eq!(certified.expect("a follower's proof holds").digest(), ours.0.digest);
        }
    }
}

fn connect(rpc: SocketAddr, genesis: &Genesis) -> Client {
    let committee = Committee::from_genesis(genesis.clone(), genesis.hash()).unwrap();
    let transport = HttpTransport::new(&format!("http://{rpc}")).unwrap();
    Client::with_committee(transport, committee)
}

const TRUTH: u8 = 0;
const CERTIFICATE: u8 = 1;
const BLOCK: u8 = 2;
const OPENINGS: u8 = 3;
const NOISE: u8 = 4;
const ACCESS_LIST: u8 = 5;

/// What a lying member does to its answers.
#[derive(Default)]
struct Lies {
    kind: AtomicU8,
    told: AtomicUsize,
}

impl Lies {
    fn flip(&self, message: &Bytes, at: usize) -> Bytes {
        self.told.fetch_add(1, Ordering::Relaxed);
        let mut wrong = BytesMut::from(&message[..]);
        wrong[at] ^= 1;
        wrong.freeze()
    }

    /// An answer of the backfill begins with an id of eight bytes and a tag, 1; then a length, a certificate
    /// and the block, or the block alone.
    fn backfill(&self, message: Bytes) -> Bytes {
        if message.len() < 64 || message[8] != 1 {
            return message;
        }
        match self.kind.load(Ordering::Relaxed) {
            // Within the first bytes after view, parent and digest: the certificate, if there is one.
            CERTIFICATE => self.flip(&message, 9 + 2 + 6 + 32 + 20),
            // The end of the block: the signature of its leader, or its last envelope.
            BLOCK => self.flip(&message, message.len() - 3),
            // Behind a good header: without one the answer counts as none.
            NOISE => {
                self.told.fetch_add(1, Ordering::Relaxed);
                let mut noise = BytesMut::from(&message[..]);
                noise[12..].fill(0x5a);
                noise.freeze()
            }
            _ => message,
        }
    }

    fn shares(&self, message: Bytes) -> Bytes {
        const OPENINGS_KIND: u8 = 3;
        const ACCESS_LIST_KIND: u8 = 5;
        match self.kind.load(Ordering::Relaxed) {
            OPENINGS if message[0] == OPENINGS_KIND && message.len() > 100 => {
                self.flip(&message, message.len() - 3)
            }
            // Found out only by executing the height.
            ACCESS_LIST if message[0] == ACCESS_LIST_KIND && message.len() > 100 => {
                self.flip(&message, message.len() - 3)
            }
            _ => message,
        }
    }
}

/// A member in this process, that can be made to lie.
struct InProcess {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl InProcess {
    fn start(config: PathBuf, lies: Arc<Lies>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (running, started) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let loaded = Loaded::read(Path::new(&config)).expect("the member's files");
            let storage = loaded.config.data_dir.join("engine");
            let runner =
                runtime::Runner::new(runtime::Config::new().with_storage_directory(storage));
            runner.start(|context| async move {
                let node = run::start(context, loaded, |mut channels| {
                    let (backfill, shares) = (Arc::clone(&lies), lies);
                    let answer: Rewrite = Arc::new(move |bytes| Some(backfill.backfill(bytes)));
                    let opening: Rewrite = Arc::new(move |bytes| Some(shares.shares(bytes)));
                    channels.engine.backfill.0 = channels.engine.backfill.0.rewritten(answer);
                    channels.shares.0 = channels.shares.0.rewritten(opening);
                    channels
                });
                let node = node.await.expect("a running member");
                running.send(()).expect("the test waits");
                let _ = stopped.await;
                node.stop().await;
            });
        });
        started.recv_timeout(PATIENCE).expect("the member starts");
        Self { stop, thread }
    }

    fn stop(self) {
        let _ = self.stop.send(());
        self.thread.join().expect("the member ends in good order");
    }
}
