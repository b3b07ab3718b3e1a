//! The wallets of a world: what they seal, when and where they hand it in.
//!
//! They seal as the SDK does, with one difference: the seed of each ciphertext comes from the plan and
//! not from the operating system, since a replay must make the same bytes.

use crate::plan::{ENVELOPES_PER_WALLET, MEMBERS, Plan, SUBMIT_WINDOW_MS, WALLETS};
use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use blindfold_crypto::{CommitteeKey, Seed, seal, testkit::seal_undecryptable};
use blindfold_node::cli::tx;
use blindfold_sdk::Fees;
use blindfold_wire::{EnvelopeHeader, Genesis, SigningKey, TxStatus, sign_envelope};
use rand::RngExt as _;

/// Gas of a transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Wei per gas that inner transactions and envelopes offer at most; far above the base fee.
const MAX_FEE_WEI: u128 = 100_000_000_000;
/// No envelope expires within a simulated run.
const EXPIRY_HEIGHT: u64 = 4_000;

/// What is in an envelope, and so how it must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A transfer that succeeds: executed.
    Transfer,
    /// Bytes that are no transaction: skipped.
    Garbage,
    /// A valid ciphertext that opens to nothing: undecryptable.
    Undecryptable,
}

impl Content {
    /// Whether a status is the end that such an envelope must come to.
    pub fn ends_as(self, status: &TxStatus) -> bool {
        match self {
            Self::Transfer => matches!(status, TxStatus::Executed { success: true, .. }),
            Self::Garbage => matches!(status, TxStatus::Skipped { .. }),
            Self::Undecryptable => matches!(status, TxStatus::Undecryptable { .. }),
        }
    }
}

/// An envelope to be handed in.
#[derive(Clone, Debug)]
pub struct Submission {
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// Member to try first.
    pub member: usize,
    /// Envelope id.
    pub id: B256,
    /// What is in it.
    pub content: Content,
    /// The encoded envelope.
    pub bytes: Bytes,
}

/// Key of the `wallet`-th wallet: it sends, and pays for its envelopes.
///
/// # Panics
/// Never: any 32 bytes seed a key.
pub fn key(plan: &Plan, wallet: usize) -> SigningKey {
    SigningKey::random(plan.bytes(1_000 + wallet as u64))
}

/// Everything that the wallets of a world hand in, by time.
///
/// # Panics
/// If the genesis has no valid committee key.
pub fn submissions(plan: &Plan, genesis: &Genesis) -> Vec<Submission> {
    let committee = CommitteeKey::from_bytes(&genesis.committee.y).expect("a dealt key");
    let mut out: Vec<Submission> = (0..WALLETS)
        .flat_map(|wallet| wallet_submissions(plan, genesis, &committee, wallet))
        .collect();
    out.sort_by_key(|submission| submission.at_ms);
    out
}

fn wallet_submissions(
    plan: &Plan,
    genesis: &Genesis,
    committee: &CommitteeKey,
    wallet: usize,
) -> Vec<Submission> {
    let key = key(plan, wallet);
    let mut random = plan.random(2_000 + wallet as u64);
    let mut times: Vec<u64> =
        (0..ENVELOPES_PER_WALLET).map(|_| random.random_range(0..SUBMIT_WINDOW_MS)).collect();
    times.sort_unstable();
    let odd = random.random_range(0..ENVELOPES_PER_WALLET);
    let mut inner_nonce = 0;
    let mut out = Vec::new();
    for (payer_nonce, at_ms) in (0..).zip(times) {
        let content = match wallet {
            0 if out.len() == odd => Content::Garbage,
            1 if out.len() == odd => Content::Undecryptable,
            _ => Content::Transfer,
        };
        let message = match content {
            Content::Garbage => random.random::<[u8; 32]>().to_vec(),
            Content::Transfer | Content::Undecryptable => transfer(
                genesis.chain_id,
                inner_nonce,
                Address::from(random.random::<[u8; 20]>()),
                random.random_range(1..1_000_000),
                &key,
            ),
        };
        // What is undecryptable never reaches the account.
        inner_nonce += u64::from(content == Content::Transfer);
        let fees = Fees {
            max_fee_per_gas: MAX_FEE_WEI,
            max_priority_fee_per_gas: random.random_range(1..3_000_000_000),
            gas_limit: TRANSFER_GAS,
            expiry_height: EXPIRY_HEIGHT,
        };
        let header = EnvelopeHeader {
            chain_id: genesis.chain_id,
            key_id: genesis.key_id(),
            payer_nonce,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            gas_limit: fees.gas_class().expect("a transfer fits the smallest class"),
            expiry_height: fees.expiry_height,
        };
        let label = header.label(key.address());
        let seed = Seed::from_bytes(random.random());
        let sealed = match content {
            Content::Undecryptable => seal_undecryptable(committee, &label, &seed, &message),
            Content::Transfer | Content::Garbage => seal(committee, &label, &seed, &message),
        };
        let envelope = sign_envelope(header, sealed.expect("a short message"), &key);
        let member = random.random_range(0..MEMBERS);
        out.push(Submission {
            at_ms,
            member,
            id: envelope.id(),
            content,
            bytes: envelope.encode().into(),
        });
    }
    out
}

pub(crate) fn transfer(
    chain_id: u64,
    nonce: u64,
    to: Address,
    wei: u64,
    key: &SigningKey,
) -> Vec<u8> {
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: TRANSFER_GAS,
        max_fee_per_gas: MAX_FEE_WEI,
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(to),
        value: U256::from(wei),
        access_list: Default::default(),
        input: Bytes::new(),
    };
    tx::sign(transaction, key).encoded_2718()
}
