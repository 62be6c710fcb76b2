//! The node's half of the link: sends what its ring holds, a window at a time, and forgets what was acknowledged.
//!
//! Until the gateway has welcomed this boot the node only says hello. It goes back to the oldest record it holds when
//! acks stay away, and holds still when the gateway says that it cannot store.

use crate::counters::{Counters, count};
use crate::frame::{self, Decoder, FrameBuffer};
use crate::message::{
    self, BootId, DeviceId, FIRMWARE_SIZE_MAX, Hello, LOG_SIZE_MAX, Level, Payload,
    RECORD_SIZE_MAX, Record, SessionId, ToDevice, ToGateway, WINDOW,
};
use crate::ring::{Ring, RingError};
use crate::schema::{Field, Kind, Schema, Value, write_values};
use crate::sequence::Sequence;

/// How often an unwelcomed node says hello, in ms.
pub const HELLO_MS: u64 = 1_000;
/// First wait for an ack before events are sent again, in ms; doubles up to [`RETRANSMIT_MS_MAX`].
pub const RETRANSMIT_MS_MIN: u64 = 300;
/// Longest wait for an ack, in ms.
pub const RETRANSMIT_MS_MAX: u64 = 5_000;
/// Longest hold a refusal can ask for, in ms.
pub const HOLD_MS_MAX: u64 = 60_000;

/// What a node says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its name, unique among the nodes of a gateway.
    pub device: DeviceId,
    /// Firmware version, at most [`FIRMWARE_SIZE_MAX`] bytes (longer ones are cut to nothing).
    pub firmware: &'static str,
    /// The firmware slot it runs from.
    pub slot: u8,
    /// Its readings.
    pub schema: Schema,
}

/// The node's half, over the ring that holds its records.
#[derive(Debug)]
pub struct DeviceLink<R> {
    identity: Identity,
    schema_key: u32,
    ring: R,
    decoder: Decoder,
    counters: Counters,
    /// The welcome that holds, if any: its session and the boot it was for.
    session: Option<(SessionId, u32)>,
    hello_at_ms: u64,
    /// The record to send next.
    cursor: Sequence,
    /// One past the furthest record sent in this session.
    furthest: Sequence,
    retransmit_ms: u64,
    /// When records on the way count as not arrived.
    retransmit_at_ms: Option<u64>,
    hold_until_ms: u64,
    time_request: Option<u16>,
    schema_request: Option<(u32, u8)>,
    log: Option<(Level, heapless::String<LOG_SIZE_MAX>)>,
    /// Records dropped of this boot, the one whose records were dropped last.
    lost: (BootId, u32),
}

impl<R: Ring> DeviceLink<R> {
    /// A link that has not said hello yet.
    pub fn new(identity: Identity, ring: R) -> Self {
        let oldest = ring.run().oldest;
        Self {
            schema_key: identity.schema.key(),
            identity,
            ring,
            decoder: Decoder::default(),
            counters: Counters::default(),
            session: None,
            hello_at_ms: 0,
            cursor: oldest,
            furthest: oldest,
            retransmit_ms: RETRANSMIT_MS_MIN,
            retransmit_at_ms: None,
            hold_until_ms: 0,
            time_request: None,
            schema_request: None,
            log: None,
            lost: (0, 0),
        }
    }

    /// Records readings, in the order of the schema's fields. A full ring drops its oldest record for it.
    pub fn record(&mut self, uptime_ms: u64, values: &[Value]) -> Result<(), RingError> {
        let mut encoded = [0; RECORD_SIZE_MAX];
        let size = write_values(values, &mut encoded).ok_or(RingError::TooLarge)?;
        let payload = Payload::Readings {
            schema: self.schema_key,
            values: &encoded[..size],
        };
        let mut record = [0; RECORD_SIZE_MAX];
        let record = postcard::to_slice(&Record { uptime_ms, payload }, &mut record)
            .map_err(|_| RingError::TooLarge)?;
        let before = self.ring.run();
        let dropped = self.ring.push(record)?;
        self.counters.lost = self.counters.lost.saturating_add(dropped);
        let oldest = self.ring.run().boot;
        self.lost = match oldest == before.boot {
            true => (oldest, self.lost_of(oldest).saturating_add(dropped)),
            // The last of a boot were dropped, and then some of the next one.
            false => (oldest, dropped.saturating_sub(before.count())),
        };
        Ok(())
    }

    /// Sends a line of log text when there is room. One line waits at most; further ones are dropped and counted.
    pub fn log(&mut self, level: Level, text: &str) {
        if self.log.is_some() {
            return count(&mut self.counters.log_lost);
        }
        let mut line = heapless::String::new();
        for character in text.chars() {
            if line.push(character).is_err() {
                break;
            }
        }
        self.log = Some((level, line));
    }

    /// Takes bytes that came from the gateway.
    pub fn receive(&mut self, mut bytes: &[u8], now_ms: u64) {
        while let Some(frame) = self.decoder.advance(&mut bytes) {
            match frame.map(|()| message::read::<ToDevice>(self.decoder.message())) {
                Ok(Some(message)) => {
                    count(&mut self.counters.frames);
                    self.take_message(message, now_ms);
                }
                Ok(None) => count(&mut self.counters.unknown),
                Err(error) => error.count_in(&mut self.counters),
            }
        }
    }

    /// The next frame to put on the line, if one is due.
    pub fn transmit<'a>(&mut self, now_ms: u64, out: &'a mut FrameBuffer) -> Option<&'a [u8]> {
        self.leave_session_of_drained_boot(now_ms);
        if let Some(token) = self.time_request.take() {
            let boot = self.ring.boot();
            return frame::encode(
                &ToGateway::TimeReply {
                    token,
                    boot,
                    uptime_ms: now_ms,
                },
                out,
            );
        }
        if let Some((key, index)) = self.schema_request.take() {
            return frame::encode(&self.schema_field(key, index), out);
        }
        if now_ms >= self.hello_at_ms {
            self.hello_at_ms = if self.session.is_some() {
                u64::MAX
            } else {
                now_ms + HELLO_MS
            };
            return frame::encode(&ToGateway::Hello(self.hello()), out);
        }
        if let Some((level, text)) = self.log.take() {
            return frame::encode(&ToGateway::Log { level, text: &text }, out);
        }
        self.transmit_event(now_ms, out)
    }

    /// When [`transmit`](Self::transmit) has something to do even if nothing is received or recorded before.
    pub fn next_deadline(&self) -> Option<u64> {
        let hello = (self.hello_at_ms != u64::MAX).then_some(self.hello_at_ms);
        let send = if self.sendable() {
            Some(self.hold_until_ms)
        } else {
            self.retransmit_at_ms
        };
        hello.into_iter().chain(send).min()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the gateway has welcomed this boot.
    pub fn is_welcome(&self) -> bool {
        self.session.is_some()
    }

    /// Records held.
    pub fn held(&self) -> u32 {
        self.ring.run().count()
    }

    fn lost_of(&self, boot: BootId) -> u32 {
        let (of, lost) = self.lost;
        if of == boot { lost } else { 0 }
    }

    fn hello(&self) -> Hello<'static> {
        let run = self.ring.run();
        let firmware = self.identity.firmware;
        Hello {
            device: self.identity.device,
            boot: run.boot,
            session: self.session.map_or(0, |(session, _)| session),
            firmware: if firmware.len() <= FIRMWARE_SIZE_MAX {
                firmware
            } else {
                ""
            },
            slot: self.identity.slot,
            schema: self.schema_key,
            window: WINDOW,
            next: run.next,
            oldest: run.oldest,
            lost: self.lost_of(run.boot),
        }
    }

    fn schema_field(&self, key: u32, index: u8) -> ToGateway<'static> {
        let fields = if key == self.schema_key {
            self.identity.schema.fields
        } else {
            &[]
        };
        let nothing = Field {
            name: "",
            unit: "",
            kind: Kind::Boolean,
        };
        let field = fields.get(usize::from(index)).copied().unwrap_or(nothing);
        ToGateway::SchemaField {
            key,
            index,
            count: u8::try_from(fields.len()).unwrap_or(0),
            field,
        }
    }

    fn take_message(&mut self, message: ToDevice, now_ms: u64) {
        match message {
            ToDevice::Discover => self.hello_at_ms = now_ms,
            ToDevice::Welcome {
                device,
                boot,
                session,
                next,
            } => self.begin_session(device, boot, (session, next), now_ms),
            ToDevice::TimeRequest { token } => self.time_request = Some(token),
            ToDevice::SchemaRequest { key, index } => self.schema_request = Some((key, index)),
            ToDevice::Ack { session, next } => {
                if self.is_current(session) {
                    self.release(next, now_ms);
                }
            }
            ToDevice::Resend { session, next } => {
                if self.is_current(session) {
                    self.go_back(next, now_ms);
                }
            }
            ToDevice::Refuse {
                session,
                next,
                retry_ms,
            } => {
                if self.is_current(session) {
                    self.release(next, now_ms);
                    self.cursor = self.ring.run().oldest;
                    self.retransmit_at_ms = None;
                    self.hold_until_ms = now_ms + u64::from(retry_ms).min(HOLD_MS_MAX);
                    count(&mut self.counters.refusals);
                }
            }
        }
    }

    fn is_current(&mut self, session: SessionId) -> bool {
        // The ring may show the next boot already, whose numbers the session does not mean.
        let current = self.session == Some((session, self.ring.run().boot));
        if !current {
            count(&mut self.counters.foreign_session);
        }
        current
    }

    fn begin_session(
        &mut self,
        device: DeviceId,
        boot: u32,
        (session, next): (SessionId, Sequence),
        now_ms: u64,
    ) {
        let run = self.ring.run();
        let is_meant = device == self.identity.device && boot == run.boot && session != 0;
        if !is_meant || run.next.is_before(next) {
            return count(&mut self.counters.foreign_session);
        }
        // A welcome that came before: what is on the way stays there, and a hold holds.
        if self.session == Some((session, boot)) {
            return self.release(next, now_ms);
        }
        self.ring.release(next);
        let oldest = self.ring.run().oldest;
        self.session = Some((session, boot));
        self.hello_at_ms = u64::MAX;
        (self.cursor, self.furthest) = (oldest, oldest);
        (
            self.retransmit_ms,
            self.retransmit_at_ms,
            self.hold_until_ms,
        ) = (RETRANSMIT_MS_MIN, None, 0);
    }

    /// Everything before `next` is durable; what was never sent in this session cannot be.
    fn release(&mut self, next: Sequence, now_ms: u64) {
        let oldest = self.ring.run().oldest;
        // Of what is held. The ring may have dropped more than was sent.
        let sent = match self.furthest.is_before(oldest) {
            true => 0,
            false => self.furthest.since(oldest),
        };
        if !(1..=sent).contains(&next.since(oldest)) {
            return;
        }
        self.ring.release(next);
        if self.cursor.is_before(next) {
            self.cursor = next;
        }
        self.retransmit_ms = RETRANSMIT_MS_MIN;
        self.retransmit_at_ms = (self.cursor != next).then_some(now_ms + self.retransmit_ms);
    }

    fn go_back(&mut self, next: Sequence, now_ms: u64) {
        let oldest = self.ring.run().oldest;
        if next.is_before(oldest) {
            // It was dropped: say what there is instead, so that the gateway can count the gap.
            self.hello_at_ms = now_ms;
            self.cursor = oldest;
        } else if next.is_before(self.cursor) {
            self.cursor = next;
        }
    }

    /// When the last record of an earlier boot is acknowledged, the next run needs a welcome of its own.
    fn leave_session_of_drained_boot(&mut self, now_ms: u64) {
        let run = self.ring.run();
        if self.session.is_some_and(|(_, boot)| boot != run.boot) {
            self.session = None;
            self.hello_at_ms = now_ms;
        }
    }

    /// Whether a record waits that the window lets out.
    fn sendable(&self) -> bool {
        let run = self.ring.run();
        let cursor = if self.cursor.is_before(run.oldest) {
            run.oldest
        } else {
            self.cursor
        };
        self.session.is_some()
            && cursor.is_before(run.next)
            && cursor.since(run.oldest) < u32::from(WINDOW)
    }

    fn transmit_event<'a>(&mut self, now_ms: u64, out: &'a mut FrameBuffer) -> Option<&'a [u8]> {
        let (session, _) = self.session?;
        if now_ms < self.hold_until_ms {
            return None;
        }
        let oldest = self.ring.run().oldest;
        if self.cursor.is_before(oldest) {
            self.cursor = oldest;
        }
        if self.retransmit_at_ms.is_some_and(|at| now_ms >= at) {
            self.cursor = oldest;
            self.retransmit_at_ms = None;
            self.retransmit_ms = (self.retransmit_ms * 2).min(RETRANSMIT_MS_MAX);
        }
        if !self.sendable() {
            return None;
        }
        let mut record = [0; RECORD_SIZE_MAX];
        let size = self.ring.read(self.cursor, &mut record)?;
        let sequence = self.cursor;
        self.cursor = sequence.next();
        if sequence.is_before(self.furthest) {
            count(&mut self.counters.retransmits);
        } else {
            self.furthest = self.cursor;
        }
        self.retransmit_at_ms
            .get_or_insert(now_ms + self.retransmit_ms);
        frame::encode(
            &ToGateway::Event {
                session,
                sequence,
                record: &record[..size],
            },
            out,
        )
    }
}
