//! Every step by size of the committee: n members, t = n − f.

use std::hint::black_box;

use blindfold_bench::{
    clock::{ThreadTime, measure, quick},
    height::{Height, bytes, columns},
    limits::MESSAGE_BYTES,
};
use blindfold_crypto::{
    Ciphertext, Column, Label, Opening, Seed, Share, check_opening, check_shares, decide_all, seal,
    steps::{combine_all, open_alone},
    testkit::seal_undecryptable,
    verify_batch,
};
use criterion::Criterion;

/// Positions in a batch.
const BATCH: usize = 128;
/// Positions where each is handled alone, and none cheaply.
const FEW: usize = 16;

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    let sizes: &[usize] = if quick() { &[4, 16] } else { &[4, 16, 32, 64] };
    for members in sizes.iter().copied() {
        one(criterion, members);
        blame(criterion, members);
    }
}

fn height(members: usize) -> &'static Height {
    Height::cached(members, BATCH, MESSAGE_BYTES)
}

fn one(criterion: &mut Criterion<ThreadTime>, members: usize) {
    let batch_id = |step: &str| format!("open::{step}/batch={BATCH},n={members}");
    measure(criterion, &format!("open::seal/bytes=256,n={members}"), 1, || {
        let height = height(members);
        let (label, seed) = (Label(bytes(9, 0)), Seed::from_bytes(bytes(9, 1)));
        move || seal(height.public.key(), &label, &seed, black_box(&[7; MESSAGE_BYTES]))
    });
    measure(criterion, &batch_id("admission"), BATCH, || {
        let height = height(members);
        move || {
            let verdicts = verify_batch(height.public.key(), &height.statements(), [3; 32]);
            assert!(verdicts.iter().all(Result::is_ok));
        }
    });
    measure(criterion, &batch_id("share"), BATCH, || {
        let (key, points) = (&height(members).dealt.keys[0], height(members).ephemeral());
        move || key.shares(black_box(&points))
    });
    measure(criterion, &batch_id("combine"), BATCH, || {
        let shares = height(members).shares();
        move || combine_all(&columns(&shares))
    });
    measure(criterion, &batch_id("open"), BATCH, || {
        let height = height(members);
        let secrets = combine_all(&columns(&height.shares()));
        move || {
            for ((label, sealed), secret) in height.sealed.iter().zip(&secrets) {
                assert!(open_alone(height.public.key(), label, sealed, secret).is_some());
            }
        }
    });
    measure(criterion, &batch_id("after_commit"), BATCH, || {
        let (height, shares) = (height(members), height(members).shares());
        move || assert_opened(height, &columns(&shares), 0)
    });
    measure(criterion, &batch_id("reseal"), BATCH, || {
        let height = height(members);
        let openings = openings(height, &height.items());
        move || {
            for ((label, sealed), opening) in height.items().into_iter().zip(&openings) {
                check_opening(&height.public, label, sealed, opening).expect("a right opening");
            }
        }
    });

    let garbage = move || {
        let height = Box::leak(Box::new(Height::new(members, FEW, MESSAGE_BYTES)));
        for (index, (label, sealed)) in height.sealed.iter_mut().enumerate() {
            let (seed, message) = (Seed::from_bytes(bytes(4, index)), [7; MESSAGE_BYTES]);
            *sealed = seal_undecryptable(height.public.key(), label, &seed, &message)
                .expect("short enough");
        }
        &*height
    };
    measure(criterion, &format!("open::undecryptable/batch={FEW},n={members}"), FEW, || {
        let height = garbage();
        let shares = height.shares();
        move || {
            let verdicts = decide_all(&height.public, &height.items(), &columns(&shares));
            assert!(verdicts.iter().all(|verdict| is_undecryptable(verdict.opening.as_ref())));
        }
    });
    measure(criterion, &format!("open::check_undecryptable/batch={FEW},n={members}"), FEW, || {
        let height = garbage();
        let openings = openings(height, &height.items());
        move || {
            for ((label, sealed), opening) in height.items().into_iter().zip(&openings) {
                assert!(is_undecryptable(Some(opening)));
                check_opening(&height.public, label, sealed, opening).expect("a right opening");
            }
        }
    });
}

/// All shares checked, and openings in spite of wrong shares, which are blamed: one share more than needed is
/// there.
fn blame(criterion: &mut Criterion<ThreadTime>, members: usize) {
    measure(criterion, &format!("open::blame/batch={BATCH},n={members}"), BATCH, || {
        let (height, shares) = (height(members), height(members).shares());
        let points = height.ephemeral();
        move || assert_eq!(check_shares(&height.public, &points, &columns(&shares)), [])
    });
    for (kind, wrong) in [("member", BATCH), ("position", 1)] {
        let id = format!("open::blame/batch={BATCH},kind={kind},n={members}");
        measure(criterion, &id, BATCH, || {
            let height = height(members);
            let mut shares = height.shares();
            // The last member's shares are those of other positions; one not in the quorum stands in.
            if let Some((_, last)) = shares.last_mut() {
                if wrong == 1 { last[0] = last[1] } else { last.rotate_left(1) }
            }
            let other = (0..members).find(|member| shares.iter().all(|(used, _)| used != member));
            let other = other.expect("more members than needed");
            shares.push((other, height.dealt.keys[other].shares(&height.ephemeral())));
            move || assert_opened(height, &columns(&shares), wrong)
        });
    }
}

/// Decides, and checks that everything opens and how many wrong shares are found.
fn assert_opened(height: &Height, columns: &[Column<'_>], wrong: usize) {
    let verdicts = decide_all(&height.public, &height.items(), black_box(columns));
    assert!(verdicts.iter().all(|verdict| verdict.opening.is_some()));
    let blamed: usize = verdicts.iter().map(|verdict| verdict.blamed.len()).sum();
    assert_eq!(blamed, wrong);
}

fn openings(height: &Height, items: &[(&Label, &Ciphertext)]) -> Vec<Opening> {
    let shares: Vec<(usize, Vec<Share>)> = height.shares();
    let verdicts = decide_all(&height.public, items, &columns(&shares));
    verdicts.into_iter().filter_map(|verdict| verdict.opening).collect()
}

fn is_undecryptable(opening: Option<&Opening>) -> bool {
    matches!(opening, Some(Opening::Undecryptable { .. }))
}
