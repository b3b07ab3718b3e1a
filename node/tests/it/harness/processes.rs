//! One member as a process of the operating system.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What stands before and around a member's command line.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// A command that runs the member, for example `ip netns exec name`.
    pub prefix: Vec<String>,
    /// Program and arguments instead of the product's; the configuration's path is in the
    /// environment variable [`CONFIG_VARIABLE`] as well.
    pub program: Option<Vec<String>>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

/// Names the configuration to a program that stands in for the product.
pub const CONFIG_VARIABLE: &str = "BLINDFOLD_TEST_CONFIG";

/// A member's process. Dropping it kills it.
pub struct MemberProcess {
    child: Child,
}

impl MemberProcess {
    /// Starts the member of the configuration at `config`; its log is appended to `log`.
    pub fn spawn(launch: &Launch, config: &Path, log: &Path) -> Self {
        let product = || {
            let path = config.to_str().unwrap();
            [super::BLINDFOLD, "node", "run", "--stop-with-stdin", "--config", path]
                .map(str::to_owned)
                .to_vec()
        };
        let mut words = launch.prefix.clone();
        words.extend(launch.program.clone().unwrap_or_else(product));
        let log = || File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .envs(launch.environment.iter().cloned())
            .env(CONFIG_VARIABLE, config)
            .stdin(Stdio::piped())
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        Self { child }
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to leave, by closing its standard input.
    pub fn ask_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until it has left; `None` if it has not after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return Some(status),
                None if Instant::now() >= deadline => return None,
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Bytes of memory it holds.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Sends a signal by name. The child has not been waited for, so its number is still its own.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }
}

impl Drop for MemberProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
