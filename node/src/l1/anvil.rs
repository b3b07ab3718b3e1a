//! Foundry's anvil as a child process.
//!
//! The binary comes from npm (`scripts/contracts.sh install`); `BLINDFOLD_ANVIL` names another.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use blindfold_settlement::l1::{L1Error, RpcL1};

use super::http::{self, HttpOptions};

/// How long anvil may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause between two looks.
const START_PAUSE: Duration = Duration::from_millis(50);

/// Starts that are tried when the port was taken meanwhile.
const MAX_STARTS: usize = 3;

/// Versions of the folder that `scripts/contracts.sh` installs into.
const TOOLS: &str = "contracts-forge1.7.1-anvil1.7.1-solc0.8.37";

/// What anvil is told.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// Chain id.
    pub chain_id: u64,
    /// Seconds between blocks; `None` mines on demand only.
    pub block_time_s: Option<u64>,
    /// Time of block 0, in seconds since the Unix epoch; now if absent.
    pub timestamp_s: Option<u64>,
}

impl Default for AnvilOptions {
    fn default() -> Self {
        Self { chain_id: 31_337, block_time_s: Some(1), timestamp_s: None }
    }
}

/// Why there is no anvil.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// It is nowhere to be found.
    #[error("anvil is not installed; run scripts/contracts.sh install, or set BLINDFOLD_ANVIL")]
    Missing,
    /// It does not start.
    #[error("cannot start {path}: {source}")]
    Start {
        /// The binary.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// It started, and does not answer.
    #[error("anvil at {url} does not answer: {source}")]
    Silent {
        /// Where it should.
        url: String,
        /// The last error.
        source: L1Error,
    },
}

/// A running anvil. Killed when dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    url: String,
    /// To it.
    pub l1: RpcL1,
}

impl Anvil {
    /// Starts the anvil that [`find`] finds, on a free port of this machine's loopback. It knows the
    /// well-known development accounts, each with 10,000 ether.
    ///
    /// # Errors
    /// [`AnvilError`].
    pub async fn start(options: &AnvilOptions) -> Result<Self, AnvilError> {
        let binary = find().ok_or(AnvilError::Missing)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Self::start_once(&binary, options).await {
                // Somebody else may have taken the port between our look and anvil's.
                Err(AnvilError::Silent { .. }) if attempt < MAX_STARTS => {}
                result => return result,
            }
        }
    }

    async fn start_once(binary: &Path, options: &AnvilOptions) -> Result<Self, AnvilError> {
        let failed = |source| AnvilError::Start { path: binary.to_owned(), source };
        let port = free_port().map_err(failed)?;
        let mut command = Command::new(binary);
        command
            .args(["--hardfork", "osaka", "--silent", "--host", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--chain-id", &options.chain_id.to_string()])
            // Safe and finalized are one and two epochs below the head.
            .args(["--slots-in-an-epoch", "4", "--gas-limit", "60000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match options.block_time_s {
            Some(seconds) => command.args(["--block-time", &seconds.to_string()]),
            None => command.arg("--no-mining"),
        };
        if let Some(timestamp_s) = options.timestamp_s {
            command.args(["--timestamp", &timestamp_s.to_string()]);
        }
        let mut child = Reaped(Some(command.spawn().map_err(failed)?));
        let url = format!("http://127.0.0.1:{port}");
        let http =
            HttpOptions { retries: 0, chain_id: Some(options.chain_id), ..HttpOptions::default() };
        let begun = Instant::now();
        loop {
            match http::connect(&url, &http).await {
                Ok(l1) => {
                    let Some(child) = child.0.take() else { continue };
                    return Ok(Self { child, url, l1: l1.with_control() });
                }
                Err(source) => {
                    let ended = child
                        .0
                        .as_mut()
                        .is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()));
                    if ended || begun.elapsed() > START_TIMEOUT {
                        return Err(AnvilError::Silent { url, source });
                    }
                    tokio::time::sleep(START_PAUSE).await;
                }
            }
        }
    }

    /// Its JSON-RPC.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that does not outlive a failed start.
struct Reaped(Option<Child>);

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The anvil that would be started: `BLINDFOLD_ANVIL`, else what `scripts/contracts.sh` installed.
#[must_use]
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BLINDFOLD_ANVIL") {
        let path = PathBuf::from(path);
        return path.is_file().then_some(path);
    }
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = match std::env::var_os("BLINDFOLD_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => {
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("blindfold")
        }
    };
    let packages = cache.join(TOOLS).join("node_modules/@foundry-rs");
    std::fs::read_dir(packages)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin/anvil"))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    /// Where the script installs is where we look.
    #[test]
    fn the_script_installs_where_we_look() {
        let script = include_str!("../../../scripts/contracts.sh");
        assert!(script.contains(super::TOOLS), "{} is not in the script", super::TOOLS);
    }
}
