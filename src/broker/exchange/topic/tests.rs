//! Topic patterns: RabbitMQ's table, and the trie against a matcher that tries everything.

use proptest::prelude::*;

use crate::broker::exchange::Hop;
use crate::broker::ids::{QueueId, Target};

use super::*;

fn bound(key: &str, queue: u64) -> Bound<'_> {
    Bound { key, arguments: &[], hop: Hop::Queue(Target { id: QueueId(queue), shard: 0, durable: false }) }
}

fn matching(topic: &Topic, key: &str) -> Vec<u64> {
    let mut found = Vec::new();
    topic.visit(key, |bucket| {
        found.extend(bucket.hops().map(|hop| match hop {
            Hop::Queue(target) => target.id.0,
            Hop::Exchange(_) => u64::MAX,
        }));
    });
    found.sort_unstable();
    found
}

#[test]
fn patterns_match_as_in_rabbitmq() {
    let keys = ["", "a", "a.b", "a.b.c", ".", "a.", ".a", "a..b", "b.a", "*", "#", "a.#"];
    let not_empty = &keys[1..];
    let table: &[(&str, &[&str])] = &[
        ("", &[""]),
        ("#", &keys),
        ("*", &["a", "*", "#"]),
        ("a.#", &["a", "a.b", "a.b.c", "a.", "a..b", "a.#"]),
        ("#.a", &["a", ".a", "b.a"]),
        ("a.*", &["a.b", "a.", "a.#"]),
        ("*.*", &["a.b", ".", "a.", ".a", "b.a", "a.#"]),
        ("a.#.b", &["a.b", "a..b"]),
        ("#.#", &keys),
        ("*.#", not_empty),
        ("#.*", not_empty),
        ("a.*.b", &["a..b"]),
        ("*.#.*", &["a.b", "a.b.c", ".", "a.", ".a", "a..b", "b.a", "a.#"]),
        ("a#", &[]),
        ("a.**", &[]),
    ];
    for (pattern, expected) in table {
        let mut topic = Topic::default();
        topic.add(bound(pattern, 1));
        let found: Vec<&str> = keys.into_iter().filter(|key| !matching(&topic, key).is_empty()).collect();
        assert_eq!(&found, expected, "pattern {pattern:?}");
    }
}

#[test]
fn nothing_is_left_of_removed_patterns() {
    let patterns = ["a.b.c", "a.*.c", "a.#", "#", "*.*", "", "a.b"];
    let mut topic = Topic::default();
    patterns.iter().for_each(|pattern| topic.add(bound(pattern, 1)));
    patterns.iter().for_each(|pattern| topic.remove(bound(pattern, 1)));
    assert_eq!(topic.free.len() + 1, topic.nodes.len());
    assert_eq!((topic.edges.len(), topic.words.len()), (0, 0));
    assert!(topic.nodes[ROOT as usize].is_unused());
}

#[test]
fn many_wildcards_are_no_trap() {
    let mut topic = Topic::default();
    topic.add(bound(&["#"; 128].join("."), 1));
    topic.add(bound(&["#.a"; 60].join("."), 2));
    let key = ["a"; 127].join(".");
    assert_eq!(matching(&topic, &key), [1, 2]);
    assert_eq!(matching(&topic, &format!("{key}.b")), [1]);
}

/// Tries every way to read the pattern.
fn fits(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => {
            fits(rest, key) || key.split_first().is_some_and(|(_, key)| fits(pattern, key))
        }
        (["*", pattern @ ..], [_, key @ ..]) => fits(pattern, key),
        ([word, pattern @ ..], [first, key @ ..]) => word == first && fits(pattern, key),
        _ => false,
    }
}

fn any_words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(words), 0..6).prop_map(|words| words.join("."))
}

proptest! {
    #[test]
    fn the_trie_equals_trying_everything(
        patterns in prop::collection::vec(any_words(&["a", "b", "", "*", "#"]), 1..20),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        keys in prop::collection::vec(any_words(&["a", "b", "c", "", "*"]), 1..20),
    ) {
        let mut topic = Topic::default();
        let mut live: Vec<(u64, String)> = (0..).zip(patterns).collect();
        live.iter().for_each(|(id, pattern)| topic.add(bound(pattern, *id)));
        for index in gone {
            if live.is_empty() {
                break;
            }
            let (id, pattern) = live.swap_remove(index.index(live.len()));
            topic.remove(bound(&pattern, id));
        }
        live.sort_unstable();
        for key in keys {
            let words: Vec<&str> = split(&key).collect();
            let fitting = live.iter().filter(|(_, pattern)| fits(&split(pattern).collect::<Vec<_>>(), &words));
            let expected: Vec<u64> = fitting.map(|(id, _)| *id).collect();
            prop_assert_eq!(matching(&topic, &key), expected, "key {:?}", key);
        }
    }
}
