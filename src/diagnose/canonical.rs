//! Canonical requests and strings to sign, parsed into their parts.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use super::encode::sha256_hex;

/// A canonical request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Canonical {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// In the order of the text, with names as they are written.
    pub(super) headers: Vec<(String, String)>,
    pub(super) signed_headers: String,
    /// `None` if the body is not known.
    pub(super) payload: Option<String>,
}

/// A string to sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StringToSign {
    pub(super) algorithm: String,
    pub(super) time: String,
    pub(super) scope: String,
    pub(super) hash: String,
}

/// The longest canonical request that is parsed.
const MAX_BYTES: usize = 256 * 1024;

impl Canonical {
    /// Parses a canonical request. Line breaks that an editor appended are ignored.
    ///
    /// # Errors
    /// What is wrong with its lines.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err("it is longer than 256 KiB".to_owned());
        }
        let text = text.replace("\r\n", "\n");
        let text = text.trim_end_matches('\n');
        let lines: Vec<&str> = text.split('\n').collect();
        let [method, path, query, rest @ ..] = lines.as_slice() else {
            return Err("it has fewer than four lines".to_owned());
        };
        let is_header = |line: &str| {
            let name = line.split_once(':').map(|(name, _)| name);
            name.is_some_and(|name| !name.is_empty() && !name.contains(['=', '&', '/']))
        };
        if is_header(query) && rest.iter().any(|line| is_header(line)) {
            return Err("the line of the query is missing; it must be there, if only empty".into());
        }
        let Some(end) = rest.iter().position(|line| !is_header(line)) else {
            return Err("the empty line after the headers is missing".to_owned());
        };
        let (headers, rest) = rest.split_at(end);
        let (signed_headers, payload) = match rest {
            ["", signed_headers, payload] => (signed_headers, payload),
            ["", ..] => {
                return Err(format!(
                    "{} lines follow the empty line after the headers; two must: the signed headers, \
                     and the hash of the body",
                    rest.len() - 1
                ));
            }
            _ => return Err("the empty line after the headers is missing".to_owned()),
        };
        let headers = headers.iter().filter_map(|line| line.split_once(':'));
        Ok(Self {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            query: (*query).to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            signed_headers: (*signed_headers).to_owned(),
            payload: Some((*payload).to_owned()),
        })
    }

    /// Returns the value of a header. `name` is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns the hash of the canonical request; `None` if the body is not known.
    pub(super) fn hash(&self) -> Option<String> {
        Some(sha256_hex(self.text()?.as_bytes()))
    }

    /// Returns the text that is hashed; `None` if the body is not known.
    pub(super) fn text(&self) -> Option<String> {
        let payload = self.payload.as_ref()?;
        let mut text = format!("{}\n{}\n{}\n", self.method, self.path, self.query);
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push(':');
            text.push_str(value);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_headers);
        text.push('\n');
        text.push_str(payload);
        Some(text)
    }
}

impl StringToSign {
    /// Parses a string to sign.
    ///
    /// # Errors
    /// What is wrong with its lines.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.replace("\r\n", "\n");
        let lines: Vec<&str> = text.trim_end_matches('\n').split('\n').collect();
        let [algorithm, time, scope, hash] = lines.as_slice() else {
            return Err(format!(
                "the string to sign has {} lines; it must have four: the algorithm, the time, the scope, \
                 and the hash of the canonical request",
                lines.len()
            ));
        };
        Ok(Self {
            algorithm: (*algorithm).to_owned(),
            time: (*time).to_owned(),
            scope: (*scope).to_owned(),
            hash: (*hash).to_owned(),
        })
    }
}
