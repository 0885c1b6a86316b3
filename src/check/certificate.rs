//! What a certificate says: whose it is, who issued it, and until when.

use std::time::SystemTime;

use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode as _, Reader, Tag, Tagged as _};

/// The parts of a certificate that a check shows. Texts are the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) ends: SystemTime,
}

/// The attributes of a name that identify its owner best, with the best first: common name, organization,
/// organizational unit (RFC 5280, appendix A.1).
const NAMES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.5.4.3"),
    ObjectIdentifier::new_unwrap("2.5.4.10"),
    ObjectIdentifier::new_unwrap("2.5.4.11"),
];

impl Certificate {
    /// Parses a certificate ([RFC 5280, 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)); `None` if
    /// it is malformed.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        Self::read(der).ok()
    }

    fn read(der: &[u8]) -> der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|certificate| -> der::Result<Self> {
            let parsed = certificate.sequence(|fields| -> der::Result<Self> {
                // Version, serial number, signature algorithm. Version 1 is not written.
                let first = AnyRef::decode(fields)?;
                skip(
                    fields,
                    if first.tag().is_context_specific() {
                        2
                    } else {
                        1
                    },
                )?;
                let issuer = name(fields)?;
                let ends = fields.sequence(|times| -> der::Result<SystemTime> {
                    skip(times, 1)?;
                    time(times)
                })?;
                let subject = name(fields)?;
                skip_rest(fields)?;
                Ok(Self {
                    subject,
                    issuer,
                    ends,
                })
            })?;
            skip_rest(certificate)?;
            Ok(parsed)
        })
    }
}

/// Returns the common name and the organization, as in `Amazon RSA 2048 M02 (Amazon)`.
fn name<'a>(fields: &mut impl Reader<'a>) -> der::Result<String> {
    let mut found: [Option<String>; 3] = Default::default();
    fields.sequence(|sets| -> der::Result<()> {
        while !sets.is_finished() {
            let set = AnyRef::decode(sets)?;
            let mut attributes = der::SliceReader::new(set.value())?;
            while !attributes.is_finished() {
                attributes.sequence(|attribute| -> der::Result<()> {
                    let kind = ObjectIdentifier::decode(attribute)?;
                    let value = AnyRef::decode(attribute)?;
                    if let Some(at) = NAMES.iter().position(|name| *name == kind) {
                        let text = String::from_utf8_lossy(value.value());
                        found[at].get_or_insert_with(|| text.into_owned());
                    }
                    skip_rest(attribute)
                })?;
            }
        }
        Ok(())
    })?;
    let [common, organization, unit] = found;
    Ok(match (common.or(unit), organization) {
        (Some(common), Some(organization)) => format!("{common} ({organization})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => String::new(),
    })
}

fn time<'a>(reader: &mut impl Reader<'a>) -> der::Result<SystemTime> {
    let time = AnyRef::decode(reader)?;
    Ok(if time.tag() == Tag::UtcTime {
        time.decode_as::<UtcTime>()?.to_system_time()
    } else {
        time.decode_as::<GeneralizedTime>()?.to_system_time()
    })
}

fn skip<'a>(reader: &mut impl Reader<'a>, elements: usize) -> der::Result<()> {
    (0..elements).try_for_each(|_| AnyRef::decode(reader).map(|_| ()))
}

fn skip_rest<'a>(reader: &mut impl Reader<'a>) -> der::Result<()> {
    while !reader.is_finished() {
        AnyRef::decode(reader)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued_by(names: &[(rcgen::DnType, &str)]) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["api".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in names {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn issuer_and_expiry_are_read() {
        use rcgen::DnType::{CommonName, OrganizationName, OrganizationalUnitName};
        let check = |names: &[(rcgen::DnType, &str)], expected: &str| {
            let parsed = Certificate::parse(&issued_by(names)).unwrap();
            assert_eq!(
                (parsed.issuer.as_str(), parsed.subject.as_str()),
                (expected, expected)
            );
            let ends = humantime::format_rfc3339_seconds(parsed.ends).to_string();
            assert_eq!(ends, "2031-02-03T00:00:00Z");
        };
        check(&[(CommonName, "Root")], "Root");
        check(&[(OrganizationName, "Corp")], "Corp");
        check(
            &[(CommonName, "Root"), (OrganizationName, "Corp")],
            "Root (Corp)",
        );
        check(&[(OrganizationalUnitName, "IT")], "IT");
        check(&[], "");
    }

    #[test]
    fn malformed_certificates_are_rejected_without_a_panic() {
        let whole = issued_by(&[(rcgen::DnType::CommonName, "Root")]);
        for length in 0..whole.len() {
            assert_eq!(Certificate::parse(&whole[..length]), None, "{length}");
            let mut changed = whole.clone();
            changed[length] ^= 0x55;
            let _ = Certificate::parse(&changed);
        }
    }
}
