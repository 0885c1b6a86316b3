//! The emulated AppSync API: its host names, its checks, and the state that its connections share.

use std::sync::Arc;

use super::appsync_error::AppSyncError;
use super::context::Context;
use super::graphql::{self, GraphQl, Operation};
use super::host::{is_loopback_name, without_port};
use super::hub::Hub;
use super::protocol::HostKind;
use super::sigv4::{self, Headers, Received, Rules, Verified};

pub(super) struct AppSync {
    pub(super) context: Arc<Context>,
    pub(super) id: String,
    pub(super) api_host: String,
    pub(super) realtime_host: String,
    pub(super) hub: Arc<Hub>,
    pub(super) graphql: GraphQl,
}

// === impl AppSync ===

impl AppSync {
    pub(super) fn new(context: Arc<Context>) -> Self {
        // The first label of AppSync's host names has 26 letters and digits. It is not the API's id.
        let random_label = || -> String {
            std::iter::repeat_with(|| fastrand::char('a'..='z'))
                .take(26)
                .collect()
        };
        let (label, id) = (random_label(), random_label());
        let region = &context.options.region;
        let api_host = format!("{label}.appsync-api.{region}.amazonaws.com");
        let realtime_host = format!("{label}.appsync-realtime-api.{region}.amazonaws.com");
        let types = Arc::new(graphql::types());
        let hub = Arc::new(Hub::new(
            Arc::clone(&types),
            Arc::clone(&context.ledger),
            context.shutdown.clone(),
        ));
        let graphql = GraphQl::new(types, Arc::clone(&context), Arc::clone(&hub));
        Self {
            context,
            id,
            api_host,
            realtime_host,
            hub,
            graphql,
        }
    }

    /// Returns the kind of host name in a `Host` header, or `None` for a host that is not the API's.
    pub(super) fn host_kind(&self, host: &str) -> Option<HostKind> {
        let name = without_port(host)?;
        if name.eq_ignore_ascii_case(&self.api_host) {
            Some(HostKind::Api)
        } else if name.eq_ignore_ascii_case(&self.realtime_host) {
            Some(HostKind::Realtime)
        } else if is_loopback_name(name) {
            Some(HostKind::Custom)
        } else {
            None
        }
    }

    /// Verifies an HTTP request.
    pub(super) fn verify(&self, received: &Received<'_>) -> Result<Verified, AppSyncError> {
        let settings = self.context.switches.settings();
        let verified = sigv4::verify(
            received,
            &Rules {
                region: &self.context.options.region,
                keys: &settings.accepted_keys(&self.context.options.keys),
                keys_expired: settings.expire_keys,
                now: self.context.clock.now(),
            },
        );
        verified.map_err(|error| {
            if settings.revoked_as_expired && error == AppSyncError::UnrecognizedClient {
                AppSyncError::ExpiredToken
            } else {
                error
            }
        })
    }

    /// Verifies a realtime connect or message. Its signature covers a `POST` that is never sent.
    ///
    /// If the client signed the realtime host, the error shows the canonical string with the API's
    /// host, which the client should have signed.
    pub(super) fn verify_realtime(
        &self,
        path: &str,
        headers: &Headers,
        body: &[u8],
    ) -> Result<Verified, AppSyncError> {
        let mut headers = headers.clone();
        let host_kind = headers.joined("host").map(|host| self.host_kind(&host));
        if host_kind == Some(Some(HostKind::Realtime)) {
            headers.set("host", &self.api_host);
        }
        let verified = self.verify(&Received {
            method: "POST",
            path,
            query: "",
            headers: &headers,
            body,
        });
        match host_kind {
            Some(None) => Err(AppSyncError::NotFound),
            Some(Some(HostKind::Realtime)) => verified.and(Err(AppSyncError::NotFound)),
            Some(Some(HostKind::Api | HostKind::Custom)) | None => verified,
        }
    }

    /// Checks an action on one of AppSync's resources against the policy of the `policy` switch.
    /// `resource` is the part of the ARN after that of the API.
    pub(super) fn check_policy(&self, action: &str, resource: &str) -> Result<(), AppSyncError> {
        let resource = format!("apis/{}{resource}", self.id);
        match self.context.allows("appsync", action, &resource) {
            Ok(()) => Ok(()),
            Err(_) => Err(AppSyncError::PermissionDenied),
        }
    }

    /// Checks all root fields of an operation. A document that does not parse has no root fields.
    pub(super) fn check_field_policies(&self, operation: &Operation) -> Result<(), AppSyncError> {
        if self.context.switches.settings().policy.is_empty() {
            return Ok(());
        }
        for (root, field) in operation.root_fields() {
            self.check_policy("appsync:GraphQL", &format!("/types/{root}/fields/{field}"))?;
        }
        Ok(())
    }
}
