//! Formats are frozen: the keccak of fixed examples, kept in `testdata/formats.txt`.
//!
//! A difference means that old bytes no longer read or old signatures no longer verify. To change a
//! format on purpose, run with `BLINDFOLD_REGENERATE=1` and commit the file.

use std::{fmt::Write as _, fs, path::Path};

use super::{FOUR, payer};
use crate::*;

fn lines() -> String {
    let mut out = String::new();
    let mut add =
        |name: &str, hash: B256| writeln!(out, "{name} {hash}").expect("writing to a string");
    let committee = &*FOUR;
    let genesis = &committee.genesis;
    let checked = committee.envelope(&payer(1), committee.header(3), b"frozen");
    let envelope = checked.envelope();
    let parent = Block::genesis(genesis);
    let commitment =
        committee.commitment(&parent.commitment.commitment, std::slice::from_ref(&checked));
    let signed = commitment.clone().sign(&committee.members[0].signer);
    let envelopes = vec![checked.bytes().clone()];
    let block = Block {
        commitment: signed.clone(),
        envelopes: envelopes.clone(),
        forced: ForcedSpan::none(),
    };
    let items = (0..5).map(|index| ForcedItem {
        index,
        kind: index as u8,
        sender: Address::repeat_byte(0x11),
        data: vec![index as u8; 3].into(),
    });
    let items: Vec<_> = items.collect();
    let (forcing, forced) = committee.forcing(
        &parent.commitment.commitment,
        items.clone(),
        std::slice::from_ref(&checked),
    );
    let forcing = forcing.sign(&committee.members[0].signer);
    let forcing_block = Block { commitment: forcing.clone(), envelopes, forced: forced.clone() };
    let certificate = committee.certificate(&commitment);
    let share = committee.members[1].decryption.share(checked.ephemeral());
    let bundle = ShareBundle::sign(
        genesis.chain_id,
        genesis.settlement,
        1,
        commitment.digest(),
        1,
        vec![share],
        &committee.members[1].signer,
    );
    let opened = Opening::Opened { seed: [7; 32], message: b"frozen".to_vec() };
    let undecryptable = Opening::Undecryptable { secret: [8; 48] };
    let set = OpeningSet {
        height: 1,
        commitment: commitment.digest(),
        openings: vec![opened.clone(), undecryptable.clone()],
    };
    let receipt = AdmissionReceipt {
        chain_id: genesis.chain_id,
        settlement: genesis.settlement,
        envelope_id: envelope.id(),
        member: 2,
        height_seen: 4,
    };
    let receipt = receipt.sign(&committee.members[2].signer);
    let evidence =
        Evidence::Equivocation { first: signed.clone(), second: parent.commitment.clone() };

    add("genesis", keccak256(genesis.encode()));
    add("genesis-hash", genesis.hash());
    add("genesis-block", parent.digest());
    add("key-id", keccak256(genesis.key_id()));
    add("envelope", keccak256(checked.bytes()));
    add("envelope-id", envelope.id());
    add("envelope-signing-digest", envelope.signing_digest());
    add("envelope-label", B256::from(checked.label().0));
    add("commitment", keccak256(commitment.encode()));
    add("commitment-digest", commitment.digest());
    add("signed-commitment", keccak256(signed.encode()));
    add("block", keccak256(block.encode()));
    add("forced-item", keccak256(items[1].encode()));
    add("forced-item-hash", items[1].hash());
    add("forced-queue-hash", forcing.commitment.forced_hash);
    add("forced-span", keccak256(forced.encode()));
    add("forcing-block", keccak256(forcing_block.encode()));
    add("certificate", keccak256(certificate.encode_engine()));
    add("engine-namespace", keccak256(engine_namespace(genesis.hash())));
    add("bundle", keccak256(bundle.encode()));
    add("bundle-digest", bundle.header.digest());
    add("opening-opened", opening_hash(&opened));
    add("opening-undecryptable", opening_hash(&undecryptable));
    add("opening-set", keccak256(set.encode()));
    add(
        "opening-root",
        opening_root(1, &[(envelope.id(), &opened), (envelope.id(), &undecryptable)]),
    );
    add("order-root", order_root(&[envelope.id(), commitment.digest(), parent.digest()]));
    add("executed-root", executed_root(envelope.id(), commitment.digest()));
    add("receipt", keccak256(receipt.encode()));
    add("receipt-digest", receipt.receipt.digest());
    add("evidence", evidence.id());
    out
}

#[test]
fn formats_are_frozen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/formats.txt");
    let now = lines();
    if std::env::var_os("BLINDFOLD_REGENERATE").is_some() {
        fs::create_dir_all(path.parent().expect("has a parent")).expect("can create testdata");
        fs::write(&path, &now).expect("can write testdata");
    }
    let frozen = fs::read_to_string(&path).expect("testdata/formats.txt is in the repository");
    for (now, frozen) in now.lines().zip(frozen.lines()) {
        assert_eq!(now, frozen, "a format changed");
    }
    assert_eq!(now.lines().count(), frozen.lines().count(), "a format was added or removed");
}

/// EIP-712 type strings, which contracts will hash: spelled out once more on purpose.
#[test]
fn eip712_types_are_frozen() {
    use alloy_sol_types::SolStruct as _;
    assert_eq!(
        eip712::sol::OrderCommitment::eip712_encode_type(),
        "OrderCommitment(uint64 chainId,address settlement,uint64 epoch,uint64 height,uint64 view,bytes32 parent,\
         uint64 timestampMs,uint128 baseFee,uint32 count,bytes32 orderRoot,uint64 l1Block,uint64 l1BaseFee,\
         uint64 forcedCursor,bytes32 forcedHash,bytes32 executedRoot)"
    );
    assert_eq!(
        eip712::sol::ShareBundle::eip712_encode_type(),
        "ShareBundle(uint64 chainId,address settlement,uint64 height,bytes32 commitment,bytes32 sharesRoot,uint32 member)"
    );
    assert_eq!(
        eip712::sol::AdmissionReceipt::eip712_encode_type(),
        "AdmissionReceipt(uint64 chainId,address settlement,bytes32 envelopeId,uint32 member,uint64 heightSeen)"
    );
}
