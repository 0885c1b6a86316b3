//! Why there are no valid credentials.

/// There are no valid credentials. The message has the command that helps, and then what was tried.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no valid AWS credentials. {}", self.explanation())]
pub struct CredentialsError {
    pub tried: String,
    pub remedy: String,
}

impl CredentialsError {
    /// Returns what to do, and what was tried.
    pub fn explanation(&self) -> String {
        format!("{} Tried: {}", self.remedy, self.tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_comes_before_what_was_tried() {
        let error = CredentialsError {
            tried: "environment: not configured".to_owned(),
            remedy: "Run `aws configure`.".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "no valid AWS credentials. Run `aws configure`. Tried: environment: not configured"
        );
    }
}
