//! The nodes on the way of some changes, in memory, and how they get there from the store.

use std::ops::Range;

use alloy_primitives::Bytes;
use alloy_trie::Nibbles;
use alloy_trie::nodes::RlpNode;

use super::row::{self, Body, Slot, Span, StoredValue};
use super::{Change, RowSource, RowWrite, damaged};
use crate::state::store::StoreError;

/// A value: that of a change, or one that a row holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'c> {
    Changed(&'c [u8]),
    Stored { row: u32, value: StoredValue },
}

/// What hangs under one nibble of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Empty,
    /// As it lies in the branch's row.
    Stored(Span),
    /// A node of the arena.
    Node(u32),
}

#[derive(Debug)]
pub(super) enum Kind<'c> {
    Leaf(Value<'c>),
    /// `row` is where the children lie that are [`Child::Stored`]; `fan` finds all sixteen.
    Branch {
        value: Option<Value<'c>>,
        row: u32,
        fan: u32,
    },
}

#[derive(Debug)]
pub(super) struct Node<'c> {
    /// Nibbles between the parent's and this node: an extension's, or the rest of a leaf's key.
    pub(super) prefix: Nibbles,
    /// Whether the store has a row of its own for the node's path.
    pub(super) stored: bool,
    /// What the parent's RLP holds; set when hashed.
    pub(super) reference: RlpNode,
    pub(super) kind: Kind<'c>,
}

/// A child whose row is still to be read.
struct Wanted {
    fan: u32,
    nibble: u8,
    path: Nibbles,
    /// The changes that go there.
    changes: Range<usize>,
}

/// Nodes by number. Nothing is ever taken out: an arena lives for one update of one subtrie.
pub(super) struct Arena<'c> {
    pub(super) source: &'c dyn RowSource,
    pub(super) nodes: Vec<Node<'c>>,
    pub(super) fans: Vec<[Child; 16]>,
    rows: Vec<Bytes>,
    /// Rows that the changes made superfluous.
    pub(super) writes: Vec<RowWrite>,
}

/// The row number of branches that are in no row.
const NO_ROW: u32 = u32::MAX;

impl<'c> Arena<'c> {
    pub(super) fn new(source: &'c dyn RowSource, changes: usize) -> Self {
        Self {
            source,
            nodes: Vec::with_capacity(changes * 4),
            fans: Vec::with_capacity(changes * 2),
            rows: Vec::with_capacity(changes * 2),
            writes: Vec::with_capacity(changes * 2),
        }
    }

    pub(super) fn damaged(&self) -> StoreError {
        damaged(self.source, "trie row malformed")
    }

    pub(super) fn row(&self, row: u32) -> &[u8] {
        self.rows.get(row as usize).map_or(&[], |row| row.as_ref())
    }

    pub(super) fn node(&self, index: u32) -> &Node<'c> {
        &self.nodes[index as usize]
    }

    pub(super) fn node_mut(&mut self, index: u32) -> &mut Node<'c> {
        &mut self.nodes[index as usize]
    }

    /// The bytes of a value, and whether the plain tail follows them.
    pub(super) fn value(&self, value: Value<'c>) -> (&[u8], bool) {
        match value {
            Value::Changed(bytes) => (bytes, false),
            Value::Stored { row, value } => (value.span.of(self.row(row)), value.plain),
        }
    }

    pub(super) fn push_row(&mut self, row: Bytes) -> u32 {
        self.rows.push(row);
        (self.rows.len() - 1) as u32
    }

    fn push(&mut self, prefix: Nibbles, kind: Kind<'c>) -> u32 {
        let reference = RlpNode::default();
        self.nodes.push(Node { prefix, stored: false, reference, kind });
        (self.nodes.len() - 1) as u32
    }

    pub(super) fn push_leaf(&mut self, prefix: Nibbles, value: Value<'c>) -> u32 {
        self.push(prefix, Kind::Leaf(value))
    }

    pub(super) fn push_branch(
        &mut self,
        prefix: Nibbles,
        value: Option<Value<'c>>,
        children: [Child; 16],
    ) -> u32 {
        let fan = self.push_fan(children);
        self.push(prefix, Kind::Branch { value, row: NO_ROW, fan })
    }

    fn push_fan(&mut self, children: [Child; 16]) -> u32 {
        self.fans.push(children);
        (self.fans.len() - 1) as u32
    }

    /// Reads the trie from the row of `path` down, as far as the changes go. They begin with `path`.
    pub(super) fn load_row(
        &mut self,
        path: Nibbles,
        changes: &'c [Change],
    ) -> Result<Child, StoreError> {
        let fan = self.push_fan([Child::Empty; 16]);
        let wanted = Wanted { fan, nibble: 0, path, changes: 0..changes.len() };
        self.load(vec![wanted], changes)?;
        Ok(self.fans[fan as usize][0])
    }

    /// The same from a slot that lies in `row`.
    pub(super) fn load_slot(
        &mut self,
        row: u32,
        slot: Span,
        path: Nibbles,
        changes: &'c [Change],
    ) -> Result<Child, StoreError> {
        let fan = self.push_fan([Child::Stored(slot); 16]);
        let mut wanted = Vec::new();
        let place = Wanted { fan, nibble: 0, path, changes: 0..changes.len() };
        self.open_slot(row, slot, place, changes, &mut wanted)?;
        self.load(wanted, changes)?;
        Ok(self.fans[fan as usize][0])
    }

    fn load(&mut self, mut wanted: Vec<Wanted>, changes: &'c [Change]) -> Result<(), StoreError> {
        while !wanted.is_empty() {
            let paths: Vec<_> = wanted.iter().map(|wanted| wanted.path).collect();
            let rows = self.source.rows(&paths)?;
            let places = std::mem::take(&mut wanted);
            for (place, bytes) in places.into_iter().zip(rows) {
                let bytes = bytes.ok_or_else(|| damaged(self.source, "trie row missing"))?;
                let whole = Span::whole(&bytes);
                let row = self.push_row(bytes.into());
                let node = self.open(row, whole, place, changes, &mut wanted)?;
                self.node_mut(node).stored = true;
            }
        }
        Ok(())
    }

    fn open_slot(
        &mut self,
        row: u32,
        slot: Span,
        place: Wanted,
        changes: &'c [Change],
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), StoreError> {
        match row::parse_slot(self.row(row), slot).ok_or_else(|| self.damaged())? {
            Slot::Row(_) => wanted.push(place),
            Slot::Inline(_, body) => {
                self.open(row, body, place, changes, wanted)?;
            }
        }
        Ok(())
    }

    /// Makes a node of a body, and nodes of those inline below it that changes go to. Each step
    /// down takes a nibble of `path`, so malformed rows cannot make it go deep.
    fn open(
        &mut self,
        row: u32,
        body: Span,
        place: Wanted,
        changes: &'c [Change],
        wanted: &mut Vec<Wanted>,
    ) -> Result<u32, StoreError> {
        let depth = place.path.len();
        let body = row::parse(self.row(row), body, depth).ok_or_else(|| self.damaged())?;
        let stored = |value| Value::Stored { row, value };
        let node = match body {
            Body::Leaf { prefix, value } => self.push_leaf(prefix, stored(value)),
            Body::Branch { prefix, value, slots } => {
                let fan =
                    self.push_fan(slots.map(|slot| {
                        if slot.is_empty() { Child::Empty } else { Child::Stored(slot) }
                    }));
                let path = place.path.join(&prefix);
                for (nibble, range) in groups(changes, place.changes, depth, &path) {
                    let slot = slots[usize::from(nibble)];
                    if slot.is_empty() {
                        continue;
                    }
                    let mut path = path;
                    path.push_unchecked(nibble);
                    let place = Wanted { fan, nibble, path, changes: range };
                    self.open_slot(row, slot, place, changes, wanted)?;
                }
                self.push(prefix, Kind::Branch { value: value.map(stored), row, fan })
            }
        };
        self.fans[place.fan as usize][usize::from(place.nibble)] = Child::Node(node);
        Ok(node)
    }
}

/// Splits the changes that begin with `path` and go on, by their next nibble. All in `range` agree
/// with `path` in its first `known` nibbles.
pub(super) fn groups(
    changes: &[Change],
    range: Range<usize>,
    known: usize,
    path: &Nibbles,
) -> impl Iterator<Item = (u8, Range<usize>)> {
    let range = if known == path.len() { range } else { below(changes, range, path) };
    let at = path.len();
    let mut next = range.start;
    std::iter::from_fn(move || {
        while next < range.end {
            let start = next;
            // A key that ends here is the branch's own.
            let Some(nibble) = changes[start].key.get(at) else {
                next += 1;
                continue;
            };
            let rest = &changes[start..range.end];
            next = start + rest.partition_point(|change| change.key.get(at) == Some(nibble));
            return Some((nibble, start..next));
        }
        None
    })
}

/// The part of `range` that begins with `path`.
pub(super) fn below(changes: &[Change], range: Range<usize>, path: &Nibbles) -> Range<usize> {
    let part = &changes[range.clone()];
    let start = part.partition_point(|change| change.key < *path);
    let length = part[start..].partition_point(|change| change.key.starts_with(path));
    range.start + start..range.start + start + length
}
