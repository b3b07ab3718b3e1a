//! A seed is a world: the same one every time.

use crate::run;
use blindfold_sim::plan::Plan;

#[test]
fn the_same_seed_twice_is_the_same_run() {
    // Loss, a crash and a restart, messages twice, and a member that lies.
    for seed in [8, 11] {
        let (first, second) = (run(&Plan::new(seed)), run(&Plan::new(seed)));
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}");
        assert_eq!(
            format!("{:?}", first.observation),
            format!("{:?}", second.observation),
            "seed {seed}"
        );
    }
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(run(&Plan::new(13)).fingerprint, run(&Plan::new(33)).fingerprint);
}
