//! Whole networks of member processes, for tests that go through the real ports.
//!
//! ```text
//!   Network ── prepare ─▶ genesis, keys, a folder per member
//!      │         run / kill / freeze / thaw / stop        one process per member
//!      │         client(i)                                its RPC
//!      ├── Payer, Load      seals and submits; keeps every envelope's id
//!      ├── Witness          writes down what members said while they ran
//!      ├── Mark, Recovery   how long until the next height, by the chain's own record
//!      └── expect_*         what must hold in the end, whatever happened
//! ```
//!
//! Nothing here asserts that something is fast: [`PATIENCE`] bounds waiting, so that a hang fails.

pub mod invariants;
pub mod journals;
pub mod load;
pub mod processes;
pub mod recovery;
pub mod witness;

use alloy_primitives::{Address, B256};
use blindfold_node::config::NodeConfig;
use blindfold_ordering::schedule::LeaderSchedule;
use blindfold_sdk::{Client, Committee, HttpTransport, SigningKey, TxStatus, rpc::HeadDocument};
use blindfold_wire::genesis::{ChainParams, Genesis};
use processes::{Launch, MemberProcess};
use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

pub use invariants::Outcome;
pub use load::{Load, Payer};
pub use witness::Witness;

pub const BLINDFOLD: &str = env!("CARGO_BIN_EXE_blindfold");
/// Generous: the machine may be busy. No assertion depends on how fast something is.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Set, it keeps the folders of networks also of tests that pass.
const KEEP_VARIABLE: &str = "BLINDFOLD_TEST_KEEP";
/// Ports a member takes: QUIC, RPC, metrics.
const PORTS: u16 = 3;

/// A chain and its members, each a process of its own or none at the moment. Dropping it kills them.
pub struct Network {
    pub folder: tempfile::TempDir,
    pub genesis: Genesis,
    pub clients: Vec<Client>,
    processes: Vec<Option<MemberProcess>>,
    launches: Vec<Launch>,
    journals: journals::Journals,
}

impl Network {
    /// Four members on ports of the system's choice, all running; every member's clock is this
    /// machine's.
    pub fn start(funded: &[Address]) -> Self {
        let mut network = Self::prepare(4, funded);
        network.run_all();
        network
    }

    /// `members` running members; the accounts of `keys` are funded.
    pub fn start_funding(members: usize, keys: &[SigningKey]) -> Self {
        let funded: Vec<_> = keys.iter().map(SigningKey::address).collect();
        let mut network = Self::prepare(members, &funded);
        network.run_all();
        network
    }

    /// Files for `members`, of which none runs yet. Accounts in `funded` have balance and escrow.
    pub fn prepare(members: usize, funded: &[Address]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wei = "1000000000000000000000";
        let ports = PORTS * u16::try_from(members).unwrap();
        let mut init = Command::new(BLINDFOLD);
        init.args(["committee", "init", "--dealer", "--nodes", &members.to_string()])
            .args(["--base-port", &free_ports(ports).to_string(), "--out"])
            .arg(folder.path());
        for address in funded {
            init.arg("--fund").arg(format!("{address}={wei}"));
            init.arg("--escrow").arg(format!("{address}={wei}"));
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text = std::fs::read_to_string(folder.path().join("genesis.json")).unwrap();
        let genesis = Genesis::from_json(&text).unwrap();
        assert_eq!(String::from_utf8(made.stdout).unwrap().trim(), genesis.hash().to_string());

        let clients = (0..members)
            .map(|member| connect(read_config(folder.path(), member).rpc.listen, &genesis))
            .collect();
        Self {
            folder,
            clients,
            processes: (0..members).map(|_| None).collect(),
            launches: vec![Launch::default(); members],
            journals: journals::Journals::new(members),
            genesis,
        }
    }

    /// Changes a member's `node.toml`; counts from its next start.
    pub fn configure(&mut self, member: usize, change: impl FnOnce(&mut NodeConfig)) {
        let path = config_path(self.folder.path(), member);
        let mut config: NodeConfig =
            toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        self.clients[member] = connect(config.rpc.listen, &self.genesis);
    }

    /// Changes the chain's parameters, before any member was started.
    pub fn change_params(&mut self, change: impl FnOnce(&mut ChainParams)) {
        change(&mut self.genesis.params);
        self.genesis.validate().unwrap();
        std::fs::write(self.folder.path().join("genesis.json"), self.genesis.to_json()).unwrap();
        self.clients = (0..self.members())
            .map(|member| connect(self.config(member).rpc.listen, &self.genesis))
            .collect();
    }

    /// Where a member's `node.toml` is.
    pub fn config_file(&self, member: usize) -> PathBuf {
        config_path(self.folder.path(), member)
    }

    /// A member's configuration, paths resolved.
    pub fn config(&self, member: usize) -> NodeConfig {
        read_config(self.folder.path(), member)
    }

    /// How a member is started from now on.
    pub fn launch_as(&mut self, member: usize, launch: Launch) {
        self.launches[member] = launch;
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.clients.len()
    }

    /// Indices of the members whose process runs, frozen ones included.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.members()).filter(|member| self.processes[*member].is_some())
    }

    /// Starts every member that does not run, together, and waits until all answer.
    pub fn run_all(&mut self) {
        let idle: Vec<_> =
            (0..self.members()).filter(|member| self.processes[*member].is_none()).collect();
        idle.iter().for_each(|member| self.spawn(*member));
        idle.iter().for_each(|member| self.until_answers(*member));
    }

    /// Starts a member and waits until it answers.
    pub fn run(&mut self, member: usize) {
        self.spawn(member);
        self.until_answers(member);
    }

    /// Starts a member and waits for nothing.
    pub fn spawn(&mut self, member: usize) {
        assert!(self.processes[member].is_none(), "member {member} runs");
        let config = config_path(self.folder.path(), member);
        let process = MemberProcess::spawn(&self.launches[member], &config, &self.log_path(member));
        self.processes[member] = Some(process);
    }

    pub fn until_answers(&self, member: usize) {
        let client = &self.clients[member];
        self.until("a member answers", || client.head().ok());
    }

    /// As `kill -9`. What the member had in its signing journal is kept and compared in the end.
    pub fn kill(&mut self, member: usize) {
        self.processes[member].take().expect("a running member").kill();
        self.remember_journal(member);
    }

    /// Stops a running member in good order.
    pub fn stop(&mut self, member: usize) {
        self.stop_each(&[member]);
    }

    /// Stops all running members in good order.
    pub fn stop_all(&mut self) {
        let running: Vec<_> = self.running().collect();
        self.stop_each(&running);
    }

    fn stop_each(&mut self, members: &[usize]) {
        for member in members {
            self.processes[*member].as_mut().expect("a running member").ask_to_stop();
        }
        for member in members {
            let status = self.processes[*member].take().expect("asked before").wait(PATIENCE);
            let status = status.unwrap_or_else(|| panic!("member {member} hangs\n{}", self.logs()));
            assert!(status.success(), "member {member}: {status}\n{}", self.logs());
            self.remember_journal(*member);
        }
    }

    /// Waits until a member leaves by itself, doing `meanwhile` again and again; its exit code.
    pub fn until_left(&mut self, member: usize, mut meanwhile: impl FnMut()) -> Option<i32> {
        let mut process = self.processes[member].take().expect("a running member");
        let left = self.until("a member leaves", || {
            meanwhile();
            process.wait(Duration::ZERO)
        });
        self.remember_journal(member);
        left.code()
    }

    /// Sends SIGSTOP: the member's sockets stay open and nobody is told.
    pub fn freeze(&self, member: usize) {
        self.processes[member].as_ref().expect("a running member").signal("STOP");
    }

    /// Sends SIGCONT.
    pub fn thaw(&self, member: usize) {
        self.processes[member].as_ref().expect("a running member").signal("CONT");
    }

    /// Bytes of memory that a running member holds.
    pub fn resident_bytes(&self, member: usize) -> u64 {
        self.processes[member].as_ref().expect("a running member").resident_bytes()
    }

    /// A payer with the funds it was given in `prepare`.
    pub fn wallet(&self, key: SigningKey) -> Payer {
        Payer::new(key, self.clients[0].committee().clone())
    }

    /// Clients of their own for another thread.
    pub fn new_clients(&self) -> Vec<Client> {
        (0..self.members())
            .map(|member| connect(self.config(member).rpc.listen, &self.genesis))
            .collect()
    }

    /// The leaders of all views.
    pub fn schedule(&self) -> LeaderSchedule {
        let weights: Vec<_> =
            self.genesis.committee.members.iter().map(|member| member.stake).collect();
        LeaderSchedule::new(0, self.genesis.hash(), &weights).unwrap()
    }

    /// The member that leads the view after the one that was finalized last, as `member` sees it.
    pub fn next_leader(&self, member: usize) -> usize {
        let head = self.head(member);
        let view = match head.ordered_height {
            0 => 0,
            height => invariants::commitment(&self.height(member, height).unwrap()).view,
        };
        self.schedule().leader(view + 1)
    }

    /// What `member` says of its progress.
    pub fn head(&self, member: usize) -> HeadDocument {
        self.until("a member tells its head", || self.clients[member].head().ok())
    }

    /// Calls `done` until it has an answer, patiently.
    pub fn until<T>(&self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = done() {
                return value;
            }
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}\n{}", self.logs());
            thread::sleep(Duration::from_millis(40));
        }
    }

    /// Waits until `member` holds `more` heights final that it did not before.
    pub fn until_heights(&self, member: usize, more: u64) {
        let before = self.head(member).ordered_height;
        self.until("heights become final", || {
            let head = self.clients[member].head().ok()?;
            (head.ordered_height >= before + more).then_some(())
        });
    }

    /// Waits until `member` has executed `height`.
    pub fn until_executed(&self, member: usize, height: u64) {
        self.until("a height is executed", || {
            let head = self.clients[member].head().ok()?;
            (head.executed_height >= height).then_some(())
        });
    }

    /// Waits until `member` says that each of `ids` ended in a successful execution.
    pub fn expect_executed(&self, member: usize, ids: &[B256]) {
        for id in ids {
            let status = self.until("an envelope ends", || {
                self.clients[member].status(*id).ok().flatten().filter(TxStatus::is_terminal)
            });
            let executed = matches!(status, TxStatus::Executed { success: true, .. });
            assert!(executed, "{status:?}\n{}", self.logs());
        }
    }

    /// Where a member's log is, of all its runs.
    pub fn log_path(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("member-{member}.log"))
    }

    /// A member's log, of all its runs.
    pub fn log(&self, member: usize) -> String {
        std::fs::read(self.log_path(member))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        (0..self.members())
            .map(|member| {
                let text = self.log(member);
                let lines: Vec<_> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(15)..].join("\n");
                format!("--- member {member}\n{tail}\n")
            })
            .collect()
    }

    /// The leader time-out of the chain.
    pub fn leader_timeout(&self) -> Duration {
        Duration::from_millis(self.genesis.params.leader_timeout_ms)
    }

    fn remember_journal(&mut self, member: usize) {
        let db = self.config(member).data_dir.join("db");
        self.journals.remember(member, &db, self.genesis.hash().0);
    }
}

impl Drop for Network {
    /// Keeps the logs and databases of a network that failed, or of any if [`KEEP_VARIABLE`] is set.
    fn drop(&mut self) {
        if thread::panicking() || std::env::var_os(KEEP_VARIABLE).is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder.path().display());
        }
    }
}

/// Keys to fund and to pay with.
pub fn keys<const COUNT: usize>() -> [SigningKey; COUNT] {
    std::array::from_fn(|at| SigningKey::random([u8::try_from(at).unwrap() + 1; 32]))
}

/// Random numbers from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 += 1;
        let hash = alloy_primitives::keccak256(self.0.to_be_bytes());
        usize::try_from(u64::from_be_bytes(hash[..8].try_into().unwrap()) % bound as u64).unwrap()
    }
}

/// Milliseconds since the Unix epoch, by this machine's clock.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn connect(rpc: SocketAddr, genesis: &Genesis) -> Client {
    let committee = Committee::from_genesis(genesis.clone(), genesis.hash()).unwrap();
    let transport = HttpTransport::new(&format!("http://{rpc}")).unwrap();
    Client::with_committee(transport, committee)
}

pub fn config_path(folder: &Path, member: usize) -> PathBuf {
    folder.join(format!("member-{member}")).join("node.toml")
}

fn read_config(folder: &Path, member: usize) -> NodeConfig {
    NodeConfig::read(&config_path(folder, member)).unwrap()
}

/// The first of `count` neighbouring ports that are free for UDP and TCP now.
pub fn free_ports(count: u16) -> u16 {
    /// So that two networks of one process, not yet started, do not get the same.
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    (0..200)
        .map(|_| 20_000 + (start - 20_000 + GIVEN.fetch_add(count, Ordering::Relaxed)) % 20_000)
        .find(|base| {
            (*base..base + count).all(|port| {
                UdpSocket::bind(("127.0.0.1", port)).is_ok()
                    && TcpListener::bind(("127.0.0.1", port)).is_ok()
            })
        })
        .unwrap()
}
