//! Reader of Ethereum's state tests.

use std::path::{Path, PathBuf};

use alloy_consensus::TxType;
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{B256, TxKind, keccak256};

use crate::replay::folder::{FolderError, Node, access_list, authorizations, read};
use crate::replay::{Fork, MemoryState, ReplayBlock, ReplayTransaction};
use crate::state::Account;
use crate::testkit::fixtures::LocalDisk;

/// Most former blocks whose hash a transaction can ask for.
const BLOCK_HASHES: u64 = 256;

/// One variant of one state test under one fork.
#[derive(Clone, Debug)]
pub(super) struct StateTest {
    pub(super) name: String,
    /// With one transaction.
    pub(super) block: ReplayBlock,
    pub(super) pre: MemoryState,
    /// What is expected if the transaction is not valid.
    pub(super) exception: Option<String>,
    /// keccak256 of the RLP of the logs.
    pub(super) logs_hash: B256,
    pub(super) state_root: B256,
    /// The whole state after it.
    pub(super) post: MemoryState,
}

/// All files of a folder and the folders in it, ordered.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("unpacked") {
            let path = entry.expect("unpacked").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All variants of all tests of a file.
pub(super) fn read_tests(path: &Path) -> Result<Vec<StateTest>, FolderError> {
    let (folder, name) = (path.parent().expect("a file"), path.file_name().expect("a file"));
    let (file, value) = read(&LocalDisk, folder, &name.to_string_lossy())?;
    let mut tests = Vec::new();
    for (name, test) in Node::root(&file, &value).entries()? {
        let pre = state(&test.field("pre")?)?;
        let (env, transaction) = (test.field("env")?, test.field("transaction")?);
        let config = test.field("config")?;
        for (fork_name, variants) in test.field("post")?.entries()? {
            let fork = Fork::from_name(fork_name).ok_or_else(|| variants.wrong("is no fork"))?;
            for (index, variant) in variants.items()?.enumerate() {
                let mut block = block(&env, fork)?;
                block.chain_id = config.field("chainid")?.u64()?;
                if let Some(schedule) = config.optional("blobSchedule")?
                    && let Some(blobs) = schedule.optional(fork_name)?
                {
                    block.blob_update_fraction = blobs.field("baseFeeUpdateFraction")?.u64()?;
                }
                block.transactions.push(self::transaction(&transaction, &variant)?);
                let mut pre = pre.clone();
                for number in block.number.saturating_sub(BLOCK_HASHES)..block.number {
                    pre.set_block_hash(number, keccak256(number.to_string()));
                }
                tests.push(StateTest {
                    name: format!("{name} {fork_name} {index}"),
                    block,
                    pre,
                    exception: variant
                        .optional("expectException")?
                        .map(|node| node.text().map(str::to_owned))
                        .transpose()?,
                    logs_hash: variant.field("logs")?.hash()?,
                    state_root: variant.field("hash")?.hash()?,
                    post: state(&variant.field("state")?)?,
                });
            }
        }
    }
    Ok(tests)
}

fn state(node: &Node<'_>) -> Result<MemoryState, FolderError> {
    let mut state = MemoryState::new();
    for (address, account) in node.entries()? {
        let address = account.name_as_address(address)?;
        let code_hash = state.set_code(account.field("code")?.bytes()?);
        let (nonce, balance) = (account.field("nonce")?.u64()?, account.field("balance")?.u256()?);
        state.set_account(address, Account { nonce, balance, code_hash });
        for (slot, value) in account.field("storage")?.entries()? {
            state.set_storage(address, value.name_as_u256(slot)?, value.u256()?);
        }
    }
    Ok(state)
}

fn block(env: &Node<'_>, fork: Fork) -> Result<ReplayBlock, FolderError> {
    Ok(ReplayBlock {
        number: env.field("currentNumber")?.u64()?,
        beneficiary: env.field("currentCoinbase")?.address()?,
        timestamp_s: env.field("currentTimestamp")?.u64()?,
        gas_limit: env.field("currentGasLimit")?.u64()?,
        base_fee_wei: env.field("currentBaseFee")?.u64()?,
        difficulty: env.field("currentDifficulty")?.u256()?,
        prev_randao: env.field("currentRandom")?.u256()?.into(),
        excess_blob_gas: env
            .optional("currentExcessBlobGas")?
            .map(|node| node.u64())
            .transpose()?,
        ..ReplayBlock::empty(fork)
    })
}

/// The transaction of one variant; its type is that of the encoded transaction beside it.
fn transaction(node: &Node<'_>, variant: &Node<'_>) -> Result<ReplayTransaction, FolderError> {
    let indexes = variant.field("indexes")?;
    let chosen = |list: &str, index: &str| {
        let at = usize::try_from(indexes.field(index)?.u64()?).unwrap_or(usize::MAX);
        let list = node.field(list)?;
        list.items()?.nth(at).ok_or_else(|| list.wrong(format!("has no element {at}")))
    };
    let encoded = variant.field("txbytes")?.bytes()?;
    let tx_type = match encoded.first() {
        Some(byte @ ..0x80) => {
            TxType::try_from(*byte).map_err(|_| variant.wrong("is of an unknown type"))?
        }
        _ => TxType::Legacy,
    };
    let number = |name| match node.optional(name)? {
        Some(node) => node.u128().map(Some),
        None => Ok(None),
    };
    let to = node.field("to")?;
    Ok(ReplayTransaction {
        tx_type,
        sender: node.field("sender")?.address()?,
        nonce: node.field("nonce")?.u64()?,
        gas_limit: chosen("gasLimit", "gas")?.u64()?,
        max_fee_per_gas_wei: match number("maxFeePerGas")? {
            Some(fee) => fee,
            None => node.field("gasPrice")?.u128()?,
        },
        max_priority_fee_per_gas_wei: number("maxPriorityFeePerGas")?,
        to: match to.text()? {
            "" => TxKind::Create,
            _ => TxKind::Call(to.address()?),
        },
        value_wei: chosen("value", "value")?.u256()?,
        input: chosen("data", "data")?.bytes()?,
        chain_id: (tx_type != TxType::Legacy).then_some(1),
        access_list: match node.optional("accessLists")? {
            Some(_) => access_list(&chosen("accessLists", "data")?)?,
            None => AccessList::default(),
        },
        blob_versioned_hashes: match node.optional("blobVersionedHashes")? {
            Some(hashes) => hashes.items()?.map(|hash| hash.hash()).collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
        max_fee_per_blob_gas_wei: number("maxFeePerBlobGas")?.unwrap_or_default(),
        authorization_list: match node.optional("authorizationList")? {
            Some(list) => authorizations(&list)?,
            None => Vec::new(),
        },
    })
}
