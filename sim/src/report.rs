//! How to see a world again.

/// The command that replays a seed with the given further arguments.
pub fn replay_command(seed: u64, args: &str) -> String {
    match args {
        "" => format!("make sim SEED={seed} ARGS=--verbose"),
        args => format!("make sim SEED={seed} ARGS=\"--verbose {args}\""),
    }
}

/// Prints the command that replays a seed if it is dropped by a panic: also a world that panics, and
/// so has no violations to show, can be seen again.
#[derive(Debug)]
pub struct ReplayHint(
    /// The seed.
    pub u64,
    /// Further arguments.
    pub String,
);

impl Drop for ReplayHint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: {}", replay_command(self.0, &self.1));
        }
    }
}
