//! Denials in AWS's texts, and what to do about them.

use super::*;

const USER: &str = "arn:aws:iam::111122223333:user/a";
const INVOKE: &str = "arn:aws:execute-api:us-east-1:111122223333:a1/prod/GET/o";

fn text(identity: &str, action: &str, resource: &str, reason: &str) -> String {
    format!(
        "User: {identity} is not authorized to perform: {action} on resource: {resource}{reason}"
    )
}

#[track_caller]
fn denial(text: &str) -> Denial {
    Denial::in_text(text).unwrap()
}

#[test]
fn only_values_in_the_documented_form_are_taken_from_a_text() {
    let long = format!("arn:aws:iam::111122223333:user/{}", "a".repeat(2048));
    for identity in [
        "",
        "anonymous",
        "arn:aws",
        "arn:aws:iam::1:user/a b",
        "arn:aws:iam::1:user/a\u{1b}[31m",
        "arn:aws:iam::1:user/a`id`",
        "arn:aws:iam::1:user/\u{202e}a",
        &long,
    ] {
        let found = denial(&text(identity, "execute-api:Invoke", INVOKE, ""));
        assert_eq!(found.identity, None, "{identity:?}");
    }
    let action = format!("execute-api:{}", "A".repeat(128));
    for action in ["", "Invoke", "execute-api:In;id", "a b:C", "A:b", &action] {
        let found = denial(&text(USER, action, INVOKE, ""));
        assert_eq!(found.action, None, "{action:?}");
    }
    let found = denial(&text(USER, "execute-api:Invoke", &long, ""));
    assert_eq!(found.resource, None);
    let found = denial(&text(
        USER,
        "execute-api:Invoke",
        INVOKE,
        "\"}\u{7} because",
    ));
    assert_eq!(found.resource.as_deref(), Some(INVOKE));
}

#[test]
fn the_policy_that_denies_is_read_from_the_text() {
    let reasons = [
        ("", false, None),
        (" with an explicit deny", true, None),
        (
            " with an explicit deny in an identity-based policy",
            true,
            Some(PolicyType::Identity),
        ),
        (
            " with an explicit deny in a resource-based policy",
            true,
            Some(PolicyType::Resource),
        ),
        (
            " with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-1/p",
            true,
            Some(PolicyType::ServiceControl),
        ),
        (
            " with an explicit deny in a resource control policy",
            true,
            Some(PolicyType::ResourceControl),
        ),
        (
            " with an explicit deny in a permissions boundary",
            true,
            Some(PolicyType::Boundary),
        ),
        (
            " with an explicit deny in a session policy",
            true,
            Some(PolicyType::Session),
        ),
        (
            " with an explicit deny in a VPC endpoint policy",
            true,
            Some(PolicyType::Endpoint),
        ),
        (
            " because no identity-based policy allows the execute-api:Invoke action",
            false,
            Some(PolicyType::Identity),
        ),
        (
            " because no permissions boundary allows the execute-api:Invoke action",
            false,
            Some(PolicyType::Boundary),
        ),
        (
            " because no service control policy allows the execute-api:Invoke action",
            false,
            Some(PolicyType::ServiceControl),
        ),
    ];
    for (reason, explicit_deny, policy) in reasons {
        let found = denial(&text(USER, "execute-api:Invoke", INVOKE, reason));
        assert_eq!(
            (found.explicit_deny, found.policy),
            (explicit_deny, policy),
            "{reason}"
        );
        let hint = found.hint(None);
        assert_eq!(hint.starts_with("Allow "), !explicit_deny, "{hint}");
        assert_eq!(hint.contains("explicit"), explicit_deny, "{hint}");
        assert_eq!(
            found.statement(None).is_none(),
            explicit_deny,
            "{reason}: {hint}"
        );
        if let Some(policy) = policy {
            assert!(hint.contains(&policy.to_string()), "{hint}");
        }
    }
}

#[track_caller]
fn check_command(action: &str, resource: &str, expected: Option<&str>) {
    let denial = Denial {
        identity: Some(USER.to_owned()),
        action: Some(action.to_owned()),
        resource: Some(resource.to_owned()),
        ..Denial::default()
    };
    let command = denial.command(Some("eu-central-1"));
    assert_eq!(command.as_deref(), expected, "{action} on {resource}");
}

#[test]
fn the_command_for_root_fields_contains_what_the_arn_names() {
    let arn = "arn:aws:appsync:us-east-1:111122223333:apis/abc-1/types/Mutation/fields/addRoom";
    check_command(
        GRAPHQL,
        arn,
        Some(
            "echo 'mutation { addRoom }' | countersign policy --region us-east-1 --account 111122223333 \
             --api-id abc-1 -",
        ),
    );
    check_command(
        GRAPHQL,
        "types/Query/fields/rooms, types/Query/fields/user",
        Some("echo 'query { rooms user }' | countersign policy --region eu-central-1 -"),
    );
    check_command(
        GRAPHQL,
        "types/Subscription/fields/onMessage",
        Some("echo 'subscription { onMessage }' | countersign policy --region eu-central-1 -"),
    );
    for resource in [
        "types/Room/fields/secret",
        "types/Query/fields/a'b",
        "types/Query/fields/",
        "types/Query/fields/a, types/Mutation/fields/b",
        "channelNamespace/default",
    ] {
        check_command(GRAPHQL, resource, None);
    }
    check_command("appsync:EventPublish", "types/Query/fields/a", None);
    check_command("execute-api:Invoke", INVOKE, None);
}

#[track_caller]
fn check_statement(action: &str, resource: Option<&str>, region: &str, expected: Option<&str>) {
    let denial = Denial {
        identity: Some(USER.to_owned()),
        action: Some(action.to_owned()),
        resource: resource.map(str::to_owned),
        ..Denial::default()
    };
    let statement = denial.statement(Some(region));
    if let Some(statement) = &statement {
        serde_json::from_str::<Value>(statement).unwrap();
    }
    assert_eq!(statement.as_deref(), expected, "{action} on {resource:?}");
}

#[test]
fn the_statement_names_the_denied_resource_with_its_whole_account() {
    let invoke = |resource: &str| {
        format!(
            r#"{{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "{resource}"}}"#
        )
    };
    let action = "execute-api:Invoke";
    let masked = INVOKE.replace(":111122223333:", ":********3333:");
    for resource in [INVOKE, &masked] {
        check_statement(action, Some(resource), "x", Some(&invoke(INVOKE)));
    }
    let other = INVOKE.replace(":111122223333:", ":********4444:");
    let any = INVOKE.replace(":111122223333:", ":*:");
    check_statement(action, Some(&other), "x", Some(&invoke(&any)));
    let wide = INVOKE.replace("prod/GET/o", "*");
    for resource in [None, Some(wide.as_str()), Some("a1/prod/GET/o")] {
        check_statement(action, resource, "x", None);
    }
    check_statement("iam:CreateUser", Some("*"), "x", None);
    check_statement(
        "execute-api:Invoke",
        Some("arn:aws:iam::1:role/r"),
        "x",
        None,
    );
    check_statement(
        "appsync:EventPublish",
        Some("channelNamespace/default"),
        "cn-north-1",
        Some(
            r#"{"Effect": "Allow", "Action": "appsync:EventPublish", "Resource": "arn:aws-cn:appsync:cn-north-1:*:apis/*/channelNamespace/default"}"#,
        ),
    );
    check_statement(
        "appsync:EventConnect",
        None,
        "us-east-1; id",
        Some(
            r#"{"Effect": "Allow", "Action": "appsync:EventConnect", "Resource": "arn:aws:appsync:*:*:apis/*"}"#,
        ),
    );
}

#[test]
fn the_summary_names_the_identity_and_what_was_denied() {
    let found = denial(&text(USER, "execute-api:Invoke", INVOKE, ""));
    let summary =
        "AWS denied execute-api:Invoke on a1/prod/GET/o to arn:aws:iam::111122223333:user/a.";
    assert_eq!(found.summary().as_deref(), Some(summary));
    let role = format!(
        "arn:aws:sts::111122223333:assumed-role/{}/end",
        "r".repeat(200)
    );
    let found = denial(&text(&role, "execute-api:Invoke", INVOKE, ""));
    let summary = found.summary().unwrap();
    assert!(summary.chars().count() < 200, "{summary}");
    assert!(
        summary.contains('…') && summary.ends_with("/end."),
        "{summary}"
    );
}

#[test]
fn the_permissions_that_a_request_needs_complete_a_denial_without_an_action() {
    let required = "appsync:GraphQL on types/Query/fields/rooms";
    let found = Denial::default().or_required(Some(required));
    assert_eq!(found.denied().as_deref(), Some(required));
    let found = Denial::default().or_required(Some("appsync:EventConnect"));
    assert_eq!(found.denied().as_deref(), Some("appsync:EventConnect"));
    let named = denial(&text(USER, "execute-api:Invoke", INVOKE, ""));
    assert_eq!(named.clone().or_required(Some(required)), named);
}
