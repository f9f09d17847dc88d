//! The accept loop: TCP, TLS, HTTP/1.1 and HTTP/2, and their shutdown.
//!
//! Owns: sockets, connection limits and the drain. Never: routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::busy::Busy;
use super::connections::{ConnectionLimits, Connections, Seat};
use super::exchange::{self, Connection};
use super::limits::MAX_HEADER_BYTES;
use super::stream::{GuardedStream, PATIENCE};
use crate::app::App;

/// Time limit for a TLS handshake, which takes two round trips and a signature.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Read buffer of a connection, and so the maximum size of a request head.
const BUFFER_BYTES: usize = 48 * 1024;
/// Receive window of a stream: 1 MiB carries 50 MB/s over 20 ms; the default of 64 KiB would carry 3 MB/s.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Receive window of a connection: four streams at full speed; also the maximum that one connection can make the server
/// hold.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Maximum number of requests at once on one HTTP/2 connection; RFC 9113 advises at least 100.
const MAX_STREAMS: u32 = 100;
/// Maximum number of streams that a client opens and resets before they are accepted; more is a rapid reset attack.
const MAX_RESET_STREAMS: usize = 20;
/// Maximum number of streams that the server resets for faults of the client, over the life of a connection.
const MAX_FAULTY_STREAMS: usize = 1024;
/// Bytes that wait to be sent on one stream before its next piece is read; a piece may be larger. A client that does
/// not read holds this much per stream, and at full speed the socket buffers enough.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// Interval between pings to a silent HTTP/2 client, and the time it has to answer one.
const PING: Duration = Duration::from_secs(30);
/// How long to wait when the process has no more file descriptors.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(200);

/// A bound socket, and its TLS configuration if it has one.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// The receiver always holds the newest certificate, so that reloading is one `send`.
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
}

impl Listener {
    /// Binds a plain listener.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn plain(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls: None })
    }

    /// Binds a listener for TLS.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn tls(address: SocketAddr, config: watch::Receiver<Arc<ServerConfig>>) -> std::io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls: Some(config) })
    }

    /// The address it is bound to, with the real port if port 0 was asked for.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The running listeners.
#[derive(Debug)]
pub struct Server {
    app: App,
    connections: Connections,
    /// Ends the accept loops.
    close: CancellationToken,
    /// Makes idle connections end, and busy ones after their request.
    finish: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Begins to accept connections, at most as many over all listeners as `limits` says.
    pub fn start(app: App, listeners: Vec<Listener>, limits: ConnectionLimits) -> Self {
        let server = Self {
            app,
            connections: Connections::new(limits),
            close: CancellationToken::new(),
            finish: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for listener in listeners {
            let accept = Accept {
                listener,
                app: server.app.clone(),
                connections: server.connections.clone(),
                finish: server.finish.clone(),
                tasks: server.tasks.clone(),
            };
            let close = server.close.clone();
            server.tasks.spawn(async move {
                tokio::select! {
                    () = accept.run() => {}
                    () = close.cancelled() => {}
                }
            });
        }
        server
    }

    /// Replaces the limits on connections.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.connections.set_limits(limits);
    }

    /// Waits for the requests in flight, at most `limit`, then closes everything. While there are any, the listeners
    /// stay open so that a load balancer can see `/readyz` fail; every answer then closes its connection.
    pub async fn drain(self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.app.start_draining();
        let idle = tokio::time::timeout_at(deadline, self.app.idle()).await.is_ok();
        self.close.cancel();
        self.finish.cancel();
        self.tasks.close();
        // Idle connections end at once; they get a moment for that even after the deadline.
        let rest = deadline.max(Instant::now() + Duration::from_secs(1));
        let ended = tokio::time::timeout_at(rest, self.tasks.wait()).await.is_ok();
        if !idle || !ended {
            tracing::warn!(limit_seconds = limit.as_secs(), "requests were still in flight when the time was up");
        }
    }
}

struct Accept {
    listener: Listener,
    app: App,
    connections: Connections,
    finish: CancellationToken,
    tasks: TaskTracker,
}

impl Accept {
    async fn run(&self) {
        loop {
            let (stream, remote) = match self.listener.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !is_of_one_connection(&error) {
                        tracing::warn!(%error, "cannot accept connections now");
                        // Most likely the file descriptors are used up; ending an idle connection frees one.
                        self.connections.make_room(None);
                        tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    }
                    continue;
                }
            };
            // Takes the place after `accept`, so that an idle listener does not hold one and end idle connections for
            // nobody. This connection waits for its place, and all others wait behind it in the backlog of the kernel.
            let place = self.connections.place().await;
            let connection = Connection {
                remote: remote.ip().to_canonical(),
                proxies: self.connections.proxies(),
                busy: Busy::default(),
            };
            let Some(seat) = self.connections.admit(place, connection.remote, &connection.busy) else {
                tracing::debug!(remote = %connection.remote, "refused: too many connections of this address at work");
                continue;
            };
            // Without this, every small answer would wait 40 ms for an acknowledgement.
            let _ = stream.set_nodelay(true);
            let tls = self.listener.tls.as_ref().map(|config| TlsAcceptor::from(Arc::clone(&config.borrow())));
            let (app, finish) = (self.app.clone(), self.finish.clone());
            self.tasks.spawn(async move {
                match tls {
                    None => serve(app, connection, stream, &seat, finish).await,
                    Some(acceptor) => serve_tls(acceptor, app, connection, stream, &seat, finish).await,
                }
            });
        }
    }
}

/// Whether `accept` reports the error of one connection, which ended before it was accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_tls(
    acceptor: TlsAcceptor,
    app: App,
    connection: Connection,
    stream: TcpStream,
    seat: &Seat,
    finish: CancellationToken,
) {
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
    let handshake = tokio::select! {
        handshake = handshake => handshake,
        () = finish.cancelled() => return,
        () = seat.close().cancelled() => return,
    };
    match handshake {
        Ok(Ok(stream)) => serve(app, connection, stream, seat, finish).await,
        Ok(Err(error)) => tracing::debug!(remote = %connection.remote, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(remote = %connection.remote, "TLS handshake took too long"),
    }
}

async fn serve<S>(app: App, connection: Connection, stream: S, seat: &Seat, finish: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (remote, busy) = (connection.remote, connection.busy.clone());
    let stream = TokioIo::new(GuardedStream::new(stream, &connection, PATIENCE));
    let service = service_fn(move |request| {
        // An `async` block would hold the future twice, as captured and as awaited.
        exchange::serve(app.clone(), connection.clone(), request).map(Ok::<_, Infallible>)
    });
    let builder = builder();
    let mut serving = std::pin::pin!(builder.serve_connection(stream, service));
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = finish.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = seat.close().cancelled() => {
            if !busy.is_busy() {
                return;
            }
            // A request came just before the place was needed; it is the last one.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%remote, %error, "connection ended early");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `GuardedStream` owns the time-outs of heads: hyper's own treats idle connections as slow heads.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        // The Java SDK, which speaks HTTP/1.1 only, looks headers up by exact case: `X-Swr-Dockerlogin`.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_FAULTY_STREAMS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).expect("32 KiB fit"))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}
