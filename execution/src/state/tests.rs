//! The state against an independent one: tries recomputed from scratch by `alloy-trie`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Decodable as _;
use alloy_trie::nodes::TrieNode;
use alloy_trie::proof::verify_proof;
use alloy_trie::root::{state_root_unhashed, storage_root_unhashed};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use proptest::prelude::*;

use super::account::AccountRow;
use super::*;
use crate::chain::tip_writes;

/// Recomputes the state root from the flat tables of a store alone.
pub(crate) fn flat_root(store: &MemoryStore) -> B256 {
    let slots = store.entries(Column::Storage).expect("memory");
    let accounts =
        store.entries(Column::Accounts).expect("memory").into_iter().map(|(key, row)| {
            let row = AccountRow::decode(&row).expect("own encoding");
            let prefix = super::account::storage_prefix(Address::from_slice(&key), row.incarnation);
            let storage_root = storage_root_unhashed(
                slots.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(key, value)| {
                    (B256::from_slice(&key[prefix.len()..]), U256::from_be_slice(value))
                }),
            );
            let account = TrieAccount {
                nonce: row.account.nonce,
                balance: row.account.balance,
                storage_root,
                code_hash: row.account.code_hash,
            };
            (Address::from_slice(&key), account)
        });
    state_root_unhashed(accounts)
}

/// What the state should be.
type Model = BTreeMap<Address, (Account, BTreeMap<U256, U256>)>;

fn model_root(model: &Model) -> B256 {
    state_root_unhashed(model.iter().map(|(address, (account, storage))| {
        let storage_root =
            storage_root_unhashed(storage.iter().map(|(slot, value)| (B256::from(*slot), *value)));
        let account = TrieAccount {
            nonce: account.nonce,
            balance: account.balance,
            storage_root,
            code_hash: account.code_hash,
        };
        (*address, account)
    }))
}

#[derive(Clone, Debug)]
enum Op {
    /// Nonce and balance; both zero takes the account out of the state.
    Set(u8, u64, u64),
    /// A slot; zero clears it.
    Slot(u8, u8, u64),
    Destroy(u8),
    /// As a creation does: storage is forgotten, the nonce is 1.
    Create(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0u8..24;
    prop_oneof![
        4 => (who.clone(), 0u64..3, prop_oneof![Just(0), any::<u64>()]).prop_map(|(a, n, b)| Op::Set(a, n, b)),
        8 => (who.clone(), 0u8..20, prop_oneof![2 => Just(0), 3 => any::<u64>()])
            .prop_map(|(a, s, v)| Op::Slot(a, s, v)),
        1 => who.clone().prop_map(Op::Destroy),
        1 => who.prop_map(Op::Create),
    ]
}

fn address(index: u8) -> Address {
    Address::from_word(keccak256([index]))
}

fn apply(op: &Op, overlay: &mut Overlay, model: &mut Model) {
    match *op {
        Op::Set(who, nonce, balance) => {
            let account =
                Account { nonce, balance: U256::from(balance), code_hash: KECCAK256_EMPTY };
            overlay.set_account(address(who), account).expect("memory");
            if account.is_empty() {
                model.remove(&address(who));
            } else {
                model.entry(address(who)).or_default().0 = account;
            }
        }
        // The EVM writes storage only of accounts that exist.
        Op::Slot(who, slot, value) => {
            if let Some((_, storage)) = model.get_mut(&address(who)) {
                let (slot, value) = (U256::from(slot), U256::from(value));
                overlay.set_storage(address(who), slot, value).expect("memory");
                if value.is_zero() {
                    storage.remove(&slot);
                } else {
                    storage.insert(slot, value);
                }
            }
        }
        Op::Destroy(who) => {
            overlay.destroy(address(who)).expect("memory");
            model.remove(&address(who));
        }
        Op::Create(who) => {
            let account = Account { nonce: 1, ..Account::default() };
            overlay.clear_storage(address(who)).expect("memory");
            overlay.set_account(address(who), account).expect("memory");
            model.insert(address(who), (account, BTreeMap::new()));
        }
    }
}

fn over(state: &ParentState) -> Overlay {
    Overlay::new(Arc::new(state.clone()))
}

fn seal(parent: &ParentState, overlay: Overlay, height: u64) -> Arc<Layer> {
    let Sealed { state_root, mut writes, .. } =
        super::seal(parent, &overlay.finish().0, height, Address::ZERO, 1).expect("memory");
    let tip = Tip {
        height,
        block_hash: B256::with_last_byte(height as u8),
        state_root,
        timestamp_s: height,
        base_fee_wei: 1,
    };
    writes.extend(tip_writes(&tip));
    Arc::new(Layer { tip, writes: StateWrites::new(writes) })
}

fn genesis() -> (Arc<MemoryStore>, ParentState) {
    let store = Arc::new(MemoryStore::new());
    let void = ParentState::void(Arc::new(MemoryStore::new()));
    let layer = seal(&void, over(&void), 0);
    store.apply(layer.writes()).expect("memory");
    let state = ParentState::open(Arc::clone(&store) as Arc<dyn StateStore>).expect("written");
    (store, state)
}

fn check_reads_and_proofs(state: &ParentState, model: &Model) {
    for who in 0..24 {
        let address = address(who);
        let known = model.get(&address);
        assert_eq!(state.account(address).expect("memory"), known.map(|(account, _)| *account));
        let slots: Vec<_> = (0..20).map(U256::from).collect();
        let proof = state.proof(address, &slots).expect("memory");
        let leaf = known.map(|(account, _)| {
            alloy_rlp::encode(TrieAccount {
                nonce: account.nonce,
                balance: account.balance,
                storage_root: proof.storage_root,
                code_hash: account.code_hash,
            })
        });
        verify_proof(
            state.tip().state_root,
            Nibbles::unpack(keccak256(address)),
            leaf,
            &proof.nodes,
        )
        .expect("account proof");
        for slot in proof.storage {
            let value =
                known.and_then(|(_, storage)| storage.get(&slot.slot)).copied().unwrap_or_default();
            assert_eq!(slot.value, value);
            assert_eq!(state.storage(address, slot.slot).expect("memory"), value);
            verify_proof(
                proof.storage_root,
                Nibbles::unpack(keccak256(slot.slot.to_be_bytes::<32>())),
                (!value.is_zero()).then(|| alloy_rlp::encode(value)),
                &slot.nodes,
            )
            .expect("storage proof");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Random updates and deletions over several blocks, with the store lagging behind: every
    /// root equals the one computed from scratch, and every read and proof agrees.
    #[test]
    fn root_equals_recomputation(
        blocks in prop::collection::vec(prop::collection::vec(op(), 0..60), 1..8),
        lag in 0usize..4,
    ) {
        let (store, mut state) = genesis();
        let mut model = Model::new();
        let mut unwritten = VecDeque::new();
        for (height, ops) in (1u64..).zip(&blocks) {
            let mut overlay = over(&state);
            for op in ops {
                apply(op, &mut overlay, &mut model);
            }
            let layer = seal(&state, overlay, height);
            prop_assert_eq!(layer.tip().state_root, model_root(&model));
            state = state.extend(Arc::clone(&layer)).expect("next height");
            unwritten.push_back(layer);
            while unwritten.len() > lag {
                let layer = unwritten.pop_front().expect("not empty");
                store.apply(layer.writes()).expect("memory");
                state = state.prune(layer.tip().height);
            }
            prop_assert_eq!(state.layer_count(), unwritten.len());
        }
        check_reads_and_proofs(&state, &model);
        for layer in unwritten {
            store.apply(layer.writes()).expect("memory");
        }
        prop_assert_eq!(flat_root(&store), model_root(&model));
        let reopened = ParentState::open(store).expect("written");
        prop_assert_eq!(reopened.tip(), state.tip());
        check_reads_and_proofs(&reopened, &model);
    }
}

/// What a storage trie holds, read through an archive of nodes alone.
fn storage_in(archive: &HashMap<B256, Bytes>, root: B256) -> BTreeMap<Nibbles, U256> {
    let mut found = BTreeMap::new();
    let mut todo = vec![(root, Nibbles::new())];
    while let Some((hash, path)) = todo.pop() {
        if hash == EMPTY_ROOT_HASH {
            continue;
        }
        let node = archive.get(&hash).expect("an archived root has all its nodes");
        let node = TrieNode::decode(&mut &node[..]).expect("a node");
        match node {
            TrieNode::EmptyRoot => unreachable!("it has a hash of its own"),
            TrieNode::Leaf(leaf) => {
                let value = U256::decode(&mut &leaf.value[..]).expect("a value");
                found.insert(path.join(&leaf.key), value);
            }
            TrieNode::Extension(extension) => {
                let child = extension.child.as_hash().expect("hashed keys");
                todo.push((child, path.join(&extension.key)));
            }
            TrieNode::Branch(branch) => {
                for (nibble, child) in branch.as_ref().children() {
                    let Some(child) = child else { continue };
                    let below = path.join(&Nibbles::from_nibbles([nibble]));
                    todo.push((child.as_hash().expect("hashed keys"), below));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whoever keeps what is new after every block has every storage trie there ever was, and is given no node twice.
    #[test]
    fn an_archive_of_new_nodes_holds_every_storage_trie(
        blocks in prop::collection::vec(prop::collection::vec(op(), 0..60), 1..8),
    ) {
        let (store, mut state) = genesis();
        let (mut model, mut archive, mut known) = (Model::new(), HashMap::new(), Vec::new());
        for (height, ops) in (1u64..).zip(&blocks) {
            let mut overlay = over(&state);
            for op in ops {
                apply(op, &mut overlay, &mut model);
            }
            let layer = seal(&state, overlay, height);
            // Before the store has the block, as a node asks.
            state = state.extend(Arc::clone(&layer)).expect("next height");
            for who in 0..24 {
                let has = |hash| Ok::<_, StoreError>(archive.contains_key(&hash));
                let new = state.new_storage_nodes(address(who), has).expect("memory");
                for (hash, node) in new {
                    prop_assert_eq!(keccak256(&node), hash);
                    archive.insert(hash, node);
                }
                let again = |hash| Ok::<_, StoreError>(archive.contains_key(&hash));
                prop_assert!(state.new_storage_nodes(address(who), again).expect("memory").is_empty());
                let root = state.proof(address(who), &[]).expect("memory").storage_root;
                let storage = model.get(&address(who)).map(|(_, storage)| storage.clone());
                known.push((root, storage.unwrap_or_default()));
            }
            store.apply(layer.writes()).expect("memory");
            state = state.prune(height);
        }
        for (root, storage) in known {
            let key = |slot: &U256| Nibbles::unpack(keccak256(slot.to_be_bytes::<32>()));
            let expected = storage.iter().map(|(slot, value)| (key(slot), *value)).collect();
            prop_assert_eq!(storage_in(&archive, root), expected);
        }
    }
}

#[test]
fn account_rows_survive_encoding() {
    let row = AccountRow {
        account: Account { nonce: 7, balance: U256::MAX, code_hash: B256::repeat_byte(3) },
        storage_root: B256::repeat_byte(4),
        incarnation: 99,
    };
    assert_eq!(AccountRow::decode(&row.encode()).expect("own encoding"), row);
    assert_eq!(AccountRow::fresh(Account::default(), 5).storage_root, EMPTY_ROOT_HASH);
    let mut longer = row.encode();
    longer.push(0);
    assert!(AccountRow::decode(&longer).is_err());
}

#[test]
fn later_writes_to_a_key_win() {
    let key = vec![1];
    let writes = StateWrites::new(vec![
        (Column::Code, key.clone(), Some(vec![1])),
        (Column::Accounts, key.clone(), Some(vec![2])),
        (Column::Code, key.clone(), None),
    ]);
    assert_eq!(writes.len(), 2);
    assert_eq!(writes.get(Column::Code, &key), Some(None));
    assert_eq!(writes.get(Column::Accounts, &key), Some(Some(&[2][..])));
    assert_eq!(writes.get(Column::Storage, &key), None);
}

#[test]
fn a_destroyed_account_starts_again_with_empty_storage() {
    let (store, state) = genesis();
    let mut model = Model::new();
    let mut state = state;
    let rounds: [&[Op]; 4] = [
        &[Op::Set(1, 1, 5), Op::Slot(1, 2, 77), Op::Slot(1, 3, 78)],
        &[Op::Destroy(1)],
        &[Op::Set(1, 1, 6), Op::Slot(1, 3, 79)],
        // Destroyed and back within one block.
        &[Op::Destroy(1), Op::Set(1, 1, 7)],
    ];
    for (height, ops) in (1u64..).zip(rounds) {
        let mut overlay = over(&state);
        for op in ops {
            apply(op, &mut overlay, &mut model);
        }
        let layer = seal(&state, overlay, height);
        store.apply(layer.writes()).expect("memory");
        state = state.extend(layer).expect("next").prune(height);
        assert_eq!(state.tip().state_root, model_root(&model), "height {height}");
        check_reads_and_proofs(&state, &model);
    }
}

#[test]
fn layers_must_follow_and_are_bounded() {
    let (_, mut state) = genesis();
    let stale = seal(&state, over(&state), 2);
    assert!(matches!(state.extend(stale), Err(StateError::NotNext { height: 2, tip: 0 })));
    for height in 1..=MAX_LAYERS as u64 {
        let layer = seal(&state, over(&state), height);
        state = state.extend(layer).expect("room");
    }
    let next = state.tip().height + 1;
    let layer = seal(&state, over(&state), next);
    assert!(matches!(state.extend(Arc::clone(&layer)), Err(StateError::TooManyLayers)));
    assert!(state.prune(1).extend(layer).is_ok());
}

#[test]
fn a_reader_notices_that_the_store_moved() {
    let (store, state) = genesis();
    state.check_current().expect("same height");
    let layer = seal(&state, over(&state), 1);
    let next = state.extend(Arc::clone(&layer)).expect("next");
    next.check_current().expect("ahead of the store");
    store.apply(layer.writes()).expect("memory");
    next.check_current().expect("same height");
    assert!(matches!(state.check_current(), Err(StateError::Moved { height: 0 })));
}

#[test]
fn a_hole_in_the_trie_is_damage_and_no_panic() {
    let (store, state) = genesis();
    let mut model = Model::new();
    let mut overlay = over(&state);
    for who in 0..8 {
        apply(&Op::Set(who, 1, 1), &mut overlay, &mut model);
    }
    let layer = seal(&state, overlay, 1);
    store.apply(layer.writes()).expect("memory");
    let state = state.extend(layer).expect("next").prune(1);
    let holes = store
        .entries(Column::AccountTrie)
        .expect("memory")
        .into_iter()
        .map(|(path, _)| (Column::AccountTrie, path, None))
        .collect();
    store.apply(&StateWrites::new(holes)).expect("memory");
    let mut overlay = over(&state);
    apply(&Op::Set(3, 2, 2), &mut overlay, &mut model);
    assert!(matches!(
        super::seal(&state, &overlay.finish().0, 2, Address::ZERO, 1),
        Err(StoreError::Damaged { column: Column::AccountTrie, .. })
    ));
}
