//! How long the local authority is kept, when it is replaced, and for which names it can issue.

use std::fs;
#[cfg(unix)]
use std::fs::Permissions;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::time::SystemTime;

use super::*;
use crate::sign::clock;

/// A directory that does not exist yet, and is removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap().keep().join("state"))
    }

    async fn issued(&self, now: SystemTime) -> Result<DevCertificate, DevCaError> {
        certificate(&self.0, &[], now).await
    }

    fn files(&self) -> (String, String) {
        let text = |name| fs::read_to_string(self.0.join(name)).unwrap();
        (text(CA_FILE), text(KEY_FILE))
    }

    fn contents(&self) -> (FileContent, FileContent) {
        let state = StateDirectory::open_or_create(&self.0).unwrap();
        let read = |name, forbidden| state.read(name, forbidden).unwrap();
        (read(CA_FILE, CA_FORBIDDEN), read(KEY_FILE, KEY_FORBIDDEN))
    }

    /// A client that trusts the kept file accepts the certificate.
    #[track_caller]
    fn check_trusted(&self, issued: &DevCertificate, now: SystemTime) {
        assert_eq!(issued.ca_file, self.0.join(CA_FILE));
        let kept = self.contents();
        let now = OffsetDateTime::from(now);
        let authority = Authority::load(kept, now).unwrap();
        authority.accepts(&issued.certificate, now).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn days(count: u64) -> std::time::Duration {
    std::time::Duration::from_secs(count * 24 * 60 * 60)
}

#[tokio::test]
async fn authority_is_kept_until_it_nears_its_end() {
    let scratch = Scratch::new();
    let begun = clock::now();
    let first = scratch.issued(begun).await.unwrap();
    scratch.check_trusted(&first, begun);
    let kept = scratch.files();
    for age in [0, 1, 400, 5 * 365 - 31] {
        let now = begun + days(age);
        let issued = scratch.issued(now).await.unwrap();
        assert_eq!(scratch.files(), kept, "after {age} days");
        assert_ne!(issued.certificate, first.certificate);
        scratch.check_trusted(&issued, now);
        let (begins, ends) = validity(&issued.certificate);
        assert!(begins < now && ends > now);
        assert!(ends - begins <= Duration::days(397), "{begins} to {ends}");
        let (_, ca_ends) = validity(&pem(&kept.0));
        assert!(ends <= ca_ends);
    }
    for now in [
        begun + days(5 * 365 - 29),
        begun + days(4000),
        begun - days(3),
    ] {
        let before = scratch.files();
        let issued = scratch.issued(now).await.unwrap();
        assert_ne!(scratch.files(), before);
        scratch.check_trusted(&issued, now);
    }
}

fn validity(certificate: &[u8]) -> (OffsetDateTime, OffsetDateTime) {
    let parts = CertificateParts::parse(certificate).unwrap();
    (parts.begins, parts.ends)
}

fn pem(text: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}

#[tokio::test]
async fn authority_that_cannot_sign_is_replaced() {
    let scratch = Scratch::new();
    let now = clock::now();
    scratch.issued(now).await.unwrap();
    let (ca_pem, key_pem) = scratch.files();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    for (ca, key) in [
        (None, Some(key_pem.clone())),
        (Some(ca_pem.clone()), None),
        (Some(String::new()), Some(key_pem.clone())),
        (Some(ca_pem.clone()), Some("no key".to_owned())),
        (Some(half(&ca_pem)), Some(key_pem.clone())),
        (Some(ca_pem.clone()), Some(half(&key_pem))),
        (Some(ca_pem.clone()), Some(other_key)),
        (Some(key_pem.clone()), Some(ca_pem.clone())),
    ] {
        for (name, text) in [(CA_FILE, &ca), (KEY_FILE, &key)] {
            let path = scratch.0.join(name);
            match text {
                Some(text) => fs::write(path, text).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
        let issued = scratch.issued(now).await.unwrap();
        scratch.check_trusted(&issued, now);
        assert!(ca.is_none_or(|ca| ca != scratch.files().0));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unusable_files_are_named_in_the_error() {
    let scratch = Scratch::new();
    let now = clock::now();
    fs::create_dir_all(scratch.0.join(KEY_FILE)).unwrap();
    let error = scratch.issued(now).await.err().unwrap().to_string();
    let key_file = scratch.0.join(KEY_FILE);
    let expected = format!("{key_file:?} cannot be read: is a directory");
    assert_eq!(error, expected);

    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("state");
    let error = certificate(&below, &[], now).await.err().unwrap();
    let expected = format!("{below:?} cannot be created: Not a directory (os error 20)");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn lock_of_another_process_is_waited_for_only_until_the_timeout() {
    let scratch = Scratch::new();
    let state = StateDirectory::open_or_create(&scratch.0).unwrap();
    let path = state.path_of("ca.lock");
    let held = state.lock().await.unwrap();
    let error = scratch.issued(clock::now()).await.err().unwrap();
    let expected = format!("another process has locked {path:?} for 10s");
    assert_eq!(error.to_string(), expected);
    drop(held);
    scratch.issued(clock::now()).await.unwrap();
}

#[test]
fn only_loopback_names_are_certified() {
    let names = [
        "app.localhost",
        "127.8.8.8",
        "[::1]",
        "127.0.0.1",
        "localhost",
        "api.example.com",
        "localhost.example.com",
        "xlocalhost",
        "..localhost",
        "10.0.0.1",
        "[::2]",
    ];
    assert_eq!(
        local_names(&names.map(str::to_owned)),
        [
            "localhost",
            "127.0.0.1",
            "::1",
            "app.localhost",
            "127.8.8.8"
        ]
    );
}

/// This limits the impact of a leaked key.
#[test]
fn authority_cannot_issue_for_names_that_are_not_loopback() {
    let now = OffsetDateTime::from(clock::now());
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::create(key, now).unwrap();
    let signed = |name: &str| {
        // The verifier checks the certificate for localhost.
        let names = vec!["localhost".to_owned(), name.to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = now;
        params.not_after = now + Duration::DAY;
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &authority.issuer).unwrap();
        authority.accepts(signed.der(), now)
    };
    for name in ["127.0.0.1", "127.255.0.1", "::1", "a.localhost"] {
        assert_eq!(signed(name), Ok(()), "{name}");
    }
    for name in ["example.com", "localhost.example.com", "10.0.0.1", "::2"] {
        let refused = signed(name).unwrap_err().to_string();
        assert!(
            refused.contains("NameConstraintViolation"),
            "{name}: {refused}"
        );
    }
}

#[test]
fn truncated_der_is_rejected() {
    let now = OffsetDateTime::from(clock::now());
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::create(key, now).unwrap();
    let der: &[u8] = &authority.certificate;
    let (_, ends) = validity(der);
    assert_eq!(ends, authority.ends.replace_nanosecond(0).unwrap());
    for end in 0..der.len() {
        assert!(CertificateParts::parse(&der[..end]).is_err(), "{end}");
    }
    let late = OffsetDateTime::from_unix_timestamp(2_600_000_000).unwrap();
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::create(key, late).unwrap();
    assert_eq!(validity(&authority.certificate).1.year(), 2057);
}

/// An authority that another program created could issue certificates for any name.
#[tokio::test]
async fn authority_that_countersign_would_not_create_is_replaced() {
    let scratch = Scratch::new();
    let now = clock::now();
    let at = OffsetDateTime::from(now);
    type Change = fn(&mut CertificateParams);
    let changes: [(&str, Change, &str); 10] = [
        ("nothing", |_| {}, ""),
        (
            "no constraints",
            |params| params.name_constraints = None,
            "name constraints",
        ),
        (
            "a wider net",
            |params| {
                let net = CidrSubnet::from_v4_prefix([0, 0, 0, 0], 0);
                let constraints = params.name_constraints.as_mut().unwrap();
                constraints
                    .permitted_subtrees
                    .push(GeneralSubtree::IpAddress(net));
            },
            "name constraints",
        ),
        (
            "another name",
            |params| {
                let constraints = params.name_constraints.as_mut().unwrap();
                constraints.permitted_subtrees[0] = GeneralSubtree::DnsName("com".to_owned());
            },
            "name constraints",
        ),
        (
            "any path",
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "path length",
        ),
        (
            "a longer path",
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
            "path length",
        ),
        (
            "no authority",
            |params| params.is_ca = IsCa::ExplicitNoCa,
            "path length",
        ),
        (
            "any usage",
            |params| params.extended_key_usages.clear(),
            "usages",
        ),
        (
            "any key usage",
            |params| params.key_usages.clear(),
            "usages",
        ),
        (
            "forever",
            |params| params.not_after = params.not_before + Duration::days(9999),
            "valid for longer",
        ),
    ];
    for (what, change, part) in changes {
        scratch.issued(now).await.unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params(at, at + CA_LIFETIME).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(scratch.0.join(CA_FILE), certificate.pem()).unwrap();
        fs::write(scratch.0.join(KEY_FILE), key.serialize_pem()).unwrap();
        let before = scratch.files();
        let reason = Authority::load(scratch.contents(), at).err();
        let issued = scratch.issued(now).await.unwrap();
        match reason.map(|reason| reason.to_string()) {
            None => assert_eq!((part, scratch.files()), ("", before), "{what}"),
            Some(reason) => {
                assert!(
                    !part.is_empty() && reason.contains(part),
                    "{what}: {reason}"
                );
                assert_ne!(scratch.files().0, before.0, "{what}");
            }
        }
        scratch.check_trusted(&issued, now);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_that_others_could_have_changed_are_replaced() {
    let scratch = Scratch::new();
    let now = clock::now();
    scratch.issued(now).await.unwrap();
    let is_root = fs::metadata(&scratch.0).unwrap().uid() == 0;
    type Break = fn(&Path);
    let chmod: fn(&Path, u32) = |path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let breaks: [(&str, Break, bool); 9] = [
        (
            KEY_FILE,
            |path| fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap(),
            false,
        ),
        (
            KEY_FILE,
            |path| fs::set_permissions(path, Permissions::from_mode(0o604)).unwrap(),
            false,
        ),
        (
            KEY_FILE,
            |path| fs::set_permissions(path, Permissions::from_mode(0o660)).unwrap(),
            false,
        ),
        (
            CA_FILE,
            |path| fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap(),
            false,
        ),
        (
            CA_FILE,
            |path| fs::set_permissions(path, Permissions::from_mode(0o620)).unwrap(),
            false,
        ),
        (
            KEY_FILE,
            |path| chown(path, Some(12_345), None).unwrap(),
            true,
        ),
        (
            CA_FILE,
            |path| chown(path, Some(12_345), None).unwrap(),
            true,
        ),
        (
            KEY_FILE,
            |path| {
                let elsewhere = path.with_extension("elsewhere");
                fs::rename(path, &elsewhere).unwrap();
                symlink(elsewhere, path).unwrap();
            },
            false,
        ),
        (
            CA_FILE,
            |path| {
                fs::remove_file(path).unwrap();
                let made = std::process::Command::new("mkfifo").arg(path).status();
                assert!(made.unwrap().success());
            },
            false,
        ),
    ];
    for (at, (name, spoil, needs_root)) in breaks.into_iter().enumerate() {
        if needs_root && !is_root {
            continue;
        }
        let before = scratch.files();
        spoil(&scratch.0.join(name));
        let issued = scratch.issued(now).await.unwrap();
        let after = scratch.files();
        assert!(after.0 != before.0 && after.1 != before.1, "row {at}");
        scratch.check_trusted(&issued, now);
        for name in [KEY_FILE, CA_FILE] {
            let found = fs::symlink_metadata(scratch.0.join(name)).unwrap();
            assert!(found.is_file(), "row {at}: {name}");
            assert_eq!(found.mode() & 0o777, 0o600, "row {at}: {name}");
        }
    }
    // A certificate is public.
    let before = scratch.files();
    chmod(&scratch.0.join(CA_FILE), 0o644);
    scratch.issued(now).await.unwrap();
    assert_eq!(scratch.files(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn the_directory_is_not_followed_through_a_link_and_is_ours_alone() {
    let scratch = Scratch::new();
    let now = clock::now();
    let (real, link) = (scratch.0.join("real"), scratch.0.join("link"));
    fs::create_dir_all(&real).unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o777)).unwrap();
    symlink(&real, &link).unwrap();
    let error = certificate(&link, &[], now)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
    certificate(&real, &[], now).await.unwrap();
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o700);
    if fs::metadata(&real).unwrap().uid() == 0 {
        let theirs = scratch.0.join("theirs");
        fs::create_dir(&theirs).unwrap();
        chown(&theirs, Some(12_345), None).unwrap();
        let error = certificate(&theirs, &[], now)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("belongs to the user 12345"), "{error}");
    }
}
