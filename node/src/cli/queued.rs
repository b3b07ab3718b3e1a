//! An item of the forced queue on L1, as the transaction that put it there shows it.

use alloy_network::{Ethereum, ReceiptResponse as _};
use alloy_primitives::{Address, B256};
use alloy_provider::PendingTransactionBuilder;
use alloy_sol_types::SolEvent as _;
use blindfold_settlement::bindings::ForcedQueue;
use eyre::{Context as _, OptionExt as _, Result, ensure};

/// What L1 made of it.
pub(super) struct Queued {
    /// Its number in the queue.
    pub index: u64,
    /// The transaction on L1.
    pub transaction: B256,
    /// The number of that one's block.
    pub block: u64,
}

impl Queued {
    /// Waits until L1 has what was `sent`, and finds the item that it put into `queue`. `what` it is says the error.
    ///
    /// # Errors
    /// If L1 does not answer any more, or reverted it, or it put nothing into the queue.
    pub async fn by(
        sent: PendingTransactionBuilder<Ethereum>,
        queue: Address,
        what: &str,
    ) -> Result<Self> {
        let transaction = *sent.tx_hash();
        let receipt = sent
            .get_receipt()
            .await
            .wrap_err_with(|| format!("sent to L1 as {transaction}, its end there is unknown"))?;
        ensure!(receipt.status(), "L1 refused {what}, in its transaction {transaction}");
        let event = receipt
            .logs()
            .iter()
            .filter(|log| log.address() == queue)
            .find_map(|log| ForcedQueue::Forced::decode_log(&log.inner).ok())
            .ok_or_eyre("L1 took the transaction without putting anything into the queue")?;
        let block = receipt.block_number().unwrap_or_default();
        Ok(Self { index: event.index, transaction, block })
    }
}
