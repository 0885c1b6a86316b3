//! ARNs, actions and names, in the forms that AWS documents.

/// The longest ARN that AWS documents.
pub(super) const MAX_ARN: usize = 2048;
/// The longest action that AWS documents.
const MAX_ACTION: usize = 128;

/// An ARN, `arn:partition:service:region:account:resource`.
pub(super) struct Arn<'a> {
    pub(super) partition: &'a str,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
    pub(super) resource: &'a str,
}

impl<'a> Arn<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else {
            return None;
        };
        Some(Self {
            partition,
            service,
            region,
            account,
            resource,
        })
    }

    /// Returns the account. API Gateway masks its first digits, which the ARN of the identity completes.
    pub(super) fn account(&self, identity: Option<&'a str>) -> Option<&'a str> {
        let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        if is_account(self.account) {
            return Some(self.account);
        }
        let digits = self.account.trim_start_matches('*');
        let identity = Arn::parse(identity?)?.account;
        let is_same = !digits.is_empty() && identity.ends_with(digits);
        (is_account(identity) && is_same).then_some(identity)
    }

    /// Returns the ID of an API of AppSync.
    pub(super) fn api(&self) -> Option<&'a str> {
        let id = self.resource.strip_prefix("apis/")?.split('/').next()?;
        let is_id_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (!id.is_empty() && id.bytes().all(is_id_byte)).then_some(id)
    }

    pub(super) fn with_account(&self, account: &str) -> String {
        let Self {
            partition,
            service,
            region,
            resource,
            ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// Returns the part of an ARN that names the resource in its account, and of an API of AppSync, the part of
/// the API.
pub(super) fn within_account(resource: &str) -> &str {
    let Some(arn) = Arn::parse(resource) else {
        return resource;
    };
    let within_api = arn.resource.strip_prefix("apis/");
    let within_api = within_api.and_then(|rest| rest.split_once('/'));
    match within_api {
        Some((_, rest)) if arn.service == "appsync" => rest,
        Some(_) | None if arn.resource.is_empty() => resource,
        Some(_) | None => arn.resource,
    }
}

/// Returns the first word, without the punctuation and the quotes of the text around it.
pub(super) fn word(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_graphic() && !"\"'`\\<>{}|".contains(c);
    let text = text.trim_start_matches(' ');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let word = text.get(..end)?.trim_end_matches(['.', ',', ';', ')']);
    (!word.is_empty()).then_some(word)
}

pub(super) fn is_arn(text: &str) -> bool {
    text.len() <= MAX_ARN && Arn::parse(text).is_some() && word(text) == Some(text)
}

pub(super) fn is_action(text: &str) -> bool {
    let is_service = |text: &str| !text.is_empty() && text.bytes().all(is_label_byte);
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let parts = text.split_once(':');
    text.len() <= MAX_ACTION && parts.is_some_and(|(one, two)| is_service(one) && is_name(two))
}

/// Returns whether a text is the name of a type or a field of GraphQL.
pub(super) fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_ACTION).contains(&text.len()) && text.bytes().all(is_part)
}

pub(super) fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-')
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// Returns whether a text has the form of the name of a region or a service. Only such a text of AWS is
/// put into commands and code.
pub fn is_label(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(is_label_byte)
}
