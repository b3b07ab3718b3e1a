use super::*;
use proptest::prelude::*;

const PARENT: B256 = B256::repeat_byte(0xaa);
const BASE_FEE: u128 = 10;
const HEIGHT: u64 = 5;

const WIDE: Bounds = Bounds { max_count: 1_000, max_bytes: 1_000_000, max_gas: u64::MAX };

fn payer(index: u8) -> Address {
    Address::repeat_byte(index + 1)
}

fn candidate(payer_index: u8, nonce: u64, tip: u128) -> Candidate {
    let mut id = B256::ZERO;
    id[0] = payer_index;
    id[1..9].copy_from_slice(&nonce.to_be_bytes());
    id[9..25].copy_from_slice(&tip.to_be_bytes());
    Candidate {
        id,
        payer: payer(payer_index),
        nonce,
        max_fee_per_gas: BASE_FEE + tip,
        max_priority_fee_per_gas: tip,
        gas_limit: 1 << 15,
        expiry_height: HEIGHT + 10,
        size_bytes: 600,
        max_charge: U256::from(100),
    }
}

fn accounts(count: u8) -> Accounts {
    (0..count)
        .map(|index| (payer(index), Account { next_nonce: 0, budget: U256::from(1_000_000) }))
        .collect()
}

fn context<'a>(accounts: &'a Accounts, bounds: Bounds) -> RuleContext<'a> {
    RuleContext { parent: PARENT, height: HEIGHT, floor: BASE_FEE.into(), accounts, bounds }
}

fn ordered(candidates: &[Candidate], context: &RuleContext<'_>) -> Vec<Candidate> {
    let Selection { forced, chosen } = select(&[], candidates, context);
    assert!(forced.is_empty());
    chosen.into_iter().map(|index| candidates[index].clone()).collect()
}

/// The rule in the most naive form: look at all heads, take the best, repeat.
fn oracle(candidates: &[Candidate], context: &RuleContext<'_>) -> Vec<Candidate> {
    let mut rest: Vec<Candidate> = candidates.to_vec();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let best = (0..rest.len())
            .filter(|a| rest.iter().all(|b| b.payer != rest[*a].payer || b.nonce >= rest[*a].nonce))
            .max_by_key(|a| {
                let fee = context.priority_fee(&rest[*a]).unwrap();
                (fee, Reverse(tie_hash(&context.parent, &rest[*a].id)))
            })
            .unwrap();
        out.push(rest.remove(best));
    }
    out
}

/// Contiguous nonces from 0 for up to six payers, tips from a small range so that ties happen.
fn sets() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(proptest::collection::vec(0u128..5, 0..5), 1..6).prop_map(|payers| {
        payers
            .into_iter()
            .enumerate()
            .flat_map(|(index, tips)| {
                tips.into_iter()
                    .enumerate()
                    .map(move |(nonce, tip)| candidate(index as u8, nonce as u64, tip))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_select_makes_passes_check(set in sets(), shuffle: prop::sample::Index) {
        let accounts = accounts(6);
        let context = context(&accounts, WIDE);
        let mut shuffled = set.clone();
        if !shuffled.is_empty() {
            let middle = shuffle.index(shuffled.len());
            shuffled.rotate_left(middle);
        }
        let chosen = ordered(&shuffled, &context);
        prop_assert_eq!(chosen.len(), set.len(), "everything fits");
        prop_assert_eq!(&chosen, &oracle(&set, &context), "the heap agrees with the naive rule");
        prop_assert_eq!(check(&[], &chosen, &context), Ok(()));
    }

    #[test]
    fn exactly_one_permutation_of_a_set_is_valid(
        set in sets(),
        a: prop::sample::Index,
        b: prop::sample::Index,
    ) {
        prop_assume!(set.len() > 1);
        let accounts = accounts(6);
        let context = context(&accounts, WIDE);
        let mut list = ordered(&set, &context);
        let (a, b) = (a.index(list.len()), b.index(list.len()));
        prop_assume!(a != b);
        list.swap(a, b);
        prop_assert!(check(&[], &list, &context).is_err(), "swapped {} and {}", a, b);
    }

    #[test]
    fn a_rotation_of_three_is_not_valid_either(set in sets(), at: prop::sample::Index) {
        prop_assume!(set.len() > 2);
        let accounts = accounts(6);
        let context = context(&accounts, WIDE);
        let mut list = ordered(&set, &context);
        let at = at.index(list.len() - 2);
        list[at..at + 3].rotate_left(1);
        prop_assert!(check(&[], &list, &context).is_err());
    }

    #[test]
    fn leaving_out_is_fine_at_the_end_of_a_payer_and_never_in_the_middle(
        set in sets(),
        at: prop::sample::Index,
    ) {
        prop_assume!(!set.is_empty());
        let accounts = accounts(6);
        let context = context(&accounts, WIDE);
        let list = ordered(&set, &context);
        let victim = list[at.index(list.len())].clone();

        let without_tail: Vec<_> = list
            .iter()
            .filter(|c| c.payer != victim.payer || c.nonce < victim.nonce)
            .cloned()
            .collect();
        prop_assert_eq!(check(&[], &without_tail, &context), Ok(()));

        let has_later = list.iter().any(|c| c.payer == victim.payer && c.nonce > victim.nonce);
        let hole: Vec<_> = list.iter().filter(|c| **c != victim).cloned().collect();
        let verdict = check(&[], &hole, &context);
        if has_later {
            let is_nonce_error = matches!(verdict, Err(OrderError::Nonce { .. }));
            prop_assert!(is_nonce_error, "{:?}", verdict);
        } else {
            prop_assert_eq!(verdict, Ok(()));
        }
    }

    #[test]
    fn bounded_selections_pass_check(
        set in sets(),
        max_count in 0usize..12,
        max_bytes in 0usize..9_000,
        gas_classes in 0u64..12,
        budget in 0u64..800,
    ) {
        let bounds = Bounds { max_count, max_bytes, max_gas: gas_classes << 15 };
        let accounts: Accounts = (0..6)
            .map(|index| (payer(index), Account { next_nonce: 0, budget: U256::from(budget) }))
            .collect();
        let context = context(&accounts, bounds);
        let chosen = ordered(&set, &context);
        prop_assert_eq!(check(&[], &chosen, &context), Ok(()));
        // No payer with budget for more and room for more was left out without need.
        if chosen.len() < max_count && (chosen.len() + 1) * 600 <= max_bytes
            && (chosen.len() as u64) < gas_classes
        {
            for index in 0..6 {
                let have = chosen.iter().filter(|c| c.payer == payer(index)).count();
                let offered = set.iter().filter(|c| c.payer == payer(index)).count();
                let affordable = (budget / 100) as usize;
                prop_assert_eq!(have, offered.min(affordable));
            }
        }
    }
}

#[test]
fn a_high_tip_behind_a_low_nonce_waits_its_turn() {
    let accounts = accounts(2);
    let context = context(&accounts, WIDE);
    let set = [candidate(0, 0, 1), candidate(0, 1, 9), candidate(1, 0, 5)];
    let tips: Vec<_> = ordered(&set, &context).iter().map(|c| c.max_priority_fee_per_gas).collect();
    assert_eq!(tips, [5, 1, 9]);
}

#[test]
fn ties_depend_on_the_parent() {
    let accounts = accounts(12);
    let set: Vec<_> = (0..12).map(|index| candidate(index, 0, 3)).collect();
    let first = ordered(&set, &context(&accounts, WIDE));
    let mut other = context(&accounts, WIDE);
    other.parent = B256::repeat_byte(0xbb);
    let second = ordered(&set, &other);
    assert_ne!(first, second);
    assert!(matches!(check(&[], &first, &other), Err(OrderError::Permuted { .. })));
}

#[test]
fn a_tip_is_capped_by_the_room_above_the_base_fee() {
    let mut loud = candidate(0, 0, 100);
    loud.max_fee_per_gas = BASE_FEE + 1;
    let accounts = accounts(2);
    let under =
        |floor: Floor| RuleContext { floor, ..context(&accounts, WIDE) }.priority_fee(&loud);
    assert_eq!(under(BASE_FEE.into()), Some(1));
    assert_eq!(under((BASE_FEE + 2).into()), None);
    assert_eq!(under(Floor { base_fee: BASE_FEE, least_max_fee: BASE_FEE + 2 }), None);
    let set = [loud, candidate(1, 0, 2)];
    let chosen = ordered(&set, &context(&accounts, WIDE));
    assert_eq!(chosen[0].payer, payer(1));
}

#[test]
fn competing_envelopes_of_one_nonce_leave_the_better_one() {
    let accounts = accounts(1);
    let set = [candidate(0, 0, 1), candidate(0, 0, 4), candidate(0, 0, 2)];
    assert_eq!(select(&[], &set, &context(&accounts, WIDE)).chosen, [1]);
    let both = [candidate(0, 0, 4), candidate(0, 0, 1)];
    assert!(matches!(
        check(&[], &both, &context(&accounts, WIDE)),
        Err(OrderError::Nonce { position: 1, expected: 1, found: 0 })
    ));
}

#[test]
fn each_broken_condition_is_named() {
    let two = accounts(2);
    let tight = Bounds { max_count: 1, max_bytes: 600, max_gas: 1 << 15 };
    type Case = (&'static str, Vec<Candidate>, Bounds, OrderError);
    let cases: Vec<Case> = vec![
        (
            "count",
            vec![candidate(0, 0, 2), candidate(1, 0, 1)],
            tight,
            OrderError::TooMany { count: 2, limit: 1 },
        ),
        (
            "bytes",
            vec![Candidate { size_bytes: 601, ..candidate(0, 0, 2) }],
            tight,
            OrderError::TooLarge { bytes: 601, limit: 600 },
        ),
        (
            "gas",
            vec![Candidate { gas_limit: 1 << 16, ..candidate(0, 0, 2) }],
            tight,
            OrderError::TooMuchGas { gas: 1 << 16, limit: 1 << 15 },
        ),
        (
            "base fee",
            vec![Candidate { max_fee_per_gas: BASE_FEE - 1, ..candidate(0, 0, 2) }],
            WIDE,
            OrderError::Underpriced { position: 0 },
        ),
        (
            "expiry",
            vec![Candidate { expiry_height: HEIGHT - 1, ..candidate(0, 0, 2) }],
            WIDE,
            OrderError::Expired { position: 0 },
        ),
        (
            "start nonce",
            vec![candidate(0, 1, 2)],
            WIDE,
            OrderError::Nonce { position: 0, expected: 0, found: 1 },
        ),
        (
            "escrow",
            vec![Candidate { max_charge: U256::from(1_000_001), ..candidate(0, 0, 2) }],
            WIDE,
            OrderError::Escrow { position: 0 },
        ),
        ("unknown payer", vec![candidate(7, 0, 2)], WIDE, OrderError::Escrow { position: 0 }),
        (
            "order",
            vec![candidate(0, 0, 1), candidate(1, 0, 2)],
            WIDE,
            OrderError::Permuted { position: 0 },
        ),
    ];
    for (name, list, bounds, expected) in cases {
        assert_eq!(check(&[], &list, &context(&two, bounds)), Err(expected), "{name}");
    }
}

#[test]
fn the_last_height_before_expiry_is_fine() {
    let accounts = accounts(1);
    let last = Candidate { expiry_height: HEIGHT, ..candidate(0, 0, 2) };
    assert_eq!(check(&[], &[last], &context(&accounts, WIDE)), Ok(()));
}

/// Forced envelopes: some of a set's, in any order, now and then one that is invalid, or the same twice.
fn queues() -> impl Strategy<Value = Vec<Option<Candidate>>> {
    proptest::collection::vec((0u8..4, 0u64..3, 0u128..5, any::<bool>()), 0..8).prop_map(|items| {
        let item = |(payer, nonce, tip, valid): (u8, u64, u128, bool)| {
            valid.then(|| candidate(payer, nonce, tip))
        };
        items.into_iter().map(item).collect()
    })
}

proptest! {
    /// What was forced comes first, in the order of the queue, and everybody agrees on which of it has a position.
    #[test]
    fn forced_envelopes_come_first(
        queue in queues(),
        set in sets(),
        count in 0usize..12,
        at: prop::sample::Index,
    ) {
        let accounts = accounts(6);
        let context = context(&accounts, Bounds { max_count: count.max(1), ..WIDE });
        let Selection { forced, chosen } = select(&queue, &set, &context);
        prop_assert_eq!(&forced, &take_forced(&queue, &context));
        prop_assert!(forced.is_sorted() && forced.iter().all(|index| queue[*index].is_some()));
        let first = forced.iter().map(|index| queue[*index].clone().unwrap());
        let list: Vec<_> = first.chain(chosen.iter().map(|index| set[*index].clone())).collect();
        prop_assert_eq!(check(&queue, &list, &context), Ok(()));

        // Naively: one after the other, if its nonce is its payer's next one.
        let mut next: BTreeMap<Address, u64> = BTreeMap::new();
        let mut expected = Vec::new();
        for (index, candidate) in queue.iter().enumerate() {
            let Some(candidate) = candidate else { continue };
            let nonce = next.entry(candidate.payer).or_default();
            if candidate.nonce == *nonce && expected.len() < context.bounds.max_count {
                *nonce += 1;
                expected.push(index);
            }
        }
        prop_assert_eq!(&forced, &expected);

        if let Some(position) = (!forced.is_empty()).then(|| at.index(forced.len())) {
            let mut less = list.clone();
            less.remove(position);
            prop_assert!(check(&queue, &less, &context).is_err(), "one was left out");
            if let Some(other) = forced.get(position + 1) {
                let mut swapped = list.clone();
                swapped.swap(position, position + 1);
                let same = queue[*other].as_ref().map(|it| it.id) == Some(list[position].id);
                prop_assert!(same || check(&queue, &swapped, &context).is_err());
            }
        }
    }
}
