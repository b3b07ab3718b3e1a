//! A whole committee with known secrets, for the tests of the crates above. Feature `testkit`.
//!
//! Never use it outside tests: every secret follows from a seed in plain sight.

use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_crypto::{DecryptionKey, Seed, dealer, seal};

use crate::{
    Block, Certified, ChainParams, CheckedEnvelope, CommitteeInfo, EnvelopeHeader,
    FinalizationCertificate, ForcedItem, ForcedSpan, Genesis, GenesisAccount, MemberInfo,
    OrderCommitment, SigningKey, VoteCommittee,
    certificate::{
        aggregate_votes, quorum, sign_finalize_vote, vote_key_pop_sign, vote_public_key,
    },
    commitment::order_root,
    domain,
    envelope::sign_envelope,
    merkle::hash,
};

/// One member's secrets.
pub struct TestMember {
    /// Vote secret: BLS scalar, 32 bytes big-endian.
    pub vote_secret: [u8; 32],
    /// Key of commitments, bundles and receipts.
    pub signer: SigningKey,
    /// Share of the committee's decryption key.
    pub decryption: DecryptionKey,
}

/// A committee and its genesis document.
pub struct TestCommittee {
    /// The document; valid.
    pub genesis: Genesis,
    /// Members in order.
    pub members: Vec<TestMember>,
    votes: VoteCommittee,
}

/// 32 bytes that follow from `seed`, a purpose and an index.
pub fn derive(seed: u64, purpose: &str, index: u64) -> [u8; 32] {
    hash(purpose.as_bytes(), &[domain::SIGNING_KEY_SEED, &seed.to_be_bytes(), &index.to_be_bytes()])
        .0
}

impl TestCommittee {
    /// `n` members with stake 1 each, default parameters, no accounts.
    ///
    /// Identities are 32 arbitrary ascending bytes strings, not ed25519 keys.
    ///
    /// # Panics
    /// If `n` is 0 or over the maximum.
    pub fn new(n: usize, seed: u64) -> Self {
        Self::with(n, seed, |_| {})
    }

    /// As [`TestCommittee::new`], with the document changed by `adjust` before anything is derived
    /// from its hash.
    ///
    /// # Panics
    /// If `n` is 0 or over the maximum.
    pub fn with(n: usize, seed: u64, adjust: impl FnOnce(&mut Genesis)) -> Self {
        let dealt =
            dealer::deal(n, quorum(n), derive(seed, "deal", 0)).expect("a possible committee");
        let mut members = Vec::new();
        let mut infos = Vec::new();
        for (index, decryption) in dealt.keys.into_iter().enumerate() {
            let number = index as u64;
            let mut vote_secret = derive(seed, "vote", number);
            vote_secret[0] &= 0x3f;
            let signer = SigningKey::random(derive(seed, "signer", number));
            let mut identity = derive(seed, "identity", number);
            identity[..2].copy_from_slice(&(index as u16 + 1).to_be_bytes());
            infos.push(MemberInfo {
                identity,
                vote_key: vote_public_key(&vote_secret).expect("below the order"),
                vote_key_pop: vote_key_pop_sign(&vote_secret).expect("below the order"),
                signer: signer.address(),
                fee_address: Address::from_slice(&derive(seed, "fees", number)[..20]),
                stake: 1,
                verification_key: dealt.verification_keys[index],
            });
            members.push(TestMember { vote_secret, signer, decryption });
        }
        let mut genesis = Genesis {
            chain_id: 5_318_008,
            settlement: Address::ZERO,
            timestamp_ms: 1_700_000_000_000,
            activation: 0,
            params: ChainParams::default(),
            committee: CommitteeInfo {
                epoch: 0,
                threshold: quorum(n) as u32,
                y: dealt.y,
                y2: dealt.y2,
                members: infos,
            },
            alloc: Vec::<GenesisAccount>::new(),
            escrow: Vec::<(Address, U256)>::new(),
        };
        adjust(&mut genesis);
        let votes = genesis.vote_committee().expect("valid vote keys");
        Self { genesis, members, votes }
    }

    /// The keys that finalize.
    pub fn vote_committee(&self) -> &VoteCommittee {
        &self.votes
    }

    /// A real certificate over `commitment` by the first quorum of members.
    pub fn certificate(&self, commitment: &OrderCommitment) -> FinalizationCertificate {
        let signers: Vec<u16> = (0..quorum(self.members.len()) as u16).collect();
        self.certificate_by(commitment, &signers)
    }

    /// A certificate over `commitment` by `signers`, a quorum or not.
    ///
    /// # Panics
    /// If `signers` is empty or names no member.
    pub fn certificate_by(
        &self,
        commitment: &OrderCommitment,
        signers: &[u16],
    ) -> FinalizationCertificate {
        let (epoch, view, parent_view) =
            (commitment.epoch, commitment.view, commitment.view.saturating_sub(1));
        let payload = commitment.digest();
        let votes: Vec<_> = signers
            .iter()
            .map(|signer| {
                let secret = &self.members[usize::from(*signer)].vote_secret;
                sign_finalize_vote(
                    secret,
                    self.votes.namespace(),
                    epoch,
                    view,
                    parent_view,
                    payload,
                )
                .expect("valid secret")
            })
            .collect();
        FinalizationCertificate {
            epoch,
            view,
            parent_view,
            payload,
            members: self.members.len() as u16,
            signers: signers.to_vec(),
            signature: aggregate_votes(&votes).expect("at least one signer"),
        }
    }

    /// `commitment`, certified.
    pub fn certify(&self, commitment: OrderCommitment) -> Certified<OrderCommitment> {
        let certificate = self.certificate(&commitment);
        Certified::by_certificate(commitment, &certificate, &self.votes)
            .expect("a quorum signed it")
    }

    /// The commitment of height 1 that orders `envelopes`, certified.
    pub fn certify_order(&self, envelopes: &[CheckedEnvelope]) -> Certified<OrderCommitment> {
        self.certify(
            self.commitment(&Block::genesis(&self.genesis).commitment.commitment, envelopes),
        )
    }

    /// The commitment that follows `parent` and orders `envelopes`; executed root zero.
    pub fn commitment(
        &self,
        parent: &OrderCommitment,
        envelopes: &[CheckedEnvelope],
    ) -> OrderCommitment {
        let ids: Vec<_> = envelopes.iter().map(CheckedEnvelope::id).collect();
        OrderCommitment {
            chain_id: self.genesis.chain_id,
            settlement: self.genesis.settlement,
            epoch: self.genesis.committee.epoch,
            height: parent.height + 1,
            view: parent.view + 1,
            parent: parent.digest(),
            timestamp_ms: parent.timestamp_ms + 1_000,
            base_fee: self.genesis.params.initial_base_fee,
            count: ids.len() as u32,
            order_root: order_root(&ids),
            l1_block: parent.l1_block,
            l1_base_fee: parent.l1_base_fee,
            forced_cursor: parent.forced_cursor,
            forced_hash: parent.forced_hash,
            executed_root: B256::ZERO,
        }
    }

    /// As [`Self::commitment`], consuming `items` too; with them.
    pub fn forcing(
        &self,
        parent: &OrderCommitment,
        items: Vec<ForcedItem>,
        envelopes: &[CheckedEnvelope],
    ) -> (OrderCommitment, ForcedSpan) {
        let span = ForcedSpan::after(parent, items);
        let (forced_cursor, forced_hash) = span.head();
        let commitment = self.commitment(parent, envelopes);
        (OrderCommitment { forced_cursor, forced_hash, ..commitment }, span)
    }

    /// A header with class 2^17, fees well over the initial base fee, expiry at height 1000.
    pub fn header(&self, payer_nonce: u64) -> EnvelopeHeader {
        EnvelopeHeader {
            chain_id: self.genesis.chain_id,
            key_id: self.genesis.key_id(),
            payer_nonce,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            gas_limit: 1 << 17,
            expiry_height: 1_000,
        }
    }

    /// Seals `message` by `payer` under `header`; the seed follows from all of it.
    ///
    /// # Panics
    /// If the message is too long or the header breaks a rule.
    pub fn envelope(
        &self,
        payer: &SigningKey,
        header: EnvelopeHeader,
        message: &[u8],
    ) -> CheckedEnvelope {
        let rules = self.genesis.admission_rules().expect("valid key");
        let label = header.label(payer.address());
        let seed = Seed::from_bytes(hash(b"test seed", &[&label.0, message]).0);
        let ciphertext = seal(&rules.committee, &label, &seed, message).expect("message fits");
        let bytes: Bytes = sign_envelope(header, ciphertext, payer).encode().into();
        CheckedEnvelope::check(&rules, &bytes).expect("sealed by the rules")
    }
}
