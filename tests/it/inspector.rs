//! The inspector's API through the program: what it records, what it masks, and whom it serves.

use std::net::SocketAddr;

use countersign::diagnose::Cause;
use countersign_emulator as emulator;
use countersign_protocol::error_code::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Answer, Daemon, JSON, Running, World, demo_key, get, post, raw, within};

const KEY: (&str, &str) = ("x-countersign-inspector", "1");

async fn inspected() -> Running<Daemon> {
    let world = World::builder().admin().arguments(&["--inspect"]);
    world.daemon().await
}

impl Running<Daemon> {
    async fn api(&self, path: &str) -> Value {
        let answer = get(self.admin(), &format!("/inspect/api/{path}"), &[KEY]).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Waits until an entry meets a condition, and returns its summary.
    async fn entry(&self, what: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let list = self.api("entries").await;
                let mut entries = list["entries"].as_array().unwrap().iter();
                if let Some(entry) = entries.find(|entry| is_expected(entry)) {
                    return entry.clone();
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within(what, found).await
    }

    async fn detail(&self, entry: &Value, parameters: &str) -> Value {
        self.api(&format!("entries/{}{parameters}", entry["id"]))
            .await
    }
}

fn is_named(name: &str) -> impl Fn(&Value) -> bool {
    move |entry| entry["name"] == name && entry["is_live"] == false
}

#[tokio::test]
async fn requests_are_shown_with_what_was_signed_and_answered() {
    let world = inspected().await;
    let body = json!({ "query": "query Named($s: String) { rooms { id } }", "variables": { "s": "secret-variable" } });
    let headers = [
        JSON,
        ("authorization", "Bearer secret-bearer"),
        ("x-team", "blue"),
    ];
    let answer = post(world.addr, "/graphql", &headers, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let entry = world.entry("the query", is_named("Named")).await;
    assert_eq!(entry["kind"], "query");
    assert_eq!(entry["route"], "graphql");
    assert_eq!(entry["protocol"], "http");
    assert_eq!(entry["method"], "POST");
    assert_eq!(entry["path"], "/graphql");
    assert_eq!(entry["status"], 200);
    assert_eq!(entry["is_refused"], false);
    assert!(entry["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    let total = entry["durations"]["total"].as_f64().unwrap();
    assert!(total > 0.0 && entry["durations"]["first_byte"].as_f64().unwrap() <= total);
    assert_eq!(entry["bytes_out"], answer.body.len());

    let hidden = world.detail(&entry, "").await;
    assert!(!hidden.to_string().contains("secret-variable"), "{hidden}");
    assert_eq!(hidden["request"]["variables"]["size"], 23);
    assert!(hidden["response"]["body"]["text"].is_null());
    let detail = world.detail(&entry, "?reveal=bodies").await;
    assert_eq!(detail["request"]["body"]["text"], body.to_string());
    assert_eq!(detail["request"]["document"]["text"], body["query"]);
    assert_eq!(detail["response"]["body"]["text"], answer.body);
    let headers = detail["request"]["headers"].as_array().unwrap();
    let find = |name: &str| {
        headers
            .iter()
            .find(|header| header["name"] == name)
            .unwrap()
    };
    assert_eq!(find("x-team")["value"], "blue");
    assert_eq!(
        find("authorization"),
        &json!({ "name": "authorization", "is_masked": true })
    );
    let upstream = &detail["upstream"];
    assert_eq!(upstream["status"], 200);
    assert_eq!(upstream["attempts"], 1);
    assert!(upstream["request_id"].as_str().is_some(), "{upstream}");
    let canonical = upstream["canonical_request"].as_str().unwrap();
    assert!(canonical.starts_with("POST\n/graphql\n\n"), "{canonical}");
    assert!(canonical.contains("x-amz-date:"), "{canonical}");
    let to_sign = upstream["string_to_sign"].as_str().unwrap();
    assert!(to_sign.starts_with("AWS4-HMAC-SHA256\n"), "{to_sign}");
    assert!(to_sign.contains("/appsync/aws4_request\n"), "{to_sign}");
}

#[tokio::test]
async fn operations_of_sockets_are_entries_of_their_own() {
    let world = inspected().await;
    let mut socket = world.acked().await;
    socket
        .subscribe(
            "1",
            "subscription Live { onMessage(room: \"lobby\") { body } }",
        )
        .await;
    world.subscriptions(1).await;
    let is_live = |entry: &Value| entry["name"] == "Live" && entry["is_live"] == true;
    let entry = world.entry("the subscription", is_live).await;
    assert_eq!(entry["kind"], "subscription");
    assert_eq!(entry["protocol"], "graphql-transport-ws");
    let answer = world
        .query("mutation Post { postMessage(room: \"lobby\", body: \"hello\") { body room } }")
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(socket.next_of("1").await["type"], "next");
    let has_event = |entry: &Value| entry["name"] == "Live" && entry["events"] == 1;
    world.entry("the event", has_event).await;
    let shared = world.api("state").await["realtime"].clone();
    assert_eq!(shared[0]["subscriptions"], 1, "{shared}");
    assert_eq!(shared[0]["entries"], json!([entry["id"]]), "{shared}");
    check_frames(&world, &entry).await;
    let detail = world.detail(&entry, "").await;
    assert_eq!(detail["realtime"], shared[0]["id"], "{detail}");
    socket.send(json!({ "id": "1", "type": "complete" })).await;
    let ended = world.entry("the end", is_named("Live")).await;
    assert!(ended["durations"]["total"].as_f64().unwrap() > 0.0);
    socket.subscribe("2", "query Over { rooms { id } }").await;
    let entry = world.entry("the query", is_named("Over")).await;
    let detail = world.detail(&entry, "?reveal=bodies").await;
    let text = detail["response"]["body"]["text"].as_str().unwrap();
    assert!(text.starts_with("{\"data\""), "{detail}");
    assert_eq!(detail["upstream"]["status"], 200);
}

/// Checks the messages of a subscription with one event, on both sides.
async fn check_frames(world: &Running<Daemon>, entry: &Value) {
    let hidden = world.detail(entry, "").await;
    assert!(!hidden["frames"].to_string().contains("hello"), "{hidden}");
    let detail = world.detail(entry, "?reveal=bodies").await;
    let frames = detail["frames"]["frames"].as_array().unwrap();
    let found: Vec<String> = frames
        .iter()
        .map(|frame| {
            let text = |name: &str| frame[name].as_str().unwrap();
            format!("{} {} {}", text("side"), text("direction"), text("type"))
        })
        .collect();
    let expected = [
        "client in subscribe",
        "upstream out start",
        "upstream in start_ack",
        "upstream in data",
        "client out next",
    ];
    assert_eq!(found, expected);
    let start = frames[1]["payload"]["text"].as_str().unwrap();
    let start: Value = serde_json::from_str(start).unwrap();
    let authorization = &start["payload"]["extensions"]["authorization"];
    let mut names = authorization.as_object().unwrap().keys();
    let name = names.find(|name| name.eq_ignore_ascii_case("authorization"));
    assert_eq!(authorization[name.unwrap()], "***", "{start}");
    let next = frames[4]["payload"]["text"].as_str().unwrap();
    assert!(next.contains("hello"), "{next}");
    let rest = world.detail(entry, "?frames_after=3").await;
    assert_eq!(
        rest["frames"]["frames"].as_array().unwrap().len(),
        1,
        "{rest}"
    );
    assert_eq!(rest["frames"]["next"], 5);
}

#[tokio::test]
async fn refusals_name_the_rule_and_the_setting() {
    let world = inspected().await;
    let origin = ("origin", "https://foreign.example");
    let answer = post(world.addr, "/graphql", &[JSON, origin], "{}").await;
    assert_eq!(answer.status, 403);
    let is_refused = |entry: &Value| entry["is_refused"] == true;
    let entry = world.entry("the refusal", is_refused).await;
    assert_eq!(entry["code"], "ORIGIN_NOT_ALLOWED");
    let detail = world.detail(&entry, "").await;
    let diagnosis = &detail["diagnosis"];
    assert_eq!(diagnosis["setting"], "guard.allow_origins");
    let message = diagnosis["message"].as_str().unwrap();
    assert!(message.contains("https://foreign.example"), "{message}");
    assert!(diagnosis["rule"].is_string());
    assert!(detail["upstream"].is_null());
}

#[tokio::test]
async fn rejections_have_their_diagnosis() {
    let of_demo = |secret: &str| emulator::Key {
        access_key_id: emulator::DEMO_ACCESS_KEY_ID.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: Some(emulator::DEMO_SESSION_TOKEN.to_owned()),
    };
    let another = emulator::Key {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret_access_key: "another-secret".to_owned(),
        session_token: None,
    };
    for (known, cause, message) in [
        (
            of_demo("another-secret"),
            Cause::WrongSecret.as_str(),
            Cause::WrongSecret.sentence(),
        ),
        // Nothing shows which of them is wrong.
        (another, "unknown", Code::TokenInvalid.meaning()),
    ] {
        let world = World::builder().admin().arguments(&["--inspect"]);
        let world = world.keys(vec![known]).daemon().await;
        let answer = world.query("query Rejected { rooms { id } }").await;
        assert_ne!(answer.status, 200);
        let entry = world.entry("the rejection", is_named("Rejected")).await;
        let detail = world.detail(&entry, "").await;
        let diagnosis = &detail["diagnosis"];
        assert_eq!(diagnosis["cause"], cause, "{detail}");
        assert_eq!(diagnosis["message"], message, "{detail}");
        assert!(diagnosis["hint"].is_string(), "{detail}");
        assert_eq!(detail["upstream"]["status"], answer.status);
    }
}

#[tokio::test]
async fn entries_are_filtered_and_searched() {
    let world = inspected().await;
    world.query("query One { rooms { id } }").await;
    world
        .query("mutation Two { postMessage(room: \"lobby\", body: \"needle\") { body room } }")
        .await;
    post(world.addr, "/graphql", &[JSON], "not json").await;
    get(world.addr, "/elsewhere", &[]).await;
    world
        .entry("the last", |entry| entry["path"] == "/elsewhere")
        .await;
    world.entry("the mutation", is_named("Two")).await;
    world.entry("the query", is_named("One")).await;
    let check = async |parameters: &str, expected: &[&str]| {
        let list = world.api(&format!("entries?{parameters}")).await;
        let entries = list["entries"].as_array().unwrap().iter();
        let found: Vec<&str> = entries
            .map(|entry| entry["name"].as_str().or(entry["code"].as_str()).unwrap())
            .collect();
        assert_eq!(found, expected, "{parameters}");
    };
    check("", &["NO_ROUTE", "BAD_JSON", "Two", "One"]).await;
    check("kind=query,mutation", &["Two", "One"]).await;
    check("status=ok", &["Two", "One"]).await;
    check("status=error", &["NO_ROUTE", "BAD_JSON"]).await;
    check("status=4xx", &["NO_ROUTE", "BAD_JSON"]).await;
    check("status=404", &["NO_ROUTE"]).await;
    check("q=NEEDLE", &["Two"]).await;
    check("q=elsewhere", &["NO_ROUTE"]).await;
    check("q=needle+one", &[]).await;
    check("route=graphql", &["BAD_JSON", "Two", "One"]).await;
    let list = world.api("entries?limit=1").await;
    assert_eq!(list["has_more"], true);
    let before = &list["entries"][0]["id"];
    check(&format!("limit=1&before={before}"), &["BAD_JSON"]).await;
}

#[tokio::test]
async fn the_state_shows_routes_credentials_and_the_recorder() {
    let world = inspected().await;
    let state = world.api("state").await;
    assert_eq!(state["base_url"], format!("http://{}", world.addr));
    assert_eq!(state["routes"][0]["path"], "/graphql");
    assert_eq!(state["routes"][0]["kind"], "graphql");
    assert_eq!(state["routes"][0]["service"], "appsync");
    let credential = &state["credentials"][0];
    assert!(
        credential["access_key_id"]
            .as_str()
            .unwrap()
            .contains("***"),
        "{credential}"
    );
    assert_eq!(state["recorder"]["memory_limit"], 64 * 1024 * 1024);
    assert_eq!(state["recorder"]["is_paused"], false);
    assert_eq!(state["is_ready"], true);
}

#[tokio::test]
async fn recording_can_be_paused_and_cleared() {
    let world = inspected().await;
    world.query("query Before { rooms { id } }").await;
    world.entry("the query", is_named("Before")).await;
    let path = "/inspect/api/pause";
    let paused = post(world.admin(), path, &[KEY, JSON], r#"{"is_paused":true}"#).await;
    assert_eq!(paused.json()["is_paused"], true);
    world.query("query Unseen { rooms { id } }").await;
    let path = "/inspect/api/clear";
    let cleared = post(world.admin(), path, &[KEY, JSON], "{}").await;
    assert_eq!(cleared.json()["entries"], 0, "{cleared:?}");
    let list = world.api("entries").await;
    assert_eq!(list["entries"], json!([]));
}

/// Reads a stream until a text arrives.
async fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    let reading = async {
        let mut buffer = [0; 4096];
        while !seen.contains(text) {
            let read = stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    within(text, reading).await;
}

async fn follow(admin: SocketAddr, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = format!(
        "GET /inspect/api/stream HTTP/1.1\r\nhost: {admin}\r\nx-countersign-inspector: 1\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn pages_follow_changes_and_resume() {
    let world = inspected().await;
    let mut stream = follow(world.admin(), "").await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "event: state").await;
    world.query("query First { rooms { id } }").await;
    read_until(&mut stream, &mut seen, "\"name\":\"First\"").await;
    drop(stream);
    world.query("query Missed { rooms { id } }").await;
    world.entry("the query", is_named("Missed")).await;
    let revision = seen.rsplit("\nid: ").next().unwrap();
    let revision = revision.lines().next().unwrap().to_owned();
    let resume = format!("last-event-id: {revision}\r\n");
    let mut stream = follow(world.admin(), &resume).await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "\"name\":\"Missed\"").await;
    let mut stream = follow(world.admin(), "last-event-id: 999999\r\n").await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "event: resync").await;
}

#[tokio::test]
async fn pages_beyond_the_limit_are_refused() {
    let world = inspected().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = follow(world.admin(), "").await;
        read_until(&mut stream, &mut String::new(), "event: state").await;
        open.push(stream);
    }
    let answer = get(world.admin(), "/inspect/api/stream", &[KEY]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["error"]["code"], "TOO_MANY_STREAMS");
    // Probes are served as before.
    assert_eq!(get(world.admin(), "/livez", &[]).await.status, 200);
}

async fn attack(admin: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n{headers}\r\n{{}}"
    );
    raw(admin, request.as_bytes()).await
}

#[tokio::test]
async fn foreign_pages_can_neither_read_nor_change_anything() {
    let world = inspected().await;
    let admin = world.admin();
    world.query("query Kept { rooms { id } }").await;
    world.entry("the query", is_named("Kept")).await;
    let host = format!("host: {admin}\r\n");
    let key = "x-countersign-inspector: 1\r\n";
    let json = "content-type: application/json\r\n";
    let check = async |method: &str, path: &str, headers: &str, status: u16| {
        let path = format!("/inspect/api/{path}");
        let answer = attack(admin, method, &path, headers).await;
        assert_eq!(
            answer.status, status,
            "{method} {path} {headers}: {answer:?}"
        );
        let allowed = answer
            .headers
            .keys()
            .find(|name| name.starts_with("access-control"));
        assert_eq!(allowed, None, "{answer:?}");
        assert!(!answer.body.contains("Kept"), "{answer:?}");
    };
    for path in [
        "state",
        "entries",
        "entries/1",
        "stream",
        "entries/1?reveal=bodies",
    ] {
        // A link, an image or a script of another page.
        check("GET", path, &host, 403).await;
        for site in ["cross-site", "same-site"] {
            let fetched = format!("{host}{key}sec-fetch-site: {site}\r\nsec-fetch-mode: cors\r\n");
            check("GET", path, &fetched, 403).await;
        }
        let origin = format!("{host}{key}origin: https://foreign.example\r\n");
        check("GET", path, &origin, 403).await;
        let rebound = format!("host: rebound.example:{}\r\n{key}", admin.port());
        check("GET", path, &rebound, 403).await;
        let preflight = format!(
            "{host}origin: https://foreign.example\r\naccess-control-request-method: GET\r\n\
             access-control-request-headers: x-countersign-inspector\r\n"
        );
        check("OPTIONS", path, &preflight, 403).await;
    }
    for path in ["clear", "pause"] {
        // A form of another page.
        let form = "content-type: text/plain\r\n";
        check("POST", path, &format!("{host}{form}"), 403).await;
        check("POST", path, &format!("{host}{key}{form}"), 400).await;
        let origin = "origin: null\r\n";
        check("POST", path, &format!("{host}{key}{json}{origin}"), 403).await;
        let other_port = "origin: http://127.0.0.1:1\r\n";
        check("POST", path, &format!("{host}{key}{json}{other_port}"), 403).await;
        let page = "referer: https://foreign.example/\r\n";
        check("POST", path, &format!("{host}{key}{json}{page}"), 403).await;
        check("POST", path, &format!("{host}{json}"), 403).await;
        check("GET", path, &format!("{host}{key}"), 405).await;
    }
    let own = format!("{host}{key}{json}origin: http://{admin}\r\nsec-fetch-site: same-origin\r\n");
    let answer = attack(admin, "POST", "/inspect/api/clear", &own).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let policy = &answer.headers["content-security-policy"];
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(
        answer.headers["cross-origin-resource-policy"],
        "same-origin"
    );
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn clients_that_need_a_token_need_a_key_for_the_inspector() {
    let token = "t".repeat(40);
    let world = World::builder()
        .file("token", &format!("{token}\n"))
        .arguments(&["--inspect"])
        .variables(&[("COUNTERSIGN_GUARD__TOKEN_FILE", "$DIR/token")])
        .variables(&[("COUNTERSIGN_ADMIN", "127.0.0.1:0")]);
    let world = world.daemon().await;
    let lines = world.countersign.log.lines();
    let lines: Vec<_> = lines
        .filter(|line| line.contains("inspector on http://"))
        .collect();
    let [printed, logged] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    // The log contains the URL, and the key is printed beside it.
    assert!(logged.ends_with("/inspect/"), "{logged}");
    let url = printed.strip_prefix("countersign: inspector on http://");
    let (place, key) = url.unwrap().split_once("#key=").unwrap();
    let elsewhere = world.countersign.log.matches(key).count();
    assert_eq!(elsewhere, 1, "{}", world.countersign.log);
    let admin: SocketAddr = place.trim_end_matches("/inspect/").parse().unwrap();
    let check = async |key: &str, status: u16, code: &str| {
        let headers = [("x-countersign-inspector", key)];
        let answer = get(admin, "/inspect/api/entries", &headers).await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status != 200 {
            assert_eq!(answer.json()["error"]["code"], code);
        }
    };
    check("1", 401, "KEY_MISSING").await;
    check(&"0".repeat(48), 401, "KEY_WRONG").await;
    check(key, 200, "").await;
    check(&token, 200, "").await;
}

/// What Chromium sends for a link, or a URL that the user has typed.
fn opened(site: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("sec-fetch-site", site),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ]
}

#[tokio::test]
async fn browsers_are_led_to_graphiql_and_to_the_inspector() {
    let world = World::builder().admin().arguments(&["--inspect"]);
    let world = world.daemon().await;
    let admin = world.admin();
    for site in ["none", "cross-site"] {
        let answer = get(world.addr, "/graphql", &opened(site)).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let location = &answer.headers["location"];
        assert_eq!(
            *location,
            format!("http://{admin}/inspect/graphiql?route=graphql")
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let page = get(world.addr, "/", &opened("none")).await;
    assert_eq!(page.status, 200, "{page:?}");
    for url in [
        format!("href=\"http://{admin}/inspect/\""),
        format!("href=\"http://{admin}/inspect/graphiql?route=graphql\""),
    ] {
        assert!(page.body.contains(&url), "no {url}: {page:?}");
    }
    // Programs get what they got without the inspector.
    let answer = get(world.addr, "/graphql", &[]).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    for path in ["/inspect/", "/inspect/graphiql?route=graphql"] {
        for site in ["none", "same-origin", "same-site", "cross-site"] {
            let answer = get(admin, path, &opened(site)).await;
            assert_eq!(answer.status, 200, "{site} {path}: {answer:?}");
        }
        let mut embedded = opened("cross-site");
        embedded[3].1 = "iframe";
        let answer = get(admin, path, &embedded).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    let page = get(admin, "/inspect/", &[]).await;
    let compressed = page.headers.get("content-encoding").map(String::as_str);
    assert_eq!(compressed, Some("gzip"));
    // The page's own parts, and what loads them elsewhere.
    for (site, destination, status) in [
        ("same-origin", "script", 404),
        ("same-origin", "style", 404),
        ("same-origin", "image", 403),
        ("same-site", "script", 403),
        ("cross-site", "script", 403),
        ("none", "script", 403),
    ] {
        let headers = [
            ("sec-fetch-site", site),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", destination),
        ];
        for (path, status) in [("assets/none.js", status), ("api/state", 403)] {
            let answer = get(admin, &format!("/inspect/{path}"), &headers).await;
            assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
        }
    }
    let answer = get(admin, "/inspect/api/state", &opened("cross-site")).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn nothing_is_served_while_the_inspector_is_off() {
    let world = World::builder().admin().daemon().await;
    for path in ["/inspect/", "/inspect/api/state", "/inspect/api/entries"] {
        let answer = get(world.admin(), path, &[KEY]).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn memory_is_bounded_under_load() {
    let world = World::builder()
        .admin()
        .arguments(&["--inspect"])
        .variables(&[("COUNTERSIGN_INSPECT__MEMORY", "1MiB")])
        .variables(&[("COUNTERSIGN_LOG__FILTER", "info,countersign::request=off")])
        .daemon()
        .await;
    let long = "x".repeat(50_000);
    let body = json!({ "query": format!("query Long {{ rooms {{ id }} }} # {long}") });
    for _ in 0..60 {
        let answer = post(world.addr, "/graphql", &[JSON], &body.to_string()).await;
        assert_eq!(answer.status, 200);
    }
    let state = world.api("state").await;
    let recorder = &state["recorder"];
    let used = recorder["memory_used"].as_u64().unwrap();
    assert!(used <= 1024 * 1024 && used > 512 * 1024, "{recorder}");
    assert!(recorder["evicted"].as_u64().unwrap() > 30, "{recorder}");
}

impl Running<Daemon> {
    async fn replay(&self, body: &Value) -> Answer {
        let path = "/inspect/api/replay";
        post(self.admin(), path, &[KEY, JSON], &body.to_string()).await
    }
}

#[tokio::test]
async fn requests_can_be_sent_again() {
    let world = inspected().await;
    let answer = world.query("query Again { rooms { id } }").await;
    let entry = world.entry("the query", is_named("Again")).await;
    let replayed = world.replay(&json!({ "id": entry["id"] })).await.json();
    assert_eq!(replayed["status"], 200, "{replayed}");
    let is_replay = |other: &Value| other["id"] == replayed["id"] && other["is_live"] == false;
    let other = world.entry("the replay", is_replay).await;
    assert_eq!(other["replay_of"], entry["id"]);
    let detail = world.detail(&other, "?reveal=bodies").await;
    assert_eq!(detail["response"]["body"]["text"], answer.body);

    world
        .query("mutation Once { postMessage(room: \"lobby\", body: \"b\") { body room } }")
        .await;
    let entry = world.entry("the mutation", is_named("Once")).await;
    let refused = world.replay(&json!({ "id": entry["id"] })).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "MUTATION_NOT_CONFIRMED");
    let count = async || {
        let list = world.api("entries?kind=mutation").await;
        list["entries"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 1);
    let confirmed = json!({ "id": entry["id"], "confirm": true });
    assert_eq!(world.replay(&confirmed).await.json()["status"], 200);
    assert_eq!(count().await, 2);

    let edited = world.api(&format!("entries/{}/request", entry["id"])).await;
    assert_eq!(edited["path"], "/graphql");
    let mut edited = edited;
    edited["body"] = json!({ "query": "query Edited { rooms { id } }" })
        .to_string()
        .into();
    let sent = world.replay(&json!({ "request": edited })).await.json();
    assert_eq!(sent["status"], 200, "{sent}");
    world.entry("the edited one", is_named("Edited")).await;
    edited["path"] = "/elsewhere".into();
    let refused = world.replay(&json!({ "request": edited })).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}

#[tokio::test]
async fn replays_pass_the_access_rules() {
    let token = "t".repeat(40);
    let world = World::builder()
        .admin()
        .file("token", &format!("{token}\n"))
        .arguments(&["--inspect"])
        .variables(&[("COUNTERSIGN_GUARD__TOKEN_FILE", "$DIR/token")])
        .daemon()
        .await;
    let admin = world.admin();
    let key = ("x-countersign-inspector", token.as_str());
    let own = ("x-countersign-token", token.as_str());
    let body = json!({ "query": "query Tokened { rooms { id } }" }).to_string();
    let answer = post(world.addr, "/graphql", &[JSON, own], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = get(admin, "/inspect/api/entries", &[key]).await;
    assert!(!list.body.contains(&token));
    let id = &list.json()["entries"][0]["id"];
    let replay = json!({ "id": id }).to_string();
    let path = "/inspect/api/replay";
    let without = post(admin, path, &[JSON, key], &replay).await;
    assert_eq!(without.json()["status"], 401, "{without:?}");
    let with = post(admin, path, &[JSON, key, own], &replay).await;
    assert_eq!(with.json()["status"], 200, "{with:?}");
}

/// Runs a line as pasted into a shell.
async fn run(line: &str) -> String {
    let mut command = tokio::process::Command::new("sh");
    let output = within("curl", command.args(["-c", line]).output())
        .await
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn copied_lines_run_as_pasted() {
    let world = inspected().await;
    let body = json!({ "query": "query Copied($s: String) { rooms { id } }", "variables": { "s": "it's $HOME \"quoted\"\n" } });
    let answer = post(world.addr, "/graphql", &[JSON], &body.to_string()).await;
    let entry = world.entry("the query", is_named("Copied")).await;
    let copy = async |form: &str| {
        let path = format!("entries/{}/curl{form}", entry["id"]);
        world.api(&path).await["text"].as_str().unwrap().to_owned()
    };
    let line = copy("").await;
    assert_eq!(run(&format!("{line} -sS")).await, answer.body, "{line}");
    let line = copy("?form=signed").await;
    let emulator = world.emulator.addr();
    let to = format!("-sS --cacert {} --connect-to ::{emulator}", world.ca_file());
    assert_eq!(run(&format!("{line} {to}")).await, answer.body, "{line}");
    let list = world.api("entries").await.to_string();
    assert!(!list.contains("Signature="), "{list}");
    // The body of a POST is not a part of a URL.
    let path = format!("/inspect/api/entries/{}/curl?form=presigned", entry["id"]);
    let refused = get(world.admin(), &path, &[KEY]).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "NOT_PRESIGNED");
}

#[tokio::test]
async fn presigned_urls_are_the_whole_request() {
    let world = World::builder().admin().routes(&["rest"]);
    let world = world.arguments(&["--inspect"]).daemon().await;
    let answer = get(world.addr, "/rest/orders?state=open", &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let is_whole = |entry: &Value| entry["path"] == "/rest/orders" && entry["is_live"] == false;
    let entry = world.entry("the request", is_whole).await;
    let path = format!("entries/{}/curl?form=presigned", entry["id"]);
    let copied = world.api(&path).await;
    let url = copied["text"].as_str().unwrap();
    assert!(url.contains("/orders?state=open&X-Amz-Algorithm="), "{url}");
    let expires = copied["expires"].as_f64().unwrap() - entry["time"].as_f64().unwrap();
    assert!((299_000.0..360_000.0).contains(&expires), "{expires}");
    let emulator = world.emulator.addr();
    let to = format!("-sS --cacert {} --connect-to ::{emulator}", world.ca_file());
    let echoed = run(&format!("curl '{url}' {to}")).await;
    let echoed: Value = serde_json::from_str(&echoed).unwrap();
    assert_eq!(echoed["presigned"], true, "{echoed}");
    let path = "/rest/orders";
    post(world.addr, path, &[JSON], "{}").await;
    let is_post = |entry: &Value| entry["method"] == "POST" && entry["is_live"] == false;
    let entry = world.entry("the POST", is_post).await;
    let path = format!("/inspect/api/entries/{}/curl?form=presigned", entry["id"]);
    let refused = get(world.admin(), &path, &[KEY]).await;
    assert_eq!(refused.status, 422, "{refused:?}");
}

#[tokio::test]
async fn tunnels_are_entries_of_their_own() {
    let world = World::builder().admin().routes(&["ws"]);
    let world = world.arguments(&["--inspect"]).daemon().await;
    let url = format!("ws://{}/ws/", world.addr);
    let (socket, _) = within("the tunnel", tokio_tungstenite::connect_async(&url))
        .await
        .unwrap();
    let is_live = |entry: &Value| entry["kind"] == "tunnel" && entry["is_live"] == true;
    let tunnel = world.entry("the tunnel", is_live).await;
    assert_eq!(
        (&tunnel["route"], &tunnel["status"]),
        (&json!("ws"), &json!(101))
    );
    let is_handshake = |entry: &Value| entry["kind"] == "http" && entry["status"] == 101;
    let handshake = world.entry("the handshake", is_handshake).await;
    let detail = world.detail(&handshake, "").await;
    let upstream = &detail["upstream"];
    assert_eq!(
        (&upstream["status"], &upstream["attempts"]),
        (&json!(101), &json!(1))
    );
    let canonical = upstream["canonical_request"].as_str().unwrap();
    assert!(canonical.starts_with("GET\n/prod"), "{canonical}");
    drop(socket);
    let is_over = |entry: &Value| entry["kind"] == "tunnel" && entry["is_live"] == false;
    let ended = world.entry("the end", is_over).await;
    assert_eq!(ended["id"], tunnel["id"]);
    let refused = world.replay(&json!({ "id": tunnel["id"] })).await;
    assert_eq!(refused.status, 422, "{refused:?}");
}

#[tokio::test]
async fn exports_are_har_documents_without_secrets() {
    let world = inspected().await;
    let secrets = [
        ("authorization", "Bearer canary-1-authorization"),
        ("cookie", "session=canary-2-cookie"),
        ("x-api-key", "canary-3-api-key"),
        ("x-amz-security-token", "canary-4-token"),
    ];
    let headers = [&[JSON], &secrets[..]].concat();
    let body = json!({ "query": "query Exported { rooms { id } }" }).to_string();
    let path = "/elsewhere?X-Amz-Signature=canary-5-signature&token=canary-6-token";
    get(world.addr, path, &secrets).await;
    post(world.addr, "/graphql", &headers, &body).await;
    world.entry("the query", is_named("Exported")).await;
    let har = world.api("har").await;
    let log = &har["log"];
    assert_eq!(log["version"], "1.2");
    let entry = &log["entries"][1];
    for member in [
        "startedDateTime",
        "time",
        "request",
        "response",
        "cache",
        "timings",
    ] {
        assert!(!entry[member].is_null(), "{member}: {entry}");
    }
    assert_eq!(entry["request"]["postData"]["text"], body);
    assert_eq!(entry["response"]["status"], 200);
    let id = &world.api("entries").await["entries"][0]["id"];
    let detail = world.api(&format!("entries/{id}?reveal=bodies")).await;
    let copied = world.api(&format!("entries/{id}/curl")).await;
    let all = [
        har,
        detail,
        copied,
        world.api("state").await,
        world.api("entries").await,
    ];
    for text in all.map(|json| json.to_string()) {
        assert!(!text.contains("canary-"), "{text}");
        assert!(!text.contains(emulator::DEMO_SECRET_ACCESS_KEY), "{text}");
        assert!(!text.contains(emulator::DEMO_ACCESS_KEY_ID), "{text}");
        assert!(!text.contains(emulator::DEMO_SESSION_TOKEN), "{text}");
    }
}

#[tokio::test]
async fn the_page_is_served_with_a_strict_policy() {
    let world = inspected().await;
    let admin = world.admin();
    let redirect = get(admin, "/inspect", &[]).await;
    assert_eq!(
        (redirect.status, redirect.headers["location"].as_str()),
        (308, "/inspect/")
    );
    let page = get(admin, "/inspect/", &[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-encoding"], "gzip");
    assert!(page.headers["content-type"].starts_with("text/html"));
    let policy = &page.headers["content-security-policy"];
    assert!(
        policy.contains("script-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    let again = get(
        admin,
        "/inspect/",
        &[("if-none-match", &page.headers["etag"])],
    )
    .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let graphiql = get(admin, "/inspect/graphiql", &[]).await;
    let policy = &graphiql.headers["content-security-policy"];
    let connect = format!("connect-src 'self' http://{0} ws://{0};", world.addr);
    assert!(policy.contains(&connect), "{policy}");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    for path in [
        "/inspect/../Cargo.toml",
        "/inspect/files.rs",
        "/inspect/assets/none.js",
    ] {
        assert_eq!(get(admin, path, &[]).await.status, 404, "{path}");
    }
    let unknown = get(admin, "/", &[]).await;
    assert!(unknown.body.contains("/inspect/"), "{unknown:?}");
    let foreign = [("origin", "https://foreign.example")];
    assert_eq!(get(admin, "/inspect/", &foreign).await.status, 403);
}

#[tokio::test]
async fn only_the_pages_of_the_inspector_may_use_the_proxied_port() {
    let world = inspected().await;
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    let own = format!("http://{}", world.admin());
    let answer = post(world.addr, "/graphql", &[JSON, ("origin", &own)], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["access-control-allow-origin"], own);
    let other = "http://127.0.0.1:1";
    let answer = post(world.addr, "/graphql", &[JSON, ("origin", other)], &body).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let world = World::builder().admin().daemon().await;
    let own = format!("http://{}", world.admin());
    let answer = post(world.addr, "/graphql", &[JSON, ("origin", &own)], &body).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn the_account_of_the_credentials_is_shown_if_it_is_known() {
    const ACCOUNT: &str = "123456789012";
    let key = demo_key();
    let profile: String = key
        .iter()
        .map(|(name, value)| format!("{} = {value}\n", name.to_lowercase()))
        .collect();
    let output = json!({
        "Version": 1, "AccessKeyId": key[0].1, "SecretAccessKey": key[1].1, "SessionToken": key[2].1,
        "AccountId": ACCOUNT,
    });
    let check = async |variables: &[(&str, &str)], profile: &str, expected: (&str, Value)| {
        let world = World::builder().admin().arguments(&["--inspect"]);
        let world = world.keyless().variables(variables);
        let world = world.file(".aws/credentials", &format!("[default]\n{profile}"));
        let world = world.daemon().await;
        assert_eq!(world.query("{ rooms { id } }").await.status, 200);
        let credential = world.api("state").await["credentials"][0].clone();
        let found = (&credential["provider"], &credential["account"]);
        assert_eq!(found, (&json!(expected.0), &expected.1));
    };
    let account = || json!(ACCOUNT);
    let in_profile = "profile \"default\"";
    check(&[], &profile, (in_profile, Value::Null)).await;
    let with_account = format!("{profile}aws_account_id = {ACCOUNT}\n");
    check(&[], &with_account, (in_profile, account())).await;
    let process = format!("credential_process = echo '{output}'\n");
    check(&[], &process, (in_profile, account())).await;
    check(&key, "", ("environment", Value::Null)).await;
    let with_account = [&key[..], &[("AWS_ACCOUNT_ID", ACCOUNT)]].concat();
    check(&with_account, "", ("environment", account())).await;
}

/// Sends so many queries, eight at a time.
async fn send_queries(address: SocketAddr, count: usize) {
    let body = json!({ "query": "query Small { rooms { id } }" }).to_string();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let body = body.clone();
        clients.spawn(async move {
            for _ in 0..count / 8 {
                let answer = post(address, "/graphql", &[JSON], &body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
    }
    clients.join_all().await;
}

/// Sends queries, most of them while `is_recording`. Returns by how many KiB the process has grown meanwhile, and
/// the state of its recorder.
async fn growth(is_recording: bool) -> (u64, Value) {
    let world = World::builder().admin();
    let config = "inspect.enabled = true\ninspect.memory = \"8MiB\"\n";
    let world = world.config(config).daemon().await;
    let pause = async |is_paused: bool| {
        let body = json!({ "is_paused": is_paused }).to_string();
        let headers = [JSON, KEY];
        let answer = post(world.admin(), "/inspect/api/pause", &headers, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    pause(true).await;
    send_queries(world.addr, 800).await;
    let before = world.memory().0;
    pause(!is_recording).await;
    send_queries(world.addr, 2_400).await;
    let grown = world.memory().0.saturating_sub(before);
    (grown, world.api("state").await["recorder"].clone())
}

/// Small entries have the most that is not text. The process grew by 73 MiB with a limit of 64 MiB.
#[tokio::test]
async fn the_process_grows_by_no_more_than_the_memory_of_the_inspector() {
    let limit = 8 * 1024;
    let (of_others, idle) = growth(false).await;
    assert_eq!(idle["entries"], 0, "{idle}");
    let (grown, recorder) = growth(true).await;
    println!("grown by {grown} KiB, without a recorder by {of_others} KiB: {recorder}");
    assert!(recorder["evicted"].as_u64().unwrap() > 500, "{recorder}");
    let grown = grown.saturating_sub(of_others);
    assert!(grown <= limit, "{grown} KiB: {recorder}");
    // The count is that of memory, and not a guess that is too high.
    assert!(grown >= limit / 2, "{grown} KiB: {recorder}");
}
