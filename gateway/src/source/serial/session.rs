//! One opening of the port: bytes in, bytes out, verdicts back.

use std::time::{Duration, Instant};

use tidegate_link::{FRAME_SIZE_MAX, HostLink, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::device::{ConnectedDevice, DeviceHello, Proof};
use super::host::{Greeting, SerialHost};
use super::receipts::Settlement;
use crate::event::arrival::Arrival;
use crate::event::inlet::{Closed, Inlet};
use crate::source::port_budget::ReadWork;
use crate::time::clock::{self, Now};

/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// Events under way at which the port is not read any further. A device sends eight at most; this
/// holds one that does not keep to it.
const UNDER_WAY_MAX: usize = 64;
/// How long a device holds its events after a refusal, in ms.
const RETRY_MS: u32 = 500;
/// The shortest wait for the link's next deadline.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// The longest wait: the device's silence is looked at this often.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What the link offered on.
enum Received {
    /// All bytes are used up.
    Nothing,
    /// Something that needs nothing more of the link.
    Done,
    /// Somebody said hello.
    Hello(DeviceHello),
    /// The device's clock says that this is its present boot.
    Clock(u32),
    /// News of missing records that cannot be stored now: they wait, and with them the device.
    NotNow,
}

/// One opening of the port.
pub(super) struct SerialSession<'a> {
    link: HostLink,
    host: &'a mut SerialHost,
    inlet: &'a Inlet,
    /// Bytes that the line has not taken yet.
    out: Vec<u8>,
    /// The device that was asked for its clock.
    asked: Option<ConnectedDevice>,
    /// The boot that the clock at the other end counts from.
    clock_boot: Option<u32>,
    /// The port is not read before.
    read_from: Instant,
}

impl<'a> SerialSession<'a> {
    /// A session with nobody yet.
    pub(super) fn new(host: &'a mut SerialHost, inlet: &'a Inlet, nonce: u16) -> SerialSession<'a> {
        host.port_opened();
        SerialSession {
            link: HostLink::new(nonce),
            host,
            inlet,
            out: Vec::new(),
            asked: None,
            clock_boot: None,
            read_from: clock::monotonic(),
        }
    }

    /// Talks until the port is gone, and tells how that showed.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub(super) async fn run(
        mut self,
        stream: impl AsyncRead + AsyncWrite,
    ) -> Result<String, Closed> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut buffer = [0; READ_BYTES];
        loop {
            let now = clock::monotonic();
            if self.host.is_asked() {
                self.link.discover();
            }
            self.transmit(now);
            let may_read = now >= self.read_from && self.host.receipts.unsettled() < UNDER_WAY_MAX;
            tokio::select! {
                read = reader.read(&mut buffer), if may_read => match read {
                    Ok(0) => return Ok("the line hung up".into()),
                    Ok(count) => self.receive(&buffer[..count]).await?,
                    Err(error) => return Ok(error.to_string()),
                },
                wrote = writer.write(&self.out), if !self.out.is_empty() => match wrote {
                    Ok(0) => return Ok("the line takes no more bytes".into()),
                    Ok(count) => drop(self.out.drain(..count)),
                    Err(error) => return Ok(error.to_string()),
                },
                () = self.host.receipts.ready() => self.settle(clock::monotonic()),
                () = tokio::time::sleep(self.wait(now)) => {
                    self.host.check_silence(&self.link, clock::monotonic());
                }
            }
        }
    }

    /// Puts every frame that is due into the empty buffer. While the line takes nothing the link
    /// is not asked, so what waits is bounded.
    fn transmit(&mut self, now: Instant) {
        if !self.out.is_empty() {
            return;
        }
        let now_ms = self.host.now_ms(now);
        let mut frame = [0; FRAME_SIZE_MAX];
        while let Some(bytes) = self.link.transmit(now_ms, &mut frame) {
            self.out.extend_from_slice(bytes);
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        let pause = self.read_from.saturating_duration_since(now);
        let pause = if pause.is_zero() { WAIT_MAX } else { pause };
        let due_ms = match self.out.is_empty() {
            true => self
                .link
                .next_deadline()
                .saturating_sub(self.host.now_ms(now)),
            false => u64::MAX,
        };
        Duration::from_millis(due_ms)
            .min(pause)
            .clamp(WAIT_MIN, WAIT_MAX)
    }

    /// Takes bytes from the line.
    async fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        let mut arrivals = Vec::new();
        let mut now = clock::now();
        if self.host.has_lost_its_device() {
            self.host.leave("it is at another source", now.instant);
            self.link.turn_away(self.host.now_ms(now.instant));
        }
        let before = self.link.counters();
        let mut read = ReadWork {
            took: Duration::ZERO,
            bytes: bytes.len(),
            useful: 0,
            all: 0,
        };
        loop {
            let began = clock::monotonic();
            let received = self.receive_next(&mut bytes, &mut arrivals, now);
            let after = clock::monotonic();
            read.took += after.saturating_duration_since(began);
            self.host.link_metrics.add(self.link.counters());
            match received {
                Received::Nothing => break,
                Received::Done => {}
                Received::Clock(boot) => self.clock_told(boot, now.instant),
                Received::Hello(_) | Received::NotNow => {
                    read.useful += arrivals.len();
                    self.inlet.offer(std::mem::take(&mut arrivals)).await?;
                    self.settle_outstanding().await;
                    now = clock::now();
                    match received {
                        Received::Hello(hello) => self.greet(hello, now.instant),
                        _ => self.hold_back(),
                    }
                    read.took += clock::monotonic().saturating_duration_since(now.instant);
                }
            }
        }
        read.useful += arrivals.len();
        read.all = self.link.counters().received_since(&before);
        self.read_from = self.host.worked(&read, now.instant);
        self.host.heard(self.link.heard_ms(), now.instant);
        self.inlet.offer(arrivals).await
    }

    fn receive_next(
        &mut self,
        bytes: &mut &[u8],
        arrivals: &mut Vec<Arrival>,
        now: Now,
    ) -> Received {
        let now_ms = self.host.now_ms(now.instant);
        let Some(incoming) = self.link.receive(bytes, now_ms) else {
            return Received::Nothing;
        };
        match incoming {
            Incoming::Hello(hello) => return Received::Hello(DeviceHello::from(&hello)),
            Incoming::Event {
                id,
                uptime_ms,
                body,
            } => match self.host.prove(id, uptime_ms, &body) {
                Proof::NotNeeded => arrivals.extend(self.host.event(id, uptime_ms, &body, now)),
                Proof::Awaited => {}
                Proof::Same => self.link.acknowledge(id),
                Proof::Other => {
                    self.host.turn_away_impostor(now.instant);
                    self.link.turn_away(now_ms);
                }
            },
            // What would show who it is was dropped: its next hello says what it holds.
            Incoming::Gap { .. } if self.host.is_unproven() => self.link.turn_away(now_ms),
            Incoming::Gap { .. } if !self.host.takes_gap(now.instant) => return Received::NotNow,
            Incoming::Gap { last, count } => arrivals.extend(self.host.gap(last, count, now)),
            Incoming::Time {
                boot,
                uptime_ms,
                sent_ms,
                received_ms,
            } => {
                self.host.clock.learn(boot, uptime_ms, sent_ms, received_ms);
                return Received::Clock(boot);
            }
            Incoming::SchemaField {
                key,
                index,
                count,
                field,
            } => self
                .host
                .schema_field(key, index, count, &field, now.instant),
            Incoming::SchemaUnreadable { key } => {
                let why = "a field of it cannot be read; a newer device needs a newer gateway";
                self.host.schema_refused(key, why, now.instant);
            }
            Incoming::Log { level, text } => self.host.log(level, text, now.instant),
            // The hello itself is handed on next.
            Incoming::BootReused(_) => {}
        }
        Received::Done
    }

    /// Waits until nothing is under way: from then on the device's mark in the store says all.
    async fn settle_outstanding(&mut self) {
        while self.host.receipts.unsettled() > 0 {
            self.host.receipts.ready().await;
            self.settle(clock::monotonic());
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some(settlement) = self.host.receipts.take() {
            match settlement {
                Settlement::Stored(offered) => {
                    self.host.stored(&offered, now);
                    self.link.acknowledge(offered.id);
                }
                Settlement::Refused(offered) => {
                    self.host.refused(&offered);
                    self.link.refuse(RETRY_MS);
                    if self.host.is_stranger() {
                        self.link.turn_away(self.host.now_ms(now));
                    }
                }
            }
        }
    }

    fn greet(&mut self, hello: DeviceHello, now: Instant) {
        (self.asked, self.clock_boot) = (None, None);
        match self.host.greet(hello, now) {
            Greeting::Welcome(device) => self.resume(device, now),
            Greeting::AskClock(device) => {
                self.link.ask_clock(self.host.now_ms(now));
                self.asked = Some(device);
            }
            Greeting::TurnAway => self.link.turn_away(self.host.now_ms(now)),
        }
    }

    /// Only a device that runs in a later boot than its records are of has them from its flash. A clock that counts from
    /// another boot all at once is another device's, which has nothing else to say.
    fn clock_told(&mut self, boot: u32, now: Instant) {
        let before = self.clock_boot.replace(boot);
        if before.is_some_and(|before| before != boot) {
            self.link.discover();
        }
        match self.asked.take() {
            Some(device) if device.hello.boot != boot => self.resume(device, now),
            Some(device) => {
                self.host.turn_away_other(&device, now);
                self.link.turn_away(self.host.now_ms(now));
            }
            None => {}
        }
    }

    fn resume(&mut self, mut device: ConnectedDevice, now: Instant) {
        let now_ms = self.host.now_ms(now);
        if !self.host.claim(&device, now) {
            return self.link.turn_away(now_ms);
        }
        let schema_known = self.host.schemas.get(device.hello.schema).is_some();
        let session = match (device.needs_session(), device.session) {
            (true, _) => Some(self.link.mint()),
            (false, 0) => None,
            (false, session) => Some(session),
        };
        device.go_on();
        let mark = device.mark();
        let resumed = match session {
            None => self.link.resume(mark, schema_known, now_ms),
            Some(session) => self.link.resume_in(session, mark, schema_known, now_ms),
        };
        match resumed {
            Ok(()) => {
                device.session = self.link.session();
                self.host.device_joined(device, now);
            }
            // The only reason: somebody has just said hello.
            Err(_) => {
                self.host.turn_away_other(&device, now);
                self.link.turn_away(now_ms);
            }
        }
    }

    /// What is not durable comes again, a little later.
    fn hold_back(&mut self) {
        self.host.held_back();
        self.link.refuse(RETRY_MS);
    }
}
