//! A relay that speaks AMQP and stores nothing: what wire, kernel and load generator allow at most.
//!
//! `topology` knows queues and bindings, `session` is one connection with its thread, `forward` turns publishes into
//! deliveries. It knows no memory, prefetch or acknowledgement: a message without consumer is dropped, and a consumer
//! that does not read holds up who publishes to it. It serves clients that it can trust, such as this package.

mod forward;
mod session;
mod topology;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::uri::Uri;
use topology::Topology;

/// How a relay misbehaves, to see whether the checks notice. 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Drops every n-th message.
    pub drop_every: u64,
    /// Delivers every n-th message twice.
    pub duplicate_every: u64,
    /// Delivers every n-th message behind the next one.
    pub swap_every: u64,
}

/// A running relay; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct Relay(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What the threads share.
struct Shared {
    faults: Faults,
    ends: AtomicBool,
    topology: Topology,
    sockets: Mutex<Vec<TcpStream>>,
    threads: Mutex<Vec<ThreadTime>>,
}

/// CPU time of a thread: where to read it while it runs, and what it was in the end.
struct ThreadTime {
    path: String,
    ended_ns: Option<u64>,
}

impl Relay {
    /// Starts a relay on a port of this machine; 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken or no thread can be started.
    pub fn start(port: u16, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            faults,
            ends: AtomicBool::new(false),
            topology: Topology::default(),
            sockets: Mutex::default(),
            threads: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("relay".to_owned()).spawn(move || accept(&listener, &theirs))?;
        Ok(Self(Arc::new(Handle { shared, address })))
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.address.port()
    }

    pub(crate) fn uri(&self) -> Uri {
        Uri::local(self.port())
    }

    /// CPU nanoseconds of its threads so far; 0 where there is no /proc.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let threads = lock(&self.0.shared.threads);
        threads.iter().map(|thread| thread.ended_ns.unwrap_or_else(|| read_ns(&thread.path))).sum()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.ends.store(true, Relaxed);
        for socket in lock(&self.shared.sockets).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        if shared.ends.load(Relaxed) {
            return;
        }
        let Ok(socket) = socket else { continue };
        if let Ok(copy) = socket.try_clone() {
            lock(&shared.sockets).push(copy);
        }
        let shared = Arc::clone(shared);
        let started = thread::Builder::new().stack_size(256 * 1024).spawn(move || timed(&shared, socket));
        drop(started);
    }
}

/// Serves a connection and keeps account of the thread's CPU time.
fn timed(shared: &Shared, socket: TcpStream) {
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let path = format!("/proc/{}/schedstat", thread.display());
    let place = {
        let mut threads = lock(&shared.threads);
        threads.push(ThreadTime { path: path.clone(), ended_ns: None });
        threads.len() - 1
    };
    let peer = socket.peer_addr();
    // A client that goes without a word is no concern of the relay.
    let _ = session::serve(shared, socket);
    lock(&shared.sockets).retain(|socket| socket.peer_addr().ok() != peer.as_ref().ok().copied());
    if let Some(thread) = lock(&shared.threads).get_mut(place) {
        thread.ended_ns = Some(read_ns(&path));
    }
}

fn read_ns(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
