//! Transactions as an Ethereum node's JSON-RPC shows them.

use alloy_consensus::crypto::secp256k1::recover_signer_unchecked;
use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy, TxType,
};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};

use super::FolderError;
use super::json::Node;
use crate::replay::ReplayTransaction;

/// Reads one transaction; its sender is recovered from the signature and compared with `from`. Only where
/// there is no signature, `from` is believed.
pub(super) fn transaction(node: &Node<'_>) -> Result<ReplayTransaction, FolderError> {
    let tx_type = match node.optional("type")? {
        None => TxType::Legacy,
        Some(node) => u8::try_from(node.u64()?)
            .ok()
            .and_then(|byte| TxType::try_from(byte).ok())
            .ok_or_else(|| node.wrong("is not a known transaction type"))?,
    };
    let dynamic = !matches!(tx_type, TxType::Legacy | TxType::Eip2930);
    let mut transaction = ReplayTransaction {
        tx_type,
        sender: Address::ZERO,
        nonce: node.field("nonce")?.u64()?,
        gas_limit: node.field("gas")?.u64()?,
        max_fee_per_gas_wei: node
            .field(if dynamic { "maxFeePerGas" } else { "gasPrice" })?
            .u128()?,
        max_priority_fee_per_gas_wei: match dynamic {
            true => Some(node.field("maxPriorityFeePerGas")?.u128()?),
            false => None,
        },
        to: match node.optional("to")? {
            Some(to) => TxKind::Call(to.address()?),
            None => TxKind::Create,
        },
        value_wei: node.field("value")?.u256()?,
        input: node.field("input")?.bytes()?,
        chain_id: None,
        access_list: match node.optional("accessList")? {
            Some(list) => access_list(&list)?,
            None => AccessList::default(),
        },
        blob_versioned_hashes: Vec::new(),
        max_fee_per_blob_gas_wei: 0,
        authorization_list: Vec::new(),
    };
    if tx_type == TxType::Eip4844 {
        transaction.max_fee_per_blob_gas_wei = node.field("maxFeePerBlobGas")?.u128()?;
        transaction.blob_versioned_hashes = node
            .field("blobVersionedHashes")?
            .items()?
            .map(|hash| hash.hash())
            .collect::<Result<_, _>>()?;
    }
    if tx_type == TxType::Eip7702 {
        transaction.authorization_list = authorizations(&node.field("authorizationList")?)?;
    }
    let signature = signature(node, tx_type)?;
    transaction.chain_id = match (tx_type, &signature) {
        (TxType::Legacy, Some(signature)) => signature.chain_id,
        (TxType::Legacy, None) => match node.optional("chainId")? {
            Some(chain_id) => Some(chain_id.u64()?),
            None => None,
        },
        _ => Some(node.field("chainId")?.u64()?),
    };
    let claimed = match node.optional("from")? {
        Some(from) => Some(from.address()?),
        None => None,
    };
    transaction.sender = match (signature, claimed) {
        (Some(signature), claimed) => {
            let hash = signing_hash(&transaction).ok_or_else(|| {
                node.wrong("creates a contract, which transactions of its type cannot")
            })?;
            let signer = recover_signer_unchecked(&signature.signature, hash)
                .map_err(|_| node.wrong("has a signature of no key"))?;
            if let Some(claimed) = claimed.filter(|claimed| *claimed != signer) {
                return Err(node
                    .field("from")?
                    .wrong(format!("is {claimed}, but the transaction is signed by {signer}")));
            }
            signer
        }
        (None, Some(claimed)) => claimed,
        (None, None) => return Err(node.wrong("has neither a signature nor a sender")),
    };
    Ok(transaction)
}

/// A list of addresses and their slots.
pub(crate) fn access_list(node: &Node<'_>) -> Result<AccessList, FolderError> {
    let item = |node: Node<'_>| {
        Ok(AccessListItem {
            address: node.field("address")?.address()?,
            storage_keys: node
                .field("storageKeys")?
                .items()?
                .map(|key| Ok(B256::from(key.u256()?)))
                .collect::<Result<_, FolderError>>()?,
        })
    };
    node.items()?.map(item).collect::<Result<Vec<_>, _>>().map(AccessList)
}

/// A list of delegations.
pub(crate) fn authorizations(node: &Node<'_>) -> Result<Vec<SignedAuthorization>, FolderError> {
    let item = |node: Node<'_>| {
        let authorization = Authorization {
            chain_id: node.field("chainId")?.u256()?,
            address: node.field("address")?.address()?,
            nonce: node.field("nonce")?.u64()?,
        };
        let parity = match node.optional("yParity")? {
            Some(parity) => parity,
            None => node.field("v")?,
        };
        let y_parity =
            u8::try_from(parity.u64()?).map_err(|_| parity.wrong("does not fit 8 bits"))?;
        let (r, s) = (node.field("r")?.u256()?, node.field("s")?.u256()?);
        Ok(SignedAuthorization::new_unchecked(authorization, y_parity, r, s))
    };
    node.items()?.map(item).collect()
}

struct Signed {
    signature: Signature,
    /// What a legacy transaction's `v` says (EIP-155).
    chain_id: Option<u64>,
}

fn signature(node: &Node<'_>, tx_type: TxType) -> Result<Option<Signed>, FolderError> {
    let (Some(r), Some(s)) = (node.optional("r")?, node.optional("s")?) else {
        return Ok(None);
    };
    let (r, s): (U256, U256) = (r.u256()?, s.u256()?);
    // Typed transactions have it under two names.
    let v = match node.optional("yParity")?.filter(|_| tx_type != TxType::Legacy) {
        Some(parity) => parity,
        None => node.field("v")?,
    };
    let (odd, chain_id) = match (tx_type, v.u64()?) {
        (TxType::Legacy, v @ (27 | 28)) => (v == 28, None),
        (TxType::Legacy, v @ 35..) => ((v - 35) % 2 == 1, Some((v - 35) / 2)),
        (TxType::Legacy, _) | (_, 2..) => return Err(v.wrong("is no signature parity")),
        (_, parity) => (parity == 1, None),
    };
    Ok(Some(Signed { signature: Signature::new(r, s, odd), chain_id }))
}

/// What the sender signed; nothing if a type that must have a target has none.
fn signing_hash(transaction: &ReplayTransaction) -> Option<B256> {
    let ReplayTransaction {
        nonce,
        gas_limit,
        to,
        value_wei: value,
        max_fee_per_gas_wei: max_fee_per_gas,
        ..
    } = *transaction;
    let chain_id = transaction.chain_id.unwrap_or_default();
    let max_priority_fee_per_gas = transaction.max_priority_fee_per_gas_wei.unwrap_or_default();
    let access_list = transaction.access_list.clone();
    let input = transaction.input.clone();
    Some(match transaction.tx_type {
        TxType::Legacy => TxLegacy {
            chain_id: transaction.chain_id,
            nonce,
            gas_price: max_fee_per_gas,
            gas_limit,
            to,
            value,
            input,
        }
        .signature_hash(),
        TxType::Eip2930 => TxEip2930 {
            chain_id,
            nonce,
            gas_price: max_fee_per_gas,
            gas_limit,
            to,
            value,
            access_list,
            input,
        }
        .signature_hash(),
        TxType::Eip1559 => TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to,
            value,
            access_list,
            input,
        }
        .signature_hash(),
        TxType::Eip4844 => TxEip4844 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: *to.to()?,
            value,
            access_list,
            blob_versioned_hashes: transaction.blob_versioned_hashes.clone(),
            max_fee_per_blob_gas: transaction.max_fee_per_blob_gas_wei,
            input,
        }
        .signature_hash(),
        TxType::Eip7702 => TxEip7702 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: *to.to()?,
            value,
            access_list,
            authorization_list: transaction.authorization_list.clone(),
            input,
        }
        .signature_hash(),
    })
}
