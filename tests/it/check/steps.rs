//! The steps that pass, their order and forms, and the end of a check.

use std::time::Instant;

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{ARN, Site};
use crate::support::{Daemon, command, demo_key, within};

const STEPS: [&str; 9] = [
    "configuration",
    "credentials",
    "identity",
    "dns",
    "tcp",
    "tls",
    "clock",
    "request",
    "realtime",
];

#[tokio::test]
async fn every_step_passes_against_an_api_that_works() {
    let site = Site::start().await;
    let ended = site.graphql(&[], &[]).await;
    println!("{}", ended.stdout);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (0, ""),
        "{}",
        ended.stdout
    );
    let steps: Vec<&str> = ended
        .reports
        .iter()
        .map(|r| r["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, STEPS);
    for report in &ended.reports {
        assert_eq!(report["outcome"], "passed", "{report}");
        assert_eq!(report["route"], "graphql", "{report}");
        assert!(report["ms"].is_u64(), "{report}");
    }
    assert_eq!(ended.step("identity")["detail"], ARN);
    for (step, part) in [
        ("configuration", "AppSync GraphQL"),
        ("credentials", "from environment; they do not expire"),
        ("dns", "127.0.0.1 is an address"),
        ("tls", "issued by \"countersign emulator CA\""),
        ("clock", "agrees with AWS's"),
        ("request", "{ __typename }: 200 OK"),
        (
            "realtime",
            "appsync-realtime-api.us-east-1.amazonaws.com/graphql acknowledged",
        ),
    ] {
        let detail = ended.step(step)["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{step}: {detail}");
    }
    site.end();
}

#[tokio::test]
async fn every_route_of_a_configuration_is_checked() {
    let site = Site::start().await;
    let world = &site.world;
    let routes = [
        ("a", "https://$API/graphql"),
        ("b", "https://$API/event"),
        ("c", "https://$REST/prod"),
        ("d", "https://$HTTP/"),
    ];
    let text: String = routes
        .iter()
        .map(|(name, target)| world.route(name, target, ""))
        .collect();
    let file = world.home.file("countersign.toml", &text);
    let ended = site.run(&["--config".to_owned(), file], &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let outcomes = |route: &str| {
        let reports = ended
            .reports
            .iter()
            .filter(|report| report["route"] == route);
        let outcomes =
            reports.map(|r| (r["step"].as_str().unwrap(), r["outcome"].as_str().unwrap()));
        outcomes.skip(7).collect::<Vec<_>>()
    };
    assert_eq!(
        outcomes("a"),
        [("request", "passed"), ("realtime", "passed")]
    );
    assert_eq!(
        outcomes("b"),
        [("request", "skipped"), ("events", "passed")]
    );
    assert_eq!(outcomes("c"), [("request", "passed")]);
    assert_eq!(outcomes("d"), [("request", "passed")]);
    site.end();
}

#[tokio::test]
async fn people_read_one_line_for_each_step_and_the_fix_below_it() {
    let site = Site::start().await;
    let home = site.world.home.0.display().to_string();
    let sts = site.sts.url();
    let own = [
        ("HOME", home.as_str()),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    let environment = [&own, &demo_key()[..]].concat();
    let run = async |more: &[&str]| {
        let arguments = [vec!["check".to_owned()], site.world.arguments(more)].concat();
        let output = command(&arguments, &environment).output();
        let output = within("the check", output).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, stdout, stderr) = run(&[]).await;
    println!("{stdout}");
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let names: Vec<&str> = stdout
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(names, STEPS);
    assert!(
        stdout
            .lines()
            .all(|line| line.starts_with("✓ ") && line.ends_with(" ms)"))
    );

    site.world.switch(json!({ "clock_skew_s": 600 }));
    let (code, stdout, stderr) = run(&[]).await;
    println!("{stdout}");
    assert_eq!(code, Some(1), "{stdout}");
    assert_eq!(stderr, "countersign: 1 of 9 steps failed\n");
    let mut lines = stdout
        .lines()
        .skip_while(|line| !line.starts_with("✗ clock "));
    assert!(
        lines
            .next()
            .is_some_and(|line| line.contains("behind AWS's")),
        "{stdout}"
    );
    assert_eq!(
        lines.next(),
        Some("    Synchronize this machine's clock."),
        "{stdout}"
    );
    site.end();
}

#[tokio::test]
async fn a_query_can_be_given_and_a_mutation_is_not_sent() {
    let site = Site::start().await;
    let ended = site.graphql(&["--query", "{ rooms { id } }"], &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    assert_eq!(ended.step("request")["detail"], "{ rooms { id } }: 200 OK");
    for (query, expected) in [
        (
            "mutation { createRoom(name: \"x\") { id } }",
            "this is a mutation",
        ),
        (
            "subscription { onMessage { id } }",
            "this is a subscription",
        ),
        ("{ rooms", "invalid query"),
    ] {
        let ended = site.graphql(&["--query", query], &[]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{query}");
        assert!(ended.stderr.contains(expected), "{query}: {}", ended.stderr);
    }
    assert_eq!(site.world.emulator.stats().requests.mutations, 0);
}

#[tokio::test]
async fn a_signal_ends_a_check() {
    let site = Site::start().await;
    site.world.switch(json!({ "delay_ms": 100_000 }));
    let arguments = [vec!["check".to_owned()], site.world.arguments(&[])].concat();
    let mut daemon = Daemon::start(&arguments, &demo_key());
    let mut stdout = daemon.child.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("tls ") {
        let mut bytes = [0; 4096];
        let read = within("the step tls", stdout.read(&mut bytes))
            .await
            .unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    let started = Instant::now();
    daemon.signal("-INT");
    assert_eq!(daemon.exited().await, 1);
    assert!(started.elapsed().as_secs() < 10);
    assert!(
        daemon.log.contains("interrupted before all steps"),
        "{}",
        daemon.log
    );
}

/// The flags of a daemon are accepted, so that its command line can be checked.
#[tokio::test]
async fn the_help_lists_only_what_a_check_uses() {
    let help = command(&["check".to_owned(), "--help".to_owned()], &[]).output();
    let help = within("the help", help).await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for used in [
        "--query",
        "--json",
        "--config",
        "--region",
        "--ca-file",
        "--profile",
        "3 if the check could",
    ] {
        assert!(help.contains(used), "no {used} in {help}");
    }
    for unused in [
        "--listen",
        "--port",
        "--read-only",
        "--tls-dev",
        "--log",
        "--record",
    ] {
        assert!(!help.contains(unused), "{unused} in {help}");
    }
    let site = Site::start().await;
    let ended = site.graphql(&["--port", "4123", "--read-only"], &[]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}
