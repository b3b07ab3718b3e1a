//! Members, and the gateway, as operating-system processes of their own.
//!
//! A child's standard input is a pipe that only this process holds; a member started with
//! `--stop-with-stdin` leaves when it closes. So members end cleanly when the devnet does, also
//! when the devnet itself is killed, and no signal has to be sent to a process by number.

use eyre::{Context as _, Result, bail};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a member may take to close its database before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines of a dead member's log that are shown.
const LOG_TAIL_LINES: usize = 12;

/// The process of one member, or of the gateway.
pub struct MemberProcess {
    name: String,
    child: Child,
    log: PathBuf,
}

impl MemberProcess {
    /// Starts the member whose configuration is at `config`; its log goes to `log`.
    pub fn start(index: usize, config: &Path, log: &Path) -> Result<Self> {
        Self::start_as(format!("member {index}"), "node", config, log)
    }

    /// Starts the gateway whose configuration is at `config`; its log goes to `log`.
    pub fn start_gateway(config: &Path, log: &Path) -> Result<Self> {
        Self::start_as("the gateway".to_owned(), "gateway", config, log)
    }

    fn start_as(name: String, command: &str, config: &Path, log: &Path) -> Result<Self> {
        let program =
            std::env::current_exe().wrap_err("cannot find the blindfold binary itself")?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .wrap_err_with(|| format!("cannot open {}", log.display()))?;
        let child = Command::new(&program)
            .args([command, "run", "--stop-with-stdin", "--config"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .wrap_err_with(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child, log: log.to_path_buf() })
    }

    /// Fails, with the end of its log, if the member has left.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} left ({status}); the end of {}:\n{}",
                self.name,
                self.log.display(),
                tail(&self.log)
            );
        }
        Ok(())
    }

    /// Its process number, while it runs.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the member as a crash would: nothing is told, nothing is flushed.
    pub fn kill(&mut self) -> Result<()> {
        // SIGKILL, to our own child that has not been waited for.
        self.child.kill().wrap_err_with(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the member to leave by closing its standard input.
    fn ask_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until the member has left, or kills it at `deadline`. True if it left by itself with
    /// success.
    fn wait_stopped(&mut self, deadline: Instant) -> bool {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                _ => {
                    // It is our own child and has not been waited for, so its number is still its own.
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return false;
                }
            }
        }
    }
}

/// Stops all processes together. Returns the names of those that had to be killed.
pub fn stop_all(members: &mut [MemberProcess]) -> Vec<String> {
    for member in members.iter_mut() {
        member.ask_to_stop();
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    members
        .iter_mut()
        .filter_map(|member| (!member.wait_stopped(deadline)).then(|| member.name.clone()))
        .collect()
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        self.ask_to_stop();
        if matches!(self.child.try_wait(), Ok(None)) {
            self.wait_stopped(Instant::now() + STOP_TIMEOUT);
        }
    }
}
