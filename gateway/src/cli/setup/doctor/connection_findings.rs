//! Ports: of the network, and serial ones.

use std::net::SocketAddr;
use std::path::Path;

use super::subject::Subject;
use super::{Finding, Severity};
use crate::cli::setup::machine::ports::Listener;

/// The group that serial ports belong to on Debian and its like.
const DIALOUT: &str = "dialout";
const READ_AND_WRITE: u32 = 6;
/// The usual port of MQTT without encryption.
const MQTT_PORT: u16 = 1883;

pub(super) fn all(subject: &Subject) -> Vec<Finding> {
    let ports = subject.listens.iter();
    let ports = ports.filter_map(|(section, address)| port(subject, section, *address));
    let serial = subject.serial.iter();
    let serial =
        serial.filter_map(|(section, device)| serial_port(subject, section, device.as_deref()));
    ports.chain(serial).collect()
}

fn port(subject: &Subject, section: &str, address: SocketAddr) -> Option<Finding> {
    let machine = &subject.machine;
    let listener = machine
        .listener_at(address)
        .filter(|_| address.port() != 0)?;
    let holder = machine.holder_of(&listener);
    let is_own = match (&holder, subject.running) {
        (Some(holder), Some(running)) => holder.pid == running.pid,
        (None, _) => is_probably_own(subject, &listener),
        (Some(_), None) => false,
    };
    if is_own {
        return None;
    }
    let who = match &holder {
        Some(holder) => format!("{holder} has it"),
        None => format!(
            "a program of the user {} has it (`sudo ss -ltnp` shows which)",
            machine.user_numbered(listener.uid).name
        ),
    };
    let message = format!(
        "{section} is to listen on {address}, and {who}: devices would reach that, not the gateway"
    );
    let port = address.port();
    let is_broker =
        port == MQTT_PORT || holder.is_some_and(|holder| holder.name.contains("mosquitto"));
    let remedy = match is_broker {
        true => format!(
            "subscribe at that broker (type = \"mqtt\", url = \"mqtt://127.0.0.1:{port}\", topics = [\"#\"]), take another \
             port, or end it (`systemctl disable --now mosquitto`)"
        ),
        false => "take another port, or end that program".to_owned(),
    };
    Some(Finding::new(
        "port-taken",
        Severity::Warning,
        message,
        remedy,
    ))
}

/// Who has a port cannot be seen by this user: it is the gateway itself where one runs as the same user.
fn is_probably_own(subject: &Subject, listener: &Listener) -> bool {
    match subject.running {
        Some(running) => running.uid == listener.uid,
        None => {
            let owner = subject.machine.access(&subject.data_dir);
            let is_of_owner = owner.is_none_or(|owner| owner.uid == listener.uid);
            subject.machine.has_gateway(&subject.data_dir) && is_of_owner
        }
    }
}

fn serial_port(subject: &Subject, section: &str, device: Option<&Path>) -> Option<Finding> {
    let (machine, user) = (&subject.machine, &subject.user);
    let access = device.and_then(|device| machine.access(device));
    let (group, what) = match (access, device) {
        (Some(access), _) if user.may(access, READ_AND_WRITE) => return None,
        (Some(access), Some(device)) => (
            machine.group_name(access.gid),
            format!("{} (mode {:04o})", device.display(), access.mode),
        ),
        // It is not plugged in, or found by its ids: it will belong to the group.
        _ => {
            let gid = machine.group_named(DIALOUT)?;
            if user.uid == 0 || user.gids.contains(&gid) {
                return None;
            }
            let what = device.map_or("its port".to_owned(), |device| device.display().to_string());
            (DIALOUT.to_owned(), what)
        }
    };
    let name = &user.name;
    let message = format!(
        "{section} opens {what}, which the user {name} may not: it is not in the group {group}"
    );
    let remedy = format!(
        "`usermod -aG {group} {name}` and start the gateway (or log in) anew; in a unit: SupplementaryGroups={group}"
    );
    Some(Finding::new(
        "serial-group",
        Severity::Error,
        message,
        remedy,
    ))
}
