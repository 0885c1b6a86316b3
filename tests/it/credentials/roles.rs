//! Roles, web identities and the endpoints of STS.

use tokio::io::{AsyncWriteExt as _, BufReader};

use super::*;
use crate::fakes::TlsPeer;

const DURATION: &str = "[profile dev]\nrole_arn = arn:aws:iam::123456789012:role/the-role\n\
                        source_profile = base\nduration_seconds = 7200\n";

#[tokio::test]
async fn duration_of_a_session_is_sent() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    world.credentials(&section("base", "AKIDSOURCE"));
    world.config(DURATION);
    let sts = fake_sts().await;
    let url = sts.url();
    let running = world
        .start(&["--profile", "dev"], &[("AWS_ENDPOINT_URL_STS", &url)])
        .await;
    check_ok(&running.query().await);
    check_form(
        &sts.heard()[0],
        &[("Action", "AssumeRole"), ("DurationSeconds", "7200")],
    );
}

#[tokio::test]
async fn roles_are_assumed_one_after_the_other() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    world.credentials(&section("base", "AKIDSOURCE"));
    world.config(
        "[profile dev]\nrole_arn = arn:aws:iam::123456789012:role/second\nsource_profile = hop\n\
         [profile hop]\nrole_arn = arn:aws:iam::123456789012:role/first\nsource_profile = base\n",
    );
    let sts = fake_sts().await;
    let url = sts.url();
    let running = world
        .start(&["--profile", "dev"], &[("AWS_ENDPOINT_URL_STS", &url)])
        .await;
    check_ok(&running.query().await);
    let heard = sts.heard();
    let roles: Vec<String> = heard
        .iter()
        .filter_map(|request| request.form("RoleArn"))
        .collect();
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    assert_eq!(roles, [role("first"), role("second")]);
    assert!(heard[0].headers["authorization"].contains("AKIDSOURCE/"));
    assert!(heard[1].headers["authorization"].contains("AKIDROLE/"));
}

#[tokio::test]
async fn role_that_needs_a_code_is_refused_with_the_reason() {
    let world = start_world(vec![]).await;
    world.credentials(&section("base", "AKIDSOURCE"));
    world.config(&format!(
        "{DURATION}mfa_serial = arn:aws:iam::123456789012:mfa/me\n"
    ));
    let sts = fake_sts().await;
    let url = sts.url();
    let running = world
        .start(&["--profile", "dev"], &[("AWS_ENDPOINT_URL_STS", &url)])
        .await;
    let parts = ["profile \"dev\" has mfa_serial", "credential_process"];
    check_unavailable(&running.query().await, &parts);
    assert_eq!(sts.heard().len(), 0);
}

/// Empty variables count as not set. The SDK panicked on an empty endpoint.
#[tokio::test]
async fn empty_variables_count_as_not_set() {
    let world = start_world(vec![key_with_token("AKIDROLE"), key("AKIDDEFAULT")]).await;
    world.credentials(&section("default", "AKIDDEFAULT"));
    let empty = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
        ("AWS_ROLE_ARN", ""),
        ("AWS_SESSION_TOKEN", ""),
        ("AWS_SECURITY_TOKEN", ""),
        ("AWS_CA_BUNDLE", ""),
        ("AWS_REGION", ""),
    ];
    let running = world.start(&[], &empty).await;
    check_ok(&running.query().await);

    world.credentials("");
    let sts = fake_sts().await;
    let url = sts.url();
    let token_file = world.home.file("jwt", "the.web.token");
    let variables = [
        ("AWS_ENDPOINT_URL_STS", ""),
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ROLE_SESSION_NAME", ""),
        ("AWS_USE_FIPS_ENDPOINT", ""),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token_file),
        ("AWS_ROLE_ARN", ROLE),
    ];
    let running = world.start(&[], &variables).await;
    check_ok(&running.query().await);
    check_form(&sts.heard()[0], &[("RoleSessionName", "countersign")]);
}

#[tokio::test]
async fn old_variable_of_the_session_token_is_read() {
    let world = start_world(vec![key_with_token("AKIDENV")]).await;
    let (secret, token) = (secret("AKIDENV"), token("AKIDENV"));
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDENV"),
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
        ("AWS_SECURITY_TOKEN", token.as_str()),
    ];
    let running = world.start(&[], &keys).await;
    check_ok(&running.query().await);
    let same = ("AWS_SESSION_TOKEN", token.as_str());
    let running = world.start(&[], &[&keys[..], &[same]].concat()).await;
    check_ok(&running.query().await);

    let section = section("default", "AKIDENV");
    world.credentials(&format!("{section}aws_security_token = {token}\n"));
    let running = world.start(&[], &[]).await;
    check_ok(&running.query().await);
}

/// The SDK has no endpoint that is both, which shows that the setting reached it.
#[tokio::test]
async fn fips_and_dual_stack_are_honoured_in_every_way_to_sts() {
    let world = start_world(vec![]).await;
    let sts = fake_sts().await;
    let url = sts.url();
    let token_file = world.home.file("jwt", "the.web.token");
    let role = format!("role_arn = {ROLE}\n");
    let base = section("base", "AKIDSOURCE");
    for (name, expected) in [
        ("AWS_USE_FIPS_ENDPOINT", "FIPS and custom endpoint"),
        (
            "AWS_USE_DUALSTACK_ENDPOINT",
            "Dualstack and custom endpoint",
        ),
    ] {
        let common = [(name, "true"), ("AWS_ENDPOINT_URL_STS", url.as_str())];
        let web = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file.as_str()),
            ("AWS_ROLE_ARN", ROLE),
        ];
        for (credentials, config, arguments, more) in [
            ("", String::new(), &[][..], &web[..]),
            (
                "",
                format!("[default]\n{role}web_identity_token_file = {token_file}\n"),
                &[],
                &[],
            ),
            (
                &base,
                format!("[default]\n{role}source_profile = base\n"),
                &[],
                &[],
            ),
            (
                &section("default", "AKIDSOURCE"),
                String::new(),
                &["--assume-role", ROLE],
                &[],
            ),
        ] {
            world.credentials(credentials);
            world.config(&config);
            let running = world.start(arguments, &[&common[..], more].concat()).await;
            check_unavailable(&running.query().await, &[expected]);
        }
    }
    // The profile's own setting counts, too.
    world.credentials(&base);
    world.config(&format!(
        "[default]\n{role}source_profile = base\nuse_fips_endpoint = true\n"
    ));
    let running = world.start(&[], &[("AWS_ENDPOINT_URL_STS", &url)]).await;
    check_unavailable(&running.query().await, &["FIPS and custom endpoint"]);
    assert_eq!(sts.heard().len(), 0);
}

/// The SDK panicked without authorities, and did not know AWS_CA_BUNDLE.
#[tokio::test]
async fn sts_is_reached_with_the_authorities_of_the_environment() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    let token_file = world.home.file("jwt", "the.web.token");
    let sts = TlsPeer::start(&["localhost"], &["http/1.1"], |_, stream| async move {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Heard::read(&mut stream).await {
            let (secret, token) = (secret("AKIDROLE"), token("AKIDROLE"));
            let body = sts_answer(&request, "AKIDROLE", &secret, &token);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    })
    .await;
    let url = format!("https://localhost:{}", sts.addr.port());
    let bundle = world.home.file("bundle.pem", &sts.ca_pem);
    let missing = world.path("nothing.pem").display().to_string();
    let web = [
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token_file),
        ("AWS_ROLE_ARN", ROLE),
    ];
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let running = world
            .start(&[], &[&web[..], &[(name, &bundle)]].concat())
            .await;
        check_ok(&running.query().await);
        let running = world
            .start(&[], &[&web[..], &[(name, &missing)]].concat())
            .await;
        let expected = format!("{name} names {missing:?}");
        check_unavailable(&running.query().await, &["web identity token", &expected]);
    }
    assert_eq!(sts.connections(), 2);
}

/// The file was read, but its changes were not noticed.
#[tokio::test]
async fn files_in_the_home_directory_are_watched() {
    let world = start_world(vec![key("AKIDNEW")]).await;
    world.home.file("keys", &section("default", "AKIDOLD"));
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", "~/keys"),
        ("AWS_CONFIG_FILE", "~/config"),
    ];
    world.home.file("config", "");
    let running = world.start(&[], &variables).await;
    assert_eq!(running.query().await.status, 403);
    world.home.file("keys", &section("default", "AKIDNEW"));
    check_ok(&running.until(200).await);
}

/// The token was read again only when the credentials were about to expire.
#[tokio::test]
async fn renewed_web_identity_token_is_used_at_once() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    world.home.file("jwt", "first");
    let role = format!("[default]\nrole_arn = {ROLE}\nweb_identity_token_file = ~/jwt\n");
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "~/jwt"),
        ("AWS_ROLE_ARN", ROLE),
    ];
    for (config, variables) in [("", &web[..]), (&role, &[])] {
        world.config(config);
        let sts = fake_sts().await;
        let url = sts.url();
        let endpoint = ("AWS_ENDPOINT_URL_STS", url.as_str());
        let running = world.start(&[], &[variables, &[endpoint]].concat()).await;
        check_ok(&running.query().await);
        assert_eq!(sts.heard().len(), 1);
        let renewed = format!("{}+", world.read("jwt"));
        world.home.file("jwt", &renewed);
        let begun = tokio::time::Instant::now();
        while sts.heard().len() < 2 {
            assert!(begun.elapsed() < PATIENCE, "the token was not read again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        check_form(&sts.heard()[1], &[("WebIdentityToken", &renewed)]);
    }
}

/// A service behind one network hop too many accepts connections, and its answers are lost.
#[tokio::test]
async fn silent_metadata_service_gets_the_hint_about_the_hop_limit() {
    let world = start_world(vec![]).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
    ];
    let running = world.start(&[], &variables).await;
    let parts = ["instance metadata", "--http-put-response-hop-limit 2"];
    check_unavailable(&running.query().await, &parts);

    world.credentials("");
    world.config(&format!(
        "[default]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\n"
    ));
    let running = world.start(&[], &variables).await;
    let parts = ["profile \"default\"", "--http-put-response-hop-limit 2"];
    check_unavailable(&running.query().await, &parts);
    world.config("");

    // Without a service, the hint would be wrong.
    drop(silent);
    let running = world.start(&[], &variables).await;
    let refused = running.query().await;
    check_unavailable(&refused, &["instance metadata", "aws configure"]);
    assert!(!refused.body.contains("hop-limit"), "{refused:?}");
}
