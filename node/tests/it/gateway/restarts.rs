//! The gateway as a process that is killed, and members that do not answer.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use blindfold_node::{cli::tx, config::NodeConfig};
use blindfold_sdk::{HttpTransport, SigningKey, Transport as _, rpc::PayerDocument};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::network::{BLINDFOLD, Network, PATIENCE, PAYER, free_address, until_ready};

const GWEI: u128 = 1_000_000_000;
/// How often the gateway is killed.
const KILLS: u64 = 4;
/// Transactions sent before each kill.
const BURST: u64 = 4;

/// A gateway that is a process of its own.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(network: &Network, config: &std::path::Path) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(network.folder.path().join("gateway.log"))
            .unwrap();
        let child = Command::new(BLINDFOLD)
            .args(["gateway", "run", "--stop-with-stdin", "--config"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = format!("http://{}", NodeConfig::read(config).unwrap().rpc.listen);
        until_ready(&url, || network.logs());
        Self { child, url }
    }

    /// As `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = HttpTransport::new(&self.url)
            .and_then(|transport| transport.exchange(request.to_string().as_bytes()))
            .map_err(|error| json!(error.to_string()))?;
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(serde_json::from_value(answer["result"].take()).unwrap()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signed(chain_id: u64, key: &SigningKey, nonce: u64, fee: u128) -> (B256, Bytes) {
    let unsigned = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: fee / 10,
        to: TxKind::Call(Address::repeat_byte(0xaa)),
        value: U256::from(1_000),
        ..Default::default()
    };
    let transaction = tx::sign(unsigned, key);
    (*transaction.tx_hash(), transaction.encoded_2718().into())
}

/// Killed again and again with transactions in every state, and with a first member that is not
/// there: each transaction happens exactly once, and the books agree with the chain to the wei.
#[test]
#[ignore = "slow"]
fn a_gateway_that_is_killed_loses_nothing_and_pays_nothing_twice() {
    let key = SigningKey::from_bytes(&[0x61; 32]).unwrap();
    let payer = SigningKey::from_bytes(&PAYER).unwrap().address();
    let network = Network::start(&[key.address()]);
    let config = network.gateway_config(&[free_address(), network.rpc()[1], network.rpc()[2]]);
    let mut gateway = Process::start(&network, &config);
    let document = |gateway: &Process| -> PayerDocument {
        gateway.ask("sealed_getPayer", json!([payer])).unwrap()
    };
    let escrow_before = document(&gateway).escrow_wei;
    let chain_id: U256 = gateway.ask("eth_chainId", json!([])).unwrap();
    let chain_id = chain_id.to::<u64>();

    let mut last = Vec::new();
    for round in 0..KILLS {
        let first = round * BURST;
        // The highest nonce comes first, and one is replaced at once.
        for nonce in (first..first + BURST).rev() {
            let (hash, raw) = signed(chain_id, &key, nonce, 20 * GWEI);
            let told: B256 = gateway.ask("eth_sendRawTransaction", json!([raw])).unwrap();
            assert_eq!(told, hash);
        }
        let (_, dearer) = signed(chain_id, &key, first + BURST - 1, 30 * GWEI);
        let told = gateway.ask::<B256>("eth_sendRawTransaction", json!([dearer]));
        last.push(told);
        thread::sleep(Duration::from_millis(round * 150));
        gateway.kill();
        gateway = Process::start(&network, &config);
    }

    let wanted = KILLS * BURST;
    let deadline = Instant::now() + PATIENCE;
    let settled = |gateway: &Process| {
        let status: Value = gateway.ask("gateway_status", json!([])).unwrap();
        (status["held"] == "0x0", status)
    };
    while !settled(&gateway).0 {
        assert!(Instant::now() < deadline, "{}\n{}", settled(&gateway).1, network.logs());
        thread::sleep(Duration::from_millis(100));
    }
    let of = |method: &str, address: Address| -> U256 {
        gateway.ask(method, json!([address, "latest"])).unwrap()
    };
    assert_eq!(of("eth_getTransactionCount", key.address()), U256::from(wanted));
    let received = of("eth_getBalance", Address::repeat_byte(0xaa));
    assert_eq!(received, U256::from(wanted * 1_000), "{last:?}");
    let after = document(&gateway);
    assert_eq!(after.next_nonce, wanted, "an envelope too many: {last:?}");
    let (_, status) = settled(&gateway);
    let spent: U256 = serde_json::from_value(status["spentTotalWei"].clone()).unwrap();
    assert_eq!(escrow_before - after.escrow_wei, spent, "{status}");
}
