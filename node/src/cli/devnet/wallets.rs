//! The devnet's wallets: each signs ordinary Ethereum transactions, seals them with the SDK, and hands
//! them to a member of its choice. Nothing else of a transaction ever leaves this file.

use super::rng::Choices;
use crate::cli::tx;
use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use blindfold_sdk::{
    Client, ClientError, Committee, Fees, HttpTransport, SealedTransaction, SigningKey, TxStatus,
    Wallet,
};
use eyre::{Result, WrapErr as _, bail};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Envelopes a wallet keeps in flight: below the protocol's nonce window.
pub const MAX_IN_FLIGHT: usize = 12;
/// How long a submission is tried again while a member is busy or behind.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before it is tried again.
const SUBMIT_RETRY: Duration = Duration::from_millis(150);
/// Wei per gas that the inner transactions offer; the devnet's base fee stays far below.
const INNER_MAX_FEE: u128 = 100_000_000_000;

/// One sealed transaction that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its envelope.
    pub envelope_id: B256,
    /// When it was handed in, in milliseconds since the Unix epoch.
    pub submitted_ms: u64,
    /// Its end, once known.
    pub end: Option<TxStatus>,
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// The members' RPCs.
pub struct Members {
    /// One client each, by index.
    pub clients: Vec<Client>,
    /// Raised by Ctrl-C, after which nobody is waited for.
    interrupted: Arc<AtomicBool>,
}

impl Members {
    /// Connects to members whose genesis document has the pinned hash.
    pub fn connect(
        urls: &[String],
        committee: &Committee,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self> {
        let clients = urls
            .iter()
            .map(|url| Ok(Client::with_committee(HttpTransport::new(url)?, committee.clone())))
            .collect::<Result<_>>()?;
        Ok(Self { clients, interrupted })
    }
}

/// A wallet of one key: it sends and pays.
pub struct DevWallet {
    key: SigningKey,
    wallet: Wallet,
    inner_nonce: u64,
    choices: Choices,
}

/// A call or creation to be sealed.
#[derive(Clone, Debug)]
pub struct Action {
    /// Callee; none creates a contract.
    pub to: Option<Address>,
    /// Call data or init code.
    pub input: Bytes,
    /// Gas limit of the inner transaction.
    pub gas_limit: u64,
    /// Priority fee that the envelope bids, in wei per gas; the suggested one if absent.
    pub bid_wei: Option<u128>,
}

impl DevWallet {
    /// A fresh wallet; its key comes from `choices`.
    pub fn new(mut choices: Choices, committee: &Committee) -> Self {
        let key = SigningKey::random(choices.bytes());
        Self { wallet: Wallet::new(key.clone(), committee.clone()), key, inner_nonce: 0, choices }
    }

    /// Its address, as payer and as sender.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The wallet's own choices.
    pub fn choices(&mut self) -> &mut Choices {
        &mut self.choices
    }

    /// Signs, seals and submits to a member of the wallet's choice.
    pub fn send(&mut self, members: &Members, action: &Action) -> Result<Sent> {
        let at = self.choices.below(members.clients.len());
        let deadline = Instant::now() + SUBMIT_TIMEOUT;
        let client = &members.clients[at];
        let fees = client.suggest_fees(action.gas_limit)?;
        let sealed = self.seal(fees, action)?;
        let submitted_ms = now_ms();
        loop {
            match client.submit(&sealed) {
                Ok(_) => break,
                Err(_) if members.interrupted.load(Ordering::Relaxed) => bail!("interrupted"),
                Err(error) if is_passing(&error) && Instant::now() < deadline => {
                    std::thread::sleep(SUBMIT_RETRY)
                }
                Err(error) => {
                    return Err(error)
                        .wrap_err_with(|| format!("member {at} did not admit an envelope"));
                }
            }
        }
        Ok(Sent { envelope_id: sealed.id(), submitted_ms, end: None })
    }

    /// As [`Self::send`], where members may be away: goes on to the next one until some member holds
    /// the envelope.
    pub fn send_to_any(&mut self, members: &Members, action: &Action) -> Result<Sent> {
        let count = members.clients.len();
        let mut at = self.choices.below(count);
        let deadline = Instant::now() + SUBMIT_TIMEOUT;
        let go_on = |error: ClientError, at: &mut usize| -> Result<()> {
            if members.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            if !is_passing(&error) || Instant::now() >= deadline {
                return Err(error)
                    .wrap_err_with(|| format!("member {at} did not admit an envelope"));
            }
            *at = (*at + 1) % count;
            std::thread::sleep(SUBMIT_RETRY);
            Ok(())
        };
        let fees = loop {
            match members.clients[at].suggest_fees(action.gas_limit) {
                Ok(fees) => break fees,
                Err(error) => go_on(error, &mut at)?,
            }
        };
        let sealed = self.seal(fees, action)?;
        let submitted_ms = now_ms();
        loop {
            match members.clients[at].submit(&sealed) {
                Ok(_) => break,
                // Taken by a member that was killed before it could say so.
                Err(error) if reason(&error) == Some("already_known") => break,
                Err(error) => go_on(error, &mut at)?,
            }
        }
        Ok(Sent { envelope_id: sealed.id(), submitted_ms, end: None })
    }

    /// Signs and seals.
    fn seal(&mut self, suggested: Fees, action: &Action) -> Result<SealedTransaction> {
        let committee = self.wallet.committee();
        let transaction = tx::sign(
            TxEip1559 {
                chain_id: committee.chain_id(),
                nonce: self.inner_nonce,
                gas_limit: action.gas_limit,
                max_fee_per_gas: INNER_MAX_FEE,
                max_priority_fee_per_gas: 0,
                to: action.to.map_or(TxKind::Create, TxKind::Call),
                value: U256::ZERO,
                access_list: Default::default(),
                input: action.input.clone(),
            },
            &self.key,
        );
        let fees = match action.bid_wei {
            None => suggested,
            Some(bid_wei) => Fees {
                max_fee_per_gas: suggested.max_fee_per_gas.saturating_add(bid_wei),
                max_priority_fee_per_gas: bid_wei,
                ..suggested
            },
        };
        let sealed = self.wallet.seal(&transaction.encoded_2718(), &fees)?;
        self.inner_nonce += 1;
        Ok(sealed)
    }
}

/// Why an envelope was refused, in the server's word.
fn reason(error: &ClientError) -> Option<&str> {
    match error {
        ClientError::Refused { data, .. } => data.as_ref()?.get("reason")?.as_str(),
        _ => None,
    }
}

/// Whether the same envelope may be admitted in a moment: the member is busy, or has not yet ordered
/// or executed what came before.
fn is_passing(error: &ClientError) -> bool {
    use blindfold_sdk::rpc::codes;
    match error {
        ClientError::Transport(_) => true,
        ClientError::Refused { code, .. } => {
            *code == codes::UNAVAILABLE
                || (*code == codes::ENVELOPE_REFUSED
                    && matches!(
                        reason(error),
                        Some("nonce_too_far" | "payer_full" | "unpaid" | "backlog" | "full")
                    ))
        }
        _ => false,
    }
}

/// Waits until each of `sent` has come to its end at `client`, recording the ends.
pub fn settle(
    client: &Client,
    sent: &mut [Sent],
    timeout: Duration,
    stop: &dyn Fn() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    for sent in sent.iter_mut().filter(|sent| sent.end.is_none()) {
        loop {
            if let Ok(Some(status)) = client.status(sent.envelope_id)
                && status.is_terminal()
            {
                sent.end = Some(status);
                break;
            }
            if stop()? || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    }
    Ok(())
}

/// Fails unless all of `sent` were executed with success.
pub fn require_success(sent: &[Sent], what: &str) -> Result<()> {
    for sent in sent {
        match &sent.end {
            Some(TxStatus::Executed { success: true, .. }) => {}
            Some(end) => bail!("{what} failed: an envelope ended as {end:?}"),
            None => bail!("{what} did not finish in time"),
        }
    }
    Ok(())
}
