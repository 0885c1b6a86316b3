//! The pages that browsers receive: at `/` and at the paths of AppSync routes, and for errors.

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
const TEXT_HTML: (&str, &str) = ("accept", "text/html");
const QUERY: &str = "/graphql?query=%7Brooms%7Bid%7D%7D";

#[track_caller]
fn check_page(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    check_html(answer, what);
    assert!(
        !answer.headers.contains_key("x-countersign-error"),
        "{what}"
    );
    assert!(
        answer.body.contains("<h1>countersign "),
        "{what}: {answer:?}"
    );
}

/// No other page can read it or embed it, and it loads nothing.
#[track_caller]
fn check_html(answer: &Answer, what: &str) {
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
        answer.body.starts_with("<!doctype html>"),
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
                let prefers_html = headers.contains(&HTML) || headers.contains(&TEXT_HTML);
                // Programs send the `accept` of a browser, too, and get JSON.
                let is_opened = headers.contains(&("sec-fetch-mode", "navigate"))
                    && headers.contains(&("sec-fetch-dest", "document"));
                if prefers_html && is_opened && !path.starts_with("/rest") {
                    check_html(&answer, &what);
                    let code = format!("<code>{code}</code>");
                    assert!(answer.body.contains(&code), "{what}: {answer:?}");
                } else {
                    assert_eq!(answer.headers["content-type"], "application/json", "{what}");
                }
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
        rows.push((path, vec![TEXT_HTML], None));
        // A link on any page may lead to it.
        rows.push((path, with("sec-fetch-site", "cross-site"), None));
        rows.push((path, with("sec-fetch-site", "same-site"), None));
        rows.push((path, with("referer", "https://evil.com/"), None));
        rows.push((path, vec![HTML, ("referer", "https://evil.com/")], None));
        rows.push((path, vec![HTML, ("upgrade-insecure-requests", "1")], None));
        rows.push((path, with("sec-fetch-dest", "iframe"), Some("NAVIGATION")));
        rows.push((path, with("sec-fetch-dest", "script"), Some("NAVIGATION")));
        rows.push((path, with("sec-purpose", "prefetch"), Some("NAVIGATION")));
        rows.push((
            path,
            with("origin", "https://evil.com"),
            Some("ORIGIN_NOT_ALLOWED"),
        ));
        let image = [
            HTML,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
        ];
        rows.push((path, image.to_vec(), Some("CROSS_SITE")));
    }
    // Everything else is as without the page.
    for path in ["/rest", "/rest/a", "/event/default/a", QUERY] {
        rows.push((path, typed.clone(), Some("NAVIGATION")));
        let link = with("sec-fetch-site", "cross-site");
        rows.push((path, link, Some("CROSS_SITE")));
    }
    rows.push(("/nowhere", typed.clone(), Some("NO_ROUTE")));
    let link = with("sec-fetch-site", "cross-site");
    rows.push(("/nowhere", link, Some("NO_ROUTE")));
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

/// Browsers ask for it beside every page. Each page caused a warning.
#[tokio::test]
async fn requests_for_the_icon_get_204_without_a_warning() {
    let icon = |site: &'static str| {
        [
            ("accept", "image/avif,image/webp,*/*;q=0.8"),
            ("sec-fetch-site", site),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
            ("referer", "https://evil.com/"),
        ]
    };
    let token = "t".repeat(40);
    let world = World::builder()
        .file("token", &token)
        .config("guard.token_file = \"$DIR/token\"\n")
        .routes(&["rest"])
        .daemon()
        .await;
    for site in ["same-origin", "cross-site", "none"] {
        let answer = get(world.addr, "/favicon.ico", &icon(site)).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{site}");
    }
    assert_eq!(get(world.addr, "/favicon.ico", &[]).await.status, 204);
    let answer = get(world.addr, "/rest/favicon.ico", &icon("same-origin")).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let request = "GET /favicon.ico HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(world.addr, request.as_bytes()).await.status, 403);
    let log = world.stop().await;
    let warnings = log.lines().filter(|line| line.contains("WARN"));
    let codes: Vec<bool> = warnings
        .map(|line| line.contains("CROSS_SITE") || line.contains("HOST_NOT_ALLOWED"))
        .collect();
    assert_eq!(codes, [true, true], "{log}");
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
    check(&world, vec![("/graphql", TYPED.to_vec(), None)]).await;
    let answer = get(world.addr, "/", &TYPED).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-countersign-error"], "NAVIGATION");
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
