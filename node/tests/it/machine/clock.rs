//! A member whose clock is wrong by minutes.

use super::prepared;
use crate::harness::{Load, Network, Witness, invariants, keys, now_ms, processes::Launch};
use std::{path::Path, process::Command, time::Duration};

/// Seconds by which the clock is off.
const OFF_S: i64 = 300;
/// The member with the wrong clock.
const MEMBER: usize = 3;

/// Shifts the clock that C programs, and so Rust's, ask for the time of day. Time that only passes
/// (CLOCK_MONOTONIC) is left alone, as it is when a clock is set wrong.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    static long seconds, known;
    if (!known) { const char *text = getenv("CLOCK_SHIFT_S"); seconds = text ? atol(text) : 0; known = 1; }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"#;

/// How a member is started with its clock off by `seconds`.
fn shifted(folder: &Path, seconds: i64) -> Launch {
    let (source, library) = (folder.join("shift.c"), folder.join("shift.so"));
    std::fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let environment = vec![
        ("LD_PRELOAD".to_owned(), library.to_str().unwrap().to_owned()),
        ("CLOCK_SHIFT_S".to_owned(), seconds.to_string()),
    ];
    Launch { environment, ..Launch::default() }
}

/// Views that ended without a block, led by `leader`, as `member` logged them.
fn lost_views(network: &Network, member: usize, leader: usize) -> usize {
    let schedule = network.schedule();
    let view = |line: &str| -> Option<u64> {
        let (_, rest) = line.split_once("view=").filter(|_| line.contains("without a block"))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    network
        .log(member)
        .lines()
        .filter_map(view)
        .filter(|view| schedule.leader(*view) == leader)
        .count()
}

fn run_with_clock_off_by(seconds: i64) {
    prepared();
    let keys = keys::<2>();
    let funded: Vec<_> = keys.iter().map(blindfold_sdk::SigningKey::address).collect();
    let mut network = Network::prepare(4, &funded);
    network.launch_as(MEMBER, shifted(network.folder.path(), seconds));
    network.run_all();
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1, 2, MEMBER]);

    // Of 64 views in a row the member leads some in each half.
    let led = |height: u64| {
        let known = network.height(0, height)?;
        Some((usize::try_from(known.leader).unwrap(), known))
    };
    let ahead = seconds > 0;
    network.until("the member has led", || {
        let last = network.clients[0].head().ok()?.ordered_height;
        match ahead {
            true => (last >= 10 && lost_views(&network, 0, MEMBER) >= 2).then_some(()),
            false => (1..=last)
                .any(|height| led(height).is_some_and(|(by, _)| by == MEMBER))
                .then_some(()),
        }
    });
    let last = network.head(0).ordered_height;
    network.until_executed(MEMBER, last);
    let drift_ms = network.genesis.params.clock_drift_ms;
    for height in 1..=last {
        let (leader, known) = led(height).expect("an ordered height");
        assert!(!ahead || leader != MEMBER, "height {height} has its time from the future");
        assert!(known.proposed_ms <= known.ordered_ms + drift_ms, "height {height}: {known:?}");
        // A clock that is behind can slow the chain's time down, not turn it back.
        let behind = Duration::from_millis(known.ordered_ms.saturating_sub(known.proposed_ms));
        assert!(
            behind < Duration::from_secs(OFF_S.unsigned_abs() / 2),
            "height {height}: {known:?}"
        );
    }
    // The shift was there at all: the member's own times show it.
    let own = network.height(MEMBER, last).expect("an executed height").executed_ms;
    let off = i64::try_from(own).unwrap() - i64::try_from(now_ms()).unwrap();
    assert!((off - seconds * 1_000).abs() < OFF_S * 500, "off by {off} ms");

    // Set right, it leads again.
    network.kill(MEMBER);
    network.launch_as(MEMBER, Launch::default());
    let mark = network.mark(&[0, 1, 2]);
    network.run(MEMBER);
    network.report(
        &format!("clock {seconds:+} s set right: the member is in step"),
        network.until_in_step(mark, MEMBER),
    );
    network.until("the member leads a height", || {
        let last = network.clients[0].head().ok()?.ordered_height;
        (mark.height + 1..=last).find(|height| {
            network.height(0, *height).is_some_and(|known| {
                invariants::commitment(&known).timestamp_ms >= mark.at_ms
                    && usize::try_from(known.leader) == Ok(MEMBER)
            })
        })
    });
    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
#[ignore = "needs a C compiler: make test-machine"]
fn a_clock_ahead_by_minutes_costs_the_member_its_views() {
    run_with_clock_off_by(OFF_S);
}

#[test]
#[ignore = "needs a C compiler: make test-machine"]
fn a_clock_behind_by_minutes_harms_nobody() {
    run_with_clock_off_by(-OFF_S);
}
