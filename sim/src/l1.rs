//! L1 as a world has it: blocks at a steady pace, final to each member after a time of its own, and a forced queue
//! with items of every kind, good and bad.
//!
//! There are no contracts behind it. What members get is what a follower of a real L1 would tell them.

use crate::{
    plan::{MEMBERS, Plan, WALLETS},
    wallets,
};
use alloy_primitives::{Address, Bytes, U256};
use blindfold_crypto::{CommitteeKey, Seed, seal, testkit::seal_undecryptable};
use blindfold_execution::ForcedVerdict;
use blindfold_ordering::l1::{L1Block, L1Update, L1View, QueuedItem};
use blindfold_wire::{
    ChainParams, EnvelopeHeader, ForcedItem, ForcedKind, Genesis, SigningKey, sign_envelope,
};
use rand::RngExt as _;

/// The settlement contract of the simulated chain.
pub const SETTLEMENT: Address = Address::repeat_byte(0x5e);
/// An L1 block comes so often, in milliseconds.
pub const L1_BLOCK_MS: u64 = 400;
/// A block is final to a member after so long at most, in milliseconds.
pub const FINALITY_MS: u64 = 1_200;
/// Blocks after which an item is due.
pub const DELAY_BLOCKS: u64 = 2;
/// Blocks by which an item must have been consumed.
pub const DEADLINE_BLOCKS: u64 = 38;
/// Blocks that a commitment may lag behind.
pub const MAX_LAG_BLOCKS: u64 = 24;
/// Blocks of a world: more than it lives.
const BLOCKS: u64 = 200;
/// Payers that force envelopes; the first has escrow and funds, the second funds alone.
const FORCERS: usize = 2;
/// Once the first items are through, a deposit comes every so many blocks: for a censor that has not led yet.
const EVERY_BLOCKS: u64 = 3;
const MAX_FEE_WEI: u128 = 100_000_000_000;

/// How an item must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedEnd {
    /// Its envelope gets a position.
    Ordered,
    /// Its transaction is executed with success.
    Executed,
    /// Its wei is credited.
    Credited,
    /// It is skipped.
    Skipped,
}

impl ForcedEnd {
    /// Whether a verdict is that end.
    pub fn is(self, verdict: &ForcedVerdict) -> bool {
        match self {
            Self::Ordered => matches!(verdict, ForcedVerdict::Ordered { .. }),
            Self::Executed => matches!(verdict, ForcedVerdict::Executed { success: true, .. }),
            Self::Credited => matches!(verdict, ForcedVerdict::Credited { .. }),
            Self::Skipped => matches!(verdict, ForcedVerdict::Skipped { .. }),
        }
    }
}

/// L1 of one world.
#[derive(Debug)]
pub struct L1 {
    /// All that ever comes to pass.
    pub truth: L1View,
    /// Chain parameters.
    pub params: ChainParams,
    /// How each item must end, by index.
    pub ends: Vec<ForcedEnd>,
    /// Items that a world waits for; more may come.
    pub awaited: u64,
    /// Time from a block to its finality, by member, in milliseconds.
    finality_ms: [u64; MEMBERS],
}

/// The parameters that a world changes.
pub fn adjust(params: &mut ChainParams) {
    params.forced_delay_blocks = DELAY_BLOCKS;
    params.forced_deadline_blocks = DEADLINE_BLOCKS;
    params.max_l1_lag_blocks = MAX_LAG_BLOCKS;
}

/// Key of a payer that forces.
pub fn key(plan: &Plan, forcer: usize) -> SigningKey {
    wallets::key(plan, WALLETS + forcer)
}

/// Accounts that force: with funds, and whether they have escrow.
pub fn forcers(plan: &Plan) -> Vec<(Address, bool)> {
    (0..FORCERS).map(|forcer| (key(plan, forcer).address(), forcer == 0)).collect()
}

impl L1 {
    /// L1 of a plan.
    ///
    /// # Panics
    /// If the genesis has no valid committee key.
    pub fn new(plan: &Plan, genesis: &Genesis) -> Self {
        let mut random = plan.random(6);
        let finality_ms = [(); MEMBERS].map(|()| random.random_range(0..=FINALITY_MS));
        let contents = contents(plan, genesis);
        let awaited = contents.len() as u64;
        let (mut ends, mut truth) = (Vec::new(), L1View::new());
        let mut waiting = contents.into_iter();
        for number in 1..=BLOCKS {
            // One or two of the first items a block, then a trickle.
            let mut now: Vec<_> = waiting.by_ref().take(1 + usize::from(number % 3 == 0)).collect();
            if now.is_empty() && number.is_multiple_of(EVERY_BLOCKS) {
                now.push(deposit(Address::repeat_byte(number as u8), 1));
            }
            let first = ends.len() as u64;
            let items = (first..).zip(&now).map(|(index, (kind, data, _))| {
                let sender = Address::repeat_byte(0xf0);
                let item = ForcedItem { index, kind: *kind, sender, data: data.clone() };
                QueuedItem { item, block: number }
            });
            let update = L1Update {
                blocks: vec![L1Block { number, base_fee: base_fee(number) }],
                items: items.collect(),
            };
            truth.update(&update, 0).expect("blocks in order");
            ends.extend(now.into_iter().map(|(_, _, end)| end));
        }
        Self { truth, params: genesis.params.clone(), ends, awaited, finality_ms }
    }

    /// What a member hears next at `now_ms`, if there is something new. One that is blind hears of no items.
    pub fn news(
        &self,
        member: usize,
        known: &L1View,
        now_ms: u64,
        blind: bool,
    ) -> Option<L1Update> {
        let from = known.finalized().map_or(1, |block| block.number + 1);
        let newest = now_ms.checked_sub(self.finality_ms[member])? / L1_BLOCK_MS;
        let numbers = from..=newest.min(BLOCKS);
        let blocks: Vec<_> =
            numbers.clone().map(|number| L1Block { number, base_fee: base_fee(number) }).collect();
        let items = (known.next_index()..self.truth.next_index())
            .filter_map(|index| self.truth.item(index))
            .take_while(|queued| !blind && queued.block <= newest)
            .cloned()
            .collect();
        (!blocks.is_empty()).then_some(L1Update { blocks, items })
    }

    /// How many items are due after a height that left the queue at `cursor`, at an L1 block.
    pub fn due(&self, cursor: u64, l1_block: u64) -> Vec<&ForcedItem> {
        self.truth.due(cursor, l1_block, &self.params).unwrap_or_default()
    }

    /// When an item must have been consumed, in milliseconds from the start.
    pub fn deadline_ms(&self, index: u64) -> Option<u64> {
        Some((self.truth.item(index)?.block + DEADLINE_BLOCKS) * L1_BLOCK_MS)
    }
}

/// Base fee of a block, in wei per gas: between half a gwei and one and a half.
pub fn base_fee(number: u64) -> u64 {
    500_000_000 + (number * 37 % 100) * 10_000_000
}

type Content = (u8, Bytes, ForcedEnd);

fn deposit(to: Address, wei: u64) -> Content {
    (ForcedKind::Deposit as u8, credit(to, wei), ForcedEnd::Credited)
}

fn credit(to: Address, wei: u64) -> Bytes {
    [to.as_slice(), &U256::from(wei).to_be_bytes::<32>()].concat().into()
}

/// Items of every kind, in the order of the queue.
fn contents(plan: &Plan, genesis: &Genesis) -> Vec<Content> {
    let committee = CommitteeKey::from_bytes(&genesis.committee.y).expect("a dealt key");
    let mut random = plan.random(7);
    let (payer, poor) = (key(plan, 0), key(plan, 1));
    let transfer = |nonce, key: &SigningKey| {
        wallets::transfer(genesis.chain_id, nonce, Address::repeat_byte(0x77), 5, key)
    };
    let mut sealed = |nonce, expiry_height, opens: bool, key: &SigningKey, message: &[u8]| {
        let header = EnvelopeHeader {
            chain_id: genesis.chain_id,
            key_id: genesis.key_id(),
            payer_nonce: nonce,
            max_fee_per_gas: MAX_FEE_WEI,
            max_priority_fee_per_gas: 1,
            gas_limit: 1 << 15,
            expiry_height,
        };
        let label = header.label(key.address());
        let seed = Seed::from_bytes(random.random());
        let ciphertext = match opens {
            true => seal(&committee, &label, &seed, message),
            false => seal_undecryptable(&committee, &label, &seed, message),
        };
        Bytes::from(sign_envelope(header, ciphertext.expect("a short message"), key).encode())
    };
    use ForcedEnd::*;
    let [by_seal, plain] = [ForcedKind::Sealed as u8, ForcedKind::Plain as u8];
    let good = sealed(0, 4_000, true, &payer, &transfer(0, &payer));
    let escrow = (ForcedKind::EscrowDeposit as u8, credit(poor.address(), u64::MAX), Credited);
    vec![
        (by_seal, good.clone(), Ordered),
        (plain, transfer(0, &poor).into(), Executed),
        // The same again, and one that comes before its turn.
        (by_seal, good, Skipped),
        (by_seal, sealed(2, 4_000, true, &payer, b"too soon"), Skipped),
        (by_seal, sealed(1, 4_000, false, &payer, b"lost"), Ordered),
        deposit(Address::repeat_byte(0x78), 1_000_000),
        (by_seal, sealed(2, 0, true, &payer, b"expired"), Skipped),
        // Without escrow: the deposit that comes next is no use to what was ordered before.
        (by_seal, sealed(0, 4_000, true, &poor, b"not covered"), Skipped),
        escrow,
        (ForcedKind::Reimbursement as u8, credit(Address::repeat_byte(0x79), 7), Credited),
        (by_seal, vec![0x5e, 0xc0].into(), Skipped),
        (plain, transfer(9, &poor).into(), Skipped),
        (plain, vec![2; 40].into(), Skipped),
        (ForcedKind::Deposit as u8, vec![1; 51].into(), Skipped),
        (9, vec![].into(), Skipped),
        (by_seal, sealed(2, 4_000, true, &payer, &transfer(1, &payer)), Ordered),
    ]
}
