//! The least that a proxy on hyper costs, for comparison with countersign.
//!
//! ```text
//! bench-floor --listen 127.0.0.1:PORT --upstream NAME=127.0.0.1:PORT --ca-file FILE [--sign] [--http2]
//! ```
//!
//! It reads each request, sends it to the upstream over TLS by hyper-util's client, and passes the
//! response on, in one thread. With `--sign` it signs each request by the `aws-sigv4` crate, with the
//! credentials of the environment, as AppSync requires. It has no limits, logs, metrics or access control.

use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

type BoxError = Box<dyn StdError + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

struct Options {
    listen: SocketAddr,
    name: String,
    connect: SocketAddr,
    ca_file: String,
    credentials: Option<Credentials>,
    http2: bool,
}

/// Opens TLS connections to one address.
#[derive(Clone)]
struct Connector {
    name: ServerName<'static>,
    connect: SocketAddr,
    tls: TlsConnector,
}

fn main() -> Result<(), BoxError> {
    let options = options()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(options))
}

fn options() -> Result<Options, BoxError> {
    let mut arguments = env::args().skip(1);
    let (mut listen, mut upstream, mut ca_file) = (None, None, None);
    let (mut signs, mut http2) = (false, false);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--listen" => listen = arguments.next(),
            "--upstream" => upstream = arguments.next(),
            "--ca-file" => ca_file = arguments.next(),
            "--sign" => signs = true,
            "--http2" => http2 = true,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    let upstream = upstream.ok_or("--upstream is missing")?;
    let (name, connect) = upstream
        .split_once('=')
        .ok_or("--upstream must be NAME=ADDRESS")?;
    let credentials = signs.then(|| -> Result<Credentials, BoxError> {
        Ok(Credentials::new(
            env::var("AWS_ACCESS_KEY_ID")?,
            env::var("AWS_SECRET_ACCESS_KEY")?,
            env::var("AWS_SESSION_TOKEN").ok(),
            None,
            "environment",
        ))
    });
    Ok(Options {
        listen: listen.ok_or("--listen is missing")?.parse()?,
        name: name.to_owned(),
        connect: connect.parse()?,
        ca_file: ca_file.ok_or("--ca-file is missing")?,
        credentials: credentials.transpose()?,
        http2,
    })
}

async fn serve(options: Options) -> Result<(), BoxError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&options.ca_file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocol: &[u8] = if options.http2 { b"h2" } else { b"http/1.1" };
    tls.alpn_protocols = vec![protocol.to_vec()];
    let connector = Connector {
        name: ServerName::try_from(options.name.clone())?,
        connect: options.connect,
        tls: TlsConnector::from(Arc::new(tls)),
    };
    let client: Client<Connector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(options.http2)
        .build(connector);
    let listener = TcpListener::bind(options.listen).await?;
    let options = Arc::new(options);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, options) = (client.clone(), Arc::clone(&options));
        let service = service_fn(move |request| {
            let (client, options) = (client.clone(), Arc::clone(&options));
            async move { forward(request, &client, &options).await }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn forward(
    request: Request<Incoming>,
    client: &Client<Connector, Full<Bytes>>,
    options: &Options,
) -> Result<Response<Incoming>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("https://{}{path}", options.name).parse::<Uri>()?;
    parts.headers.remove(CONNECTION);
    // Over HTTP/2 the URI replaces it.
    parts.headers.remove(HOST);
    if !options.http2 {
        let host = HeaderValue::from_str(&options.name)?;
        parts.headers.insert(HOST, host);
    }
    let mut request = Request::from_parts(parts, Full::new(body.clone()));
    if let Some(credentials) = &options.credentials {
        sign_request(&mut request, &options.name, &body, credentials)?;
    }
    let mut response = client.request(request).await?;
    response.headers_mut().remove(CONNECTION);
    Ok(response)
}

fn sign_request(
    request: &mut Request<Full<Bytes>>,
    host: &str,
    body: &Bytes,
    credentials: &Credentials,
) -> Result<(), BoxError> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("appsync")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let signed_headers = [("host", host)]
        .into_iter()
        .chain(content_type.map(|value| ("content-type", value)));
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        signed_headers,
        SignableBody::Bytes(body),
    )?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}

// === impl Connector ===

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { name, connect, tls } = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(connect).await?;
            tcp.set_nodelay(true)?;
            let tcp = TokioIo::new(TokioIo::new(tcp));
            Ok(tls.connect(name, tcp).await?.into())
        })
    }
}
