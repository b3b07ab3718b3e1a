//! A sandwich bot with everything a mempool observer has: every waiting envelope, byte for byte, the
//! moment it is gossiped, and the right to outbid it.
//!
//! It looks for calls of the exchange in the sealed bytes, and finds none. It then does the best that
//! is left: it guesses that an envelope of a swap's gas class is a swap, guesses its direction, buys
//! with a higher bid and sells with a lower one. Sealed order lets it place its legs around a victim;
//! it does not let it know whether there is anything between them, or which way to trade.

use super::{
    contracts::{Market, SWAP_SELECTOR, TOKEN, balance_of, reserves},
    summary::BotReport,
    wallets::{Action, DevWallet, Members, Sent},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_sdk::{Client, TxStatus, rpc::PendingDocument};
use blindfold_wire::Envelope;
use eyre::Result;
use std::{
    collections::HashSet,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How often the bot looks at the mempool.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Envelopes it has seen and not yet looked at, at most.
const UNREAD_MAX: usize = 4_096;
/// Sandwiches it tries at most in one run.
const MAX_ATTEMPTS: usize = 6;
/// What each first leg spends.
const LEG_TOKENS: u128 = 50 * TOKEN;
/// Gas limit of a leg.
pub const SWAP_GAS: u64 = 130_000;
/// Wei per gas it bids above its victim.
const OUTBID_WEI: u128 = 1_000_000;

/// What one attempt aimed at and sent.
struct Attempt {
    victim: B256,
    front: Sent,
    back: Sent,
}

/// The bot, running until told to stop.
pub struct Bot<'a> {
    wallet: DevWallet,
    members: &'a Members,
    market: Market,
    before: Holdings,
    report: BotReport,
    attempts: Vec<Attempt>,
}

impl<'a> Bot<'a> {
    /// A bot whose wallet holds tokens and escrow already.
    pub fn new(wallet: DevWallet, members: &'a Members, market: Market) -> Result<Self> {
        let before = Holdings::of(&members.clients[0], &market, wallet.address())?;
        Ok(Self {
            wallet,
            members,
            market,
            before,
            report: BotReport::default(),
            attempts: Vec::new(),
        })
    }

    /// Watches and tries until `done`.
    pub fn run(mut self, done: &AtomicBool) -> Self {
        let (found, unread) = mpsc::sync_channel(UNREAD_MAX);
        let client = &self.members.clients[0];
        // Watching does not wait for acting.
        thread::scope(|scope| {
            scope.spawn(move || watch(client, done, &found));
            for document in unread {
                self.look_at(&document);
            }
        });
        self
    }

    fn look_at(&mut self, document: &PendingDocument) {
        if document.payer == self.wallet.address() {
            return;
        }
        let Ok(envelope) = Envelope::decode(&document.envelope) else { return };
        self.report.seen += 1;
        self.report.sealed_bytes += envelope.ciphertext.body.len();
        let body = &envelope.ciphertext.body;
        if body.windows(SWAP_SELECTOR.len()).any(|window| window == SWAP_SELECTOR) {
            self.report.recognised += 1;
        }
        let header = &envelope.header;
        let could_be_a_swap = header.gas_limit >= SWAP_GAS;
        if !could_be_a_swap || self.attempts.len() >= MAX_ATTEMPTS {
            return;
        }
        let buys = if self.wallet.choices().below(2) == 0 {
            self.market.token_a
        } else {
            self.market.token_b
        };
        let sells =
            if buys == self.market.token_a { self.market.token_b } else { self.market.token_a };
        let leg = |token, bid_wei| Action {
            to: Some(self.market.exchange),
            input: self.market.sell(token, U256::from(LEG_TOKENS), self.wallet.address()),
            gas_limit: SWAP_GAS,
            bid_wei: Some(bid_wei),
        };
        let front = leg(sells, header.max_priority_fee_per_gas.saturating_add(OUTBID_WEI));
        let back = leg(buys, header.max_priority_fee_per_gas.saturating_sub(OUTBID_WEI).max(1));
        let Ok(front) = self.wallet.send(self.members, &front) else { return };
        let Ok(back) = self.wallet.send(self.members, &back) else { return };
        self.report.attempts += 1;
        self.attempts.push(Attempt { victim: document.envelope_id, front, back });
    }

    /// Everything the bot sent.
    pub fn sent(&self) -> Vec<Sent> {
        self.attempts
            .iter()
            .flat_map(|attempt| [attempt.front.clone(), attempt.back.clone()])
            .collect()
    }

    /// The balance sheet, once all is settled.
    pub fn report(mut self, escrow_before: U256) -> Result<BotReport> {
        let client = &self.members.clients[0];
        for attempt in &self.attempts {
            let place = |id| client.status(id).ok().flatten().as_ref().and_then(place);
            let places = (
                place(attempt.front.envelope_id),
                place(attempt.victim),
                place(attempt.back.envelope_id),
            );
            if let (Some(front), Some(victim), Some(back)) = places
                && front < victim
                && victim < back
                && front.0 == back.0
            {
                self.report.landed += 1;
            }
        }
        // Both at the closing price: what trading added, not what holding would have.
        let after = Holdings::of(client, &self.market, self.wallet.address())?;
        let price = Price::of(client, &self.market)?;
        self.report.earned_token_wei =
            signed(price.worth(&after)) - signed(price.worth(&self.before));
        let escrow_after = client.payer(self.wallet.address())?.escrow_wei;
        self.report.spent_fees_wei =
            u128::try_from(escrow_before.saturating_sub(escrow_after)).unwrap_or(u128::MAX);
        Ok(self.report)
    }
}

/// Passes on every envelope that waits in a member's mempool, once, until `done`.
fn watch(client: &Client, done: &AtomicBool, found: &mpsc::SyncSender<PendingDocument>) {
    let mut seen = HashSet::new();
    while !done.load(Ordering::Relaxed) {
        // A member that does not answer only makes the bot blind for a moment.
        let waiting = client.request::<Vec<PendingDocument>>("sealed_getPending", [(); 0]);
        for document in waiting.unwrap_or_default() {
            if seen.insert(document.envelope_id) && found.send(document).is_err() {
                return;
            }
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn signed(amount: U256) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

fn place(status: &TxStatus) -> Option<(u64, u32)> {
    match status {
        TxStatus::Executed { height, position, .. }
        | TxStatus::Skipped { height, position, .. }
        | TxStatus::Undecryptable { height, position }
        | TxStatus::Opened { height, position }
        | TxStatus::Ordered { height, position } => Some((*height, *position)),
        _ => None,
    }
}

/// Tokens of each kind.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    a: U256,
    b: U256,
}

impl Holdings {
    fn of(client: &Client, market: &Market, owner: Address) -> Result<Self> {
        Ok(Self {
            a: read(client, market.token_a, balance_of(owner), 0)?,
            b: read(client, market.token_b, balance_of(owner), 0)?,
        })
    }
}

/// The exchange's reserves: what one token is worth in the other.
#[derive(Clone, Copy, Debug)]
struct Price {
    reserve_a: U256,
    reserve_b: U256,
}

impl Price {
    fn of(client: &Client, market: &Market) -> Result<Self> {
        let word = |at| read(client, market.exchange, reserves(), at);
        Ok(Self { reserve_a: word(0)?, reserve_b: word(1)? })
    }

    /// In token A.
    fn worth(&self, holdings: &Holdings) -> U256 {
        match self.reserve_b.is_zero() {
            true => holdings.a,
            false => holdings.a + holdings.b * self.reserve_a / self.reserve_b,
        }
    }
}

/// One word of what a view function returns.
fn read(client: &Client, to: Address, data: Bytes, word: usize) -> Result<U256> {
    let call = serde_json::json!({ "to": to, "data": data });
    let returned: Bytes = client.request("eth_call", (call, "latest"))?;
    let word = returned.get(word * 32..(word + 1) * 32);
    word.map(U256::from_be_slice)
        .ok_or_else(|| eyre::eyre!("a view function returned {} bytes", returned.len()))
}
