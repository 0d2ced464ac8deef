//! Publishes to deliveries: the content is copied as it is, behind a basic.deliver that was encoded before.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use crate::method::BASIC_DELIVER;
use crate::relay::topology::Outlet;
use crate::relay::{Shared, lock};
use crate::wire::{Decoder, Encoder, FRAME_AROUND};

/// What a publishing connection knows about where its messages go.
#[derive(Default)]
pub(super) struct Forward {
    routes: Vec<Route>,
    /// Exchange and key, as they are written in a publish, to the place in `routes`.
    places: HashMap<Box<[u8]>, usize>,
    cursor: usize,
    outputs: Vec<Output>,
    version: u64,
    count: u64,
    /// A message that is held back behind the next one.
    held: Vec<u8>,
}

struct Route {
    address: Box<[u8]>,
    queues: Vec<Queue>,
}

/// A queue's consumers, which take turns.
struct Queue {
    targets: Vec<Target>,
    turn: usize,
}

struct Target {
    outlet: Arc<Outlet>,
    output: usize,
    /// The frame of the basic.deliver, with a place for the delivery tag.
    deliver: Vec<u8>,
    tag_at: usize,
}

/// What one read brought for one connection.
struct Output {
    connection: u64,
    socket: Arc<Mutex<TcpStream>>,
    bytes: Vec<u8>,
}

impl Forward {
    /// Forwards a message. `address` is exchange and key as in the publish, `content` the frames behind it.
    pub(super) fn message(&mut self, shared: &Shared, address: &[u8], content: &[u8]) {
        self.count += 1;
        let is_nth = |every: u64, count: u64| every > 0 && count.is_multiple_of(every);
        if is_nth(shared.faults.drop_every, self.count) {
            return;
        }
        if is_nth(shared.faults.swap_every, self.count) && self.held.is_empty() {
            self.held = content.to_vec();
            return;
        }
        let route = self.find(shared, address);
        self.deliver(route, content);
        if is_nth(shared.faults.duplicate_every, self.count) {
            self.deliver(route, content);
        }
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.deliver(route, &held);
        }
    }

    /// Writes out what was gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        for output in self.outputs.iter_mut().filter(|output| !output.bytes.is_empty()) {
            lock(&output.socket).write_all(&output.bytes)?;
            output.bytes.clear();
        }
        Ok(())
    }

    /// Forgets what was looked up before a declaration changed it. To be called when nothing is gathered.
    pub(super) fn refresh(&mut self, shared: &Shared) {
        let version = shared.topology.version();
        if version != self.version {
            *self = Self { version, count: self.count, ..Self::default() };
        }
    }

    /// The place of a route: most often the same as for the message before, or the next one.
    fn find(&mut self, shared: &Shared, address: &[u8]) -> usize {
        let next = if self.cursor + 1 < self.routes.len() { self.cursor + 1 } else { 0 };
        for place in [next, self.cursor] {
            if self.routes.get(place).is_some_and(|route| *route.address == *address) {
                self.cursor = place;
                return place;
            }
        }
        let known = self.places.get(address).copied();
        self.cursor = known.unwrap_or_else(|| self.look_up(shared, address));
        self.cursor
    }

    fn look_up(&mut self, shared: &Shared, address: &[u8]) -> usize {
        let mut from = Decoder(address);
        let exchange = from.text().unwrap_or_default();
        let key = from.text().unwrap_or_default();
        let mut queues = Vec::new();
        for outlets in shared.topology.route(&exchange, &key) {
            let targets = outlets.into_iter().map(|outlet| self.target(outlet, address)).collect();
            queues.push(Queue { targets, turn: 0 });
        }
        self.routes.push(Route { address: address.into(), queues });
        self.places.insert(address.into(), self.routes.len() - 1);
        self.routes.len() - 1
    }

    fn target(&mut self, outlet: Arc<Outlet>, address: &[u8]) -> Target {
        let known = self.outputs.iter().position(|output| output.connection == outlet.connection);
        let output = known.unwrap_or_else(|| {
            let socket = Arc::clone(&outlet.socket);
            self.outputs.push(Output { connection: outlet.connection, socket, bytes: Vec::new() });
            self.outputs.len() - 1
        });
        let mut to = Encoder::default();
        let mut tag_at = 0;
        to.method(outlet.channel, BASIC_DELIVER, |to| {
            to.short(&outlet.name);
            tag_at = to.bytes.len();
            to.u64(0);
            to.u8(0);
            to.raw(address);
        });
        Target { outlet, output, deliver: to.bytes, tag_at }
    }

    fn deliver(&mut self, route: usize, content: &[u8]) {
        for queue in &mut self.routes[route].queues {
            let Some(target) = queue.targets.get(queue.turn) else { continue };
            queue.turn = if queue.turn + 1 < queue.targets.len() { queue.turn + 1 } else { 0 };
            let bytes = &mut self.outputs[target.output].bytes;
            let start = bytes.len();
            bytes.extend_from_slice(&target.deliver);
            let tag = target.outlet.next_tag.fetch_add(1, Relaxed);
            bytes[start + target.tag_at..start + target.tag_at + 8].copy_from_slice(&tag.to_be_bytes());
            let content_at = bytes.len();
            bytes.extend_from_slice(content);
            if target.outlet.channel != 1 {
                change_channel(&mut bytes[content_at..], target.outlet.channel);
            }
        }
    }
}

/// Writes another channel number into all frames.
fn change_channel(mut frames: &mut [u8], channel: u16) {
    while let Some(&[_, _, _, s3, s2, s1, s0]) = frames.first_chunk() {
        frames[1..3].copy_from_slice(&channel.to_be_bytes());
        let length = u32::from_be_bytes([s3, s2, s1, s0]) as usize + FRAME_AROUND;
        frames = frames.get_mut(length..).unwrap_or_default();
    }
}
