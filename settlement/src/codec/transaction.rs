//! Inner transactions, taken apart and put together again.
//!
//! A message that is an ordinary signed transaction, byte for byte as its fields would be encoded, is posted
//! as fields; any other message as it is. Nothing here says that a transaction is valid.

use alloy_consensus::{
    EthereumTxEnvelope, SignableTransaction, Signed, Transaction, TxEip1559, TxEip2930,
    TxEip4844Variant, TxEip7702, TxLegacy, transaction::RlpEcdsaEncodableTx,
};
use alloy_eips::{
    Decodable2718, Encodable2718, Typed2718, eip2930::AccessList, eip7702::SignedAuthorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use alloy_rlp::{Decodable, Encodable};
use blindfold_wire::Signature65;

use super::CodecError;

/// How a message is written: its own kind, or that of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum TxForm {
    /// Legacy, for any chain.
    Unprotected = 0,
    /// Legacy, EIP-155.
    Legacy = 1,
    /// EIP-2930.
    AccessList = 2,
    /// EIP-1559.
    DynamicFee = 3,
    /// EIP-7702.
    SetCode = 4,
}

impl TxForm {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Unprotected, Self::Legacy, Self::AccessList, Self::DynamicFee, Self::SetCode]
            .into_iter()
            .find(|form| *form as u8 == byte)
    }

    /// Whether it names its chain.
    pub(super) fn has_chain(self) -> bool {
        self != Self::Unprotected
    }

    /// Whether it has a priority fee.
    pub(super) fn has_tip(self) -> bool {
        matches!(self, Self::DynamicFee | Self::SetCode)
    }

    /// Whether it has an access list.
    pub(super) fn has_access_list(self) -> bool {
        !matches!(self, Self::Unprotected | Self::Legacy)
    }
}

/// The fields of a signed transaction. What its form does not have is zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TxFields {
    pub(super) form: TxForm,
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    /// Gas price, or the largest fee, in wei.
    pub(super) fee: u128,
    /// Largest priority fee, in wei.
    pub(super) tip: u128,
    pub(super) gas_limit: u64,
    /// `None` creates a contract.
    pub(super) to: Option<Address>,
    pub(super) value: U256,
    pub(super) input: Bytes,
    /// RLP; empty if the list is.
    pub(super) access_list: Vec<u8>,
    /// RLP; empty if the list is.
    pub(super) authorizations: Vec<u8>,
    pub(super) parity: bool,
    pub(super) r: [u8; 32],
    pub(super) s: [u8; 32],
}

type AnyTx = EthereumTxEnvelope<TxEip4844Variant>;

/// Decodes `message` if it is a signed transaction and nothing else.
fn decode(message: &[u8]) -> Option<AnyTx> {
    AnyTx::decode_2718_exact(message).ok().filter(|tx| !tx.is_eip4844())
}

/// Takes a message apart; `None` if putting it together would give other bytes.
pub(super) fn split(message: &[u8]) -> Option<TxFields> {
    let tx = decode(message)?;
    let form = match tx.ty() {
        0 if tx.chain_id().is_none() => TxForm::Unprotected,
        0 => TxForm::Legacy,
        1 => TxForm::AccessList,
        2 => TxForm::DynamicFee,
        4 => TxForm::SetCode,
        _ => return None,
    };
    let signature = tx.signature();
    let fields = TxFields {
        form,
        chain_id: tx.chain_id().unwrap_or_default(),
        nonce: tx.nonce(),
        fee: tx.max_fee_per_gas(),
        tip: tx.max_priority_fee_per_gas().unwrap_or_default(),
        gas_limit: tx.gas_limit(),
        to: tx.to(),
        value: tx.value(),
        input: tx.input().clone(),
        access_list: rlp_unless_empty(tx.access_list(), |list| list.0.is_empty()),
        authorizations: match tx.authorization_list() {
            None | Some([]) => Vec::new(),
            Some(list) => alloy_rlp::encode(list.to_vec()),
        },
        parity: signature.v(),
        r: signature.r().to_be_bytes(),
        s: signature.s().to_be_bytes(),
    };
    (join(&fields).ok()? == message).then_some(fields)
}

/// The message with these fields.
pub(super) fn join(fields: &TxFields) -> Result<Vec<u8>, CodecError> {
    let to = fields.to.map_or(TxKind::Create, TxKind::Call);
    let (gas_limit, nonce, value) = (fields.gas_limit, fields.nonce, fields.value);
    let (chain_id, input) = (fields.chain_id, fields.input.clone());
    let signature =
        Signature::new(U256::from_be_bytes(fields.r), U256::from_be_bytes(fields.s), fields.parity);
    let bytes = match fields.form {
        TxForm::Unprotected | TxForm::Legacy => {
            let chain_id = fields.form.has_chain().then_some(chain_id);
            let gas_price = fields.fee;
            encode(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }, signature)
        }
        TxForm::AccessList => {
            let access_list = access_list(fields)?;
            let gas_price = fields.fee;
            encode(
                TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input },
                signature,
            )
        }
        TxForm::DynamicFee => encode(
            TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: fields.fee,
                max_priority_fee_per_gas: fields.tip,
                to,
                value,
                access_list: access_list(fields)?,
                input,
            },
            signature,
        ),
        TxForm::SetCode => encode(
            TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: fields.fee,
                max_priority_fee_per_gas: fields.tip,
                to: fields.to.ok_or(CodecError::NotCanonical)?,
                value,
                access_list: access_list(fields)?,
                authorization_list: decode_list::<Vec<SignedAuthorization>>(
                    &fields.authorizations,
                )?,
                input,
            },
            signature,
        ),
    };
    Ok(bytes)
}

/// The address that signed the transaction in `message`, if it is one and well signed.
pub(super) fn signer(message: &[u8]) -> Option<Address> {
    let tx = decode(message)?;
    let signature = tx.signature();
    let digest: B256 = tx.signature_hash();
    Signature65 {
        y_parity: signature.v(),
        r: signature.r().to_be_bytes(),
        s: signature.s().to_be_bytes(),
    }
    .recover(digest)
    .ok()
}

fn encode<T: RlpEcdsaEncodableTx + SignableTransaction<Signature>>(
    tx: T,
    signature: Signature,
) -> Vec<u8>
where
    Signed<T>: Encodable2718,
{
    Signed::new_unhashed(tx, signature).encoded_2718()
}

fn rlp_unless_empty<T: Encodable>(list: Option<&T>, is_empty: impl Fn(&T) -> bool) -> Vec<u8> {
    list.filter(|list| !is_empty(list)).map(alloy_rlp::encode).unwrap_or_default()
}

fn access_list(fields: &TxFields) -> Result<AccessList, CodecError> {
    decode_list(&fields.access_list)
}

fn decode_list<T: Decodable + Default>(mut rlp: &[u8]) -> Result<T, CodecError> {
    if rlp.is_empty() {
        return Ok(T::default());
    }
    let list = T::decode(&mut rlp).map_err(|_| CodecError::NotCanonical)?;
    if rlp.is_empty() { Ok(list) } else { Err(CodecError::Trailing) }
}
