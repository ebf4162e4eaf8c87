//! A TCP proxy that adds to the round trip and takes nothing from the bandwidth: what is under way travels side by side.
//!
//! Threads rather than tasks, because a runtime's timer is too coarse for a millisecond.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

const READ: usize = 64 * 1024;

/// A proxy; it serves until the program ends.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Proxy {
    /// Passes connections on to `target`; each byte arrives `each_way` later than it would have.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(target: SocketAddr, each_way: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that cannot be passed on ends, as one to a server that is away does.
                if let Ok(server) = TcpStream::connect(target) {
                    let _ = join(client, server, each_way);
                }
            }
        });
        Ok(Self { address })
    }
}

fn join(client: TcpStream, server: TcpStream, each_way: Duration) -> Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    carry(client.try_clone()?, server.try_clone()?, each_way);
    carry(server, client, each_way);
    Ok(())
}

fn carry(mut from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, _) = channel();
    thread::spawn(move || {
        let mut bytes = vec![0; READ];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let Some(read) = bytes.get(..count) else { break };
            if sender.send((Instant::now() + delay, read.to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || deliver(&receiver, to));
}

fn deliver(receiver: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((due, bytes)) = receiver.recv() {
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other end has said its last word, or cannot be reached: this one is to know.
    let _ = to.shutdown(Shutdown::Both);
}
