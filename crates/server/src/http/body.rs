//! Bodies with a limit on silence (requests) and with an account of what went out (responses).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::access_log::Exchange;
use super::busy::Flowing;

/// How long a client may pause in the middle of a request body.
pub(super) const BODY_IDLE: Duration = Duration::from_mins(1);

/// A request body that ends with an error when the client goes silent.
#[derive(Debug)]
pub(super) struct TimedBody<B> {
    inner: B,
    deadline: Pin<Box<Sleep>>,
}

impl<B> TimedBody<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, deadline: Box::pin(tokio::time::sleep(BODY_IDLE)) }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for TimedBody<B>
where
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                // The silence of the client counts, not that of a handler which is slow to ask for more.
                self.deadline.as_mut().reset(Instant::now() + BODY_IDLE);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match self.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    let seconds = BODY_IDLE.as_secs();
                    Poll::Ready(Some(Err(format!("nothing came for {seconds} seconds").into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
