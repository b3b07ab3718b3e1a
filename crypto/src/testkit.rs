//! Ciphertexts that only a dishonest wallet makes and shares that only a dishonest member makes, for the
//! tests of the crates above. Feature `testkit`.

use crate::{
    error::SealError,
    group::{CurvePoint, Sum},
    key::{CommitteeKey, Label, Seed},
    pad,
    seal::{Ciphertext, Scalars, assemble},
    share::Share,
};

/// Exponent of the group of points whose order divides the cofactor: 1 − x.
pub(crate) const TORSION_EXPONENT: u64 = 0xd201_0000_0001_0001;
pub(crate) const GROUP_ORDER_BE: [u8; 32] =
    alloy_primitives::hex!("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001");

/// Seals so that the ciphertext is valid and yet opens to nothing: its scalars are those of another
/// message than the one in the body, so sealing again gives other bytes.
///
/// # Errors
///
/// When the message is too long.
pub fn seal_undecryptable(
    key: &CommitteeKey,
    label: &Label,
    seed: &Seed,
    message: &[u8],
) -> Result<Ciphertext, SealError> {
    let padded = pad::pad(message)?;
    let scalars = Scalars::derive(key, label, seed.expose(), b"another message")?;
    Ok(assemble(key, label, seed.expose(), &padded, &scalars, &scalars.points_secret(key)))
}

/// Seals `body` under the scalars of `fits`: the ciphertext is valid and opens to nothing, and yet seed and
/// `fits` lead to its u. What is right for a ciphertext takes all of it, not u alone.
///
/// # Errors
///
/// When a message is too long.
pub fn seal_fitting(
    key: &CommitteeKey,
    label: &Label,
    seed: &Seed,
    fits: &[u8],
    body: &[u8],
) -> Result<Ciphertext, SealError> {
    let scalars = Scalars::derive(key, label, seed.expose(), &pad::pad(fits)?)?;
    let padded = pad::pad(body)?;
    Ok(assemble(key, label, seed.expose(), &padded, &scalars, &scalars.points_secret(key)))
}

/// The share with a component of small order more: `order` is 3, 11, 10,177, 859,267, 52,437,899, a
/// product of these, or zero for the product of all. A share that is no point comes back as it was.
pub fn add_small_order(share: &Share, order: u64) -> Share {
    let Ok(point) = share.decode() else { return *share };
    let sum = point.to_sum().add(&torsion_number(order, 0));
    if sum.is_infinity() { *share } else { Share(sum.to_affine().to_raw()) }
}

/// A point of the given order, made of the point number `number` on the curve; for most orders each
/// number gives another subgroup.
pub(crate) fn torsion_number(order: u64, number: usize) -> Sum {
    let mut order_le = GROUP_ORDER_BE;
    order_le.reverse();
    let divided = TORSION_EXPONENT.checked_div(order).unwrap_or(1);
    (1u8..=u8::MAX)
        .filter_map(|x| {
            let mut bytes = [0; 48];
            bytes[0] = 0x80;
            bytes[47] = x;
            let point = CurvePoint::from_compressed(&bytes).ok()?.to_sum();
            let point = point.mul_public(&order_le).mul_public(&divided.to_le_bytes());
            (!point.is_infinity()).then_some(point)
        })
        .nth(number)
        .unwrap_or(Sum::zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opening, dealer, decide, verify};

    #[test]
    fn valid_but_undecryptable() {
        let dealt = dealer::deal(4, 3, [9; 32]).unwrap();
        let public = dealt.public().unwrap();
        let (label, seed) = (Label([1; 32]), Seed::from_bytes([2; 32]));
        let sealed = seal_undecryptable(public.key(), &label, &seed, b"hello").unwrap();
        verify(public.key(), &label, &sealed).unwrap();
        let shares = [0, 1, 2].map(|member| {
            (
                member,
                dealt.keys[member].share(&crate::EphemeralPoint::from_bytes(&sealed.u).unwrap()),
            )
        });
        let verdict = decide(&public, &label, &sealed, &shares);
        assert!(matches!(verdict.opening, Some(Opening::Undecryptable { .. })));
        assert!(verdict.blamed.is_empty());
    }

    #[test]
    fn a_ciphertext_that_fits_another_message_opens_to_nothing() {
        let dealt = dealer::deal(4, 3, [8; 32]).unwrap();
        let public = dealt.public().unwrap();
        let label = Label([7; 32]);
        let seed = Seed::from_bytes([9; 32]);
        let sealed = seal_fitting(public.key(), &label, &seed, b"shown", b"hidden").unwrap();
        verify(public.key(), &label, &sealed).unwrap();
        let shown = crate::reseal(public.key(), &label, seed.expose(), b"shown").unwrap();
        assert_eq!(shown.u, sealed.u);
        assert_ne!(shown.body, sealed.body);
        let u = crate::EphemeralPoint::from_bytes(&sealed.u).unwrap();
        let shares = [0, 1, 2].map(|member| (member, dealt.keys[member].share(&u)));
        let verdict = decide(&public, &label, &sealed, &shares);
        assert!(matches!(verdict.opening, Some(Opening::Undecryptable { .. })));
        let same = seal_fitting(public.key(), &label, &seed, b"shown", b"shown").unwrap();
        assert_eq!(same, shown, "an honest sealing, if both are one message");
    }
}
