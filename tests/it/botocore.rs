//! The signer against botocore: for every request that we sign, botocore must compute the same
//! signature from the bytes on the wire.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::sign::credentials::CredentialSource;
use countersign::sign::{RequestTarget, Scope, Signable, Signer, SigningStyle, TargetError};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::python;

const REQUESTS: usize = 10_000;

/// A request as a client might send it.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: String,
    query: Option<String>,
    content_type: Option<String>,
    body: Vec<u8>,
    host: &'static str,
    has_token: bool,
    second: u64,
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-zA-Z0-9._~-]{1,12}",
        3 => "[ -.0-~]{1,8}".prop_map(|text| text.replace(['?', '#'], "")),
        2 => Just("%2F%3d%41%zz%".to_owned()),
        2 => "[é-ü日本🦀]{1,4}",
        1 => Just("@connections/abc=".to_owned()),
        1 => Just("arn:aws:iam::123456789012:role%2Fx".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("%2e".to_owned()),
        1 => Just(String::new()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("/".to_owned()),
        9 => proptest::collection::vec(segment(), 1..4).prop_map(|parts| format!("/{}", parts.join("/"))),
    ]
}

/// Names and values without a raw `+`, which botocore keeps and AWS reads as a space.
fn pair() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => "[a-zA-Z0-9._~-]{0,8}",
        2 => "[!-*,-~]{0,6}".prop_map(|text| text.replace(['&', '#', '?'], "")),
        2 => "[é-ü🦀]{0,3}",
        1 => Just("%20%2B%3D%26%c3%a9".to_owned()),
        1 => Just("%FF".to_owned()),
        1 => Just("X-Amz-Date".to_owned()),
    ];
    (word.clone(), proptest::option::of(word)).prop_map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let query = proptest::option::of(
        proptest::collection::vec(pair(), 0..5).prop_map(|pairs| pairs.join("&")),
    );
    let content_type = proptest::option::of(prop_oneof![
        Just("application/json".to_owned()),
        Just("application/json;   charset=UTF-8".to_owned()),
        "[a-z]{1,8}/[a-z+.-]{1,8}",
    ]);
    (
        prop_oneof![
            Just("GET"),
            Just("POST"),
            Just("PUT"),
            Just("DELETE"),
            Just("PATCH")
        ],
        path(),
        query,
        content_type,
        proptest::collection::vec(any::<u8>(), 0..200),
        prop_oneof![
            Just("abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com"),
            Just("a1b2c3.execute-api.us-east-1.amazonaws.com"),
            Just("api.example.com:8443"),
        ],
        any::<bool>(),
        0..4_000_000_000_u64,
    )
        .prop_map(
            |(method, path, query, content_type, body, host, has_token, second)| Asked {
                method,
                path,
                query,
                content_type,
                body,
                host,
                has_token,
                second,
            },
        )
}

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "AQoDYXdzEXAMPLETOKEN/+==";

async fn signed(id: usize, asked: &Asked) -> Result<Value, TargetError> {
    let target = RequestTarget::new(&asked.path, asked.query.as_deref())?;
    let token = asked.has_token.then_some(TOKEN);
    let identity = Arc::new(CredentialSource::fixed(ACCESS_KEY, SECRET_KEY, token));
    let service = if asked.host.contains("appsync") {
        "appsync"
    } else {
        "execute-api"
    };
    let scope = Scope {
        region: "us-east-1".to_owned(),
        service: service.to_owned(),
    };
    let signer = Signer::new(
        scope,
        SigningStyle::default(),
        asked.host.to_owned(),
        identity,
    );
    let now = UNIX_EPOCH + Duration::from_secs(asked.second);
    let credentials = signer.credentials(now).await.unwrap();
    let content_type = asked
        .content_type
        .as_deref()
        .filter(|_| !asked.body.is_empty());
    let headers = content_type.map(|value| ("content-type", value));
    let request = Signable {
        method: asked.method,
        target: target.as_str(),
        headers: headers.as_slice(),
        body: &asked.body,
    };
    let added = signer.sign(&credentials, &request, now).unwrap();
    let mut wire = vec![("host".to_owned(), asked.host.to_owned())];
    wire.extend(headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, value) in &added.headers {
        wire.push((name.to_string(), value.to_str().unwrap().to_owned()));
    }
    Ok(json!({
        "id": id,
        "method": asked.method,
        "url": format!("https://{}{}", asked.host, target.as_str()),
        "headers": wire,
        "body_b64": STANDARD.encode(&asked.body),
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "token": token,
        "region": "us-east-1",
        "service": service,
    }))
}

/// The classes of requests that may be refused. All others must pass.
fn may_refuse(asked: &Asked) -> Vec<TargetError> {
    let mut classes = Vec::new();
    let plain = asked.path.replace("%2e", ".").replace("%2E", ".");
    if asked.path.contains("//") {
        classes.push(TargetError::EmptySegment);
    }
    if plain
        .split(['/', '\\'])
        .any(|segment| segment == "." || segment == "..")
    {
        classes.push(TargetError::DotSegment);
    }
    let query = asked.query.clone().unwrap_or_default();
    if query.contains("%FF") {
        classes.push(TargetError::NotUtf8);
    }
    if query.split('&').any(|pair| pair.starts_with('=')) {
        classes.push(TargetError::NamelessParameter);
    }
    classes
}

async fn verified(requests: &[Value]) -> String {
    let mut script = python("botocore_verify.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    let lines: String = requests
        .iter()
        .map(|request| format!("{request}\n"))
        .collect();
    let writing = async move {
        stdin.write_all(lines.as_bytes()).await.unwrap();
        drop(stdin);
    };
    let (output, ()) = tokio::join!(script.wait_with_output(), writing);
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn ten_thousand_random_requests_verify_in_botocore() {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let strategy = asked();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut requests = Vec::new();
    while requests.len() < REQUESTS {
        let asked = strategy.new_tree(&mut runner).unwrap().current();
        let classes = may_refuse(&asked);
        match signed(requests.len(), &asked).await {
            Ok(request) => {
                assert!(classes.is_empty(), "not refused for {classes:?}: {asked:?}");
                requests.push(request);
            }
            Err(refusal) => {
                assert!(classes.contains(&refusal), "refused, {refusal}: {asked:?}");
                *refused.entry(refusal.to_string()).or_default() += 1;
            }
        }
    }
    let verdict = verified(&requests).await;
    println!("{verdict}refused: {refused:#?}");
    assert!(
        verdict.contains(&format!("verified {REQUESTS}, mismatched 0")),
        "{verdict}"
    );
    assert_eq!(refused.len(), 4, "every class was met: {refused:?}");
}

/// AWS reads a raw `+` in a query as a space and botocore keeps it, so we never send one.
#[tokio::test]
async fn a_raw_plus_is_sent_as_a_space() {
    let asked = Asked {
        method: "GET",
        path: "/".to_owned(),
        query: Some("a=1+2&b+c=%2B".to_owned()),
        content_type: None,
        body: Vec::new(),
        host: "api.example.com:8443",
        has_token: true,
        second: 1_768_478_400,
    };
    let request = signed(0, &asked).await.unwrap();
    assert_eq!(
        request["url"],
        "https://api.example.com:8443/?a=1%202&b%20c=%2B"
    );
    verified(&[request]).await;
}
