//! Changes applied to the nodes of an arena.

use std::ops::Range;

use alloy_trie::Nibbles;

use super::arena::{Arena, Child, Kind, Value, below, groups};
use super::{Change, row_key};
use crate::state::store::StoreError;

/// A key with its value, when a part of the trie is made anew.
type Item<'c> = (Nibbles, Value<'c>);

impl<'c> Arena<'c> {
    /// Applies `changes[range]`, which agree in their first `depth` nibbles, to what hangs there.
    /// Depth and keys are bounded by 64 nibbles, and so is the recursion.
    pub(super) fn apply(
        &mut self,
        at: Child,
        depth: usize,
        changes: &'c [Change],
        range: Range<usize>,
    ) -> Result<Child, StoreError> {
        let Some(first) = changes[range.clone()].first() else { return Ok(at) };
        let index = match at {
            Child::Empty => {
                let items: Vec<_> = inserts(&changes[range]).collect();
                return Ok(self.build(depth, &items));
            }
            Child::Node(index) => index,
            // `load` has opened everything that changes go to.
            Child::Stored(_) => return Err(self.damaged()),
        };
        let stored = std::mem::take(&mut self.node_mut(index).stored);
        let new = match self.node(index).kind {
            Kind::Leaf(value) => self.apply_to_leaf(index, value, depth, &changes[range]),
            Kind::Branch { value, row, fan } => {
                let branch = Branch { index, value, row, fan };
                self.apply_to_branch(branch, depth, changes, range)?
            }
        };
        // The row belongs to whatever is at the path now.
        match new {
            Child::Node(index) => self.node_mut(index).stored = stored,
            _ if stored => self.writes.push((row_key(&first.key.slice(..depth)), None)),
            _ => {}
        }
        Ok(new)
    }

    fn apply_to_leaf(
        &mut self,
        index: u32,
        value: Value<'c>,
        depth: usize,
        changes: &'c [Change],
    ) -> Child {
        let prefix = self.node(index).prefix;
        let key = changes[0].key.slice(..depth).join(&prefix);
        let at = changes.partition_point(|change| change.key < key);
        let replaced = changes.get(at).is_some_and(|change| change.key == key);
        if changes.len() == 1 && replaced {
            return match &changes[0].value {
                Some(value) => {
                    self.node_mut(index).kind = Kind::Leaf(Value::Changed(value));
                    Child::Node(index)
                }
                None => Child::Empty,
            };
        }
        let (before, after) = changes.split_at(at);
        let own = (!replaced).then_some((key, value));
        let items: Vec<_> = inserts(before).chain(own).chain(inserts(after)).collect();
        self.build(depth, &items)
    }

    /// Makes the part of the trie that holds exactly `items`, ascending.
    fn build(&mut self, depth: usize, items: &[Item<'c>]) -> Child {
        let (Some((first, value)), Some((last, _))) = (items.first(), items.last()) else {
            return Child::Empty;
        };
        if items.len() == 1 {
            return Child::Node(self.push_leaf(first.slice(depth..), *value));
        }
        let at = first.common_prefix_length(last);
        let prefix = first.slice(depth..at);
        let (own, mut items) =
            if first.len() == at { (Some(*value), &items[1..]) } else { (None, items) };
        let mut children = [Child::Empty; 16];
        while let Some((key, _)) = items.first() {
            let nibble = key.get_unchecked(at);
            let (group, rest) =
                items.split_at(items.partition_point(|(key, _)| key.get_unchecked(at) == nibble));
            children[usize::from(nibble)] = self.build(at + 1, group);
            items = rest;
        }
        Child::Node(self.push_branch(prefix, own, children))
    }

    fn apply_to_branch(
        &mut self,
        mut branch: Branch<'c>,
        depth: usize,
        changes: &'c [Change],
        range: Range<usize>,
    ) -> Result<Child, StoreError> {
        let Branch { index, fan, .. } = branch;
        let prefix = self.node(index).prefix;
        let path = changes[range.start].key.slice(..depth).join(&prefix);
        if let Some(at) = leaves_at(&changes[range.clone()], &prefix, &path) {
            // An insertion leaves the prefix: a branch comes to be where it does.
            let at = at - depth;
            let mut children = [Child::Empty; 16];
            children[usize::from(prefix.get_unchecked(at))] = Child::Node(index);
            self.node_mut(index).prefix = prefix.slice(at + 1..);
            let upper = self.push_branch(prefix.slice(..at), None, children);
            return self.apply(Child::Node(upper), depth, changes, range);
        }

        let range = if prefix.is_empty() { range } else { below(changes, range, &path) };
        if range.is_empty() {
            return Ok(Child::Node(index));
        }
        let depth = path.len();
        if changes[range.start].key.len() == depth {
            branch.value = changes[range.start].value.as_deref().map(Value::Changed);
            self.node_mut(index).kind = branch.kind();
        }
        for (nibble, group) in groups(changes, range, depth, &path) {
            let place = usize::from(nibble);
            let child = self.fans[fan as usize][place];
            self.fans[fan as usize][place] = self.apply(child, depth + 1, changes, group)?;
        }
        self.collapse(branch, path)
    }

    /// A branch with one way to go on is none.
    fn collapse(&mut self, branch: Branch<'c>, path: Nibbles) -> Result<Child, StoreError> {
        let Branch { index, value, row, fan } = branch;
        let children = &self.fans[fan as usize];
        let mut left = (0u8..).zip(children).filter(|(_, child)| **child != Child::Empty);
        let (nibble, child) = match (left.next(), left.next(), value) {
            (None, _, None) => return Ok(Child::Empty),
            (None, _, Some(value)) => {
                self.node_mut(index).kind = Kind::Leaf(value);
                return Ok(Child::Node(index));
            }
            (Some((nibble, child)), None, None) => (nibble, *child),
            _ => return Ok(Child::Node(index)),
        };
        let mut child_path = path;
        child_path.push(nibble);
        let only = match child {
            Child::Node(only) => only,
            // No change goes there, but it moves up: its row, if it has one, is needed now.
            Child::Stored(slot) => match self.load_slot(row, slot, child_path, &[])? {
                Child::Node(only) => only,
                _ => return Err(self.damaged()),
            },
            Child::Empty => return Ok(Child::Empty),
        };
        if std::mem::take(&mut self.node_mut(only).stored) {
            self.writes.push((row_key(&child_path), None));
        }
        let mut prefix = self.node(index).prefix;
        prefix.push(nibble);
        let node = self.node_mut(only);
        node.prefix = prefix.join(&node.prefix);
        Ok(Child::Node(only))
    }
}

/// A branch of the arena, by its numbers.
#[derive(Clone, Copy)]
struct Branch<'c> {
    index: u32,
    value: Option<Value<'c>>,
    row: u32,
    fan: u32,
}

impl<'c> Branch<'c> {
    const fn kind(&self) -> Kind<'c> {
        Kind::Branch { value: self.value, row: self.row, fan: self.fan }
    }
}

fn inserts(changes: &[Change]) -> impl Iterator<Item = Item<'_>> {
    changes.iter().filter_map(|change| Some((change.key, Value::Changed(change.value.as_deref()?))))
}

/// Where the first insertion to do so leaves `path`, in nibbles from the root.
fn leaves_at(changes: &[Change], prefix: &Nibbles, path: &Nibbles) -> Option<usize> {
    if prefix.is_empty() {
        return None;
    }
    changes
        .iter()
        .filter(|change| change.value.is_some())
        .map(|change| change.key.common_prefix_length(path))
        .min()
        .filter(|at| *at < path.len())
}
