//! Tests of the forms in which secrets are found, and of what stays readable.

use super::*;

/// A secret access key, a session token and an API key, as AWS makes them.
const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQDcanary+Z0w==";
const API_KEY: &str = "da2-fakeapiid1234567890abcdef";

fn masked_of(input: &str, text: &str) -> String {
    let mut secrets = Secrets::default();
    secrets.add(input);
    let mut diagnosis = crate::diagnose::diagnose(&Evidence::default());
    diagnosis.difference = Some(crate::diagnose::Difference {
        line: String::new(),
        yours: text.to_owned(),
        aws: String::new(),
    });
    // Without what is masked by its form.
    secrets.mask_known(&mut diagnosis);
    diagnosis.difference.unwrap().yours
}

/// Checks that no piece of the secret is left.
#[track_caller]
fn check(form: &str, secret: &str) {
    let input = form.replace("{}", secret);
    // Whole, cut on either side, escaped, and in other text.
    let (start, end) = (&secret[..secret.len() - 7], &secret[7..]);
    let encoded = secret
        .replace('/', "%2F")
        .replace('+', "%2B")
        .replace('=', "%3D");
    let json = secret.replace('/', "\\/").replace('+', "\\u002b");
    let text = format!("a {secret} \"{start}\" {end}… x={encoded}&y {json} z");
    let masked = masked_of(&input, &text);
    for piece in secret.as_bytes().windows(PIECE) {
        let piece = std::str::from_utf8(piece).unwrap();
        assert!(!masked.contains(piece), "{input}\n→ {masked}");
    }
    for part in ["a ", "x=", "&y ", " z"] {
        assert!(masked.contains(part), "{input}\n→ {masked}");
    }
}

#[test]
fn secrets_are_found_in_every_spelling() {
    // A value with no form of its own, so that only its name shows that it is secret.
    let plain = "plainvalueofasecret";
    for form in [
        "x-amz-security-token:{}\n\nhost",
        "curl -H 'X-Amz-Security-Token: {}' https://h",
        "curl -H \"X-Api-Key:{}\" https://h",
        "GET /?X-Amz-Security-Token={}&a=b",
        r#"{"x-amz-security-token":"{}"}"#,
        r#"{"message":"x-amz-security-token:{}\n"}"#,
        r#"{"message":"{\"x-api-key\":\"{}\"}"}"#,
        r#"{"name": "cookie", "value": "{}"}"#,
        r#"{"key":"x-api-key","type":"text","value":"{}"}"#,
        "{\"x-api-key\":\n  \"{}\"}",
        r#"headers = [("x-api-key", "{}")]"#,
        "(b'x-amz-security-token', b'{}')",
        "| X-Amz-Security-Token | {} |",
        "X-Amz-Security-Token|{}|",
        "authorization: Bearer {}",
        "authorization: Basic {}",
        "Authorization: {}",
        "curl -u AKID:{} https://h",
        "curl -uAKID:{} https://h",
        "curl -sSu 'AKID:{}' https://h",
        "curl --user 'AKID:{}' https://h",
        "curl --user=AKID:{} https://h",
        "curl --user \"AKID:{}\" --aws-sigv4 aws:amz:r:s https://h",
        r#"spawn("curl", ["-u", "AKID:{}"])"#,
        "https://user:{}@h/x",
        "https://h/?access_token={}",
        "https%3A%2F%2Fh%2F%3Faccess_token%3D{}%26a%3Db",
        "x-auth-token: {}",
        "secret key: {}",
        "Secret Access Key: {}",
        "**Secret key:** {}",
        "AWS Secret Access Key [None]: {}",
        "export AWS_SECRET_ACCESS_KEY={}",
        "set AWS_SECRET_KEY={}",
        "$env:AWS_SECRET_ACCESS_KEY = '{}'",
        "aws_secret_access_key = {}",
        "aws_secret: {}",
        "secretKey: '{}'",
        "{ secretAccessKey: '{}' }",
        "secretAccessKey: `{}`,",
        "\"SecretAccessKey\": \"{}\"",
        ":secret_access_key => '{}'",
        "secret_key := \"{}\"",
        "aws --secret-access-key={} x",
        "aws --secret-access-key {} x",
        "aws_session_token {}",
        "<SecretAccessKey>{}</SecretAccessKey>",
        "&quot;x-api-key&quot;:&quot;{}&quot;",
        "Token: {}",
        "token={}",
        "apiKey: {}",
        "api_key={}",
        "PASSWORD={}",
        "cookie: a=b; c={}; d=e",
        "< set-cookie: a={}; Path=/",
        "log: cookie: a=b; c={}; d=e, status 403",
        "\\u0022x-api-key\\u0022:\\u0022{}\\u0022",
        "Signature={}",
    ] {
        for secret in [plain, KEY, API_KEY] {
            check(form, secret);
        }
    }
    for form in [
        "{}",
        "it is {}.",
        "sec-websocket-protocol: graphql-ws, header-{}",
        "/x?header={}",
    ] {
        for secret in [
            KEY,
            TOKEN,
            API_KEY,
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        ] {
            check(form, secret);
        }
    }
    // Forms in which a word of a sentence is not a secret.
    for form in [
        "setx AWS_SECRET_ACCESS_KEY \"{}\"",
        "New-Session -SecretKey {}",
        r#"<add key="AWSSecretKey" value="{}"/>"#,
        r#"<property name="secretKey" value="{}"/>"#,
        r#"<property name="secretKey"><value>{}</value>"#,
        "- name: AWS_SECRET_ACCESS_KEY\n  value: {}",
        "- name: AWS_SECRET_ACCESS_KEY value: {}",
        "x-api-key,{}",
        "x-amz-security-token;{}",
        "x-api-key → {}",
        "x-api-key：{}",
        "password\u{a0}=\u{a0}{}",
        "password\u{200b}=\u{200b}{}",
        "headers['Authorization'] = 'Bearer ' + '{}'",
        "http -a AKIAIOSFODNN7EXAMPLE:{} https://h",
        "https --auth=AKIAIOSFODNN7EXAMPLE:{} h",
        "AKIAIOSFODNN7EXAMPLE:{}",
        "AKIAIOSFODNN7EXAMPLE {}",
        "apikey {}",
        "apiKey is {}",
        "The secret key is {}",
        "secret access key \"{}\" is wrong",
        "invalid api key {}",
        "API key '{}' is not valid",
        "token {} is expired",
        "bad token '{}'",
        "AwsBasicCredentials.create(\"AKIAIOSFODNN7EXAMPLE\", \"{}\")",
        "AWS4Auth('AKIAIOSFODNN7EXAMPLE', '{}', 'us-east-1')",
        "https://{}@github.com/x",
        "sessionid={}",
        "sid={}",
        "jwt={}",
        "JWT {}",
        "AWS_BEARER_TOKEN_BEDROCK={}",
        "APPSYNC_KEY={}",
        "signing key: {}",
        "Ocp-Apim-Subscription-Key: {}",
        "password=${}",
        "x-api-key: <{}",
        "secret: undefined{}",
    ] {
        for secret in [KEY, API_KEY, "mixed0value1of2a3secret"] {
            check(form, secret);
        }
    }
    for form in [
        "DEBUG kSecret b'AWS4{}'",
        "signing with AWS4{} 20230101",
        "AWS4{}",
        "AKIAIOSFODNN7EXAMPLE/{}",
        "arn:aws:iam::123456789012:user/{}",
        "https://{}@github.com/",
        "sign(('AWS4' + '{}').encode())",
    ] {
        check(form, "Zq9xLmP3vT+K8bWn/RtYc5hJdGfAs2QeUi7OoXzB");
        check(form, "/q9xLmP3vT+K8bWn/RtYc5hJdGfAs2QeUi7OoXzB");
    }
    check("https://u:{}@h", "Pa55w0rd!@#xyz99");
    // In the base64 of a realtime connection's header.
    use base64::Engine as _;
    let header = format!(r#"{{"host":"h","x-api-key":"{plain}"}}"#);
    let header = base64::engine::general_purpose::STANDARD.encode(header);
    let masked = masked_of(
        &format!("wss://h/graphql?header={header}&payload=e30="),
        plain,
    );
    assert_eq!(masked, MASK);
    let key = base64::engine::general_purpose::STANDARD.encode(KEY);
    assert_eq!(masked_of(&format!("data: {key}"), KEY), MASK);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{plain}"));
    assert_eq!(
        masked_of(&format!("authorization: Basic {basic}"), plain),
        MASK
    );
}

/// Masking has no limit.
#[test]
fn any_number_of_secrets_is_masked() {
    let mut input: String = (0..3_000)
        .map(|at| format!("token=secret{at}word\n"))
        .collect();
    input.push_str(&format!("aws_secret={KEY}\n"));
    assert_eq!(masked_of(&input, KEY), MASK);
    assert_eq!(masked_of(&input, "secret2999word"), MASK);
}

#[test]
fn public_parts_of_an_authorization_stay() {
    let authorization = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/us-east-1/appsync/\
                         aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, \
                         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    for text in [
        "AKIDEXAMPLE/20260115/us-east-1/appsync/aws4_request",
        "host;x-amz-date;x-amz-security-token",
        "AWS4-HMAC-SHA256",
    ] {
        assert_eq!(masked_of(authorization, text), text);
    }
    assert_eq!(
        masked_of(authorization, "5d672d79c15b13162d9279b0855cfba6"),
        MASK
    );
    // Numbers are also parts of dates.
    assert_eq!(
        masked_of("cookie: _ga=GA1.20260115.x", "20260115T120000Z"),
        "20260115T120000Z"
    );
    assert_eq!(
        masked_of("authorization: Bearer abcdefgh", "Bearer token"),
        "Bearer token"
    );
    assert_eq!(masked_of("x-api-key: $API_KEY", "API_KEY"), "API_KEY");
    let host = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com";
    for before in [
        "curl -u \"$KEY_ID:$SECRET_ACCESS_KEY\"",
        "curl -H \"x-api-key: ${API_KEY}\"",
        "curl -H x-api-key:$API_KEY",
        "Token: the one for this API is sent to",
        "it sends the token to",
    ] {
        assert_eq!(
            masked_of(&format!("{before} https://{host}/x"), host),
            host,
            "{before}"
        );
    }
    assert_eq!(
        masked_of("authorization: undefined", "undefined"),
        "undefined"
    );
}

/// What a sentence of a cause says stays, whatever the inputs call a secret.
#[test]
fn sentences_of_diagnoses_stay_readable() {
    for cause in Cause::ALL {
        let sentences = [cause.sentence(), cause.fix()].join("\n");
        let lines = sentences
            .lines()
            .map(|line| format!("Authorization: {line}\n"));
        let named = sentences
            .split_whitespace()
            .map(|word| format!("token={word}\n"));
        for input in [lines.collect::<String>(), named.collect()] {
            let mut secrets = Secrets::default();
            secrets.add(&input);
            let mut diagnosis = crate::diagnose::diagnose(&Evidence::default());
            diagnosis.summary = cause.sentence().to_owned();
            diagnosis.fix = Some(cause.fix().to_owned());
            let expected = diagnosis.clone();
            secrets.mask_diagnosis(&mut diagnosis);
            assert_eq!(diagnosis, expected, "{input}");
        }
    }
    let input = "Authorization: The request signature we calculated does not match the signature you provided.";
    let text = "The signature does not match, and what was signed is not known.";
    assert_eq!(masked_of(input, text), text);
}
