//! The endpoints of STS and SSO, from the environment and the selected profile (AWS SDKs guide,
//! "Service-specific endpoints").

use http::Uri;

use super::environment::{raw, variable};
use super::error::CredentialsError;
use super::profiles::Profiles;
use super::sts::StsEndpoint;

const ALL: &str = "AWS_ENDPOINT_URL";
const STS: &str = "AWS_ENDPOINT_URL_STS";
/// The SDK reads them itself.
const SSO: [&str; 3] = ["AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC", ALL];
const IGNORE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// Returns the endpoint of STS.
///
/// # Errors
/// When a variable or a setting of the profile cannot be used.
pub(super) fn sts(profiles: Option<&Profiles>) -> Result<StsEndpoint, CredentialsError> {
    let setting = |key: &str| profiles.and_then(|profiles| profiles.setting(key));
    let switch = |name: &str, key: &str| match (variable(name)?, setting(key)) {
        (Some(value), _) => truth(name, &value),
        (None, Some(value)) => truth(key, value),
        (None, None) => Ok(false),
    };
    let ignores = switch(IGNORE, "ignore_configured_endpoint_urls")?;
    let url = if ignores {
        None
    } else if let Some(url) = variable(STS)? {
        Some((STS, url))
    } else if let Some(url) = variable(ALL)? {
        Some((ALL, url))
    } else {
        let service = profiles.and_then(|profiles| profiles.service_url("sts"));
        let url = service.or_else(|| setting("endpoint_url"));
        url.map(|url| ("endpoint_url", url.to_owned()))
    };
    if let Some((name, url)) = &url {
        check(name, url)?;
    }
    Ok(StsEndpoint {
        url: url.map(|(_, url)| url.trim().to_owned()),
        is_fips: switch("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")?,
        is_dual_stack: switch("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")?,
    })
}

/// Checks the variables from which the SDK takes the endpoints of SSO.
///
/// # Errors
/// When one cannot be used.
pub(super) fn check_sso() -> Result<(), CredentialsError> {
    for name in SSO {
        match raw(name)? {
            None => {}
            // The SDK would panic.
            Some(url) if url.is_empty() => {
                return Err(CredentialsError {
                    tried: format!("{name} is set and empty"),
                    remedy: format!("Unset it: unset {name}"),
                });
            }
            Some(url) => check(name, &url)?,
        }
    }
    Ok(())
}

/// Checks that a URL is one, because the SDK quotes the whole request when it is not.
fn check(name: &str, url: &str) -> Result<(), CredentialsError> {
    let uri: Option<Uri> = url.trim().parse().ok();
    let is_valid = uri.is_some_and(|uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|_| is_http);
        authority.is_some_and(|authority| {
            let host_and_port = authority.as_str().rsplit('@').next();
            let port = host_and_port.and_then(|text| text.strip_prefix(authority.host()));
            let has_port = port == Some("") || authority.port_u16().is_some();
            !authority.host().is_empty() && has_port
        })
    });
    if is_valid {
        return Ok(());
    }
    Err(CredentialsError {
        tried: format!("{name} is not the URL of an endpoint"),
        remedy: format!(
            "Set {name} to one such as https://sts.eu-west-1.amazonaws.com, or unset it."
        ),
    })
}

fn truth(name: &str, value: &str) -> Result<bool, CredentialsError> {
    if value.eq_ignore_ascii_case("true") {
        return Ok(true);
    }
    if value.eq_ignore_ascii_case("false") {
        return Ok(false);
    }
    Err(CredentialsError {
        tried: format!("{name} is {value:?}"),
        remedy: format!("Set {name} to true or false, or unset it."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_endpoints_are_accepted() {
        for url in [
            "http://127.0.0.1:9",
            "https://sts.example.com/",
            " https://[::1]:1 ",
        ] {
            assert!(check("X", url).is_ok(), "{url}");
        }
        for url in [
            "not a url",
            "sts.example.com",
            "127.0.0.1:80",
            "http://",
            "http://[::1",
            "https://sts.example.com:99999",
            "ftp://127.0.0.1/",
        ] {
            assert!(check("X", url).is_err(), "{url}");
        }
    }

    #[test]
    fn switches_are_true_or_false() {
        assert!(truth("X", "TRUE").unwrap());
        assert!(!truth("X", "false").unwrap());
        assert_eq!(truth("X", "1").unwrap_err().tried, "X is \"1\"");
    }
}
