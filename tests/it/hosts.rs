//! Regions and services are inferred from every host name that botocore knows.

use std::collections::BTreeMap;
use std::process::Stdio;

use countersign::upstream::{Endpoint, Overrides};
use serde_json::Value;

use crate::support::{command, python, within};

/// botocore's services, the labels before the hosts of their data, and the names in SigV4.
const SERVICES: [(&str, &str, &str); 6] = [
    ("apigatewaymanagementapi", "a1b2c3.", "execute-api"),
    ("bedrock-agentcore", "", "bedrock-agentcore"),
    ("bedrock-runtime", "", "bedrock"),
    ("iot-data", "", "iotdevicegateway"),
    ("iotwireless", "", "iotwireless"),
    ("kinesisvideo", "v-1.", "kinesisvideo"),
];

fn inferred(host: &str) -> Result<(String, String), String> {
    let url = format!("https://{host}/graphql");
    match Endpoint::infer(&url, &Overrides::default()) {
        Ok(endpoint) => Ok((endpoint.scope.region, endpoint.scope.service)),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[tokio::test]
async fn hosts_of_botocore_are_inferred() {
    let mut python = python("endpoints.py");
    python.stdin(Stdio::null());
    let output = within("botocore", python.output()).await.unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{lines}");
    let (mut wrong, mut checked) = (Vec::new(), BTreeMap::<String, usize>::new());
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let (service, region, host) = (text("service"), text("region"), text("host"));
        *checked.entry(service.clone()).or_default() += 1;
        let mut cases = Vec::new();
        match SERVICES.iter().find(|(name, _, _)| *name == service) {
            Some((_, labels, name)) => cases.push((format!("{labels}{host}"), *name)),
            None => {
                for suffix in [host.clone(), format!("{host}.")] {
                    cases.push((format!("a1b2c3.execute-api.{suffix}"), "execute-api"));
                    cases.push((format!("a1b2c3.appsync-api.{suffix}"), "appsync"));
                    cases.push((format!("a1b2c3.appsync-api-fips.{suffix}"), "appsync"));
                }
            }
        }
        for (host, name) in cases {
            let found = inferred(&host);
            if found != Ok((region.clone(), name.to_owned())) {
                wrong.push(format!("{host}: {found:?}"));
            }
        }
    }
    println!("hosts of botocore: {checked:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(checked.len(), 1 + SERVICES.len());
    assert!(checked.values().all(|count| *count > 60), "{checked:?}");
}

/// Returns the region that a presigned URL of a custom domain is for, or the error.
async fn region(variables: &[(&str, &str)], flags: &[&str], url: &str) -> Result<String, String> {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    let all = [&keys[..], variables].concat();
    let arguments = [&["presign"], flags, &[url]].concat();
    let output = within("presign", command(&arguments, &all).output()).await;
    let output = output.unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    let Some((_, credential)) = url.split_once("X-Amz-Credential=") else {
        return Err(String::from_utf8(output.stderr).unwrap());
    };
    Ok(credential.split("%2F").nth(2).unwrap().to_owned())
}

#[tokio::test]
async fn region_of_the_environment_serves_for_custom_domains() {
    let custom = "https://api.example.com/";
    let execute = ["--service", "execute-api"];
    let new = ("AWS_REGION", "eu-west-2");
    let old = ("AWS_DEFAULT_REGION", "eu-west-3");
    for (variables, expected) in [
        (&[new][..], "eu-west-2"),
        (&[old], "eu-west-3"),
        (&[old, new], "eu-west-2"),
        (&[("AWS_REGION", ""), old], "eu-west-3"),
    ] {
        let found = region(variables, &execute, custom).await;
        assert_eq!(found.as_deref(), Ok(expected), "{variables:?}");
    }
    let flags = [&execute[..], &["--region", "eu-north-1"]].concat();
    assert_eq!(region(&[new], &flags, custom).await.unwrap(), "eu-north-1");
    let graphql = "https://api.example.com/graphql";
    let output = command(&["config", graphql], &[new]).output();
    let output = within("config", output).await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("(region eu-west-2 from AWS_REGION, service appsync"),
        "{shown}"
    );
    let named = "https://a1.execute-api.us-east-1.amazonaws.com/";
    assert_eq!(region(&[new], &[], named).await.unwrap(), "us-east-1");
    for (variables, expected) in [
        (
            &[][..],
            "such as --region eu-central-1 (in a file: `region`), or set AWS_REGION",
        ),
        (&[("AWS_REGION", "Ireland")], "\"Ireland\" in AWS_REGION"),
    ] {
        let error = region(variables, &execute, custom).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
