//! What the gateway's half says, and when.

use super::super::node::Node;
use super::{ANSWER_MS, ANSWER_MS_MAX, DISCOVER_MS, Phase, RESEND_MS, Session, TIME_MS};
use crate::message::ToDevice;

impl Session {
    pub(in super::super) fn next_message(&mut self, now_ms: u64) -> Option<ToDevice> {
        let (session, next) = (self.session, self.undurable);
        let asks_again = self.phase == Phase::Welcoming && !self.welcome_due;
        if asks_again && now_ms >= self.time_at_ms {
            return Some(self.time_request(now_ms));
        }
        if now_ms >= self.ask_at_ms
            && let Some(request) = self.request(now_ms)
        {
            return Some(request);
        }
        if !self.is_running() {
            return None;
        }
        if self.discover_due && now_ms >= self.discover_from_ms {
            (self.discover_due, self.discover_from_ms) = (false, now_ms + DISCOVER_MS);
            return Some(ToDevice::Discover);
        }
        if let Some(retry_ms) = self.refuse_ms.take() {
            (self.ack_due, self.resend_due) = (false, false);
            return Some(ToDevice::Refuse {
                session,
                next,
                retry_ms,
            });
        }
        if core::mem::take(&mut self.ack_due) {
            return Some(ToDevice::Ack { session, next });
        }
        if self.resend_due && now_ms >= self.resend_from_ms {
            (self.resend_due, self.resend_from_ms) = (false, now_ms + RESEND_MS);
            return Some(ToDevice::Resend {
                session,
                next: self.expected,
            });
        }
        (now_ms >= self.time_at_ms).then(|| self.time_request(now_ms))
    }

    fn time_request(&mut self, now_ms: u64) -> ToDevice {
        // A question that is asked again stays the same: its answer may take longer than that.
        if self.phase == Phase::Running || self.time_sent_ms.is_none() {
            self.time_token = self.time_token.wrapping_add(1);
            self.time_sent_ms = Some(now_ms);
        }
        let again_ms = match self.phase {
            // With the question whether the welcome arrived, and before it.
            Phase::Welcoming if self.ask_at_ms > now_ms => self.ask_at_ms - now_ms,
            Phase::Welcoming => (2 * self.answer_ms).min(ANSWER_MS_MAX),
            _ => TIME_MS,
        };
        self.time_at_ms = now_ms.saturating_add(again_ms);
        ToDevice::TimeRequest {
            token: self.time_token,
        }
    }

    /// What the present phase asks the node for.
    fn request(&mut self, now_ms: u64) -> Option<ToDevice> {
        let node = self.node;
        let (request, again_ms) = match self.phase {
            Phase::Searching => (ToDevice::Discover, DISCOVER_MS),
            Phase::AskingClock => (self.time_request(now_ms), ANSWER_MS),
            Phase::FetchingSchema(index) => (
                ToDevice::SchemaRequest {
                    key: node?.schema,
                    index,
                },
                ANSWER_MS,
            ),
            Phase::Welcoming if core::mem::take(&mut self.welcome_due) => {
                let Node { device, boot, .. } = node?;
                let (session, next) = (self.session, self.undurable);
                let welcome = ToDevice::Welcome {
                    device,
                    boot,
                    session,
                    next,
                };
                (welcome, self.answer_ms)
            }
            // The hello says whether the welcome arrived.
            Phase::Welcoming => {
                self.answer_ms = (2 * self.answer_ms).min(ANSWER_MS_MAX);
                (ToDevice::Discover, self.answer_ms)
            }
            Phase::Identified | Phase::Running => return None,
        };
        self.ask_at_ms = now_ms.saturating_add(again_ms);
        Some(request)
    }

    pub(in super::super) fn next_deadline(&self) -> u64 {
        let asks = matches!(
            self.phase,
            Phase::Searching | Phase::AskingClock | Phase::FetchingSchema(_) | Phase::Welcoming
        );
        let ask = if asks { self.ask_at_ms } else { u64::MAX };
        if !self.is_running() {
            return ask;
        }
        if self.ack_due || self.refuse_ms.is_some() {
            return 0;
        }
        let resend = if self.resend_due {
            self.resend_from_ms
        } else {
            u64::MAX
        };
        let discover = if self.discover_due {
            self.discover_from_ms
        } else {
            u64::MAX
        };
        ask.min(resend).min(discover).min(self.time_at_ms)
    }
}
