//! A relay between countersign and the emulator that breaks what passes. It terminates TLS on both
//! sides, so signatures stay valid and the emulator counts what was executed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fakes::Authority;
use crate::support::ClosedPort;

/// What the relay does with connections.
#[derive(Clone, Debug)]
pub enum Mode {
    Forward,
    /// Resets new connections, and the existing ones at once.
    Reset,
    /// Forwards nothing more, in neither direction, and closes nothing.
    Freeze,
    /// Forwards requests and drops responses.
    Mute,
    /// Resets a connection after this part of its next response.
    Cut(Part),
    /// Forwards this part of the next response, and then nothing.
    Hold(Part),
    /// Forwards responses eight bytes at a time, with this pause. Fewer would be taken for an attack on
    /// the WebSocket handshake.
    Drip(Duration),
    /// Completes handshakes, and reads nothing more.
    Deaf,
    /// Forwards no request, and answers each with this.
    Answer(Arc<Script>),
    /// Presents another certificate to new connections.
    Present(Certificate),
    /// Answers the handshake with a version of TLS that is too old.
    OldTls,
}

/// The part of a response that is forwarded.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Nothing,
    /// The first ten bytes of its head.
    SomeHead,
    /// The head, and five bytes of what follows.
    Head,
}

/// A response: `piece` is repeated between `head` and `tail`.
#[derive(Debug, Default)]
pub struct Script {
    pub head: Vec<u8>,
    pub piece: Vec<u8>,
    pub times: usize,
    pub tail: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub enum Certificate {
    Valid,
    Expired,
    WrongName,
    SelfSigned,
}

pub struct Relay {
    pub addr: SocketAddr,
    pub ca_pem: String,
    shared: Arc<Shared>,
    accepting: Mutex<AbortHandle>,
    closed: Mutex<Option<ClosedPort>>,
}

struct Shared {
    setting: watch::Sender<Setting>,
    upstream: SocketAddr,
    connector: ClientConfig,
    acceptors: [TlsAcceptor; 4],
    /// Connections that were accepted.
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Bytes that were written to countersign.
    written: AtomicU64,
}

#[derive(Clone)]
struct Setting {
    mode: Mode,
    /// The mode applies to connections with a lower number.
    below: usize,
}

// === impl Relay ===

impl Relay {
    /// Starts a relay to the emulator at `upstream` for these host names.
    pub async fn start(
        address: SocketAddr,
        upstream: SocketAddr,
        upstream_ca: &str,
        names: &[&str],
        alpn: &[&str],
    ) -> Self {
        let (authority, unknown) = (Authority::new(), Authority::new());
        let acceptor = |authority: &Authority, names: &[&str], is_expired| {
            TlsAcceptor::from(Arc::new(authority.server(names, alpn, is_expired)))
        };
        let acceptors = [
            acceptor(&authority, names, false),
            acceptor(&authority, names, true),
            acceptor(&authority, &["other.example.com"], false),
            acceptor(&unknown, names, false),
        ];
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(upstream_ca.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let connector = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let shared = Arc::new(Shared {
            setting: watch::Sender::new(Setting {
                mode: Mode::Forward,
                below: usize::MAX,
            }),
            upstream,
            connector,
            acceptors,
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            written: AtomicU64::new(0),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        Self {
            addr: listener.local_addr().unwrap(),
            ca_pem: authority.pem.clone(),
            accepting: Mutex::new(accept(listener, Arc::clone(&shared))),
            closed: Mutex::default(),
            shared,
        }
    }

    /// Sets the mode of all connections.
    pub fn set(&self, mode: Mode) {
        let below = usize::MAX;
        self.shared.setting.send_replace(Setting { mode, below });
    }

    /// Sets the mode of the connections that are open, and forwards on new ones.
    pub fn set_for_open(&self, mode: Mode) {
        let below = self.accepted();
        self.shared.setting.send_replace(Setting { mode, below });
    }

    /// Closes the listener and resets all connections.
    pub async fn close(&self) {
        self.set(Mode::Reset);
        self.accepting.lock().abort();
        let closed = loop {
            match ClosedPort::at(self.addr) {
                Ok(closed) => break closed,
                // The aborted task still listens.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        *self.closed.lock() = Some(closed);
    }

    /// Listens again.
    pub fn reopen(&self) {
        let listener = self.closed.lock().take().unwrap().open();
        self.set(Mode::Forward);
        *self.accepting.lock() = accept(listener, Arc::clone(&self.shared));
    }

    /// Returns how many connections were accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Returns how many bytes were written to countersign.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.lock().abort();
    }
}

/// Accepts connections until the task is aborted, which ends the connections too.
fn accept(listener: TcpListener, shared: Arc<Shared>) -> AbortHandle {
    let accepting = async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                shared.open.fetch_add(1, Ordering::SeqCst);
                let open = Open(Arc::clone(&shared));
                let _ = shared.serve(number, client).await;
                drop(open);
            });
        }
    };
    tokio::spawn(accepting).abort_handle()
}

/// Counts a connection until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Shared ===

impl Shared {
    fn mode(&self, number: usize) -> Mode {
        let setting = self.setting.borrow();
        match number < setting.below {
            true => setting.mode.clone(),
            false => Mode::Forward,
        }
    }

    async fn serve(&self, number: usize, mut client: TcpStream) -> std::io::Result<()> {
        let acceptor = match self.mode(number) {
            Mode::Reset => return client.set_zero_linger(),
            Mode::Freeze => {
                std::future::pending::<()>().await;
                return Ok(());
            }
            Mode::OldTls => {
                let mut hello = [0; 4_096];
                let _ = client.read(&mut hello).await?;
                client.write_all(&old_hello()).await?;
                while client.read(&mut hello).await? > 0 {}
                return Ok(());
            }
            Mode::Present(certificate) => &self.acceptors[certificate as usize],
            Mode::Forward
            | Mode::Mute
            | Mode::Cut(_)
            | Mode::Hold(_)
            | Mode::Drip(_)
            | Mode::Deaf
            | Mode::Answer(_) => &self.acceptors[Certificate::Valid as usize],
        };
        let mut client = acceptor.accept(client).await?;
        let mut settings = self.setting.subscribe();
        while matches!(self.mode(number), Mode::Deaf) {
            if settings.changed().await.is_err() {
                return Ok(());
            }
        }
        if matches!(self.mode(number), Mode::Reset) {
            return client.get_ref().0.set_zero_linger();
        }
        let (_, session) = client.get_ref();
        let name = session.server_name().unwrap_or_default().to_owned();
        let mut config = self.connector.clone();
        config.alpn_protocols = session
            .alpn_protocol()
            .map(<[u8]>::to_vec)
            .into_iter()
            .collect();
        let upstream = TcpStream::connect(self.upstream).await?;
        let name = ServerName::try_from(name).unwrap();
        let mut upstream = TlsConnector::from(Arc::new(config))
            .connect(name, upstream)
            .await?;

        let (mut requests, mut responses) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                changed = settings.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    match self.mode(number) {
                        Mode::Reset => return client.get_ref().0.set_zero_linger(),
                        Mode::Freeze => std::future::pending().await,
                        Mode::Forward
                        | Mode::Mute
                        | Mode::Cut(_)
                        | Mode::Hold(_)
                        | Mode::Drip(_)
                        | Mode::Deaf
                        | Mode::Answer(_)
                        | Mode::Present(_)
                        | Mode::OldTls => {}
                    }
                }
                read = client.read(&mut requests) => {
                    let read = read?;
                    if read == 0 {
                        return upstream.shutdown().await;
                    }
                    if let Mode::Answer(script) = self.mode(number) {
                        self.answer(&mut client, &requests[..read], &script).await?;
                    } else {
                        upstream.write_all(&requests[..read]).await?;
                        upstream.flush().await?;
                    }
                }
                read = upstream.read(&mut responses) => {
                    let read = read?;
                    if read == 0 {
                        return client.shutdown().await;
                    }
                    self.respond(number, &mut client, &responses[..read]).await?;
                }
            }
        }
    }

    async fn respond(
        &self,
        number: usize,
        client: &mut TlsStream<TcpStream>,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        match self.mode(number) {
            Mode::Mute => Ok(()),
            Mode::Cut(part) => {
                self.write(client, part.of(bytes)).await?;
                // The bytes arrive before the reset.
                tokio::time::sleep(Duration::from_millis(50)).await;
                client.get_ref().0.set_zero_linger()?;
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            Mode::Hold(part) => {
                self.write(client, part.of(bytes)).await?;
                // Until the peer closes.
                let mut rest = [0; 1_024];
                while client.read(&mut rest).await? > 0 {}
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            Mode::Drip(pause) => {
                for piece in bytes.chunks(8) {
                    self.write(client, piece).await?;
                    if matches!(self.mode(number), Mode::Drip(_)) {
                        tokio::time::sleep(pause).await;
                    }
                }
                Ok(())
            }
            Mode::Forward
            | Mode::Reset
            | Mode::Freeze
            | Mode::Deaf
            | Mode::Answer(_)
            | Mode::Present(_)
            | Mode::OldTls => self.write(client, bytes).await,
        }
    }

    async fn answer(
        &self,
        client: &mut TlsStream<TcpStream>,
        request: &[u8],
        script: &Script,
    ) -> std::io::Result<()> {
        // A body may come by itself.
        if !request.starts_with(b"POST ") && !request.starts_with(b"GET ") {
            return Ok(());
        }
        self.write(client, &script.head).await?;
        for _ in 0..script.times {
            self.write(client, &script.piece).await?;
        }
        self.write(client, &script.tail).await
    }

    async fn write(&self, client: &mut TlsStream<TcpStream>, bytes: &[u8]) -> std::io::Result<()> {
        client.write_all(bytes).await?;
        client.flush().await?;
        self.written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

// === impl Part ===

impl Part {
    fn of(self, response: &[u8]) -> &[u8] {
        let end = match self {
            Self::Nothing => 0,
            Self::SomeHead => 10,
            Self::Head => {
                let head = response.windows(4).position(|four| four == b"\r\n\r\n");
                head.map_or(0, |head| head + 4 + 5)
            }
        };
        &response[..end.min(response.len())]
    }
}

// === impl Script ===

impl Script {
    /// A response that is sent once.
    pub fn once(text: impl Into<Vec<u8>>) -> Mode {
        Mode::Answer(Arc::new(Self {
            head: text.into(),
            ..Self::default()
        }))
    }
}

/// Returns a ServerHello of TLS 1.1 (RFC 4346, section 7.4.1.3).
fn old_hello() -> Vec<u8> {
    const VERSION: [u8; 2] = [3, 2];
    let mut body = VERSION.to_vec();
    body.extend([7; 32]); // the random
    body.push(0); // no session
    body.extend([0, 0x2f, 0]); // TLS_RSA_WITH_AES_128_CBC_SHA, no compression
    let mut message = vec![2, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend(body);
    let mut record = vec![
        22,
        VERSION[0],
        VERSION[1],
        0,
        u8::try_from(message.len()).unwrap(),
    ];
    record.extend(message);
    record
}
