//! Whom a trouble is told to: the status, the readiness, the metrics, the log and system events.

use serde_json::Value;

use super::Gateway;
use crate::wait;

/// What is told of one trouble.
pub struct Told<'a> {
    /// What it is about.
    pub subject: &'a str,
    /// Its kind in a word.
    pub kind: &'a str,
    /// What is wrong, where, and what to do: each in the line.
    pub words: &'a [&'a str],
}

impl Told<'_> {
    /// Waits until the status tells it, and asks everybody else.
    ///
    /// # Panics
    /// When one of them does not.
    pub fn everywhere(&self, gateway: &Gateway) {
        let Told {
            subject,
            kind,
            words,
        } = self;
        let begin = format!("{subject}: ");
        let line = wait::find(&format!("{kind} of {subject} is a trouble"), || {
            let all = troubles(gateway);
            let is_it = |line: &&String| {
                line.starts_with(&begin) && words.iter().all(|word| line.contains(word))
            };
            let found = all.iter().find(is_it).cloned();
            found.ok_or_else(|| format!("{all:#?}\n{}", gateway.log()))
        });
        eprintln!("{line}");
        let shown = gateway.ask(&["status"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(&format!("! {begin}")), "{shown}");
        let ready = gateway.control("/readyz");
        assert!(ready.contains(&begin), "{begin} in {ready}");
        assert_eq!(self.metric(gateway), 1, "{subject} {kind}");
        assert_eq!(self.log_lines(gateway), 1, "{}", gateway.whole_log());
        let raised = || self.events(gateway, "raised").len() == 1;
        wait::until("a system event tells it", raised);
    }

    /// Waits until it is over, for everybody.
    ///
    /// # Panics
    /// When one of them still tells it.
    pub fn nowhere(&self, gateway: &Gateway) {
        let Told {
            subject,
            kind,
            words,
        } = self;
        wait::until(&format!("{kind} of {subject} is over"), || {
            self.metric(gateway) == 0
        });
        let cleared = || self.events(gateway, "cleared").len() == 1;
        wait::until("a system event tells that", cleared);
        let begin = format!("{subject}: ");
        let is_it = |line: &String| line.starts_with(&begin) && line.contains(words[0]);
        assert!(!troubles(gateway).iter().any(is_it));
    }

    fn metric(&self, gateway: &Gateway) -> u64 {
        let labels = format!("subject=\"{}\",kind=\"{}\"", self.subject, self.kind);
        gateway.metric("tidegate_trouble{", &labels)
    }

    fn log_lines(&self, gateway: &Gateway) -> usize {
        let fields = format!("subject=\"{}\" kind=\"{}\"", self.subject, self.kind);
        let log = gateway.whole_log();
        let lines = log.lines().filter(|line| line.contains(&fields));
        lines.filter(|line| line.contains(" WARN ")).count()
    }

    fn events(&self, gateway: &Gateway, what: &str) -> Vec<Value> {
        let topic = format!("$tidegate/trouble/{what}");
        let mut all = gateway.events(&["--topic", &topic]);
        all.retain(|told| {
            let event = &told["event"];
            event["subject"] == self.subject && event["data"]["kind"] == self.kind
        });
        all
    }
}

/// The troubles that the status tells.
pub fn troubles(gateway: &Gateway) -> Vec<String> {
    let status = gateway.status();
    let all = status["troubles"].as_array().into_iter().flatten();
    all.filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}
