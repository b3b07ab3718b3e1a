//! Seals messages for a committee, proves and checks that a sealing is well made, and opens it from
//! shares. Bytes and labels; no idea of blocks.
//!
//! The scheme is labelled threshold encryption after Shoup and Gennaro (TDH2) in G1 of BLS12-381, with
//! every random choice of the sealer derived from one seed, so that an opening can be checked by
//! sealing again. `docs/crypto.md` has the safety argument, the encodings and the deviations from the
//! paper.
//!
//! # Roles
//!
//! ```text
//! wallet       seal(key, label, seed, message)          → Ciphertext
//! everybody    verify / verify_batch(key, label, …)     → valid or not, before any share exists
//! member       DecryptionKey::share(u)                  → Share, once the position is final
//! everybody    decide(public, label, ciphertext, …)     → Opening, blamed members
//! everybody    check_opening(public, label, …)          → right or not, from public data
//! ```
//!
//! # Order of calls
//!
//! A ciphertext goes through [`verify`] or [`verify_batch`] before anything else: [`decide`] and
//! [`check_opening`] rely on it. When a share may leave the process is not for this crate to know.
//!
//! # Example
//!
//! ```
//! use blindfold_crypto::{Label, Opening, Seed, check_opening, dealer, decide, seal, verify};
//!
//! let dealt = dealer::deal(4, 3, [7; 32])?;
//! let public = dealt.public()?;
//! let (label, seed) = (Label([1; 32]), Seed::from_bytes([2; 32]));
//!
//! let sealed = seal(public.key(), &label, &seed, b"hello")?;
//! let u = verify(public.key(), &label, &sealed)?;
//!
//! let shares = [0, 2, 3].map(|member: usize| (member, dealt.keys[member].share(&u)));
//! let opening = decide(&public, &label, &sealed, &shares).opening.expect("three good shares");
//! assert!(matches!(&opening, Opening::Opened { message, .. } if message == b"hello"));
//! check_opening(&public, &label, &sealed, &opening)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blame;
mod comb;
mod committee;
pub mod dealer;
mod domain;
mod error;
mod fp;
mod group;
mod hash;
mod height;
mod key;
mod lagrange;
mod lanes;
mod msm;
mod open;
mod orders;
mod pad;
mod seal;
mod secret;
mod share;
#[cfg(any(test, feature = "testkit"))]
pub mod steps;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod verify;

#[cfg(test)]
mod tests;

pub use blame::check_shares;
pub use committee::{CommitteePublic, MAX_MEMBERS};
pub use error::{
    CiphertextError, CombineError, CommitteeError, DealError, DecryptionKeyError, OpeningError,
    PointError, PointField, SealError,
};
pub use height::{Column, decide_all};
pub use key::{CommitteeKey, EphemeralPoint, Label, Seed};
pub use open::{Opening, Verdict, check_opening, combine, decide};
pub use pad::{MAX_MESSAGE_BYTES, MAX_PADDED_BYTES, MIN_PADDED_BYTES, is_padded_len, padded_len};
pub use seal::{Ciphertext, TAG_BYTES, reseal, seal};
pub use share::{DecryptionKey, Share};
pub use verify::{verify, verify_batch};
