//! The types of unix sockets, which have no values on Windows: tokio has none there.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bind_error::BindError;
use super::peer::Peer;

#[derive(Debug)]
pub(super) enum UnixSocket {}

/// An inherited socket.
#[derive(Debug)]
pub enum PassedUnix {}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum UnixStream {}

impl UnixSocket {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub(super) fn bind(_: &Path, _: &[u32]) -> Result<Self, BindError> {
        Err(BindError::Unix {
            step: "it cannot be bound",
            source: io::ErrorKind::Unsupported.into(),
        })
    }

    pub(super) fn adopt(socket: PassedUnix, _: PathBuf, _: &[u32]) -> Result<Self, BindError> {
        match socket {}
    }

    pub(super) async fn accept(&self) -> io::Result<Option<UnixStream>> {
        match *self {}
    }

    pub(super) fn path(&self) -> &Path {
        match *self {}
    }
}

impl Peer for UnixStream {
    fn is_gone(&self) -> bool {
        match *self {}
    }

    fn probe(&self) {
        match *self {}
    }
}

impl AsyncRead for UnixStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
