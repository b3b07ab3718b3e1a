//! Transactions of one account, sent and waited for.

use alloy_eips::eip2718::Encodable2718 as _;
use alloy_network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _};
use alloy_primitives::{Address, B256, Bytes};
use alloy_provider::{DynProvider, Provider as _};
use alloy_rpc_types_eth::TransactionRequest;
use blindfold_wire::SigningKey;

use super::{DeployError, MAX_POLLS, Pace};
use crate::l1::{L1, L1Error, L1Signer, SendFault, fault};

/// Sends transactions of one account and waits for them.
pub(super) struct Sender<'a> {
    pub(super) provider: DynProvider,
    wallet: EthereumWallet,
    address: Address,
    chain_id: u64,
    pace: &'a dyn Pace,
}

impl<'a> Sender<'a> {
    pub(super) fn new(l1: &dyn L1, key: &SigningKey, pace: &'a dyn Pace) -> Self {
        Self {
            provider: l1.provider(),
            wallet: EthereumWallet::from(L1Signer::new(key.clone())),
            address: key.address(),
            chain_id: l1.chain_id(),
            pace,
        }
    }

    /// The account's next nonce, once nothing of it waits any more: what was sent before a crash is
    /// waited for, not sent twice.
    pub(super) async fn nonce(&self) -> Result<u64, DeployError> {
        for _ in 0..MAX_POLLS {
            let count = || self.provider.get_transaction_count(self.address);
            let pending = count().pending().await.map_err(L1Error::from)?;
            let nonce = count().await.map_err(L1Error::from)?;
            if pending <= nonce {
                return Ok(nonce);
            }
            self.pace.pause().await;
        }
        Err(DeployError::Stuck("an earlier transaction of the deployer"))
    }

    pub(super) async fn code(&self, address: Address) -> Result<Bytes, DeployError> {
        Ok(self.provider.get_code_at(address).await.map_err(L1Error::from)?)
    }

    pub(super) async fn send(
        &self,
        what: &'static str,
        request: TransactionRequest,
    ) -> Result<B256, DeployError> {
        let fees = self.provider.estimate_eip1559_fees().await.map_err(L1Error::from)?;
        let request = request
            .with_from(self.address)
            .with_chain_id(self.chain_id)
            .with_max_fee_per_gas(fees.max_fee_per_gas)
            .with_max_priority_fee_per_gas(fees.max_priority_fee_per_gas);
        let envelope = request
            .build(&self.wallet)
            .await
            .map_err(|error| L1Error::Unusable(error.to_string()))?;
        let hash = *envelope.tx_hash();
        match self.provider.send_raw_transaction(&envelope.encoded_2718()).await {
            Ok(_) => Ok(hash),
            Err(error) => match fault(&error) {
                SendFault::Known => Ok(hash),
                fault => Err(DeployError::Send { what, fault }),
            },
        }
    }

    /// Gas used, once it is in a block.
    pub(super) async fn receipt(
        &self,
        what: &'static str,
        transaction: B256,
    ) -> Result<u64, DeployError> {
        for _ in 0..MAX_POLLS {
            let receipt = self.provider.get_transaction_receipt(transaction).await;
            match receipt.map_err(L1Error::from)? {
                Some(receipt) if receipt.status() => return Ok(receipt.gas_used),
                Some(_) => return Err(DeployError::Reverted { what, transaction }),
                None => self.pace.pause().await,
            }
        }
        Err(DeployError::Stuck(what))
    }
}
