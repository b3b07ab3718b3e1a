//! Files of blocks to be executed again, right and wrong.

use std::sync::LazyLock;

use alloy_primitives::{Bytes, U64, U128, U256};
use blindfold_crypto::{Seed, decide, testkit::seal_undecryptable};
use blindfold_wire::{Block, CheckedEnvelope, sign_envelope};

use super::mixes::{self, Op};
use super::witness_of;
use crate::bal::BlockAccessList;
use crate::escrow::ESCROW_ADDRESS;
use crate::tests::harness::*;
use crate::witness::{
    FileOpening, Location, ReplayError, ReplayFile, ReplayFileError, ReplayParts, ReplayReport,
    WitnessFault, replay,
};

/// How an envelope really opens.
fn open(net: &Net, item: &mut Item) {
    let public = net.genesis().committee_public().expect("valid");
    let share = net.committee.members[0].decryption.share(item.envelope.ephemeral());
    let sealed = &item.envelope.envelope().ciphertext;
    let verdict = decide(&public, item.envelope.label(), sealed, &[(0, share)]);
    item.opening = verdict.opening.expect("one share is enough");
}

/// An envelope that really does not open.
fn lost(net: &mut Net, payer: u8) -> Item {
    let rules = net.genesis().admission_rules().expect("valid");
    let header = net.header(payer, 1 << 15);
    let label = header.label(key(payer).address());
    let sealed = seal_undecryptable(&rules.committee, &label, &Seed::from_bytes([5; 32]), b"x");
    let envelope = sign_envelope(header, sealed.expect("short"), &key(payer));
    let envelope = CheckedEnvelope::check(&rules, &envelope.encode()).expect("valid");
    let opening = blindfold_wire::Opening::Undecryptable { secret: [0; 48] };
    Item { envelope, opening }
}

/// The file of a block with one of everything.
fn file() -> ReplayFile {
    static FILE: LazyLock<ReplayFile> = LazyLock::new(make);
    FILE.clone()
}

fn make() -> ReplayFile {
    let mut net = mixes::net();
    net.run(Vec::new());
    let ops = [
        (2, Op::ForcedStore(5, 1)),
        (1, Op::ForcedDeposit(1, true)),
        (1, Op::Pay(3, 5)),
        (2, Op::Store(3, 7)),
        (2, Op::Store(4, 0)),
        (3, Op::Stale),
        (4, Op::Garbage),
        (1, Op::Hash(2)),
        (3, Op::Create(6)),
        (4, Op::Delegate(true)),
    ];
    let mut items = mixes::seal_all(&mut net, &ops);
    let lost = lost(&mut net, 1);
    items.push(lost);
    items.iter_mut().for_each(|item| open(&net, item));
    let (commitment, block) = net.execute(&items);
    let certificate = net.committee.certificate(&commitment);
    let ordered = Block {
        commitment: commitment.sign(&net.committee.members[0].signer),
        envelopes: items.iter().map(|item| item.envelope.bytes().clone()).collect(),
        forced: (*net.next_batch(&items).1.forced).clone(),
    };
    let openings: Vec<_> = items.iter().map(|item| item.opening.clone()).collect();
    let parts = ReplayParts {
        genesis: net.genesis(),
        block: &ordered,
        certificate: &certificate,
        descendants: &[],
        openings: &openings,
        record: &block.record,
        access_list: &BlockAccessList::of(&block.access),
        witness: &witness_of(&net, &block),
    };
    ReplayFile::new(&parts).expect("pairs up")
}

fn report(file: &ReplayFile) -> ReplayReport {
    replay(file).expect("can be judged")
}

/// Position and place of the first difference after a change of the file, and that there was one.
fn first(change: impl FnOnce(&mut ReplayFile)) -> (Option<usize>, Location) {
    let mut file = file();
    change(&mut file);
    let report = report(&file);
    assert!(!report.ok);
    let first = report.first().expect("a difference").clone();
    assert_ne!(first.claimed, first.computed);
    (first.position, first.location)
}

#[test]
fn a_true_file_holds() {
    let file = file();
    let json = file.to_json();
    let read = ReplayFile::from_json(json.as_bytes()).expect("own output");
    assert_eq!(read, file);
    let report = report(&read);
    assert!(report.ok, "{:#?}", report.differences);
    assert_eq!((report.executed, report.skipped, report.undecryptable), (6, 2, 1));
    assert_eq!(report.forced, 2);
    assert_eq!(report.state_root, Some(file.claimed.header.state_root));
    assert_eq!(report.genesis_hash, file.genesis.hash());
}

#[test]
fn a_wrong_claim_is_named_by_position_place_and_values() {
    let field = |field: &str| field.to_owned();
    assert_eq!(
        first(|file| file.claimed.receipts[3].gas_used += U64::from(1)),
        (Some(2), Location::Receipt { field: field("gasUsed") })
    );
    assert_eq!(
        first(|file| file.claimed.receipts[5].effective_gas_price = U128::ZERO),
        // The fifth transaction after the forced one stands at position 6: two before it were skipped.
        (Some(6), Location::Receipt { field: field("effectiveGasPrice") })
    );
    assert_eq!(
        first(|file| file.claimed.outcomes[3].charge_wei = U256::ZERO),
        (Some(3), Location::Outcome { field: field("chargeWei") })
    );
    assert_eq!(
        first(|file| file.claimed.outcomes[4].reason = None),
        (Some(4), Location::Outcome { field: field("reason") })
    );
    assert_eq!(
        first(|file| file.claimed.header.gas_used += 1),
        (None, Location::Header { field: field("gasUsed") })
    );
    assert_eq!(
        first(|file| file.claimed.header.beneficiary = SINK),
        (None, Location::Header { field: field("miner") })
    );
    assert_eq!(
        first(|file| file.claimed.opening_root.0[0] ^= 1),
        (None, Location::Root { field: "openingRoot" })
    );
}

#[test]
fn a_wrong_state_is_named_by_account_and_slot() {
    // The root of the claim is another one, and all that is known of why is its access list.
    let account = |file: &mut ReplayFile,
                   change: &mut dyn FnMut(&mut alloy_eip7928::AccountChanges)| {
        file.claimed.header.state_root.0[0] ^= 1;
        file.claimed.access_list.iter_mut().for_each(change);
    };
    assert_eq!(
        first(|file| account(file, &mut |account| {
            if account.address == mixes::STORE {
                // Slot 5 was written by the forced item.
                account.storage_changes[1].changes[0].new_value = U256::from(3);
            }
        })),
        (Some(2), Location::Slot { address: mixes::STORE, slot: U256::from(4) })
    );
    assert_eq!(
        first(|file| account(file, &mut |account| {
            if account.address == BENEFICIARY {
                account.balance_changes[6].post_balance += U256::from(1);
            }
        })),
        (Some(5), Location::Account { address: BENEFICIARY, field: "balance" })
    );
    // The escrow is first touched by the deposit among the forced items.
    let mut without = file();
    without.claimed.access_list.retain(|account| account.address != ESCROW_ADDRESS);
    let report = report(&without);
    let first_difference = report.first().expect("a difference");
    assert_eq!((first_difference.position, first_difference.item), (None, Some(1)));
    assert_eq!(
        first(|file| file.claimed.header.state_root.0[0] ^= 1),
        (None, Location::Header { field: "stateRoot".to_owned() })
    );
}

#[test]
fn another_order_is_named() {
    let order = |field: &str| Location::Order { field: field.to_owned() };
    assert_eq!(first(|file| file.envelopes.swap(0, 1)), (None, order("orderRoot")),);
    assert_eq!(first(|file| drop(file.envelopes.pop())), (None, order("count")));
    // Any clear field, and any byte of an opening, is bound to the id.
    assert_eq!(
        first(|file| file.envelopes[1].max_fee_per_gas += U128::from(1)),
        (Some(1), order("envelope id"))
    );
    assert_eq!(first(|file| file.envelopes[1].payer = SINK), (Some(1), order("envelope id")));
    let message = |file: &mut ReplayFile| {
        if let FileOpening::Opened { message, .. } = &mut file.envelopes[2].opening {
            *message = [&message[..], &[0]].concat().into();
        }
    };
    assert_eq!(first(message), (Some(2), order("envelope id")));
    let secret = |file: &mut ReplayFile| {
        if let FileOpening::Undecryptable { secret, .. } = &mut file.envelopes[8].opening {
            let mut other = secret.to_vec();
            other[20] ^= 1;
            *secret = other.into();
        }
    };
    assert_eq!(first(secret), (Some(8), order("opening")));
    // Neither signature can be another's.
    let signature = |file: &mut ReplayFile| {
        file.envelopes[0].signature = file.envelopes[1].signature.clone();
    };
    assert_eq!(first(signature).0, Some(0));
    let leader = |file: &mut ReplayFile| {
        let signed = blindfold_wire::SignedCommitment::decode(&file.commitment).expect("own");
        file.commitment = signed.commitment.sign(&key(1)).encode().into();
    };
    assert_eq!(first(leader), (None, order("leader")));
    let certificate = |file: &mut ReplayFile| {
        let mut bytes = file.certificate.to_vec();
        let payload = bytes.len() - 48 - 1 - 8 - 32;
        bytes[payload] ^= 1;
        file.certificate = bytes.into();
    };
    assert_eq!(first(certificate), (None, order("certificate")));
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    let refused = |change: fn(&mut ReplayFile)| {
        let mut file = file();
        change(&mut file);
        let read = ReplayFile::from_json(file.to_json().as_bytes()).map_err(ReplayError::from);
        read.and_then(|file| replay(&file)).expect_err("refused")
    };
    let fault = refused(|file| drop(file.witness.state.remove(0)));
    assert!(matches!(fault, ReplayError::Witness(WitnessFault::LacksNode { .. })), "{fault}");
    let fault = refused(|file| file.witness.state.reverse());
    assert!(matches!(fault, ReplayError::File(ReplayFileError::Witness(_))), "{fault}");
    let fault = refused(|file| file.claimed.access_list.reverse());
    assert!(matches!(fault, ReplayError::File(ReplayFileError::AccessList(_))), "{fault}");
    let fault = refused(|file| file.version = 1);
    assert!(matches!(fault, ReplayError::File(ReplayFileError::Version { got: 1 })), "{fault}");
    let fault = refused(|file| file.commitment = Bytes::from_static(&[0xc0]));
    assert!(matches!(fault, ReplayError::File(ReplayFileError::Field { .. })), "{fault}");
    let fault = refused(|file| file.envelopes[0].signature = Bytes::new());
    assert!(matches!(fault, ReplayError::File(ReplayFileError::Envelope { .. })), "{fault}");
    let json = file().to_json();
    assert!(matches!(ReplayFile::from_json(b"{}"), Err(ReplayFileError::Json(_))));
    let cut = &json.as_bytes()[..json.len() - 1];
    assert!(matches!(ReplayFile::from_json(cut), Err(ReplayFileError::Json(_))));
}

#[test]
fn a_wrong_forced_item_is_named() {
    let item = |change: &dyn Fn(&mut ReplayFile)| {
        let mut file = file();
        change(&mut file);
        let report = report(&file);
        let first = report.first().expect("a difference").clone();
        (first.item, first.position, first.location)
    };
    let field = |field: &str| Location::Forced { field: field.to_owned() };
    assert_eq!(
        item(&|file| file.claimed.forced[0].success = None),
        (Some(0), None, field("success"))
    );
    assert_eq!(item(&|file| file.claimed.forced[1].wei = None), (Some(1), None, field("wei")));
    assert_eq!(
        item(&|file| file.claimed.receipts[0].gas_used += U64::from(1)),
        (Some(0), None, Location::Receipt { field: "gasUsed".to_owned() })
    );
    let slot = Location::Slot { address: mixes::STORE, slot: U256::from(5) };
    assert_eq!(
        item(&|file| {
            let store = file.claimed.access_list.iter_mut();
            let store = store.filter(|account| account.address == mixes::STORE);
            let last = store.flat_map(|account| &mut account.storage_changes).last();
            last.expect("written").changes[0].new_value = U256::from(3);
        }),
        (Some(0), None, slot)
    );
    // Items are bound to the commitment: fewer, others, or none are another order.
    let order = (None, None, Location::Order { field: "forced".to_owned() });
    assert_eq!(item(&|file| file.forced = Bytes::from_static(&[0xc0])), order);
    let shortened = |file: &mut ReplayFile| {
        let span = blindfold_wire::ForcedSpan::decode(&file.forced).expect("own");
        let items = span.items()[1..].to_vec();
        let parent = span.parent().expect("consumed before").clone();
        file.forced = blindfold_wire::ForcedSpan::after(&parent, items).encode().into();
    };
    assert_eq!(item(&shortened), order);
}
