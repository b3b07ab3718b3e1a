//! A chain of one member, in memory.

use std::sync::Arc;

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use blindfold_wire::testkit::TestCommittee;
use blindfold_wire::{
    Block, CheckedEnvelope, EnvelopeHeader, ForcedItem, ForcedKind, ForcedSpan, Genesis,
    GenesisAccount, OpenedBatch, Opening, OrderCommitment, Prices, SigningKey, fees,
};

use crate::escrow::ESCROW_ADDRESS;
use crate::state::tests::flat_root;
use crate::state::{Column, MemoryStore, ParentState, StateStore};
use crate::{
    BlockContext, ExecutedBlock, Executor, ForcedVerdict, Outcome, ParallelExecutor,
    SequentialExecutor, genesis_block,
};

pub(super) const ETHER: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);
pub(super) const GWEI: u128 = 1_000_000_000;
pub(super) const BENEFICIARY: Address = Address::repeat_byte(0xbe);
pub(super) const SINK: Address = Address::repeat_byte(0x51);

pub(super) fn key(index: u8) -> SigningKey {
    SigningKey::random([index; 32])
}

pub(super) fn sign(key: &SigningKey, digest: B256) -> Signature {
    let signature = key.sign_digest(digest);
    Signature::new(
        U256::from_be_bytes(signature.r),
        U256::from_be_bytes(signature.s),
        signature.y_parity,
    )
}

/// A transaction as an ordinary wallet would sign it.
pub(super) struct Tx {
    pub(super) inner: TxEip1559,
}

impl Tx {
    pub(super) fn new(net: &Net, nonce: u64, to: impl Into<TxKind>) -> Self {
        Self {
            inner: TxEip1559 {
                chain_id: net.genesis().chain_id,
                nonce,
                gas_limit: 100_000,
                max_fee_per_gas: 5 * GWEI,
                max_priority_fee_per_gas: GWEI,
                to: to.into(),
                value: U256::ZERO,
                access_list: Default::default(),
                input: Bytes::new(),
            },
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut TxEip1559)) -> Self {
        change(&mut self.inner);
        self
    }

    pub(super) fn data(self, data: impl Into<Bytes>) -> Self {
        self.with(|tx| tx.input = data.into())
    }

    pub(super) fn gas(self, gas: u64) -> Self {
        self.with(|tx| tx.gas_limit = gas)
    }

    pub(super) fn value(self, value: U256) -> Self {
        self.with(|tx| tx.value = value)
    }

    pub(super) fn sign(self, key: &SigningKey) -> TxEnvelope {
        let signature = sign(key, self.inner.signature_hash());
        self.inner.into_signed(signature).into()
    }
}

/// What a test puts into an envelope.
pub(super) struct Item {
    pub(super) envelope: CheckedEnvelope,
    pub(super) opening: Opening,
}

pub(super) struct Net {
    pub(super) committee: TestCommittee,
    pub(super) store: Arc<MemoryStore>,
    pub(super) state: ParentState,
    pub(super) parent: OrderCommitment,
    pub(super) executor: SequentialExecutor,
    parallel: Vec<ParallelExecutor>,
    /// Headers by height.
    pub(super) headers: Vec<Header>,
    /// Next envelope nonce by payer key index.
    payer_nonces: [u64; 16],
    /// Items that the next height consumes.
    forced: Vec<ForcedItem>,
    next_item: u64,
    /// Base fee that heights name, wei per gas.
    pub(super) l1_base_fee: u64,
}

impl Net {
    /// Keys 1 to 4 hold a thousand ether each, and ten more in escrow.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(adjust: impl FnOnce(&mut Genesis)) -> Self {
        let committee = TestCommittee::with(1, 7, |genesis| {
            for index in 1..=4 {
                genesis.alloc.push(GenesisAccount {
                    address: key(index).address(),
                    balance: ETHER * U256::from(1_000),
                    nonce: 0,
                    code: Bytes::new(),
                    storage: Default::default(),
                });
                genesis.escrow.push((key(index).address(), ETHER * U256::from(10)));
            }
            adjust(genesis);
            genesis.alloc.sort_by_key(|account| account.address);
            genesis.escrow.sort_by_key(|(payer, _)| *payer);
        });
        committee.genesis.validate().expect("valid genesis");
        let store = Arc::new(MemoryStore::new());
        let block = genesis_block(&committee.genesis).expect("valid genesis");
        store.apply(block.writes()).expect("memory");
        let state = ParentState::open(Arc::clone(&store) as Arc<dyn StateStore>).expect("written");
        assert_eq!(flat_root(&store), state.tip().state_root, "genesis root");
        assert_eq!(block.record.hash, state.tip().block_hash);
        Self {
            parent: Block::genesis(&committee.genesis).commitment.commitment,
            executor: SequentialExecutor::new(&committee.genesis),
            parallel: [1, 2, 4]
                .map(|threads| ParallelExecutor::new(&committee.genesis, threads))
                .into(),
            headers: vec![block.record.header.clone()],
            store,
            state,
            committee,
            payer_nonces: [0; 16],
            forced: Vec::new(),
            next_item: 0,
            l1_base_fee: 0,
        }
    }

    pub(super) fn genesis(&self) -> &Genesis {
        &self.committee.genesis
    }

    pub(super) fn header(&mut self, payer: u8, gas_class: u64) -> EnvelopeHeader {
        let nonce = &mut self.payer_nonces[usize::from(payer)];
        *nonce += 1;
        EnvelopeHeader { gas_limit: gas_class, ..self.committee.header(*nonce - 1) }
    }

    /// Seals a message; the smallest class for `gas`.
    pub(super) fn seal(&mut self, payer: u8, gas: u64, message: &[u8]) -> Item {
        let class = blindfold_wire::gas_class(gas).expect("within the largest class");
        let header = self.header(payer, class);
        let envelope = self.committee.envelope(&key(payer), header, message);
        let opening = Opening::Opened { seed: [0; 32], message: message.to_vec() };
        Item { envelope, opening }
    }

    pub(super) fn seal_tx(&mut self, payer: u8, tx: &TxEnvelope) -> Item {
        use alloy_consensus::Transaction as _;
        self.seal(payer, tx.gas_limit(), &tx.encoded_2718())
    }

    /// Puts an item into the queue, which the next height consumes.
    pub(super) fn force(&mut self, kind: u8, data: impl Into<Bytes>) {
        let sender = Address::repeat_byte(0xf0);
        self.forced.push(ForcedItem { index: self.next_item, kind, sender, data: data.into() });
        self.next_item += 1;
    }

    /// A deposit or reimbursement, as its contract would queue it.
    pub(super) fn credit(&mut self, kind: ForcedKind, to: Address, wei: U256) {
        self.force(kind as u8, [to.as_slice(), &wei.to_be_bytes::<32>()].concat());
    }

    /// The next height, ordered and opened.
    pub(super) fn next_batch(&self, items: &[Item]) -> (OpenedBatch, BlockContext) {
        let envelopes: Vec<_> = items.iter().map(|item| item.envelope.clone()).collect();
        let (commitment, forced) =
            self.committee.forcing(&self.parent, self.forced.clone(), &envelopes);
        let commitment = OrderCommitment { l1_base_fee: self.l1_base_fee, ..commitment };
        (self.batch(&commitment, items), context(forced))
    }

    /// Executes without writing.
    pub(super) fn execute(&self, items: &[Item]) -> (OrderCommitment, ExecutedBlock) {
        let (batch, context) = self.next_batch(items);
        let commitment = batch.commitment().clone();
        let block = self.executor.execute(&self.state, &batch, &context).expect("executes");
        // Everything any test executes, it executes in parallel, too.
        for (seed, parallel) in (0..).zip(&self.parallel) {
            let parallel = parallel.clone().forced(seed ^ commitment.height);
            let other = parallel.execute(&self.state, &batch, &context).expect("executes");
            assert_eq!(other, block, "{parallel:?}");
        }
        (commitment, block)
    }

    /// What `commitment` orders, certified and opened.
    pub(super) fn batch(&self, commitment: &OrderCommitment, items: &[Item]) -> OpenedBatch {
        let certified = self.committee.certify(commitment.clone());
        let items =
            items.iter().map(|item| (item.envelope.clone(), item.opening.clone())).collect();
        OpenedBatch::new(certified, items).expect("as ordered")
    }

    /// Executes, writes, and checks what must hold for every block.
    pub(super) fn run(&mut self, items: Vec<Item>) -> ExecutedBlock {
        let before = self.total_wei();
        let (commitment, block) = self.execute(&items);
        let record = &block.record;
        super::stateless::check(self, &items, &block);
        self.forced.clear();
        self.headers.push(record.header.clone());
        self.store.apply(block.writes()).expect("memory");
        self.state =
            self.state.extend(Arc::clone(&block.layer)).expect("next").prune(block.height());
        self.parent = commitment;

        assert_eq!(flat_root(&self.store), record.state_root(), "recomputed root");
        assert_eq!(self.state.tip().block_hash, record.hash);
        assert_eq!(record.header.hash_slow(), record.hash);
        assert_eq!(record.commitment, self.parent.digest());
        assert_eq!(record.header.extra_data.as_ref(), self.parent.digest().as_slice());
        assert_eq!(record.outcomes.len(), items.len());
        assert_eq!(record.receipts.len(), record.transactions.len());
        let base_fee = U256::from(record.header.base_fee_per_gas.expect("London"));
        let burnt = base_fee * U256::from(record.header.gas_used);
        assert_eq!(self.total_wei() + burnt, before + minted(&block), "wei is conserved");
        assert_eq!(crate::BlockRecord::decode(&record.encode()).as_ref(), Ok(record.as_ref()));
        block
    }

    /// Executes transactions, each in an envelope of the payer with the same key.
    pub(super) fn run_txs(&mut self, txs: &[(u8, TxEnvelope)]) -> ExecutedBlock {
        let items = txs.iter().map(|(payer, tx)| self.seal_tx(*payer, tx)).collect();
        self.run(items)
    }

    /// What an envelope costs when its transaction uses `used_gas`.
    pub(super) fn charge(&self, envelope: &CheckedEnvelope, used_gas: u64) -> U256 {
        self.charge_and_posting(envelope, used_gas).wei
    }

    pub(super) fn charge_and_posting(
        &self,
        envelope: &CheckedEnvelope,
        used_gas: u64,
    ) -> fees::Charge {
        let params = &self.genesis().params;
        let prices = Prices { base_fee: params.initial_base_fee, l1_base_fee: self.l1_base_fee };
        fees::charge(params, envelope.header(), envelope.size_bytes(), prices, used_gas)
    }

    pub(super) fn balance(&self, address: Address) -> U256 {
        self.state.account(address).expect("memory").unwrap_or_default().balance
    }

    pub(super) fn nonce(&self, address: Address) -> u64 {
        self.state.account(address).expect("memory").unwrap_or_default().nonce
    }

    pub(super) fn escrow_wei(&self, payer: u8) -> U256 {
        let height = self.state.tip().height;
        self.state.escrow_at(height, key(payer).address()).expect("tip").0
    }

    pub(super) fn escrow_nonce(&self, payer: u8) -> u64 {
        let height = self.state.tip().height;
        self.state.escrow_at(height, key(payer).address()).expect("tip").1
    }

    fn total_wei(&self) -> U256 {
        let accounts = self.store.entries(Column::Accounts).expect("memory");
        let total = accounts
            .iter()
            .map(|(address, _)| self.balance(Address::from_slice(address)))
            .fold(U256::ZERO, |sum, balance| sum + balance);
        assert!(self.balance(ESCROW_ADDRESS) <= total);
        total
    }
}

pub(super) fn context(forced: ForcedSpan) -> BlockContext {
    BlockContext { beneficiary: BENEFICIARY, forced: Arc::new(forced) }
}

/// What came from L1, in wei.
fn minted(block: &ExecutedBlock) -> U256 {
    let minted = block.record.forced.iter().map(|outcome| match outcome.verdict {
        ForcedVerdict::Credited { wei, .. } if outcome.kind != ForcedKind::Reimbursement as u8 => {
            wei
        }
        _ => U256::ZERO,
    });
    minted.sum()
}

/// The only outcome of a block.
pub(super) fn only(block: &ExecutedBlock) -> Outcome {
    assert_eq!(block.record.outcomes.len(), 1);
    block.record.outcomes[0]
}
