//! What L1 has of outputs.
//!
//! As with batches: what happened in final L1 blocks is rows of the database; what happened in newer ones is laid
//! over them in memory, and read again at each look, because a reorg may take it away.

use super::OutputEvent;
use crate::{
    member::MemberError,
    settlement::book::Book,
    store::{Durability, Family, Store},
};
use alloy_primitives::{Address, B256};
use alloy_rlp::{Decodable as _, Encodable as _, RlpDecodable, RlpEncodable};
use blindfold_settlement::{
    l1::BlockRef,
    outputs::{Output, OutputStatus},
};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use tracing::warn;

/// Outputs that are looked at for one that proves a height. They become final in their order, but for challenged
/// ones.
const MAX_LOOKED_AT: usize = 64;

/// An output, and how far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputRow {
    /// As L1 has it.
    pub output: Output,
    /// Last height of its batch.
    pub last_height: u64,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredOutput {
    index: u64,
    state_root: B256,
    proposer: Address,
    proposed_at_s: u64,
    deadline_s: u64,
    status: u8,
    challenger: Address,
    last_height: u64,
}

impl OutputRow {
    /// The stored form: RLP of the fields; the status is 0 proposed, 1 challenged, 2 settled.
    fn encode(&self) -> Vec<u8> {
        let Output { index, state_root, proposer, proposed_at_s, deadline_s, status, challenger } =
            self.output;
        let status = match status {
            OutputStatus::Proposed => 0,
            OutputStatus::Challenged => 1,
            OutputStatus::Settled => 2,
        };
        let mut out = Vec::new();
        StoredOutput {
            index,
            state_root,
            proposer,
            proposed_at_s,
            deadline_s,
            status,
            challenger,
            last_height: self.last_height,
        }
        .encode(&mut out);
        out
    }

    /// Reads the stored form; nothing if it is damaged.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let row = StoredOutput::decode(&mut bytes).ok().filter(|_| bytes.is_empty())?;
        let status = match row.status {
            0 => OutputStatus::Proposed,
            1 => OutputStatus::Challenged,
            2 => OutputStatus::Settled,
            _ => return None,
        };
        let StoredOutput { index, state_root, proposer, proposed_at_s, .. } = row;
        let StoredOutput { deadline_s, challenger, last_height, .. } = row;
        let output =
            Output { index, state_root, proposer, proposed_at_s, deadline_s, status, challenger };
        Some(Self { output, last_height })
    }
}

type Rows = BTreeMap<u64, Option<OutputRow>>;

#[derive(Default)]
struct Inner {
    /// In final blocks, and not settled.
    unsettled: BTreeMap<u64, OutputRow>,
    /// What newer blocks make of outputs; `None` where they reject one.
    open: Rows,
    /// The newest block at the last look.
    seen: Option<BlockRef>,
}

/// Outputs on L1, as far as this node has looked.
pub struct OutputBook {
    store: Store,
    inner: RwLock<Inner>,
}

impl OutputBook {
    /// The book in `store`.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn open(store: Store) -> Result<Self, MemberError> {
        let mut inner = Inner::default();
        for (_, bytes) in store.scan(Family::Outputs)? {
            let row = decode(&bytes)?;
            if row.output.status != OutputStatus::Settled {
                inner.unsettled.insert(row.output.index, row);
            }
        }
        Ok(Self { store, inner: RwLock::new(inner) })
    }

    /// Notes what happened in final L1 blocks, oldest first; the batches in them are in `book`.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn settle(&self, book: &Book, events: &[OutputEvent]) -> Result<(), MemberError> {
        let mut rows = Rows::new();
        for event in events {
            self.apply(book, &mut rows, event)?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let write = |(index, row): (&u64, &Option<OutputRow>)| {
            let row = row.as_ref().map(OutputRow::encode);
            (Family::Outputs, index.to_be_bytes().to_vec(), row)
        };
        self.store.write(rows.iter().map(write).collect(), Durability::Buffered)?;
        let unsettled = &mut self.inner.write().unsettled;
        for (index, row) in rows {
            match row.filter(|row| row.output.status != OutputStatus::Settled) {
                Some(row) => unsettled.insert(index, row),
                None => unsettled.remove(&index),
            };
        }
        Ok(())
    }

    /// Replaces what is known of blocks that are not final, up to `newest`.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn see(
        &self,
        book: &Book,
        events: &[OutputEvent],
        newest: BlockRef,
    ) -> Result<(), MemberError> {
        let mut open = Rows::new();
        for event in events {
            self.apply(book, &mut open, event)?;
        }
        let mut inner = self.inner.write();
        inner.open = open;
        inner.seen = Some(newest);
        Ok(())
    }

    /// The newest L1 block at the last look.
    pub fn seen(&self) -> Option<BlockRef> {
        self.inner.read().seen
    }

    /// What `event` makes of an output, on top of `rows` on top of the database.
    fn apply(&self, book: &Book, rows: &mut Rows, event: &OutputEvent) -> Result<(), MemberError> {
        let index = event.index();
        let before = match rows.get(&index) {
            Some(row) => *row,
            None => self.stored(index)?,
        };
        let changed = |change: &dyn Fn(Output) -> Output| {
            before.map(|row| OutputRow { output: change(row.output), ..row })
        };
        let after = match *event {
            OutputEvent::Proposed { index, state_root, proposer, proposed_at_s, deadline_s } => {
                let Some(batch) = book.of_index(index)? else {
                    // The oracle takes no output of a batch that is not there.
                    warn!(target: "blindfold::settlement", index, "an output of a batch that this node has not seen");
                    return Ok(());
                };
                let output = Output {
                    index,
                    state_root,
                    proposer,
                    proposed_at_s,
                    deadline_s,
                    status: OutputStatus::Proposed,
                    challenger: Address::ZERO,
                };
                Some(OutputRow { output, last_height: batch.row.batch.last_height })
            }
            OutputEvent::Challenged { challenger, deadline_s, .. } => {
                let status = OutputStatus::Challenged;
                changed(&|output| Output { status, challenger, deadline_s, ..output })
            }
            OutputEvent::Settled { .. } => {
                changed(&|output| Output { status: OutputStatus::Settled, ..output })
            }
            OutputEvent::Rejected { .. } => None,
        };
        rows.insert(index, after);
        Ok(())
    }

    fn stored(&self, index: u64) -> Result<Option<OutputRow>, MemberError> {
        let bytes = self.store.get(Family::Outputs, &index.to_be_bytes())?;
        bytes.map(|bytes| decode(&bytes)).transpose()
    }

    /// Outputs that are not settled, by their number.
    pub fn unsettled(&self) -> Vec<OutputRow> {
        let inner = self.inner.read();
        let mut rows = inner.unsettled.clone();
        for (index, row) in &inner.open {
            match row.filter(|row| row.output.status != OutputStatus::Settled) {
                Some(row) => rows.insert(*index, row),
                None => rows.remove(index),
            };
        }
        rows.into_values().collect()
    }

    /// The newest outputs, newest first; at least the newest one if there is any.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn newest(&self) -> Result<Vec<OutputRow>, MemberError> {
        let mut rows = Rows::new();
        for (_, bytes) in self.store.newest(Family::Outputs, MAX_LOOKED_AT)? {
            let row = decode(&bytes)?;
            rows.insert(row.output.index, Some(row));
        }
        rows.extend(self.inner.read().open.iter().map(|(index, row)| (*index, *row)));
        Ok(rows.into_values().rev().flatten().collect())
    }

    /// The output that proves what batch `index` holds: one that is final in an L1 block of time `now_s` if there is
    /// any, else the one that becomes so first. Outputs that are not `right` are passed over, final ones too.
    ///
    /// # Errors
    /// If the database fails or is damaged, or `right` fails.
    pub fn covering(
        &self,
        index: u64,
        now_s: u64,
        right: impl Fn(&OutputRow) -> Result<bool, MemberError>,
    ) -> Result<Option<OutputRow>, MemberError> {
        let mut rows = Rows::new();
        for (_, bytes) in self.store.range(Family::Outputs, &index.to_be_bytes(), MAX_LOOKED_AT)? {
            let row = decode(&bytes)?;
            rows.insert(row.output.index, Some(row));
        }
        let inner = self.inner.read();
        rows.extend(inner.open.range(index..).map(|(index, row)| (*index, *row)));
        drop(inner);
        let rank = |row: &OutputRow| match row.output.status {
            _ if row.output.is_final(now_s) => (0, row.output.index),
            OutputStatus::Challenged => (2, row.output.deadline_s),
            _ => (1, row.output.deadline_s),
        };
        let mut rows: Vec<_> = rows.into_values().flatten().collect();
        rows.sort_by_key(rank);
        for row in rows {
            if right(&row)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

fn decode(bytes: &[u8]) -> Result<OutputRow, MemberError> {
    OutputRow::decode(bytes).ok_or(MemberError::Damaged("output"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::rows::PostedRow;
    use blindfold_settlement::batch::Batch;

    const PROPOSER: Address = Address::repeat_byte(1);

    fn proposed(index: u64) -> OutputEvent {
        OutputEvent::Proposed {
            index,
            state_root: B256::repeat_byte(9),
            proposer: PROPOSER,
            proposed_at_s: 1_000 * index,
            deadline_s: 1_000 * index + 500,
        }
    }

    fn challenged(index: u64) -> OutputEvent {
        OutputEvent::Challenged { index, challenger: Address::repeat_byte(2), deadline_s: 9_000 }
    }

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::with_last_byte(1), timestamp_s: number }
    }

    /// A book with batches 1 to 3 of ten heights each.
    fn books() -> (tempfile::TempDir, Store, Book, OutputBook) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), [7; 32]).unwrap();
        let book = Book::new(store.clone());
        let rows: Vec<_> = (1..=3)
            .map(|index| {
                let (first_height, last_height) = (10 * index - 9, 10 * index);
                let batch = Batch { index, first_height, last_height, ..Batch::default() };
                PostedRow { batch, transaction: B256::ZERO }
            })
            .collect();
        book.settle(&rows[..2]).unwrap();
        book.see(rows[2..].to_vec());
        let outputs = OutputBook::open(store.clone()).unwrap();
        (folder, store, book, outputs)
    }

    #[test]
    fn rows_are_read_as_they_were_written_and_damage_is_noticed() {
        let (_folder, _, book, outputs) = books();
        outputs.settle(&book, &[proposed(1)]).unwrap();
        let row = outputs.newest().unwrap()[0];
        for status in [OutputStatus::Proposed, OutputStatus::Challenged, OutputStatus::Settled] {
            let row = OutputRow { output: Output { status, ..row.output }, ..row };
            let bytes = row.encode();
            assert_eq!(OutputRow::decode(&bytes), Some(row));
            assert_eq!(OutputRow::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(OutputRow::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn an_output_goes_its_way_and_a_reorg_takes_it_back() {
        let (_folder, store, book, outputs) = books();
        let states = |outputs: &OutputBook| -> Vec<_> {
            let rows = outputs.unsettled();
            rows.iter().map(|row| (row.output.index, row.output.status)).collect()
        };
        outputs.settle(&book, &[proposed(1), proposed(2)]).unwrap();
        outputs.see(&book, &[challenged(1), proposed(3)], block(5)).unwrap();
        let (p, c) = (OutputStatus::Proposed, OutputStatus::Challenged);
        assert_eq!(states(&outputs), [(1, c), (2, p), (3, p)]);
        assert_eq!(outputs.unsettled()[2].last_height, 30);
        assert_eq!(outputs.unsettled()[0].output.deadline_s, 9_000);
        // A reorg, and a restart beside it.
        outputs.see(&book, &[], block(6)).unwrap();
        assert_eq!(states(&outputs), [(1, p), (2, p)]);
        assert_eq!(states(&OutputBook::open(store.clone()).unwrap()), [(1, p), (2, p)]);
        // Settled and rejected, seen and then final.
        let end = [OutputEvent::Settled { index: 1 }, OutputEvent::Rejected { index: 2 }];
        outputs.see(&book, &end, block(7)).unwrap();
        assert!(states(&outputs).is_empty());
        let indices = |outputs: &OutputBook| -> Vec<_> {
            outputs.newest().unwrap().iter().map(|row| row.output.index).collect()
        };
        assert_eq!(indices(&outputs), [1]);
        outputs.settle(&book, &end).unwrap();
        outputs.see(&book, &[], block(8)).unwrap();
        assert!(states(&outputs).is_empty());
        assert_eq!(indices(&OutputBook::open(store).unwrap()), [1]);
        // What is gone may be proposed anew; of unknown batches nothing is known.
        outputs.see(&book, &[proposed(2), proposed(9), challenged(8)], block(9)).unwrap();
        assert_eq!(states(&outputs), [(2, p)]);
        assert_eq!(outputs.seen(), Some(block(9)));
    }

    #[test]
    fn the_best_output_for_a_height_is_found() {
        let (_folder, _, book, outputs) = books();
        let found = |index, now_s| {
            let row = outputs.covering(index, now_s, |_| Ok(true)).unwrap();
            row.map(|row| row.output.index)
        };
        assert_eq!(found(1, 0), None);
        outputs.settle(&book, &[proposed(1), challenged(1), proposed(2)]).unwrap();
        outputs.see(&book, &[proposed(3)], block(1)).unwrap();
        // 1 is challenged, so 2 comes first, and is final after 2,500.
        assert_eq!([1, 2, 3, 4].map(|index| found(index, 0)), [Some(2), Some(2), Some(3), None]);
        assert_eq!(found(1, 9_999), Some(2));
        outputs.see(&book, &[proposed(3), OutputEvent::Settled { index: 3 }], block(2)).unwrap();
        assert_eq!(found(1, 0), Some(3), "final before its time: it was proven");
        assert_eq!(found(1, 2_501), Some(2));
    }

    #[test]
    fn a_wrong_output_hides_no_right_one() {
        let (_folder, _, book, outputs) = books();
        let found = |wrong: &[u64], now_s| {
            let right = |row: &OutputRow| Ok(!wrong.contains(&row.output.index));
            outputs.covering(1, now_s, right).unwrap().map(|row| row.output.index)
        };
        outputs.settle(&book, &[proposed(1), proposed(2)]).unwrap();
        outputs.see(&book, &[proposed(3)], block(1)).unwrap();
        // 1 comes first, and is final after 1,500, unchallenged: no claim against it would fit.
        for now_s in [0, 1_501, 9_999] {
            assert_eq!(found(&[], now_s), Some(1));
            assert_eq!(found(&[1], now_s), Some(2));
            assert_eq!(found(&[1, 2], now_s), Some(3));
            assert_eq!(found(&[1, 2, 3], now_s), None);
        }
        let failed = outputs.covering(1, 0, |_| Err(MemberError::Damaged("executed block")));
        assert!(matches!(failed, Err(MemberError::Damaged(_))));
    }
}
