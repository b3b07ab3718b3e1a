//! The chain that targets run in: a committee of four with known keys, and envelopes sealed for it.
//! Everything follows from constants, so that an input finds the same thing tomorrow.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256};
use blindfold_crypto::{Ciphertext, CommitteePublic, Label, Seed, testkit::seal_undecryptable};
use blindfold_wire::{
    AdmissionRules, Block, CheckedEnvelope, EnvelopeHeader, GenesisAccount, OrderCommitment,
    SigningKey, envelope::sign_envelope, testkit::TestCommittee,
};
use std::sync::LazyLock;

/// Keys that have ether, and escrow.
pub const PAYERS: usize = 3;
/// One ether, in wei.
pub const ETHER: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// The committee and its genesis document.
pub static COMMITTEE: LazyLock<TestCommittee> = LazyLock::new(|| {
    TestCommittee::with(4, 11, |genesis| {
        // That of a devnet, so that its transactions are for this chain too.
        genesis.chain_id = 0xb11d;
        for payer in 0..PAYERS {
            let address = key(payer).address();
            genesis.alloc.push(GenesisAccount {
                address,
                balance: ETHER * U256::from(1_000),
                nonce: 0,
                code: Bytes::new(),
                storage: Default::default(),
            });
            genesis.escrow.push((address, ETHER * U256::from(10)));
        }
        genesis.alloc.sort_by_key(|account| account.address);
        genesis.escrow.sort_by_key(|(payer, _)| *payer);
    })
});

/// What admission compares envelopes with.
pub static RULES: LazyLock<AdmissionRules> =
    LazyLock::new(|| COMMITTEE.genesis.admission_rules().expect("a valid key"));

/// The public side of the decryption key.
pub static PUBLIC: LazyLock<CommitteePublic> =
    LazyLock::new(|| COMMITTEE.genesis.committee_public().expect("a valid committee"));

/// The commitment of height 0.
pub static GENESIS_COMMITMENT: LazyLock<OrderCommitment> =
    LazyLock::new(|| Block::genesis(&COMMITTEE.genesis).commitment.commitment);

/// Valid envelopes of several payers, nonces and sizes; the last one is undecryptable.
pub static ENVELOPES: LazyLock<Vec<CheckedEnvelope>> = LazyLock::new(|| {
    let mut envelopes = Vec::new();
    for payer in 0..PAYERS {
        for nonce in 0..3u64 {
            let message = match nonce {
                0 => transfer(payer, 0),
                1 => vec![0x5a; 40],
                _ => vec![0x5a; 700],
            };
            envelopes.push(COMMITTEE.envelope(&key(payer), COMMITTEE.header(nonce), &message));
        }
    }
    envelopes.push(undecryptable(COMMITTEE.header(3)));
    envelopes
});

/// Key of a payer.
pub fn key(payer: usize) -> SigningKey {
    SigningKey::random([payer as u8 + 1; 32])
}

/// A signed transfer of one wei by a payer.
pub fn transfer(payer: usize, nonce: u64) -> Vec<u8> {
    let inner = TxEip1559 {
        chain_id: COMMITTEE.genesis.chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 5_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::repeat_byte(0x51)),
        value: U256::from(1),
        access_list: Default::default(),
        input: Bytes::new(),
    };
    sign(payer, inner).encoded_2718()
}

/// Signs an inner transaction.
pub fn sign(payer: usize, inner: TxEip1559) -> TxEnvelope {
    let signature = key(payer).sign_digest(inner.signature_hash());
    let signature = Signature::new(
        U256::from_be_bytes(signature.r),
        U256::from_be_bytes(signature.s),
        signature.y_parity,
    );
    inner.into_signed(signature).into()
}

/// A valid envelope of payer 0 that opens to nothing.
fn undecryptable(header: EnvelopeHeader) -> CheckedEnvelope {
    let payer = key(0);
    let label = header.label(payer.address());
    let seed = Seed::from_bytes([9; 32]);
    let sealed = seal_undecryptable(&RULES.committee, &label, &seed, b"never read").expect("fits");
    let bytes = sign_envelope(header, sealed, &payer).encode();
    CheckedEnvelope::check(&RULES, &bytes).expect("valid")
}

/// Label and ciphertext of an envelope.
pub fn sealed(envelope: &CheckedEnvelope) -> (Label, &Ciphertext) {
    (*envelope.label(), &envelope.envelope().ciphertext)
}
