//! Where events come from: a folder per kind of source, and what several kinds share.
//!
//! A source hands on arrivals through the inlet ([`crate::event`]) and acknowledges to its sender
//! what it is told is stored. The kinds stand in the list at the end of this file and nowhere else.

pub mod credentials;
pub mod device_claims;
pub mod http;
pub(crate) mod id_field;
pub mod lines;
pub mod listener;
pub mod mqtt;
pub mod mqtt_listener;
pub mod open;
pub mod port_budget;
pub mod serial;
#[cfg(feature = "serial")]
pub mod serial_port;

use crate::config::kinds::{List, kinds};
use credentials::Credentials;
use open::{OpenSource, Opening, Running};

/// Where sources stand in the configuration.
const LIST: List = List {
    key: "sources",
    one: "source",
    a_one: "a source",
    type_help: "kind of source",
    reserved: None,
    later: &[],
};

/// Makes [`SourceKind`] and opens each kind as its folder says.
macro_rules! registry {
    ($($Variant:ident($Config:ty)),* $(,)?) => {
        kinds! {
            /// The kinds of sources, each with its configuration.
            pub enum SourceKind in LIST => { $($Variant($Config)),* }
        }

        impl SourceKind {
            /// See [`OpenSource::open`].
            pub(crate) async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
                match self {
                    $(SourceKind::$Variant(config) => config.open(opening).await),*
                }
            }

            /// See [`OpenSource::credentials`].
            pub(crate) fn credentials(&self) -> Result<Credentials, String> {
                match self {
                    $(SourceKind::$Variant(config) => config.credentials()),*
                }
            }

            /// See [`OpenSource::HAS_PORT`].
            pub(crate) fn has_port(&self) -> bool {
                match self {
                    $(SourceKind::$Variant(_) => <$Config as OpenSource>::HAS_PORT),*
                }
            }

            /// See [`OpenSource::NOTES`].
            pub(crate) fn notes(&self) -> &'static [&'static str] {
                match self {
                    $(SourceKind::$Variant(_) => <$Config as OpenSource>::NOTES),*
                }
            }

            /// See [`OpenSource::connections_max`].
            pub(crate) fn connections_max(&self) -> usize {
                match self {
                    $(SourceKind::$Variant(config) => OpenSource::connections_max(config)),*
                }
            }

            /// See [`OpenSource::WAITS_FOR_DEVICE`].
            pub(crate) fn waits_for_device(&self) -> bool {
                match self {
                    $(SourceKind::$Variant(_) => <$Config as OpenSource>::WAITS_FOR_DEVICE),*
                }
            }
        }
    };
}

registry! {
    MqttListener(mqtt_listener::config::MqttListener),
    Mqtt(mqtt::config::MqttSource),
    Serial(serial::config::Serial),
    Lines(lines::config::Lines),
    Http(http::config::HttpSource),
}
