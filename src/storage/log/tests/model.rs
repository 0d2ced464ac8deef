//! Random histories of appends, releases, crashes with torn tails and restarts, against a list.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// Releases all but this many of the newest records.
    Release(u64),
    Stop,
    /// Crashes while a group of this many records is being written; of its bytes this share, in 256ths, arrives.
    Crash(u64, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u64).prop_map(Step::Append),
        3 => (0..20_u64).prop_map(Step::Release),
        1 => Just(Step::Stop),
        3 => (1..8_u64, any::<u8>()).prop_map(|(count, share)| Step::Crash(count, share)),
    ]
}

struct Model {
    dir: tempfile::TempDir,
    options: LogOptions,
    running: Option<Running>,
    /// The index of the next record.
    next: u64,
    released: u64,
    /// Every index of this log is here or was lost in a crash before its sync.
    kept: Vec<u64>,
}

impl Model {
    fn new(segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = options(segment_bytes);
        let mut model = Self { dir, options, running: None, next: 1, released: 0, kept: Vec::new() };
        model.restart(&[]);
        model
    }

    fn append(&mut self, count: u64) {
        self.running.as_ref().unwrap().append(records(self.next, count));
        self.kept.extend(self.next..self.next + count);
        self.next += count;
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(count) => self.append(*count),
            Step::Release(but) => {
                self.released = self.released.max(self.next.saturating_sub(1 + but));
                self.running.as_ref().unwrap().handle.release(&[Synced { shard: 1, index: self.released }]);
            }
            Step::Stop => {
                self.running.take().unwrap().handle.stop();
                self.restart(&[]);
            }
            Step::Crash(count, share) => self.crash(*count, *share),
        }
    }

    /// Lays a part of the image after the group over the image before it.
    fn crash(&mut self, count: u64, share: u8) {
        let path = self.dir.path().join("log");
        let mut before = Image::take(&path);
        let in_flight: Vec<_> = (self.next..self.next + count).collect();
        self.append(count);
        let mut after = Image::take(&path);
        drop(self.running.take());
        let same_files = before.0.iter().map(|file| &file.0).eq(after.0.iter().map(|file| &file.0));
        if same_files {
            let old = before.last().clone();
            let new = after.last();
            let changed: Vec<_> = (0..new.len()).filter(|at| new[*at] != old[*at]).collect();
            let arrived = changed.len() * usize::from(share) / 256;
            changed[arrived..].iter().for_each(|at| new[*at] = old[*at]);
        }
        after.restore(&path);
        let in_flight = if same_files { in_flight } else { Vec::new() };
        self.restart(&in_flight);
    }

    /// What is found is what must be there, behind records that may be gone, before `in_flight` ones that may.
    fn restart(&mut self, in_flight: &[u64]) {
        let (found, writer) = recover(&self.dir.path().join("log"), &self.options, false).unwrap();
        let first = found.first().map_or(self.next, |entry| entry.1);
        let lost = self.kept.iter().rev().take_while(|index| {
            in_flight.contains(index) && found.last().is_none_or(|last| last.1 < **index)
        });
        let lost = lost.count();
        self.kept.truncate(self.kept.len() - lost);
        let expected: Vec<_> = self
            .kept
            .iter()
            .filter(|index| **index >= first)
            .map(|index| owned(&record(1, *index)))
            .collect();
        assert_eq!(found, expected);
        assert!(self.kept.iter().all(|index| *index >= first || *index <= self.released));
        self.running = Some(Running::start(writer));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_history_keeps_what_was_synced(
        steps in proptest::collection::vec(step(), 1..40),
        segment_bytes in prop_oneof![200..3000_u64, Just(4096), Just(8192)],
    ) {
        let mut model = Model::new(segment_bytes);
        steps.iter().for_each(|step| model.apply(step));
    }
}
