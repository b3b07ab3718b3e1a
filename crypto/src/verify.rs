//! Validity of a ciphertext: public, before any share exists, and a matter of consensus.
//!
//! A ciphertext is valid for a label and a committee key when
//!
//! 1. `u`, `u_bar`, `w`, `w_bar` are canonical encodings of points on the curve, `u` has prime order
//!    and is not infinity, `z` is canonical, and the body has 16 bytes more than a padded length;
//! 2. h·(z·g − c·u − w) and h·(z·g̅ − c·u̅ − w̅) are both infinity, h being the curve's cofactor.
//!
//! The equations are multiplied by the cofactor because a sum of many with random weights would
//! catch a component of order three only two times in three: with the factor, small orders do not
//! count in either check, and [`verify`] and [`verify_batch`] agree. What they let through in u̅, w
//! and w̅ does no harm: no secret ever touches these points, and an opening is accepted byte for
//! byte only.

use crate::domain;
use crate::error::{CiphertextError, PointError, PointField};
use crate::group::{CurvePoint, Scalar, Subgroup, Sum};
use crate::hash::keccak;
use crate::key::{CommitteeKey, EphemeralPoint, GENERATOR_COMB, Label, SECOND_GENERATOR_COMB};
use crate::lanes::{Lanes, split};
use crate::msm::msm;
use crate::orders::{Soundness, outside_subgroup};
use crate::pad::is_padded_len;
use crate::seal::{Ciphertext, TAG_BYTES, challenge_le};

/// Ciphertexts that one multi-scalar multiplication takes at most; bounds the memory of a batch.
const CHUNK_ITEMS: usize = 512;
/// Up to this many ciphertexts, checking one by one is as fast as in a batch.
const SINGLES_ITEMS: usize = 3;
/// Bytes of a random weight.
const WEIGHT_BYTES: usize = 16;

/// Checks one ciphertext; its point u comes back decoded.
///
/// # Errors
///
/// When it is invalid for this label and key; its maker is at fault.
///
/// # Source
///
/// Shoup and Gennaro (1998), TDH2, the check before decryption, with the commitments in place of the
/// challenge (so that many checks can be added up) and cofactored.
pub fn verify(
    key: &CommitteeKey,
    label: &Label,
    sealed: &Ciphertext,
) -> Result<EphemeralPoint, CiphertextError> {
    let statement = Statement::decode(key, label, sealed)?;
    let u = statement.u.into_subgroup().map_err(not_of_prime_order)?;
    statement.check()?;
    Ok(EphemeralPoint(u))
}

/// Checks many ciphertexts, with the verdicts of [`verify`], in the same order.
///
/// `weights_seed` should be random; it is mixed with the ciphertexts, so that even a known seed
/// leaves an attacker nothing but guessing (2⁻¹²⁸ for each try). Invalid ones are found by bisection.
/// Runs on the calling thread: split the slice to use more.
pub fn verify_batch(
    key: &CommitteeKey,
    items: &[(Label, &Ciphertext)],
    weights_seed: [u8; 32],
) -> Vec<Result<EphemeralPoint, CiphertextError>> {
    let lanes = &mut Lanes::default();
    items
        .chunks(CHUNK_ITEMS)
        .zip(0u64..)
        .flat_map(|(chunk, number)| verify_chunk(key, chunk, &weights_seed, number, lanes))
        .collect()
}

fn verify_chunk(
    key: &CommitteeKey,
    items: &[(Label, &Ciphertext)],
    weights_seed: &[u8; 32],
    number: u64,
    lanes: &mut Lanes,
) -> Vec<Result<EphemeralPoint, CiphertextError>> {
    let mut statements: Vec<_> =
        items.iter().map(|(label, sealed)| Statement::decode(key, label, sealed)).collect();

    let mut transcript = keccak(domain::BATCH, &[weights_seed, &number.to_be_bytes()]);
    for statement in statements.iter().flatten() {
        // The challenge is a hash over everything but z.
        let parts: [&[u8]; 3] = [&transcript, &statement.challenge_le, &statement.z.to_be_bytes()];
        transcript = keccak(domain::BATCH, &parts);
    }

    let decoded: Vec<_> = (0..items.len()).filter(|index| statements[*index].is_ok()).collect();
    let points: Vec<_> = statements.iter().flatten().map(|statement| statement.u).collect();
    for outside in outside_subgroup(lanes, &points, &transcript, Soundness::Bits128) {
        statements[decoded[outside]] = Err(not_of_prime_order(PointError::Subgroup));
    }

    let mut verdicts: Vec<_> = statements
        .iter()
        .map(|statement| match statement {
            // Not infinity, as decoding has seen, and of prime order, as the check above has.
            Ok(statement) => Ok(EphemeralPoint(Subgroup::checked(statement.u))),
            Err(error) => Err(*error),
        })
        .collect();
    let weighted: Vec<_> = statements
        .into_iter()
        .enumerate()
        .filter_map(|(index, statement)| Some(Weighted::new(index, statement.ok()?, &transcript)))
        .collect();
    bisect(&weighted, &mut verdicts, lanes);
    verdicts
}

fn not_of_prime_order(error: PointError) -> CiphertextError {
    CiphertextError::Point { field: PointField::U, error }
}

/// A decoded ciphertext: what its two equations are about. Of u only the order is left to check.
struct Statement {
    u: CurvePoint,
    u_bar: CurvePoint,
    w: CurvePoint,
    w_bar: CurvePoint,
    z: Scalar,
    challenge_le: [u8; 16],
}

impl Statement {
    fn decode(
        key: &CommitteeKey,
        label: &Label,
        sealed: &Ciphertext,
    ) -> Result<Self, CiphertextError> {
        let len = sealed.body.len();
        if !len.checked_sub(TAG_BYTES).is_some_and(is_padded_len) {
            return Err(CiphertextError::BodyLength { len });
        }
        let z = Scalar::from_be_bytes(&sealed.z).ok_or(CiphertextError::Scalar)?;
        let u = point(PointField::U, &sealed.u)?;
        let u_bar = point(PointField::UBar, &sealed.u_bar)?;
        let w = point(PointField::W, &sealed.w)?;
        let w_bar = point(PointField::WBar, &sealed.w_bar)?;
        if u.is_infinity() {
            return Err(not_of_prime_order(PointError::Infinity));
        }
        Ok(Self { u, u_bar, w, w_bar, z, challenge_le: challenge_le(key, label, sealed) })
    }

    fn check(&self) -> Result<(), CiphertextError> {
        let holds = |z_times_base: Sum, challenged: &CurvePoint, commitment: &CurvePoint| {
            let right = challenged.to_sum().mul_public(&self.challenge_le).add_affine(commitment);
            is_small_order(&z_times_base.add(&right.negate()))
        };
        if holds(GENERATOR_COMB.mul_public(&self.z), &self.u, &self.w)
            && holds(SECOND_GENERATOR_COMB.mul_public(&self.z), &self.u_bar, &self.w_bar)
        {
            Ok(())
        } else {
            Err(CiphertextError::Proof)
        }
    }
}

fn point(field: PointField, bytes: &[u8; 48]) -> Result<CurvePoint, CiphertextError> {
    CurvePoint::from_compressed(bytes)
        .map_err(|error: PointError| CiphertextError::Point { field, error })
}

/// Whether the cofactor times the point is infinity.
fn is_small_order(sum: &Sum) -> bool {
    sum.is_infinity() || sum.clear_cofactor().is_infinity()
}

/// A statement with its place among the verdicts, its two weights ρ, ρ̅ and ρ·z, ρ̅·z, ρ·c, ρ̅·c.
struct Weighted {
    index: usize,
    statement: Statement,
    weights: [u128; 2],
    weighted_z: [Scalar; 2],
    weighted_c: [Scalar; 2],
}

impl Weighted {
    fn new(index: usize, statement: Statement, transcript: &[u8; 32]) -> Self {
        let hash = keccak(domain::WEIGHT, &[transcript, &(index as u64).to_be_bytes()]);
        let mut weights_le = [[0; WEIGHT_BYTES]; 2];
        for (weight, bytes) in weights_le.iter_mut().zip(hash.chunks_exact(WEIGHT_BYTES)) {
            weight.copy_from_slice(bytes);
        }
        let weights = weights_le.each_ref().map(Scalar::from_short_le);
        let challenge = Scalar::from_short_le(&statement.challenge_le);
        Self {
            index,
            weighted_z: weights.each_ref().map(|weight| weight.mul(&statement.z)),
            weighted_c: weights.each_ref().map(|weight| weight.mul(&challenge)),
            weights: weights_le.map(u128::from_le_bytes),
            statement,
        }
    }
}

fn bisect(
    items: &[Weighted],
    verdicts: &mut [Result<EphemeralPoint, CiphertextError>],
    lanes: &mut Lanes,
) {
    if items.len() <= SINGLES_ITEMS {
        for item in items {
            if let Err(error) = item.statement.check() {
                verdicts[item.index] = Err(error);
            }
        }
    } else if !all_hold(items, lanes) {
        let (left, right) = items.split_at(items.len() / 2);
        bisect(left, verdicts, lanes);
        bisect(right, verdicts, lanes);
    }
}

/// Σ ρ·(z·g − c·u − w) + ρ̅·(z·g̅ − c·u̅ − w̅) has small order.
///
/// The long scalars ρ·c are halved by the endomorphism. That is right up to a point of small order,
/// which is all that is asked for.
fn all_hold(items: &[Weighted], lanes: &mut Lanes) -> bool {
    /// Two commitments, and two halves for each of two challenged points.
    const TERMS: usize = 6;
    let mut points = Vec::with_capacity(items.len() * TERMS);
    let mut scalars = Vec::with_capacity(items.len() * TERMS);
    let mut z_sums = [Scalar::from_u64(0), Scalar::from_u64(0)];
    for item in items {
        let Statement { u, u_bar, w, w_bar, .. } = &item.statement;
        points.extend([*w, *w_bar]);
        scalars.extend(item.weights);
        for (point, scalar) in [u, u_bar].into_iter().zip(&item.weighted_c) {
            let halves = split(scalar);
            points.extend([*point, point.times_z_squared()]);
            scalars.extend([halves.low, halves.high]);
        }
        for (sum, z) in z_sums.iter_mut().zip(&item.weighted_z) {
            *sum = sum.add(z);
        }
    }
    let right = msm(lanes, &points, &scalars);
    let left =
        GENERATOR_COMB.mul_public(&z_sums[0]).add(&SECOND_GENERATOR_COMB.mul_public(&z_sums[1]));
    is_small_order(&left.add(&right.negate()))
}
