//! What the package goes through in a root: installed, upgraded over a backlog, not downgraded, removed, purged.

use serde_json::Value;

use crate::peer::debian::base::Architecture;
use crate::peer::debian::{Manager, Root, deb};
use crate::wait;

/// The older and the newer version of the package.
const OLDER: &str = "0.0.8-1";
const NEWER: &str = "0.0.9-1";
/// Broker of one's own, at another address than the gateway's listener. It keeps what waits for `central`.
const BROKER: &str = "listener 1883 127.0.0.2\nallow_anonymous true\npersistence true\n\
                      persistence_location /var/lib/mosquitto/\nmax_queued_messages 0\npid_file /var/lib/mosquitto/broker.pid\n";
/// Its end, with all that it keeps on the disk.
const BROKER_ENDS: &str = "pid=$(cat /var/lib/mosquitto/broker.pid); kill -TERM $pid; \
                           while kill -0 $pid 2>/dev/null; do sleep 0.1; done";
/// The upstream that it is.
pub const CENTRAL: &str = "central";
const UPSTREAM: &str = "\n[upstreams.central]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.2:1883\"\n";

/// A root, and the package in two versions.
pub struct Machine {
    /// The root.
    pub root: Root,
    /// The packages in it.
    pub older: String,
    /// The same, newer.
    pub newer: String,
}

impl Machine {
    /// A fresh root with both packages in `/root`, nothing installed.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn fresh(architecture: Architecture, manager: Manager) -> Machine {
        let older = deb::package(architecture, OLDER);
        let newer = deb::package(architecture, NEWER);
        let root = Root::copy(architecture, manager);
        let older = root.bring(&older);
        let newer = root.bring(&newer);
        Machine { root, older, newer }
    }

    /// The package `dpkg` has, with its state.
    pub fn version(&self) -> String {
        self.root
            .said("dpkg-query -W -f '${db:Status-Abbrev}${Version}' tidegate")
    }

    /// The process of the service, as its manager has it.
    ///
    /// # Panics
    /// When its manager does not say.
    pub fn process(&self) -> String {
        let shown = self.root.done("systemctl show -p MainPID --value tidegate");
        shown.trim().to_owned()
    }

    /// How many events wait for an upstream.
    ///
    /// # Panics
    /// When the gateway does not say.
    pub fn waiting(&self, upstream: &str) -> Option<u64> {
        let said = self.root.done("tidegate status --format json");
        let status: Value = serde_json::from_str(&said).expect("JSON");
        let mut upstreams = status["upstreams"].as_array()?.iter();
        upstreams.find(|one| one["name"] == upstream)?["waiting"].as_u64()
    }

    /// Installed, the service runs as its user with what the package brings, and an event goes through it.
    ///
    /// # Panics
    /// When it does not.
    pub fn is_installed_and_runs(&self) {
        self.root
            .done(&format!("apt-get install -y {}", self.older));
        assert_eq!(self.version(), format!("ii {OLDER}"));
        self.root.done("systemctl is-active tidegate");
        let user = self
            .root
            .done(&format!("stat -c %U /proc/{}", self.process()));
        assert_eq!(user.trim(), "tidegate");
        let locked = self.root.done("getent shadow tidegate");
        assert!(locked.starts_with("tidegate:!"), "{locked}");
        self.root.done("tidegate check");
        self.root
            .done("mosquitto_pub -q 1 -t plant/a/press7/temp -m '{\"temperature\": 21.5}'");
        wait::until("the event is in the file upstream", || {
            let file = self.root.said("cat /var/log/tidegate/events.jsonl");
            file.contains("\"temperature\": 21.5")
        });
        // A second time changes nothing.
        self.root.done(&format!("dpkg -i {}", self.older));
        self.root.done("systemctl is-active tidegate");
    }

    /// So many events wait for an upstream that is away, an upgrade comes, and all of them arrive.
    ///
    /// # Panics
    /// When one does not.
    pub fn is_upgraded_over_a_backlog(&self, events: u32) {
        let root = &self.root;
        let config = self.holds_events(events);
        let before = self.process();

        let said = root.done(&format!("apt-get install -y {}", self.newer));
        assert_eq!(self.version(), format!("ii {NEWER}"), "{said}");
        let edited = root.done("cat /etc/tidegate/gateway.toml");
        assert_eq!(edited, config, "the configuration stays as it was edited");
        root.done("systemctl is-active tidegate");
        assert_ne!(self.process(), before, "the new version runs");
        assert_eq!(self.waiting(CENTRAL), Some(events.into()));
        self.delivers_events(events);
    }

    /// So many events wait for an upstream that is away; the configuration that names it.
    ///
    /// # Panics
    /// When they do not.
    pub fn holds_events(&self, events: u32) -> String {
        let root = &self.root;
        root.write("/etc/mosquitto/own.conf", BROKER);
        root.done("mosquitto -d -c /etc/mosquitto/own.conf");
        let subscribed = "mosquitto_sub -h 127.0.0.2 -i central -c -q 1 -t 'load/#' -E";
        wait::until("the broker keeps what comes", || root.holds(subscribed));
        root.done(BROKER_ENDS);
        let config = root.done("cat /etc/tidegate/gateway.toml") + UPSTREAM;
        root.write("/etc/tidegate/gateway.toml", &config);
        root.done("systemctl restart tidegate >/dev/null 2>&1");
        root.done(&format!(
            "seq 1 {events} | sed 's/.*/{{\"n\": &}}/' | mosquitto_pub -i press -q 1 -t load/press -l"
        ));
        wait::until("all of it waits", || {
            self.waiting(CENTRAL) == Some(events.into())
        });
        config
    }

    /// The upstream is back, and all that waited for it arrives, in order.
    ///
    /// # Panics
    /// When it does not.
    pub fn delivers_events(&self, events: u32) {
        let root = &self.root;
        root.done("mosquitto -d -c /etc/mosquitto/own.conf");
        let gets =
            format!("mosquitto_sub -h 127.0.0.2 -i central -c -q 1 -t 'load/#' -C {events} -W 240");
        let came = wait::find("the broker gives them out", || {
            let output = root.run(&gets);
            let came = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success().then_some(came).ok_or("not yet")
        });
        let came: Vec<&str> = came.lines().collect();
        let sent: Vec<String> = (1..=events).map(|n| format!("{{\"n\": {n}}}")).collect();
        assert!(came == sent, "{} of {events}, or out of order", came.len());
    }

    /// An older package is refused in one sentence, which names the way to force it; the service runs on.
    ///
    /// # Panics
    /// When it is not.
    pub fn is_downgraded_only_by_force(&self) {
        let before = self.process();
        let commands = [
            format!("dpkg -i {}", self.older),
            format!("apt-get install -y --allow-downgrades {}", self.older),
        ];
        for command in commands {
            let said = self.root.refused(&command);
            let lines: Vec<&str> = said
                .lines()
                .filter(|line| line.starts_with("tidegate: "))
                .collect();
            let [sentence] = lines[..] else {
                panic!("one sentence, not {lines:?} of\n{said}")
            };
            for part in [OLDER, NEWER, "TIDEGATE_DOWNGRADE=yes"] {
                assert!(sentence.contains(part), "{sentence}");
            }
            assert_eq!(self.version(), format!("ii {NEWER}"), "{said}");
            assert_eq!(self.process(), before, "the service runs on\n{said}");
            self.root
                .done("systemctl is-active tidegate && tidegate status");
        }
        self.root.done(&format!(
            "TIDEGATE_DOWNGRADE=yes apt-get install -y --allow-downgrades {}",
            self.older
        ));
        assert_eq!(self.version(), format!("ii {OLDER}"));
        self.root.done("systemctl is-active tidegate");
    }

    /// Removed, the service is gone and its events, configuration and user are not; installed again, it goes on.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn is_removed_and_comes_back(&self) {
        let process = self.process();
        self.root.done("tidegate events list --limit 1 | grep .");
        self.root.done("apt-get remove -y tidegate");
        assert!(
            !self.root.holds(&format!("[ -d /proc/{process} ]")),
            "it is stopped"
        );
        for gone in ["/usr/bin/tidegate", "/usr/lib/tidegate"] {
            assert!(!self.root.holds(&format!("[ -e {gone} ]")), "{gone}");
        }
        for kept in ["/var/lib/tidegate/store", "/etc/tidegate/gateway.toml"] {
            assert!(self.root.holds(&format!("[ -e {kept} ]")), "{kept}");
        }
        self.root.done(&format!("dpkg -i {}", self.newer));
        self.root.done("systemctl is-active tidegate");
        self.root.done("tidegate events list --limit 1 | grep .");
    }

    /// A purge that nobody answers keeps the events and names them; one that is answered yes leaves the locked user.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn is_purged_as_answered(&self) {
        let said = self.root.done("apt-get purge -y tidegate");
        assert!(
            said.contains("tidegate: /var/lib/tidegate is kept"),
            "{said}"
        );
        assert!(self.root.holds("[ -d /var/lib/tidegate/store ]"));
        assert!(!self.root.holds("[ -e /etc/tidegate/gateway.toml ]"));

        self.root.done(&format!("dpkg -i {}", self.newer));
        self.root.done("tidegate events list --limit 1 | grep .");
        self.root
            .done("echo 'tidegate tidegate/remove-data boolean true' | debconf-set-selections");
        self.root.done("apt-get purge -y tidegate");
        let left = self.root.said(
            "find / -xdev -iname '*tidegate*' -not -path '/root/*' -not -path '/var/log/journal/*' -not -name 'tidegate_*.deb'",
        );
        assert_eq!(left, "", "left over");
        let asked = self.root.said("debconf-show tidegate");
        assert_eq!(asked, "", "debconf knows nothing of it any more");
        let user = self.root.done("getent shadow tidegate");
        assert!(user.starts_with("tidegate:!"), "{user}");
    }

    /// Installed, upgraded and purged where no service manager runs.
    ///
    /// # Panics
    /// When a script fails, or something runs.
    pub fn comes_and_goes_without_a_service(&self) {
        for package in [&self.older, &self.newer] {
            self.root.done(&format!("dpkg -i {package}"));
        }
        assert_eq!(self.version(), format!("ii {NEWER}"));
        self.root.done("tidegate check && getent passwd tidegate");
        self.root.refused("tidegate status");
        let enabled = "/etc/systemd/system/multi-user.target.wants/tidegate.service";
        assert!(
            self.root.holds(&format!("[ -L {enabled} ]")),
            "it starts when the image does"
        );
        self.root.done("dpkg --purge tidegate");
        self.root.done(&format!(
            "[ ! -e {enabled} ] && [ ! -e /etc/tidegate ] && [ ! -e /var/lib/tidegate ]"
        ));
    }
}
