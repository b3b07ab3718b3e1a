//! How to see a world again.

/// The command that replays a seed, with as many eager members as the run had.
pub fn replay_command(seed: u64, eager: Option<usize>) -> String {
    match eager {
        None => format!("make sim SEED={seed} ARGS=--verbose"),
        Some(members) => format!("make sim SEED={seed} ARGS=\"--verbose --eager {members}\""),
    }
}

/// Prints the command that replays a seed if it is dropped by a panic: also a world that panics, and
/// so has no violations to show, can be seen again.
#[derive(Debug)]
pub struct ReplayHint(
    /// The seed.
    pub u64,
    /// Eager members, if the run had any.
    pub Option<usize>,
);

impl Drop for ReplayHint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: {}", replay_command(self.0, self.1));
        }
    }
}
