//! Watches memory and disk, and raises the alarms that make publishers wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::node::events::telling::text;
use crate::node::links::ClientInput;
use crate::node::machine;
use crate::node::resource_alarm::{Resource, is_over, is_under};
use crate::node::shared::Shared;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Set aside and given back at once; never touched, so that it costs no memory.
const STIRRED_BYTES: usize = 64 << 20;

/// Of the machine's memory, in percent, as in RabbitMQ 4.
const MEMORY_PERCENT: u64 = 60;

/// Looks again and again for as long as the node runs.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut watch = Watch { memory_limit: memory_limit(&shared), shared, has_warned: false };
    loop {
        watch.stir_allocator();
        watch.look_at_memory();
        watch.look_at_disk();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn memory_limit(shared: &Shared) -> u64 {
    let machine = machine::memory_bytes();
    let limit = match shared.config.memory.limit_bytes {
        0 => machine.map_or(u64::MAX, |bytes| bytes / 100 * MEMORY_PERCENT),
        bytes => bytes,
    };
    tracing::info!(
        limit_bytes = limit,
        machine_bytes = machine,
        "publishers are blocked above this much memory"
    );
    limit
}

struct Watch {
    shared: Arc<Shared>,
    memory_limit: u64,
    /// That something cannot be measured is told once.
    has_warned: bool,
}

impl Watch {
    fn look_at_memory(&mut self) {
        let Some(used_bytes) = self.measured("memory", machine::resident_bytes()) else { return };
        let (limit_bytes, was) = (self.memory_limit, self.shared.resource_alarms.has(Resource::Memory));
        self.shared.statistics.measure(|measured| {
            (measured.memory_bytes, measured.memory_limit_bytes) = (used_bytes, limit_bytes);
        });
        match (was, is_over(was, used_bytes, limit_bytes)) {
            (false, true) => tracing::warn!(
                used_bytes,
                limit_bytes,
                "memory alarm: publishers are blocked; let consumers take messages, or raise memory.limit_bytes"
            ),
            (true, false) => tracing::warn!(used_bytes, limit_bytes, "memory alarm is over"),
            _ => return,
        }
        self.set(Resource::Memory, !was);
    }

    /// The allocator gives freed memory back only when something is freed, and while publishers wait nothing may be.
    fn stir_allocator(&self) {
        if self.shared.resource_alarms.has(Resource::Memory) {
            drop(std::hint::black_box(Vec::<u8>::with_capacity(STIRRED_BYTES)));
        }
    }

    fn look_at_disk(&mut self) {
        let dir = &self.shared.config.node.data_dir;
        let Some(free_bytes) = self.measured("disk", machine::free_bytes(dir)) else { return };
        let free_bytes_min = self.shared.live.load().disk.free_bytes_min;
        self.shared.statistics.measure(|measured| {
            (measured.disk_free_bytes, measured.disk_free_limit_bytes) = (free_bytes, free_bytes_min);
        });
        let was = self.shared.resource_alarms.has(Resource::Disk);
        match (was, is_under(was, free_bytes, free_bytes_min)) {
            (false, true) => tracing::warn!(
                free_bytes,
                free_bytes_min,
                "disk alarm: publishers are blocked; make room where node.data_dir lies, let consumers take messages, or lower disk.free_bytes_min"
            ),
            (true, false) => tracing::warn!(free_bytes, free_bytes_min, "disk alarm is over"),
            _ => return,
        }
        self.set(Resource::Disk, !was);
    }

    /// What cannot be measured leaves its alarm as it is.
    fn measured(&mut self, what: &str, measured: io::Result<u64>) -> Option<u64> {
        let unknown = |error| {
            if !std::mem::replace(&mut self.has_warned, true) {
                tracing::warn!(%error, "cannot measure the {what} that is left: its alarm does not work");
            }
        };
        measured.map_err(unknown).ok()
    }

    fn set(&self, resource: Resource, on: bool) {
        let event = if on { "alarm.set" } else { "alarm.cleared" };
        self.shared.tell_event(event, || {
            let name = match resource {
                Resource::Memory => "memory",
                Resource::Disk => "disk",
                Resource::Majority => "majority",
            };
            vec![("resource", text(name)), ("node", text(&self.shared.config.node.name))]
        });
        if self.shared.resource_alarms.set(resource, on) {
            for client in &self.shared.clients {
                client.mailbox.push(ClientInput::AlarmsOver);
            }
        }
    }
}
