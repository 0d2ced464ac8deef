//! Messages of a batch by their priority, for queues with `x-max-priority` (RabbitMQ: Classic Queue Priorities).

use super::{Effect, Queue};
use crate::broker::batch::{self, Batch};

/// What a batch has of one priority.
#[derive(Default)]
struct Part {
    priority: u8,
    bytes: usize,
    count: u32,
    persistent: u32,
}

impl Queue {
    /// Takes a batch in, each message to its lane. The highest priorities are first when it comes to delivering.
    pub(super) fn take_in_by_level(
        &mut self,
        batch: &Batch,
        max: u8,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let parts = parts_of(batch, max);
        if let [only] = parts.as_slice() {
            let lane = self.messages.lanes.of_priority(only.priority);
            let first = self.enqueue(lane, batch, now_ms, effects);
            self.hand_out(effects);
            return self.note_dues(first, batch);
        }
        let mut taken = Vec::with_capacity(parts.len());
        for (priority, part) in cut(batch, max, &parts) {
            let lane = self.messages.lanes.of_priority(priority);
            taken.push((self.enqueue(lane, &part, now_ms, effects), part));
        }
        self.hand_out(effects);
        taken.iter().for_each(|(first, part)| self.note_dues(*first, part));
    }
}

/// A batch for each priority, in the order of the messages; a batch of one priority as it is.
pub(super) fn cut_by_level(batch: &Batch, max: u8) -> Vec<(u8, Batch)> {
    let parts = parts_of(batch, max);
    match parts.as_slice() {
        [only] => vec![(only.priority, batch.clone())],
        parts => cut(batch, max, parts),
    }
}

/// How much a batch has of each priority that is in it.
fn parts_of(batch: &Batch, max: u8) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(1);
    let mut records: &[u8] = &batch.records;
    let mut last = 0;
    while let Some(record) = batch::skim(records) {
        let priority = record.priority.min(max);
        if parts.get(last).is_none_or(|part| part.priority != priority) {
            last = place_of(&mut parts, priority);
        }
        if let Some(part) = parts.get_mut(last) {
            part.bytes += record.length;
            part.count += 1;
            part.persistent += u32::from(record.persistent);
        }
        records = records.get(record.length..).unwrap_or_default();
    }
    parts
}

fn place_of(parts: &mut Vec<Part>, priority: u8) -> usize {
    parts.iter().position(|part| part.priority == priority).unwrap_or_else(|| {
        parts.push(Part { priority, ..Part::default() });
        parts.len() - 1
    })
}

/// A batch for each priority, in the order of the messages.
fn cut(batch: &Batch, max: u8, parts: &[Part]) -> Vec<(u8, Batch)> {
    let mut cut: Vec<_> = parts.iter().map(|part| Vec::with_capacity(part.bytes)).collect();
    let mut records: &[u8] = &batch.records;
    let mut last = 0;
    while let Some(record) = batch::skim(records) {
        let (bytes, rest) = records.split_at(record.length);
        let priority = record.priority.min(max);
        if parts.get(last).is_none_or(|part| part.priority != priority) {
            last = parts.iter().position(|part| part.priority == priority).unwrap_or(0);
        }
        if let Some(records) = cut.get_mut(last) {
            records.extend_from_slice(bytes);
        }
        records = rest;
    }
    let batches = parts.iter().zip(cut);
    batches.map(|(part, records)| (part.priority, Batch::of(records, part.count, part.persistent))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::batch::Message;
    use proptest::prelude::*;

    fn batch_of(messages: &[(u8, bool)]) -> Batch {
        let mut records = Vec::new();
        for (at, (priority, persistent)) in messages.iter().enumerate() {
            let body = at.to_le_bytes();
            let (priority, persistent) = (*priority, *persistent);
            Message { body: &body, priority, persistent, ..Message::default() }.put(&mut records);
        }
        Batch::check(records.into()).unwrap()
    }

    fn bodies(batch: &Batch) -> Vec<usize> {
        let (mut records, mut bodies): (&[u8], _) = (&batch.records, Vec::new());
        while let Some((message, length)) = batch::read(records) {
            bodies.push(usize::from_le_bytes(message.body.try_into().unwrap()));
            records = &records[length..];
        }
        bodies
    }

    proptest! {
        #[test]
        fn a_batch_is_cut_by_priority_and_keeps_its_order(
            messages in prop::collection::vec((any::<u8>(), any::<bool>()), 1..40), max in any::<u8>(), wide in any::<bool>(),
        ) {
            let messages: Vec<_> = messages.into_iter().map(|(p, d)| (if wide { p } else { p % 4 }, d)).collect();
            let batch = batch_of(&messages);
            let cut = cut(&batch, max, &parts_of(&batch, max));
            let mut all = Vec::new();
            for (priority, part) in &cut {
                let checked = Batch::check(part.records.clone());
                prop_assert_eq!(checked.as_ref(), Some(part));
                let expected = messages.iter().enumerate().filter(|(_, (p, _))| p.min(&max) == priority);
                let expected: Vec<_> = expected.map(|(at, _)| at).collect();
                prop_assert!(!expected.is_empty());
                prop_assert_eq!(bodies(part), expected.clone());
                all.extend(expected);
            }
            prop_assert_eq!(all.len(), messages.len());
        }
    }
}
