//! Examples of everything that the settlement contracts check, made by this code and committed beside
//! the contracts' tests, so that the two can never drift apart.
//!
//! The file is compared byte for byte. To change a format on purpose, run with
//! `BLINDFOLD_REGENERATE=1`, commit the file, and expect the contracts' tests to fail until the
//! contracts follow.
//!
//! Structures are ABI-encoded as in `settlement/contracts/src/Types.sol`; points are in the encoding
//! of EIP-2537.

use std::{fs, path::Path};

use alloy_primitives::{FixedBytes, hex};
use alloy_sol_types::SolValue;
use alloy_trie::{HashBuilder, Nibbles, TrieAccount, proof::ProofRetainer};
use blindfold_crypto::{
    Seed, combine,
    testkit::{add_small_order, seal_undecryptable},
};
use blst::{min_pk, min_sig};
use serde_json::{Value, json};

use super::payer;
use crate::{
    certificate::{aggregate_votes, sign_finalize_vote},
    merkle::{self, hash},
    testkit::TestCommittee,
    *,
};

mod sol {
    alloy_sol_types::sol! {
        struct Member {
            address signer;
            address feeAddress;
            bytes voteKey;
            bytes voteKeyPossession;
            bytes shareKey;
        }
        struct GenesisCommittee {
            uint64 epoch;
            uint32 threshold;
            bytes y;
            bytes y2;
            bytes32 scheduleRoot;
            Member[] members;
        }
        struct Signature {
            bytes32 r;
            bytes32 s;
            uint8 v;
        }
        struct Certificate {
            uint64 view_;
            uint64 parentView;
            bytes signers;
            bytes signature;
        }
        struct MerkleProof {
            uint32 count;
            uint32 index;
            bytes32[] siblings;
        }
        struct SealedEnvelope {
            bytes preimage;
            Signature payer;
            uint256[2] uY;
            uint256[2] wY;
            uint64 keyEpoch;
        }
        struct Opening {
            uint8 kind;
            bytes32 seed;
            bytes message;
            bytes secret;
        }
        struct MerkleExample {
            bytes32 root;
            bytes32[] leaves;
            MerkleProof[] proofs;
        }
        struct TrieExample {
            bytes32 root;
            bytes32 key;
            bytes[] nodes;
            bytes value;
        }
        struct EnvelopeExample {
            SealedEnvelope envelope;
            bytes32 id;
            bytes32 label;
            address payer;
            bytes u;
            Opening opening;
            bytes32 openingHash;
            uint256[2] secretRoot;
        }
        struct ForcedExample {
            uint8 kind;
            address sender;
            bytes data;
            address to;
            uint256 amount;
            bytes32 item;
            bytes32 rolled;
        }
        struct ShareExample {
            bytes32[3] good;
            bytes32[3] torsion;
            bytes32 goodLeaf;
        }
    }
}

/// Deploys the contracts in the tests; the inbox is its fifth.
const DEPLOYER: Address = Address::repeat_byte(0xde);

/// Slots of the leader schedule: two rounds of all members.
fn schedule(committee: &TestCommittee) -> Vec<B256> {
    let members = &committee.members;
    (0u32..)
        .zip(members.iter().chain(members))
        .map(|(slot, member)| {
            let domain = b"BLINDFOLD-V1/schedule-leaf/";
            hash(domain, &[&slot.to_be_bytes(), member.signer.address().as_slice()])
        })
        .collect()
}

fn pad_coordinates<'a>(coordinates: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    coordinates.into_iter().flat_map(|c| [&[0; 16], c].concat()).collect()
}

fn g1(compressed: &[u8; 48]) -> Vec<u8> {
    let raw = min_pk::PublicKey::uncompress(compressed).expect("a point").serialize();
    pad_coordinates(raw.chunks(48))
}

fn g2(compressed: &[u8; 96]) -> Vec<u8> {
    let raw = min_sig::PublicKey::uncompress(compressed).expect("a point").serialize();
    let parts: Vec<_> = raw.chunks(48).collect();
    pad_coordinates([parts[1], parts[0], parts[3], parts[2]])
}

/// The y coordinate as two words.
fn root_of(compressed: &[u8; 48]) -> [U256; 2] {
    let point = g1(compressed);
    [U256::from_be_slice(&point[64..96]), U256::from_be_slice(&point[96..])]
}

fn signature(signature: &Signature65) -> sol::Signature {
    let v = 27 + u8::from(signature.y_parity);
    sol::Signature { r: signature.r.into(), s: signature.s.into(), v }
}

fn proof(proof: &MerkleProof) -> sol::MerkleProof {
    sol::MerkleProof { count: proof.count, index: proof.index, siblings: proof.siblings.clone() }
}

fn certificate(certificate: &FinalizationCertificate) -> sol::Certificate {
    let mut signers = vec![0u8; usize::from(certificate.members).div_ceil(8)];
    for signer in &certificate.signers {
        signers[usize::from(signer / 8)] |= 1 << (signer % 8);
    }
    sol::Certificate {
        view_: certificate.view,
        parentView: certificate.parent_view,
        signers: signers.into(),
        signature: g1(&certificate.signature).into(),
    }
}

fn commitment(c: &OrderCommitment) -> eip712::sol::OrderCommitment {
    eip712::sol::OrderCommitment {
        chainId: c.chain_id,
        settlement: c.settlement,
        epoch: c.epoch,
        height: c.height,
        view: c.view,
        parent: c.parent,
        timestampMs: c.timestamp_ms,
        baseFee: c.base_fee,
        count: c.count,
        orderRoot: c.order_root,
        l1Block: c.l1_block,
        l1BaseFee: c.l1_base_fee,
        forcedCursor: c.forced_cursor,
        forcedHash: c.forced_hash,
        executedRoot: c.executed_root,
    }
}

fn text(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(hex::encode_prefixed(bytes))
}

fn new_committee(members: usize) -> TestCommittee {
    TestCommittee::with(members, 6, |genesis| genesis.settlement = DEPLOYER.create(4))
}

fn sample_commitment(committee: &TestCommittee) -> OrderCommitment {
    let parent = Block::genesis(&committee.genesis).commitment.commitment;
    OrderCommitment {
        view: 300,
        base_fee: 1 << 100,
        l1_block: 1 << 40,
        l1_base_fee: 7,
        forced_cursor: 0,
        executed_root: B256::repeat_byte(9),
        ..committee.commitment(&parent, &[])
    }
}

/// A committee with the secrets with which the contracts' tests sign on their own.
fn committee_example(committee: &TestCommittee) -> Value {
    let info = &committee.genesis.committee;
    let members = info
        .members
        .iter()
        .map(|member| sol::Member {
            signer: member.signer,
            feeAddress: member.fee_address,
            voteKey: g2(&member.vote_key).into(),
            voteKeyPossession: g1(&member.vote_key_pop).into(),
            shareKey: g2(&member.verification_key).into(),
        })
        .collect();
    let genesis = sol::GenesisCommittee {
        epoch: info.epoch,
        threshold: info.threshold,
        y: g1(&info.y).into(),
        y2: g2(&info.y2).into(),
        scheduleRoot: merkle::root(&schedule(committee)),
        members,
    };
    let sample = sample_commitment(committee);
    let signed = sample.clone().sign(&committee.members[0].signer);
    // Votes with a view of two varint bytes.
    let votes: Vec<_> = committee.members[..certificate::quorum(committee.members.len())]
        .iter()
        .map(|member| {
            let namespace = committee.vote_committee().namespace();
            sign_finalize_vote(&member.vote_secret, namespace, 0, 300, 200, sample.digest())
                .expect("a secret")
        })
        .collect();
    let finalization = FinalizationCertificate {
        parent_view: 200,
        signature: aggregate_votes(&votes).expect("votes"),
        ..committee.certificate(&sample)
    };
    finalization.verify(committee.vote_committee()).expect("a valid certificate");
    let scalars = |all: Vec<[u8; 32]>| Value::Array(all.iter().map(text).collect());
    json!({
        "chainId": committee.genesis.chain_id,
        "genesisHash": committee.genesis.hash(),
        "genesis": text(genesis.abi_encode()),
        "compressedVoteKeys": info.members.iter().map(|m| text(m.vote_key)).collect::<Vec<_>>(),
        "compressedY": text(info.y),
        "voteSecrets": scalars(committee.members.iter().map(|m| m.vote_secret).collect()),
        "signerSecrets": scalars(committee.members.iter().map(|m| m.signer.expose(|s| *s)).collect()),
        "shareSecrets": scalars(committee.members.iter().map(|m| m.decryption.expose(|s| *s)).collect()),
        "commitment": text(commitment(&sample).abi_encode()),
        "digest": sample.digest(),
        "signature": text(signature(&signed.signature).abi_encode()),
        "signatureHash": keccak256(signed.signature.to_bytes()),
        "certificate": text(certificate(&finalization).abi_encode()),
    })
}

fn merkle_example(count: u32) -> Value {
    let leaves: Vec<_> = (0..count).map(|i| keccak256(i.to_be_bytes())).collect();
    let proofs = (0..count).filter_map(|i| merkle::prove(&leaves, i)).map(|p| proof(&p)).collect();
    let example = sol::MerkleExample { root: merkle::root(&leaves), leaves, proofs };
    text(example.abi_encode())
}

fn envelope_preimage(envelope: &Envelope) -> Vec<u8> {
    let mut short = envelope.clone();
    short.ciphertext.body = keccak256(&envelope.ciphertext.body).to_vec();
    // Without the three fields of the signature: 1, 33 and 33 bytes, and with the shorter length.
    let full = short.encode();
    let payload = &full[4..full.len() - 67];
    let length = u16::try_from(payload.len()).expect("short");
    let preimage = [&[ENVELOPE_TYPE, 0xf9], length.to_be_bytes().as_slice(), payload].concat();
    assert_eq!(keccak256(&preimage), envelope.id());
    preimage
}

fn envelope_example(envelope: &Envelope, opening: &Opening) -> Value {
    let payer = envelope.recover_payer().expect("signed");
    let (opening_, root) = match opening {
        Opening::Opened { seed, message } => (
            sol::Opening {
                kind: 0,
                seed: seed.into(),
                message: message.clone().into(),
                secret: Bytes::new(),
            },
            [U256::ZERO; 2],
        ),
        Opening::Undecryptable { secret } => (
            sol::Opening {
                kind: 1,
                seed: B256::ZERO,
                message: Bytes::new(),
                secret: secret.to_vec().into(),
            },
            root_of(secret),
        ),
    };
    let example = sol::EnvelopeExample {
        envelope: sol::SealedEnvelope {
            preimage: envelope_preimage(envelope).into(),
            payer: signature(&envelope.signature),
            uY: root_of(&envelope.ciphertext.u),
            wY: [U256::ZERO; 2],
            keyEpoch: 0,
        },
        id: envelope.id(),
        label: envelope.header.label(payer).0.into(),
        payer,
        u: g1(&envelope.ciphertext.u).into(),
        opening: opening_,
        openingHash: opening_hash(opening),
        secretRoot: root,
    };
    text(example.abi_encode())
}

/// Messages whose padding and whose RLP take every form.
fn opened_examples(committee: &TestCommittee) -> Vec<Value> {
    let rules = committee.genesis.admission_rules().expect("valid");
    let messages = [vec![], vec![1], vec![0x80], vec![7; 55], vec![7; 56]]
        .into_iter()
        .chain([252, 253, 255, 256, 1_500].map(|length| vec![3; length]));
    (0u64..)
        .zip(messages)
        .map(|(number, message)| {
            let payer = payer(number);
            let header = EnvelopeHeader {
                payer_nonce: number * 100,
                max_fee_per_gas: 1 << (10 * number),
                ..committee.header(0)
            };
            let label = header.label(payer.address());
            let seed = keccak256(label.0);
            let secret = Seed::from_bytes(seed.0);
            let ciphertext = blindfold_crypto::seal(&rules.committee, &label, &secret, &message)
                .expect("message fits");
            let envelope = sign_envelope(header, ciphertext, &payer);
            envelope_example(&envelope, &Opening::Opened { seed: seed.0, message })
        })
        .collect()
}

fn undecryptable_example(committee: &TestCommittee) -> (Value, Value) {
    let rules = committee.genesis.admission_rules().expect("valid");
    let payer = payer(77);
    let header = committee.header(5);
    let label = header.label(payer.address());
    let seed = Seed::from_bytes([5; 32]);
    let ciphertext =
        seal_undecryptable(&rules.committee, &label, &seed, b"nobody reads this").expect("fits");
    let envelope = sign_envelope(header, ciphertext, &payer);
    let bytes: Bytes = envelope.encode().into();
    let checked = CheckedEnvelope::check(&rules, &bytes).expect("valid");
    let public = committee.genesis.committee_public().expect("valid");
    let shares: Vec<_> = committee.members[..public.threshold()]
        .iter()
        .enumerate()
        .map(|(member, keys)| (member, keys.decryption.share(checked.ephemeral())))
        .collect();
    let secret = combine(&shares).expect("enough shares");
    let opening = Opening::Undecryptable { secret };
    let words = |share: &Share| -> [FixedBytes<32>; 3] {
        std::array::from_fn(|i| FixedBytes::from_slice(&share.0[32 * i..32 * (i + 1)]))
    };
    let good = shares[1].1;
    let share = sol::ShareExample {
        good: words(&good),
        torsion: words(&add_small_order(&good, 3)),
        goodLeaf: share_leaf(0, &good),
    };
    (envelope_example(&envelope, &opening), text(share.abi_encode()))
}

fn bundle_example(committee: &TestCommittee) -> Value {
    let share = Share([1; 96]);
    let bundle = ShareBundle::sign(
        committee.genesis.chain_id,
        committee.genesis.settlement,
        9,
        B256::repeat_byte(4),
        2,
        vec![share],
        &committee.members[2].signer,
    );
    let header = &bundle.header;
    let encoded = eip712::sol::ShareBundle {
        chainId: header.chain_id,
        settlement: header.settlement,
        height: header.height,
        commitment: header.commitment,
        sharesRoot: header.shares_root,
        member: header.member,
    };
    json!({
        "bundle": text(encoded.abi_encode()),
        "digest": header.digest(),
        "signature": text(signature(&bundle.signature).abi_encode()),
    })
}

fn trie(entries: &mut [(B256, Vec<u8>)], key: B256) -> sol::TrieExample {
    entries.sort();
    let retainer = ProofRetainer::new(vec![Nibbles::unpack(key)]);
    let mut builder = HashBuilder::default().with_proof_retainer(retainer);
    for (key, value) in entries.iter() {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    let root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    let value = entries.iter().find(|entry| entry.0 == key).map(|entry| entry.1.clone());
    sol::TrieExample {
        root,
        key,
        // Nodes below 32 bytes lie inside their parents; `eth_getProof` does not list them.
        nodes: nodes
            .into_iter()
            .filter(|(path, node)| path.is_empty() || node.len() >= 32)
            .map(|(_, node)| node)
            .collect(),
        value: value.unwrap_or_default().into(),
    }
}

fn trie_examples() -> Vec<Value> {
    let hashed = |count: u64| -> Vec<(B256, Vec<u8>)> {
        (0..count).map(|i| (keccak256(i.to_be_bytes()), alloy_rlp::encode(i * i * i + 1))).collect()
    };
    // Keys that differ in their last byte only: an extension, branches, and leaves inside branches.
    let dense: Vec<_> =
        (0..40u8).map(|i| (B256::with_last_byte(i), alloy_rlp::encode(u64::from(i) + 1))).collect();
    let mut out = Vec::new();
    for (entries, keys) in
        [(hashed(1), vec![0]), (hashed(2), vec![0, 1]), (hashed(400), vec![0, 7, 399])]
    {
        for key in keys {
            let key: u64 = key;
            out.push(trie(&mut entries.clone(), keccak256(key.to_be_bytes())));
        }
    }
    for key in [0, 16, 39] {
        out.push(trie(&mut dense.clone(), B256::with_last_byte(key)));
    }
    out.iter().map(|example| text(example.abi_encode())).collect()
}

/// An account trie with the outbox in it, and its storage with one withdrawal.
fn withdrawal_example() -> Value {
    let outbox: Address = "0x0000000000000000000000000000000000005e01".parse().expect("an address");
    let (index, sender, to, amount) = (
        U256::from(3),
        Address::repeat_byte(0x11),
        Address::repeat_byte(0x22),
        U256::from(5_000_000_000u64),
    );
    let withdrawal = keccak256((index, sender, to, amount).abi_encode());
    let slot = keccak256((withdrawal, U256::ZERO).abi_encode());
    let mut slots: Vec<_> = (0..60u64)
        .map(|i| (keccak256(keccak256(i.to_be_bytes())), alloy_rlp::encode(1u64)))
        .collect();
    slots.push((keccak256(slot), alloy_rlp::encode(1u64)));
    let storage = trie(&mut slots, keccak256(slot));
    let mut accounts: Vec<_> = (0..200u64)
        .map(|i| {
            let account =
                TrieAccount { nonce: i, balance: U256::from(i) << 40, ..TrieAccount::default() };
            (keccak256(keccak256(i.to_be_bytes())), alloy_rlp::encode(account))
        })
        .collect();
    let account = TrieAccount {
        nonce: 1,
        balance: amount,
        storage_root: storage.root,
        code_hash: B256::repeat_byte(0x77),
    };
    accounts.push((keccak256(outbox), alloy_rlp::encode(account)));
    let state = trie(&mut accounts, keccak256(outbox));
    json!({
        "withdrawal": text((index, sender, to, amount).abi_encode()),
        "stateRoot": state.root,
        "accountProof": text(state.nodes.abi_encode()),
        "storageProof": text(storage.nodes.abi_encode()),
    })
}

fn leaf_examples() -> Value {
    let id = B256::repeat_byte(0xaa);
    let opening = Opening::Opened { seed: [1; 32], message: vec![2; 3] };
    json!({
        "order": order_leaf(5, id),
        "opening": opening_leaf(1 << 40, 6, id, &opening),
        "openingHash": opening_hash(&opening),
        "share": share_leaf(7, &Share(std::array::from_fn(|i| i as u8))),
        "executedRoot": executed_root(id, B256::repeat_byte(0xbb)),
    })
}

/// Items of every kind in one queue. The data of deposits and repayments is not made here: it is what
/// [`ForcedItem::credit`] reads as the address and amount given.
fn forced_examples() -> Vec<Value> {
    let (user, poster) = (Address::repeat_byte(0x61), Address::repeat_byte(0x62));
    let to = Address::repeat_byte(0x63);
    let ether = U256::from(10u64.pow(18));
    let credit = |to: Address, wei: U256| [&to[..], &wei.to_be_bytes::<32>()].concat();
    let items = [
        (ForcedKind::Sealed, user, vec![ENVELOPE_TYPE, 0xc0, 1, 2, 3], None),
        (ForcedKind::Deposit, user, credit(to, ether), Some((to, ether))),
        (ForcedKind::EscrowDeposit, user, credit(to, U256::from(1)), Some((to, U256::from(1)))),
        (ForcedKind::Plain, poster, vec![0x5a; forced::MAX_FORCED_DATA_BYTES], None),
        (ForcedKind::Reimbursement, poster, credit(poster, ether >> 9), Some((poster, ether >> 9))),
        (ForcedKind::EscrowDeposit, to, credit(user, ether << 20), Some((user, ether << 20))),
        (ForcedKind::Plain, user, vec![0], None),
    ];
    let mut rolled = B256::ZERO;
    let examples = (0u64..).zip(items).map(|(index, (kind, sender, data, expected))| {
        let item = ForcedItem { index, kind: kind as u8, sender, data: data.into() };
        assert_eq!(item.credit(), expected);
        rolled = forced::roll(rolled, item.hash());
        let (to, amount) = expected.unwrap_or_default();
        let example = sol::ForcedExample {
            kind: item.kind,
            sender,
            data: item.data.clone(),
            to,
            amount,
            item: item.hash(),
            rolled,
        };
        text(example.abi_encode())
    });
    examples.collect()
}

fn vectors() -> Value {
    let four = new_committee(4);
    let (undecryptable, share) = undecryptable_example(&four);
    let merkle: Vec<_> = [1, 2, 3, 5, 8, 13, 20].into_iter().map(merkle_example).collect();
    json!({
        "deployer": DEPLOYER,
        "committee4": committee_example(&four),
        "committee16": committee_example(&new_committee(16)),
        "committee64": committee_example(&new_committee(64)),
        "merkle": merkle,
        "leaves": leaf_examples(),
        "opened": opened_examples(&four),
        "undecryptable": undecryptable,
        "share": share,
        "bundle": bundle_example(&four),
        "forced": forced_examples(),
        "tries": trie_examples(),
        "withdrawal": withdrawal_example(),
    })
}

#[test]
fn contracts_are_tested_with_these_bytes() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../settlement/contracts/test/vectors.json");
    let mut now = serde_json::to_string_pretty(&vectors()).expect("JSON");
    now.push('\n');
    if std::env::var_os("BLINDFOLD_REGENERATE").is_some() {
        fs::write(&path, &now).expect("can write the vectors");
    }
    let frozen = fs::read_to_string(&path).expect("vectors.json is in the repository");
    assert!(now == frozen, "a format that the settlement contracts check has changed");
}
