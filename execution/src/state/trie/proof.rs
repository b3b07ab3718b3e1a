//! Nodes as Ethereum's proofs want them, from rows.

use alloy_primitives::{B256, Bytes};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};

use super::row::{self, Body, Slot, Span};
use super::seal::stored_rlp;
use super::{RowSource, damaged};
use crate::state::store::StoreError;

/// See [`super::StateTrie::proof`].
pub(super) fn proof(
    source: &dyn RowSource,
    root: B256,
    key: &Nibbles,
) -> Result<Vec<Bytes>, StoreError> {
    let mut nodes = Vec::new();
    if root == EMPTY_ROOT_HASH {
        return Ok(nodes);
    }
    let malformed = || damaged(source, "trie row malformed");
    let mut path = Nibbles::new();
    // Each row's path is longer than the one before, and no longer than the key.
    loop {
        let row = source.rows(&[path])?.pop().flatten();
        let row = row.ok_or_else(|| damaged(source, "trie row missing"))?;
        let mut span = Span::whole(&row);
        loop {
            let body = row::parse(&row, span, path.len()).ok_or_else(malformed)?;
            let rlp = stored_rlp(&row, &body, path.len()).ok_or_else(malformed)?;
            for rlp in rlp {
                // A node below 32 bytes stands in its parent.
                if rlp.len() >= 32 || nodes.is_empty() {
                    nodes.push(rlp.into());
                }
            }
            let Body::Branch { prefix, slots, .. } = body else { return Ok(nodes) };
            path = path.join(&prefix);
            if !key.starts_with(&path) {
                return Ok(nodes);
            }
            let Some(nibble) = key.get(path.len()) else { return Ok(nodes) };
            path.push(nibble);
            let slot = slots[usize::from(nibble)];
            if slot.is_empty() {
                return Ok(nodes);
            }
            match row::parse_slot(&row, slot).ok_or_else(malformed)? {
                Slot::Row(_) => break,
                Slot::Inline(_, body) => span = body,
            }
        }
    }
}
