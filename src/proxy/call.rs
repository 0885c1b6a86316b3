//! A request on an AppSync route, once the guard has admitted it.

use std::sync::Arc;

use http::HeaderMap;

use super::accept::Accept;
use super::client::Client;
use super::route::Route;
use crate::guard::{Admission, OperationPolicies};
use crate::operation::{self, AppSyncApi, NotAdmitted, admit};
use crate::session::{SessionClient, Sessions};
use crate::telemetry::RequestId;

/// A request of a client on an AppSync route.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) sessions: &'a Arc<Sessions>,
    pub(super) route: &'a Route,
    pub(super) api: &'a Arc<AppSyncApi>,
    pub(super) policies: &'a OperationPolicies,
    pub(super) client: &'a Client,
    pub(super) accept: Accept,
    pub(super) admission: &'a Admission,
    pub(super) request_id: &'a RequestId,
}

impl Call<'_> {
    /// Checks whether an operation of the client may run now.
    pub(super) fn admit(
        &self,
        request: operation::RequestedOperation<'_>,
    ) -> Result<(), NotAdmitted> {
        admit(&self.route.memory, self.policies, request)
    }

    /// Returns the client of a session that this request starts. `headers` are those of the request.
    pub(super) fn session_client(&self, mut headers: HeaderMap) -> SessionClient {
        self.route.headers.filter_session(&mut headers);
        SessionClient {
            api: Arc::clone(self.api),
            route: self.route.name.clone(),
            headers,
            policies: self.policies.clone(),
            permit: Arc::clone(&self.client.permit),
            connection: self.client.connection.clone(),
            share: self.client.share.clone(),
            admission: self.admission.clone(),
            address: self.client.peer,
            request_id: self.request_id.clone(),
        }
    }
}
