//! What was measured for calls of (contract, selector), and whether parallelism is worth it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use alloy_primitives::map::{AddressMap, DefaultHashBuilder};
use alloy_primitives::{Address, TxKind};

use crate::evm::{Body, Job};

/// Most kinds of call that are remembered. Beyond that all are forgotten.
const MAX_PROFILES: usize = 1 << 16;

/// Positions that a plan looks at.
const SAMPLE: usize = 64;

/// What a plain transfer costs, in ns.
const TRANSFER_NS: u64 = 700;

/// What a call costs that was never measured, in ns.
const UNKNOWN_NS: u32 = 15_000;

/// What running ahead costs beyond running: a share of the run (one in this many) and an amount in ns.
const AHEAD_SHARE: u64 = 12;
const AHEAD_NS: u64 = 1_500;

/// What running along an access list costs beyond running.
const ALONG_SHARE: u64 = 4;
const ALONG_NS: u64 = 4_000;

/// A call that costs less runs at the frontier: running it ahead gains too little for the time it takes, in ns.
const LEAST_AHEAD_NS: u64 = 8_000;

/// What waking the helpers costs, in ns.
const WAKE_NS: u64 = 100_000;

/// Shares of runs ahead that were in vain are counted in 1024ths.
const WHOLE: u32 = 1_024;

/// Share in vain from which a kind of call does not run ahead.
const TOO_MUCH_IN_VAIN: u32 = WHOLE / 4;

/// A kind of call that mostly runs in vain is tried again after so many.
const TRY_AGAIN: u32 = 64;

/// Calls of a kind that are measured in any case.
const YOUNG: u32 = 16;

/// How calls of one kind went.
#[derive(Debug)]
pub(super) struct Profile {
    cost_ns: AtomicU32,
    in_vain: AtomicU32,
    asked: AtomicU32,
    /// How many were measured; not beyond [`YOUNG`].
    measured: AtomicU32,
}

impl Profile {
    fn new() -> Self {
        Self {
            cost_ns: AtomicU32::new(UNKNOWN_NS),
            in_vain: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            measured: AtomicU32::new(0),
        }
    }

    /// A call took so long.
    pub(super) fn took(&self, time: Duration) {
        let ns = u32::try_from(time.as_nanos()).unwrap_or(u32::MAX) / 4;
        let before = self.cost_ns.load(Ordering::Relaxed);
        self.cost_ns.store((before - before / 4).saturating_add(ns), Ordering::Relaxed);
        let measured = self.measured.load(Ordering::Relaxed);
        if measured < YOUNG {
            self.measured.store(measured + 1, Ordering::Relaxed);
        }
    }

    /// A call ran ahead, and had seen what it had to see or not.
    pub(super) fn ran_ahead(&self, in_vain: bool) {
        let before = self.in_vain.load(Ordering::Relaxed);
        let add = if in_vain { WHOLE / 8 } else { 0 };
        self.in_vain.store(before - before / 8 + add, Ordering::Relaxed);
    }

    /// Whether another one should run ahead.
    pub(super) fn worth_running_ahead(&self) -> bool {
        if self.cost_ns() < LEAST_AHEAD_NS {
            return false;
        }
        self.in_vain.load(Ordering::Relaxed) < TOO_MUCH_IN_VAIN
            || self.asked.fetch_add(1, Ordering::Relaxed) % TRY_AGAIN == TRY_AGAIN - 1
    }

    /// Whether so few were measured that the next one should be.
    pub(super) fn is_young(&self) -> bool {
        self.measured.load(Ordering::Relaxed) < YOUNG
    }

    fn cost_ns(&self) -> u64 {
        u64::from(self.cost_ns.load(Ordering::Relaxed))
    }

    fn promises(&self) -> bool {
        self.cost_ns() >= LEAST_AHEAD_NS && self.in_vain.load(Ordering::Relaxed) < TOO_MUCH_IN_VAIN
    }
}

/// Contract and selector. Creations have no contract.
type Kind = (Option<Address>, [u8; 4]);

/// All that was measured. Shared by the blocks of an engine.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    kinds: RwLock<HashMap<Kind, Arc<Profile>, DefaultHashBuilder>>,
    /// Accounts and slots that the last stretch touched, for each of its positions.
    touched: (AtomicUsize, AtomicUsize),
}

/// Most of either that a stretch makes room for, for each position.
const MOST_TOUCHED: usize = 32;

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The next positions in order.
    InOrder,
    /// All that there are in parallel.
    Parallel,
}

/// The kind of call a position holds; none for what is not worth measuring.
fn kind(job: &Job) -> Option<Kind> {
    let Body::Run(tx) = &job.body else { return None };
    let to = match tx.kind {
        TxKind::Call(to) => Some(to),
        TxKind::Create => None,
    };
    if to.is_some() && tx.data.is_empty() && tx.authorization_list.is_empty() {
        return None;
    }
    let mut selector = [0; 4];
    if to.is_some() {
        for (to, from) in selector.iter_mut().zip(tx.data.iter()) {
            *to = *from;
        }
    }
    Some((to, selector))
}

pub(super) fn sender(job: &Job) -> Option<Address> {
    match &job.body {
        Body::Run(tx) => Some(tx.caller),
        _ => None,
    }
}

impl Profiles {
    /// The profile of what a position holds; none for what is not worth measuring.
    pub(super) fn of(&self, job: &Job) -> Option<Arc<Profile>> {
        let kind = kind(job)?;
        if let Some(known) = self.kinds.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return Some(Arc::clone(known));
        }
        let mut all = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_PROFILES {
            all.clear();
        }
        Some(Arc::clone(all.entry(kind).or_insert_with(|| Arc::new(Profile::new()))))
    }

    /// How many accounts and slots so many positions are likely to touch.
    pub(super) fn touched(&self, positions: usize) -> (usize, usize) {
        let of = |each: &AtomicUsize| positions * each.load(Ordering::Relaxed).min(MOST_TOUCHED);
        (of(&self.touched.0), of(&self.touched.1))
    }

    /// So many positions touched so many accounts and slots.
    pub(super) fn have_touched(&self, positions: usize, (accounts, slots): (usize, usize)) {
        let each = |cells: usize| cells.div_ceil(positions.max(1));
        self.touched.0.store(each(accounts), Ordering::Relaxed);
        self.touched.1.store(each(slots), Ordering::Relaxed);
    }

    /// How to go on with `jobs` on so many threads.
    pub(super) fn plan(&self, jobs: &[Job], threads: usize) -> Plan {
        if threads < 2 {
            return Plan::InOrder;
        }
        let sample = self.sample(jobs);
        // The critical path: what must run in order, and the longest chain of one sender's nonces.
        let in_order_ns = sample.all_ns - sample.ahead_ns;
        let extra_ns = sample.ahead_ns / AHEAD_SHARE + sample.ahead * AHEAD_NS;
        let shared_ns = (sample.all_ns + extra_ns) / threads as u64;
        let parallel_ns = shared_ns.max(in_order_ns).max(sample.chain_ns);
        match sample.promises(parallel_ns) {
            true => Plan::Parallel,
            false => Plan::InOrder,
        }
    }

    /// Whether running `jobs` along an access list promises as much. There, nothing depends on anything.
    pub(super) fn pays_along(&self, jobs: &[Job], threads: usize) -> bool {
        if threads < 2 {
            return false;
        }
        let sample = self.sample(jobs);
        let extra_ns = sample.all_ns / ALONG_SHARE + sample.count * ALONG_NS;
        sample.promises((sample.all_ns + extra_ns) / threads as u64)
    }

    fn sample(&self, jobs: &[Job]) -> Sample {
        // Looking at every position would cost a block of transfers more than it could gain.
        let stride = jobs.len().div_ceil(SAMPLE).max(1);
        let mut sample = Sample { stride: stride as u64, ..Sample::default() };
        let mut by_sender: AddressMap<u64> = AddressMap::default();
        for job in jobs.iter().step_by(stride) {
            let profile = self.of(job);
            let cost_ns = profile.as_ref().map_or(TRANSFER_NS, |profile| profile.cost_ns());
            sample.all_ns += cost_ns;
            sample.count += 1;
            if profile.is_some_and(|profile| profile.promises()) {
                sample.ahead_ns += cost_ns;
                sample.ahead += 1;
            }
            if let Some(sender) = sender(job) {
                let chain_ns = by_sender.entry(sender).or_default();
                *chain_ns += cost_ns;
                sample.chain_ns = sample.chain_ns.max(*chain_ns);
            }
        }
        sample
    }
}

/// What some positions of a block are thought to cost.
#[derive(Default)]
struct Sample {
    /// One position in so many was looked at.
    stride: u64,
    count: u64,
    all_ns: u64,
    /// What may run ahead, of that.
    ahead: u64,
    ahead_ns: u64,
    /// The longest chain of one sender's nonces.
    chain_ns: u64,
}

impl Sample {
    /// Whether it gains a quarter to need only so long for these positions, waking the helpers included.
    const fn promises(&self, needed_ns: u64) -> bool {
        let needed_ns = needed_ns * self.stride + WAKE_NS;
        needed_ns + needed_ns / 4 < self.all_ns * self.stride
    }
}
