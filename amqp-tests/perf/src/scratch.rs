//! What a run declares at a broker, all of it deleted in the end, however the run ends.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::connection::Connection;
use crate::error::Result;
use crate::method::*;
use crate::uri::Uri;
use crate::wire::{Decoder, Encoder, Table};

const PIPELINE: usize = 64;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Queues and exchanges of one run; dropping deletes them.
pub(crate) struct Scratch {
    connection: Connection,
    uri: Uri,
    prefix: String,
    queues: Vec<String>,
    exchanges: Vec<String>,
    requests: Encoder,
    waiting: usize,
    /// Questions that are sent before their answers are waited for.
    pub(crate) pipeline: usize,
}

impl Scratch {
    pub(crate) fn new(uri: &Uri) -> Result<Self> {
        let run = RUNS.fetch_add(1, Relaxed);
        Ok(Self {
            connection: Connection::with_channel(uri)?,
            uri: uri.clone(),
            prefix: format!("warren-perf-{}-{run}", std::process::id()),
            queues: Vec::new(),
            exchanges: Vec::new(),
            requests: Encoder::default(),
            waiting: 0,
            pipeline: PIPELINE,
        })
    }

    /// A name that no other run uses.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    pub(crate) fn declare_exchange(&mut self, name: &str, kind: &str, durable: bool) -> Result<()> {
        self.exchanges.push(name.to_owned());
        self.ask(|to| {
            to.method(1, EXCHANGE_DECLARE, |to| {
                to.u16(0);
                to.short(name);
                to.short(kind);
                to.u8(u8::from(durable) << 1);
                to.table(&Table::new());
            });
        })
    }

    pub(crate) fn declare_queue(&mut self, name: &str, durable: bool, arguments: &Table) -> Result<()> {
        self.queues.push(name.to_owned());
        self.ask(|to| declare(to, name, u8::from(durable) << 1, arguments))
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        self.ask(|to| {
            to.method(1, QUEUE_BIND, |to| {
                to.u16(0);
                to.short(queue);
                to.short(exchange);
                to.short(key);
                to.u8(0);
                to.table(&Table::new());
            });
        })
    }

    /// Waits until all that was asked is done.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let count = std::mem::take(&mut self.waiting);
        let requests = std::mem::take(&mut self.requests);
        self.connection.call_all(&requests, count, "a declaration")
    }

    /// Messages that are ready in a queue.
    pub(crate) fn ready(&mut self, queue: &str) -> Result<u64> {
        const PASSIVE: u8 = 1;
        let answer = self.connection.call(QUEUE_DECLARE_OK, "queue.declare", |to| {
            declare(to, queue, PASSIVE, &Table::new());
        })?;
        let mut answer = Decoder(&answer);
        let _name = answer.short();
        Ok(u64::from(answer.u32().unwrap_or(0)))
    }

    /// Deletes everything through a fresh connection, since the old one may be closed after an error.
    pub(crate) fn delete_all(&mut self) -> Result<()> {
        if self.queues.is_empty() && self.exchanges.is_empty() {
            return Ok(());
        }
        self.connection = Connection::with_channel(&self.uri)?;
        (self.requests, self.waiting) = (Encoder::default(), 0);
        for exchange in std::mem::take(&mut self.exchanges) {
            self.ask(|to| delete(to, EXCHANGE_DELETE, &exchange))?;
        }
        for queue in std::mem::take(&mut self.queues) {
            self.ask(|to| delete(to, QUEUE_DELETE, &queue))?;
        }
        self.settle()
    }

    fn ask(&mut self, encode: impl FnOnce(&mut Encoder)) -> Result<()> {
        encode(&mut self.requests);
        self.waiting += 1;
        if self.waiting >= self.pipeline { self.settle() } else { Ok(()) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A broker that is gone has nothing to delete, and the run has its own error already.
        let _ = self.delete_all();
    }
}

fn declare(to: &mut Encoder, queue: &str, bits: u8, arguments: &Table) {
    to.method(1, QUEUE_DECLARE, |to| {
        to.u16(0);
        to.short(queue);
        to.u8(bits);
        to.table(arguments);
    });
}

fn delete(to: &mut Encoder, method: u32, name: &str) {
    to.method(1, method, |to| {
        to.u16(0);
        to.short(name);
        to.u8(0);
    });
}
