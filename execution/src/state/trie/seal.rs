//! Changed nodes hashed, and laid into rows.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Header};
use alloy_trie::Nibbles;
use alloy_trie::nodes::RlpNode;

use super::arena::{Arena, Child, Kind};
use super::keccak::Messages;
use super::row::{self, Body, Slot, Span, StoredValue};
use super::{RowWrite, row_key};
use crate::state::store::StoreError;

impl Arena<'_> {
    /// Hashes every node of the arena from `top` down, a level at a time, the deepest first.
    pub(super) fn hash(&mut self, top: u32) -> Result<(), StoreError> {
        let mut order = vec![top];
        let mut levels = Vec::new();
        let mut start = 0;
        while start < order.len() {
            let level = start..order.len();
            for place in level.clone() {
                if let Kind::Branch { fan, .. } = self.node(order[place]).kind {
                    order.extend(self.fans[fan as usize].iter().filter_map(|child| match child {
                        Child::Node(index) => Some(*index),
                        _ => None,
                    }));
                }
            }
            start = level.end;
            levels.push(level);
        }
        let mut messages = Messages::default();
        let mut hashed = Vec::new();
        for level in levels.into_iter().rev() {
            messages.clear();
            hashed.clear();
            for index in &order[level] {
                let start = messages.end().len();
                self.push_rlp(*index, messages.end())?;
                let rlp = &messages.end()[start..];
                if rlp.len() < 32 {
                    self.node_mut(*index).reference = RlpNode::from_rlp(rlp);
                    messages.end().truncate(start);
                    self.wrap(*index);
                } else {
                    messages.close(start);
                    hashed.push(*index);
                }
            }
            for (index, hash) in hashed.iter().zip(messages.hash()) {
                self.node_mut(*index).reference = RlpNode::word_rlp(&hash);
                self.wrap(*index);
            }
        }
        Ok(())
    }

    /// A branch with a prefix is an extension and a branch: the reference becomes the extension's.
    fn wrap(&mut self, index: u32) {
        let node = self.node_mut(index);
        if node.prefix.is_empty() || matches!(node.kind, Kind::Leaf(_)) {
            return;
        }
        let mut rlp = Vec::with_capacity(80);
        push_extension_rlp(&node.prefix, &node.reference, &mut rlp);
        node.reference = RlpNode::from_rlp(&rlp);
    }

    /// Appends the RLP of a node whose children are hashed; of a branch without its prefix.
    fn push_rlp(&self, index: u32, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let node = self.node(index);
        match node.kind {
            Kind::Leaf(value) => {
                let (value, plain) = self.value(value);
                push_leaf_rlp(&node.prefix, value, plain, out);
            }
            Kind::Branch { value, row, fan } => {
                let bytes = self.row(row);
                let value = value.map(|value| self.value(value));
                let fan = &self.fans[fan as usize];
                push_branch_rlp(value, out, |nibble, out| match fan[nibble] {
                    Child::Empty => {
                        out.push(EMPTY_STRING_CODE);
                        Some(())
                    }
                    Child::Node(child) => {
                        out.extend_from_slice(&self.node(child).reference);
                        Some(())
                    }
                    Child::Stored(slot) => push_slot_reference(bytes, slot, 0, out),
                })
                .ok_or_else(|| self.damaged())?;
            }
        }
        Ok(())
    }

    /// Lays a hashed node into a slot, and rows below it into the arena's writes.
    pub(super) fn push_slot(&mut self, index: u32, path: Nibbles, out: &mut Vec<u8>) {
        let hash = self.node(index).reference.as_hash();
        let stored = self.node(index).stored;
        let mut writes = std::mem::take(&mut self.writes);
        let row = row::push_slot(hash, out, |out| self.push_body(index, path, out, &mut writes));
        self.writes = writes;
        if row.is_some() || stored {
            self.writes.push((row_key(&path), row));
        }
    }

    /// Appends the body of a hashed node.
    pub(super) fn push_body(
        &self,
        index: u32,
        path: Nibbles,
        out: &mut Vec<u8>,
        writes: &mut Vec<RowWrite>,
    ) {
        let node = self.node(index);
        match node.kind {
            Kind::Leaf(value) => {
                let (value, plain) = self.value(value);
                row::push_leaf(&node.prefix, value, plain, out);
            }
            Kind::Branch { value, row, fan } => {
                let fan = &self.fans[fan as usize];
                let children = (0..16)
                    .filter(|nibble| fan[*nibble] != Child::Empty)
                    .fold(0u16, |children, nibble| children | 1 << nibble);
                let value = value.map(|value| self.value(value));
                row::push_branch(&node.prefix, value, children, out);
                let path = path.join(&node.prefix);
                for (nibble, child) in (0u8..).zip(fan) {
                    match child {
                        Child::Empty => {}
                        Child::Stored(slot) => out.extend_from_slice(slot.of(self.row(row))),
                        Child::Node(child) => {
                            let mut path = path;
                            path.push_unchecked(nibble);
                            self.push_child(*child, path, out, writes);
                        }
                    }
                }
            }
        }
    }

    fn push_child(&self, index: u32, path: Nibbles, out: &mut Vec<u8>, writes: &mut Vec<RowWrite>) {
        let node = self.node(index);
        let hash = node.reference.as_hash();
        let row = row::push_slot(hash, out, |out| self.push_body(index, path, out, writes));
        if row.is_some() || node.stored {
            writes.push((row_key(&path), row));
        }
    }
}

/// The root of a trie whose top node has this reference.
pub(super) fn root_of(reference: &RlpNode) -> B256 {
    reference.as_hash().unwrap_or_else(|| keccak256(reference))
}

/// Appends what a parent's RLP holds for the child in `slot`, `depth` nibbles below where the caller
/// began: that bounds the recursion.
pub(super) fn push_slot_reference(
    row: &[u8],
    slot: Span,
    depth: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    match row::parse_slot(row, slot)? {
        Slot::Row(hash) | Slot::Inline(Some(hash), _) => {
            out.push(EMPTY_STRING_CODE + 32);
            out.extend_from_slice(hash.as_slice());
        }
        Slot::Inline(None, body) => {
            let body = row::parse(row, body, depth)?;
            let rlp = stored_rlp(row, &body, depth)?.swap_remove(0);
            if rlp.len() >= 32 {
                return None;
            }
            out.extend_from_slice(&rlp);
        }
    }
    Some(())
}

/// The RLP of a node in a row; for a branch with a prefix that of the extension, then that of the
/// branch.
pub(super) fn stored_rlp(row: &[u8], body: &Body, depth: usize) -> Option<Vec<Vec<u8>>> {
    let mut rlp = Vec::new();
    match body {
        Body::Leaf { prefix, value: StoredValue { span, plain } } => {
            push_leaf_rlp(prefix, span.of(row), *plain, &mut rlp);
            Some(vec![rlp])
        }
        Body::Branch { prefix, value, slots } => {
            let value = value.map(|value| (value.span.of(row), value.plain));
            push_branch_rlp(value, &mut rlp, |nibble, out| {
                if slots[nibble].is_empty() {
                    out.push(EMPTY_STRING_CODE);
                    return Some(());
                }
                push_slot_reference(row, slots[nibble], depth + prefix.len() + 1, out)
            })?;
            if prefix.is_empty() {
                return Some(vec![rlp]);
            }
            let mut extension = Vec::new();
            push_extension_rlp(prefix, &RlpNode::from_rlp(&rlp), &mut extension);
            Some(vec![extension, rlp])
        }
    }
}

fn push_leaf_rlp(prefix: &Nibbles, value: &[u8], plain: bool, out: &mut Vec<u8>) {
    let path = HexPrefix::new(prefix, true);
    let payload_length = path.length() + string_length(value, tail(plain));
    Header { list: true, payload_length }.encode(out);
    path.push(out);
    push_string_rlp(value, tail(plain), out);
}

/// Bytes of the RLP header of a branch with more than a few children.
const ROOM: usize = 3;

/// Appends a branch, asking `push` for the reference of each child.
pub(super) fn push_branch_rlp(
    value: Option<(&[u8], bool)>,
    out: &mut Vec<u8>,
    mut push: impl FnMut(usize, &mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    // Room for the header of most branches; what is behind moves if it takes more or less.
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    for nibble in 0..16 {
        push(nibble, out)?;
    }
    let (head, tail) = match value {
        Some((head, plain)) => (head, tail(plain)),
        None => (&[][..], &[][..]),
    };
    push_string_rlp(head, tail, out);
    let header = Header { list: true, payload_length: out.len() - start - ROOM };
    let mut bytes = [0; 9];
    header.encode(&mut &mut bytes[..]);
    let bytes = &bytes[..header.length()];
    if bytes.len() == ROOM {
        out[start..start + ROOM].copy_from_slice(bytes);
    } else {
        out.splice(start..start + ROOM, bytes.iter().copied());
    }
    Some(())
}

const fn tail(plain: bool) -> &'static [u8] {
    if plain { &row::PLAIN_TAIL } else { &[] }
}

/// Length of the RLP of a string in two parts.
fn string_length(head: &[u8], tail: &[u8]) -> usize {
    let payload_length = head.len() + tail.len();
    let header = Header { list: false, payload_length };
    payload_length + if is_single(head, tail) { 0 } else { header.length() }
}

/// A byte below 0x80 is its own RLP.
fn is_single(head: &[u8], tail: &[u8]) -> bool {
    tail.is_empty() && matches!(head, [byte] if *byte < EMPTY_STRING_CODE)
}

fn push_string_rlp(head: &[u8], tail: &[u8], out: &mut Vec<u8>) {
    if !is_single(head, tail) {
        Header { list: false, payload_length: head.len() + tail.len() }.encode(out);
    }
    out.extend_from_slice(head);
    out.extend_from_slice(tail);
}

fn push_extension_rlp(prefix: &Nibbles, child: &[u8], out: &mut Vec<u8>) {
    let path = HexPrefix::new(prefix, false);
    Header { list: true, payload_length: path.length() + child.len() }.encode(out);
    path.push(out);
    out.extend_from_slice(child);
}

/// A path in the encoding of the Yellow Paper, appendix C.
struct HexPrefix {
    bytes: [u8; 33],
    length: usize,
}

impl HexPrefix {
    fn new(path: &Nibbles, leaf: bool) -> Self {
        let mut bytes = [0; 33];
        let flag = if leaf { 0x20 } else { 0 };
        let length = 1 + path.len() / 2;
        if path.len().is_multiple_of(2) {
            bytes[0] = flag;
            bytes[1..length].copy_from_slice(&path.pack());
        } else {
            bytes[0] = flag | 0x10 | path.get_unchecked(0);
            bytes[1..length].copy_from_slice(&path.slice(1..).pack());
        }
        Self { bytes, length }
    }

    fn is_single(&self) -> bool {
        self.length == 1
    }

    /// Length of the RLP.
    fn length(&self) -> usize {
        // The first byte is below 0x40: alone, it is its own RLP.
        if self.is_single() { 1 } else { 1 + self.length }
    }

    fn push(&self, out: &mut Vec<u8>) {
        if !self.is_single() {
            out.push(EMPTY_STRING_CODE + self.length as u8);
        }
        out.extend_from_slice(&self.bytes[..self.length]);
    }
}
