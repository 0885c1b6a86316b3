//! The mistakes that newcomers make, and the first line that the program prints: it says what is wrong
//! in the user's words, and what to type instead.

use std::os::unix::fs::PermissionsExt as _;

use tokio::net::TcpListener;

use crate::support::{Daemon, Scratch, command, within};

const HOST: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.eu-central-1.amazonaws.com";
/// Stands in for the URL of an API.
const URL: &str = "$URL";
/// The end of the command that prints URLs.
const EXAMPLE: &str = "https://ID.appsync-api.REGION.amazonaws.com/graphql";

/// Arguments, environment and the first line, of mistakes that end the program with the code 2.
#[rustfmt::skip]
const COMMANDS: [(&str, &str, &str); 70] = [
    // The URL
    ("", "", "no API is given. Pass its URL, or start a demo: countersign demo"),
    ("$EXAMPLE", "", "\"$EXAMPLE\" contains the placeholders of an example. To find your API's URL: aws appsync list-graphql-apis --query 'graphqlApis[].uris.GRAPHQL'"),
    ("https://ID.appsync-api.eu-central-1.amazonaws.com/graphql", "", "\"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\" contains the placeholders of an example. To find your API's URL: aws appsync list-graphql-apis --region eu-central-1 --query 'graphqlApis[].uris.GRAPHQL'"),
    ("check https://ID.appsync-api.eu-central-1.amazonaws.com/graphql", "", "\"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\" contains the placeholders of an example. To find your API's URL: aws appsync list-graphql-apis --region eu-central-1 --query 'graphqlApis[].uris.GRAPHQL'"),
    ("schema https://ID.appsync-api.eu-central-1.amazonaws.com/graphql", "", "\"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\" contains the placeholders of an example. To find your API's URL: aws appsync list-graphql-apis --region eu-central-1 --query 'graphqlApis[].uris.GRAPHQL'"),
    ("https://<api-id>.execute-api.us-east-1.amazonaws.com/prod", "", "\"https://<api-id>.execute-api.us-east-1.amazonaws.com/prod\" contains the placeholders of an example. To find your API's ID: aws apigateway get-rest-apis --region us-east-1, or for HTTP and WebSocket APIs aws apigatewayv2 get-apis --region us-east-1"),
    ("abcdefghijklmnopqrstuvwxyz", "", "\"abcdefghijklmnopqrstuvwxyz\" is not a URL. To find your API's URL: aws appsync get-graphql-api --api-id abcdefghijklmnopqrstuvwxyz --query graphqlApi.uris.GRAPHQL"),
    ("arn:aws:appsync:eu-central-1:123456789012:apis/abcdefghijklmnopqrstuvwxyz", "", "\"arn:aws:appsync:eu-central-1:123456789012:apis/abcdefghijklmnopqrstuvwxyz\" is not a URL. To find your API's URL: aws appsync get-graphql-api --api-id abcdefghijklmnopqrstuvwxyz --region eu-central-1 --query graphqlApi.uris.GRAPHQL"),
    ("https://eu-central-1.console.aws.amazon.com/appsync/home?region=eu-central-1#/abcdefghijklmnopqrstuvwxyz/v1/home", "", "the URL is a page of the AWS console. To find your API's URL: aws appsync get-graphql-api --api-id abcdefghijklmnopqrstuvwxyz --region eu-central-1 --query graphqlApi.uris.GRAPHQL"),
    ("http://$HOST/graphql", "", "\"http://$HOST/graphql\" must begin with https://, because signed requests are never sent in plain text. Use https://$HOST/graphql"),
    ("localhost:4000", "", "\"localhost:4000\" is on this machine, but countersign signs requests to AWS. Pass the URL of your API, such as $EXAMPLE"),
    ("http://localhost:4000/graphql", "", "\"http://localhost:4000/graphql\" is on this machine, but countersign signs requests to AWS. Pass the URL of your API, such as $EXAMPLE"),
    ("https://$HOST/v1", "", "AppSync has no path \"/v1\": use https://$HOST/graphql, or https://$HOST/event for AppSync Events"),
    ("https://me:secret@$HOST/graphql?x=1", "", "the URL must not contain a user, a query or a fragment: use https://$HOST/graphql"),
    ("https://api.example.com/graphql", "", "cannot infer the region from the host api.example.com: add the region of the API, such as --region eu-central-1 (in a file: `region`), or set AWS_REGION"),
    ("--region us-east-1 $URL", "", "--region: \"us-east-1\" is not the region of the URL: $HOST is in eu-central-1. Leave out the region, or correct the URL"),
    ("--region eu-central-1a https://api.example.com/graphql", "", "--region: invalid AWS region \"eu-central-1a\": did you mean eu-central-1?"),
    ("$URL $URL", "", "unexpected argument \"$URL\" after the URL: leave it out. For several APIs, write a file with a [route.NAME] table for each, and run: countersign --config FILE"),
    ("--url $URL", "", "unknown option \"--url\": the URL needs no option, as in: countersign $EXAMPLE"),
    ("--profile dev", "", "--profile: add the URL to which it applies: countersign --profile … $EXAMPLE. In a file, set `profile` in [route.NAME]"),
    // Commands and options
    ("demmo", "", "unknown command \"demmo\". Did you mean: countersign demo? `countersign --help` lists the commands"),
    ("help demmo", "", "unknown command \"demmo\". Did you mean: countersign demo? `countersign --help` lists the commands"),
    ("$URL demo", "", "the command \"demo\" must come first: countersign demo --help"),
    ("-q emulate --control 0", "", "the command \"emulate\" must come first: countersign emulate --help"),
    ("--port 0 demo", "", "the command \"demo\" must come first: countersign demo --help"),
    ("--log=info check $URL", "", "the command \"check\" must come first: countersign check --help"),
    ("--profile demo", "", "--profile: add the URL to which it applies: countersign --profile … $EXAMPLE. In a file, set `profile` in [route.NAME]"),
    ("demo $URL", "", "unexpected argument \"$URL\": `countersign demo` needs no API. To use yours: countersign URL"),
    ("demo --region eu-west-1", "", "unknown option \"--region\": it belongs to `countersign`, not to `countersign demo`. `countersign demo --help` lists the options"),
    ("--prot 8080 $URL", "", "unknown option \"--prot\". Did you mean --port? `countersign --help` lists the options"),
    ("--frobnicate $URL", "", "unknown option \"--frobnicate\". `countersign --help` lists the options"),
    ("-p 8080 $URL", "", "unknown option \"-p\". Did you mean --port PORT? `countersign --help` lists the options"),
    ("--debug $URL", "", "unknown option \"--debug\". Did you mean --verbose? `countersign --help` lists the options"),
    ("--silent $URL", "", "unknown option \"--silent\". Did you mean --quiet? `countersign --help` lists the options"),
    ("-v -q $URL", "", "--verbose cannot be used with --quiet: use one of them"),
    ("-v --log info $URL", "", "--verbose cannot be used with --log: use one of them"),
    ("presign -v $URL", "", "unknown option \"-v\". `countersign presign --help` lists the options"),
    ("--read-only=true $URL", "", "--read-only takes no value: leave out \"true\""),
    ("--port 1 --port 2 $URL", "", "--port is given more than once: give it once"),
    ("--port 1 --listen 2 $URL", "", "--port cannot be used with --listen: use one of them"),
    ("$URL --listen", "", "--listen needs a value, such as --listen 127.0.0.1:4100"),
    ("--port http $URL", "", "--port: invalid port \"http\": expected a number up to 65535, such as 8080"),
    ("--listen localhost $URL", "", "--listen: invalid address \"localhost\": did you mean localhost:4100?"),
    ("--listen http://localhost:8080 $URL", "", "--listen: invalid address \"http://localhost:8080\": did you mean localhost:8080?"),
    ("--listen 0.0.0.0:4100 $URL", "", "--listen: 0.0.0.0:4100 is not a loopback address: every client that can reach it could act with the IAM identity. Use 127.0.0.1:4100, or require a token: COUNTERSIGN_GUARD__NON_LOOPBACK=token and --token-file FILE"),
    ("--allow-origin localhost:3000 $URL", "", "--allow-origin: invalid origin \"localhost:3000\": did you mean http://localhost:3000? For every port of this machine: localhost"),
    ("--allow-host foo:4100 $URL", "", "--allow-host: invalid host name \"foo:4100\": did you mean foo?"),
    ("--log debg $URL", "", "--log: invalid log filter \"debg\": did you mean debug?"),
    ("--log info,countersing=debug $URL", "", "--log: invalid log filter \"info,countersing=debug\": did you mean countersign?"),
    ("emulate --log countersign_emulatr=debug", "", "--log: invalid log filter \"countersign_emulatr=debug\": did you mean countersign_emulator?"),
    ("$URL", "COUNTERSIGN_LOG=debg", "COUNTERSIGN_LOG: invalid log filter \"debg\": did you mean debug?"),
    ("--log = $URL", "", "--log: invalid log filter \"=\": expected error, warn, info, debug or trace, or levels by target, such as info,countersign::realtime=debug"),
    ("wait --timeout 5", "", "--timeout: invalid duration \"5\": add a unit, such as 5s"),
    ("completions csh", "", "invalid value \"csh\" for SHELL: expected bash, elvish, fish, powershell, zsh"),
    ("presign", "", "URL is missing, as in: countersign presign wss://ID.execute-api.us-east-1.amazonaws.com/prod"),
    // Files
    ("--config nowhere.toml", "", "--config: $DIR/nowhere.toml does not exist: correct the path, or pass the URL of your API instead"),
    ("", "COUNTERSIGN_CONFIG=nowhere.toml", "COUNTERSIGN_CONFIG: $DIR/nowhere.toml does not exist: correct the path, or pass the URL of your API instead"),
    ("--ca-file nowhere.pem $URL", "", "--ca-file: $DIR/nowhere.pem does not exist: correct the path"),
    ("--tls-cert open $URL", "", "--tls-cert: needs the private key, too: --tls-key FILE (in a file: `key`)"),
    ("--token-file open $URL", "", "--token-file: open is accessible to other users (mode 644). Run: chmod 600 open"),
    ("--token-file short $URL", "", "--token-file: line 1 of short is not a valid token: a token consists of at least 32 letters, digits, `-`, `.`, `_` and `~`. To create one, run: openssl rand -hex 32"),
    // Variables
    ("$URL", "COUNTERSIGN_LIMITS_MESSAGE=1MiB", "COUNTERSIGN_LIMITS_MESSAGE: unknown setting; did you mean COUNTERSIGN_LIMITS__MESSAGE?"),
    ("$URL", "COUNTERSIGN_LIMITS__MESAGE=1MiB", "COUNTERSIGN_LIMITS__MESAGE: unknown setting; did you mean COUNTERSIGN_LIMITS__MESSAGE?"),
    ("$URL", "COUNTERSIGN_LIMITS__MESSAGE=1M", "COUNTERSIGN_LIMITS__MESSAGE: invalid size \"1M\": did you mean 1MiB?"),
    ("$URL", "COUNTERSIGN_TIMEOUTS__CONNECT=5", "COUNTERSIGN_TIMEOUTS__CONNECT: invalid duration \"5\": add a unit, such as 5s"),
    ("$URL", "COUNTERSIGN_DEBUG=1", "COUNTERSIGN_DEBUG: unknown setting; did you mean COUNTERSIGN_LOG=debug?"),
    ("", "COUNTERSIGN_URL=abc", "COUNTERSIGN_URL: \"abc\" is not a URL: expected one such as $EXAMPLE"),
    ("", "COUNTERSIGN_URL=", "COUNTERSIGN_URL: the value is empty: set one, or remove the setting"),
    ("", "COUNTERSIGN_PROFILE=dev", "COUNTERSIGN_PROFILE: applies only with a URL: pass the URL, or set COUNTERSIGN_ROUTE__GRAPHQL__PROFILE"),
    ("https://api.example.com/graphql", "AWS_REGION=EU-CENTRAL-1", "invalid AWS region \"EU-CENTRAL-1\" in AWS_REGION: did you mean eu-central-1?"),
];

/// Configuration files, and the first line after the name of the file.
#[rustfmt::skip]
const CONFIGURATIONS: [(&str, &str); 20] = [
    ("listne = \"4100\"\n$ROUTE", ":1: `listne`: unknown key; did you mean `listen`?"),
    ("port = 8080\n$ROUTE", ":1: `port`: unknown key; did you mean `listen`?"),
    ("host = \"0.0.0.0\"\n$ROUTE", ":1: `host`: unknown key; did you mean `listen`?"),
    ("log = \"debug\"\n$ROUTE", ":1: `log`: expected a table: write [log] and a key below it, such as `format`"),
    ("profile = \"dev\"\n$ROUTE", ":1: `profile`: unknown key here; it belongs to [route.NAME]"),
    ("url = \"$URL\"", ":1: `url`: unknown key; write it as `target` into a table [route.NAME]"),
    ("[graphql]\ntarget = \"$URL\"", ":1: `graphql`: unknown table; did you mean [route.graphql]?"),
    ("[routes.a]\ntarget = \"$URL\"", ":1: `routes`: unknown key; did you mean `route`?"),
    ("[route]\ntarget = \"$URL\"", ":2: `route.target`: a route needs a name: write [route.graphql], not [route]"),
    ("[route.a]\nurl = \"$URL\"", ":2: `route.a.url`: unknown key; did you mean `target`?"),
    ("[route.a]\ntarget = \"http://x.example.com\"", ":2: `route.a.target`: \"http://x.example.com\" must begin with https://, because signed requests are never sent in plain text. Use https://x.example.com"),
    ("[route.a]\ntarget = $URL", ":2: the value of `target` is not valid TOML: write target = \"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\""),
    ("[route.a]\ntarget: $URL", ":2: a key and its value are separated by `=`: write target = \"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\""),
    ("$ROUTE[timeouts]\nconnect = 5s", ":4: the value of `connect` is not valid TOML: write connect = \"5s\""),
    ("$ROUTE[timeouts]\nconnect = 5", ":4: `timeouts.connect`: invalid duration \"5\": add a unit, such as 5s"),
    ("$ROUTE[limits]\nmessage = \"64Mi\"", ":4: `limits.message`: invalid size \"64Mi\": did you mean 64MiB?"),
    ("$ROUTE[log]\nfilter = \"=\"", ":4: `log.filter`: invalid log filter \"=\": expected error, warn, info, debug or trace, or levels by target, such as info,countersign::realtime=debug"),
    ("$ROUTE[log]\nlevel = \"debug\"", ":4: `log.level`: unknown key; did you mean `filter`?"),
    ("listen = \"0.0.0.0:4100\"\n$ROUTE", ":1: `listen`: 0.0.0.0:4100 is not a loopback address: every client that can reach it could act with the IAM identity. Use 127.0.0.1:4100, or require a token: guard.non_loopback = \"token\" and guard.token_file"),
    ("[default]\naws_secret_access_key = wJalr/secret", ":2: this line is not valid TOML (invalid string, expected `\"`, `'`): write key = \"value\" or [table]"),
];

/// Arguments, environment and the first warning, of mistakes that do not end the program.
#[rustfmt::skip]
const CREDENTIALS: [(&str, &str, &str); 6] = [
    ("", "", "credentials not loaded. Run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."),
    ("", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "credentials not loaded. Set AWS_SECRET_ACCESS_KEY, or unset AWS_ACCESS_KEY_ID."),
    ("", "AWS_SECRET_ACCESS_KEY=x", "credentials not loaded. Set AWS_ACCESS_KEY_ID, or unset AWS_SECRET_ACCESS_KEY."),
    ("--profile dve", "", "credentials not loaded. Did you mean profile \"dev\"? Or run `aws configure --profile dve`."),
    ("", "AWS_PROFILE=dve", "credentials not loaded. Did you mean profile \"dev\"? Or run `aws configure --profile dve`, or correct AWS_PROFILE."),
    ("--profile dev", "", "credentials not loaded. Run `aws sso login --profile dev`."),
];

/// A profile whose SSO session nobody has started.
const SSO: &str = "\
[profile dev]
sso_session = company
sso_account_id = 123456789012
sso_role_name = Developer
[sso-session company]
sso_region = eu-central-1
sso_start_url = https://example.awsapps.com/start
";

/// The working directory and home of the commands.
struct Home(Scratch);

impl Home {
    fn new() -> Self {
        let scratch = Scratch::new("first-lines");
        std::fs::create_dir(scratch.0.join(".aws")).unwrap();
        std::fs::write(scratch.0.join(".aws/config"), SSO).unwrap();
        for (name, text, mode) in [
            ("open", "0123456789abcdef0123456789abcdef\n", 0o644),
            ("short", "hunter2\n", 0o600),
        ] {
            let path = scratch.file(name, text);
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        }
        Self(scratch)
    }

    fn expand(&self, text: &str) -> String {
        text.replace("$ROUTE", "[route.a]\ntarget = \"$URL\"\n")
            .replace(URL, "https://$HOST/graphql")
            .replace("$HOST", HOST)
            .replace("$EXAMPLE", EXAMPLE)
            .replace("$DIR", &self.0.0.display().to_string())
    }

    fn command(&self, arguments: &str, environment: &str) -> tokio::process::Command {
        let arguments = self.expand(arguments);
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let environment: Vec<(&str, &str)> = environment
            .split_whitespace()
            .map(|variable| variable.split_once('=').unwrap())
            .collect();
        let mut command = command(&arguments, &environment);
        command.current_dir(&self.0.0).env("HOME", &self.0.0);
        command
    }

    /// Runs a command to its end, and returns its exit code and the first line of its errors.
    async fn first_line(&self, arguments: &str, environment: &str) -> (Option<i32>, String) {
        let output = self.command(arguments, environment).output();
        let output = within(arguments, output).await.unwrap();
        assert!(output.stdout.is_empty(), "{arguments}: {output:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        let line = errors.lines().next().unwrap_or_default().to_owned();
        (output.status.code(), line)
    }
}

#[tokio::test]
async fn the_first_line_says_what_is_wrong_and_what_to_type() {
    let home = Home::new();
    for (arguments, environment, expected) in COMMANDS {
        let expected = format!("countersign: {}", home.expand(expected));
        let found = home.first_line(arguments, environment).await;
        assert_eq!(
            found,
            (Some(2), expected),
            "{environment} countersign {arguments}"
        );
    }
}

#[tokio::test]
async fn the_first_line_about_a_file_names_the_line_and_what_to_write() {
    let home = Home::new();
    for (text, expected) in CONFIGURATIONS {
        home.0.file("c.toml", &home.expand(text));
        let expected = format!("countersign: c.toml{}", home.expand(expected));
        let found = home.first_line("--config c.toml", "").await;
        assert_eq!(found, (Some(2), expected), "{text}");
    }
}

#[tokio::test]
async fn the_first_warning_about_credentials_says_what_to_do_and_is_not_repeated_at_once() {
    let home = Home::new();
    for (arguments, environment, expected) in CREDENTIALS {
        let arguments = format!("{arguments} --port 0 --log debug $URL");
        let mut command = home.command(&arguments, environment);
        let mut daemon = Daemon::spawn(&mut command);
        let line = daemon.line("WARN").await;
        let (_, warning) = line.split_once("WARN ").unwrap();
        assert!(warning.starts_with(expected), "{warning}");
        // The next loads are after seconds.
        let line = daemon.line("credentials not loaded").await;
        assert!(line.contains("DEBUG"), "{line}");
    }
}

#[tokio::test]
async fn the_first_line_about_a_taken_port_has_the_option_that_chooses_another() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    for (arguments, environment, expected) in [
        (
            format!("--port {port} $URL"),
            String::new(),
            format!("port {port} is in use. Choose another with --port PORT"),
        ),
        (
            format!("--port 0 --admin 127.0.0.1:{port} $URL"),
            String::new(),
            format!(
                "port {port} is in use (the admin listener). Choose another with --admin 127.0.0.1:PORT, or turn it off with --admin off"
            ),
        ),
    ] {
        let (code, line) = home.first_line(&arguments, &environment).await;
        let expected = format!("countersign: {expected}");
        assert!(line.starts_with(&expected), "{line}");
        assert_eq!(code, Some(3));
    }
    let (code, line) = home
        .first_line("wait --admin 127.0.0.1:1 --timeout 1ms", "")
        .await;
    let expected = "countersign: nothing answers at 127.0.0.1:1, the admin address: Connection refused (os error 111). Start countersign, or pass the address that it logs as \"health and metrics on\": --admin ADDR";
    assert_eq!((code, line.as_str()), (Some(1), expected));
    let (code, line) = home.first_line("--port 0 --ca-file short $URL", "").await;
    let expected = "countersign: route graphql: the certificate authorities of \"short\" cannot be used: it contains no PEM certificate. Name a PEM file, which begins with -----BEGIN CERTIFICATE-----: --ca-file FILE (in a file: `ca_file`)";
    assert_eq!((code, line.as_str()), (Some(3), expected));
}

#[tokio::test]
async fn the_variables_of_the_url_work_as_its_options() {
    let home = Home::new();
    for (environment, expected) in [
        (
            "COUNTERSIGN_URL=https://$HOST/graphql COUNTERSIGN_PROFILE=dev",
            "graphql.profile = \"dev\"",
        ),
        (
            "COUNTERSIGN_URL=$HOST/event COUNTERSIGN_READ_ONLY=true",
            "event.read_only = \"true\"",
        ),
        (
            "COUNTERSIGN_URL=https://a.example.com/ COUNTERSIGN_REGION=us-east-1 COUNTERSIGN_SERVICE=lambda",
            "url.service = \"lambda\"",
        ),
        (
            "COUNTERSIGN_URL=$HOST COUNTERSIGN_PORT=8123",
            "listen = \"8123\"",
        ),
        // What Kubernetes sets for a Service named countersign
        (
            "COUNTERSIGN_URL=$HOST COUNTERSIGN_PORT=tcp://10.0.0.1:80",
            "listen = [\"127.0.0.1:4100\"",
        ),
    ] {
        let output = home.command("config", &home.expand(environment)).output();
        let output = within(environment, output).await.unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && shown.contains(expected),
            "{environment}: {shown}"
        );
    }
    // An option is stronger than a variable, and other commands ignore the variables of the URL.
    let mut demo =
        Daemon::spawn(&mut home.command("demo --port 0", "COUNTERSIGN_URL=x COUNTERSIGN_REGION=y"));
    demo.address().await;
    let shown = home
        .command(
            "config --profile b $URL",
            "COUNTERSIGN_PROFILE=a COUNTERSIGN_URL=x",
        )
        .output();
    let shown = String::from_utf8(shown.await.unwrap().stdout).unwrap();
    assert!(shown.contains("route.graphql.profile = \"b\""), "{shown}");
}
