//! Folders of Ethereum blocks with what they need to run.
//!
//! ```text
//! DIR/manifest.json               optional: {number: {"spec": fork}}
//! DIR/<number>/block.json         the block as JSON-RPC shows it, with full transactions
//! DIR/<number>/pre_state.json     {address: {balance, nonce, code_hash?, storage: {slot: value}}}
//! DIR/<number>/codes.json         {hash: code}
//! DIR/<number>/block_hashes.json  {number: hash} of former blocks
//! ```
//!
//! Without a manifest, or with one that does not name a block, mainnet's rules at its number and time hold.
//! `DIR` may also be the folder of a single block. Whatever does not fit is an error that names the file and
//! the field in it.

mod json;
mod transaction;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, Bloom, keccak256};
use serde_json::Value;

pub(crate) use self::json::Node;
#[cfg(test)]
pub(crate) use self::transaction::{access_list, authorizations};
use super::{Fork, MemoryState, ReplayBlock, ReplayOutcome};
use crate::state::Account;

/// The disk that a folder lies on. This crate has none of its own.
pub trait Disk {
    /// What lies in a folder: its path, and whether it is a folder itself.
    ///
    /// # Errors
    ///
    /// The disk's.
    fn list(&self, folder: &Path) -> io::Result<Vec<(PathBuf, bool)>>;

    /// The content of a file, if it is of a bearable size.
    ///
    /// # Errors
    ///
    /// The disk's, or that the file is too large.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
}

/// What is wrong with a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The disk did not give it.
    #[error("{}: {error}", file.display())]
    File {
        /// The file or folder.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no JSON.
    #[error("{}: not JSON: {error}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: serde_json::Error,
    },
    /// A field is not what it has to be.
    #[error("{}: {field} {problem}", file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// The way to the field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nothing to replay.
    #[error("{}: holds no folder with a block number for a name", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
}

/// What a block's header says of its execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFacts {
    /// Gas all transactions used.
    pub gas_used: u64,
    /// Bloom filter of all logs.
    pub logs_bloom: Bloom,
    /// Root over the receipts; comparable from Byzantium on.
    pub receipts_root: B256,
}

impl HeaderFacts {
    /// What an execution of the block got wrong, in words; nothing if it is right.
    #[must_use]
    pub fn disagreements(&self, fork: Fork, outcome: &ReplayOutcome) -> Vec<String> {
        let mut found = Vec::new();
        for (index, reason) in &outcome.skipped {
            found.push(format!("transaction {index} was skipped: {reason}"));
        }
        if outcome.gas_used != self.gas_used {
            found.push(format!("gas used is {}, not {}", outcome.gas_used, self.gas_used));
        }
        if outcome.logs_bloom() != self.logs_bloom {
            found.push("logs bloom differs".to_owned());
        }
        if fork.has_receipt_status() && outcome.receipts_root() != self.receipts_root {
            let root = outcome.receipts_root();
            found.push(format!("receipts root is {root}, not {}", self.receipts_root));
        }
        found
    }
}

/// A block with the state before it, and what its header says came of it.
#[derive(Clone, Debug)]
pub struct FolderBlock {
    /// The block.
    pub block: ReplayBlock,
    /// The part of the state that it needs.
    pub pre_state: MemoryState,
    /// What its header says.
    pub header: HeaderFacts,
}

/// A folder of blocks.
pub struct BlockFolder<'a> {
    disk: &'a dyn Disk,
    folders: Vec<(u64, PathBuf)>,
    manifest: Option<(PathBuf, Value)>,
}

impl<'a> BlockFolder<'a> {
    /// Looks what a folder holds.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; blocks are not read before [`Self::load`].
    pub fn open(folder: &Path, disk: &'a dyn Disk) -> Result<Self, FolderError> {
        let entries = disk
            .list(folder)
            .map_err(|error| FolderError::File { file: folder.to_owned(), error })?;
        let has = |name: &str| entries.contains(&(folder.join(name), false));
        if has("block.json") {
            let (file, block) = read(disk, folder, "block.json")?;
            let number = Node::root(&file, &block).field("number")?.u64()?;
            return Ok(Self { disk, folders: vec![(number, folder.to_owned())], manifest: None });
        }
        let manifest = match has("manifest.json") {
            true => Some(read(disk, folder, "manifest.json")?),
            false => None,
        };
        let mut folders = Vec::new();
        let mut numbers = BTreeSet::new();
        for (path, is_folder) in entries {
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            let Some(number) = number.filter(|_| is_folder) else { continue };
            if !numbers.insert(number) {
                return Err(FolderError::Field {
                    file: path,
                    field: "its name".into(),
                    problem: format!("is block {number}, which another folder is, too"),
                });
            }
            folders.push((number, path));
        }
        if folders.is_empty() {
            return Err(FolderError::Empty { folder: folder.to_owned() });
        }
        folders.sort_unstable();
        Ok(Self { disk, folders, manifest })
    }

    /// The numbers of the blocks, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.folders.iter().map(|(number, _)| *number)
    }

    /// Reads one block; nothing if there is none of this number.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn load(&self, number: u64) -> Result<Option<FolderBlock>, FolderError> {
        let folder = self.folders.iter().find(|(other, _)| *other == number);
        folder.map(|(number, folder)| self.block(*number, folder)).transpose()
    }

    fn block(&self, number: u64, folder: &Path) -> Result<FolderBlock, FolderError> {
        let (file, value) = read(self.disk, folder, "block.json")?;
        let node = Node::root(&file, &value);
        let found = node.field("number")?;
        if found.u64()? != number {
            return Err(found.wrong(format!("is not {number}, the folder's name")));
        }
        let timestamp_s = node.field("timestamp")?.u64()?;
        let fork = match self.named_fork(number)? {
            Some(fork) => fork,
            None => Fork::of_mainnet(number, timestamp_s),
        };
        let optional_u64 = |name| node.optional(name)?.map(|node| node.u64()).transpose();
        let base_fee_wei = match fork >= Fork::London {
            true => node.field("baseFeePerGas")?.u64()?,
            false => 0,
        };
        let transactions = node
            .field("transactions")?
            .items()?
            .map(|node| transaction::transaction(&node))
            .collect::<Result<Vec<_>, _>>()?;
        let chain_id = transactions.iter().find_map(|tx| tx.chain_id).unwrap_or(1);
        let block = ReplayBlock {
            chain_id,
            fork,
            number,
            parent_hash: node.field("parentHash")?.hash()?,
            beneficiary: node.field("miner")?.address()?,
            timestamp_s,
            gas_limit: node.field("gasLimit")?.u64()?,
            base_fee_wei,
            difficulty: node.field("difficulty")?.u256()?,
            prev_randao: node.field("mixHash")?.hash()?,
            excess_blob_gas: match fork >= Fork::Cancun {
                true => Some(optional_u64("excessBlobGas")?.unwrap_or_default()),
                false => None,
            },
            blob_update_fraction: match chain_id {
                1 => Fork::mainnet_blob_update_fraction(timestamp_s),
                _ => fork.blob_update_fraction(),
            },
            parent_beacon_block_root: node
                .optional("parentBeaconBlockRoot")?
                .map(|node| node.hash())
                .transpose()?,
            transactions,
        };
        let header = HeaderFacts {
            gas_used: node.field("gasUsed")?.u64()?,
            logs_bloom: {
                let bloom = node.field("logsBloom")?;
                let bytes = bloom.bytes()?;
                Bloom::try_from(bytes.as_ref()).map_err(|_| bloom.wrong("is not 256 bytes"))?
            },
            receipts_root: node.field("receiptsRoot")?.hash()?,
        };
        let mut pre_state = pre_state(self.disk, folder)?;
        if let Some(parent) = number.checked_sub(1) {
            pre_state.set_block_hash(parent, block.parent_hash);
        }
        Ok(FolderBlock { block, pre_state, header })
    }

    /// The fork that the manifest names for a block.
    fn named_fork(&self, number: u64) -> Result<Option<Fork>, FolderError> {
        let Some((file, manifest)) = &self.manifest else { return Ok(None) };
        let Some(entry) = Node::root(file, manifest).optional(&number.to_string())? else {
            return Ok(None);
        };
        let Some(spec) = entry.optional("spec")? else { return Ok(None) };
        match Fork::from_name(spec.text()?) {
            Some(fork) => Ok(Some(fork)),
            None => Err(spec.wrong("is not a known fork")),
        }
    }
}

/// Reads the state before a block.
fn pre_state(disk: &dyn Disk, folder: &Path) -> Result<MemoryState, FolderError> {
    let mut state = MemoryState::new();
    let (file, value) = read(disk, folder, "codes.json")?;
    for (name, code) in Node::root(&file, &value).entries()? {
        let (hash, bytes) = (code.name_as_hash(name)?, code.bytes()?);
        if keccak256(&bytes) != hash {
            return Err(code.wrong("is not the code of its hash"));
        }
        state.set_code(bytes);
    }
    let (file, value) = read(disk, folder, "pre_state.json")?;
    for (name, node) in Node::root(&file, &value).entries()? {
        let address = node.name_as_address(name)?;
        let mut account = Account {
            balance: node.field("balance")?.u256()?,
            nonce: node.field("nonce")?.u64()?,
            ..Account::default()
        };
        if let Some(code_hash) = node.optional("code_hash")? {
            account.code_hash = code_hash.hash()?;
        }
        state.set_account(address, account);
        for (slot, value) in node.field("storage")?.entries()? {
            state.set_storage(address, value.name_as_u256(slot)?, value.u256()?);
        }
    }
    let (file, value) = read(disk, folder, "block_hashes.json")?;
    for (name, hash) in Node::root(&file, &value).entries()? {
        state.set_block_hash(hash.name_as_u64(name)?, hash.hash()?);
    }
    Ok(state)
}

/// Reads a JSON file.
pub(crate) fn read(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
) -> Result<(PathBuf, Value), FolderError> {
    let file = folder.join(name);
    let read = disk.read(&file);
    let bytes = read.map_err(|error| FolderError::File { file: file.clone(), error })?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok((file, value)),
        Err(error) => Err(FolderError::Json { file, error }),
    }
}
