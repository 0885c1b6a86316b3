//! Fake peers: plain HTTP endpoints that return credentials, upstreams
//! behind TLS, and a CONNECT proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A request as read from a socket.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// `GET /path HTTP/1.1`
    pub line: String,
    /// Names in lower case; a repeated header's values are joined by `, `. Bytes that are not UTF-8 are
    /// replaced.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Heard {
    /// Reads a request with a content length, or returns `None` if the peer has closed.
    pub async fn read(stream: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<Self> {
        let mut heard = Self::default();
        if stream.read_line(&mut heard.line).await.ok()? == 0 {
            return None;
        }
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.ok()?;
            let line = String::from_utf8_lossy(&line);
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            let entry = heard.headers.entry(name.to_ascii_lowercase());
            let value = value.trim();
            entry
                .and_modify(|known| *known = format!("{known}, {value}"))
                .or_insert_with(|| value.to_owned());
        }
        let length = heard.headers.get("content-length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        heard.body = String::from_utf8(body).unwrap();
        Some(heard)
    }

    /// Returns the path of the request line.
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// Returns a decoded field of a form body.
    pub fn form(&self, name: &str) -> Option<String> {
        self.body.split('&').find_map(|pair| {
            let (found, value) = pair.split_once('=')?;
            (found == name).then(|| decode(value))
        })
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 2;
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap()
}

/// A fake AWS endpoint over plain HTTP that records its requests.
pub struct Endpoint {
    pub addr: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Endpoint {
    /// Starts an endpoint. `answer` returns the status and the body.
    pub async fn start(answer: impl Fn(&Heard) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&heard), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = Heard::read(&mut stream).await {
                        let (status, body) = answer(&request);
                        log.lock().push(request);
                        let head = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\
                             x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n",
                            body.len()
                        );
                        let answer = head + &body;
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { addr, heard }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }
}

/// Returns the response of STS to `AssumeRole` and `AssumeRoleWithWebIdentity`.
pub fn sts_answer(request: &Heard, key: &str, secret: &str, token: &str) -> String {
    let action = request.form("Action").unwrap();
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
         </Credentials><AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId>\
         <Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser>\
         </{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
         </{action}Response>"
    )
}

/// A fake upstream behind TLS. The test handles every connection.
pub struct TlsPeer {
    pub addr: SocketAddr,
    /// The CA certificate that signed its certificate.
    pub ca_pem: String,
    connections: Arc<AtomicUsize>,
}

impl TlsPeer {
    /// Starts an upstream. `serve` receives each connection and its number, from 0.
    pub async fn start<F, Serving>(names: &[&str], alpn: &[&str], serve: F) -> Self
    where
        F: Fn(usize, TlsStream<TcpStream>) -> Serving + Send + Sync + 'static,
        Serving: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(([127, 0, 0, 1], 0).into(), names, alpn, serve).await
    }

    /// Starts an upstream at an address.
    pub async fn start_at<F, Serving>(
        address: SocketAddr,
        names: &[&str],
        alpn: &[&str],
        serve: F,
    ) -> Self
    where
        F: Fn(usize, TlsStream<TcpStream>) -> Serving + Send + Sync + 'static,
        Serving: Future<Output = ()> + Send + 'static,
    {
        let authority = Authority::new();
        let ca_pem = authority.pem.clone();
        let config = authority.server(names, alpn, false);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (Arc::clone(&connections), Arc::new(serve));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (count, serve) = (Arc::clone(&count), Arc::clone(&serve));
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(count.fetch_add(1, Ordering::SeqCst), stream).await;
                    }
                });
            }
        });
        Self {
            addr,
            ca_pem,
            connections,
        }
    }

    /// Returns how many TLS connections were opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A certificate authority that issues certificates of servers.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::of(CertificateParams::new(vec![]).unwrap())
    }

    /// Creates an authority with this common name.
    pub fn named(name: &str) -> Self {
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.distinguished_name = DistinguishedName::new();
        ca.distinguished_name.push(DnType::CommonName, name);
        Self::of(ca)
    }

    fn of(mut ca: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = ca.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(ca, key),
            pem,
        }
    }

    /// Issues a certificate with these names, and returns the configuration of its server.
    pub fn server(&self, names: &[&str], alpn: &[&str], is_expired: bool) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = CertificateParams::new(names).unwrap();
        if is_expired {
            leaf.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A CONNECT proxy that connects every host to `upstream`.
pub struct Proxy {
    pub addr: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        Self::answering(upstream, "200 OK").await
    }

    /// Starts a proxy that answers every CONNECT with `status`. Only a 200 opens the tunnel.
    pub async fn answering(upstream: SocketAddr, status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut client = BufReader::new(stream);
                    let Some(request) = Heard::read(&mut client).await else {
                        return;
                    };
                    let is_connect = request.line.starts_with("CONNECT ");
                    log.lock().push(request);
                    let answer = format!("HTTP/1.1 {status}\r\n\r\n");
                    let _ = client.write_all(answer.as_bytes()).await;
                    if is_connect && status.starts_with("200") {
                        let mut upstream = TcpStream::connect(upstream).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
                    }
                });
            }
        });
        Self { addr, heard }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }
}
