//! `countersign presign`: one URL that is valid by itself.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, Method, Uri};

use super::{Failure, print, serve};
use crate::app::{self, Presign, Presigned};
use crate::config::{self, Config, Flag, Problem, Problems, Sources};

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// An https or wss URL, with its query
    url: String,
    /// How long it is valid, at most 7 days; IoT Wireless and Transcribe take 5 minutes at most
    /// [default: 5m]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// The HTTP method that it is for
    #[arg(long, default_value = "GET")]
    method: Method,
    /// A header to sign, which must be sent as it stands here; repeatable
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, String)>,
    /// What becomes of a session token: signed, or appended after signing, as AWS IoT Core wants it
    /// [default: as the service is known to want it]
    #[arg(long, value_name = "MODE")]
    session_token: Option<String>,
    /// hashed, or unsigned: for any body [default: as the service is known to want it]
    #[arg(long, value_name = "MODE")]
    payload: Option<String>,
    /// The region, where the host does not tell it
    #[arg(long)]
    region: Option<String>,
    /// The service, where the host does not tell it
    #[arg(long)]
    service: Option<String>,
    /// A profile of ~/.aws/config, in place of the default provider chain
    #[arg(long)]
    profile: Option<String>,
    /// A role to assume
    #[arg(long, value_name = "ARN")]
    assume_role: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  countersign presign wss://ID.execute-api.us-east-1.amazonaws.com/prod
  countersign presign wss://api.iotwireless.us-east-1.amazonaws.com/start-network-analyzer-stream
  countersign presign --expires 1h --service lambda --region eu-west-1 https://fn.example.com/

The URL is a secret: whoever has it can use it until it expires, or the credentials do.";

/// Headers that cannot be signed beside what is signed anyway.
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
        .ok_or_else(|| options.refused("is no route"))?;
    let presigned = serve::runtime()?.block_on(app::presign(route, &request))?;
    tell(&presigned);
    print(&format!("{}\n", presigned.url))
}

/// What must be known beside the URL, apart from it.
fn tell(presigned: &Presigned) {
    // Nothing is left to tell if standard error is closed, too.
    for (name, value) in &presigned.headers {
        let value = value.to_str().unwrap_or_default();
        let _ = writeln!(
            std::io::stderr(),
            "countersign: send it with the header {name}: {value}"
        );
    }
    if let Some(left) = presigned.credentials_left {
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        let _ = writeln!(
            std::io::stderr(),
            "countersign: the credentials, and the URL with them, end in {left}"
        );
    }
}

impl Options {
    fn resolve(&self) -> Result<(Presign, Config), Failure> {
        let uri: Uri = self
            .url
            .parse()
            .map_err(|_| self.refused("is no URL: characters like spaces must be escaped"))?;
        let (Some(scheme @ ("https" | "wss")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err(self.refused("must begin with https:// or wss://"));
        };
        if authority.as_str().contains('@') {
            return Err(self.refused("must have no user: only the host is signed for"));
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

    fn refused(&self, message: &str) -> Failure {
        Failure::Config(Problems(vec![Problem {
            key: "URL".to_owned(),
            source: None,
            message: message.to_owned(),
        }]))
    }
}

fn header(text: &str) -> Result<(HeaderName, String), String> {
    let (name, value) = text.split_once(':').ok_or("it must be NAME: VALUE")?;
    let name: Result<HeaderName, _> = name.trim().to_ascii_lowercase().parse();
    let name = name.map_err(|_| "its name is no header name")?;
    if OWN.contains(&name.as_str()) {
        return Err("it belongs to the URL, or to the signature".to_owned());
    }
    let value = value.trim();
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    // Signers differ in what they make of the rest.
    if !value.bytes().all(is_plain) || value.contains("  ") {
        return Err("its value has two spaces in a row, or more than ASCII".to_owned());
    }
    Ok((name, value.to_owned()))
}
