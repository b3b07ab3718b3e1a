//! `eth_sendRawTransaction`: what is wrong with a transaction, in the words that wallets look for, and
//! keeping it if nothing is.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::{eip2718::Decodable2718 as _, eip7702::constants::EIP7702_DELEGATION_DESIGNATOR};
use alloy_primitives::{B256, Bytes, U256};
use blindfold_crypto::MAX_MESSAGE_BYTES;
use blindfold_execution::Transaction;
use blindfold_wire::{ENVELOPE_TYPE, SkipReason, envelope::gas_class};
use jsonrpsee::types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE};

use super::{
    Gateway, State, Trouble,
    hold::{End, Held, cost_wei},
    now_ms,
    round::account,
    store::Record,
};
use crate::rpc::{api::AccountView, errors, server::Answer};

/// Code of everything that is wrong with a transaction: Ethereum clients have no finer ones.
const WRONG: i32 = -32000;
/// Code of what is right but not wanted here (EIP-1474 "transaction rejected").
const REJECTED: i32 = -32003;
/// Percent by which a replacement must raise both fees.
const BUMP_PERCENT: u128 = 10;
/// Longest init code (EIP-3860), in bytes.
const MAX_INIT_CODE_BYTES: usize = 49_152;
/// Length of the code of an account that delegates (EIP-7702), in bytes.
const DELEGATION_BYTES: usize = 23;

fn wrong(message: impl Into<String>) -> ErrorObjectOwned {
    errors::error(WRONG, message)
}

fn rejected(message: impl Into<String>) -> ErrorObjectOwned {
    errors::error(REJECTED, message)
}

impl From<Trouble> for ErrorObjectOwned {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Read(failure) => failure.into(),
            other => {
                tracing::error!(target: "blindfold::gateway", trouble = %other, "cannot keep a transaction");
                errors::error(
                    INTERNAL_ERROR_CODE,
                    "the gateway cannot write its journal; its log has the details",
                )
            }
        }
    }
}

impl Gateway {
    /// Keeps a transaction, on disk before this returns, and has it sealed.
    pub(super) fn take(&self, raw: &Bytes) -> Answer<B256> {
        let transaction = self.decode(raw)?;
        self.check_alone(&transaction, raw)?;
        let hash = transaction.hash();
        let mut state = self.state.lock();
        let replaced = self.check_here(&state, &transaction, raw)?;
        let mut records =
            vec![Record::Held { transaction: raw.clone(), received_ms: now_ms(), reseals: 0 }];
        // What is in an envelope may still be ordered; what is not is gone now.
        records.extend(
            replaced
                .filter(|replaced| state.hold.envelope_of(replaced).is_none())
                .map(|replaced| Record::Ended { hash: replaced, end: End::Replaced { by: hash } }),
        );
        state.commit(&records)?;
        drop(state);
        self.wake.notify_one();
        Ok(hash)
    }

    fn decode(&self, raw: &Bytes) -> Answer<Transaction> {
        if raw.len() > MAX_MESSAGE_BYTES {
            return Err(wrong(format!(
                "oversized data: transaction size {}, limit {MAX_MESSAGE_BYTES}",
                raw.len()
            )));
        }
        if raw.first() == Some(&ENVELOPE_TYPE) {
            return Err(wrong(
                "transaction type not supported: this is sealed already; send it to a member with \
                 sealed_sendTransaction",
            ));
        }
        let chain_id = self.wallet.committee().chain_id();
        Transaction::decode(raw, chain_id, u64::MAX).map_err(|reason| match reason {
            SkipReason::UnsupportedType => wrong("transaction type not supported"),
            SkipReason::BadSignature => wrong("invalid sender: the signature is invalid"),
            SkipReason::WrongChain => match TxEnvelope::decode_2718_exact(raw) {
                Ok(signed) if signed.chain_id().is_none() => {
                    wrong("only replay-protected (EIP-155) transactions allowed over RPC")
                }
                Ok(signed) => wrong(format!(
                    "invalid chain id for signer: have {} want {chain_id}",
                    signed.chain_id().unwrap_or_default()
                )),
                Err(_) => wrong("invalid chain id for signer"),
            },
            reason => wrong(format!("invalid transaction: {reason}")),
        })
    }

    /// Checks that need nothing but the transaction and the chain's parameters.
    fn check_alone(&self, transaction: &Transaction, raw: &Bytes) -> Answer<()> {
        let (signed, params) = (transaction.signed(), self.params());
        let gas = signed.gas_limit();
        if gas_class(gas).is_none_or(|class| class > params.block_gas_limit) {
            return Err(wrong(format!(
                "exceeds block gas limit: gas {gas}, most {}",
                blindfold_wire::envelope::MAX_GAS_CLASS.min(params.block_gas_limit)
            )));
        }
        let intrinsic = intrinsic_gas(signed);
        if gas < intrinsic {
            return Err(wrong(format!(
                "intrinsic gas too low: gas {gas}, minimum needed {intrinsic}"
            )));
        }
        if signed.is_create() && signed.input().len() > MAX_INIT_CODE_BYTES {
            return Err(wrong(format!(
                "max initcode size exceeded: code size {}, limit {MAX_INIT_CODE_BYTES}",
                signed.input().len()
            )));
        }
        if signed.authorization_list().is_some_and(<[_]>::is_empty) {
            return Err(wrong("set code transaction with empty auth list"));
        }
        if signed.max_priority_fee_per_gas().is_some_and(|tip| tip > signed.max_fee_per_gas()) {
            return Err(wrong("max priority fee per gas higher than max fee per gas"));
        }
        if signed.max_fee_per_gas() < params.min_base_fee {
            return Err(wrong(format!(
                "transaction underpriced: max fee per gas less than block base fee: {} wei, which never falls below {}",
                signed.max_fee_per_gas(),
                params.min_base_fee
            )));
        }
        debug_assert!(!raw.is_empty());
        Ok(())
    }

    /// Checks against the chain, what else is held, and what the payer may spend. Returns what the
    /// transaction replaces.
    fn check_here(
        &self,
        state: &State,
        transaction: &Transaction,
        raw: &Bytes,
    ) -> Answer<Option<B256>> {
        let (signed, sender, hold) = (transaction.signed(), transaction.sender(), &state.hold);
        let nonce = signed.nonce();
        if hold.get(&transaction.hash()).is_some() {
            return Err(wrong("already known"));
        }
        let AccountView { balance, nonce: next } = account(&*self.api, sender)?;
        if nonce < next {
            return Err(wrong(format!("nonce too low: next nonce {next}, tx nonce {nonce}")));
        }
        let code = self.api.code(self.api.head().executed_height, sender).unwrap_or_default();
        let delegates =
            code.len() == DELEGATION_BYTES && code.starts_with(&EIP7702_DELEGATION_DESIGNATOR);
        if !code.is_empty() && !delegates {
            return Err(wrong(format!("sender not an eoa: {sender} has code")));
        }
        let replaced = hold.newest(&sender, nonce);
        if let Some(replaced) = replaced {
            check_bump(replaced, signed)?;
        } else {
            let of_sender = hold.of_sender(&sender).count();
            if hold.len() >= self.config.max_held || of_sender >= self.config.max_held_per_sender {
                return Err(wrong(format!(
                    "txpool is full: {} transactions held, {of_sender} of this sender",
                    hold.len()
                )));
            }
        }
        let others = hold
            .of_sender(&sender)
            .filter(|(other, _)| *other >= next && *other != nonce)
            .fold(U256::ZERO, |sum, (_, held)| sum.saturating_add(held.cost_wei()));
        let cost = cost_wei(transaction);
        if others.saturating_add(cost) > balance {
            return Err(wrong(format!(
                "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, queued cost {others}"
            )));
        }
        self.check_payer(state, transaction, raw)?;
        Ok(replaced.map(Held::hash))
    }

    /// Whether the payer may and can pay for this on top of everything that is held.
    fn check_payer(&self, state: &State, transaction: &Transaction, raw: &Bytes) -> Answer<()> {
        let head = self.api.head();
        let estimate = |transaction: &Transaction, bytes: usize| {
            let signed = transaction.signed();
            self.estimate_wei(
                &self.fees(&head, signed.gas_limit(), signed.max_fee_per_gas()),
                bytes,
            )
        };
        let waiting = state
            .hold
            .in_order()
            .into_iter()
            .filter(|held| held.replaced_by.is_none())
            .filter(|held| state.hold.slot_of(&held.sender(), held.nonce()).is_none());
        let needed = waiting
            .map(|held| estimate(&held.transaction, held.raw.len()))
            .fold(state.hold.reserved_wei(self.params()), U256::saturating_add)
            .saturating_add(estimate(transaction, raw.len()));
        self.limits()
            .allow(state.hold.ledger(), needed, now_ms())
            .map_err(|beyond| rejected(beyond.to_string()))?;
        let payer = self.api.payer(self.wallet.address())?;
        if needed > payer.escrow_wei {
            return Err(rejected(format!(
                "the gateway cannot pay for the envelope: the escrow of its payer {} is {} wei, and {needed} \
                 may be needed; deposit more",
                payer.address, payer.escrow_wei
            )));
        }
        Ok(())
    }
}

fn check_bump(replaced: &Held, signed: &TxEnvelope) -> Answer<()> {
    let before = replaced.transaction.signed();
    let enough = |new: u128, old: u128| {
        new.saturating_mul(100) >= old.saturating_mul(100 + BUMP_PERCENT) && new > old
    };
    let tip = |signed: &TxEnvelope| {
        signed.max_priority_fee_per_gas().unwrap_or_else(|| signed.max_fee_per_gas())
    };
    let tip_enough = (tip(before) == 0 && tip(signed) == 0) || enough(tip(signed), tip(before));
    if enough(signed.max_fee_per_gas(), before.max_fee_per_gas()) && tip_enough {
        return Ok(());
    }
    Err(wrong(format!(
        "replacement transaction underpriced: both fees must rise by {BUMP_PERCENT} percent"
    )))
}

/// Gas that a transaction needs before its first instruction, as of the Osaka rules: EIP-2028, 2930,
/// 3860, 7623, 7702.
fn intrinsic_gas(signed: &TxEnvelope) -> u64 {
    const BASE: u64 = 21_000;
    const CREATE: u64 = 32_000;
    const INIT_CODE_WORD: u64 = 2;
    const TOKEN: u64 = 4;
    const FLOOR_TOKEN: u64 = 10;
    const NON_ZERO_TOKENS: u64 = 4;
    const LISTED_ADDRESS: u64 = 2_400;
    const LISTED_SLOT: u64 = 1_900;
    const AUTHORIZATION: u64 = 25_000;

    let input = signed.input();
    let zeros = input.iter().filter(|byte| **byte == 0).count() as u64;
    let tokens = zeros + (input.len() as u64 - zeros) * NON_ZERO_TOKENS;
    let mut gas = BASE + TOKEN * tokens;
    if signed.is_create() {
        gas += CREATE + INIT_CODE_WORD * (input.len() as u64).div_ceil(32);
    }
    for entry in signed.access_list().into_iter().flat_map(|list| list.iter()) {
        gas += LISTED_ADDRESS + LISTED_SLOT * entry.storage_keys.len() as u64;
    }
    gas += AUTHORIZATION * signed.authorization_list().map_or(0, <[_]>::len) as u64;
    gas.max(BASE + FLOOR_TOKEN * tokens)
}
