//! Steps that depend on the length of the message.

use std::hint::black_box;

use blindfold_bench::{
    clock::{ThreadTime, measure},
    height::{Height, bytes, columns},
    limits::{MEMBERS, MESSAGE_BYTES},
};
use blindfold_crypto::{Label, Seed, decide_all, seal, verify_batch};
use criterion::Criterion;

/// Positions in a batch.
const BATCH: usize = 128;

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    for message_bytes in [MESSAGE_BYTES, 1024, 4096] {
        measure(criterion, &format!("open::seal/bytes={message_bytes}"), 1, || {
            let height = Height::cached(MEMBERS, BATCH, MESSAGE_BYTES);
            let (label, seed) = (Label(bytes(9, 0)), Seed::from_bytes(bytes(9, 1)));
            let message = vec![7; message_bytes];
            move || seal(height.public.key(), &label, &seed, black_box(&message))
        });
    }
    for message_bytes in [1024, 4096] {
        let id = |step: &str| format!("open::{step}/batch={BATCH},bytes={message_bytes}");
        let height = move || Height::cached(MEMBERS, BATCH, message_bytes);
        measure(criterion, &id("admission"), BATCH, || {
            let height = height();
            move || {
                let verdicts = verify_batch(height.public.key(), &height.statements(), [3; 32]);
                assert!(verdicts.iter().all(Result::is_ok));
            }
        });
        measure(criterion, &id("after_commit"), BATCH, || {
            let (height, shares) = (height(), height().shares());
            move || {
                let verdicts = decide_all(&height.public, &height.items(), &columns(&shares));
                assert!(verdicts.iter().all(|verdict| verdict.opening.is_some()));
            }
        });
    }
}
