//! Transactions as they go to L1: signed forms of the rows that are stored before they are sent.

use super::{SettlementError, rows::PendingRow};
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip4844, TxEip4844WithSidecar};
use alloy_eips::{eip2718::Encodable2718 as _, eip7594::BlobTransactionSidecarEip7594};
use alloy_network::TxSignerSync as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use blindfold_settlement::{
    blobs,
    l1::{L1Signer, seal_blobs},
    poster::{Bid, Purpose, Sent},
};
use parking_lot::Mutex;
use std::sync::Arc;

/// Gas of a call of the inbox beside its data, about: the pairing, the proof, the storage. The dearest is `postBatch`.
pub(super) const CALL_GAS: u64 = 450_000;
/// Gas that is never asked for: the cap of a transaction (EIP-7825).
const MAX_TRANSACTION_GAS: u64 = 16_777_216;
/// Gas of a plain transfer, with room.
const CANCEL_GAS: u64 = 30_000;

/// The same nonce for nothing.
pub(super) fn cancelled(pending: PendingRow, bid: Bid, own: Address, now_s: u64) -> PendingRow {
    // Of a transaction with blobs nodes take no replacement without: a byte in a blob has to stay.
    let blob_data = match pending.sent.blobs {
        true => Bytes::from_static(&[0]),
        false => Bytes::new(),
    };
    PendingRow {
        sent: Sent { bid, purpose: Purpose::Standing, sent_s: now_s, ..pending.sent },
        to: own,
        value: U256::ZERO,
        call: Bytes::new(),
        blob_data,
        gas_limit: CANCEL_GAS,
        hashes: pending.hashes,
    }
}

/// Gas that a call of the inbox may use: what it takes, its data at the floor price, and half as much again.
pub(super) fn gas_limit(call: &[u8]) -> u64 {
    let bytes = u64::try_from(call.len()).unwrap_or(u64::MAX);
    let used = CALL_GAS.saturating_add(bytes.saturating_mul(40));
    used.saturating_add(used / 2).min(MAX_TRANSACTION_GAS)
}

/// The last blobs that were sealed. A batch is signed anew for each offer, with the same blobs, whose proofs take a good
/// part of a second.
#[derive(Clone, Default)]
pub(super) struct SealedBlobs(Arc<Mutex<Option<(Bytes, BlobTransactionSidecarEip7594)>>>);

impl SealedBlobs {
    /// The blobs that hold `data`, with their commitments and proofs. Blocks for as long as these take.
    fn of(&self, data: &Bytes) -> Result<BlobTransactionSidecarEip7594, SettlementError> {
        let mut last = self.0.lock();
        if let Some((sealed, sidecar)) = &*last
            && sealed == data
        {
            return Ok(sidecar.clone());
        }
        let sidecar = seal_blobs(blobs::pack(data)?)?;
        *last = Some((data.clone(), sidecar.clone()));
        Ok(sidecar)
    }
}

/// The signed transaction in the form that the network takes, and its hash.
pub(super) fn sign(
    signer: &L1Signer,
    chain_id: u64,
    row: &PendingRow,
    sealed: &SealedBlobs,
) -> Result<(B256, Bytes), SettlementError> {
    let bid = row.sent.bid;
    let unsigned = |_| SettlementError::Unusable("nothing: the key does not sign");
    if row.blob_data.is_empty() {
        let mut tx = TxEip1559 {
            chain_id,
            nonce: row.sent.nonce,
            gas_limit: row.gas_limit,
            max_fee_per_gas: bid.max_fee,
            max_priority_fee_per_gas: bid.max_priority_fee,
            to: TxKind::Call(row.to),
            value: row.value,
            access_list: Default::default(),
            input: row.call.clone(),
        };
        let signature = signer.sign_transaction_sync(&mut tx).map_err(unsigned)?;
        let signed = tx.into_signed(signature);
        Ok((*signed.hash(), signed.encoded_2718().into()))
    } else {
        let sidecar = sealed.of(&row.blob_data)?;
        let mut tx = TxEip4844 {
            chain_id,
            nonce: row.sent.nonce,
            gas_limit: row.gas_limit,
            max_fee_per_gas: bid.max_fee,
            max_priority_fee_per_gas: bid.max_priority_fee,
            to: row.to,
            value: row.value,
            access_list: Default::default(),
            blob_versioned_hashes: sidecar.versioned_hashes().collect(),
            max_fee_per_blob_gas: bid.max_blob_fee,
            input: row.call.clone(),
        };
        let signature = signer.sign_transaction_sync(&mut tx).map_err(unsigned)?;
        let signed = TxEip4844WithSidecar { tx, sidecar }.into_signed(signature);
        Ok((*signed.hash(), signed.encoded_2718().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_sealed_once_and_are_those_of_the_data() {
        let sealed = SealedBlobs::default();
        let [first, second] = [1, 2].map(|byte| Bytes::from(vec![byte; 300]));
        let fresh = |data: &Bytes| seal_blobs(blobs::pack(data).unwrap()).unwrap();
        for data in [&first, &first, &second, &first] {
            assert_eq!(sealed.of(data).unwrap(), fresh(data));
        }
        // Whatever lies there for these bytes is taken as it is.
        *sealed.0.lock() = Some((first.clone(), fresh(&second)));
        assert_eq!(sealed.of(&first).unwrap(), fresh(&second));
    }
}
