//! What shards send: deliveries, confirms, cancelled consumers.

use super::session::Session;
use crate::broker::batch;
use crate::broker::channel::outgoing::Confirm;
use crate::broker::channel::unacked::Source;
use crate::broker::delivery_count;
use crate::broker::queue::{ConsumerId, Delivery};
use crate::node::links::ClientInput;
use crate::protocol::inbound::LARGE_BODY_BYTES;

impl Session {
    /// Takes in what the mailbox has; false when that was nothing.
    pub(super) fn hear(&mut self) -> bool {
        let mut heard = std::mem::take(&mut self.heard);
        self.link.mailbox.take(&mut heard);
        let has_heard = !heard.is_empty();
        for input in heard.drain(..) {
            match input {
                ClientInput::Deliver(delivery) => {
                    self.deliver(&delivery);
                    if self.is_traced {
                        self.trace_delivery(&delivery);
                    }
                }
                ClientInput::Confirmed(confirm, accepted) => self.confirmed(&confirm, accepted),
                ClientInput::ConsumerCancelled(consumer) => self.consumer_cancelled(consumer),
                ClientInput::Reply { channel, consumer, record } => {
                    self.deliver_reply(channel, consumer, &record);
                }
                ClientInput::Returned { channel, epoch, record } => {
                    self.give_back(channel, epoch, &record);
                }
                ClientInput::MajorityMissing => self.block_waiting(),
                ClientInput::Close(refusal) => self.forced = Some(refusal),
                // These only wake the task, which looks for itself.
                ClientInput::MetaSynced
                | ClientInput::AlarmsOver
                | ClientInput::MayGather
                | ClientInput::Stopping => {}
            }
        }
        self.heard = heard;
        has_heard
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let Some(number) = self.consumers.get(&delivery.consumer).copied() else { return };
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let Some(consumer) = channel.consumers.get_mut(delivery.consumer) else { return };
        let timeout_ms = consumer.timeout_ms;
        let source =
            channel.unacked.source(Source { target: consumer.target, consumer: consumer.id, timeout_ms });
        channel.unacked.set_time(self.now_ms);
        let limit_ms = Some(consumer.limit_ms).filter(|_| !consumer.no_ack);
        let (mut bytes, mut redelivered) = (0, 0);
        for entry in &delivery.entries {
            let record = usize::try_from(entry.offset).ok().and_then(|offset| delivery.data.get(offset..));
            let Some((message, length)) = record.and_then(batch::read) else {
                debug_assert!(false, "a delivery holds whole records");
                continue;
            };
            let tag = if consumer.no_ack {
                channel.unacked.next_tag()
            } else {
                channel.unacked.deliver(source, entry.seq)
            };
            let counted = delivery_count::header_if(message.header, entry.returns.into());
            let is_large = message.body.len() >= LARGE_BODY_BYTES;
            self.out.deliver(
                number,
                &consumer.tag,
                tag,
                entry.redelivered,
                message.exchange,
                message.routing_key,
                counted.as_deref().unwrap_or(message.header),
                if is_large { &[] } else { message.body },
            );
            if is_large {
                self.out.large_body(number, delivery.data.slice_ref(message.body));
            }
            bytes += length as u64;
            redelivered += u64::from(entry.redelivered);
        }
        if consumer.uncredited_bytes == 0 {
            self.uncredited.push(consumer.id);
        }
        consumer.uncredited_bytes += bytes;
        let (count, no_ack) = (delivery.entries.len() as u64, consumer.no_ack);
        self.count_messages(number, |counts| {
            *(if no_ack { &mut counts.deliver_no_ack } else { &mut counts.deliver }) += count;
            counts.redeliver += redelivered;
        });
        if let Some(limit_ms) = limit_ms {
            self.look_at_deliveries_within(limit_ms);
        }
    }

    fn confirmed(&mut self, confirm: &Confirm, accepted: bool) {
        let Some(channel) = self.channels.get_mut(&confirm.channel) else { return };
        if channel.epoch != confirm.epoch {
            return;
        }
        if let Some(ledger) = &mut channel.ledger {
            ledger.complete(&confirm.ranges, accepted);
        }
        self.answer_publishes(confirm.channel);
    }

    /// The queue is gone (RabbitMQ: Consumer Cancel Notification).
    fn consumer_cancelled(&mut self, id: ConsumerId) {
        let Some(number) = self.consumers.remove(&id) else { return };
        self.hide_consumer(id);
        let consumer = self.channels.get_mut(&number).and_then(|channel| channel.consumers.remove(id));
        if let Some(consumer) = consumer.filter(|_| self.connection.has_capability("consumer_cancel_notify"))
        {
            self.out.cancel(number, &consumer.tag, true);
        }
    }
}
