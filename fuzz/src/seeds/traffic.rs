//! Seeds from a devnet that ran: the rows of a member's database, as `blindfold inspect rows` wrote
//! them, and the files beside it.

use super::{Seeds, made::row_kind};
use crate::node::{
    messages::{ShareMessage, pack_envelopes},
    rows::HeightRecord,
};
use blindfold_execution::state::Column;
use blindfold_ordering::block::LENGTH_PREFIX_BYTES;
use blindfold_wire::{
    Block, Evidence, Genesis, Opening, OpeningSet, SignedCommitment, encode_opening,
};
use std::{fs, io, path::Path};

/// Members of the devnet.
const MEMBERS: usize = 4;

/// Sorts the rows in `rows` (a folder per family, a file per row) and the devnet's own `files` into
/// seeds.
///
/// # Errors
/// If a folder cannot be read.
pub fn from_devnet(rows: &Path, files: &Path, seeds: &mut Seeds) -> io::Result<()> {
    for folder in sorted(rows)? {
        let family = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for row in sorted(&folder)? {
            row_of(family, &fs::read(row)?, seeds);
        }
    }
    let genesis = fs::read_to_string(files.join("genesis.json"))?;
    if let Ok(genesis) = Genesis::from_json(&genesis) {
        seeds.add("genesis_rlp", genesis.encode());
        for member in &genesis.committee.members {
            seeds.add("keys", [&[4], &member.vote_key[..]].concat());
            seeds.add("keys", [&[5], &member.identity[..]].concat());
        }
        seeds.add("keys", [&[0], &genesis.committee.y[..]].concat());
    }
    seeds.add("genesis_json", genesis);
    for folder in sorted(files)?.into_iter().filter(|path| path.is_dir()) {
        for (file, target) in [("node.toml", "node_config"), ("secrets.toml", "member_secrets")] {
            if let Ok(text) = fs::read(folder.join(file)) {
                seeds.add(target, text);
            }
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}

fn row_of(family: &str, row: &[u8], seeds: &mut Seeds) {
    let column = Column::ALL.into_iter().find(|column| column.name() == family);
    if let Some(kind) = column.and_then(row_kind) {
        seeds.add("state_row", [&[kind], row].concat());
    }
    match family {
        "blocks" => {
            seeds.add("ordered_block", row);
            if let Some(Ok(block)) = row.get(LENGTH_PREFIX_BYTES..).map(Block::decode) {
                block_of(&block, seeds);
            }
        }
        "proposals" => {
            if let Ok(block) = Block::decode(row) {
                block_of(&block, seeds);
            }
        }
        "certificates" => {
            if let Some(certificate) = row.get(32..) {
                seeds.add("certificate", [&[MEMBERS as u8], certificate].concat());
            }
        }
        "heights" => {
            seeds.add("height_record", row);
            if let Some(record) = HeightRecord::decode(row, MEMBERS) {
                for link in &record.proof.descendants {
                    seeds.add("commitment", link.encode());
                }
                if let Some(released) = &record.released {
                    seeds.add("signed_bundle_header", released.encode());
                    seeds.add("bundle_header", released.header.encode());
                }
            }
        }
        "digests" | "block_hashes" => seeds.add("state_row", [&[4], row].concat()),
        "envelopes" | "transactions" => seeds.add("state_row", [&[3], row].concat()),
        "first_seen" => {
            if let Ok(signed) = SignedCommitment::decode(row) {
                commitment_of(&signed, seeds);
            }
        }
        "openings" => {
            if let Ok(set) = OpeningSet::decode(row) {
                seeds.add("opening_set", row);
                for opening in &set.openings {
                    opening_of(opening, seeds);
                }
                seeds.add("share_message", ShareMessage::Openings(set).encode());
            }
        }
        "executed" => seeds.add("block_record", row),
        "mempool" => seeds.add("envelope", row),
        "evidence" => {
            if let Ok(evidence) = Evidence::decode(row) {
                seeds.add("evidence", row);
                seeds.add("share_message", ShareMessage::Evidence(Box::new(evidence)).encode());
            }
        }
        // Only signatures are journaled: bundles are made again from the key.
        "journal" => seeds.add("journal_record", row),
        _ => {}
    }
}

fn block_of(block: &Block, seeds: &mut Seeds) {
    seeds.add("block", block.encode());
    commitment_of(&block.commitment, seeds);
    for envelope in &block.envelopes {
        seeds.add("envelope", envelope.to_vec());
    }
    for message in pack_envelopes(&block.envelopes) {
        seeds.add("envelope_message", message);
    }
}

fn commitment_of(signed: &SignedCommitment, seeds: &mut Seeds) {
    let bytes = signed.encode();
    seeds.add("watch", [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat());
    seeds.add("signed_commitment", bytes);
    seeds.add("commitment", signed.commitment.encode());
}

fn opening_of(opening: &Opening, seeds: &mut Seeds) {
    seeds.add("opening", encode_opening(opening));
    if let Opening::Opened { message, .. } = opening {
        let length = (message.len() as u16).to_be_bytes();
        seeds.add("execution", [&[0, 1][..], &length, message].concat());
        seeds.add("inner_transaction", message.clone());
    }
}
