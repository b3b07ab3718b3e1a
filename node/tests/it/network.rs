//! The product through its real ports: members as processes, wallets over HTTP.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, U64, U256};
use blindfold_node::cli::tx;
use blindfold_sdk::{
    Client, Committee, HttpTransport, SigningKey, TxStatus, Wallet, rpc::HeightDocument,
};
use blindfold_wire::genesis::Genesis;
use serde_json::Value;

const BLINDFOLD: &str = env!("CARGO_BIN_EXE_blindfold");
/// Generous: the machine may be busy. No assertion depends on how fast something is.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_devnet_settles_everything_and_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(BLINDFOLD)
        .args(["devnet", "--transactions", "24", "--exit", "--json", "--data-dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    for (field, expected) in [
        ("nodes", 4),
        ("sealed", 24),
        ("ordered", 24),
        ("opened", 24),
        ("opened_before_final", 0),
        ("diverged_nodes", 0),
    ] {
        assert_eq!(summary[field], expected, "{field} of {summary}");
    }
    let ends = ["executed", "skipped", "undecryptable", "expired", "replaced"];
    let ended: u64 = ends.iter().map(|end| summary[end].as_u64().unwrap()).sum();
    assert_eq!(ended, 24);
    assert!(summary["bundles_checked"].as_u64().unwrap() > 0, "nothing was checked: {summary}");
    assert_eq!(summary["bot"]["recognised"], 0, "the bot read a sealed transaction");
    assert_eq!(summary["heights"].as_array().unwrap().len(), 4);
    assert!(stderr.contains("test dealer"), "the dealer was not loud");
}

/// A killed member is not missed, and comes back where it was; the others' order is its order.
#[test]
fn a_killed_member_is_not_missed_and_catches_up() {
    let key = SigningKey::random([7; 32]);
    let mut network = Network::start(&[key.address()]);
    let mut payer = network.wallet(key);
    let sent = payer.send(&network, 0, 3);
    network.expect_executed(0, &sent);

    network.kill(3);
    let sent = payer.send(&network, 1, 5);
    network.expect_executed(1, &sent);

    network.run(3);
    let sent = payer.send(&network, 2, 2);
    network.expect_executed(2, &sent);
    // The one that was away serves what happened meanwhile, from its own database.
    network.expect_executed(3, &sent);
    network.expect_agreement();
}

/// All members are killed at once, with envelopes in every state, and go on from their databases.
#[test]
fn a_network_that_was_killed_goes_on() {
    let key = SigningKey::random([8; 32]);
    let mut network = Network::start(&[key.address()]);
    let mut payer = network.wallet(key);
    let first = payer.send(&network, 0, 6);
    (0..4).for_each(|member| network.kill(member));
    (0..4).for_each(|member| network.run(member));
    network.expect_executed(0, &first);
    let second = payer.send(&network, 1, 2);
    network.expect_executed(2, &second);
    network.expect_agreement();
}

struct Network {
    folder: tempfile::TempDir,
    genesis: Genesis,
    members: Vec<Option<Child>>,
    clients: Vec<Client>,
}

impl Network {
    /// Four members on ports of the system's choice; every member's clock is this machine's.
    fn start(funded: &[Address]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wei = "1000000000000000000000";
        let mut init = Command::new(BLINDFOLD);
        init.args([
            "committee",
            "init",
            "--dealer",
            "--base-port",
            &free_ports(12).to_string(),
            "--out",
        ])
        .arg(folder.path());
        for address in funded {
            init.arg("--fund")
                .arg(format!("{address}={wei}"))
                .arg("--escrow")
                .arg(format!("{address}={wei}"));
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text = std::fs::read_to_string(folder.path().join("genesis.json")).unwrap();
        let genesis = Genesis::from_json(&text).unwrap();
        assert_eq!(String::from_utf8(made.stdout).unwrap().trim(), genesis.hash().to_string());

        let committee = Committee::from_genesis(genesis.clone(), genesis.hash()).unwrap();
        let clients = (0..4)
            .map(|member| {
                let config =
                    blindfold_node::config::NodeConfig::read(&config_path(folder.path(), member))
                        .unwrap();
                let transport =
                    HttpTransport::new(&format!("http://{}", config.rpc.listen)).unwrap();
                Client::with_committee(transport, committee.clone())
            })
            .collect();
        let mut network =
            Self { folder, genesis, members: (0..4).map(|_| None).collect(), clients };
        (0..4).for_each(|member| network.run(member));
        network
    }

    fn run(&mut self, member: usize) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("member-{member}.log")))
            .unwrap();
        let child = Command::new(BLINDFOLD)
            .args(["node", "run", "--stop-with-stdin", "--config"])
            .arg(config_path(self.folder.path(), member))
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[member] = Some(child);
        let client = &self.clients[member];
        self.until("a member answers", || client.head().ok());
    }

    /// As `kill -9`.
    fn kill(&mut self, member: usize) {
        let mut child = self.members[member].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn wallet(&self, key: SigningKey) -> Payer {
        let committee = self.clients[0].committee().clone();
        Payer { wallet: Wallet::new(key.clone(), committee), key, inner_nonce: 0 }
    }

    fn until<T>(&self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = done() {
                return value;
            }
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}\n{}", self.logs());
            thread::sleep(Duration::from_millis(40));
        }
    }

    fn expect_executed(&self, member: usize, ids: &[B256]) {
        for id in ids {
            let status = self.until("an envelope ends", || {
                self.clients[member].status(*id).ok().flatten().filter(TxStatus::is_terminal)
            });
            assert!(
                matches!(status, TxStatus::Executed { success: true, .. }),
                "{status:?}\n{}",
                self.logs()
            );
        }
    }

    /// Every member has the same order, state root and block hash at every height all have executed.
    fn expect_agreement(&self) {
        let executed = |client: &Client| client.head().map_or(0, |head| head.executed_height);
        let target = self.clients.iter().map(executed).max().unwrap();
        self.until("all members reach the highest", || {
            self.clients.iter().all(|client| executed(client) >= target).then_some(())
        });
        for height in 1..=target {
            let said: Vec<_> = self
                .clients
                .iter()
                .map(|client| {
                    let quantity = U64::from(height);
                    let record: HeightDocument = client
                        .request::<Option<_>>("sealed_getHeight", [quantity])
                        .unwrap()
                        .unwrap();
                    let block: Value =
                        client.request("eth_getBlockByNumber", (quantity, false)).unwrap();
                    (record.digest, record.state_root.unwrap(), block["hash"].clone())
                })
                .collect();
            assert!(said.iter().all(|one| *one == said[0]), "height {height}: {said:?}");
        }
    }

    fn logs(&self) -> String {
        (0..4)
            .map(|member| {
                let text = std::fs::read_to_string(
                    self.folder.path().join(format!("member-{member}.log")),
                );
                let text = text.unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                format!(
                    "--- member {member}\n{}\n",
                    lines[lines.len().saturating_sub(15)..].join("\n")
                )
            })
            .collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in self.members.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn config_path(folder: &Path, member: usize) -> PathBuf {
    folder.join(format!("member-{member}")).join("node.toml")
}

/// The first of `count` neighbouring ports that are free for UDP and TCP now.
fn free_ports(count: u16) -> u16 {
    let start = 20_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    (0..200)
        .map(|round| start + round * count)
        .find(|base| {
            (*base..base + count).all(|port| {
                std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()
                    && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
            })
        })
        .unwrap()
}

/// One key that sends and pays.
struct Payer {
    key: SigningKey,
    wallet: Wallet,
    inner_nonce: u64,
}

impl Payer {
    /// Seals `count` transfers and hands them to `member`.
    fn send(&mut self, network: &Network, member: usize, count: usize) -> Vec<B256> {
        let client = &network.clients[member];
        (0..count)
            .map(|_| {
                let transfer = TxEip1559 {
                    chain_id: network.genesis.chain_id,
                    nonce: self.inner_nonce,
                    gas_limit: 21_000,
                    max_fee_per_gas: 100_000_000_000,
                    max_priority_fee_per_gas: 0,
                    to: TxKind::Call(Address::repeat_byte(0xaa)),
                    value: U256::from(1),
                    access_list: Default::default(),
                    input: Default::default(),
                };
                let signed = tx::sign(transfer, &self.key).encoded_2718();
                let fees = client.suggest_fees(21_000).unwrap();
                let sealed = self.wallet.seal(&signed, &fees).unwrap();
                network.until("an envelope is admitted", || client.submit(&sealed).ok());
                self.inner_nonce += 1;
                sealed.id()
            })
            .collect()
    }
}
