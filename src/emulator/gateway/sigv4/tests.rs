//! AWS's vectors are accepted unchanged and rejected after any change. Errors have AWS's texts.

use time::macros::datetime;

use super::super::head::Head;
use super::super::sites::{Site, SiteKind};
use super::vectors::VECTORS;
use super::*;
use crate::options::Key;

/// A request, and the rules to verify it against.
#[derive(Clone)]
struct Case {
    request: String,
    service: &'static str,
    kind: SiteKind,
    normalizes_paths: bool,
    key: Key,
    keys_expired: bool,
    now: OffsetDateTime,
}

impl Case {
    fn from_vector(name: &str) -> Self {
        let vector = VECTORS.iter().find(|vector| vector.name == name).unwrap();
        Self {
            request: vector.request.to_owned(),
            service: "service",
            kind: SiteKind::Service,
            normalizes_paths: vector.normalizes,
            key: Key {
                session_token: vector.token.map(str::to_owned),
                ..Key::demo()
            },
            keys_expired: false,
            now: datetime!(2015-08-30 12:36:00 UTC),
        }
    }

    /// Returns the request with one text replaced.
    #[track_caller]
    fn with(mut self, from: &str, to: &str) -> Self {
        assert!(self.request.contains(from), "{from}");
        self.request = self.request.replacen(from, to, 1);
        self
    }

    fn verify(&self) -> Result<VerifiedRequest, GatewayError> {
        let (head, body) = self.request.split_once("\n\n").unwrap();
        let raw = head.replace('\n', "\r\n") + "\r\n\r\n";
        let site = Site {
            kind: self.kind,
            service: self.service.to_owned(),
            region: "us-east-1".to_owned(),
        };
        let rules = SiteRules {
            site: &site,
            normalizes_paths: self.normalizes_paths,
            keys: std::slice::from_ref(&self.key),
            keys_expired: self.keys_expired,
            now: self.now,
        };
        verify(
            &Head::parse(raw.as_bytes()).unwrap(),
            body.as_bytes(),
            &rules,
        )
    }

    #[track_caller]
    fn check_rejected(&self, text: &str) {
        let error = self.verify().unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[test]
fn vectors_are_accepted() {
    let mut rejected = Vec::new();
    for vector in VECTORS {
        match Case::from_vector(vector.name).verify() {
            Ok(verified) => {
                let is_presigned = vector.name.starts_with("query");
                assert_eq!(verified.is_presigned, is_presigned, "{}", vector.name);
            }
            Err(error) => rejected.push(format!("{}: {error}", vector.name)),
        }
    }
    assert_eq!(rejected, [""; 0]);
}

#[test]
fn altered_requests_do_not_match() {
    for vector in VECTORS {
        let case = Case::from_vector(vector.name);
        let (method, _) = case.request.split_once(' ').unwrap();
        let other = format!("PUT{}", &case.request[method.len()..]);
        let altered = [
            Case {
                request: other,
                ..case.clone()
            },
            case.clone().with(" /", " /x/y/"),
            case.clone().with("Host:e", "Host:E"),
            case.clone().with("\n\n", "\n\n "),
            case.clone().with("HTTP/1.1\n", "HTTP/1.1\nMy-Header1:x\n"),
        ];
        for (at, case) in altered.iter().enumerate() {
            if at == 4 && !vector.request.contains("my-header1") {
                continue;
            }
            match case.verify() {
                Err(GatewayError::BadSignature(text)) => {
                    assert!(text.starts_with(MISMATCH), "{text}")
                }
                other => panic!("{} {at}: {other:?}", vector.name),
            }
        }
    }
}

#[test]
fn path_is_encoded_twice_and_the_error_shows_it() {
    // From smithy-rs's copy of the suite: `double-encode-path`.
    let request = "POST /test/@connections/JBDvjfGEIAMCERw%3D HTTP/1.1\n\
                   Host:tj9n5r0m12.execute-api.us-east-1.amazonaws.com\n\
                   X-Amz-Date:20150830T123600Z\n\
                   Authorization:AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/execute-api/aws4_request, SignedHeaders=host;x-amz-date, Signature=00\n\n";
    let mut case = Case::from_vector("get-utf8");
    case.request = request.to_owned();
    case.service = "execute-api";
    let Err(GatewayError::BadSignature(text)) = case.verify() else {
        panic!("accepted");
    };
    let expected = "The Canonical String for this request should have been\n\
                    'POST\n\
                    /test/%40connections/JBDvjfGEIAMCERw%253D\n\n\
                    host:tj9n5r0m12.execute-api.us-east-1.amazonaws.com\n\
                    x-amz-date:20150830T123600Z\n\n\
                    host;x-amz-date\n\
                    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'\n\n\
                    The String-to-Sign should have been\n\
                    'AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/execute-api/aws4_request\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn header_errors_use_aws_wording() {
    let case = Case::from_vector("get-vanilla-with-session-token");
    let check = |from: &str, to: &str, text: &str| case.clone().with(from, to).check_rejected(text);
    check(
        "Authorization:",
        "Authorization:Bearer abc\nX-Was:",
        "'abc' not a valid key=value pair",
    );
    check(
        "Authorization:",
        "Authorization:Basic YQ==\nX-Was:",
        "Authorization header requires 'Credential' parameter. Authorization header requires \
         'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. \
         Authorization=Basic",
    );
    check(
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA512",
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'.",
    );
    check("Authorization:", "X-Was:", "Missing Authentication Token");
    check(
        "Authorization:",
        "Authorization:\nX-Was:",
        "Missing Authentication Token",
    );
    check("/aws4_request", "", "Credential must have exactly 5");
    check(
        "X-Amz-Date:",
        "X-Was:",
        "Authorization header requires existence of either a 'X-Amz-Date'",
    );
    check(
        "SignedHeaders=",
        "SignedHeaders=a;",
        "'a' is named as a SignedHeader, but it does not",
    );
    check(
        "SignedHeaders=host;",
        "SignedHeaders=",
        "'Host' or ':authority' must be a 'SignedHeader'",
    );
    check(
        ";x-amz-security-token",
        "",
        "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.",
    );
    check(
        "Host:",
        "X-Amz-Meta:1\nHost:",
        "'x-amz-meta' must be a 'SignedHeader'",
    );
    check("host;x-amz-date", "x-amz-date;host", MISMATCH);
    check("Signature=0", "Signature=1", MISMATCH);
    check(
        "AKIDEXAMPLE",
        "AKIDNOBODY",
        "The security token included in the request is invalid.",
    );
    check(
        "Token:6e",
        "Token:7e",
        "The security token included in the request is invalid.",
    );
    check(
        "/us-east-1/",
        "/eu-west-1/",
        "Credential should be scoped to a valid region.",
    );
    check(
        "/service/",
        "/s3/",
        "Credential should be scoped to correct service: 'service'.",
    );
    check(
        "/20150830/",
        "/20150829/",
        "Date in Credential scope does not match",
    );
    check("20150830T123600Z", "20150830T123601Z", MISMATCH);
    check(
        " HTTP",
        "?x=%zz HTTP",
        "Illegal hex character in escape % pattern: %zz",
    );
    check(
        " HTTP",
        "?X-Amz-Algorithm HTTP",
        "Found both 'X-Amz-Algorithm' as a query-string param",
    );
    let expired = Case {
        keys_expired: true,
        ..case
    };
    expired.check_rejected("The security token included in the request is expired");
}

#[test]
fn presigned_url_errors_use_aws_wording() {
    let case = Case::from_vector("query: get-utf8");
    let check = |from: &str, to: &str, text: &str| case.clone().with(from, to).check_rejected(text);
    check(
        "X-Amz-Credential=",
        "X-Amz-Credential=&was=",
        "AWS query-string parameters must include 'X-Amz-Credential'. Re-examine the query-string",
    );
    check(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "x=1",
        "AWS query-string parameters must include 'X-Amz-Algorithm'.",
    );
    check(
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-MD5",
        "Unsupported AWS 'algorithm'",
    );
    check(
        "Expires=3600",
        "Expires=x",
        "X-Amz-Expires must be a number of seconds",
    );
    check("Expires=3600", "Expires=3601", MISMATCH);
    check(
        "Headers=host",
        "Headers=x-amz-date",
        "'Host' or ':authority' must be",
    );
    let at = |now| Case {
        now,
        ..case.clone()
    };
    assert!(at(datetime!(2015-08-30 13:36:00 UTC)).verify().is_ok());
    at(datetime!(2015-08-30 13:36:01 UTC)).check_rejected(
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
         (20150830T133601Z - 60 min.)",
    );
    at(datetime!(2015-08-30 12:30:59 UTC))
        .check_rejected("Signature not yet current: 20150830T123600Z");
}

#[test]
fn date_may_differ_by_five_minutes() {
    let at = |now| Case {
        now,
        ..Case::from_vector("get-utf8")
    };
    assert!(at(datetime!(2015-08-30 12:41:00 UTC)).verify().is_ok());
    assert!(at(datetime!(2015-08-30 12:31:00 UTC)).verify().is_ok());
    at(datetime!(2015-08-30 12:41:01 UTC)).check_rejected(
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
         (20150830T124101Z - 5 min.)",
    );
    at(datetime!(2015-08-30 12:30:59 UTC)).check_rejected("Signature not yet current:");
}

#[test]
fn only_some_services_accept_an_unsigned_payload() {
    let form = Case::from_vector("post-x-www-form-urlencoded-parameters");
    let hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    form.clone()
        .with(hash, "UNSIGNED-PAYLOAD")
        .check_rejected(MISMATCH);
    form.clone()
        .with("Param1", "Param2")
        .check_rejected(MISMATCH);

    // Signed for another service, so that only the canonical request is compared.
    let lattice = Case {
        service: "vpc-lattice-svcs",
        ..form.with("/service/", "/vpc-lattice-svcs/")
    };
    let last_line = |case: Case| {
        let text = case.verify().unwrap_err().to_string();
        let (canonical, _) = text.split_once("'\n\nThe String-to-Sign").unwrap();
        canonical.rsplit('\n').next().unwrap().to_owned()
    };
    assert_eq!(last_line(lattice.clone()), hash);
    let unsigned = lattice.with(hash, "UNSIGNED-PAYLOAD");
    assert_eq!(last_line(unsigned), "UNSIGNED-PAYLOAD");
    let declared = Case::from_vector("get-utf8").with("/service/", "/aoss/");
    Case {
        service: "aoss",
        ..declared
    }
    .check_rejected("Forbidden");
}

const MISMATCH: &str = "The request signature we calculated does not match";
