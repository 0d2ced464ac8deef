//! A job from its begin to its end.
//!
//! What is moved is held in its queue, copied, and settled only when every queue that it goes to has it in its log: a crash
//! at any moment leaves a message in its queue, where it went, or in both; never in none. Order is kept.

use std::sync::Arc;
use std::time::Duration;

use super::carrier::{Carrier, Fate};
use super::letters::{Letter, letter};
use super::pages::{Found, Pages};
use super::reach::Reach;
use super::{PAGE_BYTES, PAGE_MESSAGES, is_ready};
use crate::broker::batch;
use crate::broker::queue::{Command, Look, is_before_ends};
use crate::node::links::ShardInput;
use crate::node::shared::Shared;
use crate::node::surgery::jobs::Job;
use crate::node::surgery::order::{Action, Destination, JobState};

/// Messages that stayed where they were since they could not be moved: then the job ends.
const FAILED_MAX: u64 = 1000;
/// The rate is kept over times like this.
const RATE_STEPS_A_SECOND: u64 = 20;

/// Does the job, and writes down that it was done.
pub(super) async fn run(shared: &Arc<Shared>, reach: Reach, job: &Arc<Job>) {
    let spec = &job.spec;
    tracing::info!(
        job = job.id(),
        user = spec.user,
        vhost = spec.name.vhost,
        queue = spec.name.queue,
        action = spec.action.name(),
        dry_run = spec.dry_run,
        "message job begins"
    );
    let mut work = Work { shared, reach, job, carrier: Carrier::new(shared) };
    let outcome = work.run().await;
    let state = match &outcome {
        Ok(()) if job.is_cancelled() => JobState::Cancelled,
        Ok(()) => JobState::Finished,
        Err(_) => JobState::Failed,
    };
    if let Err(reason) = outcome {
        job.progress().reason = Some(reason);
    }
    job.end(state, shared.clock.now_ms());
    let progress = job.progress().clone();
    tracing::info!(
        job = job.id(),
        user = spec.user,
        vhost = spec.name.vhost,
        queue = spec.name.queue,
        action = spec.action.name(),
        dry_run = spec.dry_run,
        ?state,
        matched = progress.matched,
        done = progress.done,
        failed = progress.failed,
        reason = progress.reason,
        "message job is over"
    );
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    reach: Reach,
    job: &'a Arc<Job>,
    carrier: Carrier,
}

impl Work<'_> {
    async fn run(&mut self) -> Result<(), String> {
        let queue = self.reach.queue;
        let counts = self.reach.ask(|reply| ShardInput::Stat(queue, reply)).await?;
        self.job.progress().total = counts.ready + counts.unacked + counts.delayed;
        let look = Look { from: 0, skip: 0, messages_max: self.page_messages(), bytes_max: PAGE_BYTES };
        let mut pages = Pages::new(self.reach.clone(), look);
        let started = tokio::time::Instant::now();
        while let Some(page) = pages.next(self.job.spec.filter.numbers()).await? {
            let wanted = self.choose(page, pages.ends());
            if !wanted.is_empty() && !self.job.spec.dry_run {
                self.work_on(wanted).await?;
            }
            if self.job.is_cancelled() || self.shared.is_stopping() || self.has_enough() {
                return Ok(());
            }
            self.slow_down(started).await;
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// A rate is kept by small steps.
    fn page_messages(&self) -> usize {
        let step = self.job.spec.rate.map_or(u64::MAX, |rate| (rate / RATE_STEPS_A_SECOND).max(1));
        usize::try_from(step).unwrap_or(usize::MAX).min(PAGE_MESSAGES)
    }

    /// Those of a page that are meant.
    fn choose(&self, page: Vec<Found>, ends: &[u64]) -> Vec<Found> {
        let mut progress = self.job.progress();
        let spec = &self.job.spec;
        let mut chosen = Vec::new();
        for found in page {
            progress.looked_at += 1;
            let is_full = spec.limit.is_some_and(|limit| progress.matched >= limit);
            if is_full || !is_ready(&found) || !is_before_ends(found.seq, ends) {
                continue;
            }
            let message = batch::read(&found.record);
            if message.is_some_and(|(message, _)| spec.filter.takes(found.seq, &message)) {
                progress.matched += 1;
                chosen.push(found);
            }
        }
        chosen
    }

    fn has_enough(&self) -> bool {
        self.job.spec.limit.is_some_and(|limit| self.job.progress().matched >= limit)
    }

    async fn slow_down(&self, started: tokio::time::Instant) {
        let Some(rate) = self.job.spec.rate.filter(|rate| *rate > 0) else { return };
        let progress = self.job.progress().clone();
        let worked = if self.job.spec.dry_run { progress.matched } else { progress.done + progress.failed };
        let due = started + Duration::from_millis(worked.saturating_mul(1000) / rate);
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = self.job.until_cancelled() => {}
            () = self.shared.stopped() => {}
        }
    }

    async fn work_on(&mut self, chosen: Vec<Found>) -> Result<(), String> {
        let job = Arc::clone(self.job);
        match &job.spec.action {
            Action::Delete => self.delete(&chosen).await,
            Action::Move(to) => self.move_to(chosen, to).await,
            Action::Copy(to) => self.copy_to(&chosen, to).await,
        }
    }

    async fn delete(&self, chosen: &[Found]) -> Result<(), String> {
        let held = self.hold(chosen.iter().map(|found| found.seq).collect()).await?;
        self.job.progress().done += held.seqs.len() as u64;
        held.settle();
        Ok(())
    }

    async fn copy_to(&mut self, chosen: &[Found], to: &Destination) -> Result<(), String> {
        let (_, letters) = self.letters(chosen, to)?;
        let fates = self.carrier.carry(&letters, self.job).await;
        let safe = fates.iter().filter(|fate| **fate == Fate::Safe).count();
        self.count(safe, fates.len() - safe)
    }

    async fn move_to(&mut self, chosen: Vec<Found>, to: &Destination) -> Result<(), String> {
        let mut held = self.hold(chosen.iter().map(|found| found.seq).collect()).await?;
        let is_held = |found: &Found| held.seqs.binary_search(&found.seq).is_ok();
        let chosen: Vec<_> = chosen.into_iter().filter(is_held).collect();
        // Whatever does not get as far as being settled goes back when `held` does.
        let (seqs, letters) = self.letters(&chosen, to)?;
        let fates = self.carrier.carry(&letters, self.job).await;
        let safe: Vec<_> =
            seqs.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Safe).map(|(seq, _)| *seq).collect();
        held.settle_some(&safe);
        self.count(safe.len(), fates.len() - safe.len())
    }

    /// The copies of those that can go, with their numbers.
    fn letters(&self, chosen: &[Found], to: &Destination) -> Result<(Vec<u64>, Vec<Letter>), String> {
        let now_ms = self.shared.clock.now_ms();
        let vhost = &self.job.spec.name.vhost;
        let (mut seqs, mut letters) = (Vec::new(), Vec::new());
        let mut problem = None;
        for found in chosen {
            let Some((message, _)) = batch::read(&found.record) else { continue };
            match letter(self.shared, vhost, to, &message, now_ms) {
                Ok(letter) => {
                    seqs.push(found.seq);
                    letters.push(letter);
                }
                Err(reason) => problem = Some(reason),
            }
        }
        if let Some(reason) = problem {
            self.job.progress().reason = Some(reason);
            self.count(0, chosen.len() - letters.len())?;
        }
        Ok((seqs, letters))
    }

    fn count(&self, done: usize, failed: usize) -> Result<(), String> {
        let mut progress = self.job.progress();
        progress.done += done as u64;
        progress.failed += failed as u64;
        if failed > 0 && progress.reason.is_none() {
            progress.reason =
                Some("a queue that messages go to refuses them, or cannot be reached".to_owned());
        }
        if progress.failed > FAILED_MAX {
            let reason = progress.reason.clone().unwrap_or_default();
            return Err(format!("more than {FAILED_MAX} messages had to stay where they were: {reason}"));
        }
        Ok(())
    }

    async fn hold(&self, seqs: Vec<u64>) -> Result<Held, String> {
        let queue = self.reach.queue;
        let mut seqs = self.reach.ask(|reply| ShardInput::Hold(queue, seqs, reply)).await?;
        seqs.sort_unstable();
        Ok(Held { reach: self.reach.clone(), seqs })
    }
}

/// Held messages: they go back when this goes, unless they were settled.
struct Held {
    reach: Reach,
    seqs: Vec<u64>,
}

impl Held {
    fn settle(mut self) {
        let seqs = std::mem::take(&mut self.seqs);
        self.command(Command::SettleHeld(seqs));
    }

    fn settle_some(&mut self, seqs: &[u64]) {
        self.seqs.retain(|seq| !seqs.contains(seq));
        self.command(Command::SettleHeld(seqs.to_vec()));
    }

    fn command(&self, command: Command) {
        self.reach.push(ShardInput::Command(self.reach.queue, command));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.seqs.is_empty() {
            let seqs = std::mem::take(&mut self.seqs);
            self.command(Command::GiveHeldBack(seqs));
        }
    }
}
