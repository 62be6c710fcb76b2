//! The opening of the store, which may take a while: the API answers meanwhile, and says how far it is; so do the log and
//! the service manager.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::{OpenProgress, Store, Writer};
use tokio::sync::{oneshot, watch};

use crate::control::{Answers, Control};
use crate::run::config::Config;
use crate::run::tasks::Tasks;
use crate::run::{RunError, systemd};
use crate::time::clock;

/// An opening that takes longer is told of in the log, again each time that so much has passed.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Says how far the opening is: to those who ask, and now and then to the log.
#[derive(Clone)]
pub(in crate::run) struct Telling {
    answers: Answers,
    logged: Instant,
}

impl Telling {
    pub(in crate::run) fn new(answers: Answers) -> Telling {
        Telling {
            answers,
            logged: clock::monotonic(),
        }
    }

    /// `done` of `all` of what `doing` names.
    pub(in crate::run) fn tell(&mut self, doing: &str, done: u64, all: u64, what: &str) {
        let line = format!("{doing}: {done} of {all} {what}");
        if clock::monotonic().duration_since(self.logged) >= TOLD_EVERY {
            self.logged = clock::monotonic();
            tracing::info!("{line}");
            systemd::opening(&line);
        }
        self.answers.tell(line);
    }
}

/// Opens the store; from the moment that its lock is held the API is served, until `stop`.
///
/// # Errors
/// What cannot be opened.
pub(in crate::run) async fn open(
    config: &Arc<Config>,
    answers: &Answers,
    tasks: &mut Tasks,
    stop: watch::Receiver<bool>,
) -> Result<(Writer, Store), RunError> {
    let (locked, is_locked) = oneshot::channel();
    let mut telling = Telling::new(answers.clone());
    let of_thread = Arc::clone(config);
    let opened = tokio::task::spawn_blocking(move || {
        let mut locked = Some(locked);
        super::open(&of_thread, |OpenProgress { done, generations }| {
            if let Some(locked) = locked.take() {
                let _ = locked.send(());
            }
            if generations > 0 {
                telling.tell("opening the store", done, generations, "generations");
            }
        })
    });
    // Where it could not be locked, the opening says why.
    if is_locked.await.is_ok() {
        let data_dir = &config.gateway.data_dir;
        let control = Control::bind(data_dir, &config.api, answers.clone()).await;
        let control = control.map_err(|error| RunError::Bind(error.to_string()))?;
        tasks.spawn("control", control.run(stop));
    }
    let opened = opened.await;
    opened.map_err(|error| RunError::Store(format!("the store cannot be opened: {error}")))?
}
