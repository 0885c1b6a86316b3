//! The local certificate authority of `tls.dev`, which issues a server certificate at each start.
//!
//! The authority is created once and kept in a directory of the user, so that the user needs to trust it
//! only once. Its key never leaves that directory, and name constraints restrict it to loopback names.
//! The server certificate and its key stay in memory.

mod error;
mod state;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, Reader, Tag, Tagged as _};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use time::{Duration, OffsetDateTime};
use tracing::{info, warn};

pub use error::DevCaError;
use error::Unusable;
use state::StateDirectory;

/// The server certificate of this start.
pub(super) struct DevCertificate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The file with the authority's certificate in PEM.
    pub(super) ca_file: PathBuf,
}

/// The content of a file: `None` if it does not exist, or why it cannot be trusted.
type FileContent = Option<Result<Vec<u8>, Unusable>>;

/// An authority that can issue certificates.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    ends: OffsetDateTime,
}

/// The parts of a certificate that decide whether it can be used.
#[derive(Debug)]
struct CertificateParts<'a> {
    begins: OffsetDateTime,
    ends: OffsetDateTime,
    /// They contain the name constraints, the path length, the usages and the hash of the key.
    extensions: AnyRef<'a>,
}

const CA_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
/// The mode bits that each file must not have. Others may read only the certificate.
const CA_FORBIDDEN: u32 = 0o022;
const KEY_FORBIDDEN: u32 = 0o077;

/// The lifetime of a new authority.
const CA_LIFETIME: Duration = Duration::days(5 * 365);
/// The maximum lifetime of an authority that is kept, from its backdated start.
const MAX_CA_LIFETIME: Duration = Duration::days(5 * 365 + 2);
/// At a start, an authority that is valid for less time than this is replaced.
const CA_RENEWAL: Duration = Duration::days(30);
/// The lifetime of server certificates. Some clients reject those that last longer than 398 days.
const LEAF_LIFETIME: Duration = Duration::days(390);
/// How far the start of validity is backdated, because clocks may differ.
const BACKDATED: Duration = Duration::DAY;

/// Issues a certificate for the loopback names, including those of `names` that are loopback names. The
/// authority is created on first use, and replaced when it can no longer be used.
pub(super) async fn certificate(
    directory: &Path,
    names: &[String],
    now: SystemTime,
) -> Result<DevCertificate, DevCaError> {
    let state = StateDirectory::open_or_create(directory)?;
    // Another process may be creating the authority at the same time.
    let _lock = state.lock().await?;
    let now = OffsetDateTime::from(now);
    let ca_file = state.path_of(CA_FILE);
    let issued = |(certificate, key)| DevCertificate {
        certificate,
        key,
        ca_file: ca_file.clone(),
    };
    let shown = directory.display();
    let ca = state.read(CA_FILE, CA_FORBIDDEN)?;
    match (ca, state.read(KEY_FILE, KEY_FORBIDDEN)?) {
        (None, None) => info!("creating a local CA in {shown}"),
        files => match Authority::load(files, now).and_then(|ca| ca.checked_leaf(names, now)) {
            Ok(leaf) => return Ok(issued(leaf)),
            Err(reason) => {
                warn!(
                    "replacing the local CA in {shown}: {reason}. Clients must trust the new one"
                );
            }
        },
    }
    let key = KeyPair::generate()?;
    let key_pem = key.serialize_pem();
    let (authority, ca_pem) = Authority::create(key, now)?;
    // The key is written first, so that no user trusts a certificate whose key is missing.
    state.write(KEY_FILE, &key_pem)?;
    state.write(CA_FILE, &ca_pem)?;
    Ok(issued(authority.leaf(names, now)?))
}

/// Checks that [`certificate`] could read the files of the directory, and changes nothing. Files that it
/// would replace are not errors.
pub(super) fn check(directory: &Path) -> Result<(), DevCaError> {
    let Some(state) = StateDirectory::open_existing(directory)? else {
        return Ok(());
    };
    for (name, forbidden) in [(CA_FILE, CA_FORBIDDEN), (KEY_FILE, KEY_FORBIDDEN)] {
        state.read(name, forbidden)?;
    }
    Ok(())
}

// === impl Authority ===

impl Authority {
    fn create(key: KeyPair, now: OffsetDateTime) -> Result<(Self, String), rcgen::Error> {
        let ends = now.saturating_add(CA_LIFETIME);
        let params = authority_params(now, ends)?;
        let certificate = params.self_signed(&key)?;
        let pem = certificate.pem();
        let authority = Self {
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
            ends,
        };
        Ok((authority, pem))
    }

    fn load(files: (FileContent, FileContent), now: OffsetDateTime) -> Result<Self, Unusable> {
        let (Some(ca_pem), Some(key_pem)) = files else {
            return Err(Unusable::Incomplete);
        };
        let (ca_pem, key_pem) = (ca_pem?, key_pem?);
        let key_pem = String::from_utf8(key_pem).map_err(|_| Unusable::Key)?;
        let key = KeyPair::from_pem(&key_pem).map_err(|_| Unusable::Key)?;
        let certificate =
            CertificateDer::from_pem_slice(&ca_pem).map_err(|_| Unusable::Certificate)?;
        let parts = CertificateParts::parse(&certificate).map_err(|_| Unusable::Certificate)?;
        let CertificateParts { begins, ends, .. } = parts;
        if now < begins {
            return Err(Unusable::NotYetValid(begins.date()));
        }
        if ends.saturating_sub(CA_RENEWAL) < now {
            return Err(Unusable::Expires(ends.date()));
        }
        if ends - begins > MAX_CA_LIFETIME {
            return Err(Unusable::ValidTooLong);
        }
        // With the same key, the extensions must be those that countersign would give.
        let params = authority_params(begins, ends)?;
        let ours = params.self_signed(&key)?;
        let ours = CertificateParts::parse(ours.der()).map_err(|_| Unusable::Certificate)?;
        if parts.extensions != ours.extensions {
            return Err(Unusable::Foreign);
        }
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
            ends,
        })
    }

    fn leaf(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(local_names(names))?;
        params.distinguished_name = distinguished_name("countersign");
        params.not_before = now.saturating_sub(BACKDATED);
        params.not_after = now.saturating_add(LEAF_LIFETIME).min(self.ends);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((certificate.into(), key.into()))
    }

    /// Issues a certificate and checks that a client that trusts the authority's file accepts it, because
    /// the key may not belong to the file.
    fn checked_leaf(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Unusable> {
        let (certificate, key) = self.leaf(names, now)?;
        self.accepts(&certificate, now)
            .map_err(Unusable::Rejected)?;
        Ok((certificate, key))
    }

    fn accepts(
        &self,
        certificate: &CertificateDer<'_>,
        now: OffsetDateTime,
    ) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let name = ServerName::try_from("localhost")
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(certificate, &[], &name, &[], now)?;
        Ok(())
    }
}

fn authority_params(
    now: OffsetDateTime,
    ends: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = distinguished_name("countersign local CA");
    params.not_before = now.saturating_sub(BACKDATED);
    params.not_after = ends;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Limits the impact of a leaked key to loopback names (RFC 5280, 4.2.1.10).
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                std::net::Ipv6Addr::LOCALHOST.into(),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Returns the loopback names, including those of `names` that the name constraints permit.
fn local_names(names: &[String]) -> Vec<String> {
    let mut local: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    for name in names {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is_local = match name.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => name.ends_with(".localhost") && ServerName::try_from(name).is_ok(),
        };
        if is_local && !local.iter().any(|known| known == name) {
            local.push(name.to_owned());
        }
    }
    local
}

// === impl CertificateParts ===

impl<'a> CertificateParts<'a> {
    /// Parses a certificate ([RFC 5280, 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).
    fn parse(certificate: &'a [u8]) -> der::Result<Self> {
        AnyRef::from_der(certificate)?.sequence(|certificate| -> der::Result<Self> {
            let parts = certificate.sequence(|fields| -> der::Result<Self> {
                // Version, serial number, signature algorithm, issuer.
                skip(fields, 4)?;
                let (begins, ends) = fields
                    .sequence(|times| -> der::Result<_> { Ok((time(times)?, time(times)?)) })?;
                // Subject, key.
                skip(fields, 2)?;
                let extensions = AnyRef::decode(fields)?;
                Ok(Self {
                    begins,
                    ends,
                    extensions,
                })
            })?;
            // Signature algorithm, signature.
            skip(certificate, 2)?;
            Ok(parts)
        })
    }
}

fn skip<'a>(reader: &mut impl Reader<'a>, elements: usize) -> der::Result<()> {
    (0..elements).try_for_each(|_| AnyRef::decode(reader).map(|_| ()))
}

fn time<'a>(reader: &mut impl Reader<'a>) -> der::Result<OffsetDateTime> {
    let time = AnyRef::decode(reader)?;
    let time = if time.tag() == Tag::UtcTime {
        time.decode_as::<UtcTime>()?.to_system_time()
    } else {
        time.decode_as::<GeneralizedTime>()?.to_system_time()
    };
    Ok(time.into())
}

#[cfg(test)]
mod tests;
