//! Every step of opening, for one height.

use blindfold_bench::{
    clock::ThreadTime,
    height::{Height, bytes, columns},
};
use blindfold_crypto::{Label, Seed, check_opening, decide, decide_all, seal, verify_batch};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// The batch that the limits are stated for.
const BATCH: usize = 512;

fn steps(criterion: &mut Criterion<ThreadTime>) {
    let height = Height::new(16, BATCH, 256);
    let statements: Vec<_> = height.sealed.iter().map(|(label, sealed)| (*label, sealed)).collect();
    let items = height.items();
    let shares = height.shares();

    criterion.bench_function("open::seal/bytes=256", |bencher| {
        let (label, seed) = (Label(bytes(9, 0)), Seed::from_bytes(bytes(9, 1)));
        bencher.iter(|| seal(height.public.key(), &label, &seed, black_box(&[7; 256])));
    });
    criterion.bench_function(&format!("open::admission/batch={BATCH}"), |bencher| {
        bencher.iter(|| {
            let verdicts = verify_batch(height.public.key(), &statements, [3; 32]);
            assert!(verdicts.iter().all(Result::is_ok));
        });
    });
    criterion.bench_function(&format!("open::share/batch={BATCH}"), |bencher| {
        let points = height.ephemeral();
        bencher.iter(|| black_box(height.dealt.keys[0].shares(&points)));
    });
    criterion.bench_function(&format!("open::after_commit/batch={BATCH}"), |bencher| {
        bencher.iter(|| {
            let verdicts = decide_all(&height.public, &items, &columns(&shares));
            assert!(verdicts.iter().all(|verdict| verdict.opening.is_some()));
        });
    });
    criterion.bench_function("open::one_by_one/batch=16", |bencher| {
        bencher.iter(|| {
            for (position, (label, sealed)) in items.iter().take(16).enumerate() {
                let shares: Vec<_> =
                    shares.iter().map(|(member, shares)| (*member, shares[position])).collect();
                assert!(decide(&height.public, label, sealed, &shares).opening.is_some());
            }
        });
    });
    criterion.bench_function("open::check/batch=16", |bencher| {
        let openings: Vec<_> = decide_all(&height.public, &items, &columns(&shares))
            .into_iter()
            .filter_map(|verdict| verdict.opening)
            .collect();
        bencher.iter(|| {
            for ((label, sealed), opening) in items.iter().zip(&openings).take(16) {
                check_opening(&height.public, label, sealed, opening).expect("right openings");
            }
        });
    });
}

criterion_group! {
    name = opening;
    config = Criterion::default().with_measurement(ThreadTime::new()).sample_size(10);
    targets = steps
}
criterion_main!(opening);
