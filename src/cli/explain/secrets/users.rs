//! Passwords beside the names of users: `curl -u KEY:SECRET`, `https://user:password@host`.

use super::value::is_variable;

/// The longest user and password that are looked for in a URL.
const MAX_URL: usize = 1024;
/// A user of this length without a password is a token.
const MIN_USER: usize = 16;

/// Passes each password to `found`.
pub(super) fn passwords(bytes: &[u8], found: &mut dyn FnMut(&[u8])) {
    for (at, byte) in bytes.iter().enumerate() {
        let rest = bytes.get(at..).unwrap_or_default();
        match byte {
            b':' if rest.starts_with(b"://") => {
                let rest = rest.get(3..).unwrap_or_default();
                let rest = rest.get(..MAX_URL.min(rest.len())).unwrap_or_default();
                // A password that is not encoded may contain `?` and `#`.
                let is_end = |byte: &u8| b"/\"'<> \t\r\n".contains(byte);
                let authority = rest.split(is_end).next().unwrap_or_default();
                let host = authority.split(|byte| matches!(byte, b'?' | b'#'));
                let host = host.into_iter().next().unwrap_or_default();
                let authority = if host.contains(&b'@') {
                    authority
                } else {
                    host
                };
                let user = authority.iter().rposition(|byte| *byte == b'@');
                let user = authority.get(..user.unwrap_or(0)).unwrap_or_default();
                if user.contains(&b':') {
                    pass(Some(user), found);
                } else if user.len() >= MIN_USER && user.iter().any(u8::is_ascii_digit) {
                    found(user);
                } else if let Some(key) = key_before_host(rest) {
                    found(key);
                }
            }
            b'-' => {
                let before = at.checked_sub(1).and_then(|before| bytes.get(before));
                let is_start =
                    before.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'`".contains(byte));
                if is_start && let Some(rest) = after_option(rest) {
                    pass(argument(rest), found);
                }
            }
            _ => {}
        }
    }
}

/// Returns a secret key that stands for the user of a URL, with `/` in it.
fn key_before_host(text: &[u8]) -> Option<&[u8]> {
    let is_end = |byte: &u8| b"\"'<>?#&= \t\r\n".contains(byte);
    let word = text.split(is_end).next()?;
    let user = word.get(..word.iter().position(|byte| *byte == b'@')?)?;
    let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    (user.len() >= MIN_USER && user.iter().all(is_of_key)).then_some(user)
}

/// Passes the password of `user:password`.
fn pass(user: Option<&[u8]>, found: &mut dyn FnMut(&[u8])) {
    let Some(user) = user else {
        return;
    };
    let Some(colon) = user.iter().position(|byte| *byte == b':') else {
        return;
    };
    let password = user.get(colon + 1..).unwrap_or_default();
    if !is_variable(password) {
        for word in password.split(u8::is_ascii_whitespace) {
            found(word);
        }
    }
}

/// Returns what follows `--user`, `--proxy-user`, or a group of short options with `u` or `U`.
fn after_option(text: &[u8]) -> Option<&[u8]> {
    for option in [b"--user".as_slice(), b"--proxy-user"] {
        if let Some(rest) = text.strip_prefix(option) {
            let is_end = rest
                .first()
                .is_some_and(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
            return is_end.then_some(rest);
        }
    }
    let letters = text.get(1..)?;
    let count = letters.iter().take_while(|byte| byte.is_ascii_alphabetic());
    let count = count.take(20).count();
    let group = letters.get(..count)?;
    let user = group.iter().position(|byte| matches!(byte, b'u' | b'U'))?;
    letters.get(user + 1..)
}

/// Returns the argument of an option.
fn argument(text: &[u8]) -> Option<&[u8]> {
    let is_before = |byte: &u8| b" \t\"'`,=\\$^\r\n".contains(byte);
    let start = text.iter().position(|byte| !is_before(byte))?;
    let quote = text
        .get(..start)?
        .last()
        .filter(|byte| b"\"'`".contains(byte));
    let rest = text.get(start..)?;
    let is_end = |byte: &u8| match quote {
        Some(quote) => byte == quote || *byte == b'\n',
        None => byte.is_ascii_whitespace() || b"\"'`".contains(byte),
    };
    let end = rest.iter().position(is_end).unwrap_or(rest.len());
    rest.get(..end)
}
