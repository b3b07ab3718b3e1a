//! Tests of the whole scheme, and what they share.

mod differential;
mod encodings;
mod groups;
mod openings;
mod validity;
mod vectors;

use std::sync::LazyLock;

use crate::dealer::{Dealt, deal};
use crate::group::{CurvePoint, GENERATOR, SECOND_GENERATOR, Scalar, Sum};
use crate::hash::{expand_scalar, keccak};
use crate::seal::{Scalars, challenge_le};
use crate::testkit::{GROUP_ORDER_BE, TORSION_EXPONENT, torsion_number};
use crate::*;

/// A dealt committee with its checked public side.
pub(super) struct Committee {
    pub(super) dealt: Dealt,
    pub(super) public: CommitteePublic,
}

impl Committee {
    pub(super) fn new(members: usize, threshold: usize) -> Self {
        let dealt = deal(members, threshold, [7; 32]).unwrap();
        let public = dealt.public().unwrap();
        Self { dealt, public }
    }

    pub(super) fn key(&self) -> &CommitteeKey {
        self.public.key()
    }

    pub(super) fn share(&self, member: usize, sealed: &Ciphertext) -> (usize, Share) {
        (member, self.dealt.keys[member].share(&EphemeralPoint::from_bytes(&sealed.u).unwrap()))
    }

    pub(super) fn shares(
        &self,
        members: impl IntoIterator<Item = usize>,
        sealed: &Ciphertext,
    ) -> Vec<(usize, Share)> {
        members.into_iter().map(|member| self.share(member, sealed)).collect()
    }

    pub(super) fn secret(&self, sealed: &Ciphertext) -> [u8; 48] {
        combine(&self.shares(0..self.public.threshold(), sealed)).unwrap()
    }
}

pub(super) static FOUR: LazyLock<Committee> = LazyLock::new(|| Committee::new(4, 3));
pub(super) static SEVEN: LazyLock<Committee> = LazyLock::new(|| Committee::new(7, 5));

pub(super) fn label(i: u64) -> Label {
    Label(keccak(b"test label", &[&i.to_be_bytes()]))
}

pub(super) fn seed(i: u64) -> Seed {
    Seed::from_bytes(keccak(b"test seed", &[&i.to_be_bytes()]))
}

pub(super) fn scalar(i: u64) -> Scalar {
    expand_scalar(&keccak(b"test scalar", &[&i.to_be_bytes()]), 0)
}

/// A sealing of a short message for label `i` of the committee of four.
pub(super) fn sealed(i: u64) -> (Label, Ciphertext) {
    let label = label(i);
    (label, seal(FOUR.key(), &label, &seed(i), format!("message {i}").as_bytes()).unwrap())
}

/// Orders of points that the tests inject: every prime factor of the cofactor, and "all at once".
pub(super) const SMALL_ORDERS: [u64; 6] = [3, 11, 10_177, 859_267, 52_437_899, 0];
/// A point of the given order, or of the whole torsion for zero.
pub(super) fn torsion(order: u64) -> Sum {
    torsion_number(order, 0)
}

/// Adds a point to a compressed one.
pub(super) fn plus(bytes: &[u8; 48], point: &Sum) -> [u8; 48] {
    CurvePoint::from_compressed(bytes).unwrap().to_sum().add(point).to_affine().to_compressed()
}

/// What a sealer that keeps no rule but the proof can make: any seed and body, small-order components
/// in any point, still a valid proof.
pub(super) struct Forger {
    pub(super) r: Scalar,
    pub(super) s: Scalar,
    pub(super) offsets: [Option<Sum>; 4],
    pub(super) wrapped_seed: [u8; 32],
    pub(super) body: Vec<u8>,
}

impl Forger {
    pub(super) fn new() -> Self {
        Self {
            r: scalar(1),
            s: scalar(2),
            offsets: [None; 4],
            wrapped_seed: [3; 32],
            body: vec![4; MIN_PADDED_BYTES + TAG_BYTES],
        }
    }

    /// The honest scalars, seed and body of a sealing, to change from there.
    pub(super) fn honest(key: &CommitteeKey, label: &Label, seed: &Seed, message: &[u8]) -> Self {
        let sealed = seal(key, label, seed, message).unwrap();
        let padded = crate::pad::pad(message).unwrap();
        let Scalars { r, s } = Scalars::derive(key, label, seed.expose(), &padded).unwrap();
        Self { r, s, offsets: [None; 4], wrapped_seed: sealed.wrapped_seed, body: sealed.body }
    }

    pub(super) fn forge(&self, key: &CommitteeKey, label: &Label) -> Ciphertext {
        let (g, g_bar) = (&*GENERATOR, &*SECOND_GENERATOR);
        let sums = [
            g.mul_secret(&self.r),
            g_bar.mul_secret(&self.r),
            g.mul_secret(&self.s),
            g_bar.mul_secret(&self.s),
        ];
        let mut points = [[0; 48]; 4];
        for ((bytes, sum), offset) in points.iter_mut().zip(sums).zip(&self.offsets) {
            let sum = offset.as_ref().map_or(sum, |offset| sum.add(offset));
            *bytes = sum.to_affine().to_compressed();
        }
        let [u, u_bar, w, w_bar] = points;
        let mut sealed = Ciphertext {
            u,
            u_bar,
            w,
            w_bar,
            z: [0; 32],
            wrapped_seed: self.wrapped_seed,
            body: self.body.clone(),
        };
        let challenge = Scalar::from_short_le(&challenge_le(key, label, &sealed));
        sealed.z = self.s.add(&challenge.mul(&self.r)).to_be_bytes();
        sealed
    }
}
