//! The members of a soak: killed and started again at random moments, looked at every few seconds.

use super::samples::Sample;
use crate::cli::devnet::{processes::MemberProcess, rng::Choices, wallets::Members};
use eyre::{Result, ensure};
use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a member may take to catch up after it is started again.
const BACK_TIMEOUT: Duration = Duration::from_secs(120);
/// Heights behind the furthest at which a member counts as back.
const BACK_HEIGHTS: u64 = 4;
/// How long a killed member stays away, in milliseconds.
const AWAY_MS: (u64, u64) = (500, 8_000);

/// One member: its process, and what it is started from.
pub struct Node {
    /// The process; `None` while it is away.
    pub process: Option<MemberProcess>,
    /// Its `node.toml`.
    pub config: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
    /// How often it was started before.
    pub life: u32,
    /// When this life began.
    pub born: Instant,
}

/// All members.
pub struct Nodes {
    nodes: Vec<Mutex<Node>>,
}

/// A kill, and what came of it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Kill {
    /// Milliseconds since the soak began.
    pub at_ms: u64,
    /// The member.
    pub member: usize,
    /// Whether it led the newest height when it was killed.
    pub led: bool,
    /// How long it was away, in milliseconds.
    pub away_ms: u64,
    /// From its start to being level with the others, in milliseconds.
    pub back_ms: u64,
}

impl Nodes {
    /// Takes over running members.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self { nodes: nodes.into_iter().map(Mutex::new).collect() }
    }

    fn with<R>(&self, member: usize, of: impl FnOnce(&mut Node) -> R) -> R {
        of(&mut self.nodes[member].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fails if a member left that nobody killed.
    pub fn check_alive(&self) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|member| {
            self.with(member, |node| {
                node.process.as_mut().map_or(Ok(()), MemberProcess::check_alive)
            })
        })
    }

    /// Looks at every member that is up.
    pub fn look(&self, began: Instant, members: &Members) -> Vec<Sample> {
        (0..self.nodes.len())
            .filter_map(|member| {
                let mut sample = Sample { member, ..Sample::default() };
                let data = self.with(member, |node| {
                    let id = node.process.as_ref()?.id();
                    sample.life = node.life;
                    sample.age_ms = ms(node.born.elapsed());
                    // Under the lock, so that the number is still this member's.
                    sample.read_process(id).ok()?;
                    Some(node.data.clone())
                })?;
                sample.at_ms = ms(began.elapsed());
                sample.read_disk(&data);
                sample.height =
                    members.clients[member].head().map_or(0, |head| head.executed_height);
                Some(sample)
            })
            .collect()
    }

    /// Kills members at random, one at a time, each no sooner than the one before is back, until `stop`.
    /// Member 0 is spared: its one life is the long one.
    pub fn kill_at_random(
        &self,
        members: &Members,
        choices: &mut Choices,
        pause_ms: (u64, u64),
        began: Instant,
        stop: &AtomicBool,
        kills: &Mutex<Vec<Kill>>,
    ) -> Result<()> {
        while wait(choices.between(pause_ms.0, pause_ms.1), stop) {
            let member = 1 + choices.below(self.nodes.len() - 1);
            let leader = leader(members);
            let at_ms = ms(began.elapsed());
            self.with(member, |node| match node.process.take() {
                Some(mut process) => process.kill(),
                None => Ok(()),
            })?;
            let killed = Instant::now();
            // Also when it is time to stop: the run ends with all members up.
            wait(choices.between(AWAY_MS.0, AWAY_MS.1), stop);
            self.with(member, |node| -> Result<()> {
                node.process = Some(MemberProcess::start(member, &node.config, &node.log)?);
                node.life += 1;
                node.born = Instant::now();
                Ok(())
            })?;
            let (away_ms, started) = (ms(killed.elapsed()), Instant::now());
            while !is_back(members, member) {
                self.check_alive()?;
                ensure!(
                    started.elapsed() < BACK_TIMEOUT,
                    "member {member} did not catch up within {BACK_TIMEOUT:?} of its start"
                );
                thread::sleep(Duration::from_millis(100));
            }
            let back_ms = ms(started.elapsed());
            let led = leader == Some(member);
            kills.lock().unwrap_or_else(PoisonError::into_inner).push(Kill {
                at_ms,
                member,
                led,
                away_ms,
                back_ms,
            });
        }
        Ok(())
    }

    /// Gives the processes back, to be stopped.
    pub fn into_processes(self) -> Vec<MemberProcess> {
        self.nodes
            .into_iter()
            .filter_map(|node| node.into_inner().unwrap_or_else(PoisonError::into_inner).process)
            .collect()
    }
}

/// Milliseconds, as a number.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Waits; false if it was told to stop meanwhile.
pub fn wait(milliseconds: u64, stop: &AtomicBool) -> bool {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < end {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
    }
    !stop.load(Ordering::Relaxed)
}

/// Who leads the newest height that member 0 knows.
fn leader(members: &Members) -> Option<usize> {
    use blindfold_sdk::rpc::HeightDocument;
    let client = &members.clients[0];
    let height = client.head().ok()?.executed_height;
    let document: Option<HeightDocument> =
        client.request("sealed_getHeight", [format!("0x{height:x}")]).ok()?;
    usize::try_from(document?.leader).ok()
}

fn is_back(members: &Members, member: usize) -> bool {
    let height = |member: usize| members.clients[member].head().map(|head| head.executed_height);
    let Ok(own) = height(member) else { return false };
    let furthest = (0..members.clients.len()).filter_map(|other| height(other).ok()).max();
    furthest.is_some_and(|furthest| own + BACK_HEIGHTS >= furthest)
}
