//! The same job by the libraries that people would use instead, used plainly: for each transaction verify the
//! ciphertext, make one member's share, verify t shares, combine them and decrypt.
//!
//! What makes it cheaper without being clever is done: public key shares are computed once, and a share is made
//! without verifying the ciphertext a second time.

use std::{collections::BTreeMap, hint::black_box};

use blindfold_bench::{
    clock::{ThreadTime, measure},
    limits::{MEMBERS, MESSAGE_BYTES, quorum, threshold},
};
use criterion::Criterion;

/// Messages of all baselines.
const MESSAGE: [u8; MESSAGE_BYTES] = [0x5a; MESSAGE_BYTES];

/// The benchmarks of one library: both have the same functions.
macro_rules! library {
    ($module:ident, $name:literal, $keys:expr, few: $few:literal, more: $more:literal) => {
        mod $module {
            use ::$module::{
                Ciphertext, DecryptionShare, PublicKeyShare, SecretKeySet, SecretKeyShare,
            };

            use super::*;

            struct Setup {
                keys: SecretKeySet,
                own: SecretKeyShare,
                /// A quorum, as elsewhere.
                members: Vec<(usize, PublicKeyShare)>,
                sealed: Vec<Ciphertext>,
                shares: Vec<BTreeMap<usize, DecryptionShare>>,
            }

            impl Setup {
                fn new(count: usize) -> Self {
                    let keys: SecretKeySet = $keys;
                    let public = keys.public_keys();
                    let quorum = quorum(MEMBERS).into_iter();
                    let members = quorum.map(|member| (member, public.public_key_share(member)));
                    let members: Vec<_> = members.collect();
                    let sealed: Vec<_> =
                        (0..count).map(|_| public.public_key().encrypt(MESSAGE)).collect();
                    let shares = sealed
                        .iter()
                        .map(|sealed| {
                            let share = |(member, _): &(usize, _)| {
                                let key = keys.secret_key_share(*member);
                                (*member, key.decrypt_share_no_verify(sealed))
                            };
                            members.iter().map(share).collect()
                        })
                        .collect();
                    Self { own: keys.secret_key_share(0usize), keys, members, sealed, shares }
                }

                fn admit(&self) {
                    assert!(self.sealed.iter().all(Ciphertext::verify));
                }

                fn share(&self) {
                    for sealed in &self.sealed {
                        black_box(self.own.decrypt_share_no_verify(black_box(sealed)));
                    }
                }

                fn verify_shares(&self) {
                    for (sealed, shares) in self.sealed.iter().zip(&self.shares) {
                        for (member, key) in &self.members {
                            assert!(key.verify_decryption_share(&shares[member], sealed));
                        }
                    }
                }

                fn open(&self) {
                    let public = self.keys.public_keys();
                    for (sealed, shares) in self.sealed.iter().zip(&self.shares) {
                        let message =
                            public.decrypt(shares.iter().map(|(i, share)| (*i, share)), sealed);
                        assert!(message.is_ok_and(|message| message == MESSAGE));
                    }
                }
            }

            pub fn all(criterion: &mut Criterion<ThreadTime>) {
                let id = |what: &str, count| {
                    format!(concat!("baseline::", $name, "{}/batch={}"), what, count)
                };
                measure(criterion, &id("_seal", 1), 1, || {
                    let public = Setup::new(0).keys.public_keys();
                    move || public.public_key().encrypt(black_box(MESSAGE))
                });
                measure(criterion, &id("_admission", $few), $few, || {
                    let setup = Setup::new($few);
                    move || setup.admit()
                });
                measure(criterion, &id("_share", $more), $more, || {
                    let setup = Setup::new($more);
                    move || setup.share()
                });
                measure(criterion, &id("_blame", $few), $few, || {
                    let setup = Setup::new($few);
                    move || setup.verify_shares()
                });
                measure(criterion, &id("_after_commit", $few), $few, || {
                    let setup = Setup::new($few);
                    move || {
                        setup.verify_shares();
                        setup.open();
                    }
                });
                measure(criterion, &id("_unverified_after_commit", $more), $more, || {
                    let setup = Setup::new($more);
                    move || setup.open()
                });
                measure(criterion, &id("_total", $few), $few, || {
                    let setup = Setup::new($few);
                    move || {
                        setup.admit();
                        setup.share();
                        setup.verify_shares();
                        setup.open();
                    }
                });
                measure(criterion, &id("_unverified_total", $more), $more, || {
                    let setup = Setup::new($more);
                    move || {
                        setup.admit();
                        setup.share();
                        setup.open();
                    }
                });
            }
        }
    };
}

library!(
    blsttc,
    "blsttc",
    SecretKeySet::random(threshold(MEMBERS) - 1, &mut ::blsttc::rand::thread_rng()),
    few: 4, more: 16
);
library!(
    threshold_crypto,
    "threshold_crypto",
    SecretKeySet::from(polynomial()),
    few: 1, more: 4
);

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    blsttc::all(criterion);
    threshold_crypto::all(criterion);
}

/// A polynomial with t coefficients: `threshold_crypto` wants a random generator of another age.
fn polynomial() -> ::threshold_crypto::poly::Poly {
    use ::threshold_crypto::{Fr, FrRepr, ff::PrimeField};

    let coefficients: Vec<_> = (1..=threshold(MEMBERS) as u64)
        .map(|index| {
            let limb = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Fr::from_repr(FrRepr([limb, !limb, limb.rotate_left(17), limb >> 2]))
                .expect("below the order")
        })
        .collect();
    coefficients.into()
}
