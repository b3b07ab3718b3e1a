//! Snapshots and journals.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::{Tx, config, ether, key, submit};
use crate::l1::embedded::{Config, Dropped, Embedded, MineError, RestoreError, Sink, Wanted};

/// A disk in memory.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    snapshot: Option<Vec<u8>>,
    journal: Vec<u8>,
    entries: usize,
    snapshot_every: Option<usize>,
    broken: bool,
}

impl Sink for Disk {
    fn append(&mut self, entry: &[u8]) -> Result<Wanted, String> {
        let mut files = self.0.lock();
        if files.broken {
            return Err("no space left".to_owned());
        }
        files.journal.extend_from_slice(entry);
        files.entries += 1;
        let full = files.snapshot_every.is_some_and(|every| files.entries.is_multiple_of(every));
        Ok(if full { Wanted::Snapshot } else { Wanted::Nothing })
    }

    fn snapshot(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let mut files = self.0.lock();
        files.snapshot = Some(snapshot.to_vec());
        files.journal.clear();
        Ok(())
    }
}

/// A chain with some history, and the disk it is on.
fn history(snapshot_every: Option<usize>) -> (Embedded, Disk) {
    let (l1, disk) = (Embedded::new(config()), Disk::default());
    disk.0.lock().snapshot_every = snapshot_every;
    l1.set_sink(Box::new(disk.clone()));
    for round in 0..6 {
        submit(&l1, &key(0), Tx { nonce: round, value: ether(1), ..Tx::default() }).expect("taken");
        if round % 2 == 0 {
            // Code that returns nothing: a contract, so that code is in the snapshot.
            let creation = Tx {
                nonce: round / 2,
                to: None,
                gas: 100_000,
                input: vec![0x5f, 0x5f, 0xf3].into(),
                ..Tx::default()
            };
            submit(&l1, &key(1), creation).expect("taken");
        }
        l1.mine(0).expect("a block");
        if round == 3 {
            l1.reorg(2, Dropped::MinedAgain, 0).expect("two blocks");
        }
    }
    (l1, disk)
}

fn restored(disk: &Disk, config: Config) -> Result<Embedded, RestoreError> {
    let files = disk.0.lock();
    let (l1, whole) = Embedded::restore(config, files.snapshot.as_deref(), &files.journal)?;
    assert_eq!(whole, files.journal.len());
    Ok(l1)
}

#[test]
fn a_chain_comes_back_the_same() {
    for every in [None, Some(1), Some(4)] {
        let (l1, disk) = history(every);
        let back = restored(&disk, config()).expect("whole");
        assert_eq!(back.head(), l1.head());
        assert_eq!(back.snapshot(), l1.snapshot());
        // It goes on, and can go back.
        back.reorg(5, Dropped::BackToPool, 0).expect("five blocks");
        back.mine(0).expect("a block");
    }
}

#[test]
fn another_beginning_is_refused() {
    let (_, disk) = history(Some(3));
    let other = Config { base_fee_wei: 7, ..config() };
    assert_eq!(restored(&disk, other).expect_err("another chain"), RestoreError::OtherChain);
    let (_, disk) = history(None);
    let other = Config { alloc: Vec::new(), ..config() };
    assert!(matches!(restored(&disk, other), Err(RestoreError::Replay(1))));
}

#[test]
fn a_torn_end_never_happened() {
    let (l1, disk) = history(None);
    let journal = disk.0.lock().journal.clone();
    let (_, whole) = Embedded::restore(config(), None, &journal).expect("whole");
    assert_eq!(whole, journal.len());
    for cut in 1..60 {
        let torn = &journal[..journal.len() - cut];
        let (back, whole) = Embedded::restore(config(), None, torn).expect("torn at the end");
        assert_eq!(back.head().number, l1.head().number - 1);
        assert!(whole < torn.len());
        let (again, _) = Embedded::restore(config(), None, &torn[..whole]).expect("whole");
        assert_eq!(again.head(), back.head());
    }
}

#[test]
fn a_disk_that_fails_stops_the_chain() {
    let (l1, disk) = history(None);
    let head = l1.head();
    let before = l1.snapshot();
    disk.0.lock().broken = true;
    submit(&l1, &key(0), Tx { nonce: 6, ..Tx::default() }).expect("taken");
    let failed = Err(MineError::Sink("no space left".to_owned()));
    assert_eq!(l1.mine(0), failed);
    assert_eq!((l1.head(), l1.snapshot()), (head, before), "nobody saw a block that is not kept");
    disk.0.lock().broken = false;
    assert_eq!(l1.mine(0), failed, "it stands still until it is restored");
    assert_eq!(restored(&disk, config()).expect("whole").head(), head);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bit of a snapshot, and any of a journal but in its last entry, is missed when it is wrong.
    #[test]
    fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (l1, _) = history(None);
        let mut snapshot = l1.snapshot();
        let at_snapshot = at.index(snapshot.len());
        snapshot[at_snapshot] ^= 1 << bit;
        prop_assert!(Embedded::restore(config(), Some(&snapshot), &[]).is_err());
        let cut = at.index(snapshot.len());
        prop_assert!(Embedded::restore(config(), Some(&l1.snapshot()[..cut]), &[]).is_err());
    }

    #[test]
    fn journal_damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (l1, disk) = history(None);
        let mut journal = disk.0.lock().journal.clone();
        let at = at.index(journal.len());
        journal[at] ^= 1 << bit;
        match Embedded::restore(config(), None, &journal) {
            Err(_) => {}
            // The payload of the last entry: it looks like one that was not written to its end.
            Ok((back, whole)) => {
                prop_assert!(whole <= at);
                prop_assert_eq!(back.head().number + 1, l1.head().number);
            }
        }
    }
}
