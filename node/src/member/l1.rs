//! What this node knows of L1, kept in the database.
//!
//! ```text
//!  whoever follows L1 ── update ──▶ rows written ──▶ view published ──▶ leader, voters
//!                                        ▲
//!  executor ── forget_consumed ──────────┘
//! ```
//!
//! The view is [`blindfold_ordering::l1::L1View`]; this adds the rows and a way to wait. A node that restarts judges
//! proposals from what it stored, before its L1 answers.
//!
//! # Coming new to an old chain
//! The store starts where the executed tip has left the queue. Its first update may begin with any L1 block; it must
//! bring all items from [`L1View::next_index`] on, so it begins with the block of the first item that is not
//! consumed, or with the newest final one if there is none.

use super::MemberError;
use crate::store::{Durability, Family, Store, StoreError, Write};
use alloy_primitives::B256;
use blindfold_ordering::l1::{KEPT_L1_BLOCKS, L1Block, L1Error, L1Update, L1View, QueuedItem};
use blindfold_wire::ForcedItem;
use parking_lot::Mutex;
use std::{future::Future, sync::Arc};
use tokio::sync::watch;

const HEAD: u8 = 0;
const BLOCK: u8 = 1;
const ITEM: u8 = 2;

/// Why an update was not taken. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum L1UpdateError {
    /// It does not go with what is known: whoever follows L1 made a mistake, or L1 changed what was final.
    #[error(transparent)]
    Update(#[from] L1Error),
    /// The database failed.
    #[error("database: {0}")]
    Store(#[from] StoreError),
}

/// What this node knows of L1.
pub struct L1Store {
    store: Store,
    view: watch::Sender<Arc<L1View>>,
    /// Held over check, write and publication.
    writing: Mutex<()>,
}

impl L1Store {
    /// Reads what was stored. `head` is where the executed tip left the queue: items below it are dropped, and
    /// everything is if the items that were stored do not reach it.
    ///
    /// # Errors
    /// [`MemberError::L1`] or [`MemberError::Damaged`] if it does not go together, or if the database fails.
    pub fn open(store: &Store, head: (u64, B256)) -> Result<Self, MemberError> {
        let rows = store.scan(Family::L1)?;
        let mut view = read(&rows)?;
        let (cursor, hash) = head;
        let writes = forget(&mut view, cursor);
        if view.hash_at(cursor) == Some(hash) {
            store.write(writes, Durability::Buffered)?;
        } else {
            // It was away for long, or is new: the blocks it knew say nothing of the items it missed.
            view = L1View::starting_at(cursor, hash);
            let gone = rows.into_iter().map(|(key, _)| (Family::L1, key, None));
            let writes = gone.chain([head_row(cursor, hash)]).collect();
            store.write(writes, Durability::Buffered)?;
        }
        let view = watch::channel(Arc::new(view)).0;
        Ok(Self { store: store.clone(), view, writing: Mutex::default() })
    }

    /// What is known now.
    pub fn view(&self) -> Arc<L1View> {
        Arc::clone(&self.view.borrow())
    }

    /// Resolves once the view is another than the one with this version.
    pub fn changed(&self, version: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut view = self.view.subscribe();
        async move {
            // Ends only with the node.
            let _ = view.wait_for(|view| view.version() != version).await;
        }
    }

    /// Takes over what became final on L1: blocks in order, without gaps, each with all its items. `now_ms` is this
    /// node's clock.
    ///
    /// # Errors
    /// [`L1UpdateError`]. [`L1Error::Full`] passes: try again when some items were consumed.
    pub fn update(&self, update: &L1Update, now_ms: u64) -> Result<(), L1UpdateError> {
        let _writing = self.writing.lock();
        let mut view = self.view();
        Arc::make_mut(&mut view).update(update, now_ms)?;
        let mut writes = Vec::new();
        for L1Block { number, base_fee } in &update.blocks {
            writes.push(put(BLOCK, *number, base_fee.to_be_bytes().to_vec()));
            if let Some(old) = number.checked_sub(KEPT_L1_BLOCKS as u64) {
                writes.push((Family::L1, key(BLOCK, old), None));
            }
        }
        for QueuedItem { item, block } in &update.items {
            let value = [&block.to_be_bytes()[..], &item.encode()].concat();
            writes.push(put(ITEM, item.index, value));
        }
        self.store.write(writes, Durability::Buffered)?;
        self.view.send_replace(view);
        Ok(())
    }

    /// Drops items below `cursor`, which final and executed heights have consumed.
    ///
    /// # Errors
    /// If the database fails; nothing is dropped then.
    pub fn forget_consumed(&self, cursor: u64) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let mut view = self.view();
        let from = view.first_index();
        if cursor <= from || view.next_index() == from {
            return Ok(());
        }
        let writes = forget(Arc::make_mut(&mut view), cursor);
        self.store.write(writes, Durability::Buffered)?;
        // Nobody waits for this: what is due does not change by it.
        self.view.send_replace(view);
        Ok(())
    }
}

/// Drops items below `cursor` from a view; returns the writes that do so in the database.
fn forget(view: &mut L1View, cursor: u64) -> Vec<Write> {
    let from = view.first_index();
    view.forget_consumed(cursor);
    let first = view.first_index();
    if first == from {
        return Vec::new();
    }
    let before = view.hash_at(first).unwrap_or_default();
    let gone = (from..first).map(|index| (Family::L1, key(ITEM, index), None));
    gone.chain([head_row(first, before)]).collect()
}

fn key(tag: u8, number: u64) -> Vec<u8> {
    [&[tag][..], &number.to_be_bytes()].concat()
}

fn put(tag: u8, number: u64, value: Vec<u8>) -> Write {
    (Family::L1, key(tag, number), Some(value))
}

fn head_row(first: u64, before: B256) -> Write {
    let value = [&first.to_be_bytes()[..], before.as_slice()].concat();
    (Family::L1, vec![HEAD], Some(value))
}

fn read(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<L1View, MemberError> {
    let damaged = || MemberError::Damaged("record of L1");
    let (mut head, mut blocks, mut items) = ((0, B256::ZERO), Vec::new(), Vec::new());
    for (key, value) in rows {
        let (tag, number) = key.split_first().ok_or_else(damaged)?;
        match *tag {
            HEAD => {
                let (first, before) = split_number(value).ok_or_else(damaged)?;
                head = (first, B256::try_from(before).map_err(|_| damaged())?);
            }
            BLOCK => {
                let number = exact_number(number).ok_or_else(damaged)?;
                let base_fee = exact_number(value).ok_or_else(damaged)?;
                blocks.push(L1Block { number, base_fee });
            }
            ITEM => {
                let (block, item) = split_number(value).ok_or_else(damaged)?;
                let item = ForcedItem::decode(item).map_err(|_| damaged())?;
                items.push(QueuedItem { item, block });
            }
            _ => return Err(damaged()),
        }
    }
    L1View::restored(head, &blocks, &items).map_err(MemberError::L1)
}

fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn exact_number(bytes: &[u8]) -> Option<u64> {
    split_number(bytes).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;

    const START: (u64, B256) = (0, B256::ZERO);

    fn update(blocks: std::ops::RangeInclusive<u64>, items: &[(u64, u64)]) -> L1Update {
        let item = |(index, block): &(u64, u64)| {
            let data = index.to_be_bytes().to_vec().into();
            let item = ForcedItem { index: *index, kind: 2, sender: Address::ZERO, data };
            QueuedItem { item, block: *block }
        };
        L1Update {
            blocks: blocks.map(|number| L1Block { number, base_fee: number }).collect(),
            items: items.iter().map(item).collect(),
        }
    }

    fn store(folder: &tempfile::TempDir) -> Store {
        Store::open(folder.path(), [1; 32]).expect("open")
    }

    #[test]
    fn what_is_known_survives_a_restart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let hashes: Vec<B256> = {
            let l1 = L1Store::open(&store(&folder), START).expect("empty");
            l1.update(&update(100..=120, &[(0, 101), (1, 110), (2, 120)]), 5).expect("first");
            l1.update(&update(121..=122, &[(3, 122)]), 6).expect("next");
            assert!(matches!(
                l1.update(&update(124..=124, &[]), 7),
                Err(L1UpdateError::Update(L1Error::BlockGap { known: 122, got: 124 }))
            ));
            (0..=4).map(|cursor| l1.view().hash_at(cursor).expect("known")).collect()
        };
        {
            // One item was consumed while it was off.
            let l1 = L1Store::open(&store(&folder), (1, hashes[1])).expect("stored");
            let view = l1.view();
            assert_eq!((view.first_index(), view.next_index()), (1, 4));
            assert_eq!(view.finalized(), Some(L1Block { number: 122, base_fee: 122 }));
            assert_eq!(view.settled(0), view.finalized());
            assert_eq!(view.hash_at(4), Some(hashes[4]));
            l1.forget_consumed(3).expect("writes");
        }
        {
            let l1 = L1Store::open(&store(&folder), (3, hashes[3])).expect("stored");
            assert_eq!((l1.view().first_index(), l1.view().next_index()), (3, 4));
            l1.update(&update(123..=123, &[(4, 123)]), 8).expect("goes on");
        }
        // A chain that went on without it: what it knew is of no use.
        let other = (9, B256::repeat_byte(9));
        for _ in 0..2 {
            let l1 = L1Store::open(&store(&folder), other).expect("stored");
            let view = l1.view();
            assert_eq!((view.first_index(), view.finalized()), (9, None));
            assert_eq!(view.hash_at(9), Some(other.1));
        }
    }

    #[test]
    fn only_recent_blocks_are_stored() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = store(&folder);
        let l1 = L1Store::open(&store, START).expect("empty");
        let last = KEPT_L1_BLOCKS as u64 + 50;
        for number in 1..=last {
            l1.update(&update(number..=number, &[]), 0).expect("next");
        }
        assert_eq!(store.scan(Family::L1).expect("reads").len(), KEPT_L1_BLOCKS);
        let again = L1Store::open(&store, START).expect("stored");
        assert_eq!(again.view().base_fee(51), Some(51));
    }

    #[test]
    fn damage_is_noticed() {
        for (key, value) in [
            (key(BLOCK, 5), vec![1, 2]),
            (key(ITEM, 0), vec![0; 8]),
            (vec![HEAD], vec![0; 39]),
            (vec![9], vec![]),
        ] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let store = store(&folder);
            let l1 = L1Store::open(&store, START).expect("empty");
            l1.update(&update(1..=3, &[(0, 2), (1, 3)]), 0).expect("first");
            store.write(vec![(Family::L1, key, Some(value))], Durability::Buffered).expect("write");
            assert!(matches!(L1Store::open(&store, START), Err(MemberError::Damaged(_))));
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = store(&folder);
        let l1 = L1Store::open(&store, START).expect("empty");
        l1.update(&update(1..=3, &[(0, 2), (1, 3)]), 0).expect("first");
        store.write(vec![(Family::L1, key(BLOCK, 2), None)], Durability::Buffered).expect("write");
        assert!(matches!(L1Store::open(&store, START), Err(MemberError::L1(_))));
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_next_update() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let l1 = L1Store::open(&store(&folder), START).expect("empty");
        let version = l1.view().version();
        let changed = l1.changed(version);
        l1.update(&update(1..=1, &[]), 0).expect("first");
        changed.await;
        l1.changed(version).await;
        assert_ne!(l1.view().version(), version);
    }
}
