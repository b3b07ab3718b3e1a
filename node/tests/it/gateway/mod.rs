//! The gateway with the wallets that people have, and everything that leaves it.

mod capture;
mod network;
mod restarts;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use alloy_primitives::{Address, B256, Bytes, hex};
use blindfold_sdk::{HttpTransport, SigningKey, ask};
use serde_json::{Value, json};

use capture::Capture;
use network::{InProcess, Network};

/// Keys of the wallets, each used by one client.
const CLIENTS: [(&str, u8); 3] = [("viem.mjs", 0x71), ("ethers.mjs", 0x72), ("cast.mjs", 0x73)];

/// Every client sends ether, deploys, calls, reads logs, replaces and times out; nothing that leaves
/// the gateway meanwhile has a piece of any transaction in it.
#[test]
fn real_wallets_use_it_and_nothing_leaves_but_envelopes() {
    let folder = clients();
    let keys = CLIENTS.map(|(_, seed)| SigningKey::from_bytes(&[seed; 32]).unwrap());
    let network = Network::start(&keys.each_ref().map(SigningKey::address));
    let capture = Capture::default();
    let proxied: Vec<_> = network.rpc().iter().map(|rpc| capture.proxy(*rpc)).collect();
    let gateway = InProcess::start(&network, &proxied, &capture);

    let runs: Vec<_> = CLIENTS
        .iter()
        .map(|(script, seed)| {
            let (folder, url) = (folder.path().to_path_buf(), gateway.url.clone());
            thread::spawn(move || run_client(&folder, script, *seed, &url))
        })
        .collect();
    let mut hashes = Vec::new();
    for (run, (script, _)) in runs.into_iter().zip(CLIENTS) {
        let printed = run.join().unwrap().unwrap_or_else(|problem| {
            panic!("{script}: {problem}\n{}\n{}", status(&gateway.url), network.logs())
        });
        assert!(printed.len() >= 7, "{script} sent only {} transactions", printed.len());
        hashes.extend(printed);
    }

    let secrets: Vec<Bytes> = hashes.iter().flat_map(|hash| pieces(&gateway.url, *hash)).collect();
    assert!(secrets.len() > 2 * hashes.len(), "too little to look for");
    let left = capture.bytes();
    assert!(left.http > 10_000 && left.peers > 1_000, "nothing was captured: {left:?}");
    assert_eq!(capture.find(&secrets), None);

    // The same search finds what a gateway that forwards would have let out, on either way.
    let raw = secrets.iter().max_by_key(|secret| secret.len()).unwrap();
    for leak in [json!({ "params": [raw] }).to_string().into_bytes(), raw.to_vec()] {
        let changed = Capture::default();
        changed.record_peer(&leak);
        assert!(changed.find(&secrets).is_some(), "a leak is not noticed");
    }
    capture.post(&proxied[0], &json!({ "method": "eth_sendRawTransaction", "params": [raw] }));
    assert!(capture.find(&secrets).is_some(), "a forwarded transaction is not noticed");
    gateway.stop();
}

fn status(url: &str) -> String {
    let transport = HttpTransport::new(url).unwrap();
    ask::<Value>(&transport, "gateway_status", [(); 0])
        .map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The parts of a transaction that must not leave: input, recipient and signature.
fn pieces(url: &str, hash: B256) -> Vec<Bytes> {
    let transport = HttpTransport::new(url).unwrap();
    let Ok(Some(found)) = ask::<Option<Value>>(&transport, "eth_getTransactionByHash", [hash])
    else {
        // Replaced, so it stayed sealed; its successor differs in one byte.
        return Vec::new();
    };
    ["input", "to", "r", "s"]
        .iter()
        .filter_map(|field| {
            let digits = found[*field].as_str()?.trim_start_matches("0x");
            let even = format!("{}{digits}", "0".repeat(digits.len() % 2));
            Some(Bytes::from(hex::decode(even).ok()?)).filter(|bytes| bytes.len() >= 16)
        })
        .collect()
}

/// A folder with the scripts and their packages. Where they cannot be installed, the test did not run,
/// and that is no pass.
fn clients() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("bash")
        .arg(root.join("../scripts/clients.sh"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "NOT RUN: the clients cannot be installed: {reason}");
    let packages = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("node_modules");
    std::os::unix::fs::symlink(packages.join("node_modules"), link).unwrap();
    for entry in std::fs::read_dir(root.join("tests/clients")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "mjs") {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

/// Runs a script to its end; the hashes it printed.
fn run_client(folder: &Path, script: &str, seed: u8, url: &str) -> Result<Vec<B256>, String> {
    let marker = Address::repeat_byte(seed).create(0xfeed);
    let output = Command::new("node")
        .arg(folder.join(script))
        .args([url, &format!("0x{}", hex::encode([seed; 32])), &marker.to_string()])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../execution/contracts/out"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{}\n{stdout}\n{stderr}", output.status));
    }
    stdout.lines().map(|line| line.parse().map_err(|_| format!("printed {line}"))).collect()
}
