//! L1 back ends: one suite over all of them, gas equal, and the embedded one as a server.

use std::{process::Stdio, time::Duration};

use alloy_provider::Provider as _;
use blindfold_node::l1::{
    anvil::{Anvil, AnvilError, AnvilOptions},
    http::{self, HttpOptions},
    server::{L1Server, L1ServerConfig, L1ServerError},
};
use blindfold_settlement::l1::{
    Embedded, Kind, L1 as _, L1Error,
    conformance::{self, Gas},
    embedded,
};

const FUNDS_ETHER: u64 = 10_000;

fn alloc() -> Vec<(alloy_primitives::Address, alloy_primitives::U256)> {
    let wei = alloy_primitives::U256::from(FUNDS_ETHER)
        * alloy_primitives::U256::from(1_000_000_000_000_000_000u64);
    conformance::funded().iter().map(|key| (key.address(), wei)).collect()
}

fn on_demand() -> L1ServerConfig {
    L1ServerConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        chain_id: conformance::CHAIN_ID,
        block_time: None,
        data_dir: None,
        // Hashes have times in them, and zeros among their bytes cost less gas.
        genesis_timestamp_s: Some(conformance::GENESIS_S),
        alloc: alloc(),
        admin: true,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

async fn embedded() -> Gas {
    let config = embedded::Config {
        chain_id: conformance::CHAIN_ID,
        genesis_timestamp_s: conformance::GENESIS_S,
        alloc: alloc(),
        ..embedded::Config::default()
    };
    conformance::run(&Embedded::new(config)).await
}

/// Runs what the suite is: one long future, which unoptimised code keeps on the stack several times over.
fn on_a_deep_stack<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    const STACK_BYTES: usize = 64 << 20;
    let run = move || runtime().block_on(test());
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Starts anvil. `None` where it is missing, unless the variable says that it must be there.
pub async fn start_anvil(options: &AnvilOptions) -> Option<Anvil> {
    match Anvil::start(options).await {
        Ok(anvil) => Some(anvil),
        Err(AnvilError::Missing) if std::env::var_os("BLINDFOLD_REQUIRE_ANVIL").is_none() => {
            eprintln!("SKIPPED: {}", AnvilError::Missing);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The embedded L1 and anvil pass one suite, and everything costs the same gas.
#[test]
fn anvil_conforms_and_gas_is_equal() {
    on_a_deep_stack(|| async {
        let options = AnvilOptions {
            chain_id: conformance::CHAIN_ID,
            block_time_s: None,
            timestamp_s: Some(conformance::GENESIS_S),
        };
        let Some(anvil) = start_anvil(&options).await else { return };
        assert_eq!(anvil.l1.kind(), Kind::Anvil);
        let anvil_gas = conformance::run(&anvil.l1).await;
        let embedded_gas = embedded().await;
        let rows: Vec<String> = embedded_gas
            .iter()
            .map(|(name, gas)| {
                format!("{name:<32} {gas:>10} {:>10}", anvil_gas.get(name).copied().unwrap_or(0))
            })
            .collect();
        println!("{:<32} {:>10} {:>10}\n{}", "gas", "embedded", "anvil", rows.join("\n"));
        assert_eq!(embedded_gas, anvil_gas);
    });
}

#[test]
fn anvil_ends_with_its_handle() {
    runtime().block_on(async {
        let Some(anvil) = start_anvil(&AnvilOptions::default()).await else { return };
        let url = anvil.url().to_owned();
        drop(anvil);
        let gone = http::connect(&url, &HttpOptions { retries: 0, ..HttpOptions::default() }).await;
        assert!(matches!(gone, Err(L1Error::Unreachable(_))), "{gone:?}");
    });
}

/// The embedded L1 over HTTP is the same chain as in its own process.
#[test]
fn the_server_conforms() {
    on_a_deep_stack(|| async {
        let server = L1Server::start(on_demand()).await.expect("served");
        let l1 = http::connect(&server.url(), &HttpOptions::default()).await.expect("reached");
        assert_eq!(l1.kind(), Kind::Embedded);
        assert!(l1.kind().banner().expect("a banner").contains("not a real L1"));
        let version = l1.provider().get_client_version().await.expect("a version");
        assert!(version.contains("not a real L1"), "{version}");
        let gas = conformance::run(&l1.with_control()).await;
        assert_eq!(gas, embedded().await);
        server.stop().await;
    });
}

/// Without `admin` nobody makes blocks or takes them back.
#[test]
fn power_is_given_only_where_asked_for() {
    runtime().block_on(async {
        let config = L1ServerConfig { admin: false, ..on_demand() };
        let server = L1Server::start(config).await.expect("served");
        let l1 = http::connect(&server.url(), &HttpOptions::default()).await.expect("reached");
        for method in ["blindfold_mine", "evm_mine", "blindfold_reorg", "anvil_reorg"] {
            let answer: Result<serde_json::Value, _> =
                l1.provider().raw_request(method.into(), ()).await;
            assert!(answer.expect_err("no such method").to_string().contains("-32601"), "{method}");
        }
        let public = L1ServerConfig { listen: "0.0.0.0:0".parse().expect("any"), ..on_demand() };
        assert!(matches!(L1Server::start(public).await, Err(L1ServerError::Public(_))));
    });
}

/// Killed at any time, it goes on from the last block that anybody saw.
#[test]
fn a_killed_server_goes_on() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let mut last = None;
        for round in 0..3 {
            let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_blindfold"))
                .args(["l1", "serve", "--listen", "127.0.0.1:0", "--block-time", "1", "--json"])
                .arg("--data-dir")
                .arg(folder.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("started");
            let stdout = child.stdout.take().expect("piped");
            let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
            let line = lines.next_line().await.expect("readable").expect("one line");
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(line["real"], false);
            let url = line["url"].as_str().expect("a URL");
            let l1 = http::connect(url, &HttpOptions::default()).await.expect("reached");
            if let Some((number, hash)) = last {
                let block = l1.provider().get_block_by_number(u64::into(number)).await;
                let block = block.expect("an answer").expect("it is kept");
                assert_eq!(block.header.hash, hash, "round {round}");
            }
            let begun = l1.heads().await.expect("heads").latest.number;
            let head = loop {
                let head = l1.heads().await.expect("heads").latest;
                if head.number >= begun + 2 {
                    break head;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            last = Some((head.number, head.hash));
            child.start_kill().expect("killed");
            child.wait().await.expect("gone");
        }
    });
}

/// Errors say what is wrong, and no key in a URL.
#[test]
fn an_unreachable_node_is_named_without_its_key() {
    runtime().block_on(async {
        let options = HttpOptions {
            retries: 1,
            backoff: Duration::from_millis(10),
            connect_timeout: Duration::from_secs(1),
            ..HttpOptions::default()
        };
        let refused = http::connect("http://127.0.0.1:1/v3/SECRETKEY", &options).await;
        let refused = refused.expect_err("nobody listens there");
        assert!(refused.is_temporary(), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("SECRETKEY"), "{refused:?}");
        let scheme = http::connect("ws://127.0.0.1:1", &options).await.expect_err("not http");
        assert!(matches!(scheme, L1Error::Unusable(_)), "{scheme:?}");
        let server = L1Server::start(on_demand()).await.expect("served");
        let other = HttpOptions { chain_id: Some(1), ..options };
        let other = http::connect(&server.url(), &other).await.expect_err("another chain");
        assert!(matches!(other, L1Error::WrongChain { expected: 1, got } if got == conformance::CHAIN_ID));
    });
}
