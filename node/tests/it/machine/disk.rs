//! A member whose disk is full.

use super::{prepared, sh};
use crate::harness::{Load, Network, Outcome, Witness, keys};
use std::{collections::BTreeSet, io::Write as _, path::Path};

/// The member with the small disk.
const MEMBER: usize = 3;
/// What `blindfold` leaves with when it cannot go on.
const EXIT_ERROR: i32 = 2;

/// Adds to `file` until there is no room left.
fn fill(file: &Path) {
    let mut ballast = std::fs::File::options().create(true).append(true).open(file).unwrap();
    for size in [1 << 20, 4 << 10, 64] {
        while ballast.write_all(&vec![0xa5; size]).is_ok() {}
    }
}

#[test]
#[ignore = "needs root for a small mount: make test-machine"]
fn a_full_disk_stops_the_member_and_loses_nothing() {
    prepared();
    let keys = keys::<2>();
    let funded: Vec<_> = keys.iter().map(blindfold_sdk::SigningKey::address).collect();
    let mut network = Network::prepare(4, &funded);
    let data = network.config(MEMBER).data_dir;
    std::fs::create_dir_all(&data).unwrap();
    sh(&format!("mount -t tmpfs -o size=192m none {}", data.display()));
    let ballast = data.join("ballast");
    network.run_all();
    let witness = Witness::start(&network);
    let others = [0, 1, 2];
    let load = Load::start(&network, &keys, &[0, 1, 2, MEMBER]);
    network.until_heights(MEMBER, 5);

    let mark = network.mark(&others);
    // Also the room that the database frees by tidying up.
    let code = network.until_left(MEMBER, || fill(&ballast));
    network.report("disk full: next height", network.until_next_height(mark, &others));
    assert_eq!(code, Some(EXIT_ERROR), "{}", network.log(MEMBER));
    let log = network.log(MEMBER);
    assert!(log.contains("No space left on device"), "the log does not say why:\n{log}");
    network.until_heights(0, 3);

    // A supervisor starts it again, with the disk as full as before.
    network.spawn(MEMBER);
    let code = network.until_left(MEMBER, || fill(&ballast));
    assert_eq!(code, Some(EXIT_ERROR), "{}", network.log(MEMBER));
    network.until_heights(0, 3);

    std::fs::remove_file(&ballast).unwrap();
    let mark = network.mark(&others);
    network.run(MEMBER);
    network.report("disk has room: it is in step", network.until_in_step(mark, MEMBER));
    let sent = load.stop();
    let outcome = Outcome {
        members: (0..4).collect(),
        offenders: BTreeSet::new(),
        // The engine library says by a panic that it cannot write.
        tolerated: &["panicked at"],
    };
    network.expect(&sent, &witness.stop(), &outcome);
    sh(&format!("umount -l {}", data.display()));
}
