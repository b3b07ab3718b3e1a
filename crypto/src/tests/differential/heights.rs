//! `decide_all` against `decide`, position by position: the same opening and the same blame.

use std::ops::RangeInclusive;

use proptest::test_runner::TestCaseError;

use super::super::openings::undecryptable;
use super::*;
use crate::group::Subgroup;
use crate::lagrange;

/// The plain path: every position alone.
fn plain(
    public: &CommitteePublic,
    items: &[(&Label, &Ciphertext)],
    columns: &[Column<'_>],
) -> Vec<Verdict> {
    let position = |at: usize| -> Vec<(usize, Share)> {
        let fitting = columns.iter().filter(|column| column.shares.len() == items.len());
        fitting.map(|column| (column.member, column.shares[at])).collect()
    };
    let numbered = items.iter().enumerate();
    numbered.map(|(at, (label, sealed))| decide(public, label, sealed, &position(at))).collect()
}

/// A valid ciphertext, what it opens to, and everybody's right share.
struct Sealing {
    name: &'static str,
    label: Label,
    ciphertext: Ciphertext,
    truth: Opening,
    shares: Vec<Share>,
}

struct World {
    committee: Committee,
    /// First the ones sealed by the rules.
    sealings: Vec<Sealing>,
}

/// Sealings by the rules in a world.
const HONEST: usize = 8;

impl World {
    fn new(members: usize) -> Self {
        let committee = Committee::new(members, members - (members - 1) / 3);
        let with_shares = |name, label, ciphertext: Ciphertext, truth: Option<Opening>| {
            let shares = committee.shares(0..members, &ciphertext);
            let truth = truth.unwrap_or_else(|| Opening::Undecryptable {
                secret: committee.secret(&ciphertext),
            });
            let shares = shares.into_iter().map(|(_, share)| share).collect();
            Sealing { name, label, ciphertext, truth, shares }
        };
        let mut sealings: Vec<Sealing> = (0..HONEST as u64)
            .map(|i| {
                let (label, seed, message) = (label(i), seed(i), vec![i as u8; i as usize * 60]);
                let ciphertext = seal(committee.key(), &label, &seed, &message).unwrap();
                let truth = Opening::Opened { seed: *seed.expose(), message };
                with_shares("by the rules", label, ciphertext, Some(truth))
            })
            .collect();
        let bad = undecryptable(committee.key()).into_iter();
        sealings.extend(bad.map(|(name, sealed)| with_shares(name, label(3), sealed, None)));
        Self { committee, sealings }
    }

    fn threshold(&self) -> usize {
        self.committee.public.threshold()
    }
}

static WORLD_4: LazyLock<World> = LazyLock::new(|| World::new(4));
static WORLD_7: LazyLock<World> = LazyLock::new(|| World::new(7));
static WORLD_16: LazyLock<World> = LazyLock::new(|| World::new(16));
/// Large enough for interpolation by full scalars.
static WORLD_64: LazyLock<World> = LazyLock::new(|| World::new(64));

/// What a member shows in place of its share.
#[derive(Clone, Debug)]
enum Lie {
    RandomPoint(u64),
    /// The right share and something of small order.
    PlusSmall(Small),
    /// Nothing but something of small order.
    PureSmall(Small),
    /// Its own share of another position.
    OtherPosition(Pick),
    /// Another member's share of this position.
    OtherMember(Pick),
    Negated,
    Doubled,
    Infinity,
    /// (0, ±2), which does not decode as a share.
    OrderThree {
        negative: bool,
    },
    Bytes(u8),
    Flip {
        byte: Pick,
        bit: u8,
    },
    /// The right point in compressed form, in front of zeros.
    Compressed,
    /// Two members err so that the interpolation from the first members is right all the same.
    Cancelling {
        with: Pick,
        seed: u64,
    },
    /// The share that another key would make.
    WrongKey(u64),
    /// Two members err by the inverse of what the other errs by.
    OppositeMembers {
        with: Pick,
        seed: u64,
        by_key: bool,
    },
    /// A member errs at another position by the inverse of what it errs by here.
    OppositePositions {
        other: Pick,
        seed: u64,
    },
    /// As the cancelling one with a point of small order, for few factors only.
    CancellingSmall {
        with: Pick,
        small: Small,
        factor: u8,
    },
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        2 => any::<u64>().prop_map(Lie::RandomPoint),
        6 => small().prop_map(Lie::PlusSmall),
        1 => small().prop_map(Lie::PureSmall),
        2 => pick().prop_map(Lie::OtherPosition),
        2 => pick().prop_map(Lie::OtherMember),
        1 => Just(Lie::Negated),
        1 => Just(Lie::Doubled),
        1 => Just(Lie::Infinity),
        1 => any::<bool>().prop_map(|negative| Lie::OrderThree { negative }),
        1 => any::<u8>().prop_map(Lie::Bytes),
        2 => (pick(), 0..8u8).prop_map(|(byte, bit)| Lie::Flip { byte, bit }),
        1 => Just(Lie::Compressed),
        3 => (pick(), any::<u64>()).prop_map(|(with, seed)| Lie::Cancelling { with, seed }),
        2 => any::<u64>().prop_map(Lie::WrongKey),
        2 => (pick(), any::<u64>(), any::<bool>())
            .prop_map(|(with, seed, by_key)| Lie::OppositeMembers { with, seed, by_key }),
        2 => (pick(), any::<u64>())
            .prop_map(|(other, seed)| Lie::OppositePositions { other, seed }),
        2 => (pick(), small(), any::<u8>())
            .prop_map(|(with, small, factor)| Lie::CancellingSmall { with, small, factor }),
    ]
}

#[derive(Clone, Debug)]
enum At {
    One(Pick),
    /// Every position from this one on, so many apart.
    Every(Pick, usize),
    All,
}

#[derive(Clone, Debug)]
struct Change {
    /// Among the liars.
    liar: Pick,
    at: At,
    lie: Lie,
}

/// A column that does not belong.
#[derive(Clone, Debug)]
enum Odd {
    /// A second one of a member: with the shares of the next member.
    Second(usize),
    /// The same, of nothing that decodes.
    SecondUndecodable(usize),
    Foreign(usize),
    ForeignUndecodable(usize),
    TooShort(usize),
    TooLong(usize),
    Empty(usize),
}

#[derive(Clone, Debug)]
struct Height {
    /// The sealing at each position; half of the indices are those by the rules.
    positions: Vec<(Pick, bool)>,
    /// Whose columns are there, in order.
    members: Vec<usize>,
    /// How many of them are missing at the end.
    missing: usize,
    /// So many members lie, from the first one on, cyclic.
    liars: (usize, usize),
    changes: Vec<Change>,
    odd: Vec<(Pick, Odd)>,
}

fn height(members: usize, sizes: RangeInclusive<usize>) -> impl Strategy<Value = Height> {
    let faulty = (members - 1) / 3;
    let at = prop_oneof![
        4 => pick().prop_map(At::One),
        1 => (pick(), 1..5usize).prop_map(|(from, step)| At::Every(from, step)),
        1 => Just(At::All),
    ];
    let change = (pick(), at, lie()).prop_map(|(liar, at, lie)| Change { liar, at, lie });
    let foreign = || prop_oneof![Just(members), Just(members + 1), Just(usize::MAX)];
    let odd = prop_oneof![
        (0..members).prop_map(Odd::Second),
        (0..members).prop_map(Odd::SecondUndecodable),
        foreign().prop_map(Odd::Foreign),
        foreign().prop_map(Odd::ForeignUndecodable),
        (0..members).prop_map(Odd::TooShort),
        (0..members).prop_map(Odd::TooLong),
        (0..members).prop_map(Odd::Empty),
    ];
    let missing = prop_oneof![4 => Just(0), 3 => 0..=faulty, 1 => 0..=members];
    let liars = prop_oneof![5 => 1..=faulty, 2 => 1..=members];
    (
        prop::collection::vec((pick(), prop::bool::weighted(0.25)), sizes),
        Just((0..members).collect::<Vec<_>>()).prop_shuffle(),
        missing,
        (0..members, liars),
        prop::collection::vec(change, 0..5),
        prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec((pick(), odd), 1..4)
        ],
    )
        .prop_map(|(positions, members, missing, liars, changes, odd)| Height {
            positions,
            members,
            missing,
            liars,
            changes,
            odd,
        })
}

fn sum_of(share: &Share) -> Option<Sum> {
    share.decode().ok().map(|point| point.to_sum())
}

fn raw(sum: Sum) -> Share {
    Share(sum.to_affine().to_raw())
}

impl Height {
    fn sealings<'a>(&self, world: &'a World) -> Vec<&'a Sealing> {
        let (honest, bad) = world.sealings.split_at(HONEST);
        let of = |(index, undecryptable): &(Pick, bool)| {
            let among = if *undecryptable { bad } else { honest };
            &among[index.of(among.len())]
        };
        self.positions.iter().map(of).collect()
    }

    fn shown(&self) -> &[usize] {
        &self.members[..self.members.len().saturating_sub(self.missing)]
    }

    /// What each member shows, by member and position.
    fn shares(&self, world: &World, sealings: &[&Sealing]) -> Vec<Vec<Share>> {
        let members = self.members.len();
        let mut shares: Vec<Vec<Share>> = (0..members)
            .map(|member| sealings.iter().map(|sealing| sealing.shares[member]).collect())
            .collect();
        if sealings.is_empty() {
            return shares;
        }
        for change in &self.changes {
            let liar = |index: &Pick| (self.liars.0 + index.of(self.liars.1)) % members;
            let member = liar(&change.liar);
            let positions: Vec<usize> = match &change.at {
                At::One(at) => vec![at.of(sealings.len())],
                At::Every(from, step) => {
                    (from.of(sealings.len())..sealings.len()).step_by(*step).collect()
                }
                At::All => (0..sealings.len()).collect(),
            };
            for at in positions {
                let u = Subgroup::from_compressed(&sealings[at].ciphertext.u).unwrap();
                self.lie(world, &mut shares, member, liar, at, u, &change.lie);
            }
        }
        shares
    }

    fn lie(
        &self,
        world: &World,
        shares: &mut [Vec<Share>],
        member: usize,
        liar: impl Fn(&Pick) -> usize,
        at: usize,
        u: Subgroup,
        lie: &Lie,
    ) {
        let add = |share: &mut Share, point: Sum| {
            let Some(sum) = sum_of(share) else { return };
            let sum = sum.add(&point);
            if !sum.is_infinity() {
                *share = raw(sum);
            }
        };
        let share = shares[member][at];
        let own = &mut shares[member][at];
        match lie {
            Lie::RandomPoint(seed) => *own = raw(GENERATOR.mul_secret(&scalar(*seed))),
            Lie::PlusSmall(small) => add(own, small.point()),
            Lie::PureSmall(small) => *own = raw(small.point()),
            Lie::OtherPosition(other) => {
                let other = other.of(shares[member].len());
                shares[member][at] = shares[member][other];
            }
            Lie::OtherMember(other) => {
                let other = other.of(shares.len());
                shares[member][at] = shares[other][at];
            }
            Lie::Negated => {
                *own = sum_of(&share).map_or(share, |sum| raw(sum.negate()));
            }
            Lie::Doubled => *own = sum_of(&share).map_or(share, |sum| raw(sum.double())),
            Lie::Infinity => {
                own.0 = [0; 96];
                own.0[0] = 0x40;
            }
            Lie::OrderThree { negative } => {
                let three = torsion(3);
                *own = raw(if *negative { three.negate() } else { three });
            }
            Lie::Bytes(byte) => own.0 = [*byte; 96],
            Lie::Flip { byte, bit } => own.0[byte.of(96)] ^= 1 << bit,
            Lie::Compressed => {
                if let Some(sum) = sum_of(&share) {
                    own.0 = [0; 96];
                    own.0[..48].copy_from_slice(&sum.to_affine().to_compressed());
                }
            }
            Lie::Cancelling { with, seed } => {
                let other = liar(with);
                let quorum: Vec<usize> =
                    self.shown().iter().copied().take(world.threshold()).collect();
                let factors = lagrange::at_zero(&quorum);
                let factor = |member: usize| {
                    let place = quorum.iter().position(|seat| *seat == member)?;
                    Some(factors[place].inverse())
                };
                let (Some(a), Some(b)) = (factor(member), factor(other)) else { return };
                if member == other {
                    return;
                }
                let error = scalar(*seed);
                add(&mut shares[member][at], GENERATOR.mul_secret(&error.mul(&a)));
                add(&mut shares[other][at], GENERATOR.mul_secret(&error.mul(&b)).negate());
            }
            Lie::WrongKey(seed) => add(own, u.mul_secret(&scalar(*seed))),
            Lie::OppositeMembers { with, seed, by_key } => {
                let other = liar(with);
                let base = if *by_key { u } else { *GENERATOR };
                let error = base.mul_secret(&scalar(*seed));
                add(own, error);
                add(&mut shares[other][at], error.negate());
            }
            Lie::OppositePositions { other, seed } => {
                let error = GENERATOR.mul_secret(&scalar(*seed));
                add(own, error);
                let other = other.of(shares[member].len());
                add(&mut shares[member][other], error.negate());
            }
            Lie::CancellingSmall { with, small, factor } => {
                let other = liar(with);
                add(&mut shares[member][at], small.point());
                add(&mut shares[other][at], small.point().mul_public(&[*factor]));
            }
        }
    }
}

/// What is wrong is what differs from the one right share.
fn check_blame(
    public: &CommitteePublic,
    sealings: &[&Sealing],
    columns: &[Column<'_>],
) -> Result<(), TestCaseError> {
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    for Column { member, shares } in columns {
        if *member < public.members() && shares.len() == sealings.len() && !seen.contains(member) {
            seen.push(*member);
            let wrong = shares.iter().zip(sealings).map(|(share, s)| *share != s.shares[*member]);
            expected.extend((0..).zip(wrong).filter(|(_, w)| *w).map(|(at, _)| (*member, at)));
        }
    }
    expected.sort_unstable();
    let points = sealings.iter().map(|s| EphemeralPoint::from_bytes(&s.ciphertext.u).unwrap());
    let found = check_shares(public, &points.collect::<Vec<_>>(), columns);
    prop_assert_eq!(found, expected, "wrong shares");
    Ok(())
}

/// Fast and plain agree on every position, and both are right wherever enough shares are.
fn check(world: &World, height: &Height) -> Result<(), TestCaseError> {
    let sealings = height.sealings(world);
    let items: Vec<_> = sealings.iter().map(|s| (&s.label, &s.ciphertext)).collect();
    let shares = height.shares(world, &sealings);
    let long: Vec<Vec<Share>> =
        shares.iter().map(|own| own.iter().copied().chain([Share([1; 96])]).collect()).collect();
    let garbage = vec![Share([1; 96]); items.len()];
    let column = |member: usize, shares| Column { member, shares };
    let mut columns: Vec<Column<'_>> =
        height.shown().iter().map(|member| column(*member, &shares[*member][..])).collect();
    for (at, odd) in &height.odd {
        let odd = match odd {
            Odd::Second(of) => column(*of, &shares[(of + 1) % shares.len()][..]),
            Odd::SecondUndecodable(of) => column(*of, &garbage[..]),
            Odd::Foreign(member) => column(*member, &shares[0][..]),
            Odd::ForeignUndecodable(member) => column(*member, &garbage[..]),
            Odd::TooShort(of) => column(*of, &shares[*of][..items.len().saturating_sub(1)]),
            Odd::TooLong(of) => column(*of, &long[*of][..]),
            Odd::Empty(of) => column(*of, &[]),
        };
        columns.insert(at.of(columns.len() + 1), odd);
    }
    let public = &world.committee.public;
    check_blame(public, &sealings, &columns)?;
    let fast = decide_all(public, &items, &columns);
    let plain = plain(public, &items, &columns);
    prop_assert_eq!(fast.len(), plain.len());
    for (at, (fast, plain)) in fast.iter().zip(&plain).enumerate() {
        let sealing = sealings[at];
        prop_assert_eq!(fast, plain, "position {}, sealed: {}", at, sealing.name);

        let used = |member: usize| {
            columns
                .iter()
                .find(|column| column.member == member && column.shares.len() == items.len())
        };
        let right = |member: usize| {
            used(member).is_some_and(|column| column.shares[at] == sealing.shares[member])
        };
        let count = (0..shares.len()).filter(|member| right(*member)).count();
        if count >= world.threshold() {
            prop_assert_eq!(fast.opening.as_ref(), Some(&sealing.truth), "position {}", at);
        } else if let Some(opening) = &fast.opening {
            prop_assert_eq!(opening, &sealing.truth, "position {}", at);
        }
        for member in &fast.blamed {
            prop_assert!(used(*member).is_some() && !right(*member), "{} blamed at {}", member, at);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(seeded(180))]

    #[test]
    fn four_members(height in height(4, 0..=12)) {
        check(&WORLD_4, &height)?;
    }
}

proptest! {
    #![proptest_config(seeded(100))]

    #[test]
    fn seven_members(height in height(7, 0..=10)) {
        check(&WORLD_7, &height)?;
    }
}

proptest! {
    #![proptest_config(seeded(40))]

    #[test]
    fn sixteen_members(height in height(16, 0..=8)) {
        check(&WORLD_16, &height)?;
    }
}

proptest! {
    #![proptest_config(seeded(6))]

    #[test]
    fn sixty_four_members(height in height(64, 1..=3)) {
        check(&WORLD_64, &height)?;
    }

    /// Around the borders of the chunks.
    #[test]
    fn several_chunks(height in height(4, 120..=140)) {
        check(&WORLD_4, &height)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    #[ignore = "minutes: thousands of heights of every committee"]
    fn many_heights(
        four in height(4, 0..=40),
        seven in height(7, 0..=12),
        sixteen in prop::option::weighted(0.2, height(16, 1..=12)),
        chunks in prop::option::weighted(0.05, height(4, 120..=270)),
        decoded in prop::option::weighted(0.02, height(4, 505..=530)),
    ) {
        check(&WORLD_4, &four)?;
        check(&WORLD_7, &seven)?;
        if let Some(sixteen) = sixteen {
            check(&WORLD_16, &sixteen)?;
        }
        for long in chunks.iter().chain(&decoded) {
            check(&WORLD_4, long)?;
        }
    }
}
