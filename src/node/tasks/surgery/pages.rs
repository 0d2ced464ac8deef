//! Messages of a queue a page at a time. Those in the cold store are read chunk by chunk, past the queue: its memory, and
//! what it will deliver next, stay as they are.

use std::collections::VecDeque;

use bytes::Bytes;

use super::reach::Reach;
use crate::broker::queue::{Look, RecordAt, Sighting, Standing, records_in_chunk};
use crate::node::links::ShardInput;

/// A message with its record.
pub(super) struct Found {
    pub(super) seq: u64,
    pub(super) standing: Standing,
    pub(super) redelivered: bool,
    pub(super) returns: u32,
    pub(super) record: Bytes,
}

/// The messages of a queue, from one end to the other.
pub(super) struct Pages {
    reach: Reach,
    look: Look,
    is_over: bool,
    /// What the queue numbered next when the first page was read.
    ends: Option<Vec<u64>>,
    /// The last chunk that was read: its first number, and its records by place.
    chunk: Option<(u64, Vec<(u32, Bytes)>)>,
    /// Numbers that are asked for one by one, once they are known.
    left: Option<VecDeque<u64>>,
}

impl Pages {
    pub(super) fn new(reach: Reach, look: Look) -> Self {
        Self { reach, look, is_over: false, ends: None, chunk: None, left: None }
    }

    /// Where the next page begins; none at the end.
    pub(super) fn position(&self) -> Option<u64> {
        (!self.is_over).then_some(self.look.from)
    }

    /// What the queue numbered next when the first page was read.
    pub(super) fn ends(&self) -> &[u64] {
        self.ends.as_deref().unwrap_or_default()
    }

    /// The next messages; none at the end. Only those with these numbers, if there are any given.
    ///
    /// # Errors
    /// When the queue cannot be asked any more.
    pub(super) async fn next(&mut self, numbers: Option<&[u64]>) -> Result<Option<Vec<Found>>, String> {
        if self.is_over {
            return Ok(None);
        }
        let sightings = match numbers {
            Some(numbers) => self.next_of(numbers).await?,
            None => self.next_in_turn().await?,
        };
        let mut page = Vec::with_capacity(sightings.len());
        for sighting in sightings {
            let seq = sighting.seq;
            if let Some(record) = self.record(&sighting).await? {
                let Sighting { standing, redelivered, returns, .. } = sighting;
                page.push(Found { seq, standing, redelivered, returns, record });
            }
        }
        Ok(Some(page))
    }

    async fn next_in_turn(&mut self) -> Result<Vec<Sighting>, String> {
        let (queue, look) = (self.reach.queue, self.look);
        let seen = self.reach.ask(|reply| ShardInput::Look(queue, look, reply)).await?;
        self.ends.get_or_insert(seen.ends);
        self.look.skip = 0;
        match seen.next {
            Some(next) => self.look.from = next,
            None => self.is_over = true,
        }
        Ok(seen.messages)
    }

    async fn next_of(&mut self, numbers: &[u64]) -> Result<Vec<Sighting>, String> {
        let (queue, from) = (self.reach.queue, self.look.from);
        if self.ends.is_none() {
            let none = Look { messages_max: 0, ..self.look };
            self.ends = Some(self.reach.ask(|reply| ShardInput::Look(queue, none, reply)).await?.ends);
        }
        let left =
            self.left.get_or_insert_with(|| numbers.iter().copied().filter(|seq| *seq >= from).collect());
        let now: Vec<_> = left.drain(..left.len().min(self.look.messages_max)).collect();
        match left.front() {
            Some(next) => self.look.from = *next,
            None => self.is_over = true,
        }
        self.reach.ask(|reply| ShardInput::LookAt(queue, now, reply)).await
    }

    /// A message's record; `None` when it has left meanwhile.
    async fn record(&mut self, sighting: &Sighting) -> Result<Option<Bytes>, String> {
        let (first, place) = match &sighting.record {
            RecordAt::Here(record) => return Ok(Some(record.clone())),
            RecordAt::InChunk(first, place) => (*first, *place),
        };
        if self.chunk.as_ref().is_none_or(|(have, _)| *have != first) {
            let queue = self.reach.queue;
            self.chunk = None;
            let read = self.reach.ask(|reply| ShardInput::ReadChunk(queue, first, reply)).await;
            let records = read.ok().as_ref().and_then(records_in_chunk);
            self.chunk = Some((first, records.unwrap_or_default()));
        }
        let found = self.chunk.as_ref().and_then(|(_, records)| {
            let at = records.binary_search_by_key(&place, |(place, _)| *place).ok()?;
            records.get(at).map(|(_, record)| record.clone())
        });
        if found.is_some() {
            return Ok(found);
        }
        // The chunk went, or was written anew, between the look and the read: what is still there is in memory now.
        let (queue, seq) = (self.reach.queue, sighting.seq);
        let again = self.reach.ask(|reply| ShardInput::LookAt(queue, vec![seq], reply)).await?;
        match again.into_iter().next().map(|sighting| sighting.record) {
            Some(RecordAt::Here(record)) => Ok(Some(record)),
            Some(RecordAt::InChunk(first, _)) => {
                tracing::warn!(
                    queue = queue.0,
                    seq,
                    first,
                    "a message cannot be shown: its chunk is not there"
                );
                Ok(None)
            }
            None => Ok(None),
        }
    }
}
