//! Ethereum's state tests, alone and many in one block.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use alloy_primitives::{Address, B256, keccak256};
use alloy_trie::TrieAccount;
use alloy_trie::root::{state_root_unhashed, storage_root_unhashed};
use blindfold_wire::SkipReason;

use super::eest::{StateTest, files, read_tests};
use super::{Engines, THREADS};
use crate::replay::{Fork, MemoryState, ReplayBlock};
use crate::state::StateView;
use crate::testkit::fixtures;

/// Tests in one packed block, at most.
const PACKED: usize = 64;

/// A gas limit above this makes a test long: a few that fill transient storage until the gas is gone take as
/// long as all others together.
const LONG_GAS: u64 = 5_000_000;

/// And above this it takes seconds.
const VERY_LONG_GAS: u64 = 50_000_000;

/// The root of a whole state, from scratch.
fn state_root(state: &MemoryState) -> B256 {
    state_root_unhashed(state.addresses().map(|address| {
        let account = state.account(address).unwrap().expect("listed");
        let slots = state.slots(address).map(|(slot, value)| (B256::from(slot), value));
        let leaf = TrieAccount {
            nonce: account.nonce,
            balance: account.balance,
            storage_root: storage_root_unhashed(slots),
            code_hash: account.code_hash,
        };
        (address, leaf)
    }))
}

/// All tests, read by two threads.
fn all_tests() -> Option<Vec<StateTest>> {
    let files = files(&fixtures::state_tests()?);
    let (next, tests) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Relaxed)) {
                    let read = read_tests(file).unwrap();
                    tests.lock().unwrap().insert(file, read);
                }
            });
        }
    });
    Some(tests.into_inner().unwrap().into_values().flatten().collect())
}

/// The reason to skip that a test's exception is.
fn expected_reasons(exception: &str) -> Vec<SkipReason> {
    let reason = |name: &str| match name.rsplit('.').next().unwrap_or_default() {
        "INSUFFICIENT_ACCOUNT_FUNDS" => SkipReason::InsufficientFunds,
        "INTRINSIC_GAS_TOO_LOW" | "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST" => SkipReason::IntrinsicGas,
        "SENDER_NOT_EOA" => SkipReason::SenderHasCode,
        "INSUFFICIENT_MAX_FEE_PER_GAS" => SkipReason::FeeCapTooLow,
        "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS" => SkipReason::PriorityAboveFeeCap,
        "TYPE_4_EMPTY_AUTHORIZATION_LIST" => SkipReason::EmptyAuthorizationList,
        _ => SkipReason::Invalid,
    };
    exception.split('|').map(reason).collect()
}

fn check_alone(engines: &Engines, test: &StateTest) -> Result<(), String> {
    let outcome = engines.agree(&test.name, &test.block, &test.pre);
    match (&test.exception, outcome.skipped.first()) {
        (None, None) => {}
        (Some(exception), Some((0, reason))) if expected_reasons(exception).contains(reason) => {}
        (expected, found) => return Err(format!("expected {expected:?}, found {found:?}")),
    }
    let logs: Vec<_> = outcome.receipts.iter().flat_map(|receipt| &receipt.logs).collect();
    let logs_hash = keccak256(alloy_rlp::encode(logs));
    if logs_hash != test.logs_hash {
        return Err(format!("hash of logs is {logs_hash}, not {}", test.logs_hash));
    }
    let mut state = test.pre.clone();
    state.apply(&outcome.diff);
    let root = state_root(&state);
    if root != test.state_root {
        return Err(format!("state root is {root}, not {}:\n{:?}", test.state_root, outcome.diff));
    }
    // The whole state is in the test as well: should its root differ, the reader is wrong.
    assert_eq!(state_root(&test.post), test.state_root, "{}", test.name);
    Ok(())
}

fn gas_limit(test: &StateTest) -> u64 {
    test.block.transactions[0].gas_limit
}

/// Hands every element to `work` on one of two threads, each with engines of its own.
fn on_two_threads<T: Sync>(items: &[T], threads: &[usize], work: impl Fn(&Engines, &T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let engines = Engines::with_threads(threads);
                while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
                    work(&engines, item);
                }
            });
        }
    });
}

fn all_alone(tests: &[StateTest], threads: &[usize]) {
    let failures = Mutex::new(Vec::new());
    on_two_threads(tests, threads, |engines, test| {
        if let Err(problem) = check_alone(engines, test) {
            failures.lock().unwrap().push(format!("{}: {problem}", test.name));
        }
    });
    let failures = failures.into_inner().unwrap();
    let first: Vec<_> = failures.iter().take(5).collect();
    assert!(failures.is_empty(), "{} of {} failed: {first:#?}", failures.len(), tests.len());
}

#[test]
fn state_tests_alone() {
    let Some(tests) = all_tests() else { return };
    assert_eq!(tests.len(), 4_915);
    let (long, short): (Vec<_>, Vec<_>) =
        tests.into_iter().partition(|test| gas_limit(test) > LONG_GAS);
    assert!(short.len() > 4_600, "{} tests are short", short.len());
    all_alone(&short, &THREADS);
    let (_, long): (Vec<_>, Vec<_>) =
        long.into_iter().partition(|test| gas_limit(test) > VERY_LONG_GAS);
    all_alone(&long, &[]);
}

#[test]
#[ignore = "minutes: transactions that use up to 120 million gas, at every number of threads"]
fn long_state_tests_alone() {
    let Some(mut tests) = all_tests() else { return };
    tests.retain(|test| gas_limit(test) > LONG_GAS);
    assert!(tests.len() > 10);
    all_alone(&tests, &THREADS);
}

/// Puts tests with the same surroundings and no address in common into one block.
fn pack(tests: &[StateTest]) -> Vec<(ReplayBlock, MemoryState, Vec<&StateTest>)> {
    struct Packed<'a> {
        tests: Vec<&'a StateTest>,
        addresses: HashSet<Address>,
    }
    let mut groups: BTreeMap<(Fork, String), Vec<Packed<'_>>> = BTreeMap::new();
    for test in tests {
        let surroundings = ReplayBlock { transactions: Vec::new(), ..test.block.clone() };
        let group = groups.entry((test.block.fork, format!("{surroundings:?}"))).or_default();
        let addresses: HashSet<_> = test.pre.addresses().collect();
        let free = group
            .iter_mut()
            .find(|packed| packed.tests.len() < PACKED && packed.addresses.is_disjoint(&addresses));
        match free {
            Some(packed) => {
                packed.addresses.extend(addresses);
                packed.tests.push(test);
            }
            None => group.push(Packed { tests: vec![test], addresses }),
        }
    }
    groups
        .into_values()
        .flatten()
        .map(|Packed { tests, .. }| {
            let mut block = ReplayBlock { transactions: Vec::new(), ..tests[0].block.clone() };
            let mut state = MemoryState::new();
            for test in &tests {
                state.merge(&test.pre);
                block.transactions.extend(test.block.transactions.iter().cloned());
            }
            make_room(&mut block);
            (block, state, tests)
        })
        .collect()
}

/// A gas limit that holds all transactions.
fn make_room(block: &mut ReplayBlock) {
    let all: u64 = block.transactions.iter().map(|tx| tx.gas_limit).fold(0, u64::saturating_add);
    block.gas_limit = block.gas_limit.max(all);
}

fn all_packed(tests: &[StateTest], threads: &[usize]) {
    let failed = Mutex::new(Vec::new());
    on_two_threads(&pack(tests), threads, |engines, (block, state, tests)| {
        let outcome = engines.agree(&tests[0].name, block, state);
        // What a test gives alone, it gives in company, but for the shared beneficiary.
        let skipped: HashSet<_> = outcome.skipped.iter().map(|(index, _)| *index).collect();
        let receipts = &mut outcome.receipts.iter();
        for (index, test) in tests.iter().enumerate() {
            let executed = !skipped.contains(&index);
            let logs = match executed.then(|| receipts.next()).flatten() {
                Some(receipt) => receipt.logs.as_slice(),
                None => &[],
            };
            let logs_hash = keccak256(alloy_rlp::encode(logs.iter().collect::<Vec<_>>()));
            if executed != test.exception.is_none() || logs_hash != test.logs_hash {
                failed.lock().unwrap().push(test.name.clone());
            }
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} differ: {failed:#?}", failed.len(), tests.len());
}

#[test]
fn state_tests_packed_into_blocks() {
    let Some(mut tests) = all_tests() else { return };
    tests.retain(|test| gas_limit(test) <= LONG_GAS);
    all_packed(&tests, &[2, 4]);
}

#[test]
#[ignore = "minutes: with the long ones, at every number of threads"]
fn all_state_tests_packed_into_blocks() {
    let Some(tests) = all_tests() else { return };
    all_packed(&tests, &THREADS);
}

/// Each test's transaction several times with rising nonces, and twice with a nonce that does not fit: most of
/// them depend on each other.
#[test]
#[ignore = "a minute: six transactions for each test"]
fn state_tests_repeated_in_one_block() {
    let Some(mut tests) = all_tests() else { return };
    tests.retain(|test| gas_limit(test) <= LONG_GAS);
    on_two_threads(&tests, &THREADS, |engines, test| {
        let mut block = test.block.clone();
        for step in [1, 2, 0, 3, 9] {
            let mut again = test.block.transactions[0].clone();
            again.nonce += step;
            block.transactions.push(again);
        }
        make_room(&mut block);
        engines.agree(&test.name, &block, &test.pre);
    });
}
