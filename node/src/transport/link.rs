//! One authenticated connection: a stream per channel in each direction.
//!
//! ```text
//! stream  = channel id (8 bytes, big endian) ‖ frame*
//! frame   = length (4 bytes, big endian) ‖ payload
//! ```

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, WriteError};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    config::{
        COUNT_INTERVAL, FRAME_TIMEOUT, MAX_CHANNELS, Overload, READ_CHUNK_BYTES,
        STREAM_HEADER_TIMEOUT,
    },
    meter::short_name,
    peer::{ChannelState, CloseCode, Peer},
    peers::Shared,
};

/// How a peer broke the protocol. Each of these is the peer's fault and ends its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a stream did not name its channel in time")]
    SlowHeader,
    #[error("a frame of {len_bytes} bytes on channel {channel}")]
    Oversize { channel: &'static str, len_bytes: usize },
    #[error("a frame on channel {channel} did not arrive in time")]
    SlowFrame { channel: &'static str },
    #[error("a second stream for channel {channel}")]
    DuplicateStream { channel: &'static str },
    #[error("too many streams")]
    TooManyStreams,
    #[error("flooded channel {channel}")]
    Flood { channel: &'static str },
}

/// Streams that the peer opened on one link.
#[derive(Default)]
struct Opened {
    total: usize,
    claimed: Vec<bool>,
}

/// Serves `connection` until it ends. Returns at once if the peer is not permitted any more.
/// `first` is a stream of the peer's that was accepted already.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    connection: Connection,
    first: Option<RecvStream>,
) {
    let Some(id) = shared.install(&peer, &connection) else { return };
    let name = short_name(&peer.key);
    tracing::info!(target: "blindfold::transport", peer = name, "connected");
    let generations: Vec<u64> = peer.channels.iter().map(|ch| ch.outbox.attach()).collect();
    let mut carried = Carried { shared: &shared, connection: &connection, counted: (0, 0) };
    let _live = Live { shared: &shared, peer: &peer, id, generations: generations.clone() };
    // Declared after `_live`, hence gone before it says that the link is.
    let mut tasks = JoinSet::new();
    for (index, generation) in generations.into_iter().enumerate() {
        tasks.spawn(write(shared.clone(), peer.clone(), connection.clone(), index, generation));
    }
    let claimed = vec![false; shared.channels.len()];
    let opened = Arc::new(Mutex::new(Opened { total: 0, claimed }));
    if let Some(first) = first {
        tasks.spawn(read(shared.clone(), peer.clone(), opened.clone(), first));
    }
    let mut count = tokio::time::interval(COUNT_INTERVAL);
    let fault = loop {
        tokio::select! {
            _ = count.tick() => carried.count(),
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    tasks.spawn(read(shared.clone(), peer.clone(), opened.clone(), stream));
                }
                Err(_) => break None,
            },
            Some(done) = tasks.join_next() => {
                if let Ok(Err(fault)) = done {
                    break Some(fault);
                }
            }
        }
    };
    if let Some(fault) = fault {
        tracing::warn!(target: "blindfold::transport", peer = name, %fault, "peer broke the protocol");
        shared.meters.faults.add(1);
        shared.ban(&peer.key);
        connection.close(CloseCode::Fault.into(), CloseCode::Fault.reason());
    }
    let reason = connection.closed().await;
    tracing::info!(target: "blindfold::transport", peer = name, %reason, "disconnected");
}

/// Counts the datagrams of a link, once more when it ends.
struct Carried<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    /// Bytes sent and received that are counted already.
    counted: (u64, u64),
}

impl Carried<'_> {
    fn count(&mut self) {
        let stats = self.connection.stats();
        let (sent, received) = (stats.udp_tx.bytes, stats.udp_rx.bytes);
        self.shared.meters.wire_sent_bytes.add(sent.saturating_sub(self.counted.0));
        self.shared.meters.wire_received_bytes.add(received.saturating_sub(self.counted.1));
        self.counted = (sent, received);
    }
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

/// Takes the link out of the books however its task ends, also by being aborted.
struct Live<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    id: u64,
    generations: Vec<u64>,
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        for (channel, generation) in self.peer.channels.iter().zip(&self.generations) {
            channel.outbox.detach(*generation, now);
        }
        self.shared.remove(self.peer, self.id);
    }
}

/// Writes one channel's outbox to a stream of its own.
async fn write(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    connection: Connection,
    index: usize,
    generation: u64,
) -> Result<(), Fault> {
    let spec = &shared.channels[index].spec;
    let channel = &peer.channels[index];
    let Ok(mut stream) = connection.open_uni().await else { return Ok(()) };
    // Fails only on a closed stream, which the next write reports.
    let _ = stream.set_priority(spec.priority);
    let mut refused = stream.write_all(&spec.id.to_be_bytes()).await.is_err();
    while let Some((message, stale)) = channel.outbox.next(generation).await {
        channel.meters.outbox_dropped.add(stale);
        if refused {
            channel.meters.outbox_dropped.add(1);
            continue;
        }
        let len_bytes = message.len();
        // A message passed its channel's limit, far below 4 GiB, when it was queued.
        let header = Bytes::copy_from_slice(&(len_bytes as u32).to_be_bytes());
        match stream.write_all_chunks(&mut [header, message]).await {
            Ok(()) => {
                channel.meters.sent_messages.add(1);
                channel.meters.sent_bytes.add(len_bytes as u64);
            }
            // The peer knows no such channel. It loses these messages, not the link.
            Err(WriteError::Stopped(_)) => refused = true,
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Reads one stream into its channel's inbox. `Ok` when the stream or link ends.
async fn read(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    opened: Arc<Mutex<Opened>>,
    mut stream: RecvStream,
) -> Result<(), Fault> {
    let mut id = [0u8; 8];
    match timeout(STREAM_HEADER_TIMEOUT, stream.read_exact(&mut id)).await {
        Err(_) => return Err(Fault::SlowHeader),
        Ok(Err(_)) => return Ok(()),
        Ok(Ok(())) => {}
    }
    let id = u64::from_be_bytes(id);
    let known = |state: &ChannelState| state.spec.id == id && peer.may_send(&state.spec);
    let index = shared.channels.iter().position(known);
    {
        let mut opened = opened.lock();
        opened.total += 1;
        if opened.total > MAX_CHANNELS {
            return Err(Fault::TooManyStreams);
        }
        if let Some(index) = index
            && std::mem::replace(&mut opened.claimed[index], true)
        {
            let channel = shared.channels[index].spec.name;
            return Err(Fault::DuplicateStream { channel });
        }
    }
    let Some(index) = index else {
        tracing::debug!(target: "blindfold::transport", id, "peer uses a channel this node does not have");
        let _ = stream.stop(CloseCode::UnknownChannel.into());
        return Ok(());
    };
    loop {
        let mut len = [0u8; 4];
        if stream.read_exact(&mut len).await.is_err() {
            return Ok(());
        }
        let proceed = receive_frame(&shared, &peer, index, u32::from_be_bytes(len), &mut stream);
        if !proceed.await? {
            return Ok(());
        }
    }
}

/// Receives one frame whose length is known. False when the stream or the consumer is gone.
async fn receive_frame(
    shared: &Shared,
    peer: &Peer,
    index: usize,
    len: u32,
    stream: &mut RecvStream,
) -> Result<bool, Fault> {
    let state = &shared.channels[index];
    let (channel, spec) = (&peer.channels[index], &state.spec);
    let len_bytes = len as usize;
    if len_bytes > spec.max_message_bytes {
        return Err(Fault::Oversize { channel: spec.name, len_bytes });
    }
    let mut over_quota = false;
    let mut take_own = true;
    loop {
        let mut verdict = Ok(());
        if take_own {
            verdict = channel.receive_quota.lock().take(Instant::now());
            take_own = verdict.is_err();
        }
        if verdict.is_ok() && peer.follower {
            verdict = state.follower_quota.lock().take(Instant::now());
        }
        match (verdict, spec.overload) {
            (Ok(()), _) => break,
            (Err(wait), Overload::Backpressure) => sleep(wait).await,
            (Err(_), Overload::Drop) => {
                over_quota = true;
                break;
            }
        }
    }
    let Ok(payload) = timeout(FRAME_TIMEOUT, read_payload(stream, len_bytes)).await else {
        return Err(Fault::SlowFrame { channel: spec.name });
    };
    let Some(payload) = payload else { return Ok(false) };
    if over_quota {
        channel.meters.quota_dropped.add(1);
        return if channel.abuse.lock().note(Instant::now()) {
            Err(Fault::Flood { channel: spec.name })
        } else {
            Ok(true)
        };
    }
    let share = channel.inbox_share.clone();
    match spec.overload {
        Overload::Backpressure => {
            let Ok(permit) = share.acquire_owned().await else { return Ok(false) };
            if state.inbox.send((peer.key.clone(), payload, permit)).await.is_err() {
                return Ok(false);
            }
        }
        Overload::Drop => {
            let queued = share.try_acquire_owned().is_ok_and(|permit| {
                state.inbox.try_send((peer.key.clone(), payload, permit)).is_ok()
            });
            if !queued {
                channel.meters.inbox_dropped.add(1);
                return Ok(!state.inbox.is_closed());
            }
        }
    }
    channel.meters.received_messages.add(1);
    channel.meters.received_bytes.add(len_bytes as u64);
    Ok(true)
}

/// Reads exactly `len_bytes`, growing with what arrives rather than with what was announced.
async fn read_payload(stream: &mut RecvStream, len_bytes: usize) -> Option<Bytes> {
    let mut payload = BytesMut::with_capacity(len_bytes.min(READ_CHUNK_BYTES));
    while payload.len() < len_bytes {
        let missing = len_bytes - payload.len();
        let chunk = stream.read_chunk(missing.min(READ_CHUNK_BYTES), true).await.ok()??;
        payload.extend_from_slice(&chunk.bytes);
    }
    Some(payload.freeze())
}
