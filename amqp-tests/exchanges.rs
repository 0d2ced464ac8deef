//! Declaring, binding and deleting exchanges (behaviours 67-86).

use crate::support::wire::*;

const DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

fn inequivalent(arg: &str, name: &str, tail: &str) -> String {
    format!("PRECONDITION_FAILED - inequivalent arg '{arg}' for exchange '{name}' in vhost '/': {tail}")
}

fn missing(name: &str) -> String {
    format!("NOT_FOUND - no exchange '{name}' in vhost '/'")
}

// behaviour 67
#[test]
fn the_standard_exchanges_are_there_and_durable() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let standard = [
        ("direct", "direct"),
        ("fanout", "fanout"),
        ("topic", "topic"),
        ("headers", "headers"),
        ("match", "headers"),
    ];
    for (name, kind) in standard {
        ch.exchange_declare(&format!("amq.{name}"), kind).durable().ok();
    }
    ch.exchange_declare("amq.rabbitmq.trace", "topic").durable().internal().ok();
}

// behaviour 68
#[test]
fn redeclaring_alike_is_fine_and_otherwise_406() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = ch.temp_exchange("direct");
    ch.exchange_declare(&name, "direct").ok();
    let again = |c: Channel<'_>| c.open().ok();
    let text = inequivalent("type", &name, "received 'fanout' but current is 'direct'");
    ch.exchange_declare(&name, "fanout").expect_close(406, (40, 10), &text);
    again(ch);
    let text = inequivalent("durable", &name, "received 'true' but current is 'false'");
    ch.exchange_declare(&name, "direct").durable().expect_close(406, (40, 10), &text);
    again(ch);
    let text = inequivalent("auto_delete", &name, "received 'true' but current is 'false'");
    ch.exchange_declare(&name, "direct").auto_delete().expect_close(406, (40, 10), &text);
    again(ch);
    let text = inequivalent("internal", &name, "received 'true' but current is 'false'");
    ch.exchange_declare(&name, "direct").internal().expect_close(406, (40, 10), &text);
    again(ch);
    ch.exchange_delete(&name).ok();
}

// behaviour 69
#[test]
fn redeclaring_compares_the_alternate_but_not_unknown_arguments() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = ch.temp_exchange("direct");
    ch.exchange_declare(&name, "direct").arg("nonsense", 1).ok();
    let tail = "received the value 'ae' of type 'longstr' but current is none";
    let text = inequivalent("alternate-exchange", &name, tail);
    ch.exchange_declare(&name, "direct").arg("alternate-exchange", "ae").expect_close(406, (40, 10), &text);
    conn.channel(1).exchange_delete(&name).ok();
}

// behaviour 70
#[test]
fn passive_asks_only_for_existence() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = ch.temp_exchange("direct");
    ch.exchange_declare(&name, "fanout").passive().durable().ok();
    ch.exchange_delete(&name).ok();
    ch.exchange_declare(&name, "direct").passive().expect_close(404, (40, 10), &missing(&name));
}

// behaviour 71: 503 on the connection as in 3.10, or 406 on the channel as in 4
#[test]
fn an_unknown_type_is_refused() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.exchange_declare(&unique("x"), "nosuchtype").send();
    let m = ch.method();
    let close = m.close();
    assert_eq!(close.ids, (40, 10));
    match m.ids {
        (20, 40) => assert_eq!(
            (close.code, &*close.text),
            (406, "PRECONDITION_FAILED - unknown exchange type 'nosuchtype'")
        ),
        _ => assert_eq!(
            (close.code, &*close.text),
            (503, "COMMAND_INVALID - unknown exchange type 'nosuchtype'")
        ),
    }
}

// behaviour 72
#[test]
fn names_beginning_with_amq_are_reserved() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let text = "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'";
    ch.exchange_declare("amq.mine", "direct").expect_close(403, (40, 10), text);
    ch.open().ok();
    let text = inequivalent("type", "amq.direct", "received 'fanout' but current is 'direct'");
    ch.exchange_declare("amq.direct", "fanout").durable().expect_close(406, (40, 10), &text);
}

// behaviour 73
#[test]
fn the_default_exchange_cannot_be_touched() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let queue = ch.temp_queue();
    let mut n = 1;
    let mut fresh = || {
        n += 1;
        conn.channel(n)
    };
    fresh().exchange_declare("", "direct").expect_close(403, (40, 10), DEFAULT);
    fresh().exchange_declare("", "direct").passive().expect_close(403, (40, 10), DEFAULT);
    fresh().exchange_delete("").expect_close(403, (40, 20), DEFAULT);
    fresh().exchange_bind("amq.direct", "", "k").expect_close(403, (40, 30), DEFAULT);
    fresh().exchange_bind("", "amq.direct", "k").expect_close(403, (40, 30), DEFAULT);
    fresh().exchange_unbind("amq.direct", "", "k").expect_close(403, (40, 40), DEFAULT);
    fresh().queue_bind(&queue, "", "k").expect_close(403, (50, 20), DEFAULT);
    fresh().queue_unbind(&queue, "", "k").expect_close(403, (50, 50), DEFAULT);
}

// behaviour 74
#[test]
fn deleting_a_missing_exchange_is_fine_and_a_standard_one_is_not() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    ch.exchange_delete(&unique("x")).ok();
    let text = "ACCESS_REFUSED - deletion of system exchange 'amq.fanout' in vhost '/' not allowed";
    ch.exchange_delete("amq.fanout").expect_close(403, (40, 20), text);
}

// behaviour 75
#[test]
fn delete_if_unused_looks_at_bindings_from_the_exchange() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (source, target) = (ch.temp_exchange("direct"), ch.temp_exchange("fanout"));
    ch.exchange_bind(&target, &source, "k").ok();
    let text = format!("PRECONDITION_FAILED - exchange '{source}' in vhost '/' in use");
    ch.exchange_delete(&source).if_unused().expect_close(406, (40, 20), &text);
    ch.open().ok();
    ch.exchange_delete(&target).if_unused().ok();
    ch.exchange_delete(&source).if_unused().ok();
}

// behaviour 76
#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (name, queue) = (unique("x"), ch.temp_queue());
    let gone = |ch: Channel<'_>| {
        ch.exchange_declare(&name, "direct").passive().expect_close(404, (40, 10), &missing(&name));
        ch.open().ok();
    };
    ch.exchange_declare(&name, "direct").auto_delete().ok();
    ch.exchange_declare(&name, "direct").passive().ok();
    ch.queue_bind(&queue, &name, "a").ok();
    ch.queue_bind(&queue, &name, "b").ok();
    ch.queue_unbind(&queue, &name, "a").ok();
    ch.exchange_declare(&name, "direct").passive().ok();
    ch.queue_unbind(&queue, &name, "b").ok();
    gone(ch);
    ch.exchange_declare(&name, "direct").auto_delete().ok();
    ch.queue_bind(&queue, &name, "a").ok();
    ch.queue_delete(&queue).ok();
    gone(ch);
}

// behaviour 76: the destination may be an exchange
#[test]
fn an_auto_delete_exchange_goes_with_its_last_exchange_binding() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    for end in ["unbind", "delete"] {
        let (source, target) = (unique("x"), ch.temp_exchange("fanout"));
        ch.exchange_declare(&source, "direct").auto_delete().ok();
        ch.exchange_bind(&source, "amq.direct", &source).ok();
        ch.exchange_unbind(&source, "amq.direct", &source).ok();
        ch.exchange_declare(&source, "direct").passive().ok(); // a binding to it does not count
        ch.exchange_bind(&target, &source, "a").ok();
        match end {
            "unbind" => drop(ch.exchange_unbind(&target, &source, "a").ok()),
            _ => drop(ch.exchange_delete(&target).ok()),
        }
        ch.exchange_declare(&source, "direct").passive().expect_close(404, (40, 10), &missing(&source));
        ch.open().ok();
        ch.exchange_delete(&target).ok();
    }
}

// behaviour 76
#[test]
fn auto_delete_exchanges_in_a_row_go_together() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (first, second, queue) = (unique("x"), unique("x"), ch.temp_queue());
    ch.exchange_declare(&first, "fanout").auto_delete().ok();
    ch.exchange_declare(&second, "fanout").auto_delete().ok();
    ch.exchange_bind(&second, &first, "").ok();
    ch.queue_bind(&queue, &second, "").ok();
    ch.queue_delete(&queue).ok();
    for name in [&first, &second] {
        ch.exchange_declare(name, "fanout").passive().expect_close(404, (40, 10), &missing(name));
        ch.open().ok();
    }
}

// behaviour 77
#[test]
fn line_breaks_are_taken_out_of_names() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (exchange, queue) = (unique("x"), unique("q"));
    ch.exchange_declare(&format!("\r\n{exchange}\n"), "fanout").ok();
    ch.exchange_declare(&exchange, "fanout").passive().ok();
    assert_eq!(ch.queue_declare(format!("{queue}\r\n")).exclusive().ok().declare_ok().0, queue);
    ch.queue_bind(&format!("{queue}\n"), &format!("{exchange}\r"), "").ok();
    ch.publish(&exchange, "", "m").send();
    assert_eq!(ch.pull_soon(&queue).text(), "m");
    ch.exchange_delete(&format!("\n{exchange}")).ok();
    ch.exchange_declare(&exchange, "fanout").passive().expect_close(404, (40, 10), &missing(&exchange));
}

// behaviour 78
#[test]
fn publishing_to_missing_and_internal_exchanges_is_refused() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("x");
    ch.publish(&name, "k", "m").expect_close(404, &missing(&name));
    ch.open().ok();
    ch.exchange_declare(&name, "fanout").internal().ok();
    let text = format!("ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'");
    ch.publish(&name, "k", "m").expect_close(403, &text);
    ch.open().ok();
    ch.exchange_delete(&name).ok();
}

// behaviour 79
#[test]
fn an_alternate_must_be_a_string_but_need_not_exist() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("x");
    let text = format!(
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange '{name}' in vhost '/'"
    );
    ch.exchange_declare(&name, "direct").arg("alternate-exchange", 5).expect_close(406, (40, 10), &text);
    ch.open().ok();
    ch.exchange_declare(&name, "direct").arg("alternate-exchange", &unique("missing")).ok();
    ch.exchange_delete(&name).ok();
}

// behaviours 80, 81
#[test]
fn the_unroutable_go_through_the_alternate() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (alternate, name) = (ch.temp_exchange("fanout"), unique("x"));
    ch.exchange_declare(&name, "direct").arg("alternate-exchange", &alternate).ok();
    let returned = || {
        ch.publish(&name, "k", "lost").mandatory().send();
        let back = ch.method().is((60, 50)).delivery();
        assert_eq!((back.reply.0, &*back.exchange, &*back.routing_key), (312, &*name, "k"));
    };
    returned();
    let queue = ch.temp_queue();
    ch.queue_bind(&queue, &alternate, "").ok();
    ch.publish(&name, "k", "kept").mandatory().send();
    let kept = ch.pull_soon(&queue);
    assert_eq!((&*kept.text(), &*kept.exchange, &*kept.routing_key), ("kept", &*name, "k"));
    ch.quiet();
    ch.exchange_delete(&alternate).ok();
    returned();
    ch.exchange_delete(&name).ok();
}

// behaviour 81
#[test]
fn a_cycle_of_alternates_ends() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let names = [unique("x"), unique("x")];
    ch.exchange_declare(&names[0], "direct").arg("alternate-exchange", &names[1]).ok();
    ch.exchange_declare(&names[1], "direct").arg("alternate-exchange", &names[0]).ok();
    ch.publish(&names[0], "k", "round").mandatory().send();
    assert_eq!(ch.method().is((60, 50)).delivery().reply, (312, "NO_ROUTE".to_owned()));
    names.iter().for_each(|name| drop(ch.exchange_delete(name).ok()));
}

// behaviour 82
#[test]
fn exchange_bindings_need_both_ends() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("x");
    ch.exchange_bind("amq.fanout", &name, "k").expect_close(404, (40, 30), &missing(&name));
    ch.open().ok();
    ch.exchange_bind(&name, "amq.fanout", "k").expect_close(404, (40, 30), &missing(&name));
    ch.open().ok();
    ch.exchange_unbind("amq.fanout", "amq.direct", &name).ok();
}

// behaviour 83
#[test]
fn messages_pass_between_exchanges_once_and_cycles_end() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let (one, two) = (ch.temp_exchange("fanout"), ch.temp_exchange("fanout"));
    let queue = ch.temp_queue();
    ch.exchange_bind(&one, &two, "").ok();
    ch.exchange_bind(&two, &one, "").ok();
    ch.queue_bind(&queue, &one, "").ok();
    ch.queue_bind(&queue, &two, "").ok();
    ch.publish(&one, "", "m").send();
    assert_eq!(ch.pull_soon(&queue).exchange, one);
    assert_eq!(ch.counts(&queue).0, 0);
    ch.exchange_unbind(&two, &one, "").ok();
    ch.queue_unbind(&queue, &one, "").ok();
    ch.publish(&one, "", "unbound").mandatory().send();
    assert_eq!(ch.method().is((60, 50)).delivery().text(), "unbound");
    ch.exchange_delete(&one).ok();
    ch.exchange_delete(&two).ok();
}

// behaviour 85
#[test]
fn nowait_is_silent_yet_errors_close() {
    let conn = Conn::open();
    let ch = conn.channel(1);
    let name = unique("x");
    ch.exchange_declare(&name, "direct").nowait().send();
    ch.exchange_bind(&name, "amq.direct", &name).nowait().send();
    ch.exchange_unbind(&name, "amq.direct", &name).nowait().send();
    ch.sync();
    ch.exchange_declare(&name, "direct").passive().ok();
    ch.exchange_delete(&name).nowait().send();
    ch.exchange_declare(&name, "direct").passive().expect_close(404, (40, 10), &missing(&name));
    ch.open().ok();
    ch.exchange_declare("amq.mine", "direct").nowait().expect_close(403, (40, 10), "ACCESS_REFUSED - ...");
}
