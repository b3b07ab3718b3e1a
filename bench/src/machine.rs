//! Where and with what a run was made.

use std::{fs, path::Path, process::Command, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Crates whose versions belong beside the figures.
const CRATES: &[&str] = &[
    "blst",
    "blsttc",
    "threshold_crypto",
    "secp256k1",
    "chacha20poly1305",
    "alloy-primitives",
    "criterion",
];

/// The machine and the versions of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Load averages over 1, 5 and 15 minutes when the run started.
    pub load_at_start: String,
    /// The same at its end.
    pub load_at_end: String,
    /// The compiler.
    pub rustc: String,
    /// The commit of the checkout, with `+` when files differ from it.
    pub commit: String,
    /// Names and versions of the crates that the figures are about.
    pub crates: Vec<(String, String)>,
    /// When the table was made, in seconds since 1970.
    pub made_unix_s: u64,
}

impl Machine {
    /// This machine now. Unknown figures are given as `unknown`.
    pub fn here(checkout: &Path, load_at_start: &str) -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let lock = fs::read_to_string(checkout.join("Cargo.lock")).unwrap_or_default();
        let commit = output(checkout, "git", &["rev-parse", "--short", "HEAD"]);
        let changed = output(checkout, "git", &["status", "--porcelain", "--untracked-files=no"]);
        let clean = changed.as_deref().unwrap_or_default().is_empty();
        Self {
            cpu: cpu_model(&cpu_info).unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_at_start: load_at_start.to_owned(),
            load_at_end: load(),
            rustc: output(checkout, "rustc", &["--version"]).unwrap_or_else(unknown),
            commit: commit.map_or_else(unknown, |commit| commit + if clean { "" } else { "+" }),
            crates: CRATES
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), versions(&lock, name)?)))
                .collect(),
            made_unix_s: UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The three load averages.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| unknown());
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn output(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn cpu_model(cpu_info: &str) -> Option<String> {
    let field = |name: &str| {
        let line = cpu_info
            .lines()
            .find(|line| line.split_once(':').is_some_and(|(key, _)| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("model name")?;
    let details: Vec<_> = [("family", "cpu family"), ("model", "model")]
        .iter()
        .filter_map(|(short, name)| Some(format!("{short} {}", field(name)?)))
        .collect();
    Some(if details.is_empty() { model } else { format!("{model} ({})", details.join(", ")) })
}

/// The versions of a package in a lock file, joined when there are several.
fn versions(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let versions: Vec<_> = lock
        .split("[[package]]")
        .filter(|entry| entry.lines().any(|line| line.trim() == name))
        .filter_map(|entry| {
            entry.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        })
        .collect();
    (!versions.is_empty()).then(|| versions.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"blst\"\nversion = \"0.3.17\"\n\n[[package]]\nname = \"blstrs\"\n\
                    version = \"0.6.2\"\n\n[[package]]\nname = \"blst\"\nversion = \"0.2.0\"\n";
        assert_eq!(versions(lock, "blst").as_deref(), Some("0.3.17, 0.2.0"));
        assert_eq!(versions(lock, "blstrs").as_deref(), Some("0.6.2"));
        assert_eq!(versions(lock, "blsttc"), None);
    }

    #[test]
    fn the_processor_is_named() {
        let info = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu_model(info).as_deref(), Some("AMD EPYC (family 25, model 17)"));
        assert_eq!(cpu_model(""), None);
    }

    #[test]
    fn this_checkout_is_described() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let machine = Machine::here(root, "1 2 3");
        assert!(machine.cores >= 1 && machine.rustc.starts_with("rustc "));
        assert_eq!(machine.crates.len(), CRATES.len(), "{:?}", machine.crates);
        assert_eq!(machine.load_at_start, "1 2 3");
    }
}
