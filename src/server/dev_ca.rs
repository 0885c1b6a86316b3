//! The local certificate authority of `tls.dev`, and the certificate that it signs at each start.
//!
//! The authority is made once and kept in a directory of the user's, so that it needs to be trusted
//! only once. Its key never leaves that directory, and name constraints make it worthless for any
//! name but a loopback one. The certificate and its own key stay in memory.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
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
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime};
use tracing::{info, warn};

/// A certificate of this start.
pub(super) struct Made {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The authority, in PEM.
    pub(super) ca_file: PathBuf,
}

/// Why there is no certificate by the local authority.
#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    #[error("{path:?} cannot be {step}: {source}")]
    File {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("another process has held {0:?} for {LOCK_PATIENCE:?}")]
    Held(PathBuf),
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Why a kept authority is replaced.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("a file of it is missing")]
    Incomplete,
    #[error("its key is unreadable")]
    Key,
    #[error("its certificate is unreadable")]
    Certificate,
    #[error("it begins only on {0}; was a clock wrong?")]
    NotYetValid(Date),
    #[error("it ends on {0}")]
    Ends(Date),
    #[error("what it signs is refused: {0}")]
    Refused(#[source] rustls::Error),
    #[error("it cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
}

/// An authority that can sign.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    ends: OffsetDateTime,
}

const CA_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
const LOCK_FILE: &str = "ca.lock";
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

const CA_LIFE: Duration = Duration::days(5 * 365);
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
) -> Result<Made, DevCaError> {
    create(directory)?;
    // Another process may be making the authority just now.
    let _lock = lock(&directory.join(LOCK_FILE)).await?;
    let now = OffsetDateTime::from(now);
    let (ca_file, key_file) = (directory.join(CA_FILE), directory.join(KEY_FILE));
    let made = |(certificate, key)| Made {
        certificate,
        key,
        ca_file: ca_file.clone(),
    };
    let shown = directory.display();
    match (read(&ca_file)?, read(&key_file)?) {
        (None, None) => info!("making a local CA in {shown}"),
        kept => match Authority::kept(kept, now).and_then(|kept| kept.checked_leaf(names, now)) {
            Ok(leaf) => return Ok(made(leaf)),
            Err(reason) => {
                warn!("the local CA in {shown} is replaced and must be trusted anew: {reason}");
            }
        },
    }
    let key = KeyPair::generate()?;
    let key_pem = key.serialize_pem();
    let (authority, ca_pem) = Authority::make(key, now)?;
    // The key goes first: a certificate without its key would be trusted for nothing.
    write(&key_file, &key_pem)?;
    write(&ca_file, &ca_pem)?;
    Ok(made(authority.leaf(names, now)?))
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

    fn kept(
        files: (Option<Vec<u8>>, Option<Vec<u8>>),
        now: OffsetDateTime,
    ) -> Result<Self, Unusable> {
        let (Some(ca_pem), Some(key_pem)) = files else {
            return Err(Unusable::Incomplete);
        };
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
        Ok(Self {
            certificate,
            issuer: Issuer::new(authority_params(begins, ends)?, key),
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
    // Whoever stole the key could pose as nobody but a loopback name (RFC 5280, 4.2.1.10).
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

// === files ===

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevCaError {
    let path = path.to_owned();
    move |source| DevCaError::File { step, path, source }
}

fn create(directory: &Path) -> Result<(), DevCaError> {
    let created = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    created.map_err(failed("created", directory))?;
    // It may have been there before. This fails, too, if it is somebody else's.
    let restricted = fs::set_permissions(directory, Permissions::from_mode(0o700));
    restricted.map_err(failed("restricted to mode 0700", directory))
}

/// The lock is given up when the file is dropped.
async fn lock(path: &Path) -> Result<File, DevCaError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = opened.map_err(failed("opened", path))?;
    let locked = tokio::time::timeout(LOCK_PATIENCE, async {
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    });
    match locked.await {
        Ok(Ok(())) => Ok(file),
        Ok(Err(error)) => Err(failed("locked", path)(error)),
        Err(_) => Err(DevCaError::Held(path.to_owned())),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, DevCaError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Whoever reads the file meanwhile sees the old text or the new one, whole.
fn write(path: &Path, text: &str) -> Result<(), DevCaError> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("removed", &new)(error)),
    }
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new);
    let mut file = opened.map_err(failed("created", &new))?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(failed("written", &new))?;
    fs::rename(&new, path).map_err(failed("written", path))
}

#[cfg(test)]
mod tests;
