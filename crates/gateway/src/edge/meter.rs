//! Bytes that may be read before a connection has shown its credential.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes are left.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(crate) fn of(bytes_max: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes_max)))
    }

    /// No bound any more.
    pub(crate) fn open(&self) {
        self.0.store(u64::MAX, Ordering::Release);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// A stream that stops reading when the meter is spent.
pub(crate) struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(crate) fn new(inner: S, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.meter.0.load(Ordering::Acquire);
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "too much before authentication",
            )));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if left != u64::MAX && polled.is_ready() {
            let read = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
            // Opened in between: stay open.
            let _opened = self.meter.0.compare_exchange(
                left,
                left.saturating_sub(read),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
