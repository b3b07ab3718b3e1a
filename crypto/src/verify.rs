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
use crate::group::{CurvePoint, SCALAR_BITS, Scalar, Sum, msm_any};
use crate::hash::keccak;
use crate::key::{CommitteeKey, GENERATOR_COMB, Label, SECOND_GENERATOR_COMB};
use crate::pad::is_padded_len;
use crate::seal::{Ciphertext, TAG_BYTES, challenge_le};

/// Ciphertexts that one multi-scalar multiplication takes at most; bounds the memory of a batch.
const CHUNK_ITEMS: usize = 512;
/// Up to this many ciphertexts, checking one by one is as fast as in a batch: below 32 points (two for
/// each ciphertext) a multi-scalar multiplication that is right for points of small order gains nothing.
const SINGLES_ITEMS: usize = 15;
/// Bytes of a random weight.
const WEIGHT_BYTES: usize = 16;

/// Checks one ciphertext.
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
) -> Result<(), CiphertextError> {
    Statement::decode(key, label, sealed)?.check()
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
) -> Vec<Result<(), CiphertextError>> {
    let mut verdicts = Vec::with_capacity(items.len());
    for chunk in items.chunks(CHUNK_ITEMS) {
        let start = verdicts.len();
        let mut statements = Vec::with_capacity(chunk.len());
        for (label, sealed) in chunk {
            match Statement::decode(key, label, sealed) {
                Ok(statement) => {
                    statements.push((verdicts.len(), statement));
                    verdicts.push(Ok(()));
                }
                Err(error) => verdicts.push(Err(error)),
            }
        }
        let weighted = weigh(statements, &weights_seed, start);
        bisect(&weighted, &mut verdicts);
    }
    verdicts
}

/// A decoded ciphertext: what its two equations are about.
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
        u.into_subgroup()
            .map_err(|error| CiphertextError::Point { field: PointField::U, error })?;
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
    weights_le: [[u8; WEIGHT_BYTES]; 2],
    weighted_z: [Scalar; 2],
    weighted_c: [Scalar; 2],
}

fn weigh(statements: Vec<(usize, Statement)>, seed: &[u8; 32], start: usize) -> Vec<Weighted> {
    let mut transcript = keccak(domain::BATCH, &[seed, &(start as u64).to_be_bytes()]);
    for (_, statement) in &statements {
        // The challenge is a hash over everything but z.
        let parts: [&[u8]; 3] = [&transcript, &statement.challenge_le, &statement.z.to_be_bytes()];
        transcript = keccak(domain::BATCH, &parts);
    }
    statements
        .into_iter()
        .map(|(index, statement)| {
            let hash = keccak(domain::WEIGHT, &[&transcript, &(index as u64).to_be_bytes()]);
            let mut weights_le = [[0; WEIGHT_BYTES]; 2];
            for (weight, bytes) in weights_le.iter_mut().zip(hash.chunks_exact(WEIGHT_BYTES)) {
                weight.copy_from_slice(bytes);
            }
            let weights = weights_le.each_ref().map(Scalar::from_short_le);
            let challenge = Scalar::from_short_le(&statement.challenge_le);
            Weighted {
                index,
                weighted_z: weights.each_ref().map(|weight| weight.mul(&statement.z)),
                weighted_c: weights.each_ref().map(|weight| weight.mul(&challenge)),
                weights_le,
                statement,
            }
        })
        .collect()
}

fn bisect(items: &[Weighted], verdicts: &mut [Result<(), CiphertextError>]) {
    if items.len() <= SINGLES_ITEMS {
        for item in items {
            if let Some(verdict) = verdicts.get_mut(item.index) {
                *verdict = item.statement.check();
            }
        }
    } else if !all_hold(items) {
        let (left, right) = items.split_at(items.len() / 2);
        bisect(left, verdicts);
        bisect(right, verdicts);
    }
}

/// Σ ρ·(z·g − c·u − w) + ρ̅·(z·g̅ − c·u̅ − w̅) has small order.
fn all_hold(items: &[Weighted]) -> bool {
    let count = items.len() * 2;
    let (mut long_points, mut long_scalars) =
        (Vec::with_capacity(count), Vec::with_capacity(count * 32));
    let (mut short_points, mut short_scalars) =
        (Vec::with_capacity(count), Vec::with_capacity(count * WEIGHT_BYTES));
    let mut z_sums = [Scalar::from_u64(0), Scalar::from_u64(0)];
    for item in items {
        long_points.extend([item.statement.u, item.statement.u_bar]);
        item.weighted_c.iter().for_each(|scalar| long_scalars.extend(scalar.to_le_bytes()));
        short_points.extend([item.statement.w, item.statement.w_bar]);
        item.weights_le.iter().for_each(|weight| short_scalars.extend(weight));
        for (sum, z) in z_sums.iter_mut().zip(&item.weighted_z) {
            *sum = sum.add(z);
        }
    }
    let right = msm_any(&long_points, &long_scalars, SCALAR_BITS).add(&msm_any(
        &short_points,
        &short_scalars,
        WEIGHT_BYTES * 8,
    ));
    let left =
        GENERATOR_COMB.mul_public(&z_sums[0]).add(&SECOND_GENERATOR_COMB.mul_public(&z_sums[1]));
    is_small_order(&left.add(&right.negate()))
}
