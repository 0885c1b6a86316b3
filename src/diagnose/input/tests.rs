//! Tests of the readers, one list of forms each.

mod other_errors;
mod pasted;

use super::*;
use crate::diagnose::evidence::{Answer, Request};

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
                        Check your AWS Secret Access Key and signing method. Consult the service \
                        documentation for details.\n\nThe Canonical String for this request should have \
                        been\n'POST\n/graphql/connect\n\nhost:h\n\nhost\n44136fa3'\n\nThe String-to-Sign \
                        should have been\n'AWS4-HMAC-SHA256\n20260115T120000Z\n20260115/us-east-1/appsync/\
                        aws4_request\n89114d36'";

fn json(message: &str) -> String {
    serde_json::json!({ "message": message }).to_string()
}

fn answer(text: &str) -> Answer {
    let read = read_answer(text);
    read.unwrap_or_else(|error| panic!("{error} in {text}"))
        .answer
}

/// Checks that the body of the answer is JSON with the mismatch, or its text.
#[track_caller]
fn check_answer(text: &str, status: Option<u16>) {
    let found = answer(text);
    let body = serde_json::from_str::<serde_json::Value>(&found.body);
    let message = match &body {
        Ok(body) => ["/message", "/errors/0/message", "/payload/errors/0/message"]
            .into_iter()
            .find_map(|path| body.pointer(path)?.as_str())
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned(),
        Err(_) => found.body.clone(),
    };
    assert!(message.contains(MISMATCH), "{text}\n→ {}", found.body);
    assert_eq!(found.status, status, "{text}");
}

#[test]
fn answers_are_read_in_every_form_that_is_pasted() {
    let body = json(MISMATCH);
    let frame = format!(
        r#"{{"payload":{{"errors":[{{"message":{},"errorType":"com.amazonaws.x#BadRequestException"}}]}},"type":"connection_error"}}"#,
        serde_json::json!(MISMATCH)
    );
    let http = format!(
        "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: InvalidSignatureException\r\n\
         Content-Type: application/json\r\n\r\n{body}"
    );
    check_answer(MISMATCH, None);
    check_answer(&body, None);
    check_answer(&format!("\u{feff}  {body}\n").replace('\u{feff}', ""), None);
    check_answer(&frame, None);
    check_answer(&http, Some(403));
    check_answer(&http.replace("\r\n", "\n"), Some(403));
    check_answer(&format!("HTTP/2 400 \ndate: x\n{body}"), Some(400));
    check_answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{http}"), Some(403));
    check_answer(
        &format!("POST /x HTTP/1.1\nhost: h\n\n{{}}\n\n{http}\n"),
        Some(403),
    );
    check_answer(&format!("x-amzn-errortype: X\ndate: y\n\n{body}"), None);

    // Programs' messages and logs.
    check_answer(
        &format!("Error: Request failed with status code 403: {body}"),
        Some(403),
    );
    check_answer(
        &format!("requests.exceptions.HTTPError: 403 Client Error: {body} for url"),
        Some(403),
    );
    let line =
        serde_json::json!({ "level": "error", "msg": "call failed", "status": 403, "body": body });
    check_answer(&format!("2026-01-15T12:00:00Z app: {line}"), Some(403));
    let line = serde_json::json!({ "level": "error", "message": line.to_string() });
    check_answer(&line.to_string(), Some(403));
    let axios = serde_json::json!({
        "message": "Request failed with status code 403",
        "response": { "status": 403, "data": { "message": MISMATCH } },
    });
    check_answer(&axios.to_string(), Some(403));
    let apollo = serde_json::json!({
        "graphQLErrors": [],
        "networkError": { "statusCode": 401, "result": { "errors": [{ "message": MISMATCH }] } },
    });
    check_answer(&apollo.to_string(), Some(401));
    let python = format!("{{'message': \"{}\"}}", MISMATCH.replace('\n', "\\n"));
    check_answer(&python, None);
    let pieces = MISMATCH.replace('\'', "\\'").replace('\n', "\\n' +\n    '");
    check_answer(&format!("{{\n  message: '{pieces}'\n}}"), None);
    check_answer(
        &format!("botocore: An error occurred (X) when calling the Y operation: {MISMATCH}"),
        None,
    );

    // Prefixes of all lines.
    for prefix in [
        "web-1  | ",
        "2026-01-15T12:00:00.123456Z ",
        "[pod/web-5/app] ",
        "Jan 15 12:00:00 host app[12]: ",
        "> ",
        "    ",
        "web-1  | 2026-01-15 12:00:00,123 ",
    ] {
        let lines = MISMATCH.lines().map(|line| format!("{prefix}{line}"));
        check_answer(&lines.collect::<Vec<_>>().join("\n"), None);
    }
    let fenced = format!("```json\n\u{1b}[31m{body}\u{1b}[0m\n```");
    check_answer(&fenced, None);
}

#[test]
fn output_of_curl_contains_request_and_answer() {
    let body = json(MISMATCH);
    let text = format!(
        "$ curl -v -d '{{\"query\":\"{{ a }}\"}}' https://h/graphql\n* Connected to h\n> POST /graphql HTTP/2\n\
         > Host: h\n> authorization: AWS4-HMAC-SHA256 x\n> \n* upload completely sent off\n\
         < HTTP/2 403 \n< x-amzn-errortype: X\n< \n{{ [512 bytes data]\n{body}* Connection #0 to host h left intact\n"
    );
    check_answer(&text, Some(403));
    let read = read_answer(&text).unwrap();
    assert_eq!(
        read.answer.headers,
        [("x-amzn-errortype".to_owned(), "X".to_owned())]
    );
    let request = read.request.unwrap();
    check_request_is(&request, "POST /graphql", "{\"query\":\"{ a }\"}");
    assert_eq!(
        header(&request.headers, "authorization"),
        Some("AWS4-HMAC-SHA256 x")
    );

    let text = format!(
        "send: b'POST /graphql HTTP/1.1\\r\\nHost: h\\r\\nContent-Length: 2\\r\\n\\r\\n'\nsend: b'{{}}'\n\
         reply: 'HTTP/1.1 403 Forbidden\\r\\n'\nheader: Date: x\nheader: x-amzn-ErrorType: X\n{body}\n"
    );
    check_answer(&text, Some(403));
    check_request_is(
        &read_answer(&text).unwrap().request.unwrap(),
        "POST /graphql",
        "{}",
    );
}

#[track_caller]
fn check_request_is(request: &Request, line: &str, body: &str) {
    assert_eq!(format!("{} {}", request.method, request.target), line);
    let found = request.body.as_deref().map(String::from_utf8_lossy);
    assert_eq!(found.as_deref(), Some(body), "{line}");
}

#[track_caller]
fn check_request(text: &str, line: &str, headers: &str, body: Option<&str>) {
    let request = read_request(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(
        format!("{} {}", request.method, request.target),
        line,
        "{text}"
    );
    let found = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    assert_eq!(found.collect::<Vec<_>>().join(" | "), headers, "{text}");
    let found = request.body.as_deref().map(String::from_utf8_lossy);
    assert_eq!(found.as_deref(), body, "{text}");
}

#[test]
fn requests_are_read_from_http_text() {
    let text = "POST /graphql?a=1 HTTP/1.1\r\nHost: h\r\nX-A:  b c \r\n\r\n{\"a\":1}\r\n";
    check_request(
        text,
        "POST /graphql?a=1",
        "Host: h | X-A: b c",
        Some("{\"a\":1}"),
    );
    let text = "GET https://h:8443/a b?c HTTP/1.1\nx: 1\n";
    check_request(text, "GET /a b?c", "host: h:8443 | x: 1", Some(""));
    let text = "### comment\nPOST https://h/x\nx: 1\n\n{}";
    check_request(text, "POST /x", "host: h | x: 1", Some("{}"));
    let text = ":authority: h\n:method: POST\n:path: /x\n:scheme: https\nx: 1\n\n{}";
    check_request_pseudo(text);
    assert!(read_request(&text.replace("POST", "")).is_err());
    // The length decides whether a newline at the end is sent.
    let text = "POST /x HTTP/1.1\nhost: h\ncontent-length: 3\n\n{}\n";
    check_request(text, "POST /x", "host: h | content-length: 3", Some("{}\n"));
    let text = "POST /x HTTP/1.1\nhost: h\ncontent-length: 30\n\n{}";
    check_request(text, "POST /x", "host: h | content-length: 30", None);
    check_request("POST /x HTTP/1.1\nhost: h\n", "POST /x", "host: h", None);
    // A body that looks like another request.
    for body in [
        "GET /y HTTP/1.1",
        "curl https://h",
        "> GET /y HTTP/1.1",
        "{\"type\":\"start\"}",
    ] {
        let text = format!("POST /x HTTP/1.1\nhost: h\n\n{body}");
        check_request(&text, "POST /x", "host: h", Some(body));
    }
    let text = "> PUT /x HTTP/1.1\n> host: h\n> \n";
    check_request(text, "PUT /x", "host: h", None);
}

#[track_caller]
fn check_request_pseudo(text: &str) {
    check_request(text, "POST /x", "host: h | x: 1", Some("{}"));
}

#[test]
fn requests_are_read_from_curl_commands() {
    let check = |command: &str, line: &str, headers: &str, body: &str| {
        check_request(command, line, headers, Some(body));
    };
    let form = "content-type: application/x-www-form-urlencoded";
    check(
        "curl https://h/a -X ''",
        "GET /a",
        "host: h | accept: */*",
        "",
    );
    check(
        "curl https://h/a?b=1#c",
        "GET /a?b=1",
        "host: h | accept: */*",
        "",
    );
    check("user@box:~$ curl h", "GET /", "host: h | accept: */*", "");
    check("curl -I https://h", "HEAD /", "host: h | accept: */*", "");
    check(
        "curl \\\n -I \\\r\n  https://h",
        "HEAD /",
        "host: h | accept: */*",
        "",
    );
    check(
        "curl -sSXPOST 'https://h/x' -H 'A: b' \\\n  --data-raw '{\"a\": \"it'\\''s\"}' | jq .",
        "POST /x",
        &format!("host: h | A: b | {form} | accept: */*"),
        "{\"a\": \"it's\"}",
    );
    check(
        "curl 'https://h/x' -H 'content-type: application/json' --data-raw $'{\"a\":\"\\u00e9\\n!\\'\"}' --compressed",
        "POST /x",
        "host: h | content-type: application/json | accept: */*",
        "{\"a\":\"é\n!'\"}",
    );
    check(
        "curl --json '{' --json '}' --url https://h/x -o out 2>&1",
        "POST /x",
        "host: h | content-type: application/json | accept: application/json",
        "{}",
    );
    check(
        "curl -G https://h/x?z=1 -d a=1 --data-urlencode 'b=c d&é' --data-urlencode '=e/'",
        "GET /x?z=1&a=1&b=c%20d%26%C3%A9&e%2F",
        "host: h | accept: */*",
        "",
    );
    check(
        "curl -d a -d b -A me -e there -b 'c=d' -u user:pass -X PATCH h:80/x",
        "PATCH /x",
        &format!(
            "host: h | user-agent: me | referer: there | cookie: c=d | {form} | accept: */* | \
             authorization: Basic dXNlcjpwYXNz"
        ),
        "a&b",
    );
    check(
        "curl -H 'accept:' -H 'x-empty;' -H 'Host: other' --connect-to ::127.0.0.1:4443 https://h/x",
        "GET /x",
        "x-empty:  | Host: other",
        "",
    );
    check(
        "curl ^\n  -H \"a: b\" `\n https://h/x",
        "GET /x",
        "host: h | a: b | accept: */*",
        "",
    );
    let unknown = format!("host: h | {form} | accept: */*");
    check_request("curl -d @body.json https://h/x", "POST /x", &unknown, None);
    check_request(
        "curl -T file https://h/x",
        "PUT /x",
        "host: h | accept: */*",
        None,
    );
    check_request(
        "curl -F a=b https://h/x",
        "POST /x",
        "host: h | accept: */*",
        None,
    );
}

#[test]
fn requests_are_read_from_har_and_json() {
    let entry = |status: u16, path: &str| {
        serde_json::json!({
            "request": {
                "method": "POST",
                "url": format!("https://h{path}"),
                "headers": [{ "name": ":authority", "value": "h" }, { "name": "A", "value": "b" }],
                "postData": { "mimeType": "application/json", "text": "{\"a\":1}" },
            },
            "response": {
                "status": status,
                "headers": [{ "name": "date", "value": "x" }],
                "content": { "text": json(MISMATCH) },
            },
        })
    };
    let entries = [entry(403, "/bad"), entry(200, "/good")];
    let har = serde_json::json!({ "log": { "entries": entries } }).to_string();
    check_request(&har, "POST /bad", "host: h | A: b", Some("{\"a\":1}"));
    check_answer(&har, Some(403));
    assert!(read_answer(&har).unwrap().request.is_some());
    let one = entry(403, "/x?y=z").to_string();
    check_request(&one, "POST /x?y=z", "host: h | A: b", Some("{\"a\":1}"));
    check_answer(&one, Some(403));
    let without_method = r#"{"method":"","url":"https://h/x"}"#;
    check_request(without_method, "GET /x", "host: h", Some(""));
    let fetch = r#"{"method":"put","url":"https://h/x","headers":{"A":"b"},"body":"c"}"#;
    check_request(fetch, "PUT /x", "host: h | A: b", Some("c"));
    let frame = r#"{"id":"1","type":"start","payload":{"data":"{}"}}"#;
    check_request(&format!("sent: {frame}\n"), " ", "", Some(frame));
}

#[track_caller]
fn check_error(found: Result<impl std::fmt::Debug, InputError>, expected: InputError) {
    assert_eq!(found.unwrap_err(), expected);
}

#[test]
fn unreadable_inputs_are_named() {
    check_error(read_request("hello"), InputError::NoRequest);
    check_error(read_request(" \n"), InputError::Empty);
    check_error(read_answer(" \n"), InputError::Empty);
    check_error(read_answer("\u{1b}[0m\n"), InputError::Empty);
    check_error(read_request("curl 'https://h"), InputError::OpenQuote);
    check_error(read_answer("$ curl https://h"), InputError::NotAnswer);
    check_error(
        read_answer("GET / HTTP/1.1\nhost: h\n"),
        InputError::NotAnswer,
    );
    check_error(read_request("curl -v"), InputError::NoUrl);
    check_error(
        read_request("curl -H \"x: ${TOKEN}\" https://h"),
        InputError::Variable("$TOKEN".to_owned()),
    );
    check_error(
        read_request("curl --aws-sigv4 aws:amz:us-east-1:appsync -u \"$A:$B\" https://h"),
        InputError::SignedByCurl,
    );
    check_error(
        read_request(r#"{"log":{"entries":[]}}"#),
        InputError::EmptyHar,
    );
    check_error(decode(b"\xff\xfe\x00"), InputError::Binary);
    check_error(decode(b"a\0b"), InputError::Binary);
    check_error(decode(b"\x80"), InputError::Binary);
    check_error(decode(b"\n"), InputError::Empty);
    check_error(decode(&vec![b'x'; MAX_INPUT + 1]), InputError::TooLarge);
    let long = "x".repeat(MAX_INPUT + 1);
    check_error(read_answer(&long), InputError::TooLarge);
    check_error(read_request(&long), InputError::TooLarge);
    check_error(read_canonical_request(&long), InputError::TooLarge);
    check_error(read_string_to_sign(&long), InputError::TooLarge);
    assert_eq!(decode(b"\xff\xfea\0b\0").unwrap(), "ab");
    assert_eq!(decode(b"\xef\xbb\xbfab").unwrap(), "ab");
}

#[test]
fn canonical_requests_are_read_as_programs_print_them() {
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let canonical = format!("POST\n/graphql\n\nhost:h\nx-a:it's \"q\" \\d\n\nhost;x-a\n{hash}");
    let to_sign =
        format!("AWS4-HMAC-SHA256\n20260115T120000Z\n20260115/r/appsync/aws4_request\n{hash}");
    let escaped = |text: &str, quote: char| {
        let text = text.replace('\\', "\\\\").replace('\n', "\\n");
        text.replace(quote, &format!("\\{quote}"))
    };
    let forms = |text: &str| {
        let double = escaped(text, '"');
        let single = escaped(text, '\'');
        let pieces = single.replace("\\n", "\\n' +\n  '");
        let implicit = single.replace("\\n", "\\n'\n '");
        vec![
            text.to_owned(),
            format!("{text}\n"),
            text.replace('\n', "\r\n"),
            format!("'{text}'"),
            format!("\"{double}\""),
            format!("b'{single}'"),
            format!("const it = \"{double}\";"),
            format!("canonical_request = ('{implicit}')"),
            format!("'{pieces}'"),
            double,
            serde_json::json!({ "level": "debug", "text": text }).to_string(),
        ]
    };
    for text in forms(&canonical) {
        assert_eq!(
            read_canonical_request(&text).as_ref(),
            Ok(&canonical),
            "{text}"
        );
    }
    for text in forms(&to_sign) {
        assert_eq!(read_string_to_sign(&text).as_ref(), Ok(&to_sign), "{text}");
    }
    let log = format!(
        "2026-01-15 12:00:00,000 botocore.auth [DEBUG] CanonicalRequest:\n{canonical}\n\
         2026-01-15 12:00:00,000 botocore.auth [DEBUG] StringToSign:\n{to_sign}\n\
         2026-01-15 12:00:00,000 botocore.auth [DEBUG] Signature:\nabc\n"
    );
    assert_eq!(read_canonical_request(&log), Ok(canonical));
    assert_eq!(read_string_to_sign(&log), Ok(to_sign.clone()));
    // Another algorithm is one of the mistakes.
    let other = to_sign.replace("AWS4-HMAC-SHA256", "HMAC-SHA256");
    assert_eq!(read_string_to_sign(&other), Ok(other.clone()));
    check_error(read_canonical_request(&to_sign), InputError::NotCanonical);
    check_error(read_string_to_sign("AWS4\nx"), InputError::NotStringToSign);
    check_error(read_canonical_request("\n"), InputError::Empty);
    // One without a hash is compared as it is.
    assert_eq!(read_canonical_request("POST\n/\n").unwrap(), "POST\n/");
}

#[test]
fn times_are_read_in_every_usual_form() {
    let expected = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_768_478_400);
    for text in [
        "2026-01-15T12:00:00Z",
        "2026-01-15T13:00:00+01:00",
        "2026-01-15 12:00:00",
        "20260115T120000Z",
        "Thu, 15 Jan 2026 12:00:00 GMT",
        "1768478400",
        " 1768478400\n",
    ] {
        assert_eq!(read_time(text), Ok(expected), "{text}");
    }
    for text in ["", "yesterday", "-1", "2026-13-15T12:00:00Z"] {
        assert_eq!(read_time(text), Err(InputError::NotTime), "{text}");
    }
}
