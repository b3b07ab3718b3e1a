//! Forced items: what enters a height through the queue on L1, whether the committee likes it or not.
//!
//! A contract on L1 numbers items, hashes each, and rolls the hashes into one. A commitment carries the head of
//! the queue as its height leaves it: how many items have been consumed, and the rolling hash up to there. So the
//! items of a height are fixed by two commitments, its own and its parent's; a [`ForcedSpan`] has the items
//! together with the parent's commitment, which makes a block self-contained: whoever has its digest can tell
//! the right items from any others, and needs neither an L1 nor another block for it.
//!
//! | kind | data | what becomes of it |
//! |---|---|---|
//! | 0 sealed | an encoded envelope | the first positions of the order, if it is orderable |
//! | 1 plain | EIP-2718 bytes of a signed transaction of the L2 | executed before position 0 |
//! | 2 deposit | address ‖ wei | credited to a balance |
//! | 3 escrow deposit | address ‖ wei | credited to a payer's escrow |
//! | 4 reimbursement | address ‖ wei | paid from the posting pool, as far as it goes |
//!
//! An item that is none of these, or not valid as what it says it is, is consumed as *skipped*. No item can stop
//! the queue.

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::{
    checked::{AdmissionRules, CheckedEnvelope},
    codec::{DecodeError, ListReader, ListWriter, bounded},
    commitment::OrderCommitment,
    domain,
    envelope::{Envelope, is_gas_class},
    merkle::hash,
    params::ChainParams,
};

/// Most bytes of one item's data. The contract on L1 takes no more.
pub const MAX_FORCED_DATA_BYTES: usize = 2_048;

/// Most items that one height consumes.
pub const MAX_FORCED_PER_HEIGHT: usize = 64;

/// Most bytes of the items that one height consumes, each counted as [`ForcedItem::size_bytes`].
pub const MAX_FORCED_BYTES_PER_HEIGHT: usize = 32 << 10;

/// Gas that a plain item reserves, and the highest gas limit its transaction may have.
pub const FORCED_TRANSACTION_GAS: u64 = 1 << 20;

/// The items of a height reserve at most one part in this many of the block's gas; the first that reserves any is
/// always taken.
pub const FORCED_GAS_DIVISOR: u64 = 2;

/// Bytes of an encoded item besides its data, at most: headers, index, kind, sender.
pub const FORCED_ITEM_OVERHEAD_BYTES: usize = 40;

/// Upper bound of an encoded item, in bytes.
pub const MAX_FORCED_ITEM_BYTES: usize = MAX_FORCED_DATA_BYTES + FORCED_ITEM_OVERHEAD_BYTES;

/// Bytes of the data of a credit: address and wei.
const CREDIT_BYTES: usize = 20 + 32;

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForcedKind {
    /// To order an envelope.
    Sealed = 0,
    /// To execute a transaction that is not sealed.
    Plain = 1,
    /// To credit a balance: a deposit made on L1.
    Deposit = 2,
    /// To credit a payer's escrow: a deposit made on L1.
    EscrowDeposit = 3,
    /// To repay a poster from the posting pool.
    Reimbursement = 4,
}

impl ForcedKind {
    /// All kinds, by number.
    pub const ALL: [Self; 5] =
        [Self::Sealed, Self::Plain, Self::Deposit, Self::EscrowDeposit, Self::Reimbursement];

    /// The kind with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// Stable name, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Plain => "plain",
            Self::Deposit => "deposit",
            Self::EscrowDeposit => "escrow_deposit",
            Self::Reimbursement => "reimbursement",
        }
    }
}

/// One item of the queue on L1, as its event says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForcedItem {
    /// Its number in the queue, from 0.
    pub index: u64,
    /// Number of its kind; see [`Self::kind`]. One that is not known is consumed and skipped.
    pub kind: u8,
    /// The account on L1 that put it there.
    pub sender: Address,
    /// What it holds; at most [`MAX_FORCED_DATA_BYTES`].
    pub data: Bytes,
}

impl ForcedItem {
    /// What it asks for; `None` for a kind that this program does not know.
    pub fn kind(&self) -> Option<ForcedKind> {
        ForcedKind::from_code(self.kind)
    }

    /// keccak256(domain ‖ index, 8 bytes ‖ kind ‖ sender ‖ keccak256(data)), as the contract on L1 has it.
    pub fn hash(&self) -> B256 {
        hash(
            domain::FORCED_ITEM,
            &[
                &self.index.to_be_bytes(),
                &[self.kind],
                self.sender.as_slice(),
                alloy_primitives::keccak256(&self.data).as_slice(),
            ],
        )
    }

    /// Whom a deposit or reimbursement is for, and how many wei it is; `None` for other kinds, and if the data is
    /// not 20 bytes of address and 32 of wei.
    pub fn credit(&self) -> Option<(Address, U256)> {
        match self.kind()? {
            ForcedKind::Sealed | ForcedKind::Plain => None,
            ForcedKind::Deposit | ForcedKind::EscrowDeposit | ForcedKind::Reimbursement => {
                let data: &[u8; CREDIT_BYTES] = self.data.as_ref().try_into().ok()?;
                let (to, wei) = data.split_at(20);
                Some((Address::from_slice(to), U256::from_be_slice(wei)))
            }
        }
    }

    /// Gas of the block that it reserves: the class of an envelope, [`FORCED_TRANSACTION_GAS`] for a plain
    /// transaction, whatever its own limit, nothing for all else.
    pub fn reserved_gas(&self) -> u64 {
        match self.kind() {
            Some(ForcedKind::Sealed) => Envelope::decode(&self.data)
                .map(|envelope| envelope.header.gas_limit)
                .ok()
                .filter(|gas| is_gas_class(*gas))
                .unwrap_or(0),
            Some(ForcedKind::Plain) => FORCED_TRANSACTION_GAS,
            _ => 0,
        }
    }

    /// Bytes that it counts for: its data, and what encoding adds at most.
    pub fn size_bytes(&self) -> usize {
        self.data.len().saturating_add(FORCED_ITEM_OVERHEAD_BYTES)
    }

    /// RLP `[index, kind, sender, data]`.
    pub fn encode(&self) -> Vec<u8> {
        ListWriter::new()
            .int(self.index)
            .int(self.kind)
            .bytes(self.sender.as_slice())
            .bytes(&self.data)
            .finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else, or the data is over [`MAX_FORCED_DATA_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "forced item", MAX_FORCED_ITEM_BYTES)?;
        Self::read(ListReader::exact(bytes, "forced item")?)
    }

    fn read(mut list: ListReader<'_>) -> Result<Self, DecodeError> {
        let item = Self {
            index: list.get("index")?,
            kind: list.get("kind")?,
            sender: list.get::<[u8; 20]>("sender")?.into(),
            data: Bytes::copy_from_slice(list.bytes("data", MAX_FORCED_DATA_BYTES)?),
        };
        list.finish()?;
        Ok(item)
    }
}

/// The rolling hash of the queue after one more item: keccak256(domain ‖ before ‖ item hash). Before the first
/// item it is zero.
pub fn roll(before: B256, item: B256) -> B256 {
    hash(domain::FORCED_QUEUE, &[before.as_slice(), item.as_slice()])
}

/// How many of these items, which are due and in the order of the queue, one height consumes: as many as its
/// bounds allow ([`MAX_FORCED_PER_HEIGHT`], [`MAX_FORCED_BYTES_PER_HEIGHT`], a share of the block's gas, and the
/// most envelopes of a block). Never none of some.
pub fn taken_at_once<'a>(
    due: impl IntoIterator<Item = &'a ForcedItem>,
    params: &ChainParams,
) -> usize {
    let most_gas = params.block_gas_limit / FORCED_GAS_DIVISOR;
    let most_envelopes = usize::try_from(params.max_block_count).unwrap_or(usize::MAX);
    let (mut bytes, mut gas, mut envelopes) = (0usize, 0u64, 0usize);
    let fits = |item: &&ForcedItem| {
        let reserved = item.reserved_gas();
        let is_envelope = item.kind() == Some(ForcedKind::Sealed) && reserved > 0;
        bytes = bytes.saturating_add(item.size_bytes());
        let fits = bytes <= MAX_FORCED_BYTES_PER_HEIGHT
            && (reserved == 0 || gas == 0 || gas.saturating_add(reserved) <= most_gas)
            && (!is_envelope || envelopes < most_envelopes);
        gas = gas.saturating_add(reserved);
        envelopes += usize::from(is_envelope);
        fits
    };
    due.into_iter().take(MAX_FORCED_PER_HEIGHT).take_while(fits).count()
}

/// Checks the envelopes that sealed items hold, one verdict for each item: `None` for one of another kind, or whose
/// data is no valid envelope.
pub fn check_sealed(
    items: &[ForcedItem],
    rules: &AdmissionRules,
    weights_seed: [u8; 32],
) -> Vec<Option<CheckedEnvelope>> {
    let is_sealed = |item: &&ForcedItem| item.kind() == Some(ForcedKind::Sealed);
    let sealed: Vec<Bytes> = items.iter().filter(is_sealed).map(|item| item.data.clone()).collect();
    let mut verdicts = CheckedEnvelope::check_batch(rules, &sealed, weights_seed).into_iter();
    let verdict = |item: &ForcedItem| match is_sealed(&item) {
        true => verdicts.next().and_then(Result::ok),
        false => None,
    };
    items.iter().map(verdict).collect()
}

/// Why items are not those that a commitment consumes. The fault of whoever sent them with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForcedError {
    /// Nothing was ever forced, and yet there are items, or a hash.
    #[error("nothing was forced up to this height")]
    Unexpected,
    /// Something was forced, here or below, and the parent's commitment is missing.
    #[error("the parent's commitment is missing")]
    NoParent,
    /// The commitment is not the parent's.
    #[error("another commitment stands in for the parent's")]
    Parent,
    /// The number of items is not how far the head of the queue moved.
    #[error("{got} items move the queue from {before} to {after}")]
    Count {
        /// Head of the queue in the parent's commitment.
        before: u64,
        /// Head of the queue in the commitment.
        after: u64,
        /// Items found.
        got: usize,
    },
    /// An item's number is not its place in the queue.
    #[error("item {got} stands where item {expected} belongs")]
    Index {
        /// Its place.
        expected: u64,
        /// Its number.
        got: u64,
    },
    /// More bytes of items than a height consumes.
    #[error("{bytes} bytes of items, at most {MAX_FORCED_BYTES_PER_HEIGHT} are allowed")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
    },
    /// The items are others than those that the commitment consumes.
    #[error("the items' rolling hash is not the commitment's")]
    Hash,
}

/// The forced items that a height consumes, with its parent's commitment, which says where the queue stood.
///
/// Empty as long as nothing was ever forced: while the commitment's `forced_cursor` is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForcedSpan(Option<Box<Span>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    parent: OrderCommitment,
    items: Vec<ForcedItem>,
}

impl ForcedSpan {
    /// Of a chain on which nothing was ever forced.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The items that the height after `parent` consumes: the empty span if there are none and never were any.
    pub fn after(parent: &OrderCommitment, items: Vec<ForcedItem>) -> Self {
        if parent.forced_cursor == 0 && items.is_empty() {
            return Self::none();
        }
        Self(Some(Box::new(Span { parent: parent.clone(), items })))
    }

    /// The items, in the order of the queue.
    pub fn items(&self) -> &[ForcedItem] {
        self.0.as_ref().map_or(&[], |span| &span.items)
    }

    /// The parent's commitment, if it is there.
    pub fn parent(&self) -> Option<&OrderCommitment> {
        self.0.as_ref().map(|span| &span.parent)
    }

    /// Head and rolling hash of the queue after the items, starting from the parent's.
    pub fn head(&self) -> (u64, B256) {
        let Some(span) = &self.0 else { return (0, B256::ZERO) };
        let before = (span.parent.forced_cursor, span.parent.forced_hash);
        span.items.iter().fold(before, |(cursor, rolled), item| {
            (cursor.saturating_add(1), roll(rolled, item.hash()))
        })
    }

    /// Checks that these are the items which `commitment` consumes. What passes is fixed by the commitment's
    /// digest, whoever sent it.
    ///
    /// # Errors
    /// [`ForcedError`].
    pub fn check(&self, commitment: &OrderCommitment) -> Result<(), ForcedError> {
        let Some(span) = &self.0 else {
            return match (commitment.forced_cursor, commitment.forced_hash) {
                (0, B256::ZERO) => Ok(()),
                (0, _) => Err(ForcedError::Unexpected),
                _ => Err(ForcedError::NoParent),
            };
        };
        if commitment.forced_cursor == 0 {
            return Err(ForcedError::Unexpected);
        }
        if span.parent.digest() != commitment.parent {
            return Err(ForcedError::Parent);
        }
        let (before, after, got) =
            (span.parent.forced_cursor, commitment.forced_cursor, span.items.len());
        if after.checked_sub(before) != u64::try_from(got).ok() {
            return Err(ForcedError::Count { before, after, got });
        }
        for (expected, item) in (before..).zip(&span.items) {
            if item.index != expected {
                return Err(ForcedError::Index { expected, got: item.index });
            }
        }
        let bytes = self.size_bytes();
        if bytes > MAX_FORCED_BYTES_PER_HEIGHT {
            return Err(ForcedError::TooLarge { bytes });
        }
        if self.head().1 != commitment.forced_hash {
            return Err(ForcedError::Hash);
        }
        Ok(())
    }

    /// Bytes that the items count for; see [`ForcedItem::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        self.items().iter().fold(0, |sum, item| sum.saturating_add(item.size_bytes()))
    }

    /// RLP `[]` if nothing was ever forced, otherwise `[parent's commitment, [item…]]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = ListWriter::new();
        if let Some(span) = &self.0 {
            let mut items = ListWriter::new();
            for item in &span.items {
                items.raw(&item.encode());
            }
            list.raw(&span.parent.encode()).raw(&items.finish());
        }
        list.finish()
    }

    /// Reads canonical bytes. Checks the encoding and bounds, nothing else: see [`Self::check`].
    ///
    /// # Errors
    /// If they are anything else, or more than [`MAX_FORCED_PER_HEIGHT`] items.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "forced", MAX_FORCED_SPAN_BYTES)?;
        let mut list = ListReader::exact(bytes, "forced")?;
        if list.is_empty() {
            return Ok(Self::none());
        }
        let parent = OrderCommitment::decode(list.raw("parent")?)?;
        let items = list
            .list("items")?
            .items("items", MAX_FORCED_PER_HEIGHT, |items| ForcedItem::read(items.list("item")?))?;
        list.finish()?;
        if parent.forced_cursor == 0 && items.is_empty() {
            let reason = "nothing was ever forced";
            return Err(DecodeError::Invalid { field: "forced", reason });
        }
        Ok(Self(Some(Box::new(Span { parent, items }))))
    }
}

/// Upper bound of an encoded [`ForcedSpan`], in bytes: the largest number of the largest items. What a valid one
/// may hold is less.
pub const MAX_FORCED_SPAN_BYTES: usize =
    MAX_FORCED_PER_HEIGHT * MAX_FORCED_ITEM_BYTES + crate::commitment::MAX_COMMITMENT_BYTES + 16;

#[cfg(test)]
mod tests;
