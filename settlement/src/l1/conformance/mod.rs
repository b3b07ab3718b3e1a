//! One suite over all back ends: what the poster, the watcher and the auditor rely on.
//!
//! It runs where the chain is for tests ([`L1::control`]), makes its own blocks, and needs no runtime and
//! no clock. Every case measures the gas of what it does; [`run`] returns the measurements, so that two
//! back ends can be compared to the last unit.
//!
//! A back end is fit if it begins with [`funded`] accounts, mines only on demand, and has not been used.

mod cases;
mod contracts;
mod curve;
mod probe;

use std::collections::BTreeMap;

use alloy_eips::{BlockId, BlockNumberOrTag, eip7594::BlobTransactionSidecarVariant};
use alloy_network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _};
use alloy_primitives::{Address, B256, Bytes, U256, b256};
use alloy_provider::{DynProvider, Provider as _};
use alloy_rpc_types_eth::{TransactionReceipt, TransactionRequest};
use alloy_transport::TransportError;
use blindfold_wire::SigningKey;

use super::{L1, L1Signer};

/// Chain id of the back ends that the suite runs on.
pub const CHAIN_ID: u64 = 31_337;

/// Time of block 0, in seconds since the Unix epoch.
pub const GENESIS_S: u64 = 1_700_000_000;

/// Keys of the accounts that have funds: the first two of the well-known development mnemonic, so that
/// anvil has them too.
const KEYS: [B256; 2] = [
    b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    b256!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
];

/// What the funded accounts have at least, in wei.
pub const FUNDS: U256 = U256::from_limbs([10_000_000_000_000_000_000, 0, 0, 0]);

/// Gas by what used it.
pub type Gas = BTreeMap<String, u64>;

/// The keys of the funded accounts.
#[must_use]
pub fn funded() -> Vec<SigningKey> {
    KEYS.iter().filter_map(|key| SigningKey::from_bytes(key).ok()).collect()
}

/// Runs every case, in order, on one chain.
///
/// # Panics
/// When the back end does not do what is asked of it.
pub async fn run(l1: &dyn L1) -> Gas {
    let mut bench = Bench::new(l1);
    cases::deploys_and_calls(&mut bench).await;
    cases::events_are_found(&mut bench).await;
    cases::reverts_say_why(&mut bench).await;
    cases::nonces_and_replacement(&mut bench).await;
    cases::a_higher_fee_gets_through(&mut bench).await;
    cases::base_fee_moves(&mut bench).await;
    cases::blobs_go_in_and_come_out(&mut bench).await;
    cases::gas_limits_are_kept(&mut bench).await;
    cases::heads_are_in_order(&mut bench).await;
    cases::reorgs(&mut bench).await;
    curve::precompiles(&mut bench).await;
    contracts::settlement(&mut bench).await;
    bench.gas
}

/// Lets a chain that is mined on demand go on, by making the next block.
pub struct Miner<'a>(pub &'a dyn L1);

#[async_trait::async_trait]
impl crate::deploy::Pace for Miner<'_> {
    async fn pause(&self) {
        let head = self.0.heads().await.expect("heads").latest;
        let control = self.0.control().expect("a chain for tests");
        control.mine(head.timestamp_s + 12).await.expect("a block");
    }
}

/// One chain under test.
pub struct Bench<'a> {
    /// The chain.
    pub l1: &'a dyn L1,
    /// To it.
    pub provider: DynProvider,
    /// Measured so far.
    pub gas: Gas,
    keys: Vec<SigningKey>,
    probe: Address,
}

impl<'a> Bench<'a> {
    /// Begins on a chain.
    #[must_use]
    pub fn new(l1: &'a dyn L1) -> Self {
        let provider = l1.provider();
        Self { l1, provider, gas: Gas::new(), keys: funded(), probe: Address::ZERO }
    }

    /// Address of a funded account.
    fn address(&self, who: usize) -> Address {
        self.keys[who].address()
    }

    /// Makes a block twelve seconds after the last.
    ///
    /// # Panics
    /// If the back end cannot.
    pub async fn mine(&self) {
        crate::deploy::Pace::pause(&Miner(self.l1)).await;
    }

    /// The nonce of an account at the head.
    async fn nonce(&self, who: usize) -> u64 {
        self.provider.get_transaction_count(self.address(who)).await.expect("nonce")
    }

    /// A transaction with everything but what it does: fees that are enough, and more gas than needed.
    async fn request(&self, who: usize, to: Option<Address>, input: Bytes) -> TransactionRequest {
        let mut request = TransactionRequest::default()
            .with_from(self.address(who))
            .with_chain_id(CHAIN_ID)
            .with_nonce(self.nonce(who).await)
            .with_gas_limit(3_000_000)
            .with_max_fee_per_gas(20_000_000_000)
            .with_max_priority_fee_per_gas(1_000_000_000)
            .with_input(input);
        request.to = Some(to.map_or(alloy_primitives::TxKind::Create, Into::into));
        request
    }

    async fn sign(&self, who: usize, request: TransactionRequest) -> Vec<u8> {
        let wallet = EthereumWallet::from(L1Signer::new(self.keys[who].clone()));
        let envelope = request.build(&wallet).await.expect("a whole transaction");
        alloy_eips::eip2718::Encodable2718::encoded_2718(&envelope)
    }

    /// Signs and submits.
    async fn submit(
        &self,
        who: usize,
        request: TransactionRequest,
    ) -> Result<B256, TransportError> {
        let raw = self.sign(who, request).await;
        self.provider.send_raw_transaction(&raw).await.map(|pending| *pending.tx_hash())
    }

    async fn receipt(&self, hash: B256) -> Option<TransactionReceipt> {
        self.provider.get_transaction_receipt(hash).await.expect("receipt")
    }

    /// Submits, mines, and returns the receipt; notes the gas under `name`.
    async fn perform(&mut self, name: &str, request: TransactionRequest) -> TransactionReceipt {
        self.perform_by(0, name, request).await
    }

    async fn perform_by(
        &mut self,
        who: usize,
        name: &str,
        request: TransactionRequest,
    ) -> TransactionReceipt {
        let hash = self.submit(who, request).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        self.mine().await;
        let receipt = self.receipt(hash).await.unwrap_or_else(|| panic!("{name} is in no block"));
        self.gas.insert(name.to_owned(), receipt.gas_used);
        receipt
    }

    /// Calls the probe, and expects success.
    async fn call_probe(&mut self, name: &str, input: impl Into<Bytes>) -> TransactionReceipt {
        let request = self.request(0, Some(self.probe), input.into()).await;
        let receipt = self.perform(name, request).await;
        assert!(receipt.inner.status(), "{name} reverted");
        receipt
    }

    /// Reads from the probe.
    async fn read<C: alloy_sol_types::SolCall>(&self, call: C) -> C::Return {
        let request = TransactionRequest::default()
            .with_from(self.address(0))
            .with_to(self.probe)
            .with_input(call.abi_encode());
        let output = self.provider.call(request).block(BlockId::latest()).await.expect("a call");
        C::abi_decode_returns(&output).expect("what was declared")
    }

    /// A call without a fee.
    fn view(&self, who: usize, to: Address, value: U256, input: Vec<u8>) -> TransactionRequest {
        TransactionRequest::default()
            .with_from(self.address(who))
            .with_to(to)
            .with_value(value)
            .with_input(input)
    }

    async fn provider_call(&self, request: TransactionRequest) -> Result<Bytes, TransportError> {
        self.provider.call(request).block(BlockId::latest()).await
    }

    /// A transaction with blobs, and more than enough for them.
    async fn blob_request(
        &self,
        who: usize,
        to: Address,
        input: Bytes,
        sidecar: alloy_eips::eip7594::BlobTransactionSidecarEip7594,
    ) -> TransactionRequest {
        let mut request = self.request(who, Some(to), input).await;
        request.max_fee_per_blob_gas = Some(10_000_000_000);
        request.blob_versioned_hashes = Some(sidecar.versioned_hashes().collect());
        request.sidecar = Some(BlobTransactionSidecarVariant::Eip7594(sidecar));
        request
    }

    async fn base_fee(&self) -> u64 {
        let block = self.provider.get_block_by_number(BlockNumberOrTag::Latest).await;
        let block = block.expect("an answer").expect("a head");
        block.header.base_fee_per_gas.expect("EIP-1559")
    }
}
