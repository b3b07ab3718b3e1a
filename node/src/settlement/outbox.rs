//! What the node keeps of the outbox, so that withdrawals can be shown to L1 long after the state has moved on.
//!
//! The state is kept for the newest height only, and a withdrawal is claimed against an output that became final days
//! after its height. So of every height that may become the end of a batch the way to the outbox's account is kept
//! (some 4 KB), and of the outbox's storage every node there ever was:
//!
//! ```text
//!  executed ──▶ way to the account at h ──┬─ h ends a batch that is final on L1 ─▶ kept
//!                                         └─ h lies within one ─▶ dropped with it
//!           └─▶ nodes of the storage that are new ─▶ kept by hash: a few for each withdrawal
//! ```
//!
//! Together they are what `eth_getProof` answers from for old heights. Nothing here is believed by L1 or by who claims:
//! proofs are checked against the state root of the output.

use super::{book::Book, rows::PostedRow};
use crate::{
    member::MemberError,
    store::{Durability, Family, Store, Write},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{Decodable as _, Encodable as _, RlpDecodable, RlpEncodable};
use alloy_sol_types::SolEvent as _;
use blindfold_execution::{
    BlockRecord, ExecutedBlock,
    contracts::IOutbox,
    escrow::OUTBOX_ADDRESS,
    state::{Account, AccountProof, ParentState, ProofError, StateError, StorageProof},
};
use blindfold_settlement::withdrawal::{Withdrawal, account_of, trie};
use std::sync::Arc;

/// Heights without a batch on L1 whose way to the account is kept. If nothing is posted for longer, older ones go;
/// no withdrawal is lost by that, since batches to come prove it as well.
pub const MAX_UNPOSTED: u64 = 65_536;

/// Key prefixes of [`Family::Withdrawals`].
const BY_INDEX: u8 = 0;
const BY_SENDER: u8 = 1;
const BY_HEIGHT: u8 = 2;
/// Key prefixes of [`Family::OutboxProofs`].
const ACCOUNT: u8 = 0;
const NODE: u8 = 1;

/// A withdrawal and where it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithdrawalRow {
    /// As the outbox recorded it.
    pub withdrawal: Withdrawal,
    /// The height that executed it.
    pub height: u64,
    /// Hash of the inner transaction.
    pub transaction: B256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredWithdrawal {
    index: u64,
    sender: Address,
    to: Address,
    amount_wei: U256,
    height: u64,
    transaction: B256,
}

impl WithdrawalRow {
    /// The stored form: RLP of the fields.
    fn encode(&self) -> Vec<u8> {
        let Withdrawal { index, sender, to, amount_wei } = self.withdrawal;
        let (height, transaction) = (self.height, self.transaction);
        let mut out = Vec::new();
        StoredWithdrawal { index, sender, to, amount_wei, height, transaction }.encode(&mut out);
        out
    }

    /// Reads the stored form; nothing if it is damaged.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let row = StoredWithdrawal::decode(&mut bytes).ok().filter(|_| bytes.is_empty())?;
        let StoredWithdrawal { index, sender, to, amount_wei, height, transaction } = row;
        let withdrawal = Withdrawal { index, sender, to, amount_wei };
        Some(Self { withdrawal, height, transaction })
    }
}

/// The outbox, as far as this node keeps it.
#[derive(Clone, Debug)]
pub struct Outbox {
    store: Store,
    /// Whether the chain has one.
    exists: bool,
}

impl Outbox {
    /// Of the chain in `store`; a chain without settlement has none.
    pub fn new(store: Store, exists: bool) -> Self {
        Self { store, exists }
    }

    /// What is to be written with a block that was executed on top of `parent`.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn writes(
        &self,
        book: &Book,
        parent: &ParentState,
        block: &ExecutedBlock,
    ) -> Result<Vec<Write>, MemberError> {
        if !self.exists {
            return Ok(Vec::new());
        }
        let height = block.height();
        let mut writes = withdrawals(&block.record);
        let after = parent.extend(Arc::clone(&block.layer))?;
        let new = after.new_storage_nodes(OUTBOX_ADDRESS, |hash| {
            let known = self.store.has(Family::OutboxProofs, &node_key(hash));
            known.map_err(|error| StateError::Store(backend(&error)))
        })?;
        writes.extend(new.into_iter().map(|(hash, node)| {
            (Family::OutboxProofs, node_key(hash).to_vec(), Some(node.to_vec()))
        }));
        if may_end_a_batch(book, height)? {
            let proof = after.proof(OUTBOX_ADDRESS, &[]).map_err(unproven)?;
            let nodes = alloy_rlp::encode(proof.nodes);
            writes.push((Family::OutboxProofs, account_key(height).to_vec(), Some(nodes)));
        }
        if let Some(old) = height.checked_sub(MAX_UNPOSTED)
            && !ends_a_batch(book, old)?
        {
            writes.push((Family::OutboxProofs, account_key(old).to_vec(), None));
        }
        Ok(writes)
    }

    /// Drops the ways within batches that are final on L1.
    ///
    /// # Errors
    /// If the database fails.
    pub fn settle(&self, batches: &[PostedRow]) -> Result<(), MemberError> {
        if !self.exists {
            return Ok(());
        }
        for PostedRow { batch, .. } in batches {
            let within = batch.first_height..batch.last_height;
            let drop = |height| (Family::OutboxProofs, account_key(height).to_vec(), None);
            self.store.write(within.map(drop).collect(), Durability::Buffered)?;
        }
        Ok(())
    }

    /// Proves the outbox's account and some of its slots against the state root of `height`. Nothing if that height is
    /// not kept.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn proof(&self, height: u64, slots: &[B256]) -> Result<Option<AccountProof>, MemberError> {
        const DAMAGED: MemberError = MemberError::Damaged("proof of the outbox");
        let Some(bytes) = self.store.get(Family::OutboxProofs, &account_key(height))? else {
            return Ok(None);
        };
        let mut rest = bytes.as_slice();
        let nodes = Vec::<Bytes>::decode(&mut rest).map_err(|_| DAMAGED)?;
        let root = nodes.first().map(alloy_primitives::keccak256).ok_or(DAMAGED)?;
        let leaf = trie::value(root, alloy_primitives::keccak256(OUTBOX_ADDRESS), &nodes);
        let account = leaf.ok().flatten().and_then(|leaf| account_of(&leaf)).ok_or(DAMAGED)?;
        let storage = slots.iter().map(|slot| self.slot(account.storage_root, *slot));
        Ok(Some(AccountProof {
            address: OUTBOX_ADDRESS,
            account: Account {
                nonce: account.nonce,
                balance: account.balance,
                code_hash: account.code_hash,
            },
            storage_root: account.storage_root,
            nodes,
            storage: storage.collect::<Result<_, _>>()?,
        }))
    }

    fn slot(&self, storage_root: B256, slot: B256) -> Result<StorageProof, MemberError> {
        const DAMAGED: MemberError = MemberError::Damaged("storage of the outbox");
        let way = trie::walk(storage_root, alloy_primitives::keccak256(slot), |hash| {
            let node = self.store.get(Family::OutboxProofs, &node_key(hash));
            node.map_err(Failure::Store)?.map(Bytes::from).ok_or(Failure::Damaged)
        });
        let way = way.map_err(|failure| match failure {
            Failure::Store(error) => error.into(),
            Failure::Damaged => DAMAGED,
        })?;
        let value = match &way.value {
            Some(value) => U256::decode(&mut value.as_slice()).map_err(|_| DAMAGED)?,
            None => U256::ZERO,
        };
        Ok(StorageProof { slot: U256::from_be_bytes(slot.0), value, nodes: way.nodes })
    }

    /// The withdrawal with this number.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn withdrawal(&self, index: u64) -> Result<Option<WithdrawalRow>, MemberError> {
        let bytes = self.store.get(Family::Withdrawals, &index_key(index))?;
        let decode = |bytes: Vec<u8>| WithdrawalRow::decode(&bytes);
        bytes.map(|bytes| decode(bytes).ok_or(MemberError::Damaged("withdrawal"))).transpose()
    }

    /// Up to `limit` withdrawals of `sender`, by number, from number `first` on.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn sent_by(
        &self,
        sender: Address,
        first: u64,
        limit: usize,
    ) -> Result<Vec<WithdrawalRow>, MemberError> {
        const DAMAGED: MemberError = MemberError::Damaged("index of withdrawals");
        let from = sender_key(sender, first);
        let prefix = from.len() - 8;
        self.store
            .range(Family::Withdrawals, &from, limit)?
            .into_iter()
            .take_while(|(key, _)| key.get(..prefix) == Some(&from[..prefix]))
            .map(|(key, _)| {
                let index = key.get(prefix..).and_then(|index| index.try_into().ok());
                let index = index.map(u64::from_be_bytes).ok_or(DAMAGED)?;
                self.withdrawal(index)?.ok_or(DAMAGED)
            })
            .collect()
    }

    /// The first height above `height` that has a withdrawal, as far as this node has executed.
    ///
    /// # Errors
    /// If the database fails or is damaged.
    pub fn first_above(&self, height: u64) -> Result<Option<u64>, MemberError> {
        let Some(next) = height.checked_add(1) else { return Ok(None) };
        let found = self.store.range(Family::Withdrawals, &height_key(next), 1)?;
        let key = found.first().map(|(key, _)| key.as_slice());
        match key.and_then(<[u8]>::split_first) {
            Some((&BY_HEIGHT, height)) => {
                let height = height.try_into().map_err(|_| MemberError::Damaged("withdrawal"))?;
                Ok(Some(u64::from_be_bytes(height)))
            }
            _ => Ok(None),
        }
    }
}

/// Why a node of the storage is not had.
enum Failure {
    Store(crate::store::StoreError),
    Damaged,
}

impl From<trie::TrieFault> for Failure {
    fn from(_: trie::TrieFault) -> Self {
        Self::Damaged
    }
}

/// Whether a height could still be the end of a batch: it is not within one that is final.
fn may_end_a_batch(book: &Book, height: u64) -> Result<bool, MemberError> {
    let posted = book.of_height(height)?;
    Ok(posted.is_none_or(|posted| !posted.is_final || posted.row.batch.last_height == height))
}

/// Whether a height is the end of a batch that is final.
fn ends_a_batch(book: &Book, height: u64) -> Result<bool, MemberError> {
    let posted = book.of_height(height)?;
    Ok(posted.is_some_and(|posted| posted.is_final && posted.row.batch.last_height == height))
}

/// Rows for the withdrawals of a block.
fn withdrawals(record: &BlockRecord) -> Vec<Write> {
    let (height, mut writes) = (record.height(), Vec::new());
    for (transaction, receipt) in record.transactions.iter().zip(&record.receipts) {
        for log in receipt.logs.iter().filter(|log| log.address == OUTBOX_ADDRESS) {
            let Ok(event) = IOutbox::Recorded::decode_log(log) else { continue };
            let IOutbox::Recorded { index, sender, to, amountWei } = event.data;
            // The outbox counts from 0: nobody pays for 2^64.
            let Ok(index) = u64::try_from(index) else { continue };
            let withdrawal = Withdrawal { index, sender, to, amount_wei: amountWei };
            let row = WithdrawalRow { withdrawal, height, transaction: transaction.hash() };
            if writes.is_empty() {
                let first = Some(index.to_be_bytes().to_vec());
                writes.push((Family::Withdrawals, height_key(height).to_vec(), first));
            }
            writes.push((Family::Withdrawals, index_key(index).to_vec(), Some(row.encode())));
            writes.push((Family::Withdrawals, sender_key(sender, index), Some(Vec::new())));
        }
    }
    writes
}

fn backend(error: &crate::store::StoreError) -> blindfold_execution::state::StoreError {
    blindfold_execution::state::StoreError::Backend(error.to_string())
}

fn unproven(error: ProofError) -> MemberError {
    match error {
        ProofError::Store(error) => MemberError::State(error.into()),
        // No slot was asked for.
        ProofError::TooManySlots { .. } => MemberError::Damaged("state"),
    }
}

fn key<const LENGTH: usize>(prefix: u8, rest: &[u8]) -> [u8; LENGTH] {
    let mut key = [0; LENGTH];
    key[0] = prefix;
    key[1..].copy_from_slice(rest);
    key
}

fn account_key(height: u64) -> [u8; 9] {
    key(ACCOUNT, &height.to_be_bytes())
}

fn node_key(hash: B256) -> [u8; 33] {
    key(NODE, hash.as_slice())
}

fn index_key(index: u64) -> [u8; 9] {
    key(BY_INDEX, &index.to_be_bytes())
}

fn height_key(height: u64) -> [u8; 9] {
    key(BY_HEIGHT, &height.to_be_bytes())
}

fn sender_key(sender: Address, index: u64) -> Vec<u8> {
    [&[BY_SENDER], sender.as_slice(), &index.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::rows::PostedRow;
    use alloy_consensus::TxEip1559;
    use alloy_eips::eip2718::Encodable2718 as _;
    use alloy_primitives::TxKind;
    use alloy_sol_types::SolCall as _;
    use blindfold_execution::{
        BlockContext, Executor as _, SequentialExecutor, genesis_block, state::StateStore,
    };
    use blindfold_settlement::{
        batch::Batch,
        withdrawal::{OUTBOX, ProofFault, WithdrawalProof},
    };
    use blindfold_wire::{
        Block, ForcedItem, ForcedKind, OpenedBatch, OrderCommitment, SigningKey,
        genesis::GenesisAccount, testkit::TestCommittee,
    };

    const TO: Address = Address::repeat_byte(0x70);

    /// A chain that executes and keeps, without a network.
    struct Chain {
        _folder: tempfile::TempDir,
        committee: TestCommittee,
        store: Store,
        book: Book,
        outbox: Outbox,
        last: OrderCommitment,
        key: SigningKey,
        nonce: u64,
        /// State roots by height.
        roots: Vec<B256>,
    }

    impl Chain {
        fn new() -> Self {
            let key = SigningKey::random([3; 32]);
            let committee = TestCommittee::with(1, 1, |genesis| {
                genesis.settlement = Address::repeat_byte(0x5e);
                genesis.params = genesis.params.clone().settled();
                genesis.alloc = vec![GenesisAccount {
                    address: key.address(),
                    balance: U256::from(10u64.pow(19)),
                    nonce: 0,
                    code: Bytes::new(),
                    storage: Default::default(),
                }];
            });
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path(), [7; 32]).unwrap();
            let genesis = genesis_block(&committee.genesis).unwrap();
            let writes = genesis.writes().iter().map(|(column, key, value)| {
                (Family::State(column), key.to_vec(), value.map(<[u8]>::to_vec))
            });
            store.write(writes.collect(), Durability::Buffered).unwrap();
            Self {
                _folder: folder,
                book: Book::new(store.clone()),
                outbox: Outbox::new(store.clone(), true),
                store,
                last: Block::genesis(&committee.genesis).commitment.commitment,
                committee,
                key,
                nonce: 0,
                roots: vec![genesis.record.state_root()],
            }
        }

        /// A height with so many withdrawals, by transactions that were forced.
        fn run(&mut self, withdrawals: u64) {
            let items = (0..withdrawals).map(|at| {
                let transaction = TxEip1559 {
                    chain_id: self.committee.genesis.chain_id,
                    nonce: self.nonce + at,
                    gas_limit: 120_000,
                    max_fee_per_gas: 10_000_000_000,
                    max_priority_fee_per_gas: 0,
                    to: TxKind::Call(OUTBOX_ADDRESS),
                    value: U256::from(100 + at),
                    access_list: Default::default(),
                    input: IOutbox::withdrawCall { to: TO }.abi_encode().into(),
                };
                ForcedItem {
                    index: self.nonce + at,
                    kind: ForcedKind::Plain as u8,
                    sender: Address::ZERO,
                    data: crate::cli::tx::sign(transaction, &self.key).encoded_2718().into(),
                }
            });
            let items: Vec<_> = items.collect();
            self.nonce += withdrawals;
            let (commitment, span) = self.committee.forcing(&self.last, items, &[]);
            self.last = commitment.clone();
            let batch = OpenedBatch::new(self.committee.certify(commitment), Vec::new()).unwrap();
            let context =
                BlockContext { beneficiary: Address::repeat_byte(1), forced: Arc::new(span) };
            let state: Arc<dyn StateStore> = Arc::new(self.store.clone());
            let parent = ParentState::open(state).unwrap();
            let executor = SequentialExecutor::new(&self.committee.genesis);
            let block = executor.execute(&parent, &batch, &context).unwrap();
            assert_eq!(block.record.transactions.len() as u64, withdrawals);
            let mut writes = self.outbox.writes(&self.book, &parent, &block).unwrap();
            writes.extend(block.writes().iter().map(|(column, key, value)| {
                (Family::State(column), key.to_vec(), value.map(<[u8]>::to_vec))
            }));
            self.store.write(writes, Durability::Buffered).unwrap();
            self.roots.push(block.record.state_root());
        }

        /// What the kept proof of a height says of a withdrawal; nothing if none is kept.
        fn says(&self, height: u64, index: u64) -> Option<Result<(), ProofFault>> {
            let withdrawal = self.outbox.withdrawal(index).unwrap().unwrap().withdrawal;
            let proof = self.outbox.proof(height, &[withdrawal.slot()]).unwrap()?;
            assert_eq!(proof.storage[0].value.is_zero(), proof.storage[0].value != U256::ONE);
            let proof = WithdrawalProof {
                account: proof.nodes,
                storage: proof.storage.into_iter().next().unwrap().nodes,
            };
            Some(proof.check(self.roots[height as usize], &withdrawal))
        }

        fn settle(&self, index: u64, first_height: u64, last_height: u64) {
            let batch = Batch { index, first_height, last_height, ..Batch::default() };
            let row = PostedRow { batch, transaction: B256::ZERO };
            self.book.settle(std::slice::from_ref(&row)).unwrap();
            self.outbox.settle(&[row]).unwrap();
        }
    }

    #[test]
    fn withdrawals_are_proven_long_after_their_height() {
        assert_eq!(OUTBOX, OUTBOX_ADDRESS);
        let mut chain = Chain::new();
        // Heights 1 to 9.
        let sent = [2, 0, 1, 0, 0, 13, 1, 0, 0];
        sent.into_iter().for_each(|count| chain.run(count));
        let sent_up_to = |height: usize| sent[..height].iter().sum::<u64>();
        for height in 1..=9 {
            for index in 0..17 {
                let expected = match index < sent_up_to(height as usize) {
                    true => Ok(()),
                    false => Err(ProofFault::NotRecorded),
                };
                assert_eq!(chain.says(height, index), Some(expected), "{index} at {height}");
            }
        }
        // Of a batch that is final only the end is kept.
        chain.settle(1, 1, 3);
        chain.settle(2, 4, 4);
        let kept = |chain: &Chain| {
            (1..)
                .take(chain.roots.len() - 1)
                .filter(|height| chain.says(*height, 0).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&chain), [3, 4, 5, 6, 7, 8, 9]);
        // One who is behind keeps no more than the others.
        chain.settle(3, 5, 12);
        [1, 1, 1, 1].into_iter().for_each(|count| chain.run(count));
        assert_eq!(kept(&chain), [3, 4, 12, 13]);
        assert_eq!(chain.says(12, 19), Some(Ok(())));
        assert_eq!(chain.says(12, 20), Some(Err(ProofFault::NotRecorded)));
    }

    #[test]
    fn withdrawals_are_found_by_number_sender_and_height() {
        let mut chain = Chain::new();
        [0, 3, 0, 2].into_iter().for_each(|count| chain.run(count));
        let row = chain.outbox.withdrawal(3).unwrap().unwrap();
        let (sender, amount_wei) = (chain.key.address(), U256::from(100));
        assert_eq!(row.withdrawal, Withdrawal { index: 3, sender, to: TO, amount_wei });
        assert_eq!(row.height, 4);
        assert_eq!(chain.outbox.withdrawal(5).unwrap(), None);
        let indices = |sender, first, limit| -> Vec<_> {
            let rows = chain.outbox.sent_by(sender, first, limit).unwrap();
            rows.iter().map(|row| row.withdrawal.index).collect()
        };
        assert_eq!(indices(sender, 0, 100), [0, 1, 2, 3, 4]);
        assert_eq!(indices(sender, 2, 2), [2, 3]);
        assert_eq!(indices(sender, 5, 9), [0; 0]);
        assert_eq!(indices(TO, 0, 9), [0; 0]);
        let above: Vec<_> =
            (0..6).map(|height| chain.outbox.first_above(height).unwrap()).collect();
        assert_eq!(above, [Some(2), Some(2), Some(4), Some(4), None, None]);
        assert_eq!(chain.outbox.first_above(u64::MAX).unwrap(), None);
    }

    #[test]
    fn damage_is_noticed() {
        let mut chain = Chain::new();
        chain.run(2);
        let slot = chain.outbox.withdrawal(0).unwrap().unwrap().withdrawal.slot();
        let proof = chain.outbox.proof(1, &[slot]).unwrap().unwrap();
        let write = |key: Vec<u8>, value: Option<Vec<u8>>| {
            let write = vec![(Family::OutboxProofs, key, value)];
            chain.store.write(write, Durability::Buffered).unwrap();
        };
        write(node_key(proof.storage_root).to_vec(), None);
        assert!(matches!(chain.outbox.proof(1, &[slot]), Err(MemberError::Damaged(_))));
        write(account_key(1).to_vec(), Some(vec![0xc0]));
        assert!(matches!(chain.outbox.proof(1, &[]), Err(MemberError::Damaged(_))));
        assert_eq!(chain.outbox.proof(2, &[]).unwrap(), None);
    }

    #[test]
    fn a_chain_without_settlement_keeps_nothing() {
        let mut chain = Chain::new();
        chain.outbox = Outbox::new(chain.store.clone(), false);
        chain.run(1);
        assert_eq!(chain.outbox.proof(1, &[]).unwrap(), None);
        assert_eq!(chain.outbox.withdrawal(0).unwrap(), None);
    }
}
