//! Members of a world: started, crashed, and spoken to by wallets.

use super::World;
use crate::{
    adversary::eager,
    plan::{AdversaryKind, MEMBERS, Mutation},
    tap::{TapReceiver, TapSender, Wire},
};
use blindfold_node::{
    config::ExecutionConfig,
    member::{
        Channels, Member, Options,
        messages::{ENVELOPE_CHANNEL, SHARE_CHANNEL},
        pool::PoolRequest,
    },
    rpc::api::SubmitError,
};
use blindfold_ordering::engine::{self, Network, channels};
use commonware_runtime::{Clock as _, Quota, Spawner as _, Supervisor as _};
use commonware_utils::{
    NZU32,
    channel::{mpsc, oneshot},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A member answers a submission within this, or the wallet goes elsewhere.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Threads that execute the blocks of one member.
const EXECUTION_THREADS: usize = 2;
/// Messages per second on one link: never the limit. Buffers are allocated for as many.
const LINK_QUOTA: Quota = Quota::per_second(NZU32!(4_096));

impl World<'_> {
    /// Starts a member, or starts it again over what it stored.
    pub(super) async fn start(&mut self, member: usize) {
        self.starts += 1;
        let context = self
            .context
            .child("member")
            .with_attribute("index", member)
            .with_attribute("start", self.starts);
        let control = self.oracle.control(self.identities[member].clone());
        let evil = self.plan.adversary.filter(|adversary| adversary.member == member);
        let eager = evil.is_some_and(|adversary| adversary.kind == AdversaryKind::ReleasesEarly)
            || matches!(self.plan.mutation, Some(Mutation::EagerRelease { members }) if member < members);
        let mischief = self.mischief.as_ref().filter(|_| evil.is_some());
        let (blocks, proposed) = mpsc::unbounded_channel();
        let mut taps: BTreeMap<u64, (TapSender, TapReceiver)> = BTreeMap::new();
        for channel in channels::ALL.into_iter().chain([ENVELOPE_CHANNEL, SHARE_CHANNEL]) {
            let (sender, receiver) =
                control.register(channel, LINK_QUOTA).await.expect("a known peer");
            let wire = Wire {
                member,
                channel,
                observer: Arc::clone(&self.observer),
                blocks: eager.then(|| blocks.clone()),
                mischief: mischief.cloned(),
                storm: self.storm.clone(),
                mutation: self.plan.mutation,
            };
            taps.insert(
                channel,
                (TapSender::new(sender, wire.clone()), TapReceiver::new(receiver, wire)),
            );
        }
        if let Some(mischief) = mischief {
            let outlets = taps.iter().map(|(channel, (sender, _))| (*channel, sender.outlet()));
            mischief.lock().connect(outlets.collect());
        }
        let mut take = |channel: u64| taps.remove(&channel).expect("registered above");
        let shares = take(SHARE_CHANNEL);
        if eager {
            let (secrets, codec) =
                (self.secrets[member].clone(), engine::codec(&self.genesis, None));
            let (sender, mischief) = (shares.0.outlet(), mischief.cloned());
            context
                .child("eager")
                .spawn(move |_| eager::run(secrets, codec, proposed, sender, mischief));
        }
        let channels = Channels {
            engine: Network {
                votes: take(channels::VOTES),
                certificates: take(channels::CERTIFICATES),
                resolver: take(channels::RESOLVER),
                blocks: take(channels::BLOCKS),
                backfill: take(channels::BACKFILL),
                commitments: take(channels::COMMITMENTS),
                peers: self.oracle.manager(),
                blocker: control.clone(),
            },
            envelopes: take(ENVELOPE_CHANNEL),
            shares,
            blocker: control,
        };
        let options = Options {
            mempool: Default::default(),
            // Enough to have them made, and dropped.
            witness_heights: 4,
            execution: ExecutionConfig {
                threads: EXECUTION_THREADS,
                recheck_one_in: 4,
                ..Default::default()
            },
            checker_secret: self.plan.bytes(2),
            engine_partition: format!("engine-{member}"),
        };
        let started = Member::start(
            context.child("node"),
            Arc::clone(&self.genesis),
            &self.genesis.committee.members[member].identity,
            Some(&self.secrets[member]),
            self.stores[member].clone(),
            channels,
            options,
        )
        .await
        .expect("a member of this chain");
        self.shared[member] = Some(Arc::clone(&started.shared));
        self.members[member] = Some(started);
    }

    pub(super) fn crash(&mut self, member: usize) {
        if let Some(running) = self.members[member].take() {
            running.abort();
        }
    }

    /// Hands an envelope in at the next honest member that is up. Whether it is admitted, or was before.
    pub(super) async fn submit(&mut self, index: usize) -> bool {
        let submission = &self.submissions[index];
        let up = (0..MEMBERS).map(|step| (submission.member + step) % MEMBERS);
        let Some((member, pool)) = up
            .filter(|member| self.plan.is_honest(*member))
            .filter_map(|member| Some((member, self.members[member].as_ref()?.pool.clone())))
            .next()
        else {
            return false;
        };
        let (reply, answer) = oneshot::channel();
        let request = PoolRequest::Submit { bytes: submission.bytes.clone(), reply };
        let refused = match pool.try_send(request) {
            Err(error) => error.to_string(),
            Ok(()) => match self.context.timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(
                    Ok(_)
                    | Err(SubmitError::Refused { reason: "already_known" | "stale_nonce", .. }),
                )) => {
                    self.admitted[index] = Ok(member);
                    return true;
                }
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(_)) => "the member went away".to_owned(),
                Err(_) => "no answer".to_owned(),
            },
        };
        self.admitted[index] = Err(refused);
        false
    }
}
