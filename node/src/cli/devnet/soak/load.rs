//! Sealed transactions at a fixed rate, for as long as it takes, each followed to its end.

use crate::cli::devnet::{
    contracts::Market,
    trading::choose,
    wallets::{DevWallet, MAX_IN_FLIGHT, Members, Sent, now_ms},
};
use alloy_primitives::Address;
use blindfold_sdk::TxStatus;
use eyre::Result;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a trader asks for the end of its oldest transaction.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long the last transactions may take to end once nothing new is sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
/// Latencies kept for the quantiles.
const MAX_LATENCIES: usize = 1 << 20;

/// How what was sent came to its end.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Admitted by some member.
    pub admitted: u64,
    /// Executed, skipped or undecryptable: ordered, opened and done with.
    pub ordered: u64,
    /// Of these, executed.
    pub executed: u64,
    /// Not ordered before its expiry height.
    pub expired: u64,
    /// Ended in another way: replaced or evicted, which nobody asked for.
    pub dropped: u64,
    /// Still without an end when the waiting ended.
    pub lost: u64,
    /// Times when a trader could not send at its turn, because too much of it was in flight.
    pub late: u64,
    /// From handing in to the known end, in milliseconds.
    pub latencies_ms: Vec<u64>,
}

impl Tally {
    fn end(&mut self, sent: &Sent, status: &TxStatus) {
        match status {
            TxStatus::Executed { .. } => {
                (self.ordered, self.executed) = (self.ordered + 1, self.executed + 1)
            }
            TxStatus::Skipped { .. } | TxStatus::Undecryptable { .. } => self.ordered += 1,
            TxStatus::Expired { .. } => self.expired += 1,
            _ => self.dropped += 1,
        }
        if self.latencies_ms.len() < MAX_LATENCIES {
            self.latencies_ms.push(now_ms().saturating_sub(sent.submitted_ms));
        }
    }
}

/// Has every trader send once every `period` until `stop`, then waits for what is in flight. Without a
/// period they send as fast as their transactions end.
///
/// Adds to `tally` as things happen, so that others can read along.
pub fn send(
    traders: &mut [DevWallet],
    members: &Members,
    market: Market,
    period: Option<Duration>,
    stop: &AtomicBool,
    tally: &Mutex<Tally>,
) -> Result<()> {
    let addresses: Vec<_> = traders.iter().map(DevWallet::address).collect();
    let count = u32::try_from(traders.len()).unwrap_or(1).max(1);
    thread::scope(|scope| -> Result<()> {
        let handles: Vec<_> = (0u32..)
            .zip(traders.iter_mut())
            .map(|(at, trader)| {
                let addresses = &addresses;
                // Spread over the period, so that they do not all send at once.
                let offset = period.unwrap_or_default() * at / count;
                let schedule = period.map(|period| (Instant::now() + offset, period));
                scope.spawn(move || {
                    let run = one(trader, members, market, addresses, schedule, stop, tally);
                    if run.is_err() {
                        // The others need not go on for the whole time.
                        stop.store(true, Ordering::Relaxed);
                    }
                    run
                })
            })
            .collect();
        for handle in handles {
            handle.join().map_err(|_| eyre::eyre!("a trader's thread panicked"))??;
        }
        Ok(())
    })
}

fn one(
    trader: &mut DevWallet,
    members: &Members,
    market: Market,
    addresses: &[Address],
    mut schedule: Option<(Instant, Duration)>,
    stop: &AtomicBool,
    tally: &Mutex<Tally>,
) -> Result<()> {
    let with = |change: &dyn Fn(&mut Tally)| {
        change(&mut tally.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let mut in_flight: VecDeque<Sent> = VecDeque::new();
    let mut number = 0;
    let mut polled = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if polled.elapsed() >= POLL_INTERVAL || in_flight.len() >= MAX_IN_FLIGHT {
            reap(&mut in_flight, members, &with);
            polled = Instant::now();
        }
        let now = Instant::now();
        if in_flight.len() >= MAX_IN_FLIGHT {
            if let Some((next, period)) = &mut schedule
                && now >= *next
            {
                *next += *period;
                with(&|tally| tally.late += 1);
            }
            thread::sleep(Duration::from_millis(30));
            continue;
        }
        if let Some((next, period)) = &mut schedule {
            if now < *next {
                thread::sleep((*next - now).min(Duration::from_millis(20)));
                continue;
            }
            *next += *period;
        }
        let action = choose(number, trader, addresses, market);
        number += 1;
        in_flight.push_back(trader.send_to_any(members, &action)?);
        with(&|tally| tally.admitted += 1);
    }
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    while !in_flight.is_empty() && Instant::now() < deadline {
        reap(&mut in_flight, members, &with);
        thread::sleep(Duration::from_millis(50));
    }
    with(&|tally| tally.lost += in_flight.len() as u64);
    Ok(())
}

/// Calls with the tally, under its lock.
type Write<'a> = dyn Fn(&dyn Fn(&mut Tally)) + 'a;

/// Takes out what has ended, oldest first.
fn reap(in_flight: &mut VecDeque<Sent>, members: &Members, with: &Write<'_>) {
    while let Some(first) = in_flight.front() {
        // Some member may be away, another may not have got as far.
        let end = members.clients.iter().find_map(|client| {
            let status = client.status(first.envelope_id).ok()??;
            status.is_terminal().then_some(status)
        });
        let Some(status) = end else { return };
        with(&|tally| tally.end(first, &status));
        in_flight.pop_front();
    }
}
