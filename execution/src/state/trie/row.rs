//! The bytes of a row, and of the nodes in it.
//!
//! ```text
//! row   = body                                  of the node whose path is the row's
//! body  = kind, prefix, value                   a leaf; the value is the rest
//!       | kind, prefix, [length u32, value,] children u16, slot…   a branch, slots by nibble
//! prefix = number of nibbles u8, nibbles two a byte; what an extension node would hold
//! slot  = 0, hash                               the child has a row of its own
//!       | 1, length u16, hash, body             the child is here
//!       | 2, length u16, body                   the child is here and its RLP is below 32 bytes
//! ```
//!
//! Numbers are big-endian.

use alloy_primitives::{B256, b256};
use alloy_trie::Nibbles;

use super::MAX_NIBBLES;

/// A child with a longer body gets a row of its own.
pub(super) const MAX_INLINE_BYTES: usize = 512;

/// The end of an account's leaf without storage and code: RLP of the two hashes. It is left out of
/// rows and marked in the kind, because nearly all accounts end in it.
pub(super) const PLAIN_TAIL: [u8; 66] = plain_tail();

const LEAF: u8 = 0;
const LEAF_PLAIN: u8 = 1;
const BRANCH: u8 = 2;
const BRANCH_VALUE: u8 = 3;

const SLOT_ROW: u8 = 0;
const SLOT_HASHED: u8 = 1;
const SLOT_SMALL: u8 = 2;

/// Bytes before the body of a child that is hashed and inline.
const HASHED_HEADER_BYTES: usize = 1 + 2 + 32;

const fn plain_tail() -> [u8; 66] {
    const ROOT: B256 = alloy_trie::EMPTY_ROOT_HASH;
    const CODE: B256 = b256!("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    let mut tail = [0xa0; 66];
    let mut index = 0;
    while index < 32 {
        tail[1 + index] = ROOT.0[index];
        tail[34 + index] = CODE.0[index];
        index += 1;
    }
    tail
}

/// A stretch of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    pub(super) fn of(self, row: &[u8]) -> &[u8] {
        // Spans come from `parse`, which has seen that they lie within the row.
        row.get(self.start as usize..(self.start + self.length) as usize).unwrap_or_default()
    }

    pub(super) const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// The whole row.
    pub(super) const fn whole(row: &[u8]) -> Self {
        Self { start: 0, length: row.len() as u32 }
    }
}

/// A value within a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredValue {
    pub(super) span: Span,
    /// [`PLAIN_TAIL`] follows.
    pub(super) plain: bool,
}

/// A node as it lies in a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    Leaf { prefix: Nibbles, value: StoredValue },
    Branch { prefix: Nibbles, value: Option<StoredValue>, slots: [Span; 16] },
}

/// A child as it lies in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// In a row of its own.
    Row(B256),
    /// Here, with its hash if its RLP has 32 bytes or more.
    Inline(Option<B256>, Span),
}

struct Reader<'a> {
    row: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn new(row: &'a [u8], span: Span) -> Option<Self> {
        let end = span.start.checked_add(span.length)? as usize;
        (end <= row.len()).then_some(Self { row, at: span.start as usize, end })
    }

    fn span(&mut self, length: usize) -> Option<Span> {
        let next = self.at.checked_add(length).filter(|next| *next <= self.end)?;
        let span = Span { start: self.at as u32, length: length as u32 };
        self.at = next;
        Some(span)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.span(N)?.of(self.row).try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<usize> {
        self.take().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn rest(&mut self) -> Option<Span> {
        self.span(self.end - self.at)
    }

    fn prefix(&mut self, most: usize) -> Option<Nibbles> {
        let count = usize::from(self.byte()?);
        if count > most {
            return None;
        }
        let packed = self.span(count.div_ceil(2))?.of(self.row);
        let mut prefix = Nibbles::unpack(packed);
        if count % 2 == 1 && prefix.pop() != Some(0) {
            return None;
        }
        Some(prefix)
    }

    fn slot(&mut self) -> Option<Slot> {
        match self.byte()? {
            SLOT_ROW => Some(Slot::Row(B256::new(self.take()?))),
            SLOT_HASHED => {
                let length = self.u16()?;
                let hash = B256::new(self.take()?);
                Some(Slot::Inline(Some(hash), self.span(length)?))
            }
            SLOT_SMALL => {
                let length = self.u16()?;
                Some(Slot::Inline(None, self.span(length)?))
            }
            _ => None,
        }
    }

    /// Passes over a slot without looking into it.
    fn skip_slot(&mut self) -> Option<Span> {
        let start = self.at;
        match self.byte()? {
            SLOT_ROW => self.span(32)?,
            SLOT_HASHED => {
                let length = self.u16()?;
                self.span(32 + length)?
            }
            SLOT_SMALL => {
                let length = self.u16()?;
                self.span(length)?
            }
            _ => return None,
        };
        Some(Span { start: start as u32, length: (self.at - start) as u32 })
    }
}

/// Takes a node apart that begins `depth` nibbles below the root. Children stay closed.
pub(super) fn parse(row: &[u8], span: Span, depth: usize) -> Option<Body> {
    let mut reader = Reader::new(row, span)?;
    let kind = reader.byte()?;
    let prefix = reader.prefix(MAX_NIBBLES.checked_sub(depth)?)?;
    match kind {
        LEAF | LEAF_PLAIN => {
            let value = StoredValue { span: reader.rest()?, plain: kind == LEAF_PLAIN };
            Some(Body::Leaf { prefix, value })
        }
        BRANCH | BRANCH_VALUE => {
            let mut value = None;
            if kind == BRANCH_VALUE {
                let length = u32::from_be_bytes(reader.take()?);
                value = Some(StoredValue { span: reader.span(length as usize)?, plain: false });
            }
            let children = reader.u16()? as u16;
            let mut slots = [Span::default(); 16];
            for (nibble, slot) in slots.iter_mut().enumerate() {
                if children >> nibble & 1 == 1 {
                    *slot = reader.skip_slot()?;
                }
            }
            // A branch has two ways to go on, and at least one nibble left for its children.
            let ways = children.count_ones() + u32::from(value.is_some());
            let fits = ways >= 2 && depth + prefix.len() < MAX_NIBBLES && reader.at == reader.end;
            fits.then_some(Body::Branch { prefix, value, slots })
        }
        _ => None,
    }
}

/// Looks at a child.
pub(super) fn parse_slot(row: &[u8], span: Span) -> Option<Slot> {
    let mut reader = Reader::new(row, span)?;
    let slot = reader.slot()?;
    (reader.at == reader.end).then_some(slot)
}

fn push_prefix(prefix: &Nibbles, out: &mut Vec<u8>) {
    out.push(prefix.len() as u8);
    out.extend_from_slice(&prefix.pack());
}

/// Appends the body of a leaf. `plain` if [`PLAIN_TAIL`] was left out of the value.
pub(super) fn push_leaf(prefix: &Nibbles, value: &[u8], plain: bool, out: &mut Vec<u8>) {
    let (value, plain) = match value.strip_suffix(&PLAIN_TAIL) {
        Some(head) if !plain => (head, true),
        _ => (value, plain),
    };
    out.push(if plain { LEAF_PLAIN } else { LEAF });
    push_prefix(prefix, out);
    out.extend_from_slice(value);
}

/// Appends the body of a branch up to its slots.
pub(super) fn push_branch(
    prefix: &Nibbles,
    value: Option<(&[u8], bool)>,
    children: u16,
    out: &mut Vec<u8>,
) {
    out.push(if value.is_some() { BRANCH_VALUE } else { BRANCH });
    push_prefix(prefix, out);
    if let Some((head, plain)) = value {
        let tail: &[u8] = if plain { &PLAIN_TAIL } else { &[] };
        out.extend_from_slice(&((head.len() + tail.len()) as u32).to_be_bytes());
        out.extend_from_slice(head);
        out.extend_from_slice(tail);
    }
    out.extend_from_slice(&children.to_be_bytes());
}

/// Appends a slot with the body that `push` appends, inline if it is short. A long one is taken out
/// and returned: it becomes a row.
pub(super) fn push_slot(
    hash: Option<B256>,
    out: &mut Vec<u8>,
    push: impl FnOnce(&mut Vec<u8>),
) -> Option<Vec<u8>> {
    let start = out.len();
    let Some(hash) = hash else {
        // RLP below 32 bytes: the body is short, too.
        out.extend_from_slice(&[SLOT_SMALL, 0, 0]);
        push(out);
        let length = (out.len() - start - 3) as u16;
        out[start + 1..start + 3].copy_from_slice(&length.to_be_bytes());
        return None;
    };
    out.extend_from_slice(&[SLOT_HASHED, 0, 0]);
    out.extend_from_slice(hash.as_slice());
    push(out);
    let length = out.len() - start - HASHED_HEADER_BYTES;
    if length <= MAX_INLINE_BYTES {
        out[start + 1..start + 3].copy_from_slice(&(length as u16).to_be_bytes());
        return None;
    }
    let row = out[start + HASHED_HEADER_BYTES..].to_vec();
    out.truncate(start);
    out.push(SLOT_ROW);
    out.extend_from_slice(hash.as_slice());
    Some(row)
}
