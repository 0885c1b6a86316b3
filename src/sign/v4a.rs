//! Signs with SigV4A, by the `aws-sigv4` crate.

use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningParams, SigningSettings, UriPathNormalizationMode, sign as sign_by_crate,
};
use aws_sigv4::sign::v4a;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::signable::{Context, SignError, Signable, Signed, UNSIGNED_PAYLOAD};
use super::style::{PayloadSigning, SignaturePlacement, SigningStyle, TokenMode};
use super::target::push_strictly;

/// Signs `request` at the time `now`.
///
/// # Errors
/// See [`SignError`].
pub(super) fn sign(
    context: &Context<'_>,
    request: &Signable<'_>,
    now: SystemTime,
) -> Result<Signed, SignError> {
    let identity = context.credentials.identity();
    let params = v4a::SigningParams::builder()
        .identity(&identity)
        .region_set(&context.scope.region)
        .name(&context.scope.service)
        .time(now)
        .settings(settings(context.style))
        .build()
        .map_err(|error| SignError::Params(error.into()))?;
    sign_with(context, request, &params.into())
}

/// Signs `request` with the crate, as `params` determine.
///
/// # Errors
/// See [`SignError`].
pub(super) fn sign_with(
    context: &Context<'_>,
    request: &Signable<'_>,
    params: &SigningParams<'_>,
) -> Result<Signed, SignError> {
    let uri = format!("https://{}{}", context.host, request.target);
    let (body, extra_header) = match (context.style.payload, context.style.placement) {
        (PayloadSigning::Hashed | PayloadSigning::HashedInHeader, _) => {
            (SignableBody::Bytes(request.body), None)
        }
        (PayloadSigning::Unsigned, SignaturePlacement::Headers) => {
            (SignableBody::UnsignedPayload, None)
        }
        // aws-sigv4 adds this header only when the signature is in the headers.
        (PayloadSigning::Unsigned, SignaturePlacement::Query { .. }) => (
            SignableBody::UnsignedPayload,
            Some(("x-amz-content-sha256", UNSIGNED_PAYLOAD)),
        ),
    };
    let headers = std::iter::once(("host", context.host))
        .chain(extra_header)
        .chain(request.headers.iter().copied());
    let signable = SignableRequest::new(request.method, uri, headers, body)?;
    let (instructions, _) = sign_by_crate(signable, params)?.into_parts();
    let (headers, parameters) = instructions.into_parts();
    let mut signed = Signed {
        headers: Vec::with_capacity(headers.len() + 1),
        query: None,
    };
    for header in headers {
        let name = HeaderName::from_static(header.name());
        let mut value = HeaderValue::from_str(header.value())?;
        // aws-sigv4 does not mark `authorization` as sensitive, so Debug output would contain the
        // signature.
        value.set_sensitive(header.sensitive() || name == AUTHORIZATION);
        signed.headers.push((name, value));
    }
    if let Some((name, value)) = extra_header {
        let name = HeaderName::from_static(name);
        signed.headers.push((name, HeaderValue::from_static(value)));
    }
    for (name, value) in parameters {
        let query = signed.query.get_or_insert_default();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        push_strictly(query, &value);
    }
    Ok(signed)
}

pub(super) fn settings(style: SigningStyle) -> SigningSettings {
    let mut settings = SigningSettings::default();
    // The target has already been normalized, and is sent as it is.
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    // By default aws-sigv4 excludes some headers, which a caller may have listed.
    settings.excluded_headers = None;
    if let SignaturePlacement::Query { expires } = style.placement {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(expires);
    }
    settings.session_token_mode = match style.token {
        TokenMode::Signed => SessionTokenMode::Include,
        TokenMode::Appended => SessionTokenMode::Exclude,
    };
    settings.payload_checksum_kind = match style.payload {
        PayloadSigning::Hashed => PayloadChecksumKind::NoHeader,
        PayloadSigning::HashedInHeader | PayloadSigning::Unsigned => {
            PayloadChecksumKind::XAmzSha256
        }
    };
    settings
}
