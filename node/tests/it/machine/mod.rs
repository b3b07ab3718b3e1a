//! Faults that need something of the machine: a mount, a C compiler, network namespaces.
//!
//! `scripts/machine.sh` looks what there is, runs these tests in namespaces of their own, so that nothing
//! of the machine changes, and says `NOT RUN` with the reason where something is missing. Started in
//! another way they fail: what did not run must not count as passed.

mod clock;
mod disk;
mod netns;

/// Fails unless the script has prepared the machine.
fn prepared() {
    let prepared = std::env::var_os("BLINDFOLD_MACHINE_PREPARED").is_some();
    assert!(prepared, "NOT RUN: run it with `make test-machine`, which prepares the machine");
}

/// Runs a command that must succeed.
fn sh(words: &str) {
    let mut split = words.split_whitespace();
    let output = std::process::Command::new(split.next().unwrap()).args(split).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
}
