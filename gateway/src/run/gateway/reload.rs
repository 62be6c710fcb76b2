//! Takes over another configuration while the gateway runs.
//!
//! It is read and checked as at a start: with a mistake in it, or with rules that it does not fit, everything
//! stays as it is. Else what differs is taken over and all else goes on. One source or upstream that cannot be
//! as it says stays as it was, and is tried again.

use std::sync::Arc;

use tidegate_rules::diagnostic::Diagnostic;

use super::credentials::{CREDENTIALS, read_again};
use super::{Gateway, way};
use crate::control::{ReloadReport, ReloadRequest};
use crate::observe::audit::who::Who;
use crate::observe::process::configuration::{
    Changes, ConfigurationRefused, ConfigurationTaken, SUBJECT,
};
use crate::run::config::difference::NOT_USABLE;
use crate::run::config::{self, Config};
use crate::run::upstreams::lanes::{Lanes, destinations};
use crate::run::{health, rules, systemd};
use crate::time::clock;
use crate::time::task;

/// The troubles of a configuration: it is refused, keys need a restart.
const REFUSED: &str = "refused";
const RESTART: &str = "restart";
/// Mistakes that a trouble names.
const MISTAKES_MAX: usize = 3;

/// What a gateway that runs is told to do.
#[derive(Debug)]
pub(super) enum Told {
    /// Read the configuration again, and say what came of it to who asks.
    Reload(Option<ReloadRequest>),
    /// Read certificates and secrets again.
    Credentials,
    /// Try again what could not be taken.
    Again,
}

impl Gateway {
    /// Does what it is told.
    pub(super) async fn obey(&mut self, told: Told) {
        match told {
            Told::Reload(request) => {
                systemd::reloading();
                let who = request.as_ref().map(|request| request.who.clone());
                let report = self
                    .reload(who.unwrap_or_else(|| Who::signal("SIGHUP")))
                    .await;
                systemd::ready(&self.config.gateway.id);
                if let Some(request) = request {
                    // Who asked may have gone.
                    let _ = request.report.send(report);
                }
            }
            Told::Credentials => self.read_credentials().await,
            Told::Again => self.take_all().await,
        }
        self.credentials.watch(&self.sources, &self.upstreams);
    }

    async fn reload(&mut self, who: Who) -> ReloadReport {
        let running = Arc::clone(&self.config);
        let read = task::blocking(
            "the reading of the configuration",
            task::contained(move || {
                config::load_again(&running).map_err(|mistakes| {
                    let of_rules = rules::folder::lines_beside(&running.path);
                    [config::lines(&mistakes), of_rules].concat()
                })
            }),
        );
        let taken = match read.await {
            Ok(Ok(config)) => self.take(config, &who).await,
            Ok(Err(mistakes)) => Err(mistakes),
            Err(error) => Err(vec![format!("it could not be read: {error}")]),
        };
        let config = self.config.path.display().to_string();
        match taken {
            Ok(report) => {
                self.observe.clear(SUBJECT, REFUSED);
                self.observe.clear_kind(CREDENTIALS);
                ReloadReport { config, ..report }
            }
            Err(refused) => {
                self.refuse(&refused);
                ReloadReport {
                    config,
                    refused,
                    ..ReloadReport::default()
                }
            }
        }
    }

    fn refuse(&self, errors: &[String]) {
        let path = &self.config.path;
        self.observe
            .emit_change(&ConfigurationRefused { path, errors });
        let what = format!(
            "{} is refused, and what it said before goes on: {}",
            path.display(),
            first(errors)
        );
        self.observe.raise(SUBJECT, REFUSED, &what);
    }

    /// Certificates and secrets changed, the configuration is what it was when it was last taken. Those of one
    /// source or upstream wait for no other.
    async fn read_credentials(&mut self) {
        let running = Arc::clone(&self.config);
        let read = task::blocking("the reading of secrets", move || read_again(&running));
        let Ok(read) = read.await else { return };
        let mut config = Config::clone(&self.config);
        for (subject, taken) in read {
            match taken {
                Ok(section) => {
                    section.put_into(&mut config);
                    self.observe.clear(&subject, CREDENTIALS);
                }
                Err(errors) => {
                    let what = format!("{NOT_USABLE}: {}", first(&errors));
                    self.observe.raise(&subject, CREDENTIALS, &what);
                }
            }
        }
        self.config = Arc::new(config);
        self.take_all().await;
        self.in_force.configuration(&self.config, None);
    }

    /// Makes everything what `config` says, as far as that needs no restart.
    ///
    /// # Errors
    /// Why it cannot be run; nothing has changed then.
    async fn take(&mut self, config: Config, who: &Who) -> Result<ReloadReport, Vec<String>> {
        let keys = config.keys_for_a_restart(&self.started_with);
        self.take_rules(&config).await?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let config = Arc::new(with_the_rest(config, &self.config));
        let before = std::mem::replace(&mut self.config, config);
        self.take_all().await;
        health::check_limits(&self.config, &self.observe);
        self.in_force.configuration(&self.config, Some(who));
        let restart = restart(&keys);
        match &restart {
            Some(what) => self.observe.raise(SUBJECT, RESTART, what),
            None => self.observe.clear(SUBJECT, RESTART),
        }
        let sources = changes(&before.sources, &self.config.sources, |of| &of.name);
        let upstreams = changes(&before.upstreams, &self.config.upstreams, |of| &of.name);
        self.observe.emit_change(&ConfigurationTaken {
            path: &self.config.path,
            sources: sources.clone(),
            upstreams: upstreams.clone(),
            restart: &keys,
        });
        Ok(ReloadReport {
            sources,
            upstreams,
            restart_needed: keys,
            is_behind: self.is_behind,
            ..ReloadReport::default()
        })
    }

    /// Rules are put in force for the upstreams to come, before any of these comes or goes: what is decided from
    /// then on has its lane, and what is in a lane that is left stays there.
    async fn take_rules(&mut self, config: &Config) -> Result<(), Vec<String>> {
        let wanted = destinations(config);
        let same_names = {
            let mut names: [Vec<&str>; 2] =
                [&wanted, &self.lanes.destinations].map(|of| of.names().collect());
            names.iter_mut().for_each(|names| names.sort_unstable());
            names[0] == names[1]
        };
        let folder = &config.gateway.rules;
        if same_names && *folder == self.config.gateway.rules {
            self.rules.look().await;
            return Ok(());
        }
        let prepared = self.rules.prepare(folder.clone(), wanted.clone()).await;
        if let Err(of_rules) = prepared {
            let gone = self.lanes.destinations.names();
            let gone = gone.filter(|name| wanted.find(name).is_none());
            let path = config.path.display();
            let gone = gone.map(|name| format!("{path}: [upstreams.{name}] is gone"));
            let missing = config.rules_missing.as_ref().map(Diagnostic::short);
            return Err(gone.chain(missing).chain(of_rules).collect());
        }
        let lanes = match Lanes::of(wanted, &self.store) {
            Ok(lanes) => lanes,
            Err(error) => {
                self.rules.leave().await;
                return Err(vec![format!(
                    "the store has no room for its lanes: {error}"
                )]);
            }
        };
        self.upstreams
            .add_lanes(&lanes, &self.store, clock::monotonic());
        self.pipeline.count_lanes(self.upstreams.counts());
        self.rules.take(lanes.clone()).await;
        self.lanes = lanes;
        Ok(())
    }

    /// Makes sources and upstreams what the configuration says.
    async fn take_all(&mut self) {
        self.upstreams_context.config = Arc::clone(&self.config);
        let pairs = way::one_broker(&self.config);
        self.upstreams_context.way.set_one_broker(pairs);
        let upstreams = self
            .upstreams
            .take(&mut self.tasks, &self.upstreams_context);
        let upstreams = upstreams.await;
        self.pipeline.count_lanes(self.upstreams.counts());
        let sources = self
            .sources
            .take(&mut self.tasks, &self.config.sources)
            .await;
        self.is_behind = !(upstreams && sources);
        let with = &self.upstreams_context;
        self.api.set_upstreams(self.upstreams.status(with));
        self.api.set_sources(self.sources.status());
    }
}

/// A configuration with everything that needs a restart as it runs.
fn with_the_rest(config: Config, running: &Config) -> Config {
    Config {
        gateway: crate::config::Gateway {
            rules: config.gateway.rules,
            ..running.gateway.clone()
        },
        store: running.store.clone(),
        dead_letters: running.dead_letters.clone(),
        api: running.api.clone(),
        ..config
    }
}

/// What is to be said of keys that need a restart.
fn restart(keys: &[String]) -> Option<String> {
    (!keys.is_empty()).then(|| {
        let keys = keys.join(", ");
        format!("restart needed: {keys}; everything else of the configuration is in force")
    })
}

/// The names that came, went and stayed under another content.
fn changes<T: PartialEq>(before: &[T], now: &[T], name: impl Fn(&T) -> &str) -> Changes {
    let find = |all: &'_ [T], one: &T| all.iter().position(|of| name(of) == name(one));
    let names = |some: Vec<&T>| some.into_iter().map(|one| name(one).to_owned()).collect();
    let added = now.iter().filter(|one| find(before, one).is_none());
    let removed = before.iter().filter(|one| find(now, one).is_none());
    let changed = now.iter().filter(|one| {
        let earlier = find(before, one).map(|at| &before[at]);
        earlier.is_some_and(|earlier| earlier != *one)
    });
    Changes {
        added: names(added.collect()),
        removed: names(removed.collect()),
        changed: names(changed.collect()),
    }
}

/// The first mistakes, and how many more there are.
fn first(errors: &[String]) -> String {
    let (told, others) = errors.split_at(errors.len().min(MISTAKES_MAX));
    let told = told.join("; ");
    match others.len() {
        0 => told,
        more => format!("{told}; and {more} more: see `tidegate check`"),
    }
}
