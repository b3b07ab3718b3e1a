//! Whose turn it is to post, how to carry the data, what to offer for it, and what to do about a transaction
//! that was sent: decisions without I/O. Which challenge to answer is decided in [`crate::reveal`].
//!
//! # Steps
//!
//! ```text
//!            nothing sent                         something sent
//!  ┌─ a challenge to answer ─▶ Answer             in a block, good ──────▶ Keep until final, or begin the next
//!  ├─ not my turn, or too little ─▶ Wait          in a block, reverted ──▶ Drop
//!  └─ else ─▶ Build                               nonce used, or not next ▶ Drop
//!                 └─▶ store ─▶ send               chain moved on ────────▶ Cancel: same nonce, no data
//!                                                 waited long enough ────▶ Bump, up to a cap
//!                                                 else ──────────────────▶ Wait
//! ```
//!
//! What was sent is stored before it is sent, so a crash leaves the transaction to be found again, and never a
//! second one beside it. A reorg takes the block away: the same transaction is then not in a block any more and
//! is sent again. The inbox takes a batch only on the hash of the one before, so there is no order of events in
//! which two batches for one height are accepted, or a height is left out. A challenge is answered once, whoever
//! tries.
//!
//! An answer goes before a batch, and what stands in its way is pushed out of it: a stake is worth more than gas.

use alloy_primitives::B256;

/// Gas of one blob (EIP-4844).
pub const BLOB_GAS: u64 = 131_072;

/// Percent by which a replacement must offer more, for transactions with blobs (as clients ask for) and without.
const BUMP_PERCENT_BLOBS: u128 = 100;
const BUMP_PERCENT: u128 = 13;

/// The rotation of posters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Members of the committee; at least one.
    pub members: u32,
    /// A member that does not post for so long loses its turn to the next, in seconds.
    pub takeover_s: u64,
}

impl Rotation {
    /// The seat whose turn it is to post batch `index` (from 1), when heights have waited for `waited_s`.
    #[must_use]
    pub fn seat(&self, index: u64, waited_s: u64) -> u32 {
        let members = u64::from(self.members.max(1));
        let lost = waited_s / self.takeover_s.max(1);
        let seat = index.saturating_sub(1).wrapping_add(lost) % members;
        // Below `members`, which is a u32.
        u32::try_from(seat).unwrap_or_default()
    }
}

/// What gas costs on L1 now, in wei per gas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Base fee of the newest block.
    pub base_fee: u128,
    /// Blob base fee of the newest block.
    pub blob_base_fee: u128,
    /// What is offered to whoever builds the block.
    pub tip: u128,
}

/// How a batch's data gets to L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// With the call.
    Calldata,
    /// In this many blobs.
    Blobs(usize),
}

impl Carriage {
    /// The cheaper way. Calldata counts by EIP-7623: four gas per token, or ten where that floor is higher than
    /// all the call does, `call_gas` (without its data); a zero byte is one token, any other four. `blobs` is how
    /// many the data takes, `None` if it does not fit or blobs are not wanted.
    #[must_use]
    pub fn cheaper(data: &[u8], call_gas: u64, blobs: Option<usize>, prices: &Prices) -> Self {
        let Some(blobs) = blobs else { return Self::Calldata };
        let zeros = data.iter().filter(|byte| **byte == 0).count();
        let tokens = (zeros + 4 * (data.len() - zeros)) as u128;
        let call_gas = u128::from(call_gas);
        let by_calldata = (call_gas + 4 * tokens).max(10 * tokens) * prices.base_fee;
        let blob_gas = blobs as u128 * u128::from(BLOB_GAS);
        let by_blobs = call_gas * prices.base_fee + blob_gas * prices.blob_base_fee;
        if by_blobs < by_calldata { Self::Blobs(blobs) } else { Self::Calldata }
    }
}

/// What a transaction offers, in wei per gas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bid {
    /// Most per gas.
    pub max_fee: u128,
    /// Most of that for whoever builds the block.
    pub max_priority_fee: u128,
    /// Most per blob gas.
    pub max_blob_fee: u128,
}

impl Bid {
    /// Room for the base fees to double before the offer is too low.
    #[must_use]
    pub fn first(prices: &Prices) -> Self {
        Self {
            max_fee: prices.base_fee.saturating_mul(2).saturating_add(prices.tip),
            max_priority_fee: prices.tip,
            max_blob_fee: prices.blob_base_fee.saturating_mul(2).max(1),
        }
    }

    /// Whether it still pays for a place in the next block.
    #[must_use]
    pub const fn covers(&self, prices: &Prices, blobs: bool) -> bool {
        self.max_fee > prices.base_fee && (!blobs || self.max_blob_fee >= prices.blob_base_fee)
    }

    /// An offer that replaces this one, at least what would be offered now. `None` if that is over `cap` wei per
    /// gas: then it is left as it is, until prices fall or somebody else posts.
    #[must_use]
    pub fn bumped(&self, prices: &Prices, blobs: bool, cap: u128) -> Option<Self> {
        let percent = if blobs { BUMP_PERCENT_BLOBS } else { BUMP_PERCENT };
        let more = |old: u128| {
            old.saturating_add(old.saturating_mul(percent).div_ceil(100)).max(old.saturating_add(1))
        };
        let fresh = Self::first(prices);
        let bid = Self {
            max_fee: more(self.max_fee).max(fresh.max_fee),
            max_priority_fee: more(self.max_priority_fee).max(fresh.max_priority_fee),
            max_blob_fee: more(self.max_blob_fee).max(fresh.max_blob_fee),
        };
        let over = bid.max_fee > cap || (blobs && bid.max_blob_fee > cap);
        if over { None } else { Some(bid) }
    }
}

/// When to post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whose turn it is.
    pub rotation: Rotation,
    /// Heights wait no longer than this for others to share a batch with, in seconds.
    pub interval_s: u64,
    /// So many heights do not wait.
    pub full_heights: u64,
    /// A transaction that is in no block after this long is replaced by one that offers more, in seconds.
    pub bump_after_s: u64,
    /// Most that is ever offered for a batch, in wei per gas.
    pub max_fee_cap: u128,
    /// Most that is ever offered for an answer, in wei per gas; what is offered for a batch, if that is more.
    pub answer_fee_cap: u128,
    /// Whether this member posts batches at all; it answers challenges in any case.
    pub posts: bool,
}

impl Policy {
    /// The most that is offered for an answer, and for getting something out of its way.
    fn urgent_cap(&self) -> u128 {
        self.answer_fee_cap.max(self.max_fee_cap)
    }
}

/// What of L1 and of the own chain the decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Batches the inbox has.
    pub batches: u64,
    /// Their hash: what the next must name as its parent.
    pub parent: B256,
    /// Heights after the posted ones that could be posted.
    pub ready_heights: u64,
    /// How long the first of them has been ready, in seconds.
    pub waited_s: u64,
    /// The challenge that this member is to answer now, by its id.
    pub answer: Option<B256>,
    /// Whether the challenge that was answered by what was sent is still open in the newest block; of no account if
    /// something else was sent.
    pub answered_is_open: bool,
    /// The own account's next nonce in the newest block.
    pub nonce: u64,
    /// Now, in seconds since the Unix epoch.
    pub now_s: u64,
}

/// What became of a transaction that was sent, in any of the forms it was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In no block.
    Open,
    /// In a block, and it did what it should.
    Included {
        /// Whether that block is final.
        is_final: bool,
    },
    /// In a block, and reverted.
    Reverted,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A batch. Worthless once the inbox has another after this parent.
    Batch {
        /// Hash of the batch before.
        parent: B256,
    },
    /// The answer to a challenge. Worthless once the challenge is not open any more.
    Answer {
        /// Id of the challenge.
        challenge: B256,
    },
    /// What nothing that comes in between makes worthless: the claim of a repayment, or nothing at all in the place
    /// of what came too late.
    Standing,
}

/// A transaction that was sent and is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// What it offers.
    pub bid: Bid,
    /// Whether it has blobs.
    pub blobs: bool,
    /// When it was last sent, in seconds since the Unix epoch.
    pub sent_s: u64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Build the next batch and send it.
    Build,
    /// Answer the challenge of the view.
    Answer,
    /// Send what was sent once more, as it is: the node may have lost it.
    Resend,
    /// Replace it by the same with this offer.
    Bump(Bid),
    /// Replace it by nothing: it is worthless now, or in the way of an answer.
    Cancel(Bid),
    /// It did its work, but its block may still go.
    Keep,
    /// Forget it: it is settled, or can never be.
    Drop,
}

/// Decides.
#[must_use]
pub fn step(
    seat: u32,
    policy: &Policy,
    view: &View,
    prices: &Prices,
    sent: Option<(&Sent, Fate)>,
) -> Step {
    match sent {
        None => begin(seat, policy, view),
        Some((sent, fate)) => go_on(seat, policy, view, prices, sent, fate),
    }
}

fn begin(seat: u32, policy: &Policy, view: &View) -> Step {
    if view.answer.is_some() {
        return Step::Answer;
    }
    let index = view.batches.saturating_add(1);
    let worth_it = view.ready_heights >= policy.full_heights || view.waited_s >= policy.interval_s;
    // The turn is lost only by the time beyond which heights need not have waited.
    let late_s = view.waited_s.saturating_sub(policy.interval_s);
    let posts = policy.posts && view.ready_heights > 0 && worth_it;
    if posts && policy.rotation.seat(index, late_s) == seat { Step::Build } else { Step::Wait }
}

fn go_on(
    seat: u32,
    policy: &Policy,
    view: &View,
    prices: &Prices,
    sent: &Sent,
    fate: Fate,
) -> Step {
    match fate {
        Fate::Included { is_final: true } | Fate::Reverted => return Step::Drop,
        // Nothing rests on its block staying: should a reorg take it, the inbox is back where it was, and what is
        // sent next is made for that.
        Fate::Included { is_final: false } => {
            let own = view.answer.map(|challenge| Purpose::Answer { challenge });
            return match begin(seat, policy, view) {
                // The block came between two looks.
                Step::Answer if own == Some(sent.purpose) => Step::Keep,
                Step::Wait => Step::Keep,
                next => next,
            };
        }
        Fate::Open => {}
    }
    if view.nonce != sent.nonce {
        // Either another transaction of this account is in a block instead, or a reorg took the one before,
        // and this one cannot come in until that is made up for.
        return Step::Drop;
    }
    let in_the_way = view.answer.is_some();
    let (outdated, cap) = match sent.purpose {
        Purpose::Batch { parent } => (view.parent != parent, policy.max_fee_cap),
        Purpose::Answer { .. } => (!view.answered_is_open, policy.urgent_cap()),
        Purpose::Standing if in_the_way => (false, policy.urgent_cap()),
        Purpose::Standing => (false, policy.max_fee_cap),
    };
    let old = view.now_s.saturating_sub(sent.sent_s) >= policy.bump_after_s;
    match sent.bid.bumped(prices, sent.blobs, cap) {
        Some(bid) if outdated => Step::Cancel(bid),
        Some(bid) if old => Step::Bump(bid),
        None if old && in_the_way => {
            // L1 is dearer than a batch is worth, and an answer waits behind it.
            let bid = sent.bid.bumped(prices, sent.blobs, policy.urgent_cap());
            bid.map_or(Step::Resend, Step::Cancel)
        }
        _ if old => Step::Resend,
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        rotation: Rotation { members: 4, takeover_s: 60 },
        interval_s: 30,
        full_heights: 100,
        bump_after_s: 24,
        max_fee_cap: 1_000,
        answer_fee_cap: 5_000,
        posts: true,
    };
    const PRICES: Prices = Prices { base_fee: 10, blob_base_fee: 3, tip: 1 };

    fn view() -> View {
        View {
            batches: 5,
            parent: B256::repeat_byte(5),
            ready_heights: 1,
            waited_s: 0,
            answer: None,
            answered_is_open: false,
            nonce: 7,
            now_s: 1_000,
        }
    }

    const ASKED: B256 = B256::repeat_byte(0xa);

    fn sent() -> Sent {
        let purpose = Purpose::Batch { parent: B256::repeat_byte(5) };
        Sent { nonce: 7, purpose, bid: Bid::first(&PRICES), blobs: false, sent_s: 1_000 }
    }

    #[test]
    fn one_member_at_a_time_has_the_turn_and_loses_it_by_waiting() {
        let rotation = POLICY.rotation;
        let seats: Vec<_> = (1..=5).map(|index| rotation.seat(index, 0)).collect();
        assert_eq!(seats, [0, 1, 2, 3, 0]);
        let later: Vec<_> = [59, 60, 119, 120, 240].map(|s| rotation.seat(1, s)).to_vec();
        assert_eq!(later, [0, 1, 1, 2, 0]);
        assert_eq!(Rotation { members: 0, takeover_s: 0 }.seat(0, 5), 0, "nonsense does not panic");
    }

    #[test]
    fn a_batch_is_built_when_it_is_full_or_has_waited_and_only_by_whose_turn_it_is() {
        // (ready, waited, seat, step); batch 6 is seat 1's.
        for (ready_heights, waited_s, seat, expected) in [
            (0, 100, 1, Step::Wait),
            (1, 29, 1, Step::Wait),
            (1, 30, 1, Step::Build),
            (1, 30, 2, Step::Wait),
            (99, 0, 1, Step::Wait),
            (100, 0, 1, Step::Build),
            (1, 89, 1, Step::Build),
            (1, 90, 1, Step::Wait),
            (1, 90, 2, Step::Build),
        ] {
            let view = View { ready_heights, waited_s, ..view() };
            assert_eq!(
                step(seat, &POLICY, &view, &PRICES, None),
                expected,
                "{ready_heights} {waited_s} {seat}"
            );
        }
    }

    #[test]
    fn what_was_sent_is_followed_to_its_end() {
        let check = |change: fn(&mut Sent, &mut View), fate, expected| {
            let (mut sent, mut view) = (sent(), view());
            change(&mut sent, &mut view);
            assert_eq!(step(1, &POLICY, &view, &PRICES, Some((&sent, fate))), expected);
        };
        let bid = Bid::first(&PRICES);
        let bumped = bid.bumped(&PRICES, false, 1_000).expect("below the cap");
        check(|_, _| {}, Fate::Open, Step::Wait);
        check(|_, view| view.now_s += 24, Fate::Open, Step::Bump(bumped));
        check(|_, view| view.parent = B256::ZERO, Fate::Open, Step::Cancel(bumped));
        check(
            |sent, view| (sent.purpose, view.parent) = (Purpose::Standing, B256::ZERO),
            Fate::Open,
            Step::Wait,
        );
        check(|_, view| view.nonce = 8, Fate::Open, Step::Drop);
        check(|_, view| view.nonce = 6, Fate::Open, Step::Drop);
        check(
            |_, view| (view.nonce, view.ready_heights) = (8, 100),
            Fate::Included { is_final: false },
            Step::Build,
        );
        check(|_, view| view.nonce = 8, Fate::Included { is_final: false }, Step::Keep);
        check(|_, view| view.nonce = 8, Fate::Included { is_final: true }, Step::Drop);
        check(|_, _| {}, Fate::Reverted, Step::Drop);
        // At the cap it is only sent again.
        check(|sent, view| (sent.bid.max_fee, view.now_s) = (999, 1_024), Fate::Open, Step::Resend);
    }

    #[test]
    fn an_answer_goes_before_a_batch_and_is_sent_once() {
        let mut waiting =
            View { answer: Some(ASKED), answered_is_open: true, ready_heights: 100, ..view() };
        assert_eq!(step(1, &POLICY, &waiting, &PRICES, None), Step::Answer);
        let silent = Policy { posts: false, ..POLICY };
        assert_eq!(step(1, &silent, &waiting, &PRICES, None), Step::Answer);
        let batch_next = View { answer: None, ..waiting };
        assert_eq!(step(1, &silent, &batch_next, &PRICES, None), Step::Wait);
        // A batch is in a block: the answer is next. The answer itself is in a block that came between two looks.
        let included = Fate::Included { is_final: false };
        waiting.nonce = 8;
        assert_eq!(step(1, &POLICY, &waiting, &PRICES, Some((&sent(), included))), Step::Answer);
        let answer = Sent { purpose: Purpose::Answer { challenge: ASKED }, ..sent() };
        assert_eq!(step(1, &POLICY, &waiting, &PRICES, Some((&answer, included))), Step::Keep);
        let next = View { answer: Some(B256::repeat_byte(0xb)), ..waiting };
        assert_eq!(step(1, &POLICY, &next, &PRICES, Some((&answer, included))), Step::Answer);
    }

    #[test]
    fn an_answer_is_followed_to_its_end_and_nothing_stays_in_its_way() {
        let check = |change: fn(&mut Sent, &mut View), expected| {
            let purpose = Purpose::Answer { challenge: ASKED };
            let mut sent = Sent { purpose, ..sent() };
            let mut view = View { answer: Some(ASKED), answered_is_open: true, ..view() };
            change(&mut sent, &mut view);
            let got = step(1, &POLICY, &view, &PRICES, Some((&sent, Fate::Open)));
            assert_eq!(got, expected, "{sent:?}");
        };
        let bumped = |cap| Bid::first(&PRICES).bumped(&PRICES, false, cap).expect("below the cap");
        check(|_, _| {}, Step::Wait);
        check(|_, view| view.parent = B256::ZERO, Step::Wait);
        check(|_, view| view.now_s += 24, Step::Bump(bumped(1_000)));
        // Somebody else answered, or a reorg took the challenge away.
        check(|_, view| view.answered_is_open = false, Step::Cancel(bumped(1_000)));
        // It may cost more than a batch, but not anything.
        let dear = |fee| Bid { max_fee: fee, ..Bid::first(&PRICES) };
        let dearer = dear(2_000).bumped(&PRICES, false, 5_000).expect("below the cap");
        check(|sent, view| (sent.bid.max_fee, view.now_s) = (2_000, 1_024), Step::Bump(dearer));
        check(|sent, view| (sent.bid.max_fee, view.now_s) = (4_999, 1_024), Step::Resend);
        // A batch in the way is offered more for as usual, and beyond its cap given up.
        let batch = sent().purpose;
        let in_the_way = dear(999).bumped(&PRICES, false, 5_000).expect("below the cap");
        let purposes =
            [(batch, Step::Cancel(in_the_way)), (Purpose::Standing, Step::Bump(in_the_way))];
        for (purpose, expected) in purposes {
            let sent = Sent { purpose, bid: dear(999), ..sent() };
            let view = View { answer: Some(ASKED), now_s: 1_024, ..view() };
            let got = step(1, &POLICY, &view, &PRICES, Some((&sent, Fate::Open)));
            assert_eq!(got, expected);
            let calm = View { answer: None, ..view };
            assert_eq!(step(1, &POLICY, &calm, &PRICES, Some((&sent, Fate::Open))), Step::Resend);
        }
    }

    #[test]
    fn data_goes_where_it_is_cheaper() {
        let prices = Prices { base_fee: 100, blob_base_fee: 100 / 16, tip: 0 };
        let (small, large) = (vec![1; 100], vec![1; 20_000]);
        assert_eq!(Carriage::cheaper(&small, 300_000, Some(1), &prices), Carriage::Calldata);
        assert_eq!(Carriage::cheaper(&large, 300_000, Some(1), &prices), Carriage::Blobs(1));
        assert_eq!(Carriage::cheaper(&large, 300_000, None, &prices), Carriage::Calldata);
        let dear = Prices { blob_base_fee: 1_000_000, ..prices };
        assert_eq!(Carriage::cheaper(&large, 300_000, Some(1), &dear), Carriage::Calldata);
        // Zeros cost a quarter: the same length may go either way.
        let prices = Prices { base_fee: 1, blob_base_fee: 1, tip: 0 };
        assert_eq!(
            Carriage::cheaper(&vec![0; 20_000], 300_000, Some(1), &prices),
            Carriage::Calldata
        );
        assert_eq!(Carriage::cheaper(&large, 300_000, Some(1), &prices), Carriage::Blobs(1));
    }

    proptest! {
        #[test]
        fn a_replacement_offers_enough_more(
            max_fee in 1u128..1 << 60, priority in 0u128..1 << 60, blob in 1u128..1 << 60,
            base_fee in 0u128..1 << 60, blob_base_fee in 1u128..1 << 60, tip in 0u128..1 << 40, blobs: bool,
        ) {
            let old = Bid { max_fee, max_priority_fee: priority, max_blob_fee: blob };
            let prices = Prices { base_fee, blob_base_fee, tip };
            let new = old.bumped(&prices, blobs, u128::MAX).expect("no cap");
            let percent = if blobs { 200 } else { 110 };
            prop_assert!(new.max_fee * 100 >= old.max_fee * percent);
            prop_assert!(new.max_priority_fee * 100 >= old.max_priority_fee * percent);
            prop_assert!(!blobs || new.max_blob_fee >= old.max_blob_fee * 2);
            prop_assert!(new.covers(&prices, blobs) || tip == 0 && base_fee == 0);
            prop_assert_eq!(old.bumped(&prices, blobs, new.max_fee - 1), None);
        }
    }
}
