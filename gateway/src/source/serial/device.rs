//! The device at the other end: its names, and its 32-bit sequence numbers as 64-bit ones.

use std::sync::Arc;

use tidegate_link::message::{FIRMWARE_SIZE_MAX, Hello, SessionId, WINDOW};
use tidegate_link::{Body, DurableMark, EventId, Sequence};

use crate::event::arrival::Identity;
use crate::event::device_mark::{BootMark, Boots, record_digest};

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
    /// The oldest record it holds.
    pub(super) oldest: Sequence,
    /// How many it holds.
    pub(super) held: u32,
    /// Records it dropped since its boot.
    pub(super) lost: u32,
}

impl DeviceHello {
    /// The number of the next record it will make.
    fn next(&self) -> Sequence {
        self.oldest.plus(self.held)
    }
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
            oldest: hello.oldest,
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
pub(super) enum Recognition {
    /// Nothing is stored of its boot, or by a version that kept no sessions: its session holds, or it gets one.
    New,
    /// The one whose events are stored.
    Known,
    /// It is not in the session that events of this boot are stored of. It brings them from its flash, where it runs in
    /// a later boot; else it is another one.
    FromFlash,
    /// Another one than that whose events are stored.
    Stranger,
    /// It comes back with a boot that another one is stored after: no node does, since each brings its boots in order.
    Returned,
}

impl Recognition {
    /// `stored` is what is stored of the boot.
    fn of(hello: &DeviceHello, stored: &BootMark, is_latest: bool) -> Recognition {
        let first = stored_through(stored).next();
        let is_ahead = first.is_before(hello.next());
        let again = stored_again(hello, stored);
        match hello.session {
            _ if !is_latest && is_ahead => Recognition::Returned,
            claimed if claimed != 0 && claimed == stored.session => match is_latest {
                true => Recognition::Known,
                false => Recognition::Returned,
            },
            _ if hello.next().is_before(first) || again >= WINDOW.into() => Recognition::Stranger,
            0 => Recognition::FromFlash,
            _ if stored.session != 0 => Recognition::FromFlash,
            _ if is_latest => Recognition::New,
            _ => Recognition::Returned,
        }
    }
}

/// The number on the line of the last record that is stored.
fn stored_through(stored: &BootMark) -> Sequence {
    Sequence(stored.sequence as u32)
}

/// How many records a node holds that are stored of its boot, or have the numbers of those.
fn stored_again(hello: &DeviceHello, stored: &BootMark) -> u32 {
    let first = stored_through(stored).next();
    match hello.oldest.is_before(first) {
        true => first.since(hello.oldest),
        false => 0,
    }
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
    /// The session that what is stored of this boot came in.
    pub(super) former: SessionId,
    /// What it is.
    pub(super) recognition: Recognition,
    /// Whether nothing is stored of the device.
    pub(super) newcomer: bool,
    /// What is stored of its boot.
    stored: Option<BootMark>,
    /// The record that shows whether what is stored of its boot came from it; until then, nothing of it is taken.
    proof: Option<BootMark>,
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
        let is_latest = boots.is_latest(hello.boot.into());
        let recognition = known.map_or(Recognition::New, |known| {
            Recognition::of(&hello, &known, is_latest)
        });
        ConnectedDevice {
            name: device_name(&hello.device).into(),
            hello,
            present: true,
            session,
            former: session,
            recognition,
            newcomer: mark.is_none(),
            stored: known,
            proof: None,
            durable,
            last: durable,
        }
    }

    /// Whether it goes on in a session of its own: whoever is in the one before is not it.
    pub(super) fn needs_session(&self) -> bool {
        self.stored.is_some() && self.recognition != Recognition::Known
    }

    /// It goes on, and lets nothing go that is not shown to be stored: what it still holds of that comes first. Where
    /// an earlier version stored it and kept nothing to compare it with, it is stored again.
    pub(super) fn go_on(&mut self) {
        let Some(stored) = self.stored.filter(|_| self.needs_session()) else {
            return;
        };
        let again = stored_again(&self.hello, &stored);
        if again > 0 {
            self.durable = stored.sequence.checked_sub(again.into());
            self.last = self.durable;
            self.proof = Some(stored).filter(|stored| stored.digest != 0);
        }
    }

    /// What a record shows of a node that is not known to be the one whose events are stored.
    pub(super) fn prove(&mut self, sequence: Sequence, uptime_ms: u64, body: &Body<'_>) -> Proof {
        let Some(stored) = self.proof else {
            return Proof::NotNeeded;
        };
        if sequence.is_before(stored_through(&stored)) {
            return Proof::Awaited;
        }
        let is_it = sequence == stored_through(&stored) && digest(uptime_ms, body) == stored.digest;
        if !is_it {
            return Proof::Other;
        }
        (self.proof, self.durable) = (None, Some(stored.sequence));
        self.last = self.durable;
        Proof::Same
    }

    /// Whether nothing of it is taken yet.
    pub(super) fn is_unproven(&self) -> bool {
        self.proof.is_some()
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

    /// The number and the identity of what the link hands on next, an event or, with digest 0, a gap.
    pub(super) fn next(&mut self, sequence: Sequence, digest: u16) -> (u64, Identity) {
        let wide = widen(self.last, sequence);
        let identity = Identity::Device {
            device: Arc::clone(&self.name),
            boot: self.hello.boot.into(),
            session: self.session,
            former: self.former,
            sequence: wide,
            after: self.last.replace(wide),
            digest,
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

/// What a record shows of the node that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its node is known.
    NotNeeded,
    /// Nothing yet.
    Awaited,
    /// It is stored, with all before it.
    Same,
    /// Another one is stored in its place.
    Other,
}

/// What is kept of a record to know it again.
pub(super) fn digest(uptime_ms: u64, body: &Body<'_>) -> u16 {
    let (Body::Readings { values: bytes, .. } | Body::Unreadable(bytes)) = *body;
    record_digest(uptime_ms, bytes)
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
            oldest: Sequence(0),
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
        assert_eq!(device.next(Sequence(u32::MAX), 1).0, u64::from(u32::MAX));
        let (wide, identity) = device.next(Sequence(0), 1);
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
        assert_eq!(device.next(Sequence(0), 1).0, 3 << 32);
    }

    #[test]
    fn after_a_refusal_the_next_event_follows_on_the_last_durable_one() {
        let mut device = ConnectedDevice::new(hello(), None);
        for sequence in 0..4 {
            device.next(Sequence(sequence), 1);
        }
        device.stored(1);
        device.refused();
        let (wide, identity) = device.next(Sequence(2), 1);
        assert_eq!(wide, 2);
        assert!(matches!(identity, Identity::Device { after: Some(1), .. }));
    }

    #[test]
    fn who_says_hello_shows_by_its_session_its_boot_and_what_it_holds() {
        use Recognition::{FromFlash, Known, New, Returned, Stranger};
        // Boot 5 is stored through 10 in session 77, boot 4 through 20 in session 66; boot 5 began to be stored last.
        let mut marks = Boots::default();
        for (boot, sequence, session) in [(4, 20, 66), (5, 10, 77)] {
            marks.advance(BootMark {
                boot,
                sequence,
                session,
                digest: 9,
            });
        }
        let with = marks.to_bytes();
        let without = &with[..32];
        let (with, without) = (Some(&with[..]), Some(without));
        // Boot, session, what it holds, and what it is.
        let cases = [
            (with, 6, 0, 0..30, New),
            (with, 6, 78, 0..30, New),
            (with, 5, 77, 11..11, Known),
            (with, 5, 77, 4..30, Known),
            (with, 5, 77, 0..30, Known),
            (with, 5, 78, 4..30, FromFlash),
            (with, 5, 78, 3..30, Stranger),
            (with, 5, 0, 4..30, FromFlash),
            (with, 5, 0, 11..11, FromFlash),
            (with, 5, 0, 30..40, FromFlash),
            (with, 5, 0, 3..30, Stranger),
            (with, 5, 0, 4..10, Stranger),
            (with, 4, 66, 21..21, Returned),
            (with, 4, 66, 0..30, Returned),
            (with, 4, 67, 14..21, FromFlash),
            (with, 4, 0, 14..21, FromFlash),
            (with, 4, 0, 0..21, Stranger),
            (with, 4, 0, 21..22, Returned),
            (without, 5, 78, 4..30, New),
            (without, 5, 78, 11..30, New),
            (without, 5, 78, 3..30, Stranger),
            (without, 5, 78, 0..9, Stranger),
            (without, 5, 0, 4..30, FromFlash),
            (without, 4, 66, 21..30, Returned),
            (without, 4, 0, 14..21, FromFlash),
            (None, 5, 78, 4..30, New),
        ];
        for (mark, boot, session, holds, expected) in cases {
            let hello = DeviceHello {
                boot,
                session,
                oldest: Sequence(holds.start),
                held: holds.end - holds.start,
                ..hello()
            };
            let found = ConnectedDevice::new(hello, mark).recognition;
            let sessions = mark.is_some_and(|mark| mark.len() > 32);
            assert_eq!(
                found, expected,
                "boot {boot}, session {session}, {holds:?}, {sessions}"
            );
        }
    }

    #[test]
    fn records_that_are_stored_show_who_brings_them_from_its_flash() {
        let values = |n: u32| [n as u8, 1];
        let read = |device: &mut ConnectedDevice, n: u32, uptime_ms: u64| {
            let values = values(n);
            let body = Body::Readings {
                schema: 1,
                values: &values,
            };
            device.prove(Sequence(n), uptime_ms, &body)
        };
        let device = |holds: std::ops::Range<u32>, digest: u16| {
            let mut marks = Boots::default();
            marks.advance(BootMark {
                boot: 5,
                sequence: (1 << 32) + 10,
                session: 77,
                digest,
            });
            let hello = DeviceHello {
                oldest: Sequence(holds.start),
                held: holds.end - holds.start,
                ..hello()
            };
            let mut device = ConnectedDevice::new(hello, Some(&marks.to_bytes()));
            device.go_on();
            assert!(device.needs_session());
            device
        };
        let stored = record_digest(100, &values(10));
        let mut same = device(8..30, stored);
        assert_eq!(same.mark().map(|mark| mark.0.sequence), Some(Sequence(7)));
        assert_eq!(read(&mut same, 8, 80), Proof::Awaited);
        assert_eq!(read(&mut same, 9, 90), Proof::Awaited);
        assert_eq!(read(&mut same, 10, 100), Proof::Same);
        assert_eq!(read(&mut same, 11, 110), Proof::NotNeeded);
        let (wide, identity) = same.next(Sequence(11), 1);
        let after = (1 << 32) + 10;
        assert_eq!(wide, after + 1);
        assert!(
            matches!(identity, Identity::Device { after: Some(a), former: 77, .. } if a == after)
        );
        assert_eq!(read(&mut device(8..30, stored), 10, 101), Proof::Other);
        assert_eq!(read(&mut device(8..30, stored), 11, 100), Proof::Other);
        // Nothing to show, and nothing to show it by.
        assert_eq!(read(&mut device(11..30, stored), 11, 1), Proof::NotNeeded);
        let mut again = device(8..30, 0);
        assert_eq!(read(&mut again, 8, 1), Proof::NotNeeded);
        assert_eq!(again.next(Sequence(8), 1).0, (1 << 32) + 8);
    }
}
