//! Sealing: labelled TDH2 in G1, every random choice derived from one seed.
//!
//! ```text
//! p        = pad(m)
//! (r, s)   = hash_to_fr(σ, L, Y, keccak(p))
//! u, u̅     = r·g, r·g̅            K = keccak(domain ‖ r·Y ‖ u ‖ L)     wrapped_seed = σ ⊕ K
//! body     = ChaCha20-Poly1305(keccak(domain ‖ σ ‖ L ‖ u), nonce 0, aad = L ‖ u ‖ wrapped_seed, p)
//! w, w̅     = s·g, s·g̅
//! c        = first 16 bytes of keccak(domain ‖ Y ‖ L ‖ u ‖ u̅ ‖ wrapped_seed ‖ keccak(body) ‖ w ‖ w̅)
//! z        = s + c·r
//! ```
//!
//! There are two ways to the same bytes. [`seal`] is for the wallet, whose scalars are secret: it
//! multiplies in constant time. [`reseal`] is for everybody after the opening, when the seed is
//! public: it multiplies with tables, in variable time, about five times as fast.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use zeroize::Zeroizing;

use crate::comb::{Comb, Digits};
use crate::error::SealError;
use crate::group::{CurvePoint, G1_BYTES, Scalar, Sum, to_affine_all};
use crate::hash::{digest, expand_scalar, keccak};
use crate::key::{
    CommitteeKey, GENERATOR_COMB, Label, SECOND_GENERATOR_COMB, SECRET_GENERATOR_COMB,
    SECRET_SECOND_GENERATOR_COMB, Seed,
};
use crate::{domain, pad};

/// Bytes by which a body is longer than the padded message: the Poly1305 tag.
pub const TAG_BYTES: usize = 16;

/// A sealed message. Any bytes can be in here: see [`crate::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Ciphertext {
    /// r·g, compressed.
    pub u: [u8; 48],
    /// r·g̅, compressed.
    pub u_bar: [u8; 48],
    /// s·g, compressed.
    pub w: [u8; 48],
    /// s·g̅, compressed.
    pub w_bar: [u8; 48],
    /// s + c·r, big-endian.
    pub z: [u8; 32],
    /// The seed under a mask from the shared secret.
    pub wrapped_seed: [u8; 32],
    /// The padded message under a key from the seed, and its tag.
    pub body: Vec<u8>,
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Ciphertext(u {}, body {} bytes)",
            alloy_primitives::hex::encode(self.u),
            self.body.len()
        )
    }
}

/// Seals a message of at most [`crate::MAX_MESSAGE_BYTES`] bytes. The same inputs give the same bytes.
///
/// # Errors
///
/// When the message is too long.
///
/// # Security
///
/// The seed must be fresh from a cryptographic random generator for every call. Multiplications by
/// secret scalars take constant time.
///
/// # Source
///
/// Shoup and Gennaro, "Securing threshold cryptosystems against chosen ciphertext attack" (1998),
/// scheme TDH2; Fujisaki and Okamoto (1999) for the derivation of the scalars from the seed.
///
/// ```
/// use blindfold_crypto::{Label, Seed, dealer, seal, verify};
///
/// let dealt = dealer::deal(4, 3, [1; 32])?;
/// let key = dealt.public()?.key().clone();
/// let label = Label([2; 32]);
/// let seed = Seed::from_bytes([3; 32]); // random bytes in real life
/// let sealed = seal(&key, &label, &seed, b"a signed transaction")?;
/// verify(&key, &label, &sealed)?;
/// assert!(verify(&key, &Label([4; 32]), &sealed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(
    key: &CommitteeKey,
    label: &Label,
    seed: &Seed,
    message: &[u8],
) -> Result<Ciphertext, SealError> {
    let padded = pad::pad(message)?;
    let scalars = Scalars::derive(key, label, seed.expose(), &padded)?;
    Ok(assemble(key, label, seed.expose(), &padded, &scalars, &scalars.points_secret(key)))
}

/// Seals again from a seed that is public by now, to compare with a ciphertext byte for byte.
///
/// # Errors
///
/// When the message is too long.
///
/// # Security
///
/// Variable time: never with a seed that is still secret.
pub fn reseal(
    key: &CommitteeKey,
    label: &Label,
    seed: &[u8; 32],
    message: &[u8],
) -> Result<Ciphertext, SealError> {
    reseal_padded(key, label, seed, &pad::pad(message)?)
}

pub(crate) fn reseal_padded(
    key: &CommitteeKey,
    label: &Label,
    seed: &[u8; 32],
    padded: &[u8],
) -> Result<Ciphertext, SealError> {
    let scalars = Scalars::derive(key, label, seed, padded)?;
    Ok(assemble(key, label, seed, padded, &scalars, &scalars.points_public(key)))
}

/// The two secret scalars of a sealing.
pub(crate) struct Scalars {
    pub(crate) r: Scalar,
    pub(crate) s: Scalar,
}

/// Tables of the bases of u, u̅, w, w̅ and r·Y.
pub(crate) fn bases(key: &CommitteeKey) -> [&Comb; 5] {
    let (g, g_bar) = (&*GENERATOR_COMB, &*SECOND_GENERATOR_COMB);
    [g, g_bar, g, g_bar, key.comb()]
}

/// The five points of a sealing, compressed.
pub(crate) struct Points {
    u: [u8; G1_BYTES],
    u_bar: [u8; G1_BYTES],
    w: [u8; G1_BYTES],
    w_bar: [u8; G1_BYTES],
    shared: Zeroizing<[u8; G1_BYTES]>,
}

impl Scalars {
    pub(crate) fn derive(
        key: &CommitteeKey,
        label: &Label,
        seed: &[u8; 32],
        padded: &[u8],
    ) -> Result<Self, SealError> {
        let parts: [&[u8]; 4] = [seed, &label.0, &key.to_bytes(), &digest(padded)];
        let hash = Zeroizing::new(keccak(domain::SCALARS, &parts));
        let scalars = Self { r: expand_scalar(&hash, 0), s: expand_scalar(&hash, 1) };
        if scalars.r.is_zero() || scalars.s.is_zero() {
            return Err(SealError::DegenerateSeed);
        }
        Ok(scalars)
    }

    /// What tables of the bases are looked up with for u, u̅, w, w̅ and r·Y. Variable time.
    pub(crate) fn digits(&self) -> [Digits; 5] {
        let (r, s) = (Digits::of(&self.r), Digits::of(&self.s));
        [r, r, s, s, r]
    }

    /// Constant time.
    pub(crate) fn points_secret(&self, key: &CommitteeKey) -> Points {
        let (g, g_bar) = (&*SECRET_GENERATOR_COMB, &*SECRET_SECOND_GENERATOR_COMB);
        Points::compress([
            g.mul_secret(&self.r),
            g_bar.mul_secret(&self.r),
            g.mul_secret(&self.s),
            g_bar.mul_secret(&self.s),
            key.point().mul_secret(&self.r),
        ])
    }

    /// Variable time.
    fn points_public(&self, key: &CommitteeKey) -> Points {
        let [g, g_bar, w, w_bar, y] = bases(key);
        Points::compress([
            g.mul_public(&self.r),
            g_bar.mul_public(&self.r),
            w.mul_public(&self.s),
            w_bar.mul_public(&self.s),
            y.mul_public(&self.r),
        ])
    }
}

impl Points {
    /// u, u̅, w, w̅ and r·Y, which are public by now.
    pub(crate) fn of_affine([u, u_bar, w, w_bar, shared]: &[CurvePoint; 5]) -> Self {
        Self {
            u: u.to_compressed(),
            u_bar: u_bar.to_compressed(),
            w: w.to_compressed(),
            w_bar: w_bar.to_compressed(),
            shared: Zeroizing::new(shared.to_compressed()),
        }
    }

    fn compress(mut sums: [Sum; 5]) -> Self {
        let mut affine = to_affine_all(&sums);
        sums.iter_mut().for_each(Sum::wipe);
        // The shared secret is among the points.
        let mut next = affine.iter_mut().map(|point| {
            let bytes = point.to_compressed();
            point.wipe();
            bytes
        });
        let mut next = || next.next().unwrap_or([0; G1_BYTES]);
        let [u, u_bar, w, w_bar] = [next(), next(), next(), next()];
        Self { u, u_bar, w, w_bar, shared: Zeroizing::new(next()) }
    }
}

pub(crate) fn assemble(
    key: &CommitteeKey,
    label: &Label,
    seed: &[u8; 32],
    padded: &[u8],
    scalars: &Scalars,
    points: &Points,
) -> Ciphertext {
    let wrapped_seed = mask_seed(seed, &points.shared, &points.u, label);
    let mut sealed = Ciphertext {
        u: points.u,
        u_bar: points.u_bar,
        w: points.w,
        w_bar: points.w_bar,
        z: [0; 32],
        wrapped_seed,
        body: encrypt_body(seed, label, &points.u, &wrapped_seed, padded),
    };
    let challenge = Scalar::from_short_le(&challenge_le(key, label, &sealed));
    sealed.z = scalars.s.add(&challenge.mul(&scalars.r)).to_be_bytes();
    sealed
}

/// σ ⊕ K, and the same function undoes it.
pub(crate) fn mask_seed(
    seed: &[u8; 32],
    shared: &[u8; G1_BYTES],
    u: &[u8; G1_BYTES],
    label: &Label,
) -> [u8; 32] {
    let mut mask = Zeroizing::new(keccak(domain::SEED_MASK, &[shared, u, &label.0]));
    mask.iter_mut().zip(seed).for_each(|(mask, seed)| *mask ^= seed);
    *mask
}

/// The 128-bit challenge as a little-endian integer. The hash's first 16 bytes are its big-endian form.
pub(crate) fn challenge_le(key: &CommitteeKey, label: &Label, sealed: &Ciphertext) -> [u8; 16] {
    let hash = keccak(
        domain::PROOF,
        &[
            &key.to_bytes(),
            &label.0,
            &sealed.u,
            &sealed.u_bar,
            &sealed.wrapped_seed,
            &digest(&sealed.body),
            &sealed.w,
            &sealed.w_bar,
        ],
    );
    let mut challenge = [0; 16];
    challenge.copy_from_slice(&hash[..16]);
    challenge.reverse();
    challenge
}

fn body_cipher(seed: &[u8; 32], label: &Label, u: &[u8; G1_BYTES]) -> ChaCha20Poly1305 {
    let key = Zeroizing::new(keccak(domain::BODY_KEY, &[seed, &label.0, u]));
    ChaCha20Poly1305::new(&Key::from(*key))
}

fn associated_data(label: &Label, u: &[u8; G1_BYTES], wrapped_seed: &[u8; 32]) -> [u8; 112] {
    let mut data = [0; 112];
    data[..32].copy_from_slice(&label.0);
    data[32..80].copy_from_slice(u);
    data[80..].copy_from_slice(wrapped_seed);
    data
}

fn encrypt_body(
    seed: &[u8; 32],
    label: &Label,
    u: &[u8; G1_BYTES],
    wrapped_seed: &[u8; 32],
    padded: &[u8],
) -> Vec<u8> {
    let aad = associated_data(label, u, wrapped_seed);
    // The cipher fails only beyond 256 GiB; a padded message has at most 64 KiB.
    body_cipher(seed, label, u)
        .encrypt(&Nonce::default(), Payload { msg: padded, aad: &aad })
        .unwrap_or_default()
}

/// The padded message, when the seed is the body's.
pub(crate) fn decrypt_body(seed: &[u8; 32], label: &Label, sealed: &Ciphertext) -> Option<Vec<u8>> {
    let aad = associated_data(label, &sealed.u, &sealed.wrapped_seed);
    body_cipher(seed, label, &sealed.u)
        .decrypt(&Nonce::default(), Payload { msg: &sealed.body, aad: &aad })
        .ok()
}
