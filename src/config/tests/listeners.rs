//! Listeners: their addresses, TLS, hosts, origins and tokens.
use super::*;
use crate::platform::set_mode;

#[test]
fn invalid_origins_and_hosts_are_rejected() {
    for text in ["app", "https://*", "ftp://a", "https://", "https://a:99999"] {
        rejects(
            &flag("--allow-origin", "guard.allow_origins", &[text]),
            &[&format!(
                "--allow-origin: invalid origin {text:?}: expected a scheme and a host without a path, such as https://app.example.com, or localhost for the pages of this machine"
            )],
        );
    }
    for (text, advice) in [
        (
            "*",
            "every web page could act with the IAM identity. Name the origins, or use localhost for the pages of this machine",
        ),
        (
            "null",
            "every local file and every sandboxed page has it. Serve the page from a web server, such as http://localhost:8000",
        ),
    ] {
        rejects(
            &flag("--allow-origin", "guard.allow_origins", &[text]),
            &[&format!(
                "--allow-origin: invalid origin {text:?}: {advice}"
            )],
        );
    }
    for (text, near) in [
        ("app.example.com", "https://app.example.com"),
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://localhost:3000/app", "http://localhost:3000"),
        ("https://a/b", "https://a"),
    ] {
        rejects(
            &flag("--allow-origin", "guard.allow_origins", &[text]),
            &[&format!(
                "--allow-origin: invalid origin {text:?}: did you mean {near}? For every port of this machine: localhost"
            )],
        );
    }
    for (text, near) in [
        ("a:80", "a"),
        ("https://a", "a"),
        ("a/b", "a"),
        ("[::1]:1", "[::1]"),
    ] {
        rejects(
            &flag("--allow-host", "guard.allow_hosts", &[text]),
            &[&format!(
                "--allow-host: invalid host name {text:?}: did you mean {near}?"
            )],
        );
    }
    for text in ["*", "user@a", "a b"] {
        rejects(
            &flag("--allow-host", "guard.allow_hosts", &[text]),
            &[&format!(
                "--allow-host: invalid host name {text:?}: expected a name without scheme, port or path"
            )],
        );
    }
}

#[test]
fn invalid_listen_addresses_are_rejected() {
    for text in [
        "99999",
        ":",
        ":+1",
        "127.0.0.1:99999",
        "example.com:1",
        "::1:1x",
    ] {
        rejects(
            &flag("--listen", "listen", &[text]),
            &[&format!(
                "--listen: invalid address {text:?}: expected a port or an IP address with a port, such as 4100 or 127.0.0.1:4100, or unix:PATH"
            )],
        );
    }
    for (text, near) in [
        ("127.0.0.1", "127.0.0.1:4100"),
        ("localhost", "localhost:4100"),
        ("http://localhost:8080/graphql", "localhost:8080"),
        ("*:8080", "0.0.0.0:8080"),
        ("::1", "[::1]:4100"),
        ("::1:8080", "[::1:8080]:4100"),
    ] {
        rejects(
            &flag("--listen", "listen", &[text]),
            &[&format!(
                "--listen: invalid address {text:?}: did you mean {near}?"
            )],
        );
    }
    rejects(
        &flag("--listen", "listen", &["unix:"]),
        &[
            "--listen: invalid address \"unix:\": add the path of the socket, such as unix:/run/x.sock",
        ],
    );
    for input in [
        file("listen = []"),
        env("COUNTERSIGN_LISTEN", ""),
        env("COUNTERSIGN_LISTEN", " , "),
    ] {
        let problems = input.load().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].ends_with("must have at least one address, such as 127.0.0.1:4100"));
    }
    resolves(
        &env("COUNTERSIGN_LISTEN", "127.8.8.8:0"),
        "listen",
        "[127.8.8.8:0]",
    );
}

#[test]
fn tls_uses_either_files_or_the_dev_ca() {
    const BOTH: &str = "creates a certificate, but `cert` or `key` is set, too: remove one of them";
    resolves(&input(), "tls", "None");
    // Any file that exists.
    let files = input()
        .flag("--tls-cert", "tls.cert", &["Cargo.toml"])
        .flag("--tls-key", "tls.key", &["Cargo.lock"]);
    resolves(
        &files,
        "tls",
        "Some(TlsConfig { certificate: Files { cert: \"Cargo.toml\", key: \"Cargo.lock\" }, client_ca: None })",
    );
    rejects(
        &files.flag("--tls-dev", "tls.dev", &["true"]),
        &[&format!("--tls-dev: {BOTH}")],
    );
    rejects(
        &file("[tls]\ncert = \"Cargo.toml\"\ndev = true"),
        &[&format!("FILE:3: `tls.dev`: {BOTH}")],
    );
    rejects(
        &file("[tls]\ncert = \"Cargo.toml\""),
        &["FILE:2: `tls.cert`: needs the private key, too: --tls-key FILE (in a file: `key`)"],
    );
    rejects(
        &env("COUNTERSIGN_TLS__KEY", "Cargo.toml"),
        &["COUNTERSIGN_TLS__KEY: needs the certificate, too: --tls-cert FILE (in a file: `cert`)"],
    );
    rejects(
        &file("[tls]\ncert = \"/no/cert.pem\"\nkey = \"/no/key.pem\"\ndev = \"yes\""),
        &[
            &format!(
                "FILE:2: `tls.cert`: {} does not exist: correct the path",
                absolute("/no/cert.pem")
            ),
            &format!(
                "FILE:3: `tls.key`: {} does not exist: correct the path",
                absolute("/no/key.pem")
            ),
            "FILE:4: `tls.dev`: invalid value \"yes\": expected true or false",
        ],
    );
    rejects(
        &file("[tls]\nca = \"ca.pem\""),
        &["FILE:2: `tls.ca`: unknown key; known here: cert, client_ca, dev, key"],
    );
}

#[test]
fn the_dev_ca_is_kept_in_the_state_directory() {
    let dev = env("COUNTERSIGN_TLS__DEV", "true");
    let kept = |place: &str| {
        format!("Some(TlsConfig {{ certificate: Dev {{ state: {place:?} }}, client_ca: None }})")
    };
    let (variable, home, default, state, in_state, advice) = if cfg!(windows) {
        (
            "LOCALAPPDATA",
            r"C:\local",
            r"C:\local\countersign",
            r"C:\state",
            r"C:\state\countersign",
            "LOCALAPPDATA or XDG_STATE_HOME",
        )
    } else {
        (
            "HOME",
            "/home/u",
            "/home/u/.local/state/countersign",
            "/state",
            "/state/countersign",
            "XDG_STATE_HOME or HOME",
        )
    };
    let home = dev.clone().env(variable, home);
    resolves(&home, "tls", &kept(default));
    let elsewhere = home.clone().env("XDG_STATE_HOME", state);
    resolves(&elsewhere, "tls", &kept(in_state));
    for ignored in ["", "state"] {
        let ignored = home.clone().env("XDG_STATE_HOME", ignored);
        resolves(&ignored, "tls", &kept(default));
    }
    let needed = format!("COUNTERSIGN_TLS__DEV: needs a directory for its CA: set {advice}");
    rejects(&dev, &[&needed]);
    let off = file("tls.dev = true").env("COUNTERSIGN_TLS__DEV", "false");
    resolves(&off, "tls", "None");
}

#[test]
fn sandbox_rejects_settings_that_write_files() {
    let sandbox = input().env("COUNTERSIGN_SANDBOX", "true");
    check(&sandbox, Ok(&[]));
    rejects(
        &sandbox.clone().env("COUNTERSIGN_IAM__RECORD", "/tmp/seen"),
        &[
            "COUNTERSIGN_SANDBOX: cannot be combined with `iam.record`, which writes its file: remove one of them",
        ],
    );
    rejects(
        &sandbox
            .env("COUNTERSIGN_TLS__DEV", "true")
            .env("HOME", "/home/x")
            .env("LOCALAPPDATA", r"C:\x"),
        &[
            "COUNTERSIGN_SANDBOX: cannot be combined with `tls.dev`, which writes its CA: use `tls.cert`",
        ],
    );
}

#[test]
fn addresses_beyond_loopback_need_authenticated_clients() {
    let token = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o600);
    for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:127.0.0.1]:1"] {
        let input = flag("--listen", "listen", &[text]);
        let beyond =
            |mode: &'static str| input.clone().env("COUNTERSIGN_GUARD__NON_LOOPBACK", mode);
        let local = if text.starts_with('[') {
            "[::1]:1"
        } else {
            "127.0.0.1:1"
        };
        let refused = format!(
            "{text} is not a loopback address: every client that can reach it could act with the IAM identity. Use {local}, or require a token: "
        );
        rejects(
            &input,
            &[&format!(
                "--listen: {refused}COUNTERSIGN_GUARD__NON_LOOPBACK=token and --token-file FILE"
            )],
        );
        rejects(
            &file(&format!("listen = {text:?}")),
            &[&format!(
                "FILE:1: `listen`: {refused}guard.non_loopback = \"token\" and guard.token_file"
            )],
        );
        rejects(
            &beyond("token"),
            &[&format!(
                "--listen: {text} is not a loopback address, and with COUNTERSIGN_GUARD__NON_LOOPBACK=token clients must authenticate: set --token-file FILE, or tls.client_ca"
            )],
        );
        let shown = format!("[{text}]");
        resolves(&beyond("open"), "listen", &shown);
        let with_token = beyond("token").env("COUNTERSIGN_GUARD__TOKEN_FILE", token.path());
        resolves(&with_token, "listen", &shown);
        rejects(
            &beyond("maybe"),
            &[
                "COUNTERSIGN_GUARD__NON_LOOPBACK: invalid value \"maybe\": expected \"refuse\", \"token\" or \"open\"",
            ],
        );
    }
    let unix = flag("--listen", "listen", &["unix:/run/x.sock", "127.0.0.1:1"]);
    if cfg!(windows) {
        rejects(
            &unix,
            &[
                "--listen: invalid address \"unix:/run/x.sock\": unix sockets are not supported on Windows. Listen on a loopback address, such as 127.0.0.1:4100",
            ],
        );
    } else {
        resolves(&unix, "listen", "[unix:/run/x.sock, 127.0.0.1:1]");
    }
}

#[test]
fn tokens_come_from_private_files_with_long_tokens() {
    let good = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o600);
    let open = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o644);
    let short = TokenFile::new("\nhunter2", 0o600);
    let file_of = |token: &TokenFile| format!("[guard]\ntoken_file = '{}'", token.path());
    let named = format!("[guard.tokens.ci]\nfile = '{}'", good.path());
    rejects(
        &file(&format!("{named}\nroutes = [\"graphql\", \"grapql\"]")),
        &["FILE:3: `guard.tokens.ci.routes`: no route is named \"grapql\""],
    );
    let limited = format!("{named}\nroutes = [\"graphql\"]\nread_only = true");
    resolves(
        &file(&limited),
        "guard.tokens",
        &format!("Some(\"ci\") {}", good.path()),
    );
    resolves(
        &file(&file_of(&good)),
        "guard.tokens",
        &format!("None {}", good.path()),
    );
    resolves(
        &file(&named),
        "guard.tokens",
        &format!("Some(\"ci\") {}", good.path()),
    );
    if cfg!(windows) {
        // Its access control list decides.
        resolves(
            &file(&file_of(&open)),
            "guard.tokens",
            &format!("None {}", open.path()),
        );
    } else {
        let open_to_all = format!(
            "FILE:2: `guard.token_file`: {0} is accessible to other users (mode 644). Run: chmod 600 {0}",
            open.path()
        );
        rejects(&file(&file_of(&open)), &[&open_to_all]);
    }
    for (input, problem) in [
        (
            file(&file_of(&short)),
            format!(
                "FILE:2: `guard.token_file`: line 2 of {} is not a valid token: a token consists of at least 32 letters, digits, `-`, `.`, `_` and `~`. To create one, run: openssl rand -hex 32",
                short.path()
            ),
        ),
        (
            file("[guard.tokens.ci]"),
            "`guard.tokens.ci.file`: is missing: set it to the file with the tokens".to_owned(),
        ),
        (
            file(&named.replace("file", "path")),
            "FILE:2: `guard.tokens.ci.path`: unknown key here; it belongs to [route.NAME]"
                .to_owned(),
        ),
    ] {
        let problems = input.load().unwrap_err();
        assert!(problems.contains(&problem), "{problem}: {problems:#?}");
    }
}

struct TokenFile(tempfile::NamedTempFile);

impl TokenFile {
    fn new(text: &str, mode: u32) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        set_mode(file.path(), mode);
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}
