//! The first and the second signal that stop the program, on every operating system.

use tokio_util::sync::CancellationToken;

use super::signals::Signals;

impl Signals {
    /// Returns two futures, which resolve at the first and at the second signal that stops the program.
    /// The first resolves only while the second is polled.
    pub(in crate::cli) fn stops(mut self) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let first = CancellationToken::new();
        let stopped = first.clone();
        let second = async move {
            self.next().await;
            stopped.cancel();
            self.next().await;
        };
        (first.cancelled_owned(), second)
    }
}
