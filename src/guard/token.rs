//! Authenticates clients by their tokens, and returns what the tokens grant.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_protocol::graphql::read_object;
use http::HeaderName;
use serde_json::value::RawValue;

use super::policy::{OperationPolicies, OperationPolicy};
pub use file::TokenError;
use file::{TokenFile, digest};

/// A token file, and what its tokens allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The name of the clients in the log; `None` for `guard.token_file`.
    pub name: Option<String>,
    pub file: PathBuf,
    /// The routes that the tokens are valid for; `None` for all.
    pub routes: Option<Vec<String>>,
    /// A policy that restricts the operations further than the route does.
    pub policy: Option<OperationPolicy>,
}

/// The valid tokens.
#[derive(Debug)]
pub struct Tokens(Vec<TokenTable>);

/// A table of the configuration: its file, and what the tokens in it grant.
#[derive(Debug)]
struct TokenTable {
    file: TokenFile,
    routes: Option<Vec<String>>,
    grant: Grant,
}

/// The identity and permissions of a client, by its token.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The name of the table in `[guard.tokens]` that contains the token.
    pub name: Option<Arc<str>>,
    /// Policies that restrict the operations further than the route does.
    pub policies: OperationPolicies,
}

impl Tokens {
    /// Reads the token files.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(configs: &[TokenConfig]) -> Result<Self, TokenError> {
        let tables = configs.iter().map(|config| {
            Ok(TokenTable {
                file: TokenFile::load(config.file.clone())?,
                routes: config.routes.clone(),
                grant: Grant {
                    name: config.name.as_deref().map(Arc::from),
                    policies: config.policy.clone().into_iter().collect(),
                },
            })
        });
        Ok(Self(tables.collect::<Result<_, _>>()?))
    }

    /// Returns the grant of `token`, if it is valid for `route`. Takes the same time for a wrong token.
    pub fn authenticate(&self, token: &str, route: &str) -> Option<Grant> {
        let digest = digest(token);
        let mut found = None;
        for table in &self.0 {
            if table.file.contains(&digest) && table.applies_to(route) {
                found.get_or_insert_with(|| table.grant.clone());
            }
        }
        found
    }

    /// Authenticates a client by the payload of its `connection_init`, which contains the token under a
    /// name that [`init_token`] finds.
    pub fn authenticate_init(&self, payload: &str, route: &str) -> Option<Grant> {
        self.authenticate(&init_token(payload)?, route)
    }
}

/// The header for tokens, which can also be sent in `authorization`.
pub(super) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-countersign-token");

/// The members of an object in the payload of a `connection_init`.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Returns the token in the payload of a `connection_init`, in the order in which a request is searched for
/// one: `x-countersign-token`, then `authorization` with or without `Bearer`, then `token`. The first two may
/// also be in `headers`, or in the `authorization` object of an AppSync client. Names are compared without
/// case, and an empty text counts as none.
fn init_token(payload: &str) -> Option<String> {
    let payload: Members<'_> = read_object(payload)?;
    let inner = ["headers", "authorization"].map(|name| {
        let object = member(&payload, name).map(|raw| read_object(raw.get()));
        object.flatten().unwrap_or_default()
    });
    let places: [&Members<'_>; 3] = [&payload, &inner[0], &inner[1]];
    let text = |name: &str| places.iter().find_map(|members| member_text(members, name));
    if let Some(token) = text(TOKEN_HEADER.as_str()) {
        return Some(token);
    }
    match text("authorization") {
        Some(value) => bare_or_bearer_token(&value).map(str::to_owned),
        None => member_text(&payload, "token"),
    }
}

/// Returns the text of a member, unless it is an object. If it is not a string, or in the object twice, the
/// text is empty, which is never a valid token.
fn member_text(members: &Members<'_>, name: &str) -> Option<String> {
    let is_named = |(other, _): &(&String, &&RawValue)| other.eq_ignore_ascii_case(name);
    let is_twice = members.iter().filter(is_named).count() > 1;
    let raw = member(members, name).filter(|raw| !raw.get().starts_with('{'))?;
    let text = serde_json::from_str(raw.get()).ok();
    Some(text.filter(|_| !is_twice).unwrap_or_default())
}

/// Returns a member that is neither `null` nor empty.
fn member<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    let mut found = members.iter().filter(|(other, raw)| {
        other.eq_ignore_ascii_case(name) && !matches!(raw.get(), "null" | "\"\"")
    });
    found.next().map(|(_, raw)| *raw)
}

impl TokenTable {
    fn applies_to(&self, route: &str) -> bool {
        let routes = self.routes.as_ref();
        routes.is_none_or(|routes| routes.iter().any(|name| name == route))
    }
}

/// Returns the token of `Bearer TOKEN` or of `TOKEN`, which clients of AppSync send in `authorization`.
pub(super) fn bare_or_bearer_token(value: &str) -> Option<&str> {
    let bare = (!value.contains(' ')).then_some(value);
    bearer_token(value).or(bare)
}

/// Returns the token of `Bearer TOKEN` (RFC 6750, section 2.1). The scheme is case-insensitive.
pub(super) fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[cfg(unix)]
    use super::file::MAX_TOKENS;
    use super::*;
    use crate::platform::set_mode;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210.fedcba_98765432~";

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(text: &str, mode: u32) -> Self {
            let path = tempfile::tempdir().unwrap().keep().join("token");
            fs::write(&path, text).unwrap();
            set_mode(&path, mode);
            Self(path)
        }

        fn tokens(&self) -> Result<Tokens, TokenError> {
            Tokens::load(&[TokenConfig {
                name: Some("ci".to_owned()),
                file: self.0.clone(),
                routes: None,
                policy: None,
            }])
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn unusable_files_are_rejected_without_quoting_them() {
        let many = format!("{OLD}\n").repeat(MAX_TOKENS + 1);
        for (text, mode, problem) in [
            (OLD, 0o644, "mode 644"),
            (OLD, 0o660, "mode 660"),
            (OLD, 0o604, "mode 604"),
            (OLD, 0o620, "mode 620"),
            (OLD, 0o610, "mode 610"),
            ("", 0o600, "contains no token"),
            ("# only this\n\n", 0o600, "contains no token"),
            ("short", 0o600, "line 1 "),
            ("# a\n0123456789abcdef0123456789abcde/\n", 0o600, "line 2 "),
            ("0123456789abcdef 0123456789abcdef", 0o600, "line 1 "),
            ("0123456789abcdef0123456789abcde", 0o600, "line 1 "),
            (many.as_str(), 0o600, "more than 8"),
        ] {
            let scratch = Scratch::new(text, mode);
            let error = scratch.tokens().unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?} {mode:o}: {error}");
            assert!(!error.contains("0123"), "{error}");
        }
        let nowhere = TokenConfig {
            name: None,
            file: PathBuf::from("/nonexistent/token"),
            routes: None,
            policy: None,
        };
        let error = Tokens::load(&[nowhere]).unwrap_err();
        assert!(matches!(error, TokenError::Read(..)));
    }

    #[test]
    fn only_tokens_in_the_file_are_valid() {
        for mode in [0o600, 0o400, 0o440, 0o640] {
            let text = format!("# two, while they are rotated\n{OLD}\n\n  {NEW}\r\n");
            let scratch = Scratch::new(&text, mode);
            let tokens = scratch.tokens().unwrap();
            for good in [OLD, NEW] {
                let grant = tokens.authenticate(good, "a").unwrap();
                assert_eq!(grant.name.as_deref(), Some("ci"));
            }
            for wrong in ["", "x", &OLD[1..], &format!("{OLD}0"), &OLD.to_uppercase()] {
                assert!(tokens.authenticate(wrong, "a").is_none(), "{wrong}");
            }
        }
    }

    #[test]
    fn connection_init_payloads_are_authenticated() {
        let scratch = Scratch::new(OLD, 0o600);
        let tokens = scratch.tokens().unwrap();
        for good in [
            format!(r#"{{"authorization":"Bearer {OLD}"}}"#),
            format!(r#"{{"Authorization":"bearer  {OLD} ","x":1}}"#),
            format!(r#" {{"headers":{{"Authorization":"Bearer {OLD}"}}}}"#),
            format!(r#"{{"token":"{OLD}"}}"#),
            format!(r#"{{"authorization":"{OLD}"}}"#),
            format!(r#"{{"headers":{{"Authorization":"{OLD}"}}}}"#),
            format!(r#"{{"authorization":"","token":"{OLD}"}}"#),
            format!(r#"{{"x-countersign-token":"","authorization":"Bearer {OLD}"}}"#),
            format!(r#"{{"authorization":"","headers":{{"authorization":"Bearer {OLD}"}}}}"#),
            format!(r#"{{"x-countersign-token":"{OLD}"}}"#),
            format!(r#"{{"X-Countersign-Token":"{OLD}","authorization":"Bearer {NEW}"}}"#),
            format!(r#"{{"headers":{{"x-countersign-token":"{OLD}"}},"token":"app"}}"#),
            format!(r#"{{"headers":{{"AUTHORIZATION":"Bearer {OLD}"}},"authorization":null}}"#),
            format!(r#"{{"authorization":{{"x-countersign-token":"{OLD}","host":"h"}}}}"#),
            format!(r#"{{"authorization":{{"Authorization":"Bearer {OLD}"}}}}"#),
            format!(r#"{{"headers":["x"],"token":"{OLD}","user":{{"name":"\ud83d"}}}}"#),
        ] {
            assert!(tokens.authenticate_init(&good, "a").is_some(), "{good}");
        }
        for wrong in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            format!(r#""{OLD}""#),
            format!(r#"["Bearer {OLD}"]"#),
            r#"{"authorization":"","token":""}"#.to_owned(),
            format!(r#"{{"authorization":"{NEW}","token":"{OLD}"}}"#),
            format!(r#"{{"authorization":"Bearer","token":"{OLD}"}}"#),
            format!(r#"{{"authorization":"Basic {OLD}"}}"#),
            format!(r#"{{"authorization":"Bearer {NEW}","token":"{OLD}"}}"#),
            format!(r#"{{"token":["{OLD}"]}}"#),
            format!(r#"{{"token":"{NEW}"}}"#),
            format!(r#"{{"x-countersign-token":"{NEW}","authorization":"Bearer {OLD}"}}"#),
            format!(r#"{{"x-countersign-token":"{OLD}","X-Countersign-Token":"{OLD}"}}"#),
            format!(r#"{{"x-countersign-token":7,"token":"{OLD}"}}"#),
            format!(r#"{{"x_countersign_token":"{OLD}"}}"#),
            format!(r#"{{"headers":{{"token":"{OLD}"}}}}"#),
            format!(r#"{{"extensions":{{"x-countersign-token":"{OLD}"}}}}"#),
        ] {
            assert!(tokens.authenticate_init(&wrong, "a").is_none(), "{wrong}");
        }
    }

    #[test]
    fn changed_files_are_reloaded_and_unusable_ones_have_no_tokens() {
        let scratch = Scratch::new(OLD, 0o600);
        let tokens = scratch.tokens().unwrap();
        let long_ago = |tokens: &Tokens| tokens.0[0].file.expire();
        fs::write(&scratch.0, format!("{OLD}\n{NEW}\n")).unwrap();
        let holds = |token| tokens.authenticate(token, "a").is_some();
        assert!(!holds(NEW), "the file is not checked each time");
        long_ago(&tokens);
        assert!(holds(NEW) && holds(OLD));
        fs::write(&scratch.0, NEW).unwrap();
        long_ago(&tokens);
        assert!(!holds(OLD));
        for broken in ["", "short"] {
            fs::write(&scratch.0, broken).unwrap();
            long_ago(&tokens);
            assert!(!holds(NEW), "{broken:?}");
            fs::write(&scratch.0, NEW).unwrap();
            long_ago(&tokens);
            assert!(holds(NEW), "after {broken:?}");
        }
        fs::remove_file(&scratch.0).unwrap();
        long_ago(&tokens);
        assert!(!holds(NEW));
    }

    #[cfg(unix)]
    #[test]
    fn file_is_accepted_again_after_chmod() {
        let scratch = Scratch::new(OLD, 0o600);
        let tokens = scratch.tokens().unwrap();
        for (mode, is_good) in [(0o644, false), (0o600, true), (0o604, false)] {
            set_mode(&scratch.0, mode);
            tokens.0[0].file.expire();
            assert_eq!(tokens.authenticate(OLD, "a").is_some(), is_good, "{mode:o}");
        }
    }

    #[test]
    fn tokens_are_restricted_to_routes() {
        let scratch = Scratch::new(OLD, 0o600);
        let config = |name: &str, routes: &[&str]| TokenConfig {
            name: Some(name.to_owned()),
            file: scratch.0.clone(),
            routes: Some(routes.iter().map(|&route| route.to_owned()).collect()),
            policy: None,
        };
        let tokens = Tokens::load(&[config("one", &["a", "b"]), config("two", &["b", "c"])]);
        let tokens = tokens.unwrap();
        for (route, expected) in [
            ("a", Some("one")),
            ("b", Some("one")),
            ("c", Some("two")),
            ("d", None),
            ("", None),
        ] {
            let grant = tokens.authenticate(OLD, route);
            let name = grant.as_ref().and_then(|grant| grant.name.as_deref());
            assert_eq!(name, expected, "{route}");
        }
    }
}
