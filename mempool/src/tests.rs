//! Step tables and properties of the pool, on real envelopes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{LazyLock, Mutex},
};

use blindfold_wire::{
    Address, B256, Bytes, CheckedEnvelope, EnvelopeHeader, SigningKey, U256, testkit::TestCommittee,
};
use proptest::prelude::*;

use crate::{
    Admission, BlockTarget, Change, Mempool, MempoolConfig, OrderedEnvelope, PoolStatus, Rejection,
    Removal,
};

const GWEI: u128 = 1_000_000_000;
const FAR: u64 = 1_000;

static COMMITTEE: LazyLock<TestCommittee> = LazyLock::new(|| TestCommittee::new(1, 7));

/// What distinguishes test envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Spec {
    payer: u8,
    nonce: u64,
    max_fee_gwei: u128,
    priority_gwei: u128,
    expiry: u64,
}

fn spec(payer: u8, nonce: u64, max_fee_gwei: u128, priority_gwei: u128) -> Spec {
    Spec { payer, nonce, max_fee_gwei, priority_gwei, expiry: FAR }
}

fn key(payer: u8) -> SigningKey {
    SigningKey::random([payer + 1; 32])
}

fn address(payer: u8) -> Address {
    key(payer).address()
}

/// Sealing takes milliseconds, so every envelope is made once.
fn envelope(spec: Spec) -> CheckedEnvelope {
    static MADE: LazyLock<Mutex<HashMap<Spec, CheckedEnvelope>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    made.entry(spec)
        .or_insert_with(|| {
            let header = EnvelopeHeader {
                max_fee_per_gas: spec.max_fee_gwei * GWEI,
                max_priority_fee_per_gas: spec.priority_gwei * GWEI,
                expiry_height: spec.expiry,
                ..COMMITTEE.header(spec.nonce)
            };
            COMMITTEE.envelope(&key(spec.payer), header, b"sealed")
        })
        .clone()
}

type Accounts = HashMap<Address, (u64, U256)>;

fn rich() -> Accounts {
    (0..8).map(|payer| (address(payer), (0, U256::MAX))).collect()
}

fn config() -> MempoolConfig {
    MempoolConfig::new(COMMITTEE.genesis.params.clone())
}

fn small(max_envelopes: usize) -> Mempool {
    Mempool::new(MempoolConfig { max_envelopes, ..config() })
}

fn admit(pool: &mut Mempool, spec: Spec, accounts: &Accounts) -> Result<Admission, Rejection> {
    let admission = pool.admit(envelope(spec), accounts, 0);
    pool.assert_consistent();
    if let Err(rejection) = &admission {
        assert!(!rejection.peer_at_fault(), "{rejection} blames the peer");
    }
    admission
}

fn id(spec: Spec) -> B256 {
    envelope(spec).id()
}

fn target() -> BlockTarget {
    BlockTarget {
        height: 1,
        floor: GWEI.into(),
        max_count: 100,
        max_bytes: 1 << 20,
        max_gas: u64::MAX,
    }
}

#[test]
fn admission_is_recorded_with_its_bytes() {
    let mut pool = Mempool::new(config());
    let first = spec(0, 0, 10, 1);
    assert_eq!(admit(&mut pool, first, &rich()).unwrap(), Admission::default());
    let bytes = Bytes::clone(envelope(first).bytes());
    assert_eq!(pool.drain_changes(), [Change::Insert { id: id(first), bytes }]);
    assert_eq!(pool.drain_changes(), []);
    assert_eq!(pool.status(&id(first)), Some(PoolStatus::Pending));
    assert!(matches!(admit(&mut pool, first, &rich()), Err(Rejection::AlreadyKnown { .. })));
    assert_eq!(pool.drain_changes(), [], "a rejection changes nothing");
}

#[test]
fn nonces_are_bounded_on_both_sides() {
    let mut pool = Mempool::new(MempoolConfig { nonce_window: 3, ..config() });
    let mut accounts = rich();
    accounts.insert(address(0), (2, U256::MAX));
    for (nonce, admitted) in [(1, false), (2, true), (4, true), (5, false), (u64::MAX, false)] {
        let result = admit(&mut pool, spec(0, nonce, 10, 1), &accounts);
        assert_eq!(result.is_ok(), admitted, "nonce {nonce}");
        match result {
            Err(Rejection::StaleNonce { next_nonce, .. }) => {
                assert_eq!((nonce, next_nonce), (1, 2))
            }
            Err(Rejection::NonceTooFar { limit, .. }) => assert_eq!(limit, 5),
            other => assert!(other.is_ok(), "{other:?}"),
        }
    }
    assert_eq!(pool.status(&id(spec(0, 4, 10, 1))), Some(PoolStatus::Gapped));
    assert_eq!(pool.next_free_nonce(&address(0), 2), 3);
    admit(&mut pool, spec(0, 3, 10, 1), &accounts).unwrap();
    assert_eq!(pool.status(&id(spec(0, 4, 10, 1))), Some(PoolStatus::Pending));
    assert_eq!(pool.next_free_nonce(&address(0), 2), 5);
}

#[test]
fn replacement_needs_both_fees_ten_percent_higher() {
    let mut pool = Mempool::new(config());
    let first = spec(0, 0, 100, 10);
    admit(&mut pool, first, &rich()).unwrap();
    for low in [spec(0, 0, 100, 11), spec(0, 0, 110, 10), spec(0, 0, 109, 11), spec(0, 0, 90, 20)] {
        let rejection = admit(&mut pool, low, &rich()).unwrap_err();
        assert!(
            matches!(rejection, Rejection::ReplacementUnderpriced { replaces, .. } if replaces == id(first))
        );
    }
    pool.drain_changes();
    let second = spec(0, 0, 110, 11);
    assert_eq!(admit(&mut pool, second, &rich()).unwrap().replaced, Some(id(first)));
    assert_eq!(pool.len(), 1);
    let replaced = Removal::Replaced { by: id(second) };
    assert_eq!(pool.status(&id(first)), Some(PoolStatus::Ended(replaced)));
    let changes = pool.drain_changes();
    assert_eq!(changes[0], Change::Remove { id: id(first), reason: replaced });
    assert!(matches!(changes[1], Change::Insert { .. }));
}

#[test]
fn escrow_covers_everything_pending() {
    let mut pool = Mempool::new(config());
    let charge = |spec: Spec| {
        let envelope = envelope(spec);
        blindfold_wire::fees::max_charge(
            &COMMITTEE.genesis.params,
            envelope.header(),
            envelope.size_bytes(),
        )
    };
    let (first, second, replacement) =
        (spec(0, 0, 100, 10), spec(0, 1, 50, 1), spec(0, 0, 110, 11));
    let enough = charge(first) + charge(second);
    let mut accounts = Accounts::from([(address(0), (0, enough - U256::ONE))]);
    admit(&mut pool, first, &accounts).unwrap();
    let unpaid = admit(&mut pool, second, &accounts).unwrap_err();
    assert!(matches!(unpaid, Rejection::Unpaid { needed_wei, .. } if needed_wei == enough));
    accounts.insert(address(0), (0, enough));
    admit(&mut pool, second, &accounts).unwrap();
    assert!(matches!(admit(&mut pool, replacement, &accounts), Err(Rejection::Unpaid { .. })));
    // What a replacement frees counts for it.
    accounts.insert(address(0), (0, charge(replacement) + charge(second)));
    admit(&mut pool, replacement, &accounts).unwrap();
    // The highest nonce goes when the escrow shrinks.
    accounts.insert(address(0), (0, charge(replacement)));
    pool.revalidate([address(0)], &accounts);
    pool.assert_consistent();
    assert_eq!(pool.status(&id(second)), Some(PoolStatus::Ended(Removal::Unpaid)));
    assert_eq!(pool.status(&id(replacement)), Some(PoolStatus::Pending));
}

#[test]
fn expiry_is_checked_at_admission_and_always_goes() {
    let mut pool = Mempool::new(config());
    let window = COMMITTEE.genesis.params.max_expiry_window;
    let at = |expiry| Spec { expiry, ..spec(0, 0, 10, 1) };
    assert!(matches!(pool.admit(envelope(at(5)), &rich(), 5), Err(Rejection::Expired { .. })));
    let far = pool.admit(envelope(at(window + 1)), &rich(), 0).unwrap_err();
    assert!(matches!(far, Rejection::ExpiryTooFar { latest, .. } if latest == window));
    assert!(far.is_temporary());
    pool.admit(envelope(at(6)), &rich(), 5).unwrap();
    assert!(pool.prune_expired(5).is_empty());
    assert_eq!(pool.prune_expired(6), [id(at(6))]);
    pool.assert_consistent();
    let expired = Removal::Expired { height: 6 };
    assert_eq!(pool.status(&id(at(6))), Some(PoolStatus::Ended(expired)));
}

#[test]
fn a_fee_that_can_never_be_ordered_takes_no_room() {
    let mut pool = Mempool::new(config());
    // Reserves nothing, so that no escrow at all would cover it.
    let free = admit(&mut pool, spec(0, 0, 0, 0), &Accounts::new()).unwrap_err();
    assert!(matches!(free, Rejection::Underpriced { max_fee: 0, .. }), "{free}");
    assert!(!free.peer_at_fault() && !free.is_temporary());
    assert!(pool.is_empty());
}

#[test]
fn one_payer_cannot_fill_the_pool() {
    let mut pool = Mempool::new(MempoolConfig { max_per_payer: 2, ..config() });
    admit(&mut pool, spec(0, 0, 10, 1), &rich()).unwrap();
    admit(&mut pool, spec(0, 1, 10, 1), &rich()).unwrap();
    assert!(matches!(
        admit(&mut pool, spec(0, 2, 90, 9), &rich()),
        Err(Rejection::PayerFull { max: 2 })
    ));
    admit(&mut pool, spec(0, 1, 20, 2), &rich()).expect("a replacement takes no room");
    admit(&mut pool, spec(1, 0, 10, 1), &rich()).unwrap();
}

#[test]
fn lowest_fee_goes_first_and_leaves_no_hole() {
    let mut pool = small(4);
    for specs in [spec(0, 0, 20, 5), spec(0, 1, 20, 5), spec(1, 0, 20, 2), spec(1, 1, 20, 9)] {
        admit(&mut pool, specs, &rich()).unwrap();
    }
    // Payer 1's second is worth no more than its first, and goes before it although it bids more.
    let admission = admit(&mut pool, spec(2, 0, 20, 3), &rich()).unwrap();
    assert_eq!(admission.evicted, [id(spec(1, 1, 20, 9))]);
    assert_eq!(pool.status(&admission.evicted[0]), Some(PoolStatus::Ended(Removal::Evicted)));
    let admission = admit(&mut pool, spec(3, 0, 20, 4), &rich()).unwrap();
    assert_eq!(admission.evicted, [id(spec(1, 0, 20, 2))]);
    // Nothing is worth less than this, and equal worth displaces nothing.
    assert!(matches!(admit(&mut pool, spec(4, 0, 20, 3), &rich()), Err(Rejection::Full)));
    // A payer does not displace itself.
    assert!(matches!(admit(&mut pool, spec(2, 1, 20, 3), &rich()), Err(Rejection::Full)));
    // What was evicted may come back with a higher bid, and its record is gone then.
    let back = spec(1, 0, 20, 6);
    assert_eq!(admit(&mut pool, back, &rich()).unwrap().evicted, [id(spec(2, 0, 20, 3))]);
}

#[test]
fn gapped_and_underpriced_go_before_any_ready_one() {
    let mut pool = small(3);
    let (gapped, underpriced, ready) = (spec(0, 1, 500, 50), spec(1, 0, 2, 2), spec(2, 0, 5, 1));
    for spec in [gapped, underpriced, ready] {
        admit(&mut pool, spec, &rich()).unwrap();
    }
    pool.set_floor(3 * GWEI);
    pool.assert_consistent();
    assert_eq!(admit(&mut pool, spec(3, 0, 5, 1), &rich()).unwrap().evicted, [id(gapped)]);
    assert_eq!(admit(&mut pool, spec(4, 0, 5, 1), &rich()).unwrap().evicted, [id(underpriced)]);
    assert!(matches!(admit(&mut pool, spec(5, 0, 5, 1), &rich()), Err(Rejection::Full)));
}

#[test]
fn bytes_are_bounded_too() {
    let cost = envelope(spec(0, 0, 10, 1)).size_bytes() + crate::ENTRY_OVERHEAD_BYTES + 8;
    let mut pool = Mempool::new(MempoolConfig { max_bytes: 2 * cost, ..config() });
    admit(&mut pool, spec(0, 0, 10, 1), &rich()).unwrap();
    admit(&mut pool, spec(1, 0, 10, 2), &rich()).unwrap();
    assert_eq!(
        admit(&mut pool, spec(2, 0, 10, 3), &rich()).unwrap().evicted,
        [id(spec(0, 0, 10, 1))]
    );
    assert!(pool.size_bytes() <= 2 * cost);
}

#[test]
fn finalized_heights_take_their_envelopes_and_what_they_supersede() {
    let mut pool = Mempool::new(config());
    let (mine, stale, beaten, next) =
        (spec(0, 0, 10, 1), spec(1, 0, 10, 1), spec(1, 1, 10, 1), spec(1, 2, 10, 1));
    for spec in [mine, stale, beaten, next] {
        admit(&mut pool, spec, &rich()).unwrap();
    }
    let foreign = OrderedEnvelope { id: B256::repeat_byte(9), payer: address(1), nonce: 1 };
    let unknown = OrderedEnvelope { id: B256::repeat_byte(8), payer: address(5), nonce: 0 };
    let ordered = [OrderedEnvelope::from(&envelope(mine)), foreign, unknown];
    pool.on_height(3, GWEI, &ordered, &rich());
    pool.assert_consistent();
    for (spec, reason) in [
        (mine, Removal::Ordered { height: 3 }),
        (stale, Removal::Stale),
        (beaten, Removal::Superseded { by: foreign.id }),
    ] {
        assert_eq!(pool.status(&id(spec)), Some(PoolStatus::Ended(reason)), "{spec:?}");
    }
    assert_eq!(pool.status(&id(next)), Some(PoolStatus::Pending));
    // Accounts that lag behind the reported height do not let a used nonce in again.
    assert!(matches!(
        admit(&mut pool, beaten, &rich()),
        Err(Rejection::StaleNonce { next_nonce: 2, .. })
    ));
}

#[test]
fn what_an_ancestor_holds_is_not_offered_again() {
    let mut pool = Mempool::new(config());
    for nonce in 0..3 {
        admit(&mut pool, spec(0, nonce, 10, 1), &rich()).unwrap();
    }
    let nonces = |accounts: &Accounts| -> Vec<u64> {
        let candidates = pool.candidates(accounts, &target());
        candidates.iter().map(|envelope| envelope.header().payer_nonce).collect()
    };
    assert_eq!(nonces(&rich()), [0, 1, 2]);
    assert_eq!(nonces(&Accounts::from([(address(0), (2, U256::MAX))])), [2]);
    assert_eq!(nonces(&Accounts::from([(address(0), (3, U256::MAX))])), [0u64; 0]);
    assert_eq!(nonces(&rich()), [0, 1, 2], "an abandoned ancestor gives everything back");
}

#[test]
fn candidates_respect_every_limit() {
    let mut pool = Mempool::new(config());
    let (cheap, dear, behind) = (spec(0, 0, 10, 1), spec(1, 0, 10, 5), spec(1, 1, 10, 3));
    for spec in [cheap, dear, behind, spec(2, 1, 10, 9), spec(3, 0, 2, 1)] {
        admit(&mut pool, spec, &rich()).unwrap();
    }
    let ids = |target: BlockTarget| -> Vec<B256> {
        pool.candidates(&rich(), &target).iter().map(CheckedEnvelope::id).collect()
    };
    let base = BlockTarget { floor: (3 * GWEI).into(), ..target() };
    assert_eq!(ids(base), [id(dear), id(behind), id(cheap)], "gapped and underpriced are left out");
    assert_eq!(ids(BlockTarget { max_count: 1, ..base }), [id(dear)]);
    let gas = envelope(dear).header().gas_limit;
    assert_eq!(ids(BlockTarget { max_gas: 2 * gas, ..base }), [id(dear), id(behind)]);
    let size = envelope(dear).size_bytes();
    assert_eq!(ids(BlockTarget { max_bytes: size + size / 2, ..base }), [id(dear)]);
    assert!(ids(BlockTarget { height: FAR + 1, ..base }).is_empty());
    assert_eq!(ids(BlockTarget { height: FAR, ..base }).len(), 3);
    assert_eq!(pool.candidates(&Accounts::new(), &base), [], "no escrow, no place");
}

#[test]
fn restart_restores_what_was_stored() {
    let mut pool = Mempool::new(config());
    let (kept, gapped, used) = (spec(0, 1, 10, 1), spec(0, 3, 10, 1), spec(1, 0, 10, 1));
    for spec in [kept, gapped, used] {
        admit(&mut pool, spec, &rich()).unwrap();
    }
    let stored: Vec<_> = pool.iter().cloned().collect();
    let mut accounts = rich();
    accounts.insert(address(1), (1, U256::MAX));
    let mut restarted = Mempool::new(config());
    let restored = restarted.restore(stored, &accounts, 0);
    restarted.assert_consistent();
    assert_eq!((restored.admitted, restored.refused.len()), (2, 1));
    assert_eq!(restored.refused[0].0, id(used));
    let gone = Change::Remove { id: id(used), reason: Removal::NotRestored };
    assert_eq!(restarted.drain_changes(), [gone], "kept entries are stored already");
}

#[test]
fn undrained_changes_stop_admission() {
    let mut pool = small(1);
    admit(&mut pool, spec(0, 0, 10, 10), &rich()).unwrap();
    pool.fill_changes_for_test();
    assert!(matches!(admit(&mut pool, spec(1, 0, 20, 20), &rich()), Err(Rejection::Backlog)));
    pool.drain_changes();
    admit(&mut pool, spec(1, 0, 20, 20), &rich()).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Admit(Spec),
    Order { count: usize, poor: bool },
    OrderForeign { payer: u8 },
    Escrow { payer: u8, charges: u32 },
    BaseFee(u128),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let admit = (0u8..4, 0u64..5, 0usize..4, prop_oneof![3 => Just(FAR), 1 => 2u64..6]).prop_map(
        |(payer, nonce, fee, expiry)| {
            let (max_fee_gwei, priority_gwei) = [(2, 1), (4, 2), (8, 1), (9, 5)][fee];
            Step::Admit(Spec { payer, nonce, max_fee_gwei, priority_gwei, expiry })
        },
    );
    let step = prop_oneof![
        12 => admit,
        2 => (0usize..4, any::<bool>()).prop_map(|(count, poor)| Step::Order { count, poor }),
        1 => (0u8..4).prop_map(|payer| Step::OrderForeign { payer }),
        1 => (0u8..4, 0u32..6).prop_map(|(payer, charges)| Step::Escrow { payer, charges }),
        1 => (1u128..6).prop_map(Step::BaseFee),
    ];
    prop::collection::vec(step, 1..60)
}

/// The obvious, slow way to choose candidates.
fn reference(pool: &Mempool, accounts: &Accounts, target: &BlockTarget) -> Vec<B256> {
    let mut next = accounts.clone();
    let mut chosen = Vec::new();
    while chosen.len() < target.max_count {
        let best = pool
            .iter()
            .filter_map(|envelope| {
                let (nonce, escrow) = next.get(&envelope.payer())?;
                let header = envelope.header();
                let charge = blindfold_wire::fees::max_charge(
                    &pool.config.params,
                    header,
                    envelope.size_bytes(),
                );
                let fits = header.payer_nonce == *nonce
                    && header.expiry_height >= target.height
                    && charge <= *escrow;
                let fee =
                    fits.then(|| header.effective_priority_fee(target.floor.base_fee)).flatten()?;
                Some((fee, std::cmp::Reverse(envelope.id()), envelope.payer(), charge))
            })
            .max();
        let Some((_, id, payer, charge)) = best else { break };
        chosen.push(id.0);
        let account = next.get_mut(&payer).unwrap();
        account.0 += 1;
        account.1 -= charge;
    }
    chosen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens, indexes and bounds hold, stored changes reproduce the pool, every pooled nonce is
    /// usable, and candidates are what the slow way gives.
    #[test]
    fn pool_stays_consistent(steps in steps()) {
        let unit = U256::from(10 * GWEI) * U256::from(200_000u64);
        let mut pool = Mempool::new(MempoolConfig { max_envelopes: 7, max_per_payer: 3, nonce_window: 4, ..config() });
        let mut accounts: Accounts = (0..4).map(|payer| (address(payer), (0, unit * U256::from(4)))).collect();
        let mut stored: BTreeMap<B256, Bytes> = BTreeMap::new();
        let (mut height, mut base_fee) = (0u64, GWEI);
        for step in steps {
            match step {
                Step::Admit(spec) => {
                    let before: HashSet<_> = pool.iter().map(CheckedEnvelope::id).collect();
                    match pool.admit(envelope(spec), &accounts, height) {
                        Ok(admission) => {
                            let gone = admission.replaced.iter().chain(&admission.evicted);
                            prop_assert!(gone.clone().all(|id| before.contains(id) && !pool.contains(id)));
                            prop_assert_eq!(pool.len(), before.len() + 1 - gone.count());
                            prop_assert!(pool.contains(&id(spec)));
                        }
                        Err(_) => {
                            let after: HashSet<_> = pool.iter().map(CheckedEnvelope::id).collect();
                            prop_assert_eq!(before, after);
                        }
                    }
                }
                Step::Order { count, poor } => {
                    height += 1;
                    let target = BlockTarget { height, floor: base_fee.into(), max_count: count, ..target() };
                    // At the parent less may be left than at the finalized tip.
                    let mut parent = accounts.clone();
                    for account in parent.values_mut().filter(|_| poor) {
                        account.1 /= U256::from(2);
                    }
                    let block = pool.candidates(&parent, &target);
                    let ids: Vec<_> = block.iter().map(CheckedEnvelope::id).collect();
                    prop_assert_eq!(&ids, &reference(&pool, &parent, &target));
                    for envelope in &block {
                        let account = accounts.get_mut(&envelope.payer()).unwrap();
                        prop_assert_eq!(account.0, envelope.header().payer_nonce, "contiguous");
                        account.0 += 1;
                    }
                    let ordered: Vec<_> = block.iter().map(OrderedEnvelope::from).collect();
                    pool.on_height(height, base_fee, &ordered, &accounts);
                    prop_assert!(ids.iter().all(|id| !pool.contains(id)));
                    prop_assert!(pool.iter().all(|envelope| envelope.header().expiry_height > height));
                }
                Step::OrderForeign { payer } => {
                    height += 1;
                    let account = accounts.get_mut(&address(payer)).unwrap();
                    let ordered = OrderedEnvelope {
                        id: B256::with_last_byte(payer),
                        payer: address(payer),
                        nonce: account.0,
                    };
                    account.0 += 1;
                    pool.on_height(height, base_fee, &[ordered], &accounts);
                }
                Step::Escrow { payer, charges } => {
                    accounts.get_mut(&address(payer)).unwrap().1 = unit * U256::from(charges);
                    pool.revalidate([address(payer)], &accounts);
                }
                Step::BaseFee(gwei) => {
                    base_fee = gwei * GWEI;
                    pool.set_floor(base_fee);
                }
            }
            pool.assert_consistent();
            for envelope in pool.iter() {
                let (next_nonce, _) = accounts[&envelope.payer()];
                let nonce = envelope.header().payer_nonce;
                prop_assert!((next_nonce..next_nonce + 4).contains(&nonce), "{} {}", nonce, next_nonce);
            }
            for change in pool.drain_changes() {
                match change {
                    Change::Insert { id, bytes } => prop_assert!(stored.insert(id, bytes).is_none()),
                    Change::Remove { id, .. } => prop_assert!(stored.remove(&id).is_some()),
                }
            }
            let pooled: BTreeMap<_, _> = pool.iter().map(|e| (e.id(), Bytes::clone(e.bytes()))).collect();
            prop_assert_eq!(&stored, &pooled, "replaying the changes gives the pool");
            let mut restarted = Mempool::new(pool.config.clone());
            restarted.restore(pool.iter().cloned().collect::<Vec<_>>(), &accounts, height);
            restarted.assert_consistent();
            prop_assert_eq!(restarted.len(), pool.len(), "a restart loses nothing");
        }
    }
}
