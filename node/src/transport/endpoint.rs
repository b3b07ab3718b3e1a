//! The endpoint's two loops: accept and dial.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use commonware_cryptography::ed25519::PublicKey;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Incoming,
    TransportConfig as QuicConfig, VarInt,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Identity, TransportError,
    config::{
        DIAL_TIMEOUT, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, INITIAL_RTT, KEEP_ALIVE_INTERVAL,
        MAX_CHANNELS, MAX_HANDSHAKES, MAX_HANDSHAKES_PER_IP, RETRY_HANDSHAKES, STABLE_LINK,
        STREAM_WINDOW_BYTES,
    },
    link,
    meter::short_name,
    outbox::backoff,
    peer::{CloseCode, Peer},
    peers::Shared,
    tls,
};
use crate::places::{Place, Places};

/// Bytes of credit for all channels of a link together: as much as each of them alone may hold,
/// so that a channel whose consumer stopped never takes the credit of another.
const LINK_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * MAX_CHANNELS as u32;

fn quic_config() -> Result<Arc<QuicConfig>, TransportError> {
    let idle = IDLE_TIMEOUT.try_into().map_err(|_| TransportError::Config("idle timeout"))?;
    let mut quic = QuicConfig::default();
    quic.max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_CHANNELS as u32))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(LINK_WINDOW_BYTES))
        .send_window(u64::from(LINK_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .max_idle_timeout(Some(idle));
    Ok(Arc::new(quic))
}

/// Random connection ids without a mark of this run. The library's default ids carry one, and a packet
/// without it is dropped in silence: a restarted node would never tell its peers, by a stateless reset,
/// that their links to the run before are gone, and they would wait [`IDLE_TIMEOUT`] to find out.
struct UnmarkedIds;

/// Bytes of a connection id.
const CONNECTION_ID_BYTES: usize = 8;

impl ConnectionIdGenerator for UnmarkedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; CONNECTION_ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Binds the UDP socket. Must run inside a tokio runtime.
pub(super) fn bind(
    identity: &Identity,
    genesis_hash: &[u8; 32],
    listen: SocketAddr,
    shared: Arc<Shared>,
) -> Result<Endpoint, TransportError> {
    let runtime = quinn::default_runtime().ok_or(TransportError::NoRuntime)?;
    let crypto = tls::server_crypto(identity, genesis_hash, shared)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(quic_config()?).max_incoming(MAX_HANDSHAKES).migration(true);
    let mut endpoint_config = EndpointConfig::new(identity.reset_key());
    endpoint_config.cid_generator(|| Box::new(UnmarkedIds));
    let bound = std::net::UdpSocket::bind(listen);
    let socket = bound.map_err(|source| TransportError::Bind { listen, source })?;
    Endpoint::new(endpoint_config, Some(server), socket, runtime)
        .map_err(|source| TransportError::Bind { listen, source })
}

/// Accepts connections until the endpoint closes.
pub(super) async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    let handshakes = Arc::new(Places::default());
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let ip = incoming.remote_address().ip();
                let Some((place, open)) =
                    handshakes.enter(ip, MAX_HANDSHAKES, MAX_HANDSHAKES_PER_IP)
                else {
                    shared.meters.handshakes_refused.add(1);
                    incoming.refuse();
                    continue;
                };
                if open > RETRY_HANDSHAKES && incoming.may_retry() {
                    // Cannot fail: the address is not validated yet.
                    let _ = incoming.retry();
                    continue;
                }
                links.spawn(serve(incoming, place, shared.clone()));
            }
            Some(_) = links.join_next() => {}
        }
    }
}

/// Finishes one handshake and serves the link.
async fn serve(incoming: Incoming, place: Place, shared: Arc<Shared>) {
    let remote = incoming.remote_address();
    let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, incoming).await else {
        tracing::debug!(target: "blindfold::transport", %remote, "handshake refused");
        shared.meters.handshakes_refused.add(1);
        return;
    };
    drop(place);
    let refuse = |code: CloseCode| {
        shared.meters.handshakes_refused.add(1);
        connection.close(code.into(), code.reason());
    };
    let admitted = tls::peer_key(&connection).and_then(|key| shared.admit(&key, Instant::now()));
    let Some(peer) = admitted else { return refuse(CloseCode::Refused) };
    if shared.dials(&peer.key) {
        return refuse(CloseCode::WrongDirection);
    }
    if !peer.may_accept(Instant::now()) {
        return refuse(CloseCode::TooOften);
    }
    link::run(shared, peer, connection, None).await;
}

/// Keeps one dialing task per peer that this node is to dial.
pub(super) async fn supervise(
    endpoint: Endpoint,
    identity: Identity,
    genesis_hash: [u8; 32],
    shared: Arc<Shared>,
) {
    // Dropping the set aborts the dialers with their supervisor.
    let mut tasks = JoinSet::new();
    let mut dialers: BTreeMap<PublicKey, (Arc<Peer>, tokio::task::AbortHandle)> = BTreeMap::new();
    loop {
        let wanted: BTreeMap<_, _> =
            shared.to_dial().into_iter().map(|peer| (peer.key.clone(), peer)).collect();
        dialers.retain(|key, (peer, dialer)| {
            let stays = wanted.get(key).is_some_and(|wanted| Arc::ptr_eq(wanted, peer));
            if !stays {
                dialer.abort();
            }
            stays
        });
        for (key, peer) in wanted {
            if dialers.contains_key(&key) {
                continue;
            }
            match dial_config(&identity, &genesis_hash, key.clone()) {
                Ok(config) => {
                    let dialer = dial(endpoint.clone(), config, peer.clone(), shared.clone());
                    dialers.insert(key, (peer, tasks.spawn(dialer)));
                }
                Err(error) => {
                    tracing::error!(target: "blindfold::transport", %error, "cannot dial {}", short_name(&key));
                }
            }
        }
        tokio::select! {
            () = shared.changed.notified() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
}

fn dial_config(
    identity: &Identity,
    genesis_hash: &[u8; 32],
    peer: PublicKey,
) -> Result<quinn::ClientConfig, TransportError> {
    let crypto = tls::client_crypto(identity, genesis_hash, peer)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(quic_config()?);
    Ok(config)
}

/// Dials `peer` for ever.
async fn dial(
    endpoint: Endpoint,
    config: quinn::ClientConfig,
    peer: Arc<Peer>,
    shared: Arc<Shared>,
) {
    let mut attempt: u32 = 0;
    loop {
        if shared.permits(&peer.key)
            && let Some(address) = shared.address(&peer.key)
        {
            let dialed = connect(&endpoint, &config, &address, attempt);
            match timeout(DIAL_TIMEOUT, dialed).await {
                Ok(Ok((connection, first))) => {
                    let since = Instant::now();
                    link::run(shared.clone(), peer.clone(), connection, Some(first)).await;
                    if since.elapsed() >= STABLE_LINK {
                        attempt = 0;
                    }
                }
                failed => {
                    let reason = match failed {
                        Ok(Err(reason)) => reason,
                        _ => "no answer".to_owned(),
                    };
                    shared.meters.dials_failed.add(1);
                    let peer = short_name(&peer.key);
                    tracing::debug!(target: "blindfold::transport", peer, address, reason, "dial failed");
                }
            }
        }
        sleep(backoff(attempt, rand::random())).await;
        attempt = attempt.saturating_add(1);
    }
}

/// One attempt: resolves the name afresh and takes its addresses in turn.
///
/// In TLS 1.3 the dialer is done before the listener has judged the dialer's key. So a link counts
/// as made only when the listener's first stream arrives; until then no message is entrusted to it.
async fn connect(
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    address: &str,
    attempt: u32,
) -> Result<(quinn::Connection, quinn::RecvStream), String> {
    let local = endpoint.local_addr().map_err(|error| error.to_string())?;
    let resolved = tokio::net::lookup_host(address).await.map_err(|error| error.to_string())?;
    let usable: Vec<SocketAddr> =
        resolved.filter(|address| address.is_ipv4() == local.is_ipv4()).collect();
    if usable.is_empty() {
        return Err("no address of the socket's family".to_owned());
    }
    let target = usable[attempt as usize % usable.len()];
    let connecting = endpoint
        .connect_with(config.clone(), target, tls::SERVER_NAME)
        .map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| error.to_string())?;
    let first = connection.accept_uni().await.map_err(|error| error.to_string())?;
    Ok((connection, first))
}
