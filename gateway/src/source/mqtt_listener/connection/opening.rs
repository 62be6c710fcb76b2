//! From a new connection to an accepting CONNACK, or to the words why there is none.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::SemaphorePermit;

use super::{ClientConnection, ENVELOPE_BYTES_MAX, OUTGOING_INFLIGHT_MAX, PREDECESSOR_MAX};
use crate::source::mqtt_listener::ListenerContext;
use crate::source::mqtt_listener::client_ids::ClientIdLease;
use crate::source::mqtt_listener::codec::decode::{self, Decoded};
use crate::source::mqtt_listener::codec::encode::{self, ConnackProperties};
use crate::source::mqtt_listener::codec::fields;
use crate::source::mqtt_listener::codec::packet::{ConnectPacket, Packet, V5, V31, V311};
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;
use crate::source::mqtt_listener::keep_alive::KeepAlive;
use crate::source::mqtt_listener::session::ClientSession;

/// The largest CONNECT, and so the most that is buffered for somebody who is not let in yet.
const CONNECT_BYTES_MAX: usize = 64 << 10;
/// Of a larger one than this only so many are read at once as there are permits.
const CONNECT_BYTES_USUAL: usize = 4 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    /// Reads until CONNECT is there; anything else closes the connection.
    pub(super) async fn read_connect(&mut self) -> Result<ConnectPacket, Disconnect> {
        let listener = Arc::clone(&self.listener);
        let mut permit: Option<SemaphorePermit<'_>> = None;
        loop {
            self.claimed_level = decode::claimed_level(&self.buffer).unwrap_or(0);
            match decode::next_packet(&mut self.buffer, V311, CONNECT_BYTES_MAX) {
                Ok(Decoded::Packet(Packet::Connect(connect))) => return Ok(*connect),
                Ok(Decoded::Packet(_)) => return Err(no_connect()),
                // Told by its first byte: the rest of another packet is not waited for.
                Ok(Decoded::Incomplete)
                    if self.buffer.first().is_some_and(|byte| byte >> 4 != 1) =>
                {
                    return Err(no_connect());
                }
                Ok(Decoded::TooLarge(bytes)) => {
                    let why = format!(
                        "a first packet of {bytes} bytes, at most {CONNECT_BYTES_MAX} are read"
                    );
                    return Err(Disconnect::new(reason::PACKET_TOO_LARGE, why));
                }
                Err(invalid) => return Err(invalid.into()),
                Ok(Decoded::Incomplete) => {}
            }
            if permit.is_none() && is_large(&self.buffer) {
                permit = listener.large_connects.acquire().await.ok();
            }
            self.buffer.reserve(CONNECT_BYTES_USUAL / 4);
            let most = CONNECT_BYTES_USUAL as u64;
            let mut some = (&mut self.stream).take(most);
            match some.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Disconnect::new(0, "")),
                Ok(_) => {}
            }
        }
    }

    /// Checks a CONNECT, leases the client id, and waits until a connection that had it has sent its will.
    pub(super) async fn open_session(
        &mut self,
        connect: &ConnectPacket,
    ) -> Result<(ClientSession, ClientIdLease), Disconnect> {
        check_connect(connect)?;
        let client: Arc<str> = match connect.client_id.as_str() {
            "" => format!("auto-{:016x}", fastrand::u64(..)).into(),
            given => given.into(),
        };
        let (user, access) = self
            .listener
            .authenticator
            .authenticate(connect, &client, self.certificate_name.as_deref())
            .await?;
        let lease = self.listener.client_ids.lease(&client, &user);
        let mut lease = lease.map_err(|refused| refused.of_user(&user))?;
        // What this client publishes next must not be followed by the will of its earlier connection.
        let _ = tokio::time::timeout(PREDECESSOR_MAX, lease.predecessor_ended()).await;
        let outgoing_inflight_max = connect.receive_max.map_or(OUTGOING_INFLIGHT_MAX, |max| {
            usize::from(max).min(OUTGOING_INFLIGHT_MAX)
        });
        let mut session = ClientSession::new(
            connect.level,
            client,
            access,
            &self.listener.session_context,
            outgoing_inflight_max,
        );
        session.will = connect.will.clone();
        session.declines_reasons = connect.declines_reasons;
        session.session_expiry_s = connect.session_expiry_s;
        if let Some(max) = connect.packet_bytes_max {
            session.packet_bytes_max = max as usize;
        }
        Ok((session, lease))
    }

    /// Writes the accepting CONNACK.
    pub(super) fn send_connack(
        &mut self,
        session: &ClientSession,
        connect: &ConnectPacket,
    ) -> KeepAlive {
        let limits = &self.listener.session_context.limits;
        let (asked_s, longest) = (connect.keep_alive_s, limits.keep_alive_max);
        let keep_alive = KeepAlive::agree(session.level, asked_s, longest);
        let is_assigned = connect.client_id.as_str().is_empty();
        let properties = ConnackProperties {
            assigned_client_id: is_assigned.then_some(&session.client),
            keep_alive_s: keep_alive.told_s,
            receive_max: limits.receive_max,
            packet_bytes_max: (limits.payload_bytes_max + ENVELOPE_BYTES_MAX) as u32,
        };
        encode::connack(
            &mut self.out,
            session.level,
            reason::SUCCESS,
            Some(&properties),
        );
        keep_alive
    }

    /// Tells the log why a client was not let in.
    pub(super) fn not_let_in(&self, connect: &ConnectPacket, disconnect: &Disconnect) {
        if !matches!(
            disconnect.reason,
            reason::BAD_LOGIN | reason::NOT_AUTHORIZED
        ) {
            return self.report(connect.client_id.as_str(), disconnect);
        }
        let ListenerContext {
            observe,
            authenticator,
            session_context,
            ..
        } = &*self.listener;
        let metrics = &session_context.metrics;
        metrics.malformed(reason::label(disconnect.reason));
        let user = authenticator.known_user(connect, self.certificate_name.as_deref());
        metrics.login_failed(observe, self.peer.ip(), user.as_deref(), &disconnect.why);
    }
}

/// Whether a larger CONNECT than usual begins.
fn is_large(buffer: &[u8]) -> bool {
    let header = fields::header(buffer).ok().flatten();
    header.is_some_and(|header| header.remaining > CONNECT_BYTES_USUAL)
}

fn check_connect(connect: &ConnectPacket) -> Result<(), Disconnect> {
    if !connect.is_spoken {
        let why = format!(
            "protocol level {} under this name is neither MQTT 3.1, 3.1.1 nor 5",
            connect.level
        );
        return Err(Disconnect::new(reason::UNSUPPORTED_VERSION, why));
    }
    if connect.authentication_method {
        return Err(Disconnect::new(
            reason::BAD_AUTHENTICATION_METHOD,
            "enhanced authentication is not offered",
        ));
    }
    let may_be_empty = match connect.level {
        V5 => true,
        V31 => false,
        _ => connect.clean,
    };
    if connect.client_id.as_str().is_empty() && !may_be_empty {
        let why = match connect.level {
            V31 => "an empty client id, which MQTT 3.1 does not know",
            _ => "an empty client id needs a clean session",
        };
        return Err(Disconnect::new(reason::CLIENT_ID_NOT_VALID, why));
    }
    Ok(())
}

fn no_connect() -> Disconnect {
    Disconnect::new(reason::PROTOCOL_ERROR, "the first packet is not CONNECT")
}
