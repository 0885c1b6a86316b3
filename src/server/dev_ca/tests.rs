//! The local authority: what it is kept for, when it is replaced, and whom it can vouch for.

use std::time::SystemTime;

use super::*;
use crate::sign::clock;

/// A directory of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("countersign-ca-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    async fn made(&self, now: SystemTime) -> Result<Made, DevCaError> {
        certificate(&self.0, &[], now).await
    }

    fn files(&self) -> (String, String) {
        let text = |name| fs::read_to_string(self.0.join(name)).unwrap();
        (text(CA_FILE), text(KEY_FILE))
    }

    /// A client that trusts the kept file accepts the certificate.
    #[track_caller]
    fn check_trusted(&self, made: &Made, now: SystemTime) {
        let kept = (
            read(&made.ca_file).unwrap(),
            read(&self.0.join(KEY_FILE)).unwrap(),
        );
        let now = OffsetDateTime::from(now);
        let authority = Authority::kept(kept, now).unwrap();
        authority.accepts(&made.certificate, now).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn days(count: u64) -> std::time::Duration {
    std::time::Duration::from_secs(count * 24 * 60 * 60)
}

#[tokio::test]
async fn an_authority_is_kept_until_it_nears_its_end() {
    let scratch = Scratch::new("age");
    let begun = clock::now();
    let first = scratch.made(begun).await.unwrap();
    scratch.check_trusted(&first, begun);
    let kept = scratch.files();
    for age in [0, 1, 400, 5 * 365 - 31] {
        let now = begun + days(age);
        let made = scratch.made(now).await.unwrap();
        assert_eq!(scratch.files(), kept, "after {age} days");
        assert_ne!(made.certificate, first.certificate);
        scratch.check_trusted(&made, now);
        let (begins, ends) = validity(&made.certificate).unwrap();
        assert!(begins < now && ends > now);
        assert!(ends - begins <= Duration::days(397), "{begins} to {ends}");
        let (_, ca_ends) = validity(&pem(&kept.0)).unwrap();
        assert!(ends <= ca_ends);
    }
    for now in [
        begun + days(5 * 365 - 29),
        begun + days(4000),
        begun - days(3),
    ] {
        let before = scratch.files();
        let made = scratch.made(now).await.unwrap();
        assert_ne!(scratch.files(), before);
        scratch.check_trusted(&made, now);
    }
}

fn pem(text: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}

#[tokio::test]
async fn an_authority_that_cannot_sign_is_replaced() {
    let scratch = Scratch::new("broken");
    let now = clock::now();
    scratch.made(now).await.unwrap();
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
        let made = scratch.made(now).await.unwrap();
        scratch.check_trusted(&made, now);
        assert!(ca.is_none_or(|ca| ca != scratch.files().0));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let scratch = Scratch::new("unusable");
    let now = clock::now();
    fs::create_dir_all(scratch.0.join(KEY_FILE)).unwrap();
    let error = scratch.made(now).await.err().unwrap().to_string();
    let key_file = scratch.0.join(KEY_FILE);
    let expected = format!("{key_file:?} cannot be read: Is a directory (os error 21)");
    assert_eq!(error, expected);

    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("state");
    let error = certificate(&below, &[], now).await.err().unwrap();
    let expected = format!("{below:?} cannot be created: Not a directory (os error 20)");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_another_process_holds_is_not_waited_for_without_end() {
    let scratch = Scratch::new("held");
    create(&scratch.0).unwrap();
    let path = scratch.0.join(LOCK_FILE);
    let held = lock(&path).await.unwrap();
    let error = scratch.made(clock::now()).await.err().unwrap();
    let expected = format!("another process has held {path:?} for 10s");
    assert_eq!(error.to_string(), expected);
    drop(held);
    scratch.made(clock::now()).await.unwrap();
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

/// A stolen key is of no use for anybody else's name.
#[test]
fn the_authority_cannot_vouch_for_others() {
    let now = OffsetDateTime::from(clock::now());
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::make(key, now).unwrap();
    let signed = |name: &str| {
        // Beside localhost, for which it is judged.
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
fn der_that_is_cut_short_is_no_certificate() {
    let now = OffsetDateTime::from(clock::now());
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::make(key, now).unwrap();
    let der: &[u8] = &authority.certificate;
    let whole = validity(der).unwrap();
    assert_eq!(whole.1, authority.ends.replace_nanosecond(0).unwrap());
    for end in 0..der.len() {
        assert_eq!(validity(&der[..end]), None, "{end}");
    }
    let late = OffsetDateTime::from_unix_timestamp(2_600_000_000).unwrap();
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::make(key, late).unwrap();
    assert_eq!(validity(&authority.certificate).unwrap().1.year(), 2057);
}
