//! Reads and checks the profile files and the selected profile.
//!
//! aws-config treats an unreadable file as empty, and a profile that does not exist as not selected. It
//! then continues with other providers. This module therefore reads and checks the files, and passes
//! their contents to aws-config. It rejects a file from which SDKs would select different credentials.

use std::collections::BTreeSet;

use aws_config::profile::{self, Profile, ProfileSet};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_runtime::env_config::property::PropertiesKey;
use aws_types::os_shim_internal::{Env, Fs};

use super::error::CredentialsError;
use super::keys;
use super::locations::{self, ProfileFile};
use super::outline::{Outline, decode, encode};
use super::process::CredentialProcess;
use super::remedies::{login_remedy, near, sentence, shell_word};
use super::roles::{Base, ROLE, WEB_IDENTITY, base, role};
use super::sts::Role;

/// The selected profile, and what selected it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelectedProfile {
    pub(super) name: String,
    /// The variable or setting that names the profile; `None` for the default profile.
    pub(super) named_by: Option<&'static str>,
}

/// The contents of the profile files, and their parsed profiles.
#[derive(Debug)]
pub(super) struct Profiles {
    selected: SelectedProfile,
    config: ReadFile,
    credentials: ReadFile,
    set: ProfileSet,
}

/// A profile file, and its structure.
#[derive(Debug)]
struct ReadFile {
    file: ProfileFile,
    outline: Outline,
}

/// The name of the setting that selects a profile.
pub(super) const SETTING: &str = "--profile";
/// The keys of a profile that configure credentials.
const SOURCES: [&str; 9] = [
    ID,
    SECRET,
    TOKEN,
    PROCESS,
    CREDENTIAL_SOURCE,
    LOGIN,
    ROLE,
    "sso_account_id",
    "sso_role_name",
];
const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";
const PROCESS: &str = "credential_process";
const LOGIN: &str = "login_session";
const SOURCE: &str = "source_profile";
const CREDENTIAL_SOURCE: &str = "credential_source";
const SSO: [&str; 5] = [
    "sso_account_id",
    "sso_region",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
];
/// The keys that take precedence over `credential_process`.
const BEFORE_PROCESS: [&str; 7] = [
    CREDENTIAL_SOURCE,
    LOGIN,
    "sso_account_id",
    "sso_region",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
];

impl Profiles {
    /// Reads the files for the `selected` profile.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or is ambiguous.
    pub(super) async fn read(selected: SelectedProfile) -> Result<Self, CredentialsError> {
        let config = ReadFile::new(locations::read(&locations::CONFIG)?, true)?;
        let credentials = ReadFile::new(locations::read(&locations::CREDENTIALS)?, false)?;
        let (config_text, credentials_text) =
            (config.outline.text(&[]), credentials.outline.text(&[]));
        let set = parse(&config_text, &credentials_text, &selected).await;
        let set = match set {
            Ok(set) => set,
            // The files are parsed together. The config file is parsed alone to find out which file has
            // the error.
            Err(flaw) => match parse(&config_text, "", &selected).await {
                Ok(_) => return Err(credentials.file.error(&flaw)),
                Err(_) => return Err(config.file.error(&flaw)),
            },
        };
        Ok(Self {
            selected,
            config,
            credentials,
            set,
        })
    }

    /// Returns the files for aws-config, without roles, and with each `credential_process` replaced by
    /// a `credential_source` that names one of the returned processes.
    pub(super) fn base_files(&self) -> (EnvConfigFiles, Vec<(String, CredentialProcess)>) {
        let without_roles = |file: &ReadFile| file.outline.text(&[ROLE, SOURCE]);
        let mut credentials = without_roles(&self.credentials);
        let mut processes = Vec::new();
        let mut names: Vec<&str> = self.set.profiles().collect();
        names.sort_unstable();
        for profile in names.iter().filter_map(|name| self.set.get_profile(name)) {
            let Some(command) = profile.get(PROCESS).filter(|_| uses_process(profile)) else {
                continue;
            };
            let source = format!("countersign-process-{}", processes.len());
            let name = profile.name();
            credentials.push_str(&format!("\n[{name}]\n{CREDENTIAL_SOURCE} = {source}\n"));
            processes.push((source, CredentialProcess::new(command)));
        }
        (files(&without_roles(&self.config), &credentials), processes)
    }

    /// Returns whether the credentials of a profile come from SSO. `name` is as aws-config knows it.
    pub(super) fn uses_sso(&self, name: &str) -> bool {
        let profile = self.set.get_profile(name);
        profile.is_some_and(|profile| SSO.iter().any(|key| profile.get(key).is_some()))
    }

    /// Returns a setting of the selected profile that is not empty.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        let profile = self.set.get_profile(&encode(&self.selected.name))?;
        profile.get(key).filter(|value| !value.is_empty())
    }

    /// Returns the URL in the `services` section of the selected profile.
    pub(super) fn service_url(&self, service: &str) -> Option<&str> {
        let key = PropertiesKey::builder()
            .section_key("services")
            .section_name(self.setting("services")?)
            .property_name(service)
            .sub_property_name("endpoint_url")
            .build()
            .ok()?;
        let url = self.set.other_sections().get(&key)?;
        Some(url.as_str()).filter(|url| !url.is_empty())
    }

    /// Checks that the selected profile exists, if it was named explicitly.
    ///
    /// # Errors
    /// When it does not exist.
    pub(super) fn check_name(&self) -> Result<(), CredentialsError> {
        let SelectedProfile { name, named_by } = &self.selected;
        match (self.set.get_profile(&encode(name)), named_by) {
            (None, Some(by)) => Err(self.unusable(by, "does not exist")),
            (Some(_), _) | (_, None) => Ok(()),
        }
    }

    /// Returns where the credentials of the selected profile come from, and the roles to assume with
    /// them, in order; `None` if it configures no credentials.
    ///
    /// # Errors
    /// When the profile was named explicitly and has no credentials, or when its credentials are ambiguous
    /// or cannot be used.
    pub(super) fn source(&self) -> Result<Option<(Base, Vec<Role>)>, CredentialsError> {
        self.check_name()?;
        let SelectedProfile { name, named_by } = &self.selected;
        let has_credentials = |profile: &Profile| {
            let mut sources = SOURCES.iter().chain([&WEB_IDENTITY]);
            sources.any(|source| profile.get(source).is_some())
        };
        match (self.set.get_profile(&encode(name)), named_by) {
            (Some(profile), _) if has_credentials(profile) => {}
            (_, None) => return Ok(None),
            (_, Some(by)) => return Err(self.unusable(by, "has no credentials")),
        }
        self.chain().map(Some)
    }

    fn unusable(&self, by: &str, flaw: &str) -> CredentialsError {
        let name = &self.selected.name;
        let [config, credentials] =
            [&self.config, &self.credentials].map(|read| read.file.quoted_path());
        for read in [&self.config, &self.credentials] {
            if let Some(misnamed) = read.outline.misnamed(name) {
                return CredentialsError {
                    tried: format!(
                        "profile {name:?} ({by}) {flaw} in {config} and {credentials}; {} {misnamed}",
                        read.file.quoted_path()
                    ),
                    remedy: "Correct the name of the section.".to_owned(),
                };
            }
        }
        let configure = format!("run `aws configure --profile {}`", shell_word(name));
        let near = near(name, self.set.profiles().map(decode));
        let start = near.map_or(String::new(), |near| {
            format!("Did you mean profile {near:?}? Or ")
        });
        let remedy = match by {
            SETTING => format!("{start}{configure}."),
            _ => format!("{start}{configure}, or correct {by}."),
        };
        CredentialsError {
            tried: format!("profile {name:?} ({by}) {flaw} in {config} and {credentials}"),
            remedy: sentence(&remedy),
        }
    }

    /// Follows the roles from the selected profile to the credentials that they are assumed with, and
    /// checks every profile on the way.
    fn chain(&self) -> Result<(Base, Vec<Role>), CredentialsError> {
        let error = |name: &str, flaw: String, remedy: &str| CredentialsError {
            tried: format!("profile {:?} {flaw}", decode(name)),
            remedy: remedy.to_owned(),
        };
        let mut roles = Vec::new();
        let mut visited: Vec<&str> = Vec::new();
        let selected = encode(&self.selected.name);
        let mut next = selected.as_str();
        let base = loop {
            let Some(profile) = self.set.get_profile(next) else {
                let by = visited.last().copied().unwrap_or(next);
                let missing = decode(next);
                let flaw = format!("has {SOURCE} {missing:?}, which does not exist");
                let near = near(&missing, self.set.profiles().map(decode));
                let remedy = match near {
                    Some(near) => format!("Did you mean {SOURCE} = {near}? Or add the profile."),
                    None => "Correct the name, or add the profile.".to_owned(),
                };
                return Err(error(by, flaw, &remedy));
            };
            let name = profile.name();
            if visited.contains(&name) {
                let flaw = format!("is its own {SOURCE}, in a loop");
                return Err(error(
                    name,
                    flaw,
                    "Let the last one have credentials of its own.",
                ));
            }
            let is_first = visited.is_empty();
            visited.push(name);
            self.check_profile(profile)?;
            if profile.get(WEB_IDENTITY).is_some() {
                break base(profile);
            }
            let has_keys = profile.get(ID).is_some() && profile.get(SECRET).is_some();
            if !is_first && has_keys {
                break base(profile);
            }
            let Some(role) = role(profile)? else {
                break base(profile);
            };
            roles.push(role);
            match (profile.get(SOURCE), profile.get(CREDENTIAL_SOURCE)) {
                (Some(_), Some(_)) => {
                    let flaw = format!("has both {SOURCE} and {CREDENTIAL_SOURCE}");
                    return Err(error(name, flaw, "Remove one of them."));
                }
                (None, None) => {
                    let flaw = format!("has {ROLE} without {SOURCE} or {CREDENTIAL_SOURCE}");
                    return Err(error(name, flaw, "Set one of them."));
                }
                (Some(source), None) if source != name => next = source,
                (Some(_), None) | (None, Some(_)) => break base(profile),
            }
        };
        if let Base::Profile(name) = &base
            && let Some(profile) = self.set.get_profile(name)
            && !SOURCES
                .iter()
                .any(|key| *key != ROLE && profile.get(key).is_some())
        {
            let flaw = "has no credentials".to_owned();
            return Err(error(
                name,
                flaw,
                "Add some, or name another source_profile.",
            ));
        }
        roles.reverse();
        Ok((base, roles))
    }

    fn check_profile(&self, profile: &Profile) -> Result<(), CredentialsError> {
        let encoded = profile.name();
        let name = decode(encoded);
        let error = |flaw: String, remedy: &str| CredentialsError {
            tried: format!("profile {name:?} {flaw}"),
            remedy: remedy.to_owned(),
        };
        for (key, shown) in [
            (ID, "access key id"),
            (SECRET, "secret access key"),
            (TOKEN, "session token"),
        ] {
            let value = profile.get(key);
            let value = value.filter(|value| key != TOKEN || !value.is_empty());
            if let Some(flaw) = value.and_then(keys::flaw) {
                let tried = format!("the {shown} from profile {name:?} {flaw}");
                let remedy = keys::REMEDY.to_owned();
                return Err(CredentialsError { tried, remedy });
            }
        }
        let [config, credentials] =
            [&self.config, &self.credentials].map(|read| read.outline.keys(encoded));
        let has = |keys: &BTreeSet<String>, key: &str| keys.contains(key);
        for (keys, read) in [(&config, &self.config), (&credentials, &self.credentials)] {
            let (id, secret) = (has(keys, ID), has(keys, SECRET));
            let file = read.file.quoted_path();
            if read.outline.has_two_tokens(encoded) {
                let flaw =
                    format!("has two session tokens in {file}, and SDKs differ in which they use");
                return Err(error(flaw, "Remove aws_security_token."));
            }
            let missing = match (id, secret, has(keys, TOKEN)) {
                (true, true, _) | (false, false, false) => continue,
                (true, false, _) => format!("has {ID} without {SECRET} in {file}"),
                (false, true, _) => format!("has {SECRET} without {ID} in {file}"),
                (false, false, true) => format!("has {TOKEN} without {ID} in {file}"),
            };
            let remedy = "Set aws_access_key_id and aws_secret_access_key together, in one file.";
            return Err(error(missing, remedy));
        }
        if has(&config, TOKEN) && has(&credentials, ID) && !has(&credentials, TOKEN) {
            let both = format!(
                "has keys in {} and an {TOKEN} in {}",
                self.credentials.file.quoted_path(),
                self.config.file.quoted_path()
            );
            return Err(error(both, "Remove the keys from one of the files."));
        }
        let has_keys = profile.get(ID).is_some();
        if profile.get(LOGIN).is_some() && !has_keys {
            let flaw = "has a session of `aws login`, which countersign cannot read".to_owned();
            return Err(error(flaw, &login_remedy(&name)));
        }
        let is_base = profile.get(ROLE).is_none();
        if is_base && profile.get(CREDENTIAL_SOURCE).is_some() {
            let flaw = "has credential_source without role_arn".to_owned();
            return Err(error(flaw, "Set role_arn, or remove credential_source."));
        }
        if uses_process(profile) && profile.get(ID).is_some() {
            let flaw = format!("has both {ID} and {PROCESS}, and SDKs differ in which they use");
            return Err(error(flaw, "Remove one of them."));
        }
        if profile.get(WEB_IDENTITY).is_some() && is_base {
            let flaw = format!("has {WEB_IDENTITY} without {ROLE}");
            return Err(error(
                flaw,
                "Set role_arn, or remove web_identity_token_file.",
            ));
        }
        let session = profile.get("sso_session").filter(|name| name.contains('%'));
        if let Some(session) = session {
            // The name of the file with the token depends on it.
            let flaw = format!(
                "has sso_session {:?}, and only letters, digits and _-/.@:+ are supported in such a name",
                decode(session)
            );
            return Err(error(flaw, "Rename the [sso-session] section."));
        }
        Ok(())
    }
}

impl ReadFile {
    fn new(file: ProfileFile, is_config: bool) -> Result<Self, CredentialsError> {
        let outline = Outline::new(&file.text, is_config);
        match outline.flaw() {
            Some(flaw) => Err(file.error(&flaw)),
            None => Ok(Self { file, outline }),
        }
    }
}

/// Returns whether the profile uses the credentials of its own `credential_process`.
fn uses_process(profile: &Profile) -> bool {
    let is_set = |name: &&str| profile.get(name).is_some();
    let is_base = match (profile.get(ROLE), profile.get(SOURCE)) {
        (None, _) => true,
        (Some(_), source) => source == Some(profile.name()),
    };
    is_base && is_set(&PROCESS) && !is_set(&WEB_IDENTITY) && !BEFORE_PROCESS.iter().any(is_set)
}

fn files(config: &str, credentials: &str) -> EnvConfigFiles {
    EnvConfigFiles::builder()
        .with_contents(EnvConfigFileKind::Config, config)
        .with_contents(EnvConfigFileKind::Credentials, credentials)
        .build()
}

async fn parse(
    config: &str,
    credentials: &str,
    selected: &SelectedProfile,
) -> Result<ProfileSet, String> {
    let files = files(config, credentials);
    let name = encode(&selected.name).into();
    let set = profile::load(&Fs::real(), &Env::real(), &files, Some(name)).await;
    set.map_err(|error| {
        let text = crate::telemetry::error_chain(&error);
        // aws-config does not know the name of the file, so only the line number is kept.
        let from_line = text.split_once(" on line ");
        let text = from_line.map_or(text.clone(), |(_, rest)| format!("line {rest}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}
