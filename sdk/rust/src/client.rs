//! Talking to a node: submit and wait. Nothing here holds a key or a plaintext.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use blindfold_wire::{
    Address, B256, Bytes, envelope::SealedTransaction, receipt::SignedReceipt, status::TxStatus,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Committee, CommitteeError, Fees, HttpTransport, Transport, TransportError, Wallet,
    rpc::{
        CommitteeDocument, HeadDocument, PayerDocument, SendDocument, SettlementDocument,
        SettlementState, TransactionDocument,
    },
};

/// How often [`Client::wait`] asks.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A node, and the committee that its answers are checked against.
#[derive(Debug)]
pub struct Client<T = HttpTransport> {
    transport: T,
    committee: Committee,
    next_request: AtomicU64,
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The node's genesis is not the pinned one.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// The node said no; see [`rpc::codes`](crate::rpc::codes).
    #[error("the node refused ({code}): {message}")]
    Refused {
        /// JSON-RPC error code.
        code: i32,
        /// The node's words.
        message: String,
        /// Further data, if any.
        data: Option<serde_json::Value>,
    },
    /// The answer makes no sense. The node is at fault.
    #[error("the node's answer makes no sense: {0}")]
    BadAnswer(String),
    /// The receipt does not prove that a member has seen the envelope. The node is at fault; the
    /// envelope may have been admitted nevertheless.
    #[error("the node's receipt is worthless: {0}")]
    BadReceipt(String),
    /// The envelope had not reached its end in time. It still may.
    #[error("not done after {waited:?}; last status: {last:?}")]
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// The last status heard, if the node knew the envelope.
        last: Option<TxStatus>,
    },
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    #[serde(default)]
    result: serde_json::Value,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i32,
    message: String,
    data: Option<serde_json::Value>,
}

impl Client<HttpTransport> {
    /// Connects to a node over HTTP and takes the committee from it, if its genesis document has
    /// the pinned hash.
    ///
    /// # Errors
    /// If the node does not answer or serves another chain.
    pub fn connect(url: &str, pinned_genesis: B256) -> Result<Self, ClientError> {
        Self::with_transport(HttpTransport::new(url)?, pinned_genesis)
    }
}

impl<T: Transport> Client<T> {
    /// As [`Client::connect`], over any transport.
    ///
    /// # Errors
    /// If the node does not answer or serves another chain.
    pub fn with_transport(transport: T, pinned_genesis: B256) -> Result<Self, ClientError> {
        let first = AtomicU64::new(1);
        let document: CommitteeDocument =
            request(&transport, &first, "sealed_getCommittee", [(); 0])?;
        let committee = Committee::from_document(&document, pinned_genesis)?;
        Ok(Self { transport, committee, next_request: first })
    }

    /// A client for a committee that is known already.
    pub fn with_committee(transport: T, committee: Committee) -> Self {
        Self { transport, committee, next_request: AtomicU64::new(1) }
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// How far the node has got, and the next height's fees.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn head(&self) -> Result<HeadDocument, ClientError> {
        self.request("sealed_getHead", [(); 0])
    }

    /// A payer's nonces and escrow.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn payer(&self, payer: Address) -> Result<PayerDocument, ClientError> {
        self.request("sealed_getPayer", [payer])
    }

    /// Sets the wallet's next nonce to the one the node expects.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn sync(&self, wallet: &Wallet) -> Result<PayerDocument, ClientError> {
        let payer = self.payer(wallet.address())?;
        wallet.set_next_nonce(payer.pending_nonce);
        Ok(payer)
    }

    /// Fees fit for the present state of the chain; see [`Fees::suggest`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn suggest_fees(&self, gas_limit: u64) -> Result<Fees, ClientError> {
        Ok(Fees::suggest(&self.head()?, gas_limit))
    }

    /// Submits a sealed transaction and checks the receipt: it must name this envelope and be
    /// signed by the committee member it names.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn submit(&self, sealed: &SealedTransaction) -> Result<SignedReceipt, ClientError> {
        let bytes = Bytes::from(sealed.encode());
        let sent: SendDocument = self.request("sealed_sendTransaction", [bytes])?;
        let receipt = SignedReceipt::try_from(&sent.receipt)
            .map_err(|error| ClientError::BadReceipt(error.to_string()))?;
        self.check_receipt(&receipt, sealed.id())?;
        Ok(receipt)
    }

    fn check_receipt(&self, signed: &SignedReceipt, id: B256) -> Result<(), ClientError> {
        let bad = |problem: &str| Err(ClientError::BadReceipt(problem.to_owned()));
        let genesis = self.committee.genesis();
        if signed.receipt.envelope_id != id {
            return bad("it is for another envelope");
        }
        if signed.receipt.chain_id != genesis.chain_id
            || signed.receipt.settlement != genesis.settlement
        {
            return bad("it is for another chain");
        }
        let Some(expected) = self.committee.signer(signed.receipt.member) else {
            return bad("there is no such member");
        };
        match signed.recover_signer() {
            Ok(signer) if signer == expected => Ok(()),
            Ok(_) => bad("another key signed it"),
            Err(error) => bad(&error.to_string()),
        }
    }

    /// Present status of an envelope; `None` if the node does not know it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn status(&self, id: B256) -> Result<Option<TxStatus>, ClientError> {
        self.request("sealed_getTransaction", [id])
    }

    /// Waits until an envelope has reached its end: executed, skipped, undecryptable, expired,
    /// replaced or evicted.
    ///
    /// A node that stops answering for a while is asked again until the time is up.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`], or the last failure if the node never answered.
    pub fn wait(&self, id: B256, timeout: Duration) -> Result<TxStatus, ClientError> {
        let start = Instant::now();
        let (mut last, mut answered) = (None, false);
        loop {
            let outcome = self.status(id);
            let time_is_up = start.elapsed() >= timeout;
            match outcome {
                Ok(Some(status)) if status.is_terminal() => return Ok(status),
                Ok(status) => (last, answered) = (status.or(last), true),
                Err(ClientError::Transport(_)) if !time_is_up || answered => {}
                Err(error) => return Err(error),
            }
            if time_is_up {
                return Err(ClientError::TimedOut { waited: timeout, last });
            }
            thread::sleep(POLL_INTERVAL.min(timeout.saturating_sub(start.elapsed())));
        }
    }

    /// Where an envelope stands, and where its height is posted; `None` if the node does not know it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn transaction(&self, id: B256) -> Result<Option<TransactionDocument>, ClientError> {
        self.request("sealed_getTransaction", [id])
    }

    /// Waits until the height of an envelope is on L1, in a block that stays if `state` is `Finalized`. For
    /// envelopes that were ordered; see [`Client::wait`].
    ///
    /// # Errors
    /// [`ClientError::TimedOut`], or the last failure if the node never answered.
    pub fn wait_settled(
        &self,
        id: B256,
        state: SettlementState,
        timeout: Duration,
    ) -> Result<SettlementDocument, ClientError> {
        let start = Instant::now();
        let (mut last, mut answered) = (None, false);
        loop {
            let outcome = self.transaction(id);
            let time_is_up = start.elapsed() >= timeout;
            match outcome {
                Ok(Some(TransactionDocument { settlement: Some(settlement), .. }))
                    if state == SettlementState::Posted || settlement.state == state =>
                {
                    return Ok(settlement);
                }
                Ok(document) => {
                    (last, answered) = (document.map(|document| document.status).or(last), true);
                }
                Err(ClientError::Transport(_)) if !time_is_up || answered => {}
                Err(error) => return Err(error),
            }
            if time_is_up {
                return Err(ClientError::TimedOut { waited: timeout, last });
            }
            thread::sleep(POLL_INTERVAL.min(timeout.saturating_sub(start.elapsed())));
        }
    }

    /// Calls any method that only asks. Do not pass a plaintext transaction to it; methods known to
    /// carry one are refused here.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn request<R: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<R, ClientError> {
        request(&self.transport, &self.next_request, method, params)
    }
}

/// Puts one question to a node, without a committee to check its answer against.
///
/// # Errors
/// See [`ClientError`]; methods that would carry a plaintext transaction are refused here.
pub fn ask<R: DeserializeOwned>(
    transport: &impl Transport,
    method: &str,
    params: impl Serialize,
) -> Result<R, ClientError> {
    request(transport, &AtomicU64::new(1), method, params)
}

fn request<T: Transport, R: DeserializeOwned>(
    transport: &T,
    next_request: &AtomicU64,
    method: &str,
    params: impl Serialize,
) -> Result<R, ClientError> {
    if method.starts_with("eth_send") {
        return Err(ClientError::Refused {
            code: crate::rpc::codes::PLAINTEXT_REFUSED,
            message: "the SDK sends no plaintext transactions: seal it and use submit".to_owned(),
            data: None,
        });
    }
    let id = next_request.fetch_add(1, Ordering::Relaxed);
    let body = serde_json::to_vec(&Request { jsonrpc: "2.0", id, method, params })
        .map_err(|error| ClientError::BadAnswer(format!("request does not serialize: {error}")))?;
    let senseless = |error: serde_json::Error| ClientError::BadAnswer(error.to_string());
    let answer: Answer = serde_json::from_slice(&transport.exchange(&body)?).map_err(senseless)?;
    if let Some(RpcError { code, message, data }) = answer.error {
        return Err(ClientError::Refused { code, message, data });
    }
    if answer.id != Some(id) {
        return Err(ClientError::BadAnswer("it is for another request".to_owned()));
    }
    serde_json::from_value(answer.result).map_err(senseless)
}
