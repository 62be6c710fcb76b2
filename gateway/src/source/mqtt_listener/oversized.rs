//! A PUBLISH that is larger than the listener holds: read to its end in bounded memory, so that the
//! client goes on behind it.

use bytes::{Buf, BytesMut};

use super::codec::decode::{self, PublishHead};
use super::codec::fields::DecodeError;
use super::codec::packet::PublishPacket;
use crate::event::arrival::KeptPayload;

/// One that is being read.
pub(super) struct OversizedPublish {
    publish: PublishPacket,
    properties_left: usize,
    payload_left: usize,
    payload: KeptPayload,
}

impl OversizedPublish {
    /// The one at the front of the buffer, whose head is taken out; `None` while bytes are missing.
    ///
    /// # Errors
    /// [`DecodeError`] for what is no PUBLISH to the standard.
    pub(super) fn begin(
        buffer: &mut BytesMut,
        level: u8,
    ) -> Result<Option<OversizedPublish>, DecodeError> {
        let head = decode::publish_head(buffer, level)?;
        let begun = |head: PublishHead| OversizedPublish {
            publish: head.publish,
            properties_left: head.properties,
            payload_left: head.payload,
            payload: KeptPayload::default(),
        };
        Ok(head.map(begun))
    }

    /// Takes what is there of it out of the buffer; whether that was the last.
    pub(super) fn read(&mut self, buffer: &mut BytesMut) -> bool {
        let skipped = self.properties_left.min(buffer.len());
        buffer.advance(skipped);
        self.properties_left -= skipped;
        let taken = buffer.split_to(self.payload_left.min(buffer.len()));
        self.payload.push(&taken);
        self.payload_left -= taken.len();
        self.properties_left == 0 && self.payload_left == 0
    }

    /// What came, without its properties; its payload beside it.
    pub(super) fn into_parts(self) -> (PublishPacket, KeptPayload) {
        (self.publish, self.payload)
    }
}
