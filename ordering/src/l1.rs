//! What a member knows of L1: finalized blocks with their base fees, and the forced queue.
//!
//! Whoever follows L1 feeds an [`L1View`] with [`L1Update`]s, and never with anything that is not final there. The
//! view is what a leader names an L1 block from, and what members hold proposals against. It is a cache of
//! something that all members see alike sooner or later; so nothing here ever makes a proposal *invalid*, only
//! *pending* ([`crate::validity`]).
//!
//! ```text
//!  queue on L1   0 1 2 3 4 5 6 7 8        items of blocks up to `finalized`
//!                ─────┬─────┬───────
//!        consumed ◀───┘     └───▶ not due yet at the L1 block that a commitment names
//!                     └──▶◀─┘
//!                       due: the next heights take these, in this order
//! ```
//!
//! # Order of calls
//! [`L1View::update`] with blocks in order, without gaps, each with the items of exactly these blocks;
//! [`L1View::forget_consumed`] now and then. A node stores what it is fed with, row by row, and puts the view
//! together again with [`L1View::restored`].

use alloy_primitives::B256;
use blindfold_wire::{
    ChainParams, ForcedItem,
    forced::{MAX_FORCED_DATA_BYTES, MAX_FORCED_PER_HEIGHT, roll, taken_at_once},
    params::MAX_L1_LAG_BLOCKS,
};
use std::collections::{BTreeMap, VecDeque};

/// Blocks of which the base fee is kept: twice as many as a commitment may lag behind.
pub const KEPT_L1_BLOCKS: usize = 2 * MAX_L1_LAG_BLOCKS as usize;

/// Most items that are known and not consumed. A view with so many takes no further block until some are.
pub const MAX_QUEUED_ITEMS: usize = 16_384;

/// A leader names an L1 block only when it has known it as final for so long, in ms: others may hear of it later.
pub const L1_SETTLE_MS: u64 = 2_000;

/// Times of updates are remembered so far apart at least, in ms.
const GRAIN_MS: u64 = L1_SETTLE_MS / 32;

/// Updates of which the time is remembered: more than settle at a time.
const REMEMBERED_UPDATES: usize = 64;

/// A finalized L1 block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Block {
    /// Its number.
    pub number: u64,
    /// Its base fee, in wei per gas.
    pub base_fee: u64,
}

/// An item of the queue and the L1 block that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedItem {
    /// The item.
    pub item: ForcedItem,
    /// Number of its L1 block.
    pub block: u64,
}

/// What became final on L1 since the last update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L1Update {
    /// Blocks, ascending without gaps.
    pub blocks: Vec<L1Block>,
    /// All items of these blocks, in the order of the queue.
    pub items: Vec<QueuedItem>,
}

/// Why an update does not go with what is known. Nothing of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L1Error {
    /// A block is missing, or comes twice.
    #[error("block {got} does not follow block {known}")]
    BlockGap {
        /// The newest block before it.
        known: u64,
        /// The block.
        got: u64,
    },
    /// An item is missing, or comes twice.
    #[error("item {got} stands where item {expected} belongs")]
    ItemGap {
        /// The next item of the queue.
        expected: u64,
        /// The item.
        got: u64,
    },
    /// An item is of a block that the update does not bring, or items are not in the order of their blocks.
    #[error("item {index} is of block {block}, which is not in the update or not in its place")]
    ItemBlock {
        /// The item.
        index: u64,
        /// Its block.
        block: u64,
    },
    /// An item is larger than the queue's contract allows.
    #[error("item {index} has {bytes} of at most {MAX_FORCED_DATA_BYTES} bytes")]
    ItemTooLong {
        /// The item.
        index: u64,
        /// Length of its data.
        bytes: usize,
    },
    /// Too many items wait. Not an error of whoever follows L1: the update is good once some were consumed.
    #[error("more than {MAX_QUEUED_ITEMS} items wait")]
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    queued: QueuedItem,
    /// Rolling hash after the item.
    after: B256,
}

/// What a member knows of L1. See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L1View {
    /// Counts changes, so that a reader can wait for the next one.
    version: u64,
    /// Base fees of the newest finalized blocks.
    base_fees: BTreeMap<u64, u64>,
    /// Number and rolling hash of the queue before the first item that is kept.
    first: u64,
    before: B256,
    items: VecDeque<Known>,
    /// Newest finalized block after some of the last updates, and when it came. Empty if all is long known.
    learned: VecDeque<(u64, u64)>,
    /// Newest finalized block before those updates: it has settled.
    settled_before: Option<u64>,
}

impl L1View {
    /// Nothing known. The queue begins with item 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing known but where the queue stands: `first` items were consumed, `before` is the rolling hash up to
    /// there, as a final commitment has them. For a node that comes new to an old chain.
    pub fn starting_at(first: u64, before: B256) -> Self {
        Self { first, before, ..Self::default() }
    }

    /// Takes over what became final, at `now_ms`.
    ///
    /// # Errors
    /// [`L1Error`]; nothing has changed then.
    pub fn update(&mut self, update: &L1Update, now_ms: u64) -> Result<(), L1Error> {
        let Some((first, last)) = update.blocks.first().zip(update.blocks.last()) else {
            let stray = update.items.first().map(|QueuedItem { item, block }| (item.index, *block));
            return stray.map_or(Ok(()), |(index, block)| Err(L1Error::ItemBlock { index, block }));
        };
        let before = self.finalized().map(|block| block.number);
        self.take(&update.blocks, &update.items, (first.number, last.number))?;
        if self.learned.is_empty() {
            self.settled_before = before;
        }
        self.remember(last.number, now_ms);
        Ok(())
    }

    /// Puts a view together from what was stored: where the queue stood before the first item, kept blocks, kept
    /// items. Items may be of blocks older than those that are kept. All of it counts as settled.
    ///
    /// # Errors
    /// [`L1Error`] if it does not go together: the store is damaged.
    pub fn restored(
        (first, before): (u64, B256),
        blocks: &[L1Block],
        items: &[QueuedItem],
    ) -> Result<Self, L1Error> {
        let mut view = Self::starting_at(first, before);
        let last = blocks.last().map_or(0, |block| block.number);
        view.take(blocks, items, (0, last))?;
        Ok(view)
    }

    /// Checks and takes blocks and items; the items are of blocks within `range`.
    fn take(
        &mut self,
        blocks: &[L1Block],
        items: &[QueuedItem],
        range: (u64, u64),
    ) -> Result<(), L1Error> {
        let mut known = self.base_fees.last_key_value().map(|(number, _)| *number);
        for block in blocks {
            if let Some(known) = known
                && known.checked_add(1) != Some(block.number)
            {
                return Err(L1Error::BlockGap { known, got: block.number });
            }
            known = Some(block.number);
        }
        if self.items.len().saturating_add(items.len()) > MAX_QUEUED_ITEMS {
            return Err(L1Error::Full);
        }
        let ((mut from, last), mut expected) = (range, self.next_index());
        for QueuedItem { item, block } in items {
            let index = item.index;
            if index != expected {
                return Err(L1Error::ItemGap { expected, got: index });
            }
            if *block < from || *block > last {
                return Err(L1Error::ItemBlock { index, block: *block });
            }
            let bytes = item.data.len();
            if bytes > MAX_FORCED_DATA_BYTES {
                return Err(L1Error::ItemTooLong { index, bytes });
            }
            (from, expected) = (*block, expected.saturating_add(1));
        }
        for queued in items {
            let after = roll(self.hash_at_end(), queued.item.hash());
            self.items.push_back(Known { queued: queued.clone(), after });
        }
        self.base_fees.extend(blocks.iter().map(|block| (block.number, block.base_fee)));
        while self.base_fees.len() > KEPT_L1_BLOCKS {
            self.base_fees.pop_first();
        }
        self.version = self.version.wrapping_add(1);
        Ok(())
    }

    /// Remembers when a block came. The newest always; the ones before it only so far apart that the list does not
    /// overflow before the oldest has settled.
    fn remember(&mut self, number: u64, now_ms: u64) {
        let close = |at: usize| {
            let entry = at.checked_sub(1).and_then(|at| self.learned.get(at));
            entry.is_some_and(|(_, at_ms)| now_ms.saturating_sub(*at_ms) < GRAIN_MS)
        };
        if close(self.learned.len().saturating_sub(1)) {
            self.learned.pop_back();
        }
        self.learned.push_back((number, now_ms));
        if self.learned.len() > REMEMBERED_UPDATES
            && let Some((number, _)) = self.learned.pop_front()
        {
            self.settled_before = Some(number);
        }
    }

    /// Forgets items below `cursor`: those that final heights have consumed.
    pub fn forget_consumed(&mut self, cursor: u64) {
        while self.first < cursor
            && let Some(known) = self.items.pop_front()
        {
            self.before = known.after;
            self.first = self.first.saturating_add(1);
        }
    }

    /// Changes with every update.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The newest finalized block; `None` as long as none is known.
    pub fn finalized(&self) -> Option<L1Block> {
        let (number, base_fee) = self.base_fees.last_key_value()?;
        Some(L1Block { number: *number, base_fee: *base_fee })
    }

    /// The newest finalized block that is known for [`L1_SETTLE_MS`] at `now_ms`: what a leader names.
    pub fn settled(&self, now_ms: u64) -> Option<L1Block> {
        if self.learned.is_empty() {
            return self.finalized();
        }
        let settled = self
            .learned
            .iter()
            .rev()
            .find(|(_, at_ms)| at_ms.saturating_add(L1_SETTLE_MS) <= now_ms);
        let number = settled.map(|(number, _)| *number).or(self.settled_before)?;
        Some(L1Block { number, base_fee: self.base_fee(number)? })
    }

    /// Base fee of a finalized block, in wei per gas; `None` if it is not known, or too old.
    pub fn base_fee(&self, number: u64) -> Option<u64> {
        self.base_fees.get(&number).copied()
    }

    /// Number of the next item of the queue.
    pub fn next_index(&self) -> u64 {
        self.first.saturating_add(self.items.len() as u64)
    }

    /// Number of the first item that is kept.
    pub const fn first_index(&self) -> u64 {
        self.first
    }

    /// The item with this number, if it is known and not forgotten.
    pub fn item(&self, index: u64) -> Option<&QueuedItem> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.items.get(at).map(|known| &known.queued)
    }

    /// Rolling hash of the queue's first `cursor` items; `None` if they are not known, or forgotten.
    pub fn hash_at(&self, cursor: u64) -> Option<B256> {
        match cursor.checked_sub(self.first)? {
            0 => Some(self.before),
            count => {
                let at = usize::try_from(count - 1).ok()?;
                self.items.get(at).map(|known| known.after)
            }
        }
    }

    fn hash_at_end(&self) -> B256 {
        self.items.back().map_or(self.before, |known| known.after)
    }

    /// What the height after one that left the queue at `cursor` must consume if it names `l1_block`: the items that
    /// are due there, as many as one height takes. `None` if the queue is not known from `cursor` on.
    pub fn due(
        &self,
        cursor: u64,
        l1_block: u64,
        params: &ChainParams,
    ) -> Option<Vec<&ForcedItem>> {
        let from = usize::try_from(cursor.checked_sub(self.first)?).ok()?;
        if from > self.items.len() {
            return None;
        }
        let due = self.items.range(from..).map(|known| &known.queued).take_while(|queued| {
            queued.block.saturating_add(params.forced_delay_blocks) <= l1_block
        });
        let mut due: Vec<_> = due.map(|queued| &queued.item).take(MAX_FORCED_PER_HEIGHT).collect();
        due.truncate(taken_at_once(due.iter().copied(), params));
        Some(due)
    }
}

#[cfg(test)]
mod tests;
