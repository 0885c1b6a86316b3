//! The request that a curl command line sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shell::{VARIABLE, words};
use super::url::of_url;
use super::{Headers, InputError, header};
use crate::diagnose::encode::{Slash, encode};
use crate::diagnose::evidence::Request;

/// Options with a value that does not change the request as AWS sees it.
const WITH_VALUE: [&str; 46] = [
    "--cacert",
    "--capath",
    "--cert",
    "--cert-type",
    "--ciphers",
    "--config",
    "--connect-timeout",
    "--connect-to",
    "--continue-at",
    "--cookie-jar",
    "--crlfile",
    "--dns-servers",
    "--dump-header",
    "--engine",
    "--expect100-timeout",
    "--hostpubmd5",
    "--interface",
    "--keepalive-time",
    "--key",
    "--key-type",
    "--limit-rate",
    "--local-port",
    "--max-filesize",
    "--max-redirs",
    "--max-time",
    "--netrc-file",
    "--noproxy",
    "--output",
    "--output-dir",
    "--parallel-max",
    "--pass",
    "--pinnedpubkey",
    "--preproxy",
    "--proto",
    "--proxy",
    "--proxy-header",
    "--proxy-user",
    "--resolve",
    "--retry",
    "--retry-delay",
    "--retry-max-time",
    "--stderr",
    "--tls-max",
    "--trace-ascii",
    "--unix-socket",
    "--write-out",
];

/// The long name of each short option with a value, and of those without that change the request.
const SHORT: [(char, &str); 32] = [
    ('A', "--user-agent"),
    ('C', "--continue-at"),
    ('D', "--dump-header"),
    ('E', "--cert"),
    ('F', "--form"),
    ('G', "--get"),
    ('H', "--header"),
    ('I', "--head"),
    ('K', "--config"),
    ('P', "--ftp-port"),
    ('Q', "--quote"),
    ('T', "--upload-file"),
    ('U', "--proxy-user"),
    ('X', "--request"),
    ('Y', "--speed-limit"),
    ('b', "--cookie"),
    ('c', "--cookie-jar"),
    ('d', "--data"),
    ('e', "--referer"),
    ('h', "--help"),
    ('m', "--max-time"),
    ('o', "--output"),
    ('r', "--range"),
    ('t', "--telnet-option"),
    ('u', "--user"),
    ('w', "--write-out"),
    ('x', "--proxy"),
    ('y', "--speed-time"),
    ('z', "--time-cond"),
    ('J', "--remote-header-name"),
    ('g', "--globoff"),
    ('j', "--junk-session-cookies"),
];

/// Headers beyond this number are ignored; the diagnosis reads no more.
const MAX_HEADERS: usize = 1000;

/// Short options without a value that do not change the request are not listed.
const SHORT_WITH_VALUE: &str = "ACDEFHKPQTUXYbcdehmortuwxyz";

/// What the options of a command say.
#[derive(Default)]
pub(super) struct Command {
    urls: Vec<String>,
    method: Option<String>,
    headers: Headers,
    removed: Vec<String>,
    data: Option<Vec<u8>>,
    query: Vec<String>,
    /// Whether the body is that of a file or of a form, which the command does not show.
    is_body_unknown: bool,
    has_form: bool,
    is_get: bool,
    is_head: bool,
    is_upload: bool,
    is_json: bool,
    pub(super) user: Option<String>,
    /// The parameters of `--aws-sigv4`.
    pub(super) sigv4: Option<String>,
}

/// Returns whether the text begins with a curl command.
pub(super) fn begins(text: &str) -> bool {
    let word = after_prompt(text).split_ascii_whitespace().next();
    word.is_some_and(|word| matches!(word, "curl" | "curl.exe") || word.ends_with("/curl"))
}

/// Returns the text without a prompt.
fn after_prompt(text: &str) -> &str {
    let text = text.trim_start();
    let prompt = text.split_once(['$', '%', '#']).filter(|(before, rest)| {
        let is_short = before.len() <= 60 && !before.contains(['\n', '"', '\'']);
        is_short && rest.trim_start().starts_with("curl")
    });
    prompt.map_or(text, |(_, rest)| rest.trim_start())
}

/// Reads a text that begins with a curl command.
pub(super) fn read(text: &str) -> Result<Request, InputError> {
    Command::parse(text)?.request()
}

/// Returns the body that a curl command sends, if the command shows it.
pub(super) fn body(text: &str) -> Result<Option<Vec<u8>>, InputError> {
    let command = Command::parse(text)?;
    let body = command.data.unwrap_or_default();
    without_variable(&String::from_utf8_lossy(&body))?;
    Ok((!command.is_body_unknown).then(|| if command.is_get { Vec::new() } else { body }))
}

impl Command {
    pub(super) fn parse(text: &str) -> Result<Self, InputError> {
        let mut command = Self::default();
        let mut words = words(after_prompt(text))?.into_iter().skip(1);
        while let Some(word) = words.next() {
            if word.starts_with("--") && word.len() > 2 {
                command.option(&word, &mut words);
            } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                command.short(letters, &mut words);
            } else {
                command.urls.push(word);
            }
        }
        Ok(command)
    }

    /// Reads `-sSXPOST`: letters without values, then one whose value follows.
    fn short(&mut self, letters: &str, words: &mut impl Iterator<Item = String>) {
        for (at, letter) in letters.char_indices() {
            let long = SHORT.iter().find(|(known, _)| *known == letter);
            let Some((_, long)) = long else {
                continue;
            };
            if !SHORT_WITH_VALUE.contains(letter) {
                self.option(long, words);
                continue;
            }
            let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            if rest.is_empty() {
                self.option(long, words);
            } else {
                self.option(long, &mut std::iter::once(rest.to_owned()));
            }
            return;
        }
    }

    fn option(&mut self, name: &str, words: &mut impl Iterator<Item = String>) {
        let mut value = || words.next().unwrap_or_default();
        match name {
            "--request" => self.method = Some(value()),
            "--url" => self.urls.push(value()),
            "--header" => self.header(&value()),
            "--data" | "--data-ascii" | "--data-binary" => {
                let value = value();
                self.data_or_file(&value);
            }
            "--data-raw" => self.data(&value()),
            "--json" => {
                self.is_json = true;
                match value() {
                    file if file.starts_with('@') => self.is_body_unknown = true,
                    // Unlike the others, --json joins without a separator.
                    text => self
                        .data
                        .get_or_insert_default()
                        .extend_from_slice(text.as_bytes()),
                }
            }
            "--data-urlencode" => {
                let value = value();
                self.urlencoded(&value);
            }
            "--url-query" => {
                let value = value();
                self.query.push(match value.strip_prefix('+') {
                    Some(raw) => raw.to_owned(),
                    None => encoded_pair(&value).unwrap_or_default(),
                });
            }
            "--form" | "--form-string" => {
                value();
                self.has_form = true;
                self.is_body_unknown = true;
            }
            "--upload-file" => {
                value();
                self.is_upload = true;
                self.is_body_unknown = true;
            }
            "--get" => self.is_get = true,
            "--head" => self.is_head = true,
            "--user" => self.user = Some(value()),
            "--aws-sigv4" => self.sigv4 = Some(value()),
            "--user-agent" => self.set("user-agent", &value()),
            "--referer" => self.set("referer", &value()),
            "--range" => {
                let value = value();
                self.set("range", &format!("bytes={value}"));
            }
            "--oauth2-bearer" => {
                let value = value();
                self.set("authorization", &format!("Bearer {value}"));
            }
            "--cookie" => {
                let value = value();
                // Without `=`, it names a file.
                if value.contains('=') {
                    self.set("cookie", &value);
                }
            }
            _ if WITH_VALUE.contains(&name) => {
                value();
            }
            _ => {
                let is_short_with_value = SHORT
                    .iter()
                    .any(|(letter, long)| *long == name && SHORT_WITH_VALUE.contains(*letter));
                if is_short_with_value && name != "--help" {
                    value();
                }
            }
        }
    }

    /// `name: value`; `name;` sends an empty header, `name:` removes one that curl would send.
    fn header(&mut self, text: &str) {
        if self.headers.len() + self.removed.len() >= MAX_HEADERS {
            return;
        }
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name.trim(), value.trim()),
            None => match text.strip_suffix(';') {
                Some(name) => return self.headers.push((name.trim().to_owned(), String::new())),
                None => return,
            },
        };
        if value.is_empty() {
            self.removed.push(name.to_ascii_lowercase());
        } else {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        if header(&self.headers, name).is_none() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    fn data_or_file(&mut self, value: &str) {
        if value.starts_with('@') {
            self.is_body_unknown = true;
            self.data.get_or_insert_default();
        } else {
            self.data(value);
        }
    }

    fn data(&mut self, value: &str) {
        let data = match &mut self.data {
            None => self.data.insert(Vec::new()),
            Some(data) => {
                data.push(b'&');
                data
            }
        };
        data.extend_from_slice(value.as_bytes());
    }

    fn urlencoded(&mut self, value: &str) {
        match encoded_pair(value) {
            Some(pair) => self.data(&pair),
            None => {
                self.is_body_unknown = true;
                self.data.get_or_insert_default();
            }
        }
    }

    fn request(self) -> Result<Request, InputError> {
        if self.sigv4.is_some() {
            return Err(InputError::SignedByCurl);
        }
        let request = self.with_variables()?;
        without_variables(&request)?;
        Ok(request)
    }

    /// Returns the request with the names of variables in place of their values.
    pub(super) fn request_as_shown(self) -> Result<Request, InputError> {
        let mut request = self.with_variables()?;
        let shown = |text: &str| text.replace(VARIABLE, "");
        request.target = shown(&request.target);
        for (_, value) in &mut request.headers {
            *value = shown(value);
        }
        let body = request.body.take();
        request.body = body.filter(|body| without_variable(&String::from_utf8_lossy(body)).is_ok());
        Ok(request)
    }

    fn with_variables(mut self) -> Result<Request, InputError> {
        let url = self.urls.first().ok_or(InputError::NoUrl)?;
        let mut url = if url.contains("://") {
            url.clone()
        } else {
            format!("http://{url}")
        };
        let data = self.data.take();
        let has_data = data.is_some() || self.is_body_unknown;
        if let Some(fragment) = url.find('#') {
            url.truncate(fragment);
        }
        let mut query = std::mem::take(&mut self.query);
        if self.is_get
            && let Some(data) = &data
        {
            query.push(String::from_utf8_lossy(data).into_owned());
        }
        let mut separator = if url.contains('?') { '&' } else { '?' };
        for part in query {
            url.push(separator);
            url.push_str(&part);
            separator = '&';
        }
        let method = match &self.method {
            Some(method) if !method.is_empty() => method.clone(),
            _ if self.is_head => "HEAD".to_owned(),
            _ if self.is_get => "GET".to_owned(),
            _ if self.is_upload => "PUT".to_owned(),
            _ if has_data => "POST".to_owned(),
            _ => "GET".to_owned(),
        };
        let has_body = has_data && !self.is_get;
        self.default_headers(has_body);
        let (target, host) = of_url(&url).ok_or(InputError::NoUrl)?;
        let mut request = Request {
            method,
            target,
            headers: self.headers,
            body: match (has_body, self.is_body_unknown) {
                (true, true) => None,
                (true, false) => Some(data.unwrap_or_default()),
                (false, _) => Some(Vec::new()),
            },
        };
        if header(&request.headers, "host").is_none() {
            request.headers.insert(0, ("host".to_owned(), host));
        }
        Ok(request)
    }

    /// Adds the headers that curl sends on its own.
    fn default_headers(&mut self, has_body: bool) {
        if self.is_json {
            self.set("content-type", "application/json");
            self.set("accept", "application/json");
        }
        if has_body && !self.has_form && !self.is_upload {
            self.set("content-type", "application/x-www-form-urlencoded");
        }
        self.set("accept", "*/*");
        if let Some(user) = self.user.take() {
            self.set("authorization", &format!("Basic {}", STANDARD.encode(user)));
        }
        let removed = std::mem::take(&mut self.removed);
        let is_removed = |name: &str| removed.iter().any(|known| known.eq_ignore_ascii_case(name));
        self.headers.retain(|(name, _)| !is_removed(name));
    }
}

/// Returns what `--data-urlencode` sends: of `text`, `=text`, `name=text`; `None` for a file.
fn encoded_pair(value: &str) -> Option<String> {
    match value.split_once('=') {
        Some(("", text)) => Some(encoded(text)),
        Some((name, text)) => Some(format!("{name}={}", encoded(text))),
        None if value.contains('@') => None,
        None => Some(encoded(value)),
    }
}

fn encoded(text: &str) -> String {
    encode(text.as_bytes(), Slash::Encode)
}

/// Rejects a request that depends on a variable: what was sent is not known.
fn without_variables(request: &Request) -> Result<(), InputError> {
    let headers = request
        .headers
        .iter()
        .flat_map(|(name, value)| [name, value]);
    let mut texts = headers.chain([&request.method, &request.target]);
    texts.try_for_each(|text| without_variable(text))?;
    let body = request.body.as_deref().unwrap_or_default();
    without_variable(&String::from_utf8_lossy(body))
}

fn without_variable(text: &str) -> Result<(), InputError> {
    match text.split(VARIABLE).nth(1) {
        Some(name) => Err(InputError::Variable(format!("${name}"))),
        None => Ok(()),
    }
}
