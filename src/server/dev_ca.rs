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
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};
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
        let (begins, ends) = validity(&certificate).ok_or(Unusable::Certificate)?;
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
        let is_ours = match (extensions(&certificate), extensions(ours.der())) {
            (Some(found), Some(ours)) => found == ours,
            _ => false,
        };
        if !is_ours {
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

/// When a certificate begins and ends ([RFC 5280,
/// 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).
fn validity(certificate: &[u8]) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // Version, serial number, signature algorithm, issuer.
    for _ in 0..4 {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = element(rest)?;
    let (begins, rest) = date(validity)?;
    let (ends, _) = date(rest)?;
    Some((begins, ends))
}

/// The extensions of a certificate: name constraints, path length and usages are among them, and
/// the hash of its key ([RFC 5280, 4.2](https://www.rfc-editor.org/rfc/rfc5280#section-4.2)).
fn extensions(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    loop {
        let (tag, contents, after) = element(rest)?;
        if tag == 0xa3 {
            return after.is_empty().then_some(contents);
        }
        rest = after;
    }
}

fn date(der: &[u8]) -> Option<(OffsetDateTime, &[u8])> {
    let (tag, text, rest) = element(der)?;
    let text = str::from_utf8(text).ok()?;
    let date = match tag {
        // UTCTime; nothing of ours is older than 2000.
        0x17 => PrimitiveDateTime::parse(&format!("20{text}"), DATE),
        0x18 => PrimitiveDateTime::parse(text, DATE),
        _ => return None,
    };
    Some((date.ok()?.assume_utc(), rest))
}

/// The first DER element: its tag, its contents, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(*first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

const DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day][hour][minute][second]Z");

#[cfg(test)]
mod tests;
