//! The local certificate authority of `tls.dev`, and the certificate that it signs at each start.
//!
//! The authority is made once and kept in a directory of the user's, so that it needs to be trusted
//! only once. Its key never leaves that directory, and name constraints make it worthless for any
//! name but a loopback one. The certificate and its own key stay in memory.

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
use state::State;

/// A certificate of this start.
pub(super) struct DevCertificate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The authority, in PEM.
    pub(super) ca_file: PathBuf,
}

/// A file as it was found: not there, or not to be trusted, or its bytes.
type Kept = Option<Result<Vec<u8>, Unusable>>;

/// An authority that can sign.
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
    /// Among them are the name constraints, the path length, the usages and the hash of the key.
    extensions: AnyRef<'a>,
}

const CA_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
/// Bits of the modes that the files may not have: others may read the certificate alone.
const CA_FORBIDDEN: u32 = 0o022;
const KEY_FORBIDDEN: u32 = 0o077;

const CA_LIFE: Duration = Duration::days(5 * 365);
const LONGEST_LIFE: Duration = Duration::days(5 * 365 + 2);
/// An authority with less left than this is replaced at a start.
const CA_RENEWAL: Duration = Duration::days(30);
/// Some clients refuse certificates that last longer than 398 days.
const LEAF_LIFE: Duration = Duration::days(390);
/// Clocks may differ.
const BACKDATED: Duration = Duration::DAY;

/// Makes a certificate for the loopback names, and for those of `names` that are loopback, too.
/// The authority is made on first use, and again when it cannot be used any more.
pub(super) async fn certificate(
    directory: &Path,
    names: &[String],
    now: SystemTime,
) -> Result<DevCertificate, DevCaError> {
    let state = State::open(directory)?;
    // Another process may be making the authority just now.
    let _lock = state.lock().await?;
    let now = OffsetDateTime::from(now);
    let ca_file = state.file(CA_FILE);
    let made = |(certificate, key)| DevCertificate {
        certificate,
        key,
        ca_file: ca_file.clone(),
    };
    let shown = directory.display();
    let ca = state.read(CA_FILE, CA_FORBIDDEN)?;
    match (ca, state.read(KEY_FILE, KEY_FORBIDDEN)?) {
        (None, None) => info!("making a local CA in {shown}"),
        kept => match Authority::kept(kept, now).and_then(|kept| kept.checked_leaf(names, now)) {
            Ok(leaf) => return Ok(made(leaf)),
            Err(reason) => {
                warn!("the local CA in {shown} is replaced; trust the new one: {reason}");
            }
        },
    }
    let key = KeyPair::generate()?;
    let key_pem = key.serialize_pem();
    let (authority, ca_pem) = Authority::make(key, now)?;
    // The key goes first: a certificate without its key would be trusted for nothing.
    state.write(KEY_FILE, &key_pem)?;
    state.write(CA_FILE, &ca_pem)?;
    Ok(made(authority.leaf(names, now)?))
}

/// Checks that [`certificate`] could read the files of the directory, without changing them. Files
/// that it would replace are not errors.
pub(super) fn check(directory: &Path) -> Result<(), DevCaError> {
    let Some(state) = State::found(directory)? else {
        return Ok(());
    };
    for (name, forbidden) in [(CA_FILE, CA_FORBIDDEN), (KEY_FILE, KEY_FORBIDDEN)] {
        state.read(name, forbidden)?;
    }
    Ok(())
}

// === impl Authority ===

impl Authority {
    fn make(key: KeyPair, now: OffsetDateTime) -> Result<(Self, String), rcgen::Error> {
        let ends = now.saturating_add(CA_LIFE);
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

    fn kept(files: (Kept, Kept), now: OffsetDateTime) -> Result<Self, Unusable> {
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
            return Err(Unusable::Ends(ends.date()));
        }
        if ends - begins > LONGEST_LIFE {
            return Err(Unusable::Lasting);
        }
        // The same key makes the same extensions; nothing else may be trusted instead.
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
        params.distinguished_name = named("countersign");
        params.not_before = now.saturating_sub(BACKDATED);
        params.not_after = now.saturating_add(LEAF_LIFE).min(self.ends);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((certificate.into(), key.into()))
    }

    /// A certificate that somebody who trusts the authority's file does accept: key and file may
    /// not belong together.
    fn checked_leaf(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Unusable> {
        let (certificate, key) = self.leaf(names, now)?;
        self.accepts(&certificate, now).map_err(Unusable::Refused)?;
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
    params.distinguished_name = named("countersign local CA");
    params.not_before = now.saturating_sub(BACKDATED);
    params.not_after = ends;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Limits the impact of a stolen key: it can vouch only for loopback names (RFC 5280, 4.2.1.10).
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

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The loopback names, and what of `names` the name constraints permit.
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
