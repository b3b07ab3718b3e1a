//! Every string that separates one use of a hash from another inside this crate.
//!
//! A hash input is always one of these strings followed by fields of fixed length, so two inputs
//! for different purposes can never be the same bytes. The strings are frozen: changing one changes
//! every ciphertext.

/// Seed of the two scalars that a wallet seals with.
pub(crate) const SCALARS: &[u8] = b"blindfold.crypto.v1.scalars";
/// Expansion of a 32-byte hash into wide integers.
pub(crate) const EXPAND: &[u8] = b"blindfold.crypto.v1.expand";
/// Mask over the seed, from the shared secret.
pub(crate) const SEED_MASK: &[u8] = b"blindfold.crypto.v1.seed-mask";
/// Key of the body's cipher.
pub(crate) const BODY_KEY: &[u8] = b"blindfold.crypto.v1.body-key";
/// Challenge of the validity proof.
pub(crate) const PROOF: &[u8] = b"blindfold.crypto.v1.proof";
/// Transcript from which the weights of a batched check come.
pub(crate) const BATCH: &[u8] = b"blindfold.crypto.v1.batch";
/// One pair of weights of a batched check.
pub(crate) const WEIGHT: &[u8] = b"blindfold.crypto.v1.weight";
/// Coefficients of the check that many points have prime order.
pub(crate) const ORDERS: &[u8] = b"blindfold.crypto.v1.orders";
/// Random polynomial of the degree check over verification keys.
pub(crate) const DEGREE: &[u8] = b"blindfold.crypto.v1.degree";
/// Coefficients of the test dealer.
pub(crate) const DEALER: &[u8] = b"blindfold.crypto.v1.test-dealer";
/// Message that is hashed to the curve to get the second generator.
pub(crate) const SECOND_GENERATOR: &[u8] = b"blindfold.crypto.v1.second-generator";
/// Domain separation tag of that hash to the curve (RFC 9380, section 3.1).
pub(crate) const SECOND_GENERATOR_DST: &[u8] =
    b"BLINDFOLD-V01-CS01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_prefix_free() {
        let all = [
            SCALARS,
            EXPAND,
            SEED_MASK,
            BODY_KEY,
            PROOF,
            BATCH,
            WEIGHT,
            ORDERS,
            DEGREE,
            DEALER,
            SECOND_GENERATOR,
            SECOND_GENERATOR_DST,
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert!(i == j || !b.starts_with(a), "{i} is a prefix of {j}");
            }
        }
    }
}
