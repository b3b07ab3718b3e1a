//! The wallet against fake nodes, honest and lying.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use blindfold_crypto::{EphemeralPoint, Opening, decide};
use blindfold_wire::{
    B256, CheckedEnvelope, Genesis, SignedReceipt, TxStatus, receipt::AdmissionReceipt,
    testkit::TestCommittee,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Client, ClientError, Committee, CommitteeError, Fees, HttpTransport, SealError,
    SealedTransaction, SigningKey, Transport, TransportError, Wallet, ask,
    rpc::{CommitteeDocument, HeadDocument, PayerDocument, ReceiptDocument, SendDocument},
};

const FEES: Fees = Fees {
    max_fee_per_gas: 2_000,
    max_priority_fee_per_gas: 10,
    gas_limit: 100_000,
    expiry_height: 50,
};

fn chain() -> &'static TestCommittee {
    static CHAIN: OnceLock<TestCommittee> = OnceLock::new();
    CHAIN.get_or_init(|| TestCommittee::new(4, 1))
}

fn committee() -> Committee {
    Committee::from_genesis(chain().genesis.clone(), chain().genesis.hash()).unwrap()
}

fn wallet() -> Wallet {
    Wallet::new(SigningKey::from_bytes(&[5; 32]).unwrap(), committee())
}

fn open(sealed: &SealedTransaction) -> Opening {
    let public = chain().genesis.committee_public().unwrap();
    let u = EphemeralPoint::from_bytes(&sealed.ciphertext.u).unwrap();
    let shares: Vec<_> = chain()
        .members
        .iter()
        .enumerate()
        .map(|(index, member)| (index, member.decryption.share(&u)))
        .collect();
    let payer = sealed.recover_payer().unwrap();
    decide(&public, &sealed.header.label(payer), &sealed.ciphertext, &shares).opening.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_sealed_is_admitted_and_opens_to_itself(
        message in proptest::collection::vec(any::<u8>(), 1..2_000), nonce: u64, expiry_height: u64,
    ) {
        let sealed = wallet().seal_with_nonce(&message, nonce, &Fees { expiry_height, ..FEES }).unwrap();
        let rules = chain().genesis.admission_rules().unwrap();
        let checked = CheckedEnvelope::check(&rules, &sealed.encode()).unwrap();
        prop_assert_eq!(checked.payer(), wallet().address());
        prop_assert_eq!(sealed.header.payer_nonce, nonce);
        let Opening::Opened { message: opened, .. } = open(&sealed) else { panic!("undecryptable") };
        prop_assert_eq!(opened, message);
    }
}

#[test]
fn every_seal_has_fresh_randomness() {
    let wallet = wallet();
    let sealed = [
        wallet.seal_with_nonce(b"same", 0, &FEES).unwrap(),
        wallet.seal_with_nonce(b"same", 0, &FEES).unwrap(),
        wallet.seal_with_nonce(b"same", 0, &FEES.bumped(10)).unwrap(),
    ];
    let seeds = sealed.each_ref().map(|one| match open(one) {
        Opening::Opened { seed, .. } => seed,
        Opening::Undecryptable { .. } => panic!("undecryptable"),
    });
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2]);
}

#[test]
fn nonces_are_taken_once_and_only_by_success() {
    let wallet = Arc::new(wallet());
    wallet.set_next_nonce(3);
    assert!(matches!(wallet.seal(b"", &FEES), Err(SealError::Empty)));
    assert!(matches!(wallet.seal(&[0; 70_000], &FEES), Err(SealError::Seal(_))));
    let senseless = Fees { max_priority_fee_per_gas: 3_000, ..FEES };
    assert!(matches!(wallet.seal(b"m", &senseless), Err(SealError::Fees(_))));
    assert_eq!(wallet.next_nonce(), 3);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let wallet = Arc::clone(&wallet);
            thread::spawn(move || wallet.seal(b"m", &FEES).unwrap().header.payer_nonce)
        })
        .collect();
    let mut taken: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, [3, 4, 5, 6]);
    wallet.set_next_nonce(u64::MAX);
    assert!(matches!(wallet.seal(b"m", &FEES), Err(SealError::NoncesExhausted)));
}

#[test]
fn gas_is_published_as_a_class_only() {
    let sealed = wallet().seal(b"m", &Fees { gas_limit: 21_001, ..FEES }).unwrap();
    assert_eq!(sealed.header.gas_limit, 1 << 15);
}

#[test]
fn only_the_pinned_genesis_is_believed() {
    let pinned = chain().genesis.hash();
    assert_eq!(
        Committee::from_rlp(&chain().genesis.encode(), pinned).unwrap().genesis_hash(),
        pinned
    );
    assert_eq!(
        Committee::from_json(&chain().genesis.to_json(), pinned).unwrap().genesis_hash(),
        pinned
    );

    // A key of the attacker's in an otherwise honest document.
    let attacker = TestCommittee::new(4, 2).genesis;
    let mut forged: Genesis = chain().genesis.clone();
    forged.committee.y = attacker.committee.y;
    let refused = Committee::from_genesis(forged.clone(), pinned);
    assert!(matches!(refused, Err(CommitteeError::WrongGenesis { .. })));
    // Even pinned by mistake, it contradicts its own proofs.
    let refused = Committee::from_genesis(forged.clone(), forged.hash());
    assert!(matches!(refused, Err(CommitteeError::Inconsistent(_))));
    // The readable fields of a node's answer count for nothing.
    let mut document = CommitteeDocument::from_genesis(&chain().genesis).unwrap();
    document.committee_key.0 = attacker.committee.y;
    document.genesis_hash = B256::ZERO;
    let believed = Committee::from_document(&document, pinned).unwrap();
    assert_eq!(believed.key().to_bytes(), chain().genesis.committee.y);
    document.genesis_rlp = attacker.encode().into();
    document.genesis_hash = pinned;
    assert!(Committee::from_document(&document, pinned).is_err());
}

/// A node that answers from a function.
struct Fake<F>(F);

impl<F: Fn(&str, &Value) -> Value> Transport for Fake<F> {
    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, TransportError> {
        let request: Value = serde_json::from_slice(request).unwrap();
        let mut answer = (self.0)(request["method"].as_str().unwrap(), &request["params"]);
        if answer == Value::Null {
            return Err(TransportError { node: "fake".to_owned(), problem: "silence".to_owned() });
        }
        if let Some(fields) = answer.as_object_mut() {
            fields.entry("id").or_insert(request["id"].clone());
        }
        Ok(answer.to_string().into_bytes())
    }
}

fn receipt(id: B256) -> AdmissionReceipt {
    AdmissionReceipt {
        chain_id: chain().genesis.chain_id,
        settlement: chain().genesis.settlement,
        envelope_id: id,
        member: 1,
        height_seen: 8,
    }
}

fn submit_against(make: impl Fn(B256) -> SignedReceipt) -> Result<SignedReceipt, ClientError> {
    let sealed = wallet().seal(b"m", &FEES).unwrap();
    let id = sealed.id();
    let client = Client::with_committee(
        Fake(|_: &str, _: &Value| {
            let receipt = ReceiptDocument::from(&make(id));
            json!({ "result": SendDocument { envelope_id: id, receipt } })
        }),
        committee(),
    );
    client.submit(&sealed)
}

#[test]
fn receipts_are_checked() {
    let signer = &chain().members[1].signer;
    assert!(submit_against(|id| receipt(id).sign(signer)).is_ok());
    let worthless: [Box<dyn Fn(B256) -> SignedReceipt>; 6] = [
        Box::new(|_| receipt(B256::ZERO).sign(signer)),
        Box::new(|id| receipt(id).sign(&chain().members[2].signer)),
        Box::new(|id| AdmissionReceipt { member: 9, ..receipt(id) }.sign(signer)),
        Box::new(|id| AdmissionReceipt { member: u32::MAX, ..receipt(id) }.sign(signer)),
        Box::new(|id| AdmissionReceipt { chain_id: 1, ..receipt(id) }.sign(signer)),
        Box::new(|id| {
            let signed = receipt(id).sign(signer);
            SignedReceipt {
                receipt: AdmissionReceipt { height_seen: 9, ..signed.receipt },
                ..signed
            }
        }),
    ];
    for (case, make) in worthless.iter().enumerate() {
        let outcome = submit_against(make);
        assert!(matches!(outcome, Err(ClientError::BadReceipt(_))), "case {case}: {outcome:?}");
    }
}

#[test]
fn waiting_survives_silence_and_ends_on_time() {
    let answers = Mutex::new(vec![
        json!({ "result": { "state": "executed", "height": 3, "position": 0, "txHash": B256::ZERO,
                            "txIndex": 0, "success": false } }),
        Value::Null,
        json!({ "result": { "state": "ordered", "height": 3, "position": 0 } }),
        json!({ "result": null }),
    ]);
    let client = Client::with_committee(
        Fake(|_: &str, _: &Value| answers.lock().pop().unwrap()),
        committee(),
    );
    let end = client.wait(B256::ZERO, Duration::from_secs(20)).unwrap();
    assert!(matches!(end, TxStatus::Executed { success: false, .. }));

    let client =
        Client::with_committee(Fake(|_: &str, _: &Value| json!({ "result": null })), committee());
    let outcome = client.wait(B256::ZERO, Duration::from_millis(5));
    assert!(matches!(outcome, Err(ClientError::TimedOut { last: None, .. })), "{outcome:?}");
    let client = Client::with_committee(Fake(|_: &str, _: &Value| Value::Null), committee());
    let outcome = client.wait(B256::ZERO, Duration::from_millis(5));
    assert!(matches!(outcome, Err(ClientError::Transport(_))), "{outcome:?}");
}

#[test]
fn answers_are_not_taken_for_granted() {
    let ask_against = |answer: Value| {
        let client =
            Client::with_committee(Fake(move |_: &str, _: &Value| answer.clone()), committee());
        client.head()
    };
    assert!(matches!(ask_against(json!({ "result": {} })), Err(ClientError::BadAnswer(_))));
    assert!(matches!(
        ask_against(json!({ "id": 77, "result": {} })),
        Err(ClientError::BadAnswer(_))
    ));
    assert!(matches!(ask_against(json!("text")), Err(ClientError::BadAnswer(_))));
    let refusal = json!({ "error": { "code": -38003, "message": "busy" } });
    assert!(matches!(ask_against(refusal), Err(ClientError::Refused { code: -38003, .. })));
}

/// A node on a socket that keeps every byte it is sent.
struct Recorder {
    url: String,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&bytes);
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &seen);
            }
        });
        Self { url, bytes }
    }
}

fn serve(stream: std::net::TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            seen.lock().extend_from_slice(line.as_bytes());
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        seen.lock().extend_from_slice(&body);
        let request: Value = serde_json::from_slice(&body).unwrap();
        let result = honest(request["method"].as_str().unwrap(), &request["params"]);
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
        write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len())
            .unwrap();
    }
}

fn honest(method: &str, params: &Value) -> Value {
    match method {
        "sealed_getCommittee" => json!(CommitteeDocument::from_genesis(&chain().genesis).unwrap()),
        "sealed_getHead" => json!(HeadDocument {
            ordered_height: 3,
            opened_height: 3,
            executed_height: 2,
            executed_hash: B256::ZERO,
            next_base_fee_wei: 1_000,
            least_max_fee_wei: 1_000,
            l1_base_fee_wei: 0,
            suggested_priority_fee_wei: 1,
            uncertified_releases: 0,
        }),
        "sealed_getPayer" => json!(PayerDocument {
            address: serde_json::from_value(params[0].clone()).unwrap(),
            next_nonce: 4,
            pending_nonce: 6,
            escrow_wei: Default::default(),
            executed_height: 2,
        }),
        "sealed_sendTransaction" => {
            let bytes: alloy_primitives::Bytes = serde_json::from_value(params[0].clone()).unwrap();
            let id = SealedTransaction::decode(&bytes).unwrap().id();
            let receipt = ReceiptDocument::from(&receipt(id).sign(&chain().members[1].signer));
            json!(SendDocument { envelope_id: id, receipt })
        }
        "sealed_getTransaction" => json!({ "state": "evicted" }),
        other => panic!("the SDK asked for {other}"),
    }
}

#[test]
fn no_plaintext_ever_leaves() {
    const SECRET: &[u8] = b"swap everything for the frog token now";
    let recorder = Recorder::start();
    let client = Client::connect(&recorder.url, chain().genesis.hash()).unwrap();
    let wallet = wallet();
    client.sync(&wallet).unwrap();
    let fees = client.suggest_fees(200_000).unwrap();
    let sealed = wallet.seal(SECRET, &fees).unwrap();
    assert_eq!(sealed.header.payer_nonce, 6, "pending envelopes are counted");
    client.submit(&sealed).unwrap();
    assert_eq!(client.wait(sealed.id(), Duration::from_secs(5)).unwrap(), TxStatus::Evicted);
    client.submit(&wallet.seal_with_nonce(SECRET, 6, &fees.bumped(10)).unwrap()).unwrap();

    let before = recorder.bytes.lock().len();
    for method in ["eth_sendRawTransaction", "eth_sendTransaction"] {
        let refused = client.request::<Value>(method, [SECRET]);
        assert!(matches!(refused, Err(ClientError::Refused { .. })));
    }
    let transport = HttpTransport::new(&recorder.url).unwrap();
    assert!(ask::<Value>(&transport, "eth_sendRawTransaction", [SECRET]).is_err());

    let seen = recorder.bytes.lock();
    assert_eq!(seen.len(), before, "a plaintext method reached the socket");
    let contains = |needle: &[u8]| seen.windows(needle.len()).any(|window| window == needle);
    let hex = |bytes: &[u8]| alloy_primitives::hex::encode(bytes).into_bytes();
    assert!(contains(&hex(&sealed.encode())), "the recorder records");
    // Any eight bytes of it would be a leak.
    for piece in SECRET.windows(8) {
        assert!(!contains(piece) && !contains(&hex(piece)));
    }
    let Opening::Opened { seed, .. } = open(&sealed) else { panic!("undecryptable") };
    assert!(!contains(&hex(&seed)) && !contains(&hex(&[5; 32])), "seed or key left");
}

#[test]
fn other_schemes_than_http_are_refused() {
    for url in ["https://127.0.0.1", "file:///etc/passwd", "127.0.0.1:8545"] {
        assert!(HttpTransport::new(url).is_err());
    }
}
