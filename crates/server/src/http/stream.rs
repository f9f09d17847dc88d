//! A connection that does not wait for ever: for a first byte, for the rest of a request head, for the next request,
//! or for a reader that has stopped reading.
//!
//! Owns: the time-outs of bytes on a connection. Never: the time a handler takes, or a request body (see `body`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a connection may be silent, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a request head to its last.
    head: Duration,
    /// From accepting a connection to its first byte.
    first_byte: Duration,
    /// From one request to the next.
    keep_alive: Duration,
    /// How long a client may leave a full socket unread.
    stalled_write: Duration,
}

/// What a server has.
pub(super) const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    first_byte: Duration::from_secs(30),
    // Longer than the minute for which most load balancers keep a connection.
    keep_alive: Duration::from_secs(75),
    stalled_write: Duration::from_mins(1),
};

/// What a connection of HTTP/2 begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// How many requests of a connection are being handled, shared between the connection and its service.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy(Arc<AtomicUsize>);

/// One request being handled; ends when dropped.
#[derive(Debug)]
pub(super) struct BusyGuard(Arc<AtomicUsize>);

impl Busy {
    pub(super) fn begin(&self) -> BusyGuard {
        self.0.fetch_add(1, Ordering::AcqRel);
        BusyGuard(Arc::clone(&self.0))
    }

    fn is_busy(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// Between requests.
    Idle,
    /// In the middle of a request head.
    Head,
    /// A request is being handled; its body has its own time-out.
    Busy,
}

/// The connection.
#[derive(Debug)]
pub(super) struct GuardedStream<S> {
    inner: S,
    busy: Busy,
    patience: Patience,
    phase: Phase,
    http2: bool,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Pin<Box<Sleep>>,
    write_stalled: bool,
}

impl<S> GuardedStream<S> {
    pub(super) fn new(inner: S, busy: Busy, patience: Patience) -> Self {
        Self {
            inner,
            busy,
            patience,
            phase: Phase::Fresh,
            http2: false,
            read_deadline: Box::pin(tokio::time::sleep(patience.first_byte)),
            write_deadline: Box::pin(tokio::time::sleep(patience.stalled_write)),
            write_stalled: false,
        }
    }

    fn enter(&mut self, phase: Phase, limit: Duration) {
        self.phase = phase;
        self.read_deadline.as_mut().reset(Instant::now() + limit);
    }

    /// Bytes came: a request head begins or goes on, unless they belong to a body or to HTTP/2, which multiplexes.
    fn received(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Fresh {
            self.http2 = bytes.starts_with(HTTP2_PREFACE);
        }
        if self.busy.is_busy() {
            self.phase = Phase::Busy;
        } else if self.http2 {
            self.enter(Phase::Idle, self.patience.keep_alive);
        } else if self.phase != Phase::Head {
            self.enter(Phase::Head, self.patience.head);
        }
    }

    /// Nothing came: whether it is too late for more.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.busy.is_busy() {
            self.phase = Phase::Busy;
            return false;
        }
        if self.phase == Phase::Busy {
            self.enter(Phase::Idle, self.patience.keep_alive);
        }
        self.read_deadline.as_mut().poll(cx).is_ready()
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_stalled = false;
            return result;
        }
        if !self.write_stalled {
            self.write_stalled = true;
            self.write_deadline.as_mut().reset(Instant::now() + self.patience.stalled_write);
        }
        match self.write_deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the client does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // A head that trickles in is always ready, so its deadline counts before the read.
        if this.phase == Phase::Head && !this.busy.is_busy() && this.read_deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(timed_out("the request head took too long")));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.received(&buf.filled()[before..]);
                }
                Poll::Ready(result)
            }
            Poll::Pending if this.poll_too_late(cx) => Poll::Ready(Err(timed_out("the client sends nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.watch_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.watch_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.watch_write(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.watch_write(cx, result)
    }
}

#[cfg(test)]
mod tests;
