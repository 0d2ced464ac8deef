//! Frames one by one: what is borrowed, what is tolerated, and the words for what is refused.

use super::{FRAME_MAX, inputs, put_frame, put_publish};
use crate::protocol::connection::Limits;
use crate::protocol::frame::{BODY, END, HEADER, METHOD};
use crate::protocol::inbound::{Inbound, InboundError, Input};
use crate::protocol::negotiation::PROTOCOL_HEADER;

#[test]
fn a_whole_publish_is_borrowed_from_the_bytes() {
    let mut bytes = Vec::new();
    put_publish(&mut bytes, 5, "key", b"body", 100);
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(FRAME_MAX);
    inbound.next(&PROTOCOL_HEADER).unwrap();
    let step = inbound.next(&bytes).unwrap();
    assert_eq!(step.consumed, bytes.len());
    let Some(Input::Publish(publish)) = step.input else { panic!("{:?}", step.input) };
    assert_eq!((publish.channel, publish.exchange, publish.routing_key), (5, &b"exchange"[..], &b"key"[..]));
    assert_eq!((publish.mandatory, publish.immediate, publish.body), (true, false, &b"body"[..]));
    assert!(bytes.as_ptr_range().contains(&publish.body.as_ptr()));
}

#[test]
fn contents_of_two_channels_interleave() {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    put_publish(&mut one, 1, "one", &[1; 3000], 1000);
    put_publish(&mut two, 2, "two", &[2; 10], 1000);
    let mut bytes = PROTOCOL_HEADER.to_vec();
    let cut = one.len() - 1500;
    bytes.extend([&one[..0], &two, &one].concat());
    let seen = inputs(&bytes, &[8 + two.len() + cut]);
    assert_eq!(seen.len(), 3);
    // The second publish stands between the first's header and its body.
    let body_at = one.len() - 3 * 1008;
    let mixed = [&PROTOCOL_HEADER[..], &one[..body_at], &two, &one[body_at..]].concat();
    let seen = inputs(&mixed, &[]);
    assert!(seen[1].contains("channel: 2") && seen[2].contains("channel: 1"), "{seen:?}");
}

/// The reply text and ids of the error that these frames on channel 1 end in.
fn error_of(frames: &[(u8, &[u8])]) -> (String, (u16, u16)) {
    let mut bytes = Vec::new();
    frames.iter().for_each(|(kind, payload)| put_frame(&mut bytes, *kind, 1, payload));
    error_in(&bytes, FRAME_MAX)
}

fn error_in(bytes: &[u8], frame_max: u32) -> (String, (u16, u16)) {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(frame_max);
    inbound.next(&PROTOCOL_HEADER).unwrap();
    let mut at = 0;
    loop {
        match inbound.next(&bytes[at..]) {
            Ok(step) if step.consumed > 0 => at += step.consumed,
            Err(InboundError::Refused(refusal, id)) => return (refusal.reply_text(), id),
            other => panic!("{other:?}"),
        }
    }
}

const PUBLISH: (u8, &[u8]) = (METHOD, &[0, 60, 0, 40, 0, 0, 0, 1, b'q', 0]);
const QOS: (u8, &[u8]) = (METHOD, &[0, 60, 0, 10, 0, 0, 0, 0, 0, 1, 0]);
const ONE_OCTET: (u8, &[u8]) = (HEADER, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);

/// Frames, and the reply text and ids they end in.
type Case = (&'static [(u8, &'static [u8])], String, (u16, u16));

#[test]
fn errors_are_worded_as_by_rabbitmq() {
    const OTHER_CLASS: (u8, &[u8]) = (HEADER, &[0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    const HUGE: (u8, &[u8]) = (HEADER, &[0, 60, 0, 0, 255, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    const NOT_UTF8: (u8, &[u8]) = (METHOD, &[0, 60, 0, 40, 0, 0, 0, 1, 255, 0]);
    let content = "UNEXPECTED_FRAME - expected content header for class 60, got";
    let cases: [Case; 11] = [
        (&[(4, b"")], "FRAME_ERROR - type 4, all octets = <<>>: unknown_frame".to_owned(), (0, 0)),
        (&[(8, b"")], "UNEXPECTED_FRAME - type 8, all octets = <<>>".to_owned(), (0, 0)),
        (
            &[ONE_OCTET],
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead".to_owned(),
            (0, 0),
        ),
        (
            &[(BODY, b"x")],
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead".to_owned(),
            (0, 0),
        ),
        (&[PUBLISH, (BODY, b"x")], format!("{content} non content header frame instead"), (60, 40)),
        (&[PUBLISH, QOS], format!("{content} non content header frame instead"), (60, 40)),
        (&[PUBLISH, OTHER_CLASS], format!("{content} one for class 50 instead"), (60, 40)),
        (
            &[PUBLISH, ONE_OCTET, (BODY, b"xyz")],
            "FRAME_ERROR - content body frame exceeds remaining content size".to_owned(),
            (60, 40),
        ),
        (
            &[PUBLISH, HUGE],
            "FRAME_ERROR - content body size 18374686479671623681 exceeds maximum allowed size 536870912"
                .to_owned(),
            (60, 40),
        ),
        (&[NOT_UTF8], "FRAME_ERROR - Malformed UTF-8 in shortstr".to_owned(), (0, 0)),
        (
            &[(METHOD, &[0, 50, 0, 10, 0, 0, 200])],
            "FRAME_ERROR - cannot decode <<0,0,200>>".to_owned(),
            (50, 10),
        ),
    ];
    for (frames, text, id) in cases {
        assert_eq!(error_of(frames), (text, id));
    }
}

#[test]
fn a_body_over_the_limit_is_told_of_once_and_dropped() {
    const FIVE_OCTETS: (u8, &[u8]) = (HEADER, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0]);
    let frames = [PUBLISH, FIVE_OCTETS, (BODY, b"abc"), (BODY, b"de"), PUBLISH, ONE_OCTET, (BODY, b"x")];
    let mut bytes = Vec::new();
    frames.iter().for_each(|(kind, payload)| put_frame(&mut bytes, *kind, 1, payload));
    let mut inbound = Inbound::new(&Limits { body_max: 4, ..Limits::default() });
    inbound.next(&PROTOCOL_HEADER).unwrap();
    inbound.set_frame_max(8192);
    let (mut rest, mut seen) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let step = inbound.next(rest).unwrap();
        assert!(step.consumed > 0);
        seen.extend(step.input.map(|input| match input {
            Input::TooLarge { channel: 1, size } => size.to_string(),
            Input::Publish(publish) => String::from_utf8_lossy(publish.body).into_owned(),
            other => format!("{other:?}"),
        }));
        rest = &rest[step.consumed..];
    }
    assert_eq!(seen, ["5", "x"]);
}

#[test]
fn a_frame_may_be_eight_octets_over() {
    let too_large = [BODY, 0, 1, 0, 0, 0x23, 0x28];
    let text = "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,9000,8184}".to_owned();
    assert_eq!(error_in(&too_large, 8192), (text, (0, 0)));
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(8192);
    inbound.next(&PROTOCOL_HEADER).unwrap();
    assert_eq!(inbound.next(&[BODY, 0, 1, 0, 0, 0x20, 0]).unwrap().consumed, 0);
}

#[test]
fn a_bad_end_octet_is_named() {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, METHOD, 1, &[0, 50, 0, 10, 0, 0, 0, 4, 0, 0, 0, 0]);
    *bytes.last_mut().unwrap() = 0xCD;
    let text =
        "FRAME_ERROR - type 1, all octets = <<0,50,0,10,0,0,0,4,0,0,0,0>>: {invalid_frame_end_marker,205}";
    assert_eq!(error_in(&bytes, FRAME_MAX), (text.to_owned(), (0, 0)));
}

#[test]
fn unknown_methods_close_without_a_word() {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(FRAME_MAX);
    inbound.next(&PROTOCOL_HEADER).unwrap();
    let mut bytes = Vec::new();
    put_frame(&mut bytes, METHOD, 1, &[0, 77, 0, 10]);
    assert!(matches!(inbound.next(&bytes), Err(InboundError::Silent(_))));
}

#[test]
fn after_an_error_only_close_ok_is_found() {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(FRAME_MAX);
    inbound.next(&PROTOCOL_HEADER).unwrap();
    assert!(inbound.next(&[4, 0, 1, 0, 0, 0, 0, END]).is_err());
    let mut bytes = vec![9; 50];
    put_frame(&mut bytes, METHOD, 0, &[0, 10, 0, 51]);
    let first = inbound.next(&bytes[..55]).unwrap();
    assert_eq!((first.consumed, first.input), (44, None));
    let second = inbound.next(&bytes[44..]).unwrap();
    assert_eq!(second.consumed, bytes.len() - 44);
    assert_eq!(second.input.map(|input| input.method_id()), Some((10, 51)));
}

#[test]
fn channels_are_closed_before_the_tuning() {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.next(&PROTOCOL_HEADER).unwrap();
    let mut bytes = Vec::new();
    put_publish(&mut bytes, 1, "k", b"x", 10);
    assert!(matches!(inbound.next(&bytes), Err(InboundError::Refused(..))));
}

#[test]
fn empty_body_frames_and_abandoned_publishes_are_tolerated() {
    let mut bytes = PROTOCOL_HEADER.to_vec();
    put_publish(&mut bytes, 1, "k", b"", 10);
    put_frame(&mut bytes, BODY, 1, b"");
    put_frame(&mut bytes, PUBLISH.0, 1, PUBLISH.1);
    put_frame(&mut bytes, METHOD, 1, &[0, 20, 0, 41]);
    let seen = inputs(&bytes, &[]);
    assert_eq!(seen.len(), 3);
    assert!(seen[2].contains("CloseOk"), "{seen:?}");
}

#[test]
fn what_comes_next_is_seen_before_it_is_taken() {
    let mut inbound = Inbound::new(&Limits::default());
    inbound.set_frame_max(FRAME_MAX);
    inbound.next(&PROTOCOL_HEADER).unwrap();
    let (mut publish, mut close) = (Vec::new(), Vec::new());
    put_publish(&mut publish, 1, "key", &[7; 20_000], 20_000);
    put_frame(&mut close, METHOD, 0, &[0, 10, 0, 50, 0, 200, 0, 0, 0, 0, 0]);
    let then_close = |bytes: &[u8]| [bytes, &close].concat();
    // A publish: at its beginning, at its header, in the middle of its body.
    let mut at = 0;
    for cut in [0, 50, 500, 20_000] {
        while let Ok(step) = inbound.next(&publish[at..cut])
            && step.consumed > 0
        {
            at += step.consumed;
        }
        let rest = &publish[at..];
        assert!(inbound.publishes_next(rest), "at {at}");
        assert!(!inbound.close_follows(rest) && inbound.close_follows(&then_close(rest)), "at {at}");
        assert!(!inbound.close_follows(&then_close(&rest[..rest.len() - 1])), "a frame is cut short");
    }
    inbound.next(&publish[at..]).unwrap();
    assert!(!inbound.publishes_next(&close) && inbound.close_follows(&close));
    for other in [&[][..], &publish[..10], &[8, 0, 0, 0, 0, 0, 0, END], &[BODY, 0, 1, 0, 0, 0, 0, END]] {
        assert!(!inbound.publishes_next(other) && !inbound.close_follows(other), "{other:?}");
    }
    // A channel's close is another one.
    let mut channel_close = Vec::new();
    put_frame(&mut channel_close, METHOD, 1, &[0, 10, 0, 50]);
    assert!(!inbound.close_follows(&channel_close));
}
