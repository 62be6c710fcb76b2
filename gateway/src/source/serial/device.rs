//! The device at the other end: its names, and its 32-bit sequence numbers as 64-bit ones.

use std::sync::Arc;

use tidegate_link::message::{FIRMWARE_SIZE_MAX, Hello, SessionId};
use tidegate_link::{DurableMark, EventId, Sequence};

use crate::event::arrival::Identity;
use crate::event::device_mark::Boots;

/// What is kept of a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceHello {
    pub(super) device: [u8; 8],
    pub(super) boot: u32,
    /// The session it says it is in; 0 for none.
    pub(super) session: SessionId,
    /// Cut to what a device may say.
    pub(super) firmware: String,
    pub(super) slot: u8,
    pub(super) schema: u32,
    /// Records it holds.
    pub(super) held: u32,
    /// Records it dropped since its boot.
    pub(super) lost: u32,
}

impl From<&Hello<'_>> for DeviceHello {
    fn from(hello: &Hello<'_>) -> DeviceHello {
        DeviceHello {
            device: hello.device,
            boot: hello.boot,
            session: hello.session,
            firmware: hello.firmware.chars().take(FIRMWARE_SIZE_MAX).collect(),
            slot: hello.slot,
            schema: hello.schema,
            held: hello.next.since(hello.oldest),
            lost: hello.lost,
        }
    }
}

/// A device's name in topics and ids: its eight bytes as text where they are letters, digits, `_`,
/// `.` and `-` followed by zeros, else as sixteen hexadecimal digits. No two devices share a name.
pub(super) fn device_name(device: &[u8; 8]) -> String {
    let length = device
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let text = device.get(..length).unwrap_or(device);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    if !text.is_empty() && text.iter().all(plain) {
        return text.iter().map(|byte| char::from(*byte)).collect();
    }
    device.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a device is that says hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is stored of its boot, or by a version that kept no sessions: its session holds, or it gets one.
    New,
    /// The one whose events are stored.
    Known,
    /// It is in no session, though events of this boot are stored. It brings them from its flash, where it runs in a
    /// later boot; else it is another one.
    FromFlash,
    /// Another one than that whose events are stored.
    Stranger,
}

/// One boot of one device, and how far its events got.
#[derive(Debug, Clone)]
pub(super) struct ConnectedDevice {
    /// Who it is.
    pub(super) hello: DeviceHello,
    /// Its name.
    pub(super) name: Arc<str>,
    /// Whether it is heard.
    pub(super) present: bool,
    /// The session of this boot; 0 while there is none.
    pub(super) session: SessionId,
    /// What it is.
    pub(super) standing: Standing,
    /// Whether nothing is stored of the device.
    pub(super) newcomer: bool,
    /// The last durable sequence.
    durable: Option<u64>,
    /// The last sequence handed on in this session, else the last durable one.
    last: Option<u64>,
}

impl ConnectedDevice {
    /// The device that said hello; `mark` is the value of its durable mark.
    pub(super) fn new(hello: DeviceHello, mark: Option<&[u8]>) -> ConnectedDevice {
        let boots = mark.map(Boots::from_bytes).unwrap_or_default();
        let known = boots.mark(hello.boot.into());
        let durable = known.map(|known| known.sequence);
        let session = known.map_or(0, |known| known.session);
        let standing = match (known, hello.session) {
            (None, _) => Standing::New,
            (Some(_), 0) => Standing::FromFlash,
            (Some(_), _) if session == 0 => Standing::New,
            (Some(_), claimed) if claimed == session => Standing::Known,
            (Some(_), _) => Standing::Stranger,
        };
        ConnectedDevice {
            name: device_name(&hello.device).into(),
            hello,
            present: true,
            session,
            standing,
            newcomer: mark.is_none(),
            durable,
            last: durable,
        }
    }

    /// Where the link goes on.
    pub(super) fn mark(&self) -> Option<DurableMark> {
        self.durable.map(|sequence| {
            DurableMark(EventId {
                device: self.hello.device,
                boot: self.hello.boot,
                // The low half is the number on the line.
                sequence: Sequence(sequence as u32),
            })
        })
    }

    /// The number and the identity of what the link hands on next, an event or a gap.
    pub(super) fn next(&mut self, sequence: Sequence) -> (u64, Identity) {
        let wide = widen(self.last, sequence);
        let identity = Identity::Device {
            device: Arc::clone(&self.name),
            boot: self.hello.boot.into(),
            session: self.session,
            sequence: wide,
            after: self.last.replace(wide),
        };
        (wide, identity)
    }

    /// Whether an event is of this boot of this device.
    pub(super) fn is_of(&self, id: EventId) -> bool {
        (id.device, id.boot) == (self.hello.device, self.hello.boot)
    }

    /// Everything up to this sequence is durable.
    pub(super) fn stored(&mut self, sequence: u64) {
        self.durable = Some(sequence);
    }

    /// What was handed on and is not durable comes again.
    pub(super) fn refused(&mut self) {
        self.last = self.durable;
    }
}

/// The number nearest to `last` whose low 32 bits are `sequence`.
fn widen(last: Option<u64>, sequence: Sequence) -> u64 {
    let Some(last) = last else {
        return sequence.0.into();
    };
    let steps = sequence.0.wrapping_sub(last as u32).cast_signed();
    last.saturating_add_signed(steps.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> DeviceHello {
        DeviceHello {
            device: *b"node-001",
            boot: 5,
            session: 0,
            firmware: "1".into(),
            slot: 0,
            schema: 0,
            held: 0,
            lost: 0,
        }
    }

    #[test]
    fn a_name_is_text_where_it_can_be_and_never_shared() {
        assert_eq!(device_name(b"bench000"), "bench000");
        assert_eq!(device_name(b"n1\0\0\0\0\0\0"), "n1");
        assert_eq!(device_name(b"n/1\0\0\0\0\0"), "6e2f310000000000");
        assert_eq!(device_name(b"n\x001\0\0\0\0\0"), "6e00310000000000");
        assert_eq!(device_name(&[0; 8]), "0000000000000000");
    }

    #[test]
    fn a_wrap_counts_on() {
        let mut device = ConnectedDevice::new(hello(), None);
        assert_eq!(device.next(Sequence(u32::MAX)).0, u64::from(u32::MAX));
        let (wide, identity) = device.next(Sequence(0));
        assert_eq!(wide, 1 << 32);
        let after = u64::from(u32::MAX);
        assert!(matches!(identity, Identity::Device { after: Some(a), .. } if a == after));
        device.stored(wide);
        assert_eq!(device.mark().map(|mark| mark.0.sequence), Some(Sequence(0)));
    }

    #[test]
    fn after_a_restart_numbers_count_on_from_the_mark() {
        let mark: Vec<u8> = [5u64, (3 << 32) - 1]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        let mut device = ConnectedDevice::new(hello(), Some(&mark));
        assert_eq!(
            device.mark().map(|mark| mark.0.sequence),
            Some(Sequence(u32::MAX))
        );
        assert_eq!(device.next(Sequence(0)).0, 3 << 32);
    }

    #[test]
    fn after_a_refusal_the_next_event_follows_on_the_last_durable_one() {
        let mut device = ConnectedDevice::new(hello(), None);
        for sequence in 0..4 {
            device.next(Sequence(sequence));
        }
        device.stored(1);
        device.refused();
        let (wide, identity) = device.next(Sequence(2));
        assert_eq!(wide, 2);
        assert!(matches!(identity, Identity::Device { after: Some(1), .. }));
    }

    #[test]
    fn who_says_hello_shows_by_its_session() {
        let mut marks = Boots::default();
        marks.advance(5, 10, 77);
        let with = marks.to_bytes();
        let without = &with[..16];
        let check = |boot, session, mark, expected| {
            let hello = DeviceHello {
                boot,
                session,
                ..hello()
            };
            let found = ConnectedDevice::new(hello, mark).standing;
            assert_eq!(found, expected, "boot {boot}, session {session}, {mark:?}");
        };
        for session in [0, 77, 78] {
            check(5, session, None, Standing::New);
            check(6, session, Some(&with), Standing::New);
        }
        check(5, 77, Some(&with), Standing::Known);
        check(5, 78, Some(&with), Standing::Stranger);
        check(5, 0, Some(&with), Standing::FromFlash);
        check(5, 78, Some(without), Standing::New);
        check(5, 0, Some(without), Standing::FromFlash);
    }
}
