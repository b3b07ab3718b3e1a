//! Whole transports over loopback.

mod faults;
mod followers;
mod links;

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    Blocker as _, Manager as _, Provider as _, Receiver as _, Recipients, Sender as _, TrackedPeers,
};
use commonware_utils::ordered::Set;
use tokio::time::{sleep, timeout};

use super::*;

const GENESIS: [u8; 32] = [9; 32];
const PATIENCE: Duration = Duration::from_secs(10);

struct Node {
    transport: Transport,
    control: PeerControl,
    key: PublicKey,
    small: (Sender, Receiver),
    large: (Sender, Receiver),
}

fn key(seed: u8) -> PublicKey {
    Identity::from_seed([seed; 32]).expect("seed").public_key()
}

fn config(seed: u8, port: u16) -> TransportConfig {
    TransportConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        genesis_hash: GENESIS,
        identity: Identity::from_seed([seed; 32]).expect("seed"),
        addresses: BTreeMap::new(),
        max_followers: 0,
    }
}

fn small() -> ChannelSpec {
    ChannelSpec::small(0, "small")
}

fn large() -> ChannelSpec {
    ChannelSpec::large(7, "large", 4 << 20)
}

fn start(config: TransportConfig, specs: [ChannelSpec; 2]) -> Node {
    let key = config.identity.public_key();
    let (transport, [small, large]) = Transport::bind(config, specs).expect("bind");
    Node { control: transport.control(), transport, key, small, large }
}

impl Node {
    fn address(&self) -> String {
        self.transport.local_addr().expect("bound").to_string()
    }

    fn send_small(&mut self, to: &PublicKey, text: &str) -> bool {
        let message = Bytes::copy_from_slice(text.as_bytes());
        !self.small.0.send(Recipients::One(to.clone()), message, false).is_empty()
    }

    async fn recv_small(&mut self) -> (PublicKey, Bytes) {
        let received = timeout(PATIENCE, self.small.1.recv()).await.expect("in time");
        let (from, message) = received.expect("running");
        (from, message.into())
    }
}

/// Lets every node know and track all of them.
fn introduce(nodes: &mut [&mut Node]) {
    let book: Vec<_> = nodes.iter().map(|node| (node.key.clone(), node.address())).collect();
    let set = Set::from_iter_dedup(book.iter().map(|(key, _)| key.clone()));
    for node in nodes.iter_mut() {
        for (key, address) in &book {
            node.control.set_address(key.clone(), address.clone());
        }
        node.control.track(0, set.clone());
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(test);
}

/// Two connected nodes; the first has the smaller key, so it dials.
async fn pair() -> (Node, Node) {
    let (a, b) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
    let mut a = start(config(a, 0), [small(), large()]);
    let mut b = start(config(b, 0), [small(), large()]);
    introduce(&mut [&mut a, &mut b]);
    until("both connected", || {
        a.control.connected().len() == 1 && b.control.connected().len() == 1
    })
    .await;
    (a, b)
}

/// Dials `target`, which has the key of seed `high`, as the peer of seed `low`.
async fn dial_raw(low: u8, high: u8, target: SocketAddr) -> (Endpoint, quinn::Connection) {
    let identity = Identity::from_seed([low; 32]).expect("seed");
    let crypto = tls::client_crypto(&identity, &GENESIS, key(high)).expect("crypto");
    let raw = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    let client = quinn::ClientConfig::new(Arc::new(crypto));
    let dialed = raw.connect_with(client, target, tls::SERVER_NAME).expect("config");
    (raw, dialed.await.expect("a known key may connect"))
}
