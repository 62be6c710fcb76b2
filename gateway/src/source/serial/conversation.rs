//! One opening of the port: bytes in, bytes out, verdicts back.

use std::time::Duration;

use tidegate_link::{FRAME_SIZE_MAX, HostLink, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::desk::Desk;
use super::peer::Greeting;
use super::verdicts::Settled;
use crate::event::arrival::Arrival;
use crate::event::inlet::{Closed, Inlet};

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

/// What the link handed on.
enum Heard {
    /// All bytes are used up.
    Nothing,
    /// Something that needs nothing more of the link.
    Done,
    /// Somebody said hello.
    Hello(Greeting),
}

/// One opening of the port.
pub(super) struct Conversation<'a> {
    link: HostLink,
    desk: &'a mut Desk,
    inlet: &'a Inlet,
    /// Bytes that the line has not taken yet.
    out: Vec<u8>,
}

impl<'a> Conversation<'a> {
    /// A conversation with nobody yet.
    pub(super) fn new(desk: &'a mut Desk, inlet: &'a Inlet, nonce: u16) -> Conversation<'a> {
        desk.port_opened();
        Conversation {
            link: HostLink::new(nonce),
            desk,
            inlet,
            out: Vec::new(),
        }
    }

    /// Talks until the port is gone, and tells how that showed.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub(super) async fn hold(
        mut self,
        stream: impl AsyncRead + AsyncWrite,
    ) -> Result<String, Closed> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut buffer = [0; READ_BYTES];
        loop {
            self.fill();
            let may_read = self.desk.verdicts.unsettled() < UNDER_WAY_MAX;
            tokio::select! {
                read = reader.read(&mut buffer), if may_read => match read {
                    Ok(0) => return Ok("the line hung up".into()),
                    Ok(count) => self.take(&buffer[..count]).await?,
                    Err(error) => return Ok(error.to_string()),
                },
                wrote = writer.write(&self.out), if !self.out.is_empty() => match wrote {
                    Ok(0) => return Ok("the line takes no more bytes".into()),
                    Ok(count) => drop(self.out.drain(..count)),
                    Err(error) => return Ok(error.to_string()),
                },
                () = self.desk.verdicts.more() => self.settle(),
                () = tokio::time::sleep(self.wait()) => self.desk.watch_silence(self.link.heard_ms()),
            }
        }
    }

    /// Puts every frame that is due into the empty buffer. While the line takes nothing the link
    /// is not asked, so what waits is bounded.
    fn fill(&mut self) {
        if !self.out.is_empty() {
            return;
        }
        let mut frame = [0; FRAME_SIZE_MAX];
        while let Some(bytes) = self.link.transmit(self.desk.now_ms(), &mut frame) {
            self.out.extend_from_slice(bytes);
        }
    }

    fn wait(&self) -> Duration {
        if !self.out.is_empty() {
            return WAIT_MAX;
        }
        let due_ms = self.link.next_deadline().saturating_sub(self.desk.now_ms());
        Duration::from_millis(due_ms).clamp(WAIT_MIN, WAIT_MAX)
    }

    /// Takes bytes from the line.
    async fn take(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        let mut arrivals = Vec::new();
        loop {
            let heard = self.hear(&mut bytes, &mut arrivals);
            self.desk.link_metrics.add(self.link.counters());
            match heard {
                Heard::Nothing => break,
                Heard::Done => {}
                Heard::Hello(greeting) => {
                    self.inlet.offer(std::mem::take(&mut arrivals)).await?;
                    self.settle_all().await;
                    self.resume(greeting);
                }
            }
        }
        self.desk.heard(self.link.heard_ms());
        self.inlet.offer(arrivals).await
    }

    fn hear(&mut self, bytes: &mut &[u8], arrivals: &mut Vec<Arrival>) -> Heard {
        let now_ms = self.desk.now_ms();
        let Some(incoming) = self.link.receive(bytes, now_ms) else {
            return Heard::Nothing;
        };
        match incoming {
            Incoming::Hello(hello) => return Heard::Hello(Greeting::from(&hello)),
            Incoming::Event {
                id,
                uptime_ms,
                body,
            } => arrivals.extend(self.desk.event(id, uptime_ms, &body)),
            Incoming::Gap { last, count } => arrivals.extend(self.desk.gap(last, count)),
            Incoming::Time {
                boot,
                uptime_ms,
                sent_ms,
                received_ms,
            } => self.desk.clock.learn(boot, uptime_ms, sent_ms, received_ms),
            Incoming::SchemaField {
                key,
                index,
                count,
                field,
            } => self.desk.schema_field(key, index, count, &field),
            Incoming::Log { level, text } => self.desk.log(level, text),
            Incoming::BootReused(id) => self.desk.boot_reused(id.device, id.boot),
        }
        Heard::Done
    }

    /// Waits until nothing is under way: from then on the device's mark in the store says all.
    async fn settle_all(&mut self) {
        while self.desk.verdicts.unsettled() > 0 {
            self.desk.verdicts.more().await;
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(settled) = self.desk.verdicts.take() {
            match settled {
                Settled::Stored(handed) => {
                    self.desk.stored(&handed);
                    self.link.acknowledge(handed.id);
                }
                Settled::Refused(handed) => {
                    self.desk.refused(&handed);
                    self.link.refuse(RETRY_MS);
                }
            }
        }
    }

    fn resume(&mut self, greeting: Greeting) {
        let peer = self.desk.look_up(greeting);
        let (mark, schema) = (peer.mark(), peer.greeting.schema);
        let schema_known = self.desk.schemas.get(schema).is_some();
        let now_ms = self.desk.now_ms();
        match self.link.resume(mark, schema_known, now_ms) {
            Ok(()) => self.desk.join(peer),
            // The only reason: somebody has just said hello.
            Err(_) => self
                .desk
                .boot_reused(peer.greeting.device, peer.greeting.boot),
        }
    }
}
