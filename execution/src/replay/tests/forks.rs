//! What old rules leave in the state, spelled out: both engines could be wrong in the same way.

use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};

use super::Engines;
use crate::replay::{Fork, MemoryState, ReplayBlock, ReplayTransaction};
use crate::state::{Account, AccountDiff};

const SENDER: Address = Address::repeat_byte(1);
const TARGET: Address = Address::repeat_byte(2);
const HEIR: Address = Address::repeat_byte(3);

fn state() -> MemoryState {
    let mut state = MemoryState::new();
    let balance = U256::from(10u64.pow(18));
    state.set_account(SENDER, Account { balance, ..Account::default() });
    state
}

fn call(nonce: u64, to: Address, input: &[u8]) -> ReplayTransaction {
    let transaction = ReplayTransaction::legacy(SENDER, nonce, TxKind::Call(to), 500_000);
    ReplayTransaction { input: Bytes::copy_from_slice(input), ..transaction }
}

#[test]
fn touching_nothing_makes_an_empty_account_before_eip_161() {
    let engines = Engines::new();
    for (fork, stays) in [
        (Fork::Frontier, true),
        (Fork::Tangerine, true),
        (Fork::SpuriousDragon, false),
        (Fork::Osaka, false),
    ] {
        let block = ReplayBlock {
            transactions: vec![call(0, TARGET, &[]), call(1, TARGET, &[])],
            ..ReplayBlock::empty(fork)
        };
        let diff = engines.agree(fork.name(), &block, &state()).diff;
        let found = diff.accounts.get(&TARGET).and_then(|changed| changed.account);
        assert_eq!(found, stays.then(Account::default), "{fork}");
        // An empty account that was there stays under the old rules, and leaves under the new.
        let mut before = state();
        before.set_account(TARGET, Account::default());
        let diff = engines.agree(fork.name(), &block, &before).diff;
        let gone = AccountDiff { account: None, wiped: true, ..AccountDiff::default() };
        assert_eq!(diff.accounts.get(&TARGET), (!stays).then_some(&gone), "{fork}");
    }
}

#[test]
fn a_destroyed_contract_takes_its_storage_along_before_cancun() {
    // With an address in the input: destroys itself. Without: counts in slot 0.
    const CODE: &[u8] = &hex!("36 600e 57 6000 54 6001 01 6000 55 00 5b 600035 ff");
    let mut before = state();
    before.set_contract(TARGET, U256::from(77), 1, Bytes::from_static(CODE));
    before.set_storage(TARGET, U256::ZERO, U256::from(40));
    before.set_storage(TARGET, U256::from(9), U256::from(9));
    let transactions = vec![
        call(0, TARGET, &[]),
        call(1, TARGET, HEIR.into_word().as_slice()),
        call(2, TARGET, &[]),
    ];
    for fork in [Fork::Homestead, Fork::Byzantium, Fork::Shanghai, Fork::Cancun, Fork::Osaka] {
        let block = ReplayBlock { transactions: transactions.clone(), ..ReplayBlock::empty(fork) };
        let outcome = Engines::new().agree(fork.name(), &block, &before);
        assert!(outcome.receipts.iter().all(|receipt| receipt.success), "{fork}");
        let changed = &outcome.diff.accounts[&TARGET];
        let heir = outcome.diff.accounts[&HEIR].account.unwrap();
        assert_eq!(heir.balance, U256::from(77), "{fork}");
        if fork >= Fork::Cancun {
            // It stays, with its storage, and only its balance is gone (EIP-6780).
            assert!(!changed.wiped && changed.account.is_some(), "{fork}");
            assert_eq!(changed.storage[&U256::ZERO], U256::from(42), "{fork}");
        } else {
            // The last call finds nobody; before EIP-161 that leaves an empty account behind.
            let left = (fork < Fork::SpuriousDragon).then(Account::default);
            assert_eq!((changed.account, changed.wiped), (left, true), "{fork}");
            assert!(changed.storage.is_empty(), "{fork}");
        }
    }
}

#[test]
fn system_calls_come_first_where_their_contracts_are() {
    // slot[timestamp] ← what is called with
    let roots = Bytes::from_static(&hex!("600035 42 55 00"));
    let (root, parent) = (B256::repeat_byte(7), B256::repeat_byte(8));
    for (fork, calls) in
        [(Fork::Shanghai, 0), (Fork::Cancun, 1), (Fork::Prague, 2), (Fork::Osaka, 2)]
    {
        let mut before = state();
        before.set_contract(BEACON_ROOTS_ADDRESS, U256::ZERO, 1, roots.clone());
        before.set_contract(HISTORY_STORAGE_ADDRESS, U256::ZERO, 1, HISTORY_STORAGE_CODE.clone());
        let block = ReplayBlock {
            number: 100,
            parent_hash: parent,
            parent_beacon_block_root: Some(root),
            transactions: vec![call(0, TARGET, &[])],
            ..ReplayBlock::empty(fork)
        };
        let diff = Engines::new().agree(fork.name(), &block, &before).diff;
        let slot = |contract: Address, slot: u64| {
            let changed = diff.accounts.get(&contract)?;
            changed.storage.get(&U256::from(slot)).copied()
        };
        let beacon = slot(BEACON_ROOTS_ADDRESS, block.timestamp_s);
        assert_eq!(beacon, (calls >= 1).then(|| root.into()), "{fork}");
        let history = slot(HISTORY_STORAGE_ADDRESS, 99);
        assert_eq!(history, (calls >= 2).then(|| parent.into()), "{fork}");
        // Without the contracts nothing is called.
        let diff = Engines::new().agree(fork.name(), &block, &state()).diff;
        assert!(!diff.accounts.contains_key(&BEACON_ROOTS_ADDRESS), "{fork}");
    }
}
