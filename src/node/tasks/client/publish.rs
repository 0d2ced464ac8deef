//! `basic.publish`: checks, routing, batches.

use std::sync::Arc;

use super::large::{Large, Whole};
use super::replies::is_reply_name;
use super::room::Full;
use super::session::{Session, not_open};
use crate::broker::arguments::type_name;
use crate::broker::batch::Message;
use crate::broker::channel::outgoing::Ready;
use crate::broker::channel::routes::{Place, Route, RouteCache};
use crate::broker::delay;
use crate::broker::ids::Target;
use crate::broker::topology::{self, Gate, RouteError, RouteQuery};
use crate::node::auth::ObjectKind;
use crate::node::links::{ClientLink, ShardInput, Waiter};
use crate::node::replies::Requester;
use crate::node::shared::Shared;
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Publish;
use crate::protocol::properties::{self, Edit, Properties};
use crate::protocol::reply_code::ReplyCode;
use crate::protocol::table;

/// Open batches are handed over when they hold this much, even within one read.
pub(super) const OPEN_BYTES_MAX: usize = 256 * 1024;

/// Users with this tag may publish in the name of others.
const IMPERSONATOR: &str = "impersonator";

/// Where a publish goes.
pub(super) enum Routed {
    /// Where all of this exchange and key go: the place in the channel's cache.
    Always(Place),
    /// Where this one goes; on the heap, being rare and large.
    Once(Box<Once>),
}

/// What a route is made of.
pub(super) struct Parts<'a> {
    /// The queues.
    pub(super) targets: &'a [Target],
    /// Those who wait for replies.
    pub(super) requesters: &'a [Arc<Requester>],
    /// Queues that hold the message until its delay is over.
    pub(super) delays: &'a [Target],
    /// Nobody is there to receive it.
    pub(super) is_unroutable: bool,
}

impl Routed {
    pub(super) fn parts<'a>(&'a self, routes: &'a RouteCache) -> Parts<'a> {
        match self {
            Self::Always(place) => {
                let targets = routes.at(*place).map_or(&[][..], |route| route);
                Parts { targets, requesters: &[], delays: &[], is_unroutable: targets.is_empty() }
            }
            Self::Once(once) => Parts {
                targets: &once.route,
                requesters: &once.requesters,
                delays: &once.delays,
                is_unroutable: once.is_unroutable(),
            },
        }
    }

    fn is_delayed(&self) -> bool {
        matches!(self, Self::Once(once) if !once.delays.is_empty())
    }
}

/// Where one publish goes.
pub(super) struct Once {
    /// To these queues.
    pub(super) route: Route,
    /// To these who wait for replies.
    requesters: Vec<Arc<Requester>>,
    /// To these queues until its delay is over.
    pub(super) delays: Vec<Target>,
    /// So many of the queues only keep it for others to come.
    kept: usize,
    /// It must pass here first.
    pub(super) gate: Option<Gate>,
}

impl Once {
    /// Whether nobody is there to receive it.
    pub(super) fn is_unroutable(&self) -> bool {
        self.route.len() == self.kept && self.requesters.is_empty() && self.delays.is_empty()
    }
}

impl Session {
    pub(super) fn publish(&mut self, publish: &Publish<'_>) -> Result<(), Refusal> {
        if publish.immediate {
            return Err(Refusal::connection(ReplyCode::NotImplemented, "immediate=true"));
        }
        let properties = Properties::parse(publish.header).map_err(|error| error.refusal())?;
        let more = properties.headers.map(more_keys).transpose();
        let (more, refusal) = more.map_or_else(|refusal| (None, Some(refusal)), |more| (more, None));
        let more = more.unwrap_or_default();
        let route = self.route(publish, &properties, &more)?;
        // Whoever may not publish, or publishes to nowhere, hears of that first.
        refusal.map_or(Ok(()), Err)?;
        let due_ms = due_ms(&properties, self.now_ms)?;
        self.check_user_id(&properties)?;
        let reply_name = self.reply_name(publish.channel, properties.reply_to)?;
        let changed = change_header(publish.header, &properties, more.has_bcc, reply_name.as_deref())?;
        let message = Message {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            header: changed.as_deref().unwrap_or(publish.header),
            body: publish.body,
            enqueued_ms: self.now_ms,
            due_ms,
            priority: properties.priority.unwrap_or(0),
            persistent: properties.delivery_mode == Some(2),
        };
        if route.is_delayed() {
            // Held back it needs the keys that its receivers must not see.
            let whole = change_header(publish.header, &properties, false, reply_name.as_deref())?;
            let header = whole.as_deref().unwrap_or(publish.header);
            let delay_ms = properties.headers.and_then(delay::delay_ms).unwrap_or(0);
            let held = delay::held(&Message { header, ..message }, delay_ms);
            self.send_or_offer(publish, &message, &held, &route)?;
        } else {
            self.send_or_offer(publish, &message, &message, &route)?;
        }
        self.count_publish(publish, &route);
        match route {
            // A request is looked at each time: its reply consumer may have gone.
            Routed::Always(place) if reply_name.is_none() => self.remember(publish.channel, &message, place),
            Routed::Always(_) => self.repeat = None,
            Routed::Once(once) => {
                self.repeat = None;
                if self.is_traced {
                    self.trace_publish(publish.channel, &message, &once.route);
                }
            }
        }
        Ok(())
    }

    fn check_user_id(&self, properties: &Properties<'_>) -> Result<(), Refusal> {
        match properties.user_id {
            Some(user) if user != self.user.as_bytes() && !self.rights.identity.has_tag(IMPERSONATOR) => {
                Err(precondition(format!(
                    "user_id property set to '{}' but authenticated user was '{}'",
                    String::from_utf8_lossy(user),
                    self.user
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn route(
        &mut self,
        publish: &Publish<'_>,
        properties: &Properties<'_>,
        more: &MoreKeys<'_>,
    ) -> Result<Routed, Refusal> {
        if !more.is_empty() {
            let (once, _) = self.find_route(publish, properties, more)?;
            return Ok(Routed::Once(Box::new(once)));
        }
        let version = self.shared.version();
        let routes = &mut self.channel(publish.channel)?.routes;
        if let Some(place) = routes.find(version, publish.exchange, publish.routing_key) {
            return Ok(Routed::Always(place));
        }
        let (once, cacheable) = self.find_route(publish, properties, more)?;
        if !cacheable || self.is_traced {
            return Ok(Routed::Once(Box::new(once)));
        }
        Ok(Routed::Always(self.channel(publish.channel)?.routes.put(once.route)))
    }

    fn find_route(
        &mut self,
        publish: &Publish<'_>,
        properties: &Properties<'_>,
        more: &MoreKeys<'_>,
    ) -> Result<(Once, bool), Refusal> {
        let mut keys = vec![text(publish.routing_key)];
        keys.extend(more.cc.iter().chain(&more.bcc));
        self.check_write(ObjectKind::Exchange, text(publish.exchange))?;
        let query = RouteQuery {
            vhost: &self.vhost,
            exchange: text(publish.exchange),
            keys: &keys,
            properties: Some(properties),
            allow_internal: false,
            is_due: false,
        };
        self.targets.clear();
        let routed = self.shared.topology().route(&query, &mut self.targets);
        let mut routed = routed.map_err(|error| self.not_routed(error, query.exchange))?;
        for key in &keys {
            self.rights.may_write_key(&self.shared, (&self.vhost, query.exchange), key)?;
        }
        if publish.mandatory && self.targets.len() == routed.kept && !self.would_be_routed(&query, &routed) {
            routed.delays.clear();
        }
        let mut requesters = Vec::new();
        let mut cacheable = routed.cacheable;
        if publish.exchange.is_empty() && keys.iter().any(|key| is_reply_name(key)) {
            requesters = self.requesters(&keys);
            // Whoever waits may be gone the next time, and the topology does not tell.
            cacheable = false;
        }
        let route = Arc::from(self.targets.as_slice());
        let topology::Routed { delays, kept, gate, .. } = routed;
        Ok((Once { route, requesters, delays, kept, gate }, cacheable))
    }

    /// Whether somebody would get a delayed message now: who sends a mandatory one cannot be told later.
    fn would_be_routed(&self, query: &RouteQuery<'_>, routed: &topology::Routed) -> bool {
        let mut targets = Vec::new();
        let query = RouteQuery { is_due: true, ..*query };
        let kept = |routed: topology::Routed| routed.kept;
        let found = self.shared.topology().route(&query, &mut targets).map(kept);
        !routed.delays.is_empty() && found.is_ok_and(|kept| targets.len() > kept)
    }

    fn not_routed(&self, error: RouteError, exchange: &str) -> Refusal {
        let vhost = &self.vhost;
        match error {
            RouteError::NoExchange => {
                let text = format!("no exchange '{exchange}' in vhost '{vhost}'");
                Refusal::channel(ReplyCode::NotFound, text)
            }
            RouteError::Internal => {
                let text = format!("cannot publish to internal exchange '{exchange}' in vhost '{vhost}'");
                Refusal::channel(ReplyCode::AccessRefused, text)
            }
        }
    }

    fn send_or_offer(
        &mut self,
        publish: &Publish<'_>,
        message: &Message<'_>,
        held: &Message<'_>,
        route: &Routed,
    ) -> Result<(), Refusal> {
        match route {
            Routed::Once(once) if once.gate.is_some() => {
                let is_held = self.channel(publish.channel)?.transaction.is_some();
                if is_held {
                    Err(not_in_transactions(publish))
                } else {
                    self.offer(publish, message, held, once)
                }
            }
            Routed::Once(_) | Routed::Always(_) => self.send_out(publish, message, held, route),
        }
    }

    fn send_out(
        &mut self,
        publish: &Publish<'_>,
        message: &Message<'_>,
        held: &Message<'_>,
        route: &Routed,
    ) -> Result<(), Refusal> {
        let channel = self.channels.get_mut(&publish.channel).ok_or_else(not_open)?;
        if channel.transaction.is_some() {
            return self.gather(publish, message, held, route);
        }
        let Parts { targets: route, requesters, delays, is_unroutable } = route.parts(&channel.routes);
        let number = channel.ledger.as_mut().map(|ledger| ledger.publish(route.len() + delays.len()));
        let place = (publish.channel, channel.epoch);
        // A header that was changed is not where the body was gathered.
        let is_whole = delays.is_empty() && message.header.as_ptr() == publish.header.as_ptr();
        if is_whole && matches!(self.large, Large::Expected) {
            self.large = Large::Checked(Whole::of(message, place, route, number));
        } else {
            for target in delays {
                self.outgoing.append(place, *target, held.persistent, number, |records| held.put(records));
            }
            for target in route {
                self.outgoing
                    .append(place, *target, message.persistent, number, |records| message.put(records));
            }
        }
        let full = reply(requesters, message.enqueued_ms, |record| message.put(record));
        if let Some(full) = full {
            self.full.get_or_insert(full);
        }
        let is_taken = !route.is_empty() || !delays.is_empty();
        if is_unroutable && publish.mandatory {
            self.return_unroutable(publish.channel, message);
        }
        if !is_taken {
            self.refuse_unless_informed(publish.channel, number, message.enqueued_ms);
            self.answer_publishes(publish.channel);
        }
        if self.outgoing.bytes() > OPEN_BYTES_MAX {
            self.send_batches();
        }
        Ok(())
    }

    /// A node that may lack what was declared elsewhere does not confirm a message as one that no queue wants.
    fn refuse_unless_informed(&mut self, channel: u16, number: Option<u64>, now_ms: u64) {
        let is_informed = self.shared.cluster.as_ref().is_none_or(|cluster| cluster.is_informed(now_ms));
        let ledger = self.channels.get_mut(&channel).and_then(|channel| channel.ledger.as_mut());
        if let (false, Some(ledger), Some(number)) = (is_informed, ledger, number) {
            ledger.complete(&[(number, 1)], false);
        }
    }

    /// Gives a mandatory message that no queue takes back to its publisher.
    pub(super) fn return_unroutable(&mut self, number: u16, message: &Message<'_>) {
        self.out.returned(
            number,
            ReplyCode::NoRoute,
            ReplyCode::NoRoute.name(),
            message.exchange,
            message.routing_key,
            message.header,
            message.body,
        );
    }

    /// Writes the confirms that are due.
    pub(super) fn answer_publishes(&mut self, number: u16) {
        use crate::broker::channel::confirm::Answer;
        let Some(ledger) = self.channels.get_mut(&number).and_then(|channel| channel.ledger.as_mut()) else {
            return;
        };
        let mut confirmed = 0;
        let mut before = ledger.answered();
        while let Some(answer) = ledger.answer() {
            match answer {
                Answer::Ack(last, multiple) => {
                    confirmed += last - before;
                    self.out.ack(number, last, multiple);
                }
                Answer::Nack(last, multiple) => self.out.nack(number, last, multiple),
            }
            before = ledger.answered();
        }
        if confirmed > 0 {
            self.count_messages(number, |counts| counts.confirm += confirmed);
        }
    }

    /// Hands the open batches to their shards.
    pub(super) fn send_batches(&mut self) {
        let Self { outgoing, shared, link, full, .. } = self;
        outgoing.take().for_each(|ready| send(shared, link, full, ready));
    }
}

/// Hands one batch to its shard; notes the shard when it is full.
pub(super) fn send(shared: &Shared, link: &Arc<ClientLink>, full: &mut Option<Full>, ready: Ready) {
    let shard = shared.shard(ready.target);
    let waiter = match ready.confirm {
        Some(confirm) => Waiter::Publisher(Arc::clone(link), confirm),
        None => Waiter::Nobody,
    };
    let bytes = ready.batch.records.len();
    shard.push_bulk(ShardInput::Publish(ready.target.id, ready.batch, waiter), bytes);
    if !shard.has_room() {
        *full = Some(Full::Shard(ready.target));
    }
}

/// What passes a gate is decided there and then, so it cannot wait for a commit.
fn not_in_transactions(publish: &Publish<'_>) -> Refusal {
    let exchange = text(publish.exchange);
    precondition(format!("exchange '{exchange}' drops duplicates and takes no part in transactions"))
}

/// Further routing keys in the headers (RabbitMQ: Sender-selected Distribution).
#[derive(Default)]
struct MoreKeys<'a> {
    cc: Vec<&'a str>,
    bcc: Vec<&'a str>,
    has_bcc: bool,
}

impl MoreKeys<'_> {
    fn is_empty(&self) -> bool {
        self.cc.is_empty() && self.bcc.is_empty()
    }
}

fn more_keys(headers: &[u8]) -> Result<MoreKeys<'_>, Refusal> {
    let (cc, bcc) = (table::find(headers, b"CC"), table::find(headers, b"BCC"));
    let mut keys = MoreKeys { has_bcc: bcc.is_some(), ..MoreKeys::default() };
    for (name, field, list) in [("CC", cc, &mut keys.cc), ("BCC", bcc, &mut keys.bcc)] {
        let Some(field) = field else { continue };
        if field.kind != b'A' {
            let kind = field.to_value().map_or("void", |value| type_name(&value));
            return Err(precondition(format!(
                "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
            )));
        }
        let strings = field.items().filter(|(kind, _)| *kind == b'S');
        list.extend(strings.filter_map(|(_, item)| std::str::from_utf8(item.get(4..)?).ok()));
    }
    Ok(keys)
}

/// Sends a reply; gives the one who must take more before others are sent.
pub(super) fn reply(requesters: &[Arc<Requester>], now_ms: u64, put: impl Fn(&mut Vec<u8>)) -> Option<Full> {
    let mut full = None;
    for requester in requesters {
        requester.reply(now_ms, &put);
        if !requester.has_room() && requester.may_wait(now_ms) {
            full = Some(Full::Requester(Arc::clone(requester), requester.wait_until_ms(now_ms)));
        }
    }
    full
}

/// The header to be kept, when that is another one: without BCC keys, which receivers must not see, and with the name that a reply goes to.
fn change_header(
    header: &[u8],
    properties: &Properties<'_>,
    drops_bcc: bool,
    reply_name: Option<&str>,
) -> Result<Option<Vec<u8>>, Refusal> {
    if !drops_bcc && reply_name.is_none() {
        return Ok(None);
    }
    let headers = drops_bcc.then(|| without_bcc(properties.headers.unwrap_or_default()));
    let reply_to = reply_name.map(str::as_bytes);
    let edit = Edit { headers: headers.as_deref(), reply_to, ..Edit::default() };
    properties::rewrite(header, &edit).map(Some).map_err(|error| error.refusal())
}

fn without_bcc(headers: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    table::put_without(&mut kept, headers, b"BCC");
    kept
}

/// When the message expires; one millisecond more than asked, since arrival times are cut to milliseconds. Zero means
/// at once (RabbitMQ: Time-To-Live).
fn due_ms(properties: &Properties<'_>, now_ms: u64) -> Result<Option<u64>, Refusal> {
    let Some(expiration) = properties.expiration else { return Ok(None) };
    let text = String::from_utf8_lossy(expiration);
    let expiration_ms = parse_expiration(&text)
        .map_err(|reason| precondition(format!("invalid expiration '{text}': {reason}")))?;
    Ok(Some(now_ms.saturating_add(expiration_ms).saturating_add(u64::from(expiration_ms > 0))))
}

/// The number, or the reason in RabbitMQ's words.
fn parse_expiration(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = digits.split_at(length);
    if number.is_empty() {
        return Err("no_integer".to_owned());
    }
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{rest}\"}}"));
    }
    if text.starts_with('-') && number.bytes().any(|digit| digit != b'0') {
        return Err(format!("{{value_negative,-{}}}", number.trim_start_matches('0')));
    }
    Ok(number.parse().unwrap_or(u64::MAX))
}

pub(super) fn precondition(text: String) -> Refusal {
    Refusal::channel(ReplyCode::PreconditionFailed, text)
}

/// Names were checked to be UTF-8 where they came in.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::parse_expiration;

    #[test]
    fn expirations_are_whole_numbers_that_are_not_negative() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("5000", Ok(5000)),
            ("4294967296", Ok(1 << 32)),
            ("soon", Err("no_integer")),
            ("", Err("no_integer")),
            ("-1", Err("{value_negative,-1}")),
            ("1.5", Err("{leftover_string,\".5\"}")),
        ] {
            assert_eq!(parse_expiration(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
