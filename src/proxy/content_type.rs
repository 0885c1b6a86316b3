//! Checks the headers that describe the body of a request on an AppSync route.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::error::Error;

/// Checks that the body is declared as JSON.
///
/// # Errors
/// When the content type is not JSON, because any web page can send such a body without a preflight. Or
/// when the body has a content coding: countersign inspects the bytes as they are.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Error> {
    // AppSync's clients send amz-1.0, which stands for no coding.
    let is_plain = |coding: &HeaderValue| coding == "identity" || coding == "amz-1.0";
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Error::Coding);
    }
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_upload = text.is_some_and(|text| {
        let essence = text.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("multipart/form-data")
    });
    if is_json(headers) {
        return Ok(());
    }
    Err(if is_upload {
        Error::Upload
    } else {
        Error::MediaType
    })
}

/// Returns whether the type is `application/json`, in UTF-8 if it names a charset.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            Some(_) | None => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_type(value: Option<&str>, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
        }
        assert_eq!(is_json(&headers), expected, "{value:?}");
    }

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            check_type(Some(json), true);
        }
        for other in [
            "text/plain",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain;application/json",
            "application/graphql",
        ] {
            check_type(Some(other), false);
        }
        check_type(None, false);
    }
}
