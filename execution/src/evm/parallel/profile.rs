//! What was measured for calls of (contract, selector), and whether parallelism is worth it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use alloy_primitives::{Address, TxKind};

use crate::evm::{Body, Job};

/// Most kinds of call that are remembered. Beyond that all are forgotten.
const MAX_PROFILES: usize = 1 << 16;

/// Positions that a plan looks at.
const SAMPLE: usize = 64;

/// Positions run in order before the next plan.
const IN_ORDER: usize = 256;

/// What a plain transfer costs, in ns.
const TRANSFER_NS: u64 = 700;

/// What a call costs that was never measured, in ns.
const UNKNOWN_NS: u32 = 15_000;

/// What running ahead costs beyond running: a share of the run (one in this many) and an amount in ns.
const AHEAD_SHARE: u64 = 12;
const AHEAD_NS: u64 = 1_500;

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

/// How calls of one kind went.
#[derive(Debug)]
pub(super) struct Profile {
    cost_ns: AtomicU32,
    in_vain: AtomicU32,
    asked: AtomicU32,
}

impl Profile {
    fn new() -> Self {
        Self {
            cost_ns: AtomicU32::new(UNKNOWN_NS),
            in_vain: AtomicU32::new(0),
            asked: AtomicU32::new(0),
        }
    }

    /// A call took so long.
    pub(super) fn took(&self, time: Duration) {
        let ns = u32::try_from(time.as_nanos()).unwrap_or(u32::MAX) / 4;
        let before = self.cost_ns.load(Ordering::Relaxed);
        self.cost_ns.store((before - before / 4).saturating_add(ns), Ordering::Relaxed);
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
pub(super) struct Profiles(
    RwLock<HashMap<Kind, Arc<Profile>, alloy_primitives::map::DefaultHashBuilder>>,
);

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// So many positions in order.
    InOrder(usize),
    /// So many in parallel.
    Parallel(usize),
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
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return Some(Arc::clone(known));
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_PROFILES {
            all.clear();
        }
        Some(Arc::clone(all.entry(kind).or_insert_with(|| Arc::new(Profile::new()))))
    }

    /// How to go on with `jobs` on so many threads.
    pub(super) fn plan(&self, jobs: &[Job], threads: usize) -> Plan {
        if threads < 2 {
            return Plan::InOrder(jobs.len());
        }
        // Looking at every position would cost a block of transfers more than it could gain.
        let stride = jobs.len().div_ceil(SAMPLE).max(1);
        let (mut all_ns, mut ahead_ns, mut ahead) = (0, 0, 0);
        let mut by_sender: HashMap<Address, u64> = HashMap::new();
        for job in jobs.iter().step_by(stride) {
            let profile = self.of(job);
            let cost_ns = profile.as_ref().map_or(TRANSFER_NS, |profile| profile.cost_ns());
            all_ns += cost_ns;
            if profile.is_some_and(|profile| profile.promises()) {
                ahead_ns += cost_ns;
                ahead += 1;
            }
            if let Some(sender) = sender(job) {
                *by_sender.entry(sender).or_default() += cost_ns;
            }
        }
        let stride_ns = stride as u64;
        // The critical path: what must run in order, and the longest chain of one sender's nonces.
        let in_order_ns = all_ns - ahead_ns;
        let chain_ns = by_sender.values().copied().max().unwrap_or(0);
        let shared_ns = in_order_ns + ahead_ns + ahead_ns / AHEAD_SHARE + ahead * AHEAD_NS;
        let parallel_ns = (shared_ns / threads as u64).max(in_order_ns).max(chain_ns);
        let parallel_ns = parallel_ns * stride_ns + WAKE_NS;
        if parallel_ns + parallel_ns / 4 < all_ns * stride_ns {
            Plan::Parallel(jobs.len())
        } else {
            Plan::InOrder(jobs.len().min(IN_ORDER))
        }
    }
}
