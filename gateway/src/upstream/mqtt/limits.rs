//! What a broker takes, by its CONNACK (MQTT 5.0 section 3.2.2.3).

use super::packet::{Property, properties};

/// What a broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokerLimits {
    pub(super) packet_bytes_max: usize,
    pub(super) in_flight_max: usize,
    pub(super) qos_max: u8,
    pub(super) retains: bool,
    /// The keep-alive that it asks for, in seconds; 0 for none.
    pub(super) keep_alive_s: Option<u16>,
}

impl BrokerLimits {
    /// Those of a broker that names none.
    pub(super) const NONE: BrokerLimits = BrokerLimits {
        packet_bytes_max: usize::MAX,
        in_flight_max: usize::MAX,
        qos_max: 2,
        retains: true,
        keep_alive_s: None,
    };

    /// Those that the properties of a CONNACK name.
    pub(super) fn of(bytes: &[u8]) -> BrokerLimits {
        let mut limits = BrokerLimits::NONE;
        for property in properties(bytes) {
            match property {
                // Both must not be 0: then nothing could ever be sent.
                Property::Number(0x21, max @ 1..) => limits.in_flight_max = max as usize,
                Property::Number(0x27, max @ 1..) => limits.packet_bytes_max = max as usize,
                Property::Number(0x24, max) => limits.qos_max = max.min(2) as u8,
                Property::Number(0x25, retains) => limits.retains = retains != 0,
                Property::Number(0x13, seconds) => {
                    limits.keep_alive_s = u16::try_from(seconds).ok()
                }
                _ => {}
            }
        }
        limits
    }

    /// What stands in the way of every event of an upstream with this QoS and `retain`, whose least PUBLISH has so many bytes.
    pub(super) fn obstacle(&self, qos: u8, retain: bool, least_bytes: usize) -> Option<String> {
        let packet_bytes_max = self.packet_bytes_max;
        if packet_bytes_max < least_bytes {
            return Some(format!(
                "the broker takes packets of {packet_bytes_max} bytes at most, and an event has {least_bytes} without its \
                 payload; raise its maximum packet size"
            ));
        }
        if self.qos_max == 0 {
            return Some(
                "the broker takes QoS 0 only, which it never acknowledges; forward to another one"
                    .to_owned(),
            );
        }
        if qos > self.qos_max {
            return Some(format!(
                "the broker takes QoS {} at most; set `qos = {}` of the upstream",
                self.qos_max, self.qos_max
            ));
        }
        (retain && !self.retains).then(|| {
            "the broker retains no messages; set `retain = false` of the upstream".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_that_connack_names() {
        let cases: [(&[u8], BrokerLimits); 8] = [
            (&[], BrokerLimits::NONE),
            (&[0], BrokerLimits::NONE),
            (
                &[3, 0x21, 0, 1],
                BrokerLimits {
                    in_flight_max: 1,
                    ..BrokerLimits::NONE
                },
            ),
            (&[3, 0x21, 0, 0], BrokerLimits::NONE),
            (
                &[9, 0x24, 1, 0x25, 0, 0x27, 0, 0, 1, 0],
                BrokerLimits {
                    qos_max: 1,
                    retains: false,
                    packet_bytes_max: 256,
                    ..BrokerLimits::NONE
                },
            ),
            (
                &[3, 0x13, 0, 0],
                BrokerLimits {
                    keep_alive_s: Some(0),
                    ..BrokerLimits::NONE
                },
            ),
            (
                &[11, 0x12, 0, 1, b'x', 0x26, 0, 0, 0, 0, 0x24, 0],
                BrokerLimits {
                    qos_max: 0,
                    ..BrokerLimits::NONE
                },
            ),
            (&[200, 0x24], BrokerLimits::NONE),
        ];
        for (bytes, expected) in cases {
            assert_eq!(BrokerLimits::of(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_limit_that_no_event_passes_is_an_obstacle_of_the_whole_upstream() {
        let none = BrokerLimits::NONE;
        let qos = |qos_max| BrokerLimits { qos_max, ..none };
        let no_retain = BrokerLimits {
            retains: false,
            ..none
        };
        let packets_of = |packet_bytes_max| BrokerLimits {
            packet_bytes_max,
            ..none
        };
        let cases = [
            (none, 2, true, ""),
            (qos(1), 1, true, ""),
            (qos(1), 2, false, "`qos = 1`"),
            (qos(0), 1, false, "never acknowledges"),
            (no_retain, 1, false, ""),
            (no_retain, 1, true, "`retain = false`"),
            (packets_of(1), 1, false, "1 bytes at most"),
            (packets_of(149), 1, false, "has 150 without its payload"),
            (packets_of(150), 1, false, ""),
        ];
        for (limits, qos, retain, says) in cases {
            let obstacle = limits.obstacle(qos, retain, 150).unwrap_or_default();
            assert!(obstacle.contains(says), "{obstacle}");
            assert_eq!(obstacle.is_empty(), says.is_empty(), "{obstacle}");
        }
    }
}
