//! What MQTT 5 says beside a payload goes through as it came: from the listener and the `mqtt` source to the listener's
//! subscribers and to the broker of an `mqtt` upstream.

mod documents;
mod expiry;
mod random;
mod retain;
mod table;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::version_5::{AS_PUBLISHED, Client, Message};
use tidegate_tests::peer::mosquitto::Mosquitto;

/// User properties that the gateway gives every event.
const OWN: [&str; 6] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "tidegatepath",
];

/// The user properties of a message, but for the first of each name that the gateway gives.
fn of_sender(message: &Message) -> Vec<(String, String)> {
    let mut own = OWN.to_vec();
    let user = message.user.iter();
    let of_sender = user.filter(|(name, _)| match own.iter().position(|one| one == name) {
        Some(at) => {
            own.remove(at);
            false
        }
        None => true,
    });
    of_sender.cloned().collect()
}

/// A gateway between two brokers, and who listens at both of its ends.
struct Field {
    near: Mosquitto,
    gateway: Gateway,
    /// Subscribed at the gateway.
    local: Client,
    /// Subscribed at the broker that it forwards to.
    remote: Client,
    /// Only held: it ends with the field.
    _far: Mosquitto,
}

/// Starts all of it; `upstream` are keys of the upstream.
fn field(test: &str, upstream: &str) -> Option<Field> {
    let mut near = Mosquitto::new(test)?;
    let mut far = Mosquitto::new(test)?;
    near.start();
    far.start();
    let mut remote = Client::connect(far.address, "remote");
    remote.subscribe("#", AS_PUBLISHED);
    let mut gateway = Gateway::new(&format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nversion = \"5\"\ntopics = [\"near/#\"]\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n{upstream}\n",
        near.address, far.address
    ));
    gateway.start();
    gateway.wait_until("it subscribes", || gateway.log().contains("subscribed"));
    let mut local = Client::connect(gateway.address, "local");
    local.subscribe("#", AS_PUBLISHED);
    Some(Field {
        near,
        gateway,
        local,
        remote,
        _far: far,
    })
}
