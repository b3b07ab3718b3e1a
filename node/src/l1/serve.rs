//! Runs the embedded L1 of a development network: makes its blocks by the clock, keeps them in a folder, and
//! serves its JSON-RPC on loopback.
//!
//! **It is no real L1**: one process makes the blocks. The banner says so wherever it is started, and so does
//! its `web3_clientVersion`.
//!
//! # On disk
//! `snapshot` is the chain up to some block, `journal` every block and reorg since. A block is appended and synced
//! before anybody sees it. A new snapshot is written beside the old one, synced and renamed, together with a new
//! journal whose name it carries: so both change at once or not at all.

use crate::{config::RpcConfig, rpc::RpcServer};
use blindfold_settlement::l1::{
    Control as _, Dropped, L1Error,
    embedded::{BANNER, Config, Embedded, METHODS, RestoreError, Sink, Wanted},
};
use jsonrpsee::{
    RpcModule,
    types::{ErrorObjectOwned, error::INVALID_PARAMS_CODE},
};
use serde_json::value::RawValue;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::{error, warn};

/// Length of a journal from which on a new snapshot is taken, in bytes.
const JOURNAL_BYTES: u64 = 16 << 20;
/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Largest request: a transaction with six blobs as hex, and some.
const MAX_REQUEST_BYTES: u32 = 4 << 20;
/// Largest answer: six blobs as hex, or many logs.
const MAX_RESPONSE_BYTES: u32 = 64 << 20;

/// How to run it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chain.
    pub chain: Config,
    /// Where to serve; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Folder that keeps it; without one it is gone with the process.
    pub folder: Option<PathBuf>,
    /// Whether callers may make blocks and reorgs.
    pub admin: bool,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder cannot be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// What the folder holds does not give a chain.
    #[error("{path}: {source}")]
    Restore {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: RestoreError,
    },
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] crate::rpc::StartError),
    /// Two methods of the same name: a mistake in this program.
    #[error(transparent)]
    Method(#[from] jsonrpsee::core::RegisterMethodError),
}

/// The running L1. Dropping it ends it.
pub struct Server {
    l1: Embedded,
    rpc: RpcServer,
    miner: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts it. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn start(options: Options) -> Result<Self, ServeError> {
        let l1 = match &options.folder {
            Some(folder) => open(folder, options.chain)?,
            None => Embedded::new(options.chain),
        };
        warn!(target: "blindfold::l1", "{BANNER}");
        let limits = RpcConfig {
            listen: options.listen,
            max_request_bytes: MAX_REQUEST_BYTES,
            max_response_bytes: MAX_RESPONSE_BYTES,
            ..RpcConfig::default()
        };
        let rpc = RpcServer::start_with(limits, module(&l1, options.admin)?).await?;
        let miner = tokio::spawn(mine(l1.clone(), options.block_time));
        Ok(Self { l1, rpc, miner })
    }

    /// The chain itself.
    #[must_use]
    pub const fn chain(&self) -> &Embedded {
        &self.l1
    }

    /// Where it is served.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.rpc.local_addr())
    }

    /// Ends it; open requests are answered first.
    pub async fn stop(self) {
        self.miner.abort();
        self.rpc.stop().await;
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Makes a block at each interval; stops with the first that cannot be stored.
async fn mine(l1: Embedded, interval: Duration) {
    let mut tick = tokio::time::interval(interval.max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let chain = l1.clone();
        let mined = tokio::task::spawn_blocking(move || Embedded::mine(&chain, unix_s())).await;
        match mined {
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => {
                error!(target: "blindfold::l1", %reason, "the embedded L1 stands still");
                return;
            }
            Err(_) => return,
        }
    }
}

fn module(l1: &Embedded, admin: bool) -> Result<RpcModule<Embedded>, ServeError> {
    let mut module = RpcModule::new(l1.clone());
    for method in METHODS.iter().copied() {
        module.register_async_method(method, move |params, l1, _| async move {
            let run = move || {
                let raw = params.as_str().map(|text| RawValue::from_string(text.to_owned()));
                let raw = raw.transpose().map_err(|_| (-32_600, "not JSON".to_owned(), None))?;
                l1.request(method, raw.as_deref())
            };
            match tokio::task::spawn_blocking(run).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err((code, message, data))) => {
                    let code = i32::try_from(code).unwrap_or(-32_000);
                    Err(ErrorObjectOwned::owned(code, message, data))
                }
                Err(_) => Err(ErrorObjectOwned::owned(-32_603, "internal error", None::<()>)),
            }
        })?;
    }
    if admin {
        module.register_async_method("blindfold_mine", |params, l1, _| async move {
            let timestamp_s: Option<u64> = params.sequence().optional_next()?;
            let block = l1.as_ref().clone();
            let block = L1Control(block).mine(timestamp_s.unwrap_or_else(unix_s)).await?;
            Ok::<_, ErrorObjectOwned>(block)
        })?;
        module.register_async_method("blindfold_reorg", |params, l1, _| async move {
            let mut params = params.sequence();
            let (depth, how): (u64, String) = (params.next()?, params.next()?);
            let timestamp_s: Option<u64> = params.optional_next()?;
            let dropped = Dropped::from_name(&how).ok_or_else(|| {
                let message = "dropped transactions are \"forgotten\", \"pool\" or \"again\"";
                ErrorObjectOwned::owned(INVALID_PARAMS_CODE, message, None::<()>)
            })?;
            let chain = L1Control(l1.as_ref().clone());
            chain.reorg(depth, dropped, timestamp_s.unwrap_or_else(unix_s)).await
        })?;
    }
    Ok(module)
}

/// Power over the chain, answered as JSON-RPC does.
struct L1Control(Embedded);

impl L1Control {
    async fn mine(&self, timestamp_s: u64) -> Result<u64, ErrorObjectOwned> {
        let control: &dyn blindfold_settlement::l1::Control = &self.0;
        control.mine(timestamp_s).await.map(|block| block.number).map_err(refused)
    }

    async fn reorg(
        &self,
        depth: u64,
        dropped: Dropped,
        timestamp_s: u64,
    ) -> Result<u64, ErrorObjectOwned> {
        let control: &dyn blindfold_settlement::l1::Control = &self.0;
        control.reorg(depth, dropped, timestamp_s).await.map(|block| block.number).map_err(refused)
    }
}

fn refused(error: L1Error) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(-32_000, error.to_string(), None::<()>)
}

/// Name of the snapshot, and of journals before their number.
const SNAPSHOT: &str = "snapshot";
const JOURNAL: &str = "journal";

/// The chain that a folder keeps; a new one in an empty folder.
fn open(folder: &Path, config: Config) -> Result<Embedded, ServeError> {
    fs::create_dir_all(folder).map_err(disk(folder))?;
    let stored = read(&folder.join(SNAPSHOT))?;
    // The number of the journal that goes on from the snapshot stands in front of it.
    let (number, snapshot) = match stored.as_deref().map(|bytes| bytes.split_first_chunk::<8>()) {
        Some(Some((number, snapshot))) => (u64::from_be_bytes(*number), Some(snapshot)),
        Some(None) => {
            let (path, source) = (folder.to_owned(), RestoreError::Damaged("no number"));
            return Err(ServeError::Restore { path, source });
        }
        None => (0, None),
    };
    let path = journal_path(folder, number);
    let journal = read(&path)?.unwrap_or_default();
    let (l1, whole) = Embedded::restore(config, snapshot, &journal)
        .map_err(|source| ServeError::Restore { path: folder.to_owned(), source })?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(disk(&path))?;
    // What was cut off in the middle never happened.
    file.set_len(whole as u64).map_err(disk(&path))?;
    drop(file);
    let journal = OpenOptions::new().append(true).open(&path).map_err(disk(&path))?;
    sync_folder(folder).map_err(disk(folder))?;
    l1.set_sink(Box::new(Folder { folder: folder.to_owned(), number, journal, length: whole as u64 }));
    Ok(l1)
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> ServeError + '_ {
    move |source| ServeError::Disk { path: path.to_owned(), source }
}

fn journal_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{JOURNAL}-{number}"))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ServeError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(disk(path)(source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(disk(path))?;
    Ok(Some(bytes))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Keeps an embedded L1 in a folder.
struct Folder {
    folder: PathBuf,
    number: u64,
    journal: File,
    length: u64,
}

impl Folder {
    fn replace(&mut self, snapshot: &[u8]) -> io::Result<()> {
        let number = self.number + 1;
        let path = journal_path(&self.folder, number);
        let journal = OpenOptions::new().create(true).append(true).open(&path)?;
        journal.set_len(0)?;
        journal.sync_all()?;
        let new = self.folder.join("snapshot.new");
        let mut file = File::create(&new)?;
        file.write_all(&number.to_be_bytes())?;
        file.write_all(snapshot)?;
        file.sync_all()?;
        sync_folder(&self.folder)?;
        fs::rename(&new, self.folder.join(SNAPSHOT))?;
        sync_folder(&self.folder)?;
        let _ = fs::remove_file(journal_path(&self.folder, self.number));
        (self.number, self.journal, self.length) = (number, journal, 0);
        Ok(())
    }
}

impl Sink for Folder {
    fn append(&mut self, entry: &[u8]) -> Result<Wanted, String> {
        let written = self.journal.write_all(entry).and_then(|()| self.journal.sync_data());
        written.map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.length += entry.len() as u64;
        Ok(if self.length > JOURNAL_BYTES { Wanted::Snapshot } else { Wanted::Nothing })
    }

    fn snapshot(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.replace(snapshot).map_err(|error| format!("{}: {error}", self.folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { chain_id: 77, ..Config::default() }
    }

    #[test]
    fn a_chain_is_there_again_after_a_restart_and_a_torn_end_never_happened() {
        let folder = tempfile::tempdir().unwrap();
        let l1 = open(folder.path(), config()).unwrap();
        for time in 1..=5 {
            Embedded::mine(&l1, 1_800_000_000 + time).unwrap();
        }
        let head = l1.head();
        drop(l1);
        let path = journal_path(folder.path(), 0);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&[1, 2, 3]).unwrap();
        let l1 = open(folder.path(), config()).unwrap();
        assert_eq!(l1.head(), head);
        Embedded::mine(&l1, 1_800_000_100).unwrap();
        let head = l1.head();
        drop(l1);
        assert_eq!(open(folder.path(), config()).unwrap().head(), head);
        let other = Config { chain_id: 78, ..Config::default() };
        assert!(matches!(open(folder.path(), other), Err(ServeError::Restore { .. })) , "another chain's folder");
    }

    #[test]
    fn a_snapshot_takes_the_place_of_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let l1 = open(folder.path(), config()).unwrap();
        Embedded::mine(&l1, 1_800_000_000).unwrap();
        let snapshot = l1.snapshot();
        let journal = OpenOptions::new().append(true).open(journal_path(folder.path(), 0)).unwrap();
        let mut sink = Folder { folder: folder.path().to_owned(), number: 0, journal, length: 0 };
        sink.snapshot(&snapshot).unwrap();
        assert!(!journal_path(folder.path(), 0).exists());
        let again = open(folder.path(), config()).unwrap();
        assert_eq!(again.head(), l1.head());
        fs::write(folder.path().join(SNAPSHOT), [0; 20]).unwrap();
        assert!(open(folder.path(), config()).is_err(), "damage is noticed");
    }
}
