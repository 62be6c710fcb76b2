//! Named tasks, so that one that ends by itself is known by its name.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};

use crate::time::task;

/// All long-running tasks of a gateway.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<Result<(), String>>,
    names: HashMap<Id, (String, AbortHandle)>,
    /// Those that ended while others were waited for.
    ended: Vec<TaskExit>,
}

/// How a task ended.
pub(super) struct TaskExit {
    /// Its name.
    pub(super) task: String,
    /// What it said; `Ok` when it was told to stop.
    pub(super) result: Result<(), String>,
}

impl Tasks {
    /// Spawns a task under a name.
    pub(super) fn spawn<E: std::fmt::Display>(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        let task = async move { task.await.map_err(|error| error.to_string()) };
        let handle = self.set.spawn(task::named(name.as_str(), task));
        self.names.insert(handle.id(), (name, handle));
    }

    /// The next task that ends; `None` when there are none left.
    pub(super) async fn next(&mut self) -> Option<TaskExit> {
        match self.ended.pop() {
            Some(exit) => Some(exit),
            None => self.next_of_set().await,
        }
    }

    /// Leaves out those that were left behind.
    async fn next_of_set(&mut self) -> Option<TaskExit> {
        loop {
            let (id, result) = match self.set.join_next_with_id().await? {
                Ok((id, result)) => (id, result),
                Err(error) => (error.id(), Err(format!("it panicked: {error}"))),
            };
            if let Some((task, _)) = self.names.remove(&id) {
                return Some(TaskExit { task, result });
            }
        }
    }

    /// Waits until the tasks of these names, which were told to stop, have ended; gives what one of them
    /// said that ended otherwise. One that takes longer than `within` is cut off.
    pub(super) async fn end(&mut self, names: &[String], within: Duration) -> Vec<TaskExit> {
        let deadline = tokio::time::sleep(within);
        tokio::pin!(deadline);
        let mut failed = Vec::new();
        while self.names.values().any(|(name, _)| names.contains(name)) {
            tokio::select! {
                () = &mut deadline => {
                    self.cut_off(names);
                    break;
                }
                exit = self.next_of_set() => match exit {
                    Some(exit) if !names.contains(&exit.task) => self.ended.push(exit),
                    Some(exit) if exit.result.is_err() => failed.push(exit),
                    _ => {}
                },
            }
        }
        failed
    }

    fn cut_off(&mut self, names: &[String]) {
        self.names.retain(|_, (name, handle)| {
            let stays = !names.contains(name);
            if !stays {
                tracing::warn!(task = *name, "it did not end in time and is cut off");
                handle.abort();
            }
            stays
        });
    }

    /// Whether a task whose name starts with `prefix` is still running.
    pub(super) fn running(&self, prefix: &str) -> bool {
        self.names
            .values()
            .any(|(name, _)| name.starts_with(prefix))
    }
}
