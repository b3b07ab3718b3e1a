//! A seed is a world: the same one every time.

use crate::run;
use blindfold_sim::plan::Plan;

#[test]
fn the_same_seed_twice_is_the_same_run() {
    // One with a crash and a restart, one with a member down, both with loss.
    for seed in [7, 9] {
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
    assert_ne!(run(&Plan::new(0)).fingerprint, run(&Plan::new(4)).fingerprint);
}
