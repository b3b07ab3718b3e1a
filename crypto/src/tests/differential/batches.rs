//! `verify_batch` against `verify`, one by one: the same verdicts, errors included.

use std::ops::RangeInclusive;

use proptest::test_runner::TestCaseError;

use super::*;

/// Different honest ciphertexts; longer batches repeat them.
const POOL: usize = 64;

static HONEST: LazyLock<Vec<(Label, Ciphertext)>> =
    LazyLock::new(|| (0..POOL as u64).map(sealed).collect());

/// What is done to a ciphertext.
#[derive(Clone, Debug)]
enum Change {
    /// The label of another.
    Label(Pick),
    /// One byte of a field.
    Byte {
        field: usize,
        at: Pick,
        xor: u8,
    },
    /// The three flags of a point.
    Flags {
        point: usize,
        flags: u8,
    },
    /// Fields of another, by bits.
    Copy {
        from: Pick,
        fields: u8,
    },
    /// All of another, its label or the own one.
    Twin {
        from: Pick,
        with_label: bool,
    },
    Point {
        point: usize,
        to: To,
    },
    Z(Z),
    /// Bytes more or fewer in the body.
    BodyLength {
        more: bool,
        bytes: u16,
    },
    /// Made anew, with a proof over points that have components of small order.
    Forged {
        offsets: [Option<Small>; 4],
        r: u64,
        s: Option<u64>,
    },
    /// Made anew so that the first equation is off by some point, and the second by its inverse.
    OppositeEquations {
        error: u64,
    },
}

/// What becomes of a point, below a proof that does not know.
#[derive(Clone, Debug)]
enum To {
    Infinity,
    /// (0, ±2).
    OrderThree {
        negative: bool,
    },
    Plus(Small),
    Small(Small),
    PlusRandom(u64),
    Negated,
    Doubled,
    Generator,
    SecondGenerator,
}

/// What becomes of z.
#[derive(Clone, Debug)]
enum Z {
    Plus(u8),
    /// The same modulo the order, but not below it.
    PlusOrder,
    Order {
        plus: u8,
    },
    Zero,
    Ones,
}

/// What is done to two ciphertexts at once.
#[derive(Clone, Debug)]
enum Pair {
    /// Each is wrong in one equation by the inverse of what the other is wrong by.
    Opposite {
        equations: [bool; 2],
        error: u64,
    },
    /// z of one up and of the other down.
    OppositeZ(u8),
    /// Opposite components of small order in u, in a proven way.
    OppositeSmall {
        small: Small,
    },
    Exchange {
        fields: u8,
    },
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        1 => Just(To::Infinity),
        1 => any::<bool>().prop_map(|negative| To::OrderThree { negative }),
        4 => small().prop_map(To::Plus),
        1 => small().prop_map(To::Small),
        1 => any::<u64>().prop_map(To::PlusRandom),
        1 => Just(To::Negated),
        1 => Just(To::Doubled),
        1 => Just(To::Generator),
        1 => Just(To::SecondGenerator),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let z = prop_oneof![
        any::<u8>().prop_map(Z::Plus),
        Just(Z::PlusOrder),
        (0..3u8).prop_map(|plus| Z::Order { plus }),
        Just(Z::Zero),
        Just(Z::Ones),
    ];
    let offset = || prop::option::weighted(0.4, small());
    let offsets = (prop::option::weighted(0.1, small()), offset(), offset(), offset())
        .prop_map(|(u, u_bar, w, w_bar)| [u, u_bar, w, w_bar]);
    prop_oneof![
        1 => pick().prop_map(Change::Label),
        // Half of them single bits.
        4 => (0..7usize, pick(), prop_oneof![(0..8u8).prop_map(|bit| 1 << bit), 1..=255u8])
            .prop_map(|(field, at, xor)| Change::Byte { field, at, xor }),
        1 => (0..4usize, 1..8u8).prop_map(|(point, flags)| Change::Flags { point, flags }),
        2 => (pick(), 1..127u8).prop_map(|(from, fields)| Change::Copy { from, fields }),
        1 => (pick(), any::<bool>())
            .prop_map(|(from, with_label)| Change::Twin { from, with_label }),
        6 => (0..4usize, to()).prop_map(|(point, to)| Change::Point { point, to }),
        2 => z.prop_map(Change::Z),
        1 => (any::<bool>(), 0..600u16)
            .prop_map(|(more, bytes)| Change::BodyLength { more, bytes }),
        6 => (offsets, any::<u64>(), prop::option::weighted(0.8, any::<u64>()))
            .prop_map(|(offsets, r, s)| Change::Forged { offsets, r, s }),
        1 => any::<u64>().prop_map(|error| Change::OppositeEquations { error }),
    ]
}

fn pair() -> impl Strategy<Value = Pair> {
    prop_oneof![
        3 => (any::<[bool; 2]>(), any::<u64>())
            .prop_map(|(equations, error)| Pair::Opposite { equations, error }),
        2 => (1..=255u8).prop_map(Pair::OppositeZ),
        2 => small().prop_map(|small| Pair::OppositeSmall { small }),
        1 => (1..=127u8).prop_map(|fields| Pair::Exchange { fields }),
    ]
}

#[derive(Clone, Debug)]
struct Batch {
    size: usize,
    /// The first ciphertext of the pool.
    first: Pick,
    pairs: Vec<(Pick, Pick, Pair)>,
    changes: Vec<(Pick, Change)>,
    weights_seed: [u8; 32],
}

fn batch(sizes: RangeInclusive<usize>, most: usize) -> impl Strategy<Value = Batch> {
    (
        sizes,
        pick(),
        prop::collection::vec((pick(), pick(), pair()), 0..3),
        prop::collection::vec((pick(), change()), 0..=most),
        prop_oneof![Just([0; 32]), any::<[u8; 32]>()],
    )
        .prop_map(|(size, first, pairs, changes, weights_seed)| Batch {
            size,
            first,
            pairs,
            changes,
            weights_seed,
        })
}

fn points(sealed: &mut Ciphertext) -> [&mut [u8; 48]; 4] {
    [&mut sealed.u, &mut sealed.u_bar, &mut sealed.w, &mut sealed.w_bar]
}

fn copy(to: &mut Ciphertext, from: &Ciphertext, fields: u8) {
    let take = |bit: u8| fields >> bit & 1 == 1;
    let mut source = from.clone();
    for (place, (to, from)) in points(to).into_iter().zip(points(&mut source)).enumerate() {
        if take(place as u8) {
            *to = *from;
        }
    }
    if take(4) {
        to.z = from.z;
    }
    if take(5) {
        to.wrapped_seed = from.wrapped_seed;
    }
    if take(6) {
        to.body.clone_from(&from.body);
    }
}

/// `steps` more than z, modulo the order.
fn z_plus(z: &[u8; 32], steps: &Scalar) -> [u8; 32] {
    Scalar::from_be_bytes(z).map_or(*z, |z| z.add(steps).to_be_bytes())
}

/// The sum of two integers, which has 256 bits at most.
fn add_bytes(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let sum = |bytes| alloy_primitives::U256::from_be_bytes(bytes);
    sum(*a).wrapping_add(sum(*b)).to_be_bytes()
}

fn forger(r: u64, s: u64) -> Forger {
    Forger { r: scalar(r), s: scalar(s), ..Forger::new() }
}

type Item = (Label, Ciphertext);

fn apply(change: &Change, item: &mut Item) {
    let other = |from: &Pick| &HONEST[from.of(POOL)];
    let (label, sealed) = item;
    match change {
        Change::Label(from) => *label = other(from).0,
        Change::Byte { field, at, xor } => {
            let mut parts: [&mut [u8]; 7] = [
                &mut sealed.u,
                &mut sealed.u_bar,
                &mut sealed.w,
                &mut sealed.w_bar,
                &mut sealed.z,
                &mut sealed.wrapped_seed,
                &mut sealed.body,
            ];
            let part = &mut parts[*field];
            if let Some(byte) = part.len().checked_sub(1).map(|last| &mut part[at.of(last + 1)]) {
                *byte ^= xor;
            }
        }
        Change::Flags { point, flags } => points(sealed)[*point][0] ^= flags << 5,
        Change::Copy { from, fields } => copy(sealed, &other(from).1, *fields),
        Change::Twin { from, with_label } => {
            let (other_label, other) = other(from).clone();
            *sealed = other;
            if *with_label {
                *label = other_label;
            }
        }
        Change::Point { point, to } => {
            let bytes = &mut points(sealed)[*point];
            let sum = CurvePoint::from_compressed(bytes).unwrap_or_default().to_sum();
            let sum = match to {
                To::Infinity => Sum::zero(),
                To::OrderThree { negative: false } => torsion(3),
                To::OrderThree { negative: true } => torsion(3).negate(),
                To::Plus(small) => sum.add(&small.point()),
                To::Small(small) => small.point(),
                To::PlusRandom(seed) => sum.add(&GENERATOR.mul_secret(&scalar(*seed))),
                To::Negated => sum.negate(),
                To::Doubled => sum.double(),
                To::Generator => GENERATOR.point().to_sum(),
                To::SecondGenerator => SECOND_GENERATOR.point().to_sum(),
            };
            **bytes = sum.to_affine().to_compressed();
        }
        Change::Z(z) => {
            sealed.z = match z {
                Z::Plus(steps) => z_plus(&sealed.z, &Scalar::from_u64(u64::from(*steps))),
                Z::PlusOrder => add_bytes(&sealed.z, &GROUP_ORDER_BE),
                Z::Order { plus } => {
                    let mut small = [0; 32];
                    small[31] = *plus;
                    add_bytes(&GROUP_ORDER_BE, &small)
                }
                Z::Zero => [0; 32],
                Z::Ones => [0xff; 32],
            };
        }
        Change::BodyLength { more, bytes } => {
            let (len, bytes) = (sealed.body.len(), usize::from(*bytes));
            let len = if *more { len + bytes } else { len.saturating_sub(bytes) };
            sealed.body.resize(len, 0);
        }
        Change::Forged { offsets, r, s } => {
            let mut forger = forger(*r, 0);
            forger.s = s.map_or(Scalar::from_u64(0), scalar);
            forger.offsets = offsets.map(|offset| offset.map(|small| small.point()));
            *sealed = forger.forge(FOUR.key(), label);
        }
        Change::OppositeEquations { error } => {
            let error = GENERATOR.mul_secret(&scalar(*error));
            let mut forger = forger(1, 2);
            forger.offsets = [None, None, Some(error), Some(error.negate())];
            *sealed = forger.forge(FOUR.key(), label);
        }
    }
}

fn apply_pair(pair: &Pair, [a, b]: [&mut Item; 2]) {
    match pair {
        Pair::Opposite { equations, error } => {
            let error = GENERATOR.mul_secret(&scalar(*error));
            for ((label, sealed), second, error) in
                [(a, equations[0], error), (b, equations[1], error.negate())]
            {
                let mut forger = forger(3, 4);
                forger.offsets[2 + usize::from(second)] = Some(error);
                *sealed = forger.forge(FOUR.key(), label);
            }
        }
        Pair::OppositeZ(steps) => {
            let steps = Scalar::from_u64(u64::from(*steps));
            a.1.z = z_plus(&a.1.z, &steps);
            b.1.z = z_plus(&b.1.z, &Scalar::from_u64(0).sub(&steps));
        }
        Pair::OppositeSmall { small } => {
            for ((label, sealed), component) in [(a, small.point()), (b, small.point().negate())] {
                let mut forger = forger(5, 6);
                forger.offsets[0] = Some(component);
                *sealed = forger.forge(FOUR.key(), label);
            }
        }
        Pair::Exchange { fields } => {
            let before = a.1.clone();
            copy(&mut a.1, &b.1, *fields);
            copy(&mut b.1, &before, *fields);
        }
    }
}

impl Batch {
    fn items(&self) -> Vec<Item> {
        let mut items: Vec<Item> =
            (0..self.size).map(|at| HONEST[(self.first.of(POOL) + at) % POOL].clone()).collect();
        if items.is_empty() {
            return items;
        }
        for (a, b, pair) in &self.pairs {
            let places = [a.of(items.len()), b.of(items.len())];
            if let Ok(two) = items.get_disjoint_mut(places) {
                apply_pair(pair, two);
            }
        }
        for (at, change) in &self.changes {
            let at = at.of(items.len());
            apply(change, &mut items[at]);
        }
        items
    }
}

/// The batch has the verdicts of the single checks; what was not changed is valid.
fn check(batch: &Batch) -> Result<(), TestCaseError> {
    let items = batch.items();
    let references: Vec<(Label, &Ciphertext)> = items.iter().map(|(l, c)| (*l, c)).collect();
    let verdicts = verify_batch(FOUR.key(), &references, batch.weights_seed);
    prop_assert_eq!(verdicts.len(), items.len());
    for (at, (verdict, item)) in verdicts.iter().zip(&items).enumerate() {
        if *item == HONEST[(batch.first.of(POOL) + at) % POOL] {
            prop_assert!(verdict.is_ok(), "{} of {} is honest: {:?}", at, items.len(), verdict);
        } else {
            let (label, sealed) = item;
            let single = verify(FOUR.key(), label, sealed);
            prop_assert_eq!(verdict, &single, "{} of {}", at, items.len());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(seeded(180))]

    /// Up to the sizes at which sums replace single checks, and beyond.
    #[test]
    fn short_batches(batch in batch(0..=40, 8)) {
        check(&batch)?;
    }
}

proptest! {
    #![proptest_config(seeded(25))]

    /// Orders are checked together from about a hundred points on.
    #[test]
    fn long_batches(batch in batch(90..=200, 8)) {
        check(&batch)?;
    }

    #[test]
    fn batches_of_changed_ones_only(batch in batch(15..=35, 80)) {
        check(&batch)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    #[ignore = "minutes: batches around the length of a chunk, and thousands of short ones"]
    fn many_batches(batch in prop_oneof![
        30 => batch(0..=64, 12),
        3 => batch(97..=300, 12),
        1 => batch(505..=520, 12),
    ]) {
        check(&batch)?;
    }
}
