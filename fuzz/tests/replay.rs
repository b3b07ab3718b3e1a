//! Seeds and past findings as ordinary tests.

use blindfold_fuzz::{
    TARGETS,
    bounded::{FREE_BYTES, bounded, canonical},
    seeds,
};
use std::{fs, path::Path};

#[test]
fn every_target_accepts_a_seed_and_survives_its_neighbours() {
    let seeds = seeds::made();
    for target in TARGETS {
        let mut accepted = 0;
        for seed in seeds.of(target.name) {
            accepted += usize::from((target.run)(seed));
            // Cut short and with a flipped bit, here and there: refused or not, but nothing worse.
            for at in (0..seed.len()).step_by(seed.len() / 8 + 1) {
                (target.run)(&seed[..at]);
                let mut flipped = seed.to_vec();
                flipped[at] ^= 1;
                (target.run)(&flipped);
            }
        }
        assert!(accepted > 0, "{} accepts none of its seeds", target.name);
        (target.run)(&[]);
    }
}

#[test]
fn past_findings_stay_fixed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for target in TARGETS {
        let Ok(files) = fs::read_dir(folder.join(target.name)) else { continue };
        for file in files {
            let input = fs::read(file.expect("readable").path()).expect("readable");
            (target.run)(&input);
        }
    }
}

#[test]
fn what_a_run_holds_is_counted() {
    bounded(0, || vec![0u8; FREE_BYTES / 2]);
    bounded(1 << 20, || vec![0u8; 64 << 20]);
    let kept = vec![1u8; 1 << 20];
    bounded(0, || drop(kept));
}

#[test]
#[should_panic(expected = "bytes held for an input of 10")]
fn too_much_is_found() {
    bounded(10, || vec![1u8; 1 << 20].len());
}

#[test]
#[should_panic(expected = "two encodings")]
fn a_second_encoding_is_found() {
    let decode = |data: &[u8]| std::str::from_utf8(data).ok()?.trim().parse::<u8>().ok();
    canonical(b" 7", decode, |value| value.to_string().into_bytes());
}
