//! Faults on the way to the API: names, TCP, proxies, TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Ended, Site, expect};
use crate::fakes::{Authority, Proxy};
use crate::support::ClosedPort;

const TARGET: &str = "https://$API/graphql";

impl Site {
    /// Checks the GraphQL API at another address, with a CA of its own.
    async fn at(&self, address: SocketAddr, ca: &str, more: &[&str]) -> Ended {
        let connect = address.to_string();
        let ca_file = self.world.home.file("other.pem", ca);
        let own = ["--connect", &connect, "--ca-file", &ca_file];
        let target = self.world.expand(TARGET);
        let all = [more, &own, &[&target]].concat();
        let all: Vec<String> = all.iter().map(|&argument| argument.to_owned()).collect();
        self.run(&all, &[("COUNTERSIGN_TIMEOUTS__CONNECT", "2s")])
            .await
    }
}

/// Starts a TCP server. `serve` receives each connection.
async fn tcp<F, Serving>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Serving + Send + 'static,
    Serving: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Starts a TLS server with a certificate for these names, which sends nothing.
async fn tls(authority: &Authority, names: &[&str], is_expired: bool) -> SocketAddr {
    let config = authority.server(names, &["http/1.1"], is_expired);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tcp(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = acceptor.accept(stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn names_and_addresses_that_lead_nowhere_are_found() {
    let site = Site::start().await;
    let run = async |url: &str| {
        let arguments = [url, "--region", "us-east-1"].map(str::to_owned);
        site.run(&arguments, &[]).await
    };
    // On the command line, it is rejected before.
    let example = "https://ID.appsync-api.us-east-1.amazonaws.com.invalid/graphql";
    let environment = [("COUNTERSIGN_URL", example), ("AWS_REGION", "us-east-1")];
    let ended = site.run(&[], &environment).await;
    let parts = ["cannot resolve id.appsync-api", "list-graphql-apis"];
    ended.check("the URL of an example", 1, &expect("dns", "dns", &parts));

    let ended = run("https://abc.appsync-api.us-east-1.amazonaws.com.invalid/graphql").await;
    let parts = [
        "cannot resolve abc.appsync-api",
        "getent hosts",
        "private API",
    ];
    ended.check(
        "a name that does not resolve",
        1,
        &expect("dns", "dns", &parts),
    );
    assert_eq!(
        ended.step("tcp")["detail"],
        "skipped: it needs the step dns"
    );
    assert_eq!(
        ended.step("request")["detail"],
        "skipped: it needs the step tls"
    );

    let closed = ClosedPort::new();
    let address = closed.addr.to_string();
    let arguments = site.world.arguments_to(TARGET, closed.addr, &[]);
    let ended = site.run(&arguments, &[]).await;
    let parts = [&address, "Connection refused", "firewall"];
    ended.check("a closed port", 1, &expect("tcp", "tcp", &parts));
    site.end();
}

#[tokio::test]
async fn proxies_that_do_not_connect_are_found() {
    let site = Site::start().await;
    let target = site.world.expand(TARGET);
    let ca_file = site.world.ca_file();
    let arguments = ["--ca-file", &ca_file, &target].map(str::to_owned);
    let ended = site
        .run(&arguments, &[("HTTPS_PROXY", "http://proxy.invalid:3128")])
        .await;
    let parts = ["cannot resolve proxy.invalid", "HTTPS_PROXY"];
    ended.check(
        "a proxy whose name does not resolve",
        1,
        &expect("dns", "dns", &parts),
    );

    let upstream = site.world.emulator.addr();
    let proxy = Proxy::answering(upstream, "403 Forbidden").await;
    let ended = site.run(&arguments, &[("HTTPS_PROXY", &proxy.url())]).await;
    let without = format!("NO_PROXY={}", site.world.emulator.api_host());
    let parts = [
        "did not open a tunnel",
        "the proxy allows this host",
        &without,
    ];
    ended.check(
        "a proxy that refuses the host",
        1,
        &expect("tcp", "tcp", &parts),
    );

    let proxy = Proxy::start(upstream).await;
    let ended = site.run(&arguments, &[("HTTPS_PROXY", &proxy.url())]).await;
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let detail = ended.step("tcp")["detail"].as_str().unwrap();
    assert!(detail.contains("opened a tunnel to"), "{detail}");
    site.end();
}

#[tokio::test]
async fn certificates_that_cannot_be_trusted_are_found() {
    let site = Site::start().await;
    let host = site.world.emulator.api_host().to_owned();
    let authority = Authority::new();
    let own = authority.pem.as_str();

    // An authority of a company: it issues certificates for every name.
    let other = Authority::named("Example Corp Proxy CA");
    let intercepting = tls(&other, &[&host], false).await;
    let ended = site.at(intercepting, own, &[]).await;
    let parts = [
        "issued by \"Example Corp Proxy CA\"",
        "SSL_CERT_FILE",
        "intercepts TLS",
    ];
    ended.check(
        "TLS that a proxy intercepts",
        1,
        &expect("tls", "tls-untrusted", &parts),
    );
    assert_eq!(
        ended.step("clock")["detail"],
        "skipped: it needs the step tls"
    );

    let address = tls(&authority, &["other.example.com"], false).await;
    let ended = site.at(address, own, &[]).await;
    let parts = ["valid for other.example.com, not for", &host, "--connect"];
    ended.check(
        "the certificate of another host",
        1,
        &expect("tls", "tls-name", &parts),
    );

    let address = tls(&authority, &[&host], true).await;
    let ended = site.at(address, own, &[]).await;
    let parts = ["ends on 2020-01-01", "clock says"];
    ended.check(
        "a certificate that has expired",
        1,
        &expect("tls", "tls-expired", &parts),
    );
    site.end();
}

#[tokio::test]
async fn servers_that_do_not_speak_tls_are_found() {
    let site = Site::start().await;
    let authority = Authority::new();
    let own = authority.pem.as_str();
    let plain = tcp(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let ended = site.at(plain, own, &[]).await;
    let expected = expect("tls", "tls-none", &["does not speak TLS", "the port"]);
    ended.check("a server without TLS", 1, &expected);

    let silent = tcp(|stream| async move {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let ended = site.at(silent, own, &[]).await;
    let expected = expect("tls", "tls-silent", &["within 2s", "firewall"]);
    ended.check("a server that is silent", 1, &expected);

    let closing = tcp(|stream| async move { drop(stream) }).await;
    let ended = site.at(closing, own, &[]).await;
    let expected = expect("tls", "tls", &["lost during the handshake", "firewall"]);
    ended.check("a firewall that closes the connection", 1, &expected);
    site.end();
}
