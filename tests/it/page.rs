//! The page that browsers receive at `/` and at the paths of AppSync routes.

use crate::support::{Answer, Running, World, get, raw};

/// What Chromium sends for a URL that the user has typed.
const TYPED: [(&str, &str); 6] = [
    HTML,
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-user", "?1"),
    ("upgrade-insecure-requests", "1"),
];
const HTML: (&str, &str) = (
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);
const QUERY: &str = "/graphql?query=%7Brooms%7Bid%7D%7D";

#[track_caller]
fn check_page(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.headers[name], value, "{what}");
    }
    let policy = &answer.headers["content-security-policy"];
    for part in [
        "default-src 'none'; ",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains("script-src"),
        "{policy}"
    );
    let foreign = answer
        .headers
        .keys()
        .find(|name| name.starts_with("access-control"));
    assert_eq!(foreign, None, "{what}");
    assert!(
        !answer.headers.contains_key("x-countersign-error"),
        "{what}"
    );
    assert!(
        answer.body.starts_with("<!doctype html>"),
        "{what}: {answer:?}"
    );
    assert!(
        answer.body.contains("<h1>countersign "),
        "{what}: {answer:?}"
    );
}

/// A request, and the code of its error; `None` if it is answered with the page.
type Row = (
    &'static str,
    Vec<(&'static str, &'static str)>,
    Option<&'static str>,
);

async fn check(world: &Running, rows: Vec<Row>) {
    for (path, headers, code) in rows {
        let answer = get(world.addr, path, &headers).await;
        let what = format!("{path} {headers:?}");
        match code {
            None => check_page(&answer, &what),
            Some(code) => {
                assert!(answer.status >= 400, "{what}: {answer:?}");
                let found = answer.headers.get("x-countersign-error");
                assert_eq!(found.map(String::as_str), Some(code), "{what}: {answer:?}");
                assert_eq!(answer.headers["content-type"], "application/json", "{what}");
            }
        }
    }
}

/// The typed URL with one of its headers replaced.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let others = TYPED.into_iter().filter(|(other, _)| *other != name);
    others.chain([(name, value)]).collect()
}

/// It was JSON with 403 or 404.
#[tokio::test]
async fn browser_gets_a_page_that_explains_the_port() {
    let world = World::builder()
        .routes(&["event", "rest"])
        .in_process()
        .await;
    let typed = TYPED.to_vec();
    let mut rows: Vec<Row> = Vec::new();
    for path in ["/", "/?x=1", "/graphql", "/graphql/", "/event", "/event/"] {
        rows.push((path, typed.clone(), None));
        rows.push((path, with("sec-fetch-site", "same-origin"), None));
        rows.push((path, vec![HTML], None));
        rows.push((path, vec![("accept", "text/html")], None));
        rows.push((
            path,
            with("sec-fetch-site", "cross-site"),
            Some("CROSS_SITE"),
        ));
        rows.push((
            path,
            with("sec-fetch-site", "same-site"),
            Some("CROSS_SITE"),
        ));
        rows.push((path, with("sec-fetch-dest", "iframe"), Some("NAVIGATION")));
        rows.push((path, with("sec-fetch-dest", "script"), Some("NAVIGATION")));
        rows.push((path, with("sec-purpose", "prefetch"), Some("NAVIGATION")));
        rows.push((
            path,
            with("origin", "https://evil.com"),
            Some("ORIGIN_NOT_ALLOWED"),
        ));
        rows.push((
            path,
            with("referer", "https://evil.com/"),
            Some("CROSS_SITE"),
        ));
    }
    // Everything else is as without the page.
    for path in ["/nowhere", "/rest", "/rest/a", "/event/default/a", QUERY] {
        rows.push((path, typed.clone(), Some("NAVIGATION")));
    }
    for path in [
        "/event?channel=/default/a",
        "/graphql?extensions=%7B%7D",
        "/graphql?documentId=a",
        "/graphql?token=a",
    ] {
        rows.push((path, typed.clone(), Some("NAVIGATION")));
    }
    rows.push(("/nowhere", vec![HTML], Some("NO_ROUTE")));
    for accept in ["*/*", "application/json", "application/json, text/html"] {
        rows.push(("/", vec![("accept", accept)], Some("NO_ROUTE")));
        rows.push(("/graphql", vec![("accept", accept)], Some("BAD_PARAMETER")));
    }
    rows.push(("/", vec![], Some("NO_ROUTE")));
    rows.push(("/graphql", vec![], Some("BAD_PARAMETER")));
    check(&world, rows).await;
    for host in ["evil.example", "<b>"] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\nconnection: close\r\n\r\n"
        );
        let answer = raw(world.addr, request.as_bytes()).await;
        assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    }
    let page = get(world.addr, "/", &TYPED).await;
    for text in [
        "<code>/graphql</code></td><td>AppSync GraphQL",
        "<code>/event</code></td><td>AppSync Events",
        "<code>/rest</code></td><td>API Gateway",
        &format!("http://{}/graphql -H", world.addr),
        &format!("ws://{}/graphql", world.addr),
    ] {
        assert!(page.body.contains(text), "no {text}: {page:?}");
    }
    let stats = world.emulator.stats();
    assert_eq!(
        (stats.requests.http, stats.gateway.verified),
        (0, 0),
        "{stats:?}"
    );
    // A query is executed, whatever the client accepts beside JSON.
    let answer = get(world.addr, QUERY, &[HTML]).await;
    assert_eq!(
        answer.json()["data"]["rooms"][0]["id"],
        "lobby",
        "{answer:?}"
    );
    world.drained().await;
}

#[tokio::test]
async fn page_needs_a_token_if_requests_do() {
    let token = "t".repeat(40);
    let bearer = format!("Bearer {token}");
    let world = World::builder()
        .file("token", &token)
        .settings(&[("guard.token_file", "$DIR/token")])
        .in_process()
        .await;
    for path in ["/", "/graphql"] {
        check(&world, vec![(path, TYPED.to_vec(), Some("TOKEN_MISSING"))]).await;
        let answer = get(world.addr, path, &[HTML, ("authorization", &bearer)]).await;
        check_page(&answer, path);
    }
    world.drained().await;
}

#[tokio::test]
async fn route_at_the_root_has_its_own_pages() {
    let world = World::builder()
        .routes(&["http"])
        .settings(&[("route.http.path", "/")])
        .in_process()
        .await;
    let rows: Vec<Row> = vec![
        ("/", TYPED.to_vec(), Some("NAVIGATION")),
        ("/graphql", TYPED.to_vec(), None),
    ];
    check(&world, rows).await;
    let before = world.emulator.stats().gateway.verified;
    let answer = get(world.addr, "/", &[HTML]).await;
    assert!(!answer.body.contains("<h1>countersign"), "{answer:?}");
    assert!(
        !answer.headers.contains_key("x-countersign-error"),
        "{answer:?}"
    );
    assert_eq!(world.emulator.stats().gateway.verified, before + 1);
    world.drained().await;
}
