//! Who was not let in.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::SourceMetrics;
use crate::observe::audit::who::Who;
use crate::observe::audit::{Change, What};
use crate::observe::{Happening, Observe};
use crate::time::clock;

/// The trouble is over when nobody was refused for so long.
const QUIET: Duration = Duration::from_secs(600);
const KIND: &str = "logins";

/// Somebody was not let in.
pub struct LoginFailed<'a> {
    /// The source.
    pub source: &'a str,
    /// Where it came from.
    pub peer: IpAddr,
    /// The user it named, where that is one of the configuration.
    pub user: Option<&'a str>,
    /// Why.
    pub why: &'a str,
}

impl Happening for LoginFailed<'_> {
    fn log(&self) {
        tracing::warn!(source = self.source, peer = %self.peer, user = self.user, "login failed: {}", self.why);
    }
}

impl SourceMetrics {
    /// Somebody was not let in: counted, and a trouble until nobody is refused for ten minutes.
    /// Each is a system event, as far as [`Observe::refused`] bounds them. `user` is a name of the configuration.
    pub fn login_failed(&self, observe: &Observe, peer: IpAddr, user: Option<&str>, why: &str) {
        let label = self.label();
        let source = &*label.source;
        self.0.failed_logins.get_or_create(&label).inc();
        observe.emit(&LoginFailed {
            source,
            peer,
            user,
            why,
        });
        let who = Who::client(peer, user);
        observe.refused(Change::new(What::Login, source, "refused", &who).because(why));
        let subject = self.subject();
        if !observe.is_raised(&subject, KIND) {
            self.0.failed_since.store(0, Ordering::Relaxed);
        }
        let count = self.0.failed_since.fetch_add(1, Ordering::Relaxed) + 1;
        let logins = match count {
            1 => "a login".to_owned(),
            _ => format!("{count} logins"),
        };
        let what = format!(
            "{logins} failed, the last from {peer}: {why}. Give it what it needs to log in, or take it off the network"
        );
        let until = clock::monotonic() + QUIET;
        observe.follow(&subject, KIND, &what, Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::source::SourceFamilies;

    #[test]
    fn who_was_not_let_in_is_counted_from_the_first_to_the_last() {
        let observe = Observe::default();
        let metrics = SourceFamilies::register(&observe).of("floor");
        let peer = IpAddr::from([10, 0, 0, 7]);
        for _ in 0..3 {
            metrics.login_failed(&observe, peer, None, "no user name and password");
        }
        let lines = observe.troubles.lines();
        let expected = "source floor: 3 logins failed, the last from 10.0.0.7: no user name and password. Give it what \
                        it needs to log in, or take it off the network";
        assert_eq!(lines, [expected]);
        observe.clear_past(clock::monotonic() + QUIET);
        let why = "the password of the user p is wrong";
        metrics.login_failed(&observe, peer, Some("p"), why);
        let line = &observe.troubles.lines()[0];
        assert!(line.contains("a login failed"), "{line}");
        let metric = "source_failed_logins_total{source=\"floor\"} 4";
        assert!(observe.metrics_text().contains(metric));
    }
}
