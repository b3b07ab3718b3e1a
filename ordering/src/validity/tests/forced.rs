//! Rules 1, 7 and 9 on a chain with settlement: what L1 says, and forced envelopes.

use super::*;
use crate::l1::{L1Block, L1Update, QueuedItem};
use blindfold_wire::{ForcedError, forced::MAX_FORCED_PER_HEIGHT};

const DELAY: u64 = 10;
const MAX_LAG: u64 = 20;
/// The parent's L1 block.
const PARENT_BLOCK: u64 = 50;

fn item(index: u64, kind: u8) -> ForcedItem {
    ForcedItem { index, kind, sender: Address::repeat_byte(7), data: vec![index as u8].into() }
}

/// Blocks 40 to 70; items 0 and 1 at 41 and 42, consumed by the parent; 2 to 4 at 45, 55 and 59.
fn l1() -> L1View {
    let mut view = L1View::new();
    let blocks = (40..=70).map(|number| L1Block { number, base_fee: number }).collect();
    let items = [(0, 41), (1, 42), (2, 45), (3, 55), (4, 59)];
    let items = items.map(|(index, block)| QueuedItem { item: item(index, 2), block }).into();
    view.update(&L1Update { blocks, items }, 0).unwrap();
    view
}

struct Forced {
    setting: Setting,
    l1: L1View,
}

impl Forced {
    fn new() -> Self {
        let mut setting = setting_with(|genesis| {
            genesis.settlement = Address::repeat_byte(0x5e);
            genesis.params.forced_delay_blocks = DELAY;
            genesis.params.max_l1_lag_blocks = MAX_LAG;
        });
        let l1 = l1();
        let parent = &mut setting.parent;
        parent.commitment.l1_block = PARENT_BLOCK;
        parent.commitment.l1_base_fee = PARENT_BLOCK;
        parent.commitment.forced_cursor = 2;
        parent.commitment.forced_hash = l1.hash_at(2).unwrap();
        parent.digest = parent.commitment.digest();
        Self { setting, l1 }
    }

    /// A block that names `l1_block` and consumes `items`, with these envelopes in them.
    fn block(&self, l1_block: u64, items: Vec<ForcedItem>) -> (OrderCommitment, ForcedSpan) {
        let span = ForcedSpan::after(&self.setting.parent.commitment, items);
        let (forced_cursor, forced_hash) = span.head();
        let l1_base_fee = self.l1.base_fee(l1_block).unwrap_or(l1_block);
        let commitment = self.setting.commitment();
        (OrderCommitment { l1_block, l1_base_fee, forced_cursor, forced_hash, ..commitment }, span)
    }

    fn verdict(
        &self,
        (commitment, span): (OrderCommitment, ForcedSpan),
        envelopes: &[Option<Candidate>],
        body: &[Candidate],
    ) -> Verdict {
        let signed = self.setting.sign(commitment.clone());
        let mut envelopes = envelopes.to_vec();
        envelopes.resize(span.items().len(), None);
        let forced = Arc::new(ForcedCandidates { span, envelopes });
        let link = Link { digest: signed.digest(), commitment, candidates: body.into(), forced };
        self.setting.validate(&signed, &link, true, &self.l1)
    }

    fn wait(&self, l1_block: u64, items: Vec<ForcedItem>) -> Option<L1Wait> {
        match self.verdict(self.block(l1_block, items), &[], &[]) {
            Verdict::Valid => None,
            Verdict::Pending(Pending::L1(wait)) => Some(wait),
            verdict => panic!("{verdict:?}"),
        }
    }
}

fn items(indices: &[u64]) -> Vec<ForcedItem> {
    indices.iter().map(|index| item(*index, 2)).collect()
}

#[test]
fn a_height_consumes_exactly_what_is_due() {
    let forced = Forced::new();
    let missing = |due| Some(L1Wait::Forced { due: Some(due) });
    // At block 55 item 2 is due, at 65 item 3, at 69 item 4.
    assert_eq!(forced.wait(54, vec![]), None);
    assert_eq!(forced.wait(55, items(&[2])), None);
    assert_eq!(forced.wait(69, items(&[2, 3, 4])), None);
    assert_eq!(forced.wait(55, vec![]), missing(1), "left out");
    assert_eq!(forced.wait(65, items(&[2])), missing(2), "the last is left out");
    assert_eq!(forced.wait(64, items(&[2, 3])), missing(1), "too early");
    let invented = vec![ForcedItem { sender: Address::ZERO, ..item(2, 2) }];
    assert_eq!(forced.wait(55, invented), missing(1), "another item than the queue's");
}

#[test]
fn what_we_do_not_know_of_l1_is_pending_never_invalid() {
    let mut forced = Forced::new();
    assert_eq!(forced.wait(71, items(&[2, 3, 4])), Some(L1Wait::Block { named: 71 }));
    // Standing where the parent is, a lag of 20 behind 70.
    assert_eq!(forced.wait(50, vec![]), None);
    let blocks = vec![L1Block { number: 71, base_fee: 1 }];
    forced.l1.update(&L1Update { blocks, items: vec![] }, 0).unwrap();
    assert_eq!(forced.wait(50, vec![]), Some(L1Wait::Lag { named: 50, finalized: 71 }));
    assert_eq!(forced.wait(71, items(&[2, 3, 4])), None, "it is known now");
    let (mut commitment, span) = forced.block(60, items(&[2]));
    commitment.l1_base_fee += 1;
    let verdict = forced.verdict((commitment, span), &[], &[]);
    assert_eq!(verdict, Verdict::Pending(Pending::L1(L1Wait::BaseFee { named: 60 })));
    forced.l1 = L1View::new();
    assert_eq!(forced.wait(50, vec![]), Some(L1Wait::Block { named: 50 }), "nothing known at all");
    forced.l1 =
        L1View::restored((3, B256::ZERO), &[L1Block { number: 60, base_fee: 60 }], &[]).unwrap();
    assert_eq!(forced.wait(60, items(&[2])), Some(L1Wait::Forced { due: None }));
}

#[test]
fn what_the_parent_says_is_objective() {
    let forced = Forced::new();
    let invalid = |change: fn(&mut OrderCommitment)| {
        let (mut commitment, span) = forced.block(55, items(&[2]));
        change(&mut commitment);
        matches!(forced.verdict((commitment, span), &[], &[]), Verdict::Invalid(_))
    };
    assert!(!invalid(|_| {}));
    assert!(invalid(|c| c.l1_block = 49), "back in time");
    assert!(invalid(|c| (c.l1_block, c.l1_base_fee) = (50, 51)), "another fee of the same block");
    let many: Vec<_> = (2..3 + MAX_FORCED_PER_HEIGHT as u64).map(|index| item(index, 2)).collect();
    let verdict = forced.verdict(forced.block(55, many), &[], &[]);
    let (most, found) = (MAX_FORCED_PER_HEIGHT, MAX_FORCED_PER_HEIGHT + 1);
    assert_eq!(verdict, Verdict::Invalid(CommitmentError::TooManyForced { most, found }));

    // Cursor and hash are checked where the block is decoded: against its own parent's commitment.
    let (commitment, span) = forced.block(55, items(&[2]));
    assert_eq!(span.check(&commitment), Ok(()));
    let other = OrderCommitment { forced_cursor: 4, ..commitment.clone() };
    assert!(matches!(span.check(&other), Err(ForcedError::Count { .. })));
    let other = OrderCommitment { forced_hash: B256::ZERO, ..commitment };
    assert_eq!(span.check(&other), Err(ForcedError::Hash));
}

#[test]
fn forced_envelopes_come_first_and_decide_nonces() {
    let forced = Forced::new();
    // Payer 1 is at nonce 6 with 20 left, payer 2 at 0 with 30.
    let block = || forced.block(69, items(&[2, 3, 4]));
    let [low, next, other] = [candidate_of(1, 6, 1), candidate_of(1, 7, 9), candidate_of(2, 0, 5)];
    let verdict = |envelopes: &[Option<Candidate>], body: &[Candidate]| {
        forced.verdict(block(), envelopes, body)
    };
    let in_queue = [Some(low.clone()), None, Some(other.clone())];
    let body = [low.clone(), other.clone(), next.clone()];
    assert_eq!(verdict(&in_queue, &body), Verdict::Valid);
    assert_eq!(verdict(&in_queue, &body[..2]), Verdict::Valid);
    let error = |position| Verdict::Invalid(OrderError::Forced { position }.into());
    assert_eq!(verdict(&in_queue, &[]), error(0), "left out");
    assert_eq!(verdict(&in_queue, &[low.clone(), next.clone()]), error(1));
    assert_eq!(verdict(&in_queue, &[other.clone(), low.clone()]), error(0), "swapped");

    // What is not orderable in its turn has no position, and the rest goes on without it.
    let too_soon = [Some(next.clone()), Some(low.clone()), None];
    assert_eq!(verdict(&too_soon, &[low.clone(), next.clone(), other.clone()]), Verdict::Valid);
    assert_eq!(verdict(&too_soon, &[next.clone(), low.clone()]), error(0));
    let expired = Candidate { expiry_height: 4, ..low.clone() };
    assert_eq!(verdict(&[Some(expired)], std::slice::from_ref(&other)), Verdict::Valid);
    let poor = Candidate { max_charge: U256::from(21), ..low.clone() };
    assert_eq!(verdict(&[Some(poor)], &[]), Verdict::Valid);
    let twice = [Some(low.clone()), Some(low.clone())];
    assert_eq!(verdict(&twice, std::slice::from_ref(&low)), Verdict::Valid);
    assert!(matches!(verdict(&twice, &[low.clone(), low]), Verdict::Invalid(_)));
}

#[test]
fn envelopes_must_pay_for_their_posting() {
    let mut forced = Forced::new();
    forced.setting.committee.genesis.params.l1_gas_per_byte = 32;
    forced.setting.committee.genesis.params.envelope_byte_gas = 16;
    let blocks = vec![L1Block { number: 71, base_fee: 1 << 39 }];
    forced.l1.update(&L1Update { blocks, items: vec![] }, 0).unwrap();
    let least = 1u128 << 40;
    let exact = Candidate { max_fee_per_gas: least, ..candidate_of(2, 0, 5) };
    let short = Candidate { max_fee_per_gas: least - 1, ..exact.clone() };
    let block = || forced.block(71, items(&[2, 3, 4]));
    let verdict = |body: &[Candidate]| forced.verdict(block(), &[], body);
    assert_eq!(verdict(std::slice::from_ref(&exact)), Verdict::Valid);
    let underpriced = OrderError::Underpriced { position: 0 };
    assert_eq!(verdict(std::slice::from_ref(&short)), Verdict::Invalid(underpriced.into()));
    // A forced one is no exception: it has no position.
    assert_eq!(forced.verdict(block(), &[Some(short.clone())], &[]), Verdict::Valid);
    let body = [exact.clone()];
    assert_eq!(forced.verdict(block(), &[Some(exact)], &body), Verdict::Valid);
    assert!(matches!(forced.verdict(block(), &[Some(short)], &body[..0]), Verdict::Valid));
}

#[test]
fn items_take_room_from_the_block() {
    let params = ChainParams::default();
    let parent = OrderCommitment::default();
    let plain: Vec<_> = (0..3).map(|index| item(index, 1)).collect();
    let span = ForcedSpan::after(&parent, plain);
    let (with, without) = (bounds(&params, &span), bounds(&params, &ForcedSpan::none()));
    assert_eq!(without.max_gas - with.max_gas, 3 << 20);
    assert_eq!(without.max_bytes - with.max_bytes, span.size_bytes());
    assert_eq!(without.max_count, with.max_count);
}
