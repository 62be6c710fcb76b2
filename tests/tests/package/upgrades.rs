//! Upgrades over what users made of a machine: services that are stopped, disabled or masked, configurations that are broken
//! or gone, events elsewhere, installers that are cut off, a full disk; and `tidegate init` over the package's configuration.

use tidegate_tests::peer::debian::base::{self, Architecture};
use tidegate_tests::peer::debian::lifecycle::Machine;
use tidegate_tests::peer::debian::{Manager, Root};
use tidegate_tests::wait;

const README: &str = include_str!("../../../gateway/README.md");
const OF_YOUR_OWN: &str = "### Its configuration, or one of your own";
const CONFIG: &str = "/etc/tidegate/gateway.toml";
const ELSEWHERE: &str = "install -d -o tidegate -g tidegate /srv/events; mkdir -p /etc/systemd/system/tidegate.service.d; \
                         printf '[Service]\nReadWritePaths=/srv/events\n' >/etc/systemd/system/tidegate.service.d/own.conf; \
                         systemctl daemon-reload; sed -i 's,/var/lib/tidegate,/srv/events,' /etc/tidegate/gateway.toml; \
                         systemctl restart tidegate";
/// What is written below `/usr` from now on has a megabyte.
const FULL: &str = "mkdir -p /run/small; mount -t tmpfs -o size=1m tmpfs /run/small; mkdir /run/small/up /run/small/work; \
                    mount -t overlay -o lowerdir=/usr,upperdir=/run/small/up,workdir=/run/small/work overlay /usr";
/// Scripts of the package go on where dpkg was killed. The brackets keep this from finding itself.
const SCRIPTS_RUN: &str =
    "grep -qsa -e 'info/[t]idegate' -e 'deb-systemd-[i]nvoke' /proc/[0-9]*/cmdline";
const ROOM: &str = "umount -l /usr; umount -l /run/small";

fn installed() -> Option<Machine> {
    if !base::possible("package") {
        return None;
    }
    let machine = Machine::fresh(Architecture::Amd64, Manager::Systemd);
    machine.is_installed_and_runs();
    Some(machine)
}

/// That the service is so, enabled and active, after an upgrade that goes well.
fn stays(machine: &Machine, made: &str, enabled: &str, active: &str) {
    let root = &machine.root;
    root.done(made);
    let said = root.done(&format!("dpkg -i {}", machine.newer));
    let state = root.said("systemctl is-enabled tidegate; systemctl is-active tidegate");
    assert_eq!(state, format!("{enabled}\n{active}\n"), "{made}: {said}");
    assert!(!said.contains("is not running yet"), "{made}: {said}");
}

#[test]
fn a_service_that_somebody_stopped_disabled_or_masked_stays_so() {
    let Some(machine) = installed() else { return };
    let root = &machine.root;
    stays(&machine, "systemctl stop tidegate", "enabled", "inactive");
    // Once: the next upgrade finds it running.
    let before = machine.process();
    stays(&machine, "systemctl start tidegate", "enabled", "active");
    assert_ne!(machine.process(), before);
    stays(
        &machine,
        "systemctl disable --now tidegate",
        "disabled",
        "inactive",
    );
    stays(&machine, "systemctl start tidegate", "disabled", "active");
    let masked = "systemctl enable tidegate; systemctl stop tidegate; systemctl mask tidegate";
    stays(&machine, masked, "masked", "inactive");
    root.done("systemctl unmask tidegate; systemctl start tidegate && tidegate status");
    // Removed and installed again it is as new.
    root.done(&format!(
        "systemctl stop tidegate; apt-get remove -y tidegate; dpkg -i {}",
        machine.newer
    ));
    root.done("systemctl is-active tidegate");
}

/// What an upgrade says where the gateway that runs refuses the configuration, and goes on.
fn goes_on_over_a_refused_configuration(machine: &Machine) {
    let root = &machine.root;
    let before = machine.process();
    let said = root.done(&format!("dpkg -i {}", machine.newer));
    assert!(said.contains("the gateway of before runs on"), "{said}");
    assert_eq!(machine.process(), before, "{said}");
    root.done("mosquitto_pub -q 1 -t plant/a/press7/temp -m '{\"temperature\": 1}'");
    let told = root.done("tidegate status --data-dir /var/lib/tidegate");
    assert!(told.contains("configuration"), "{told}");
}

#[test]
fn an_upgrade_over_a_broken_configuration_leaves_running_what_runs_and_says_so() {
    let Some(machine) = installed() else { return };
    let root = &machine.root;
    let sound = root.done(&format!("cat {CONFIG}"));
    for broken in [format!("{sound}mistake = 1\n"), "neither TOML\n".to_owned()] {
        root.write(CONFIG, &broken);
        goes_on_over_a_refused_configuration(&machine);
    }
    root.done(&format!("rm {CONFIG}"));
    goes_on_over_a_refused_configuration(&machine);
    assert!(
        !root.holds(&format!("[ -e {CONFIG} ]")),
        "what was removed stays away"
    );
    root.write(CONFIG, &sound);
    let before = machine.process();
    root.done("systemctl restart tidegate && tidegate status");
    assert_ne!(machine.process(), before);
}

#[test]
fn an_upgrade_that_is_cut_off_or_finds_no_room_can_be_made_again() {
    let Some(machine) = installed() else { return };
    let root = &machine.root;
    let (before, newer) = (machine.process(), &machine.newer);
    // No room for the new files.
    root.done(FULL);
    let said = root.refused(&format!("dpkg -i {newer}"));
    assert!(said.contains("No space left on device"), "{said}");
    root.done(ROOM);
    assert_eq!(machine.version(), "ii 0.0.8-1", "{said}");
    assert_eq!(machine.process(), before, "{said}");
    root.done("systemctl is-active tidegate && tidegate status && tidegate --version");

    // Unpacked, and the rest after a while.
    root.done(&format!("dpkg --unpack {newer}"));
    assert_eq!(machine.process(), before);
    root.done("tidegate status && dpkg --configure -a");
    assert_ne!(machine.process(), before);
    for tenths in [1, 3, 6, 10, 15, 25] {
        root.said(&format!(
            "timeout -s KILL {}.{} dpkg -i {newer}",
            tenths / 10,
            tenths % 10
        ));
        wait::until("what dpkg started has ended", || !root.holds(SCRIPTS_RUN));
        root.said("dpkg --configure -a");
        root.done(&format!("dpkg -i {newer}"));
        assert_eq!(machine.version(), "ii 0.0.9-1");
        root.done("systemctl is-active tidegate && tidegate status");
    }
    elsewhere(root, newer);
}

/// Events in another folder are found by an upgrade, and left alone by a purge that is told to remove events.
fn elsewhere(root: &Root, newer: &str) {
    root.done(ELSEWHERE);
    root.done("mosquitto_pub -q 1 -t other/press -m 1");
    root.done(&format!(
        "dpkg -i {newer} && systemctl is-active tidegate && [ -e /srv/events/ready.json ]"
    ));
    root.done("tidegate events list --topic other/press --limit 1 | grep other");
    root.done("echo 'tidegate tidegate/remove-data boolean true' | debconf-set-selections; apt-get purge -y tidegate");
    root.done("[ -e /srv/events/store ] && [ ! -e /etc/tidegate ] && [ ! -e /etc/systemd/system/tidegate.service.d ]");
}

#[test]
fn init_never_overwrites_the_packages_configuration_and_names_commands_that_work() {
    let Some(machine) = installed() else { return };
    let root = &machine.root;
    let sound = root.done(&format!("cat {CONFIG}"));
    let said = root.refused("tidegate init --yes --upstream mqtt://127.0.0.2:1883");
    assert_eq!(root.done(&format!("cat {CONFIG}")), sound);
    root.done(&proposed(&said));
    // The rules of the package send to another upstream.
    let said = root.refused("tidegate init --yes --upstream mqtt://127.0.0.2:1883");
    root.done(&proposed(&said));
    let said = root.done("tidegate init --yes --upstream mqtt://127.0.0.2:1883");
    assert!(said.contains("the gateway that runs here"), "{said}");
    let written = root.done(&format!("cat {CONFIG}"));
    assert!(
        written.contains("listen = \"127.0.0.1:1883\""),
        "the port of the gateway that runs: {written}"
    );
    root.done("tidegate check && systemctl restart tidegate");
    root.done("mosquitto_pub -q 1 -t other/press -m 1");
    assert_eq!(machine.waiting("cloud"), Some(1));
    root.done(&format!(
        "dpkg -i {} && systemctl is-active tidegate",
        machine.newer
    ));
    assert_eq!(root.done(&format!("cat {CONFIG}")), written);
    assert!(root.holds(
        "[ -e /etc/tidegate/rules/first.rules ] && [ ! -e /etc/tidegate/rules/example.rules ]"
    ));
    assert!(machine.waiting("cloud") >= Some(1));

    // As the guide says it.
    let (_, rest) = README.split_once(OF_YOUR_OWN).expect(OF_YOUR_OWN);
    let (_, rest) = rest.split_once("```sh\n").expect("its commands");
    let (commands, _) = rest.split_once("```").expect("their end");
    let commands = commands.replace("sudo ", "").replace("init", "init --yes");
    root.done(&format!("set -e\n{commands}tidegate check"));
    root.done("mosquitto_pub -q 1 -t other/press -m 2 && tidegate events list --topic other/press | grep -c other | grep -x 2");
}

/// The command in what was said, without `sudo`, which is not in the root.
fn proposed(said: &str) -> String {
    let (_, rest) = said
        .split_once("`sudo ")
        .unwrap_or_else(|| panic!("no command in {said}"));
    rest.split('`').next().unwrap_or_default().to_owned()
}
