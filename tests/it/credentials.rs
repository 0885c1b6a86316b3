//! The sources of credentials, how they are refreshed, and the errors when there are none.
//!
//! The built binary runs in an environment of the test's own, with a home directory of the
//! test's own; the emulator verifies what was signed with which key.

mod expirations;
mod faults;
mod profile_files;
mod rejections;
mod roles;
mod sources;

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use countersign_emulator::{Emulator, Key, Options};
use serde_json::json;

use crate::fakes::{Endpoint, Heard, sts_answer};
use crate::support::{Answer, Daemon, JSON, PATIENCE, Socket, World, post, within};

/// A running daemon and its address.
struct Running {
    daemon: Daemon,
    addr: std::net::SocketAddr,
}

pub fn key(id: &str) -> Key {
    Key {
        access_key_id: id.to_owned(),
        secret_access_key: secret(id),
        session_token: None,
    }
}

fn key_with_token(id: &str) -> Key {
    Key {
        session_token: Some(token(id)),
        ..key(id)
    }
}

fn secret(id: &str) -> String {
    format!("secret/of+{id}")
}

fn token(id: &str) -> String {
    format!("token/of+{id}==")
}

/// Returns a section of a credentials file.
fn section(profile: &str, id: &str) -> String {
    let secret = secret(id);
    format!("[{profile}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

/// Starts an emulator that accepts `keys`, and creates the directories of the AWS files.
async fn start_world(keys: Vec<Key>) -> World {
    let world = World::builder().keys(keys).start().await;
    std::fs::create_dir_all(world.path(".aws/sso/cache")).unwrap();
    world
}

impl World {
    /// Replaces a file below the home directory atomically.
    fn write(&self, name: &str, text: &str) -> String {
        let fresh = self.home.file("fresh", text);
        let path = self.path(name);
        std::fs::rename(fresh, &path).unwrap();
        path.display().to_string()
    }

    fn credentials(&self, text: &str) {
        self.write(".aws/credentials", text);
    }

    fn config(&self, text: &str) {
        self.write(".aws/config", text);
    }

    /// Writes a shell script and makes it the `credential_process` of the default profile.
    fn process(&self, script: &str) {
        let home = self.home.0.display();
        let script = script.replace("$HOME", &home.to_string());
        let script = self.home.file("process.sh", &script);
        self.config(&format!(
            "[default]\ncredential_process = /bin/sh {script}\n"
        ));
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    async fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let all = self.arguments(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        self.run(&all, environment).await
    }

    /// Runs `countersign serve https://…execute-api…/prod`, and `curl '…/orders?b=2&a=1'` against it.
    async fn check_orders(&self, arguments: &[&str], environment: &[(&str, &str)]) {
        let serve = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let all = self.arguments_to("https://$REST/prod", self.emulator.addr(), &serve);
        let running = self.run(&all, environment).await;
        let curl = tokio::process::Command::new("curl")
            .args(["-sS", "--noproxy", "*", "-m", "20"])
            .arg(format!("http://{}/orders?b=2&a=1", running.addr))
            .output();
        let output = within("curl", curl).await.unwrap();
        let echo: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(echo["target"], "/prod/orders?b=2&a=1", "{echo}");
        assert_eq!(echo["stage"], "prod", "{echo}");
    }

    async fn run(&self, arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Running {
        let home = self.home.0.display().to_string();
        let mut variables = vec![("HOME", home.as_str()), ("PATH", "/usr/bin:/bin")];
        variables.extend(environment);
        let mut daemon = Daemon::start(arguments, &variables);
        let addr = daemon.address().await;
        Running { daemon, addr }
    }

    fn requests(&self) -> u64 {
        self.emulator.stats().requests.http
    }
}

impl Running {
    /// Returns the address of the admin listener, if the daemon has one.
    fn admin(&self) -> std::net::SocketAddr {
        let (_, address) = self
            .daemon
            .log
            .split_once("health and metrics on http://")
            .unwrap();
        let end = address.find(['"', ' ', '\n']).unwrap();
        address[..end].parse().unwrap()
    }

    async fn query(&self) -> Answer {
        self.query_at("/graphql").await
    }

    async fn query_at(&self, path: &str) -> Answer {
        let body = json!({ "query": "{ rooms { id } }" }).to_string();
        post(self.addr, path, &[JSON], &body).await
    }

    /// Repeats the query until the response has this status.
    async fn until(&self, status: u16) -> Answer {
        self.until_within(status, PATIENCE).await
    }

    async fn until_within(&self, status: u16, patience: Duration) -> Answer {
        let begun = tokio::time::Instant::now();
        loop {
            let answer = self.query().await;
            if answer.status == status {
                return answer;
            }
            assert!(begun.elapsed() < patience, "no {status} but {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops the daemon and returns its log.
    async fn log(mut self) -> String {
        self.daemon.signal("-TERM");
        assert_eq!(self.daemon.exited().await, 0, "{}", self.daemon.log);
        std::mem::take(&mut self.daemon.log)
    }
}

#[track_caller]
fn check_ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["data"]["rooms"].is_array(), "{answer:?}");
}

/// Checks for our 503, a GraphQL error whose message contains all `parts`.
#[track_caller]
fn check_unavailable(answer: &Answer, parts: &[&str]) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.code(), "CREDENTIALS_UNAVAILABLE");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["retry-after"], "1");
    let error = &answer.json()["errors"][0];
    assert_eq!(error["extensions"]["sent"], "no", "{answer:?}");
    let message = error["message"].as_str().unwrap();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
}

fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[tokio::test]
async fn requests_are_signed_with_keys_of_the_environment() {
    let world = start_world(vec![key_with_token("AKIDENV")]).await;
    let (secret, token) = (secret("AKIDENV"), token("AKIDENV"));
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDENV"),
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
        ("AWS_SESSION_TOKEN", token.as_str()),
    ];
    // The environment takes precedence over a profile.
    world.credentials(&section("default", "AKIDOTHER"));
    let running = world.start(&[], &variables).await;
    check_ok(&running.query().await);
    world.check_orders(&[], &variables).await;
}

#[tokio::test]
async fn requests_are_signed_with_the_profile_of_the_flag() {
    let world = start_world(vec![key("AKIDDEV")]).await;
    world.credentials(&(section("default", "AKIDOTHER") + &section("dev", "AKIDDEV")));
    // A profile that is named by a flag takes precedence over the environment.
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDOTHER"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    let running = world.start(&["--profile", "dev"], &variables).await;
    check_ok(&running.query().await);
    world.check_orders(&["--profile", "dev"], &variables).await;

    let running = world.start(&["--profile", "absent"], &variables).await;
    check_unavailable(&running.query().await, &["absent", "--profile absent"]);
}

#[tokio::test]
async fn two_routes_sign_with_their_own_profiles() {
    let world = start_world(vec![key("AKIDA"), key("AKIDB")]).await;
    let only_a = Options {
        keys: vec![key("AKIDA")],
        ..Options::default()
    };
    let only_a = Emulator::start(only_a).await.unwrap();
    world.credentials(&(section("a", "AKIDA") + &section("b", "AKIDB")));
    let mut config = "listen = [\"127.0.0.1:0\"]\n".to_owned();
    for (name, profile, emulator) in [
        ("a", "a", &world.emulator),
        ("b", "b", &world.emulator),
        ("a2", "a", &only_a),
        ("b2", "b", &only_a),
    ] {
        let ca_file = world.home.file(&format!("{name}.pem"), emulator.ca_pem());
        config.push_str(&format!(
            "[route.{name}]\npath = \"/{name}\"\ntarget = \"https://{}/graphql\"\n\
             connect = \"{}\"\nca_file = \"{ca_file}\"\nprofile = \"{profile}\"\n",
            emulator.api_host(),
            emulator.addr(),
        ));
    }
    let config = world.home.file("countersign.toml", &config);
    let running = world.run(&["--config", &config], &[]).await;
    for path in ["/a", "/b", "/a2"] {
        check_ok(&running.query_at(path).await);
    }
    let refused = running.query_at("/b2").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(
        refused.body.contains("UnrecognizedClientException"),
        "{refused:?}"
    );
}

/// Appends the time and the promised expiry of each run to `runs`, and prints the key `AKID<run>`.
pub const ROTATING: &str = "\
begun=$(date +%s)
if [ -e $HOME/broken ]; then echo 'the vault is sealed' >&2; exit 1; fi
expires=$(date -u -d '+LIFE seconds' +%Y-%m-%dT%H:%M:%SZ)
echo \"$begun $(date -d \"$expires\" +%s)\" >> $HOME/runs
n=$(wc -l < $HOME/runs)
echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"AKID$n\\\",\\\"SecretAccessKey\\\":\\\"secret/of+AKID$n\\\",\\\"Expiration\\\":\\\"$expires\\\"}\"
";

/// Returns the start and the promised expiry of each run.
fn runs(text: &str) -> Vec<(u64, u64)> {
    let line = |line: &str| {
        let (begun, expires) = line.split_once(' ')?;
        Some((begun.parse().ok()?, expires.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[tokio::test]
async fn a_credential_process_is_run_ahead_of_expiry_and_not_for_each_request() {
    let keys = (1..100).map(|n| key(&format!("AKID{n}"))).collect();
    let world = start_world(keys).await;
    // A quarter of it is the margin, which a busy machine may use up.
    world.process(&ROTATING.replace("LIFE", "8"));
    let running = world.start(&[], &[]).await;
    let begun = tokio::time::Instant::now();
    let mut requests = 0;
    while runs(&world.read("runs")).len() < 3 {
        check_ok(&running.query().await);
        requests += 1;
        assert!(begun.elapsed() < 3 * PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let runs = runs(&world.read("runs"));
    for pair in runs.windows(2) {
        let ((_, expires), (begun, _)) = (pair[0], pair[1]);
        assert!(begun < expires, "refreshed when it was too late: {runs:?}");
    }
    assert!(requests > 2 * runs.len(), "{requests} {runs:?}");
}

#[tokio::test]
async fn the_last_good_credentials_are_used_until_they_expire() {
    let keys = (1..100).map(|n| key(&format!("AKID{n}"))).collect();
    let world = start_world(keys).await;
    world.process(&ROTATING.replace("LIFE", "5"));
    let running = world.start(&[], &[]).await;
    check_ok(&running.until(200).await);
    world.home.file("broken", "");
    // One more run may have been in progress.
    let begun = tokio::time::Instant::now();
    let (refused, at) = loop {
        let asked = SystemTime::now();
        let answer = running.query().await;
        if answer.status != 200 {
            break (answer, asked);
        }
        assert!(begun.elapsed() < PATIENCE, "still served after the expiry");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let (_, expires) = *runs(&world.read("runs")).last().unwrap();
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    // A request may be sent just before the expiry and signed just after it.
    let early = Duration::from_secs(expires).saturating_sub(at);
    assert!(
        early < Duration::from_millis(250),
        "refused {early:?} before the expiry"
    );
    check_unavailable(
        &refused,
        &["profile", "exited", "aws sts get-caller-identity"],
    );
    assert!(!refused.body.contains("sealed"), "{refused:?}");

    let seen = world.requests();
    check_unavailable(&running.query().await, &[]);
    assert_eq!(world.requests(), seen);

    std::fs::remove_file(world.home.0.join("broken")).unwrap();
    check_ok(&running.until(200).await);
    assert!(!running.log().await.contains("sealed"));
}

#[tokio::test]
async fn a_rewritten_profile_file_takes_effect_without_a_restart() {
    let world = start_world(vec![key("AKIDNEW")]).await;
    world.credentials(&section("default", "AKIDOLD"));
    let running = world.start(&[], &[]).await;
    assert_eq!(running.query().await.status, 403);
    world.credentials(&section("default", "AKIDNEW"));
    check_ok(&running.until(200).await);
}

#[tokio::test]
async fn without_credentials_the_daemon_reports_it_and_recovers() {
    let world = start_world(vec![key("AKIDLATE")]).await;
    let running = world.start(&[], &[]).await;
    let parts = [
        "environment",
        "profile",
        "web identity token",
        "container endpoint",
        "instance metadata",
        "aws configure",
        "aws sso login",
    ];
    check_unavailable(&running.query().await, &parts);

    let mut socket = Socket::open(running.addr, &[]).await;
    socket.init().await;
    for (id, query) in [
        ("q", "{ rooms { id } }"),
        ("m", "mutation { createRoom(name: \"x\") { id } }"),
        ("s", "subscription { onMessage { id } }"),
    ] {
        socket.subscribe(id, query).await;
        let frame = socket.next().await;
        assert_eq!(frame["id"], id, "{frame}");
        assert_eq!(frame["type"], "error", "{frame}");
        let extensions = &frame["payload"][0]["extensions"];
        assert_eq!(extensions["code"], "CREDENTIALS_UNAVAILABLE", "{frame}");
        assert_eq!(extensions["sent"], "no", "{frame}");
    }
    assert_eq!(world.requests(), 0);

    world.credentials(&section("default", "AKIDLATE"));
    check_ok(&running.until(200).await);
    // The socket stayed open.
    socket.subscribe("q", "{ rooms { id } }").await;
    let frame = socket.next_of("q").await;
    assert_eq!(frame["type"], "next", "{frame}");
    socket
        .subscribe("s", "subscription { onMessage { id } }")
        .await;
    let subscribed = world
        .emulator
        .wait_for(|stats| stats.realtime.subscriptions == 1);
    within("a subscription", subscribed).await;
}

#[tokio::test]
async fn expired_credentials_sign_no_request() {
    let world = start_world(vec![key("AKIDPAST")]).await;
    world.process(
        "echo run >> $HOME/runs\necho '{\"Version\":1,\"AccessKeyId\":\"AKIDPAST\",\
         \"SecretAccessKey\":\"secret/of+AKIDPAST\",\"Expiration\":\"2020-01-01T00:00:00Z\"}'\n",
    );
    let running = world.start(&[], &[]).await;
    let answer = running.query().await;
    check_unavailable(&answer, &["profile", "expired", "2020-01-01T00:00:00Z"]);
    assert_eq!(world.requests(), 0);
    assert!(world.exists("runs"));
}

/// A process with a wrong clock must not replace credentials that are still valid.
#[tokio::test]
async fn credentials_that_arrive_expired_do_not_replace_good_ones() {
    let world = start_world(vec![key("AKIDGOOD")]).await;
    world.process(
        "if [ -e $HOME/runs ]; then expires=2020-01-01T00:00:00Z; \
         else expires=$(date -u -d '+8 seconds' +%Y-%m-%dT%H:%M:%SZ); fi\n\
         echo run >> $HOME/runs\necho \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"AKIDGOOD\\\",\
         \\\"SecretAccessKey\\\":\\\"secret/of+AKIDGOOD\\\",\\\"Expiration\\\":\\\"$expires\\\"}\"\n",
    );
    let running = world.start(&[], &[]).await;
    check_ok(&running.until(200).await);
    let begun = tokio::time::Instant::now();
    while world.read("runs").lines().count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "no second run");
        check_ok(&running.query().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check_ok(&running.query().await);
}

fn container_answer(id: &str) -> String {
    let expires = rfc3339(SystemTime::now() + Duration::from_secs(3_600));
    json!({
        "AccessKeyId": id,
        "SecretAccessKey": secret(id),
        "Token": token(id),
        "Expiration": expires,
    })
    .to_string()
}

#[tokio::test]
async fn credentials_come_from_a_container_endpoint() {
    let world = start_world(vec![key_with_token("AKIDPOD")]).await;
    let agent = Endpoint::start(|request| {
        let authorised = request.headers.get("authorization");
        match (request.path(), authorised.map(String::as_str)) {
            ("/v1/credentials", Some("pod-token" | "file-token")) => {
                (200, container_answer("AKIDPOD"))
            }
            _ => (401, "{}".to_owned()),
        }
    })
    .await;
    let uri = format!("{}/v1/credentials", agent.url());
    let token_file = world.home.file("eks-token", "file-token");
    for token in [
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token_file),
    ] {
        let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()), token];
        let running = world.start(&[], &variables).await;
        check_ok(&running.query().await);
    }
    let tokens: Vec<String> = agent
        .heard()
        .iter()
        .map(|request| request.headers["authorization"].clone())
        .collect();
    assert_eq!(tokens, ["pod-token", "file-token"]);

    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token");
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()), token];
    world.check_orders(&[], &variables).await;

    let wrong = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong"),
    ];
    let running = world.start(&[], &wrong).await;
    let parts = ["container endpoint", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    check_unavailable(&running.query().await, &parts);
}

async fn fake_instance(id: &'static str) -> Endpoint {
    Endpoint::start(move |request| {
        let has_token = request.headers.get("x-aws-ec2-metadata-token");
        let has_token = has_token.is_some_and(|token| token == "imds-token");
        let role = "/latest/meta-data/iam/security-credentials/";
        match request.path().strip_prefix(role) {
            Some("") if has_token => (200, "the-role".to_owned()),
            Some("the-role") if has_token => {
                let mut answer: serde_json::Value =
                    serde_json::from_str(&container_answer(id)).unwrap();
                answer["Code"] = "Success".into();
                answer["Type"] = "AWS-HMAC".into();
                (200, answer.to_string())
            }
            _ if request.line.starts_with("PUT /latest/api/token ") => {
                (200, "imds-token".to_owned())
            }
            _ => (404, String::new()),
        }
    })
    .await
}

#[tokio::test]
async fn credentials_come_from_instance_metadata() {
    let world = start_world(vec![key_with_token("AKIDEC2")]).await;
    let service = fake_instance("AKIDEC2").await;
    let url = service.url();
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
    ];
    let running = world.start(&[], &variables).await;
    for _ in 0..5 {
        check_ok(&running.query().await);
    }
    assert_eq!(service.heard().len(), 3, "{:?}", service.heard());
    world.check_orders(&[], &variables).await;
}

const ROLE: &str = "arn:aws:iam::123456789012:role/the-role";

async fn fake_sts() -> Endpoint {
    Endpoint::start(|request| {
        let (id, secret, token) = ("AKIDROLE", secret("AKIDROLE"), token("AKIDROLE"));
        (200, sts_answer(request, id, &secret, &token))
    })
    .await
}

#[track_caller]
fn check_form(request: &Heard, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(request.form(name).as_deref(), Some(*value), "{request:?}");
    }
}

/// The task that refreshes credentials panicked, because the SDK's configuration had no clock.
#[tokio::test]
async fn a_route_assumes_its_role() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    world.credentials(&section("default", "AKIDSOURCE"));
    for variable in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
        let sts = fake_sts().await;
        let url = sts.url();
        let arguments = ["--assume-role", ROLE];
        let running = world.start(&arguments, &[(variable, &url)]).await;
        check_ok(&running.query().await);
        check_ok(&running.query().await);
        let heard = sts.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        let form = [
            ("Action", "AssumeRole"),
            ("RoleArn", ROLE),
            ("RoleSessionName", "countersign"),
        ];
        check_form(&heard[0], &form);
        let authorization = &heard[0].headers["authorization"];
        assert!(authorization.contains("AKIDSOURCE/"), "{authorization}");
        assert!(authorization.contains("/us-east-1/sts/"), "{authorization}");
    }
}

#[tokio::test]
async fn a_rejected_role_is_named() {
    let world = start_world(vec![]).await;
    world.credentials(&section("default", "AKIDSOURCE"));
    let sts = Endpoint::start(|_| {
        let message = "User is not authorized to perform: sts:AssumeRole\n\
                       x-amz-security-token:the-source-token\n";
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
             <Message>{message}</Message></Error></ErrorResponse>"
        );
        (403, body)
    })
    .await;
    let url = sts.url();
    let arguments = ["--assume-role", ROLE];
    let running = world
        .start(&arguments, &[("AWS_ENDPOINT_URL_STS", &url)])
        .await;
    let refused = running.query().await;
    let parts = [ROLE, "not authorized", "AccessDenied", "trust policy"];
    check_unavailable(&refused, &parts);
    assert!(!refused.body.contains("the-source-token"), "{refused:?}");
    assert!(!running.log().await.contains("the-source-token"));
}

#[tokio::test]
async fn a_profile_assumes_its_role() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    world.credentials(&section("base", "AKIDSOURCE"));
    world.config(&format!(
        "[profile crossing]\nrole_arn = {ROLE}\nsource_profile = base\n\
         external_id = the-external-id\nrole_session_name = the-session\n"
    ));
    let sts = fake_sts().await;
    let url = sts.url();
    let running = world
        .start(
            &["--profile", "crossing"],
            &[("AWS_ENDPOINT_URL_STS", &url)],
        )
        .await;
    check_ok(&running.query().await);
    let form = [
        ("Action", "AssumeRole"),
        ("RoleArn", ROLE),
        ("ExternalId", "the-external-id"),
        ("RoleSessionName", "the-session"),
    ];
    check_form(&sts.heard()[0], &form);
    let variables = [("AWS_ENDPOINT_URL_STS", url.as_str())];
    world
        .check_orders(&["--profile", "crossing"], &variables)
        .await;
}

#[tokio::test]
async fn a_web_identity_token_assumes_its_role() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    let token_file = world.home.file("jwt", "the.web.token");
    let sts = fake_sts().await;
    let url = sts.url();
    let variables = [
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token_file),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ROLE_SESSION_NAME", "the-pod"),
    ];
    let running = world.start(&[], &variables).await;
    check_ok(&running.query().await);
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "the-pod"),
        ("WebIdentityToken", "the.web.token"),
    ];
    check_form(&sts.heard()[0], &form);
    // It is not a signed call.
    assert!(!sts.heard()[0].headers.contains_key("authorization"));
}

const START_URL: &str = "https://example.awsapps.com/start";
/// SHA-1 of `START_URL`, and of the session name `corp`.
const START_URL_CACHE: &str = ".aws/sso/cache/e8be5486177c5b5392bd9aa76563515b29358e6e.json";
const SESSION_CACHE: &str = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";

fn sso_config() -> String {
    format!(
        "[profile legacy]\nsso_start_url = {START_URL}\nsso_region = eu-west-1\n\
         sso_account_id = 123456789012\nsso_role_name = Dev\n\
         [profile dev]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Dev\n\
         [sso-session corp]\nsso_start_url = {START_URL}\nsso_region = eu-west-1\n\
         sso_registration_scopes = sso:account:access\n"
    )
}

fn sso_token(token: &str, expires: SystemTime) -> String {
    json!({
        "startUrl": START_URL,
        "region": "eu-west-1",
        "accessToken": token,
        "expiresAt": rfc3339(expires),
    })
    .to_string()
}

async fn fake_portal() -> Endpoint {
    Endpoint::start(|request| {
        let token = request.headers.get("x-amz-sso_bearer_token");
        let expiration = SystemTime::now() + Duration::from_secs(3_600);
        let expiration = expiration.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        match (request.path().split_once('?'), token.map(String::as_str)) {
            (Some(("/federation/credentials", query)), Some("sso-access-token")) => {
                assert!(query.contains("role_name=Dev"), "{query}");
                assert!(query.contains("account_id=123456789012"), "{query}");
                let answer = json!({ "roleCredentials": {
                    "accessKeyId": "AKIDSSO",
                    "secretAccessKey": secret("AKIDSSO"),
                    "sessionToken": token_of_sso(),
                    "expiration": u64::try_from(expiration.as_millis()).unwrap(),
                }});
                (200, answer.to_string())
            }
            _ => {
                let message = "Session token not found or invalid";
                (
                    401,
                    json!({ "__type": "UnauthorizedException", "message": message }).to_string(),
                )
            }
        }
    })
    .await
}

fn token_of_sso() -> String {
    token("AKIDSSO")
}

#[tokio::test]
async fn an_expired_sso_login_is_named_and_recovers_after_a_new_one() {
    let hour = Duration::from_secs(3_600);
    let world = start_world(vec![key_with_token("AKIDSSO")]).await;
    let portal = fake_portal().await;
    let url = portal.url();
    world.config(&sso_config());
    for (profile, cache) in [("legacy", START_URL_CACHE), ("dev", SESSION_CACHE)] {
        world.write(cache, &sso_token("stale", SystemTime::now() - hour));
        let arguments = ["--profile", profile];
        let running = world
            .start(&arguments, &[("AWS_ENDPOINT_URL_SSO", &url)])
            .await;
        let login = format!("aws sso login --profile {profile}");
        check_unavailable(&running.query().await, &[profile, &login]);

        world.write(
            cache,
            &sso_token("sso-access-token", SystemTime::now() + hour),
        );
        check_ok(&running.until(200).await);
    }
}
