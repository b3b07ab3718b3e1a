//! The poster's answers to challenges.

use super::{Moment, Poster};
use crate::{
    metrics,
    settlement::{SettlementError, answers, contract_error, rows::PostedRow},
};
use alloy_primitives::{Address, B256};
use blindfold_settlement::{bindings::BatchInbox, poster::Purpose, reveal::OpenChallenge};
use std::collections::BTreeMap;
use tracing::{error, info, warn};

/// After a challenge could not be answered, others are, and posting goes on, for at most so long, in seconds.
const MAX_RETRY_S: u64 = 60;

/// A challenge that this member is to answer now.
pub(super) struct Wanted {
    pub(super) challenge: OpenChallenge,
    row: PostedRow,
    /// Whether this member posted the batch.
    own: bool,
}

impl Poster {
    /// The challenge to answer now, if there is one.
    pub(super) async fn wanted(&mut self, now_s: u64) -> Result<Option<Wanted>, SettlementError> {
        self.later.retain(|_, again_s| now_s < *again_s);
        let (mut rows, mut against_us) = (BTreeMap::new(), 0);
        for challenge in self.challenges.open() {
            let asked = challenge.asked;
            let row = self.shared.book.of_height(asked.height)?.map(|posted| posted.row);
            // Not there, or another: a reorg took the batch away, and the challenge goes with it.
            let Some(row) = row.filter(|row| row.batch.index == asked.batch) else { continue };
            let seat = self.seat_of(row.batch.poster);
            against_us += usize::from(seat == Some(self.seat));
            if !self.later.contains_key(&asked.id()) {
                rows.insert(asked, (challenge, seat, row));
            }
        }
        if against_us > self.against_us {
            warn!(target: "blindfold::settlement", open = against_us,
                "batches of this member are challenged: their answers are due, or the stake is lost");
        }
        self.against_us = against_us;
        metrics::challenges_against_us(against_us);
        if rows.is_empty() {
            return Ok(None);
        }
        // Deadlines are in the time of L1's blocks.
        let l1_now_s = self.l1.heads().await?.latest.timestamp_s;
        let open = rows.values().map(|(challenge, seat, _)| (*challenge, *seat));
        let Some(challenge) = self.turns.next(open, l1_now_s) else { return Ok(None) };
        let Some((_, seat, row)) = rows.remove(&challenge.asked) else { return Ok(None) };
        // What the watcher saw may be a look old.
        let open = self.is_open(challenge.asked.id()).await?;
        Ok(open.then_some(Wanted { challenge, row, own: seat == Some(self.seat) }))
    }

    /// The seat of a member, by its signer.
    fn seat_of(&self, signer: Address) -> Option<u32> {
        let members = &self.shared.genesis.committee.members;
        let seat = members.iter().position(|member| member.signer == signer)?;
        u32::try_from(seat).ok()
    }

    /// Whether a challenge is open in the newest block.
    pub(super) async fn is_open(&self, challenge: B256) -> Result<bool, SettlementError> {
        let inbox = BatchInbox::new(self.contracts.inbox, self.l1.provider());
        let found = inbox.challengeOf(challenge).call().await.map_err(contract_error)?;
        Ok(!found.challenger.is_zero() && !found.settled)
    }

    /// Answers a challenge. If that cannot be done, it is put off, so that one challenge that this member cannot answer
    /// stands in the way of no other.
    pub(super) async fn answer(&mut self, wanted: &Wanted, moment: Moment) {
        let asked = wanted.challenge.asked;
        match self.try_answer(wanted, moment).await {
            Ok(()) => metrics::challenge(if wanted.own { "answered" } else { "taken_over" }),
            Err(reason) => {
                error!(target: "blindfold::settlement", %reason, own = wanted.own, batch = asked.batch,
                    height = asked.height, position = asked.position, deadline_s = wanted.challenge.deadline_s,
                    "a challenge is not answered; trying again");
                metrics::challenge("failed");
                let retry_s = (self.turns.window_s / 32).clamp(1, MAX_RETRY_S);
                self.later.insert(asked.id(), moment.now_s.saturating_add(retry_s));
            }
        }
    }

    async fn try_answer(&self, wanted: &Wanted, moment: Moment) -> Result<(), SettlementError> {
        let (asked, own) = (wanted.challenge.asked, wanted.own);
        let answer = answers::make(&self.shared, self.l1.as_ref(), &wanted.row, &asked).await?;
        let row = self.calling(answer.call, Purpose::Answer { challenge: asked.id() }, moment);
        self.dry_run(&row).await?;
        info!(target: "blindfold::settlement", own, batch = asked.batch, height = asked.height,
            position = asked.position, shows = ?answer.shows, "answering a challenge");
        self.send(row).await
    }
}
