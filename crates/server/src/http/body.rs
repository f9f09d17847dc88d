//! Request bodies with a limit on silence, and response bodies whose bytes are counted.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::access_log::Exchange;
use super::busy::Flowing;

/// How long a client may pause in the middle of a request body.
pub(super) const BODY_IDLE: Duration = Duration::from_mins(1);

/// Maximum number of bytes that are read and thrown away of a body that its handler left unread, so that the sender
/// sees the answer instead of a broken connection. A manifest of twice the maximum size fits.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
/// Time limit for discarding before the answer, and again for discarding in the background beside it.
const DISCARD_TIME: Duration = Duration::from_secs(5);
/// A sender that pauses for this long gets its answer first: it may be waiting for it.
const DISCARD_PAUSE: Duration = Duration::from_millis(250);

/// A request body that fails when the client goes silent, and hands over what its handler leaves unread.
#[derive(Debug)]
pub(super) struct TimedBody<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> {
    /// `None` once the body has ended.
    inner: Option<B>,
    deadline: Pin<Box<Sleep>>,
    /// Takes the unread rest.
    leaves_to: Option<oneshot::Sender<B>>,
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> TimedBody<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner: Some(inner), deadline: Box::pin(tokio::time::sleep(BODY_IDLE)), leaves_to: None }
    }

    /// Like [`Self::new`], for HTTP/1, where unread bytes would break the connection before the client sees the answer.
    /// The receiver gets the unread rest when the body is dropped.
    pub(super) fn leaving_the_rest(inner: B) -> (Self, oneshot::Receiver<B>) {
        let (sender, rest) = oneshot::channel();
        let mut body = Self::new(inner);
        body.leaves_to = Some(sender);
        (body, rest)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> Drop for TimedBody<B> {
    fn drop(&mut self) {
        let rest = self.inner.take().filter(|inner| !inner.is_end_stream());
        let Some((rest, leaves_to)) = rest.zip(self.leaves_to.take()) else { return };
        // The receiver is gone if a task that outlives its request owned the body.
        if let (Err(rest), Ok(runtime)) = (leaves_to.send(rest), tokio::runtime::Handle::try_current()) {
            runtime.spawn(discard(rest));
        }
    }
}

/// Discards the unread rest of a body before the answer. After a pause or at the time limit it goes on in the
/// background.
pub(super) async fn discard<B: HttpBody<Data = Bytes> + Unpin + Send + 'static>(mut body: B) {
    let until = Instant::now() + DISCARD_TIME;
    let mut left = DISCARDED_BYTES;
    while Instant::now() < until {
        match tokio::time::timeout(DISCARD_PAUSE, body.frame()).await {
            Ok(frame) => {
                if !is_within(frame, &mut left) {
                    return;
                }
            }
            Err(_) => break,
        }
    }
    tokio::spawn(tokio::time::timeout(DISCARD_TIME, async move { while is_within(body.frame().await, &mut left) {} }));
}

/// Whether there is a frame, and it stays within the discard limit.
fn is_within<E>(frame: Option<Result<Frame<Bytes>, E>>, left: &mut usize) -> bool {
    let Some(Ok(frame)) = frame else { return false };
    let rest = left.checked_sub(frame.data_ref().map_or(0, Bytes::len));
    *left = rest.unwrap_or(0);
    rest.is_some()
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> HttpBody for TimedBody<B>
where
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                // Only the client's silence counts, not that of a handler that is slow to ask for more.
                this.deadline.as_mut().reset(Instant::now() + BODY_IDLE);
                if !matches!(frame, Some(Ok(_))) {
                    this.inner = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match this.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    this.inner = None;
                    let seconds = BODY_IDLE.as_secs();
                    Poll::Ready(Some(Err(format!("nothing came for {seconds} seconds").into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// A response body that counts its bytes for the access log; dropping it writes the line.
///
/// `G` is whatever must live as long as the body: the guards that keep connection and process busy.
#[derive(Debug)]
pub(super) struct LoggedBody<G> {
    inner: Body,
    exchange: Exchange,
    flowing: Option<Flowing>,
    _guards: G,
}

impl<G> LoggedBody<G> {
    pub(super) const fn new(inner: Body, exchange: Exchange, flowing: Option<Flowing>, guards: G) -> Self {
        Self { inner, exchange, flowing, _guards: guards }
    }
}

impl<G: Unpin> HttpBody for LoggedBody<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Some(flowing) = &this.flowing {
            flowing.asked(polled.is_ready());
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.exchange.sent(bytes, this.inner.is_end_stream());
            }
            Poll::Ready(Some(Err(error))) => this.exchange.broken(error),
            Poll::Ready(None) => this.exchange.sent(0, true),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
