//! Spawns the tasks of connections, which are tracked and stopped with the process.

use crate::lifecycle::BackgroundTasks;
use crate::telemetry::tasks::{Task, caught};

/// Spawns background tasks; also for hyper, which spawns a task for each HTTP/2 connection.
#[derive(Clone, Debug)]
pub(super) struct TaskExecutor(pub(super) BackgroundTasks);

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stop = self.0.stop.clone();
        self.0.tracker.spawn(async move {
            let task = caught(Task::Upstream, task);
            stop.run_until_cancelled(task).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::rt::Executor as _;

    use super::*;

    #[tokio::test]
    async fn panic_in_a_connection_ends_only_its_task() {
        let tasks = TaskExecutor(BackgroundTasks::default());
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        tasks.execute(async move {
            let _inside = inside;
            panic!("on purpose");
        });
        tasks.0.tracker.close();
        tasks.0.tracker.wait().await;
        assert_eq!(Arc::strong_count(&held), 1, "what the task held is kept");
        let label = Task::Upstream.into();
        let panics = &crate::telemetry::metrics::metrics().task_panics;
        assert_eq!(panics.get_or_create(&label).get(), 1);
    }
}
