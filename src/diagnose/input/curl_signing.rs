//! Requests that curl signs itself, with `--aws-sigv4`.
//!
//! curl signs when it runs, so that the command shows neither the time nor the signature. It shows the scope,
//! the access key and the session token, from which several causes follow.

use super::curl::Command;
use super::request::has_output;
use super::shell::VARIABLE;
use super::{Headers, InputError, MAX_INPUT, curl, header, http_text};
use crate::diagnose::evidence::{Answer, Evidence, Request};
use crate::diagnose::{Cause, Diagnosis, Need, diagnose};

/// What a command shows of a request that curl signs.
#[derive(Clone, Debug)]
pub struct CurlSigning {
    /// The request, with an authorization whose time and signature are not those of curl.
    pub request: Request,
    pub region: String,
    pub service: String,
    /// Whether curl takes the service, or region and service, from the host.
    pub is_from_host: bool,
}

/// What stands for the time and the signature, which the command does not show.
const DATE: &str = "20000101T000000Z";
const SIGNATURE: &str = "computed-by-curl";
/// What stands for an access key in a variable.
const UNKNOWN_KEY: &str = "KEY";

/// Causes that do not depend on the time, the signature, or what else curl signs.
const SHOWN: [Cause; 8] = [
    Cause::NotAuthorized,
    Cause::NoSuchRoute,
    Cause::TokenExpired,
    Cause::TokenExtra,
    Cause::TokenMissing,
    Cause::UnknownKey,
    Cause::WrongRegion,
    Cause::WrongService,
];

/// Reads a curl command with `--aws-sigv4`; `None` if the text is something else, or has the output of
/// `curl -v`, which shows the headers that curl sent.
pub fn read_curl_signing(text: &str) -> Result<Option<CurlSigning>, InputError> {
    if text.len() > MAX_INPUT || has_output(text) {
        return Ok(None);
    }
    let Some(command) = http_text::from_first_line(text, curl::begins) else {
        return Ok(None);
    };
    let mut command = Command::parse(command)?;
    let Some(parameters) = command.sigv4.take() else {
        return Ok(None);
    };
    let user = command.user.take().unwrap_or_default();
    let mut request = command.request_as_shown()?;
    let host = header(&request.headers, "host").unwrap_or_default();
    let scope = Scope::new(&parameters, host);
    let key = user.split(':').next().unwrap_or_default();
    let key = if key.is_empty() || key.contains(VARIABLE) {
        UNKNOWN_KEY
    } else {
        key
    };
    let signed = signed_headers(&request.headers);
    let Scope {
        region, service, ..
    } = &scope;
    let day = DATE.get(..8).unwrap_or_default();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{day}/{region}/{service}/aws4_request, SignedHeaders={signed}, \
         Signature={SIGNATURE}"
    );
    request
        .headers
        .push(("authorization".to_owned(), authorization));
    request
        .headers
        .push(("x-amz-date".to_owned(), DATE.to_owned()));
    Ok(Some(CurlSigning {
        request,
        region: scope.region,
        service: scope.service,
        is_from_host: scope.is_from_host,
    }))
}

/// Returns the names of the headers that curl signs, as far as the command shows them.
fn signed_headers(headers: &Headers) -> String {
    let names = headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("x-amz-")).collect();
    names.extend(["host".to_owned(), "x-amz-date".to_owned()]);
    names.sort_unstable();
    names.dedup();
    names.join(";")
}

/// The scope that curl signs.
struct Scope {
    region: String,
    service: String,
    is_from_host: bool,
}

impl Scope {
    /// Reads `provider1[:provider2[:region[:service]]]`. curl takes a missing service from the first label of
    /// the host, and then a missing region from the second
    /// ([curl](https://curl.se/docs/manpage.html#--aws-sigv4)).
    fn new(parameters: &str, host: &str) -> Self {
        let plain = parameters.replace(VARIABLE, "");
        let mut parts = plain.splitn(4, ':').skip(2).map(str::to_owned);
        let (region, service) = (parts.next().unwrap_or_default(), parts.next());
        let mut labels = host.split('.').map(str::to_owned);
        let (first, second) = (labels.next(), labels.next());
        match service.filter(|service| !service.is_empty()) {
            Some(service) => Self {
                region,
                service,
                is_from_host: false,
            },
            None => Self {
                region: if region.is_empty() {
                    second.unwrap_or_default()
                } else {
                    region
                },
                service: first.unwrap_or_default(),
                is_from_host: true,
            },
        }
    }
}

impl CurlSigning {
    /// Returns the diagnosis of a request that curl signed: what follows from the command, or else from the
    /// other evidence alone.
    pub fn diagnose(&self, evidence: &Evidence) -> Diagnosis {
        let with_request = Evidence {
            request: Some(self.request.clone()),
            answer: Answer {
                // The time of the request is not known, so that it contradicts no clock.
                headers: without_date(&evidence.answer.headers),
                ..evidence.answer.clone()
            },
            answered_at: None,
            ..evidence.clone()
        };
        let found = diagnose(&with_request);
        if found.cause.is_some_and(|cause| SHOWN.contains(&cause)) {
            return found;
        }
        let mut diagnosis = diagnose(evidence);
        if diagnosis.cause.is_none() {
            let summary = diagnosis.summary.trim_end_matches('.');
            diagnosis.summary = format!("{summary}. {}", self.description());
            if !diagnosis.needs.contains(&Need::Request) {
                diagnosis.needs.insert(0, Need::Request);
            }
            diagnosis.fix = Some(self.fix());
        }
        diagnosis
    }

    fn description(&self) -> String {
        let (service, region) = (&self.service, &self.region);
        let origin = if self.is_from_host {
            ", which it takes from the host"
        } else {
            ""
        };
        format!(
            "curl signs this request itself, for the service {service:?} in the region {region:?}{origin}. The \
             command does not contain the signature."
        )
    }

    fn fix(&self) -> String {
        let mut fix = "Run the command with -v, which shows the headers that curl sent, and give its output as the \
                       answer:\n\n  shell:\n    curl -v … 2>&1 | countersign explain"
            .to_owned();
        if self.is_from_host {
            fix.push_str(
                "\n\n  With region and service named:\n    --aws-sigv4 \"aws:amz:us-east-1:appsync\"       # AppSync\n    \
                 --aws-sigv4 \"aws:amz:us-east-1:execute-api\"   # API Gateway",
            );
        }
        fix
    }
}

fn without_date(headers: &Headers) -> Headers {
    let headers = headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
    headers.cloned().collect()
}
