//! A connection with time-outs for the first byte, the rest of a request head, the next request, and a reader that has
//! stopped reading. It passes on no ambiguous head.
//!
//! Owns: the time-outs of bytes on a connection, and the answer to a refused head. Never: the time a handler takes, a
//! request body (see `body`), or what a valid head is (see `head`).

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::busy::Busy;
use super::exchange::{self, Connection};
use super::framing::Framing;
use super::head::Refused;

/// How long a connection may be silent, in each situation.
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
    /// How long an HTTP/2 client may take nothing of an answer; its socket never fills.
    stalled_answer: Duration,
    /// How long the rest of a refused request is read and thrown away, so that its sender sees the answer instead of a
    /// broken connection.
    linger: Duration,
}

/// The time-outs of a server.
pub(super) const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    first_byte: Duration::from_secs(30),
    // Longer than the minute for which most load balancers keep a connection.
    keep_alive: Duration::from_secs(75),
    stalled_write: Duration::from_mins(1),
    // An answer moves in pieces of 512 KiB, and a slow line takes some time for one.
    stalled_answer: Duration::from_mins(2),
    linger: Duration::from_secs(2),
};

/// Maximum number of bytes of a refused request that are thrown away.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

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

/// A refusal being sent, after which the connection ends.
#[derive(Debug)]
enum End {
    /// No answer: the stream is at its end.
    Silent,
    /// The answer, and how much of it is written.
    Answer(Vec<u8>, usize),
    /// The answer is written; at most this many bytes may still come.
    Linger(usize),
}

/// The connection.
#[derive(Debug)]
pub(super) struct GuardedStream<S> {
    inner: S,
    remote: IpAddr,
    busy: Busy,
    patience: Patience,
    phase: Phase,
    framing: Framing,
    end: Option<End>,
    /// Whether everything written has been flushed; a refusal must not go between the halves of an answer.
    flushed: bool,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Pin<Box<Sleep>>,
    write_stalled: bool,
}

impl<S> GuardedStream<S> {
    pub(super) fn new(inner: S, connection: &Connection, patience: Patience) -> Self {
        Self {
            inner,
            remote: connection.remote,
            busy: connection.busy.clone(),
            patience,
            phase: Phase::Fresh,
            framing: Framing::new(),
            end: None,
            flushed: true,
            read_deadline: Box::pin(tokio::time::sleep(patience.first_byte)),
            write_deadline: Box::pin(tokio::time::sleep(patience.stalled_write)),
            write_stalled: false,
        }
    }

    fn enter(&mut self, phase: Phase, limit: Duration) {
        self.phase = phase;
        self.read_deadline.as_mut().reset(Instant::now() + limit);
    }

    /// Handles received bytes and returns how many of them may pass. They begin or continue a request head, unless they
    /// belong to a body or to HTTP/2, which multiplexes.
    fn received(&mut self, bytes: &[u8]) -> usize {
        let mut good = bytes.len();
        if let Err(stop) = self.framing.received(bytes) {
            good = stop.good;
            let refused = stop.refused;
            self.end = Some(refused.map_or(End::Silent, |refused| self.answer(&refused)));
        }
        if self.busy.is_busy() {
            self.phase = Phase::Busy;
        } else if self.framing.is_http2() {
            self.enter(Phase::Idle, self.patience.keep_alive);
        } else if self.phase != Phase::Head {
            self.enter(Phase::Head, self.patience.head);
        }
        good
    }

    fn answer(&self, refused: &Refused) -> End {
        End::Answer(exchange::refuse(self.remote, refused), 0)
    }

    /// Ends a connection whose head took too long. The client is told, unless it has sent nothing or speaks HTTP/2.
    fn head_too_late(&mut self) {
        let head = self.framing.partial_head();
        self.end = Some(if head.is_empty() || self.framing.is_http2() {
            End::Silent
        } else {
            self.answer(&Refused::new(StatusCode::REQUEST_TIMEOUT, "the request head took longer than 10 s", head))
        });
    }

    /// Whether the client has been silent for too long; called when there is nothing to read.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.busy.is_busy() {
            if !self.framing.is_http2() {
                self.phase = Phase::Busy;
                return false;
            }
            // A full HTTP/2 window stops an answer without filling the socket, so this checks at intervals.
            let look = self.patience.stalled_answer / 8;
            if self.phase != Phase::Busy {
                self.enter(Phase::Busy, look);
            }
            while self.read_deadline.as_mut().poll(cx).is_ready() {
                if self.busy.is_stalled(self.patience.stalled_answer) {
                    return true;
                }
                self.enter(Phase::Busy, look);
            }
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

impl<S: AsyncRead + AsyncWrite + Unpin> GuardedStream<S> {
    /// Writes the answer that is due, then reports the end of the stream.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.end {
                None | Some(End::Silent) => return Poll::Ready(Ok(())),
                // Earlier requests are answered first; the HTTP library reads again afterwards.
                Some(_) if self.busy.is_busy() || !self.flushed => return Poll::Pending,
                Some(End::Answer(answer, written)) if *written < answer.len() => {
                    let result = Pin::new(&mut self.inner).poll_write(cx, &answer[*written..]);
                    match result {
                        Poll::Ready(Ok(bytes)) if bytes > 0 => *written += bytes,
                        Poll::Ready(_) => self.end = Some(End::Silent),
                        Poll::Pending => {
                            ready!(self.watch_write::<()>(cx, Poll::Pending))?;
                        }
                    }
                }
                Some(End::Answer(..)) => {
                    let result = ready!(Pin::new(&mut self.inner).poll_shutdown(cx));
                    self.end = Some(if result.is_ok() { End::Linger(LINGER_BYTES) } else { End::Silent });
                    self.enter(Phase::Idle, self.patience.linger);
                }
                Some(End::Linger(left)) => {
                    let mut bytes = [0_u8; 8192];
                    let mut buf = ReadBuf::new(&mut bytes);
                    let left = *left;
                    let more = match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                        Poll::Ready(Ok(())) => !buf.filled().is_empty() && buf.filled().len() < left,
                        Poll::Ready(Err(_)) => false,
                        Poll::Pending => {
                            ready!(self.read_deadline.as_mut().poll(cx));
                            false
                        }
                    };
                    self.end = Some(if more { End::Linger(left - buf.filled().len()) } else { End::Silent });
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_some() {
            return this.poll_end(cx);
        }
        // A head that trickles in is always ready to read, so its deadline is checked before the read.
        if this.phase == Phase::Head && !this.busy.is_busy() && this.read_deadline.as_mut().poll(cx).is_ready() {
            this.head_too_late();
            return this.poll_end(cx);
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                let came = buf.filled().len() - before;
                if came > 0 {
                    let good = this.received(&buf.filled()[before..]);
                    buf.set_filled(before + good);
                    if good == 0 {
                        return this.poll_end(cx);
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending if this.poll_too_late(cx) => {
                if this.phase == Phase::Head {
                    this.head_too_late();
                    return this.poll_end(cx);
                }
                Poll::Ready(Err(timed_out("the client sends or takes nothing")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.flushed = false;
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.watch_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.flushed = false;
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.watch_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.flushed |= matches!(result, Poll::Ready(Ok(())));
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
