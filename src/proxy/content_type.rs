//! Checks the headers that describe the body of a request on an AppSync route.

use countersign_protocol::graphql::shown;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::error::Error;

/// Checks that the body is declared as JSON.
///
/// # Errors
/// When the content type is not JSON in UTF-8, because any web page can send such a body without a
/// preflight. Or when the body has a content coding: countersign inspects the bytes as they are.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Error> {
    // AppSync's clients send amz-1.0, which stands for no coding.
    let is_plain = |coding: &HeaderValue| coding == "identity" || coding == "amz-1.0";
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Error::Coding);
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let text = values.next().and_then(|value| value.to_str().ok());
    let mut parts = text.unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Error::Upload);
    }
    if values.next().is_some() || !essence.eq_ignore_ascii_case("application/json") {
        return Err(Error::MediaType);
    }
    let parameters = parts.filter_map(|parameter| parameter.split_once('='));
    for (name, value) in parameters {
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !is_utf8(value) {
            return Err(Error::Charset(shown(value)));
        }
    }
    Ok(())
}

/// Returns whether a charset is UTF-8. "utf8" is not a registered name, but many clients send it.
fn is_utf8(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Option<&str>, expected: &str) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
        }
        let found = check_type(&headers).map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(found, expected, "{value:?}");
    }

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json;charset=utf8",
            "application/json; Charset=\"UTF8\"",
            "application/json; profile=x; charset = Utf8",
            "application/json;",
        ] {
            check(Some(json), "");
        }
        for (charset, shown) in [
            ("latin1", "latin1"),
            ("\"ISO-8859-1\"", "ISO-8859-1"),
            ("utf-16", "utf-16"),
            ("utf8; charset=utf-7", "utf-7"),
            ("utf-8, text/plain", "utf-8, text/plain"),
            ("", ""),
        ] {
            let value = format!("application/json; charset={charset}");
            check(
                Some(&value),
                &format!("charset utf-8 expected, got {shown:?}"),
            );
        }
        let expected = "the content type must be application/json";
        for other in [
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
            "text/plain;application/json",
            "text/plain; charset=latin1",
            "application/graphql",
        ] {
            check(Some(other), expected);
        }
        check(None, expected);
        let upload = Error::Upload.to_string();
        check(Some("multipart/form-data; boundary=x"), &upload);
    }
}
