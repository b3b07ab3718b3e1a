//! What L1 has of the chain: batches by the heights they hold.
//!
//! Batches in final L1 blocks are rows of the database, written once. Those in newer blocks are kept in memory
//! and read again at each look at L1, because a reorg may take them away.

use super::rows::PostedRow;
use crate::{
    member::MemberError,
    store::{Durability, Family, Store},
};
use parking_lot::RwLock;
use tokio::sync::watch;

/// Batches in L1 blocks that are not final. More than ever fit between the final and the newest block.
const MAX_OPEN: usize = 4_096;

/// A batch that is on L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The batch and its transaction.
    pub row: PostedRow,
    /// Whether its L1 block is final.
    pub is_final: bool,
}

/// Batches on L1, as far as this node has looked.
pub struct Book {
    store: Store,
    /// In blocks that are not final, ascending.
    open: RwLock<Vec<PostedRow>>,
    changed: watch::Sender<u64>,
}

impl Book {
    /// The book in `store`.
    pub fn new(store: Store) -> Self {
        Self { store, open: RwLock::default(), changed: watch::channel(0).0 }
    }

    /// The batch that holds `height`, if L1 has one.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn of_height(&self, height: u64) -> Result<Option<Posted>, MemberError> {
        let holds =
            |row: &PostedRow| row.batch.first_height <= height && height <= row.batch.last_height;
        if let Some(row) = self.open.read().iter().find(|row| holds(row)) {
            return Ok(Some(Posted { row: row.clone(), is_final: false }));
        }
        // The key is the last height, so the first row from here on is the one that could hold it.
        let rows = self.store.range(Family::Posted, &height.to_be_bytes(), 1)?;
        let Some((_, bytes)) = rows.first() else { return Ok(None) };
        let row = PostedRow::decode(bytes).ok_or(MemberError::Damaged("posted batch"))?;
        Ok(holds(&row).then_some(Posted { row, is_final: true }))
    }

    /// The batch with this number, if L1 has one and it has heights.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn of_index(&self, index: u64) -> Result<Option<Posted>, MemberError> {
        let is = |row: &&PostedRow| row.batch.index == index && row.batch.heights() > 0;
        if let Some(row) = self.open.read().iter().find(is) {
            return Ok(Some(Posted { row: row.clone(), is_final: false }));
        }
        let Some(height) = self.store.get(Family::BatchHeights, &index.to_be_bytes())? else {
            return Ok(None);
        };
        let bytes = self.store.get(Family::Posted, &height)?;
        let row = bytes.and_then(|bytes| PostedRow::decode(&bytes));
        let row = row.ok_or(MemberError::Damaged("posted batch"))?;
        Ok(Some(Posted { row, is_final: true }))
    }

    /// The newest batch, and the newest that is final.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn newest(&self) -> Result<(Option<PostedRow>, Option<PostedRow>), MemberError> {
        let settled = match self.store.last(Family::Posted)? {
            Some((_, bytes)) => {
                Some(PostedRow::decode(&bytes).ok_or(MemberError::Damaged("posted batch"))?)
            }
            None => None,
        };
        let newest = self.open.read().last().cloned().or_else(|| settled.clone());
        Ok((newest, settled))
    }

    /// Notes batches whose L1 blocks are final.
    ///
    /// # Errors
    /// If the database fails.
    pub fn settle(&self, rows: &[PostedRow]) -> Result<(), MemberError> {
        let writes: Vec<_> = rows
            .iter()
            .flat_map(|row| {
                let key = key(row);
                let index = row.batch.index.to_be_bytes().to_vec();
                let by_index = (Family::BatchHeights, index, Some(key.clone()));
                let by_index = (row.batch.heights() > 0).then_some(by_index);
                std::iter::once((Family::Posted, key, Some(row.encode()))).chain(by_index)
            })
            .collect();
        if !writes.is_empty() {
            self.store.write(writes, Durability::Buffered)?;
            self.changed.send_modify(|version| *version += 1);
        }
        Ok(())
    }

    /// Replaces what is known of blocks that are not final.
    pub fn see(&self, mut rows: Vec<PostedRow>) {
        rows.truncate(MAX_OPEN);
        let mut open = self.open.write();
        if *open != rows {
            *open = rows;
            drop(open);
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// Hears of changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// The last height; of a batch without heights, which anyone may post over a committee that failed, its index behind
/// that, so that it comes after the batch before it and hides none.
fn key(row: &PostedRow) -> Vec<u8> {
    let height = row.batch.last_height.to_be_bytes();
    match row.batch.heights() {
        0 => [height, row.batch.index.to_be_bytes()].concat(),
        _ => height.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use blindfold_settlement::batch::Batch;

    fn row(index: u64, first_height: u64, last_height: u64) -> PostedRow {
        let batch = Batch { index, first_height, last_height, ..Batch::default() };
        PostedRow { batch, transaction: B256::repeat_byte(1) }
    }

    #[test]
    fn a_height_is_found_in_its_batch_before_and_after_it_is_final() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), [7; 32]).unwrap();
        let book = Book::new(store.clone());
        assert_eq!(book.of_height(1).unwrap(), None);
        book.see(vec![row(1, 1, 10), row(2, 11, 11), row(3, 12, 11)]);
        let found = |book: &Book, height| {
            book.of_height(height).unwrap().map(|posted| (posted.row.batch.index, posted.is_final))
        };
        assert_eq!(
            [1, 10, 11, 12].map(|h| found(&book, h)),
            [Some((1, false)), Some((1, false)), Some((2, false)), None]
        );
        book.settle(&[row(1, 1, 10)]).unwrap();
        book.see(vec![row(2, 11, 30)]);
        assert_eq!(
            [1, 10, 11, 30, 31].map(|h| found(&book, h)),
            [Some((1, true)), Some((1, true)), Some((2, false)), Some((2, false)), None]
        );
        let by_index = |book: &Book, index| {
            book.of_index(index)
                .unwrap()
                .map(|posted| (posted.row.batch.last_height, posted.is_final))
        };
        assert_eq!(
            [1, 2, 3].map(|i| by_index(&book, i)),
            [Some((10, true)), Some((30, false)), None]
        );
        // A reorg takes the second away; a restart keeps what is final.
        book.see(Vec::new());
        assert_eq!((found(&book, 11), by_index(&book, 2)), (None, None));
        let book = Book::new(store);
        assert_eq!((found(&book, 10), by_index(&book, 1)), (Some((1, true)), Some((10, true))));
        assert_eq!(book.newest().unwrap().1, Some(row(1, 1, 10)));
    }

    /// Those without heights count as batches, and stand in the way of no height.
    #[test]
    fn batches_without_heights_are_in_the_book() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(Store::open(folder.path(), [7; 32]).unwrap());
        let rows = [row(1, 1, 0), row(2, 1, 10), row(3, 11, 10), row(4, 11, 10), row(5, 11, 256)];
        let found = |height| book.of_height(height).unwrap().map(|posted| posted.row.batch.index);
        for known in 1..=rows.len() {
            let (settled, open) = rows.split_at(known);
            book.settle(settled).unwrap();
            book.see(open.to_vec());
            let expected = [None, Some(2), Some(2), Some(5), Some(5), None];
            assert_eq!([0, 1, 10, 11, 256, 257].map(found), expected, "{known} final");
            let (newest, settled) = book.newest().unwrap();
            assert_eq!(newest.as_ref(), rows.last());
            assert_eq!(settled.as_ref(), rows[..known].last());
        }
    }
}
