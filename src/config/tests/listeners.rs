//! Where it listens, and for whom: addresses, TLS, hosts, origins and tokens.

use std::path::PathBuf;

use super::*;

#[test]
fn bad_origins_and_hosts_are_refused() {
    for text in [
        "*",
        "null",
        "app.example.com",
        "https://*",
        "https://a/b",
        "ftp://a",
        "https://",
        "https://a:99999",
    ] {
        refuses(
            &flag("--allow-origin", "guard.allow_origins", &[text]),
            &[&format!(
                "--allow-origin: invalid origin {text:?}: expected a scheme and a host, such as https://app.example.com"
            )],
        );
    }
    for text in ["*", "a:80", "https://a", "a/b", "user@a", "[::1]:1", "a b"] {
        refuses(
            &flag("--allow-host", "guard.allow_hosts", &[text]),
            &[&format!(
                "--allow-host: invalid host name {text:?}: expected a name without scheme, port or path"
            )],
        );
    }
}

#[test]
fn bad_listen_addresses_are_refused() {
    for text in [
        "4100",
        ":4100",
        "127.0.0.1",
        "127.0.0.1:99999",
        "example.com:1",
        "::1:1x",
    ] {
        refuses(
            &flag("--listen", "listen", &[text]),
            &[&format!(
                "--listen: invalid address {text:?}: expected an IP address with a port, such as 127.0.0.1:4100, or unix:PATH"
            )],
        );
    }
    refuses(
        &flag("--listen", "listen", &["unix:"]),
        &[
            "--listen: invalid address \"unix:\": add the path of the socket, such as unix:/run/x.sock",
        ],
    );
    for said in [
        file("listen = []"),
        env("COUNTERSIGN_LISTEN", ""),
        env("COUNTERSIGN_LISTEN", " , "),
    ] {
        let problems = said.load().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].ends_with("`listen`: must have at least one address"));
    }
    means(
        &env("COUNTERSIGN_LISTEN", "127.8.8.8:0"),
        "listen",
        "[127.8.8.8:0]",
    );
}

#[test]
fn tls_takes_files_or_the_local_ca() {
    const BOTH: &str =
        "`tls.dev`: creates a certificate, but `cert` or `key` is set, too: choose one";
    means(&said(), "tls", "None");
    // Any file that is there.
    let files = said().flag("--tls-cert", "tls.cert", &["Cargo.toml"]).flag(
        "--tls-key",
        "tls.key",
        &["Cargo.lock"],
    );
    means(
        &files,
        "tls",
        "Some(TlsConfig { certificate: Files { cert: \"Cargo.toml\", key: \"Cargo.lock\" }, client_ca: None })",
    );
    refuses(
        &files.flag("--tls-dev", "tls.dev", &["true"]),
        &[&format!("--tls-dev: {BOTH}")],
    );
    refuses(
        &file("[tls]\ncert = \"Cargo.toml\"\ndev = true"),
        &[&format!("FILE:3: {BOTH}")],
    );
    refuses(
        &file("[tls]\ncert = \"Cargo.toml\""),
        &["`tls.key`: is missing: set it to the private key of `cert` (--tls-key)"],
    );
    refuses(
        &env("COUNTERSIGN_TLS__KEY", "Cargo.toml"),
        &["`tls.cert`: is missing: set it to the certificate of `key` (--tls-cert)"],
    );
    refuses(
        &file("[tls]\ncert = \"/no/cert.pem\"\nkey = \"/no/key.pem\"\ndev = \"yes\""),
        &[
            "FILE:2: `tls.cert`: /no/cert.pem cannot be read: No such file or directory (os error 2)",
            "FILE:3: `tls.key`: /no/key.pem cannot be read: No such file or directory (os error 2)",
            "FILE:4: `tls.dev`: invalid value \"yes\": expected true or false",
        ],
    );
    refuses(
        &file("[tls]\nca = \"ca.pem\""),
        &["FILE:2: `tls.ca`: unknown key; known here: cert, client_ca, dev, key"],
    );
}

#[test]
fn the_local_ca_is_kept_where_state_is_kept() {
    let dev = env("COUNTERSIGN_TLS__DEV", "true");
    let kept = |place: &str| {
        format!("Some(TlsConfig {{ certificate: Dev {{ state: {place:?} }}, client_ca: None }})")
    };
    let home = dev.clone().env("HOME", "/home/u");
    means(&home, "tls", &kept("/home/u/.local/state/countersign"));
    let state = home.clone().env("XDG_STATE_HOME", "/state");
    means(&state, "tls", &kept("/state/countersign"));
    for ignored in ["", "state"] {
        let state = home.clone().env("XDG_STATE_HOME", ignored);
        means(&state, "tls", &kept("/home/u/.local/state/countersign"));
    }
    refuses(
        &dev,
        &[
            "COUNTERSIGN_TLS__DEV: `tls.dev`: has no directory for its CA: set XDG_STATE_HOME or HOME",
        ],
    );
    let off = file("tls.dev = true").env("COUNTERSIGN_TLS__DEV", "false");
    means(&off, "tls", "None");
}

#[test]
fn a_sandbox_has_no_ca_of_its_own() {
    let sandbox = said().env("COUNTERSIGN_SANDBOX", "true");
    check(&sandbox, Ok(&[]));
    refuses(
        &sandbox.clone().env("COUNTERSIGN_IAM__RECORD", "/tmp/seen"),
        &[
            "COUNTERSIGN_SANDBOX: `sandbox`: cannot be combined with `iam.record`, which writes its file: remove one of them",
        ],
    );
    refuses(
        &sandbox
            .env("COUNTERSIGN_TLS__DEV", "true")
            .env("HOME", "/home/x"),
        &[
            "COUNTERSIGN_SANDBOX: `sandbox`: cannot be combined with `tls.dev`, which writes its CA: use `tls.cert`",
        ],
    );
}

#[test]
fn addresses_beyond_this_machine() {
    let token = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o600);
    for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:127.0.0.1]:1"] {
        let said = flag("--listen", "listen", &[text]);
        let beyond = |mode: &'static str| said.clone().env("COUNTERSIGN_GUARD__NON_LOOPBACK", mode);
        refuses(
            &said,
            &[&format!(
                "--listen: {text} is not a loopback address: anybody who reaches it could act with the IAM identity. Allow it with guard.non_loopback = \"token\" and a guard.token_file"
            )],
        );
        refuses(
            &beyond("token"),
            &[&format!(
                "--listen: {text} is not a loopback address, and with guard.non_loopback = \"token\" clients must authenticate: set guard.token_file (--token-file) or tls.client_ca"
            )],
        );
        let shown = format!("[{text}]");
        means(&beyond("open"), "listen", &shown);
        let with_token = beyond("token").env("COUNTERSIGN_GUARD__TOKEN_FILE", token.path());
        means(&with_token, "listen", &shown);
        refuses(
            &beyond("maybe"),
            &[
                "COUNTERSIGN_GUARD__NON_LOOPBACK: `guard.non_loopback`: invalid value \"maybe\": expected \"refuse\", \"token\" or \"open\"",
            ],
        );
    }
    let unix = flag("--listen", "listen", &["unix:/run/x.sock", "127.0.0.1:1"]);
    means(&unix, "listen", "[unix:/run/x.sock, 127.0.0.1:1]");
}

#[test]
fn token_files() {
    let good = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o600);
    let open = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o644);
    let short = TokenFile::new("\nhunter2", 0o600);
    let file_of = |token: &TokenFile| format!("[guard]\ntoken_file = \"{}\"", token.path());
    let named = format!("[guard.tokens.ci]\nfile = \"{}\"", good.path());
    refuses(
        &file(&format!("{named}\nroutes = [\"graphql\", \"grapql\"]")),
        &["FILE:3: `guard.tokens.ci.routes`: there is no route \"grapql\""],
    );
    let limited = format!("{named}\nroutes = [\"graphql\"]\nread_only = true");
    means(
        &file(&limited),
        "guard.tokens",
        &format!("Some(\"ci\") {}", good.path()),
    );
    means(
        &file(&file_of(&good)),
        "guard.tokens",
        &format!("None {}", good.path()),
    );
    means(
        &file(&named),
        "guard.tokens",
        &format!("Some(\"ci\") {}", good.path()),
    );
    for (said, problem) in [
        (
            file(&file_of(&open)),
            format!(
                "FILE:2: `guard.token_file`: {0} is accessible to other users (mode 644). Run: chmod 600 {0}",
                open.path()
            ),
        ),
        (
            file(&file_of(&short)),
            format!(
                "FILE:2: `guard.token_file`: line 2 of {} is not a valid token: a token consists of at least 32 letters, digits, `-`, `.`, `_` and `~`",
                short.path()
            ),
        ),
        (
            file("[guard.tokens.ci]"),
            "`guard.tokens.ci.file`: is missing: set it to the file with the tokens".to_owned(),
        ),
        (
            file(&named.replace("file", "path")),
            "FILE:2: `guard.tokens.ci.path`: unknown key; known here: file, operations, read_only, routes".to_owned(),
        ),
    ] {
        let problems = said.load().unwrap_err();
        assert!(problems.contains(&problem), "{problem}: {problems:#?}");
    }
}

struct TokenFile(PathBuf);

impl TokenFile {
    fn new(text: &str, mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-token-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
