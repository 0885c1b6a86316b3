//! Compares header names as the most lenient servers do: by their letters and digits alone.
//!
//! CGI, WSGI, PHP and many frameworks replace every other character of a name with `_`, so that
//! `X_Forwarded_For`, `X.Forwarded.For` and `X-Forwarded-For` are the same header to them. Every
//! comparison for protection uses these functions, which remove and reject nothing themselves.

/// A set of header names, which contains every name that a server may treat as one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    /// The letters and digits of the names, by their number.
    by_length: Vec<Vec<Box<[u8]>>>,
}

/// Returns whether a server may treat `name` as the header `other`.
pub fn is_same_header(name: &str, other: &str) -> bool {
    letters_and_digits(name).eq(letters_and_digits(other))
}

/// Returns whether a server may treat `name` as a header that begins with `prefix`.
pub fn has_header_prefix(name: &str, prefix: &str) -> bool {
    let mut letters_of_name = letters_and_digits(name);
    letters_and_digits(prefix).all(|letter| letters_of_name.next() == Some(letter))
}

/// Returns whether servers disagree about `name`: it contains characters other than letters, digits
/// and `-`.
pub fn is_odd_header(name: &str) -> bool {
    !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Returns whether a server may treat the value of the header `name` as the method of the request.
pub fn is_method_override(name: &str) -> bool {
    METHOD_OVERRIDES
        .iter()
        .any(|other| is_same_header(name, other))
}

/// Returns a display name if `name` is a header by which other proxies identify themselves (RFC 7239;
/// RFC 9110, section 7.6.3).
pub fn forwarded_header(name: &str) -> Option<&'static str> {
    match name {
        _ if is_same_header(name, "forwarded") => Some("Forwarded"),
        _ if is_same_header(name, "via") => Some("Via"),
        _ if has_header_prefix(name, "x-forwarded") => Some("X-Forwarded-*"),
        _ => None,
    }
}

fn letters_and_digits(name: &str) -> impl Iterator<Item = u8> {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase())
}

impl HeaderNames {
    /// Returns a set of `names`. All but the first [`MAX_NAME`] letters and digits of a name are ignored.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut by_length = vec![Vec::new(); MAX_NAME + 1];
        for name in names {
            let letters: Box<[u8]> = letters_and_digits(name).take(MAX_NAME).collect();
            if let Some(names) = by_length.get_mut(letters.len()) {
                names.push(letters);
            }
        }
        Self { by_length }
    }

    /// Returns whether a server may treat `name` as one of the headers.
    pub fn contains(&self, name: &str) -> bool {
        let letters = || letters_and_digits(name).take(MAX_NAME);
        let same_length = self.by_length.get(letters().count()).into_iter();
        let mut same_length = same_length.flatten();
        same_length.any(|other| letters().eq(other.iter().copied()))
    }
}

/// The number of letters and digits by which names in a set are compared.
const MAX_NAME: usize = 128;

const METHOD_OVERRIDES: [&str; 9] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-method",
    "x-original-method",
    "x-override-method",
    "x-forwarded-method",
    "x-rewrite-method",
    "http-method-override",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_letters_and_digits() {
        for (name, other, expected) in [
            ("x-http-method-override", "X_HTTP_METHOD_OVERRIDE", true),
            ("x-http-method-override", "X.HTTP.Method.Override", true),
            ("x-http-method-override", "XHttpMethodOverride", true),
            ("x-http-method-override", "x-http--method-override-", true),
            ("x-http-method-override", "x-http-method-overrid", false),
            ("x-amz-content-sha256", "x_amz_content_sha_256", true),
            ("x-amz-content-sha256", "x-amz-content-sha25", false),
            ("via", "v!i#a", true),
            ("te", "t", false),
            ("te", "", false),
        ] {
            assert_eq!(is_same_header(other, name), expected, "{other} {name}");
            assert_eq!(is_same_header(name, other), expected, "{name} {other}");
            let names = HeaderNames::new(["etag", other, "x-a"]);
            assert_eq!(names.contains(name), expected, "{name} {other}");
        }
    }

    #[test]
    fn long_names_are_in_a_set_if_they_may_be_the_same() {
        let [name, longer] = ["a".repeat(MAX_NAME), "A-".repeat(MAX_NAME + 1)];
        for member in [&name, &longer] {
            let names = HeaderNames::new([member.as_str()]);
            assert!(names.contains(member) && names.contains(&longer));
            assert!(!names.contains("a") && !names.contains(&"b".repeat(MAX_NAME + 1)));
        }
    }

    #[test]
    fn forwarded_odd_and_method_override_names_are_recognized() {
        for name in [
            "x-forwarded-for",
            "X_Forwarded_For",
            "x.forwarded.host",
            "X-ForwardedProto",
            "x-forwarded",
        ] {
            assert_eq!(forwarded_header(name), Some("X-Forwarded-*"), "{name}");
        }
        assert_eq!(forwarded_header("V_i_a"), Some("Via"));
        assert_eq!(forwarded_header("Forwarded_"), Some("Forwarded"));
        for name in ["x-forward", "x-for", "viable", "forwarded-by", ""] {
            assert_eq!(forwarded_header(name), None, "{name}");
        }
        for name in ["x_team", "x.team", "x-team!", "x~team", "_", "x'team"] {
            assert!(is_odd_header(name), "{name}");
        }
        for name in ["x-team", "X-Team-2", "etag"] {
            assert!(!is_odd_header(name), "{name}");
        }
        for name in [
            "X_Original_Method",
            "x.http.method",
            "X-Method",
            "xmethodoverride",
        ] {
            assert!(is_method_override(name), "{name}");
        }
        for name in ["access-control-request-method", "x-methods", "method"] {
            assert!(!is_method_override(name), "{name}");
        }
    }
}
