//! `countersign presign`: prints a presigned URL.

use std::time::Duration;

use clap::Args;
use http::{HeaderName, Method, Uri};

use super::failure::Failure;
use super::output::{note, print};
use super::runtime::runtime;
use super::settings::regions;
use crate::app::{self, Presign, Presigned};
use crate::config::{self, Config, Flag, Problem, Problems, Sources};

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// https or wss URL, with its query
    url: String,
    /// Validity of the URL, at most 7 days; IoT Wireless and Transcribe accept at most 5 minutes
    /// [default: 5m]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// HTTP method of the request
    #[arg(long, default_value = "GET")]
    method: Method,
    /// Header to sign, which must be sent exactly like this; repeatable
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, String)>,
    /// How the session token is sent: signed, or appended after signing, as AWS IoT Core requires
    /// [default: as the service requires]
    #[arg(long, value_name = "MODE")]
    session_token: Option<String>,
    /// How the body is signed: hashed, or unsigned to allow any body [default: as the service
    /// requires]
    #[arg(long, value_name = "MODE")]
    payload: Option<String>,
    /// Region, if the host does not contain it
    #[arg(long)]
    region: Option<String>,
    /// Name of the service in SigV4, if the host does not contain it
    #[arg(long)]
    service: Option<String>,
    /// Profile of ~/.aws/config to take credentials from
    #[arg(long)]
    profile: Option<String>,
    /// IAM role to assume
    #[arg(long, value_name = "ARN")]
    assume_role: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  countersign presign wss://ID.execute-api.us-east-1.amazonaws.com/prod
  countersign presign wss://api.iotwireless.us-east-1.amazonaws.com/start-network-analyzer-stream
  countersign presign --expires 1h --service lambda --region eu-west-1 https://fn.example.com/

The URL is a secret: anybody who has it can use it until it or the credentials expire.";

/// Headers that signing sets.
const OWN: [&str; 5] = [
    "authorization",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
];

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (request, config) = options.resolve()?;
    let route = config
        .routes
        .first()
        .ok_or_else(|| options.invalid_url("has no host"))?;
    let presigned = runtime()?.block_on(app::presign(route, &request))?;
    print_notes(&presigned);
    print(&format!("{}\n", presigned.url))
}

/// Writes notes on the URL to standard error, so that standard output has only the URL.
fn print_notes(presigned: &Presigned) {
    for (name, value) in &presigned.headers {
        let value = value.to_str().unwrap_or_default();
        note(&format!("send it with the header {name}: {value}"));
    }
    if let Some(left) = presigned.credentials_left {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        note(&format!(
            "the credentials expire in {left}, and the URL with them"
        ));
    }
}

impl Options {
    fn resolve(&self) -> Result<(Presign, Config), Failure> {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        if !["https", "wss"].contains(&scheme.to_ascii_lowercase().as_str()) {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            // A password must not be shown.
            let host = authority.rsplit('@').next().unwrap_or_default();
            let host = if host.is_empty() { "HOST" } else { host };
            let message =
                format!("must begin with https:// or wss://, such as https://{host}/PATH");
            return Err(self.invalid_url(&message));
        }
        let uri: Uri = self.url.parse().map_err(|_| {
            self.invalid_url("is not valid: percent-encode characters such as spaces")
        })?;
        let (Some(scheme @ ("https" | "wss")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err(self.invalid_url("has no host: use https://HOST/PATH"));
        };
        if authority.as_str().contains('@') {
            let message = "must not have a user: remove what is before the @";
            return Err(self.invalid_url(message));
        }
        let one = |key: &str, name, value: Option<String>| Flag {
            key: format!("route.url.{key}"),
            name,
            values: value.into_iter().collect(),
            is_list: false,
        };
        let flags = [
            one("target", "URL", Some(format!("https://{authority}"))),
            one("auth", "presign", Some("presign".to_owned())),
            one("presign_expires", "--expires", self.expires.clone()),
            one(
                "session_token",
                "--session-token",
                self.session_token.clone(),
            ),
            one("payload", "--payload", self.payload.clone()),
            one("region", "--region", self.region.clone()),
            one("service", "--service", self.service.clone()),
            one("profile", "--profile", self.profile.clone()),
            one("assume_role", "--assume-role", self.assume_role.clone()),
        ];
        let sources = Sources {
            environment: regions(),
            flags: flags
                .into_iter()
                .filter(|flag| !flag.values.is_empty())
                .collect(),
            ..Sources::default()
        };
        let (_, config) = config::load(&sources)?;
        let request = Presign {
            scheme: scheme.to_owned(),
            method: self.method.clone(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            headers: self.header.clone(),
        };
        Ok((request, config))
    }

    fn invalid_url(&self, message: &str) -> Failure {
        Failure::Config(Problems(vec![Problem {
            key: String::new(),
            source: None,
            // The query may be secret.
            message: format!("the URL {message}"),
        }]))
    }
}

fn header(text: &str) -> Result<(HeaderName, String), String> {
    let (name, value) = text.split_once(':').ok_or("it must be NAME: VALUE")?;
    let name: Result<HeaderName, _> = name.trim().to_ascii_lowercase().parse();
    let name = name.map_err(|_| "the name is not a header name")?;
    if OWN.contains(&name.as_str()) {
        return Err("the URL or the signature sets this header".to_owned());
    }
    let value = value.trim();
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    // Signers differ in how they normalise other values.
    if !value.bytes().all(is_plain) || value.contains("  ") {
        return Err("the value has two consecutive spaces, or non-ASCII characters".to_owned());
    }
    Ok((name, value.to_owned()))
}
