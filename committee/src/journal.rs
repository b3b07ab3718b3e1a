//! The signing journal: what this member signed, written down before anyone else can see it.
//!
//! A member that signs two different things for one [`Slot`] is slashed, and nobody can tell a crash from
//! malice. So every such signature goes through [`SigningJournal::sign_once`]:
//!
//! ```text
//!   sign_once(slot, digest, sign)
//!        │ look the slot up
//!        ├── stored, same digest ───▶ the stored bytes, nothing is signed
//!        ├── stored, other digest ──▶ Conflict, nothing is signed
//!        └── nothing stored ──▶ sign ──▶ put_synced ──▶ only now the bytes leave
//! ```
//!
//! A crash before `put_synced` ends leaves a slot that is either empty, and its signature was never handed
//! out, or holds the whole record. Either way no second digest can follow a first that left.
//!
//! # Caveats
//!
//! - Two processes over copies of one store defeat it. The store must hold an exclusive lock.
//! - A store restored from an old backup forgets. Restore keys, never journals, and wait until the heights
//!   in question are final before signing again.
//! - The engine's own votes are journalled by the engine, in the same order: disk first.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use blindfold_wire::B256;

use crate::store_error::StoreError;

/// Longest signed bytes one slot may hold.
pub const MAX_SIGNED_BYTES: usize = 64 * 1024;

const RECORD_VERSION: u8 = 1;
const DIGEST_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + DIGEST_BYTES;

/// Where the journal is kept. Keys are at most 17 bytes, and never deleted.
pub trait JournalStore: Send + Sync {
    /// The value last put under `key`.
    ///
    /// # Errors
    ///
    /// When it cannot be told whether there is one. Never answer `None` then.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts `value` under `key`, and returns only once it survives a power failure.
    ///
    /// # Errors
    ///
    /// When that cannot be promised; the value may or may not be there afterwards, but never in part.
    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
}

impl<S: JournalStore + ?Sized> JournalStore for std::sync::Arc<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key)
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        (**self).put_synced(key, value)
    }
}

/// What may be signed once only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// The order commitment this member proposes as leader of a view.
    Commitment {
        /// The epoch.
        epoch: u64,
        /// The view it is first proposed in.
        view: u64,
    },
    /// The decryption shares of a height.
    Bundle {
        /// The height.
        height: u64,
    },
}

impl Slot {
    /// The store's key: a byte for the kind, then the numbers, 8 bytes each, big-endian.
    pub fn key(&self) -> Vec<u8> {
        let (kind, numbers): (u8, &[u64]) = match self {
            Self::Commitment { epoch, view } => (1, &[*epoch, *view]),
            Self::Bundle { height } => (2, &[*height]),
        };
        let mut key = vec![kind];
        for number in numbers {
            key.extend_from_slice(&number.to_be_bytes());
        }
        key
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commitment { epoch, view } => {
                write!(f, "the commitment of epoch {epoch} view {view}")
            }
            Self::Bundle { height } => write!(f, "the share bundle of height {height}"),
        }
    }
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub digest: B256,
    /// The signed bytes, as the caller encoded them.
    pub bytes: Vec<u8>,
    /// Whether this call signed them; `false` when they come from the store.
    pub fresh: bool,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something else was signed for the slot before. This member must not sign.
    #[error("{slot} was signed with digest {signed} before, refusing to sign {refused}")]
    Conflict {
        /// The slot.
        slot: Slot,
        /// The digest that stands.
        signed: B256,
        /// The digest asked for now.
        refused: B256,
    },
    /// The record is damaged, so that what it forbids is unknown.
    #[error(
        "the journal record of {slot} is damaged; restore the disk or retire this member's signer"
    )]
    Damaged {
        /// The slot.
        slot: Slot,
    },
    /// The signed bytes are longer than [`MAX_SIGNED_BYTES`].
    #[error("{size_bytes} signed bytes for {slot} are too many")]
    TooLong {
        /// The slot.
        slot: Slot,
        /// Their length.
        size_bytes: usize,
    },
    /// The store failed.
    #[error("the signing journal cannot be read or written")]
    Store(#[from] StoreError),
}

/// Signs each slot at most once, over a durable store.
///
/// All calls are serialised, so that one journal may be shared by the tasks of a process.
pub struct SigningJournal<S> {
    store: S,
    turn: Mutex<()>,
}

impl<S> fmt::Debug for SigningJournal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningJournal").finish_non_exhaustive()
    }
}

impl<S: JournalStore> SigningJournal<S> {
    /// A journal over `store`, which must belong to this member and to no other process.
    pub fn new(store: S) -> Self {
        Self { store, turn: Mutex::new(()) }
    }

    /// Returns the signed bytes of `slot`, signing at most once in the life of the store.
    ///
    /// `sign` runs only when nothing is stored, and what it returns leaves only once it is durable. After a
    /// restart the stored bytes come back, byte for byte.
    ///
    /// # Errors
    ///
    /// See [`JournalError`]. After any error nothing new may be sent for the slot.
    pub fn sign_once(
        &self,
        slot: Slot,
        digest: B256,
        sign: impl FnOnce() -> Vec<u8>,
    ) -> Result<Signed, JournalError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = self.lookup(slot)? {
            if signed.digest != digest {
                return Err(JournalError::Conflict {
                    slot,
                    signed: signed.digest,
                    refused: digest,
                });
            }
            return Ok(signed);
        }
        let bytes = sign();
        if bytes.len() > MAX_SIGNED_BYTES {
            return Err(JournalError::TooLong { slot, size_bytes: bytes.len() });
        }
        self.store.put_synced(&slot.key(), &encode_record(digest, &bytes))?;
        Ok(Signed { digest, bytes, fresh: true })
    }

    /// What was signed for `slot`, if anything.
    ///
    /// # Errors
    ///
    /// When the store fails or the record is damaged.
    pub fn signed(&self, slot: Slot) -> Result<Option<Signed>, JournalError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.lookup(slot)
    }

    fn lookup(&self, slot: Slot) -> Result<Option<Signed>, JournalError> {
        let Some(record) = self.store.get(&slot.key())? else { return Ok(None) };
        let (digest, bytes) = decode_record(&record).ok_or(JournalError::Damaged { slot })?;
        Ok(Some(Signed { digest, bytes, fresh: false }))
    }
}

/// `version ‖ digest ‖ signed bytes ‖ first 4 bytes of keccak256 of all that`.
fn encode_record(digest: B256, bytes: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + bytes.len() + CHECKSUM_BYTES);
    record.push(RECORD_VERSION);
    record.extend_from_slice(digest.as_slice());
    record.extend_from_slice(bytes);
    let checksum = alloy_primitives::keccak256(&record);
    record.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
    record
}

fn decode_record(record: &[u8]) -> Option<(B256, Vec<u8>)> {
    let (body, checksum) = record.split_at_checked(record.len().checked_sub(CHECKSUM_BYTES)?)?;
    if alloy_primitives::keccak256(body)[..CHECKSUM_BYTES] != *checksum {
        return None;
    }
    let (header, bytes) = body.split_at_checked(HEADER_BYTES)?;
    (header[0] == RECORD_VERSION).then(|| (B256::from_slice(&header[1..]), bytes.to_vec()))
}

/// A journal store that forgets with the process: for tests and simulations only.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    records: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl JournalStore for MemoryJournal {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_vec(), value.to_vec());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;

    /// Fails the n-th put, before or after it took effect, as a crash would.
    #[derive(Default)]
    struct Crashing {
        records: MemoryJournal,
        crash: Mutex<Option<Crash>>,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Crash {
        BeforeWrite,
        AfterWrite,
    }

    impl JournalStore for Crashing {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.records.get(key)
        }

        fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
            let crash = self.crash.lock().unwrap().take();
            if crash != Some(Crash::BeforeWrite) {
                self.records.put_synced(key, value)?;
            }
            if crash.is_some() { Err(StoreError::new("power failure")) } else { Ok(()) }
        }
    }

    fn digest(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    #[test]
    fn second_digest_is_refused_and_never_signed() {
        let journal = SigningJournal::new(MemoryJournal::default());
        let slot = Slot::Commitment { epoch: 1, view: 7 };
        let first = journal.sign_once(slot, digest(1), || vec![1, 2, 3]).unwrap();
        assert!(first.fresh);
        let again = journal.sign_once(slot, digest(1), || panic!("signed twice")).unwrap();
        assert_eq!((again.bytes, again.fresh), (vec![1, 2, 3], false));
        let other = journal.sign_once(slot, digest(2), || panic!("signed a conflict"));
        assert!(matches!(other, Err(JournalError::Conflict { signed, .. }) if signed == digest(1)));
        assert!(journal.sign_once(Slot::Bundle { height: 7 }, digest(2), Vec::new).unwrap().fresh);
    }

    #[test]
    fn slots_have_distinct_keys() {
        let slots = [
            Slot::Commitment { epoch: 0, view: 1 },
            Slot::Commitment { epoch: 1, view: 0 },
            Slot::Bundle { height: 0 },
            Slot::Bundle { height: 1 },
            Slot::Bundle { height: 256 },
        ];
        let keys: std::collections::HashSet<_> = slots.iter().map(Slot::key).collect();
        assert_eq!(keys.len(), slots.len());
        assert!(keys.iter().all(|key| key.len() <= 17));
    }

    #[test]
    fn damaged_record_refuses() {
        let store = Arc::new(MemoryJournal::default());
        let slot = Slot::Bundle { height: 3 };
        let journal = SigningJournal::new(store.clone());
        journal.sign_once(slot, digest(1), || vec![9; 20]).unwrap();
        let record = store.get(&slot.key()).unwrap().unwrap();
        for position in 0..record.len() {
            let mut damaged = record.clone();
            damaged[position] ^= 1;
            store.put_synced(&slot.key(), &damaged).unwrap();
            let refused = journal.sign_once(slot, digest(1), || panic!("signed over damage"));
            assert!(matches!(refused, Err(JournalError::Damaged { .. })), "byte {position}");
        }
        for length in 0..record.len() {
            store.put_synced(&slot.key(), &record[..length]).unwrap();
            assert!(
                matches!(journal.signed(slot), Err(JournalError::Damaged { .. })),
                "length {length}"
            );
        }
    }

    #[test]
    fn too_long_is_refused() {
        let journal = SigningJournal::new(MemoryJournal::default());
        let slot = Slot::Bundle { height: 3 };
        let long = journal.sign_once(slot, digest(1), || vec![0; MAX_SIGNED_BYTES + 1]);
        assert!(matches!(long, Err(JournalError::TooLong { .. })));
        assert_eq!(journal.signed(slot).unwrap(), None);
    }

    fn crash() -> impl Strategy<Value = Option<Crash>> {
        prop_oneof![
            2 => Just(None),
            1 => Just(Some(Crash::BeforeWrite)),
            1 => Just(Some(Crash::AfterWrite)),
        ]
    }

    proptest! {
        /// Whatever crashes when, the bytes that left for one slot all carry one digest.
        #[test]
        fn one_digest_leaves_per_slot(
            steps in prop::collection::vec((0u64..4, 0u8..3, crash()), 1..60),
        ) {
            let store = Arc::new(Crashing::default());
            let mut left: HashMap<u64, B256> = HashMap::new();
            for (height, value, crash) in steps {
                // A crash drops everything but the store.
                let journal = SigningJournal::new(store.clone());
                *store.crash.lock().unwrap() = crash;
                let signed = journal.sign_once(Slot::Bundle { height }, digest(value), || vec![value]);
                *store.crash.lock().unwrap() = None;
                if let Ok(signed) = signed {
                    prop_assert_eq!(&signed.bytes, &vec![value]);
                    let first = *left.entry(height).or_insert(signed.digest);
                    prop_assert_eq!(first, signed.digest);
                }
            }
        }
    }
}
