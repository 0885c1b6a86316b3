//! Checks signatures against vectors for the requests that AppSync documents, and aws-sigv4's pitfalls.

use std::time::{Duration, UNIX_EPOCH};

use super::*;

const HOST: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
const TOKEN: &str = "AQoDYXdzEXAMPLETOKEN==";
/// 2026-01-15T12:00:00Z
const TIME: u64 = 1_768_478_400;
const REALTIME: [(&str, &str); 3] = [
    ("accept", "application/json, text/javascript"),
    ("content-encoding", "amz-1.0"),
    ("content-type", "application/json; charset=UTF-8"),
];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn signer(host: &str, token: Option<&str>) -> Signer {
    let scope = Scope {
        region: "us-east-1".to_owned(),
        service: "appsync".to_owned(),
    };
    let identity = CredentialSource::fixed(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token,
    );
    Signer::new(
        scope,
        SigningStyle::default(),
        host.to_owned(),
        Arc::new(identity),
    )
}

async fn sign_one(signer: &Signer, request: Signable<'_>) -> SignedHeaders {
    let now = UNIX_EPOCH + Duration::from_secs(TIME);
    let credentials = signer.credentials(now).await.unwrap();
    signer.sign(&credentials, &request, now).unwrap().headers
}

fn value<'a>(headers: &'a SignedHeaders, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(found, _)| found == name)?;
    value.to_str().ok()
}

async fn check(
    signer: Signer,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
    (signed, signature): (&str, &str),
) {
    let request = Signable {
        method,
        target,
        headers,
        body: body.as_bytes(),
    };
    let headers = sign_one(&signer, request).await;
    assert_eq!(
        value(&headers, "authorization").unwrap(),
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/us-east-1/appsync/aws4_request, \
             SignedHeaders={signed}, Signature={signature}"
        )
    );
    assert_eq!(value(&headers, "x-amz-date"), Some("20260115T120000Z"));
}

#[tokio::test]
async fn http_vectors_a_to_c() {
    let body = r#"{"query":"query Q { ping }","variables":null}"#;
    let plain = "content-type;host;x-amz-date";
    let a = "d3028ebcb3a9ae0a88dc36b072555db2d3c611da383d5c99af42d05254fc4ff3";
    check(
        signer(HOST, None),
        ("POST", "/graphql"),
        &JSON,
        body,
        (plain, a),
    )
    .await;
    let with_token = "content-type;host;x-amz-date;x-amz-security-token";
    let b = "2328ce4784beaff35bad0a2085a9df1d1750a04deac5e4961eac60da6d06aa76";
    check(
        signer(HOST, Some(TOKEN)),
        ("POST", "/graphql"),
        &JSON,
        body,
        (with_token, b),
    )
    .await;
    let target = "/graphql?query=query%20Q%20%7B%20ping%20%7D";
    let c = "c7ceb2265a84c6a2cd8e645eadb2f95fa870fc04243c9db6bc38f263e55d2337";
    check(
        signer(HOST, None),
        ("GET", target),
        &[],
        "",
        ("host;x-amz-date", c),
    )
    .await;
}

#[tokio::test]
async fn realtime_vectors_d_to_j() {
    let connect = ("POST", "/graphql/connect");
    let start = ("POST", "/graphql");
    let data = r#"{"query":"subscription OnMsg { onMsg { id body } }","variables":{}}"#;
    let five = "accept;content-encoding;content-type;host;x-amz-date";
    let six = "accept;content-encoding;content-type;host;x-amz-date;x-amz-security-token";
    let domain = "api.example.com";

    let d = "9f9fd7ffd7df57eefe38d741869f667a6f1512e6a1aa99aba24a04a4fa9371b4";
    check(signer(HOST, None), connect, &REALTIME, "{}", (five, d)).await;
    let e = "dfb00624a4f57e96875ed1dc5e9bafdbb1e0a1a1696cd6922af5ea139d2eb365";
    check(
        signer(HOST, Some(TOKEN)),
        connect,
        &REALTIME,
        "{}",
        (six, e),
    )
    .await;
    let f = "3d22d7569c32a6e0315c9b41ab99b16b0739111cc3be8e31daf97ecf03884f00";
    check(
        signer(HOST, None),
        connect,
        &[],
        "{}",
        ("host;x-amz-date", f),
    )
    .await;
    let g = "65f7718b49589608183eb97ef82b209a8ba21cebe16d194f7e40cf908894430d";
    check(signer(domain, None), connect, &REALTIME, "{}", (five, g)).await;
    let h = "2c9f6c90ddea3166c83bb24e46f761dcc06b0b5553eb439378417e09227af1a9";
    check(signer(HOST, None), start, &REALTIME, data, (five, h)).await;
    let i = "57eb8aee4b79a6ea8202f42807ec88e87fd26405a84cff1e0e57e61466ed90c6";
    check(signer(HOST, Some(TOKEN)), start, &REALTIME, data, (six, i)).await;
    let j = "ce5cbebf025de2da6a2f2808a44124228153391fb193c5ab79bbfe94f1ef1f18";
    check(signer(domain, None), start, &REALTIME, data, (five, j)).await;
}

#[tokio::test]
async fn events_vectors_k_to_m() {
    let event = ("POST", "/event");
    let five = "accept;content-encoding;content-type;host;x-amz-date";
    let k = "356c9ecc765649523934e2a80dfcccaaf788db6c0fe96a6cf55c9f2300846dd4";
    check(signer(HOST, None), event, &REALTIME, "{}", (five, k)).await;
    let subscribe = r#"{"channel":"/default/room-1"}"#;
    let l = "b4c19b5d48cb42c90b82006fe7e3d82626548eac814d0cd6d3ae07cc02815793";
    check(signer(HOST, None), event, &REALTIME, subscribe, (five, l)).await;
    let publish = r#"{"channel":"/default/room-1","events":["{\"msg\":\"hi\"}"]}"#;
    let m = "1f39e9520a2465aa3fe014119b28c2e58671924745b63230169bb3b7169bd7e5";
    check(signer(HOST, None), event, &REALTIME, publish, (five, m)).await;
}

#[tokio::test]
async fn secret_headers_are_marked_sensitive() {
    let request = Signable {
        method: "POST",
        target: "/graphql",
        headers: &JSON,
        body: b"{}",
    };
    let headers = sign_one(&signer(HOST, Some(TOKEN)), request).await;
    assert_eq!(headers.len(), 3);
    let shown = format!("{headers:?}");
    assert!(!shown.contains("Signature="), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[tokio::test]
async fn empty_session_token_is_omitted() {
    let request = Signable {
        method: "GET",
        target: "/",
        headers: &[],
        body: b"",
    };
    let headers = sign_one(&signer(HOST, Some("")), request).await;
    assert_eq!(value(&headers, "x-amz-security-token"), None);
}

#[tokio::test]
async fn session_token_with_an_invalid_byte_is_an_error() {
    let signer = signer(HOST, Some("bad\ntoken"));
    let now = UNIX_EPOCH + Duration::from_secs(TIME);
    let credentials = signer.credentials(now).await.unwrap();
    let request = Signable {
        method: "GET",
        target: "/",
        headers: &[],
        body: b"",
    };
    assert!(signer.sign(&credentials, &request, now).is_err());
}

#[tokio::test]
async fn signed_host_includes_the_port() {
    let request = Signable {
        method: "GET",
        target: "/",
        headers: &[],
        body: b"",
    };
    let with_port = sign_one(&signer("h.example.com:8443", None), request).await;
    let without = sign_one(&signer("h.example.com", None), request).await;
    assert_ne!(
        value(&with_port, "authorization"),
        value(&without, "authorization")
    );
}

/// The public key of AKIDEXAMPLE, in SEC1 form (4, X, Y), from each `public-key.json` of the SigV4A
/// vectors in aws-c-auth.
const PUBLIC_KEY: &str = "04\
    b6618f6a65740a99e650b33b6b4b5bd0d43b176d721a3edfea7e7d2d56d936b1\
    865ed22a7eadc9c5cb9d2cbaca1b3699139fedc5043dc6661864218330c8e518";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns whether the published key verifies the signature over the canonical request.
fn verifies(canonical: &str, signature: &str) -> bool {
    use p256::ecdsa::signature::Verifier as _;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&unhex(PUBLIC_KEY)).unwrap();
    let signature = p256::ecdsa::Signature::from_der(&unhex(signature)).unwrap();
    let to_sign = format!(
        "AWS4-ECDSA-P256-SHA256\n20260115T120000Z\n20260115/vpc-lattice-svcs/aws4_request\n{}",
        sha256(canonical)
    );
    key.verify(to_sign.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn sigv4a_signature_verifies_with_the_published_key() {
    let scope = Scope {
        region: "eu-west-1,us-east-1".to_owned(),
        service: "vpc-lattice-svcs".to_owned(),
    };
    let style = SigningStyle {
        algorithm: Algorithm::V4a,
        payload: PayloadSigning::Unsigned,
        ..SigningStyle::default()
    };
    let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let identity = Arc::new(CredentialSource::fixed("AKIDEXAMPLE", key, Some(TOKEN)));
    let signer = Signer::new(scope, style, "svc.example.com".to_owned(), identity);
    let headers = sign_one(
        &signer,
        Signable {
            method: "PUT",
            target: "/a%2Fb?b=2&a=%C3%A9",
            headers: &[],
            body: b"not signed",
        },
    )
    .await;
    let signed = "host;x-amz-content-sha256;x-amz-date;x-amz-region-set;x-amz-security-token";
    let canonical = format!(
        "PUT\n/a%252Fb\na=%C3%A9&b=2\nhost:svc.example.com\n\
         x-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20260115T120000Z\n\
         x-amz-region-set:eu-west-1,us-east-1\nx-amz-security-token:{TOKEN}\n\n\
         {signed}\nUNSIGNED-PAYLOAD"
    );
    let authorization = value(&headers, "authorization").unwrap();
    let (head, signature) = authorization.split_once("Signature=").unwrap();
    assert_eq!(
        head,
        format!(
            "AWS4-ECDSA-P256-SHA256 \
             Credential=AKIDEXAMPLE/20260115/vpc-lattice-svcs/aws4_request, \
             SignedHeaders={signed}, "
        )
    );
    assert!(verifies(&canonical, signature));
    assert!(!verifies(&canonical.replace("b=2", "b=3"), signature));
    assert_eq!(
        value(&headers, "x-amz-region-set"),
        Some("eu-west-1,us-east-1")
    );
}

#[test]
fn signer_returns_its_host_scope_and_style() {
    let scope = Scope {
        region: "eu-west-1".to_owned(),
        service: "iotwireless".to_owned(),
    };
    let style = SigningStyle {
        placement: SignaturePlacement::PRESIGNED,
        ..SigningStyle::default()
    };
    let identity = Arc::new(CredentialSource::fixed("AKIDEXAMPLE", "secret", None));
    let signer = Signer::new(scope.clone(), style, HOST.to_owned(), identity);
    assert_eq!((signer.host(), signer.scope()), (HOST, &scope));
    assert_eq!(signer.style(), style);
    assert_ne!(signer.style(), SigningStyle::default());
}

#[tokio::test]
async fn presigned_parameters_follow_the_existing_query() {
    let scope = Scope {
        region: "us-east-1".to_owned(),
        service: "iotwireless".to_owned(),
    };
    let style = SigningStyle {
        placement: SignaturePlacement::PRESIGNED,
        ..SigningStyle::default()
    };
    let identity = Arc::new(CredentialSource::fixed("AKIDEXAMPLE", "secret", None));
    let signer = Signer::new(scope, style, HOST.to_owned(), identity);
    let now = UNIX_EPOCH + Duration::from_secs(TIME);
    let credentials = signer.credentials(now).await.unwrap();
    for (path, query, joint) in [("/a", None, "/a?"), ("/a", Some("b=c"), "/a?b=c&")] {
        let target = RequestTarget::new(path, query).unwrap();
        let request = Signable {
            method: "GET",
            target: target.as_str(),
            headers: &[],
            body: b"",
        };
        let signed = signer.sign(&credentials, &request, now).unwrap();
        let sent = signed.target(&target);
        let added = sent.strip_prefix(joint).unwrap();
        let names: Vec<&str> = added
            .split('&')
            .map(|pair| pair.split_once('=').unwrap().0)
            .collect();
        assert!(
            names.iter().all(|name| name.starts_with("X-Amz-")),
            "{sent}"
        );
        assert!(
            names.contains(&"X-Amz-Signature") && names.len() == 6,
            "{sent}"
        );
        let shown = format!("{signed:?}");
        assert!(
            shown.starts_with("Signed {") && !shown.contains("X-Amz"),
            "{shown}"
        );
    }
    let target = RequestTarget::new("/a", None).unwrap();
    let signed = Signed {
        headers: Vec::new(),
        query: None,
    };
    assert_eq!(signed.target(&target), "/a");
}
