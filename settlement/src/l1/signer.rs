//! The project's keys as signers of L1 transactions.

use alloy_consensus::SignableTransaction;
use alloy_network::{TxSigner, TxSignerSync};
use alloy_primitives::{Address, Signature, U256};
use async_trait::async_trait;
use blindfold_wire::SigningKey;

/// Signs L1 transactions with a secp256k1 key of ours: the key stays in the one type that erases it.
#[derive(Clone, Debug)]
pub struct L1Signer(SigningKey);

impl L1Signer {
    /// A signer with this key.
    #[must_use]
    pub const fn new(key: SigningKey) -> Self {
        Self(key)
    }
}

impl TxSignerSync<Signature> for L1Signer {
    fn address(&self) -> Address {
        self.0.address()
    }

    fn sign_transaction_sync(
        &self,
        tx: &mut dyn SignableTransaction<Signature>,
    ) -> alloy_signer::Result<Signature> {
        let signature = self.0.sign_digest(tx.signature_hash());
        Ok(Signature::new(
            U256::from_be_bytes(signature.r),
            U256::from_be_bytes(signature.s),
            signature.y_parity,
        ))
    }
}

#[async_trait]
impl TxSigner<Signature> for L1Signer {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign_transaction(
        &self,
        tx: &mut dyn SignableTransaction<Signature>,
    ) -> alloy_signer::Result<Signature> {
        self.sign_transaction_sync(tx)
    }
}
