//! Members as processes, and a gateway in this process, whose messages can be written down.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use blindfold_node::{
    config::NodeConfig,
    gateway,
    run::{self, Loaded, NodeChannels},
    transport::{Receiver, Sender},
};
use blindfold_sdk::{HttpTransport, SigningKey, ask, rpc::HeadDocument};
use commonware_runtime::{Runner as _, tokio as runtime};
use tokio::sync::oneshot;

use super::capture::Capture;
use crate::harness::free_ports;

pub const BLINDFOLD: &str = env!("CARGO_BIN_EXE_blindfold");
/// Generous: the machine may be busy. No assertion depends on how fast something is.
pub const PATIENCE: Duration = Duration::from_secs(120);
const MEMBERS: usize = 4;
const ETHER_1000: &str = "1000000000000000000000";
/// Secret key of the gateway's payer.
pub const PAYER: [u8; 32] = [0x70; 32];

/// Four members that run, and files for a follower.
pub struct Network {
    pub folder: tempfile::TempDir,
    members: Vec<Child>,
    rpc: Vec<SocketAddr>,
}

impl Network {
    /// Starts the members; `funded` have ether but no escrow, the gateway's payer the opposite.
    pub fn start(funded: &[Address]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let payer = SigningKey::from_bytes(&PAYER).unwrap().address();
        let mut init = Command::new(BLINDFOLD);
        init.args(["committee", "init", "--dealer", "--followers", "1", "--base-port"])
            .arg(free_ports(15).to_string())
            .arg("--out")
            .arg(folder.path())
            .args(["--escrow", &format!("{payer}={ETHER_1000}")]);
        for address in funded {
            init.args(["--fund", &format!("{address}={ETHER_1000}")]);
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut network = Self { folder, members: Vec::new(), rpc: Vec::new() };
        for member in 0..MEMBERS {
            let config = network.path(&format!("member-{member}/node.toml"));
            let log = std::fs::File::create(network.path(&format!("member-{member}.log"))).unwrap();
            let child = Command::new(BLINDFOLD)
                .args(["node", "run", "--stop-with-stdin", "--config"])
                .arg(&config)
                .stdin(Stdio::piped())
                .stderr(log)
                .spawn()
                .unwrap();
            network.members.push(child);
            network.rpc.push(NodeConfig::read(&config).unwrap().rpc.listen);
        }
        network
    }

    /// Where the members' RPCs are.
    pub fn rpc(&self) -> &[SocketAddr] {
        &self.rpc
    }

    /// Writes a gateway's configuration and key; the path of the former.
    pub fn gateway_config(&self, submit: &[SocketAddr]) -> PathBuf {
        let path = self.path("follower-0/node.toml");
        let mut config: NodeConfig =
            toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        config.gateway.submit = submit.iter().map(|address| format!("http://{address}")).collect();
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        let key = NodeConfig::read(&path).unwrap().gateway.payer_key;
        if !key.exists() {
            gateway::payer::write_key(&key, &PAYER).unwrap();
        }
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        (0..MEMBERS)
            .map(|member| {
                let text = std::fs::read(self.path(&format!("member-{member}.log")));
                let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
                let lines: Vec<_> = text.lines().collect();
                format!(
                    "--- member {member}\n{}\n",
                    lines[lines.len().saturating_sub(10)..].join("\n")
                )
            })
            .collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.members {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An address where nobody listens.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_ports(1)))
}

/// Waits until a gateway or node has executed a height.
pub fn until_ready(url: &str, logs: impl Fn() -> String) {
    let transport = HttpTransport::new(url).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let height = || {
        ask::<HeadDocument>(&transport, "sealed_getHead", [(); 0])
            .map_or(0, |head| head.executed_height)
    };
    while height() < 2 {
        assert!(Instant::now() < deadline, "{url} does not get on\n{}", logs());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A gateway whose follower runs in this process.
pub struct InProcess {
    pub url: String,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl InProcess {
    /// Starts it; `capture` gets what it sends to peers.
    pub fn start(network: &Network, submit: &[SocketAddr], capture: &Capture) -> Self {
        let loaded = Loaded::read(&network.gateway_config(submit)).unwrap();
        let (told, url) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let capture = capture.clone();
        let thread = thread::spawn(move || {
            let folder = loaded.config.data_dir.join("engine");
            std::fs::create_dir_all(&folder).unwrap();
            let runner =
                runtime::Runner::new(runtime::Config::new().with_storage_directory(folder));
            runner.start(|context| async move {
                let mut loaded = loaded;
                loaded.config.rpc.enabled = false;
                let NodeConfig { gateway: config, rpc, data_dir, .. } = loaded.config.clone();
                let seam = move |channels| recorded(channels, &capture);
                let node = run::start(context, loaded, seam).await.unwrap();
                let api = node.api.clone();
                let gateway = gateway::start(config, rpc, &data_dir, api).await.unwrap();
                told.send(gateway.url()).unwrap();
                let _ = stopped.await;
                gateway.stop().await;
                node.stop().await;
            });
        });
        let url = url.recv_timeout(PATIENCE).unwrap();
        until_ready(&url, || network.logs());
        Self { url, stop, thread }
    }

    pub fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// The channels, with everything that is sent written down before it is encrypted.
fn recorded(channels: NodeChannels, capture: &Capture) -> NodeChannels {
    let record = |(sender, receiver): (Sender, Receiver)| {
        let capture = capture.clone();
        let sender = sender.rewritten(std::sync::Arc::new(move |message: bytes::Bytes| {
            capture.record_peer(&message);
            Some(message)
        }));
        (sender, receiver)
    };
    let NodeChannels { mut engine, envelopes, shares, blocker } = channels;
    engine.votes = record(engine.votes);
    engine.certificates = record(engine.certificates);
    engine.resolver = record(engine.resolver);
    engine.blocks = record(engine.blocks);
    engine.backfill = record(engine.backfill);
    engine.commitments = record(engine.commitments);
    NodeChannels { engine, envelopes: record(envelopes), shares: record(shares), blocker }
}
