//! The line of the path.

use super::super::cause::Cause;
use super::super::encode::{Slash, decode, decode_fully, encode};
use super::super::verified_request::CONNECT;

/// Returns why two different paths differ.
pub(super) fn difference(yours: &str, aws: &str) -> (Cause, Option<String>) {
    if is_appsync(aws) && (is_appsync(yours) || yours == "/") {
        return (Cause::PathWrong, Some(realtime_detail(yours, aws)));
    }
    // AWS encodes the path as it arrived, so decoding once returns that path.
    let wire = decode(aws);
    if yours.as_bytes() == wire {
        return (Cause::PathNotDoubleEncoded, None);
    }
    if decode_fully(yours) == decode_fully(aws) {
        let is_longer = yours.len() > aws.len() || yours == encode(aws.as_bytes(), Slash::Keep);
        let cause = if is_longer {
            Cause::PathDoubleEncodedTwice
        } else {
            Cause::PathDecoded
        };
        return (cause, None);
    }
    if !is_appsync(aws)
        && let Some(stage) = missing_stage(yours, aws)
    {
        return (
            Cause::PathStageMissing,
            Some(format!("/{stage} is part of the path that is signed.")),
        );
    }
    if yours == normalized(aws)
        || yours == encode(normalized(&lossy(&wire)).as_bytes(), Slash::Keep)
    {
        return (Cause::PathNormalized, None);
    }
    let is_slash = yours.trim_end_matches('/') == aws.trim_end_matches('/');
    let detail = is_slash.then(|| "they differ in the slash at the end.".to_owned());
    (Cause::PathWrong, detail)
}

/// Returns whether AppSync has this path.
fn is_appsync(path: &str) -> bool {
    let is_below = |root: &str| {
        path.strip_prefix(root).is_some_and(|rest| {
            matches!(
                rest,
                "" | "/" | "/connect" | "/realtime" | "/realtime/connect"
            )
        })
    };
    is_below("/graphql") || is_below("/event")
}

fn realtime_detail(yours: &str, aws: &str) -> String {
    match (yours, aws) {
        (CONNECT, "/graphql") => {
            "a query or `start` is signed on /graphql; the signature on /graphql/connect is for the \
             handshake alone."
                .to_owned()
        }
        (_, CONNECT) => {
            "the handshake is signed as POST /graphql/connect with the body {}.".to_owned()
        }
        (_, "/event") => "the handshake and the messages of Events are signed on /event.".to_owned(),
        (_, aws) => format!("AWS expects {aws}."),
    }
}

/// Returns the segment before the path that was signed.
fn missing_stage<'a>(yours: &str, aws: &'a str) -> Option<&'a str> {
    let rest = aws.strip_prefix('/')?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (stage, after) = rest.split_at(end);
    let is_rest = after == yours || after.is_empty() && yours == "/" || {
        let (after, yours) = (decode_fully(after), decode_fully(yours));
        !after.is_empty() && after == yours
    };
    (is_rest && !stage.is_empty()).then_some(stage)
}

/// Returns a path without empty and dot segments.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let is_directory = path.ends_with(['/', '.']) && !kept.is_empty() && !path.ends_with("...");
    let last_is_kept = kept.last().is_some_and(|last| path.ends_with(last));
    let slash = if is_directory && !last_is_kept {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", kept.join("/"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
