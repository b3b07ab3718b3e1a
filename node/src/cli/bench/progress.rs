//! One line on stderr that is written over, if stderr is a terminal; nothing otherwise.

use std::io::{IsTerminal as _, Write as _};

/// Characters of the bar.
const BAR_CHARS: usize = 24;
/// Characters that a line may take; longer ones are cut.
const LINE_CHARS: usize = 100;

/// A progress line.
pub struct Progress {
    terminal: bool,
    name: String,
}

impl Progress {
    /// A line that begins with `name`. Without a terminal the name is printed once, and that is all.
    pub fn new(name: impl Into<String>) -> Self {
        let progress = Self { terminal: std::io::stderr().is_terminal(), name: name.into() };
        if !progress.terminal {
            eprintln!("{}", progress.name);
        }
        progress
    }

    /// Shows how much is done, from 0 to 1, and a few words.
    pub fn show(&self, done: f64, words: &str) {
        if !self.terminal {
            return;
        }
        eprint!("\r{:<LINE_CHARS$}", line(&self.name, done, words));
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprintln!();
        }
    }
}

fn line(name: &str, done: f64, words: &str) -> String {
    let filled = (done.clamp(0.0, 1.0) * BAR_CHARS as f64).round() as usize;
    let bar = format!("{}{}", "#".repeat(filled), "-".repeat(BAR_CHARS - filled));
    format!("{name}  [{bar}] {:>3.0} %  {words}", done.clamp(0.0, 1.0) * 100.0)
        .chars()
        .take(LINE_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_length() {
        assert!(line("half", 0.5, "12 sent").contains("[############------------]  50 %  12 sent"));
        for done in [-1.0, 0.0, 2.0, f64::NAN] {
            let line = line("name", done, &"w".repeat(300));
            assert_eq!(line.chars().count(), LINE_CHARS, "{done}");
        }
    }
}
