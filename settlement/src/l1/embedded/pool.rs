//! Transactions that wait for a block.
//!
//! Per sender in the order of nonces; gaps wait. A transaction with the nonce of a waiting one replaces
//! it if it offers enough more, as on Ethereum: 10 % for plain transactions, and for those with blobs
//! 100 %, which is what go-ethereum's blob pool asks for.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use alloy_consensus::{
    Transaction as _, TxEip4844Variant, TxEnvelope, transaction::SignerRecoverable as _,
};
use alloy_eips::{eip2718::Decodable2718 as _, eip7594::BlobTransactionSidecarVariant};
use alloy_primitives::{Address, B256, U256, map::B256Map};
use revm::{
    context_interface::cfg::GasParams,
    primitives::{eip3860::MAX_INITCODE_SIZE, hardfork::SpecId},
};

use super::{
    errors::Refusal,
    evm::{BLOBS, MAX_TX_GAS},
    state::Info,
};

/// Transactions that wait at a time.
pub const MAX_POOL: usize = 4_096;

/// Blobs that wait at a time.
pub const MAX_POOL_BLOBS: usize = 256;

/// How far a nonce may be ahead of the account's.
pub const MAX_NONCE_GAP: u64 = 64;

/// Bytes of one transaction, without blobs (as go-ethereum's pool has it).
pub const MAX_TX_BYTES: usize = 128 << 10;

/// Bytes of one transaction on the wire, with six blobs, their commitments and proofs.
pub const MAX_RAW_TX_BYTES: usize = MAX_TX_BYTES + 6 * ((128 << 10) + 48 + 128 * 48 + 64);

/// Percent by which both fees of a transaction must be higher to replace another.
const REPLACE_PERCENT: u128 = 10;

/// The same for a transaction with blobs, for all three fees.
const REPLACE_BLOB_PERCENT: u128 = 100;

/// A signed transaction with its sender, and its blobs apart.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    /// Without sidecar.
    pub(super) tx: TxEnvelope,
    pub(super) sender: Address,
    pub(super) sidecar: Option<Arc<BlobTransactionSidecarVariant>>,
    /// Place in the order of arrival: the older of two equal offers goes first.
    arrival: u64,
}

impl Pooled {
    /// Checks everything that does not depend on the state.
    pub(super) fn decode(raw: &[u8], chain_id: u64) -> Result<Self, Refusal> {
        if raw.len() > MAX_RAW_TX_BYTES {
            return Err(Refusal::TooLarge);
        }
        let envelope = TxEnvelope::decode_2718_exact(raw)
            .map_err(|error| Refusal::Undecodable(error.to_string()))?;
        Self::admit(envelope, chain_id)
    }

    fn admit(envelope: TxEnvelope, chain_id: u64) -> Result<Self, Refusal> {
        if envelope.chain_id().is_some_and(|id| id != chain_id) {
            return Err(Refusal::WrongChain);
        }
        if envelope.chain_id().is_none() {
            // Before EIP-155; go-ethereum's RPC refuses them too.
            return Err(Refusal::Unprotected);
        }
        let sender = envelope.recover_signer().map_err(|_| Refusal::BadSignature)?;
        let (tx, sidecar) = split(envelope);
        if tx.eip2718_encoded_length() > MAX_TX_BYTES {
            return Err(Refusal::TooLarge);
        }
        if tx.gas_limit() > MAX_TX_GAS {
            return Err(Refusal::GasLimitTooHigh { limit: tx.gas_limit() });
        }
        if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
            return Err(Refusal::TipAboveFeeCap);
        }
        if tx.is_create() && tx.input().len() > MAX_INITCODE_SIZE {
            return Err(Refusal::InitCodeTooLarge);
        }
        let least = intrinsic_gas(&tx);
        if tx.gas_limit() < least {
            return Err(Refusal::IntrinsicGas { limit: tx.gas_limit(), least });
        }
        let sidecar = match (tx.blob_versioned_hashes(), sidecar) {
            (None, _) => None,
            (Some([]), _) => return Err(Refusal::Blobs("a blob transaction without blobs".into())),
            (Some(hashes), _) if hashes.len() as u64 > BLOBS.max_blobs_per_tx => {
                return Err(Refusal::Blobs(format!(
                    "{} blobs; a transaction may have {}",
                    hashes.len(),
                    BLOBS.max_blobs_per_tx
                )));
            }
            (Some(_), None) => return Err(Refusal::Blobs("the sidecar is missing".into())),
            (Some(_), Some(BlobTransactionSidecarVariant::Eip4844(_))) => {
                return Err(Refusal::Blobs("the sidecar has no cell proofs (EIP-7594)".into()));
            }
            (Some(hashes), Some(sidecar)) => {
                sidecar
                    .validate(hashes, crate::l1::kzg::settings())
                    .map_err(|error| Refusal::Blobs(error.to_string()))?;
                Some(Arc::new(sidecar))
            }
        };
        Ok(Self { tx, sender, sidecar, arrival: 0 })
    }

    /// One that was checked before: out of a block, or of what we stored ourselves.
    pub(super) fn trusted(
        tx: TxEnvelope,
        sender: Address,
        sidecar: Option<BlobTransactionSidecarVariant>,
    ) -> Self {
        Self { tx, sender, sidecar: sidecar.map(Arc::new), arrival: 0 }
    }

    pub(super) fn hash(&self) -> B256 {
        *self.tx.tx_hash()
    }

    /// The most it may cost its sender, in wei.
    pub(super) fn max_cost(&self) -> U256 {
        let tx = &self.tx;
        let gas = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
        let blob_gas = U256::from(tx.blob_gas_used().unwrap_or_default());
        let blobs =
            blob_gas.saturating_mul(U256::from(tx.max_fee_per_blob_gas().unwrap_or_default()));
        gas.saturating_add(blobs).saturating_add(tx.value())
    }

    /// Whether it offers enough to take the place of `other`.
    fn outbids(&self, other: &Self) -> bool {
        let percent = match other.sidecar {
            Some(_) => REPLACE_BLOB_PERCENT,
            None => REPLACE_PERCENT,
        };
        let enough =
            |new: u128, old: u128| new >= old.saturating_add((old * percent).div_ceil(100).max(1));
        let tip = |tx: &TxEnvelope| tx.max_priority_fee_per_gas().unwrap_or(tx.max_fee_per_gas());
        enough(self.tx.max_fee_per_gas(), other.tx.max_fee_per_gas())
            && enough(tip(&self.tx), tip(&other.tx))
            && other
                .tx
                .max_fee_per_blob_gas()
                .is_none_or(|old| self.tx.max_fee_per_blob_gas().is_none_or(|new| enough(new, old)))
    }

    fn blobs(&self) -> usize {
        self.sidecar.as_ref().map_or(0, |sidecar| sidecar.blobs().len())
    }

    /// Wei per gas for the block's beneficiary; `None` if the fee cap is below the base fee.
    fn tip(&self, base_fee: u64) -> Option<u128> {
        self.tx.effective_tip_per_gas(base_fee)
    }
}

/// Takes the blobs off a transaction. Its hash does not cover them.
pub(super) fn split(envelope: TxEnvelope) -> (TxEnvelope, Option<BlobTransactionSidecarVariant>) {
    let TxEnvelope::Eip4844(signed) = envelope else { return (envelope, None) };
    let (variant, signature, hash) = signed.into_parts();
    let (variant, sidecar) = variant.strip_sidecar();
    let signed = alloy_consensus::Signed::new_unchecked(variant, signature, hash);
    (TxEnvelope::Eip4844(signed), sidecar)
}

/// Puts a transaction and its blobs together, as wallets send it.
pub(super) fn join(tx: TxEnvelope, sidecar: Option<BlobTransactionSidecarVariant>) -> TxEnvelope {
    match (tx, sidecar) {
        (TxEnvelope::Eip4844(signed), Some(sidecar)) => {
            let (variant, signature, hash) = signed.into_parts();
            let variant = match variant {
                TxEip4844Variant::TxEip4844(tx) => {
                    TxEip4844Variant::TxEip4844WithSidecar(tx.with_sidecar(sidecar))
                }
                whole @ TxEip4844Variant::TxEip4844WithSidecar(_) => whole,
            };
            TxEnvelope::Eip4844(alloy_consensus::Signed::new_unchecked(variant, signature, hash))
        }
        (tx, _) => tx,
    }
}

/// Least gas limit: what is charged before execution, or the floor by calldata (EIP-7623).
fn intrinsic_gas(tx: &TxEnvelope) -> u64 {
    let (accounts, slots) = tx.access_list().map_or((0, 0), |list| {
        let slots: usize = list.iter().map(|item| item.storage_keys.len()).sum();
        (list.len() as u64, slots as u64)
    });
    let gas = GasParams::new_spec(SpecId::OSAKA).initial_tx_gas(
        tx.input(),
        tx.is_create(),
        accounts,
        slots,
        tx.authorization_count().unwrap_or_default(),
        None,
    );
    gas.initial_regular_gas.saturating_add(gas.initial_state_gas).max(gas.floor_gas)
}

/// All transactions that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    senders: HashMap<Address, BTreeMap<u64, Pooled>>,
    by_hash: B256Map<(Address, u64)>,
    arrivals: u64,
    blobs: usize,
}

impl Pool {
    pub(super) fn get(&self, hash: B256) -> Option<&Pooled> {
        let (sender, nonce) = self.by_hash.get(&hash)?;
        self.senders.get(sender)?.get(nonce)
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Takes a transaction in; `account` is its sender at the head.
    pub(super) fn insert(&mut self, mut new: Pooled, account: Info) -> Result<(), Refusal> {
        let (hash, nonce) = (new.hash(), new.tx.nonce());
        if self.by_hash.contains_key(&hash) {
            return Err(Refusal::Known);
        }
        if nonce < account.nonce {
            return Err(Refusal::NonceTooLow { next: account.nonce, got: nonce });
        }
        if nonce - account.nonce > MAX_NONCE_GAP {
            return Err(Refusal::NonceTooHigh { next: account.nonce, got: nonce });
        }
        let queue = self.senders.get(&new.sender);
        let old = queue.and_then(|queue| queue.get(&nonce));
        if let Some(old) = old
            && !new.outbids(old)
        {
            return Err(Refusal::Underpriced);
        }
        // What the sender has promised already counts, as it does in go-ethereum.
        let promised = queue.into_iter().flatten().filter(|(other, _)| **other != nonce);
        let cost =
            promised.fold(new.max_cost(), |sum, (_, other)| sum.saturating_add(other.max_cost()));
        if cost > account.balance {
            return Err(Refusal::Funds { have: account.balance, want: cost });
        }
        let (count, blobs) = (usize::from(old.is_none()), new.blobs());
        let freed = old.map_or(0, Pooled::blobs);
        if self.by_hash.len() + count > MAX_POOL || self.blobs - freed + blobs > MAX_POOL_BLOBS {
            return Err(Refusal::PoolFull);
        }
        self.remove(new.sender, nonce);
        new.arrival = self.arrivals;
        self.arrivals += 1;
        self.blobs += blobs;
        self.by_hash.insert(hash, (new.sender, nonce));
        self.senders.entry(new.sender).or_default().insert(nonce, new);
        Ok(())
    }

    pub(super) fn remove(&mut self, sender: Address, nonce: u64) -> Option<Pooled> {
        let queue = self.senders.get_mut(&sender)?;
        let removed = queue.remove(&nonce);
        if queue.is_empty() {
            self.senders.remove(&sender);
        }
        let removed = removed?;
        self.by_hash.remove(&removed.hash());
        self.blobs -= removed.blobs();
        Some(removed)
    }

    /// Forgets what a block has made impossible: nonces that are used.
    pub(super) fn prune(&mut self, sender: Address, next_nonce: u64) {
        let used: Vec<u64> = self
            .senders
            .get(&sender)
            .into_iter()
            .flat_map(|queue| queue.range(..next_nonce).map(|(nonce, _)| *nonce))
            .collect();
        for nonce in used {
            self.remove(sender, nonce);
        }
    }

    /// The sender's next nonce, counting what waits without a gap.
    pub(super) fn next_nonce(&self, sender: Address, account_nonce: u64) -> u64 {
        let mut next = account_nonce;
        if let Some(queue) = self.senders.get(&sender) {
            while queue.contains_key(&next) {
                next += 1;
            }
        }
        next
    }

    /// The best offer for a block: the transaction with the highest tip among the next ones of all
    /// senders but those that `skipped`, that pays the base fee and the blob fee and fits.
    pub(super) fn best(
        &self,
        block: &Room,
        nonce_of: impl Fn(Address) -> u64,
        skipped: &std::collections::HashSet<Address>,
    ) -> Option<&Pooled> {
        let next = self.senders.iter().filter(|(sender, _)| !skipped.contains(*sender));
        next.filter_map(|(sender, queue)| queue.get(&nonce_of(*sender)))
            .filter(|pooled| pooled.tx.gas_limit() <= block.gas && pooled.blobs() <= block.blobs)
            .filter(|pooled| {
                pooled.tx.max_fee_per_blob_gas().is_none_or(|fee| fee >= block.blob_fee)
            })
            .filter_map(|pooled| Some((pooled.tip(block.base_fee)?, pooled)))
            .max_by_key(|(tip, pooled)| (*tip, std::cmp::Reverse(pooled.arrival)))
            .map(|(_, pooled)| pooled)
    }

    pub(super) fn clear(&mut self) {
        *self = Self { arrivals: self.arrivals, ..Self::default() };
    }
}

/// What a block can still take.
pub(super) struct Room {
    pub(super) gas: u64,
    pub(super) blobs: usize,
    pub(super) base_fee: u64,
    pub(super) blob_fee: u128,
}
