//! Orders for messages in queues of this node, carried out: searches while they are waited for, jobs as tasks.
//!
//! - `reach`: the way to the owner of a queue, or who that is
//! - `pages`: messages a page at a time, also out of the cold store
//! - `job`: a job from its begin to its end
//! - `carrier`: copies of messages that are safe where they go
//! - `letters`: what a message looks like there, and where that is

mod carrier;
mod job;
mod letters;
mod pages;
pub(crate) mod reach;

use std::sync::Arc;

use pages::Pages;
use reach::{Reach, find};

use crate::broker::batch;
use crate::broker::queue::{Look, Standing};
use crate::node::shared::Shared;
use crate::node::surgery::found::{FoundMessage, state_of};
use crate::node::surgery::order::{
    Findings, JobSpec, JobState, QueueName, Search, SurgeryAnswer, SurgeryOrder,
};

/// Messages that are asked for at a time, and bytes of them: a shard gives these in well under a millisecond.
const PAGE_MESSAGES: usize = 512;
const PAGE_BYTES: usize = 1024 * 1024;
/// No search takes longer.
const BUDGET_MS_MAX: u64 = 60_000;
/// What is shown of bodies at once.
const SHOWN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Carries an order out, if this node can.
pub(crate) async fn answer(shared: &Arc<Shared>, order: SurgeryOrder) -> SurgeryAnswer {
    let node = shared.node_name(own_node(shared));
    match order {
        SurgeryOrder::Search(name, search) => match own(shared, &name).await {
            Ok(reach) => match look_for(shared, reach, search).await {
                Ok(findings) => SurgeryAnswer::Findings(findings),
                Err(reason) => SurgeryAnswer::Refused(reason),
            },
            Err(refused) => refused,
        },
        SurgeryOrder::Begin(spec) => match own(shared, &spec.name).await {
            Ok(reach) => begin(shared, reach, spec),
            Err(refused) => refused,
        },
        SurgeryOrder::Jobs => {
            SurgeryAnswer::Jobs(shared.jobs.list().iter().map(|job| job.status(&node)).collect())
        }
        SurgeryOrder::Cancel(id) => match shared.jobs.get(&id) {
            Some(job) => {
                job.cancel();
                SurgeryAnswer::Job(Box::new(job.status(&node)))
            }
            None => SurgeryAnswer::NotFound(format!("no job '{id}'")),
        },
    }
}

/// This node's number; that of a node by itself is 1.
pub(crate) fn own_node(shared: &Shared) -> u16 {
    shared.cluster.as_ref().map_or(crate::broker::ids::FIRST_NODE, |cluster| cluster.placement.node)
}

/// The way to a queue that this node owns.
async fn own(shared: &Arc<Shared>, name: &QueueName) -> Result<Reach, SurgeryAnswer> {
    let missing = || SurgeryAnswer::NotFound(format!("no queue '{}' in vhost '{}'", name.queue, name.vhost));
    let entry = shared.topology().queue(&name.vhost, &name.queue).cloned().ok_or_else(missing)?;
    match find(shared, &entry).await.map_err(SurgeryAnswer::Refused)? {
        reach::Owner::Own(reach) => Ok(reach),
        reach::Owner::Node(node) => {
            let node = shared.node_name(node);
            let text = format!("queue '{}' is led by node '{node}' now: ask that one", name.queue);
            Err(SurgeryAnswer::Refused(text))
        }
    }
}

/// Searches until there is enough, or the time is over.
async fn look_for(shared: &Arc<Shared>, reach: Reach, mut search: Search) -> Result<Findings, String> {
    search.filter.prepare()?;
    let until_ms = shared.clock.now_ms() + search.budget_ms.min(BUDGET_MS_MAX);
    let look =
        Look { from: search.from, skip: search.offset, messages_max: PAGE_MESSAGES, bytes_max: PAGE_BYTES };
    let mut pages = Pages::new(reach, look);
    let (mut findings, mut bytes) = (Findings::default(), 0);
    while let Some(page) = pages.next(search.filter.numbers()).await? {
        for seen in page {
            findings.next = Some(seen.seq);
            if findings.messages.len() >= search.limit || bytes >= SHOWN_BYTES_MAX {
                return Ok(findings);
            }
            findings.looked_at += 1;
            let Some((message, _)) = batch::read(&seen.record) else { continue };
            if search.filter.takes(seen.seq, &message) {
                let shown = search.body_bytes_max.min(message.body.len());
                bytes += shown + message.header.len();
                findings.messages.push(show(&seen, &message, shown));
            }
        }
        findings.next = pages.position();
        if findings.next.is_some() && shared.clock.now_ms() >= until_ms {
            findings.is_out_of_time = true;
            return Ok(findings);
        }
    }
    findings.next = None;
    Ok(findings)
}

fn show(seen: &pages::Found, message: &batch::Message<'_>, shown: usize) -> FoundMessage {
    FoundMessage {
        number: seen.seq,
        state: state_of(seen.standing).to_owned(),
        redelivered: seen.redelivered,
        returns: seen.returns,
        exchange: String::from_utf8_lossy(message.exchange).into_owned(),
        routing_key: String::from_utf8_lossy(message.routing_key).into_owned(),
        arrived_ms: message.enqueued_ms,
        due_ms: message.due_ms,
        header: message.header.to_vec(),
        body: message.body.get(..shown).unwrap_or_default().to_vec(),
        body_bytes: message.body.len() as u64,
    }
}

#[expect(clippy::disallowed_methods, reason = "a task for each job")]
fn begin(shared: &Arc<Shared>, reach: Reach, mut spec: JobSpec) -> SurgeryAnswer {
    if let Err(reason) = spec.filter.prepare() {
        return SurgeryAnswer::Refused(reason);
    }
    if let Err(reason) = letters::check(shared, &spec) {
        return SurgeryAnswer::NotFound(reason);
    }
    let node = own_node(shared);
    let job = match shared.jobs.begin(node, spec, shared.clock.now_ms()) {
        Ok(job) => job,
        Err(reason) => return SurgeryAnswer::Refused(reason),
    };
    let status = job.status(&shared.node_name(node));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // A job that panics must not look as if it were under way for ever.
        let guard = Ended { shared: Arc::clone(&shared), job: Arc::clone(&job) };
        job::run(&shared, reach, &job).await;
        drop(guard);
    });
    SurgeryAnswer::Job(Box::new(status))
}

struct Ended {
    shared: Arc<Shared>,
    job: Arc<crate::node::surgery::jobs::Job>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.job.status("").state == JobState::Running {
            self.job.end(JobState::Failed, self.shared.clock.now_ms());
        }
    }
}

/// Whether a message may be touched.
fn is_ready(found: &pages::Found) -> bool {
    found.standing == Standing::Ready
}
