//! The certificate authorities to trust: those of a file, of the environment, or of the system.
//!
//! PEM files are read as OpenSSL reads them: `TRUSTED CERTIFICATE` blocks count according to their
//! trust settings.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::AnyRef;
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::home;

/// The certificate authorities that a connection trusts.
#[derive(Clone, Debug)]
pub struct TlsRoots(Arc<RootCertStore>);

/// The variable of the AWS CLI and SDKs. It replaces all other authorities.
const BUNDLE: &str = "AWS_CA_BUNDLE";
const FILE: &str = "SSL_CERT_FILE";
const DIRECTORIES: &str = "SSL_CERT_DIR";

// === impl TlsRoots ===

impl TlsRoots {
    /// Returns the authorities in `AWS_CA_BUNDLE`, those in `SSL_CERT_FILE` and `SSL_CERT_DIR`, or the
    /// system's.
    ///
    /// # Errors
    /// When no certificate is found.
    pub fn system() -> io::Result<Self> {
        let certificates = match of_environment()? {
            Some(certificates) => certificates,
            None => of_system()?,
        };
        Ok(Self(Arc::new(parsable(&certificates))))
    }

    /// Returns only the certificates of a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read, or contains no certificate or one that cannot be used.
    pub fn file(path: &Path) -> io::Result<Self> {
        Self::pem(&std::fs::read(path)?)
    }

    /// Returns only the certificates of a PEM text.
    ///
    /// # Errors
    /// When it contains no certificate, or one that cannot be used.
    pub fn pem(pem: &[u8]) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            let added = roots.add(certificate);
            added.map_err(|error| invalid(&error.to_string()))?;
        }
        Ok(Self(Arc::new(roots)))
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

/// Returns the certificates that the environment names, as PEM; `None` if it names none.
///
/// # Errors
/// When a variable names a file without certificates.
pub(crate) fn pem_of_environment() -> io::Result<Option<Vec<u8>>> {
    let Some(certificates) = of_environment()? else {
        return Ok(None);
    };
    let is_usable = |der: &&CertificateDer<'static>| {
        let one = std::slice::from_ref(*der);
        !parsable(one).is_empty()
    };
    let pem = |der: &CertificateDer<'_>| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let usable = certificates.iter().filter(is_usable).map(pem);
    Ok(Some(usable.collect::<String>().into_bytes()))
}

fn of_environment() -> io::Result<Option<Vec<CertificateDer<'static>>>> {
    if let Some(bundle) = variable(BUNDLE) {
        return read(BUNDLE, bundle).map(Some);
    }
    let (file, directories) = (variable(FILE), variable(DIRECTORIES));
    if file.is_none() && directories.is_none() {
        return Ok(None);
    }
    let mut found = Vec::new();
    if let Some(directories) = &directories {
        for directory in std::env::split_paths(directories) {
            let directory = Some(directory).filter(|path| !path.as_os_str().is_empty());
            let loaded = rustls_native_certs::load_certs_from_paths(None, directory.as_deref());
            found.extend(loaded.certs);
        }
    }
    if let Some(file) = file {
        match read(FILE, file) {
            Ok(certificates) => found.extend(certificates),
            Err(error) if found.is_empty() => return Err(error),
            // As in OpenSSL, the directories are enough.
            Err(_) => {}
        }
    }
    if parsable(&found).is_empty() {
        let directories = directories.unwrap_or_default();
        return Err(invalid(&format!(
            "{DIRECTORIES} names {directories:?}, which contains no CA certificate"
        )));
    }
    Ok(Some(found))
}

fn of_system() -> io::Result<Vec<CertificateDer<'static>>> {
    let loaded = rustls_native_certs::load_native_certs();
    if parsable(&loaded.certs).is_empty() {
        // The library does not count an empty variable as unset.
        let is_empty = raw(FILE).is_some_and(|value| value.is_empty());
        let why = if is_empty {
            format!("{FILE} is empty: unset it, or set it to a PEM file")
        } else {
            format!("install ca-certificates or set {FILE}")
        };
        return Err(io::Error::other(format!("no CA certificates found: {why}")));
    }
    Ok(loaded.certs)
}

/// Reads the file that a variable names, which may contain certificates that are not supported.
fn read(variable: &str, path: OsString) -> io::Result<Vec<CertificateDer<'static>>> {
    let path = home::expand(PathBuf::from(path));
    let fails = |error: io::Error| {
        let text = format!("{variable} names {path:?}, which cannot be used: {error}");
        io::Error::new(error.kind(), text)
    };
    let found = std::fs::read(&path).and_then(|pem| certificates(&pem));
    let found = found.map_err(fails)?;
    if parsable(&found).is_empty() {
        return Err(fails(invalid(
            "it contains no certificate that is supported",
        )));
    }
    Ok(found)
}

fn parsable(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}

/// Returns the value of a variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    raw(name).filter(|value| !value.is_empty())
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables belong to OpenSSL and the AWS SDKs, whose meaning they keep"
)]
fn raw(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Returns the certificates of a PEM text that are trusted for TLS servers.
fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    if pem.starts_with(b"\xff\xfe") || pem.starts_with(b"\xfe\xff") {
        return Err(invalid("it is UTF-16: save it as UTF-8"));
    }
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
    // What follows a certificate shows whether it has trust settings, so that one label is enough.
    let pem = replace(pem, b" TRUSTED CERTIFICATE-----", b" CERTIFICATE-----");
    let pem = replace(&pem, b" X509 CERTIFICATE-----", b" CERTIFICATE-----");
    let (mut found, mut distrusted) = (Vec::new(), 0);
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| invalid(&error.to_string()))?;
        match trusted(&certificate) {
            Ok(Some(certificate)) => found.push(certificate),
            Ok(None) => distrusted += 1,
            Err(_) => {
                let number = found.len() + distrusted + 1;
                let text = format!("certificate {number} in it is not valid DER");
                return Err(invalid(&text));
            }
        }
    }
    match (found.is_empty(), distrusted) {
        (false, _) => Ok(found),
        (true, 0) => Err(invalid("it contains no PEM certificate")),
        (true, _) => Err(invalid(
            "the trust settings of its certificates do not allow them for TLS servers: \
             convert them with `openssl x509 -in FILE -out NEW`",
        )),
    }
}

fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(old.len()).position(|window| window == old) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The tag of the uses that OpenSSL rejects.
const REJECTED: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(0),
};
/// The object identifiers of the use as a TLS server, and of any use.
const SERVER_USES: [&[u8]; 2] = [b"\x2b\x06\x01\x05\x05\x07\x03\x01", b"\x55\x1d\x25\x00"];

/// Returns the certificate without the trust settings that OpenSSL writes after it (`CertAux` in
/// x_x509a.c), or `None` if they do not trust it for TLS servers (`obj_trust` in x509_trust.c).
fn trusted(der: &[u8]) -> der::Result<Option<CertificateDer<'static>>> {
    let mut reader = SliceReader::new(der)?;
    let certificate = reader.tlv_bytes()?;
    let mut is_trusted = true;
    if !reader.is_finished() {
        let settings = AnyRef::decode(&mut reader)?;
        let mut settings = SliceReader::new(settings.value())?;
        while !settings.is_finished() {
            let uses = AnyRef::decode(&mut settings)?;
            // Other elements are a name and identifiers.
            if uses.tag() == Tag::Sequence {
                is_trusted &= names_server_use(uses.value())?;
            } else if uses.tag() == REJECTED {
                is_trusted &= !names_server_use(uses.value())?;
            }
        }
    }
    Ok(is_trusted.then(|| CertificateDer::from(certificate.to_vec())))
}

fn names_server_use(uses: &[u8]) -> der::Result<bool> {
    let mut uses = SliceReader::new(uses)?;
    while !uses.is_finished() {
        if SERVER_USES.contains(&AnyRef::decode(&mut uses)?.value()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "rcgen";

    fn der() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![CA.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn block(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    fn sequence(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn check(pem: &[u8], expected: Result<usize, &str>) {
        let found = TlsRoots::pem(pem).map(|roots| roots.0.len());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn certificates_are_read_as_openssl_reads_them() {
        let der = der();
        let plain = block("CERTIFICATE", &der);
        check(plain.as_bytes(), Ok(1));
        check(format!("\u{feff}{plain}").as_bytes(), Ok(1));
        check(format!("\u{feff}{plain}{plain}").as_bytes(), Ok(2));
        check(plain.replace('\n', "\r\n").as_bytes(), Ok(1));
        check(block("X509 CERTIFICATE", &der).as_bytes(), Ok(1));
        check(format!("# a comment\nsubject=x\n{plain}").as_bytes(), Ok(1));
        check(b"", Err("no PEM certificate"));
        check(b"\xff\xfe-\0-\0", Err("UTF-16"));

        let [server, any] = SERVER_USES.map(|identifier| sequence(6, identifier));
        let client = sequence(6, b"\x2b\x06\x01\x05\x05\x07\x03\x02");
        let trusts = |uses: &[u8]| sequence(0x30, uses);
        let rejects = |uses: &[u8]| sequence(0xa0, uses);
        let alias = sequence(12, b"name");
        for (settings, expected) in [
            (alias.clone(), Ok(1)),
            (trusts(&server), Ok(1)),
            (trusts(&any), Ok(1)),
            (trusts(&[client.clone(), server.clone()].concat()), Ok(1)),
            (trusts(&client), Err("trust settings")),
            (rejects(&client), Ok(1)),
            (rejects(&server), Err("trust settings")),
            (rejects(&any), Err("trust settings")),
            ([trusts(&server), rejects(&client), alias].concat(), Ok(1)),
            (
                [trusts(&any), rejects(&server)].concat(),
                Err("trust settings"),
            ),
        ] {
            let whole = [der.clone(), sequence(0x30, &settings)].concat();
            check(block("TRUSTED CERTIFICATE", &whole).as_bytes(), expected);
        }
        let distrusted = [der.clone(), sequence(0x30, &rejects(&server))].concat();
        let mixed = block("TRUSTED CERTIFICATE", &distrusted) + &plain;
        check(mixed.as_bytes(), Ok(1));
        for broken in [
            &b"\x30"[..],
            b"\x30\x85\0\0\0\0\0",
            b"\x30\x84\xff\xff\xff\xff",
        ] {
            check(
                block("CERTIFICATE", broken).as_bytes(),
                Err("certificate 1 in it is not valid DER"),
            );
        }
        let broken = [&der[..], b"\x30\x05\0"].concat();
        check(
            block("TRUSTED CERTIFICATE", &broken).as_bytes(),
            Err("not valid DER"),
        );
    }
}
