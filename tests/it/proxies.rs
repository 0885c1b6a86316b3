//! The proxy of the environment, and `NO_PROXY`, as curl and botocore read them.

use std::process::Stdio;

use countersign::upstream::{Address, ProxyRules};
use serde_json::json;
use tokio::process::Command;

use crate::fakes::Proxy;
use crate::support::{PATIENCE, filter, python, within};

/// What an entry does to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Proxy,
    Direct,
    /// Versions of curl differ.
    Either,
}

use Way::{Direct, Either, Proxy as Through};

/// Variables, the host with its port, and the way that countersign, curl and botocore choose.
/// `$PROXY` is a proxy.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static str,
    Way,
    Way,
    Way,
);

const UPPER: (&str, &str) = ("HTTPS_PROXY", "$PROXY");
const LOWER: (&str, &str) = ("https_proxy", "$PROXY");
const API: &str = "api.example.com:443";

/// Where curl and botocore differ, countersign goes directly if one of them does.
const ROWS: [Row; 44] = [
    (&[UPPER], API, Through, Through, Through),
    (&[LOWER], API, Through, Through, Through),
    (&[], API, Direct, Direct, Direct),
    (&[("HTTPS_PROXY", "")], API, Direct, Direct, Direct),
    // An empty variable does not hide the other spelling. In botocore it does.
    (&[("https_proxy", ""), UPPER], API, Through, Through, Direct),
    (
        &[LOWER, ("HTTPS_PROXY", "")],
        API,
        Through,
        Through,
        Through,
    ),
    (&[("all_proxy", "$PROXY")], API, Through, Through, Direct),
    (&[("ALL_PROXY", "$PROXY")], API, Through, Through, Direct),
    (&[UPPER, ("NO_PROXY", "")], API, Through, Through, Through),
    (&[UPPER, ("NO_PROXY", "*")], API, Direct, Direct, Direct),
    (&[UPPER, ("no_proxy", "*")], API, Direct, Direct, Direct),
    (
        &[UPPER, ("NO_PROXY", "x,*")],
        API,
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("no_proxy", "x"), ("NO_PROXY", "*")],
        API,
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("no_proxy", "*"), ("NO_PROXY", "x")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("no_proxy", ""), ("NO_PROXY", "*")],
        API,
        Direct,
        Direct,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "api.example.com")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "API.Example.COM")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "example.com")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", ".example.com")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", ".example.com")],
        "example.com:443",
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "*.example.com")],
        API,
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "ple.com")],
        API,
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "api.example.com.evil.com")],
        API,
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "example.com.")],
        API,
        Direct,
        Direct,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "a.com,example.com")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", " a.com , example.com ")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "a.com example.com")],
        API,
        Direct,
        Direct,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", ",,example.com,")],
        API,
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "api.example.com:8182")],
        "api.example.com:8182",
        Direct,
        Through,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "example.com:8182")],
        "api.example.com:8182",
        Direct,
        Through,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", ".example.com:8182")],
        "api.example.com:8182",
        Direct,
        Through,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "api.example.com:8182")],
        "api.example.com:8183",
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "api.example.com")],
        "api.example.com:8182",
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "10.0.0.7")],
        "10.0.0.7:443",
        Direct,
        Direct,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "10.0.0.7:8182")],
        "10.0.0.7:8182",
        Direct,
        Through,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "10.0.0.0/8")],
        "10.1.2.3:443",
        Direct,
        Direct,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "10.0.0.0/8")],
        "11.1.2.3:443",
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "10.0")],
        "10.0.0.7:443",
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "[::1]")],
        "[::1]:443",
        Direct,
        Either,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "::1")],
        "[::1]:443",
        Direct,
        Direct,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "[::1]:8182")],
        "[::1]:8182",
        Direct,
        Through,
        Direct,
    ),
    (
        &[UPPER, ("NO_PROXY", "[::1]:8182")],
        "[::1]:8183",
        Through,
        Through,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "fd00::/8")],
        "[fd12::1]:443",
        Direct,
        Either,
        Through,
    ),
    (
        &[UPPER, ("NO_PROXY", "localhost")],
        "localhost:443",
        Direct,
        Direct,
        Direct,
    ),
];

async fn curl(variables: &[(&str, &str)], host: &str) -> Way {
    let mut curl = Command::new("curl");
    curl.args(["-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_connect}"])
        // Nothing listens there, so that no name is looked up.
        .args(["--connect-to", "::127.0.0.1:9"])
        .arg(format!("https://{host}/"))
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    let output = within("curl", curl.output()).await.unwrap();
    match String::from_utf8(output.stdout).unwrap().as_str() {
        "403" => Through,
        "000" => Direct,
        other => panic!("{host}: {other}"),
    }
}

async fn botocore(rows: &[(Vec<(&str, &str)>, &str)]) -> Vec<Way> {
    let mut input = String::new();
    for (variables, host) in rows {
        let environment: serde_json::Map<String, serde_json::Value> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        // botocore leaves the default port out.
        let url = format!("https://{}/", host.trim_end_matches(":443"));
        input.push_str(&json!({ "environment": environment, "url": url }).to_string());
        input.push('\n');
    }
    let lines = filter(python("proxies.py").env_clear(), &input, PATIENCE).await;
    let way = |line: &str| if line == "null" { Direct } else { Through };
    lines.lines().map(way).collect()
}

fn ours(variables: &[(&str, &str)], host: &str) -> Way {
    let rules = ProxyRules::from_variables(|name| {
        let mut variables = variables.iter();
        let found = variables.find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    let address = Address::parse(host).unwrap();
    match rules.proxy_for(&address).unwrap() {
        Some(_) => Through,
        None => Direct,
    }
}

#[tokio::test]
async fn no_proxy_is_read_as_curl_and_botocore_read_it() {
    let proxy = Proxy::answering(([127, 0, 0, 1], 9).into(), "403 Forbidden").await;
    let url = proxy.url();
    let filled: Vec<(Vec<(&str, &str)>, &str)> = ROWS
        .iter()
        .map(|(variables, host, ..)| {
            let fill = |(name, value): &(&'static str, &'static str)| {
                (
                    *name,
                    if *value == "$PROXY" {
                        url.as_str()
                    } else {
                        *value
                    },
                )
            };
            (variables.iter().map(fill).collect(), *host)
        })
        .collect();
    let theirs = botocore(&filled).await;
    assert_eq!(theirs.len(), ROWS.len());
    let mut wrong = Vec::new();
    println!("| input | host | countersign | botocore | curl |\n|---|---|---|---|---|");
    for ((row, (variables, host)), botocore) in ROWS.iter().zip(&filled).zip(theirs) {
        let (shown, _, expected, by_curl, by_botocore) = *row;
        let found = (ours(variables, host), curl(variables, host).await, botocore);
        println!(
            "| {shown:?} | {host} | {:?} | {:?} | {:?} |",
            found.0, found.2, found.1
        );
        let by_curl = if by_curl == Either { found.1 } else { by_curl };
        if found != (expected, by_curl, by_botocore) {
            wrong.push(format!(
                "{shown:?} {host}: {found:?} instead of {:?}",
                (expected, by_curl, by_botocore)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
