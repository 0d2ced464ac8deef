//! What is counted of messages, by the names that RabbitMQ's management API gives them.

use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($(#[$of:meta])* $name:ident { $($(#[$about:meta])* $field:ident),+ $(,)? }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$about])* #[serde(skip_serializing_if = "is_zero")] pub $field: u64,)+
        }

        impl $name {
            /// How many counts there are.
            pub const COUNT: usize = [$(stringify!($field)),+].len();
            /// Their names, in the order of [`Self::to_array`].
            pub const NAMES: [&'static str; Self::COUNT] = [$(stringify!($field)),+];

            /// The counts in the order of [`Self::NAMES`].
            #[must_use]
            pub fn to_array(self) -> [u64; Self::COUNT] {
                [$(self.$field),+]
            }

            /// The other way round.
            #[must_use]
            pub fn from_array(array: [u64; Self::COUNT]) -> Self {
                let [$($field),+] = array;
                Self { $($field),+ }
            }

            /// Adds others to these.
            pub fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.saturating_add(other.$field);)+
            }

            /// What came since an earlier reading.
            #[must_use]
            pub fn since(&self, before: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(before.$field)),+ }
            }

            /// Whether nothing was counted.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

counts! {
    /// Messages, by what became of them.
    MessageCounts {
        /// Came in.
        publish,
        /// Publishers were told that they are safe.
        confirm,
        /// Mandatory, and nobody wanted them.
        return_unroutable,
        /// Nobody wanted them.
        drop_unroutable,
        /// Given to consumers that acknowledge.
        deliver,
        /// Given to consumers that do not.
        deliver_no_ack,
        /// Fetched one by one, to be acknowledged.
        get,
        /// Fetched one by one.
        get_no_ack,
        /// Fetches that found nothing; no messages.
        get_empty,
        /// Of those given or fetched: not for the first time.
        redeliver,
        /// Acknowledged.
        ack,
    }
}

impl MessageCounts {
    /// All that were given to clients, in whatever way.
    #[must_use]
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }
}

counts! {
    /// What passed an exchange.
    ExchangeCounts {
        /// Came in.
        publish_in,
        /// Left for queues, counted for each of them.
        publish_out,
    }
}

counts! {
    /// What became of messages that left their queue otherwise than by an acknowledgement.
    DeathCounts {
        /// No place was left.
        maxlen,
        /// A consumer refused them.
        rejected,
        /// Their time was over.
        expired,
        /// They came back too often.
        delivery_limit,
        /// Dead letters that all their targets have.
        confirmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_and_compared_name_by_name() {
        let mut counts = MessageCounts { publish: 3, ack: 1, ..MessageCounts::default() };
        counts.add(&MessageCounts { publish: 2, get: 5, deliver: 1, ..MessageCounts::default() });
        assert_eq!((counts.publish, counts.ack, counts.deliver_get()), (5, 1, 6));
        assert_eq!(MessageCounts::from_array(counts.to_array()), counts);
        let before = MessageCounts { publish: 4, ..MessageCounts::default() };
        assert_eq!(counts.since(&before).publish, 1);
        assert_eq!(MessageCounts::NAMES[0], "publish");
        assert_eq!(MessageCounts::NAMES.len(), counts.to_array().len());
        assert!(!counts.is_zero() && ExchangeCounts::default().is_zero());
    }

    #[test]
    fn what_is_zero_is_not_written() {
        let counts = ExchangeCounts { publish_in: 7, publish_out: 0 };
        let written = serde_json::to_string(&counts).unwrap();
        assert_eq!(written, "{\"publish_in\":7}");
        assert_eq!(serde_json::from_str::<ExchangeCounts>(&written).unwrap(), counts);
    }
}
