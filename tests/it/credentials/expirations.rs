//! The expiry of credentials is read in every form that botocore reads, from every source.

use std::collections::BTreeMap;

use serde_json::json;

use super::sources::{botocore, presigned};
use crate::fakes::Endpoint;
use crate::support::Scratch;

/// The forms that botocore accepts, and those that it does not.
const FORMS: [(&str, bool); 18] = [
    ("2099-01-01T00:00:00Z", true),
    ("2099-01-01t00:00:00z", true),
    ("2099-01-01T00:00:00+00:00", true),
    ("2099-01-01T00:00:00+0000", true),
    ("2099-01-01T00:00:00-08", true),
    ("2099-01-01 00:00:00Z", true),
    ("2099-01-01 00:00:00+00:00", true),
    ("2099-01-01 00:00:00 UTC", true),
    ("2099-01-01T00:00:00UTC", true),
    ("20990101T000000Z", true),
    ("2099-01-01T00:00Z", true),
    ("2099-01-01T00Z", true),
    ("2099-01-01T00:00:00.123456Z", true),
    ("Thu, 01 Jan 2099 00:00:00 GMT", true),
    ("2099-01-01T00:00:00", false),
    ("2099-01-01", false),
    ("soonish", false),
    ("4070908800", false),
];

/// An agent of a container and a metadata service.
async fn service(expiration: &'static str) -> Endpoint {
    Endpoint::start(move |request| match request.path() {
        "/latest/api/token" => (200, "imds-token".to_owned()),
        path if path.ends_with("/security-credentials/") => (200, "the-role".to_owned()),
        _ => {
            let credentials = json!({
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": "2020-01-01T00:00:00Z",
                "AccessKeyId": "AKIDSERVICE",
                "SecretAccessKey": "s",
                "Token": "t",
                "Expiration": expiration,
            });
            (200, credentials.to_string())
        }
    })
    .await
}

#[tokio::test]
async fn expiry_is_read_in_every_form_of_botocore() {
    let home = Scratch::new("expirations");
    let path = home.0.display().to_string();
    let mut rows = Vec::new();
    let mut services = Vec::new();
    for (number, (form, is_accepted)) in FORMS.iter().enumerate() {
        let service = service(form).await;
        let json = home.file(
            &format!("{number}.json"),
            &json!({
                "Version": 1,
                "AccessKeyId": "AKIDPROCESS",
                "SecretAccessKey": "s",
                "Expiration": form,
            })
            .to_string(),
        );
        let config = home.file(
            &format!("{number}.config"),
            &format!("[default]\ncredential_process = cat {json}\n"),
        );
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKIDENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ];
        let (instance, container) = (service.url(), format!("{}/credentials", service.url()));
        let sources: [(&str, Vec<(&str, &str)>); 4] = [
            (
                "environment",
                [&keys[..], &[("AWS_CREDENTIAL_EXPIRATION", form)]].concat(),
            ),
            ("process", vec![("AWS_CONFIG_FILE", &config)]),
            (
                "container",
                vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)],
            ),
            (
                "instance",
                vec![
                    ("AWS_EC2_METADATA_DISABLED", "false"),
                    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance),
                ],
            ),
        ]
        .map(|(source, variables)| {
            let own = [("HOME", path.as_str()), ("PATH", "/usr/bin:/bin")];
            (source, [&own[..], &variables].concat())
        });
        for (source, variables) in sources {
            let variables: BTreeMap<&str, &str> = variables.into_iter().collect();
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let variables: Vec<(String, String)> = variables.into_iter().map(owned).collect();
            rows.push((format!("{source}: {form}"), variables, *is_accepted));
        }
        services.push(service);
    }
    let asked: Vec<_> = rows
        .iter()
        .map(|(name, variables, _)| (name.clone(), variables.clone()))
        .collect();
    let theirs = botocore(&asked).await;
    let mut wrong = Vec::new();
    println!("| input | countersign | botocore |\n|---|---|---|");
    for ((name, variables, is_accepted), (other, _)) in rows.iter().zip(&theirs) {
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let ours = presigned(&variables).await;
        let shown =
            |identity: Option<&String>| identity.map_or("refuses", String::as_str).to_owned();
        println!(
            "| {name} | {} | {} |",
            shown(ours.as_ref().ok()),
            shown(other.as_ref())
        );
        if ours.is_ok() != *is_accepted || ours.as_ref().ok() != other.as_ref() {
            wrong.push(format!("{name}: botocore {other:?}, countersign {ours:?}"));
        }
    }
    assert_eq!(theirs.len(), rows.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
