//! Broken and incomplete credential sources never fall back to another identity, and botocore
//! uses the same one as countersign. An instance's role is always available.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::fakes::Endpoint;
use crate::support::{Daemon, Scratch, command, filter, get, python, within};

/// The expected result of a source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Requests are signed with this access key id.
    Uses(&'static str),
    /// The same, although botocore uses none.
    Accepts(&'static str),
    /// No request is signed, and the error contains this text.
    Refused(&'static str),
}

use Expected::{Accepts, Refused, Uses};

/// A source: variables, the config file, the credentials file. In them `$HOME` is the home directory
/// and `$AGENT` the URL of a container endpoint.
pub(super) struct Row {
    name: &'static str,
    variables: Vec<(&'static str, &'static str)>,
    config: &'static str,
    credentials: &'static [u8],
    expected: Expected,
}

const KEYS: &[u8] = b"[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s\n\
                      [dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = s\n";
const ID: (&str, &str) = ("AWS_ACCESS_KEY_ID", "AKIDENV");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "s");
const ROLE_ARN: (&str, &str) = ("AWS_ROLE_ARN", ROLE);
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";

pub(super) fn row(
    name: &'static str,
    variables: &[(&'static str, &'static str)],
    config: &'static str,
    credentials: &'static [u8],
    expected: Expected,
) -> Row {
    Row {
        name,
        variables: variables.to_vec(),
        config,
        credentials,
        expected,
    }
}

/// A source that is not configured is skipped. These show that the instance's role is available.
fn working() -> Vec<Row> {
    vec![
        row("nothing", &[], "", b"", Uses("AKIDINSTANCE")),
        row(
            "default profile without credentials",
            &[],
            "[default]\nregion = us-east-1\n",
            b"",
            Uses("AKIDINSTANCE"),
        ),
        row(
            "only another profile",
            &[],
            "",
            b"[dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = s\n",
            Uses("AKIDINSTANCE"),
        ),
        row(
            "files of /dev/null",
            &[
                ("AWS_CONFIG_FILE", "/dev/null"),
                ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ],
            "",
            KEYS,
            Uses("AKIDINSTANCE"),
        ),
        row("environment", &[ID, SECRET], "", KEYS, Uses("AKIDENV")),
        row(
            "environment, empty",
            &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")],
            "",
            KEYS,
            Uses("AKIDDEFAULT"),
        ),
        row(
            "environment in small letters",
            &[
                ("aws_access_key_id", "AKIDENV"),
                ("aws_secret_access_key", "s"),
            ],
            "",
            KEYS,
            Uses("AKIDDEFAULT"),
        ),
        row(
            "environment, and the region's profile",
            &[ID, SECRET, ("AWS_PROFILE", "region")],
            "[profile region]\nregion = us-east-1\n",
            KEYS,
            Uses("AKIDENV"),
        ),
        row(
            "AWS_PROFILE",
            &[("AWS_PROFILE", "dev")],
            "",
            KEYS,
            Uses("AKIDDEV"),
        ),
        row(
            "AWS_DEFAULT_PROFILE",
            &[("AWS_DEFAULT_PROFILE", "dev")],
            "",
            KEYS,
            Uses("AKIDDEV"),
        ),
        row(
            "both variables name one profile",
            &[("AWS_DEFAULT_PROFILE", "dev"), ("AWS_PROFILE", "dev")],
            "",
            KEYS,
            Uses("AKIDDEV"),
        ),
        row(
            "[profile default]",
            &[],
            "[profile default]\naws_access_key_id = AKIDCONFIG\naws_secret_access_key = s\n",
            b"",
            Uses("AKIDCONFIG"),
        ),
        row(
            "keys of both files",
            &[],
            "[default]\naws_access_key_id = AKIDCONFIG\naws_secret_access_key = s\n",
            KEYS,
            Uses("AKIDDEFAULT"),
        ),
        row(
            "source_profile",
            &[],
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\n",
            b"[dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = s\n",
            Uses("AKIDROLE"),
        ),
        row(
            "source_profile with a process",
            &[],
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\n[profile dev]\ncredential_process = cat $HOME/good.json\n",
            b"",
            Uses("AKIDROLE"),
        ),
        row(
            "process",
            &[],
            "[default]\ncredential_process = cat $HOME/good.json\n",
            b"[dev]\na = b\n",
            Uses("AKIDPROCESS"),
        ),
        row(
            "container endpoint",
            &[(FULL_URI, "$AGENT/good")],
            "",
            b"",
            Uses("AKIDTASK"),
        ),
    ]
}

fn broken() -> Vec<Row> {
    vec![
        row("AWS_PROFILE does not exist", &[("AWS_PROFILE", "ghost")], "", KEYS, Refused("profile \"ghost\" (AWS_PROFILE) does not exist")),
        row("AWS_PROFILE does not exist, keys in the environment", &[("AWS_PROFILE", "ghost"), ID, SECRET], "", KEYS, Refused("does not exist")),
        row("AWS_PROFILE is misspelled", &[("AWS_PROFILE", "dve")], "", KEYS, Refused("Did you mean profile \"dev\"? Or run `aws configure --profile dve`, or correct AWS_PROFILE.")),
        row("profile with a session of aws login", &[], "[default]\nlogin_session = arn:aws:sts::123456789012:assumed-role/Dev/me\n", b"", Refused("aws configure export-credentials --profile default --format process")),
        row("AWS_PROFILE is empty", &[("AWS_PROFILE", "")], "", KEYS, Refused("AWS_PROFILE is set and empty")),
        row("AWS_PROFILE with another case", &[("AWS_PROFILE", "Dev")], "", KEYS, Refused("profile \"Dev\"")),
        row("AWS_DEFAULT_PROFILE does not exist", &[("AWS_DEFAULT_PROFILE", "ghost")], "", KEYS, Refused("(AWS_DEFAULT_PROFILE) does not exist")),
        row("two variables, two profiles", &[("AWS_DEFAULT_PROFILE", "dev"), ("AWS_PROFILE", "default")], "", KEYS, Refused("AWS_DEFAULT_PROFILE is \"dev\"")),
        row("AWS_PROFILE without credentials", &[("AWS_PROFILE", "region")], "[profile region]\nregion = us-east-1\n", KEYS, Refused("profile \"region\" (AWS_PROFILE) has no credentials")),
        row("[dev] in the config file", &[("AWS_PROFILE", "ops")], "[ops]\naws_access_key_id = AKIDOPS\naws_secret_access_key = s\n", KEYS, Refused("line 1 has [ops]: write [profile ops] in the config file")),
        row("[profile dev] in the credentials file", &[("AWS_PROFILE", "ops")], "", b"[profile ops]\naws_access_key_id = AKIDOPS\naws_secret_access_key = s\n", Refused("line 1 has [profile ops]: write [ops] in the credentials file")),
        row("[profile my dev] without quotes", &[("AWS_PROFILE", "my dev")], "[profile my dev]\nregion = x\n", KEYS, Refused("write [profile \"my dev\"]")),
        row("AWS_CONFIG_FILE does not exist", &[("AWS_CONFIG_FILE", "$HOME/nothing")], "", KEYS, Refused("nothing\" cannot be used")),
        row("AWS_CONFIG_FILE does not exist, profile named", &[("AWS_CONFIG_FILE", "$HOME/nothing"), ("AWS_PROFILE", "ghost")], "", KEYS, Refused("nothing\" cannot be used")),
        row("AWS_CONFIG_FILE is a directory", &[("AWS_CONFIG_FILE", "$HOME")], "", b"", Refused("not a regular file")),
        row("AWS_SHARED_CREDENTIALS_FILE does not exist", &[("AWS_SHARED_CREDENTIALS_FILE", "$HOME/nothing")], "", KEYS, Refused("nothing\" cannot be used")),
        row("AWS_SHARED_CREDENTIALS_FILE in a file", &[("AWS_SHARED_CREDENTIALS_FILE", "$HOME/good.json/x")], "", KEYS, Refused("cannot be used")),
        row("credentials file is not UTF-8", &[], "", b"[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s\n# caf\xe9\n", Refused("byte 73 is not UTF-8")),
        row("config file is not UTF-8", &[], "[default]\nregion = \u{fffd}\n", b"", Refused("is not UTF-8")),
        row("credentials file is not valid", &[], "", b"AKIDDEFAULT\ns\n", Refused(".aws/credentials\" cannot be used: line 1")),
        row("config file does not parse", &[], "[default\nregion = us-east-1\n", b"", Refused(".aws/config\" cannot be used: line 1")),
        row("profile twice", &[], "", b"[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s\n[default]\naws_access_key_id = AKIDSECOND\naws_secret_access_key = s\n", Refused("line 4 has another section")),
        row("key twice", &[], "", b"[default]\naws_access_key_id = AKIDDEFAULT\naws_access_key_id = AKIDSECOND\naws_secret_access_key = s\n", Refused("line 3 has another aws_access_key_id")),
        row("[default] and [profile default]", &[], "[profile default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s\n[default]\naws_access_key_id = AKIDSECOND\naws_secret_access_key = s\n", b"", Refused("line 4 has another section")),
        row("[DEFAULT]", &[], "", b"[DEFAULT]\naws_access_key_id = AKIDPYTHON\naws_secret_access_key = s\n[default]\nregion = us-east-1\n", Refused("write [default]")),
        row("environment: key id alone", &[ID], "", KEYS, Refused("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY")),
        row("environment: secret alone", &[SECRET], "", KEYS, Refused("AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID")),
        row("environment: empty secret", &[ID, ("AWS_SECRET_ACCESS_KEY", "")], "", KEYS, Refused("without AWS_SECRET_ACCESS_KEY")),
        row("environment: empty key id", &[("AWS_ACCESS_KEY_ID", ""), SECRET], "", KEYS, Refused("without AWS_ACCESS_KEY_ID")),
        row("environment: the old name of the secret", &[ID, ("SECRET_ACCESS_KEY", "s")], "", KEYS, Refused("without AWS_SECRET_ACCESS_KEY")),
        row("environment: blank", &[("AWS_ACCESS_KEY_ID", " "), ("AWS_SECRET_ACCESS_KEY", " ")], "", KEYS, Refused("the access key id from environment contains a space")),
        row("environment: line end", &[ID, ("AWS_SECRET_ACCESS_KEY", "s\n")], "", KEYS, Refused("the secret access key from environment contains a line end")),
        row("environment: expiry that is not a time", &[ID, SECRET, ("AWS_CREDENTIAL_EXPIRATION", "soonish")], "", KEYS, Refused("AWS_CREDENTIAL_EXPIRATION is \"soonish\"")),
        row("environment: expired", &[ID, SECRET, ("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")], "", KEYS, Refused("expired at 2020-01-01T00:00:00Z")),
        row("profile: key id alone", &[], "", b"[default]\naws_access_key_id = AKIDDEFAULT\n", Refused("aws_access_key_id without aws_secret_access_key")),
        row("profile: secret alone", &[], "", b"[default]\naws_secret_access_key = s\n", Refused("aws_secret_access_key without aws_access_key_id")),
        row("profile: token alone", &[], "", b"[default]\naws_session_token = t\n", Refused("aws_session_token without")),
        row("profile: empty key id", &[], "", b"[default]\naws_access_key_id =\naws_secret_access_key = s\n", Refused("the access key id from profile \"default\" is empty")),
        row("profile: half a pair in each file", &[], "[default]\naws_access_key_id = AKIDCONFIG\n", b"[default]\naws_secret_access_key = s\n", Refused("in one file")),
        row("profile: key id over a pair", &[], "[default]\naws_access_key_id = AKIDCONFIG\naws_secret_access_key = s\n", b"[default]\naws_access_key_id = AKIDDEFAULT\n", Refused("in one file")),
        row("profile: keys and a process", &[], "[default]\ncredential_process = cat $HOME/good.json\n", KEYS, Refused("both aws_access_key_id and credential_process")),
        row("profile: two session tokens", &[], "", b"[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s\naws_session_token = t\naws_security_token = u\n", Refused("has two session tokens")),
        row("environment: two session tokens", &[ID, SECRET, ("AWS_SESSION_TOKEN", "t"), ("AWS_SECURITY_TOKEN", "u")], "", KEYS, Refused("AWS_SESSION_TOKEN and AWS_SECURITY_TOKEN differ")),
        row("role with a duration that is not a number", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\nduration_seconds = 1h\n", KEYS, Refused("duration_seconds \"1h\"")),
        row("AWS_USE_FIPS_ENDPOINT is neither true nor false", &[("AWS_USE_FIPS_ENDPOINT", "1")], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\n", b"[dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = s\n", Refused("AWS_USE_FIPS_ENDPOINT is \"1\"")),
        row("SSO with a name that is not supported", &[], "[default]\nsso_session = my corp\nsso_account_id = 123456789012\nsso_role_name = Dev\n[sso-session 'my corp']\nsso_region = us-east-1\n", b"", Refused("sso_session \"my corp\"")),
        row("role without a source", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\n", b"", Refused("source_profile")),
        row("role with two sources", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\ncredential_source = Ec2InstanceMetadata\n", KEYS, Refused("both source_profile and credential_source")),
        row("source_profile does not exist", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = ghost\n", b"", Refused("ghost")),
        row("source_profile without credentials", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\n[profile dev]\nregion = us-east-1\n", b"", Refused("dev")),
        row("source_profile with half a pair", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\n", b"[dev]\naws_access_key_id = AKIDDEV\n", Refused("profile \"dev\" has aws_access_key_id without")),
        row("source_profile with a line end", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = dev\n", b"[dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = s\n  t\n", Refused("the secret access key from profile \"dev\" contains a line end")),
        row("source_profile in a circle", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = a\n[profile a]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = default\n", b"", Refused("loop")),
        row("credential_source is unknown", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Keychain\n", b"", Refused("`Keychain` provider")),
        row("credential_source without its variables", &[], "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Environment\n", b"", Refused("environment variable not set")),
        row("credential_source without a role", &[], "[default]\ncredential_source = EcsContainer\n", b"", Refused("credential_source without role_arn")),
        row("sso_session does not exist", &[], "[default]\nsso_session = ghost\nsso_account_id = 123456789012\nsso_role_name = Dev\n", b"", Refused("ghost")),
        row("SSO without an account", &[], "[default]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\nsso_role_name = Dev\n", b"", Refused("sso_account_id")),
        row("web identity: token file alone", &[("AWS_WEB_IDENTITY_TOKEN_FILE", "$HOME/jwt")], "", KEYS, Refused("AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN")),
        row("web identity: role alone", &[ROLE_ARN], "", b"", Refused("AWS_ROLE_ARN is set without AWS_WEB_IDENTITY_TOKEN_FILE")),
        row("web identity: no such token file", &[ROLE_ARN, ("AWS_WEB_IDENTITY_TOKEN_FILE", "$HOME/nothing")], "", b"", Refused("web identity token")),
        row("web identity of a profile without a role", &[], "[default]\nweb_identity_token_file = $HOME/jwt\n", b"", Refused("role_arn")),
        row("container: token alone", &[("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")], "", b"", Refused("AWS_CONTAINER_AUTHORIZATION_TOKEN is set without")),
        row("container: empty URI", &[(FULL_URI, "")], "", b"", Refused("container endpoint")),
        row("container: plain HTTP to another machine", &[(FULL_URI, "http://192.0.2.1/good")], "", b"", Refused("not refer to an allowed IP address")),
        row("container: URI that is none", &[(FULL_URI, "$HOME good")], "", b"", Refused("container endpoint")),
        row("container: relative URI without a slash", &[(RELATIVE_URI, "good")], "", b"", Refused("container endpoint")),
        row("container: relative URI that is empty, and a full one", &[(RELATIVE_URI, ""), (FULL_URI, "$AGENT/good")], "", b"", Refused("container endpoint")),
        row("container: token file does not exist", &[(FULL_URI, "$AGENT/good"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "$HOME/nothing")], "", b"", Refused("container endpoint")),
        row("container: token with a line end", &[(FULL_URI, "$AGENT/good"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t\nx: y")], "", b"", Refused("container endpoint")),
        row("container: refusal", &[(FULL_URI, "$AGENT/forbidden")], "", b"", Refused("container endpoint")),
        row("container: garbage", &[(FULL_URI, "$AGENT/garbage")], "", b"", Refused("container endpoint")),
        row("container: expiry that is not a time", &[(FULL_URI, "$AGENT/expiry")], "", b"", Refused("container endpoint")),
        row("container: no secret", &[(FULL_URI, "$AGENT/half")], "", b"", Refused("container endpoint")),
        row("process: does not exist", &[], "[default]\ncredential_process = $HOME/nothing\n", b"", Refused("exited with status 127")),
        row("process: fails", &[], "[default]\ncredential_process = sh -c 'exit 3'\n", b"", Refused("exited with status 3")),
        row("process: killed", &[], "[default]\ncredential_process = sh -c 'kill -9 $$'\n", b"", Refused("credential_process")),
        row("process: no JSON", &[], "[default]\ncredential_process = echo hello\n", b"", Refused("did not write JSON")),
        row("process: nothing", &[], "[default]\ncredential_process = true\n", b"", Refused("did not write JSON")),
        row("process: Version 2", &[], "[default]\ncredential_process = cat $HOME/version.json\n", b"", Refused("\"Version\": 2")),
        row("process: no secret", &[], "[default]\ncredential_process = cat $HOME/half.json\n", b"", Refused("no \"SecretAccessKey\"")),
        row("process: expiry that is not a time", &[], "[default]\ncredential_process = cat $HOME/expiry.json\n", b"", Refused("\"Expiration\" that is not a time")),
    ]
}

impl Row {
    /// Returns the text of its files in one line.
    fn files(&self) -> String {
        let text = [self.config.as_bytes(), self.credentials].concat();
        let escaped = String::from_utf8_lossy(&text).escape_debug().to_string();
        escaped.replace('|', "\\|")
    }

    fn environment(
        &self,
        home: &str,
        agent: &str,
        tempting: &BTreeMap<&str, String>,
    ) -> Vec<(String, String)> {
        let fill = |text: &str| text.replace("$HOME", home).replace("$AGENT", agent);
        let own = self
            .variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), fill(value)));
        let tempting = tempting
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        tempting.chain(own).collect()
    }

    fn write(&self, home: &Scratch) {
        let path = home.0.display().to_string();
        std::fs::create_dir_all(home.0.join(".aws")).unwrap();
        let config = self.config.replace("$HOME", &path).into_bytes();
        // A text of this program is UTF-8.
        let config: Vec<u8> = match config.windows(3).position(|bytes| bytes == b"\xef\xbf\xbd") {
            Some(at) => [&config[..at], b"\xff", &config[at + 3..]].concat(),
            None => config,
        };
        for (name, text) in [
            ("config", config.as_slice()),
            ("credentials", self.credentials),
        ] {
            if !text.is_empty() {
                std::fs::write(home.0.join(".aws").join(name), text).unwrap();
            }
        }
        let process = |version: u8, more: &str| {
            format!("{{\"Version\":{version},\"AccessKeyId\":\"AKIDPROCESS\"{more}}}")
        };
        home.file("good.json", &process(1, ",\"SecretAccessKey\":\"s\""));
        home.file("version.json", &process(2, ",\"SecretAccessKey\":\"s\""));
        home.file("half.json", &process(1, ""));
        let expiry = ",\"SecretAccessKey\":\"s\",\"Expiration\":\"soonish\"";
        home.file("expiry.json", &process(1, expiry));
        home.file("jwt", "the.web.token");
    }
}

async fn fake_agent() -> Endpoint {
    Endpoint::start(|request| {
        let with = |key: &str, value: Value| {
            let mut answer: Value = serde_json::from_str(&container_answer("AKIDTASK")).unwrap();
            answer[key] = value;
            (200, answer.to_string())
        };
        match request.path() {
            "/good" => (200, container_answer("AKIDTASK")),
            "/garbage" => (200, "<html>".to_owned()),
            "/expiry" => with("Expiration", "soonish".into()),
            "/half" => with("SecretAccessKey", Value::Null),
            _ => (403, "{}".to_owned()),
        }
    })
    .await
}

/// Returns the access key id that `presign` signs with, or its error.
pub(super) async fn presigned(environment: &[(&str, &str)]) -> Result<String, String> {
    let arguments = [
        "presign",
        "--region",
        "us-east-1",
        "--service",
        "execute-api",
        "https://api.example.com/",
    ];
    let output = command(&arguments, environment).output();
    let output = within("presign", output).await.unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    match url.split_once("X-Amz-Credential=") {
        Some((_, credential)) => Ok(credential.split("%2F").next().unwrap().to_owned()),
        None => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// Returns the responses to a request through a daemon and to `/readyz`.
async fn served(environment: &[(&str, &str)]) -> (Answer, Answer) {
    let mut all = environment.to_vec();
    all.push(("COUNTERSIGN_ADMIN", "127.0.0.1:0"));
    // Nothing listens there, so a signed request becomes a 502.
    let target = [
        "--listen",
        "127.0.0.1:0",
        "--connect",
        "127.0.0.1:9",
        "--region",
        "us-east-1",
    ];
    let arguments = [&target[..], &["https://api.example.com/graphql"]].concat();
    let mut daemon = Daemon::start(&arguments, &all);
    let admin = daemon.admin().await;
    let addr = daemon.address().await;
    let answer = post(addr, "/graphql", &[JSON], "{\"query\":\"{ a }\"}").await;
    let ready = get(admin, "/readyz", &[]).await;
    daemon.signal("-TERM");
    daemon.exited().await;
    (answer, ready)
}

pub(super) async fn botocore(
    rows: &[(String, Vec<(String, String)>)],
) -> Vec<(Option<String>, String)> {
    let mut input = String::new();
    for (name, environment) in rows {
        let environment: BTreeMap<_, _> = environment.iter().cloned().collect();
        input.push_str(&json!({ "name": name, "environment": environment }).to_string());
        input.push('\n');
    }
    let lines = filter(
        python("credential_sources.py").env_clear(),
        &input,
        4 * PATIENCE,
    )
    .await;
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let identity = line["identity"].as_str().map(str::to_owned);
        (identity, line["reason"].as_str().unwrap().to_owned())
    };
    lines.lines().map(line).collect()
}

pub(super) async fn check_rows(kind: &str, rows: Vec<Row>) {
    let instance = fake_instance("AKIDINSTANCE").await;
    let (agent, sts) = (fake_agent().await, fake_sts().await);
    let mut tempting = BTreeMap::from([
        ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url()),
        ("AWS_ENDPOINT_URL_STS", sts.url()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("PATH", "/usr/bin:/bin".to_owned()),
    ]);
    let mut asked = Vec::new();
    let mut homes = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let home = Scratch::new(&format!("source-{kind}-{number}"));
        row.write(&home);
        let path = home.0.display().to_string();
        tempting.insert("HOME", path.clone());
        asked.push((
            row.name.to_owned(),
            row.environment(&path, &agent.url(), &tempting),
        ));
        homes.push(home);
    }
    let theirs = botocore(&asked).await;
    assert_eq!(theirs.len(), rows.len());
    let mut wrong = Vec::new();
    println!("| input | files | countersign | botocore | reason |\n|---|---|---|---|---|");
    for ((row, (_, environment)), (other, why)) in rows.iter().zip(&asked).zip(&theirs) {
        let environment: Vec<_> = environment
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        let ours = presigned(&environment).await;
        let shown = |text: &str| {
            let line = text
                .replace('\n', " ")
                .replace("countersign: no valid AWS credentials. ", "");
            line.replace('|', "/").chars().take(120).collect::<String>()
        };
        let theirs = match other {
            Some(identity) => identity.clone(),
            None => format!("refuses ({})", why.split(':').next().unwrap_or_default()),
        };
        let (ours_shown, reason) = match &ours {
            Ok(identity) => (identity.as_str(), String::new()),
            Err(error) => ("refuses", shown(error)),
        };
        println!(
            "| {} | `{}` | {ours_shown} | {theirs} | {reason} |",
            row.name,
            row.files()
        );
        let is_expected = match (row.expected, &ours) {
            (Uses(expected), Ok(identity)) => {
                identity == expected && other.as_ref() == Some(identity)
            }
            (Accepts(expected), Ok(identity)) => identity == expected && other.is_none(),
            (Refused(expected), Err(error)) => {
                error.contains(expected) && {
                    let (answer, ready) = served(&environment).await;
                    let has_reason =
                        |answer: &Answer| answer.body.replace("\\\"", "\"").contains(expected);
                    let is_refused = answer.status == 503 && ready.status == 503;
                    is_refused && has_reason(&answer) && has_reason(&ready)
                }
            }
            (Uses(_) | Accepts(_), Err(_)) | (Refused(_), Ok(_)) => false,
        };
        if !is_expected {
            wrong.push(format!("{}: {:?}, but {ours:?}", row.name, row.expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_source_that_signs_is_the_one_that_botocore_uses() {
    check_rows("working", working()).await;
}

#[tokio::test]
async fn a_broken_source_never_falls_back_to_another_identity() {
    check_rows("broken", broken()).await;
}

/// Permissions do not apply to root, so the program runs as another user.
#[tokio::test]
async fn an_unreadable_file_never_falls_back_to_another_identity() {
    use std::os::unix::fs::PermissionsExt as _;
    let instance = fake_instance("AKIDINSTANCE").await;
    for (name, closed, expected) in [
        ("file", ".aws/credentials", Refused("Permission denied")),
        ("directory", ".aws", Refused("Permission denied")),
        // The home directory of another user.
        ("home", "", Uses("AKIDINSTANCE")),
    ] {
        let home = Scratch::new(&format!("closed-{name}"));
        let mode = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::create_dir_all(home.0.join(".aws")).unwrap();
        let program = home.0.with_extension("program");
        std::fs::copy(env!("CARGO_BIN_EXE_countersign"), &program).unwrap();
        home.file(".aws/credentials", std::str::from_utf8(KEYS).unwrap());
        mode(&home.0, 0o755);
        mode(&home.0.join(closed), 0);
        let mut command = tokio::process::Command::new(&program);
        command
            .args([
                "presign",
                "--region",
                "us-east-1",
                "--service",
                "execute-api",
                "https://api.example.com/",
            ])
            .env_clear()
            .env("HOME", &home.0)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url());
        if rustix::process::getuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let output = within("presign", command.output()).await.unwrap();
        mode(&home.0.join(closed), 0o755);
        std::fs::remove_file(program).unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        match expected {
            Uses(identity) | Accepts(identity) => {
                assert!(out.contains(identity), "{name}: {out}{error}");
            }
            Refused(reason) => {
                assert_eq!(out, "", "{name}");
                assert!(error.contains(reason), "{name}: {error}");
            }
        }
    }
}
