//! The TCP stream under `lapin`, with TLS if asked for and [`FrameGuard`] in the reading direction.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_util::{AsyncRead, AsyncWrite, Stream};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::guard::FrameGuard;
use crate::tls::{TlsConnection, TlsHandshaker};

/// How many bytes one read takes at most.
const READ_BYTES: usize = 16 * 1024;

/// Tokio's runtime with guarded streams.
pub(super) type GuardedRuntime = Runtime<RuntimeParts<Tokio, GuardedTokio>>;

/// How to secure a connection, and the name the server's certificate must have.
#[derive(Debug)]
pub(super) struct TlsTarget {
    pub handshaker: TlsHandshaker,
    pub host: String,
}

/// The current tokio runtime. Must be called inside one.
pub(super) fn guarded_runtime(tls: Option<TlsTarget>) -> GuardedRuntime {
    Runtime::new(RuntimeParts::new(Tokio::current(), GuardedTokio(Tokio::current(), tls.map(Arc::new))))
}

/// Tokio's reactor, whose TCP streams are guarded and may use TLS.
#[derive(Clone, Debug)]
pub(super) struct GuardedTokio(Tokio, Option<Arc<TlsTarget>>);

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
        let tls = self.1.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let socket = match tls.as_deref() {
                Some(TlsTarget { handshaker, host }) => {
                    GuardedSocket::Secured(Box::new(handshaker.secure(stream, host).await?.compat()))
                }
                None => GuardedSocket::Plain(stream.compat()),
            };
            Ok(GuardedStream { socket, guard: FrameGuard::default(), out: Vec::new(), taken: 0 })
        }
    }
}

/// A connection to the broker whose incoming bytes have passed the guard.
pub(super) struct GuardedStream {
    socket: GuardedSocket,
    guard: FrameGuard,
    /// The bytes that passed the guard; the reader has taken those up to `taken`.
    out: Vec<u8>,
    taken: usize,
}

enum GuardedSocket {
    Plain(Compat<TcpStream>),
    Secured(Box<Compat<TlsConnection>>),
}

trait DuplexStream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> DuplexStream for S {}

impl GuardedSocket {
    fn stream(&mut self) -> Pin<&mut dyn DuplexStream> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Secured(stream) => Pin::new(stream),
        }
    }
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
            let mut bytes = [0; READ_BYTES];
            let count = ready!(this.socket.stream().poll_read(context, &mut bytes))?;
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
        self.get_mut().socket.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().socket.stream().poll_write_vectored(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.stream().poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.stream().poll_close(context)
    }
}
