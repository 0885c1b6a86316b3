//! The cases that `tests/clients/diagnose_cases.py` prints. botocore computed what AWS expects.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::{Answer, Credentials, Evidence, Request};

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) cause: String,
    /// The verdict on the answer alone.
    pub(super) alone: String,
    status: u16,
    kind: Option<String>,
    answer: String,
    request: CaseRequest,
    canonical_request: String,
    string_to_sign: String,
    credentials: Option<CaseCredentials>,
}

#[derive(Deserialize)]
struct CaseRequest {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Deserialize)]
struct CaseCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Case {
    pub(super) fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("cases.json")).unwrap()
    }

    pub(super) fn answer_alone(&self) -> Evidence {
        let kind = self.kind.iter();
        let headers = kind.map(|kind| ("x-amzn-errortype".to_owned(), kind.clone()));
        Evidence {
            answer: Answer {
                status: Some(self.status),
                headers: headers.collect(),
                body: self.answer.clone(),
            },
            ..Evidence::default()
        }
    }

    pub(super) fn with_request(&self) -> Evidence {
        let request = &self.request;
        let headers = request.headers.iter();
        Evidence {
            request: Some(Request {
                method: request.method.clone(),
                target: request.target.clone(),
                headers: headers
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                body: Some(request.body.clone().into_bytes()),
            }),
            ..self.answer_alone()
        }
    }

    pub(super) fn everything(&self) -> Evidence {
        let credentials = self.credentials.as_ref().map(|known| Credentials {
            access_key_id: known.access_key_id.clone(),
            secret_access_key: known.secret_access_key.clone(),
            session_token: known.session_token.clone(),
        });
        Evidence {
            canonical_request: Some(self.canonical_request.clone()),
            string_to_sign: Some(self.string_to_sign.clone()),
            credentials,
            ..self.with_request()
        }
    }

    /// Returns the texts that no output may contain.
    pub(super) fn secrets(&self) -> Vec<String> {
        let known = self.credentials.iter();
        let mut secrets: Vec<String> = known
            .flat_map(|known| {
                let token = known.session_token.clone();
                [Some(known.secret_access_key.clone()), token]
            })
            .flatten()
            .collect();
        for (name, value) in &self.request.headers {
            if name == "authorization" {
                secrets.extend(value.split("Signature=").nth(1).map(str::to_owned));
            }
            if name == "x-amz-security-token" {
                secrets.push(value.clone());
            }
        }
        secrets.push("secret-token".to_owned());
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }
}
