//! Which parts of an input may be shown, and how.

/// What is shown instead of a secret.
pub const MASK: &str = "[redacted]";

/// How the names of secrets end, in lower case, without separators.
const SECRET_NAMES: [&str; 36] = [
    "accesskeysecret",
    "apikey",
    "appsynckey",
    "auth",
    "authentication",
    "authkey",
    "authorization",
    "bearer",
    "clientcert",
    "cookie",
    "csrf",
    "encryptionkey",
    "jwt",
    "oidcdata",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "secret",
    "secretaccesskey",
    "secretkey",
    "session",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "signingkey",
    "subscriptionkey",
    "ticket",
    "token",
    "tokenbedrock",
    "userkey",
    "xaccess",
    "xsrf",
];

/// The longest name of a secret, in letters.
pub const MAX_NAME: usize = 24;

/// Returns whether a header, parameter or setting of this name contains a secret. Spelling does not matter:
/// `X-Amz-Security-Token`, `aws_session_token`, `secretAccessKey`, `Secret Access Key`.
pub fn is_secret_name(name: &str) -> bool {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    let mut letters: Vec<u8> = letters.rev().take(MAX_NAME).collect();
    letters.reverse();
    letters.make_ascii_lowercase();
    SECRET_NAMES
        .iter()
        .any(|secret| letters.ends_with(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in [
            "x-amz-security-token",
            "X-Amz-Signature",
            "Authorization",
            "set-cookie",
            "X_API_KEY",
            "aws_secret",
            "AWS_SECRET_KEY",
            "secretAccessKey",
            "Secret Access Key",
            "--secret-access-key",
            "sessionToken",
            "password",
            "x-auth",
            "authentication",
            "x-session-id",
            "x-access",
            "x-sig",
            "x-csrf",
            "x-client-cert",
            "x-user-key",
            "x-amzn-oidc-data",
            "Ocp-Apim-Subscription-Key",
            "AWS_BEARER_TOKEN_BEDROCK",
            "APPSYNC_KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "host",
            "x-amz-date",
            "x-amz-content-sha256",
            "",
            "AWSAccessKeyId",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(SECRET_NAMES.iter().all(|name| name.len() <= MAX_NAME));
    }
}
