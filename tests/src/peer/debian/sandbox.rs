//! What a user does with a service in the sandbox of its unit.

use crate::peer::debian::lifecycle::Machine;
use crate::wait;

impl Machine {
    /// In its sandbox the gateway does what it does outside: it reads its configuration again, is backed up, gives its
    /// store to a group, and its files may be rotated.
    ///
    /// # Panics
    /// When it does not.
    pub fn is_confined_and_works(&self) {
        let root = &self.root;
        let before = root.done("cat /etc/tidegate/gateway.toml");
        root.write(
            "/etc/tidegate/gateway.toml",
            &format!("{before}mistake = 1\n"),
        );
        root.refused("systemctl reload tidegate");
        root.done("systemctl is-active tidegate");
        let group = before.replace("[gateway]\n", "[gateway]\ngroup = \"dialout\"\n");
        root.write("/etc/tidegate/gateway.toml", &group);
        root.done("systemctl restart tidegate");
        let whose = root.done("stat -c %U:%G:%a /var/lib/tidegate /var/lib/tidegate/tidegate.sock");
        assert_eq!(whose, "tidegate:dialout:750\ntidegate:dialout:660\n");
        root.write("/etc/tidegate/gateway.toml", &before);
        root.done("systemctl restart tidegate && systemctl reload tidegate");

        root.done("tidegate store backup /var/lib/tidegate/backup && tidegate store verify");
        root.done("logrotate -f /etc/logrotate.d/tidegate");
        root.done("mosquitto_pub -q 1 -t plant/a/press7/temp -m '{\"temperature\": 22.5}'");
        wait::until("the event is in the new file", || {
            root.holds("grep -q 22.5 /var/log/tidegate/events.jsonl")
        });
        root.done("grep 21.5 /var/log/tidegate/events.jsonl-*");
        let troubles = root.done("tidegate status --format json | tr -d ' \\n'");
        assert!(troubles.contains("\"troubles\":[]"), "{troubles}");
    }
}
