//! Timeouts of peers that neither send nor read.
//!
//! A process that is stopped (`SIGSTOP`, `docker pause`, a debugger) or starved continues with timers
//! that have fired and with I/O that it has not looked at: the stop interrupts `epoll_wait`, which then
//! returns no events. What the peer did meanwhile waits in the socket's buffers. So a deadline does not
//! expire when its timer first fires, but after another period, in which the runtime polls its I/O. The
//! period is as long as the timer was late, from [`MIN_GRACE`] to [`MAX_GRACE`].

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Sleep as HyperSleep, Timer};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline of a peer. It can be moved, and has no timer until it is first polled.
#[derive(Debug, Default)]
pub struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    /// What the caller waits for, and when it expires, which is later once the timer has fired.
    waiting: Option<(Instant, Instant)>,
    /// How many times the current deadline was put off.
    extensions: u8,
}

/// The peer did not act in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

pin_project! {
    /// A future with a time limit. It holds its future once, where an `async fn` would hold it as an argument,
    /// too.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        deadline: Deadline,
        limit: Duration,
        // Unset until the future is pending, because most are ready at once.
        at: Option<Instant>,
    }
}

/// A body that fails when nothing of it arrives for `limit`.
#[derive(Debug)]
pub struct TimeoutBody<B> {
    body: B,
    limit: Duration,
    deadline: Deadline,
    /// When the next frame is due, while one is awaited.
    frame_at: Option<Instant>,
}

/// The timers of hyper, for its timeouts of peers.
#[derive(Clone, Copy, Debug)]
pub struct PeerTimer;

struct PeerSleep {
    deadline: Deadline,
    at: Instant,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Longer than the runtime needs to poll its I/O.
const MIN_GRACE: Duration = Duration::from_millis(20);
/// After a stop of both ends, the peer needs time to continue.
const MAX_GRACE: Duration = Duration::from_secs(5);
/// A process that is always late closes the connections of silent peers, too.
const MAX_EXTENSIONS: u8 = 4;

// === impl Deadline ===

impl Deadline {
    /// Resolves when the peer has had until `at`. Another `at` than in the last call begins a new wait.
    ///
    /// Callers poll the peer's I/O before they call this.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let known = self.waiting.filter(|(known, _)| *known == at);
        let mut expires = known.map_or(at, |(_, expires)| expires);
        if known.is_none() {
            self.extensions = 0;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(expires)));
        // Resetting a timer is expensive, so one that fires too early is only reset when it has fired.
        if timer.deadline() > expires {
            timer.as_mut().reset(expires);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if expires <= now {
                let late = now - expires;
                let is_judged = self.extensions > 0 && late < MIN_GRACE;
                if is_judged || self.extensions == MAX_EXTENSIONS {
                    return Poll::Ready(());
                }
                self.extensions += 1;
                expires = now + late.clamp(MIN_GRACE, MAX_GRACE);
            }
            timer.as_mut().reset(expires);
        }
        self.waiting = Some((at, expires));
        Poll::Pending
    }

    /// Waits until the peer has had until `at`. Cancel safe: the wait continues with the next call that
    /// has the same `at`.
    pub async fn passed(&mut self, at: Instant) {
        poll_fn(|cx| self.poll(cx, at)).await;
    }
}

/// Waits until a peer has had this time.
pub async fn allowance(limit: Duration) {
    let at = Instant::now() + limit;
    Deadline::default().passed(at).await;
}

/// Returns a future that waits for a peer. `future` is polled first. It resolves with [`Elapsed`] if `future`
/// takes longer than `limit` after it was first pending.
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        deadline: Deadline::default(),
        limit,
        at: None,
    }
}

// === impl Timeout ===

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                let limit = *this.limit;
                let at = *this.at.get_or_insert_with(|| Instant::now() + limit);
                this.deadline.poll(cx, at).map(|()| Err(Elapsed))
            }
        }
    }
}

// === impl TimeoutBody ===

impl<B> TimeoutBody<B> {
    pub fn new(limit: Duration, body: B) -> Self {
        Self {
            body,
            limit,
            deadline: Deadline::default(),
            frame_at: None,
        }
    }
}

impl<B> Body for TimeoutBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    /// [`Elapsed`], or the error of the body.
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.frame_at = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = this.limit;
        let at = *this.frame_at.get_or_insert_with(|| Instant::now() + limit);
        ready!(this.deadline.poll(cx, at));
        Poll::Ready(Some(Err(Elapsed.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl PeerTimer ===

impl Timer for PeerTimer {
    fn sleep(&self, limit: Duration) -> Pin<Box<dyn HyperSleep>> {
        self.sleep_until(std::time::Instant::now() + limit)
    }

    fn sleep_until(&self, at: std::time::Instant) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(PeerSleep {
            deadline: Deadline::default(),
            at: at.into(),
        })
    }
}

impl Future for PeerSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.deadline.poll(cx, at)
    }
}

impl HyperSleep for PeerSleep {}

#[cfg(test)]
mod tests {

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Returns how long a wait took.
    async fn waited(limit: Duration) -> Duration {
        let begun = Instant::now();
        allowance(limit).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peer_has_its_time_and_a_moment() {
        let waited = waited(LIMIT).await;
        assert!(
            waited >= LIMIT && waited < LIMIT + 3 * MIN_GRACE,
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_acts_is_not_late() {
        assert_eq!(timeout(LIMIT, sleep(LIMIT)).await, Ok(()));
        assert_eq!(timeout(LIMIT, sleep(2 * LIMIT)).await, Err(Elapsed));
    }

    #[tokio::test(start_paused = true)]
    async fn peer_has_time_after_the_process_was_stopped() {
        for (stop, grace) in [
            (Duration::from_secs(2), Duration::from_secs(2)),
            (Duration::from_secs(3_600), MAX_GRACE),
        ] {
            let mut deadline = Deadline::default();
            let at = Instant::now() + LIMIT;
            // Time passes, but the deadline is not polled.
            tokio::time::advance(LIMIT + stop).await;
            let continued = Instant::now();
            deadline.passed(at).await;
            let waited = continued.elapsed();
            assert!(
                waited >= grace && waited < grace + 3 * MIN_GRACE,
                "{waited:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peer_of_a_process_that_is_always_late_is_given_up() {
        let mut deadline = Deadline::default();
        let at = Instant::now() + LIMIT;
        let begun = Instant::now();
        loop {
            tokio::time::advance(LIMIT).await;
            let polled = poll_fn(|cx| Poll::Ready(deadline.poll(cx, at))).await;
            if polled.is_ready() {
                break;
            }
        }
        assert!(begun.elapsed() <= LIMIT * (u32::from(MAX_EXTENSIONS) + 2));
    }

    #[tokio::test(start_paused = true)]
    async fn moved_deadline_begins_another_wait() {
        let mut deadline = Deadline::default();
        let begun = Instant::now();
        for moved in 1..=3 {
            let at = begun + moved * LIMIT;
            let early = deadline.passed(at);
            assert_eq!(
                tokio::time::timeout(LIMIT / 2, early).await.ok(),
                None,
                "{moved}"
            );
            sleep(LIMIT / 2).await;
        }
        let earlier = Instant::now() + LIMIT / 10;
        deadline.passed(earlier).await;
        assert!(earlier.elapsed() < 3 * MIN_GRACE);
    }

    /// The timer and the I/O of the runtime are real, and so is the stop of its only thread.
    #[cfg(unix)]
    #[tokio::test]
    async fn bytes_that_arrived_while_the_process_was_stopped_are_read() {
        let (mut peer, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        let limit = Duration::from_millis(20);
        let mut byte = [0];
        let read = timeout(limit, tokio::io::AsyncReadExt::read(&mut ours, &mut byte));
        let stop = async {
            tokio::task::yield_now().await;
            std::io::Write::write_all(&mut peer, b"x").unwrap();
            std::thread::sleep(5 * limit);
        };
        let (read, ()) = tokio::join!(read, stop);
        assert_eq!(read.unwrap().unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn body_fails_when_a_frame_is_late() {
        let pauses = [1, 9, 9, 11, 1];
        let frames = stream::unfold(pauses.iter(), |mut pauses| async {
            sleep(Duration::from_secs(*pauses.next()?)).await;
            let frame = Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x")));
            Some((frame, pauses))
        });
        let mut body = TimeoutBody::new(LIMIT, Box::pin(StreamBody::new(frames)));
        for _ in 0..3 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.is::<Elapsed>(), "{error}");
    }
}
