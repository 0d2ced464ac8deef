//! The threads that talk to the cold store, so that no task waits for RocksDB: one writes, one reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::snapshots::{self, Piece, RestoreLink, SnapshotLink, SnapshotThreads};
use crate::broker::ids::QueueId;
use crate::broker::queue::ChunkWrite;
use crate::node::links::ShardInput;
use crate::node::mailbox::Mailbox;
use crate::storage::{ColdBatch, ColdStore, SnapshotOf, StorageError};

/// Due times read at once.
const DUES_MAX: usize = 64 * 1024;

/// What the writing thread does, in order.
pub(super) enum Write {
    /// Writes a batch; then says which chunks are stored.
    Batch(ColdBatch, Vec<Stored>),
    /// Makes everything before it durable, with the log indexes up to which it holds.
    Checkpoint(Vec<(u16, u64)>, oneshot::Sender<()>),
    /// Something else behind all that was handed over before.
    Behind(Behind),
    /// Takes a snapshot of what was handed over before.
    Snapshot(snapshots::Begin),
    /// Ends the thread.
    Stop,
}

pub(super) type Behind = Box<dyn FnOnce(&Arc<ColdStore>) -> Result<(), StorageError> + Send>;

pub(super) struct Stored {
    shard: Arc<Mailbox<ShardInput>>,
    queue: QueueId,
    first: u64,
    spilling: bool,
}

/// What the reading thread does.
enum Read {
    Chunk(Arc<Mailbox<ShardInput>>, QueueId, u64),
    Dues(Arc<Mailbox<ShardInput>>, QueueId, u64, u64),
    /// For somebody who looks at it.
    Shown(QueueId, u64, oneshot::Sender<Option<Bytes>>),
    Stop,
}

/// The threads, for the node.
pub(crate) struct ColdThreads {
    write: Sender<Write>,
    read: Sender<Read>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl ColdThreads {
    /// Starts the threads; `on_failure` is called once when the store fails.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start(
        store: Arc<ColdStore>,
        on_failure: impl Fn(StorageError) + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let (write, writes) = channel();
        let (read, reads) = channel();
        let writer = Arc::clone(&store);
        let failed = on_failure.clone();
        let threads = vec![
            std::thread::Builder::new()
                .name("cold-writer".to_owned())
                .spawn(move || guarded(&failed, || run_writer(&writer, &writes, &failed)))?,
            std::thread::Builder::new()
                .name("cold-reader".to_owned())
                .spawn(move || guarded(&on_failure, || run_reader(&store, &reads, &on_failure)))?,
        ];
        Ok(Self { write, read, threads })
    }

    /// A way in for a shard, or for the meta task (without a mailbox of a shard).
    pub(crate) fn link(&self, shard: Arc<Mailbox<ShardInput>>) -> ColdLink {
        ColdLink {
            shard,
            write: self.write.clone(),
            read: self.read.clone(),
            batch: ColdBatch::new(),
            stored: Vec::new(),
            held: VecDeque::new(),
        }
    }

    /// A way in for the checkpoints.
    pub(crate) fn checkpoints(&self) -> CheckpointLink {
        CheckpointLink { write: self.write.clone() }
    }

    /// Lets the threads finish what they were given, and waits for them.
    pub(crate) fn stop(self) {
        let _ = self.write.send(Write::Stop);
        let _ = self.read.send(Read::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the cold store panicked");
            }
        }
    }
}

/// What the threads would do, one step at a time: for the simulation.
#[cfg(test)]
pub(crate) struct ColdSteps {
    store: Arc<ColdStore>,
    writes: Receiver<Write>,
    reads: Receiver<Read>,
    snapshots: std::cell::RefCell<Vec<snapshots::Stepped>>,
}

#[cfg(test)]
impl ColdSteps {
    /// As [`ColdThreads::start`], without threads.
    pub(crate) fn new(store: Arc<ColdStore>) -> (ColdThreads, Self) {
        let (write, writes) = channel();
        let (read, reads) = channel();
        (
            ColdThreads { write, read, threads: Vec::new() },
            Self { store, writes, reads, snapshots: std::cell::RefCell::default() },
        )
    }

    /// Writes the next thing that waits; false when there is none.
    pub(crate) fn write(&self) -> Result<bool, StorageError> {
        let snapshot = |begin| self.snapshots.borrow_mut().push(snapshots::Stepped::take(&self.store, begin));
        self.writes.try_recv().map_or(Ok(false), |write| carry_out(&self.store, write, snapshot))
    }

    /// Reads the next thing that is asked for, of a snapshot or else; false when there is none.
    pub(crate) fn read(&self) -> Result<bool, StorageError> {
        let mut snapshots = self.snapshots.borrow_mut();
        let is_read = snapshots.iter_mut().any(snapshots::Stepped::step);
        snapshots.retain(|snapshot| !snapshot.is_over());
        drop(snapshots);
        if is_read {
            Ok(true)
        } else {
            self.reads.try_recv().map_or(Ok(false), |read| look_up(&self.store, read))
        }
    }
}

/// Ends a checkpoint.
pub(crate) struct CheckpointLink {
    write: Sender<Write>,
}

impl CheckpointLink {
    /// Waits until everything handed over before is durable. False when the store has failed.
    pub(crate) async fn flush(&self, applied: Vec<(u16, u64)>) -> bool {
        let (reply, done) = oneshot::channel();
        self.write.send(Write::Checkpoint(applied, reply)).is_ok() && done.await.is_ok()
    }
}

/// A task's way to the cold store. Writes gather until [`Self::send`].
pub(crate) struct ColdLink {
    shard: Arc<Mailbox<ShardInput>>,
    write: Sender<Write>,
    read: Sender<Read>,
    batch: ColdBatch,
    stored: Vec<Stored>,
    /// What may not be written before its index is committed.
    held: VecDeque<(u64, ColdBatch, Vec<Stored>)>,
}

impl ColdLink {
    pub(crate) fn store(&mut self, queue: QueueId, chunk: ChunkWrite, spilling: bool) {
        match chunk.data {
            Some(data) => {
                self.batch.put_records(queue.0, chunk.first, &chunk.descriptor, data.front, data.records);
                let shard = Arc::clone(&self.shard);
                self.stored.push(Stored { shard, queue, first: chunk.first, spilling });
            }
            None => self.batch.put_descriptor(queue.0, chunk.first, &chunk.descriptor),
        }
        for (due_ms, seq) in chunk.dues {
            self.batch.put_due(queue.0, due_ms, seq);
        }
    }

    /// A queue's row and chunks, which must become visible together.
    pub(crate) fn store_queue(
        &mut self,
        queue: QueueId,
        row: &[u8],
        chunks: Vec<ChunkWrite>,
        dues_done_before_ms: Option<u64>,
    ) {
        self.batch.put_queue(queue.0, row);
        for chunk in chunks {
            self.store(queue, chunk, false);
        }
        if let Some(due_ms) = dues_done_before_ms {
            self.batch.delete_due_before(queue.0, due_ms);
        }
    }

    pub(crate) fn delete_chunk(&mut self, queue: QueueId, first: u64) {
        self.batch.delete_chunk(queue.0, first);
    }

    pub(crate) fn delete_queue(&mut self, queue: QueueId) {
        self.batch.delete_queue_all(queue.0);
    }

    /// The rows of the topology.
    pub(crate) fn batch(&mut self) -> &mut ColdBatch {
        &mut self.batch
    }

    /// Another way in, for another mailbox.
    pub(crate) fn for_mailbox(&self, shard: Arc<Mailbox<ShardInput>>) -> Self {
        Self {
            shard,
            write: self.write.clone(),
            read: self.read.clone(),
            batch: ColdBatch::new(),
            stored: Vec::new(),
            held: VecDeque::new(),
        }
    }

    /// Holds the gathered writes back, up to [`Self::send_up_to`] of this index. Gives whether there are any.
    pub(crate) fn hold(&mut self, index: u64) -> bool {
        if self.batch.is_empty() {
            return false;
        }
        let (batch, stored) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.stored));
        self.held.push_back((index, batch, stored));
        true
    }

    /// Hands over what was held back up to this index.
    pub(crate) fn send_up_to(&mut self, index: u64) {
        while self.held.front().is_some_and(|(held, ..)| *held <= index) {
            if let Some((_, batch, stored)) = self.held.pop_front() {
                let _ = self.write.send(Write::Batch(batch, stored));
            }
        }
    }

    /// Hands the gathered writes over.
    pub(crate) fn send(&mut self) {
        if !self.batch.is_empty() {
            let write = Write::Batch(std::mem::take(&mut self.batch), std::mem::take(&mut self.stored));
            // A thread that has ended has reported why, and the node is stopping.
            let _ = self.write.send(write);
        }
    }

    /// Runs something on the thread that writes, behind all that was handed over before: it finds that in the store, and
    /// nothing later. Others wait for it, and an error of it ends the node.
    pub(crate) fn behind(
        &self,
        job: impl FnOnce(&Arc<ColdStore>) -> Result<(), StorageError> + Send + 'static,
    ) {
        let _ = self.write.send(Write::Behind(Box::new(job)));
    }

    /// Makes everything handed over before durable, then calls `then`; never if the store fails, which ends the node.
    pub(crate) fn flush(&self, then: impl FnOnce() + Send + 'static) {
        self.behind(|store| store.flush().map(|()| then()));
    }

    /// Takes a snapshot of all that was handed over before. Each [`SnapshotLink::next`] brings one call of `on_piece`, on
    /// another thread, until the last one.
    pub(crate) fn snapshot(&self, of: SnapshotOf, on_piece: impl Fn(Piece) + Send + 'static) -> SnapshotLink {
        let (link, begin) = snapshots::Begin::new(of, Box::new(on_piece));
        let _ = self.write.send(Write::Snapshot(begin));
        link
    }

    /// A way in for a snapshot from elsewhere. What the store has of its queues is to be deleted first.
    pub(crate) fn restore(&self) -> RestoreLink {
        RestoreLink::new(self.write.clone())
    }

    pub(crate) fn load(&self, queue: QueueId, first: u64) {
        let _ = self.read.send(Read::Chunk(Arc::clone(&self.shard), queue, first));
    }

    /// Reads a chunk for somebody else than its queue.
    pub(crate) fn read(&self, queue: QueueId, first: u64, reply: oneshot::Sender<Option<Bytes>>) {
        let _ = self.read.send(Read::Shown(queue, first, reply));
    }

    pub(crate) fn load_due(&self, queue: QueueId, from_ms: u64, to_ms: u64) {
        let _ = self.read.send(Read::Dues(Arc::clone(&self.shard), queue, from_ms, to_ms));
    }
}

/// A thread that panics must not leave others waiting.
fn guarded(on_failure: &impl Fn(StorageError), run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        on_failure(StorageError::Cold { action: "go on", reason: "its thread panicked".to_owned() });
    }
}

fn run_writer(store: &Arc<ColdStore>, writes: &Receiver<Write>, on_failure: &impl Fn(StorageError)) {
    let mut snapshots = SnapshotThreads::default();
    while let Ok(write) = writes.recv() {
        match carry_out(store, write, |begin| snapshots.start(store, begin)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return on_failure(error),
        }
    }
}

/// False at the end.
fn carry_out(
    store: &Arc<ColdStore>,
    write: Write,
    begin_snapshot: impl FnOnce(snapshots::Begin),
) -> Result<bool, StorageError> {
    match write {
        Write::Batch(batch, stored) => store.write(batch).map(|()| tell_stored(stored))?,
        Write::Checkpoint(applied, reply) => {
            checkpoint(store, &applied)?;
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
        Write::Behind(job) => job(store)?,
        Write::Snapshot(begin) => begin_snapshot(begin),
        Write::Stop => return Ok(false),
    }
    Ok(true)
}

fn tell_stored(stored: Vec<Stored>) {
    for Stored { shard, queue, first, spilling } in stored {
        shard.push(ShardInput::ChunkStored(queue, first, spilling));
    }
}

fn checkpoint(store: &ColdStore, applied: &[(u16, u64)]) -> Result<(), StorageError> {
    let mut batch = ColdBatch::new();
    for (shard, index) in applied {
        batch.put_applied(*shard, *index);
    }
    store.write(batch)?;
    store.flush()?;
    store.compact_deleted()
}

fn run_reader(store: &ColdStore, reads: &Receiver<Read>, on_failure: &impl Fn(StorageError)) {
    while let Ok(read) = reads.recv() {
        match look_up(store, read) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return on_failure(error),
        }
    }
}

/// False at the end.
fn look_up(store: &ColdStore, read: Read) -> Result<bool, StorageError> {
    match read {
        Read::Chunk(shard, queue, first) => {
            let chunk: Option<Bytes> = store.get_chunk(queue.0, first)?;
            shard.push(ShardInput::ChunkLoaded(queue, first, chunk));
        }
        Read::Dues(shard, queue, from_ms, to_ms) => {
            let (dues, next) = read_dues(store, queue, from_ms, to_ms)?;
            shard.push(ShardInput::DueLoaded(queue, dues, next));
        }
        Read::Shown(queue, first, reply) => {
            // Whoever asked may have gone.
            let _ = reply.send(store.get_chunk(queue.0, first)?);
        }
        Read::Stop => return Ok(false),
    }
    Ok(true)
}

type Dues = (Vec<(u64, u64)>, Option<u64>);

/// Due times of a window, and the first one behind it; a full read ends at a whole millisecond.
fn read_dues(store: &ColdStore, queue: QueueId, from_ms: u64, to_ms: u64) -> Result<Dues, StorageError> {
    let mut limit = DUES_MAX;
    loop {
        let mut dues = store.due(queue.0, from_ms, to_ms.saturating_add(1), limit)?;
        if dues.len() < limit {
            let next = store.due(queue.0, to_ms.saturating_add(1), u64::MAX, 1)?;
            return Ok((dues, next.first().map(|(due_ms, _)| *due_ms)));
        }
        let last_ms = dues.last().map_or(0, |(due_ms, _)| *due_ms);
        if dues.first().is_some_and(|(due_ms, _)| *due_ms < last_ms) {
            dues.retain(|(due_ms, _)| *due_ms < last_ms);
            return Ok((dues, Some(last_ms)));
        }
        limit *= 2;
    }
}
