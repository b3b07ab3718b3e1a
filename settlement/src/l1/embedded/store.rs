//! The chain as bytes: snapshots, and a journal of what happened since.
//!
//! The caller keeps both; this module only knows their form. A journal entry holds a block's header and
//! transactions, or how many blocks were dropped. Blocks are run again when a journal is read, and must
//! come out with the same hash.
//!
//! ```text
//! snapshot  "BF-L1-SNAPSHOT" ‖ version, 2 bytes ‖ keccak256(payload) ‖ payload (RLP)
//! journal   entry*
//! entry     length, 4 bytes ‖ keccak256(length)[..4] ‖ keccak256(payload)[..8] ‖ payload (RLP)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_consensus::{Header, ReceiptEnvelope, TxEnvelope, transaction::SignerRecoverable as _};
use alloy_eips::{
    eip2718::{Decodable2718 as _, Encodable2718 as _},
    eip7594::BlobTransactionSidecarVariant,
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{Decodable as _, Encodable as _, RlpDecodable, RlpEncodable};

use super::{
    Config, RestoreError,
    block::{Block, Mined},
    chain::{
        Carried, Chain, Event, MAX_BLOBS, MAX_BLOCK_TRANSACTIONS, MAX_BLOCKS, MAX_REORG_DEPTH,
    },
    pool::{Pooled, join, split},
    state::{Account, AccountUndo, Info, State, Undo},
};

const MAGIC: &[u8; 14] = b"BF-L1-SNAPSHOT";

/// Version of both formats.
const VERSION: u16 = 1;

/// Largest snapshot that is read, in bytes.
pub const MAX_SNAPSHOT_BYTES: usize = 1 << 30;

/// Largest journal entry, in bytes: a block of nine blobs and 60 million gas of calldata.
pub const MAX_ENTRY_BYTES: usize = 16 << 20;

const ENTRY_HEAD: usize = 16;

#[derive(RlpEncodable, RlpDecodable)]
struct SnapshotForm {
    chain_id: u64,
    genesis: B256,
    reorgs: u64,
    accounts: Vec<AccountForm>,
    codes: Vec<Bytes>,
    blocks: Vec<BlockForm>,
    undos: Vec<UndoForm>,
    blobs: Vec<CarriedForm>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct SlotForm {
    slot: U256,
    value: U256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct AccountForm {
    address: Address,
    info: Info,
    storage: Vec<SlotForm>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct BlockForm {
    header: Header,
    /// EIP-2718, without blobs.
    transactions: Vec<Bytes>,
    receipts: Vec<Bytes>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct UndoForm {
    accounts: Vec<AccountUndoForm>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct AccountUndoForm {
    address: Address,
    /// Nothing, or what there was.
    info: Vec<Info>,
    storage: Vec<SlotForm>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct CarriedForm {
    block: u64,
    transaction: B256,
    sidecar: BlobTransactionSidecarVariant,
}

#[derive(RlpEncodable, RlpDecodable)]
struct EventForm {
    /// Blocks dropped; 0 for a block that was mined.
    dropped: u64,
    /// The header of a block that was mined.
    header: Vec<Header>,
    /// EIP-2718, with blobs.
    transactions: Vec<Bytes>,
}

fn slots<'a>(storage: impl IntoIterator<Item = (&'a U256, &'a U256)>) -> Vec<SlotForm> {
    let mut slots: Vec<_> =
        storage.into_iter().map(|(slot, value)| SlotForm { slot: *slot, value: *value }).collect();
    slots.sort_unstable_by_key(|form| form.slot);
    slots
}

/// The whole chain but the pool: what waits there is lost with the process, as with any node.
pub(super) fn snapshot(chain: &Chain, genesis: B256) -> Vec<u8> {
    let mut accounts: Vec<_> = chain
        .state
        .accounts
        .iter()
        .map(|(address, account)| AccountForm {
            address: *address,
            info: account.info,
            storage: slots(&account.storage),
        })
        .collect();
    accounts.sort_unstable_by_key(|form| form.address);
    let mut codes: Vec<_> =
        chain.state.codes.iter().map(|(hash, code)| (*hash, code.original_bytes())).collect();
    codes.sort_unstable_by_key(|(hash, _)| *hash);
    let blocks = chain.blocks.iter().map(|block| BlockForm {
        header: block.header.clone(),
        transactions: block.transactions.iter().map(|one| one.tx.encoded_2718().into()).collect(),
        receipts: block.transactions.iter().map(|one| one.receipt.encoded_2718().into()).collect(),
    });
    let undos = chain.undos.iter().map(|undo| UndoForm {
        accounts: undo
            .iter()
            .map(|(address, before)| AccountUndoForm {
                address: *address,
                info: before.info.into_iter().collect(),
                storage: slots(&before.storage),
            })
            .collect(),
    });
    let blobs = chain.blobs.iter().map(|carried| CarriedForm {
        block: carried.block,
        transaction: carried.transaction,
        sidecar: BlobTransactionSidecarVariant::clone(&carried.sidecar),
    });
    let form = SnapshotForm {
        chain_id: chain.config.chain_id,
        genesis,
        reorgs: chain.reorgs,
        accounts,
        codes: codes.into_iter().map(|(_, code)| code).collect(),
        blocks: blocks.collect(),
        undos: undos.collect(),
        blobs: blobs.collect(),
    };
    let mut payload = Vec::new();
    form.encode(&mut payload);
    let mut out = Vec::with_capacity(MAGIC.len() + 34 + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(keccak256(&payload).as_slice());
    out.extend_from_slice(&payload);
    out
}

/// Reads a snapshot; `fresh` is the chain that `config` begins with.
pub(super) fn restore(bytes: &[u8], config: Config, fresh: B256) -> Result<Chain, RestoreError> {
    let damaged = RestoreError::Damaged;
    if bytes.len() > MAX_SNAPSHOT_BYTES {
        return Err(damaged("it is too large"));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(damaged("it does not begin like a snapshot"))?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(damaged("it is cut off"))?;
    let version = u16::from_be_bytes(*version);
    if version != VERSION {
        return Err(RestoreError::Version { expected: VERSION, got: version });
    }
    let (hash, payload) = rest.split_first_chunk::<32>().ok_or(damaged("it is cut off"))?;
    if keccak256(payload) != *hash {
        return Err(damaged("its checksum is wrong"));
    }
    let mut input = payload;
    let form = SnapshotForm::decode(&mut input).map_err(|_| damaged("it is not canonical RLP"))?;
    if !input.is_empty() {
        return Err(damaged("bytes follow its end"));
    }
    if form.chain_id != config.chain_id || form.genesis != fresh {
        return Err(RestoreError::OtherChain);
    }
    chain(form, config)
}

fn chain(form: SnapshotForm, config: Config) -> Result<Chain, RestoreError> {
    let damaged = RestoreError::Damaged;
    if form.blocks.is_empty() || form.blocks.len() > MAX_BLOCKS {
        return Err(damaged("its number of blocks is out of range"));
    }
    if form.undos.len() > MAX_REORG_DEPTH.min(form.blocks.len()) {
        return Err(damaged("its number of undos is out of range"));
    }
    if form.blobs.len() > MAX_BLOBS {
        return Err(damaged("it has too many blobs"));
    }
    let mut state = State::default();
    for account in form.accounts {
        let storage = account.storage.into_iter().map(|form| (form.slot, form.value)).collect();
        state.accounts.insert(account.address, Account { info: account.info, storage });
    }
    for code in form.codes {
        state.put_code(code);
    }
    let mut blocks: VecDeque<Block> = VecDeque::with_capacity(form.blocks.len());
    for form in form.blocks {
        let block = block(form)?;
        let linked = blocks.back().is_none_or(|parent| {
            block.header.parent_hash == parent.hash
                && Some(block.header.number) == parent.header.number.checked_add(1)
        });
        if !linked {
            return Err(damaged("its blocks are not linked"));
        }
        blocks.push_back(block);
    }
    let undos = form.undos.into_iter().map(|form| {
        let accounts = form.accounts.into_iter().map(|form| {
            let storage = form.storage.into_iter().map(|form| (form.slot, form.value)).collect();
            (form.address, AccountUndo { info: form.info.first().copied(), storage })
        });
        accounts.collect::<Undo>()
    });
    let blobs = form.blobs.into_iter().map(|form| Carried {
        block: form.block,
        transaction: form.transaction,
        sidecar: Arc::new(form.sidecar),
    });
    Ok(Chain::assemble(config, state, blocks, undos.collect(), blobs.collect(), form.reorgs))
}

fn block(form: BlockForm) -> Result<Block, RestoreError> {
    let damaged = RestoreError::Damaged;
    if form.transactions.len() != form.receipts.len() {
        return Err(damaged("a block has not as many receipts as transactions"));
    }
    let (mut cumulative, mut transactions) = (0u64, Vec::with_capacity(form.receipts.len()));
    for (raw, receipt) in form.transactions.iter().zip(&form.receipts) {
        let tx = TxEnvelope::decode_2718_exact(raw)
            .map_err(|_| damaged("a transaction is not decodable"))?;
        let sender = tx.recover_signer().map_err(|_| damaged("a transaction has no sender"))?;
        let receipt = ReceiptEnvelope::decode_2718_exact(receipt)
            .map_err(|_| damaged("a receipt is not decodable"))?;
        let gas_used = receipt
            .cumulative_gas_used()
            .checked_sub(cumulative)
            .ok_or(damaged("gas of receipts does not add up"))?;
        cumulative = receipt.cumulative_gas_used();
        transactions.push(Mined { tx, sender, receipt, gas_used });
    }
    Ok(Block::new(form.header, transactions))
}

/// A journal entry.
pub(super) fn entry(event: &Event) -> Vec<u8> {
    let form = match event {
        Event::Mined { header, transactions } => EventForm {
            dropped: 0,
            header: vec![header.clone()],
            transactions: transactions
                .iter()
                .map(|pooled| {
                    let sidecar = pooled.sidecar.as_deref().cloned();
                    join(pooled.tx.clone(), sidecar).encoded_2718().into()
                })
                .collect(),
        },
        Event::Dropped { depth } => {
            EventForm { dropped: *depth, header: Vec::new(), transactions: Vec::new() }
        }
    };
    let mut payload = Vec::new();
    form.encode(&mut payload);
    let mut out = Vec::with_capacity(ENTRY_HEAD + payload.len());
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&keccak256(length)[..4]);
    out.extend_from_slice(&keccak256(&payload)[..8]);
    out.extend_from_slice(&payload);
    out
}

/// Reads a journal: its events, and the length of what is whole. A last entry that was not written to
/// its end never happened, since nobody saw it before it was written; one that is damaged further
/// up did, and then the journal is refused.
pub(super) fn entries(bytes: &[u8]) -> Result<(Vec<Event>, usize), RestoreError> {
    let (mut events, mut rest) = (Vec::new(), bytes);
    while let Some((head, after)) = rest.split_first_chunk::<ENTRY_HEAD>() {
        let damaged = RestoreError::Journal { offset: bytes.len() - rest.len() };
        let (length, checks) = head.split_at(4);
        let (length_check, payload_check) = checks.split_at(4);
        if keccak256(length)[..4] != *length_check {
            // A file that was made longer but not filled before the power went ends in zeros.
            if rest.iter().all(|byte| *byte == 0) {
                break;
            }
            return Err(damaged);
        }
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        if keccak256(payload)[..8] != *payload_check {
            if after.is_empty() {
                break;
            }
            return Err(damaged);
        }
        events.push(event(payload).ok_or(damaged)?);
        rest = after;
    }
    Ok((events, bytes.len() - rest.len()))
}

fn event(mut payload: &[u8]) -> Option<Event> {
    let form = EventForm::decode(&mut payload).ok()?;
    if !payload.is_empty() || form.transactions.len() > MAX_BLOCK_TRANSACTIONS {
        return None;
    }
    match (form.dropped, <[Header; 1]>::try_from(form.header)) {
        (0, Ok([header])) => {
            let transactions = form.transactions.iter().map(|raw| {
                let tx = TxEnvelope::decode_2718_exact(raw).ok()?;
                let sender = tx.recover_signer().ok()?;
                let (tx, sidecar) = split(tx);
                Some(Pooled::trusted(tx, sender, sidecar))
            });
            Some(Event::Mined { header, transactions: transactions.collect::<Option<_>>()? })
        }
        (depth, Err(headers))
            if depth > 0 && headers.is_empty() && form.transactions.is_empty() =>
        {
            Some(Event::Dropped { depth })
        }
        _ => None,
    }
}
