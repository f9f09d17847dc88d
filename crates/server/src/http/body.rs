//! Bodies with a limit on silence (requests) and with an account of what went out (responses).

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

/// How much of a body that its handler left unread is still read and thrown away, so that its sender gets to see the
/// answer instead of a broken connection. A manifest of twice the size that is taken fits.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
/// How long that may take before the answer, and how long again beside it.
const DISCARD_TIME: Duration = Duration::from_secs(5);
/// A sender that pauses for this long gets its answer first: it may be waiting for it.
const DISCARD_PAUSE: Duration = Duration::from_millis(250);

/// A request body that ends with an error when the client goes silent, and hands over what its handler leaves of it.
#[derive(Debug)]
pub(super) struct TimedBody<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> {
    /// Gone once the body has ended.
    inner: Option<B>,
    deadline: Pin<Box<Sleep>>,
    /// Who takes care of what is left.
    leaves_to: Option<oneshot::Sender<B>>,
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> TimedBody<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner: Some(inner), deadline: Box::pin(tokio::time::sleep(BODY_IDLE)), leaves_to: None }
    }

    /// The same where bytes that nobody reads would break the connection under the answer, as they do on HTTP/1. What is
    /// left arrives at the receiver when the body is dropped.
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
        // Nobody waits for it any more when a task that outlives its request had the body.
        if let (Err(rest), Ok(runtime)) = (leaves_to.send(rest), tokio::runtime::Handle::try_current()) {
            runtime.spawn(discard(rest));
        }
    }
}

/// Throws away what a handler left of a body, as long as it flows. What comes later is thrown away beside the answer.
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

/// Whether there is a frame, and it is not beyond what is thrown away at most.
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
                // The silence of the client counts, not that of a handler which is slow to ask for more.
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

/// A response body that counts its bytes for the access log; the line is written when it is dropped.
///
/// `G` is whatever must live as long as the body does: the guards that keep connection and process busy.
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
