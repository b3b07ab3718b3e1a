//! The members' signing journals, read from copies of their databases while they are down.

use alloy_primitives::B256;
use blindfold_committee::{SigningJournal, Slot};
use blindfold_node::store::{Family, Store};
use blindfold_wire::SignedCommitment;
use std::{collections::BTreeMap, path::Path};

/// Every journal record ever seen, by member and key.
pub struct Journals {
    members: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    contradictions: Vec<String>,
}

impl Journals {
    pub fn new(members: usize) -> Self {
        Self { members: vec![BTreeMap::new(); members], contradictions: Vec::new() }
    }

    /// Reads the journal of a member that does not run, and compares it with what it held before:
    /// records never change and never go.
    pub fn remember(&mut self, member: usize, db: &Path, genesis_hash: [u8; 32]) {
        if !db.join("CURRENT").exists() {
            return;
        }
        let now = with_copy(db, genesis_hash, |store| store.scan(Family::Journal).unwrap());
        let now: BTreeMap<_, _> = now.into_iter().collect();
        for (key, value) in &self.members[member] {
            if now.get(key) != Some(value) {
                let text =
                    format!("member {member}: the journal's record {key:02x?} changed or went");
                self.contradictions.push(text);
            }
        }
        self.members[member].extend(now);
    }

    /// What changed in a journal between two looks.
    pub fn contradictions(&self) -> &[String] {
        &self.contradictions
    }
}

/// What a stopped member's database holds about signatures.
pub struct Signatures {
    /// (epoch, view) → first commitment that this member saw signed.
    pub first_seen: BTreeMap<(u64, u64), SignedCommitment>,
    store: Store,
    _copy: tempfile::TempDir,
}

impl Signatures {
    pub fn open(db: &Path, genesis_hash: [u8; 32]) -> Self {
        let (copy, store) = copy(db, genesis_hash);
        let first_seen = store
            .scan(Family::FirstSeen)
            .unwrap()
            .into_iter()
            .map(|(_, value)| {
                let signed = SignedCommitment::decode(&value).unwrap();
                ((signed.commitment.epoch, signed.commitment.view), signed)
            })
            .collect();
        Self { first_seen, store, _copy: copy }
    }

    /// What the member's own journal says that it signed for `slot`.
    pub fn journaled(&self, slot: Slot) -> Option<B256> {
        SigningJournal::new(self.store.clone()).signed(slot).unwrap().map(|signed| signed.digest)
    }
}

fn with_copy<T>(db: &Path, genesis_hash: [u8; 32], read: impl FnOnce(&Store) -> T) -> T {
    let (_copy, store) = copy(db, genesis_hash);
    read(&store)
}

/// The original is not opened: recovering it is left to the member.
fn copy(db: &Path, genesis_hash: [u8; 32]) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(db).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let store = Store::open(folder.path(), genesis_hash).unwrap();
    (folder, store)
}
