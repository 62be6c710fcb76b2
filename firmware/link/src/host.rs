//! The gateway's half of the link: finds out who is at the other end, asks for what it does not know, and hands on
//! every record in order, once.
//!
//! The caller stores what it is handed and says so: [`HostLink::acknowledge`] only after the commit is durable. What
//! has to outlive the gateway is one [`DurableMark`] per (device, boot): the last durable sequence number, best written in
//! the same commit as the events. After a hello the caller finishes or gives up what it was handed before, looks the
//! mark up, and calls [`HostLink::resume`]; nothing stored is handed out again.

mod node;
mod session;

use crate::counters::{Counters, count};
use crate::frame::{self, Decoder, FrameBuffer};
use crate::incoming::{Body, DurableMark, EventId, Incoming, ResumeError};
use crate::message::{self, SessionId, ToGateway};
use session::{Gap, Received, Session};

pub use session::{ANSWER_MS, ANSWER_MS_MAX, DISCOVER_MS, RESEND_MS, TIME_MS, WELCOME_MS_MAX};

/// The gateway's half.
#[derive(Debug)]
pub struct HostLink {
    decoder: Decoder,
    counters: Counters,
    session: Session,
    /// The message in the decoder is still to be taken: a gap went before it.
    is_kept: bool,
}

impl HostLink {
    /// A link that looks for a node. `nonce` should differ from run to run: session numbers start from it.
    pub fn new(nonce: u16) -> Self {
        Self {
            decoder: Decoder::default(),
            counters: Counters::default(),
            session: Session::new(nonce),
            is_kept: false,
        }
    }

    /// Takes bytes from the front of `bytes` until there is something to hand on; `None` when they are used up. Call
    /// it again until then.
    pub fn receive<'a>(&'a mut self, bytes: &mut &[u8], now_ms: u64) -> Option<Incoming<'a>> {
        if let Some(Gap { last, count }) = self.session.take_gap() {
            return Some(Incoming::Gap { last, count });
        }
        let received = loop {
            let was_kept = core::mem::take(&mut self.is_kept);
            match was_kept
                .then_some(Ok(()))
                .or_else(|| self.decoder.advance(bytes))?
            {
                Ok(()) => {}
                Err(error) => {
                    error.count_in(&mut self.counters);
                    continue;
                }
            }
            // Taken in first and read again below: what is handed on borrows from the decoder.
            let Some(message) = message::read::<ToGateway<'_>>(self.decoder.message()) else {
                count(&mut self.counters.unknown);
                let field = message::unreadable_field(self.decoder.message());
                match field.filter(|(key, index)| self.session.lacks(*key, *index)) {
                    Some((key, _)) => {
                        self.session.open(now_ms);
                        return Some(Incoming::SchemaUnreadable { key });
                    }
                    None => continue,
                }
            };
            if let Some(Gap { last, count }) = self.session.gap_before(&message) {
                self.is_kept = true;
                return Some(Incoming::Gap { last, count });
            }
            count(&mut self.counters.frames);
            self.session.heard_ms = Some(now_ms);
            if let Some(received) = self.session.receive(&message, now_ms, &mut self.counters) {
                break received;
            }
        };
        present(received, self.decoder.message())
    }

    /// Goes on after a hello: events follow from behind `mark`, or, without one, from the oldest record the node holds.
    /// Without `schema_known` the schema is fetched before the first event. Everything handed on before must be durable
    /// or given up by now.
    ///
    /// A node of which something is stored stays in the session that it is in, if any: once minted, a session belongs to
    /// one boot of one node. A caller that keeps it with the mark can tell two nodes with one name apart, see
    /// [`resume_in`](Self::resume_in). One of which nothing is stored gets a session: a welcome to another one than it is
    /// in may still be on its way, from before a restart of this side.
    pub fn resume(
        &mut self,
        mark: Option<DurableMark>,
        schema_known: bool,
        now_ms: u64,
    ) -> Result<(), ResumeError> {
        let session = match self.session.claimed() {
            claimed if claimed != 0 && mark.is_some() => claimed,
            _ => self.session.mint(),
        };
        self.resume_in(session, mark, schema_known, now_ms)
    }

    /// The same in this session: a node in another one is welcomed to it.
    pub fn resume_in(
        &mut self,
        session: SessionId,
        mark: Option<DurableMark>,
        schema_known: bool,
        now_ms: u64,
    ) -> Result<(), ResumeError> {
        self.session
            .resume(session, mark, schema_known, now_ms, &mut self.counters)
    }

    /// Before resuming, asks the node for its clock. The answer, an [`Incoming::Time`], names its present boot, which is
    /// another one where the node brings records of an earlier boot from its flash.
    pub fn ask_clock(&mut self, now_ms: u64) {
        self.session.ask_clock(now_ms);
    }

    /// Takes nothing of whoever is there until the next hello, which is handed on.
    pub fn turn_away(&mut self, now_ms: u64) {
        self.session.turn_away(now_ms);
    }

    /// Asks who is there; the session goes on.
    pub fn discover(&mut self) {
        self.session.discover();
    }

    /// A session that this link has not given to anybody lately.
    pub fn mint(&mut self) -> SessionId {
        self.session.mint()
    }

    /// The session that was resumed last.
    pub fn session(&self) -> SessionId {
        self.session.session()
    }

    /// Everything up to and including `id` is durable. Ids of another node or boot, or not handed on, are ignored.
    pub fn acknowledge(&mut self, id: EventId) {
        self.session.acknowledge(id);
    }

    /// What was handed on and not acknowledged is not stored and will not be: the node keeps it and offers it again
    /// after `retry_ms`.
    pub fn refuse(&mut self, retry_ms: u32) {
        count(&mut self.counters.refusals);
        self.session.refuse(retry_ms);
    }

    /// The next frame to put on the line, if one is due.
    pub fn transmit<'a>(&mut self, now_ms: u64, out: &'a mut FrameBuffer) -> Option<&'a [u8]> {
        let message = self.session.next_message(now_ms)?;
        frame::encode(&message, out)
    }

    /// When [`transmit`](Self::transmit) has something to do even if nothing is received or acknowledged before.
    pub fn next_deadline(&self) -> u64 {
        self.session.next_deadline()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When the last good frame came.
    pub fn heard_ms(&self) -> Option<u64> {
        self.session.heard_ms
    }

    /// Since when the node seems not to hear what it is told: it says hello and does not answer, or sends again and again
    /// what is acknowledged. A good line is through with either within seconds.
    pub fn unheard_ms(&self, now_ms: u64) -> Option<u64> {
        self.session.unheard_ms(now_ms)
    }

    /// Whether events are welcome.
    pub fn is_running(&self) -> bool {
        self.session.is_running()
    }
}

fn present(received: Received, message: &[u8]) -> Option<Incoming<'_>> {
    let message = message::read::<ToGateway<'_>>(message)?;
    Some(match (received, message) {
        (Received::Gap(Gap { last, count }), _) => Incoming::Gap { last, count },
        (Received::BootReused(id), _) => Incoming::BootReused(id),
        (Received::Hello, ToGateway::Hello(hello)) => Incoming::Hello(hello),
        (Received::Event(id), ToGateway::Event { record, .. }) => {
            let (uptime_ms, body) = Body::read(record);
            Incoming::Event {
                id,
                uptime_ms,
                body,
            }
        }
        (
            Received::Time {
                sent_ms,
                received_ms,
            },
            ToGateway::TimeReply {
                boot, uptime_ms, ..
            },
        ) => Incoming::Time {
            boot,
            uptime_ms,
            sent_ms,
            received_ms,
        },
        (
            Received::SchemaField,
            ToGateway::SchemaField {
                key,
                index,
                count,
                field,
            },
        ) => Incoming::SchemaField {
            key,
            index,
            count,
            field,
        },
        (Received::Log, ToGateway::Log { level, text }) => Incoming::Log { level, text },
        _ => return None,
    })
}
