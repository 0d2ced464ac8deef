//! The methods a client may send on a channel.

use super::call::Call;
use super::channel::Channel;
use super::event::Ids;
use super::publish::Publish;

impl<'c> Channel<'c> {
    pub(crate) fn open(self) -> Call<'c> {
        Call::new(self, (20, 10), &[]).head(|h| h.short(""))
    }

    pub(crate) fn flow(self, active: bool) -> Call<'c> {
        Call::new(self, (20, 20), &[]).head(|h| h.u8(u8::from(active)))
    }

    pub(crate) fn close(self) -> Call<'c> {
        Call::new(self, (20, 40), &[]).head(|h| h.u16(200).short("").u16(0).u16(0))
    }

    pub(crate) fn close_ok(self) -> Call<'c> {
        Call::new(self, (20, 41), &[])
    }

    pub(crate) fn access_request(self) -> Call<'c> {
        Call::new(self, (30, 10), &[]).head(|h| h.short("/data").u8(0b11101))
    }

    pub(crate) fn exchange_declare(self, name: &str, kind: &str) -> Call<'c> {
        Call::new(self, (40, 10), &["passive", "durable", "auto_delete", "internal", "nowait"])
            .head(|h| h.u16(0).short(name).short(kind))
            .with_table()
    }

    pub(crate) fn exchange_delete(self, name: &str) -> Call<'c> {
        Call::new(self, (40, 20), &["if_unused", "nowait"]).head(|h| h.u16(0).short(name))
    }

    pub(crate) fn exchange_bind(self, destination: &str, source: &str, key: &str) -> Call<'c> {
        Call::new(self, (40, 30), &["nowait"])
            .head(|h| h.u16(0).short(destination).short(source).short(key))
            .with_table()
    }

    pub(crate) fn exchange_unbind(self, destination: &str, source: &str, key: &str) -> Call<'c> {
        Call::new(self, (40, 40), &["nowait"])
            .head(|h| h.u16(0).short(destination).short(source).short(key))
            .with_table()
    }

    pub(crate) fn queue_declare(self, name: impl AsRef<[u8]>) -> Call<'c> {
        Call::new(self, (50, 10), &["passive", "durable", "exclusive", "auto_delete", "nowait"])
            .head(|h| h.u16(0).short(name))
            .with_table()
    }

    pub(crate) fn queue_bind(self, queue: &str, exchange: &str, key: &str) -> Call<'c> {
        Call::new(self, (50, 20), &["nowait"])
            .head(|h| h.u16(0).short(queue).short(exchange).short(key))
            .with_table()
    }

    pub(crate) fn queue_unbind(self, queue: &str, exchange: &str, key: &str) -> Call<'c> {
        Call::new(self, (50, 50), &[]).head(|h| h.u16(0).short(queue).short(exchange).short(key)).with_table()
    }

    pub(crate) fn queue_purge(self, queue: &str) -> Call<'c> {
        Call::new(self, (50, 30), &["nowait"]).head(|h| h.u16(0).short(queue))
    }

    pub(crate) fn queue_delete(self, queue: &str) -> Call<'c> {
        Call::new(self, (50, 40), &["if_unused", "if_empty", "nowait"]).head(|h| h.u16(0).short(queue))
    }

    pub(crate) fn qos(self, size: u32, count: u16, global: bool) -> Call<'c> {
        Call::new(self, (60, 10), &[]).head(|h| h.u32(size).u16(count).u8(u8::from(global)))
    }

    pub(crate) fn consume(self, queue: &str, tag: &str) -> Call<'c> {
        Call::new(self, (60, 20), &["no_local", "no_ack", "exclusive", "nowait"])
            .head(|h| h.u16(0).short(queue).short(tag))
            .with_table()
    }

    pub(crate) fn cancel(self, tag: &str) -> Call<'c> {
        Call::new(self, (60, 30), &["nowait"]).head(|h| h.short(tag))
    }

    /// Basic.Get as a request; [`Self::get`] and [`Self::pull`] give the message.
    pub(crate) fn basic_get(self, queue: &str) -> Call<'c> {
        Call::new(self, (60, 70), &["no_ack"]).head(|h| h.u16(0).short(queue))
    }

    pub(crate) fn ack(self, tag: u64) -> Call<'c> {
        Call::new(self, (60, 80), &["multiple"]).head(|h| h.u64(tag))
    }

    pub(crate) fn reject(self, tag: u64) -> Call<'c> {
        Call::new(self, (60, 90), &["requeue"]).head(|h| h.u64(tag))
    }

    pub(crate) fn nack(self, tag: u64) -> Call<'c> {
        Call::new(self, (60, 120), &["multiple", "requeue"]).head(|h| h.u64(tag))
    }

    pub(crate) fn recover(self, requeue: bool) -> Call<'c> {
        Call::new(self, (60, 110), &[]).head(|h| h.u8(u8::from(requeue)))
    }

    pub(crate) fn recover_async(self, requeue: bool) -> Call<'c> {
        Call::new(self, (60, 100), &[]).head(|h| h.u8(u8::from(requeue)))
    }

    pub(crate) fn confirm_select(self) -> Call<'c> {
        Call::new(self, (85, 10), &["nowait"])
    }

    pub(crate) fn tx_select(self) -> Call<'c> {
        Call::new(self, (90, 10), &[])
    }

    pub(crate) fn tx_commit(self) -> Call<'c> {
        Call::new(self, (90, 20), &[])
    }

    pub(crate) fn tx_rollback(self) -> Call<'c> {
        Call::new(self, (90, 30), &[])
    }

    /// Any method at all, with its fields as octets.
    pub(crate) fn any(self, ids: Ids, fields: &[u8]) -> Call<'c> {
        Call::new(self, ids, &[]).head(|h| h.raw(fields))
    }

    pub(crate) fn publish(self, exchange: &str, key: &str, body: impl AsRef<[u8]>) -> Publish<'c> {
        Publish::new(self, exchange, key, body.as_ref())
    }
}
