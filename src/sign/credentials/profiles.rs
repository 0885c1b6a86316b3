//! Reads and checks the profile files and the selected profile.
//!
//! aws-config treats an unreadable file as empty, and a profile that does not exist as not selected. It
//! then continues with other providers. This module therefore reads and checks the files, and passes
//! their contents to aws-config. It rejects a file from which SDKs would select different credentials.

use std::collections::BTreeSet;

use aws_config::profile::{self, Profile, ProfileSet};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};

use super::error::CredentialsError;
use super::keys;
use super::locations::{self, ProfileFile};
use super::outline::Outline;
use super::process::CredentialProcess;

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
    config: ProfileFile,
    credentials: ProfileFile,
    set: ProfileSet,
}

/// The name of the setting that selects a profile.
pub(super) const SETTING: &str = "profile";
/// The keys of a profile that configure credentials.
const SOURCES: [&str; 9] = [
    ID,
    SECRET,
    TOKEN,
    PROCESS,
    "credential_source",
    "login_session",
    "role_arn",
    "sso_account_id",
    "sso_role_name",
];
const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";
const PROCESS: &str = "credential_process";
const WEB_IDENTITY: &str = "web_identity_token_file";
/// The keys that take precedence over `credential_process`.
const BEFORE_PROCESS: [&str; 7] = [
    "credential_source",
    "login_session",
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
        let config = locations::read(&locations::CONFIG)?;
        let credentials = locations::read(&locations::CREDENTIALS)?;
        for (file, is_config) in [(&config, true), (&credentials, false)] {
            if let Some(flaw) = Outline::new(&file.text, is_config).flaw() {
                return Err(file.error(&flaw));
            }
        }
        let set = parse(&config.text, &credentials.text, &selected).await;
        let set = match set {
            Ok(set) => set,
            // The files are parsed together. The config file is parsed alone to find out which file has
            // the error.
            Err(flaw) => match parse(&config.text, "", &selected).await {
                Ok(_) => return Err(credentials.error(&flaw)),
                Err(_) => return Err(config.error(&flaw)),
            },
        };
        Ok(Self {
            selected,
            config,
            credentials,
            set,
        })
    }

    /// Returns the files for aws-config, with each `credential_process` replaced by a
    /// `credential_source` that names one of the returned processes.
    pub(super) fn with_processes_replaced(
        &self,
    ) -> (EnvConfigFiles, Vec<(String, CredentialProcess)>) {
        let mut credentials = self.credentials.text.clone();
        let mut processes = Vec::new();
        let mut names: Vec<&str> = self.set.profiles().collect();
        names.sort_unstable();
        for profile in names.iter().filter_map(|name| self.set.get_profile(name)) {
            let Some(command) = profile.get(PROCESS).filter(|_| uses_process(profile)) else {
                continue;
            };
            let source = format!("countersign-process-{}", processes.len());
            let name = profile.name();
            credentials.push_str(&match profile.get("role_arn") {
                None => format!("\n[{name}]\ncredential_source = {source}\n"),
                // The profile is the source of its own role. It cannot have both `source_profile` and
                // `credential_source`, so a second profile gets the process.
                Some(_) => format!(
                    "\n[{name}]\nsource_profile = {source}\n[{source}]\ncredential_source = {source}\n"
                ),
            });
            processes.push((source, CredentialProcess::new(command)));
        }
        (files(&self.config.text, &credentials), processes)
    }

    /// Checks that the selected profile exists, if it was named explicitly.
    ///
    /// # Errors
    /// When it does not exist.
    pub(super) fn check_name(&self) -> Result<(), CredentialsError> {
        let SelectedProfile { name, named_by } = &self.selected;
        match (self.set.get_profile(name), named_by) {
            (None, Some(by)) => Err(self.unusable(by, "does not exist")),
            (Some(_), _) | (_, None) => Ok(()),
        }
    }

    /// Returns whether the selected profile configures credentials.
    ///
    /// # Errors
    /// When the profile was named explicitly and has no credentials, or when its credentials are ambiguous
    /// or cannot be used.
    pub(super) fn provides_credentials(&self) -> Result<bool, CredentialsError> {
        self.check_name()?;
        let SelectedProfile { name, named_by } = &self.selected;
        let has_credentials = |profile: &Profile| {
            let mut sources = SOURCES.iter().chain([&WEB_IDENTITY]);
            sources.any(|source| profile.get(source).is_some())
        };
        match (self.set.get_profile(name), named_by) {
            (Some(profile), _) if has_credentials(profile) => {}
            (_, None) => return Ok(false),
            (_, Some(by)) => return Err(self.unusable(by, "has no credentials")),
        }
        self.check_chain()?;
        Ok(true)
    }

    fn unusable(&self, by: &str, flaw: &str) -> CredentialsError {
        let name = &self.selected.name;
        let (config, credentials) = (self.config.quoted_path(), self.credentials.quoted_path());
        let configure = format!("Run `aws configure --profile {name}`");
        CredentialsError {
            tried: format!("profile {name:?} ({by}) {flaw} in {config} and {credentials}"),
            remedy: match by {
                SETTING => format!("{configure}."),
                _ => format!("{configure}, or correct {by}."),
            },
        }
    }

    /// Checks the selected profile, and the source profiles from which it assumes its role.
    fn check_chain(&self) -> Result<(), CredentialsError> {
        let mut visited = BTreeSet::new();
        let mut next = Some(self.selected.name.as_str());
        while let Some(profile) = next.and_then(|name| self.set.get_profile(name)) {
            let is_first = visited.is_empty();
            if !visited.insert(profile.name()) {
                break;
            }
            self.check_profile(profile)?;
            let has_keys = profile.get(ID).is_some();
            let assumes_role =
                profile.get("role_arn").is_some() && profile.get(WEB_IDENTITY).is_none();
            next = if assumes_role && (is_first || !has_keys) {
                profile.get("source_profile")
            } else {
                None
            };
        }
        Ok(())
    }

    fn check_profile(&self, profile: &Profile) -> Result<(), CredentialsError> {
        let name = profile.name();
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
        let config = Outline::new(&self.config.text, true);
        let credentials = Outline::new(&self.credentials.text, false);
        let of = |outline: &Outline| outline.keys(name);
        let (config, credentials) = (of(&config), of(&credentials));
        let has = |keys: &BTreeSet<String>, key: &str| keys.contains(key);
        for (keys, file) in [(&config, &self.config), (&credentials, &self.credentials)] {
            let (id, secret) = (has(keys, ID), has(keys, SECRET));
            let file = file.quoted_path();
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
                self.credentials.quoted_path(),
                self.config.quoted_path()
            );
            return Err(error(both, "Remove the keys from one of the files."));
        }
        let is_base = profile.get("role_arn").is_none();
        if is_base && profile.get("credential_source").is_some() {
            let flaw = "has credential_source without role_arn".to_owned();
            return Err(error(flaw, "Set role_arn, or remove credential_source."));
        }
        if uses_process(profile) && profile.get(ID).is_some() {
            let flaw = format!("has both {ID} and {PROCESS}, and SDKs differ in which they use");
            return Err(error(flaw, "Remove one of them."));
        }
        Ok(())
    }
}

/// Returns whether the profile uses the credentials of its own `credential_process`.
fn uses_process(profile: &Profile) -> bool {
    let is_set = |name: &&str| profile.get(name).is_some();
    let is_base = match (profile.get("role_arn"), profile.get("source_profile")) {
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
    let name = selected.name.clone().into();
    let set = profile::load(&Fs::real(), &Env::real(), &files, Some(name)).await;
    set.map_err(|error| {
        let text = crate::telemetry::error_chain(&error);
        // aws-config does not know the name of the file, so only the line number is kept.
        let from_line = text.split_once(" on line ");
        let text = from_line.map_or(text.clone(), |(_, rest)| format!("line {rest}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}
