//! The contracts themselves, on the embedded L1, judge what was found: batches go through the inbox, evidence
//! through the slasher, and both say what we say offline.

use alloy_eips::eip2718::Encodable2718 as _;
use alloy_network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _};
use alloy_primitives::{Address, U256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::{TransactionReceipt, TransactionRequest};
use alloy_sol_types::{SolCall as _, SolError as _, SolEvent as _};
use blindfold_wire::{Opening, SigningKey};
use futures::executor::block_on;

use super::{Post, chain};
use crate::{
    accumulator::signature_hash,
    batch::{Batch, Draft},
    bindings::{BatchInbox, PosterVerifier, Slasher},
    codec::PostedItem,
    deploy::{self, Addresses, DeploymentPlan, Funding, L1Params},
    derive::{ChainRules, Start},
    evidence::{Offence, OffenceError, OffenceKind},
    find::{Executed, Finding, Posted, Revealed, find},
    l1::{
        Dropped, L1, L1Signer, SendFault,
        conformance::{self, Miner},
        embedded::{Config, Embedded},
        fault,
    },
    posting,
    testkit::{Kind, TestHistory},
};

/// Heights of the batch; two more certify the roots of its last ones.
const HEIGHTS: [&[Kind]; 4] = [
    &[Kind::TokenTransfer, Kind::EtherTransfer],
    &[Kind::Undecryptable],
    &[Kind::Fitting, Kind::Swap],
    &[],
];
/// The account that seals [`Kind::Fitting`].
const FITTING: u64 = 3;

struct World {
    l1: Embedded,
    addresses: Addresses,
    rules: ChainRules,
    history: TestHistory,
    poster: SigningKey,
}

impl World {
    fn new() -> Self {
        let alloc =
            conformance::funded().iter().map(|key| (key.address(), U256::MAX >> 128)).collect();
        let l1 = Embedded::new(Config { alloc, ..Config::default() });
        let key = conformance::funded()[0].clone();
        let plan = DeploymentPlan::new(key.address(), 0);
        // Nothing is forced on this L1, and so nothing in the history.
        let mut history = (0..)
            .map(|seed| TestHistory::settled_at(seed, plan.settlement_address()))
            .find(|history| (1..=6).all(|height| history.random("forced", height, 4) != 0))
            .unwrap();
        for kinds in HEIGHTS {
            history.push(kinds);
        }
        history.push(&[]);
        history.push(&[]);
        assert_eq!(history.last().forced_cursor, 0);
        let genesis = &history.committee.genesis;
        let params = L1Params::development();
        let creations = deploy::creations(&plan, genesis, &history.leaders, &params).unwrap();
        let miner = Miner(&l1);
        block_on(deploy::deploy(&l1, &key, &plan, &creations, genesis, &miner)).unwrap();
        let signers: Vec<_> =
            history.committee.members.iter().map(|member| member.signer.clone()).collect();
        let funding = Funding {
            stake_wei: params.min_stake_wei,
            gas_wei: U256::from(1_000_000_000_000_000_000u64),
        };
        let addresses = plan.addresses();
        block_on(deploy::fund_members(&l1, &key, &addresses, genesis, &signers, &funding, &miner))
            .unwrap();
        let rules = chain(&history);
        Self { l1, addresses, rules, poster: signers[1].clone(), history }
    }

    fn start(&self) -> Start {
        Start::of_chain(&self.history.committee.genesis)
    }

    /// All heights of the batch, posted as they should be.
    fn honest(&self) -> Post {
        Post::honest(&self.history, 0..HEIGHTS.len(), &self.start())
    }

    /// Index of an opening.
    fn index(height: usize, position: usize) -> usize {
        HEIGHTS[..height].iter().map(|kinds| kinds.len()).sum::<usize>() + position
    }

    /// Another opening in data and leaf.
    fn open_as(&self, height: usize, position: usize, opening: &Opening) -> Post {
        let mut post = self.honest();
        let envelope = &self.history.heights[height].opened.items()[position].envelope;
        post.data.heights[height].items[position] = PostedItem::new(envelope, opening);
        post.openings[Self::index(height, position)].opening_hash =
            blindfold_wire::opening_hash(opening);
        post
    }

    /// Posts it, and gives the header that the inbox made of it.
    fn post(&self, post: &Post) -> Batch {
        let draft = Draft {
            first_height: post.header.first_height,
            last: post.last.clone(),
            certificate: self.history.committee.certificate(&post.last),
            trees: post.trees(),
            data: post.bytes(),
        };
        let state_root = self.history.state_root(post.last.height);
        let call =
            posting::call(&draft, self.rules.genesis.hash(), state_root, draft.data.clone().into())
                .unwrap();
        let receipt = block_on(self.send(self.addresses.inbox, call.abi_encode()));
        assert!(receipt.status(), "the inbox takes it");
        let posted = receipt
            .inner
            .logs()
            .iter()
            .find_map(|log| BatchInbox::BatchPosted::decode_log(&log.inner).ok())
            .unwrap();
        let header = Batch::from(&posted.batch);
        assert_eq!(header.hash(), posted.hash);
        header
    }

    /// The poster's transaction, mined.
    async fn send(&self, to: Address, input: Vec<u8>) -> TransactionReceipt {
        let provider = self.l1.provider();
        let nonce = provider.get_transaction_count(self.poster.address()).await.unwrap();
        let request = TransactionRequest::default()
            .with_from(self.poster.address())
            .with_to(to)
            .with_chain_id(self.l1.chain_id())
            .with_nonce(nonce)
            .with_gas_limit(3_000_000)
            .with_max_fee_per_gas(20_000_000_000)
            .with_max_priority_fee_per_gas(1_000_000_000)
            .with_input(input);
        let wallet = EthereumWallet::from(L1Signer::new(self.poster.clone()));
        let envelope = request.build(&wallet).await.unwrap();
        let sent = provider.send_raw_transaction(&envelope.encoded_2718()).await.unwrap();
        deploy::Pace::pause(&Miner(&self.l1)).await;
        provider.get_transaction_receipt(*sent.tx_hash()).await.unwrap().unwrap()
    }

    /// Undoes the last block.
    fn undo(&self) {
        let head = block_on(self.l1.heads()).unwrap().latest;
        let control = self.l1.control().unwrap();
        block_on(control.reorg(1, Dropped::Forgotten, head.timestamp_s + 12)).unwrap();
    }

    fn find(&self, header: &Batch, post: &Post) -> Vec<Finding> {
        let data = post.bytes();
        let revealed = Revealed::default();
        let heights = &self.history.heights;
        let states =
            (1..=HEIGHTS.len() as u64).map(|height| (height, self.history.state_root(height)));
        let states = states.collect();
        let above: Vec<_> = heights[HEIGHTS.len()..]
            .iter()
            .map(|height| height.opened.certified().clone())
            .collect();
        let posted = Posted {
            header,
            previous: None,
            data: Some(&data),
            revealed: &revealed,
            executed: Executed { state_roots: &states, above: &above },
        };
        find(&self.rules, &self.start(), &posted, &heights[..HEIGHTS.len()]).unwrap()
    }

    /// What the slasher says to evidence.
    fn judge(&self, evidence: Vec<u8>) -> Result<(u8, Address), SendFault> {
        let call = Slasher::verifyCall { evidence: evidence.into() };
        let request = TransactionRequest::default()
            .to(self.addresses.slasher)
            .input(call.abi_encode().into());
        let output = block_on(async { self.l1.provider().call(request).await })
            .map_err(|error| fault(&error))?;
        let verdict = Slasher::verifyCall::abi_decode_returns(&output).unwrap();
        Ok((verdict.kind, verdict.culprit))
    }
}

#[test]
fn the_contracts_judge_as_we_do() {
    let world = World::new();
    let items = |height: usize| world.history.heights[height].opened.items();
    let undecryptable = |secret| Opening::Undecryptable { secret };
    let right_secret = world.history.secret(&items(0)[1].envelope);
    let other_secret = world.history.secret(&items(0)[0].envelope);
    let Opening::Opened { seed, message } = items(0)[0].opening.clone() else { panic!() };
    let other_seed = Opening::Opened { seed: seed.map(|byte| byte ^ 1), message };

    let mut swapped = world.honest();
    swapped.data.heights[2].items.swap(0, 1);
    let (a, b) = (World::index(2, 0), World::index(2, 1));
    swapped.openings.swap(a, b);
    (swapped.openings[a].position, swapped.openings[b].position) = (0, 1);
    let mut forged = world.honest();
    let digest = forged.heights[1].digest;
    let leader = world.history.leaders.leader(world.history.heights[1].signed.commitment.view);
    let mut others = world.history.committee.members.iter();
    let other = others.find(|member| member.signer.address() != leader).unwrap();
    let signature = other.signer.sign_digest(digest);
    forged.data.heights[1].signature = signature;
    forged.heights[1].signature_hash = signature_hash(&signature);

    let wrong = OffenceKind::WrongOpening;
    let cases = [
        ("swapped", swapped, OffenceKind::Reordering, false),
        ("forged", forged, OffenceKind::ForgedCommitment, false),
        ("other seed", world.open_as(0, 0, &other_seed), wrong, false),
        ("other secret", world.open_as(1, 0, &undecryptable(other_secret)), wrong, false),
        ("right secret", world.open_as(0, 1, &undecryptable(right_secret)), wrong, true),
        ("fits u", world.open_as(2, 0, &world.history.fitting(FITTING)), wrong, true),
    ];
    let honest = world.honest();
    for (name, post, kind, disowned) in cases {
        let post = post.seal();
        let header = world.post(&post);
        let findings = world.find(&header, &post);
        let offence = findings
            .into_iter()
            .find_map(|finding| match finding {
                Finding::Proven(offence) if offence.kind() == kind => Some(offence),
                _ => None,
            })
            .unwrap_or_else(|| panic!("{name}: nothing found"));
        assert_eq!(matches!(offence, Offence::DisownedOpening(_)), disowned, "{name}");
        let culprit = offence.verify(&world.rules, &vec![header.clone()]).unwrap();
        assert_eq!(culprit.signer, world.poster.address(), "{name}");
        let evidence = offence.to_call(&world.rules).unwrap();
        assert_eq!(world.judge(evidence.clone()), Ok((kind as u8, culprit.signer)), "{name}");
        // Of a batch that is not on L1 any more it proves nothing.
        world.undo();
        let unknown = SendFault::Reverted(PosterVerifier::UnknownBatch {}.abi_encode().into());
        assert_eq!(world.judge(evidence), Err(unknown), "{name}");

        // Nor of what is right, dressed up as evidence.
        if let Offence::DisownedOpening(mut e) = offence {
            let header = world.post(&honest);
            let index = World::index(e.posted.height as usize - 1, e.posted.position as usize);
            e.batch = header.clone();
            (e.posted, e.posted_proof) = honest.trees().prove_opening(index as u32).unwrap();
            let claim = Offence::DisownedOpening(e);
            assert_eq!(claim.verify(&world.rules, &vec![header]), Err(OffenceError::NoFault));
            let no_fault = SendFault::Reverted(PosterVerifier::NoFault {}.abi_encode().into());
            assert_eq!(world.judge(claim.to_call(&world.rules).unwrap()), Err(no_fault), "{name}");
            world.undo();
        }
    }
    let header = world.post(&honest);
    assert_eq!(world.find(&header, &honest), []);
}
