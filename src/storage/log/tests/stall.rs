//! A disk that does not answer is noticed by somebody else, and so is its answer.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    sync::{Arc, Mutex, mpsc::RecvTimeoutError},
    time::Duration,
};

use super::*;
use crate::storage::log::medium::Medium;

/// Waits before a write or a sync for as long as others hold the lock.
struct Slow {
    file: File,
    write: Arc<Mutex<()>>,
    sync: Arc<Mutex<()>>,
}

impl Medium for Slow {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        drop(self.write.lock().unwrap());
        self.file.write_vectored(parts)
    }

    /// The real disk could take as long.
    fn sync(&mut self) -> io::Result<()> {
        drop(self.sync.lock().unwrap());
        Ok(())
    }
}

#[test]
fn a_write_or_sync_that_does_not_return_is_told_and_so_is_its_end() {
    let limit = Duration::from_millis(300);
    let soon = Duration::from_secs(20);
    let dir = tempfile::tempdir().unwrap();
    let (write, sync): (Arc<Mutex<()>>, Arc<Mutex<()>>) = Default::default();
    let wrap = {
        let (write, sync) = (write.clone(), sync.clone());
        Box::new(move |file, _| {
            Ok(Box::new(Slow { file, write: write.clone(), sync: sync.clone() }) as Box<dyn Medium>)
        })
    };
    let running = Running::start(recover(dir.path(), &options(4096), false).unwrap().1.wrapped(wrap));
    let (tell, told) = channel();
    running.handle.watch_stalls(limit, move |stalls| tell.send(stalls).unwrap()).unwrap();
    // Nothing to do is no stall.
    assert_eq!(told.recv_timeout(limit * 3), Err(RecvTimeoutError::Timeout));
    for (index, part) in (1..).zip([&sync, &write, &sync]) {
        let held = part.lock().unwrap();
        running.handle.append(vec![record(1, index)]);
        assert_eq!(told.recv_timeout(soon), Ok(true));
        assert!(running.synced.try_recv().is_err());
        drop(held);
        assert_eq!(told.recv_timeout(soon), Ok(false));
        assert_eq!(running.synced.recv().unwrap(), [Synced { shard: 1, index }]);
    }
    running.handle.stop();
    assert_eq!(told.recv_timeout(soon), Err(RecvTimeoutError::Disconnected));
}
