//! Two interleavings that were got wrong once, forced by hand: every step that a thread would take is taken here,
//! in the order that matters.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use alloy_primitives::{Bytes, TxKind, hex};
use revm::context::TxEnv;

use super::schedule::Release;
use super::*;
use crate::evm::CodeCache;
use crate::evm::{Body, Ran, SPEC};
use crate::replay::MemoryState;
use crate::state::StateView;

/// Long enough for a thread that does not sleep for ever.
const PATIENCE: Duration = Duration::from_secs(20);

const CONTRACT: Address = Address::repeat_byte(0xc0);

/// Does one of three things, by how many bytes of input it gets.
///
/// ```text
/// 00 CALLDATASIZE DUP1 PUSH1 01 EQ PUSH1 19 JUMPI DUP1 PUSH1 02 EQ PUSH1 20 JUMPI
/// 0f PUSH1 01 SLOAD PUSH1 01 ADD PUSH1 02 SSTORE STOP             three: slot 2 = slot 1 + 1
/// 19 JUMPDEST PUSH1 01 PUSH1 00 SSTORE STOP                       one: slot 0 = 1
/// 20 JUMPDEST PUSH1 00 SLOAD PUSH1 2c JUMPI PUSH1 07 PUSH1 01 SSTORE
/// 2c JUMPDEST STOP                                                two: slot 1 = 7, unless slot 0 is set
/// ```
const CODE: [u8; 46] = hex!(
    "3680600114601957 80600214602057 60015460010160025500 5b600160005500 5b600054602c576007600155 5b00"
);

fn sender_of(at: usize) -> Address {
    Address::repeat_byte(at as u8 + 1)
}

/// A call with so many bytes of input, each by a sender of its own.
fn job(at: usize, input_bytes: usize) -> Job {
    let tx = TxEnv {
        caller: sender_of(at),
        gas_limit: 200_000,
        kind: TxKind::Call(CONTRACT),
        data: Bytes::from(vec![0; input_bytes]),
        chain_id: Some(1),
        ..TxEnv::default()
    };
    Job { body: Body::Run(Box::new(tx)), charge: None }
}

fn stretch(inputs: &[usize]) -> Arc<Stretch> {
    let mut state = MemoryState::new();
    state.set_contract(CONTRACT, U256::ZERO, 1, Bytes::from_static(&CODE));
    for at in 0..inputs.len() {
        let account = Account { balance: U256::from(10).pow(U256::from(18)), ..Account::default() };
        state.set_account(sender_of(at), account);
    }
    let facts = BlockFacts {
        spec: SPEC,
        chain_id: 1,
        height: 1,
        beneficiary: Address::repeat_byte(0xbe),
        timestamp_s: 1,
        gas_limit: 30_000_000,
        base_fee_wei: 0,
        difficulty: U256::ZERO,
        prev_randao: Some(B256::ZERO),
        excess_blob_gas: Some(0),
        blob_update_fraction: None,
    };
    let rules = StretchRules {
        params: Arc::default(),
        facts,
        codes: CodeCache::default(),
        threads: 2,
        jitter: None,
    };
    let jobs = inputs.iter().enumerate().map(|(at, bytes)| job(at, *bytes)).collect();
    let view: Arc<dyn StateView> = Arc::new(state);
    let (overlay, profiles) = (Overlay::new(view), Profiles::default());
    Arc::new(Stretch::new(rules, Arc::new(jobs), (0, inputs.len()), overlay, 0, &profiles))
}

/// Waits as a thread does that found nothing to do when `events` had happened; whether it was woken.
fn is_woken(stretch: &Arc<Stretch>, events: u64) -> bool {
    let (woken, told) = mpsc::channel();
    let stretch = Arc::clone(stretch);
    thread::spawn(move || {
        stretch.rest(events);
        let _ = woken.send(());
    });
    told.recv_timeout(PATIENCE).is_ok()
}

/// Position 1 shows a write that it takes back when it runs again; position 2 has seen it.
#[test]
fn who_saw_what_was_taken_back_runs_again() {
    let stretch = stretch(&[1, 2, 3]);
    let mut evm = stretch.evm();
    for at in [1, 2] {
        assert_eq!(stretch.claim(), Some(at));
        stretch.run_ahead(&mut evm, at);
    }
    let shown = stretch.slot(CONTRACT, U256::from(1), 2).expect("no store");
    assert_eq!(shown, U256::from(7), "position 1 ran ahead of what keeps it from writing");

    stretch.advance(&mut evm);
    drop(evm);
    let StretchEnd { overlay, results, .. } =
        stretch.end(&Parallel::new(2, CodeCache::default())).expect("all of it ran");
    assert!(results.iter().all(|result| matches!(result.ran, Ran::Executed { success: true, .. })));
    let slot = |slot: u64| overlay.peek_slot(CONTRACT, U256::from(slot)).expect("no store");
    assert_eq!([slot(0), slot(1)], [U256::from(1), U256::ZERO]);
    assert_eq!(slot(2), U256::from(1), "position 2 stands on a write that never was");
}

/// A run ahead ends at the frontier while another thread holds the frontier's lock and has looked at it already.
#[test]
fn who_left_the_frontier_hears_that_its_position_is_done() {
    let stretch = stretch(&[1, 1]);
    let (mut ahead, mut other) = (stretch.evm(), stretch.evm());
    assert_eq!(stretch.claim(), Some(1));

    // The other thread commits position 0, sees that position 1 runs, and finds nothing else to do.
    let events = stretch.events.load(Ordering::SeqCst);
    stretch.advance(&mut other);
    assert_eq!(stretch.frontier.load(Ordering::SeqCst), 1);
    assert_eq!(stretch.claim(), None);

    // It has not let go of the lock yet when the run ends, so this thread cannot commit and goes to rest, too.
    let held = stretch.committed.lock().expect("nobody panicked");
    stretch.run_ahead(&mut ahead, 1);
    let later_events = stretch.events.load(Ordering::SeqCst);
    stretch.advance(&mut ahead);
    assert_eq!(stretch.frontier.load(Ordering::SeqCst), 1);
    assert_eq!((stretch.claim(), later_events), (None, stretch.events.load(Ordering::SeqCst)));
    drop(held);

    assert!(is_woken(&stretch, events), "both threads sleep, and position 1 is done");
    stretch.advance(&mut other);
    assert!(stretch.finished.load(Ordering::SeqCst));
}

/// The same where the run ahead came to nothing.
#[test]
fn who_left_the_frontier_hears_that_its_position_is_given_back() {
    let stretch = stretch(&[1, 1]);
    let mut other = stretch.evm();
    assert_eq!(stretch.claim(), Some(1));
    let events = stretch.events.load(Ordering::SeqCst);
    stretch.advance(&mut other);
    drop(Release(&stretch, 1));
    assert!(is_woken(&stretch, events), "nobody runs position 1");
    assert_eq!(stretch.claim(), None, "left to the frontier");
    stretch.advance(&mut other);
    assert!(stretch.finished.load(Ordering::SeqCst));
}
