//! What an HTTP request must be before the JSON-RPC library sees it: sent by a client that may, small
//! enough, and complete in time.
//!
//! The port has no password, so a web page in a browser on the same machine must not be able to use it:
//! a request with an `Origin` is refused unless that origin is configured, and on loopback so is one for
//! a `Host` that is not this machine (a name that an attacker's DNS points at 127.0.0.1).

use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use blindfold_sdk::rpc::codes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
};
use jsonrpsee::{
    core::{
        BoxError,
        middleware::{Batch, Notification, RpcServiceT},
        server::MethodResponse,
    },
    server::HttpBody,
    types::{ErrorObjectOwned, Id, error::OVERSIZED_REQUEST_CODE},
};
use tower::Service;

use super::{errors, reasons};
use crate::{config::RpcConfig, listen::Connection};

/// Who may ask, and how much.
#[derive(Debug)]
pub(super) struct Gate {
    origins: Vec<String>,
    /// Names this node goes by; `None` lets every name pass.
    hosts: Option<Vec<String>>,
    max_body_bytes: usize,
    timeout: Duration,
}

impl Gate {
    pub(super) fn new(config: &RpcConfig) -> Self {
        let hosts = match config.listen.ip().to_canonical().is_loopback() {
            true => Some(config.allowed_hosts.clone()),
            false if config.allowed_hosts.is_empty() => None,
            false => Some(config.allowed_hosts.clone()),
        };
        Self {
            origins: config.allowed_origins.clone(),
            hosts,
            max_body_bytes: config.max_request_bytes as usize,
            timeout: Duration::from_millis(config.timeout_ms),
        }
    }

    /// Answers one request, passing on to `rpc` what may pass.
    pub(super) async fn answer<S>(
        self: Arc<Self>,
        mut rpc: S,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<HttpBody>, BoxError>
    where
        S: Service<Request<HttpBody>, Response = Response<HttpBody>, Error = BoxError>,
    {
        let origin = match self.check(request.headers()) {
            Ok(origin) => origin,
            Err(reason) => return Ok(refuse(StatusCode::FORBIDDEN, reason)),
        };
        if request.method() == Method::OPTIONS {
            let empty = Response::builder().status(StatusCode::NO_CONTENT).body(HttpBody::empty());
            return Ok(with_origin(empty?, origin));
        }
        let request = if jsonrpsee::server::ws::is_upgrade_request(&request) {
            connection.upgrade();
            request.map(HttpBody::new)
        } else {
            match self.read(request).await {
                Ok(request) => request,
                Err(refusal) => return Ok(with_origin(refusal, origin)),
            }
        };
        Ok(with_origin(rpc.call(request).await?, origin))
    }

    /// The origin to name in the answer, if any.
    fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, &'static str> {
        if let Some(hosts) = &self.hosts
            && !headers.get(header::HOST).is_some_and(|host| is_allowed_host(host, hosts))
        {
            return Err(reasons::HOST_NOT_ALLOWED);
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
        let allowed = |one: &String| one == "*" || one.as_bytes() == origin.as_bytes();
        match self.origins.iter().any(allowed) {
            true => Ok(Some(origin.clone())),
            false => Err(reasons::ORIGIN_NOT_ALLOWED),
        }
    }

    /// The whole body, within limits of size and time.
    async fn read(
        &self,
        request: Request<Incoming>,
    ) -> Result<Request<HttpBody>, Response<HttpBody>> {
        let too_large = || refuse(StatusCode::PAYLOAD_TOO_LARGE, reasons::REQUEST_TOO_LARGE);
        let (parts, body) = request.into_parts();
        if body.size_hint().lower() > self.max_body_bytes as u64 {
            return Err(too_large());
        }
        let body = Limited::new(body, self.max_body_bytes).collect();
        let body = match tokio::time::timeout(self.timeout, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            // The client is gone, or breaks off the body.
            Ok(Err(_)) => Bytes::new(),
            Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, reasons::REQUEST_TOO_SLOW)),
        };
        Ok(Request::from_parts(parts, HttpBody::new(Full::new(body))))
    }
}

/// Whether a `Host` header names this machine's loopback or one of `hosts`, with any port.
fn is_allowed_host(host: &HeaderValue, hosts: &[String]) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_loopback
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(name))
}

/// What a browser needs to hand the answer to the page that asked.
fn with_origin(mut answer: Response<HttpBody>, origin: Option<HeaderValue>) -> Response<HttpBody> {
    if let Some(origin) = origin {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers
            .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    answer
}

/// The error object of a refusal that happens before a request is read.
fn early(reason: &'static str) -> ErrorObjectOwned {
    let (code, message) = match reason {
        reasons::REQUEST_TOO_LARGE => (OVERSIZED_REQUEST_CODE, "the request is too large"),
        reasons::REQUEST_TOO_SLOW => (codes::FORBIDDEN, "the request did not arrive in time"),
        reasons::ORIGIN_NOT_ALLOWED => (
            codes::FORBIDDEN,
            "web pages may not use this port; see [rpc] allowed_origins in node.toml",
        ),
        reasons::HOST_NOT_ALLOWED => (
            codes::FORBIDDEN,
            "this node does not go by that name; see [rpc] allowed_hosts in node.toml",
        ),
        _ => (codes::UNAVAILABLE, "too many connections; try again later"),
    };
    errors::refusal(code, reason, message)
}

/// The JSON-RPC answer to a request that nobody read.
pub(super) fn early_json(reason: &'static str) -> String {
    MethodResponse::error(Id::Null, early(reason)).into_json().get().to_owned()
}

fn refuse(status: StatusCode, reason: &'static str) -> Response<HttpBody> {
    let mut answer = Response::new(HttpBody::from(early_json(reason)));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    // Whatever follows on this connection belongs to a request that is not wanted.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Notes calls and the size of their answers with their connection.
#[derive(Clone)]
pub(super) struct Metered<S> {
    pub(super) inner: S,
    pub(super) connection: Arc<Connection>,
}

impl<S> Metered<S> {
    /// Runs a call unless too much is unread, and lets its answer out if there is room for it.
    async fn meter(
        connection: Arc<Connection>,
        id: Id<'static>,
        call: impl Future<Output = MethodResponse>,
    ) -> MethodResponse {
        let _running = connection.run();
        let refuse = |id| {
            let message = "answers pile up unread; read them before asking for more";
            let refusal = errors::refusal(codes::LIMIT_EXCEEDED, reasons::UNREAD_ANSWERS, message);
            MethodResponse::error(id, refusal)
        };
        if connection.is_backed_up() {
            return refuse(id);
        }
        let answer = call.await;
        if connection.answer(answer.as_json().get().len()) { answer } else { refuse(id) }
    }
}

impl<S> RpcServiceT for Metered<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(
        &self,
        request: jsonrpsee::types::Request<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (connection, id) = (Arc::clone(&self.connection), request.id().into_owned());
        let inner = self.inner.clone();
        Self::meter(connection, id, async move { inner.call(request).await })
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (connection, inner) = (Arc::clone(&self.connection), self.inner.clone());
        Self::meter(connection, Id::Null, async move { inner.batch(batch).await })
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = self.inner.clone();
        async move { inner.notification(notification).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        let hosts = ["Node.example".to_owned()];
        let allowed = |host: &str| is_allowed_host(&HeaderValue::from_str(host).unwrap(), &hosts);
        for host in [
            "localhost",
            "LOCALHOST:8545",
            "127.0.0.1:8545",
            "127.0.0.2",
            "[::1]:8545",
            "[::1]",
            "node.example:1",
        ] {
            assert!(allowed(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:8545", "[", "]"]
        {
            assert!(!allowed(host), "{host}");
        }
    }

    #[test]
    fn a_public_port_goes_by_any_name() {
        let config = |listen: &str, hosts: &[&str]| {
            Gate::new(&RpcConfig {
                listen: listen.parse().unwrap(),
                allowed_hosts: hosts.iter().map(ToString::to_string).collect(),
                ..Default::default()
            })
        };
        assert!(config("0.0.0.0:1", &[]).hosts.is_none());
        assert!(config("0.0.0.0:1", &["a"]).hosts.is_some());
        assert!(config("127.0.0.1:1", &[]).hosts.is_some());
        assert!(config("[::1]:1", &[]).hosts.is_some());
    }

    /// What is refused early has the code of its line in the table.
    #[test]
    fn early_refusals_are_in_the_table() {
        for reason in [
            reasons::TOO_MANY_CONNECTIONS,
            reasons::REQUEST_TOO_LARGE,
            reasons::REQUEST_TOO_SLOW,
            reasons::ORIGIN_NOT_ALLOWED,
            reasons::HOST_NOT_ALLOWED,
        ] {
            assert_eq!(early(reason).code(), reasons::find(reason).unwrap().code, "{reason}");
        }
    }
}
