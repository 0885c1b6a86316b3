//! `countersign schema` against the emulator, with graphql-js as the witness of what it prints.

use std::time::Duration;

use countersign_emulator::Key;
use serde_json::{Value, json};

use crate::support::{World, command, demo_key, filter, node, within};

/// A run of the command that has ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `countersign schema` with these arguments and the emulator's key, unless the environment has another.
async fn run(world: &World, arguments: &[String], environment: &[(&str, &str)]) -> Ended {
    let home = world.home.0.display().to_string();
    let own = [
        &[("HOME", home.as_str()), ("PATH", "/usr/bin:/bin")],
        &demo_key()[..],
    ];
    let all = [&["schema".to_owned()], arguments].concat();
    let mut command = command(&all, &[&own.concat(), environment].concat());
    for (name, _) in environment.iter().filter(|(_, value)| value.is_empty()) {
        command.env_remove(name);
    }
    let output = within("the command", command.kill_on_drop(true).output());
    let output = output.await.unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it for the emulator's GraphQL API, with more arguments.
async fn graphql(world: &World, more: &[&str]) -> Ended {
    run(world, &world.arguments(more), &[]).await
}

/// Returns what it prints if it succeeds.
async fn printed(world: &World, more: &[&str]) -> String {
    let ended = graphql(world, more).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{more:?}");
    ended.stdout
}

async fn witness(arguments: &[&str], input: &str) -> String {
    filter(node("sdl.mjs").args(arguments), input, LIMIT).await
}

/// Checks that graphql-js prints the same SDL for the same introspection, and reads it as the same schema.
async fn check_against_graphql_js(world: &World) -> (String, Value) {
    let sdl = printed(world, &[]).await;
    let json = printed(world, &["--json"]).await;
    assert_eq!(sdl, witness(&["print"], &json).await);
    let file = world.home.file("schema.json", &json);
    assert_eq!(witness(&["same", &file], &sdl).await, "same");
    (sdl, serde_json::from_str(&json).unwrap())
}

fn answer(status: u16, content_type: &str, body: &str) -> Value {
    json!({ "answer_http": { "status": status, "content_type": content_type, "body": body } })
}

#[tokio::test]
async fn the_schema_of_an_api_is_printed_as_graphql_js_prints_it() {
    let world = World::new().await;
    let (sdl, json) = check_against_graphql_js(&world).await;
    for part in [
        "type Query {\n  rooms: [Room!]!\n  room(id: ID!): Room\n",
        "\n\n  \"\"\"The latest messages of a room, the oldest first.\"\"\"\n  messages(room: ID!, limit: Int): [Message!]!\n",
        "type Mutation {\n",
        "type Subscription {\n",
    ] {
        assert!(sdl.contains(part), "{part:?} is not in:\n{sdl}");
    }
    for other in ["scalar Int", "scalar ID", "__Schema", "directive @skip"] {
        assert!(!sdl.contains(other), "{other:?} is in:\n{sdl}");
    }
    assert_eq!(json["data"]["__schema"]["queryType"]["name"], "Query");
    let requests = world.emulator.stats().requests;
    assert_eq!((requests.mutations, requests.queries), (0, 4));
}

#[tokio::test]
async fn every_form_of_a_schema_is_printed_as_graphql_js_prints_it() {
    let world = World::new().await;
    let source = include_str!("schema/every-form.graphql");
    let body = witness(&["introspect"], source).await;
    world.switch(answer(200, "application/json", &body));
    let (sdl, json) = check_against_graphql_js(&world).await;
    assert!(
        sdl.starts_with(
            "\"\"\"The whole API, with \"quotes\" and a \\\\ backslash\"\"\"\nschema {"
        ),
        "{sdl}"
    );
    let expected: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json, expected);
}

#[tokio::test]
async fn an_api_of_the_oldest_specification_is_asked_for_no_more_than_it_knows() {
    let world = World::new().await;
    let refused = json!({ "errors": [{ "message": "Validation error of type UnknownArgument" }] });
    let mut change = answer(200, "application/json", &refused.to_string());
    change["answer_http"]["only"] = "IntrospectionFeatures".into();
    world.switch(change);
    let sdl = printed(&world, &[]).await;
    world.switch(json!({ "answer_http": null }));
    let newer = printed(&world, &[]).await;
    // Newer APIs have a description of the schema.
    assert!(sdl.starts_with("\"\"\"A message in a room."), "{sdl}");
    assert!(newer.ends_with(&sdl), "{newer}\n{sdl}");
}

#[tokio::test]
async fn what_prevents_introspection_is_explained_with_the_fix() {
    let world = World::new().await;
    let error = |kind: &str, message: &str| {
        json!({ "data": null, "errors": [{ "errorType": kind, "message": message }] }).to_string()
    };
    let json = "application/json";
    for (status, content_type, body, parts) in [
        (
            200,
            json,
            error("OperationDisabled", "Introspection is disabled"),
            &[
                "does not answer introspection",
                "aws appsync get-introspection-schema --api-id ID",
            ][..],
        ),
        (
            200,
            json,
            error(
                "Unauthorized",
                "Not Authorized to access __schema on type Query",
            ),
            &["types/Query/fields/__schema", "appsync:GraphQL"],
        ),
        (
            401,
            json,
            error(
                "UnauthorizedException",
                "Valid authorization header not provided.",
            ),
            &["does not accept IAM", "authenticationType=AWS_IAM"],
        ),
        (
            400,
            json,
            error("BadRequestException", "unknown"),
            &["the introspection was refused", "GraphQL API"],
        ),
        (
            200,
            json,
            "{\"rooms\":[]}".to_owned(),
            &["the introspection was refused"],
        ),
        (
            200,
            json,
            "{\"data\":{}}".to_owned(),
            &["does not describe a schema", "__schema"],
        ),
        (
            200,
            "text/html",
            "<html><title>Log in</title></html>".to_owned(),
            &["text/html", "Log in"],
        ),
        (503, "text/html", "<h1>Busy</h1>".to_owned(), &["Busy"]),
    ] {
        world.switch(answer(status, content_type, &body));
        for more in [&[][..], &["--json"]] {
            let ended = graphql(&world, more).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{body}");
            let lines: Vec<&str> = ended.stderr.lines().collect();
            let starts = lines.iter().all(|line| line.starts_with("countersign: "));
            assert!(
                starts && lines[0].starts_with("countersign: cannot read the schema: "),
                "{lines:?}"
            );
            for part in parts {
                assert!(
                    ended.stderr.contains(part),
                    "{part:?} is not in:\n{}",
                    ended.stderr
                );
            }
            println!("{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn missing_credentials_and_wrong_signatures_are_explained() {
    let world = World::new().await;
    let none = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    let wrong = format!("{}x", Key::demo().secret_access_key);
    let cases = [
        (none.map(|name| (name, "")).to_vec(), "credentials"),
        (vec![("AWS_SECRET_ACCESS_KEY", wrong.as_str())], "secret"),
    ];
    for (environment, part) in cases {
        let ended = run(&world, &world.arguments(&[]), &environment).await;
        println!("{}", ended.stderr);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert_eq!(world.emulator.stats().requests.queries, 0);
}

#[tokio::test]
async fn the_schema_of_one_route_of_a_configuration_is_printed() {
    let world = World::new().await;
    let address = world.emulator.addr();
    let route = |name: &str, target: &str| {
        let target = world.expand(target);
        let ca = world.ca_file();
        format!(
            "[route.{name}]\npath = \"/{name}\"\ntarget = \"{target}\"\nconnect = \"{address}\"\nca_file = \"{ca}\"\n"
        )
    };
    let api = "https://$API/graphql";
    let events = route("event", "https://$API/event");
    let one = world.home.file("one.toml", &(route("a", api) + &events));
    let two = world
        .home
        .file("two.toml", &(route("a", api) + &route("b", api) + &events));
    let ask = async |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        run(&world, &arguments, &[]).await
    };
    for arguments in [&["--config", &one][..], &["--config", &two, "--route", "b"]] {
        let ended = ask(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert!(ended.stdout.contains("type Query {"), "{}", ended.stdout);
    }
    for (arguments, part) in [
        (
            &["--config", &two][..],
            "--route NAME. The routes are: a, b, event",
        ),
        (
            &["--config", &one, "--route", "c"],
            "--route NAME. The routes are: a, event",
        ),
        (
            &["--config", &one, "--route", "event"],
            "AppSync Events has no schema",
        ),
        (&[], "no API is given"),
    ] {
        let ended = ask(arguments).await;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}
