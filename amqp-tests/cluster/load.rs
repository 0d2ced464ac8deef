//! Publishers with confirms and consumers with acknowledgements (lapin), who go on at another node when one fails them; and
//! what they must find in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::nodes::Nodes;

const PUBLISHERS: u64 = 3;
const CONSUMERS: u64 = 2;
const QUEUES: usize = 4;

/// Publishes on their way at the same time, for each publisher.
const WINDOW: u64 = 32;

/// A client goes to another node when one does not answer for so long.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// How long all may take to come out in the end, and progress to be seen after a fault.
const PATIENCE: Duration = Duration::from_secs(90);

/// A message: its publisher, its number there.
type Id = (u64, u64);

/// What clients saw.
#[derive(Default)]
struct Seen {
    confirmed: BTreeSet<Id>,
    /// How often it came, and how often not marked as redelivered.
    delivered: BTreeMap<Id, (u64, u64)>,
    /// When each publisher had nothing confirmed: from when, for how long.
    gaps: Vec<(Instant, Duration)>,
}

struct Shared {
    addresses: Vec<String>,
    stop: AtomicBool,
    stop_consuming: AtomicBool,
    confirmed: AtomicU64,
    seen: Mutex<Seen>,
}

/// Clients at work.
pub(super) struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
    faults: Vec<(&'static str, Instant)>,
}

impl Load {
    /// Clients at work on nodes of which each serves them, and has copies of everything.
    pub(super) fn on(nodes: &mut Nodes) -> Self {
        let load = Self::start(nodes.addresses());
        load.await_whole(nodes);
        load
    }

    /// Declares replicated queues as soon as the cluster lets that happen, and sets clients to work.
    fn start(addresses: Vec<String>) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let begun = Instant::now();
            for at in 0.. {
                let declared = timeout(CLIENT_PATIENCE * 5, declare(&addresses[at % addresses.len()])).await;
                match declared {
                    Ok(Ok(())) => return,
                    problem => {
                        assert!(begun.elapsed() < PATIENCE, "no cluster has come together: {problem:?}");
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        let shared = Arc::new(Shared {
            addresses,
            stop: AtomicBool::default(),
            stop_consuming: AtomicBool::default(),
            confirmed: AtomicU64::default(),
            seen: Mutex::default(),
        });
        let publishers = (0..PUBLISHERS).map(|id| runtime.spawn(publish(Arc::clone(&shared), id))).collect();
        let consumers = (0..CONSUMERS).map(|id| runtime.spawn(consume(Arc::clone(&shared), id))).collect();
        let load = Self { runtime, shared, publishers, consumers, faults: Vec::new() };
        load.await_progress();
        load
    }

    /// A fault begins now.
    pub(super) fn fault(&mut self, name: &'static str) {
        self.faults.push((name, Instant::now()));
    }

    /// Waits until something more is confirmed.
    pub(super) fn await_progress(&self) {
        let (begun, before) = (Instant::now(), self.confirmed());
        while self.confirmed() < before + 10 * WINDOW {
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing is confirmed any more, after {:?}",
                self.faults.last()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.shared.confirmed.load(Ordering::Relaxed)
    }

    /// A message is published and confirmed through each node.
    fn check_each_node(&self) {
        for (place, address) in self.shared.addresses.iter().enumerate() {
            let begun = Instant::now();
            while !self.runtime.block_on(probe(address)) {
                assert!(begun.elapsed() < PATIENCE, "node {} does not serve clients", place + 1);
            }
        }
    }

    /// Each node serves, and has copies of everything: whoever fails now is one of a majority.
    pub(super) fn await_whole(&self, nodes: &mut Nodes) {
        self.check_each_node();
        nodes.await_whole();
    }

    /// A node is killed, the others go on, and it comes back.
    pub(super) fn survive_kill(&mut self, nodes: &mut Nodes, place: usize) {
        self.fault("kill");
        nodes.kill(place);
        self.await_progress();
        nodes.begin(place);
        self.await_whole(nodes);
    }

    /// Ends the publishers, and checks that all that was confirmed comes out, and nothing twice without a mark.
    /// Gives for each fault how long the publishers had to wait at most.
    pub(super) fn finish(mut self) -> Vec<(&'static str, Duration)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let publishers = std::mem::take(&mut self.publishers);
        self.runtime.block_on(async {
            for publisher in publishers {
                publisher.await.expect("a publisher");
            }
        });
        let begun = Instant::now();
        while !self.missing().is_empty() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.shared.stop_consuming.store(true, Ordering::Relaxed);
        let consumers = std::mem::take(&mut self.consumers);
        self.runtime.block_on(async {
            for consumer in consumers {
                consumer.await.expect("a consumer");
            }
        });
        let missing = self.missing();
        if !missing.is_empty() {
            self.show_missing(&missing);
        }
        let seen = self.shared.seen.lock().expect("no client has failed");
        eprintln!(
            "{} confirmed, {} delivered, {} missing",
            seen.confirmed.len(),
            seen.delivered.len(),
            missing.len()
        );
        assert!(
            missing.is_empty(),
            "{} confirmed messages are lost, such as {:?}",
            missing.len(),
            &missing[..missing.len().min(9)]
        );
        let twice: Vec<_> =
            seen.delivered.iter().filter(|(_, (_, unmarked))| *unmarked > 1).take(9).collect();
        assert!(twice.is_empty(), "delivered twice as if for the first time: {twice:?}");
        let gaps = gaps(&self.faults, &seen.gaps);
        for (name, gap) in &gaps {
            eprintln!("{name}: publishers waited {} ms at most", gap.as_millis());
        }
        gaps
    }

    /// Says of which queues they are, and what these hold: what is stuck is not lost.
    fn show_missing(&self, missing: &[Id]) {
        for number in 0..QUEUES {
            let of_queue = |id: &&Id| usize::try_from(id.1).is_ok_and(|id| id % QUEUES == number);
            let ids: Vec<_> = missing.iter().filter(of_queue).collect();
            let asking = counts(&self.shared.addresses, number);
            let counts = self.runtime.block_on(async { timeout(CLIENT_PATIENCE * 2, asking).await });
            eprintln!("{}: {} missing ({ids:?}); ready, consumers: {counts:?}", queue(number), ids.len());
        }
    }

    fn missing(&self) -> Vec<Id> {
        let seen = self.shared.seen.lock().expect("no client has failed");
        seen.confirmed.iter().filter(|id| !seen.delivered.contains_key(id)).copied().collect()
    }
}

/// The longest gap that begins around each fault, before the next.
fn gaps(faults: &[(&'static str, Instant)], gaps: &[(Instant, Duration)]) -> Vec<(&'static str, Duration)> {
    let ends = faults.iter().skip(1).map(|(_, at)| Some(*at)).chain([None]);
    let with_ends = faults.iter().zip(ends);
    with_ends
        .map(|((name, at), end)| {
            let own = gaps
                .iter()
                .filter(|(from, length)| *from + *length > *at && end.is_none_or(|end| *from < end));
            (*name, own.map(|(_, length)| *length).max().unwrap_or_default())
        })
        .collect()
}

fn queue(number: usize) -> String {
    format!("mirrored-{}", number % QUEUES)
}

pub(super) async fn open(address: &str) -> lapin::Result<(Connection, Channel)> {
    let uri = format!("amqp://guest:guest@{address}/%2f");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn declare(address: &str) -> lapin::Result<()> {
    let (connection, channel) = open(address).await?;
    for number in 0..QUEUES {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue(number).as_str().into(), options, arguments).await?;
    }
    connection.close(200, "bye".into()).await
}

/// Ready messages and consumers of a queue, as each node tells.
async fn counts(addresses: &[String], number: usize) -> Vec<lapin::Result<(u32, u32)>> {
    let mut all = Vec::new();
    for address in addresses {
        let asking = async {
            let (connection, channel) = open(address).await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declared =
                channel.queue_declare(queue(number).as_str().into(), options, FieldTable::default()).await?;
            connection.close(200, "bye".into()).await?;
            Ok((declared.message_count(), declared.consumer_count()))
        };
        all.push(asking.await);
    }
    all
}

/// Whether a message through this node is confirmed in time.
async fn probe(address: &str) -> bool {
    let probing = async {
        let (connection, channel) = open(address).await.ok()?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
        for number in 0..QUEUES {
            let confirm = send(&channel, &queue(number), "probe").await.ok()?;
            if !matches!(confirm.await, Ok(Confirmation::Ack(_))) {
                return None;
            }
        }
        let _ = connection.close(200, "bye".into()).await;
        Some(())
    };
    let confirmed = timeout(CLIENT_PATIENCE, probing).await.is_ok_and(|done| done.is_some());
    if !confirmed {
        sleep(Duration::from_millis(50)).await;
    }
    confirmed
}

async fn send(
    channel: &Channel,
    queue: &str,
    body: &str,
) -> lapin::Result<impl Future<Output = lapin::Result<Confirmation>> + use<>> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body.as_bytes(), properties)
        .await
}

async fn publish(shared: Arc<Shared>, id: u64) {
    let mut next = 0;
    let mut last = Instant::now();
    for turn in usize::try_from(id).expect("few publishers").. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let address = &shared.addresses[turn % shared.addresses.len()];
        if let Ok(Ok((connection, channel))) = timeout(CLIENT_PATIENCE, open(address)).await {
            // Why it ends does not matter: what is not confirmed need not be there.
            let _ = publish_through(&shared, &channel, id, (&mut next, &mut last)).await;
            let _ = timeout(CLIENT_PATIENCE, connection.close(200, "bye".into())).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn publish_through(
    shared: &Shared,
    channel: &Channel,
    id: u64,
    (next, last): (&mut u64, &mut Instant),
) -> Option<()> {
    timeout(CLIENT_PATIENCE, channel.confirm_select(ConfirmSelectOptions::default())).await.ok()?.ok()?;
    while !shared.stop.load(Ordering::Relaxed) {
        let mut open = Vec::new();
        for _ in 0..WINDOW {
            let number = *next;
            *next += 1;
            let (queue, body) = (queue(usize::try_from(number).ok()?), format!("{id} {number} {:200}", ""));
            open.push((number, timeout(CLIENT_PATIENCE, send(channel, &queue, &body)).await.ok()?.ok()?));
        }
        for (number, confirm) in open {
            let confirm = timeout(CLIENT_PATIENCE, confirm).await.ok()?.ok()?;
            if matches!(confirm, Confirmation::Ack(_)) {
                shared.confirmed.fetch_add(1, Ordering::Relaxed);
                let mut seen = shared.seen.lock().expect("no client has failed");
                seen.confirmed.insert((id, number));
                if last.elapsed() > Duration::from_millis(50) {
                    seen.gaps.push((*last, last.elapsed()));
                }
                *last = Instant::now();
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    Some(())
}

async fn consume(shared: Arc<Shared>, id: u64) {
    // Not where the publisher of the same number begins.
    for turn in usize::try_from(id).expect("few consumers") + 1.. {
        if shared.stop_consuming.load(Ordering::Relaxed) {
            return;
        }
        let address = &shared.addresses[turn % shared.addresses.len()];
        if let Ok(Ok((connection, channel))) = timeout(CLIENT_PATIENCE, open(address)).await {
            let _ = consume_through(&shared, &channel).await;
            let _ = timeout(CLIENT_PATIENCE, connection.close(200, "bye".into())).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn consume_through(shared: &Shared, channel: &Channel) -> Option<()> {
    let starting = async {
        channel.basic_qos(100, BasicQosOptions::default()).await.ok()?;
        let mut consumers = Vec::new();
        for number in 0..QUEUES {
            let options = BasicConsumeOptions::default();
            let tag = format!("reader-{number}");
            let consumer = channel.basic_consume(
                queue(number).as_str().into(),
                tag.as_str().into(),
                options,
                FieldTable::default(),
            );
            consumers.push(consumer.await.ok()?);
        }
        Some(futures_util::stream::select_all(consumers))
    };
    let mut deliveries = timeout(CLIENT_PATIENCE * 2, starting).await.ok()??;
    while !shared.stop_consuming.load(Ordering::Relaxed) {
        let delivery = timeout(CLIENT_PATIENCE, deliveries.next()).await.ok()??.ok()?;
        let text = String::from_utf8_lossy(&delivery.data);
        let mut words = text.split(' ').map_while(|word| word.parse().ok());
        if let (Some(publisher), Some(number)) = (words.next(), words.next()) {
            let mut seen = shared.seen.lock().expect("no client has failed");
            let (times, unmarked) = seen.delivered.entry((publisher, number)).or_default();
            *times += 1;
            *unmarked += u64::from(!delivery.redelivered);
        }
        timeout(CLIENT_PATIENCE, delivery.ack(BasicAckOptions::default())).await.ok()?.ok()?;
    }
    Some(())
}
