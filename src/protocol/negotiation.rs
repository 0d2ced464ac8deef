//! What the broker says of itself, and which tuning it accepts (AMQP 0-9-1, sections 2.2.4 and 4.2.2).

use amq_protocol::types::{AMQPValue, FieldTable};

use super::connection::{Limits, Tuned};

/// The protocol header of AMQP 0-9-1; also the answer to every other header.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The header of AMQP 0-9, which is served like 0-9-1.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

/// The SASL mechanisms offered, separated by spaces.
pub const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// The locales offered.
pub const LOCALES: &str = "en_US";

/// The RabbitMQ version whose behaviour is kept. Clients read it as dotted numbers and turn features on by it.
const COMPATIBLE_VERSION: &str = "3.13.7";

const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The server properties of `connection.start`; clients require the product to be RabbitMQ.
#[must_use]
pub fn server_properties(node: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in CAPABILITIES {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let platform = format!("Warren {}", env!("CARGO_PKG_VERSION"));
    let mut properties = FieldTable::default();
    for (name, value) in [
        ("product", "RabbitMQ"),
        ("version", COMPATIBLE_VERSION),
        ("platform", &platform),
        ("copyright", "The Warren authors"),
        ("information", "Warren speaks AMQP 0-9-1 as RabbitMQ does. Licensed under the Apache License 2.0."),
        ("cluster_name", node),
    ] {
        properties.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// Whether a client with this protocol header is served.
#[must_use]
pub fn is_supported(header: &[u8; 8]) -> bool {
    matches!(*header, PROTOCOL_HEADER | PROTOCOL_HEADER_0_9)
}

/// Checks the client's `connection.tune-ok` against the offer.
///
/// # Errors
/// Names the value that is out of range; the socket is then closed without a method.
pub fn check_tuning(asked: Tuned, limits: &Limits) -> Result<Tuned, String> {
    if asked.frame_max < limits.frame_min {
        let (asked, least) = (asked.frame_max, limits.frame_min);
        return Err(format!(
            "negotiated frame_max = {asked} is lower than the minimum allowed value ({least})"
        ));
    }
    if asked.frame_max > limits.frame_max {
        let (asked, most) = (asked.frame_max, limits.frame_max);
        return Err(format!(
            "negotiated frame_max = {asked} is higher than the maximum allowed value ({most})"
        ));
    }
    let is_without_limit = asked.channel_max == 0;
    if limits.channel_max != 0 && (is_without_limit || asked.channel_max > limits.channel_max) {
        let (asked, most) = (asked.channel_max, limits.channel_max);
        return Err(format!(
            "negotiated channel_max = {asked} is higher than the maximum allowed value ({most})"
        ));
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_other_versions_are_not_served() {
        assert!(is_supported(b"AMQP\0\0\x09\x01"));
        assert!(is_supported(b"AMQP\x01\x01\x00\x09"));
        for header in [b"AMQP\0\0\x09\x02", b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x00\x0a", b"GET / HT"] {
            assert!(!is_supported(header), "{header:?}");
        }
    }

    #[test]
    fn tuning_stays_within_the_offer() {
        let limits = Limits::default();
        let tuned = |frame_max, channel_max| Tuned { frame_max, channel_max, heartbeat_s: 0 };
        assert!(check_tuning(tuned(131_072, 2047), &limits).is_ok());
        assert!(check_tuning(tuned(4096, 1), &limits).is_ok());
        for (frame_max, channel_max) in [(4095, 1), (131_073, 1), (0, 1), (8192, 2048), (8192, 0)] {
            assert!(
                check_tuning(tuned(frame_max, channel_max), &limits).is_err(),
                "{frame_max} {channel_max}"
            );
        }
    }

    #[test]
    fn all_capabilities_are_true() {
        let properties = server_properties("warren@host");
        let Some(AMQPValue::FieldTable(capabilities)) = properties.inner().get("capabilities") else {
            panic!()
        };
        assert_eq!(capabilities.inner().len(), 9);
        assert!(capabilities.inner().values().all(|value| *value == AMQPValue::Boolean(true)));
    }
}
