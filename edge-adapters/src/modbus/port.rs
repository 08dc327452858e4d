//! A byte stream that outlives the client on it.
//!
//! The client of the library owns its stream and drops it with itself. On a serial line the stream must stay: it is
//! listened to until the line is silent ([`super::line`]), and closing a port drops DTR and RTS, which resets some
//! devices and takes the power from some converters. So the client gets a [`Lent`] one, and the line keeps the
//! [`Port`].

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a transport opens.
pub(crate) trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Stream for T {}

/// A stream, and what went over it.
pub(crate) struct Port(Arc<Mutex<Inner>>);

/// The same, for a client.
pub(crate) struct Lent(Arc<Mutex<Inner>>);

struct Inner {
    stream: Box<dyn Stream>,
    /// When bytes last came or went.
    last_byte: Instant,
    /// Bytes that came since [`Port::count_from_here`].
    received: u64,
}

impl Port {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream, last_byte: Instant::now(), received: 0 })))
    }
    pub(crate) fn lend(&self) -> Lent {
        Lent(Arc::clone(&self.0))
    }
    pub(crate) fn last_byte(&self) -> Instant {
        lock(&self.0).last_byte
    }
    pub(crate) fn count_from_here(&self) {
        lock(&self.0).received = 0;
    }
    pub(crate) fn received(&self) -> u64 {
        lock(&self.0).received
    }

    /// Waits for bytes and throws them away; how many there were, 0 at the end of the stream.
    pub(crate) async fn discard(&self) -> io::Result<usize> {
        poll_fn(|cx| lock(&self.0).poll_discard(cx)).await
    }

    /// The same for what is there already; `None` when nothing is.
    pub(crate) async fn discard_waiting(&self) -> Option<io::Result<usize>> {
        poll_fn(|cx| match lock(&self.0).poll_discard(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

impl Inner {
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 256];
        let mut buffer = ReadBuf::new(&mut bytes);
        self.poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.received += came as u64;
            self.last_byte = Instant::now();
        }
        outcome
    }
}

/// Polling is complete by itself, so a panic elsewhere leaves nothing half done.
fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        lock(&self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        let outcome = Pin::new(&mut inner.stream).poll_write(cx, bytes);
        inner.last_byte = Instant::now();
        outcome
    }
    /// Nothing is held back: a written byte is on its way. On a serial port the library's flush would be `tcdrain`, which
    /// blocks the thread until the last bit is out.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
