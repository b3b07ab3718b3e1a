//! How to see a world again.

/// The command that replays a seed.
pub fn replay_command(seed: u64) -> String {
    format!("make sim SEED={seed} ARGS=--verbose")
}

/// Prints the command that replays a seed if it is dropped by a panic: also a world that panics, and
/// so has no violations to show, can be seen again.
#[derive(Debug)]
pub struct ReplayHint(
    /// The seed.
    pub u64,
);

impl Drop for ReplayHint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: {}", replay_command(self.0));
        }
    }
}
