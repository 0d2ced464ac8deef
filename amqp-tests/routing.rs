//! Which bindings match (behaviours 214-221).

use crate::support::wire::*;

/// Publishes each (name, headers) to `exchange` and gives the names that arrive in `queue`.
fn arrivals(ch: Channel<'_>, exchange: &str, queue: &str, messages: &[(&str, Option<Table>)]) -> Vec<String> {
    for (name, headers) in messages {
        let props = Props { headers: headers.clone(), ..Props::default() };
        ch.publish(exchange, name, name).props(props).send();
    }
    ch.put(queue, "end");
    let mut out: Vec<_> =
        std::iter::repeat_with(|| ch.pull_soon(queue).text()).take_while(|m| m != "end").collect();
    out.sort_by_key(|m| messages.iter().position(|(name, _)| name == m));
    out
}

// behaviour 214
#[test]
fn direct_compares_octets_and_fanout_nothing() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (direct, fanout) = (ch.temp_exchange("direct"), ch.temp_exchange("fanout"));
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, &direct, "a.*").ok();
    let keys = ["a.b", "a.*", "A.*", "a.* ", "", "#"].map(|key| (key, None));
    assert_eq!(arrivals(ch, &direct, &queue, &keys), ["a.*"]);
    ch.queue_bind(&queue, &fanout, "ignored").ok();
    assert_eq!(arrivals(ch, &fanout, &queue, &keys).len(), keys.len());
    ch.exchange_delete(&direct).ok();
    ch.exchange_delete(&fanout).ok();
}

// behaviours 215, 216
#[test]
fn topic_patterns_match_as_the_table_says() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("topic");
    let keys = ["", "a", "a.b", "a.b.c", ".", "a.", ".a", "a..b", "b.a", "*", "#", "a.#"];
    let all = "|a|a.b|a.b.c|.|a.|.a|a..b|b.a|*|#|a.#";
    let cases = [
        ("", ""),
        ("#", all),
        ("#.#", all),
        ("*", "a|*|#"),
        ("a.#", "a|a.b|a.b.c|a.|a..b|a.#"),
        ("#.a", "a|.a|b.a"),
        ("a.*", "a.b|a.|a.#"),
        ("*.*", "a.b|.|a.|.a|b.a|a.#"),
        ("a.#.b", "a.b|a..b"),
        ("*.#", &all[1..]),
        ("#.*", &all[1..]),
        ("a.*.b", "a..b"),
        ("*.#.*", "a.b|a.b.c|.|a.|.a|a..b|b.a|a.#"),
    ];
    for (pattern, wanted) in cases {
        let queue = ch.temp_queue();
        ch.queue_bind(&queue, &exchange, pattern).ok();
        let got = arrivals(ch, &exchange, &queue, &keys.map(|key| (key, None)));
        assert_eq!(got.join("|"), wanted, "pattern {pattern:?}");
        assert!(!got.is_empty(), "every pattern here matches something");
        ch.queue_delete(&queue).ok();
    }
    for pattern in ["a#", "a.**"] {
        let queue = ch.temp_queue();
        ch.queue_bind(&queue, &exchange, pattern).ok();
        assert_eq!(arrivals(ch, &exchange, &queue, &keys.map(|key| (key, None))), Vec::<String>::new());
        assert_eq!(arrivals(ch, &exchange, &queue, &[(pattern, None)]), [pattern]);
        ch.queue_delete(&queue).ok();
    }
    ch.exchange_delete(&exchange).ok();
}

// behaviour 215: many patterns at once, some taken away again
#[test]
fn a_topic_exchange_keeps_its_patterns_apart() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("topic");
    let patterns = ["stock.#", "stock.*.nyse", "*.usd.*", "#.nyse", "stock.usd.nyse", "#"];
    let queues: Vec<_> = patterns.iter().map(|pattern| (ch.temp_queue(), pattern)).collect();
    for (queue, pattern) in &queues {
        ch.queue_bind(queue, &exchange, pattern).ok();
    }
    let reached = |key: &str| -> Vec<&str> {
        ch.publish(&exchange, key, "m").send();
        ch.sync();
        queues.iter().filter(|(queue, _)| ch.pull(queue).is_some()).map(|(_, pattern)| **pattern).collect()
    };
    assert_eq!(reached("stock.usd.nyse"), patterns);
    assert_eq!(reached("stock.eur.nyse"), ["stock.#", "stock.*.nyse", "#.nyse", "#"]);
    assert_eq!(reached("bond.usd.db"), ["*.usd.*", "#"]);
    ch.queue_unbind(&queues[3].0, &exchange, "#.nyse").ok();
    ch.queue_unbind(&queues[5].0, &exchange, "#").ok();
    assert_eq!(reached("stock.eur.nyse"), ["stock.#", "stock.*.nyse"]);
    assert_eq!(reached("bond"), Vec::<&str>::new());
    ch.exchange_delete(&exchange).ok();
}

// behaviours 217-219, 221
#[test]
fn headers_match_as_the_table_says() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("headers");
    let one = || ("a", Value::I32(1));
    let messages = [
        ("none", None),
        ("empty", Some(Table::new())),
        ("a", Some(table([one()]))),
        ("a-long", Some(table([("a", Value::I64(1))]))),
        ("a-str", Some(table([("a", "1".into())]))),
        ("ab", Some(table([one(), ("b", 2.into())]))),
        ("ab-x", Some(table([one(), ("b", 2.into()), ("x-c", 3.into())]))),
        ("a-wrong", Some(table([("a", 9.into())]))),
        ("b", Some(table([("b", 2.into())]))),
        ("x", Some(table([("x-c", 3.into())]))),
        ("a-void", Some(table([("a", Value::Void)]))),
    ];
    let everything = "none empty a a-long a-str ab ab-x a-wrong b x a-void";
    let (b, x) = (|| ("b", Value::I32(2)), || ("x-c", Value::I32(3)));
    let how = |m: &str| ("x-match", Value::from(m));
    let cases = [
        (table([how("all"), one(), b()]), "ab ab-x"),
        (table([how("any"), one(), b()]), "a a-long ab ab-x b"),
        (table([one(), b()]), "ab ab-x"),
        (table([how("all"), one(), x()]), "a a-long ab ab-x"),
        (table([how("all-with-x"), one(), x()]), "ab-x"),
        (table([how("any"), x()]), ""),
        (table([how("any-with-x"), x()]), "ab-x x"),
        (Table::new(), everything),
        (table([how("all")]), everything),
        (table([how("any")]), ""),
        (table([how("all"), ("a", Value::Void)]), "a a-long a-str ab ab-x a-wrong a-void"),
    ];
    for (args, wanted) in cases {
        let queue = ch.temp_queue();
        ch.queue_bind(&queue, &exchange, "").args(args.clone()).ok();
        assert_eq!(arrivals(ch, &exchange, &queue, &messages).join(" "), wanted, "binding {args:?}");
        ch.queue_delete(&queue).ok();
    }
    ch.exchange_delete(&exchange).ok();
}

// behaviour 219: as RabbitMQ 4 does
#[test]
fn numbers_are_equal_in_any_width_and_not_to_floats_or_strings() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let exchange = ch.temp_exchange("headers");
    let of = |value: Value| Some(table([("a", value)]));
    let messages = [
        ("i8", of(Value::I8(1))),
        ("u8", of(Value::U8(1))),
        ("i16", of(Value::I16(1))),
        ("u16", of(Value::U16(1))),
        ("u32", of(Value::U32(1))),
        ("i64", of(Value::I64(1))),
        ("f32", of(Value::F32(1.0))),
        ("f64", of(Value::F64(1.0))),
        ("text", of("1".into())),
        ("true", of(true.into())),
    ];
    let cases = [
        (Value::I32(1), "i8 u8 i16 u16 u32 i64"),
        (Value::F64(1.0), "f32 f64"),
        ("1".into(), "text"),
        (true.into(), "true"),
    ];
    for (value, wanted) in cases {
        let queue = ch.temp_queue();
        ch.queue_bind(&queue, &exchange, "").arg("a", value.clone()).ok();
        assert_eq!(arrivals(ch, &exchange, &queue, &messages).join(" "), wanted, "binding {value:?}");
        ch.queue_delete(&queue).ok();
    }
    ch.exchange_delete(&exchange).ok();
}

// behaviour 220
#[test]
fn a_bad_x_match_is_refused() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let text = "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, \
                or any-with-x";
    ch.queue_bind(&queue, "amq.headers", "").arg("x-match", "some").expect_close(406, (50, 20), text);
    ch.open().ok();
    let text = "PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected longstr";
    ch.queue_bind(&queue, "amq.match", "").arg("x-match", 5).expect_close(406, (50, 20), text);
}
