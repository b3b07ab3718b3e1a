//! Carries messages between members over QUIC, one authenticated connection per pair.
//!
//! # Roles
//!
//! - A **member** is a primary peer: it keeps a link to every other member.
//! - A **follower** is a secondary peer, or a stranger for whom there is room: it dials members and is
//!   never dialed by them, and has less of everything.
//! - Of two members the one with the smaller key **dials**; the other **listens**.
//!
//! # Steps of a link
//!
//! ```text
//!  dialer                                                        listener
//!    │ ClientHello, ALPN blindfold/1/<genesis hash>                 │
//!    ├─────────────────────────────────────────────────────────────▶│ other chain: no handshake
//!    │ raw ed25519 key + signature (RFC 7250)                       │
//!    │◀─────────────────────────────────────────────────────────────┤
//!    │ not the dialed key: abort                                    │
//!    │ raw ed25519 key + signature                                  │
//!    ├─────────────────────────────────────────────────────────────▶│ no room for a follower more,
//!    │                                                              │ blocked, banned: abort
//!    │ one uni-directional stream per channel ◀────────────────────▶│
//!    │   channel id ‖ (length ‖ payload)*                           │
//! ```
//!
//! A link that ends is dialed again after a pause that doubles up to three seconds, with jitter.
//! A listener takes the newest connection of a key and closes the one before, so that a restarted
//! dialer need not wait for a time-out.
//!
//! # What a channel promises
//!
//! Messages of one sender on one channel arrive in order of sending within a link, at most once,
//! and possibly not at all: outboxes drop the oldest when full, and what was in flight when a
//! link broke is lost. The protocols above repeat what they need. Channels do not delay one
//! another: each has its own stream and its own flow-control credit, and small channels have
//! priority on the wire.
//!
//! # Bounds
//!
//! Everything is bounded by the constants in [`config`] and by each [`ChannelSpec`]: queues in
//! messages and bytes, messages per second and peer, frame sizes, streams, unfinished handshakes,
//! peers. A peer that breaks the framing or floods is disconnected and refused for
//! [`config::FAULT_BAN`]; a peer that a protocol [blocks](commonware_p2p::Blocker) stays out until
//! this process ends.
//!
//! # Caveats
//!
//! - Traffic analysis is not hindered: sizes and times are visible to the network.
//! - A member needs a UDP port that other members can reach.
//! - Blocks and bans are not written to disk.
//!
//! Must be started inside a tokio runtime; commonware's tokio runner provides one.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::Endpoint;
use tokio::{sync::mpsc, task::JoinSet};

pub mod config;
mod control;
mod endpoint;
mod io;
mod link;
mod meter;
mod outbox;
mod peer;
mod peers;
mod quota;
mod refusals;
#[cfg(test)]
mod tests;
mod tls;

pub use config::{ChannelSpec, FollowerUse, Overload, TransportConfig};
pub use control::PeerControl;
pub use io::{Checked, Receiver, Rewrite, Sender, Stopped};
pub use meter::{ChannelStats, TransportStats};
pub use quota::Quota;
pub use tls::Identity;

use peer::{ChannelState, CloseCode};
use peers::Shared;

/// How long [`Transport::shutdown`] waits for farewells to reach the peers.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a transport cannot start. All of these are for the operator to solve.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The UDP socket cannot be opened.
    #[error("cannot listen on UDP {listen}: {source}; choose another address or stop what uses it")]
    Bind {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The identity key cannot be used.
    #[error("identity key: {0}")]
    Identity(&'static str),
    /// The TLS library refuses its configuration.
    #[error("TLS set-up: {0}")]
    Tls(#[from] rustls::Error),
    /// A channel's bounds make no sense, or two channels share an id or name.
    #[error("channel {channel}: {problem}")]
    Channel {
        /// The channel's name.
        channel: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A limit makes no sense.
    #[error("transport configuration: {0}")]
    Config(&'static str),
    /// Not called inside a tokio runtime.
    #[error("the transport must be started inside a tokio runtime")]
    NoRuntime,
}

/// A running transport. Dropping it closes every link.
///
/// Call order: [`bind`](Self::bind) once with all channels;
/// [`track`](commonware_p2p::Manager::track) on [`control`](Self::control) a first peer set
/// (before that nobody is dialed or accepted); use the channels; [`shutdown`](Self::shutdown).
pub struct Transport {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

impl Transport {
    /// Opens the socket and starts to serve; returns the two ends of each channel, in the order
    /// of `channels`.
    ///
    /// # Errors
    ///
    /// See [`TransportError`].
    pub fn bind<const N: usize>(
        config: TransportConfig,
        channels: [ChannelSpec; N],
    ) -> Result<(Self, [(Sender, Receiver); N]), TransportError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(TransportError::NoRuntime);
        }
        check_channels(&channels)?;
        let mut inboxes = Vec::with_capacity(N);
        let states = channels.map(|spec| {
            let (inbox, receiver) = mpsc::channel(spec.inbox_messages);
            inboxes.push(Receiver::new(receiver, spec.name));
            ChannelState::new(spec, inbox, Instant::now())
        });
        let TransportConfig { listen, genesis_hash, identity, addresses, max_followers } = config;
        let shared =
            Arc::new(Shared::new(identity.public_key(), states.into(), addresses, max_followers));
        let endpoint = endpoint::bind(&identity, &genesis_hash, listen, shared.clone())?;
        let mut tasks = JoinSet::new();
        tasks.spawn(endpoint::accept(endpoint.clone(), shared.clone()));
        let supervisor =
            endpoint::supervise(endpoint.clone(), identity, genesis_hash, shared.clone());
        tasks.spawn(supervisor);
        let mut ends = inboxes.into_iter().enumerate();
        let pairs = std::array::from_fn(|_| {
            let (index, receiver) = ends.next().expect("one inbox per channel");
            (Sender::new(shared.clone(), index), receiver)
        });
        Ok((Self { shared, endpoint, tasks }, pairs))
    }

    /// The handle for peer sets, blocks and counters.
    pub fn control(&self) -> PeerControl {
        PeerControl(self.shared.clone())
    }

    /// The address in use; tells the port if the configuration asked for any.
    ///
    /// # Errors
    ///
    /// What the system says if the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Says farewell to every peer. The socket is free a moment later, when the runtime has
    /// dropped the last task.
    pub async fn shutdown(mut self) {
        self.close();
        self.tasks.shutdown().await;
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    fn close(&self) {
        self.endpoint.close(CloseCode::Shutdown.into(), CloseCode::Shutdown.reason());
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.close();
    }
}

fn check_channels(channels: &[ChannelSpec]) -> Result<(), TransportError> {
    if channels.is_empty() || channels.len() > config::MAX_CHANNELS {
        return Err(TransportError::Config("between 1 and MAX_CHANNELS channels are needed"));
    }
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for spec in channels {
        let fresh = ids.insert(spec.id) && names.insert(spec.name);
        let problem = if fresh { spec.invalid() } else { Some("id or name is taken") };
        if let Some(problem) = problem {
            return Err(TransportError::Channel { channel: spec.name, problem });
        }
    }
    Ok(())
}
