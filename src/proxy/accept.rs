//! Determines from `Accept` the format of a response (RFC 9110, section 12.5.1).

use countersign_protocol::graphql::OperationKind;
use http::HeaderMap;
use http::header::ACCEPT;
use mediatype::{MediaTypeList, Name, ReadParams as _};

/// The media types that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    json: Option<Media>,
    sse: bool,
    multipart: bool,
    /// The client names `text/html`.
    html: bool,
    /// The client names a type of GraphQL responses.
    names_json: bool,
}

/// The media type of a single JSON response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/graphql-response+json` (GraphQL over HTTP, "Media Types")
    GraphqlResponse,
}

/// The format of the response to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    Json(Media),
    Sse,
    Multipart,
}

const SUBSCRIPTION_SPEC: Name<'_> = Name::new_unchecked("subscriptionSpec");
const Q: Name<'_> = Name::new_unchecked("q");

impl Accept {
    /// Reads `Accept`. A client that does not send it accepts JSON. Media types that cannot be parsed
    /// are ignored.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut accept = Self {
            json: None,
            sse: false,
            multipart: false,
            html: false,
            names_json: false,
        };
        let mut best = 0.0;
        let values = headers.get_all(ACCEPT).iter();
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        if values.iter().all(|value| value.trim().is_empty()) {
            accept.json = Some(Media::Json);
        }
        for media in values.iter().flat_map(|value| MediaTypeList::new(value)) {
            let Ok(media) = media else {
                continue;
            };
            let quality = media.get_param(Q).map_or(Ok(1.0), |q| q.as_str().parse());
            let quality: f32 = quality.unwrap_or(1.0);
            if quality <= 0.0 {
                continue;
            }
            let kind = (media.ty.as_str(), media.subty.as_str());
            let is = |ty: &str, subty: &str| {
                kind.0.eq_ignore_ascii_case(ty) && kind.1.eq_ignore_ascii_case(subty)
            };
            let is_json = is("application", "json") || is("application", "*") || is("*", "*");
            accept.html |= is("text", "html");
            accept.names_json |= is("application", "json") || is("application", "graphql-response");
            match media.suffix.map(|suffix| suffix.as_str()) {
                // At equal quality the newer type is preferred, because it is more specific.
                Some("json") if is("application", "graphql-response") && quality >= best => {
                    (accept.json, best) = (Some(Media::GraphqlResponse), quality);
                }
                None if is_json && quality > best => {
                    (accept.json, best) = (Some(Media::Json), quality);
                }
                None if is("text", "event-stream") => accept.sse = true,
                None if is("multipart", "mixed") => {
                    accept.multipart |= media.get_param(SUBSCRIPTION_SPEC).is_some();
                }
                Some(_) | None => {}
            }
        }
        accept
    }

    /// Returns the format for an operation of `kind`, or `None` if the client accepts none. The kind of
    /// a document that cannot be parsed is unknown.
    pub fn response_format(self, kind: Option<OperationKind>) -> Option<ResponseFormat> {
        match kind {
            Some(OperationKind::Subscription) if self.multipart => Some(ResponseFormat::Multipart),
            Some(OperationKind::Subscription) => self.sse.then_some(ResponseFormat::Sse),
            Some(OperationKind::Query | OperationKind::Mutation) | None => match self.json {
                Some(media) => Some(ResponseFormat::Json(media)),
                None => self.sse.then_some(ResponseFormat::Sse),
            },
        }
    }

    /// Returns the media type of a JSON response. Errors are JSON even if the client does not accept it.
    pub fn media(self) -> Media {
        self.json.unwrap_or(Media::Json)
    }

    /// Returns whether the client asks for a page, as browsers do when they navigate. Clients of GraphQL
    /// that accept HTML, too, name other types.
    pub fn prefers_html(self) -> bool {
        self.html && !self.names_json && !self.sse && !self.multipart
    }

    /// Returns whether the client accepts server-sent events.
    pub fn accepts_events(self) -> bool {
        self.sse
    }
}

impl Media {
    /// Returns the media type as a `Content-Type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::GraphqlResponse => "application/graphql-response+json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, query: Option<ResponseFormat>, subscription: Option<ResponseFormat>) {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        let found = Accept::of(&headers);
        assert_eq!(
            found.response_format(Some(OperationKind::Query)),
            query,
            "{accept}"
        );
        assert_eq!(found.response_format(None), query, "{accept}");
        let format = found.response_format(Some(OperationKind::Subscription));
        assert_eq!(format, subscription, "{accept}");
    }

    #[test]
    fn headers_of_real_clients_select_a_format() {
        let json = Some(ResponseFormat::Json(Media::Json));
        let newer = Some(ResponseFormat::Json(Media::GraphqlResponse));
        let (sse, multipart) = (Some(ResponseFormat::Sse), Some(ResponseFormat::Multipart));
        check("", json, None);
        check("*/*", json, None);
        check("application/json", json, None);
        check(
            "application/graphql-response+json,application/json;q=0.9",
            newer,
            None,
        );
        check(
            "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9",
            newer,
            multipart,
        );
        check(
            "multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\", application/json",
            json,
            multipart,
        );
        check(
            "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed",
            newer,
            sse,
        );
        check("text/event-stream, multipart/mixed", sse, sse);
        check("text/event-stream", sse, sse);
        check("application/json, multipart/mixed", json, None);
        check(
            "multipart/mixed;deferSpec=20220824, application/json",
            json,
            None,
        );
        check(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            json,
            None,
        );
    }

    #[test]
    fn only_browsers_prefer_html() {
        for (accept, expected) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
                true,
            ),
            ("text/html", true),
            ("*/*;q=0.8, TEXT/HTML", true),
            ("", false),
            ("*/*", false),
            ("text/*", false),
            ("text/html;q=0", false),
            ("application/json, text/html", false),
            ("application/graphql-response+json, text/html", false),
            ("text/event-stream, text/html", false),
            ("text/html, multipart/mixed;subscriptionSpec=1.0", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Accept::of(&headers).prefers_html(), expected, "{accept}");
        }
    }

    #[test]
    fn qualities_are_compared_and_malformed_types_are_ignored() {
        let json = Some(ResponseFormat::Json(Media::Json));
        let newer = Some(ResponseFormat::Json(Media::GraphqlResponse));
        check("text/html", None, None);
        check("application/json;q=0", None, None);
        check("application/json;q=0, */*", json, None);
        check(
            "application/graphql-response+json;q=0.5, application/json",
            json,
            None,
        );
        check(
            "application/json, application/graphql-response+json",
            newer,
            None,
        );
        check("APPLICATION/JSON", json, None);
        check("garbage, application/json", json, None);
        check(",,;;=", None, None);
        check("application/json;q=x", json, None);
    }
}
