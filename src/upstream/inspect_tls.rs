//! A TLS handshake that records the certificates of the server, for the diagnosis of one that fails.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Dialer;

/// The outcome of a TLS handshake.
#[derive(Debug)]
pub struct TlsInspection {
    /// The certificates that the server presented, its own first; also those that are not trusted.
    pub presented: Vec<CertificateDer<'static>>,
    pub handshake: io::Result<TlsStream<TcpStream>>,
}

/// Verifies certificates as every other connection does, and records them first.
#[derive(Debug)]
struct RecordingVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    presented: Mutex<Vec<CertificateDer<'static>>>,
}

impl Dialer {
    /// Completes the TLS handshake on a connection that [`Self::open`] has opened. The certificates are
    /// verified as in every other dial. The caller has to set a time limit.
    pub async fn inspect_tls(&self, tcp: TcpStream) -> TlsInspection {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(self.roots().store(), provider).build();
        let verifier = match verifier {
            Ok(verifier) => Arc::new(RecordingVerifier {
                verifier,
                presented: Mutex::default(),
            }),
            Err(error) => {
                return TlsInspection {
                    presented: Vec::new(),
                    handshake: Err(io::Error::other(error)),
                };
            }
        };
        let recorded: Arc<dyn ServerCertVerifier> = Arc::clone(&verifier) as _;
        let handshake = self.handshake_with(tcp, recorded).await;
        let presented = std::mem::take(&mut *verifier.presented.lock());
        TlsInspection {
            presented,
            handshake,
        }
    }
}

// === impl RecordingVerifier ===

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        *self.presented.lock() = chain.map(|one| one.clone().into_owned()).collect();
        let verifier = &self.verifier;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = &self.verifier;
        verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = &self.verifier;
        verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
