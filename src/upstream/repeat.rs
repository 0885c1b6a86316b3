//! Decides whether a request that failed is sent again.
//!
//! A request is sent again when upstream provably did not process it. A request that changes nothing is
//! also sent again, once, when a connection that earlier requests had used was lost: upstream often
//! closes such a connection because it was idle.

use std::io;
use std::time::{Duration, Instant};

use countersign_protocol::error_code::Sent;
use http::Method;

use super::Error;
use super::error::SendError;

/// Whether upstream may process a request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The request changes nothing, like a query or a `GET` request.
    Safe,
    Never,
}

/// The attempts to send one request.
#[derive(Debug)]
pub(super) struct Attempts {
    pub(super) started: Instant,
    /// The dial of the next connection must have started later.
    pub(super) dialled_after: Option<Instant>,
    /// How long all attempts have waited for a response.
    pub(super) waited: Duration,
    repeat: Repeat,
    repeats: u32,
    /// The failure of an attempt that upstream may have processed.
    lost: Option<Error>,
}

/// A failed attempt to send a request.
#[derive(Debug)]
pub(super) struct Failed {
    error: Error,
    connection: Connection,
}

/// The connection of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// There was none, or it is not known to be lost.
    Any,
    /// Upstream did not process the request. The connection may still be open.
    Refused { dialled: Instant },
    /// It was lost before a response arrived.
    Lost { is_reused: bool, is_timeout: bool },
}

/// How often a request that was not processed is sent again. A server that shuts down may close each of
/// its connections.
const MAX_REPEATS: u32 = 3;

// === impl Repeat ===

impl From<&Method> for Repeat {
    /// See RFC 9110, section 9.2.1.
    fn from(method: &Method) -> Self {
        if method.is_safe() {
            Self::Safe
        } else {
            Self::Never
        }
    }
}

// === impl Attempts ===

impl Attempts {
    pub(super) fn new(started: Instant, repeat: Repeat) -> Self {
        Self {
            started,
            dialled_after: None,
            waited: Duration::ZERO,
            repeat,
            repeats: 0,
            lost: None,
        }
    }

    /// Returns why the request is sent again after an attempt has failed, for the metric.
    ///
    /// # Errors
    /// When it must not be sent again.
    pub(super) fn next(&mut self, failed: Failed) -> Result<&'static str, Error> {
        let Failed { error, connection } = failed;
        match connection {
            Connection::Refused { dialled } if self.repeats < MAX_REPEATS => {
                self.repeats += 1;
                // A server that restarts may refuse on each of its connections.
                let is_last = self.repeats == MAX_REPEATS;
                let after = if is_last { Instant::now() } else { dialled };
                self.dialled_after = self.dialled_after.max(Some(after));
                Ok("unprocessed")
            }
            Connection::Lost {
                is_reused: true, ..
            } if self.repeat == Repeat::Safe && self.lost.is_none() => {
                self.lost = Some(error);
                // Other connections to the same server may be lost, too.
                self.dialled_after = Some(Instant::now());
                Ok("lost")
            }
            Connection::Any | Connection::Refused { .. } | Connection::Lost { .. } => {
                Err(self.last(error))
            }
        }
    }

    /// Returns the error to report when `error` ended the last attempt: that of an earlier attempt if
    /// upstream may have processed only that one.
    pub(super) fn last(&mut self, error: Error) -> Error {
        let earlier = self.lost.take().filter(|_| error.sent() == Sent::No);
        earlier.unwrap_or(error)
    }
}

// === impl Failed ===

impl Failed {
    /// Returns the failure of an attempt on a connection that was dialled at `dialled`.
    pub(super) fn new(error: SendError, dialled: Instant, is_reused: bool) -> Self {
        let SendError {
            error,
            is_unwritten,
            is_goaway_proof,
        } = error;
        let mut is_unprocessed = is_unwritten;
        let mut is_timeout = error.is_timeout();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            if let Some(http2) = cause.downcast_ref::<h2::Error>() {
                is_unprocessed |= http2.is_remote()
                    && ((http2.is_go_away() && is_goaway_proof)
                        || http2.reason() == Some(h2::Reason::REFUSED_STREAM));
            }
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                is_timeout |= io.kind() == io::ErrorKind::TimedOut;
            }
            source = cause.source();
        }
        if is_unprocessed {
            return Self {
                error: Error::Unprocessed(error),
                connection: Connection::Refused { dialled },
            };
        }
        if error.is_parse() {
            return Error::Syntax(error).into();
        }
        Self {
            error: Error::Broken(error),
            connection: Connection::Lost {
                is_reused,
                is_timeout,
            },
        }
    }

    /// Returns whether upstream did not answer in time.
    pub(super) fn is_timeout(&self) -> bool {
        match self.connection {
            Connection::Lost { is_timeout, .. } => is_timeout,
            Connection::Any => matches!(self.error, Error::FirstByteTimeout { .. }),
            Connection::Refused { .. } => false,
        }
    }
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            connection: Connection::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::DialError;
    use super::*;

    /// An error of a request that upstream may have processed, or has not.
    fn error(sent: Sent) -> Error {
        let after = Duration::ZERO;
        match sent {
            Sent::Maybe => Error::FirstByteTimeout { after },
            Sent::No => Error::Dial(Arc::new(DialError::Timeout {
                address: String::new(),
                after,
            })),
            Sent::Yes => unreachable!(),
        }
    }

    fn failed(connection: Connection, sent: Sent) -> Failed {
        Failed {
            error: error(sent),
            connection,
        }
    }

    /// Checks why attempts that fail with `failures` are repeated, and what the last error says.
    #[track_caller]
    fn check(
        repeat: Repeat,
        failures: impl IntoIterator<Item = (Connection, Sent)>,
        expected: &[&str],
        sent: Sent,
    ) {
        let mut attempts = Attempts::new(Instant::now(), repeat);
        let mut reasons = Vec::new();
        for (connection, failure) in failures {
            match attempts.next(failed(connection, failure)) {
                Ok(reason) => reasons.push(reason),
                Err(error) => {
                    assert_eq!(reasons, expected);
                    assert_eq!(error.sent(), sent);
                    return;
                }
            }
        }
        panic!("it would be sent once more");
    }

    #[test]
    fn last_repeat_needs_a_new_connection() {
        let dialled = Instant::now();
        let mut attempts = Attempts::new(dialled, Repeat::Never);
        for repeat in 1..=MAX_REPEATS {
            let refused = Connection::Refused { dialled };
            attempts.next(failed(refused, Sent::No)).unwrap();
            let is_new = attempts.dialled_after > Some(dialled);
            assert_eq!(is_new, repeat == MAX_REPEATS, "{repeat}");
        }
    }

    #[test]
    fn requests_are_repeated_while_it_is_safe() {
        use Repeat::{Never, Safe};
        let refused = Connection::Refused {
            dialled: Instant::now(),
        };
        let refused = (refused, Sent::No);
        let lost = |is_reused| {
            let lost = Connection::Lost {
                is_reused,
                is_timeout: false,
            };
            (lost, Sent::Maybe)
        };
        let no_dial = (Connection::Any, Sent::No);
        let timeout = (Connection::Any, Sent::Maybe);
        check(Never, [refused; 4], &["unprocessed"; 3], Sent::No);
        check(Safe, [refused; 4], &["unprocessed"; 3], Sent::No);
        check(Never, [lost(true)], &[], Sent::Maybe);
        check(Safe, [lost(false)], &[], Sent::Maybe);
        check(Safe, [lost(true), lost(true)], &["lost"], Sent::Maybe);
        check(Safe, [lost(true), timeout], &["lost"], Sent::Maybe);
        check(Safe, [lost(true), no_dial], &["lost"], Sent::Maybe);
        check(Safe, [timeout], &[], Sent::Maybe);
        check(Safe, [no_dial], &[], Sent::No);
        let reasons = &["unprocessed", "lost", "unprocessed", "unprocessed"];
        let failures = [refused, lost(true), refused, refused, refused];
        check(Safe, failures, reasons, Sent::Maybe);
        check(Never, [refused, lost(true)], &["unprocessed"], Sent::Maybe);
    }
}
