//! One update: alone for few changes, otherwise the subtries under the root one by one.

use std::ops::Range;

use alloy_primitives::B256;
use alloy_primitives::Bytes;
use alloy_rlp::EMPTY_STRING_CODE;
use alloy_trie::nodes::RlpNode;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};

use super::arena::{Arena, Child, groups};
use super::row::{self, Body, Span};
use super::seal::{push_branch_rlp, push_slot_reference, root_of};
use super::{Change, RowSource, RowWrite, Updated, damaged, row_key};
use crate::state::store::StoreError;
use crate::state::threads::in_turn;

/// With fewer changes than this the trie is updated as a whole, on one thread.
const MIN_SPLIT_CHANGES: usize = 64;

/// See [`super::StateTrie::update`].
pub(super) fn update(
    source: &dyn RowSource,
    root: B256,
    changes: &[Change],
    threads: usize,
) -> Result<Updated, StoreError> {
    debug_assert!(changes.is_sorted_by(|a, b| a.key < b.key), "changes ascend, each key once");
    if changes.is_empty() {
        return Ok(Updated { root, writes: Vec::new() });
    }
    if root != EMPTY_ROOT_HASH
        && changes.len() >= MIN_SPLIT_CHANGES
        && let Some(updated) = Root::read(source)?.update(source, changes, threads)?
    {
        return Ok(updated);
    }
    whole(source, root, changes)
}

fn whole(source: &dyn RowSource, root: B256, changes: &[Change]) -> Result<Updated, StoreError> {
    let mut arena = Arena::new(source, changes.len());
    let top = if root == EMPTY_ROOT_HASH {
        Child::Empty
    } else {
        arena.load_row(Nibbles::new(), changes)?
    };
    let Child::Node(top) = arena.apply(top, 0, changes, 0..changes.len())? else {
        return Ok(Updated { root: EMPTY_ROOT_HASH, writes: arena.writes });
    };
    arena.hash(top)?;
    let mut writes = std::mem::take(&mut arena.writes);
    let mut body = Vec::new();
    arena.push_body(top, Nibbles::new(), &mut body, &mut writes);
    writes.push((row_key(&Nibbles::new()), Some(body)));
    Ok(Updated { root: root_of(&arena.node(top).reference), writes })
}

/// The row of the root.
struct Root {
    row: Bytes,
    body: Body,
}

/// What became of a subtrie.
struct Part {
    /// The slot for the root's row; empty if nothing is left.
    slot: Vec<u8>,
    reference: RlpNode,
    writes: Vec<RowWrite>,
}

impl Root {
    fn read(source: &dyn RowSource) -> Result<Self, StoreError> {
        let row = source.rows(&[Nibbles::new()])?.pop().flatten();
        let row: Bytes = row.ok_or_else(|| damaged(source, "trie row missing"))?.into();
        let body = row::parse(&row, Span::whole(&row), 0);
        let body = body.ok_or_else(|| damaged(source, "trie row malformed"))?;
        Ok(Self { row, body })
    }

    /// `None` if the root is no branch before or after, which is rare and left to [`whole`].
    fn update(
        &self,
        source: &dyn RowSource,
        changes: &[Change],
        threads: usize,
    ) -> Result<Option<Updated>, StoreError> {
        let Body::Branch { prefix, value, slots } = &self.body else { return Ok(None) };
        if !prefix.is_empty() || changes.iter().any(|change| change.key.is_empty()) {
            return Ok(None);
        }
        let jobs: Vec<_> = groups(changes, 0..changes.len(), 0, prefix).collect();
        let parts = in_turn(jobs.len(), threads, |job| {
            let (nibble, range) = &jobs[job];
            let slot = slots[usize::from(*nibble)];
            self.update_part(source, *nibble, slot, &changes[Range::clone(range)])
        });
        let mut by_nibble: [Option<Part>; 16] = Default::default();
        for ((nibble, _), part) in jobs.iter().zip(parts) {
            by_nibble[usize::from(*nibble)] = Some(part?);
        }

        let lives = |nibble: &usize| match &by_nibble[*nibble] {
            Some(part) => !part.slot.is_empty(),
            None => !slots[*nibble].is_empty(),
        };
        let children = (0..16).filter(lives).fold(0u16, |children, nibble| children | 1 << nibble);
        if children.count_ones() + u32::from(value.is_some()) < 2 {
            return Ok(None);
        }
        let value = value.map(|value| (value.span.of(&self.row), value.plain));
        let mut rlp = Vec::with_capacity(544);
        push_branch_rlp(value, &mut rlp, |nibble, out| {
            match &by_nibble[nibble] {
                Some(part) if !part.slot.is_empty() => out.extend_from_slice(&part.reference),
                None if !slots[nibble].is_empty() => {
                    return push_slot_reference(&self.row, slots[nibble], 1, out);
                }
                _ => out.push(EMPTY_STRING_CODE),
            }
            Some(())
        })
        .ok_or_else(|| damaged(source, "trie row malformed"))?;

        let mut body = Vec::with_capacity(self.row.len() + 64);
        row::push_branch(prefix, value, children, &mut body);
        let mut writes = Vec::with_capacity(changes.len() * 2);
        for (part, slot) in by_nibble.into_iter().zip(slots) {
            match part {
                Some(part) => {
                    body.extend_from_slice(&part.slot);
                    writes.extend(part.writes);
                }
                None => body.extend_from_slice(slot.of(&self.row)),
            }
        }
        writes.push((row_key(prefix), Some(body)));
        Ok(Some(Updated { root: root_of(&RlpNode::from_rlp(&rlp)), writes }))
    }

    fn update_part(
        &self,
        source: &dyn RowSource,
        nibble: u8,
        slot: Span,
        changes: &[Change],
    ) -> Result<Part, StoreError> {
        let mut arena = Arena::new(source, changes.len());
        let path = Nibbles::from_nibbles([nibble]);
        let top = if slot.is_empty() {
            Child::Empty
        } else {
            let row = arena.push_row(self.row.clone());
            arena.load_slot(row, slot, path, changes)?
        };
        let mut part = Part { slot: Vec::new(), reference: RlpNode::default(), writes: Vec::new() };
        if let Child::Node(top) = arena.apply(top, 1, changes, 0..changes.len())? {
            arena.hash(top)?;
            part.reference = arena.node(top).reference.clone();
            arena.push_slot(top, path, &mut part.slot);
        }
        part.writes = arena.writes;
        Ok(part)
    }
}
