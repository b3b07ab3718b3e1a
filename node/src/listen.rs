//! HTTP/1.1 on a TCP port that strangers can reach: what a connection may cost, whatever it does.
//!
//! ```text
//!  accept ──▶ place? ─no──▶ 503 and goodbye          (connections, and of one address)
//!               │yes
//!               ▼
//!            Watched ──▶ head in time? ──▶ service   (head, idle: one time limit)
//!            (bytes)     write goes on? ─no▶ cut     (a reader that stalls or trickles)
//! ```
//!
//! Bounds: connections, connections of one address, time for a head and between requests, buffered
//! head bytes, time in which an answer must make progress, calls that run for one connection, and
//! bytes of answers that nobody has read yet. WebSocket connections stay in the same bounds, since all
//! their bytes pass through [`Watched`].

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::server::StopHandle;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::{Sleep, sleep, timeout},
};

use crate::places::{Place, Places};

/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Refused connections that are told so at a time; others are just closed.
const MAX_REFUSALS: usize = 64;
/// How long a refused connection may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after the system refused us a socket (out of file handles).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that must get through within one time limit while answers wait to be read.
const PROGRESS_BYTES: usize = 1 << 20;
/// Calls that run for one connection; more of its requests are not read before one ends.
pub(crate) const MAX_RUNNING: usize = 16;
/// Bytes of unread answers beyond which a connection gets no further ones.
pub(crate) const MAX_UNREAD_BYTES: usize = 4 << 20;
/// Bytes of unread answers of all connections together.
pub(crate) const MAX_UNREAD_BYTES_TOTAL: usize = 256 << 20;

/// Tasks of this process beyond which no WebSocket is read: the JSON-RPC library starts one for each message,
/// and a message may be six bytes long.
const MAX_TASKS: usize = 8_192;
/// How long such a WebSocket waits before it looks again.
const TASKS_PAUSE: Duration = Duration::from_millis(20);
/// Bytes that the system keeps for one connection's unread answers.
const SEND_BUFFER_BYTES: u32 = 512 << 10;
/// Connections that the system completes before we accept them.
const BACKLOG: u32 = 1_024;

/// Opens the port.
///
/// # Errors
/// If the address is taken or not ours.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open connections.
    pub(crate) max_connections: usize,
    /// Open connections from one address (for IPv6, one /64 network).
    pub(crate) max_connections_per_ip: usize,
    /// Time for a head, between requests, and for an answer to make progress.
    pub(crate) timeout: Duration,
}

/// Accepts connections until `stop` and serves each with what `connect` makes for it. `refusal` is the
/// JSON that a connection without a place is told with status 503.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    limits: Limits,
    stop: StopHandle,
    refusal: String,
    connect: impl Fn(Arc<Connection>) -> S + Send,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let places = Arc::new(Places::default());
    let unread = Arc::new(AtomicUsize::new(0));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let refusal: Arc<str> = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{refusal}",
        refusal.len()
    )
    .into();
    let stopped = stop.clone().shutdown();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(target: "blindfold::rpc", %error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Limits { max_connections, max_connections_per_ip, .. } = limits;
        let entered = places.enter(remote.ip(), max_connections, max_connections_per_ip);
        let Some((place, _)) = entered else {
            crate::metrics::connection_refused();
            if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                let refusal = Arc::clone(&refusal);
                tokio::spawn(async move {
                    let _ = timeout(REFUSAL_TIMEOUT, refuse(stream, &refusal)).await;
                    drop(permit);
                });
            }
            continue;
        };
        let _ = stream.set_nodelay(true);
        let connection = Arc::new(Connection::new(Arc::clone(&unread)));
        let service = connect(Arc::clone(&connection));
        let watched = Watched {
            stream,
            connection,
            stalled: None,
            progress: 0,
            timeout: limits.timeout,
            pause: None,
            _place: place,
        };
        let stop = stop.clone();
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.timeout)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(watched), service)
                .with_upgrades();
            tokio::pin!(served);
            let ended = tokio::select! {
                ended = served.as_mut() => ended,
                () = stop.clone().shutdown() => {
                    served.as_mut().graceful_shutdown();
                    match timeout(limits.timeout, served).await {
                        Ok(ended) => ended,
                        Err(_) => return,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(target: "blindfold::rpc", %remote, %error, "connection ended");
            }
        });
    }
}

/// Says why and waits for the other side to hang up, so that it reads the reason before a reset.
async fn refuse(mut stream: TcpStream, refusal: &str) -> io::Result<()> {
    stream.write_all(refusal.as_bytes()).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1_024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// What one connection has under way.
pub(crate) struct Connection {
    running: AtomicUsize,
    /// Bytes of answers that are made and not written.
    unread: AtomicUsize,
    unread_total: Arc<AtomicUsize>,
    /// The other side does not take what we write.
    blocked: AtomicBool,
    /// It was given up. Both directions end: the JSON-RPC library goes on reading when it cannot write.
    ended: AtomicBool,
    /// It has become a WebSocket.
    upgraded: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Connection {
    fn new(unread_total: Arc<AtomicUsize>) -> Self {
        Self {
            running: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            unread_total,
            blocked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            reader: Mutex::new(None),
        }
    }

    /// Notes a call until the value is dropped.
    pub(crate) fn run(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(self))
    }

    /// Notes that it becomes a WebSocket.
    pub(crate) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    /// Whether so much is unread that no call is worth answering.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.unread.load(Ordering::Acquire) > MAX_UNREAD_BYTES
    }

    /// Notes an answer of `bytes`; `false` if there is no room for it.
    pub(crate) fn answer(&self, bytes: usize) -> bool {
        let before = self.unread_total.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) > MAX_UNREAD_BYTES_TOTAL {
            self.unread_total.fetch_sub(bytes, Ordering::AcqRel);
            return false;
        }
        self.unread.fetch_add(bytes, Ordering::AcqRel);
        true
    }

    /// Notes that bytes went out. Heads and frames around answers count too, so never below zero.
    fn written(&self, bytes: usize) {
        let taken = self
            .unread
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |unread| {
                Some(unread.saturating_sub(bytes))
            })
            .map_or(0, |before| before.min(bytes));
        self.unread_total.fetch_sub(taken, Ordering::AcqRel);
    }

    /// Whether the next request must wait; if so, the task is woken when it need not.
    fn must_wait(&self, cx: &Context<'_>) -> bool {
        let busy = || {
            !self.ended.load(Ordering::Acquire)
                && (self.running.load(Ordering::Acquire) >= MAX_RUNNING
                    || self.blocked.load(Ordering::Acquire))
        };
        if !busy() {
            return false;
        }
        *self.reader.lock() = Some(cx.waker().clone());
        // It may have changed before the waker stood there.
        busy()
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake_reader();
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.lock().take() {
            reader.wake();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.unread_total.fetch_sub(*self.unread.get_mut(), Ordering::AcqRel);
    }
}

/// A call under way.
pub(crate) struct Running(Arc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.wake_reader();
    }
}

/// A TCP stream that gives up on a reader who stalls, and reads no further requests meanwhile.
struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// Runs while the other side takes too little.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Bytes written since it runs.
    progress: usize,
    timeout: Duration,
    /// Runs while the process has too many tasks.
    pause: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Watched {
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(done) = written {
            match &done {
                Ok(bytes) => {
                    self.connection.written(*bytes);
                    self.progress = self.progress.saturating_add(*bytes);
                    let done = self.connection.unread.load(Ordering::Acquire) == 0;
                    if done || self.progress >= PROGRESS_BYTES {
                        self.stalled = None;
                    }
                    if self.connection.blocked.swap(false, Ordering::AcqRel) {
                        self.connection.wake_reader();
                    }
                }
                Err(_) => self.connection.end(),
            }
            return Poll::Ready(done);
        }
        self.connection.blocked.store(true, Ordering::Release);
        if self.stalled.is_none() {
            self.progress = 0;
        }
        let limit = self.timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        self.connection.end();
        Poll::Ready(Err(unread()))
    }
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "answers are not read")
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.must_wait(cx) {
            return Poll::Pending;
        }
        if self.connection.ended.load(Ordering::Acquire) {
            return Poll::Ready(Err(unread()));
        }
        if self.connection.upgraded.load(Ordering::Acquire) {
            while Handle::current().metrics().num_alive_tasks() > MAX_TASKS {
                let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(TASKS_PAUSE)));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.connection.ended.load(Ordering::Acquire) {
            return Poll::Ready(Err(unread()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.connection.ended.load(Ordering::Acquire) {
            return Poll::Ready(Err(unread()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_answers_are_counted_and_given_back() {
        let total = Arc::new(AtomicUsize::new(0));
        let slow = Arc::new(Connection::new(Arc::clone(&total)));
        assert!(slow.answer(MAX_UNREAD_BYTES_TOTAL));
        assert!(slow.is_backed_up());
        let other = Connection::new(Arc::clone(&total));
        assert!(!other.answer(1), "no room");
        slow.written(10);
        assert!(other.answer(1));
        other.written(500);
        assert_eq!(total.load(Ordering::Relaxed), MAX_UNREAD_BYTES_TOTAL - 10);
        drop(slow);
        assert_eq!(total.load(Ordering::Relaxed), 0, "gone with its connection");
    }

    #[test]
    fn a_busy_connection_waits_and_is_woken() {
        let connection = Arc::new(Connection::new(Arc::default()));
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let mut running: Vec<_> = (0..MAX_RUNNING).map(|_| connection.run()).collect();
        assert!(connection.must_wait(&cx));
        running.pop();
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(!connection.must_wait(&cx));
    }

    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
