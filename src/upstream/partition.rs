//! The DNS suffixes of AWS's partitions, such as China or the European sovereign cloud.

/// One partition, as in botocore's `partitions.json`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Of most endpoints.
    pub(super) dns_suffix: &'static str,
    /// Of endpoints that have IPv6 addresses, too.
    dual_stack_suffix: &'static str,
    /// Of the resources that some services name themselves, such as function URLs.
    resource_suffix: &'static str,
}

/// The kind of suffix that a host name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    Plain,
    DualStack,
    Resource,
}

const PARTITIONS: [Partition; 7] = [
    // Also of the partition aws-us-gov.
    Partition {
        dns_suffix: "amazonaws.com",
        dual_stack_suffix: "api.aws",
        resource_suffix: "on.aws",
    },
    Partition {
        dns_suffix: "amazonaws.com.cn",
        dual_stack_suffix: "api.amazonwebservices.com.cn",
        resource_suffix: "on.amazonwebservices.com.cn",
    },
    Partition {
        dns_suffix: "amazonaws.eu",
        dual_stack_suffix: "api.amazonwebservices.eu",
        resource_suffix: "on.amazonwebservices.eu",
    },
    Partition {
        dns_suffix: "c2s.ic.gov",
        dual_stack_suffix: "api.aws.ic.gov",
        resource_suffix: "on.aws.ic.gov",
    },
    Partition {
        dns_suffix: "sc2s.sgov.gov",
        dual_stack_suffix: "api.aws.scloud",
        resource_suffix: "on.aws.scloud",
    },
    Partition {
        dns_suffix: "cloud.adc-e.uk",
        dual_stack_suffix: "api.cloud-aws.adc-e.uk",
        resource_suffix: "on.cloud-aws.adc-e.uk",
    },
    Partition {
        dns_suffix: "csp.hci.ic.gov",
        dual_stack_suffix: "api.aws.hci.ic.gov",
        resource_suffix: "on.aws.hci.ic.gov",
    },
];

/// Splits a host name of AWS into the labels before the suffix, its partition and the kind of suffix.
pub(super) fn split(host: &str) -> Option<(&str, &'static Partition, Suffix)> {
    PARTITIONS.iter().find_map(|partition| {
        let suffixes = [
            (Suffix::Plain, partition.dns_suffix),
            (Suffix::DualStack, partition.dual_stack_suffix),
            (Suffix::Resource, partition.resource_suffix),
        ];
        suffixes.into_iter().find_map(|(kind, suffix)| {
            let labels = host.strip_suffix(suffix)?.strip_suffix('.')?;
            Some((labels, partition, kind))
        })
    })
}
