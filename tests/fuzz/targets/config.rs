//! Configuration and the addresses in it.

use std::path::PathBuf;
use std::sync::LazyLock;

use countersign::config::{Flag, Sources, load};
use countersign::guard::{HostName, Origin};
use countersign::upstream::{Address, DefaultRegion, Endpoint, Overrides, UpstreamKind};

use super::{head, text};

/// Variables without their prefix `COUNTERSIGN_`, `KEY=VALUE`, and flags, `--dotted.key VALUE`, one a line.
pub fn config_values(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let mut sources = Sources::default();
    for line in text.lines().take(8) {
        if let Some(flag) = line.strip_prefix("--") {
            let (key, value) = flag.split_once(' ').unwrap_or((flag, ""));
            sources.flags.push(Flag {
                key: key.to_owned(),
                name: "--flag",
                values: value.split(' ').map(str::to_owned).collect(),
                is_list: value.contains(' '),
            });
        } else if let Some((key, value)) = line.split_once('=') {
            let variable = format!("COUNTERSIGN_{key}");
            sources.environment.push((variable, value.to_owned()));
        }
    }
    check(&sources);
}

/// A configuration file.
pub fn config_file(data: &[u8]) {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let name = format!("countersign-fuzz-{}.toml", std::process::id());
        std::env::temp_dir().join(name)
    });
    std::fs::write(&*FILE, data).unwrap();
    check(&Sources {
        file: Some(FILE.clone()),
        ..Sources::default()
    });
    std::fs::remove_file(&*FILE).unwrap();
}

/// Checks that a configuration has values, or that each problem has a message.
fn check(sources: &Sources) {
    match load(sources) {
        Ok((raw, _)) => assert!(!raw.values().is_empty()),
        Err(problems) => {
            assert!(!problems.0.is_empty());
            assert!(problems.0.iter().all(|problem| !problem.message.is_empty()));
            assert!(!problems.to_string().is_empty());
        }
    }
}

/// An upstream's URL. The following lines are region, service, host and address.
pub fn endpoint(data: &[u8]) {
    let Some((url, rest)) = text(data).map(head) else {
        return;
    };
    let mut lines = rest.lines().map(|line| (!line.is_empty()).then_some(line));
    let mut line = || lines.next().flatten().map(str::to_owned);
    let overrides = Overrides {
        region: line(),
        service: line(),
        host: line(),
        connect: line().and_then(|text| Address::parse(&text)),
        default_region: line().map(|region| DefaultRegion {
            variable: "AWS_REGION",
            region,
        }),
    };
    match Endpoint::infer(url, &overrides) {
        Ok(endpoint) => {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(endpoint.scope.region.chars().all(is_plain));
            assert!(endpoint.scope.service.chars().all(is_plain));
            assert!(!endpoint.path.ends_with('/'));
            assert!(endpoint.address.port > 0 && !endpoint.address.host.is_empty());
            let is_odd = |c: char| c.is_whitespace() || c.is_uppercase() || "/@?#".contains(c);
            assert!(
                !endpoint.wire_host.contains(is_odd),
                "{}",
                endpoint.wire_host
            );
            assert_eq!(
                endpoint.realtime.is_some(),
                endpoint.kind != UpstreamKind::Http
            );
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
    if let Some(address) = Address::parse(url) {
        assert_eq!(Address::parse(&address.to_string()), Some(address));
    }
    if let Some(host) = HostName::parse(url) {
        assert_eq!(HostName::parse(host.as_str()), Some(host));
    }
    if let Some(origin) = Origin::parse(url) {
        assert_eq!(Origin::parse(&origin.to_string()), Some(origin));
    }
}
