//! Messages that an operator looks at, and moves.

use super::*;
use crate::broker::batch::{Batch, Message};
use crate::broker::queue::{Look, Standing};

const ALL: Look = Look { from: 0, skip: 0, messages_max: 100, bytes_max: usize::MAX };

fn filled(options: Options, priorities: &[u8]) -> Queue {
    let mut queue = Queue::new(options, 0);
    for (n, priority) in priorities.iter().enumerate() {
        let body = [u8::try_from(n).unwrap()];
        let mut records = Vec::new();
        Message { body: &body, priority: *priority, persistent: true, ..Message::default() }
            .put(&mut records);
        apply(&mut queue, Command::Enqueue(Batch::of(records, 1, 1)));
    }
    queue
}

fn apply(queue: &mut Queue, command: Command) -> Vec<Effect> {
    let mut effects = Vec::new();
    queue.apply(command, 0, &mut effects);
    effects
}

fn got(queue: &mut Queue) -> Option<(u64, bool)> {
    let effects = apply(queue, Command::Get { no_ack: false });
    effects.into_iter().find_map(|effect| match effect {
        Effect::Got(GetReply::Message { seq, redelivered, .. }) => Some((seq, redelivered)),
        _ => None,
    })
}

fn seqs(queue: &Queue, look: Look) -> Vec<u64> {
    queue.look(look).messages.iter().map(|seen| seen.seq).collect()
}

#[test]
fn a_look_shows_all_that_is_alive_in_order_and_a_page_says_where_the_next_begins() {
    let mut queue = filled(Options::default(), &[0; 7]);
    let (first, _) = got(&mut queue).unwrap();
    let (second, _) = got(&mut queue).unwrap();
    apply(&mut queue, Command::Requeue(GETTER, vec![(second, 1)]));
    let seen = queue.look(ALL);
    assert_eq!(seen.messages.len(), 7);
    assert_eq!((seen.next, &*seen.ends), (None, &[7][..]));
    assert_eq!((seen.messages[0].seq, seen.messages[0].standing), (first, Standing::Unacked));
    assert_eq!((seen.messages[1].standing, seen.messages[1].redelivered), (Standing::Ready, true));
    assert!(seen.messages[2..].iter().all(|seen| seen.standing == Standing::Ready && !seen.redelivered));
    let page = queue.look(Look { skip: 3, messages_max: 2, ..ALL });
    assert_eq!(page.messages.iter().map(|seen| seen.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(page.next, Some(5));
    assert_eq!(seqs(&queue, Look { from: 5, ..ALL }), [5, 6]);
    assert_eq!(got(&mut queue), Some((second, true)), "what came back is next, as it was");
    assert_eq!(got(&mut queue), Some((2, false)));
}

#[test]
fn the_highest_priority_is_seen_first_and_what_comes_later_is_known_by_its_number() {
    let options = Options { max_priority: Some(9), ..Options::default() };
    let mut queue = filled(options, &[1, 9, 1, 5]);
    let order: Vec<_> = queue.look(ALL).messages.iter().map(body_of).collect();
    assert_eq!(order, [1, 3, 0, 2]);
    let ends = queue.look(ALL).ends;
    let before = seqs(&queue, ALL);
    assert!(before.iter().all(|seq| is_before_ends(*seq, &ends)));
    for priority in [9, 7, 1] {
        let mut records = Vec::new();
        Message { body: &[77], priority, ..Message::default() }.put(&mut records);
        apply(&mut queue, Command::Enqueue(Batch::of(records, 1, 0)));
    }
    let later: Vec<_> = seqs(&queue, ALL).into_iter().filter(|seq| !before.contains(seq)).collect();
    assert_eq!(later.len(), 3);
    assert!(later.iter().all(|seq| !is_before_ends(*seq, &ends)));
}

fn body_of(seen: &Sighting) -> u8 {
    let RecordAt::Here(record) = &seen.record else { panic!("it is in memory") };
    crate::broker::batch::read(record).unwrap().0.body[0]
}

#[test]
fn what_is_held_is_not_delivered_and_comes_back_as_it_was() {
    let mut queue = filled(Options { durable: true, ..Options::default() }, &[0; 5]);
    let (zero, _) = got(&mut queue).unwrap();
    assert_eq!(queue.hold(&[zero, 1, 2, 2, 99]), [1, 2], "only what is ready, once");
    assert_eq!(queue.counts().ready, 2);
    assert_eq!(queue.look_at(&[1])[0].standing, Standing::Leaving);
    assert_eq!(got(&mut queue), Some((3, false)));
    apply(&mut queue, Command::GiveHeldBack(vec![1, 2, 4]));
    assert_eq!(queue.counts().ready, 3);
    assert_eq!([got(&mut queue), got(&mut queue)], [Some((1, false)), Some((2, false))]);
    assert_eq!(got(&mut queue), Some((4, false)));
    assert_eq!(got(&mut queue), None);
}

#[test]
fn what_is_held_and_settled_is_gone_and_the_log_knows() {
    let mut queue = filled(Options { durable: true, ..Options::default() }, &[0; 4]);
    assert_eq!(queue.hold(&[1, 2]), [1, 2]);
    let effects = apply(&mut queue, Command::SettleHeld(vec![1, 2, 3]));
    assert!(effects.contains(&Effect::LogSettle(vec![(1, 2)])), "{effects:?}");
    assert_eq!(seqs(&queue, ALL), [0, 3]);
    apply(&mut queue, Command::GiveHeldBack(vec![1, 2]));
    assert_eq!(queue.counts().ready, 2, "what is settled does not come back");
}

#[test]
fn a_purge_leaves_what_is_held() {
    let mut queue = filled(Options::default(), &[0; 3]);
    assert_eq!(queue.hold(&[1]), [1]);
    apply(&mut queue, Command::Purge);
    assert_eq!(seqs(&queue, ALL), [1]);
    apply(&mut queue, Command::GiveHeldBack(vec![1]));
    assert_eq!(got(&mut queue), Some((1, false)));
}
