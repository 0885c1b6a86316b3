//! What Windows does not have: core dumps that a process can disable, orphans that a process must reap,
//! and systemd. Each module has the functions of the one for Unix, which do nothing here.

pub(in crate::cli) mod memory {
    use std::io;

    /// Does nothing: crash dumps are a setting of the system, not of a process.
    #[expect(clippy::unnecessary_wraps, reason = "other systems may refuse")]
    pub(in crate::cli) fn keep_private() -> io::Result<()> {
        Ok(())
    }

    pub(in crate::cli) fn return_free() {}
}

pub(in crate::cli) mod orphans {
    #[derive(Debug)]
    pub(in crate::cli) struct Reaper;

    impl Reaper {
        pub(in crate::cli) fn start() -> Self {
            Self
        }
    }
}

pub(in crate::cli) mod systemd {
    use tokio_util::sync::CancellationToken;

    use crate::config::Flag;
    use crate::server::Passed;

    /// Why a socket that was passed cannot be used.
    #[derive(Debug, thiserror::Error)]
    pub(in crate::cli) enum SocketError {}

    /// The sockets that were passed: none.
    #[derive(Debug)]
    pub(in crate::cli) struct Sockets {
        pub(in crate::cli) passed: Vec<Passed>,
        pub(in crate::cli) flags: Vec<Flag>,
    }

    /// Returns no sockets.
    ///
    /// # Errors
    /// None. On Unix, sockets may be passed that cannot be used.
    #[expect(clippy::unnecessary_wraps, reason = "on Unix, sockets are passed")]
    pub(in crate::cli) fn sockets() -> Result<Sockets, SocketError> {
        Ok(Sockets {
            passed: Vec::new(),
            flags: Vec::new(),
        })
    }

    impl Sockets {
        pub(in crate::cli) fn replace_listen(&self) -> bool {
            !self.flags.is_empty()
        }
    }

    #[derive(Debug)]
    pub(in crate::cli) struct Notifier;

    impl Notifier {
        pub(in crate::cli) fn ready(_: impl Future<Output = ()>, _: CancellationToken) -> Self {
            Self
        }

        #[expect(clippy::unused_async, reason = "on Unix, a task is awaited")]
        pub(in crate::cli) async fn stopping_sent(self) {}
    }
}
