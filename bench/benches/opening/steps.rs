//! The steps for n = 16, t = 11 and messages of 256 bytes, by size of the batch.

use std::hint::black_box;

use blindfold_bench::{
    clock::{ThreadTime, measure, quick},
    height::{Height, bytes, columns},
    limits::{MEMBERS, MESSAGE_BYTES},
};
use blindfold_crypto::{Column, EphemeralPoint, Share, check_shares, decide_all, verify_batch};
use blindfold_wire::SigningKey;
use criterion::Criterion;

/// The batch that the targets are stated for.
const BATCH: usize = 512;

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    let batches: &[usize] = if quick() { &[1, 32, 512] } else { &[1, 32, 128, 512, 1024, 2048] };
    for batch in batches.iter().copied() {
        measure(criterion, &format!("open::admission/batch={batch}"), batch, || {
            let height = height(batch);
            move || admit(height)
        });
        measure(criterion, &format!("open::share/batch={batch}"), batch, || {
            let (key, points) = (&height(batch).dealt.keys[OWN], height(batch).ephemeral());
            move || key.shares(black_box(&points))
        });
        measure(criterion, &format!("open::after_commit/batch={batch}"), batch, || {
            let (height, shares) = (height(batch), shares(batch));
            move || decide(height, &columns(shares))
        });
    }
    measure(criterion, &format!("open::total/batch={BATCH}"), BATCH, || {
        let (height, shares) = (height(BATCH), shares(BATCH));
        move || {
            let own = height.dealt.keys[OWN].shares(&admit(height));
            // The others' shares, and this member's own, which is the first of the quorum.
            let own = Column { member: OWN, shares: &own };
            decide(height, &[vec![own], columns(&shares[1..])].concat());
        }
    });
    measure(criterion, &format!("open::blame/batch={BATCH}"), BATCH, || {
        let (height, shares) = (height(BATCH), shares(BATCH));
        let points = height.ephemeral();
        move || assert_eq!(check_shares(&height.public, &points, &columns(shares)), [])
    });
    measure(criterion, &format!("open::payer_recovery/batch={BATCH}"), BATCH, || {
        let signed: Vec<_> = (0..BATCH)
            .map(|index| {
                let key = SigningKey::random(bytes(10, index));
                let digest = bytes(11, index).into();
                (digest, key.sign_digest(digest), key.address())
            })
            .collect();
        move || {
            for (digest, signature, payer) in &signed {
                assert_eq!(signature.recover(black_box(*digest)).as_ref(), Ok(payer));
            }
        }
    });
}

/// The member whose shares are computed.
const OWN: usize = 0;

fn height(batch: usize) -> &'static Height {
    Height::cached(MEMBERS, batch, MESSAGE_BYTES)
}

fn shares(batch: usize) -> &'static [(usize, Vec<Share>)] {
    Box::leak(height(batch).shares().into_boxed_slice())
}

fn admit(height: &Height) -> Vec<EphemeralPoint> {
    let verdicts = verify_batch(height.public.key(), &height.statements(), black_box([3; 32]));
    verdicts.into_iter().map(|verdict| verdict.expect("a valid ciphertext")).collect()
}

fn decide(height: &Height, columns: &[Column<'_>]) {
    let verdicts = decide_all(&height.public, &height.items(), black_box(columns));
    assert!(verdicts.iter().all(|verdict| verdict.opening.is_some()));
}
