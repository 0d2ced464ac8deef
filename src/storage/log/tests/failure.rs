//! Failed writes and syncs, and panics: one report, and no confirm after it.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    sync::{Arc, Mutex},
};

use super::*;
use crate::storage::log::medium::Medium;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Write,
    Sync,
    Panic,
}

/// Fails once, at the `after`-th call of its kind, and works again after it, as a disk may.
struct Faulty {
    file: File,
    fault: Fault,
    left: Arc<Mutex<u32>>,
}

impl Faulty {
    fn strike(&self, fault: Fault) -> io::Result<()> {
        let mut left = self.left.lock().unwrap();
        if self.fault == fault && *left > 0 {
            *left -= 1;
            if *left == 0 {
                return Err(io::Error::other("injected"));
            }
        }
        Ok(())
    }
}

impl Medium for Faulty {
    /// Writes at most 100 bytes a call, so that every write is a series of short ones.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.strike(Fault::Write)?;
        let part = parts.iter().find(|part| !part.is_empty()).unwrap();
        Write::write(&mut self.file, &part[..part.len().min(100)])
    }

    fn sync(&mut self) -> io::Result<()> {
        self.strike(Fault::Sync)?;
        assert!(self.strike(Fault::Panic).is_ok(), "injected");
        self.file.sync_data()
    }
}

#[test]
fn nothing_is_confirmed_after_a_failure() {
    for (fault, after) in
        [(Fault::Sync, 1), (Fault::Sync, 9), (Fault::Write, 1), (Fault::Write, 30), (Fault::Panic, 9)]
    {
        let dir = tempfile::tempdir().unwrap();
        let left = Arc::new(Mutex::new(after));
        let wrap = {
            let left = left.clone();
            Box::new(move |file, _| {
                Ok(Box::new(Faulty { file, fault, left: left.clone() }) as Box<dyn Medium>)
            })
        };
        let writer = recover(dir.path(), &options(1024), false).unwrap().1.wrapped(wrap);
        let events = Arc::new(Mutex::new(Vec::new()));
        let (synced, failed) = (events.clone(), events.clone());
        let handle = writer.start(
            Box::new(move |group| synced.lock().unwrap().push(Ok(group[0].index))),
            Box::new(move |error| failed.lock().unwrap().push(Err(error.to_string()))),
        );
        for index in 1..=60 {
            handle.append(records(index, 1));
            if index % 4 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        handle.stop();
        let events = std::mem::take(&mut *events.lock().unwrap());
        assert_eq!(*left.lock().unwrap(), 0);
        let (last, confirmed) = events.split_last().unwrap();
        assert!(confirmed.iter().all(Result::is_ok) && last.is_err(), "{events:?}");
        let text = last.as_ref().unwrap_err();
        assert!(text.contains("injected") || (fault == Fault::Panic && text.contains("panic")), "{text}");

        let confirmed = confirmed.last().map_or(0, |index| *index.as_ref().unwrap());
        let found = entries_of(dir.path(), &options(1024));
        assert!(found.len() as u64 >= confirmed);
        assert_eq!(found, records(1, found.len() as u64).iter().map(owned).collect::<Vec<_>>());
    }
}

#[test]
fn a_panic_of_the_callback_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let writer = recover(dir.path(), &options(4096), false).unwrap().1;
    let (report, failures) = channel();
    let on_failure = move |error: StorageError| report.send(error.to_string()).unwrap();
    let handle = writer.start(Box::new(|_| panic!("injected")), Box::new(on_failure));
    handle.append(records(1, 1));
    assert_eq!(failures.recv().unwrap(), "the log writer ended by a panic");
    handle.append(records(2, 1));
    handle.stop();
    assert!(failures.recv().is_err());
}

#[test]
fn a_record_over_the_limit_is_a_failure_not_a_loop() {
    let dir = tempfile::tempdir().unwrap();
    let writer = recover(dir.path(), &options(4096), false).unwrap().1;
    let (report, failures) = channel();
    let handle = writer.start(Box::new(|_| {}), Box::new(move |error| report.send(error).unwrap()));
    let body = Bytes::from(vec![0; PAYLOAD_MAX + 1]);
    handle.append(vec![Append { body, ..Append::default() }]);
    assert!(matches!(failures.recv().unwrap(), StorageError::RecordTooLarge { .. }));
}
