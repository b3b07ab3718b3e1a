//! What a node reads back from its own disk. No peer writes these; a torn write or an old version does.

use crate::{
    bounded::{bounded, canonical},
    node::{
        config::NodeConfig,
        rows::{HeightRecord, Place, decode_height},
    },
};
use blindfold_committee::{JournalStore as _, MemberSecrets, MemoryJournal, SigningJournal, Slot};
use blindfold_execution::{BlockRecord, testkit};
use std::sync::Arc;

/// Members of the committee whose rows are read.
const MEMBERS: usize = 4;

/// The record of a final height.
pub(crate) fn height_record(data: &[u8]) -> bool {
    let decode = |data: &[u8]| HeightRecord::decode(data, MEMBERS);
    canonical(data, decode, HeightRecord::encode).is_some()
}

/// An executed block.
pub(crate) fn block_record(data: &[u8]) -> bool {
    let decoded = canonical(data, |data| BlockRecord::decode(data).ok(), BlockRecord::encode);
    let Some(record) = decoded else { return false };
    assert_eq!(record.hash, record.header.hash_slow());
    assert_eq!(record.height(), record.header.number);
    true
}

/// Rows of the state and of the indexes; the first byte chooses which.
pub(crate) fn state_row(data: &[u8]) -> bool {
    let Some((kind, data)) = data.split_first() else { return false };
    let again =
        |encode: fn(&[u8]) -> Option<Vec<u8>>| canonical(data, encode, Vec::clone).is_some();
    match kind % 5 {
        0 => again(testkit::account_row),
        1 => again(testkit::tip),
        2 => again(testkit::escrow_history),
        3 => again(|data| Place::decode(data).map(Place::encode)),
        _ => again(|data| decode_height(data).map(|height| height.to_be_bytes().to_vec())),
    }
}

/// A record of the signing journal. What does not read back must never be taken for an empty slot.
pub(crate) fn journal_record(data: &[u8]) -> bool {
    let slot = Slot::Bundle { height: 1 };
    let store = Arc::new(MemoryJournal::default());
    store.put_synced(&slot.key(), data).expect("memory");
    let journal = SigningJournal::new(Arc::clone(&store));
    let Ok(found) = bounded(data.len(), || journal.signed(slot)) else {
        let refused = journal.sign_once(slot, Default::default(), || panic!("signed over damage"));
        assert!(refused.is_err());
        return false;
    };
    let signed = found.expect("a stored slot is not empty");
    // Written again elsewhere it is the same record.
    let copy = Arc::new(MemoryJournal::default());
    let written = SigningJournal::new(Arc::clone(&copy))
        .sign_once(slot, signed.digest, || signed.bytes.clone());
    if written.is_ok() {
        assert_eq!(copy.get(&slot.key()).expect("memory").as_deref(), Some(data));
    }
    true
}

/// The text of a member's secrets.
pub(crate) fn member_secrets(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(secrets) = bounded(data.len(), || MemberSecrets::from_text(text)) else { return false };
    let canonical = secrets.to_text();
    let again = MemberSecrets::from_text(&canonical).expect("own text");
    assert_eq!(*again.to_text(), *canonical);
    assert!(secrets.signing_key().is_ok() && secrets.decryption_key().is_ok());
    true
}

/// `node.toml`.
pub(crate) fn node_config(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // The TOML reader keeps a table of spans beside the values: not held to a number of bytes.
    let Ok(config) = NodeConfig::parse(text) else { return false };
    let written = config.to_toml().expect("what was text can be text again");
    assert_eq!(NodeConfig::parse(&written).expect("own text"), config);
    true
}
