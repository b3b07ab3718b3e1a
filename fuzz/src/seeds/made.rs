//! Seeds made of the fixed committee: at least one that each target accepts.

use super::Seeds;
use crate::{
    node::{
        config::NodeConfig,
        messages::{ShareMessage, pack_envelopes},
        rows::{FinalProof, HeightRecord, Place},
    },
    opened, settled, stateless,
    world::{COMMITTEE, ENVELOPES, GENESIS_COMMITMENT, PAYERS, key, transfer},
};
use alloy_primitives::{Address, B256, FixedBytes, U256};
use blindfold_committee::{JournalStore as _, MemoryJournal, SigningJournal, Slot, deal_committee};
use blindfold_execution::{genesis_block, state::Column};
use blindfold_sdk::rpc::{
    CommitmentDocument, CommitteeDocument, EvidenceDocument, ExecutedNotice, ForcedDocument,
    ForcedStatus, HeadDocument, HeightDocument, OpenedNotice, OpeningDocument, OrderedNotice,
    PayerDocument, PendingDocument, ReceiptDocument, SendDocument,
};
use blindfold_wire::{
    AdmissionReceipt, BadShare, Block, Evidence, ForcedItem, ForcedSpan, OpeningSet,
    OrderCommitment, ShareBundle, SignedCommitment, SignedReceipt, SkipReason, TxStatus,
    commitment::order_proof, encode_opening, share_proof,
};
use serde::Serialize;
use std::sync::Arc;

/// Envelopes in the block that seeds speak of.
const COUNT: usize = 3;

/// Every made seed.
pub fn made() -> Seeds {
    let mut seeds = Seeds::default();
    ordering(&mut seeds);
    opening(&mut seeds);
    genesis(&mut seeds);
    rows(&mut seeds);
    keys(&mut seeds);
    documents(&mut seeds);
    choices(&mut seeds);
    for (target, seed) in stateless::seeds().into_iter().chain(settled::seeds()) {
        seeds.add(target, seed);
    }
    seeds
}

fn commitment() -> OrderCommitment {
    COMMITTEE.commitment(&GENESIS_COMMITMENT, &ENVELOPES[..COUNT])
}

fn signed() -> SignedCommitment {
    commitment().sign(&COMMITTEE.members[0].signer)
}

fn block() -> Block {
    let envelopes = ENVELOPES[..COUNT].iter().map(|envelope| envelope.bytes().clone()).collect();
    Block { commitment: signed(), envelopes, forced: ForcedSpan::none() }
}

/// As [`block`], consuming forced items.
fn forcing_block() -> Block {
    let items = (0..5).map(|index| ForcedItem {
        index,
        kind: index as u8,
        sender: Address::repeat_byte(4),
        data: vec![index as u8; 52].into(),
    });
    let items = items.collect();
    let (commitment, forced) = COMMITTEE.forcing(&GENESIS_COMMITMENT, items, &ENVELOPES[..COUNT]);
    let commitment = commitment.sign(&COMMITTEE.members[0].signer);
    Block { commitment, forced, ..block() }
}

fn bundle(member: usize) -> ShareBundle {
    let shares = opened::right().take(COUNT).map(|(_, shares)| shares[member]).collect();
    let signer = &COMMITTEE.members[member].signer;
    let genesis = &COMMITTEE.genesis;
    let (chain, settlement) = (genesis.chain_id, genesis.settlement);
    ShareBundle::sign(chain, settlement, 1, commitment().digest(), member as u32, shares, signer)
}

fn opening_set() -> OpeningSet {
    let openings = opened::right().take(COUNT).map(|(opening, _)| opening.clone()).collect();
    OpeningSet { height: 1, commitment: commitment().digest(), openings }
}

fn evidence() -> Vec<Evidence> {
    let other = OrderCommitment { timestamp_ms: 5, ..commitment() };
    let equivocation = Evidence::Equivocation {
        first: signed(),
        second: other.clone().sign(&COMMITTEE.members[0].signer),
    };
    let mut second = bundle(1);
    second.header.commitment = other.digest();
    second.signature = COMMITTEE.members[1].signer.sign_digest(second.header.digest());
    let double = Evidence::DoubleRelease {
        first: bundle(1).signed_header(),
        second: second.signed_header(),
    };
    // Member 2 shows member 3's shares.
    let shares: Vec<_> = opened::right().take(COUNT).map(|(_, shares)| shares[3]).collect();
    let genesis = &COMMITTEE.genesis;
    let wrong = ShareBundle::sign(
        genesis.chain_id,
        genesis.settlement,
        1,
        commitment().digest(),
        2,
        shares,
        &COMMITTEE.members[2].signer,
    );
    let ids: Vec<_> = ENVELOPES[..COUNT].iter().map(|envelope| envelope.id()).collect();
    let bad = BadShare {
        bundle: wrong.signed_header(),
        share: wrong.shares[1],
        share_proof: share_proof(&wrong.shares, 1).expect("in range"),
        commitment: commitment(),
        envelope: ENVELOPES[1].bytes().to_vec(),
        envelope_proof: order_proof(&ids, 1).expect("in range"),
    };
    vec![equivocation, double, Evidence::BadShare(Box::new(bad))]
}

fn receipt() -> SignedReceipt {
    let genesis = &COMMITTEE.genesis;
    AdmissionReceipt {
        chain_id: genesis.chain_id,
        settlement: genesis.settlement,
        envelope_id: ENVELOPES[0].id(),
        member: 0,
        height_seen: 7,
    }
    .sign(&COMMITTEE.members[0].signer)
}

fn ordering(seeds: &mut Seeds) {
    for envelope in ENVELOPES.iter() {
        seeds.add("envelope", envelope.bytes().to_vec());
    }
    let envelopes = ENVELOPES.iter().map(|envelope| envelope.bytes());
    for message in pack_envelopes(envelopes) {
        seeds.add("envelope_message", message);
    }
    for block in [block(), forcing_block(), Block::genesis(&COMMITTEE.genesis)] {
        let encoded = block.encode();
        let length = (encoded.len() as u32).to_be_bytes();
        seeds.add("ordered_block", [&length[..], &encoded].concat());
        seeds.add("block", encoded);
        seeds.add("commitment", block.commitment.commitment.encode());
        seeds.add("signed_commitment", block.commitment.encode());
        seeds.add("forced_span", block.forced.encode());
        for item in block.forced.items() {
            seeds.add("forced_item", item.encode());
        }
    }
    for commitment in [commitment(), GENESIS_COMMITMENT.clone()] {
        let certificate = COMMITTEE.certificate(&commitment);
        seeds.add("certificate", [&[4], &certificate.encode_engine()[..]].concat());
    }
    // Every member's word for the views that it may lead, then a conflicting one.
    let mut gossip = Vec::new();
    for (view, timestamp_ms) in [(1, 1), (2, 1), (2, 2), (3, 1)] {
        for member in &COMMITTEE.members {
            let commitment = OrderCommitment { view, timestamp_ms, ..commitment() };
            let signed = commitment.sign(&member.signer).encode();
            gossip.extend_from_slice(&(signed.len() as u16).to_be_bytes());
            gossip.extend_from_slice(&signed);
        }
    }
    gossip.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    seeds.add("watch", gossip);
    seeds.add("receipt", receipt().encode());
    for proof in 0..COUNT as u32 {
        let ids: Vec<_> = ENVELOPES[..COUNT].iter().map(|envelope| envelope.id()).collect();
        seeds.add("merkle_proof", order_proof(&ids, proof).expect("in range").encode());
    }
}

fn opening(seeds: &mut Seeds) {
    for (opening, _) in opened::right() {
        seeds.add("opening", encode_opening(opening));
    }
    seeds.add("opening_set", opening_set().encode());
    seeds.add("bundle", bundle(0).encode());
    seeds.add("bundle_header", bundle(0).header.encode());
    seeds.add("signed_bundle_header", bundle(0).signed_header().encode());
    let mut messages = vec![
        ShareMessage::Bundle(bundle(0)),
        ShareMessage::Wanted(7),
        ShareMessage::Openings(opening_set()),
    ];
    for evidence in evidence() {
        seeds.add("evidence", evidence.encode());
        messages.push(ShareMessage::Evidence(Box::new(evidence)));
    }
    for message in messages {
        seeds.add("share_message", message.encode());
    }
    for payer in 0..PAYERS {
        seeds.add("inner_transaction", transfer(payer, 0));
    }
}

fn genesis(seeds: &mut Seeds) {
    seeds.add("genesis_rlp", COMMITTEE.genesis.encode());
    seeds.add("genesis_json", COMMITTEE.genesis.to_json());
    if let Ok(dealt) = deal_committee(&[1], [7; 32]) {
        seeds.add("member_secrets", dealt.secrets[0].to_text().as_bytes());
    }
    seeds.add("node_config", NodeConfig::default_toml_with_comments());
}

fn rows(seeds: &mut Seeds) {
    let released = bundle(0).signed_header();
    for (descendants, released) in [(vec![], Some(released)), (vec![commitment()], None)] {
        let certificate = COMMITTEE.certificate(&commitment());
        let record = HeightRecord {
            digest: commitment().digest(),
            proof: FinalProof { certificate, descendants },
            released,
            ordered_ms: 1,
            opened_ms: 2,
            executed_ms: 0,
        };
        seeds.add("height_record", record.encode());
    }
    let block = genesis_block(&COMMITTEE.genesis).expect("valid genesis");
    seeds.add("block_record", block.record.encode());
    for (column, _, value) in block.writes().iter() {
        let (Some(value), Some(kind)) = (value, row_kind(column)) else { continue };
        seeds.add("state_row", [&[kind], value].concat());
    }
    seeds.add("state_row", [&[3], &Place { height: 3, at: 1 }.encode()[..]].concat());
    seeds.add("state_row", [&[4][..], &7u64.to_be_bytes()].concat());

    let store = Arc::new(MemoryJournal::default());
    let slot = Slot::Bundle { height: 1 };
    let bundle = bundle(0);
    let journal = SigningJournal::new(Arc::clone(&store));
    if journal.sign_once(slot, bundle.header.digest(), || bundle.encode()).is_ok()
        && let Ok(Some(record)) = store.get(&slot.key())
    {
        seeds.add("journal_record", record);
    }
}

/// The choice of the target `state_row` that reads rows of `column`.
pub(super) fn row_kind(column: Column) -> Option<u8> {
    match column {
        Column::Accounts => Some(0),
        Column::Meta => Some(1),
        Column::EscrowHistory => Some(2),
        _ => None,
    }
}

fn keys(seeds: &mut Seeds) {
    let committee = &COMMITTEE.genesis.committee;
    let mut add = |kind: u8, bytes: &[u8]| seeds.add("keys", [&[kind], bytes].concat());
    add(0, &committee.y);
    add(1, &[3; 32]);
    add(2, &[3; 32]);
    add(3, &receipt().signature.to_bytes());
    for member in &committee.members {
        add(4, &member.vote_key);
        add(5, &member.identity);
    }
}

fn documents(seeds: &mut Seeds) {
    let (commitment, block) = (commitment(), block());
    let digest = commitment.digest();
    let certificate = COMMITTEE.certificate(&commitment).encode_engine();
    let receipt = ReceiptDocument::from(&receipt());
    let envelope = &ENVELOPES[0];
    let (opening, _) = opened::right().next().expect("there are envelopes");
    let evidence = &evidence()[0];
    let mut add = |kind: u8, json: Option<String>| {
        if let Some(json) = json {
            seeds.add("documents", [&[kind], json.as_bytes()].concat());
        }
    };
    fn json(document: &impl Serialize) -> Option<String> {
        serde_json::to_string(document).ok()
    }
    add(0, CommitteeDocument::from_genesis(&COMMITTEE.genesis).ok().as_ref().and_then(json));
    let sent = SendDocument { envelope_id: envelope.id(), receipt: receipt.clone() };
    add(1, json(&sent));
    add(2, json(&receipt));
    let head = HeadDocument {
        ordered_height: 5,
        opened_height: 4,
        executed_height: 3,
        executed_hash: B256::ZERO,
        next_base_fee_wei: 1_000_000_000,
        least_max_fee_wei: 2_000_000_000,
        l1_base_fee_wei: 3,
        suggested_priority_fee_wei: 1,
        uncertified_releases: 0,
    };
    add(3, json(&head));
    let payer = PayerDocument {
        address: key(0).address(),
        next_nonce: 1,
        pending_nonce: 2,
        escrow_wei: U256::from(1) << 70,
        executed_height: 3,
    };
    add(4, json(&payer));
    let ordered = CommitmentDocument {
        height: 1,
        digest,
        leader: 0,
        leader_address: Address::repeat_byte(3),
        commitment: block.commitment.encode().into(),
        envelope_ids: vec![envelope.id()],
        certificate: Some(certificate.clone().into()),
        certified_by: Some(digest),
    };
    add(5, json(&ordered));
    let pending = PendingDocument {
        envelope_id: envelope.id(),
        payer: envelope.payer(),
        envelope: envelope.bytes().clone(),
    };
    add(6, json(&pending));
    let height = HeightDocument {
        height: 1,
        digest,
        leader: 0,
        count: 3,
        proposed_ms: 1,
        ordered_ms: 2,
        opened_ms: 3,
        executed_ms: 4,
        commitment: commitment.encode().into(),
        certificate: certificate.into(),
        descendants: vec![commitment.encode().into()],
        released: Some(bundle(0).signed_header().encode().into()),
        l1_block: 9,
        l1_base_fee_wei: 3,
        forced: vec![ForcedDocument {
            index: 2,
            kind: "deposit".to_owned(),
            sender: Address::repeat_byte(4),
            data: vec![1; 52].into(),
            outcome: Some(ForcedStatus::Credited {
                to: Address::repeat_byte(1),
                wei: U256::from(7),
            }),
        }],
        state_root: Some(B256::repeat_byte(7)),
        executed: 3,
        skipped: 0,
        undecryptable: 0,
    };
    add(7, json(&height));
    let offence = EvidenceDocument {
        id: evidence.id(),
        offence: evidence.offence().to_owned(),
        evidence: evidence.encode().into(),
    };
    add(8, json(&offence));
    let opened = OpeningDocument {
        height: 1,
        position: 0,
        envelope_id: envelope.id(),
        envelope: envelope.bytes().clone(),
        decryptable: true,
        opening: encode_opening(opening).into(),
    };
    add(9, json(&opened));
    let notice = OrderedNotice {
        height: 1,
        digest,
        leader: 2,
        timestamp_ms: 9,
        envelope_ids: vec![envelope.id()],
    };
    add(10, json(&notice));
    add(11, json(&OpenedNotice { height: 1, opened: 3, undecryptable: 0 }));
    let block_hash = FixedBytes::repeat_byte(4);
    let notice = ExecutedNotice { height: 1, block_hash, state_root: block_hash, executed: 2 };
    add(12, json(&notice));
    for status in [
        TxStatus::Pending,
        TxStatus::Ordered { height: 3, position: 1 },
        TxStatus::Executed {
            height: 3,
            position: 1,
            tx_hash: B256::ZERO,
            tx_index: 0,
            success: true,
        },
        TxStatus::Skipped { height: 3, position: 1, reason: SkipReason::NonceTooLow },
        TxStatus::Replaced { by: B256::ZERO },
        TxStatus::Expired { height: 9 },
    ] {
        if let Ok(json) = serde_json::to_string(&status) {
            seeds.add("status", json);
        }
    }
}

/// Inputs that are choices, not encodings.
fn choices(seeds: &mut Seeds) {
    for template in 0..ENVELOPES.len() as u8 {
        // One or three unchanged envelopes; a changed one; enough for a large batch.
        seeds.add("admission", vec![0, template, 0]);
        seeds.add("admission", vec![0xe2, template, 0, template, 0, 0, 0]);
        seeds.add("admission", vec![0, template, 1, 1, 6, 3, 1]);
        seeds.add("admission", [&[0][..], &[template, 0].repeat(18)].concat());
        seeds.add("ciphertext", vec![template, 0, 6, 1, 1]);
        seeds.add("ciphertext", vec![template, 0, 1, 2]);
        // Swapped twice, it is as it was.
        seeds.add("ciphertext", vec![template, 1, 4, 4]);
        seeds.add("shares", vec![template, 3, 0, 5, 1, 5, 2, 5]);
        seeds.add("shares", vec![template, 4, 0, 1, 7, 7, 1, 5, 2, 5, 3, 5]);
        // Two positions, three or four members; the first member's share with order 3 or of another.
        seeds.add("height", vec![1, template, 0, 3, 0, 1, 2]);
        seeds.add("height", vec![1, template, 0, 4, 3, 1, 0, 2, 1, 0, 4, 0, 0]);
        seeds.add("height", vec![1, 1, template, 5, 1, 1, 4, 2, 0, 2, 0, 2, 1, 3, 3, 6, 0]);
        seeds.add("served_opening", vec![template, 0]);
        seeds.add("served_opening", vec![template, 1, 3, 3]);
    }
    for length in [3u8, 12, 40] {
        let steps: Vec<u8> =
            (0..length).flat_map(|step| [step % 8, step.wrapping_mul(7), step, 9]).collect();
        seeds.add("mempool", steps);
    }
    for payer in 0..PAYERS {
        let inner = transfer(payer, 0);
        let length = (inner.len() as u16).to_be_bytes();
        seeds.add("execution", [&[0, 1][..], &length, &inner].concat());
        seeds.add("execution", [&[2, 0, 0, 1][..], &length, &inner].concat());
    }
    // A well-signed creation: kind, sender, nonce, gas, fees, value, length, code.
    let code = [0x60, 0x00, 0x60, 0x00, 0x55, 0x00];
    let mut creation = vec![0, 2, 0, 0, 0];
    for word in [0xffffu16, 5_000, 1_000] {
        creation.extend_from_slice(&word.to_be_bytes());
    }
    creation.extend_from_slice(&[0; 9]);
    creation.extend_from_slice(&[0, code.len() as u8]);
    creation.extend_from_slice(&code);
    seeds.add("execution", creation);
}
