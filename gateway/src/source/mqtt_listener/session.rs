//! The session of one client: packets in, replies and arrivals out. No socket and no clock.

mod publish;
mod subscriptions;
mod will;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::codec::encode;
use super::codec::packet::{Packet, PublishPacket, V5};
use super::codec::reason;
use super::config::MqttListener;
use super::disconnect::Disconnect;
use crate::event::ack::Verdict;
use crate::event::arrival::Arrival;
use crate::event::committed_log::{CommittedLog, FollowError};
use crate::event::receipts::{Receipt, Receipts};
use crate::observe::source::SourceMetrics;
use crate::source::listener::access::TopicAccess;
use subscriptions::Subscription;
pub(super) use subscriptions::Written;

/// Characters of the words in a DISCONNECT, PUBACK or PUBREC: they may quote what the client sent.
const WHY_CHARS_MAX: usize = 200;

/// Where a QoS 2 publish stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Qos2State {
    /// Not durable yet: no PUBREC was sent.
    UnderWay,
    /// Durable, PUBREC sent: repetitions are the same event.
    Stored,
}

/// A publish that waits for its verdict.
#[derive(Debug)]
pub(super) struct InflightPublish {
    packet_id: u16,
    qos: u8,
    payload_bytes: usize,
    received: Instant,
}

/// One connected client.
pub struct ClientSession {
    /// Protocol level: 3, 4 or 5.
    pub level: u8,
    /// Its client id.
    pub client: Arc<str>,
    /// QoS 1 and 2 publishes not settled yet.
    pub inflight: usize,
    /// Whether a publish was refused that MQTT 3 has no words for.
    pub must_reconnect: bool,
    pub(super) will: Option<PublishPacket>,
    /// How long the client asked for its session to be kept; it is told that it is not.
    pub(super) session_expiry_s: u32,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) outgoing_inflight_max: usize,
    /// The largest packet the client takes.
    pub(super) packet_bytes_max: usize,
    /// It wants no words beside reason codes.
    pub(super) declines_reasons: bool,
    outgoing_inflight: HashSet<u16>,
    next_packet_id: u16,
    qos2: HashMap<u16, Qos2State>,
    /// How many of these are stored and wait for their PUBREL.
    pub(super) unreleased: usize,
    /// Every publish not settled yet.
    pub(super) receipts: Receipts<InflightPublish>,
    access: TopicAccess,
    /// Reasons of this connection that the log has, one bit each.
    told: u32,
    limits: Arc<MqttListener>,
    source: Arc<str>,
    kind: Arc<str>,
    /// That of an event whose sender gives it no id.
    no_id: Arc<str>,
    /// That of the last publish.
    topic: Arc<str>,
    /// Whether the client may publish there.
    topic_is_granted: bool,
    pub(super) metrics: SourceMetrics,
    pub(super) log: CommittedLog,
}

/// What all sessions of a listener share.
#[derive(Clone)]
pub struct SessionContext {
    /// The configuration.
    pub limits: Arc<MqttListener>,
    /// CloudEvents source of its events.
    pub source: Arc<str>,
    /// Counts.
    pub metrics: SourceMetrics,
    /// What subscribers read.
    pub log: CommittedLog,
}

impl ClientSession {
    /// A session for a client that was let in.
    pub fn new(
        level: u8,
        client: Arc<str>,
        access: TopicAccess,
        context: &SessionContext,
        outgoing_inflight_max: usize,
    ) -> ClientSession {
        ClientSession {
            level,
            client,
            inflight: 0,
            must_reconnect: false,
            will: None,
            session_expiry_s: 0,
            subscriptions: Vec::new(),
            outgoing_inflight_max,
            packet_bytes_max: usize::MAX,
            declines_reasons: false,
            outgoing_inflight: HashSet::new(),
            next_packet_id: 0,
            qos2: HashMap::new(),
            unreleased: 0,
            receipts: Receipts::default(),
            access,
            told: 0,
            limits: Arc::clone(&context.limits),
            source: Arc::clone(&context.source),
            kind: "reading".into(),
            no_id: "".into(),
            topic: "".into(),
            topic_is_granted: false,
            metrics: context.metrics.clone(),
            log: context.log.clone(),
        }
    }

    /// Takes one packet.
    ///
    /// # Errors
    /// [`Disconnect`] when the connection ends, with the reason the standard gives.
    pub fn receive(
        &mut self,
        packet: Packet,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
        out: &mut BytesMut,
    ) -> Result<(), Disconnect> {
        match packet {
            Packet::Connect(_) => Err(Disconnect::new(
                reason::PROTOCOL_ERROR,
                "CONNECT was sent twice",
            )),
            Packet::Publish(publish) => self.publish(publish, now, arrivals, out),
            Packet::PubRel(id) => {
                if self.qos2.remove(&id) == Some(Qos2State::Stored) {
                    self.unreleased -= 1;
                }
                encode::acknowledge(out, self.level, encode::PUBCOMP, id, reason::SUCCESS);
                Ok(())
            }
            Packet::PubAck(id) => {
                self.outgoing_inflight.remove(&id);
                Ok(())
            }
            Packet::PubRec(_) | Packet::PubComp(_) => Ok(()),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe, out),
            Packet::Unsubscribe(id, filters) => {
                self.unsubscribe(id, &filters, out);
                Ok(())
            }
            Packet::PingReq => {
                encode::pingresp(out);
                Ok(())
            }
            Packet::Disconnect {
                reason,
                session_expiry_s,
            } => Err(self.goodbye(reason, session_expiry_s)),
        }
    }

    /// The end that the client asks for. Only "normal disconnection" takes its will back (3.14.4).
    fn goodbye(&mut self, reason: u8, session_expiry_s: u32) -> Disconnect {
        if session_expiry_s > 0 && self.session_expiry_s == 0 {
            let why = "a DISCONNECT that keeps a session which CONNECT did not ask to keep";
            return Disconnect::new(reason::PROTOCOL_ERROR, why);
        }
        match reason {
            reason::SUCCESS => {
                self.will = None;
                Disconnect::new(reason::SUCCESS, "")
            }
            other => {
                let why = format!("the client ended it with reason {other:#04x}");
                Disconnect::new(reason::SUCCESS, why)
            }
        }
    }

    /// Whether the client is held back: MQTT 3 has no word for how many publishes may be
    /// under way, so its packets wait in the socket until some are settled.
    pub fn is_throttled(&self) -> bool {
        self.level != V5 && self.inflight >= usize::from(self.limits.receive_max)
    }

    /// The end of a subscriber that lags beyond what is kept.
    pub(super) fn disconnect_lagging(&self, lags: &FollowError) -> Disconnect {
        if let FollowError::Missed(count) = lags {
            self.metrics.missed(*count);
        }
        Disconnect::new(reason::QUOTA_EXCEEDED, lags.to_string())
    }

    /// Writes DISCONNECT with its words where the client takes so many bytes.
    pub(super) fn write_disconnect(&self, disconnect: &Disconnect, out: &mut BytesMut) {
        let before = out.len();
        let why: String = disconnect.why.chars().take(WHY_CHARS_MAX).collect();
        encode::disconnect(out, self.level, disconnect.reason, &why);
        if out.len() - before > self.packet_bytes_max {
            out.truncate(before);
            encode::disconnect(out, self.level, disconnect.reason, "");
        }
    }

    /// Counts the verdicts that are there, and replies to them with QoS 1 and 2.
    pub fn settle(&mut self, now: Instant, out: &mut BytesMut) {
        while let Some(Receipt { value, verdict, .. }) = self.receipts.take() {
            match verdict {
                Verdict::Stored => {
                    let took = now.saturating_duration_since(value.received);
                    self.metrics.acknowledged_after(took);
                    self.metrics.accepted(value.payload_bytes);
                }
                Verdict::Refused(_) => self.metrics.refused(),
            }
            match value.qos {
                0 => {}
                1 => self.acknowledge(encode::PUBACK, value.packet_id, verdict, out),
                _ => {
                    self.settle_qos2(value.packet_id, verdict);
                    self.acknowledge(encode::PUBREC, value.packet_id, verdict, out);
                }
            }
        }
    }

    fn acknowledge(&mut self, first: u8, id: u16, verdict: Verdict, out: &mut BytesMut) {
        self.inflight = self.inflight.saturating_sub(1);
        match verdict {
            Verdict::Stored => encode::acknowledge(out, self.level, first, id, reason::SUCCESS),
            Verdict::Refused(refusal) if self.level == V5 => {
                let why = refusal.told(|| self.metrics.why_refused());
                self.refuse(first, id, reason::QUOTA_EXCEEDED, &why, out);
            }
            Verdict::Refused(_) => self.must_reconnect = true,
        }
    }

    /// Answers a publish of MQTT 5 with the reason, and with words where the client wants and takes them.
    pub(super) fn refuse(&self, first: u8, id: u16, reason: u8, why: &str, out: &mut BytesMut) {
        let before = out.len();
        let why: String = why.chars().take(WHY_CHARS_MAX).collect();
        encode::refuse(out, first, id, reason, &why);
        if self.declines_reasons || out.len() - before > self.packet_bytes_max {
            out.truncate(before);
            encode::acknowledge(out, self.level, first, id, reason);
        }
    }

    /// After an early PUBREL a packet identifier is free: it may stand for a new event by now.
    fn settle_qos2(&mut self, id: u16, verdict: Verdict) {
        match verdict {
            Verdict::Stored => {
                if let Some(state) = self.qos2.get_mut(&id)
                    && *state == Qos2State::UnderWay
                {
                    *state = Qos2State::Stored;
                    self.unreleased += 1;
                }
            }
            Verdict::Refused(_) => drop(self.qos2.remove(&id)),
        }
    }
}
