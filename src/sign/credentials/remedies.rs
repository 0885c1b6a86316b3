//! Commands and names that help a user who has no valid credentials.

use std::fs;

/// Quotes a name for a shell, if necessary.
pub(super) fn shell_word(name: &str) -> String {
    shlex::try_quote(name).map_or_else(|_| format!("{name:?}"), |word| word.into_owned())
}

/// Returns the text with a capital letter at its start.
pub(super) fn sentence(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Returns the name of `others` that is most like `name`.
pub(super) fn near(name: &str, others: impl Iterator<Item = String>) -> Option<String> {
    let lower = name.to_lowercase();
    let distances = others.filter(|other| other != name).map(|other| {
        let distance = strsim::damerau_levenshtein(&lower, &other.to_lowercase());
        (distance, other)
    });
    let near = distances.filter(|(distance, other)| *distance <= other.len().div_ceil(3));
    near.min().map(|(_, other)| other)
}

/// Returns how to use a profile that has a session of `aws login`.
pub(super) fn login_remedy(profile: &str) -> String {
    let process = format!(
        "aws configure export-credentials --profile {} --format process",
        shell_word(profile)
    );
    let other = shell_word(&format!("{profile}-countersign"));
    format!(
        "Make a profile that asks the AWS CLI for it: aws configure set credential_process {} --profile \
         {other}. Then use --profile {other}.",
        shell_word(&process)
    )
}

/// Returns whether this machine is an instance of EC2, according to its firmware.
pub(super) fn is_ec2() -> bool {
    const NAMES: [&str; 2] = [
        "/sys/class/dmi/id/sys_vendor",
        "/sys/class/dmi/id/board_vendor",
    ];
    NAMES.iter().any(|path| {
        let vendor = fs::read_to_string(path).unwrap_or_default();
        vendor.starts_with("Amazon EC2")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_of_profiles_are_found() {
        let check = |name: &str, expected: Option<&str>| {
            let others = ["default", "dev", "production", "y"].map(str::to_owned);
            assert_eq!(
                near(name, others.into_iter()).as_deref(),
                expected,
                "{name}"
            );
        };
        check("Dev", Some("dev"));
        check("dve", Some("dev"));
        check("prodution", Some("production"));
        check("staging", None);
        check("ghost", None);
    }

    #[test]
    fn commands_can_be_pasted() {
        let check = |profile: &str, expected: &str| {
            let remedy = login_remedy(profile);
            assert!(remedy.contains(expected), "{remedy}");
        };
        check(
            "dev",
            "aws configure set credential_process 'aws configure export-credentials --profile dev --format process' --profile dev-countersign. Then use --profile dev-countersign.",
        );
        check("my dev", "--profile 'my dev-countersign'");
        assert_eq!(sentence("run it"), "Run it");
        assert_eq!(sentence("\u{e9}"), "\u{e9}");
    }
}
