//! Each row of `docs/errors.md`, sent to running members: over RPC in `rpc`, by a faulty peer in `p2p`.

mod p2p;
mod rpc;

use alloy_primitives::Bytes;
use blindfold_crypto::{Ciphertext, Seed, seal};
use blindfold_sdk::SigningKey;
use blindfold_wire::{
    AdmissionRules, EnvelopeHeader,
    envelope::{Envelope, MAX_ENVELOPE_BYTES, sign_envelope},
    genesis::Genesis,
    keccak256,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Another one at each call: no two seals are the same.
fn fresh_seed() -> Seed {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    Seed::from_bytes(keccak256(CALLS.fetch_add(1, Ordering::Relaxed).to_be_bytes()).0)
}

/// Makes envelopes, good and bad, for one payer.
struct Forge {
    rules: AdmissionRules,
    key: SigningKey,
}

impl Forge {
    fn new(genesis: &Genesis, key: SigningKey) -> Self {
        Self { rules: genesis.admission_rules().unwrap(), key }
    }

    /// A header that every rule is content with, if the payer has the funds.
    fn header(&self, payer_nonce: u64) -> EnvelopeHeader {
        EnvelopeHeader {
            chain_id: self.rules.chain_id,
            key_id: self.rules.key_id,
            payer_nonce,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            gas_limit: 1 << 17,
            expiry_height: 100,
        }
    }

    fn ciphertext(&self, header: &EnvelopeHeader, message: &[u8]) -> Ciphertext {
        let label = header.label(self.key.address());
        seal(&self.rules.committee, &label, &fresh_seed(), message).unwrap()
    }

    /// Sealed and signed by the rules, whatever the header says.
    fn seal(&self, header: EnvelopeHeader, message: &[u8]) -> Envelope {
        let ciphertext = self.ciphertext(&header, message);
        sign_envelope(header, ciphertext, &self.key)
    }

    fn good(&self, payer_nonce: u64) -> Envelope {
        self.seal(self.header(payer_nonce), b"a transaction")
    }

    /// One envelope for every refusal that needs no state, with its reason.
    fn invalid(&self) -> Vec<(&'static str, Bytes)> {
        let good = self.good(0);
        let bytes = good.encode();
        let with = |change: &dyn Fn(&mut EnvelopeHeader)| {
            let mut header = self.header(0);
            change(&mut header);
            self.seal(header, b"a transaction").encode()
        };
        let signed_again = |ciphertext: Ciphertext| {
            sign_envelope(good.header.clone(), ciphertext, &self.key).encode()
        };
        let changed = |change: &dyn Fn(&mut Envelope)| {
            let mut envelope = good.clone();
            change(&mut envelope);
            envelope.encode()
        };
        // A list header that says the same in a longer way.
        let mut long_form = bytes.clone();
        assert_eq!(long_form[1], 0xf9, "two bytes of length");
        long_form.splice(1..2, [0xfa, 0]);
        let stranger = Forge { rules: self.rules.clone(), key: SigningKey::random([0x55; 32]) };
        let mut rows: Vec<(&'static str, Vec<u8>)> = vec![
            ("truncated", bytes[..bytes.len() - 1].to_vec()),
            ("truncated", bytes[..1].to_vec()),
            ("truncated", bytes[..bytes.len() / 2].to_vec()),
            ("non_canonical", [&bytes[..], &[0]].concat()),
            ("non_canonical", long_form),
            ("oversized", [&bytes[..], &vec![0; MAX_ENVELOPE_BYTES]].concat()),
            ("wrong_chain", with(&|header| header.chain_id += 1)),
            ("wrong_key_id", with(&|header| header.key_id[0] ^= 1)),
            ("gas_class", with(&|header| header.gas_limit += 1)),
            ("priority_above_fee", with(&|header| header.max_priority_fee_per_gas = u128::MAX)),
            ("body_length", {
                let mut ciphertext = good.ciphertext.clone();
                ciphertext.body.push(0);
                signed_again(ciphertext)
            }),
            ("payer_signature", changed(&|envelope| envelope.signature.s = [0xee; 32])),
            ("payer_signature", changed(&|envelope| envelope.signature.r = [0; 32])),
            ("ciphertext_encoding", {
                let mut ciphertext = good.ciphertext.clone();
                ciphertext.u = [0xff; 48];
                signed_again(ciphertext)
            }),
            ("ciphertext_encoding", {
                let mut ciphertext = good.ciphertext.clone();
                ciphertext.z = [0xff; 32];
                signed_again(ciphertext)
            }),
            // Forged: somebody else's signature under it.
            ("ciphertext_proof", {
                sign_envelope(good.header.clone(), good.ciphertext.clone(), &stranger.key).encode()
            }),
            // Forged: a signature of the payer's, but over another envelope.
            ("ciphertext_proof", changed(&|envelope| envelope.signature = self.good(1).signature)),
            // Changed on its way: the fee, under the old proof.
            ("ciphertext_proof", {
                let mut header = good.header.clone();
                header.max_fee_per_gas += 1;
                sign_envelope(header, good.ciphertext.clone(), &self.key).encode()
            }),
        ];
        // Copied: another payer's ciphertext in an envelope that is correct in all else.
        let copy = sign_envelope(good.header.clone(), stranger.good(0).ciphertext, &self.key);
        rows.push(("ciphertext_proof", copy.encode()));
        rows.into_iter().map(|(reason, bytes)| (reason, Bytes::from(bytes))).collect()
    }
}
