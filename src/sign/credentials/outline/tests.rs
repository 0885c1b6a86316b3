//! Tests of the structure and of the rewritten text.

use proptest::prelude::*;

use super::*;

fn check(text: &str, is_config: bool, expected: Option<&str>) {
    let flaw = Outline::new(text, is_config).flaw();
    match expected {
        Some(expected) => assert_eq!(flaw.as_deref(), Some(expected), "{text}"),
        None => assert_eq!(flaw, None, "{text}"),
    }
}

#[test]
fn repeated_sections_and_keys_are_reported() {
    check("[default]\na = 1\nb = 2\n[dev]\na = 1\n", false, None);
    check(
        "[profile dev]\na=1\n[sso-session dev]\na=1\n[services dev]\n",
        true,
        None,
    );
    check("[default]\ns3 =\n  a = 1\n  a = 2\n# a = 1\n", true, None);
    check(
        "[dev]\n[dev]\n",
        false,
        Some("line 2 has another section of profile dev"),
    );
    check("[dev]\n[dev]\n", true, None);
    check(
        "[profile dev]\n[profile \t dev ] # mine\n",
        true,
        Some("line 2 has another section of profile dev"),
    );
    check(
        "[profile \"my dev\"]\n[profile my\\ dev]\n",
        true,
        Some("line 2 has another section of profile my dev"),
    );
    check(
        "[default]\n\n[profile default]\n",
        true,
        Some("line 3 has another section of profile default"),
    );
    check(
        "[dev]\na = 1\nA: 2\n",
        false,
        Some("line 3 has another a of profile dev"),
    );
    check(
        "[dev]\n  a = 1\n  A = 2\n",
        false,
        Some("line 3 has another a of profile dev"),
    );
    check(
        "[DEFAULT]\na = 1\n",
        false,
        Some("line 1 has the section [DEFAULT]: write [default]"),
    );
    check(
        "[DEFAULT]\na = 1\n",
        true,
        Some("line 1 has the section [DEFAULT]: write [default]"),
    );
}

fn check_text(text: &str, is_config: bool, expected: &str) {
    assert_eq!(Outline::new(text, is_config).text(&[]), expected, "{text}");
}

#[test]
fn text_is_rewritten_line_by_line() {
    check_text("\u{feff}[a]\r\nB: c\r\n", false, "[a]\nb = c\n");
    check_text("[a]\rb=c\r\r\nd=e", false, "[a]\nb = c\n\nd = e\n");
    check_text(
        " [a] text\n  b = c\n  d = e\n",
        false,
        "[a]\nb = c\nd = e\n",
    );
    check_text("[a]\nb = c\n d = e\n", false, "[a]\nb = c\n d = e\n");
    check_text(
        "[a]\n  b = c\nd = e\n f\n",
        false,
        "[a]\nb = c\nd = e\n f\n",
    );
    check_text("[a]\nb =\n  # x\n  c = d\n", false, "[a]\nb = \n\n c = d\n");
    check_text("[a]\n b = c\u{a0}\n", false, "[a]\nb = c\n");
    check_text("[my dev]\n['a%']\n", false, "[my%20dev]\n[%27a%25%27]\n");
    check_text(
        "[default]\n[profile \"my dev\"]\nsource_profile = a b # c\n[sso-session 'x']\n",
        true,
        "[profile default]\n[profile my%20dev]\nsource_profile = a%20b\n[sso-session x]\n",
    );
    // aws-config reports these.
    for text in [
        "a = b\n",
        "[a\n",
        "[]\n",
        "[a]\nb\n",
        "[a]\n= b\n",
        "[a = b\n",
    ] {
        check_text(text, false, text);
    }
}

#[test]
fn old_key_of_the_session_token_is_renamed() {
    let text = "[a]\naws_security_token = t\n[b]\naws_security_token =\n";
    check_text(text, false, "[a]\naws_session_token = t\n[b]\n\n");
    let same = "[a]\naws_session_token = t\naws_security_token = t # x\n";
    check_text(same, false, "[a]\naws_session_token = t\n\n");
    let two = "[a]\naws_session_token = t\naws_security_token = u\n";
    assert!(Outline::new(two, false).has_two_tokens("a"));
    assert!(!Outline::new(same, false).has_two_tokens("a"));
}

#[test]
fn misnamed_profiles_are_found() {
    for (text, is_config, name, hint) in [
        (
            "[dev]\n",
            true,
            "dev",
            "line 1 has [dev]: write [profile dev] in the config file",
        ),
        (
            "\n[profile dev]\n",
            false,
            "dev",
            "line 2 has [profile dev]: write [dev] in the credentials file",
        ),
        (
            "[profile my dev]\n",
            true,
            "my dev",
            "line 1 has [profile my dev]: write [profile \"my dev\"]",
        ),
    ] {
        assert_eq!(
            Outline::new(text, is_config).misnamed(name),
            Some(hint),
            "{text}"
        );
    }
}

#[test]
fn encoded_names_are_decoded() {
    for name in ["dev", "my dev", "100%", "%20", "é", "a/b@c:d+e", "a%2", ""] {
        assert_eq!(decode(&encode(name)), name);
    }
}

proptest! {
    #[test]
    fn any_text_keeps_its_lines(text in "([\\[\\]=:#; \t\r\n\"'\\\\a%é]|profile |sso_session)*", is_config: bool) {
        let lines = text.replace("\r\n", "\n").replace('\r', "\n").lines().count();
        let outline = Outline::new(&text, is_config);
        prop_assert_eq!(outline.text(&[]).lines().count(), lines);
    }

    #[test]
    fn any_name_is_decoded(name: String) {
        prop_assert_eq!(decode(&encode(&name)), name);
    }
}
