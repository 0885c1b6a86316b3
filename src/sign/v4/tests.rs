//! Checks signatures against those of the `aws-sigv4` crate.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt as _;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::sign::credentials::CredentialSource;
use crate::sign::{Algorithm, PathHandling, RequestTarget, Signer, SigningStyle, v4a};

const HOST: &str = "abcdefghij.execute-api.eu-west-1.amazonaws.com";

fn scope() -> Scope {
    Scope {
        region: "eu-west-1".to_owned(),
        service: "execute-api".to_owned(),
    }
}

/// Signs with SigV4 by the `aws-sigv4` crate.
fn sign_by_crate(context: &Context<'_>, request: &Signable<'_>, now: SystemTime) -> Signed {
    let identity = context.credentials.identity();
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(&context.scope.region)
        .name(&context.scope.service)
        .time(now)
        .settings(v4a::settings(context.style))
        .build()
        .unwrap();
    v4a::sign_with(context, request, &params.into()).unwrap()
}

/// Returns the target and the sorted headers of a signed request.
fn sent(signed: &Signed, target: &RequestTarget) -> (String, Vec<(String, String)>) {
    let mut headers: Vec<(String, String)> = signed
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (signed.target(target).into_owned(), headers)
}

fn styles() -> impl Strategy<Value = SigningStyle> {
    let placement = prop_oneof![
        Just(SignaturePlacement::Headers),
        (1..604_801_u64).prop_map(|seconds| SignaturePlacement::Query {
            expires: Duration::from_secs(seconds)
        }),
    ];
    let token = prop_oneof![Just(TokenMode::Signed), Just(TokenMode::Appended)];
    let payload = prop_oneof![
        Just(PayloadSigning::Hashed),
        Just(PayloadSigning::HashedInHeader),
        Just(PayloadSigning::Unsigned),
    ];
    (placement, token, payload).prop_map(|(placement, token, payload)| SigningStyle {
        algorithm: Algorithm::V4,
        placement,
        token,
        payload,
    })
}

proptest! {
    // PROPTEST_CASES=1000000 tries more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(10_000),
        // One path in 120 is refused, and another is tried.
        max_global_rejects: u32::MAX,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn signatures_equal_those_of_the_aws_crate(
        style in styles(),
        method in "GET|POST|PUT|DELETE|PATCH",
        path in "(/[^?#/]{1,6}){0,4}/?",
        query in proptest::option::of("([a-cé%+ ]{1,3}(=[^&#]{0,6})?&?){0,5}"),
        headers in vec(("x-amz-[a-c]|content-type|accept", "[ -~]{0,12}"), 0..5),
        body in vec(any::<u8>(), 0..64),
        token in proptest::option::of("[!-~]{1,40}"),
        // From 1970 to 2100.
        seconds in 0..4_102_444_800_u64,
    ) {
        let target = RequestTarget::below("/prod", &path, query.as_deref(), PathHandling::Collapse);
        prop_assume!(target.is_ok());
        let target = target.unwrap();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (&**a, &**b)).collect();
        let request = Signable { method: &method, target: target.as_str(), headers: &headers, body: &body };
        let source = Arc::new(CredentialSource::fixed("AKIDEXAMPLE", "secret/key", token.as_deref()));
        let signer = Signer::new(scope(), style, HOST.to_owned(), source);
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let credentials = signer.credentials(now).now_or_never().unwrap().unwrap();
        let context = Context {
            scope: signer.scope(),
            style,
            host: HOST,
            credentials: &credentials,
        };
        let expected = sent(&sign_by_crate(&context, &request, now), &target);
        for _ in 0..2 {
            let signed = signer.sign(&credentials, &request, now).unwrap();
            prop_assert_eq!(&sent(&signed, &target), &expected);
        }
    }
}

#[tokio::test]
async fn signing_key_follows_the_day_and_the_credentials() {
    let request = Signable {
        method: "GET",
        target: "/",
        headers: &[],
        body: b"",
    };
    let source = Arc::new(CredentialSource::fixed("AKIDEXAMPLE", "secret", None));
    let signer = Signer::new(scope(), SigningStyle::default(), HOST.to_owned(), source);
    // 2026-01-15T12:00:00Z
    let first = UNIX_EPOCH + Duration::from_secs(1_768_478_400);
    let others = [Some("other"), None].map(|token| {
        Arc::new(CredentialSource::fixed(
            "AKIDEXAMPLE",
            "another-secret",
            token,
        ))
    });
    let mut sources = vec![signer.credentials(first).await.unwrap()];
    for other in &others {
        sources.push(other.current(first).await.unwrap());
    }
    let day = Duration::from_secs(86_400);
    let days = [first, first + day, first, first + 2 * day];
    // The day changes with each signature first, and then the credentials do.
    let by_day = sources
        .iter()
        .flat_map(|source| days.map(|now| (source, now)));
    let by_source = days
        .into_iter()
        .flat_map(|now| sources.iter().map(move |source| (source, now)));
    for (credentials, now) in by_day.chain(by_source) {
        let context = Context {
            scope: signer.scope(),
            style: signer.style(),
            host: HOST,
            credentials,
        };
        let target = RequestTarget::new("/", None).unwrap();
        let signed = signer.sign(credentials, &request, now).unwrap();
        let expected = sign_by_crate(&context, &request, now);
        assert_eq!(sent(&signed, &target), sent(&expected, &target));
    }
}
