//! Certified histories with every kind of envelope, for tests and benchmarks. Feature `testkit`.
//!
//! Never use it outside tests: every secret follows from a seed in plain sight.

use alloy_consensus::{
    SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip7702, TxLegacy,
    transaction::RlpEcdsaEncodableTx,
};
use alloy_eips::{
    Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use blindfold_crypto::{
    Opening, Seed, combine,
    testkit::{seal_fitting, seal_undecryptable},
};
use blindfold_wire::{
    Block, Certified, CheckedEnvelope, EnvelopeHeader, OpenedBatch, OrderCommitment,
    SignedCommitment, SigningKey, executed_root, sign_envelope,
    testkit::{TestCommittee, derive},
};

use crate::{
    accumulator::LeaderTable,
    batch::{BatchBuilder, CertifiedHeight, Draft, Limits},
};

/// What is in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// EIP-1559, `transfer` of a token to somebody new.
    TokenTransfer,
    /// EIP-1559, ether to somebody new.
    EtherTransfer,
    /// EIP-1559, a swap through a router: an array of addresses, deadline, amounts.
    Swap,
    /// Legacy with chain id, a call with bytes that fill no word.
    Legacy,
    /// Legacy for any chain.
    Unprotected,
    /// EIP-2930 with an access list.
    AccessList,
    /// EIP-7702 with an authorization.
    SetCode,
    /// EIP-1559 that creates a contract.
    Create,
    /// No transaction.
    Raw,
    /// A token transfer that somebody else pays for.
    Relayed,
    /// Opens to nothing.
    Undecryptable,
    /// Opens to nothing, and yet there is an opening that leads to its u: [`TestHistory::fitting`].
    Fitting,
}

/// All kinds but the last.
pub const KINDS: [Kind; 11] = [
    Kind::TokenTransfer,
    Kind::EtherTransfer,
    Kind::Swap,
    Kind::Legacy,
    Kind::Unprotected,
    Kind::AccessList,
    Kind::SetCode,
    Kind::Create,
    Kind::Raw,
    Kind::Relayed,
    Kind::Undecryptable,
];

/// A chain from height 1 on.
pub struct TestHistory {
    /// Keys and genesis document.
    pub committee: TestCommittee,
    /// Leaders of all views.
    pub leaders: LeaderTable,
    /// Heights from 1.
    pub heights: Vec<CertifiedHeight>,
    seed: u64,
    accounts: u64,
}

impl TestHistory {
    /// A chain of four members without heights. Everything follows from `seed`.
    ///
    /// # Panics
    /// Never: the committee is a possible one.
    pub fn new(seed: u64) -> Self {
        Self::settled_at(seed, Address::repeat_byte(0x5e))
    }

    /// The same with this settlement contract. Executed roots are certified two heights up.
    ///
    /// # Panics
    /// Never: the committee is a possible one.
    pub fn settled_at(seed: u64, settlement: Address) -> Self {
        let committee = TestCommittee::with(4, seed, |genesis| {
            genesis.settlement = settlement;
            genesis.params.executed_lag = 2;
        });
        let signers: Vec<_> = committee.members.iter().map(|m| m.signer.address()).collect();
        // Members lead in an order of their own, some twice.
        let slots = [2, 0, 3, 1, 0, 2].map(|member: usize| signers[member]);
        let leaders = LeaderTable::new(slots.to_vec()).expect("six slots");
        Self { committee, leaders, heights: Vec::new(), seed, accounts: 0 }
    }

    /// A chain with these heights.
    pub fn with_heights(seed: u64, heights: &[&[Kind]]) -> Self {
        let mut history = Self::new(seed);
        for kinds in heights {
            history.push(kinds);
        }
        history
    }

    /// The commitment of height 0.
    pub fn genesis_commitment(&self) -> OrderCommitment {
        Block::genesis(&self.committee.genesis).commitment.commitment
    }

    /// The last commitment.
    pub fn last(&self) -> OrderCommitment {
        self.heights
            .last()
            .map_or_else(|| self.genesis_commitment(), |height| height.signed.commitment.clone())
    }

    /// Adds a certified height with these envelopes.
    ///
    /// # Panics
    /// Never: what it makes is valid.
    pub fn push(&mut self, kinds: &[Kind]) {
        let items: Vec<_> = kinds.iter().map(|kind| self.item(*kind)).collect();
        self.push_items(items);
    }

    /// Adds a certified height with these envelopes and openings.
    ///
    /// # Panics
    /// Never: what it makes is valid.
    pub fn push_items(&mut self, items: Vec<(CheckedEnvelope, Opening)>) {
        let envelopes: Vec<_> = items.iter().map(|(envelope, _)| envelope.clone()).collect();
        let parent = self.last();
        let height = parent.height + 1;
        let mut commitment = self.committee.commitment(&parent, &envelopes);
        // Views are left out now and then.
        commitment.view += u64::from(self.random("view", height, 8) == 0);
        commitment.timestamp_ms += self.random("time", height, 400);
        commitment.base_fee += u128::from(self.random("base fee", height, 10_000_000));
        commitment.l1_block = parent.l1_block + self.random("l1", height, 2);
        commitment.l1_base_fee = 900_000_000 + self.random("l1 fee", commitment.l1_block, 1 << 20);
        commitment.forced_cursor = parent.forced_cursor;
        commitment.forced_hash = parent.forced_hash;
        if self.random("forced", height, 4) == 0 {
            commitment.forced_cursor += 1;
            commitment.forced_hash = B256::from(derive(self.seed, "forced hash", height));
        }
        commitment.executed_root = self.executed_root(height);
        let signed = self.sign(commitment);
        let certified = self.committee.certify(signed.commitment.clone());
        let opened = OpenedBatch::new(certified, items).expect("in this order");
        self.heights.push(CertifiedHeight { signed, opened });
    }

    /// The state root after a height.
    pub fn state_root(&self, height: u64) -> B256 {
        B256::from(derive(self.seed, "state", height))
    }

    /// What the commitment of a height carries.
    fn executed_root(&self, height: u64) -> B256 {
        let below = height.checked_sub(self.committee.genesis.params.executed_lag);
        let executed = below
            .and_then(|below| self.heights.iter().find(|known| known.opened.height() == below));
        match executed {
            Some(known) => {
                executed_root(self.state_root(known.opened.height()), known.opened.opening_root())
            }
            // Nobody looks at it, but it takes as much room as any other.
            None => derive(self.seed, "nothing executed", height).into(),
        }
    }

    /// Takes the certificate of a height away: its child certifies it.
    ///
    /// # Panics
    /// If it has no child.
    pub fn certify_by_child(&mut self, index: usize) {
        let child = self.heights[index + 1].opened.certified().clone();
        let height = &mut self.heights[index];
        let certified = Certified::by_child(height.signed.commitment.clone(), &child)
            .expect("the child names it");
        let items = height.opened.items().iter();
        let items = items.map(|item| (item.envelope.clone(), item.opening.clone())).collect();
        height.opened = OpenedBatch::new(certified, items).expect("as before");
    }

    /// `commitment`, signed by the leader of its view.
    ///
    /// # Panics
    /// Never: leaders are members.
    pub fn sign(&self, commitment: OrderCommitment) -> SignedCommitment {
        let leader = self.leaders.leader(commitment.view);
        let member = self.committee.members.iter().find(|m| m.signer.address() == leader);
        commitment.sign(&member.expect("leaders are members").signer)
    }

    /// The batch of these heights (indices, not heights).
    ///
    /// # Panics
    /// If the heights do not make up a batch.
    pub fn draft(&self, heights: std::ops::Range<usize>) -> Draft {
        let mut builder = BatchBuilder::new(Limits::default());
        for height in &self.heights[heights] {
            let leader = self.leaders.leader(height.signed.commitment.view);
            builder.push(&height.opened, height.signed.signature, leader).expect("it follows");
        }
        builder.build().expect("a certificate")
    }

    /// A valid envelope of an account that was not seen before, with its opening.
    ///
    /// # Panics
    /// Never: what it makes is valid.
    pub fn item(&mut self, kind: Kind) -> (CheckedEnvelope, Opening) {
        self.accounts += 1;
        self.item_of(self.accounts - 1, kind)
    }

    /// The envelope of account number `account`, with its opening.
    ///
    /// # Panics
    /// Never: what it makes is valid.
    pub fn item_of(&self, account: u64, kind: Kind) -> (CheckedEnvelope, Opening) {
        let key = self.key(account);
        let (header, message, seed) = self.content(account, kind);
        let payer = match kind {
            Kind::Relayed => SigningKey::random(derive(self.seed, "relayer", account % 2)),
            _ => key,
        };
        let rules = self.committee.genesis.admission_rules().expect("valid key");
        let label = header.label(payer.address());
        let committee = &rules.committee;
        let sealed = match kind {
            Kind::Undecryptable => seal_undecryptable(committee, &label, &seed, &message),
            Kind::Fitting => seal_fitting(committee, &label, &seed, &message, b"something else"),
            _ => blindfold_crypto::seal(committee, &label, &seed, &message),
        };
        let envelope = sign_envelope(header, sealed.expect("it fits"), &payer);
        let envelope =
            CheckedEnvelope::check(&rules, &envelope.encode()).expect("sealed by the rules");
        let opening = match kind {
            Kind::Undecryptable | Kind::Fitting => {
                Opening::Undecryptable { secret: self.secret(&envelope) }
            }
            _ => Opening::Opened { seed: *seed.expose(), message },
        };
        (envelope, opening)
    }

    /// The opening that leads to the u of account number `account`'s [`Kind::Fitting`], and to another body.
    pub fn fitting(&self, account: u64) -> Opening {
        let (_, message, seed) = self.content(account, Kind::Fitting);
        Opening::Opened { seed: *seed.expose(), message }
    }

    fn key(&self, account: u64) -> SigningKey {
        SigningKey::random(derive(self.seed, "account", account))
    }

    /// What an account seals.
    fn content(&self, account: u64, kind: Kind) -> (EnvelopeHeader, Vec<u8>, Seed) {
        let nonce = self.random("nonce", account, 300);
        let mut header = self.committee.header(nonce);
        header.max_priority_fee_per_gas = u128::from(self.random("tip", account, 2_000_000_000));
        let base_fee = 1_000_000_000 + 12_345 * self.random("seen", account, 4);
        header.max_fee_per_gas = u128::from(2 * base_fee) + header.max_priority_fee_per_gas;
        header.expiry_height = self.last().height + 1 + self.random("expiry", account, 64);
        let key = self.key(account);
        let message = self.message(kind, account, &key, header.max_fee_per_gas, nonce);
        let seed = Seed::from_bytes(derive(self.seed, "seed", account));
        (header, message, seed)
    }

    /// The secret D of an envelope.
    ///
    /// # Panics
    /// Never: there are enough shares.
    pub fn secret(&self, envelope: &CheckedEnvelope) -> [u8; 48] {
        let members = self.committee.members.iter().enumerate().take(3);
        let shares: Vec<_> = members
            .map(|(index, member)| (index, member.decryption.share(envelope.ephemeral())))
            .collect();
        combine(&shares).expect("three shares")
    }

    /// A number below `bound` that follows from the chain's seed, a purpose and an index.
    pub fn random(&self, purpose: &str, index: u64, bound: u64) -> u64 {
        let bytes = derive(self.seed, purpose, index);
        u64::from_be_bytes(std::array::from_fn(|i| bytes[i])) % bound.max(1)
    }

    fn message(
        &self,
        kind: Kind,
        account: u64,
        key: &SigningKey,
        max_fee: u128,
        nonce: u64,
    ) -> Vec<u8> {
        let chain_id = self.committee.genesis.chain_id;
        let new_address = || Address::from_slice(&derive(self.seed, "recipient", account)[..20]);
        let contract = |number| Address::from_slice(&derive(self.seed, "contract", number)[..20]);
        let amount = U256::from(self.random("amount", account, u64::MAX));
        let call = |to: Address, gas_limit, value, input: Vec<u8>| TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: 0,
            to: TxKind::Call(to),
            value,
            access_list: AccessList::default(),
            input: input.into(),
        };
        let transfer = || {
            let token = contract(self.random("token", account, 8));
            let mut input = vec![0xa9, 0x05, 0x9c, 0xbb];
            input.extend(new_address().into_word());
            input.extend(amount.to_be_bytes::<32>());
            call(token, 51_000 + 12 * self.random("gas", account, 100), U256::ZERO, input)
        };
        let legacy = |chain_id| TxLegacy {
            chain_id,
            nonce,
            gas_price: max_fee,
            gas_limit: 60_000,
            to: TxKind::Call(contract(9)),
            value: amount,
            input: Bytes::from(derive(self.seed, "input", account)[..27].to_vec()),
        };
        match kind {
            Kind::TokenTransfer | Kind::Relayed | Kind::Undecryptable | Kind::Fitting => {
                signed(transfer(), key)
            }
            Kind::EtherTransfer => {
                let wei = amount * U256::from(1_000);
                signed(call(new_address(), 21_000, wei, Vec::new()), key)
            }
            Kind::Swap => {
                let mut input = vec![0x38, 0xed, 0x17, 0x39];
                let minimum = amount / U256::from(3u8);
                for number in [amount, minimum, U256::from(160u8)] {
                    input.extend(number.to_be_bytes::<32>());
                }
                // swapExactTokensForTokens(in, out, path, to, deadline), `to` being the signer.
                input.extend(key.address().into_word());
                let deadline = 1_700_001_200 + self.random("deadline", account, 90);
                let from = self.random("from", account, 8);
                input.extend(U256::from(deadline).to_be_bytes::<32>());
                input.extend(U256::from(2u8).to_be_bytes::<32>());
                input.extend(contract(from).into_word());
                input.extend(contract((from + 1) % 8).into_word());
                let gas = 160_000 + self.random("gas", account, 20_000);
                signed(call(contract(10), gas, U256::ZERO, input), key)
            }
            Kind::Legacy => signed(legacy(Some(chain_id)), key),
            Kind::Unprotected => signed(legacy(None), key),
            Kind::AccessList => {
                let item =
                    AccessListItem { address: contract(3), storage_keys: vec![B256::ZERO; 2] };
                let tx = TxEip2930 {
                    chain_id,
                    nonce,
                    gas_price: max_fee,
                    gas_limit: 70_000,
                    to: TxKind::Call(contract(3)),
                    value: U256::ZERO,
                    access_list: AccessList(vec![item]),
                    input: Bytes::from_static(&[1, 2, 3]),
                };
                signed(tx, key)
            }
            Kind::SetCode => {
                let authorization =
                    Authorization { chain_id: U256::from(chain_id), address: contract(4), nonce };
                let authorization_list = vec![
                    authorization.clone().into_signed(sign(key, authorization.signature_hash())),
                ];
                let tx = TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit: 90_000,
                    max_fee_per_gas: max_fee,
                    max_priority_fee_per_gas: 7,
                    to: key.address(),
                    value: U256::ZERO,
                    access_list: AccessList::default(),
                    authorization_list,
                    input: Bytes::new(),
                };
                signed(tx, key)
            }
            Kind::Create => {
                let code = (0..200).flat_map(|i| [0x60, i, 0x50]).collect::<Vec<u8>>();
                let tx =
                    TxEip1559 { to: TxKind::Create, ..call(contract(0), 90_000, amount, code) };
                signed(tx, key)
            }
            Kind::Raw => {
                let length = self.random("raw", account, 300) as usize;
                (0..length).map(|i| i as u8 ^ account as u8).collect()
            }
        }
    }
}

fn sign(key: &SigningKey, digest: B256) -> Signature {
    let signature = key.sign_digest(digest);
    let (r, s) = (U256::from_be_bytes(signature.r), U256::from_be_bytes(signature.s));
    Signature::new(r, s, signature.y_parity)
}

fn signed<T: RlpEcdsaEncodableTx + SignableTransaction<Signature>>(
    tx: T,
    key: &SigningKey,
) -> Vec<u8>
where
    Signed<T>: Encodable2718,
{
    let signature = sign(key, tx.signature_hash());
    Signed::new_unhashed(tx, signature).encoded_2718()
}
