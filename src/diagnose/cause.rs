//! Every cause of a rejection, declared once.
//!
//! A cause appears in the first line of `countersign explain`, in log lines, and in `extensions.cause`
//! of errors. The reference page `docs/reference/causes.md` is generated from this table.

use std::fmt;
use std::fmt::Write as _;

use super::texts::{Texts, authorization, body, clock, endpoint, headers, path, query, scope};

/// Declares each cause: variant, name and texts.
macro_rules! causes {
    ($($cause:ident = $name:literal, $texts:expr;)*) => {
        /// Why AWS rejected a request. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $(#[doc = concat!("`", $name, "`")] $cause,)*
        }

        impl Cause {
            /// Every cause, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$cause,)*];

            /// Returns the stable name, in kebab case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)*
                }
            }

            fn texts(self) -> &'static Texts {
                match self {
                    $(Self::$cause => &$texts,)*
                }
            }
        }
    };
}

causes! {
    Algorithm = "algorithm", authorization::ALGORITHM;
    AuthorizationMalformed = "authorization-malformed", authorization::MALFORMED;
    BodyChanged = "body-changed", body::CHANGED;
    BodyEscapes = "body-escapes", body::ESCAPES;
    BodyHashEmpty = "body-hash-empty", body::HASH_EMPTY;
    BodyHashEnvelope = "body-hash-envelope", body::HASH_ENVELOPE;
    BodyHashUnsigned = "body-hash-unsigned", body::HASH_UNSIGNED;
    CanonicalForm = "canonical-form", body::FORM;
    ClockFast = "clock-fast", clock::FAST;
    ClockSlow = "clock-slow", clock::SLOW;
    ContentShaHeader = "content-sha-header", headers::CONTENT_SHA;
    DateFormat = "date-format", clock::FORMAT;
    DateMissing = "date-missing", clock::MISSING;
    HashCase = "hash-case", body::HASH_CASE;
    HeaderChanged = "header-changed", headers::CHANGED;
    HeaderNotSigned = "header-not-signed", headers::NOT_SIGNED;
    HeaderRemoved = "header-removed", headers::REMOVED;
    HeaderSpaces = "header-spaces", headers::SPACES;
    HeaderUnsorted = "header-unsorted", headers::UNSORTED;
    HostNotSigned = "host-not-signed", headers::HOST_NOT_SIGNED;
    HostPort = "host-port", headers::HOST_PORT;
    HostWrong = "host-wrong", headers::HOST_WRONG;
    IamNotEnabled = "iam-not-enabled", endpoint::IAM_NOT_ENABLED;
    MethodWrong = "method-wrong", path::METHOD;
    NoSubprotocol = "no-subprotocol", endpoint::NO_SUBPROTOCOL;
    NoSuchRoute = "no-such-route", endpoint::NO_SUCH_ROUTE;
    NotAuthorized = "not-authorized", endpoint::NOT_AUTHORIZED;
    NotSigned = "not-signed", authorization::NOT_SIGNED;
    NotSigv4 = "not-sigv4", authorization::NOT_SIGV4;
    PathDecoded = "path-decoded", path::DECODED;
    PathDoubleEncodedTwice = "path-double-encoded-twice", path::DOUBLE_ENCODED_TWICE;
    PathNormalized = "path-normalized", path::NORMALIZED;
    PathNotDoubleEncoded = "path-not-double-encoded", path::NOT_DOUBLE_ENCODED;
    PathStageMissing = "path-stage-missing", path::STAGE_MISSING;
    PathWrong = "path-wrong", path::WRONG;
    QueryAdded = "query-added", query::ADDED;
    QueryBareName = "query-bare-name", query::BARE_NAME;
    QueryChanged = "query-changed", query::CHANGED;
    QueryEncodedTwice = "query-encoded-twice", query::ENCODED_TWICE;
    QueryLowerHex = "query-lower-hex", query::LOWER_HEX;
    QueryMissing = "query-missing", query::MISSING;
    QueryNotEncoded = "query-not-encoded", query::NOT_ENCODED;
    QueryPlus = "query-plus", query::PLUS;
    QueryRemoved = "query-removed", query::REMOVED;
    QueryUnsorted = "query-unsorted", query::UNSORTED;
    ScopeDate = "scope-date", scope::DATE;
    ScopeMalformed = "scope-malformed", scope::MALFORMED;
    ScopeTerminator = "scope-terminator", scope::TERMINATOR;
    SignedHeaders = "signed-headers", headers::LIST;
    SignedTwice = "signed-twice", authorization::SIGNED_TWICE;
    SigningKeyDate = "signing-key-date", scope::KEY_DATE;
    SigningKeyForm = "signing-key-form", scope::KEY_FORM;
    SigningKeyRegion = "signing-key-region", scope::KEY_REGION;
    SigningKeyService = "signing-key-service", scope::KEY_SERVICE;
    TokenExpired = "token-expired", authorization::TOKEN_EXPIRED;
    TokenExtra = "token-extra", authorization::TOKEN_EXTRA;
    TokenMissing = "token-missing", authorization::TOKEN_MISSING;
    TokenWrong = "token-wrong", authorization::TOKEN_WRONG;
    UnknownKey = "unknown-key", authorization::UNKNOWN_KEY;
    Waf = "waf", endpoint::WAF;
    WrongRegion = "wrong-region", scope::REGION;
    WrongSecret = "wrong-secret", scope::SECRET;
    WrongService = "wrong-service", scope::SERVICE;
}

impl Cause {
    /// Returns the cause with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|cause| cause.as_str() == name)
    }

    /// Returns what is wrong, as one sentence.
    pub fn sentence(self) -> &'static str {
        self.texts().sentence
    }

    /// Returns two to five lines about how it happens.
    pub fn explanation(self) -> &'static str {
        self.texts().explanation
    }

    /// Returns what to do.
    pub fn fix(self) -> &'static str {
        self.texts().fix
    }

    /// Returns code to paste, with the name of its language.
    pub fn code(self) -> &'static [(&'static str, &'static str)] {
        self.texts().code
    }

    /// Returns what to do, in one line, with the command of countersign if there is one.
    pub(super) fn hint(self) -> String {
        let sentence = self.fix().trim_end_matches(['.', ':']);
        let mut code = self.code().iter();
        match code.find(|(language, _)| *language == "countersign") {
            Some((_, command)) => format!("{sentence}: {command}"),
            None => format!("{sentence}."),
        }
    }

    /// Returns what to do, followed by the code in each language.
    pub(super) fn fix_with_code(self) -> String {
        let mut text = self.fix().to_owned();
        for (language, code) in self.code() {
            let code = code.replace('\n', "\n    ");
            // Writing to a String cannot fail.
            let _ = write!(text, "\n\n  {language}:\n    {code}");
        }
        text
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
