//! Messages whose id came before: dropped where they arrive, as safe as the first one.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Effect, Options, Queue};
use crate::broker::batch::{self, Batch};
use crate::broker::deduplication::{Deduplication, Id, Seen};
use crate::protocol::properties::Properties;

impl Queue {
    pub(super) fn keep_ids_for(&mut self, options: &Options) {
        let size =
            options.deduplication.as_ref().map(|deduplication| deduplication.size).or(options.ids_kept);
        match size {
            Some(size) => self.seen.get_or_insert_default().set_size(size),
            None => self.seen = None,
        }
    }

    /// Whether it drops messages whose id came before.
    #[must_use]
    pub fn looks_for_duplicates(&self) -> bool {
        self.options.deduplication.is_some()
    }

    /// Whether an id came before.
    #[must_use]
    pub fn has_seen(&self, id: &[u8], now_ms: u64) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.has(id, now_ms))
    }

    /// Takes in the messages of a batch that did not come before.
    pub(super) fn take_in_what_is_new(&mut self, batch: &Batch, now_ms: u64, effects: &mut Vec<Effect>) {
        let mut rest = batch.clone();
        while rest.count > 0 {
            let place = batch.count - rest.count;
            let (run, is_new) = self.split_new(&mut rest, now_ms);
            if is_new {
                self.take_in_what_may(&run, place, now_ms, effects);
            } else if self.options.durable {
                effects.push(Effect::Duplicates);
            }
        }
    }

    /// Takes from a batch the first messages that all came before, or all did not: of equal ones the first alone.
    fn split_new(&self, rest: &mut Batch, now_ms: u64) -> (Batch, bool) {
        let (mut run, mut at, mut is_new) = (Batch::default(), 0, None);
        let mut ids = HashSet::new();
        while let Some(record) = rest.records.get(at..)
            && let Some((message, length)) = batch::read(record)
        {
            let id = self.options.deduplication.as_ref().and_then(|wanted| id_of(wanted, message.header));
            let came_before = id.as_ref().is_some_and(|id| self.has_seen(id, now_ms));
            let repeats_the_run = id.is_some_and(|id| !came_before && !ids.insert(id));
            if repeats_the_run || *is_new.get_or_insert(!came_before) == came_before {
                break;
            }
            run.count += 1;
            run.persistent += u32::from(message.persistent);
            at += length;
        }
        debug_assert!(run.count > 0, "a batch has as many records as it says");
        run.is_loose = rest.is_loose || run.count < rest.count;
        run.records = rest.records.split_to(at);
        rest.count = if run.count == 0 { 0 } else { rest.count - run.count };
        rest.persistent -= run.persistent;
        (run, is_new.unwrap_or(true))
    }

    /// Notes the ids of messages that are taken in; gives what the log must have of them.
    pub(super) fn note_ids(&mut self, batch: &Batch, now_ms: u64) -> Bytes {
        let Self { options, seen, .. } = self;
        let (Some(wanted), Some(seen)) = (&options.deduplication, seen) else { return Bytes::new() };
        let mut log = Vec::new();
        let mut records: &[u8] = &batch.records;
        while let Some((message, length)) = batch::read(records) {
            let headers = Properties::parse(message.header).ok().and_then(|properties| properties.headers);
            if let Some(id) = wanted.id(headers) {
                let is_durable = options.durable && message.persistent;
                seen.note(id, wanted.until_ms(headers, now_ms), is_durable, &mut log);
            }
            records = records.get(length..).unwrap_or_default();
        }
        log.into()
    }

    /// Notes the ids of messages that a transaction brings, from this number on; gives the numbers of those that came
    /// before.
    pub(super) fn note_ids_of(
        &mut self,
        first: u64,
        batch: &Batch,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Vec<u64> {
        let Self { options, seen, .. } = self;
        let (Some(wanted), Some(seen)) = (&options.deduplication, seen) else { return Vec::new() };
        let (mut log, mut repeated) = (Vec::new(), Vec::new());
        let (mut records, mut seq): (&[u8], _) = (&batch.records, first);
        while let Some((message, length)) = batch::read(records) {
            let headers = Properties::parse(message.header).ok().and_then(|properties| properties.headers);
            match wanted.id(headers) {
                Some(id) if seen.has(&id, now_ms) => repeated.push(seq),
                Some(id) => {
                    let is_durable = options.durable && message.persistent;
                    seen.note(id, wanted.until_ms(headers, now_ms), is_durable, &mut log);
                }
                None => {}
            }
            records = records.get(length..).unwrap_or_default();
            seq += 1;
        }
        self.log_ids(log, effects);
        repeated
    }

    /// Notes an id for an owner that looks for duplicates itself.
    pub(super) fn note_id(&mut self, id: Id, until_ms: u64, is_durable: bool, effects: &mut Vec<Effect>) {
        let Some(seen) = &mut self.seen else { return };
        let mut log = Vec::new();
        seen.note(id, until_ms, is_durable && self.options.durable, &mut log);
        self.log_ids(log, effects);
    }

    /// Whoever empties a queue wants to be able to fill it again.
    pub(super) fn forget_ids(&mut self, effects: &mut Vec<Effect>) {
        let Some(seen) = &mut self.seen else { return };
        let mut log = Vec::new();
        seen.clear(&mut log);
        self.log_ids(log, effects);
    }

    fn log_ids(&self, log: Vec<u8>, effects: &mut Vec<Effect>) {
        if self.options.durable && !log.is_empty() {
            effects.push(Effect::LogIds(log));
        }
    }

    /// Takes logged ids. `None` when they are damaged.
    pub fn replay_ids(&mut self, ids: &[u8]) -> Option<()> {
        self.seen.get_or_insert_with(Box::<Seen>::default).replay(ids)
    }
}

fn id_of(wanted: &Deduplication, header: &[u8]) -> Option<Id> {
    wanted.id(Properties::parse(header).ok()?.headers)
}
