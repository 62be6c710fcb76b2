//! A set of rules that is compiled on a thread of its own, beside everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use tidegate_rules::diagnostic::Diagnostic;
use tidegate_rules::{Checked, Destinations, Handover, RuleFile};
use tokio::sync::oneshot;

use super::folder;
use crate::intake::evaluator::ActiveRules;

/// How long a set may take: more than the largest takes that the limits of files and rules allow.
const COMPILE_MAX: Duration = Duration::from_secs(120);

/// How it ended.
pub(super) enum Outcome {
    /// A set that can be run, and how it takes over from the one before.
    Compiled(Checked, Handover),
    /// Everything that is wrong.
    Mistakes(Vec<Diagnostic>),
    /// There is none, because of this.
    Failed(String),
}

/// A set that is being compiled; dropped, it is given up.
pub(super) struct Compiling {
    given_up: Arc<AtomicBool>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Compiling {
    /// Begins with `files`, which are to follow the rules `before`.
    pub(super) fn begin(
        files: Vec<RuleFile>,
        destinations: Destinations,
        before: Arc<ActiveRules>,
    ) -> Compiling {
        let given_up = Arc::new(AtomicBool::new(false));
        let (sender, outcome) = oneshot::channel();
        let stop = Arc::clone(&given_up);
        let work = move || {
            let goes_on = || !stop.load(Ordering::Relaxed);
            let compiled = folder::compile_while(&files, &destinations, &goes_on);
            let outcome = compiled.map(|compiled| match compiled {
                Ok(checked) => {
                    let handover = checked.rules.handover(&before.rules);
                    Outcome::Compiled(checked, handover)
                }
                Err(mistakes) => Outcome::Mistakes(mistakes),
            });
            // Nobody waits for what was given up.
            outcome.map(|outcome| sender.send(outcome))
        };
        if let Err(error) = Builder::new().name("rules".into()).spawn(work) {
            tracing::error!(%error, "no thread to compile the rules");
        }
        Compiling { given_up, outcome }
    }

    /// Until it is done.
    pub(super) async fn done(&mut self) -> Outcome {
        match tokio::time::timeout(COMPILE_MAX, &mut self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                Outcome::Failed("the rules could not be compiled; the log says why".to_owned())
            }
            Err(_) => {
                self.given_up.store(true, Ordering::Relaxed);
                let seconds = COMPILE_MAX.as_secs();
                Outcome::Failed(format!(
                    "the rules were not compiled within {seconds} s: write fewer or smaller ones"
                ))
            }
        }
    }

    /// Gives it up and waits until its thread has noticed.
    pub(super) async fn give_up(mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        let _ = (&mut self.outcome).await;
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}
