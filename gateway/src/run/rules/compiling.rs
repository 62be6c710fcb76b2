//! A set of rules that is compiled on a thread of its own, beside everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_rules::diagnostic::Diagnostic;
use tidegate_rules::{Checked, Destinations, Handover, RuleFile};
use tokio::sync::oneshot;

use super::folder;
use crate::intake::evaluator::ActiveRules;
use crate::time::task;

/// How long a set may take: more than the largest takes that the limits of files and rules allow.
pub(super) const COMPILE_MAX: Duration = Duration::from_secs(120);

/// How it ended.
pub(super) enum Outcome {
    /// A set that can be run, and how it takes over from the one before.
    Compiled(Box<(Checked, Handover)>),
    /// Everything that is wrong.
    Mistakes(Vec<Diagnostic>),
    /// There is none, because of this.
    Failed(String),
}

/// A set that is being compiled; dropped, it is given up.
pub(super) struct Compiling {
    given_up: Arc<AtomicBool>,
    outcome: oneshot::Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
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
                    Outcome::Compiled(Box::new((checked, handover)))
                }
                Err(mistakes) => Outcome::Mistakes(mistakes),
            });
            // Nobody waits for what was given up.
            if let Some(outcome) = outcome {
                let _ = sender.send(outcome);
            }
        };
        let thread = task::thread("rules", task::contained(work));
        let thread =
            thread.inspect_err(|error| tracing::error!(%error, "no thread to compile the rules"));
        Compiling {
            given_up,
            outcome,
            thread: thread.ok(),
        }
    }

    /// Until it is done, for `most` at the most.
    pub(super) async fn done(&mut self, most: Duration) -> Outcome {
        match tokio::time::timeout(most, &mut self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                Outcome::Failed("the rules could not be compiled; the log says why".to_owned())
            }
            Err(_) => {
                self.given_up.store(true, Ordering::Relaxed);
                let seconds = most.as_secs();
                Outcome::Failed(format!(
                    "the rules were not compiled within {seconds} s: write fewer or smaller ones"
                ))
            }
        }
    }

    /// Gives it up and waits until its thread has ended.
    pub(super) async fn give_up(mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it is in the log.
            let _ = task::blocking("the end of a compiler", || thread.join()).await;
        }
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(rules: usize) -> Compiling {
        let rule = |at: usize| format!("rule r{at} {{ on \"t/{at}\" send to cloud }}\n");
        let file = RuleFile {
            path: "rules/a.rules".to_owned(),
            text: (0..rules).map(rule).collect(),
        };
        let destinations = Destinations::new(["cloud"]);
        let none = tidegate_rules::RuleSet::pass_all(&destinations);
        let before = Arc::new(ActiveRules::new(none, vec![1]));
        Compiling::begin(vec![file], destinations, before)
    }

    #[tokio::test]
    async fn a_set_that_takes_too_long_is_given_up_with_a_word() {
        let mut compiling = begin(5_000);
        let Outcome::Failed(said) = compiling.done(Duration::ZERO).await else {
            panic!("5,000 rules in no time");
        };
        let expected = "the rules were not compiled within 0 s: write fewer or smaller ones";
        assert_eq!(said, expected);
        compiling.give_up().await;
        let mut next = begin(3);
        assert!(matches!(
            next.done(COMPILE_MAX).await,
            Outcome::Compiled(..)
        ));
    }

    #[tokio::test]
    async fn one_that_is_given_up_gives_nothing() {
        let compiling = begin(5_000);
        let given_up = Arc::clone(&compiling.given_up);
        drop(compiling);
        assert!(given_up.load(Ordering::Relaxed));
    }
}
