//! `x-delivery-count`: how often a message came back, told with its next delivery (RabbitMQ: Quorum Queues, Poison
//! Message Handling).

use amq_protocol::types::AMQPValue;

use crate::protocol::properties::{self, Edit, Properties};
use crate::protocol::table;

const X_DELIVERY_COUNT: &[u8] = b"x-delivery-count";

/// The content header payload with the count beside the message's own headers; one of that name which the message
/// brought along gives way. `None` when the old payload is right as it is, since the message never came back.
#[inline]
#[must_use]
pub fn header_if(header: &[u8], returns: u32) -> Option<Vec<u8>> {
    if returns == 0 { None } else { header_with(header, returns) }
}

#[cold]
fn header_with(header: &[u8], returns: u32) -> Option<Vec<u8>> {
    let old = Properties::parse(header).ok()?.headers.unwrap_or_default();
    let mut headers = Vec::with_capacity(old.len() + X_DELIVERY_COUNT.len() + 16);
    table::put_without(&mut headers, old, X_DELIVERY_COUNT);
    table::put_field(&mut headers, X_DELIVERY_COUNT, &AMQPValue::LongLongInt(returns.into()));
    properties::rewrite(header, &Edit { headers: Some(&headers), ..Edit::default() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(payload: &[u8]) -> Vec<(Vec<u8>, AMQPValue)> {
        let headers = Properties::parse(payload).unwrap().headers.unwrap();
        let fields = table::fields(headers).map(Result::unwrap);
        fields.map(|field| (field.name.to_vec(), field.to_value().unwrap())).collect()
    }

    #[test]
    fn the_count_comes_beside_what_is_there() {
        let bare = properties::with_fields(7, &Properties::default());
        let count = |count| (X_DELIVERY_COUNT.to_vec(), AMQPValue::LongLongInt(count));
        assert_eq!(headers(&header_with(&bare, 1).unwrap()), [count(1)]);

        let mut own = Vec::new();
        table::put_field(&mut own, X_DELIVERY_COUNT, &AMQPValue::LongInt(99));
        table::put_field(&mut own, b"mine", &AMQPValue::LongInt(5));
        let full = Properties { headers: Some(&own), expiration: Some(b"60"), ..Properties::default() };
        let told = header_with(&properties::with_fields(7, &full), 70_000).unwrap();
        assert_eq!(headers(&told), [(b"mine".to_vec(), AMQPValue::LongInt(5)), count(70_000)]);
        assert_eq!(Properties::parse(&told).unwrap().expiration, Some(&b"60"[..]));
        assert_eq!(properties::body_size(&told), Some(7));
        assert_eq!((header_if(b"damaged", 1), header_if(&bare, 0)), (None, None));
    }
}
