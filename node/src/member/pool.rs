//! The mempool's loop: checks what wallets and peers bring in batches, admits, persists, answers with
//! a signed receipt, and tells the other members.
//!
//! ```text
//!   RPC  ── submit ──┐                              ┌─▶ receipt, once it is stored
//!                    ├─▶ batch ───▶ check ──▶ admit ┤
//!   peer ── gossip ──┘   (≤ 128,    (a worker)      └─▶ gossip to all members (submitted ones only)
//!                         ≤ 20 ms)
//! ```
//!
//! Proofs that are checked together cost a fraction of what each costs alone. So a batch takes all that is
//! queued, and, where envelopes keep coming, waits up to [`CHECK_WAIT`] for more. One that comes alone is
//! checked at once. Verdicts come back in the order of arrival, and so everything after them is.
//!
//! Members form a full mesh, so what a peer gossiped is not passed on. What was submitted here is
//! repeated while it is pooled, since a member may have been down.

use super::{
    MemberError, Shared,
    messages::{pack_envelopes, unpack_envelopes},
};
use crate::{
    metrics,
    rpc::{api::SubmitError, reasons},
};
use alloy_primitives::{Address, B256, Bytes};
use blindfold_mempool::{Change, OrderedEnvelope, Rejection};
use blindfold_ordering::engine::Identity;
use blindfold_wire::{
    checked::{CheckedEnvelope, EnvelopeError},
    receipt::{AdmissionReceipt, SignedReceipt},
};
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, Spawner};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

/// Requests that wait for the loop.
pub const POOL_QUEUE: usize = 1_024;
/// Envelopes checked together.
pub const CHECK_BATCH: usize = 128;
/// How long a batch waits for company, once there is traffic.
pub const CHECK_WAIT: Duration = Duration::from_millis(20);
/// There is traffic if the batch before began this short a time ago.
const TRAFFIC: Duration = Duration::from_millis(50);
/// How often submitted envelopes that are still pooled are gossiped again.
const REGOSSIP_INTERVAL: Duration = Duration::from_secs(3);
/// Bytes gossiped again at a time, to each member.
const REGOSSIP_BYTES: usize = 2 << 20;
/// Submitted envelopes that are gossiped again, at most.
const REGOSSIP_MAX: usize = 1_024;

/// Something for the loop to do.
pub enum PoolRequest {
    /// From a wallet; answered.
    Submit {
        /// The encoded envelope.
        bytes: Bytes,
        /// Gets the receipt or the reason.
        reply: oneshot::Sender<Result<SignedReceipt, SubmitError>>,
    },
    /// From a peer.
    Gossip {
        /// Who sent it.
        peer: Identity,
        /// One encoded envelope.
        bytes: Bytes,
    },
}

/// Takes gossip off the network and queues it; a peer whose message does not decode is blocked.
pub async fn read_gossip<R, B>(mut receiver: R, queue: mpsc::Sender<PoolRequest>, mut blocker: B)
where
    R: Receiver<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
{
    while let Ok((peer, message)) = receiver.recv().await {
        match unpack_envelopes(message.as_ref()) {
            Ok(envelopes) => {
                for bytes in envelopes {
                    // A full queue drops gossip: its submitter's node repeats it.
                    let _ = queue.try_send(PoolRequest::Gossip { peer: peer.clone(), bytes });
                }
            }
            Err(error) => {
                warn!(target: "blindfold::mempool", %peer, %error, "undecodable gossip; blocking the peer");
                blocker.block(peer);
            }
        }
    }
}

/// The loop. Ends when every sender of `requests` is gone.
pub async fn run<E, X, B>(
    context: E,
    shared: Arc<Shared>,
    mut requests: mpsc::Receiver<PoolRequest>,
    mut sender: X,
    mut blocker: B,
) where
    E: Clock + Spawner,
    X: Sender<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
{
    let mut submitted: BTreeMap<B256, Bytes> = BTreeMap::new();
    let mut regossiped = B256::ZERO;
    let mut regossip_at = context.current() + REGOSSIP_INTERVAL;
    let mut began: Option<SystemTime> = None;
    loop {
        // In order of preference: gossip that is due must not wait behind a flood of requests.
        let first = commonware_macros::select! {
            _ = context.sleep_until(regossip_at) => None,
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
        };
        let Some(first) = first else {
            regossip_at = context.current() + REGOSSIP_INTERVAL;
            {
                let pool = shared.pool.lock();
                submitted.retain(|id, _| pool.contains(id));
            }
            for message in pack_envelopes(next_round(&submitted, &mut regossiped)) {
                sender.send(Recipients::All, message, false);
            }
            continue;
        };
        let now = context.current();
        let wait = wait_for_company(began.replace(now), now);
        let batch = gather(&context, &mut requests, first, wait).await;
        let bytes: Vec<Bytes> = batch.iter().map(|request| request.bytes().clone()).collect();
        let checker = Arc::clone(&shared.checker);
        let checked = context
            .child("check")
            .shared(true)
            .spawn(move |_| async move { checker.check_all(&bytes) });
        let Ok(verdicts) = checked.await else { return };

        let mut outgoing = Vec::new();
        let mut answers = Vec::new();
        for (request, answer) in batch.into_iter().zip(admit(&shared, verdicts)) {
            match request {
                PoolRequest::Submit { bytes, reply } => {
                    if let Ok(id) = &answer {
                        if submitted.len() < REGOSSIP_MAX {
                            submitted.insert(*id, bytes.clone());
                        }
                        outgoing.push(bytes);
                    }
                    answers.push((reply, answer));
                }
                PoolRequest::Gossip { peer, .. } => {
                    if let Err(rejection) = answer {
                        debug!(target: "blindfold::mempool", %peer, %rejection, "gossiped envelope refused");
                        metrics::envelopes("refused", 1);
                        if rejection.peer_at_fault() {
                            blocker.block(peer);
                        }
                    }
                }
            }
        }
        // Stored before anybody is told.
        let stored = store_changes(&shared);
        for (reply, answer) in answers {
            let answer = match (&stored, answer) {
                (Err(error), _) => Err(SubmitError::Unavailable {
                    reason: reasons::STOPPING,
                    message: error.to_string(),
                }),
                (Ok(()), Ok(id)) => receipt(&shared, id),
                (Ok(()), Err(rejection)) => Err(refusal(&rejection)),
            };
            let _ = reply.send(answer);
        }
        if stored.is_ok() {
            for message in pack_envelopes(&outgoing) {
                sender.send(Recipients::All, message, false);
            }
        }
        shared.candidates_changed();
    }
}

/// Envelopes to gossip again: up to [`REGOSSIP_BYTES`] from after `last` on, in a circle.
fn next_round<'a>(submitted: &'a BTreeMap<B256, Bytes>, last: &mut B256) -> Vec<&'a Bytes> {
    use std::ops::Bound::{Excluded, Unbounded};
    let circle = submitted.range((Excluded(*last), Unbounded)).chain(submitted.range(..=*last));
    let (mut round, mut bytes) = (Vec::new(), 0);
    for (id, envelope) in circle {
        bytes += envelope.len();
        if bytes > REGOSSIP_BYTES {
            break;
        }
        *last = *id;
        round.push(envelope);
    }
    round
}

impl PoolRequest {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Submit { bytes, .. } | Self::Gossip { bytes, .. } => bytes,
        }
    }
}

/// How long a batch that begins `now` waits, given when the one before began.
fn wait_for_company(before: Option<SystemTime>, now: SystemTime) -> Duration {
    let since = before.and_then(|before| now.duration_since(before).ok());
    match since {
        Some(since) if since < TRAFFIC => CHECK_WAIT,
        _ => Duration::ZERO,
    }
}

/// A batch of up to [`CHECK_BATCH`]: `first`, what is queued, and what comes within `wait`.
async fn gather(
    clock: &impl Clock,
    requests: &mut mpsc::Receiver<PoolRequest>,
    first: PoolRequest,
    wait: Duration,
) -> Vec<PoolRequest> {
    let mut batch = vec![first];
    let until = clock.current() + wait;
    loop {
        while batch.len() < CHECK_BATCH
            && let Ok(request) = requests.try_recv()
        {
            batch.push(request);
        }
        if batch.len() >= CHECK_BATCH || clock.current() >= until {
            return batch;
        }
        commonware_macros::select! {
            request = requests.recv() => match request {
                Some(request) => batch.push(request),
                None => return batch,
            },
            _ = clock.sleep_until(until) => return batch,
        }
    }
}

/// Takes what passed the checks into the pool, in order, against one reading of the payers' accounts.
fn admit(
    shared: &Shared,
    verdicts: Vec<Result<CheckedEnvelope, EnvelopeError>>,
) -> Vec<Result<B256, Rejection>> {
    let payers: BTreeSet<Address> = verdicts.iter().flatten().map(CheckedEnvelope::payer).collect();
    // Locked before the accounts are read: else a height could become final between the two, and take from
    // the pool what is then admitted again.
    let mut pool = shared.pool.lock();
    let accounts = shared.chain.accounts(payers);
    if let Err(error) = &accounts {
        warn!(target: "blindfold::mempool", %error, "accounts cannot be read");
    }
    let mut admitted = 0;
    let answers = verdicts
        .into_iter()
        .map(|verdict| {
            let envelope = verdict?;
            let id = envelope.id();
            // Our own database: nobody else's fault, and the submitter may try again.
            let accounts = accounts.as_ref().map_err(|_| Rejection::Backlog)?;
            pool.admit(envelope, accounts, accounts.height)?;
            admitted += 1;
            Ok(id)
        })
        .collect();
    metrics::envelopes("admitted", admitted);
    answers
}

/// Writes what changed in the pool to the database, in order.
pub fn store_changes(shared: &Shared) -> Result<(), MemberError> {
    // The lock is held over the write, so that changes reach the database in the pool's order.
    let mut pool = shared.pool.lock();
    let changes = pool.drain_changes();
    metrics::mempool_size(pool.len(), pool.size_bytes());
    if changes.is_empty() { Ok(()) } else { shared.records.store_pool_changes(&changes) }
}

/// Takes back what an earlier run had pooled.
pub fn restore(shared: &Shared) -> Result<(), MemberError> {
    let stored = shared.records.pooled()?;
    let envelopes: Vec<CheckedEnvelope> = shared
        .checker
        .check_all(&stored.values().cloned().collect::<Vec<_>>())
        .into_iter()
        .filter_map(Result::ok)
        .collect();
    let kept: Vec<B256> = envelopes.iter().map(CheckedEnvelope::id).collect();
    let accounts = shared.chain.accounts(envelopes.iter().map(CheckedEnvelope::payer))?;
    let height = accounts.height;
    let count = envelopes.len();
    let restored = shared.pool.lock().restore(envelopes, &accounts, height);
    let lost: Vec<Change> = stored
        .keys()
        .filter(|id| !kept.contains(id))
        .map(|id| Change::Remove { id: *id, reason: blindfold_mempool::Removal::NotRestored })
        .collect();
    shared.records.store_pool_changes(&lost)?;
    store_changes(shared)?;
    if count > 0 {
        tracing::info!(target: "blindfold::mempool", stored = count, admitted = restored.admitted, "mempool restored");
    }
    Ok(())
}

/// Tells the pool that a height is final.
pub fn on_height(
    shared: &Shared,
    height: u64,
    envelopes: &[CheckedEnvelope],
) -> Result<(), MemberError> {
    let ordered: Vec<OrderedEnvelope> = envelopes
        .iter()
        .map(|envelope| OrderedEnvelope {
            id: envelope.id(),
            payer: envelope.payer(),
            nonce: envelope.header().payer_nonce,
        })
        .collect();
    let accounts = shared.chain.accounts(ordered.iter().map(|envelope| envelope.payer))?;
    shared.pool.lock().on_height(height, accounts.floor, &ordered, &accounts);
    store_changes(shared)
}

fn receipt(shared: &Shared, envelope_id: B256) -> Result<SignedReceipt, SubmitError> {
    let Some(keys) = &shared.keys else {
        return Err(SubmitError::Unavailable {
            reason: reasons::NOT_A_MEMBER,
            message: "the envelope was passed on to the members; a follower signs no receipt"
                .to_owned(),
        });
    };
    let receipt = AdmissionReceipt {
        chain_id: shared.genesis.chain_id,
        settlement: shared.genesis.settlement,
        envelope_id,
        member: keys.member,
        height_seen: shared.chain.progress().ordered_height,
    };
    Ok(receipt.sign(&keys.signer))
}

/// The reason as the RPC reports it.
fn refusal(rejection: &Rejection) -> SubmitError {
    let reason = rejection.reason();
    match rejection {
        Rejection::Invalid(error) => {
            SubmitError::Invalid { reason, message: reasons::describe(error) }
        }
        _ => SubmitError::Refused { reason, message: rejection.to_string() },
    }
}

/// Candidates for the leader: a few blocks' worth, since the newest blocks may be in flight.
///
/// Accounts are read without the pool's lock, for there may be as many as envelopes. Should a height become
/// final between the two, the order rule leaves out what it took.
pub fn candidates(shared: &Shared) -> Vec<CheckedEnvelope> {
    const BLOCKS_OFFERED: usize = 4;
    let params = &shared.genesis.params;
    let payers: Vec<Address> = shared.pool.lock().payers().collect();
    let Ok(accounts) = shared.chain.accounts(payers) else { return Vec::new() };
    let limit = |per_block: u64| {
        usize::try_from(per_block).unwrap_or(usize::MAX).saturating_mul(BLOCKS_OFFERED)
    };
    shared.pool.lock().candidates(
        &accounts,
        &blindfold_mempool::BlockTarget {
            height: accounts.height.saturating_add(1),
            floor: accounts.floor,
            max_count: limit(u64::from(params.max_block_count)),
            max_bytes: limit(params.max_block_bytes),
            max_gas: params.block_gas_limit.saturating_mul(BLOCKS_OFFERED as u64),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_runtime::{Runner as _, Supervisor as _, deterministic};

    fn request(number: u8) -> PoolRequest {
        PoolRequest::Submit { bytes: Bytes::from(vec![number]), reply: oneshot::channel().0 }
    }

    /// The first byte of each request, and how long the batch took to gather.
    fn gathered(queued: u8, late: Option<Duration>, wait: Duration) -> (Vec<u8>, Duration) {
        deterministic::Runner::default().start(|context| async move {
            let (queue, mut requests) = mpsc::channel(POOL_QUEUE);
            for number in 1..=queued {
                queue.try_send(request(number)).ok().unwrap();
            }
            if let Some(late) = late {
                let queue = queue.clone();
                context.child("late").spawn(move |context| async move {
                    context.sleep(late).await;
                    let _ = queue.send(request(99)).await;
                });
            }
            let began = context.current();
            let batch = gather(&context, &mut requests, request(0), wait).await;
            let took = context.current().duration_since(began).unwrap();
            (batch.iter().map(|request| request.bytes()[0]).collect(), took)
        })
    }

    #[test]
    fn a_batch_is_bounded_by_size_and_time_and_keeps_the_order() {
        // Alone, and nobody waits.
        assert_eq!(gathered(0, None, Duration::ZERO), (vec![0], Duration::ZERO));
        // All that is queued, at once.
        let (batch, took) = gathered(9, None, Duration::ZERO);
        assert_eq!((batch, took), ((0..=9).collect(), Duration::ZERO));
        // Full: no waiting, and what is beyond stays queued.
        let (batch, took) = gathered(200, None, CHECK_WAIT);
        assert_eq!((batch, took), ((0..128).collect(), Duration::ZERO));
        // Company within the time is taken along, later company is not waited for.
        let (batch, took) = gathered(1, Some(CHECK_WAIT / 2), CHECK_WAIT);
        assert_eq!(batch, [0, 1, 99]);
        assert!(took >= CHECK_WAIT && took < 2 * CHECK_WAIT, "{took:?}");
        let (batch, took) = gathered(1, Some(CHECK_WAIT * 5), CHECK_WAIT);
        assert_eq!(batch, [0, 1]);
        assert!(took >= CHECK_WAIT && took < 2 * CHECK_WAIT, "{took:?}");
    }

    #[test]
    fn a_lone_envelope_is_checked_at_once() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(wait_for_company(None, now), Duration::ZERO);
        assert_eq!(wait_for_company(Some(now - TRAFFIC), now), Duration::ZERO);
        assert_eq!(wait_for_company(Some(now - TRAFFIC / 2), now), CHECK_WAIT);
        // The clock was set back.
        assert_eq!(wait_for_company(Some(now + TRAFFIC), now), Duration::ZERO);
    }

    #[test]
    fn every_envelope_has_its_turn_and_no_round_is_too_large() {
        let submitted: BTreeMap<B256, Bytes> = (0u8..100)
            .map(|number| (B256::repeat_byte(number), Bytes::from(vec![number; 60_000])))
            .collect();
        let mut last = B256::repeat_byte(90);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let round = next_round(&submitted, &mut last);
            assert!(round.iter().map(|bytes| bytes.len()).sum::<usize>() <= REGOSSIP_BYTES);
            seen.extend(round.into_iter().map(|bytes| bytes[0]));
        }
        assert_eq!(seen.len(), 100);
        assert_eq!(next_round(&BTreeMap::new(), &mut last), Vec::<&Bytes>::new());
    }
}
