//! What is under way, and what was.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::order::{JobSpec, JobState, JobStatus};

/// So many jobs may be under way at once.
const RUNNING_MAX: usize = 8;
/// So many that are over are remembered.
const KEPT: usize = 200;

/// The jobs of a node.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    last: AtomicU64,
    all: Mutex<VecDeque<Arc<Job>>>,
}

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    id: String,
    pub(crate) spec: JobSpec,
    started_ms: u64,
    is_cancelled: AtomicBool,
    cancelled: Notify,
    progress: Mutex<Progress>,
}

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) looked_at: u64,
    pub(crate) matched: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) total: u64,
    pub(crate) reason: Option<String>,
    end: Option<(JobState, u64)>,
}

impl Jobs {
    /// Enters a job.
    ///
    /// # Errors
    /// When too many are under way.
    pub(crate) fn begin(&self, node: u16, spec: JobSpec, now_ms: u64) -> Result<Arc<Job>, String> {
        let mut all = self.lock();
        let running = all.iter().filter(|job| job.is_running()).count();
        if running >= RUNNING_MAX {
            return Err(format!("{running} jobs are under way already: wait for one, or cancel it"));
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let job = Arc::new(Job {
            id: format!("{node}-{now_ms}-{number}"),
            spec,
            started_ms: now_ms,
            is_cancelled: AtomicBool::new(false),
            cancelled: Notify::new(),
            progress: Mutex::default(),
        });
        all.push_back(Arc::clone(&job));
        while all.len() > KEPT
            && let Some(oldest) = all.iter().position(|job| !job.is_running())
        {
            all.remove(oldest);
        }
        Ok(job)
    }

    /// All of them, the newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Job>> {
        self.lock().iter().rev().cloned().collect()
    }

    /// A job by its name.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().iter().find(|job| job.id == id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// How it stands; `node` is the name of this node.
    pub(crate) fn status(&self, node: &str) -> JobStatus {
        let progress = self.progress().clone();
        JobStatus {
            id: self.id.clone(),
            node: node.to_owned(),
            spec: self.spec.clone(),
            state: progress.end.map_or(JobState::Running, |(state, _)| state),
            looked_at: progress.looked_at,
            matched: progress.matched,
            done: progress.done,
            failed: progress.failed,
            total: progress.total,
            started_ms: self.started_ms,
            ended_ms: progress.end.map(|(_, at_ms)| at_ms),
            reason: progress.reason,
        }
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// How far it is, to be read or changed for a moment.
    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is over.
    pub(crate) fn end(&self, state: JobState, now_ms: u64) {
        self.progress().end = Some((state, now_ms));
    }

    /// It is to stop as soon as it can.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.cancelled.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    /// Waits until somebody wants it to stop.
    pub(crate) async fn until_cancelled(&self) {
        let mut told = std::pin::pin!(self.cancelled.notified());
        told.as_mut().enable();
        if !self.is_cancelled() {
            told.await;
        }
    }

    fn is_running(&self) -> bool {
        self.progress().end.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::MessageFilter;
    use super::super::order::{Action, QueueName};
    use super::*;

    fn spec() -> JobSpec {
        JobSpec {
            name: QueueName { vhost: "/".to_owned(), queue: "q".to_owned() },
            action: Action::Delete,
            filter: MessageFilter::default(),
            limit: None,
            rate: None,
            dry_run: true,
            user: "guest".to_owned(),
        }
    }

    #[test]
    fn old_jobs_are_forgotten_and_only_so_many_run_at_once() {
        let jobs = Jobs::default();
        for at_ms in 0..300 {
            jobs.begin(1, spec(), at_ms).unwrap().end(JobState::Finished, at_ms);
        }
        assert_eq!(jobs.list().len(), KEPT);
        let running: Vec<_> = (0..RUNNING_MAX).map(|_| jobs.begin(1, spec(), 0).unwrap()).collect();
        assert!(jobs.begin(1, spec(), 0).is_err());
        let found = jobs.get(running[0].id()).unwrap();
        found.cancel();
        found.end(JobState::Cancelled, 7);
        assert_eq!(found.status("n").ended_ms, Some(7));
        assert!(jobs.begin(1, spec(), 0).is_ok());
    }
}
