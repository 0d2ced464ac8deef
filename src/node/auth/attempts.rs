//! Logins that went wrong: whoever goes on trying has to wait, longer each time, and nobody else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many may go wrong before anybody waits: people mistype.
const FREE: u32 = 3;
/// The first wait; each further one is twice as long.
const DELAY_MS: u64 = 100;
/// The longest wait, which leaves time within the handshake.
const DELAY_MS_MAX: u64 = 5_000;
/// Attempts that would wait longer than this, being one behind another, are refused without a look at the password.
const QUEUE_MS_MAX: u64 = 8_000;
/// After so long without an attempt all is forgotten.
const FORGET_MS: u64 = 10 * 60_000;
/// Pairs of source and user that are remembered.
const ENTRIES_MAX: usize = 4096;
/// Bytes of a user's name that are remembered.
const NAME_BYTES_MAX: usize = 255;

/// By which protocol somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoginProtocol {
    /// AMQP 0-9-1.
    Amqp,
    /// The management API.
    Http,
}

/// How logins from one address as one user went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginAttempts {
    /// Where they came from; an IPv6 network is one source.
    pub source: IpAddr,
    /// As whom.
    pub user: String,
    /// By which protocol.
    pub protocol: LoginProtocol,
    /// How many were right.
    pub succeeded: u64,
    /// How many were wrong.
    pub failed: u64,
}

/// All logins, bounded.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    totals: [(u64, u64); 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    user: String,
    protocol: LoginProtocol,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    succeeded: u64,
    failed: u64,
    /// Failures since the last success.
    in_a_row: u32,
    /// When the next attempt may be looked at.
    next_ms: u64,
    last_ms: u64,
}

impl Attempts {
    /// How long an attempt has to wait before it is looked at; `None` when too many wait already.
    pub(crate) fn wait_ms(
        &self,
        protocol: LoginProtocol,
        source: IpAddr,
        user: &str,
        now_ms: u64,
    ) -> Option<u64> {
        let mut table = self.lock();
        let Some(entry) = table.entries.get_mut(&Key::new(protocol, source, user)) else { return Some(0) };
        entry.forgive(now_ms);
        let delay_ms = entry.delay_ms();
        if delay_ms == 0 {
            return Some(0);
        }
        let at_ms = entry.next_ms.max(now_ms);
        if at_ms - now_ms > QUEUE_MS_MAX {
            return None;
        }
        // Attempts at the same time stand in a queue: more connections bring no more guesses.
        entry.next_ms = at_ms + delay_ms;
        Some(entry.next_ms - now_ms)
    }

    /// Notes how an attempt ended.
    pub(crate) fn note(
        &self,
        protocol: LoginProtocol,
        source: IpAddr,
        user: &str,
        is_right: bool,
        now_ms: u64,
    ) {
        let mut table = self.lock();
        let total = &mut table.totals[protocol as usize];
        if is_right {
            total.0 += 1;
        } else {
            total.1 += 1;
        }
        let key = Key::new(protocol, source, user);
        if !table.entries.contains_key(&key) {
            table.make_room(now_ms);
        }
        let entry = table.entries.entry(key).or_default();
        entry.forgive(now_ms);
        entry.last_ms = now_ms;
        if is_right {
            entry.succeeded += 1;
            (entry.in_a_row, entry.next_ms) = (0, 0);
        } else {
            entry.failed += 1;
            entry.in_a_row = entry.in_a_row.saturating_add(1);
        }
    }

    /// How many were right and wrong by a protocol, ever.
    pub(crate) fn totals(&self, protocol: LoginProtocol) -> (u64, u64) {
        self.lock().totals[protocol as usize]
    }

    /// What is remembered, in order.
    pub(crate) fn list(&self) -> Vec<LoginAttempts> {
        let table = self.lock();
        let attempts = table.entries.iter().map(|(key, entry)| LoginAttempts {
            source: key.source,
            user: key.user.clone(),
            protocol: key.protocol,
            succeeded: entry.succeeded,
            failed: entry.failed,
        });
        let mut attempts: Vec<_> = attempts.collect();
        drop(table);
        attempts.sort_by(|a, b| (a.source, &a.user, a.protocol).cmp(&(b.source, &b.user, b.protocol)));
        attempts
    }

    /// Forgets what is remembered of each source.
    pub(crate) fn clear(&self) {
        let mut table = self.lock();
        table.entries.clear();
        table.totals = Default::default();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets what is old; failing that, what is oldest.
    fn make_room(&mut self, now_ms: u64) {
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        self.entries.retain(|_, entry| entry.last_ms + FORGET_MS > now_ms);
        if self.entries.len() >= ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_ms);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&key);
            }
        }
    }
}

impl Key {
    fn new(protocol: LoginProtocol, source: IpAddr, user: &str) -> Self {
        let end = (0..=NAME_BYTES_MAX.min(user.len())).rev().find(|end| user.is_char_boundary(*end));
        Self { source: network(source), user: user[..end.unwrap_or(0)].to_owned(), protocol }
    }
}

impl Entry {
    fn forgive(&mut self, now_ms: u64) {
        if self.last_ms + FORGET_MS <= now_ms {
            (self.in_a_row, self.next_ms) = (0, 0);
        }
    }

    fn delay_ms(&self) -> u64 {
        let Some(doublings) = self.in_a_row.checked_sub(FREE) else { return 0 };
        DELAY_MS.checked_shl(doublings.min(32)).unwrap_or(u64::MAX).min(DELAY_MS_MAX)
    }
}

/// Whoever has an IPv6 network has all its addresses.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMQP: LoginProtocol = LoginProtocol::Amqp;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn fail(attempts: &Attempts, times: u32, now_ms: u64) {
        (0..times).for_each(|_| attempts.note(AMQP, address(1), "u", false, now_ms));
    }

    #[test]
    fn who_fails_waits_longer_each_time_and_nobody_else_does() {
        let attempts = Attempts::default();
        fail(&attempts, 2, 0);
        assert_eq!(attempts.wait_ms(AMQP, address(1), "u", 0), Some(0));
        fail(&attempts, 1, 0);
        assert_eq!(attempts.wait_ms(AMQP, address(1), "u", 0), Some(100));
        fail(&attempts, 1, 1000);
        assert_eq!(attempts.wait_ms(AMQP, address(1), "u", 1000), Some(200));
        fail(&attempts, 30, 2000);
        assert_eq!(attempts.wait_ms(AMQP, address(1), "u", 2000), Some(5000));
        assert_eq!(attempts.wait_ms(AMQP, address(1), "v", 2000), Some(0));
        assert_eq!(attempts.wait_ms(AMQP, address(2), "u", 2000), Some(0));
        assert_eq!(attempts.wait_ms(LoginProtocol::Http, address(1), "u", 2000), Some(0));
    }

    #[test]
    fn attempts_at_the_same_time_wait_for_each_other() {
        let attempts = Attempts::default();
        fail(&attempts, 7, 0);
        let waits: Vec<_> = (0..12).map(|_| attempts.wait_ms(AMQP, address(1), "u", 0)).collect();
        assert_eq!(&waits[..3], [Some(1600), Some(3200), Some(4800)]);
        assert_eq!(waits.last(), Some(&None));
    }

    #[test]
    fn a_success_or_time_makes_up_for_failures() {
        let attempts = Attempts::default();
        fail(&attempts, 9, 0);
        attempts.note(AMQP, address(1), "u", true, 10);
        assert_eq!(attempts.wait_ms(AMQP, address(1), "u", 10), Some(0));
        fail(&attempts, 9, 20);
        assert_eq!(attempts.wait_ms(AMQP, address(1), "u", FORGET_MS + 20), Some(0));
        let counted = attempts.list();
        assert_eq!((counted[0].succeeded, counted[0].failed), (1, 18));
        assert_eq!(attempts.totals(AMQP), (1, 18));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_latest() {
        let attempts = Attempts::default();
        for number in 0..ENTRIES_MAX as u64 + 100 {
            attempts.note(AMQP, address(1), &number.to_string(), false, number);
        }
        assert_eq!(attempts.list().len(), ENTRIES_MAX);
        assert!(attempts.list().iter().all(|one| one.user.parse::<u64>().unwrap() >= 100));
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let attempts = Attempts::default();
        for host in 0..9u16 {
            let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into();
            attempts.note(AMQP, source, "u", false, 0);
        }
        assert_eq!(attempts.list().len(), 1);
    }
}
