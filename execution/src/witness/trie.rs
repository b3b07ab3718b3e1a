//! A Merkle-Patricia trie of which only some nodes are known.
//!
//! Small and slow on purpose: the auditor's way to a state root shares nothing with the way of whoever made
//! the block but the encoding of nodes. A node that is needed and not known is an error of the [`Source`],
//! never an empty subtree.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Decodable, EMPTY_STRING_CODE, Encodable};
use alloy_trie::nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieMask};

/// Nibbles of every key: tries of the state have hashes for keys.
const KEY_NIBBLES: usize = 64;

/// First byte of a child that is given by its hash: a string of 32 bytes.
const HASH_STRING_CODE: u8 = EMPTY_STRING_CODE + 32;

/// A key, one nibble a byte.
pub(super) type Key = [u8; KEY_NIBBLES];

/// The path of a hashed key.
pub(super) fn key(hash: B256) -> Key {
    let mut nibbles = [0; KEY_NIBBLES];
    for (pair, byte) in nibbles.chunks_exact_mut(2).zip(hash) {
        pair[0] = byte >> 4;
        pair[1] = byte & 0x0f;
    }
    nibbles
}

/// Where nodes come from.
pub(super) trait Source {
    /// Why there is no node.
    type Error;

    /// The RLP of the node with this hash, which lies at this path. The caller relies on the hash.
    fn node(&mut self, hash: B256, path: &[u8]) -> Result<Vec<u8>, Self::Error>;

    /// The bytes with this hash are not a node of a trie with keys of 32 bytes.
    fn malformed(&self, hash: B256) -> Self::Error;
}

/// A node, with what is known below it.
#[derive(Clone, Debug)]
enum Node {
    /// Only its hash is known.
    Sealed(B256),
    Leaf {
        path: Vec<u8>,
        value: Vec<u8>,
    },
    Extension {
        path: Vec<u8>,
        child: Box<Node>,
    },
    Branch(Box<[Option<Node>; 16]>),
}

/// Bytes that are no node.
struct Malformed;

impl Node {
    /// Reads a node that begins after `depth` nibbles.
    fn decode(rlp: &[u8], depth: usize) -> Result<Self, Malformed> {
        let mut rest = rlp;
        let node = TrieNode::decode(&mut rest).map_err(|_| Malformed)?;
        // Two encodings of one node would have two hashes.
        if !rest.is_empty() || alloy_rlp::encode(&node) != rlp {
            return Err(Malformed);
        }
        match node {
            TrieNode::EmptyRoot => Err(Malformed),
            TrieNode::Leaf(leaf) => {
                let path = leaf.key.to_vec();
                if depth + path.len() != KEY_NIBBLES || leaf.value.is_empty() {
                    return Err(Malformed);
                }
                Ok(Self::Leaf { path, value: leaf.value })
            }
            TrieNode::Extension(extension) => {
                let path = extension.key.to_vec();
                let below = depth + path.len();
                if path.is_empty() || below >= KEY_NIBBLES {
                    return Err(Malformed);
                }
                let child = Self::decode_child(&extension.child, below)?;
                match child {
                    Self::Sealed(_) | Self::Branch(_) => {
                        Ok(Self::Extension { path, child: Box::new(child) })
                    }
                    Self::Leaf { .. } | Self::Extension { .. } => Err(Malformed),
                }
            }
            TrieNode::Branch(branch) => {
                if depth >= KEY_NIBBLES || branch.stack.len() < 2 {
                    return Err(Malformed);
                }
                let mut children = [const { None }; 16];
                let mut stack = branch.stack.iter();
                for (nibble, child) in (0u8..).zip(&mut children) {
                    if branch.state_mask.is_bit_set(nibble) {
                        let reference = stack.next().ok_or(Malformed)?;
                        *child = Some(Self::decode_child(reference, depth + 1)?);
                    }
                }
                Ok(Self::Branch(Box::new(children)))
            }
        }
    }

    /// Reads a reference to a node: its hash, or the node itself if it is shorter than a hash.
    fn decode_child(reference: &RlpNode, depth: usize) -> Result<Self, Malformed> {
        match reference.as_slice() {
            [HASH_STRING_CODE, hash @ ..] if hash.len() == 32 => {
                Ok(Self::Sealed(B256::from_slice(hash)))
            }
            inline if inline.len() < 32 => Self::decode(inline, depth),
            _ => Err(Malformed),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            // Whoever refers to a sealed node writes its hash.
            Self::Sealed(_) => {}
            Self::Leaf { path, value } => {
                LeafNodeRef::new(&Nibbles::from_nibbles_unchecked(path), value).encode(out);
            }
            Self::Extension { path, child } => {
                let child = child.reference();
                ExtensionNodeRef::new(&Nibbles::from_nibbles_unchecked(path), &child).encode(out);
            }
            Self::Branch(children) => {
                let mut mask = TrieMask::default();
                let mut stack = Vec::with_capacity(16);
                for (nibble, child) in (0u8..).zip(children.iter()) {
                    if let Some(child) = child {
                        mask.set_bit(nibble);
                        stack.push(child.reference());
                    }
                }
                BranchNodeRef::new(&stack, mask).encode(out);
            }
        }
    }

    fn reference(&self) -> RlpNode {
        if let Self::Sealed(hash) = self {
            return RlpNode::word_rlp(hash);
        }
        let mut rlp = Vec::new();
        self.encode(&mut rlp);
        RlpNode::from_rlp(&rlp)
    }

    /// The node with `prefix` before its path, as it stands where its parent has gone.
    fn lengthened(self, mut prefix: Vec<u8>) -> Self {
        match self {
            Self::Leaf { path, value } => {
                prefix.extend(path);
                Self::Leaf { path: prefix, value }
            }
            Self::Extension { path, child } => {
                prefix.extend(path);
                Self::Extension { path: prefix, child }
            }
            branch if prefix.is_empty() => branch,
            branch => Self::Extension { path: prefix, child: Box::new(branch) },
        }
    }
}

/// Replaces a sealed node by what its hash stands for.
fn unseal<S: Source>(node: Node, source: &mut S, path: &[u8]) -> Result<Node, S::Error> {
    let Node::Sealed(hash) = node else { return Ok(node) };
    let rlp = source.node(hash, path)?;
    Node::decode(&rlp, path.len()).map_err(|Malformed| source.malformed(hash))
}

/// A trie that is opened as far as it is looked at.
pub(super) struct SparseTrie {
    root: Option<Node>,
}

impl SparseTrie {
    /// The trie with this root. Nothing is looked up yet.
    pub(super) fn new(root: B256) -> Self {
        Self { root: (root != EMPTY_ROOT_HASH).then_some(Node::Sealed(root)) }
    }

    /// The value of a key, or `None` if the trie proves that there is none.
    pub(super) fn get<S: Source>(
        root: B256,
        source: &mut S,
        key: &Key,
    ) -> Result<Option<Vec<u8>>, S::Error> {
        let Some(mut node) = Self::new(root).root else { return Ok(None) };
        let mut depth = 0;
        loop {
            match unseal(node, source, &key[..depth])? {
                // Cannot be: it was unsealed.
                Node::Sealed(hash) => return Err(source.malformed(hash)),
                Node::Leaf { path, value } => {
                    return Ok((path == key[depth..]).then_some(value));
                }
                Node::Extension { path, child } => {
                    if !key[depth..].starts_with(&path) {
                        return Ok(None);
                    }
                    depth += path.len();
                    node = *child;
                    // Below an extension there is a branch, or the hash names nothing of ours.
                    if let Node::Sealed(hash) = node {
                        node = unseal(node, source, &key[..depth])?;
                        if !matches!(node, Node::Branch(_)) {
                            return Err(source.malformed(hash));
                        }
                    }
                }
                Node::Branch(mut children) => {
                    let Some(child) = children[usize::from(key[depth])].take() else {
                        return Ok(None);
                    };
                    depth += 1;
                    node = child;
                }
            }
        }
    }

    /// Sets a non-empty value.
    pub(super) fn insert<S: Source>(
        &mut self,
        source: &mut S,
        key: &Key,
        value: Vec<u8>,
    ) -> Result<(), S::Error> {
        self.root = Some(insert(self.root.take(), source, key, 0, value)?);
        Ok(())
    }

    /// Removes a value; an absent one is no error.
    pub(super) fn remove<S: Source>(&mut self, source: &mut S, key: &Key) -> Result<(), S::Error> {
        if let Some(root) = self.root.take() {
            self.root = remove(root, source, key, 0)?.0;
        }
        Ok(())
    }

    /// The root hash.
    pub(super) fn root(&self) -> B256 {
        match &self.root {
            None => EMPTY_ROOT_HASH,
            Some(Node::Sealed(hash)) => *hash,
            Some(node) => {
                let mut rlp = Vec::new();
                node.encode(&mut rlp);
                keccak256(&rlp)
            }
        }
    }
}

fn insert<S: Source>(
    node: Option<Node>,
    source: &mut S,
    key: &Key,
    depth: usize,
    value: Vec<u8>,
) -> Result<Node, S::Error> {
    let rest = &key[depth..];
    let Some(node) = node else { return Ok(Node::Leaf { path: rest.to_vec(), value }) };
    Ok(match unseal(node, source, &key[..depth])? {
        Node::Sealed(hash) => return Err(source.malformed(hash)),
        Node::Leaf { path, value: old } => {
            let common = common_prefix(&path, rest);
            if common == rest.len() {
                return Ok(Node::Leaf { path, value });
            }
            let old = Node::Leaf { path: path[common + 1..].to_vec(), value: old };
            fork(rest, common, (path[common], old), value)
        }
        Node::Extension { path, child } => {
            let common = common_prefix(&path, rest);
            if common == path.len() {
                let child = insert(Some(*child), source, key, depth + common, value)?;
                return Ok(Node::Extension { path, child: Box::new(child) });
            }
            let below = path[common + 1..].to_vec();
            let old =
                if below.is_empty() { *child } else { Node::Extension { path: below, child } };
            fork(rest, common, (path[common], old), value)
        }
        Node::Branch(mut children) => {
            let child = &mut children[usize::from(rest[0])];
            *child = Some(insert(child.take(), source, key, depth + 1, value)?);
            Node::Branch(children)
        }
    })
}

/// A branch after `common` nibbles of `rest`, between what was there and a new leaf.
fn fork(rest: &[u8], common: usize, (nibble, old): (u8, Node), value: Vec<u8>) -> Node {
    let mut children = [const { None }; 16];
    children[usize::from(nibble)] = Some(old);
    let leaf = Node::Leaf { path: rest[common + 1..].to_vec(), value };
    children[usize::from(rest[common])] = Some(leaf);
    Node::Branch(Box::new(children)).lengthened(rest[..common].to_vec())
}

/// What is left of a node without the key, and whether the key was there.
fn remove<S: Source>(
    node: Node,
    source: &mut S,
    key: &Key,
    depth: usize,
) -> Result<(Option<Node>, bool), S::Error> {
    let rest = &key[depth..];
    Ok(match unseal(node, source, &key[..depth])? {
        Node::Sealed(hash) => return Err(source.malformed(hash)),
        Node::Leaf { path, .. } if path == rest => (None, true),
        leaf @ Node::Leaf { .. } => (Some(leaf), false),
        Node::Extension { path, child } => {
            if !rest.starts_with(&path) {
                return Ok((Some(Node::Extension { path, child }), false));
            }
            let (child, removed) = remove(*child, source, key, depth + path.len())?;
            (child.map(|child| child.lengthened(path)), removed)
        }
        Node::Branch(mut children) => {
            let at = usize::from(rest[0]);
            let Some(child) = children[at].take() else {
                return Ok((Some(Node::Branch(children)), false));
            };
            let (child, removed) = remove(child, source, key, depth + 1)?;
            children[at] = child;
            (collapse(children, source, &key[..depth])?, removed)
        }
    })
}

/// A branch of a single child is no branch: the child takes its place, and has to be known for that.
fn collapse<S: Source>(
    mut children: Box<[Option<Node>; 16]>,
    source: &mut S,
    path: &[u8],
) -> Result<Option<Node>, S::Error> {
    let mut left = (0u8..).zip(children.iter()).filter(|(_, child)| child.is_some());
    let Some((nibble, _)) = left.next() else { return Ok(None) };
    if left.next().is_some() {
        return Ok(Some(Node::Branch(children)));
    }
    let Some(child) = children[usize::from(nibble)].take() else { return Ok(None) };
    let child = unseal(child, source, &[path, &[nibble]].concat())?;
    Ok(Some(child.lengthened(vec![nibble])))
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use alloy_trie::HashBuilder;
    use proptest::prelude::*;

    use super::*;

    /// All nodes by hash, and which were asked for.
    #[derive(Default)]
    struct Known {
        nodes: HashMap<B256, Vec<u8>>,
        asked: BTreeSet<B256>,
    }

    #[derive(Debug, PartialEq)]
    enum Failure {
        Missing(B256),
        Malformed(B256),
    }

    impl Source for Known {
        type Error = Failure;

        fn node(&mut self, hash: B256, _: &[u8]) -> Result<Vec<u8>, Failure> {
            self.asked.insert(hash);
            self.nodes.get(&hash).cloned().ok_or(Failure::Missing(hash))
        }

        fn malformed(&self, hash: B256) -> Failure {
            Failure::Malformed(hash)
        }
    }

    type Model = BTreeMap<B256, Vec<u8>>;

    /// A key among few that share long prefixes.
    fn near(index: u8) -> B256 {
        let mut key = [0; 32];
        key[0] = index >> 6 << 4;
        key[7] = index >> 4 & 3;
        key[31] = index & 15;
        B256::from(key)
    }

    fn model_root(model: &Model) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, value) in model {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        builder.root()
    }

    /// Builds the trie node by node, so that all of them are known.
    fn known(model: &Model) -> (B256, Known) {
        let mut source = Known::default();
        let mut trie = SparseTrie::new(EMPTY_ROOT_HASH);
        for (hash, value) in model {
            trie.insert(&mut source, &key(*hash), value.clone()).expect("nothing is sealed");
        }
        fn note(node: &Node, nodes: &mut HashMap<B256, Vec<u8>>) {
            let mut rlp = Vec::new();
            node.encode(&mut rlp);
            nodes.insert(keccak256(&rlp), rlp);
            match node {
                Node::Sealed(_) | Node::Leaf { .. } => {}
                Node::Extension { child, .. } => note(child, nodes),
                Node::Branch(children) => {
                    children.iter().flatten().for_each(|child| note(child, nodes))
                }
            }
        }
        if let Some(root) = &trie.root {
            note(root, &mut source.nodes);
        }
        (trie.root(), source)
    }

    fn value(byte: u8) -> Vec<u8> {
        // Long and short ones: short leaves deep down lie within their parents.
        vec![byte | 1; 1 + usize::from(byte % 3) * 20]
    }

    proptest! {
        #[test]
        fn equals_a_trie_from_scratch(
            start in prop::collection::btree_map(any::<u8>(), any::<u8>(), 0..40),
            changes in prop::collection::vec((any::<u8>(), prop::option::of(any::<u8>())), 0..40),
        ) {
            let mut model: Model = start.iter().map(|(k, v)| (near(*k), value(*v))).collect();
            let (root, mut source) = known(&model);
            prop_assert_eq!(root, model_root(&model));
            for index in 0..=255 {
                let got = SparseTrie::get(root, &mut source, &key(near(index))).expect("all known");
                prop_assert_eq!(got.as_ref(), model.get(&near(index)));
            }
            source.asked.clear();
            let mut trie = SparseTrie::new(root);
            for (index, change) in &changes {
                match change {
                    Some(byte) => {
                        trie.insert(&mut source, &key(near(*index)), value(*byte)).expect("known");
                        model.insert(near(*index), value(*byte));
                    }
                    None => {
                        trie.remove(&mut source, &key(near(*index))).expect("known");
                        model.remove(&near(*index));
                    }
                }
            }
            prop_assert_eq!(trie.root(), model_root(&model));

            // Without any one of the nodes it asked for, it fails and names it.
            for hash in source.asked.clone() {
                let node = source.nodes.remove(&hash).expect("was asked for");
                let mut trie = SparseTrie::new(root);
                let failed = changes.iter().find_map(|(index, change)| match change {
                    Some(byte) => {
                        trie.insert(&mut source, &key(near(*index)), value(*byte)).err()
                    }
                    None => trie.remove(&mut source, &key(near(*index))).err(),
                });
                prop_assert_eq!(failed, Some(Failure::Missing(hash)));
                source.nodes.insert(hash, node);
            }
        }
    }

    #[test]
    fn what_no_trie_holds_is_malformed() {
        let leaf = |nibbles: usize| {
            let path = Nibbles::from_nibbles_unchecked(vec![1; nibbles]);
            alloy_rlp::encode(LeafNodeRef::new(&path, &[7; 40]))
        };
        let extension = |nibbles: usize, child: B256| {
            let path = Nibbles::from_nibbles_unchecked(vec![1; nibbles]);
            alloy_rlp::encode(ExtensionNodeRef::new(&path, &RlpNode::word_rlp(&child)))
        };
        let get = |nodes: &[Vec<u8>]| {
            let mut source = Known::default();
            for node in nodes {
                source.nodes.insert(keccak256(node), node.clone());
            }
            let root = keccak256(nodes.last().expect("a root"));
            (root, SparseTrie::get(root, &mut source, &[1; KEY_NIBBLES]))
        };
        let (_, good) = get(&[leaf(64)]);
        assert_eq!(good, Ok(Some(vec![7; 40])));
        for bad in
            [leaf(63), leaf(0), extension(64, B256::ZERO), extension(0, B256::ZERO), vec![0xc0]]
        {
            let (root, got) = get(&[bad]);
            assert_eq!(got, Err(Failure::Malformed(root)));
        }
        // Trailing bytes, and an extension above a leaf.
        let (root, got) = get(&[[leaf(64), vec![0]].concat()]);
        assert_eq!(got, Err(Failure::Malformed(root)));
        let (below, above) = (leaf(60), keccak256(leaf(60)));
        let (_, got) = get(&[below, extension(4, above)]);
        assert_eq!(got, Err(Failure::Malformed(above)));
    }
}
