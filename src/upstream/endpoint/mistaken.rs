//! Recognizes what users pass instead of an upstream's URL: an API's ID, an ARN, a page of the AWS
//! console.

use super::super::service_profile::is_region;
use super::error::EndpointError;

/// The lengths of AppSync's and of API Gateway's IDs.
const APPSYNC_ID: usize = 26;
const GATEWAY_ID: usize = 10;

/// The hosts of the AWS console, and what their names end in.
const CONSOLES: [&str; 4] = [
    "console.aws.amazon.com",
    "console.amazonaws.cn",
    "console.amazonaws-us-gov.com",
    "console.amazonaws.eu",
];

/// Labels of the hosts of APIs.
const API_LABELS: [&str; 3] = ["appsync-api", "appsync-realtime-api", "execute-api"];
/// Placeholders of an ID in this project's example files.
const IDS: [&str; 2] = ["id", "host"];
/// Placeholders in examples of others, without their punctuation.
const WORDS: [&str; 7] = [
    "region",
    "awsregion",
    "api",
    "apiid",
    "appsyncid",
    "graphqlapiid",
    "restapiid",
];

/// Returns whether `text` looks like the ID of an API rather than a word: it has digits, or the length
/// of AppSync's IDs.
pub fn is_api_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let has_both = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_lowercase());
    text.bytes().all(is_plain) && (has_both || text.len() == APPSYNC_ID)
}

/// Returns why `text` is not a URL, if it has one of the known other forms.
pub(super) fn mistaken(text: &str) -> Option<EndpointError> {
    let (host, rest) = host_and_rest(text);
    if CONSOLES.iter().any(|console| is_below(&host, console)) {
        return Some(EndpointError::Console(of_console(&host, rest)));
    }
    if is_plain(text) && is_placeholder(&host) {
        return Some(placeholder(text, &host));
    }
    let advice = if text.starts_with("arn:") {
        of_arn(text)
    } else if is_api_id(text) && text.len() == GATEWAY_ID {
        format!(
            "The URL of an API of API Gateway is {}",
            gateway_form(text, None, None)
        )
    } else if is_api_id(text) {
        appsync_command(text, None)
    } else {
        return None;
    };
    let text = text.to_owned();
    Some(EndpointError::Mistaken { text, advice })
}

/// Returns why `text` is not the URL of an API, if it is that of an example whose only placeholder is the ID.
/// Example files contain such URLs and must be valid, so only a command that connects to the URL calls this.
pub fn of_example(text: &str) -> Option<EndpointError> {
    let (host, _) = host_and_rest(text);
    let is_example = is_of_api(&host) && host.split('.').next().is_some_and(|id| IDS.contains(&id));
    (is_plain(text) && is_example).then(|| placeholder(text, &host))
}

/// Returns whether a URL has neither a user nor a query, which may be secret.
fn is_plain(text: &str) -> bool {
    !text.contains(['@', '?'])
}

/// Returns whether the host has a placeholder that no valid host and no example file contains.
fn is_placeholder(host: &str) -> bool {
    let is_variable = |label: &str| {
        let word: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
        label.contains(['<', '>', '{', '}', '$', '['])
            || WORDS.contains(&word.as_str())
            || ["your", "my"].iter().any(|whose| {
                word.strip_prefix(whose)
                    .is_some_and(|of| WORDS.contains(&of) || IDS.contains(&of))
            })
            || (word.len() > 2 && word.bytes().all(|byte| byte == b'x'))
    };
    is_of_api(host) && host.split('.').any(is_variable)
}

/// Returns whether a host has the labels of AppSync or API Gateway.
fn is_of_api(host: &str) -> bool {
    let has = |label: &str| host.split('.').any(|found| found == label);
    has("amazonaws") && API_LABELS.into_iter().any(has)
}

fn placeholder(text: &str, host: &str) -> EndpointError {
    let region = host.split('.').find(|label| is_region(label));
    let advice = if host.contains(".execute-api.") {
        let region = option(region);
        format!(
            "To find your API's ID: aws apigateway get-rest-apis{region}, or for HTTP and WebSocket APIs aws apigatewayv2 get-apis{region}"
        )
    } else {
        appsync_list(region)
    };
    let text = text.to_owned();
    EndpointError::Placeholder { text, advice }
}

fn of_arn(arn: &str) -> String {
    let fields: Vec<&str> = arn.splitn(6, ':').collect();
    let &[_, _, service, region, _, resource] = fields.as_slice() else {
        return generic();
    };
    let region = Some(region).filter(|region| is_region(region));
    let mut segments = resource
        .split(['/', ':'])
        .filter(|segment| !segment.is_empty());
    match service {
        "appsync" => {
            let id = segments.find(|segment| segment.len() == APPSYNC_ID && is_api_id(segment));
            id.map_or_else(|| appsync_list(region), |id| appsync_command(id, region))
        }
        "execute-api" => match (segments.next(), segments.next()) {
            (Some(id), stage) if is_api_id(id) => gateway_url(id, region, stage),
            _ => generic(),
        },
        "apigateway" => match segments.find(|segment| is_api_id(segment)) {
            Some(id) => gateway_url(id, region, None),
            None => generic(),
        },
        _ => generic(),
    }
}

/// The region is in the query, or a label of the host. The ID is a segment of the path or the fragment.
fn of_console(host: &str, rest: &str) -> String {
    let segments: Vec<&str> = rest.split(['/', '?', '#', '&']).collect();
    let parameter = segments
        .iter()
        .find_map(|text| text.strip_prefix("region="));
    let region = parameter
        .into_iter()
        .chain(host.split('.'))
        .find(|text| is_region(text));
    let id = |length| {
        let mut values = segments
            .iter()
            .map(|text| text.rsplit('=').next().unwrap_or(text));
        values.find(move |text| text.len() == length && is_api_id(text))
    };
    match segments.iter().find(|text| !text.is_empty()) {
        Some(&"apigateway") => match id(GATEWAY_ID) {
            Some(id) => gateway_url(id, region, None),
            None => format!(
                "The URL is shown there as the stage's invoke URL: {}",
                gateway_form("ID", region, None)
            ),
        },
        Some(_) | None => {
            id(APPSYNC_ID).map_or_else(|| appsync_list(region), |id| appsync_command(id, region))
        }
    }
}

fn appsync_command(id: &str, region: Option<&str>) -> String {
    let region = option(region);
    format!(
        "To find your API's URL: aws appsync get-graphql-api --api-id {id}{region} --query graphqlApi.uris.GRAPHQL"
    )
}

fn appsync_list(region: Option<&str>) -> String {
    let region = option(region);
    format!(
        "To find your API's URL: aws appsync list-graphql-apis{region} --query 'graphqlApis[].uris.GRAPHQL'"
    )
}

fn gateway_url(id: &str, region: Option<&str>, stage: Option<&str>) -> String {
    format!("Its URL is {}", gateway_form(id, region, stage))
}

fn gateway_form(id: &str, region: Option<&str>, stage: Option<&str>) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
    let stage = stage.filter(|stage| stage.bytes().all(is_plain));
    let region = region.unwrap_or("REGION");
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let stage = match stage {
        // API Gateway developer guide: the default stage of an HTTP API is served at the root.
        Some("$default") => "",
        Some(stage) => stage,
        None => "STAGE",
    };
    format!("https://{id}.execute-api.{region}.amazonaws.com{suffix}/{stage}")
}

fn generic() -> String {
    "Pass the URL of the API, such as https://ID.appsync-api.REGION.amazonaws.com/graphql"
        .to_owned()
}

fn option(region: Option<&str>) -> String {
    region.map_or(String::new(), |region| format!(" --region {region}"))
}

/// Returns the host in lower case, and the rest after it.
fn host_and_rest(text: &str) -> (String, &str) {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    (host.to_ascii_lowercase(), rest)
}

fn is_below(host: &str, domain: &str) -> bool {
    let labels = host.strip_suffix(domain);
    labels.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
}
