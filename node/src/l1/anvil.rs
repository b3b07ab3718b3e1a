//! Foundry's anvil as an L1 for development: started here, ended when dropped.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long it may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Where scripts/contracts.sh puts it, below its folder of tools.
const IN_TOOLS: &str = "node_modules/@foundry-rs";

/// A running anvil.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    address: SocketAddr,
}

/// Why there is no anvil.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// The program cannot be started.
    #[error("{path} cannot be started: {source}; `bash scripts/contracts.sh install` brings it, --anvil names it")]
    Start {
        /// The program.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It does not listen.
    #[error("anvil does not listen on {0}")]
    Silent(SocketAddr),
}

impl Anvil {
    /// Starts it at Osaka, on a free port of loopback, with a block each `block_time_s` (0: with each
    /// transaction).
    ///
    /// # Errors
    /// [`AnvilError`].
    pub fn start(binary: &Path, chain_id: u64, block_time_s: u64) -> Result<Self, AnvilError> {
        let failed = |source| AnvilError::Start { path: binary.to_owned(), source };
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|free| free.local_addr())
            .map_err(failed)?;
        let mut command = Command::new(binary);
        command
            .args(["--silent", "--hardfork", "osaka", "--host", "127.0.0.1"])
            .args(["--slots-in-an-epoch", "2"])
            .args(["--port", &address.port().to_string(), "--chain-id", &chain_id.to_string()]);
        if block_time_s > 0 {
            command.args(["--block-time", &block_time_s.to_string()]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let anvil = Self { child, address };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if Instant::now() > deadline {
                return Err(AnvilError::Silent(address));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(anvil)
    }

    /// Its JSON-RPC.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Our own child, not waited for yet: its number is still its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in the folder of tools that scripts/contracts.sh installs, if it is there.
#[must_use]
pub fn in_tools(tools: &Path) -> Option<PathBuf> {
    let packages = std::fs::read_dir(tools.join(IN_TOOLS)).ok()?;
    packages
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/anvil")))
        .find(|binary| binary.is_file())
}
