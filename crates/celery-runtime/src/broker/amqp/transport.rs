//! The TCP stream under `lapin`, with [`Guard`] in the reading direction.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_util::{AsyncRead, AsyncWrite, Stream};

use super::guard::Guard;

const READ: usize = 16 * 1024;

/// Tokio's runtime with guarded streams.
pub(super) type GuardedRuntime = Runtime<RuntimeParts<Tokio, GuardedTokio>>;

/// The current tokio runtime. Must be called inside one.
pub(super) fn guarded_runtime() -> GuardedRuntime {
    Runtime::new(RuntimeParts::new(Tokio::current(), GuardedTokio(Tokio::current())))
}

#[derive(Clone, Debug)]
pub(super) struct GuardedTokio(Tokio);

impl Reactor for GuardedTokio {
    type TcpStream = GuardedStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(GuardedStream { inner: connecting.await?, guard: Guard::default(), out: Vec::new(), taken: 0 }) }
    }
}

/// A connection to the broker whose incoming bytes have passed the guard.
pub(super) struct GuardedStream {
    inner: <Tokio as Reactor>::TcpStream,
    guard: Guard,
    /// Passed, and taken by the reader up to `taken`.
    out: Vec<u8>,
    taken: usize,
}

impl AsyncRead for GuardedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while this.taken == this.out.len() {
            this.out.clear();
            this.taken = 0;
            let mut bytes = [0; READ];
            let count = ready!(Pin::new(&mut this.inner).poll_read(context, &mut bytes))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.guard.feed(bytes.get(..count).unwrap_or_default(), &mut this.out)?;
        }
        let count = (this.out.len() - this.taken).min(buffer.len());
        buffer[..count].copy_from_slice(&this.out[this.taken..this.taken + count]);
        this.taken += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(context)
    }
}
