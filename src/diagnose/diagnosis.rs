//! The result of a diagnosis.

use std::fmt;

use serde::{Serialize, Serializer};

use super::cause::Cause;
use super::denial::{Denial, is_label};

/// Why AWS rejected a request, as far as the evidence decides it. It contains no secrets: tokens and
/// signatures are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// `None` if the evidence does not decide; `"unknown"` in JSON.
    #[serde(serialize_with = "cause_name")]
    pub cause: Option<Cause>,
    pub confidence: Confidence,
    /// One line: the cause, with the values of this request.
    pub summary: String,
    /// The first part in which the request differs from what AWS expected.
    pub difference: Option<Difference>,
    /// What to do, with code where code helps.
    pub fix: Option<String>,
    /// The evidence that would decide, or that would make the diagnosis certain; the most useful first. Empty
    /// without a cause if AWS accepted the request, and something behind it failed.
    pub needs: Vec<Need>,
    /// What to do, in one line, for logs and for clients of countersign.
    #[serde(skip)]
    pub hint: Option<String>,
    /// What a policy does not allow, as far as AWS's text names it.
    #[serde(skip)]
    pub denial: Option<Denial>,
}

/// How well the evidence supports a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// The evidence does not decide.
    Unknown,
    /// Other causes would leave the same evidence.
    Possible,
    /// Nothing contradicts the cause, and other causes are rare.
    Likely,
    /// AWS's text or the comparison proves it.
    Certain,
}

/// A part of the request in both versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The name of the part, such as `canonical request, line 3: the query`.
    pub line: String,
    pub yours: String,
    pub aws: String,
}

/// Evidence that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Answer,
    Request,
    CanonicalRequest,
    StringToSign,
    Credentials,
    Time,
}

// === impl Diagnosis ===

impl Diagnosis {
    /// Returns the diagnosis of evidence that does not decide.
    pub(super) fn unknown(summary: impl Into<String>, needs: &[Need]) -> Self {
        Self {
            cause: None,
            confidence: Confidence::Unknown,
            summary: summary.into(),
            difference: None,
            fix: None,
            hint: None,
            needs: needs.to_vec(),
            denial: None,
        }
    }

    /// Returns a diagnosis with the sentence and the fix of the cause.
    pub(super) fn of(cause: Cause, confidence: Confidence) -> Self {
        Self {
            cause: Some(cause),
            confidence,
            summary: cause.sentence().to_owned(),
            difference: None,
            fix: Some(cause.fix_with_code()),
            hint: Some(cause.hint()),
            needs: Vec::new(),
            denial: None,
        }
    }

    /// Returns a diagnosis of a cause that AWS's text or a comparison proves.
    pub(super) fn certain(cause: Cause) -> Self {
        Self::of(cause, Confidence::Certain)
    }

    /// Appends what the evidence shows about this request to the sentence of the cause.
    pub(super) fn because(mut self, detail: impl fmt::Display) -> Self {
        let sentence = self.summary.trim_end_matches('.').to_owned();
        self.summary = format!("{sentence}: {detail}");
        self
    }

    /// Does the same as [`Self::because`] if there is something to append.
    pub(super) fn because_of(self, detail: Option<String>) -> Self {
        match detail {
            Some(detail) => self.because(detail),
            None => self,
        }
    }

    pub(super) fn with_difference(mut self, line: &str, yours: &str, aws: &str) -> Self {
        // Texts that contradict each other, and texts that differ only beyond what is shown, show nothing.
        self.difference = (yours != aws).then(|| Difference {
            line: line.to_owned(),
            yours: yours.to_owned(),
            aws: aws.to_owned(),
        });
        self
    }

    pub(super) fn needing(mut self, needs: &[Need]) -> Self {
        self.needs = needs.to_vec();
        self
    }

    /// Replaces `placeholder` in the fix by the value that AWS expects, if that has the form of a region or a
    /// service: AWS's text is not trusted, and the fix contains commands and code.
    pub(super) fn expecting(mut self, placeholder: &str, value: &str) -> Self {
        if !is_label(value) {
            return self;
        }
        let sentence = self.cause.map_or("", Cause::fix).trim_end_matches('.');
        let put = |text: String| {
            let text = text.replacen(sentence, &format!("{sentence}, {value}"), 1);
            text.replace(placeholder, value)
        };
        self.fix = self.fix.map(put);
        self.hint = self.hint.map(put);
        self
    }

    /// Replaces the fix, in full and in one line.
    pub(super) fn with_fix(mut self, fix: String, hint: String) -> Self {
        (self.fix, self.hint) = (Some(fix), Some(hint));
        self
    }

    /// Adds what to check first if the evidence does not decide.
    pub(super) fn checking(mut self, list: &str) -> Self {
        self.fix = Some(list.to_owned());
        self
    }

    /// Returns the name of the cause, or `unknown`.
    pub fn cause_name(&self) -> &'static str {
        self.cause.map_or("unknown", Cause::as_str)
    }
}

fn cause_name<S: Serializer>(cause: &Option<Cause>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cause.map_or("unknown", Cause::as_str))
}

// === impl Confidence ===

impl Confidence {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

impl Serialize for Confidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl Need ===

impl Need {
    /// Returns a stable name, which is also that of the option of `countersign explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Request => "request",
            Self::CanonicalRequest => "canonical-request",
            Self::StringToSign => "string-to-sign",
            Self::Credentials => "credentials",
            Self::Time => "at",
        }
    }

    /// Returns what is missing, in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Answer => "AWS's whole answer, with status and headers",
            Self::Request => "the request as it was sent, with all headers and the body",
            Self::CanonicalRequest => "the canonical request that the signer computed",
            Self::StringToSign => "the string to sign that the signer computed",
            Self::Credentials => "the credentials that should have signed the request",
            Self::Time => "the time at which the answer arrived",
        }
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
