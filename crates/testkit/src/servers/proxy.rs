//! A network between a client and a server that a test can break.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

const CHUNK: usize = 16 * 1024;
/// The most chunks under way in each direction.
const ON_THE_WAY: usize = 64;

/// A TCP proxy on loopback in front of one server. It runs on a thread of its own, so it may be used with and without an
/// async runtime. Dropping it ends everything.
///
/// ```text
///              connections that are open                     new connections
/// cut          reset, at both ends                           reset
/// hold         open; data and closing wait                   accepted; data waits
/// strand       as with hold                                  as before
/// heal         waiting data passes                           pass
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    url: String,
    network: watch::Sender<Network>,
    open: Arc<Open>,
    runtime: Option<Runtime>,
}

#[derive(Clone, Copy, Debug)]
struct Network {
    flow: Flow,
    delay: Duration,
    /// Connections of an earlier one have been cut.
    cuts: u64,
    /// Number of strandings so far; new connections get this number.
    strands: u64,
    /// Those with a smaller number are stranded.
    stranded: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Passes,
    Held,
    Refused,
}

/// Connections to the server, by the number of strandings before them.
#[derive(Debug, Default)]
struct Open(Mutex<BTreeMap<u64, usize>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// In front of the server that `url` names (`scheme://user:password@ADDRESS:PORT/…`, an address and not a name).
    ///
    /// # Panics
    ///
    /// If there is no address in the URL, or nothing can listen on loopback.
    #[track_caller]
    #[must_use]
    pub fn in_front_of(url: &str) -> Self {
        let Ok(server) = address(url).parse::<SocketAddr>() else { panic!("no address and port in the url") };
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("proxy").enable_all().build();
        let runtime = runtime.unwrap_or_else(|e| panic!("no thread for a proxy: {e}"));
        // Bound here, so that it listens when this returns.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            listener.set_nonblocking(true)?;
            let _inside = runtime.enter();
            TcpListener::from_std(listener)
        });
        let listener = listener.unwrap_or_else(|e| panic!("a proxy cannot listen: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("a proxy has no address: {e}"));
        let network =
            watch::Sender::new(Network { flow: Flow::Passes, delay: Duration::ZERO, cuts: 0, strands: 0, stranded: 0 });
        let open = Arc::<Open>::default();
        runtime.spawn(accept(listener, server, network.clone(), open.clone()));
        let mut proxy = Self { address, url: String::new(), network, open, runtime: Some(runtime) };
        proxy.url = proxy.through(url);
        proxy
    }

    /// The URL it was made for, by way of the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Another URL of the same server, by way of the proxy.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        url.replacen(address(url), &self.address.to_string(), 1)
    }

    /// How many connections to the server are open, the stranded ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.lock().values().sum()
    }

    /// How many of them were open before the last [`strand`](Self::strand).
    #[must_use]
    pub fn old_connections(&self) -> usize {
        let strands = self.network.borrow().strands;
        self.open.lock().range(..strands).map(|(_, count)| count).sum()
    }

    /// Resets every connection, and every new one, until [`heal`](Self::heal). Both ends notice immediately.
    pub fn cut(&self) {
        self.network.send_modify(|network| {
            network.flow = Flow::Refused;
            network.cuts += 1;
        });
    }

    /// Nothing passes until [`heal`](Self::heal), and neither end notices: data waits, as TCP would retransmit it, and an end
    /// does not see that the other has closed its connection.
    pub fn hold(&self) {
        self.network.send_modify(|network| network.flow = Flow::Held);
    }

    /// The connections that are open now stay open at both ends and nothing passes them until [`heal`](Self::heal), as if the
    /// other host were gone. New ones pass.
    pub fn strand(&self) {
        self.network.send_modify(|network| {
            network.strands += 1;
            network.stranded = network.strands;
        });
    }

    /// Adds a delay in each direction.
    pub fn delay(&self, each_way: Duration) {
        self.network.send_modify(|network| network.delay = each_way);
    }

    /// Removes all faults of the network.
    pub fn heal(&self) {
        self.network.send_modify(|network| {
            network.flow = Flow::Passes;
            network.delay = Duration::ZERO;
            network.stranded = 0;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Never waits, so that it may be dropped inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// `ADDRESS:PORT` of a URL.
fn address(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    network: watch::Sender<Network>,
    open: Arc<Open>,
) -> Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let (network, open) = (network.subscribe(), open.clone());
        tokio::spawn(async move {
            // A reset tells both ends.
            let _ = connection(client, server, network, &open).await;
        });
    }
}

async fn connection(
    client: TcpStream,
    server: SocketAddr,
    mut network: watch::Receiver<Network>,
    open: &Open,
) -> Result<()> {
    let cuts = network.borrow().cuts;
    let mut client = client;
    let begun =
        network.wait_for(|now| now.flow != Flow::Held || now.cuts != cuts).await.map(|now| *now).map_err(gone)?;
    if begun.flow == Flow::Refused || begun.cuts != cuts {
        return client.set_zero_linger();
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return client.set_zero_linger() };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    *open.lock().entry(begun.strands).or_default() += 1;
    let (mut there, mut back) = (
        Way { network: network.clone(), strands: begun.strands },
        Way { network: network.clone(), strands: begun.strands },
    );
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let both = async { tokio::try_join!(there.pump(from_client, to_server), back.pump(from_server, to_client)) };
        tokio::select! {
            biased;
            _ = network.wait_for(|now| now.cuts != cuts) => Err(gone("cut")),
            ended = both => ended.map(drop),
        }
    };
    open.lock().entry(begun.strands).and_modify(|count| *count -= 1);
    if ended.is_err() {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

fn gone(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::ConnectionReset, why)
}

/// One direction of a connection.
struct Way {
    network: watch::Receiver<Network>,
    strands: u64,
}

impl Way {
    async fn pump(&mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<()> {
        let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
        let (strands, mut reading, mut writing) = (self.strands, self.network.clone(), self.network.clone());
        let read = async move {
            let mut buffer = vec![0; CHUNK];
            loop {
                let delay = passes(&mut reading, strands).await?.delay;
                let count = tokio::select! {
                    biased;
                    changed = reading.changed() => {
                        changed.map_err(gone)?;
                        continue;
                    }
                    count = from.read(&mut buffer) => count?,
                };
                let chunk = buffer.get(..count).unwrap_or_default().to_vec();
                let last = chunk.is_empty();
                if sender.send((Instant::now() + delay, chunk)).await.is_err() || last {
                    return Ok(());
                }
            }
        };
        let write = async move {
            while let Some((due, chunk)) = on_the_way.recv().await {
                sleep_until(due).await;
                passes(&mut writing, strands).await?;
                if chunk.is_empty() {
                    break;
                }
                to.write_all(&chunk).await?;
            }
            to.shutdown().await
        };
        tokio::try_join!(read, write).map(drop)
    }
}

/// Waits until data may pass a connection that was made after this many strandings.
async fn passes(network: &mut watch::Receiver<Network>, strands: u64) -> Result<Network> {
    let passes = |now: &Network| now.flow == Flow::Passes && strands >= now.stranded;
    network.wait_for(passes).await.map(|now| *now).map_err(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    const SOON: Duration = Duration::from_secs(60);

    /// A server that echoes its input.
    fn echo() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("echo://me:word@{}/path", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        url
    }

    fn connected(proxy: &Proxy) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(address(proxy.url())).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    fn said_back(stream: &mut std::net::TcpStream, words: &[u8]) -> Result<()> {
        stream.write_all(words)?;
        let mut heard = vec![0; words.len()];
        stream.read_exact(&mut heard)?;
        assert_eq!(heard, words);
        Ok(())
    }

    #[test]
    fn the_url_keeps_everything_but_the_address() {
        let proxy = Proxy::in_front_of(&echo());
        assert_eq!(proxy.url(), format!("echo://me:word@{}/path", proxy.address));
        assert_eq!(proxy.through("x://127.0.0.1:1?y=2"), format!("x://{}?y=2", proxy.address));
    }

    #[test]
    fn a_cut_resets_and_refuses_until_it_is_healed() {
        let proxy = Proxy::in_front_of(&echo());
        let mut stream = connected(&proxy);
        said_back(&mut stream, b"before").unwrap();
        assert_eq!(proxy.connections(), 1);
        proxy.cut();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(said_back(&mut connected(&proxy), b"during").is_err());
        proxy.heal();
        said_back(&mut connected(&proxy), b"after").unwrap();
    }

    #[test]
    fn held_or_stranded_data_passes_later() {
        let proxy = Proxy::in_front_of(&echo());
        let mut stream = connected(&proxy);
        said_back(&mut stream, b"before").unwrap();
        proxy.hold();
        let mut late = connected(&proxy);
        for stream in [&mut stream, &mut late] {
            stream.write_all(b"held").unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            assert!(stream.read(&mut [0; 4]).is_err(), "it passed");
            stream.set_read_timeout(Some(SOON)).unwrap();
        }
        proxy.heal();
        for stream in [&mut stream, &mut late] {
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"held");
        }
        proxy.strand();
        stream.write_all(b"late").unwrap();
        said_back(&mut connected(&proxy), b"a new one passes").unwrap();
        assert_eq!(proxy.old_connections(), 2);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read(&mut [0; 4]).is_err(), "it passed");
        stream.set_read_timeout(Some(SOON)).unwrap();
        proxy.heal();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"late");
    }

    #[test]
    fn a_delay_keeps_the_order_and_an_end_is_passed_on() {
        let proxy = Proxy::in_front_of(&echo());
        proxy.delay(Duration::from_millis(5));
        let mut stream = connected(&proxy);
        for number in 0..100_u8 {
            stream.write_all(&[number; 100]).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert!(heard.iter().enumerate().all(|(at, number)| usize::from(*number) == at / 100), "out of order");
        assert_eq!(heard.len(), 10_000);
    }
}
