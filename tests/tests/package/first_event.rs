//! The README's way for a Pi, word for word: from nothing to a sensor's event at a broker of one's own.

use tidegate_tests::peer::debian::base::{self, Architecture};
use tidegate_tests::peer::debian::{Manager, Root, deb};
use tidegate_tests::wait;

const README: &str = include_str!("../../../gateway/README.md");
const AFTER: &str = "From nothing to a sensor's event at your own broker";
/// The user of a new Pi has it, a root in a folder has not.
const SUDO: &str = "#!/bin/sh\nexec env \"$@\"\n";
const BROKER: &str = "listener 1883 127.0.0.2\nallow_anonymous true\n";

#[test]
fn at_most_five_commands_lead_from_nothing_to_an_event_at_a_broker_of_ones_own() {
    if !base::possible("package") {
        return;
    }
    let (_, rest) = README.split_once(AFTER).expect(AFTER);
    let (_, rest) = rest.split_once("```sh\n").expect("its commands");
    let (commands, _) = rest.split_once("```").expect("their end");
    assert!(commands.lines().count() <= 5, "{commands}");
    let name = commands
        .split(['/', ' '])
        .find(|word| word.ends_with("_arm64.deb"))
        .expect("the package");
    let version = name
        .trim_start_matches("tidegate_")
        .trim_end_matches("_arm64.deb");

    let package = deb::package(Architecture::Amd64, version);
    let root = Root::copy(Architecture::Amd64, Manager::Systemd);
    root.bring(&package);
    root.write("/usr/local/bin/sudo", SUDO);
    root.write(
        "/etc/apt/apt.conf.d/yes",
        "APT::Get::Assume-Yes \"true\";\n",
    );
    root.write(
        "/etc/hosts",
        "127.0.0.1 localhost\n127.0.0.2 broker.example\n",
    );
    root.write("/etc/mosquitto/own.conf", BROKER);
    root.done("chmod 755 /usr/local/bin/sudo; mosquitto -d -c /etc/mosquitto/own.conf");
    let subscriber = "mosquitto_sub -h 127.0.0.2 -t '#' -v >/root/came 2>/dev/null </dev/null &\n\
                      mosquitto_pub -h 127.0.0.2 -r -t there -m yes";
    root.done(subscriber);
    wait::until("the subscriber is there", || {
        root.said("cat /root/came").contains("there yes")
    });

    let said = root.done(&format!(
        "set -e\ncd /root\n{}",
        commands.replace("_arm64.deb", "_amd64.deb")
    ));
    wait::until("the event is at the broker", || {
        let came = root.said("cat /root/came");
        came.contains("plant/A/press7/temp {\"temperature\": 21.5}")
    });
    assert!(
        said.contains("cloud "),
        "the status tells of the upstream\n{said}"
    );
}
