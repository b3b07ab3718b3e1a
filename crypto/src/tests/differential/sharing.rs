//! `shares` against `share` one by one, and both against multiplication by the textbook.

use proptest::test_runner::TestCaseError;

use super::*;
use crate::group::Subgroup;
use crate::secret::mul_secret_abreast;

/// z² for the parameter z of the curve: keys are divided by it.
const Z_SQUARED: u128 = 0xac45_a401_0001_a402_0000_0001_0000_0000;

/// A key as quotient and remainder of the division by z², and a little more or less.
#[derive(Clone, Debug)]
struct Key {
    high: Half,
    low: Half,
    plus: i8,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Half {
    Zero,
    One,
    Tiny(u8),
    Bit(u32),
    /// Ones below a bit.
    Ones(u32),
    /// The same digit of four bits all over.
    Digits(u8),
    /// One less than z².
    Last,
    Any(u128),
}

impl Half {
    /// Below z².
    fn value(&self) -> u128 {
        let value = match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Tiny(value) => u128::from(*value),
            Self::Bit(bit) => 1 << bit,
            Self::Ones(bit) => (1 << bit) - 1,
            Self::Digits(digit) => u128::MAX / 15 * u128::from(digit % 16),
            Self::Last => Z_SQUARED - 1,
            Self::Any(value) => *value,
        };
        value % Z_SQUARED
    }
}

fn half() -> impl Strategy<Value = Half> {
    prop_oneof![
        2 => Just(Half::Zero),
        1 => Just(Half::One),
        2 => any::<u8>().prop_map(Half::Tiny),
        1 => (0..128u32).prop_map(Half::Bit),
        1 => (0..128u32).prop_map(Half::Ones),
        1 => (0..16u8).prop_map(Half::Digits),
        2 => Just(Half::Last),
        3 => any::<u128>().prop_map(Half::Any),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    (half(), half(), prop_oneof![2 => Just(0), 1 => -2..=2i8], any::<bool>())
        .prop_map(|(high, low, plus, negated)| Key { high, low, plus, negated })
}

impl Key {
    /// None for zero.
    fn decode(&self) -> Option<DecryptionKey> {
        let short = |value: u128| Scalar::from_short_le(&value.to_le_bytes());
        let mut value =
            short(self.high.value()).mul(&short(Z_SQUARED)).add(&short(self.low.value()));
        let step = Scalar::from_u64(u64::from(self.plus.unsigned_abs()));
        value = if self.plus < 0 { value.sub(&step) } else { value.add(&step) };
        if self.negated {
            value = Scalar::from_u64(0).sub(&value);
        }
        DecryptionKey::from_bytes(&value.to_be_bytes()).ok()
    }
}

/// Points u: among few different ones, with their inverses.
#[derive(Clone, Debug)]
struct Point {
    multiple: u64,
    negated: bool,
}

impl Point {
    fn decode(&self) -> EphemeralPoint {
        let sum = GENERATOR.mul_secret(&match self.multiple {
            small @ 0..=3 => Scalar::from_u64(small + 1),
            seed => scalar(seed),
        });
        let sum = if self.negated { sum.negate() } else { sum };
        EphemeralPoint::from_bytes(&sum.to_affine().to_compressed()).unwrap()
    }
}

fn point() -> impl Strategy<Value = Point> {
    (prop_oneof![0..4u64, any::<u64>()], any::<bool>())
        .prop_map(|(multiple, negated)| Point { multiple, negated })
}

/// By double-and-add, from the public encodings alone.
fn textbook(key: &DecryptionKey, u: &EphemeralPoint) -> Share {
    let u = Subgroup::from_compressed(&u.to_bytes()).unwrap().point().to_sum();
    let mut key_le = key.expose(|bytes| *bytes);
    key_le.reverse();
    Share(u.mul_public(&key_le).to_affine().to_raw())
}

fn check(key: &Key, points: &[EphemeralPoint]) -> Result<(), TestCaseError> {
    let Some(key) = key.decode() else { return Ok(()) };
    let together = key.shares(points);
    let alone: Vec<_> = points.iter().map(|u| key.share(u)).collect();
    prop_assert_eq!(&together, &alone);
    // The way of many points, also for few.
    let scalar = key.expose(Scalar::from_be_bytes).unwrap();
    let subgroup: Vec<_> = points.iter().map(|u| u.0).collect();
    let abreast = mul_secret_abreast(&subgroup, &scalar);
    let abreast: Vec<_> = abreast.iter().map(|point| Share(point.to_raw())).collect();
    prop_assert_eq!(&abreast, &alone);
    // Twenty times as slow as the others.
    for (u, share) in points.iter().zip(&together).take(2) {
        prop_assert_eq!(share, &textbook(&key, u));
    }
    Ok(())
}

proptest! {
    #![proptest_config(seeded(800))]

    #[test]
    fn any_key_and_a_few_points(
        key in key(),
        points in prop::collection::vec(point(), 0..5),
    ) {
        let points: Vec<_> = points.iter().map(Point::decode).collect();
        check(&key, &points)?;
    }
}

/// More points than go abreast.
#[test]
fn several_chunks() {
    let points: Vec<_> = (0..270)
        .map(|seed| Point { multiple: seed, negated: seed.is_multiple_of(3) }.decode())
        .collect();
    for (high, low) in [
        (Half::Zero, Half::One),
        (Half::Zero, Half::Last),
        (Half::One, Half::Zero),
        (Half::Last, Half::Last),
        (Half::Any(5 << 100), Half::Any(7 << 99)),
    ] {
        let key = Key { high, low, plus: 0, negated: false };
        for count in [127, 128, 129, 256, 257, 270] {
            check(&key, &points[..count]).unwrap();
        }
    }
}

/// The named edges, once each.
#[test]
fn keys_at_the_edges() {
    let points = [4, 5, 0].map(|multiple| Point { multiple, negated: false }.decode());
    let halves = || [Half::Zero, Half::One, Half::Tiny(2), Half::Last, Half::Any(1 << 127)];
    for (high, low) in halves().into_iter().flat_map(|high| halves().map(|low| (high.clone(), low)))
    {
        for (plus, negated) in [(0, false), (0, true), (1, false), (-1, false), (-1, true)] {
            let key = Key { high: high.clone(), low: low.clone(), plus, negated };
            check(&key, &points).unwrap_or_else(|error| panic!("{key:?}: {error}"));
        }
    }
}
