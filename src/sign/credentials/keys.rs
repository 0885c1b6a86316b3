//! Rejects keys that cannot be part of a signed request.
//!
//! AWS keys consist of printable ASCII characters without spaces. Other characters, such as a line end
//! after a secret, were added by mistake. They would make the SDK panic, or cause a signature mismatch.

use aws_credential_types::Credentials;
use aws_credential_types::attributes::AccountId;

use super::error::CredentialsError;

/// Returns what is wrong with a key, without quoting it; `None` if it can be used.
pub(super) fn flaw(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("is empty");
    }
    let found = |is_bad: fn(char) -> bool| value.contains(is_bad);
    if found(|character| matches!(character, '\n' | '\r')) {
        Some("contains a line end")
    } else if found(char::is_control) {
        Some("contains a control character")
    } else if !value.is_ascii() {
        Some("contains a non-ASCII character")
    } else if found(|character| character == ' ') {
        Some("contains a space")
    } else {
        None
    }
}

/// Checks the keys that `provider` returned. An empty session token is accepted.
///
/// # Errors
/// When a key cannot be used; the error names the first such key.
pub(super) fn check(credentials: &Credentials, provider: &str) -> Result<(), CredentialsError> {
    let token = credentials.session_token();
    let keys = [
        ("access key id", Some(credentials.access_key_id())),
        ("secret access key", Some(credentials.secret_access_key())),
        ("session token", token.filter(|token| !token.is_empty())),
    ];
    for (key, value) in keys {
        if let Some(flaw) = value.and_then(flaw) {
            return Err(CredentialsError {
                tried: format!("the {key} from {provider} {flaw}"),
                remedy: REMEDY.to_owned(),
            });
        }
    }
    Ok(())
}

/// Returns an account that a source of credentials names. It is only shown, so another text is ignored.
pub(super) fn account(text: Option<&str>) -> Option<AccountId> {
    let is_account = |text: &&str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    text.filter(is_account).map(AccountId::from)
}

pub(super) const REMEDY: &str =
    "Set it again, without line ends, spaces or other characters that are not part of it.";

#[cfg(test)]
mod tests {
    use super::*;

    fn check_flaw(value: &str, expected: Option<&str>) {
        assert_eq!(flaw(value), expected, "{value:?}");
    }

    #[test]
    fn keys_with_invalid_characters_are_rejected() {
        for value in ["AKIDEXAMPLE", "a/b+c==", "!\"#$%&'()*,-.:;<=>?@[\\]^_`{|}~"] {
            check_flaw(value, None);
        }
        for value in ["AKID\n", "\nAKID", "AK\r\nID", "AKID\r"] {
            check_flaw(value, Some("contains a line end"));
        }
        for value in ["AK\0ID", "\tAKID", "AKID\u{7f}", "AK\u{1b}[0mID", "\u{85}"] {
            check_flaw(value, Some("contains a control character"));
        }
        for value in [
            "AKÏD",
            "AKID\u{a0}",
            "\u{feff}AKID",
            "AKID\u{2028}",
            "ＡＫＩＤ",
        ] {
            check_flaw(value, Some("contains a non-ASCII character"));
        }
        for value in [" AKID", "AKID ", "AK ID", " "] {
            check_flaw(value, Some("contains a space"));
        }
        check_flaw("", Some("is empty"));
    }

    #[test]
    fn error_names_the_provider_and_the_key_but_not_its_value() {
        let cases = [
            (
                "AK\nID",
                "SECRET",
                Some("TOKEN"),
                "the access key id from profile \"dev\" contains a line end",
            ),
            (
                "AKID",
                "SEC\rRET",
                None,
                "the secret access key from profile \"dev\" contains a line end",
            ),
            (
                "AKID",
                "SECRET",
                Some("TO\0KEN"),
                "the session token from profile \"dev\" contains a control character",
            ),
        ];
        for (id, secret, token, expected) in cases {
            let credentials = Credentials::new(id, secret, token.map(str::to_owned), None, "x");
            let error = check(&credentials, "profile \"dev\"").unwrap_err();
            assert_eq!(error.tried, expected);
        }
        let empty_token = Credentials::new("AKID", "SECRET", Some(String::new()), None, "x");
        assert!(check(&empty_token, "x").is_ok());
    }
}
