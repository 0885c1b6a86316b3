//! Tests the inference of endpoints from URLs and overrides.

use super::*;

const ID: &str = "abcdefghijklmnopqrstuvwxyz";

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    let find = |key: &str| {
        let found = pairs.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| (*value).to_owned())
    };
    Overrides {
        region: find("region"),
        service: find("service"),
        host: find("host"),
        connect: find("connect").map(|host| Address { host, port: 8443 }),
        default_region: find("AWS_REGION").map(|region| DefaultRegion {
            variable: "AWS_REGION",
            region,
        }),
    }
}

/// `region service wire-host path | realtime: address tls wire-host path`
fn check(url: &str, pairs: &[(&str, &str)], expected: &str) {
    let shown = match Endpoint::infer(url, &overrides(pairs)) {
        Ok(endpoint) => {
            let Endpoint {
                scope,
                address,
                tls_name,
                wire_host,
                path,
                realtime,
                ..
            } = endpoint;
            let first = format!(
                "{} {} {address} {tls_name} {wire_host} {path}",
                scope.region, scope.service
            );
            match realtime {
                Some(RealtimeEndpoint {
                    address,
                    tls_name,
                    wire_host,
                    path,
                }) => {
                    format!("{first} | {address} {tls_name} {wire_host} {path}")
                }
                None => first,
            }
        }
        Err(problems) => {
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            texts.join(" & ")
        }
    };
    assert!(
        shown.contains(expected),
        "{url}: {shown}\nexpected {expected}"
    );
}

#[test]
fn appsync_endpoints_are_inferred() {
    let (api, realtime) = (
        format!("{ID}.appsync-api.us-east-1.amazonaws.com"),
        format!("{ID}.appsync-realtime-api.us-east-1.amazonaws.com"),
    );
    check(
        &format!("https://{api}/graphql"),
        &[],
        &format!(
            "us-east-1 appsync {api}:443 {api} {api} /graphql | {realtime}:443 {realtime} {realtime} /graphql"
        ),
    );
    check(
        &format!("https://{api}/graphql"),
        &[("connect", "127.0.0.1")],
        &format!(
            "127.0.0.1:8443 {api} {api} /graphql | 127.0.0.1:8443 {realtime} {realtime} /graphql"
        ),
    );
    let china = format!("{ID}.appsync-api.cn-north-1.amazonaws.com.cn");
    check(
        &format!("https://{china}/graphql"),
        &[],
        &format!(
            "cn-north-1 appsync {china}:443 {china} {china} /graphql | {ID}.appsync-realtime-api.cn-north-1.amazonaws.com.cn:443"
        ),
    );
    check(
        "https://api.example.com/graphql",
        &[("region", "eu-west-2")],
        "eu-west-2 appsync api.example.com:443 api.example.com api.example.com /graphql | api.example.com:443 api.example.com api.example.com /graphql/realtime",
    );
    let vpce = "vpce-0a-b1.appsync-api.eu-west-1.vpce.amazonaws.com";
    check(
        &format!("https://{vpce}/graphql"),
        &[("host", &format!("{ID}.appsync-api.eu-west-1.amazonaws.com"))],
        &format!(
            "eu-west-1 appsync {vpce}:443 {vpce} {ID}.appsync-api.eu-west-1.amazonaws.com /graphql | {vpce}:443 {vpce} {ID}.appsync-realtime-api.eu-west-1.amazonaws.com /graphql"
        ),
    );
    check(
        &format!("https://{vpce}/graphql"),
        &[],
        "set `host` (--host)",
    );
}

#[test]
fn endpoints_of_other_services_are_inferred() {
    check(
        "https://a1.execute-api.us-east-1.amazonaws.com/prod/",
        &[],
        "us-east-1 execute-api a1.execute-api.us-east-1.amazonaws.com:443 a1.execute-api.us-east-1.amazonaws.com a1.execute-api.us-east-1.amazonaws.com /prod",
    );
    check(
        "https://vpce-1.execute-api.us-east-1.vpce.amazonaws.com/prod",
        &[("host", "a1.execute-api.us-east-1.amazonaws.com")],
        "vpce-1.execute-api.us-east-1.vpce.amazonaws.com a1.execute-api.us-east-1.amazonaws.com /prod",
    );
    check(
        "https://search.example.com:8443/",
        &[("region", "us-gov-west-1"), ("service", "es")],
        "us-gov-west-1 es search.example.com:8443 search.example.com search.example.com:8443 ",
    );
}

/// API Gateway developer guide: endpoints, private APIs, custom domains.
#[test]
fn every_form_of_api_gateway_host_is_inferred() {
    check(
        "https://a1.execute-api.us-east-1.amazonaws.com/prod",
        &[],
        "us-east-1 execute-api a1.execute-api.us-east-1.amazonaws.com:443 \
         a1.execute-api.us-east-1.amazonaws.com a1.execute-api.us-east-1.amazonaws.com /prod",
    );
    check(
        "https://a1.execute-api.cn-north-1.amazonaws.com.cn/prod/",
        &[],
        "cn-north-1 execute-api a1.execute-api.cn-north-1.amazonaws.com.cn:443",
    );
    // Private, by its alias, by the endpoint's name with a Host or with x-apigw-api-id.
    check(
        "https://a1-vpce-0b.execute-api.us-east-1.amazonaws.com/prod",
        &[],
        "us-east-1 execute-api a1-vpce-0b.execute-api.us-east-1.amazonaws.com:443",
    );
    let vpce = "https://vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com/prod";
    check(
        vpce,
        &[("host", "a1.execute-api.us-east-1.amazonaws.com")],
        "us-east-1 execute-api vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com:443 \
         vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com a1.execute-api.us-east-1.amazonaws.com",
    );
    check(
        vpce,
        &[("host", "private.example.com")],
        "us-east-1 execute-api vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com:443 \
         vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com private.example.com /prod",
    );
    check(
        vpce,
        &[],
        "us-east-1 execute-api vpce-0a-1b.execute-api.us-east-1.vpce.amazonaws.com:443",
    );
    // A custom domain, behind another address and port.
    let custom = "https://api.example.com/v1";
    check(
        custom,
        &[
            ("region", "eu-west-1"),
            ("service", "execute-api"),
            ("connect", "10.0.0.7"),
        ],
        "eu-west-1 execute-api 10.0.0.7:8443 api.example.com api.example.com /v1",
    );
    check(
        custom,
        &[("region", "eu-west-1")],
        "cannot infer the service",
    );
    check(
        custom,
        &[("service", "execute-api")],
        "cannot infer the region",
    );
    check(
        "https://transcribestreaming.us-east-1.amazonaws.com:8443/stream",
        &[],
        "us-east-1 transcribe transcribestreaming.us-east-1.amazonaws.com:8443 \
         transcribestreaming.us-east-1.amazonaws.com \
         transcribestreaming.us-east-1.amazonaws.com:8443 /stream",
    );
    check(
        "https://b.s3.eu-west-1.amazonaws.com/k",
        &[],
        "cannot sign for S3",
    );
    check(
        custom,
        &[("region", "eu-west-1"), ("service", "s3")],
        "cannot sign for S3",
    );
}

#[test]
fn names_of_every_partition_and_variant_are_inferred() {
    for (label, suffix) in [
        ("appsync-api", "eusc-de-east-1.amazonaws.eu"),
        ("appsync-api", "us-iso-east-1.c2s.ic.gov"),
        ("appsync-api", "us-east-1.api.aws"),
        ("appsync-api-fips", "us-gov-west-1.amazonaws.com"),
    ] {
        let (region, _) = suffix.split_once('.').unwrap();
        let host = format!("{ID}.{label}.{suffix}");
        let realtime = host.replace(".appsync-api", ".appsync-realtime-api");
        check(
            &format!("https://{host}/graphql"),
            &[],
            &format!(
                "{region} appsync {host}:443 {host} {host} /graphql | {realtime}:443 {realtime} {realtime} /graphql"
            ),
        );
    }
    check(
        "https://vpce-0a-b1.appsync-api.cn-north-1.vpce.amazonaws.com.cn/graphql",
        &[],
        "set `host` (--host) to ID.appsync-api.cn-north-1.amazonaws.com.cn",
    );
}

/// A name that ends in a dot is looked up as it is, and is sent and verified without the dot.
#[test]
fn trailing_dot_is_only_for_the_resolver() {
    let host = "a1.execute-api.us-east-1.amazonaws.com";
    check(
        &format!("https://{host}./prod"),
        &[],
        &format!("us-east-1 execute-api {host}.:443 {host} {host} /prod"),
    );
    check(
        &format!("https://{host}.:8443/prod"),
        &[("host", "B1.execute-api.us-east-1.amazonaws.com.")],
        &format!(
            "us-east-1 execute-api {host}.:8443 {host} b1.execute-api.us-east-1.amazonaws.com /prod"
        ),
    );
    let api = format!("{ID}.appsync-api.us-east-1.amazonaws.com");
    let realtime = format!("{ID}.appsync-realtime-api.us-east-1.amazonaws.com");
    check(
        &format!("https://{api}./graphql"),
        &[],
        &format!(
            "us-east-1 appsync {api}.:443 {api} {api} /graphql | {realtime}.:443 {realtime} {realtime} /graphql"
        ),
    );
    check("https://./x", &[("region", "us-east-1")], "no host");
}

#[test]
fn region_of_the_environment_serves_where_nothing_else_implies_it() {
    let custom = "https://api.example.com/graphql";
    check(custom, &[("AWS_REGION", "eu-west-2")], "eu-west-2 appsync ");
    check(
        custom,
        &[("AWS_REGION", "eu-west-2"), ("region", "eu-west-1")],
        "eu-west-1 appsync ",
    );
    check(
        "https://a1.execute-api.us-east-1.amazonaws.com/",
        &[("AWS_REGION", "eu-west-2")],
        "us-east-1 execute-api ",
    );
    check(
        custom,
        &[("AWS_REGION", "eu-west-2 ")],
        "invalid AWS region \"eu-west-2 \" in AWS_REGION",
    );
    check(
        custom,
        &[],
        "such as --region eu-central-1 (in a file: `region`), or set AWS_REGION",
    );
}

/// Returns a host of the API and its realtime host.
fn hosts(suffix: &str) -> (String, String) {
    let host = |label: &str| format!("{ID}.{label}.{suffix}");
    (host("appsync-api"), host("appsync-realtime-api"))
}

/// An empty path used to be mounted at `/`, where no client of GraphQL looks.
#[test]
fn urls_are_accepted_in_the_forms_in_which_users_find_them() {
    let (api, realtime) = hosts("eu-central-1.amazonaws.com");
    let graphql = [
        format!("https://{api}"),
        format!("https://{api}/"),
        format!("https://{api}/graphql/"),
        format!("https://{api}/graphql//"),
        format!("https://{api}/GraphQL"),
        format!("https://{api}:443/graphql"),
        format!("https://{api}/graphql/realtime"),
        format!("HTTPS://{}/graphql", api.to_ascii_uppercase()),
        api.clone(),
        format!("{api}/graphql"),
        format!("//{api}/graphql"),
        format!("{api}:443"),
        format!("  https://{api}/graphql\n"),
        format!("\"https://{api}/graphql\","),
        format!("<https://{api}/graphql>"),
        format!("wss://{realtime}"),
        format!("wss://{realtime}/"),
        format!("wss://{realtime}/graphql"),
        format!("wss://{realtime}/realtime"),
        format!("WSS://{realtime}/graphql/realtime/"),
        format!("https://{realtime}/graphql"),
        realtime.clone(),
    ];
    for url in graphql {
        let expected = format!(
            "eu-central-1 appsync {api}:443 {api} {api} /graphql | {realtime}:443 {realtime} {realtime} /graphql"
        );
        check(&url, &[], &expected);
        assert_eq!(usual_path(&url), "/graphql", "{url}");
    }
    for url in [
        format!("https://{api}/event"),
        format!("https://{api}/event/"),
        format!("{api}/Event"),
        format!("wss://{realtime}/event/realtime"),
        format!("wss://{realtime}/event"),
    ] {
        let expected = format!(
            "eu-central-1 appsync {api}:443 {api} {api} /event | {realtime}:443 {realtime} {realtime} /event/realtime"
        );
        check(&url, &[], &expected);
        assert_eq!(usual_path(&url), "/event", "{url}");
    }
    for suffix in [
        "us-east-1.api.aws",
        "cn-north-1.amazonaws.com.cn",
        "us-gov-west-1.amazonaws.com",
        "us-iso-east-1.c2s.ic.gov",
        "eusc-de-east-1.amazonaws.eu",
    ] {
        let (api, realtime) = hosts(suffix);
        for url in [
            format!("https://{api}"),
            format!("wss://{realtime}/realtime"),
        ] {
            check(
                &url,
                &[],
                &format!("{api}:443 {api} {api} /graphql | {realtime}:443"),
            );
        }
    }
    let fips = format!("{ID}.appsync-realtime-api-fips.us-gov-west-1.amazonaws.com");
    check(
        &fips,
        &[],
        &format!(" {ID}.appsync-api-fips.us-gov-west-1.amazonaws.com /graphql"),
    );
    let region = [("region", "eu-west-2")];
    check(
        "wss://api.example.com/graphql/realtime/",
        &region,
        " api.example.com /graphql |",
    );
    check(
        "api.example.com/event",
        &region,
        " api.example.com /event |",
    );
    let appsync = [("region", "eu-west-2"), ("service", "appsync")];
    check(
        "https://api.example.com",
        &appsync,
        " api.example.com /graphql |",
    );
    check(
        "https://api.example.com/v1",
        &appsync,
        " api.example.com /v1 |",
    );
    check(
        "wss://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/prod/",
        &[],
        "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com /prod",
    );
    let gateway = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com";
    check(
        &format!("{gateway}/graphql/realtime"),
        &[],
        " /graphql/realtime",
    );
    assert_eq!(usual_path(gateway), "/");
    assert_eq!(usual_path("not a url"), "/");
}

#[test]
fn other_paths_of_appsync_are_rejected_with_the_right_urls() {
    let (api, realtime) = hosts("eu-central-1.amazonaws.com");
    let urls = format!("use https://{api}/graphql, or https://{api}/event for AppSync Events");
    for path in [
        "/foo",
        "/graphql/foo",
        "/v1/graphql",
        "/graphqls",
        "/event/default/room",
    ] {
        for host in [&api, &realtime] {
            let expected = format!("AppSync has no path {path:?}: {urls}");
            check(&format!("https://{host}{path}"), &[], &expected);
        }
    }
}

#[test]
fn what_is_not_a_url_is_rejected_with_the_way_to_the_url() {
    let command = |id: &str, region: &str| {
        format!(
            "To find your API's URL: aws appsync get-graphql-api --api-id {id}{region} --query graphqlApi.uris.GRAPHQL"
        )
    };
    let not = |text: &str, advice: &str| {
        check(text, &[], &format!("{text:?} is not a URL. {advice}"));
    };
    not(ID, &command(ID, ""));
    not("abc123", &command("abc123", ""));
    not(
        "a1b2c3d4e5",
        "The URL of an API of API Gateway is https://a1b2c3d4e5.execute-api.REGION.amazonaws.com/STAGE",
    );
    let region = " --region eu-central-1";
    not(
        &format!("arn:aws:appsync:eu-central-1:123456789012:apis/{ID}"),
        &command(ID, region),
    );
    not(
        "arn:aws:appsync:eu-central-1:123456789012:domainnames/x",
        "To find your API's URL: aws appsync list-graphql-apis --region eu-central-1 --query 'graphqlApis[].uris.GRAPHQL'",
    );
    let gateway = "Its URL is https://a1b2c3d4e5.execute-api";
    not(
        "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/prod/GET/pets",
        &format!("{gateway}.eu-central-1.amazonaws.com/prod"),
    );
    not(
        "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2c3d4e5/*/*",
        &format!("{gateway}.cn-north-1.amazonaws.com.cn/STAGE"),
    );
    not(
        "arn:aws:apigateway:eu-central-1::/restapis/a1b2c3d4e5",
        &format!("{gateway}.eu-central-1.amazonaws.com/STAGE"),
    );
    for other in [
        "arn:aws:s3:::bucket",
        "arn:",
        "arn:aws:execute-api:x:y:$(reboot)/a",
    ] {
        not(
            other,
            "Pass the URL of the API, such as https://ID.appsync-api.REGION.amazonaws.com/graphql",
        );
    }
    let console = |url: &str, advice: &str| {
        check(
            url,
            &[],
            &format!("the URL is a page of the AWS console. {advice}"),
        );
    };
    let home = "eu-central-1.console.aws.amazon.com/appsync/home";
    console(
        &format!("https://{home}?region=eu-central-1#/{ID}/v1/home"),
        &command(ID, region),
    );
    console(&format!("{home}#/{ID}/v1/queries"), &command(ID, region));
    console(
        &format!(
            "https://123456789012-a1b2c3d4.eu-central-1.console.aws.amazon.com/appsync/home#/{ID}"
        ),
        &command(ID, region),
    );
    console(
        &format!("https://console.amazonaws.cn/appsync/home?region=cn-north-1#/{ID}/v1/home"),
        &command(ID, " --region cn-north-1"),
    );
    console(
        "https://console.aws.amazon.com/appsync/home#/apis",
        "To find your API's URL: aws appsync list-graphql-apis --query 'graphqlApis[].uris.GRAPHQL'",
    );
    console(
        "https://eu-central-1.console.aws.amazon.com/apigateway/main/apis/a1b2c3d4e5/resources?api=a1b2c3d4e5&region=eu-central-1",
        &format!("{gateway}.eu-central-1.amazonaws.com/STAGE"),
    );
    let example =
        "is not a URL: expected one such as https://ID.appsync-api.REGION.amazonaws.com/graphql";
    for word in ["doctor", "not a url", "4100", "my-api"] {
        check(word, &[], &format!("{word:?} {example}"));
    }
    check("https://exa mple.com/graphql", &[], example);
    check(
        "ws://h.example.com/graphql",
        &[],
        "Use https://h.example.com/graphql",
    );
    check("https://", &[], "the URL has no host");
}

#[test]
fn errors_name_the_setting_that_fixes_them() {
    check("http://a.example.com/graphql", &[], "https://");
    check(
        "https://u:p@a.example.com/graphql",
        &[],
        "must not contain a user",
    );
    check(
        "https://a.example.com/graphql?x=1",
        &[],
        "must not contain a user",
    );
    check(
        "https://a.example.com/x",
        &[],
        "such as --region eu-central-1 (in a file: `region`)",
    );
    check(
        "https://a.example.com/x",
        &[],
        "such as --service appsync or --service execute-api (in a file: `service`)",
    );
    check(
        "https://a.example.com/x",
        &[("region", "us-east-1/x")],
        "invalid AWS region",
    );
    check(
        &format!("https://{ID}.appsync-api.us-east-1.amazonaws.com/graphql"),
        &[("region", "eu-west-1")],
        "\"eu-west-1\" is not the region of the URL: ",
    );
    check(
        "https://a.example.com/graphql",
        &[("region", "eu-west-1"), ("host", "a@b")],
        "invalid host",
    );
    check(
        "https://a.example.com/x",
        &[("region", "eu-west-1"), ("service", "Up/per")],
        "invalid SigV4 service",
    );
}

#[test]
fn addresses_of_this_machine_and_examples_are_rejected_with_the_way_to_the_url() {
    for text in [
        "localhost:4000",
        "http://localhost:4000/graphql",
        "http://127.0.0.1/",
        "https://LOCALHOST/graphql",
        "https://[::1]:8443/x",
    ] {
        check(text, &[], "is on this machine");
    }
    // A tunnel, for example
    let region = ("region", "us-east-1");
    check(
        "https://localhost:8443/graphql",
        &[region],
        "us-east-1 appsync localhost:8443",
    );
    check(
        "https://localhost.example.com/graphql",
        &[],
        "cannot infer the region",
    );
    check(
        "https://a.example.com/graphql",
        &[("region", "EU-WEST-1")],
        "did you mean eu-west-1?",
    );
    check(
        "https://a.example.com/graphql",
        &[("region", "eu-west-1b")],
        "did you mean eu-west-1?",
    );
}

#[test]
fn placeholders_of_examples_are_recognized() {
    const APPSYNC: &str = "aws appsync list-graphql-apis";
    const GATEWAY: &str = "aws apigateway get-rest-apis";
    for (host, advice) in [
        ("ID.appsync-api.REGION.amazonaws.com", APPSYNC),
        ("ID.appsync-realtime-api.REGION.amazonaws.com", APPSYNC),
        ("a1.execute-api.region.amazonaws.com", GATEWAY),
        ("ID.appsync-api.YOUR_REGION.amazonaws.com", APPSYNC),
        ("<id>.appsync-api.<region>.amazonaws.com", APPSYNC),
        (
            "<your-api-id>.appsync-api.eu-central-1.amazonaws.com",
            APPSYNC,
        ),
        ("{api-id}.appsync-api.eu-central-1.amazonaws.com", APPSYNC),
        ("${API_ID}.appsync-api.eu-central-1.amazonaws.com", APPSYNC),
        ("[api-id].execute-api.eu-central-1.amazonaws.com", GATEWAY),
        ("API_ID.appsync-api.eu-central-1.amazonaws.com", APPSYNC),
        (
            "YOUR_API_ID.appsync-api.eu-central-1.amazonaws.com",
            APPSYNC,
        ),
        ("your-api.execute-api.cn-north-1.amazonaws.com.cn", GATEWAY),
        ("my-id.execute-api.eu-central-1.amazonaws.com", GATEWAY),
        ("xxxxxxxxxx.execute-api.eu-central-1.amazonaws.com", GATEWAY),
    ] {
        let expected = "contains the placeholders of an example. To find your API's ";
        let found = Endpoint::infer(&format!("https://{host}/graphql"), &overrides(&[]));
        let found = found.unwrap_err();
        let found = found[0].to_string();
        assert!(
            found.contains(expected) && found.contains(advice),
            "{host}: {found}"
        );
    }
    for host in [
        format!("{ID}.appsync-api.eu-central-1.amazonaws.com"),
        "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com".to_owned(),
        "a1b2c3d4e5-vpce-0123.execute-api.eu-central-1.amazonaws.com".to_owned(),
        "api.eu-central-1.amazonaws.com".to_owned(),
    ] {
        let url = format!("https://{host}/graphql");
        assert_eq!(
            of_example(&url).map(|error| error.to_string()),
            None,
            "{url}"
        );
        let found = Endpoint::infer(&url, &overrides(&[]));
        let problems = found.err().unwrap_or_default();
        let is_placeholder =
            |error: &EndpointError| matches!(error, EndpointError::Placeholder { .. });
        assert!(!problems.iter().any(is_placeholder), "{url}");
    }
}

#[test]
fn the_id_of_example_files_is_valid_there_and_recognized_as_a_placeholder() {
    for (url, advice) in [
        (
            "https://ID.appsync-api.eu-central-1.amazonaws.com/graphql",
            "aws appsync list-graphql-apis --region eu-central-1 --query",
        ),
        (
            "id.appsync-realtime-api.us-east-1.amazonaws.com",
            "aws appsync list-graphql-apis --region us-east-1 --query",
        ),
        (
            "https://HOST.execute-api.us-east-1.amazonaws.com/prod",
            "aws apigateway get-rest-apis --region us-east-1, or",
        ),
    ] {
        assert!(Endpoint::infer(url, &overrides(&[])).is_ok(), "{url}");
        let found = of_example(url).unwrap().to_string();
        assert!(found.contains(advice), "{found}");
    }
}

/// The text before a bracket used to be accepted as the host name.
#[test]
fn hosts_with_misplaced_brackets_are_rejected() {
    for text in [
        "***[::1]:2",
        "a[::1]",
        "[::1",
        "[::g]:1",
        "*.example.com",
        "h:+443",
    ] {
        assert_eq!(Address::parse(text), None, "{text}");
    }
    for text in ["h", "h:1", "10.0.0.7:443", "[::1]:8443", "a_b.example.com"] {
        assert!(Address::parse(text).is_some(), "{text}");
    }
    let region = [("region", "us-east-1"), ("service", "execute-api")];
    check("https://***[::1]:2/", &region, "invalid host");
    check("https://h:+443/", &region, "invalid port");
}
