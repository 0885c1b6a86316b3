//! The lines of the log between the code that logs and the thread that writes them.
//!
//! Lines are appended to one buffer, of which the thread takes everything at once. It is woken for the
//! first line only, and then waits a moment for more, so that a busy process spends little on its log: one
//! wake-up and a few writes for all the lines of two milliseconds.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// The lines that have not been written.
#[derive(Clone, Debug)]
pub(super) struct LogLines(Arc<Shared>);

/// Writes the remaining lines when it is dropped.
#[derive(Debug)]
pub struct LogGuard(LogLines);

/// The lines of the log that wait until a command has printed something. Dropping it writes them.
#[derive(Debug)]
pub struct HeldLines(LogLines);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the thread has to look at the state.
    changed: Condvar,
    ended: Condvar,
    dropped: Counter,
}

#[derive(Debug)]
struct State {
    text: Vec<u8>,
    /// The lines must not be written yet.
    is_held: bool,
    /// The thread waits for a line.
    is_idle: bool,
    /// No more lines follow.
    is_closed: bool,
    /// The thread has ended.
    is_ended: bool,
}

/// The number of bytes of lines that may wait to be written. Further lines are dropped.
const MAX_WAITING: usize = 2 << 20;
/// The number of bytes that a buffer keeps for the next lines.
const KEPT: usize = 64 << 10;
/// The maximum number of bytes in one write, if it has more than one line. A longer write to a pipe can
/// be interleaved with those of other processes (`PIPE_BUF`, pipe(7)).
const MAX_WRITE: usize = 4096;
/// How long the thread waits for more lines after the first one.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the end of the process waits for a reader that does not read the remaining lines.
const MAX_FLUSH: Duration = Duration::from_secs(1);

// === impl LogLines ===

impl LogLines {
    /// Starts the thread that writes to `out`, once the lines are no longer held. Counts lines that cannot
    /// be written in `dropped`.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        dropped: Counter,
    ) -> (Self, LogGuard, HeldLines) {
        let lines = Self(Arc::new(Shared {
            state: Mutex::new(State {
                text: Vec::new(),
                is_held: true,
                is_idle: false,
                is_closed: false,
                is_ended: false,
            }),
            changed: Condvar::new(),
            ended: Condvar::new(),
            dropped,
        }));
        let writing = lines.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        if thread.spawn(move || writing.write_all_to(out)).is_err() {
            // The runtime cannot start its threads either, and reports it on standard error.
            lines.0.state.lock().is_ended = true;
        }
        (lines.clone(), LogGuard(lines.clone()), HeldLines(lines))
    }

    /// Appends a line, or counts it as dropped if too many wait.
    fn push(&self, line: &[u8]) {
        let mut state = self.0.state.lock();
        if state.text.len() + line.len() > MAX_WAITING {
            drop(state);
            self.0.dropped.inc();
            return;
        }
        state.text.extend_from_slice(line);
        let is_wanted = state.is_idle && !state.is_held;
        if is_wanted {
            state.is_idle = false;
        }
        drop(state);
        if is_wanted {
            self.0.changed.notify_one();
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock());
        self.0.changed.notify_one();
    }

    fn write_all_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            let lost = write_lines(&mut out, &batch);
            self.0.dropped.inc_by(lost);
            batch.clear();
            batch.shrink_to(KEPT);
        }
        self.0.state.lock().is_ended = true;
        self.0.ended.notify_one();
    }

    /// Waits for lines and exchanges them for the empty `batch`. Returns `false` when no more follow.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let mut state = self.0.state.lock();
        while !state.is_closed && (state.is_held || state.text.is_empty()) {
            state.is_idle = true;
            self.0.changed.wait(&mut state);
        }
        state.is_idle = false;
        if !state.is_closed {
            self.0.changed.wait_for(&mut state, PAUSE);
        }
        std::mem::swap(&mut state.text, batch);
        !batch.is_empty()
    }
}

/// Writes lines, and returns how many of them could not be written.
fn write_lines(out: &mut impl Write, mut lines: &[u8]) -> u64 {
    let mut lost = 0;
    while !lines.is_empty() {
        let (first, rest) = lines.split_at(end_of_write(lines));
        if out.write_all(first).is_err() {
            lost += first.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        lines = rest;
    }
    let _ = out.flush();
    lost
}

/// Returns the length of the whole lines that fit into one write, or else that of the first line.
fn end_of_write(lines: &[u8]) -> usize {
    if lines.len() <= MAX_WRITE {
        return lines.len();
    }
    let (fitting, rest) = lines.split_at(MAX_WRITE);
    let is_end = |byte: &u8| *byte == b'\n';
    match fitting.iter().rposition(is_end) {
        Some(end) => end + 1,
        None => rest
            .iter()
            .position(is_end)
            .map_or(lines.len(), |end| MAX_WRITE + end + 1),
    }
}

/// Takes one line at a time.
impl Write for &LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

// === impl HeldLines ===

impl Drop for HeldLines {
    fn drop(&mut self) {
        self.0.change(|state| state.is_held = false);
    }
}

// === impl LogGuard ===

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.change(|state| state.is_closed = true);
        let until = Instant::now() + MAX_FLUSH;
        let Shared { state, ended, .. } = &*self.0.0;
        let mut state = state.lock();
        while !state.is_ended && !ended.wait_until(&mut state, until).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends everything that is written.
    struct Sender(std::sync::mpsc::SyncSender<Vec<u8>>);

    impl Write for Sender {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (
        LogLines,
        LogGuard,
        HeldLines,
        std::sync::mpsc::Receiver<Vec<u8>>,
    ) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1_000);
        let (lines, guard, held) = LogLines::start(Sender(sender), Counter::default());
        (lines, guard, held, receiver)
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let dropped = Counter::default();
        let (lines, guard, held) = LogLines::start(full, dropped.clone());
        for _ in 0..3 {
            lines.push(b"line\n");
        }
        drop((held, guard));
        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn held_lines_are_written_in_order_when_released() {
        let (lines, guard, held, written) = start();
        lines.push(b"1\n");
        lines.push(b"2\n");
        lines.push(&[b'x'; MAX_WAITING]);
        assert_eq!(lines.0.dropped.get(), 1);
        thread::sleep(3 * PAUSE);
        assert!(written.try_recv().is_err());
        drop(held);
        assert_eq!(written.recv().unwrap(), b"1\n2\n");
        lines.push(b"3\n");
        assert_eq!(written.recv().unwrap(), b"3\n");
        drop(guard);
        assert_eq!(lines.0.dropped.get(), 1);
    }

    #[test]
    fn lines_of_many_threads_are_written_whole_and_completely() {
        let (lines, guard, held, written) = start();
        drop(held);
        let reader = thread::spawn(move || written.iter().flatten().collect::<Vec<u8>>());
        thread::scope(|scope| {
            for thread in 0..4 {
                let lines = &lines;
                scope.spawn(move || {
                    for line in 0..1_000 {
                        lines.push(format!("{thread} {line}\n").as_bytes());
                        if line % 100 == 0 {
                            thread::sleep(PAUSE);
                        }
                    }
                });
            }
        });
        drop((guard, lines));
        let text = String::from_utf8(reader.join().unwrap()).unwrap();
        for thread in 0..4 {
            let own = text.lines().filter_map(|line| {
                let (of, line) = line.split_once(' ').unwrap();
                (of == thread.to_string()).then(|| line.parse::<u64>().unwrap())
            });
            assert!(own.eq(0..1_000), "{thread}");
        }
    }

    #[test]
    fn a_write_ends_with_a_line_and_fits_into_a_pipe() {
        let line = |length: usize| [vec![b'x'; length - 1], vec![b'\n']].concat();
        for (lengths, expected) in [
            (vec![10], 10),
            (vec![MAX_WRITE], MAX_WRITE),
            (vec![MAX_WRITE - 10, 10, 1], MAX_WRITE),
            (vec![3_000, 1_000, 1_000], 4_000),
            (vec![MAX_WRITE + 1, 10], MAX_WRITE + 1),
            (vec![MAX_WRITE + 1], MAX_WRITE + 1),
        ] {
            let lines: Vec<u8> = lengths.iter().flat_map(|length| line(*length)).collect();
            assert_eq!(end_of_write(&lines), expected, "{lengths:?}");
        }
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        let (lines, guard, held) = LogLines::start(Sender(sender), Counter::default());
        lines.push(b"line\n");
        let begun = Instant::now();
        drop((held, guard));
        assert!(begun.elapsed() < 5 * MAX_FLUSH);
        assert_eq!(receiver.recv().unwrap(), b"line\n");
    }
}
