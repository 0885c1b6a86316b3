//! `explain` masks the secrets of everything that it reads.

use countersign_emulator::Key;
use serde_json::json;

use super::{
    API_KEY, BEARER, BODY, COOKIE, GUARD_TOKEN, KEY_ID, SECRET, TEXT, TOKEN, VARIABLE,
    check_absent_of, environment,
};
use crate::explain::{CASES, explain, refused};
use crate::support::World;

/// A key's id is public, and shows which key is meant.
const SECRETS: [&str; 9] = [
    SECRET,
    TOKEN,
    BEARER,
    COOKIE,
    API_KEY,
    VARIABLE,
    TEXT,
    GUARD_TOKEN,
    BODY,
];

async fn check(what: &str, arguments: &[&str], input: &str) {
    for arguments in [arguments, &[arguments, &["--json"]].concat()] {
        let output = explain(arguments, input).await;
        let written = [output.stdout, output.stderr].concat();
        let written = String::from_utf8(written).unwrap();
        assert!(written.len() > 40, "{what}: {written}");
        check_absent_of(&SECRETS, what, &written);
    }
}

#[tokio::test]
async fn explain_prints_no_secret_of_a_signer() {
    let key = Key {
        access_key_id: KEY_ID.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: Some(TOKEN.to_owned()),
    };
    let world = World::builder().keys(vec![key]).start().await;
    for case in CASES {
        let saved = refused(&world, case, &environment(SECRET)).await;
        let path = |name: &str| saved.0.join(format!("{name}.txt")).display().to_string();
        let (answer, request) = (path("answer"), path("request"));
        let (canonical, string) = (path("canonical"), path("string"));
        // Each file is also given as each other one.
        for (first, second, third, fourth) in [
            (&answer, &request, &canonical, &string),
            (&request, &answer, &request, &answer),
            (&canonical, &request, &string, &string),
        ] {
            let arguments = [
                "--answer",
                first,
                "--request",
                second,
                "--canonical-request",
                third,
                "--string-to-sign",
                fourth,
            ];
            for count in [2, 4, 6, 8] {
                check(case, &arguments[..count], "").await;
            }
        }
    }
}

#[tokio::test]
async fn explain_prints_no_secret_of_a_request() {
    let world = World::new().await;
    let bearer = format!("Bearer {BEARER}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("cookie", &format!("a={COOKIE}; b={COOKIE}")),
        ("x-api-key", API_KEY),
        ("x-countersign-token", GUARD_TOKEN),
        ("X-Amz-Security-Token", TOKEN),
        ("x-amz-date", "20260115T120000Z"),
    ];
    let head = headers.map(|(name, value)| format!("{name}: {value}"));
    let body = json!({ "query": BODY, "variables": { "a": VARIABLE, "b": TEXT } }).to_string();
    let url = format!(
        "https://h.example.com/x?X-Amz-Security-Token={}",
        TOKEN.replace('+', "%2B")
    );
    let curl: String = head
        .iter()
        .map(|header| format!(" -H '{header}'"))
        .collect();
    let har_headers = headers.map(|(name, value)| json!({ "name": name, "value": value }));
    let request = json!({
        "method": "POST", "url": url, "headers": har_headers, "postData": { "text": body },
    });
    let requests = [
        format!("POST {url} HTTP/1.1\r\n{}\r\n\r\n{body}", head.join("\r\n")),
        format!("curl -u {KEY_ID}:{SECRET}{curl} --data-raw '{body}' '{url}'"),
        format!("curl --aws-sigv4 aws:amz:r:s -u {KEY_ID}:{SECRET}{curl} '{url}'"),
        format!("curl -H \"x: $(echo {SECRET})\" '{url}'"),
        format!("curl -u {KEY_ID}:{SECRET}{curl} --data-raw '{body}"),
        json!({ "request": request }).to_string(),
        request.to_string(),
        json!({ "type": "start", "payload": { "data": body, "extensions": { "authorization": {
            "x-amz-security-token": TOKEN, "authorization": bearer, "host": "h",
        } } } })
        .to_string(),
    ];
    let canonical = format!(
        "POST\n/x\n\ncookie:{COOKIE}\nx-amz-security-token:{TOKEN}\nx-api-key:{API_KEY}\n\n\
         cookie;x-amz-security-token;x-api-key\n{}",
        "a".repeat(64)
    );
    let answers = [
        json!({ "message": "Missing Authentication Token" }).to_string(),
        json!({ "message": "The security token included in the request is invalid." }).to_string(),
        "HTTP/1.1 403 Forbidden\r\n\r\n{\"message\":\"Forbidden\"}".to_owned(),
        json!({ "message": format!(
            "The request signature we calculated does not match the signature you provided.\n\n\
             The Canonical String for this request should have been\n'{canonical}'\n\n\
             The String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20260115T120000Z\nx\ny'"
        ) })
        .to_string(),
        format!("Authorization header requires 'Signature' parameter. Authorization={bearer}"),
        format!("export AWS_SECRET_ACCESS_KEY={SECRET} AWS_SESSION_TOKEN={TOKEN}\nit fails"),
        format!("{{ secretAccessKey: '{SECRET}', sessionToken: '{TOKEN}' }}"),
    ];
    let other = world
        .home
        .file("canonical.txt", &canonical.replace("canary", "another"));
    let own = world.home.file("own.txt", &canonical);
    for request in &requests {
        let file = world.home.file("request.txt", request);
        check(request, &[], request).await;
        for answer in &answers {
            check(answer, &[], answer).await;
            for canonical in [&other, &own] {
                let arguments = ["--request", &file, "--canonical-request", canonical];
                check(answer, &arguments[..2], answer).await;
                check(answer, &arguments[2..], answer).await;
                check(answer, &arguments, answer).await;
            }
        }
    }
}

/// A secret of which no piece is a word of a sentence.
const UNIQUE: &str = "Zq7/Vx+Kw9bTn3RmLp5YcHd8JfGs2WoEuAi4QkXt";

/// The ways in which people write a secret into a text.
const SPELLINGS: [&str; 54] = [
    "secret key: {}",
    "Secret Access Key: {}",
    "AWS_SECRET_KEY={}",
    "aws_secret: {}",
    "secretKey: '{}'",
    "aws --secret-access-key={} sts",
    "aws --secret-access-key {} sts",
    "<SecretAccessKey>{}</SecretAccessKey>",
    "aws_session_token {}",
    "Token: {}",
    "Bearer {}",
    "x-api-key {}",
    "apiKey: {}",
    "(b'x-amz-security-token', b'{}')",
    "X-Amz-Security-Token|{}|",
    "access_token%3D{}",
    "curl -uKEY:{} h",
    "curl --user=KEY:{} h",
    "https://user:{}@h",
    "https://h/?access_token={}",
    "x-auth-token: {}",
    "x-amz-security-token: {}",
    "cookie: a=1; b={}",
    "authorization: Bearer {}",
    "export AWS_SECRET_ACCESS_KEY={}",
    "secretAccessKey: `{}`,",
    "{\"SessionToken\": \"{}\"}",
    "{\"body\": \"{\\\"token\\\":\\\"{}\\\"}\"}",
    "{\"name\": \"cookie\", \"value\": \"{}\"}",
    "| password | {} |",
    ":secret_access_key => '{}'",
    "Signature={}",
    "key {} of nobody",
    "sec-websocket-protocol: header-{}",
    "DEBUG kSecret b'AWS4{}'",
    "signing with AWS4{} 20230101",
    "AKIAIOSFODNN7EXAMPLE/{}",
    "https://{}@github.com/",
    "arn:aws:iam::123456789012:user/{}",
    "setx AWS_SECRET_ACCESS_KEY \"{}\"",
    "<add key=\"AWSSecretKey\" value=\"{}\"/>",
    "x-api-key,{}",
    "x-api-key → {}",
    "'Bearer ' + '{}'",
    "https --auth=AKIAIOSFODNN7EXAMPLE:{} h",
    "The secret key is {}",
    "token {} is expired",
    "password=${}",
    "x-api-key: <{}",
    "secret: undefined{}",
    "JWT {}",
    "https://h/?code={}",
    "nothing names it: {}",
    "/{} begins it",
];

fn check_no_piece(what: &str, output: &std::process::Output) {
    let written = [output.stdout.clone(), output.stderr.clone()].concat();
    let written = String::from_utf8(written).unwrap();
    assert!(written.len() > 40, "{what}: {written}");
    for piece in UNIQUE.as_bytes().windows(6) {
        let piece = std::str::from_utf8(piece).unwrap();
        assert!(!written.contains(piece), "{what}\n→ {written}");
    }
}

/// A quoted value is cut at any of its characters, and a secret in it is cut, too.
#[tokio::test]
async fn explain_prints_no_piece_of_a_secret_in_any_spelling() {
    let world = World::new().await;
    let canonical = |value: &str| {
        let hash = "a".repeat(64);
        format!("POST\n/x\n\nhost:h\nx-note:{value}\n\nhost;x-note\n{hash}")
    };
    let echo = json!({ "message": format!(
        "The request signature we calculated does not match the signature you provided.\n\n\
         The Canonical String for this request should have been\n'{}'\n\n\
         The String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20260115T120000Z\nx\ny'",
        canonical("other")
    ) })
    .to_string();
    for (at, spelling) in SPELLINGS.into_iter().enumerate() {
        let text = spelling.replace("{}", UNIQUE);
        let before = text.find(UNIQUE).unwrap();
        // The cut after 80 characters is within the secret, or the secret is whole.
        let cut = "x ".repeat(35usize.saturating_sub(before / 2)) + " ".repeat(at % 7).as_str();
        for input in [text.clone(), format!("{cut}{text}")] {
            check_no_piece(&input, &explain(&[], &input).await);
            check_no_piece(&input, &explain(&["--json"], &input).await);
        }
        // The secret is also the value of a header that is not secret.
        let canonical = world.home.file("canonical.txt", &canonical(UNIQUE));
        for option in ["--request", "--string-to-sign"] {
            let file = match option {
                "--request" => format!("POST /x HTTP/1.1\nhost: h\nx-other: {text}\n\n{text}"),
                _ => format!("{text}\nAWS4-HMAC-SHA256\nx\n1/2/3/4\n{}", "a".repeat(64)),
            };
            let file = world.home.file("other.txt", &file);
            let arguments = [option, &file, "--canonical-request", &canonical, "--json"];
            check_no_piece(&text, &explain(&arguments, &echo).await);
            check_no_piece(&text, &explain(&arguments[..4], &echo).await);
        }
    }
}
