//! Evidence as L1 wants it: call data, with the y coordinates that L1 would find hard to compute.

use alloy_primitives::{B256, U256, Uint};
use alloy_sol_types::SolCall;
use blindfold_wire::{BadShare, Envelope, EnvelopeError, Evidence, Opening};
use blst::min_sig::Signature as Point;

use super::{BatchLeaf, BrokenLink, DisownedOpening, Offence, OffenceError, WrongOpening};
use crate::{points::PointError, sol};

/// A coordinate's modulus: p of BLS12-381.
const MODULUS: Uint<384, 6> = Uint::from_be_bytes(alloy_primitives::hex!(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
));
/// Flags in the first byte of a compressed point: compressed, infinity, larger y.
const FLAGS: u8 = 0xe0;
const COMPRESSED: u8 = 0x80;
const SIGN: u8 = 0x20;

pub(super) fn encode(offence: &Offence, epoch: u64) -> Result<Vec<u8>, OffenceError> {
    Ok(match offence {
        Offence::Signed(evidence) => return signed(evidence, epoch),
        Offence::Reordering(e) => sol::verifyReorderingCall {
            e: sol::ReorderingEvidence {
                batch: (&e.batch).into(),
                leaf: (&e.at.leaf).into(),
                leafProof: (&e.at.proof).into(),
                commitment: (&e.commitment).into(),
                posted: (&e.posted).into(),
                openingProof: (&e.opening_proof).into(),
                orderedId: e.ordered_id,
                orderProof: (&e.order_proof).into(),
            },
        }
        .abi_encode(),
        Offence::BrokenLeaf(e) => sol::verifyBrokenLeafCall {
            e: sol::BrokenLeafEvidence {
                batch: (&e.batch).into(),
                leaf: (&e.at.leaf).into(),
                leafProof: (&e.at.proof).into(),
                commitment: (&e.commitment).into(),
            },
        }
        .abi_encode(),
        Offence::BrokenParent(e) => sol::verifyBrokenParentCall { e: link(e) }.abi_encode(),
        Offence::BrokenOffset(e) => sol::verifyBrokenOffsetCall { e: link(e) }.abi_encode(),
        Offence::BrokenFirst(e) => sol::verifyBrokenFirstCall {
            e: sol::BrokenFirstEvidence {
                batch: (&e.batch).into(),
                previous: (&e.previous).into(),
                leaf: (&e.at.leaf).into(),
                leafProof: (&e.at.proof).into(),
                commitment: (&e.commitment).into(),
            },
        }
        .abi_encode(),
        Offence::BrokenCount(e) => {
            let batch = (&e.batch).into();
            sol::verifyBrokenCountCall { batch, count: e.count, top: e.top }.abi_encode()
        }
        Offence::ForgedCommitment(e) => sol::verifyForgedCommitmentCall {
            e: sol::ForgedCommitmentEvidence {
                batch: (&e.batch).into(),
                leaf: (&e.at.leaf).into(),
                leafProof: (&e.at.proof).into(),
                commitment: (&e.commitment).into(),
                signature: (&e.signature).into(),
                leader: e.leader,
                scheduleProof: (&e.schedule_proof).into(),
            },
        }
        .abi_encode(),
        Offence::WrongOpening(e) => wrong_opening(e, epoch)?,
        Offence::DisownedOpening(e) => disowned_opening(e)?,
    })
}

fn signed(evidence: &Evidence, epoch: u64) -> Result<Vec<u8>, OffenceError> {
    Ok(match evidence {
        Evidence::Equivocation { first, second } => {
            let (first, second) = (first.into(), second.into());
            sol::verifyEquivocationCall { first, second }.abi_encode()
        }
        Evidence::DoubleRelease { first, second } => {
            let (first, second) = (first.into(), second.into());
            sol::verifyDoubleReleaseCall { first, second, epoch }.abi_encode()
        }
        Evidence::BadShare(bad) => bad_share(bad, epoch)?,
    })
}

fn bad_share(bad: &BadShare, epoch: u64) -> Result<Vec<u8>, OffenceError> {
    let envelope = decode(&bad.envelope)?;
    let (words, _) = bad.share.0.as_chunks::<32>();
    let e = sol::BadShareEvidence {
        bundle: (&bad.bundle.header).into(),
        signature: (&bad.bundle.signature).into(),
        share: std::array::from_fn(|i| B256::from(words[i])),
        shareProof: (&bad.share_proof).into(),
        commitment: (&bad.commitment).into(),
        uY: root_of(&envelope.ciphertext.u).ok_or(OffenceError::Unlinked)?,
        preimage: envelope.id_preimage().into(),
        orderProof: (&bad.envelope_proof).into(),
        epoch,
    };
    Ok(sol::verifyBadShareCall { e }.abi_encode())
}

fn wrong_opening(e: &WrongOpening, epoch: u64) -> Result<Vec<u8>, OffenceError> {
    let evidence = sol::WrongOpeningEvidence {
        batch: (&e.batch).into(),
        height: e.height,
        position: e.position,
        openingProof: (&e.opening_proof).into(),
        envelope: sealed_envelope(&decode(&e.envelope)?, epoch)?.into(),
        secretRoot: match &e.opening {
            Opening::Opened { .. } => [U256::ZERO; 2],
            Opening::Undecryptable { secret } => secret_root(secret),
        },
        opening: (&e.opening).into(),
    };
    Ok(sol::verifyWrongOpeningCall { e: evidence }.abi_encode())
}

fn disowned_opening(e: &DisownedOpening) -> Result<Vec<u8>, OffenceError> {
    let certificate = (&e.executed.certificate).try_into();
    let evidence = sol::DisownedOpeningEvidence {
        batch: (&e.batch).into(),
        posted: (&e.posted).into(),
        postedProof: (&e.posted_proof).into(),
        certifiedHash: e.certified_hash,
        certifiedProof: (&e.certified_proof).into(),
        stateRoot: e.executed.state_root,
        openingRoot: e.executed.opening_root,
        chain: e.executed.chain.iter().map(Into::into).collect(),
        certificate: certificate.map_err(|_: PointError| OffenceError::Unlinked)?,
    };
    Ok(sol::verifyDisownedOpeningCall { e: evidence }.abi_encode())
}

/// An envelope as L1 wants to see it. `epoch` is that of a committee with the key that it is sealed to.
///
/// # Errors
/// [`OffenceError::Unlinked`] if a point of it does not decode.
pub(crate) fn sealed_envelope(
    envelope: &Envelope,
    epoch: u64,
) -> Result<sol::SealedEnvelope, OffenceError> {
    let sealed = &envelope.ciphertext;
    // A wallet may add a point of small order to w; then L1 wants to see it.
    let w = Point::uncompress(&sealed.w).map_err(|_| OffenceError::Unlinked)?;
    let w_y = match w.subgroup_check() {
        true => [U256::ZERO; 2],
        false => root_of(&sealed.w).ok_or(OffenceError::Unlinked)?,
    };
    Ok(sol::SealedEnvelope {
        preimage: envelope.id_preimage().into(),
        payer: envelope.signature,
        u_y: root_of(&sealed.u).ok_or(OffenceError::Unlinked)?,
        w_y,
        key_epoch: epoch,
    })
}

fn link(e: &BrokenLink) -> sol::BrokenLinkEvidence {
    let BatchLeaf { leaf: lower, proof: lower_proof } = &e.lower;
    let BatchLeaf { leaf: upper, proof: upper_proof } = &e.upper;
    sol::BrokenLinkEvidence {
        batch: (&e.batch).into(),
        lower: lower.into(),
        lowerProof: lower_proof.into(),
        upper: upper.into(),
        upperProof: upper_proof.into(),
        commitment: (&e.commitment).into(),
    }
}

fn decode(envelope: &[u8]) -> Result<Envelope, OffenceError> {
    Envelope::decode(envelope).map_err(|error| EnvelopeError::from(error).into())
}

/// y of a compressed point other than infinity.
fn root_of(compressed: &[u8; 48]) -> Option<[U256; 2]> {
    let plain = Point::uncompress(compressed).ok()?.serialize();
    let (_, y) = plain.split_first_chunk::<48>()?;
    Some(sol::coordinate(y.try_into().ok()?))
}

/// What shows what 48 bytes are: y of the point that they encode; the smaller root of −(x³ + 4) if x is on no
/// point; zero if they encode nothing.
fn secret_root(secret: &[u8; 48]) -> [U256; 2] {
    let mut x = *secret;
    x[0] &= !FLAGS;
    let x = Uint::<384, 6>::from_be_bytes(x);
    if secret[0] & FLAGS & !SIGN != COMPRESSED || x >= MODULUS {
        return [U256::ZERO; 2];
    }
    let equation = x.pow_mod(Uint::from(3u8), MODULUS).add_mod(Uint::from(4u8), MODULUS);
    let negated = if equation.is_zero() { equation } else { MODULUS - equation };
    let (root, larger) = match square_root(equation) {
        Some(root) => (root, secret[0] & SIGN != 0),
        // −1 is no square, so the negative of what is none is one.
        None => (square_root(negated).unwrap_or_default(), false),
    };
    let other = if root.is_zero() { root } else { MODULUS - root };
    let y = if larger { root.max(other) } else { root.min(other) };
    sol::coordinate(&y.to_be_bytes())
}

/// A square root modulo p, which is 3 modulo 4.
fn square_root(value: Uint<384, 6>) -> Option<Uint<384, 6>> {
    let exponent = (MODULUS + Uint::from(1u8)) >> 2;
    let root = value.pow_mod(exponent, MODULUS);
    (root.mul_mod(root, MODULUS) == value).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use blindfold_crypto::dealer;

    #[test]
    fn roots_of_points_are_those_of_the_library() {
        for seed in 0..8u8 {
            let mut y = dealer::deal(1, 1, [seed; 32]).unwrap().y;
            assert_eq!(Some(secret_root(&y)), root_of(&y));
            y[0] ^= SIGN;
            assert_eq!(Some(secret_root(&y)), root_of(&y), "the other root");
        }
    }

    #[test]
    fn every_secret_is_a_point_or_shown_to_be_none() {
        let (mut points, mut others) = (0, 0);
        for number in 0..64u8 {
            let hash = [keccak256([number]).0, keccak256([number, 1]).0].concat();
            let mut secret: [u8; 48] = hash[..48].try_into().unwrap();
            secret[0] = secret[0] & 0x3f | COMPRESSED;
            secret[0] &= !0x10;
            let [high, low] = secret_root(&secret);
            let root: Uint<384, 6> = (Uint::from(high) << 256) + Uint::from(low);
            let mut x = secret;
            x[0] &= !FLAGS;
            let x = Uint::<384, 6>::from_be_bytes(x);
            let equation = x.pow_mod(Uint::from(3u8), MODULUS).add_mod(Uint::from(4u8), MODULUS);
            let square = root.mul_mod(root, MODULUS);
            match root_of(&secret) {
                Some(y) => {
                    assert_eq!(y, [high, low]);
                    assert_eq!(square, equation);
                    points += 1;
                }
                None => {
                    assert_eq!(square, MODULUS - equation);
                    assert!(root <= MODULUS - root, "the smaller one");
                    others += 1;
                }
            }
        }
        assert!(points > 16 && others > 16);
        for nothing in [[0; 48], [0xff; 48]] {
            assert_eq!(secret_root(&nothing), [U256::ZERO; 2]);
        }
    }
}
