//! Opening: from shares to a message, or to the public fact that there is none.

use std::fmt;

use zeroize::Zeroizing;

use crate::committee::CommitteePublic;
use crate::error::{CombineError, OpeningError};
use crate::group::{CurvePoint, G1_BYTES, Subgroup, msm_subgroup};
use crate::key::{CommitteeKey, Label};
use crate::lagrange::{self, Interpolation};
use crate::pad;
use crate::seal::{Ciphertext, decrypt_body, mask_seed, reseal, reseal_padded};
use crate::share::Share;

/// How a ciphertext opens. Every honest node derives the same value, whatever shares it has, and
/// anyone can check it with [`check_opening`].
#[derive(Clone, PartialEq, Eq)]
pub enum Opening {
    /// The seed, and the message without its padding.
    Opened {
        /// The wallet's seed σ.
        seed: [u8; 32],
        /// What was sealed.
        message: Vec<u8>,
    },
    /// The sealing was not made by the rules: the secret is right, but does not open it.
    Undecryptable {
        /// The secret D = x·u, compressed.
        secret: [u8; 48],
    },
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { message, .. } => write!(f, "Opened({} bytes)", message.len()),
            Self::Undecryptable { .. } => f.write_str("Undecryptable"),
        }
    }
}

/// What [`decide`] found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The opening; `None` while there are fewer good shares than the threshold.
    pub opening: Option<Opening>,
    /// Members whose shares are provably wrong, ascending. Not complete: only as many shares are
    /// checked as the opening needs, and none when the first combination is right.
    pub blamed: Vec<usize>,
}

/// Decides one position from the shares that are there: `(member, share)` pairs.
///
/// Optimistic: the first `threshold` decodable shares are combined unchecked, and sealing again tells
/// whether they were right. Only when that fails, and the combination fails its pairing check too, are
/// shares checked one by one, wrong ones blamed, and others taken in their place.
///
/// `sealed` must have passed [`crate::verify`] for `label`. Indices outside the committee and second
/// shares of one member are ignored. A caller that goes through a whole height should put the shares
/// of members already blamed last, or leave them out.
pub fn decide(
    public: &CommitteePublic,
    label: &Label,
    sealed: &Ciphertext,
    shares: &[(usize, Share)],
) -> Verdict {
    decide_knowing(public, label, sealed, shares, |member, share| {
        public.verify_share(member, &sealed.u, share)
    })
}

/// As [`decide`], with the caller's word for which decodable shares are right.
pub(crate) fn decide_knowing(
    public: &CommitteePublic,
    label: &Label,
    sealed: &Ciphertext,
    shares: &[(usize, Share)],
    is_right: impl Fn(usize, &Share) -> bool,
) -> Verdict {
    let threshold = public.threshold();
    let mut seen = vec![false; public.members()];
    let mut blamed = Vec::new();
    let mut usable = Vec::with_capacity(shares.len().min(public.members()));
    for (member, share) in shares {
        let Some(seen) = seen.get_mut(*member) else { continue };
        if std::mem::replace(seen, true) {
            continue;
        }
        match share.decode() {
            Ok(point) => usable.push((*member, share, point)),
            Err(_) => blamed.push(*member),
        }
    }

    let mut opening = None;
    if usable.len() >= threshold {
        // As many positions at once would do it: with points outside the subgroup, another way to
        // multiply could come to another result.
        let (members, points): (Vec<usize>, Vec<CurvePoint>) =
            usable[..threshold].iter().map(|(member, _, point)| (*member, *point)).unzip();
        let secret = Interpolation::of_secret(&members).evaluate_alone(&points).to_compressed();
        opening = open_with(public, label, sealed, &secret);
    }
    // An invalid `u` makes every share wrong, which is nobody's fault but the caller's.
    if opening.is_none()
        && usable.len() >= threshold
        && Subgroup::from_compressed(&sealed.u).is_ok()
    {
        let mut good = Vec::with_capacity(threshold);
        for (member, share, point) in &usable {
            if good.len() == threshold {
                break;
            }
            if is_right(*member, share) {
                good.push((*member, *point));
            } else {
                blamed.push(*member);
            }
        }
        if good.len() == threshold {
            opening = open_with(public, label, sealed, &interpolate(good.into_iter()));
        }
    }
    blamed.sort_unstable();
    Verdict { opening, blamed }
}

/// The opening that a secret leads to, if it is the right one.
fn open_with(
    public: &CommitteePublic,
    label: &Label,
    sealed: &Ciphertext,
    secret: &[u8; G1_BYTES],
) -> Option<Opening> {
    try_open(public.key(), label, sealed, secret).or_else(|| {
        public
            .verify_secret(&sealed.u, secret)
            .then_some(Opening::Undecryptable { secret: *secret })
    })
}

/// Unwraps, decrypts, seals again and compares every byte.
///
/// A result is right whatever the secret was: the comparison includes the wrapped seed, which no
/// other secret can lead to.
pub(crate) fn try_open(
    key: &CommitteeKey,
    label: &Label,
    sealed: &Ciphertext,
    secret: &[u8; G1_BYTES],
) -> Option<Opening> {
    let seed = Zeroizing::new(mask_seed(&sealed.wrapped_seed, secret, &sealed.u, label));
    let padded = Zeroizing::new(decrypt_body(&seed, label, sealed)?);
    let message = pad::unpad(&padded)?;
    let again = reseal_padded(key, label, &seed, &padded).ok()?;
    (again == *sealed).then(|| Opening::Opened { seed: *seed, message: message.to_vec() })
}

fn interpolate(shares: impl Iterator<Item = (usize, CurvePoint)>) -> [u8; G1_BYTES] {
    let (members, points): (Vec<usize>, Vec<CurvePoint>) = shares.unzip();
    msm_subgroup(&points, &lagrange::at_zero(&members)).to_affine().to_compressed()
}

/// Combines shares of distinct members into a secret D, compressed, without checking them. It is the
/// right one when they are right and at least `threshold` many.
///
/// # Errors
///
/// When there is no share, a member occurs twice, or a share is not a point.
pub fn combine(shares: &[(usize, Share)]) -> Result<[u8; 48], CombineError> {
    if shares.is_empty() {
        return Err(CombineError::Empty);
    }
    let mut members: Vec<usize> = shares.iter().map(|(member, _)| *member).collect();
    members.sort_unstable();
    if let Some(pair) = members.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(CombineError::Duplicate { member: pair[0] });
    }
    let points = shares
        .iter()
        .map(|(member, share)| match share.decode() {
            Ok(point) => Ok((*member, point)),
            Err(error) => Err(CombineError::Share { member: *member, error }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(interpolate(points.into_iter()))
}

/// Checks that an opening is the one of a ciphertext, with public data only: by sealing again, or by
/// the pairing.
///
/// `sealed` must have passed [`crate::verify`] for `label`.
///
/// # Errors
///
/// When it is not; whoever served the opening is at fault.
pub fn check_opening(
    public: &CommitteePublic,
    label: &Label,
    sealed: &Ciphertext,
    opening: &Opening,
) -> Result<(), OpeningError> {
    match opening {
        Opening::Opened { seed, message } => {
            let again = reseal(public.key(), label, seed, message);
            if again.is_ok_and(|again| again == *sealed) {
                Ok(())
            } else {
                Err(OpeningError::Mismatch)
            }
        }
        Opening::Undecryptable { secret } => {
            if !public.check_secret(&sealed.u, secret).map_err(OpeningError::Secret)? {
                Err(OpeningError::WrongSecret)
            } else if try_open(public.key(), label, sealed, secret).is_some() {
                Err(OpeningError::Decryptable)
            } else {
                Ok(())
            }
        }
    }
}
