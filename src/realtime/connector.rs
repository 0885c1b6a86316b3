//! Opens WebSockets to the realtime endpoint, and signs `connect` requests and `start` messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::GraphqlError;
use countersign_protocol::realtime::placement::{ConnectionEnd, Refusal};
use countersign_protocol::realtime::wire::{self, Protocol};
use countersign_protocol::realtime::{Failure, Start};
use serde_json::Value;
use tracing::warn;

use crate::sign::{SignError, Signable, SignedHeaders};
use crate::telemetry::error_chain;
use crate::telemetry::tasks::{Task, caught};
use crate::upstream::{
    Dialer, Endpoint, Error, Explanation, Handshake, RealtimeEndpoint, RealtimeRequest, Rejection,
    Renewals, Socket, Upstream, UpstreamKind, server_time,
};

/// The realtime endpoint of one route, and the signer for it.
#[derive(Debug)]
pub(super) struct RealtimeConnector {
    pub(super) protocol: Protocol,
    pub(super) upstream: Arc<Upstream>,
    pub(super) dialer: Dialer,
    /// The time limit for the WebSocket handshake.
    pub(super) handshake: Duration,
}

/// The maximum size of a message from AppSync, in bytes. AppSync's payloads are at most 240 KB.
const MAX_MESSAGE: usize = 1 << 20;

impl RealtimeConnector {
    /// Returns the connector to the realtime endpoint of `upstream`, which `dialer` dials.
    pub(super) fn new(upstream: Arc<Upstream>, dialer: Dialer, handshake: Duration) -> Self {
        let protocol = match upstream.endpoint().kind {
            UpstreamKind::Events => Protocol::Events,
            UpstreamKind::Graphql | UpstreamKind::Http => Protocol::Graphql,
        };
        Self {
            protocol,
            upstream,
            dialer,
            handshake,
        }
    }

    /// Opens a WebSocket to the realtime endpoint. The caller sends `connection_init`.
    ///
    /// # Errors
    /// [`ConnectionEnd::Refused`] if the `connect` request cannot be signed,
    /// [`ConnectionEnd::Unreachable`] if the WebSocket cannot be opened.
    pub(super) async fn open(&self) -> Result<Socket, ConnectionEnd> {
        let endpoint = self.upstream.endpoint();
        let Some(realtime) = &endpoint.realtime else {
            let error = GraphqlError::new("this route has no realtime endpoint");
            return Err(ConnectionEnd::Refused(Refusal::Permanent, vec![error]));
        };
        let authorization = self.authorize_connect(endpoint).await;
        let authorization = authorization.map_err(|error| {
            let refusal = if error.code() == Code::CredentialsUnavailable {
                Refusal::Transient
            } else {
                Refusal::Permanent
            };
            let error = GraphqlError::coded(error.to_string(), error.code(), Sent::No);
            ConnectionEnd::Refused(refusal, vec![error])
        })?;
        let opened = self.open_socket(realtime, &authorization).await;
        opened.map_err(|error| {
            warn!(
                exception.message = error_chain(&error),
                "cannot open a realtime connection"
            );
            let code = error.code();
            let message = match error.remedy() {
                Some(remedy) => format!("{error}. {remedy}"),
                None => error.to_string(),
            };
            ConnectionEnd::Unreachable(GraphqlError::coded(message, code, Sent::No))
        })
    }

    /// Renews what AppSync's rejection of a signature suggests, which was made at `signed_at`. Returns
    /// whether a new signature may be accepted.
    ///
    /// # Errors
    /// When AppSync's clock differs too much from the local one.
    pub(super) async fn renew(
        &self,
        failures: &[Failure],
        signed_at: Instant,
    ) -> Result<bool, GraphqlError> {
        let rejection = failures.iter().find_map(|failure| {
            Some(Rejection {
                code: failure.rejection()?,
                server_time: server_time(failure.message()),
                date: None,
                is_certain: true,
                is_marked: true,
            })
        });
        let Some(rejection) = rejection else {
            return Ok(false);
        };
        let mut renewals = Renewals::default();
        let renewed = self
            .upstream
            .renew(rejection, signed_at, &mut renewals)
            .await;
        renewed.map_err(|error| {
            let remedy = error.remedy().unwrap_or_default();
            GraphqlError::coded(format!("{error}. {remedy}"), error.code(), error.sent())
        })
    }

    /// Adds to an error of AppSync why it rejected the signature or the caller. `start` is the data of the
    /// `start` that it belongs to; without it, the error belongs to the `connect`.
    pub(super) fn explained(&self, error: GraphqlError, start: Option<&str>) -> GraphqlError {
        match self.explanation(&error, start) {
            Some(explanation) => {
                error.explained(explanation.extensions(), explanation.identity.as_deref())
            }
            None => error,
        }
    }

    /// Returns why AppSync rejected the signature or the caller; `None` if it did not.
    pub(super) fn explanation(
        &self,
        error: &GraphqlError,
        start: Option<&str>,
    ) -> Option<Explanation> {
        let text = |name: &str| error.extensions.get(name).and_then(Value::as_str);
        // Errors of countersign have other codes.
        if text("code").is_some_and(|code| code != Code::UpstreamRefused.as_str()) {
            return None;
        }
        let endpoint = self.upstream.endpoint();
        let connect = self.protocol.connect_target(&endpoint.path);
        let request = RealtimeRequest {
            target: start.map_or(&connect, |_| &endpoint.path),
            headers: &wire::FIXED_HEADERS,
            body: start.unwrap_or(wire::CONNECT_BODY),
        };
        let kind = text("errorType").unwrap_or_default();
        self.upstream
            .explain_realtime(request, kind, &error.message)
    }

    /// Returns the authorization object of a `start` message.
    ///
    /// # Errors
    /// When the message cannot be signed. A panic of the signer is returned as an error, so that it ends
    /// one subscription and not the connection.
    pub(super) async fn authorize_start(&self, start: &Start) -> Result<String, GraphqlError> {
        let endpoint = self.upstream.endpoint();
        let signed = self.sign(&endpoint.path, &start.data);
        match caught(Task::Signing, signed).await {
            Ok(Ok(signed)) => Ok(wire::authorization(
                &endpoint.wire_host,
                &signed,
                &start.headers,
            )),
            Ok(Err(error)) => Err(GraphqlError::coded(
                error.to_string(),
                error.code(),
                Sent::No,
            )),
            Err(panicked) => {
                let message = panicked.to_string();
                Err(GraphqlError::coded(message, Code::Internal, Sent::No))
            }
        }
    }

    /// Returns the authorization object of a `connect` request.
    ///
    /// # Errors
    /// When the request cannot be signed.
    pub(super) async fn authorize_connect(&self, endpoint: &Endpoint) -> Result<String, Error> {
        let target = self.protocol.connect_target(&endpoint.path);
        let signed = self.sign(&target, wire::CONNECT_BODY).await?;
        Ok(wire::authorization(&endpoint.wire_host, &signed, &[]))
    }

    /// Opens a WebSocket with this authorization object.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) async fn open_socket(
        &self,
        realtime: &RealtimeEndpoint,
        authorization: &str,
    ) -> Result<Socket, Error> {
        let handshake = Handshake {
            protocols: &self.protocol.subprotocols(authorization),
            max_message: MAX_MESSAGE,
            timeout: self.handshake,
        };
        handshake.open(realtime, &self.dialer).await
    }

    /// Signs a `POST` of `body` to `target`. AppSync verifies the signature of a `connect` or `start` as
    /// that of such a request.
    async fn sign(&self, target: &str, body: &str) -> Result<SignedHeaders, Error> {
        let signer = self.upstream.signer();
        let now = self.upstream.signing_time();
        let credentials = signer.credentials(now).await.map_err(SignError::from)?;
        let request = Signable {
            method: "POST",
            target,
            headers: &wire::FIXED_HEADERS,
            body: body.as_bytes(),
        };
        Ok(signer.sign(&credentials, &request, now)?.headers)
    }
}
