//! A network with a bridge, and an L1 whose blocks the tests make.

use crate::{
    harness::BLINDFOLD,
    settlement::{ETHER, Settled},
};
use alloy_primitives::{Address, U64, U256};
use alloy_provider::{DynProvider, Provider as _};
use blindfold_node::{config::SettlementConfig, settlement::Contracts};
use blindfold_sdk::{SigningKey, rpc::WithdrawalDocument};
use blindfold_settlement::{
    bindings::OutputOracle,
    l1::{Embedded, L1 as _},
};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The oracle's window: longer than the test, which puts L1's clock forward.
pub const WINDOW_S: u64 = 7_200;
/// Its time to prove what is challenged, in seconds.
pub const PROVE_S: u64 = 3_600;
/// The bond of an output and of its challenge, in wei.
pub const BOND_WEI: u128 = ETHER / 10;

/// How far an output has got, in the oracle's words.
pub const NONE: u8 = 0;
pub const PROPOSED: u8 = 1;
pub const CHALLENGED: u8 = 2;
pub const PROVEN: u8 = 3;

/// Makes the blocks of an L1, so fast that they are soon final; dropping it stops it.
struct Haste {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Haste {
    fn start(l1: Embedded) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                l1.mine(l1.head().timestamp_s + 1).expect("a block");
                thread::sleep(Duration::from_millis(250));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Haste {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim())
            .unwrap_or_else(|_| panic!("{}\n{}", self.stdout, self.stderr))
    }

    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A network with a bridge, and somebody who uses it.
pub struct World {
    // Stops before the L1 that it mines does.
    haste: Option<Haste>,
    pub settled: Settled,
    folder: tempfile::TempDir,
    pub user: SigningKey,
    pub contracts: Contracts,
}

impl World {
    /// Everything runs; members have other settings than usual where `change_config` says so.
    pub fn start(change_config: impl Fn(&mut SettlementConfig)) -> Self {
        let user = SigningKey::random([9; 32]);
        let (mut settled, haste) = Settled::prepare_mined(
            &[user.address()],
            |params| {
                params.output_window_s = WINDOW_S;
                params.prove_window_s = PROVE_S;
                params.output_bond_wei = U256::from(BOND_WEI);
            },
            |config| {
                config.interval_s = 1;
                config.takeover_s = 15;
                config.output_interval_s = 1;
                change_config(config);
            },
            Haste::start,
        );
        settled.network.run_all();
        let l1 = settled.server.l1();
        let contracts =
            settled.runtime.block_on(Contracts::find(&l1, &settled.network.genesis)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let world = Self { haste: Some(haste), settled, folder, user, contracts };
        world.write_key("l1", &world.settled.deployer);
        world.write_key("own", &world.user);
        world
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_key(&self, name: &str, key: &SigningKey) {
        key.expose(|secret| std::fs::write(self.key_path(name), hex::encode(secret)).unwrap());
    }

    /// `blindfold bridge`, at a member's RPC, with the key file of this name.
    pub fn bridge(&self, member: usize, key: &str, args: &[&str]) -> Ended {
        let network = &self.settled.network;
        let mut command = Command::new(BLINDFOLD);
        command.arg("bridge").args(args).arg("--key-file").arg(self.key_path(key));
        if args[0] != "withdraw" {
            command.args(["--l1-rpc", &self.settled.server.url()]);
        }
        let output = command
            .args(["--rpc", &format!("http://{}", network.config(member).rpc.listen)])
            .args(["--genesis-hash", &network.genesis.hash().to_string()])
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn l1(&self) -> Embedded {
        self.settled.server.l1()
    }

    pub fn l1_balance(&self, address: Address) -> U256 {
        self.settled
            .runtime
            .block_on(async { self.l1().provider().get_balance(address).await })
            .unwrap()
    }

    pub fn withdrawal(&self, member: usize, index: u64) -> WithdrawalDocument {
        let client = &self.settled.network.clients[member];
        let asked = [U64::from(index)];
        self.settled.network.until("a member knows a withdrawal", || {
            client.request::<Option<_>>("sealed_getWithdrawal", asked).ok().flatten()
        })
    }

    /// Waits until a member sees an output over a withdrawal.
    pub fn until_proposed(&self, member: usize, index: u64) -> WithdrawalDocument {
        self.settled.network.until("an output is proposed", || {
            Some(self.withdrawal(member, index)).filter(|document| document.output.is_some())
        })
    }

    pub fn oracle(&self) -> OutputOracle::OutputOracleInstance<DynProvider> {
        OutputOracle::new(self.contracts.oracle, self.l1().provider())
    }

    pub fn owed(&self, account: Address) -> U256 {
        self.settled.runtime.block_on(async { self.oracle().owed(account).call().await }).unwrap()
    }

    pub fn output(&self, batch: u64) -> OutputOracle::Output {
        let output = async { self.oracle().outputOf(batch).call().await };
        self.settled.runtime.block_on(output).unwrap()
    }

    pub fn output_status(&self, batch: u64) -> u8 {
        self.output(batch).status
    }

    /// No block is made on L1 any more but by `mine`, before `go_on`.
    pub fn stand_still(&mut self) {
        self.haste = None;
    }

    pub fn go_on(&mut self) {
        self.haste = Some(Haste::start(self.l1()));
    }

    /// A block on L1, this many seconds after the newest.
    pub fn mine(&self, seconds: u64) {
        self.l1().mine(self.l1().head().timestamp_s + seconds).unwrap();
    }

    pub fn members(&self) -> Vec<Address> {
        self.settled.network.genesis.committee.members.iter().map(|member| member.signer).collect()
    }
}
