//! Credential providers that panic, hang or return garbage, and a wall clock that jumps.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Instant, sleep};

use super::*;
use crate::fakes::Endpoint;
use crate::support::{World, command, get, within};

/// An instance whose role has a line end in its name while `is_broken`: aws-config panics.
async fn fake_broken_instance(is_broken: Arc<AtomicBool>, life: Duration) -> Endpoint {
    Endpoint::start(move |request| {
        let role = "/latest/meta-data/iam/security-credentials/";
        match request.path().strip_prefix(role) {
            Some("") if is_broken.load(Ordering::SeqCst) => (200, "the-role\n".to_owned()),
            Some("") => (200, "the-role".to_owned()),
            Some("the-role") => {
                let mut answer: serde_json::Value =
                    serde_json::from_str(&container_answer("AKIDEC2")).unwrap();
                answer["Code"] = "Success".into();
                answer["Expiration"] = rfc3339(SystemTime::now() + life).into();
                (200, answer.to_string())
            }
            _ => (200, "imds-token".to_owned()),
        }
    })
    .await
}

async fn presign(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let home = world.home.0.display().to_string();
    let mut variables = vec![("HOME", home.as_str()), ("PATH", "/usr/bin:/bin")];
    variables.extend(environment);
    let target = ["--region", "us-east-1", "--service", "execute-api"];
    let all = [
        &["presign"],
        &target[..],
        arguments,
        &["https://api.example.com/"],
    ]
    .concat();
    let output = within("presign", command(&all, &variables).output())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_panic_in_a_provider_fails_the_load_and_recovers() {
    let world = start_world(vec![key_with_token("AKIDEC2")]).await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let instance = fake_broken_instance(Arc::clone(&is_broken), Duration::from_secs(3_600)).await;
    let url = instance.url();
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
        ("COUNTERSIGN_ADMIN", "127.0.0.1:0"),
    ];
    let error = presign(&world, &[], &variables).await;
    assert!(error.contains("instance metadata panicked"), "{error}");

    let mut running = world.start(&[], &variables).await;
    let admin = running.admin();
    check_unavailable(&running.query().await, &["instance metadata panicked"]);
    let ready = get(admin, "/readyz", &[]).await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.contains("instance metadata panicked"),
        "{ready:?}"
    );
    let metrics = get(admin, "/metrics", &[]).await.body;
    let failed = "credentials_refreshes_total{identity=\"default chain\",outcome=\"failed\"}";
    assert!(metrics.contains(failed), "{metrics}");

    is_broken.store(false, Ordering::SeqCst);
    check_ok(&running.until(200).await);
    running.daemon.signal("-TERM");
    assert_eq!(running.daemon.exited().await, 0);
}

#[tokio::test]
async fn a_key_with_a_line_end_is_rejected_until_the_file_is_fixed() {
    let world = start_world(vec![key_with_token("AKIDROLE")]).await;
    let sts = fake_sts().await;
    let url = sts.url();
    let variables = [("AWS_ENDPOINT_URL_STS", url.as_str())];
    let good = section("default", "AKIDSOURCE");
    let cases = [
        (
            "aws_access_key_id = AKID\n  more",
            "access key id",
            "line end",
        ),
        (
            "aws_access_key_id = AK\tID",
            "access key id",
            "control character",
        ),
        (
            "aws_access_key_id = AK\u{1}ID",
            "access key id",
            "control character",
        ),
        ("aws_access_key_id = AKÏD", "access key id", "non-ASCII"),
    ];
    world.credentials(&good);
    let running = world.start(&["--assume-role", ROLE], &variables).await;
    check_ok(&running.until(200).await);
    drop(running);
    for (line, key, flaw) in cases {
        world.credentials(&good.replace("aws_access_key_id = AKIDSOURCE", line));
        let expected = format!("the {key} from profile \"default\" contains a {flaw}");
        let expected = expected.replace("a outside", "a character outside");
        let error = presign(&world, &["--assume-role", ROLE], &variables).await;
        assert!(error.contains(&expected), "{error}");

        let running = world.start(&["--assume-role", ROLE], &variables).await;
        check_unavailable(&running.query().await, &[&expected]);
        world.credentials(&good);
        check_ok(&running.until(200).await);
        let log = running.log().await;
        assert!(
            !log.contains("secret/of") && !log.contains("panicked"),
            "{log}"
        );
    }
}

/// libfaketime lets the wall clock jump, and not the monotonic clock.
#[tokio::test]
async fn the_first_request_after_a_suspend_is_served() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let library = match Path::new(LIBRARY).exists() {
        true => LIBRARY.to_owned(),
        false => LIBRARY.replace("x86_64", std::env::consts::ARCH),
    };
    assert!(Path::new(&library).exists(), "no {library}: run tests/run");
    let keys = || (1..100).map(|n| key(&format!("AKID{n}"))).collect();
    for (offset, seconds) in [("+7200", 7_200), ("-7200", -7_200)] {
        let world = start_world(keys()).await;
        world.process(&ROTATING.replace("LIFE", "3600"));
        let time = world.home.file("time", "+0\n");
        let variables = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", time.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let running = world.start(&[], &variables).await;
        check_ok(&running.until(200).await);
        assert_eq!(runs(&world.read("runs")).len(), 1);

        let skew = json!({ "clock_skew_s": seconds });
        let skew = serde_json::from_value(skew).unwrap();
        world.emulator.switch(&skew).unwrap();
        world.write("time", &format!("{offset}\n"));
        let begun = Instant::now();
        check_ok(&running.query().await);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{offset}: {took:?}");
        println!("wall clock {offset} s: first request served in {took:?}");

        // The credentials are loaded again for any request.
        while runs(&world.read("runs")).len() < 2 {
            assert!(begun.elapsed() < PATIENCE, "no load after {offset}");
            sleep(Duration::from_millis(20)).await;
        }
        check_ok(&running.query().await);
        drop(running);
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // The state follows the name, which is in parentheses. A zombie has ended.
    stat.is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

#[tokio::test]
async fn a_hanging_credential_process_ends_with_countersign() {
    for (name, signals) in [("drain", vec!["-TERM"]), ("second", vec!["-TERM", "-TERM"])] {
        let world = start_world(vec![]).await;
        world.process("sleep 1000 & echo $! >> $HOME/pids; echo $$ >> $HOME/pids\nsleep 1000\n");
        let mut running = world.start(&[], &[]).await;
        let begun = Instant::now();
        let pids = loop {
            let pids: Vec<String> = world.read("pids").lines().map(str::to_owned).collect();
            if pids.len() == 2 {
                break pids;
            }
            assert!(begun.elapsed() < PATIENCE, "no process");
            sleep(Duration::from_millis(20)).await;
        };
        assert!(pids.iter().all(|pid| is_alive(pid)));
        for signal in signals {
            running.daemon.signal(signal);
        }
        running.daemon.exited().await;
        while pids.iter().any(|pid| is_alive(pid)) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{name}: {pids:?} outlive countersign"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_credential_process_inherits_neither_our_variables_nor_our_files() {
    let world = start_world(vec![key("AKIDCLEAN")]).await;
    world.process(
        "env > $HOME/environment\nls -l /proc/self/fd > $HOME/files\n\
         ps -o pgid= -p $$ | tr -d ' ' > $HOME/group; echo $PPID > $HOME/parent\n\
         echo '{\"Version\":1,\"AccessKeyId\":\"AKIDCLEAN\",\
         \"SecretAccessKey\":\"secret/of+AKIDCLEAN\"}'\n",
    );
    let variables = [
        ("COUNTERSIGN_LOG__FILTER", "info"),
        ("NOTIFY_SOCKET", "/nonexistent/notify"),
        ("WATCHDOG_USEC", "60000000"),
        ("AWS_REGION", "eu-west-1"),
        ("MINE", "kept"),
        ("COUNTERSIGNATURE", "kept"),
    ];
    let running = world.start(&[], &variables).await;
    check_ok(&running.until(200).await);
    let seen = world.read("environment");
    let names: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    for name in ["AWS_REGION", "MINE", "COUNTERSIGNATURE", "HOME", "PATH"] {
        assert!(names.contains(&name), "no {name}: {names:?}");
    }
    for name in [
        "COUNTERSIGN_LOG__FILTER",
        "COUNTERSIGN_ADMIN",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
    ] {
        assert!(!names.contains(&name), "{name}: {names:?}");
    }
    let files = world.read("files");
    assert!(!files.contains("socket:"), "{files}");
    if !world.read("group").is_empty() {
        // The shell of its command leads the group.
        assert_eq!(world.read("group"), world.read("parent"));
    }
}

/// The provider fails while valid credentials are cached, and no request fails until they expire. Then it
/// recovers. Without a script the provider is an instance, and panics.
async fn check_soak(fault: &str, script: Option<&str>, seconds: u64) {
    let mut keys: Vec<Key> = (1..100).map(|n| key(&format!("AKID{n}"))).collect();
    keys.push(key_with_token("AKIDEC2"));
    let world = start_world(keys).await;
    let life = seconds + 5;
    let is_broken = Arc::new(AtomicBool::new(false));
    let instance = fake_broken_instance(Arc::clone(&is_broken), Duration::from_secs(life)).await;
    let url = instance.url();
    // A line for each request would fill the pipe, which is not read meanwhile.
    let log = "info,countersign::request=off";
    let mut variables = vec![
        ("COUNTERSIGN_ADMIN", "127.0.0.1:0"),
        ("COUNTERSIGN_LOG__FILTER", log),
    ];
    match script {
        Some(script) => {
            let script = format!("if [ -e $HOME/broken ]; then {script}; fi\n{ROTATING}");
            world.process(&script.replace("LIFE", &life.to_string()));
        }
        None => variables.extend([
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
        ]),
    }
    let loading = SystemTime::now();
    let running = world.start(&[], &variables).await;
    check_ok(&running.until(200).await);
    let expires = loading + Duration::from_secs(life - 1);
    is_broken.store(true, Ordering::SeqCst);
    world.home.file("broken", "");
    // A changed file causes an immediate load.
    let config = world.read(".aws/config");
    world.config(&format!("{config}# changed\n"));

    let (begun, mut served) = (Instant::now(), 0_u64);
    let end = begun + Duration::from_secs(seconds);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    // On a busy machine a burst would hit other limits.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut clients = tokio::task::JoinSet::new();
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    while Instant::now() < end {
        ticks.tick().await;
        let (addr, body) = (running.addr, body.clone());
        clients.spawn(async move { post(addr, "/graphql", &[JSON], &body).await.status });
        while let Some(status) = clients.try_join_next() {
            assert_eq!(
                status.unwrap(),
                200,
                "{fault}: while credentials were valid"
            );
            served += 1;
        }
    }
    while let Some(status) = clients.join_next().await {
        assert_eq!(
            status.unwrap(),
            200,
            "{fault}: while credentials were valid"
        );
        served += 1;
    }
    let rate = served / seconds;
    let refused = running.until_within(503, Duration::from_secs(30)).await;
    assert!(
        SystemTime::now() >= expires,
        "{fault}: refused before the expiry"
    );
    let metrics = get(running.admin(), "/metrics", &[]).await.body;
    let failed = metrics
        .lines()
        .find(|line| line.contains("outcome=\"failed\""));
    let failed = failed.and_then(|line| line.rsplit(' ').next());
    let failed = failed.unwrap_or("0").to_owned();
    check_unavailable(&refused, &[]);
    let processes = world.read("hung");
    let alive = processes.lines().filter(|pid| is_alive(pid)).count();
    assert!(alive <= 1, "{fault}: {alive} processes at once");

    is_broken.store(false, Ordering::SeqCst);
    std::fs::remove_file(world.home.0.join("broken")).unwrap();
    let recovering = Instant::now();
    check_ok(&running.until_within(200, Duration::from_secs(30)).await);
    let recovered = recovering.elapsed();
    let message = refused.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    println!(
        "{fault}: {served} requests in {seconds} s ({rate}/s), none failed; after the expiry 503 \
         {message:?}; loads failed: {failed}; processes alive: {alive}; recovered in {recovered:?}"
    );
    assert!(recovered < Duration::from_secs(5), "{fault}: {recovered:?}");
}

/// The behaviour of a credential process while it fails.
const FAULTS: [(&str, Option<&str>); 5] = [
    ("panics", None),
    ("fails", Some("echo $$ >> $HOME/hung; exit 1")),
    (
        "garbage",
        Some("echo $$ >> $HOME/hung; echo '<html>'; exit 0"),
    ),
    // Longer than a request waits. The provider has recovered when its last slow load is over.
    (
        "slow",
        Some(
            "echo $$ >> $HOME/hung; for n in $(seq 70); do [ -e $HOME/broken ] || break; \
             sleep 0.1; done; echo '{}'; exit 0",
        ),
    ),
    (
        "hangs",
        Some("echo $$ >> $HOME/hung; while [ -e $HOME/broken ]; do sleep 0.1; done"),
    ),
];

/// Returns how long each fault lasts. `tests/credentials/run` sets SOAK_SECONDS.
#[tokio::test]
async fn a_failing_provider_loses_no_request_before_the_expiry() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(4, |seconds| seconds.parse().unwrap());
    for (fault, script) in FAULTS {
        check_soak(fault, script, seconds).await;
    }
}
