//! Routes: their targets, paths, policies and how they are signed.

use super::*;
use crate::guard::AllowedOperations;

const GATEWAY: &str = "https://a1.execute-api.us-east-1.amazonaws.com/prod";

#[test]
fn invalid_roles_are_rejected() {
    for text in [
        "admin",
        "arn:aws:iam::1:user/x",
        "arn:aws:iam::123456789012:role",
        "",
    ] {
        rejects(
            &route(&format!("assume_role = \"{text}\"")),
            &[&format!(
                "FILE:3: `route.a.assume_role`: invalid role ARN {text:?}: expected an ARN such as arn:aws:iam::123456789012:role/NAME"
            )],
        );
    }
    resolves(
        &route("assume_role = \"arn:aws-cn:iam::123456789012:role/x/y\""),
        "identity",
        "None Some(\"arn:aws-cn:iam::123456789012:role/x/y\")",
    );
}

#[test]
fn invalid_paths_are_rejected() {
    for text in [
        "",
        "graphql",
        "/a b",
        "/a?b",
        "/a#b",
        "//",
        "/a//b",
        "/ä",
        "/%2e",
        "https://a/b",
    ] {
        rejects(
            &route(&format!("path = \"{text}\"")),
            &[&format!(
                "FILE:3: `route.a.path`: invalid path {text:?}: expected a path such as /graphql"
            )],
        );
    }
    resolves(&route("path = \"/\""), "path", "");
    resolves(&route("path = \"/a/b/\""), "path", "/a/b");
}

const NO_ROUTE: [&str; 6] = [
    "no API is given. Pass its URL, or start a demo: countersign demo",
    "  countersign https://ID.appsync-api.REGION.amazonaws.com/graphql",
    "to find the URL:",
    "  aws appsync list-graphql-apis --query 'graphqlApis[].uris.GRAPHQL'",
    "for several APIs, write a file with [route.NAME] tables:",
    "  countersign --config FILE",
];

#[test]
fn a_route_needs_a_target() {
    rejects(&input().without_route(), &NO_ROUTE);
    rejects(&file("[route]").without_route(), &NO_ROUTE);
    rejects(
        &file("[route.a]\npath = \"/x\"\n[route.b]\ntarget = \"\"").without_route(),
        &[
            "`route.a.target`: is missing: set it to the URL of the upstream",
            "FILE:4: `route.b.target`: the value is empty: set one, or remove the setting",
        ],
    );
}

#[test]
fn an_api_id_as_target_is_rejected_with_the_command_that_prints_its_url() {
    rejects(
        &target("abc123", ""),
        &[
            "FILE:2: `route.a.target`: \"abc123\" is not a URL. To find your API's URL: aws appsync get-graphql-api --api-id abc123 --query graphqlApi.uris.GRAPHQL",
        ],
    );
}

#[test]
fn invalid_targets_are_rejected() {
    let cases = [
        (
            "http://abc.appsync-api.eu-central-1.amazonaws.com/graphql",
            "\"http://abc.appsync-api.eu-central-1.amazonaws.com/graphql\" must begin with https://, because signed requests are never sent in plain text. Use https://abc.appsync-api.eu-central-1.amazonaws.com/graphql",
        ),
        ("https://", "the URL has no host"),
        (
            "https://user@abc.appsync-api.eu-central-1.amazonaws.com/graphql",
            "the URL must not contain a user, a query or a fragment: use https://abc.appsync-api.eu-central-1.amazonaws.com/graphql",
        ),
        (
            "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql?x=1",
            "the URL must not contain a user, a query or a fragment: use https://abc.appsync-api.eu-central-1.amazonaws.com/graphql",
        ),
        (
            "https://api.example.com/graphql",
            "cannot infer the region from the host api.example.com: add the region of the API, such as --region eu-central-1 (in a file: `region`), or set AWS_REGION",
        ),
        (
            "https://vpce-1-x.appsync-api.eu-central-1.vpce.amazonaws.com/graphql",
            "an AppSync VPC endpoint serves several APIs: set `host` (--host) to ID.appsync-api.eu-central-1.amazonaws.com",
        ),
    ];
    for (url, problem) in cases {
        rejects(
            &target(url, ""),
            &[&format!("FILE:2: `route.a.target`: {problem}")],
        );
    }
    rejects(
        &target("https://api.example.com/x", ""),
        &[
            "FILE:2: `route.a.target`: cannot infer the region from the host api.example.com: add the region of the API, such as --region eu-central-1 (in a file: `region`), or set AWS_REGION",
            "FILE:2: `route.a.target`: cannot infer the service from the host api.example.com: add the service, such as --service appsync or --service execute-api (in a file: `service`)",
        ],
    );
}

/// An invalid port was read as 443.
#[test]
fn invalid_ports_are_rejected() {
    for text in [
        "10.0.0.7:99999",
        "10.0.0.7:",
        ":443",
        "10.0.0.7:0",
        "10.0.0.7:4x",
        "a b",
        "user@a",
        "",
    ] {
        rejects(
            &route(&format!("connect = \"{text}\"")),
            &[&format!(
                "FILE:3: `route.a.connect`: invalid address {text:?}: expected a host with an optional port, such as 10.0.0.7:443"
            )],
        );
    }
    rejects(
        &route("connect = \"https://a:8443/b\""),
        &["FILE:3: `route.a.connect`: invalid address \"https://a:8443/b\": did you mean a:8443?"],
    );
    resolves(
        &route("connect = \"10.0.0.7:8443\""),
        "address",
        "10.0.0.7:8443",
    );
    resolves(
        &route("connect = \"vpce.example.com\""),
        "address",
        "vpce.example.com:443",
    );
    for (url, problem) in [
        (
            "https://abc.appsync-api.eu-central-1.amazonaws.com:99999/graphql",
            "the URL has an invalid port: expected a number from 1 to 65535",
        ),
        (
            "https://abc.appsync-api.eu-central-1.amazonaws.com:/graphql",
            "the URL has an invalid port: expected a number from 1 to 65535",
        ),
    ] {
        rejects(
            &target(url, ""),
            &[&format!("FILE:2: `route.a.target`: {problem}")],
        );
    }
}

#[test]
fn region_service_and_host_are_checked() {
    let other = "\"us-east-1\" is not the region of the URL: abc.appsync-api.eu-central-1.amazonaws.com is in eu-central-1. Leave out the region, or correct the URL";
    rejects(
        &route("region = \"us-east-1\""),
        &[&format!("FILE:3: `route.a.region`: {other}")],
    );
    rejects(
        &route("region = \"Frankfurt\""),
        &[
            "FILE:3: `route.a.region`: invalid AWS region \"Frankfurt\": expected a region such as eu-central-1",
        ],
    );
    rejects(
        &route("service = \"App Sync\""),
        &[
            "FILE:3: `route.a.service`: invalid SigV4 service \"App Sync\": expected a name such as appsync or execute-api",
        ],
    );
    rejects(
        &route("host = \"a/b\""),
        &[
            "FILE:3: `route.a.host`: invalid host \"a/b\": expected a host name without scheme and path, such as api.example.com",
        ],
    );
    rejects(
        &route("region = \" \""),
        &["FILE:3: `route.a.region`: the value is empty: set one, or remove the setting"],
    );
    check(
        &target(
            "https://api.example.com/graphql",
            "region = \"us-east-1\"\nhost = \"abc.example.com\"",
        ),
        Ok(&[
            ("region", "us-east-1"),
            ("service", "appsync"),
            ("wire_host", "abc.example.com"),
        ]),
    );
}

#[test]
fn other_values_of_a_route_are_checked() {
    rejects(
        &route("on_upstream_loss = \"ignore\""),
        &[
            "FILE:3: `route.a.on_upstream_loss`: invalid value \"ignore\": expected \"close\" or \"resume\"",
        ],
    );
    resolves(&route("on_upstream_loss = \"resume\""), "on_loss", "Resume");
    resolves(&route(""), "on_loss", "Close");
    rejects(
        &route("forward_headers = [\"cookie\", \"a b\"]\ndrop_headers = [\"\u{e9}\"]"),
        &[
            "FILE:3: `route.a.forward_headers`: invalid header name \"a b\"",
            "FILE:4: `route.a.drop_headers`: invalid header name \"é\"",
        ],
    );
    rejects(
        &route("ca_file = \"/no/such/ca.pem\""),
        &[&format!(
            "FILE:3: `route.a.ca_file`: {} does not exist: correct the path",
            absolute("/no/such/ca.pem")
        )],
    );
    resolves(
        &route("ca_file = \"Cargo.toml\""),
        "trust",
        "File(\"Cargo.toml\")",
    );
}

#[test]
fn a_route_can_restrict_operations() {
    resolves(&route(""), "policy", "None");
    resolves(&route("read_only = false"), "policy", "None");
    let by_variable = route("").env("COUNTERSIGN_ROUTE__A__READ_ONLY", "true");
    let (_, config) = by_variable.load().unwrap();
    assert!(config.routes[0].policy.as_ref().unwrap().is_read_only);
    assert!(config.routes[0].decision().ends_with(", read-only"));
    let hash = "0fF".repeat(21) + "0";
    let input = route(&format!(
        "read_only = true\n[route.a.operations]\nnames = [\"GetPost\"]\n\
         sha256 = [\"{hash}\"]\nfields = [\"Query.*\", \"Mutation.a\"]\n\
         introspection = false\ndepth = 9\naliases = 0\nsize = \"16KiB\""
    ));
    let (_, config) = input.load().unwrap();
    let policy = config.routes[0].policy.clone().unwrap();
    assert_eq!(policy.table, "route.a");
    assert!(policy.is_read_only);
    let allowed = policy.operations.unwrap();
    assert!(allowed.names.unwrap().contains("GetPost"));
    assert_eq!(
        allowed.sha256.unwrap().iter().next().unwrap()[..3],
        [0x0f, 0xf0, 0xff]
    );
    assert_eq!(allowed.fields.unwrap().len(), 2);
    assert_eq!(allowed.introspection, Some(false));
    assert_eq!((allowed.depth, allowed.aliases), (Some(9), Some(0)));
    assert_eq!(allowed.size, Some(16 * 1024));
    // An empty table is a policy, too: it rejects what cannot be parsed.
    let (_, config) = route("[route.a.operations]").load().unwrap();
    let policy = config.routes[0].policy.clone().unwrap();
    assert_eq!(policy.operations, Some(AllowedOperations::default()));
}

#[test]
fn invalid_operation_policies_are_rejected() {
    rejects(
        &route(
            "read_only = \"maybe\"\n[route.a.operations]\nnames = [\"a b\", \"\"]\n\
             sha256 = [\"00\", \"é\"]\nfields = [\"getPost\", \"Query.a*\"]\ndepth = 0\n\
             aliases = -1\nsize = \"big\"\nname = []",
        ),
        &[
            "FILE:3: `route.a.read_only`: invalid value \"maybe\": expected true or false",
            "FILE:5: `route.a.operations.names`: invalid GraphQL name \"a b\": expected a name such as GetPost",
            "FILE:6: `route.a.operations.sha256`: invalid SHA-256 \"00\": expected 64 hexadecimal digits",
            "FILE:6: `route.a.operations.sha256`: invalid SHA-256 \"é\": expected 64 hexadecimal digits",
            "FILE:7: `route.a.operations.fields`: invalid root field \"getPost\": expected a type and a field, such as Query.getPost, Mutation.* or Subscription.onPost",
            "FILE:7: `route.a.operations.fields`: invalid root field \"Query.a*\": expected a type and a field, such as Query.getPost, Mutation.* or Subscription.onPost",
            "FILE:8: `route.a.operations.depth`: invalid number \"0\": expected a whole number above zero",
            "FILE:9: `route.a.operations.aliases`: invalid number \"-1\": expected a whole number",
            "FILE:10: `route.a.operations.size`: invalid size \"big\": expected a whole number above zero, or one with a unit, such as 64KiB or 1MiB",
            "FILE:11: `route.a.operations.name`: unknown key; did you mean `names`?",
        ],
    );
    let empty = "is empty and would allow no operations: remove it";
    rejects(
        &route("[route.a.operations]\nnames = []\nsha256 = []\nfields = []"),
        &[
            &format!("FILE:4: `route.a.operations.names`: {empty}"),
            &format!("FILE:5: `route.a.operations.sha256`: {empty}"),
            &format!("FILE:6: `route.a.operations.fields`: {empty}"),
        ],
    );
    let elsewhere =
        "`route.a.operations`: applies only to AppSync GraphQL: use read_only for other upstreams";
    let events = "https://abc.appsync-api.eu-central-1.amazonaws.com/event";
    for url in [GATEWAY, events] {
        let lines = "read_only = true\n[route.a.operations]\ndepth = 1";
        rejects(&target(url, lines), &[&format!("FILE:4: {elsewhere}")]);
    }
    rejects(
        &route("operations = true"),
        &[
            "FILE:3: `route.a.operations`: expected a table: write [route.a.operations] and a key below it, such as `names`",
        ],
    );
}

#[test]
fn two_routes_cannot_have_one_path() {
    let second = format!("[route.b]\ntarget = \"{URL}\"\n");
    rejects(
        &route(&second),
        &[
            "FILE:4: `route.b.target`: route a has the same path \"/graphql\": set `path` for one of them",
        ],
    );
    rejects(
        &route(&format!("path = \"/x\"\n{second}path = \"/x/\"")),
        &["FILE:6: `route.b.path`: route a has the same path \"/x\": set `path` for one of them"],
    );
    resolves(
        &route(&format!("{second}path = \"/b\"")),
        "routes",
        "a=/graphql b=/b ",
    );
}

#[test]
fn a_path_is_inferred() {
    resolves(&input(), "path", "/graphql");
    resolves(
        &target("https://abc.execute-api.us-east-1.amazonaws.com/prod", ""),
        "path",
        "/a",
    );
}

#[test]
fn a_route_can_be_set_by_environment_variables_alone() {
    let all = input()
        .without_route()
        .env(
            "COUNTERSIGN_ROUTE__ORDERS__TARGET",
            "https://abc.execute-api.us-east-1.amazonaws.com/prod",
        )
        .env("COUNTERSIGN_ROUTE__ORDERS__TIMEOUTS__IDLE", "7s");
    check(
        &all,
        Ok(&[
            ("routes", "orders=/orders "),
            ("idle", "7s"),
            ("service", "execute-api"),
        ]),
    );
}

#[test]
fn a_route_may_have_limits_and_timeouts_of_its_own() {
    let own = "[limits]\nresponse_body = 9\n[route.a.limits]\nrequest_body = \"2KiB\"\n[route.a.timeouts]\nconnect = \"1s\"\nfirst_byte = \"2s\"";
    check(
        &route(own),
        Ok(&[
            ("request_body", "2048"),
            ("response_body", "9"),
            ("connect", "1s"),
            ("first_byte", "2s"),
            ("idle", "330s"),
        ]),
    );
    rejects(
        &route("limits.request_body = \"x\"\ntimeouts.idle = \"y\""),
        &[
            "FILE:3: `route.a.limits.request_body`: invalid size \"x\": expected a whole number above zero, or one with a unit, such as 64KiB or 1MiB",
            "FILE:4: `route.a.timeouts.idle`: invalid duration \"y\": expected a number with a unit, such as 250ms, 5s or 2m",
        ],
    );
}

/// The value was also reported as a route without a target, or as a missing route.
#[test]
fn a_route_that_is_not_a_table_is_one_mistake() {
    rejects(
        &file(&format!("[route]\na = \"{URL}\"")).without_route(),
        &["FILE:2: `route.a`: a route needs a name: write [route.graphql], not [route]"],
    );
    rejects(
        &file(&format!("route = \"{URL}\"")).without_route(),
        &["FILE:1: `route`: expected a table"],
    );
    rejects(
        &file("[[route]]\npath = \"/a\"").without_route(),
        &["FILE:1: `route`: expected a table"],
    );
}

#[test]
fn signing_follows_the_service_unless_the_route_overrides_it() {
    let style = |placement: &str, token: &str, payload: &str| {
        format!(
            "SigningStyle {{ algorithm: V4, placement: {placement}, token: {token}, payload: {payload} }}"
        )
    };
    let headers = style("Headers", "Signed", "Hashed");
    resolves(&target(GATEWAY, ""), "style", &headers);
    resolves(&target(GATEWAY, ""), "request_body", "10485760");
    resolves(&target(URL, ""), "request_body", "1048576");
    let presigned = style("Query { expires: 300s }", "Signed", "Hashed");
    let analyzer = "https://api.iotwireless.us-east-1.amazonaws.com";
    resolves(&target(analyzer, ""), "style", &presigned);
    resolves(&target(analyzer, "auth = \"headers\""), "style", &headers);
    resolves(&target(GATEWAY, "auth = \"presign\""), "style", &presigned);
    let all = "auth = \"presign\"\npresign_expires = \"1h\"\nsession_token = \"appended\"\npayload = \"unsigned\"";
    let expected = style("Query { expires: 3600s }", "Appended", "Unsigned");
    resolves(&target(GATEWAY, all), "style", &expected);
    resolves(
        &target(GATEWAY, "region_set = \"*\""),
        "style",
        &headers.replace("algorithm: V4,", "algorithm: V4a,"),
    );
    let more = "sign_headers = [\"X-Team\"]\nodd_paths = \"keep\"\nkeepalive_message = \"{}\"\ntimeouts.keepalive = \"9m\"";
    check(
        &target(GATEWAY, more),
        Ok(&[
            ("sign_headers", "[\"x-team\"]"),
            ("odd_paths", "Keep"),
            ("keepalive", "Some(Keepalive { text: \"{}\", after: 540s })"),
        ]),
    );
}

#[test]
fn invalid_signing_settings_are_rejected() {
    rejects(
        &target(GATEWAY, "presign_expires = \"1h\""),
        &[
            "FILE:3: `route.a.presign_expires`: applies only to presigned requests: also set auth = \"presign\"",
        ],
    );
    rejects(
        &target(URL, "auth = \"presign\""),
        &[
            "FILE:3: `route.a.auth`: does not apply to AppSync, which accepts only one form of signature",
        ],
    );
    rejects(
        &target(GATEWAY, "odd_headers = \"pass\""),
        &["FILE:3: `route.a.odd_headers`: invalid value \"pass\": expected \"drop\" or \"keep\""],
    );
    rejects(
        &target(
            GATEWAY,
            "auth = \"none\"\npresign_expires = \"8d\"\nsession_token = \"x\"\npayload = \"x\"\nodd_paths = \"x\"",
        ),
        &[
            "FILE:3: `route.a.auth`: invalid value \"none\": expected \"headers\" or \"presign\"",
            "FILE:4: `route.a.presign_expires`: must be at most 7 days",
            "FILE:5: `route.a.session_token`: invalid value \"x\": expected \"signed\" or \"appended\"",
            "FILE:6: `route.a.payload`: invalid value \"x\": expected \"hashed\", \"hashed-in-header\" or \"unsigned\"",
            "FILE:7: `route.a.odd_paths`: invalid value \"x\": expected \"refuse\", \"collapse\" or \"keep\"",
        ],
    );
}

#[test]
fn browsers_are_restricted_unless_a_route_allows_more() {
    for upstream in [URL, GATEWAY] {
        resolves(&target(upstream, ""), "browser", "Refuse Restrict");
        let both = "navigations = \"allow\"\nresponse_headers = \"pass\"";
        resolves(&target(upstream, both), "browser", "Allow Pass");
        let defaults = "navigations = \"refuse\"\nresponse_headers = \"restrict\"";
        resolves(&target(upstream, defaults), "browser", "Refuse Restrict");
        rejects(
            &target(upstream, "navigations = \"yes\"\nresponse_headers = true"),
            &[
                "FILE:3: `route.a.navigations`: invalid value \"yes\": expected \"refuse\" or \"allow\"",
                "FILE:4: `route.a.response_headers`: invalid value \"true\": expected \"restrict\" or \"pass\"",
            ],
        );
    }
}
