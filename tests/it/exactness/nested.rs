//! Nested routes: no path that a server could read as below `/api/admin` is signed for `/api`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Answer, GATEWAY, Running, World, raw};

/// Below `/api`: other spellings of `/admin`, to each of which `/users/1` is appended.
const SPELLINGS: [&str; 52] = [
    "/%61dmin",
    "/adm%69n",
    "/%2561dmin",
    "/%25%36%31dmin",
    "/Admin",
    "/ADMIN",
    "/admin.",
    "/admin%20",
    "/admin;x=y",
    "/admin;",
    "/admin%3bx",
    "/admin%00",
    "/ad%09min",
    "/admin%0d%0a",
    "/admin%3F",
    "/admin%23",
    "/admin%2fx",
    "/admin%2Fx",
    "/admin%252fx",
    "/admin\\x",
    "/admin%5cx",
    "/;x/admin",
    "//admin",
    "///admin",
    "/./admin",
    "/%2e/admin",
    "/%252e/admin",
    "/.;/admin",
    "/x/../admin",
    "/x/y/../../admin",
    "/x/%2e%2E/admin",
    "/x/.%2e/admin",
    "/x/%252e%252e/admin",
    "/x/..;/admin",
    "/x/..;y=z/admin",
    "/x/..%3b/admin",
    "/x/..%00/admin",
    "/x/..%09/admin",
    "/x/..%20/admin",
    "/x/..\\admin",
    "/x\\..\\admin",
    "/x/..%5cadmin",
    "/x%5c..%5cadmin",
    "/x/..%2fadmin",
    "/x%2f..%2fadmin",
    "/x/..%252fadmin",
    "/x//..//admin",
    "/../api/admin",
    "/..;/prod/admin",
    "/..%2fprod/admin",
    "/x/../../prod/admin",
    "/%c0%ae/admin",
];

/// Methods with the lines of their heads, and a WebSocket upgrade.
const METHODS: [(&str, &str); 5] = [
    ("GET", ""),
    ("HEAD", ""),
    (
        "POST",
        "content-type: application/json\r\ncontent-length: 0\r\n",
    ),
    ("DELETE", ""),
    (
        "GET",
        "upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ),
];

/// A token for every route, and one for `/api` without `/api/admin`.
const TOKENS: [&str; 2] = [
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
];

/// Returns every reading of a path, by every combination of the ways servers normalise it.
fn readings(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for choices in 0..4 << 6 {
        let does = |bit: u32| choices >> bit & 1 == 1;
        let mut path = path.to_owned();
        if does(0) {
            path = without_parameters(&path);
        }
        for _ in 0..choices >> 6 {
            path = unescape(&path);
        }
        if does(1) {
            path = path.replace('\\', "/");
        }
        if does(2) {
            path = path
                .split(['\0', '?', '#', '\r', '\n'])
                .next()
                .unwrap()
                .to_owned();
        } else {
            path.retain(|c| !c.is_control());
        }
        if does(3) {
            path = without_parameters(&path);
        }
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split('/').skip(1) {
            match segment {
                "" if does(4) => {}
                "." => {}
                ".." => {
                    segments.pop();
                }
                _ => segments.push(segment),
            }
        }
        let mut path: String = segments
            .iter()
            .map(|segment| format!("/{segment}"))
            .collect();
        if does(5) {
            let segments = path
                .split('/')
                .map(|segment| segment.trim_end_matches(['.', ' ']));
            path = segments.collect::<Vec<_>>().join("/").to_lowercase();
        }
        all.insert(path);
    }
    all
}

fn without_parameters(path: &str) -> String {
    let segments = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap());
    segments.collect::<Vec<_>>().join("/")
}

fn unescape(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = rest.get(1..3).filter(|_| *first == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn may_be_admins(target: &str) -> bool {
    let is_admins = |path: &String| path == "/prod/admin" || path.starts_with("/prod/admin/");
    readings(target).iter().any(is_admins)
}

/// Starts countersign with `/api` and the read-only `/api/admin`, and with their `odd_paths`.
async fn start(api: &str, admin: &str) -> Running {
    World::builder()
        .routes(&GATEWAY)
        .file("all", TOKENS[0])
        .file("some", TOKENS[1])
        .settings(&[
            ("guard.token_file", "$DIR/all"),
            ("guard.tokens.some.file", "$DIR/some"),
            ("guard.tokens.some.routes", "api,http"),
            ("route.api.target", "https://$REST/prod"),
            ("route.api.odd_paths", api),
            ("route.admin.target", "https://$REST/prod/admin"),
            ("route.admin.path", "/api/admin"),
            ("route.admin.odd_paths", admin),
            ("route.admin.read_only", "true"),
        ])
        .in_process()
        .await
}

/// Returns the response, and whether the request arrived upstream.
async fn ask(world: &Running, method: (&str, &str), path: &str, token: &str) -> (Answer, bool) {
    let before = world.emulator.stats().gateway.requests;
    let (method, more) = method;
    let connection = if more.contains("upgrade") {
        "upgrade"
    } else {
        "close"
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         connection: {connection}, close\r\n{more}\r\n",
        world.addr
    );
    let answer = raw(world.addr, request.as_bytes()).await;
    let after = world.emulator.stats().gateway.requests;
    (answer, after != before)
}

#[tokio::test]
async fn no_spelling_of_a_nested_route_is_signed_for_the_outer_one() {
    let (mut refused, mut normalised) = (0, 0);
    for (api, admin) in [
        ("refuse", "refuse"),
        ("keep", "keep"),
        ("collapse", "refuse"),
        ("collapse", "collapse"),
    ] {
        let world = start(api, admin).await;
        for spelling in SPELLINGS {
            for (at, token) in TOKENS.iter().enumerate() {
                for method in METHODS {
                    let path = format!("/api{spelling}/users/1");
                    let (answer, arrived) = ask(&world, method, &path, token).await;
                    let shown = format!("{api} {admin} {path} {method:?} {at}: {answer:?}");
                    if !arrived {
                        assert!([400, 401, 403].contains(&answer.status), "{shown}");
                        assert!(
                            answer.headers.contains_key("x-countersign-error"),
                            "{shown}"
                        );
                        refused += 1;
                        continue;
                    }
                    // It belongs to the nested route: to its token, and only to read.
                    assert_eq!((admin, at), ("collapse", 0), "{shown}");
                    assert!(["GET", "HEAD"].contains(&method.0), "{shown}");
                    assert!(!method.1.contains("upgrade"), "{shown}");
                    if method.0 == "GET" {
                        let echo: Value = answer.json();
                        assert_eq!(echo["target"], "/prod/admin/users/1", "{shown}");
                    }
                    normalised += 1;
                }
            }
        }
        world.drained().await;
    }
    println!("{refused} refused, {normalised} signed for the nested route");
    assert!(normalised > 0);
}

#[tokio::test]
async fn nested_routes_keep_their_own_paths() {
    let world = start("keep", "collapse").await;
    let [all, some] = TOKENS;
    let [get, _, _, delete, _] = METHODS;
    for (method, path, token, expected) in [
        (get, "/api/items/1", all, Ok("/prod/items/1")),
        (get, "/api/items/1", some, Ok("/prod/items/1")),
        (delete, "/api/items/1", some, Ok("/prod/items/1")),
        (get, "/api/a//b/./c/../d", some, Ok("/prod/a//b/./c/../d")),
        (
            get,
            "/api/a%2Fb;v=1/%C3%A9",
            some,
            Ok("/prod/a%2Fb;v=1/%C3%A9"),
        ),
        (get, "/api/administrators", some, Ok("/prod/administrators")),
        (get, "/api/x/admin", some, Ok("/prod/x/admin")),
        (get, "/api/admin", all, Ok("/prod/admin")),
        (get, "/api/admin/users", all, Ok("/prod/admin/users")),
        (get, "/api//admin/./users", all, Ok("/prod/admin/users")),
        (get, "/api/admin/users", some, Err((401, "TOKEN_WRONG"))),
        (get, "/api//admin/users", some, Err((401, "TOKEN_WRONG"))),
        (
            delete,
            "/api/admin/users",
            all,
            Err((403, "OPERATION_NOT_ALLOWED")),
        ),
        (
            delete,
            "/api/x/../admin/1",
            all,
            Err((403, "OPERATION_NOT_ALLOWED")),
        ),
        (
            get,
            "/api/%61dmin/users",
            some,
            Err((400, "PATH_AMBIGUOUS")),
        ),
        (get, "/api/%61dmin/users", all, Err((400, "PATH_AMBIGUOUS"))),
        (get, "/api/../http/x", all, Err((400, "PATH_AMBIGUOUS"))),
        (get, "/api/..;/http/x", all, Err((400, "PATH_AMBIGUOUS"))),
        (get, "/api;x/admin", all, Err((404, "NO_ROUTE"))),
        (get, "/%61pi/items", all, Err((404, "NO_ROUTE"))),
    ] {
        let (answer, arrived) = ask(&world, method, path, token).await;
        match expected {
            Ok(target) => {
                assert_eq!(answer.status, 200, "{path}: {answer:?}");
                assert_eq!(answer.json()["target"], target);
                assert_eq!(
                    may_be_admins(target),
                    path.contains("/admin/") || path == "/api/admin"
                );
            }
            Err((status, code)) => {
                assert_eq!(answer.status, status, "{path}: {answer:?}");
                assert_eq!(answer.headers["x-countersign-error"], code, "{path}");
                assert!(!arrived, "{path}");
            }
        }
    }
    // The error names the part, the route and the setting.
    let (answer, _) = ask(&world, get, "/api/x/..;/admin", all).await;
    for part in ["\\\"..;\\\"", "the route admin (/api/admin)", "odd_paths"] {
        assert!(answer.body.contains(part), "{answer:?}");
    }
    world.drained().await;
}

#[tokio::test]
async fn graphql_and_events_below_a_route_are_guarded_by_their_paths_too() {
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[
            ("route.root.target", "https://$REST/prod"),
            ("route.root.path", "/"),
            ("route.root.odd_paths", "keep"),
            ("route.event.target", "https://$API/event"),
        ])
        .in_process()
        .await;
    for (path, status) in [
        ("/graphql/schema", 200),
        ("/graphqlx", 200),
        ("/events", 200),
        ("/%67raphql", 400),
        ("/graphql;x", 400),
        ("/GraphQL", 400),
        ("/x/../graphql", 400),
        ("/graphql%2Frealtime", 400),
        ("/%65vent/default/a", 400),
        ("/event;x/default/a", 400),
        ("/x/..;/event?channel=/default/a", 400),
        ("/event/..", 400),
        ("/..", 400),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\naccept: */*\r\n\r\n",
            world.addr
        );
        let answer = raw(world.addr, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if status == 400 {
            assert_eq!(
                answer.headers["x-countersign-error"], "PATH_AMBIGUOUS",
                "{path}"
            );
        }
    }
    assert_eq!(world.emulator.stats().gateway.requests, 3);
    world.drained().await;
}
