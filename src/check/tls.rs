//! The step `tls`: the certificates of the server, and whether they are trusted.

use std::error::Error;
use std::io;
use std::time::SystemTime;

use rustls::{CertificateError, Error as TlsError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::certificate::Certificate;
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::diagnose::synchronize_clock;
use crate::sign::clock;
use crate::telemetry::error_chain;
use crate::upstream::TlsInspection;

/// Completes the TLS handshake, and shows the certificate and its issuer.
pub(super) async fn handshake(
    target: &Target,
    tcp: TcpStream,
) -> Result<Passed<TlsStream<TcpStream>>, NotPassed> {
    let after = target.upstream.config().connect;
    let inspect = target.upstream.http1_dialer().inspect_tls(tcp);
    let Ok(inspection) = timeout(after, inspect).await else {
        let detail = format!(
            "the server did not complete the handshake within {after:?} (timeouts.connect)"
        );
        let fix = "A firewall that drops TLS, or a server that does not speak it, stays silent. Check the port \
                   in the URL, and --connect.";
        return Err(Fault::new("tls-silent", detail, fix).into());
    };
    let TlsInspection {
        presented,
        handshake,
    } = inspection;
    let own = presented.first().and_then(|der| Certificate::parse(der));
    match handshake {
        Ok(stream) => {
            let version = stream.get_ref().1.protocol_version();
            let version = match version {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                Some(_) | None => "TLS 1.3",
            };
            let detail = match own {
                Some(own) => format!(
                    "{version}, certificate valid for {} until {}, issued by {:?}",
                    target.upstream.endpoint().tls_name,
                    day(own.ends),
                    own.issuer
                ),
                None => version.to_owned(),
            };
            Ok(Passed {
                value: stream,
                detail,
            })
        }
        Err(error) => {
            let last = presented.last().and_then(|der| Certificate::parse(der));
            Err(fault(target, &error, own, last).into())
        }
    }
}

fn fault(
    target: &Target,
    error: &io::Error,
    own: Option<Certificate>,
    last: Option<Certificate>,
) -> Fault {
    let name = &target.upstream.endpoint().tls_name;
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match (tls, own) {
        (Some(TlsError::InvalidCertificate(reason)), Some(own)) => {
            let root = last.map_or(own.issuer.clone(), |last| last.issuer);
            invalid(target, reason, &own, &root)
        }
        (Some(TlsError::AlertReceived(alert)), _) => Fault::new(
            "tls-refused",
            format!("the server refused the handshake for {name}: {alert:?}"),
            "The server has no certificate for this name. Check the host in the URL, and --connect.",
        ),
        (Some(TlsError::InvalidMessage(_)), _) => Fault::new(
            "tls-none",
            "the server does not speak TLS on this port",
            "Check the port in the URL, --connect, and HTTPS_PROXY.",
        ),
        (Some(_) | None, _) => {
            let error: &(dyn Error + 'static) = error;
            Fault::new(
                "tls",
                format!(
                    "the connection was lost during the handshake: {}",
                    error_chain(error)
                ),
                "A firewall that does not allow this name closes the connection. Check --connect, and whether \
                 HTTPS_PROXY must be set.",
            )
        }
    }
}

fn invalid(target: &Target, reason: &CertificateError, own: &Certificate, root: &str) -> Fault {
    let name = &target.upstream.endpoint().tls_name;
    if matches!(
        reason,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    ) {
        return Fault::new(
            "tls-expired",
            format!(
                "the certificate is not valid now: it ends on {}, and this machine's clock says {}",
                day(own.ends),
                humantime::format_rfc3339_seconds(clock::now())
            ),
            format!(
                "If this machine's clock is right, the server must renew its certificate. If it is wrong:\n{}",
                synchronize_clock()
            ),
        );
    }
    if let CertificateError::NotValidForNameContext { presented, .. } = reason {
        let presented: Vec<&str> = presented.iter().map(|name| dns_name(name)).collect();
        return Fault::new(
            "tls-name",
            format!(
                "the certificate is valid for {}, not for {name}",
                presented.join(", ")
            ),
            "The connection leads to another server. Check the host in the URL, --connect, and DNS. For a VPC \
             endpoint, the URL has the endpoint's own name, and --host that of the API.",
        );
    }
    if *reason == CertificateError::UnknownIssuer {
        return Fault::new(
            "tls-untrusted",
            format!(
                "the certificate for {:?} was issued by {root:?}, which is not trusted",
                own.subject
            ),
            format!(
                "AWS's certificates are issued by \"Amazon\". If {root:?} belongs to your company, its proxy \
                 intercepts TLS. Trust its CA beside the public ones, in a PEM file:\n\
                 export SSL_CERT_FILE=/path/to/company-and-public-cas.pem\n\
                 With --ca-file, only the certificates of that file are trusted."
            ),
        );
    }
    Fault::new(
        "tls-certificate",
        format!("the certificate issued by {root:?} cannot be used: {reason}"),
        "Check the host in the URL, and --connect.",
    )
}

/// Returns the name in rustls's `DnsName("api.example.com")`.
fn dns_name(shown: &str) -> &str {
    let inner = shown.split_once('"').map_or(shown, |(_, rest)| rest);
    inner.split('"').next().unwrap_or_default()
}

fn day(at: SystemTime) -> String {
    let shown = humantime::format_rfc3339_seconds(at).to_string();
    shown.split('T').next().unwrap_or_default().to_owned()
}
