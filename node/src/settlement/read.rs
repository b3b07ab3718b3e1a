//! Reads batches with their data from L1, as an auditor does: nobody's word counts but L1's.

use super::{SettlementError, transport};
use alloy_consensus::Transaction as _;
use alloy_network::ReceiptResponse as _;
use alloy_primitives::B256;
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall as _, SolEvent as _};
use blindfold_settlement::{
    batch::Batch,
    bindings::BatchInbox,
    blobs,
    l1::{BlobsAt, L1},
    points,
};
use blindfold_wire::{FinalizationCertificate, Genesis, OrderCommitment};

/// A batch on L1 with all that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBatch {
    /// As the inbox emitted it.
    pub header: Batch,
    /// Its data, which the header's hash stands for; empty if it has no heights.
    pub data: Vec<u8>,
    /// The transaction that posted it.
    pub transaction: B256,
    /// Gas that it used.
    pub gas_used: u64,
    /// Blob gas that it used.
    pub blob_gas_used: u64,
    /// The certificate of its last height, which the inbox verified; `None` if it has no heights.
    pub certificate: Option<FinalizationCertificate>,
}

/// All batches of a chain, oldest first. Those without heights, the fallback of the forced queue, are among them: the
/// hash of each stands in the one after it.
///
/// # Errors
/// If L1 does not answer, does not have the data any more, or answers nonsense.
pub async fn batches(
    l1: &dyn L1,
    genesis: &Genesis,
    from_block: u64,
) -> Result<Vec<ReadBatch>, SettlementError> {
    let filter = Filter::new()
        .address(genesis.settlement)
        .event_signature(BatchInbox::BatchPosted::SIGNATURE_HASH)
        .from_block(from_block);
    let logs = l1.provider().get_logs(&filter).await.map_err(transport)?;
    let mut batches = Vec::new();
    for log in logs.iter().filter(|log| !log.removed) {
        let event = BatchInbox::BatchPosted::decode_log(&log.inner)
            .map_err(|_| SettlementError::Unusable("a BatchPosted event"))?;
        let header = Batch::from(&event.data.batch);
        let transaction = log
            .transaction_hash
            .ok_or(SettlementError::Unusable("a log without its transaction"))?;
        batches.push(batch(l1, genesis, header, transaction).await?);
    }
    batches.sort_by_key(|batch| batch.header.index);
    Ok(batches)
}

/// One batch with its data.
///
/// # Errors
/// As [`batches`].
pub async fn batch(
    l1: &dyn L1,
    genesis: &Genesis,
    header: Batch,
    transaction: B256,
) -> Result<ReadBatch, SettlementError> {
    let provider = l1.provider();
    let gone = SettlementError::Unusable("a receipt that it does not have");
    let receipt =
        provider.get_transaction_receipt(transaction).await.map_err(transport)?.ok_or(gone)?;
    if header.heights() == 0 {
        // The event says everything.
        let (data, gas_used) = (Vec::new(), receipt.gas_used());
        return Ok(ReadBatch {
            header,
            data,
            transaction,
            gas_used,
            blob_gas_used: 0,
            certificate: None,
        });
    }
    let gone = SettlementError::Unusable("a transaction that it does not have");
    let sent =
        provider.get_transaction_by_hash(transaction).await.map_err(transport)?.ok_or(gone)?;
    let call = BatchInbox::postBatchCall::abi_decode(sent.input())
        .map_err(|_| SettlementError::Unusable("a batch that was not posted by a plain call"))?;
    let members = genesis.committee.members.len();
    let certificate = certificate(&call, members)
        .ok_or(SettlementError::Unusable("a certificate that the inbox cannot have taken"))?;
    let (data, hash) = match sent.blob_versioned_hashes() {
        Some(hashes) if !hashes.is_empty() => {
            let at = BlobsAt {
                transaction,
                block_timestamp_s: header.posted_at,
                hashes: hashes.to_vec(),
            };
            let found = l1.blobs(&at).await?;
            let data = blobs::unpack(&found).unwrap_or_default();
            (data, blobs::blobs_hash(hashes))
        }
        _ => (call.data.to_vec(), blobs::calldata_hash(&call.data)),
    };
    if hash != header.data_hash {
        return Err(SettlementError::Unusable("data that is not the batch's"));
    }
    Ok(ReadBatch {
        header,
        data,
        transaction,
        gas_used: receipt.gas_used(),
        blob_gas_used: receipt.blob_gas_used().unwrap_or_default(),
        certificate: Some(certificate),
    })
}

/// The certificate in a call, for a committee of so many members.
fn certificate(
    call: &BatchInbox::postBatchCall,
    members: usize,
) -> Option<FinalizationCertificate> {
    let last = OrderCommitment::from(&call.last);
    let bits = &call.cert.signers;
    let signed = |member: &u16| {
        let byte = bits.get(usize::from(member / 8)).copied().unwrap_or_default();
        byte >> (member % 8) & 1 == 1
    };
    let members = u16::try_from(members).ok()?;
    let signature = call.cert.signature.as_ref().try_into().ok()?;
    Some(FinalizationCertificate {
        epoch: last.epoch,
        view: call.cert.view_,
        parent_view: call.cert.parentView,
        payload: last.digest(),
        members,
        signers: (0..members).filter(signed).collect(),
        signature: points::g1_from_eip2537(signature).ok()?,
    })
}
