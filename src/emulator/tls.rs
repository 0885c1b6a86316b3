//! The emulator's certificate authority and TLS settings, both created at each start.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot create a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("rustls rejected the TLS settings")]
    Settings(#[from] rustls::Error),
}

pub(super) struct Tls {
    pub(super) ca_pem: String,
    pub(super) config: Arc<ServerConfig>,
}

/// Creates a certificate authority, a certificate for these names, and the TLS settings that use them.
pub(super) fn generate(
    names: Vec<String>,
    alpn_protocols: &[&[u8]],
    now: OffsetDateTime,
) -> Result<Tls, TlsError> {
    let ca_key = KeyPair::generate()?;
    let mut ca = params(Vec::new(), "countersign emulator CA", now)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    let mut leaf = params(names, "countersign emulator", now)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &issuer)?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    config.alpn_protocols = alpn_protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Tls {
        ca_pem: ca_certificate.pem(),
        config: Arc::new(config),
    })
}

fn params(
    names: Vec<String>,
    common_name: &str,
    now: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = now.saturating_sub(Duration::DAY);
    // Some clients reject certificates with a lifetime of more than 398 days.
    params.not_after = now.saturating_add(Duration::days(390));
    Ok(params)
}
