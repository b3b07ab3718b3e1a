//! The command against the server on its double.

use std::{fs, process::ExitCode, sync::Arc};

use alloy_primitives::{U256, hex};
use blindfold_crypto::{EphemeralPoint, Opening, decide};
use blindfold_wire::Envelope;
use clap::{CommandFactory as _, Parser};

use super::*;
use crate::{
    config::RpcConfig,
    rpc::{NodeApi as _, RpcServer, double::TestNode},
};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: TxCommand,
}

const SENDER: [u8; 32] = [0x21; 32];
const PAYER: [u8; 32] = [0x22; 32];
const TO: &str = "--to=0x00000000000000000000000000000000000000aa";

struct World {
    node: Arc<TestNode>,
    server: RpcServer,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let node = TestNode::new(2);
        let config = RpcConfig { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
        let server = RpcServer::start(config, node.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sender"), hex::encode(SENDER)).unwrap();
        fs::write(folder.path().join("payer"), hex::encode(PAYER)).unwrap();
        fs::write(folder.path().join("genesis.json"), node.genesis().to_json()).unwrap();
        Self { node, server, folder }
    }

    fn file(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.folder.path().join(name).display())
    }

    /// Parses `blindfold tx`'s arguments, with the node, the chain and the sender's key added.
    fn parse(&self, arguments: &[&str]) -> TxCommand {
        let mut line = vec!["tx".to_owned()];
        line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        line.push(format!("--rpc=http://{}", self.server.local_addr()));
        line.push(self.file("genesis", "genesis.json"));
        line.push(self.file("key-file", "sender"));
        Line::try_parse_from(line).unwrap().command
    }

    async fn run(&self, arguments: &[&str]) -> eyre::Result<ExitCode> {
        let command = self.parse(arguments);
        tokio::task::spawn_blocking(move || run(command)).await.unwrap()
    }

    /// Seals as `tx seal` would, and opens it with the committee's keys.
    async fn sealed(&self, arguments: &[&str]) -> eyre::Result<(Envelope, TxEnvelope)> {
        let TxCommand::Seal(args) = self.parse(&[&["seal"], arguments].concat()) else {
            panic!("not a seal")
        };
        let prepared = tokio::task::spawn_blocking(move || {
            prepare(&connect(&args.node).unwrap(), &args.inner)
        });
        let (sealed, hash) = prepared.await.unwrap()?;
        let committee = &self.node.committee;
        let u = EphemeralPoint::from_bytes(&sealed.ciphertext.u).unwrap();
        let shares: Vec<_> = (0..committee.members.len())
            .map(|at| (at, committee.members[at].decryption.share(&u)))
            .collect();
        let label = sealed.header.label(sealed.recover_payer().unwrap());
        let public = committee.genesis.committee_public().unwrap();
        let opening = decide(&public, &label, &sealed.ciphertext, &shares).opening;
        let Some(Opening::Opened { message, .. }) = opening else { panic!("undecryptable") };
        let inner = input::read_raw(&hex::encode(message)).unwrap();
        assert_eq!(*inner.tx_hash(), hash);
        Ok((sealed, inner))
    }
}

#[test]
fn the_arguments_are_consistent() {
    Line::command().debug_assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_built_from_flags() {
    use alloy_consensus::{Transaction as _, transaction::SignerRecoverable as _};
    let world = World::new().await;
    let (sealed, inner) = world.sealed(&[TO, "--value=1.5gwei"]).await.unwrap();
    let sender = SigningKey::from_bytes(&SENDER).unwrap().address();
    assert_eq!(inner.recover_signer().unwrap(), sender);
    assert_eq!(sealed.recover_payer().unwrap(), sender);
    assert_eq!((inner.value(), inner.gas_limit()), (U256::from(1_500_000_000u64), TRANSFER_GAS));
    assert_eq!(inner.nonce(), 2, "asked of the node, as the sender pays");
    assert_eq!(inner.chain_id(), Some(world.node.genesis().chain_id));
    assert_eq!(sealed.header.gas_limit, 1 << 15);
    assert_eq!((inner.max_fee_per_gas(), sealed.header.max_fee_per_gas), (4_007, 4_007));

    let (sealed, inner) = world
        .sealed(&[TO, "--max-fee=5", "--priority-fee=2", "--expiry-height=9", "--envelope-nonce=8"])
        .await
        .unwrap();
    assert_eq!((sealed.header.max_fee_per_gas, sealed.header.max_priority_fee_per_gas), (5, 2));
    assert_eq!((sealed.header.expiry_height, sealed.header.payer_nonce), (9, 8));
    assert_eq!(inner.max_priority_fee_per_gas(), Some(2));

    // The same transaction, signed elsewhere, with a payer of its own.
    let raw = format!("--raw=0x{}", hex::encode(inner.encoded_2718()));
    let payer = world.file("payer-key-file", "payer");
    let (sealed, again) = world.sealed(&[&raw, &payer]).await.unwrap();
    assert_eq!(again, inner);
    assert_eq!(sealed.recover_payer().unwrap(), SigningKey::from_bytes(&PAYER).unwrap().address());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_is_not_asked_what_would_tell_it_the_inside() {
    let world = World::new().await;
    let payer = world.file("payer-key-file", "payer");
    let error = world.sealed(&[TO, &payer]).await.unwrap_err().to_string();
    assert!(error.contains("--nonce"), "{error}");
    world.sealed(&[TO, &payer, "--nonce=4"]).await.unwrap();
    let error = world.sealed(&[TO, "--data=0x01"]).await.unwrap_err().to_string();
    assert!(error.contains("--gas-limit"), "{error}");
    world.sealed(&[TO, "--data=0x01", "--gas-limit=50000"]).await.unwrap();
    assert!(world.node.last_call.lock().is_none(), "something was simulated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_tell_good_from_bad() {
    let world = World::new().await;
    assert_eq!(world.run(&["send", TO, "--no-wait", "--json"]).await.unwrap(), ExitCode::SUCCESS);
    let id = world.node.admitted.lock()[0];

    let ask = |id: B256| {
        let rpc = format!("--rpc=http://{}", world.server.local_addr());
        let line = ["tx".to_owned(), "status".to_owned(), id.to_string(), rpc];
        let command = Line::try_parse_from(line).unwrap().command;
        tokio::task::spawn_blocking(move || run(command).unwrap())
    };
    assert_eq!(ask(id).await.unwrap(), ExitCode::SUCCESS);
    assert_eq!(ask(B256::ZERO).await.unwrap(), ExitCode::from(1), "unknown");

    let error = world.run(&["send", TO, "--timeout-seconds=0"]).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("last status: Some(Pending)"), "{error}");
    assert!(error.contains("blindfold tx status --rpc http://"), "what to do: {error}");
}
