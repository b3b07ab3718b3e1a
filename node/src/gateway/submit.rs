//! Handing envelopes to members. Nothing in this file ever sees a plaintext.

use std::time::Duration;

use blindfold_sdk::{
    B256, Bytes, Client, ClientError, Committee, HttpTransport, SealedTransaction, rpc::codes,
};
use eyre::Result;
use parking_lot::Mutex;

use super::{Gateway, hold::End, round::Submission, store::Record};

/// How long one member may take to answer before the next is asked.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The members that take envelopes.
pub(super) struct Members {
    clients: Vec<(String, Client)>,
    /// Which answered last, so that a silent one does not delay every envelope.
    preferred: Mutex<usize>,
}

/// What a member made of an envelope.
enum Taken {
    Yes,
    /// Another envelope holds the nonce and pays more.
    Outbid(String),
    /// Not now, or not here.
    No(String),
    /// It is no envelope for this member.
    Invalid(String),
}

impl Members {
    pub(super) fn new(urls: &[String], committee: &Committee) -> Result<Self> {
        let client = |url: &String| {
            let transport = HttpTransport::with_timeout(url, SUBMIT_TIMEOUT)?;
            Ok((url.clone(), Client::with_committee(transport, committee.clone())))
        };
        let clients = urls.iter().map(client).collect::<Result<_>>()?;
        Ok(Self { clients, preferred: Mutex::new(0) })
    }

    pub(super) fn urls(&self) -> impl Iterator<Item = &str> {
        self.clients.iter().map(|(url, _)| url.as_str())
    }

    /// Asks member after member until one takes the envelope.
    fn hand_out(&self, envelope: &Bytes) -> Taken {
        let Ok(sealed) = SealedTransaction::decode(envelope) else {
            return Taken::Invalid("not an envelope".to_owned());
        };
        let first = *self.preferred.lock();
        let (mut said, mut all_invalid) = (Vec::new(), true);
        for step in 0..self.clients.len() {
            let at = (first + step) % self.clients.len();
            let (url, client) = &self.clients[at];
            match judge(client.submit(&sealed)) {
                Taken::Yes => {
                    *self.preferred.lock() = at;
                    return Taken::Yes;
                }
                Taken::Outbid(problem) => return Taken::Outbid(format!("{url}: {problem}")),
                Taken::Invalid(problem) => said.push(format!("{url}: {problem}")),
                Taken::No(problem) => {
                    all_invalid = false;
                    said.push(format!("{url}: {problem}"));
                }
            }
        }
        let said = said.join("; ");
        if all_invalid { Taken::Invalid(said) } else { Taken::No(said) }
    }
}

fn judge(answer: Result<blindfold_sdk::SignedReceipt, ClientError>) -> Taken {
    let error = match answer {
        Ok(_) => return Taken::Yes,
        Err(error) => error,
    };
    let ClientError::Refused { code, data, .. } = &error else {
        return Taken::No(error.to_string());
    };
    let reason =
        data.as_ref().and_then(|data| data.get("reason")).and_then(|reason| reason.as_str());
    match (*code, reason) {
        (codes::ENVELOPE_REFUSED, Some("already_known")) => Taken::Yes,
        (codes::ENVELOPE_REFUSED, Some("replacement_underpriced")) => {
            Taken::Outbid(error.to_string())
        }
        (codes::ENVELOPE_INVALID, _) => Taken::Invalid(error.to_string()),
        _ => Taken::No(error.to_string()),
    }
}

impl Gateway {
    /// Hands envelopes out, in order.
    pub(super) fn submit(&self, submissions: Vec<Submission>) {
        for Submission { payer_nonce, id, bytes, at_height } in submissions {
            let taken = self.members.hand_out(&bytes);
            let mut state = self.state.lock();
            let still_last = |id: B256| {
                move |slot: &&mut super::hold::Slot| slot.last().is_some_and(|last| last.id == id)
            };
            let slot = state.hold.slot_mut(payer_nonce).filter(still_last(id));
            let Some(slot) = slot else { continue };
            match taken {
                Taken::Yes => (slot.taken_at, slot.problem) = (Some(at_height), None),
                Taken::Outbid(problem) => (slot.outbid, slot.problem) = (true, Some(problem)),
                Taken::No(problem) => {
                    if slot.problem.as_ref() != Some(&problem) {
                        tracing::warn!(target: "blindfold::gateway", envelope_id = %id, problem, "no member takes it; trying again");
                    }
                    slot.problem = Some(problem);
                    // The next nonces would fare no better; they go out with the next round.
                    return;
                }
                Taken::Invalid(reason) => {
                    tracing::error!(target: "blindfold::gateway", envelope_id = %id, reason, "every member refuses it");
                    let hash = slot.last().map(|last| last.hash);
                    let mut records = vec![Record::Freed { payer_nonce }];
                    records.extend(
                        hash.map(|hash| Record::Ended { hash, end: End::Refused { reason } }),
                    );
                    if let Err(trouble) = state.commit(&records) {
                        tracing::error!(target: "blindfold::gateway", %trouble, "cannot write the journal");
                    }
                }
            }
        }
    }
}
