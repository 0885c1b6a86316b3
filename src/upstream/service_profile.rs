//! Profiles of AWS services: their host names, and how they require requests to be signed.

use super::partition::{self, Partition, Suffix};
use crate::sign::{Algorithm, PayloadSigning, SignaturePlacement, SigningStyle, TokenMode};

/// One AWS service.
#[derive(Debug)]
pub(super) struct ServiceProfile {
    /// The name of the service in the credential scope.
    pub(super) service: &'static str,
    /// Patterns of host names. `*` matches one or more labels, `{region}` matches a region, and any
    /// other label also matches with `-fips` after it. The last label stands for the suffixes of all partitions: `{aws}` for the
    /// plain and the dual-stack one, `{plain}` for the plain one, `{resource}` for that of resources.
    hosts: &'static [&'static str],
    pub(super) style: SigningStyle,
}

/// The parts of an AWS host name.
#[derive(Clone, Copy, Debug)]
pub(super) struct AwsHost<'a> {
    pub(super) profile: &'static ServiceProfile,
    pub(super) region: &'a str,
    pub(super) partition: &'static Partition,
    /// Whether the host is a VPC endpoint, which can serve several APIs.
    pub(super) is_vpc_endpoint: bool,
}

const HEADERS: SigningStyle = SigningStyle {
    algorithm: Algorithm::V4,
    placement: SignaturePlacement::Headers,
    token: TokenMode::Signed,
    payload: PayloadSigning::Hashed,
};

const PRESIGNED: SigningStyle = SigningStyle {
    placement: SignaturePlacement::PRESIGNED,
    ..HEADERS
};

const SERVICE_PROFILES: [ServiceProfile; 14] = [
    ServiceProfile {
        service: "appsync",
        hosts: &[
            "*.appsync-api.{region}.{aws}",
            "*.appsync-api.{region}.vpce.{plain}",
        ],
        style: HEADERS,
    },
    ServiceProfile {
        service: "execute-api",
        hosts: &[
            "*.execute-api.{region}.{aws}",
            "*.execute-api.{region}.vpce.{plain}",
        ],
        style: HEADERS,
    },
    ServiceProfile {
        service: "aoss",
        hosts: &["*.{region}.aoss.{aws}", "*.aoss.{region}.{resource}"],
        // OpenSearch developer guide, "Signing HTTP requests": the hash is required, even for an empty
        // body.
        style: SigningStyle {
            payload: PayloadSigning::HashedInHeader,
            ..HEADERS
        },
    },
    ServiceProfile {
        service: "aps",
        hosts: &["aps-workspaces.{region}.{aws}"],
        style: HEADERS,
    },
    ServiceProfile {
        service: "bedrock",
        hosts: &[
            "bedrock-runtime.{region}.{aws}",
            "*.bedrock-runtime.{region}.vpce.{plain}",
        ],
        style: HEADERS,
    },
    ServiceProfile {
        service: "bedrock-agentcore",
        hosts: &["bedrock-agentcore.{region}.{aws}"],
        style: HEADERS,
    },
    ServiceProfile {
        service: "es",
        hosts: &["*.{region}.es.{aws}", "*.aos.{region}.{resource}"],
        style: HEADERS,
    },
    ServiceProfile {
        service: "iotdevicegateway",
        hosts: &["*.iot.{region}.{aws}"],
        style: SigningStyle {
            // IoT developer guide, "MQTT over WSS": the token is not part of the signature.
            token: TokenMode::Appended,
            ..PRESIGNED
        },
    },
    ServiceProfile {
        service: "iotwireless",
        hosts: &["api.iotwireless.{region}.{aws}"],
        style: PRESIGNED,
    },
    ServiceProfile {
        service: "kinesisvideo",
        hosts: &["*.kinesisvideo.{region}.{aws}"],
        style: PRESIGNED,
    },
    ServiceProfile {
        service: "lambda",
        hosts: &["*.lambda-url.{region}.{resource}"],
        style: HEADERS,
    },
    ServiceProfile {
        service: "neptune-db",
        hosts: &["*.{region}.neptune.{aws}"],
        style: HEADERS,
    },
    ServiceProfile {
        service: "transcribe",
        hosts: &["transcribestreaming.{region}.{aws}"],
        style: PRESIGNED,
    },
    ServiceProfile {
        service: "vpc-lattice-svcs",
        hosts: &["*.vpc-lattice-svcs.{region}.{resource}"],
        // VPC Lattice user guide, "SIGv4 authenticated requests".
        style: SigningStyle {
            payload: PayloadSigning::Unsigned,
            ..HEADERS
        },
    },
];

/// Returns how to sign for a service. For a service without a profile, that is the most common style.
pub(super) fn style(service: &str) -> SigningStyle {
    let profile = SERVICE_PROFILES
        .iter()
        .find(|profile| profile.service == service);
    profile.map_or(HEADERS, |profile| profile.style)
}

/// Returns whether a service or host is S3, which has its own signing rules.
pub(super) fn is_s3(service: Option<&str>, host: &str) -> bool {
    let is_s3 = |label: &str| label == "s3" || label.starts_with("s3-") || label == "s3express";
    let labels = partition::split(host).map(|(labels, _, _)| labels);
    service.is_some_and(is_s3) || labels.is_some_and(|labels| labels.split('.').any(is_s3))
}

impl<'a> AwsHost<'a> {
    /// Parses the host name of a service that has a profile; `None` for all others.
    pub(super) fn parse(host: &'a str) -> Option<Self> {
        let (labels, partition, suffix) = partition::split(host)?;
        let mut patterns = SERVICE_PROFILES
            .iter()
            .flat_map(|profile| profile.hosts.iter().map(move |pattern| (profile, *pattern)));
        patterns.find_map(|(profile, pattern)| {
            let (pattern, suffixes) = pattern.rsplit_once('.')?;
            let has_suffix = match suffixes {
                "{resource}" => suffix == Suffix::Resource,
                "{plain}" => suffix == Suffix::Plain,
                _ => suffix != Suffix::Resource,
            };
            Some(Self {
                profile,
                region: region_of(labels, pattern).filter(|_| has_suffix)?,
                partition,
                is_vpc_endpoint: pattern.ends_with(".vpce"),
            })
        })
    }
}

/// Returns the region in `labels`; `None` if they do not match `pattern`.
fn region_of<'a>(labels: &'a str, pattern: &str) -> Option<&'a str> {
    let mut labels = labels.rsplit('.');
    let mut region = None;
    for expected in pattern.rsplit('.') {
        let label = labels.next().filter(|label| !label.is_empty())?;
        match expected {
            "*" => return region.filter(|_| labels.all(|label| !label.is_empty())),
            "{region}" => region = Some(label).filter(|label| is_region(label)),
            expected if label.strip_suffix("-fips").unwrap_or(label) == expected => {}
            _ => return None,
        }
    }
    region.filter(|_| labels.next().is_none())
}

/// Returns whether `text` has the form of a region, such as `eu-central-1` or `us-gov-west-1`. The check is
/// strict, because regions become part of host names and credential scopes.
pub(super) fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some(partition), Some(number)) = (parts.next(), parts.next_back()) else {
        return false;
    };
    let words: Vec<&str> = parts.collect();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    (2..=4).contains(&partition.len())
        && is_word(partition)
        && (1..=3).contains(&words.len())
        && words.iter().all(|word| is_word(word))
        && number.len() == 1
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, expected: Option<(&str, &str, bool)>) {
        let found = AwsHost::parse(host);
        let found = found.map(|found| (found.profile.service, found.region, found.is_vpc_endpoint));
        assert_eq!(found, expected, "{host}");
    }

    #[test]
    fn service_and_region_are_parsed_from_hosts() {
        for (host, service, region) in [
            (
                "a1.execute-api.us-east-1.amazonaws.com",
                "execute-api",
                "us-east-1",
            ),
            (
                "a1-vpce-0b.execute-api.us-east-1.amazonaws.com",
                "execute-api",
                "us-east-1",
            ),
            (
                "a1.execute-api.cn-north-1.amazonaws.com.cn",
                "execute-api",
                "cn-north-1",
            ),
            (
                "a1.appsync-api.us-gov-west-1.amazonaws.com",
                "appsync",
                "us-gov-west-1",
            ),
            ("search-d-x.eu-west-1.es.amazonaws.com", "es", "eu-west-1"),
            ("x1.eu-west-1.aoss.amazonaws.com", "aoss", "eu-west-1"),
            ("aps-workspaces.eu-west-1.amazonaws.com", "aps", "eu-west-1"),
            ("u1.lambda-url.eu-west-1.on.aws", "lambda", "eu-west-1"),
            (
                "s-0.7d67968.vpc-lattice-svcs.us-west-2.on.aws",
                "vpc-lattice-svcs",
                "us-west-2",
            ),
            (
                "c.cluster-x.us-east-1.neptune.amazonaws.com",
                "neptune-db",
                "us-east-1",
            ),
            (
                "bedrock-runtime.us-east-1.amazonaws.com",
                "bedrock",
                "us-east-1",
            ),
            (
                "bedrock-agentcore.us-east-1.amazonaws.com",
                "bedrock-agentcore",
                "us-east-1",
            ),
            (
                "api.iotwireless.us-east-1.amazonaws.com",
                "iotwireless",
                "us-east-1",
            ),
            (
                "transcribestreaming.us-east-1.amazonaws.com",
                "transcribe",
                "us-east-1",
            ),
            (
                "v-1.kinesisvideo.us-east-1.amazonaws.com",
                "kinesisvideo",
                "us-east-1",
            ),
            (
                "a1-ats.iot.us-east-1.amazonaws.com",
                "iotdevicegateway",
                "us-east-1",
            ),
        ] {
            check(host, Some((service, region, false)));
        }
        for (host, service, region) in [
            (
                "a1.execute-api.us-east-1.api.aws",
                "execute-api",
                "us-east-1",
            ),
            (
                "a1.execute-api-fips.us-gov-west-1.amazonaws.com",
                "execute-api",
                "us-gov-west-1",
            ),
            (
                "a1.execute-api.cn-north-1.api.amazonwebservices.com.cn",
                "execute-api",
                "cn-north-1",
            ),
            (
                "a1.appsync-api.eusc-de-east-1.amazonaws.eu",
                "appsync",
                "eusc-de-east-1",
            ),
            (
                "a1.execute-api.us-iso-east-1.c2s.ic.gov",
                "execute-api",
                "us-iso-east-1",
            ),
            (
                "a1.execute-api.us-isob-east-1.sc2s.sgov.gov",
                "execute-api",
                "us-isob-east-1",
            ),
            (
                "a1.execute-api.eu-isoe-west-1.cloud.adc-e.uk",
                "execute-api",
                "eu-isoe-west-1",
            ),
            (
                "a1.execute-api-fips.us-isof-south-1.api.aws.hci.ic.gov",
                "execute-api",
                "us-isof-south-1",
            ),
            ("search-d-x.aos.eu-west-1.on.aws", "es", "eu-west-1"),
            (
                "search-d-x.aos.cn-north-1.on.amazonwebservices.com.cn",
                "es",
                "cn-north-1",
            ),
            ("x1.aoss.us-east-1.on.aws", "aoss", "us-east-1"),
            (
                "bedrock-runtime-fips.us-east-1.api.aws",
                "bedrock",
                "us-east-1",
            ),
            (
                "a1-ats.iot-fips.us-east-1.amazonaws.com",
                "iotdevicegateway",
                "us-east-1",
            ),
        ] {
            check(host, Some((service, region, false)));
        }
        check(
            "vpce-0a-1b.execute-api.us-iso-east-1.vpce.c2s.ic.gov",
            Some(("execute-api", "us-iso-east-1", true)),
        );
        check(
            "vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com",
            Some(("execute-api", "us-east-1", true)),
        );
        for host in [
            "execute-api.us-east-1.amazonaws.com",
            ".execute-api.us-east-1.amazonaws.com",
            "a..execute-api.us-east-1.amazonaws.com",
            "a1.execute-api.us-east-1.amazonaws.com.evil.com",
            "a1.execute-api.useast1.amazonaws.com",
            "a1.execute-api.us-east-1.amazonaws.cn",
            "a1.execute-api.us-east-1.on.aws",
            "a1.execute-api.us-east-1.api.aws.cn",
            "a1.execute-api.us-east-1.vpce.api.aws",
            "a1.execute-api-fips-fips.us-east-1.amazonaws.com",
            "u1.lambda-url.eu-west-1.amazonaws.com",
            "x.aps-workspaces.eu-west-1.amazonaws.com",
            "u1.lambda-url.eu-west-1.on.aws.cn",
            "api.example.com",
            "",
        ] {
            check(host, None);
        }
    }

    #[test]
    fn s3_is_recognized() {
        assert!(is_s3(Some("s3"), "minio.example.com"));
        assert!(is_s3(None, "b.s3.eu-west-1.amazonaws.com"));
        assert!(is_s3(None, "s3.amazonaws.com"));
        assert!(is_s3(None, "b.s3-eu-west-1.amazonaws.com"));
        assert!(is_s3(None, "b.s3.dualstack.eu-west-1.amazonaws.com"));
        assert!(is_s3(None, "b.s3.eusc-de-east-1.amazonaws.eu"));
        assert!(!is_s3(None, "s3.example.com"));
        assert!(!is_s3(
            Some("execute-api"),
            "a.execute-api.us-east-1.amazonaws.com"
        ));
    }
}
