//! How long a client may be silent.

use std::time::Duration;

use super::codec::packet::V5;

/// What is agreed with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeepAlive {
    /// After this silence it is gone; none where it asked for no limit.
    pub(super) silence_max: Option<Duration>,
    /// What an MQTT 5 client is told to keep instead of its own, in seconds (3.2.2.3.14).
    pub(super) told_s: Option<u16>,
}

impl KeepAlive {
    /// Of a client that asks for `asked_s`, where 0 is no limit. MQTT 3 has no word for another one, so there its own is kept.
    pub(super) fn agree(level: u8, asked_s: u16, longest: Duration) -> KeepAlive {
        let longest_s = u16::try_from(longest.as_secs()).unwrap_or(u16::MAX).max(1);
        let is_told = level == V5 && (asked_s == 0 || asked_s > longest_s);
        let kept_s = if is_told { longest_s } else { asked_s };
        let silence = Duration::from_secs(u64::from(kept_s)) * 3 / 2;
        KeepAlive {
            silence_max: (kept_s > 0).then_some(silence),
            told_s: is_told.then_some(longest_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_above_the_longest_is_told_in_mqtt_5_and_kept_in_mqtt_3() {
        let hour = Duration::from_secs(3600);
        for (asked_s, of_3, of_5, told_s) in [
            (0, None, 5_400_000, Some(3600)),
            (1, Some(1500), 1500, None),
            (60, Some(90_000), 90_000, None),
            (3600, Some(5_400_000), 5_400_000, None),
            (3601, Some(5_401_500), 5_400_000, Some(3600)),
            (65_535, Some(98_302_500), 5_400_000, Some(3600)),
        ] {
            for level in [3, 4] {
                let kept = KeepAlive {
                    silence_max: of_3.map(Duration::from_millis),
                    told_s: None,
                };
                assert_eq!(KeepAlive::agree(level, asked_s, hour), kept, "{asked_s}");
            }
            let of_5 = Duration::from_millis(of_5);
            let agreed = KeepAlive::agree(V5, asked_s, hour);
            assert_eq!((agreed.silence_max, agreed.told_s), (Some(of_5), told_s));
        }
        let short = KeepAlive::agree(V5, 2, Duration::from_millis(1900));
        assert_eq!(short.told_s, Some(1));
        let day = KeepAlive::agree(V5, 0, Duration::from_secs(86_400));
        assert_eq!(day.told_s, Some(u16::MAX), "the field has no room for more");
    }
}
