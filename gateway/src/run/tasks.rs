//! Named tasks, so that one that ends by itself is known by its name.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// All long-running tasks of a gateway.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<Result<(), String>>,
    names: HashMap<Id, String>,
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
        let task = async move { task.await.map_err(|error| error.to_string()) };
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// The next task that ends; `None` when there are none left.
    pub(super) async fn next(&mut self) -> Option<TaskExit> {
        let (id, result) = match self.set.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(format!("it panicked: {error}"))),
        };
        Some(TaskExit {
            task: self.names.remove(&id).unwrap_or_default(),
            result,
        })
    }

    /// Whether a task whose name starts with `prefix` is still running.
    pub(super) fn running(&self, prefix: &str) -> bool {
        self.names.values().any(|name| name.starts_with(prefix))
    }
}
