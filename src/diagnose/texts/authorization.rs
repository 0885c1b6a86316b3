//! The `Authorization` header and the headers that it names.

use super::Texts;

pub(in super::super) const HEADER_REMOVED: Texts = Texts {
    sentence: "A header that was signed did not arrive.",
    explanation: "Every name in SignedHeaders must be a header of the request when it reaches AWS. Proxies,\n\
                  browsers and HTTP libraries remove headers such as accept, connection and content-length.",
    fix: "Sign only host, x-amz-date, x-amz-security-token and content-type.",
    code: &[],
};
