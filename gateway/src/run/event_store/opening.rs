//! The opening of the store, which may take a while: the API answers meanwhile, and says how far it is; so do the log and
//! the service manager.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::{OpenError, OpenProgress, Store, Writer};
use tokio::sync::{oneshot, watch};

use crate::control::{Answers, Control};
use crate::observe::Observe;
use crate::run::config::Config;
use crate::run::signals::Signals;
use crate::run::tasks::Tasks;
use crate::run::{RunError, systemd};
use crate::time::clock;
use crate::time::task;

/// An opening that takes longer is told of in the log, again each time that so much has passed.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// How long to wait before it is looked again whether there is room for the store.
const AGAIN: Duration = Duration::from_secs(2);

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
            systemd::waiting(TOLD_EVERY * 30, &line);
        }
        self.answers.tell(line);
    }
}

/// A store that is open, and the API that said how far that was.
pub(in crate::run) struct Opened {
    pub(in crate::run) writer: Writer,
    pub(in crate::run) store: Store,
    pub(in crate::run) started: Instant,
    pub(in crate::run) observe: Arc<Observe>,
    pub(in crate::run) answers: Answers,
    /// With the API among them.
    pub(in crate::run) tasks: Tasks,
    /// Ends what goes on until the last event is delivered.
    pub(in crate::run) stop_upstreams: watch::Sender<bool>,
}

/// Opens the store; from the moment that its lock is held the API is served. One that is there opens on a full disk too;
/// where there is none yet, this waits for the room to make it. `None` if it is told to end first.
///
/// # Errors
/// What cannot be opened.
pub(in crate::run) async fn open(
    config: &Arc<Config>,
    signals: &mut Signals,
) -> Result<Option<Opened>, RunError> {
    let (started, observe) = (clock::monotonic(), Arc::new(Observe::default()));
    let answers = Answers::opening(config.gateway.id.clone(), started, Arc::clone(&observe));
    let (stop_upstreams, stop) = watch::channel(false);
    let (mut tasks, mut control, mut told) = (Tasks::default(), Some(stop), false);
    loop {
        let why = match attempt(config, &answers, &mut tasks, &mut control).await? {
            Ok((writer, store)) => {
                return Ok(Some(Opened {
                    writer,
                    store,
                    started,
                    observe,
                    answers,
                    tasks,
                    stop_upstreams,
                }));
            }
            Err(why @ OpenError::NoSpace { .. }) => why,
            Err(other) => return Err(RunError::Store(other.to_string())),
        };
        if !std::mem::replace(&mut told, true) {
            tracing::error!(
                "{why}; until there is room nothing is accepted, and this gateway waits for it"
            );
        }
        let waits = "waiting for room on the disk to open the store";
        answers.tell(waits.to_owned());
        systemd::waiting(AGAIN * 5, waits);
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = signals.end() => return Ok(None),
        }
    }
}

/// One attempt; `control` is taken when the API is served.
async fn attempt(
    config: &Arc<Config>,
    answers: &Answers,
    tasks: &mut Tasks,
    control: &mut Option<watch::Receiver<bool>>,
) -> Result<Result<(Writer, Store), OpenError>, RunError> {
    let (locked, is_locked) = oneshot::channel();
    let mut telling = Telling::new(answers.clone());
    let of_thread = Arc::clone(config);
    let opened = task::blocking("the opening of the store", move || {
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
    if is_locked.await.is_ok()
        && let Some(stop) = control.take()
    {
        let gateway = &config.gateway;
        let group = gateway.group.as_deref();
        let served = Control::bind(&gateway.data_dir, group, &config.api, answers.clone()).await;
        let served = served.map_err(|error| RunError::Bind(error.to_string()))?;
        tasks.spawn("control", served.run(stop));
    }
    let failed = |error| RunError::Store(format!("the store cannot be opened: {error}"));
    opened.await.map_err(failed)
}
