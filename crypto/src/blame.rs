//! Which of many shares are wrong, without a pairing for each.
//!
//! ```text
//! all shares ─ prime order? ─ Σ ρ_i·D_ji against Σ ρ_i·u_i, all members in one equation ─▶ all right
//!                                              │ fails
//!                                 each member alone: some are right throughout
//!                       t of them ──────────┤──────────── fewer
//!            interpolate what the others'   │    equations over a few positions,
//!            shares must be, compare        ▼    then single shares
//! ```
//!
//! Weights come from a hash over all shares. A wrong share passes with a probability of 2⁻⁶⁴: it would go
//! without blame, but no opening rests on it, for secrets are checked apart, with a probability of 2⁻¹²⁸.

use crate::committee::CommitteePublic;
use crate::domain;
use crate::group::{CurvePoint, G2Point, Scalar, Subgroup, g2_sum, pairing_equal};
use crate::hash::keccak;
use crate::height::{Column, usable};
use crate::key::EphemeralPoint;
use crate::lagrange::Interpolation;
use crate::lanes::Lanes;
use crate::msm::msm;
use crate::orders::{Soundness, outside_subgroup};

/// Finds the wrong ones among many shares: pairs of member and position, ascending. A share is right when
/// [`CommitteePublic::verify_share`] says so; this is the same for a fraction of the cost.
///
/// Columns of members outside the committee, second columns of one member, and columns of another length than
/// `points` are ignored. Runs on the calling thread.
pub fn check_shares(
    public: &CommitteePublic,
    points: &[EphemeralPoint],
    columns: &[Column<'_>],
) -> Vec<(usize, usize)> {
    let columns: Vec<_> =
        usable(public, points.len(), columns).iter().map(Decoded::from_column).collect();
    let points: Vec<_> = points.iter().map(|point| point.0.point()).collect();
    let truth = check_all(public, &mut Lanes::default(), &points, &columns);
    let mut wrong: Vec<_> = columns
        .iter()
        .zip(&truth.right)
        .flat_map(|(column, right)| {
            let wrong = right.iter().enumerate().filter(|(_, right)| !**right);
            wrong.map(|(position, _)| (column.member, position))
        })
        .collect();
    wrong.sort_unstable();
    wrong
}

/// One member's decoded shares by position; infinity, which no share is, where one does not decode.
pub(crate) struct Decoded {
    pub(crate) member: usize,
    pub(crate) points: Vec<CurvePoint>,
}

impl Decoded {
    pub(crate) fn from_column(column: &Column<'_>) -> Self {
        let points = column.shares.iter().map(|share| share.decode().unwrap_or_default());
        Self { member: column.member, points: points.collect() }
    }
}

/// Positions that are checked in one equation when a member has wrong shares and the others do not tell
/// which.
const SPAN_POSITIONS: usize = 16;

/// Which shares are right: for each column its verdicts by position.
pub(crate) struct Truth {
    pub(crate) right: Vec<Vec<bool>>,
    /// Columns, as many as the threshold, that are right at every position, if there are.
    pub(crate) quorum: Option<Vec<usize>>,
}

/// Checks every share. `us` are of prime order and not infinity; members are distinct and exist; every column
/// has as many points as there are `us`.
pub(crate) fn check_all(
    public: &CommitteePublic,
    lanes: &mut Lanes,
    us: &[CurvePoint],
    columns: &[Decoded],
) -> Truth {
    let members: Vec<_> = columns.iter().map(|column| column.member).collect();
    let points = us.iter().chain(columns.iter().flat_map(|column| &column.points));
    let transcript = transcript(&members, points);
    let mut right: Vec<Vec<bool>> = columns
        .iter()
        .map(|column| column.points.iter().map(|point| !point.is_infinity()).collect())
        .collect();
    exclude_small_orders(lanes, columns, &transcript, &mut right);

    let weights: Vec<_> = weights(us.len(), &keccak(domain::WEIGHT, &[&transcript, &[0]]))
        .iter()
        .map(|weight| weight >> 64)
        .collect();
    let u_sum = msm(lanes, us, &weights).to_affine();
    // Columns that may be right throughout, with their sums.
    let candidates: Vec<(usize, CurvePoint)> = (0..columns.len())
        .filter(|column| right[*column].iter().all(|right| *right))
        .map(|column| (column, msm(lanes, &columns[column].points, &weights).to_affine()))
        .collect();
    let key = |column: usize| public.verification_point(columns[column].member);
    let good: Vec<usize> = if all_hold(lanes, &u_sum, &candidates, key, &transcript) {
        candidates.iter().map(|(column, _)| *column).collect()
    } else {
        candidates
            .iter()
            .filter(|(column, sum)| holds(sum, &u_sum, &key(*column)))
            .map(|(column, _)| *column)
            .collect()
    };

    let quorum = good.get(..public.threshold()).map(<[usize]>::to_vec);
    for column in (0..columns.len()).filter(|column| !good.contains(column)) {
        match &quorum {
            Some(quorum) => compare(lanes, columns, quorum, column, &mut right[column]),
            None => {
                let points = &columns[column].points;
                search(lanes, us, points, &key(column), &weights, &mut right[column]);
            }
        }
    }
    Truth { right, quorum }
}

/// What the weights come from.
fn transcript<'a>(members: &[usize], points: impl Iterator<Item = &'a CurvePoint>) -> [u8; 32] {
    let bytes: Vec<u8> = points.flat_map(|point| point.to_raw()).collect();
    let members: Vec<u8> =
        members.iter().flat_map(|member| (*member as u64).to_be_bytes()).collect();
    keccak(domain::BATCH, &[&members, &bytes])
}

/// 128-bit weights.
fn weights(count: usize, seed: &[u8; 32]) -> Vec<u128> {
    (0u64..)
        .take(count.div_ceil(2))
        .flat_map(|block| {
            let hash = keccak(domain::WEIGHT, &[seed, &[1], &block.to_be_bytes()]);
            let (low, high) = hash.split_at(16);
            [low, high].map(|half| half.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
        })
        .take(count)
        .collect()
}

fn exclude_small_orders(
    lanes: &mut Lanes,
    columns: &[Decoded],
    transcript: &[u8; 32],
    right: &mut [Vec<bool>],
) {
    let points: Vec<_> = columns.iter().flat_map(|column| &column.points).copied().collect();
    let places: Vec<_> = columns
        .iter()
        .enumerate()
        .flat_map(|(column, decoded)| (0..decoded.points.len()).map(move |at| (column, at)))
        .collect();
    for outside in outside_subgroup(lanes, &points, transcript, Soundness::Bits64) {
        let (column, position) = places[outside];
        right[column][position] = false;
    }
}

/// Whether all columns are right: e(Σ r_j·S_j, g₂) = e(U, Σ r_j·VK_j).
fn all_hold(
    lanes: &mut Lanes,
    u_sum: &CurvePoint,
    sums: &[(usize, CurvePoint)],
    key: impl Fn(usize) -> G2Point,
    transcript: &[u8; 32],
) -> bool {
    let weights = weights(sums.len(), &keccak(domain::WEIGHT, &[transcript, &[2]]));
    let points: Vec<_> = sums.iter().map(|(_, sum)| *sum).collect();
    let keys: Vec<_> = sums
        .iter()
        .zip(&weights)
        .map(|((column, _), weight)| (Scalar::from_short_le(&weight.to_le_bytes()), key(*column)))
        .collect();
    let left = msm(lanes, &points, &weights).to_affine();
    g2_sum(&keys).is_some_and(|right| holds(&left, u_sum, &right))
}

/// e(sum, g₂) = e(u, key). Both points have prime order; false for infinity, which nobody needs to prove.
fn holds(sum: &CurvePoint, u: &CurvePoint, key: &G2Point) -> bool {
    !sum.is_infinity()
        && !u.is_infinity()
        && pairing_equal(
            &Subgroup::checked(*sum),
            &G2Point::generator(),
            &Subgroup::checked(*u),
            key,
        )
}

/// A member's shares must be what those of the quorum interpolate to.
fn compare(
    lanes: &mut Lanes,
    columns: &[Decoded],
    quorum: &[usize],
    column: usize,
    right: &mut [bool],
) {
    let members: Vec<_> = quorum.iter().map(|column| columns[*column].member).collect();
    let points: Vec<&[CurvePoint]> =
        quorum.iter().map(|column| &*columns[*column].points).collect();
    let expected =
        Interpolation::of_share(&members, columns[column].member).evaluate(lanes, &points);
    for ((right, expected), point) in right.iter_mut().zip(&expected).zip(&columns[column].points) {
        *right = *right && expected == point;
    }
}

/// Finds a member's wrong shares by equations over a few positions each.
fn search(
    lanes: &mut Lanes,
    us: &[CurvePoint],
    points: &[CurvePoint],
    key: &G2Point,
    weights: &[u128],
    right: &mut [bool],
) {
    let left: Vec<usize> = (0..us.len()).filter(|position| right[*position]).collect();
    for span in left.chunks(SPAN_POSITIONS) {
        let weights: Vec<_> = span.iter().map(|position| weights[*position]).collect();
        let mut sum = |points: &[CurvePoint]| {
            let points: Vec<_> = span.iter().map(|position| points[*position]).collect();
            msm(lanes, &points, &weights).to_affine()
        };
        if !holds(&sum(points), &sum(us), key) {
            for position in span {
                right[*position] = holds(&points[*position], &us[*position], key);
            }
        }
    }
}

/// Whether every secret is the one of its u: of prime order, with e(D, g₂) = e(u, Y₂). The points `us` are of
/// prime order and not infinity.
pub(crate) fn secrets_hold(
    public: &CommitteePublic,
    lanes: &mut Lanes,
    us: &[CurvePoint],
    secrets: &[CurvePoint],
) -> bool {
    let transcript = transcript(&[], us.iter().chain(secrets));
    if secrets.iter().any(CurvePoint::is_infinity)
        || !outside_subgroup(lanes, secrets, &transcript, Soundness::Bits128).is_empty()
    {
        return false;
    }
    let weights = weights(us.len(), &keccak(domain::WEIGHT, &[&transcript, &[3]]));
    let (left, right) = (msm(lanes, secrets, &weights), msm(lanes, us, &weights));
    holds(&left.to_affine(), &right.to_affine(), public.key_g2_point())
}
