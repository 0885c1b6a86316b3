//! Catches panics in the task where they happen, logs each once, and counts them by task.
//!
//! A panic is a bug in countersign or in a library. It ends the task in which it happens and what depends on
//! that task, and nothing else: [`caught`] returns it as an error to the owner of the task, and
//! [`supervised`] restarts the task.

mod kind;

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep};
use tracing::{dispatcher, error, warn};

use super::metrics::metrics;
pub use kind::Task;

tokio::task_local! {
    static TASK: Task;
}

/// A task ended by a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "countersign hit an internal error, which is a bug. Please report it with the location that the \
     log line \"panicked\" has"
)]
pub struct Panicked;

pin_project! {
    /// The future of [`caught`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Caught<F> {
        #[pin]
        future: F,
        task: Task,
    }
}

/// The pause before a task is restarted for the first time. It doubles with each panic.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// A task that has run for this long counts as recovered.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// Runs a future, and counts a panic in it and returns it as an error. Values that the future borrows
/// mutably stay as the panic left them. A panic while an unfinished future is dropped is not caught.
pub fn caught<F: Future>(task: Task, future: F) -> Caught<F> {
    Caught { future, task }
}

/// Runs a blocking function as [`caught`] runs a future.
pub fn caught_blocking<T>(task: Task, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let ended = TASK.sync_scope(task, || catch_unwind(AssertUnwindSafe(run)));
    ended.map_err(|payload| count(task, payload))
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match caught_blocking(*this.task, || this.future.poll(cx)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

/// Runs a task until it ends by itself. Restarts it after each panic, with a growing pause.
pub async fn supervised<F>(task: Task, mut run: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        if caught(task, run()).await.is_ok() {
            return;
        }
        if begun.elapsed() >= RECOVERED_AFTER {
            pause = FIRST_PAUSE;
        }
        warn!(
            task = task.as_str(),
            ?pause,
            "restarting a task after a panic"
        );
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Logs every panic of the process in one line instead of the standard library's text.
///
/// The line contains the location, and the message only if it is a literal in the source, because a
/// formatted message may quote a peer or a secret.
pub fn log_panics() {
    set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let task = TASK.try_with(|task| *task).unwrap_or(Task::Other);
    if task == Task::Other {
        increment(task);
    }
    let location = panic.location().map(ToString::to_string);
    let location = location.unwrap_or_default();
    let reason = literal(panic.payload());
    if dispatcher::has_been_set() {
        let thread = std::thread::current();
        let thread = thread.name();
        error!(task = task.as_str(), thread, location, reason, "panicked");
    } else {
        // Nothing can be done if standard error is closed.
        let _ = writeln!(std::io::stderr(), "countersign: panicked at {location}");
    }
}

/// Returns the message of a panic, if it is a literal in the source.
fn literal(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

fn count(task: Task, _payload: Box<dyn Any + Send>) -> Panicked {
    increment(task);
    Panicked
}

fn increment(task: Task) {
    metrics().task_panics.get_or_create(&task.into()).inc();
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::metrics::Format;
    use super::super::metrics::encode;
    use super::*;

    fn counted(task: Task) -> String {
        let page = encode(Format::Prometheus).unwrap();
        let sample = format!(
            "countersign_task_panics_total{{task=\"{}\"}} ",
            task.as_str()
        );
        let line = page.lines().find_map(|line| line.strip_prefix(&sample));
        line.unwrap_or_else(|| panic!("no {sample} in\n{page}"))
            .to_owned()
    }

    #[tokio::test]
    async fn panic_is_returned_as_an_error_and_counted() {
        assert_eq!(counted(Task::Tunnel), "0");
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let ended: Result<(), Panicked> = caught(Task::Tunnel, async move {
            let _inside = inside;
            tokio::task::yield_now().await;
            panic!("on purpose");
        })
        .await;
        assert_eq!(ended, Err(Panicked));
        assert_eq!(counted(Task::Tunnel), "1");
        assert_eq!(
            Arc::strong_count(&held),
            1,
            "a value of the task was not dropped"
        );
        assert_eq!(caught(Task::Tunnel, async { 7 }).await, Ok(7));
        assert_eq!(counted(Task::Tunnel), "1");
        let ended = caught_blocking(Task::Recorder, || -> u8 { panic!("on purpose") });
        assert_eq!(ended, Err(Panicked));
        assert_eq!(counted(Task::Recorder), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn supervised_task_is_restarted_after_growing_pauses() {
        let runs = AtomicU32::new(0);
        let begun = Instant::now();
        let times = Mutex::new(Vec::new());
        supervised(Task::Accept, || async {
            times.lock().push(begun.elapsed().as_millis());
            match runs.fetch_add(1, Ordering::Relaxed) {
                0..=2 => panic!("on purpose"),
                3 => {
                    sleep(RECOVERED_AFTER).await;
                    panic!("on purpose");
                }
                _ => {}
            }
        })
        .await;
        // After a minute without a panic, the pause is the shortest again.
        assert_eq!(*times.lock(), [0, 100, 300, 700, 60_800]);
        assert_eq!(counted(Task::Accept), "4");
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn panic_is_logged_in_one_line_without_formatted_text() {
        let lines = Lines::default();
        let written = lines.clone();
        let log = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(move || written.clone());
        let log = tracing_subscriber::registry().with(log);
        tracing::subscriber::set_global_default(log).unwrap();
        log_panics();
        let secret = Cell::new("wJalrXUtnFEMI");
        let quoting: Result<(), Panicked> = caught(Task::Request, async {
            let text = format!("{}\u{e9}", secret.get());
            // Its message quotes the text.
            let _ = &text[..text.len() - 1];
        })
        .await;
        assert_eq!(quoting, Err(Panicked));
        let _: Result<(), Panicked> = caught(Task::Realtime, async {
            panic!("a literal");
        })
        .await;
        let other = std::thread::Builder::new().name("a thread".to_owned());
        let other = other.spawn(|| panic!("a literal")).unwrap();
        assert!(other.join().is_err());

        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert!(!text.contains("wJalr"), "{text}");
        let found: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        let expected = [
            ("request", None),
            ("realtime", Some("a literal")),
            ("other", Some("a literal")),
        ];
        assert_eq!(found.len(), expected.len(), "{text}");
        for (line, (task, reason)) in found.iter().zip(expected) {
            assert_eq!(line["level"], "ERROR");
            assert_eq!(line["message"], "panicked");
            assert_eq!(line["task"], task);
            assert_eq!(line["reason"].as_str(), reason);
            let location = line["location"].as_str().unwrap();
            assert!(location.contains("tasks.rs:"), "{location}");
        }
        assert_eq!(found[2]["thread"], "a thread");
        assert_eq!(counted(Task::Other), "1");
    }
}
