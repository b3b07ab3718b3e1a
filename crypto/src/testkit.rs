//! Ciphertexts that only a dishonest wallet makes, for the tests of the crates above. Feature `testkit`.

use crate::{
    error::SealError,
    key::{CommitteeKey, Label, Seed},
    pad,
    seal::{Ciphertext, Scalars, assemble},
};

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
}
