//! Copies of queues that leave the cold store and come into it, piece by piece; no task waits for them.
//!
//! A copy that leaves is read by a thread of its own, and only as far as pieces are asked for: who sends them decides how
//! many are on their way. A copy that comes in is written by the thread that writes everything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

use super::cold::Write;
use crate::storage::{ColdStore, Restore, SnapshotOf, StorageError};

/// How often a thread that nobody asks looks whether the node stops.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What comes of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// For [`RestoreLink::write`], in this order.
    Rows(Bytes),
    /// There are no more; nothing follows.
    End,
    /// It cannot be read, for this reason; nothing follows.
    Failed(String),
}

type OnPiece = Box<dyn Fn(Piece) + Send>;

/// A copy that leaves. Dropped, it is given up.
#[derive(Debug)]
pub(crate) struct SnapshotLink {
    requests: Sender<()>,
}

impl SnapshotLink {
    /// One more piece is wanted.
    pub(crate) fn next(&self) {
        // When it has ended, whoever asks was told.
        let _ = self.requests.send(());
    }
}

/// Has the thread that writes begin a snapshot behind all it was given before.
pub(super) struct Begin {
    of: SnapshotOf,
    asked: Receiver<()>,
    on_piece: OnPiece,
}

impl Begin {
    pub(super) fn new(of: SnapshotOf, on_piece: OnPiece) -> (SnapshotLink, Self) {
        let (requests, asked) = channel();
        (SnapshotLink { requests }, Self { of, asked, on_piece })
    }
}

/// The threads that read snapshots. Dropped, they are ended.
#[derive(Default)]
pub(super) struct SnapshotThreads {
    stops: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl SnapshotThreads {
    /// Starts one; returns when the snapshot is taken.
    pub(super) fn start(&mut self, store: &Arc<ColdStore>, begin: Begin) {
        self.threads.retain(|thread| !thread.is_finished());
        let (taken, is_taken) = channel();
        let Begin { of, asked, on_piece } = begin;
        let on_piece = Arc::new(Mutex::new(on_piece));
        let tell = {
            let on_piece = Arc::clone(&on_piece);
            move |piece| on_piece.lock().unwrap_or_else(PoisonError::into_inner)(piece)
        };
        let (store, stops) = (Arc::clone(store), Arc::clone(&self.stops));
        let thread = thread::Builder::new().name("cold-snapshot".to_owned()).spawn(move || {
            let read = || serve(&store, of, taken, &asked, &stops, &tell);
            match catch_unwind(AssertUnwindSafe(read)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tell(Piece::Failed(error.to_string())),
                Err(_) => tell(Piece::Failed("the thread that reads it panicked".to_owned())),
            }
        });
        match thread {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                let on_piece = on_piece.lock().unwrap_or_else(PoisonError::into_inner);
                return on_piece(Piece::Failed(format!("no thread for it: {error}")));
            }
        }
        // An error when there is none: it was told above.
        let _ = is_taken.recv();
    }
}

impl Drop for SnapshotThreads {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that reads a snapshot panicked");
            }
        }
    }
}

fn serve(
    store: &ColdStore,
    of: SnapshotOf,
    taken: Sender<()>,
    asked: &Receiver<()>,
    stops: &AtomicBool,
    tell: &impl Fn(Piece),
) -> Result<(), StorageError> {
    let mut snapshot = store.snapshot(of)?;
    drop(taken);
    while !stops.load(Ordering::Acquire) {
        match asked.recv_timeout(LOOK_EVERY) {
            Ok(()) => match snapshot.next_piece()? {
                Some(piece) => tell(Piece::Rows(piece.into())),
                None => {
                    tell(Piece::End);
                    return Ok(());
                }
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
    Ok(())
}

/// A copy that comes in.
pub(crate) struct RestoreLink {
    write: Sender<Write>,
    restore: Arc<Mutex<Restore>>,
}

impl RestoreLink {
    pub(super) fn new(write: Sender<Write>) -> Self {
        Self { write, restore: Arc::default() }
    }

    /// Writes a piece, behind all that was handed over before; then says whether it was one and the next in order. If not,
    /// the copy is to be given up. A failure of the store ends the node.
    pub(crate) fn write(&self, piece: Bytes, then: impl FnOnce(bool) + Send + 'static) {
        self.behind(move |restore, store| restore.write(store, &piece), then);
    }

    /// Makes what was written durable, all that was handed over before included; then says whether it was whole.
    pub(crate) fn finish(&self, then: impl FnOnce(bool) + Send + 'static) {
        self.behind(Restore::finish, then);
    }

    fn behind(
        &self,
        job: impl FnOnce(&mut Restore, &ColdStore) -> Result<bool, StorageError> + Send + 'static,
        then: impl FnOnce(bool) + Send + 'static,
    ) {
        let restore = Arc::clone(&self.restore);
        let job = move |store: &Arc<ColdStore>| {
            let done = job(&mut restore.lock().unwrap_or_else(PoisonError::into_inner), store)?;
            then(done);
            Ok(())
        };
        // A thread that has ended has reported why, and the node is stopping.
        let _ = self.write.send(Write::Behind(Box::new(job)));
    }
}

/// A snapshot without a thread: read as a whole when it is taken, handed out when it is asked for.
#[cfg(test)]
pub(super) struct Stepped {
    pieces: std::collections::VecDeque<Piece>,
    asked: Receiver<()>,
    on_piece: OnPiece,
}

#[cfg(test)]
impl Stepped {
    pub(super) fn take(store: &ColdStore, begin: Begin) -> Self {
        let read = || {
            let mut snapshot = store.snapshot(begin.of)?;
            let mut pieces = std::collections::VecDeque::new();
            while let Some(piece) = snapshot.next_piece()? {
                pieces.push_back(Piece::Rows(piece.into()));
            }
            Ok(pieces)
        };
        let pieces = read().map_or_else(
            |error: StorageError| [Piece::Failed(error.to_string())].into(),
            |mut pieces| {
                pieces.push_back(Piece::End);
                pieces
            },
        );
        Self { pieces, asked: begin.asked, on_piece: begin.on_piece }
    }

    /// Hands out a piece if one is asked for.
    pub(super) fn step(&mut self) -> bool {
        let Ok(()) = self.asked.try_recv() else { return false };
        let piece = self.pieces.pop_front();
        piece.is_some_and(|piece| {
            (self.on_piece)(piece);
            true
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::cold::{ColdLink, ColdSteps, ColdThreads};
    use super::*;
    use crate::broker::ids::QueueId;
    use crate::node::mailbox::Mailbox;
    use crate::storage::{ColdOptions, PIECE_BYTES};

    fn start(dir: &Path) -> (Arc<ColdStore>, ColdThreads, ColdLink) {
        let store = Arc::new(ColdStore::open(dir, &ColdOptions::default()).unwrap());
        let threads = ColdThreads::start(Arc::clone(&store), |error| panic!("{error}")).unwrap();
        let link = threads.link(Arc::new(Mailbox::new(1000)));
        (store, threads, link)
    }

    fn put(cold: &mut ColdLink, queue: u64, chunks: u64) {
        cold.batch().put_queue(queue, b"row");
        for first in 0..chunks {
            cold.batch().put_chunk(queue, first, b"descriptor", &vec![7; 100_000]);
        }
        cold.send();
    }

    fn of(queues: &[u64]) -> SnapshotOf {
        SnapshotOf { queues: queues.to_vec(), group: 1, names: vec!["state"] }
    }

    /// All pieces of a snapshot, two of them wanted at a time.
    fn pull(cold: &ColdLink, queues: &[u64], step: &dyn Fn()) -> Vec<Bytes> {
        let (tell, told) = channel();
        let snapshot = cold.snapshot(of(queues), move |piece| tell.send(piece).unwrap());
        let mut pieces = Vec::new();
        snapshot.next();
        loop {
            snapshot.next();
            step();
            match told.recv().unwrap() {
                Piece::Rows(piece) => pieces.push(piece),
                Piece::End => return pieces,
                Piece::Failed(reason) => panic!("{reason}"),
            }
        }
    }

    fn wait(begin: impl FnOnce(Box<dyn FnOnce(bool) + Send>)) -> bool {
        let (tell, told) = channel();
        begin(Box::new(move |done| tell.send(done).unwrap()));
        told.recv().unwrap()
    }

    #[test]
    fn a_copy_goes_from_store_to_store_and_is_of_what_was_handed_over_before() {
        let dir = tempfile::tempdir().unwrap();
        let (_, here, mut from) = start(&dir.path().join("a"));
        let (copy, there, mut to) = start(&dir.path().join("b"));
        put(&mut from, 1, 20);
        put(&mut from, 2, 20);
        from.batch().put_group(1, "state", b"state");
        from.send();
        let (tell, told) = channel();
        let snapshot = from.snapshot(of(&[1]), move |piece| tell.send(piece).unwrap());
        from.delete_queue(QueueId(1));
        put(&mut from, 1, 1);
        // Nothing comes that was not asked for.
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err());
        put(&mut to, 1, 3);
        to.delete_queue(QueueId(1));
        to.batch().put_group(1, "restoring", b"");
        to.send();
        let restore = to.restore();
        loop {
            snapshot.next();
            let Piece::Rows(piece) = told.recv().unwrap() else { break };
            assert!(piece.len() <= 2 * PIECE_BYTES);
            assert!(wait(|then| restore.write(piece, then)));
        }
        assert!(wait(|then| restore.finish(then)));
        assert!(copy.chunks(1).map(|chunk| chunk.unwrap().0).eq(0..20));
        assert_eq!(copy.queue_row(2).unwrap(), None);
        assert_eq!(copy.get_group(1, "state").unwrap().unwrap().as_ref(), b"state");
        assert!(!wait(|then| restore.write(Bytes::from_static(b"no piece"), then)));
        assert!(!wait(|then| restore.finish(then)));
        here.stop();
        there.stop();
    }

    #[test]
    fn a_snapshot_nobody_reads_on_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let (store, threads, mut cold) = start(dir.path());
        put(&mut cold, 1, 20);
        let (tell, told) = channel();
        let given_up = cold.snapshot(of(&[1]), {
            let tell = tell.clone();
            move |piece| tell.send(piece).unwrap()
        });
        given_up.next();
        assert!(matches!(told.recv().unwrap(), Piece::Rows(_)));
        drop(given_up);
        let kept = cold.snapshot(of(&[1]), move |piece| tell.send(piece).unwrap());
        kept.next();
        assert!(matches!(told.recv().unwrap(), Piece::Rows(_)));
        let (tell, is_flushed) = channel();
        put(&mut cold, 2, 1);
        cold.flush(move || tell.send(()).unwrap());
        is_flushed.recv().unwrap();
        assert!(store.queue_row(2).unwrap().is_some());
        threads.stop();
        // No thread has it any more.
        assert_eq!(Arc::strong_count(&store), 1);
        kept.next();
    }

    #[test]
    fn without_threads_the_pieces_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (store, threads, mut cold) = start(dir.path());
        put(&mut cold, 1, 20);
        put(&mut cold, 3, 2);
        let pieces = pull(&cold, &[1, 2, 3], &|| {});
        threads.stop();
        let (steps_threads, steps) = ColdSteps::new(store);
        let cold = steps_threads.link(Arc::new(Mailbox::new(1000)));
        let step = || while steps.write().unwrap() || steps.read().unwrap() {};
        assert_eq!(pull(&cold, &[1, 2, 3], &step), pieces);
        assert!(pieces.len() > 5);
    }
}
