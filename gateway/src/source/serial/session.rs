//! One opening of the port: bytes in, bytes out, verdicts back.

use std::time::{Duration, Instant};

use tidegate_link::{FRAME_SIZE_MAX, HostLink, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::device::DeviceHello;
use super::host::SerialHost;
use super::receipts::Settlement;
use crate::event::arrival::Arrival;
use crate::event::inlet::{Closed, Inlet};
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
}

/// One opening of the port.
pub(super) struct SerialSession<'a> {
    link: HostLink,
    host: &'a mut SerialHost,
    inlet: &'a Inlet,
    /// Bytes that the line has not taken yet.
    out: Vec<u8>,
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
            self.transmit(now);
            let may_read = self.host.receipts.unsettled() < UNDER_WAY_MAX;
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
                    self.host.check_silence(self.link.heard_ms(), clock::monotonic());
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
        if !self.out.is_empty() {
            return WAIT_MAX;
        }
        let due_ms = self
            .link
            .next_deadline()
            .saturating_sub(self.host.now_ms(now));
        Duration::from_millis(due_ms).clamp(WAIT_MIN, WAIT_MAX)
    }

    /// Takes bytes from the line.
    async fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        let mut arrivals = Vec::new();
        let mut now = clock::now();
        loop {
            let received = self.receive_next(&mut bytes, &mut arrivals, now);
            self.host.link_metrics.add(self.link.counters());
            match received {
                Received::Nothing => break,
                Received::Done => {}
                Received::Hello(hello) => {
                    self.inlet.offer(std::mem::take(&mut arrivals)).await?;
                    self.settle_outstanding().await;
                    now = clock::now();
                    self.resume(hello, now.instant);
                }
            }
        }
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
            } => arrivals.extend(self.host.event(id, uptime_ms, &body, now)),
            Incoming::Gap { last, count } => arrivals.extend(self.host.gap(last, count, now)),
            Incoming::Time {
                boot,
                uptime_ms,
                sent_ms,
                received_ms,
            } => self.host.clock.learn(boot, uptime_ms, sent_ms, received_ms),
            Incoming::SchemaField {
                key,
                index,
                count,
                field,
            } => self.host.schema_field(key, index, count, &field),
            Incoming::Log { level, text } => self.host.log(level, text),
            Incoming::BootReused(id) => self.host.boot_reused(id.device, id.boot),
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
                }
            }
        }
    }

    fn resume(&mut self, hello: DeviceHello, now: Instant) {
        let device = self.host.identify(hello);
        let (mark, schema) = (device.mark(), device.hello.schema);
        let schema_known = self.host.schemas.get(schema).is_some();
        let now_ms = self.host.now_ms(now);
        match self.link.resume(mark, schema_known, now_ms) {
            Ok(()) => self.host.device_joined(device),
            // The only reason: somebody has just said hello.
            Err(_) => self
                .host
                .boot_reused(device.hello.device, device.hello.boot),
        }
    }
}
