//! Carrying a JSON-RPC request to a node and its answer back.

use std::time::Duration;

/// Largest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// How long one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Something that carries bytes to a node. Implement it to use TLS, a proxy or an anonymity network.
///
/// It is given sealed transactions and public questions only.
pub trait Transport {
    /// Sends one JSON-RPC request and returns the body of the answer.
    ///
    /// # Errors
    /// If no answer came.
    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, TransportError>;
}

impl<T: Transport + ?Sized> Transport for &T {
    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, TransportError> {
        (**self).exchange(request)
    }
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {node}: {problem}")]
pub struct TransportError {
    /// Where the node was looked for.
    pub node: String,
    /// What happened.
    pub problem: String,
}

/// Plain, blocking HTTP/1.1. Follows no redirects, uses no proxy, sends no cookies.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    agent: ureq::Agent,
    url: String,
}

impl HttpTransport {
    /// A transport to a URL like `http://127.0.0.1:8545`.
    ///
    /// # Errors
    /// If the URL does not begin with `http://`.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        Self::with_timeout(url, REQUEST_TIMEOUT)
    }

    /// As [`Self::new`], with another bound on the time of a request than thirty seconds.
    ///
    /// # Errors
    /// If the URL does not begin with `http://`.
    pub fn with_timeout(url: &str, timeout: Duration) -> Result<Self, TransportError> {
        if !url.starts_with("http://") {
            let problem =
                "only http:// is built in; bring a Transport of your own for others".to_owned();
            return Err(TransportError { node: url.to_owned(), problem });
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .proxy(None)
            // Error answers carry a JSON body too.
            .http_status_as_error(false)
            .build();
        Ok(Self { agent: config.new_agent(), url: url.to_owned() })
    }
}

impl Transport for HttpTransport {
    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, TransportError> {
        let failed = |error: ureq::Error| TransportError {
            node: self.url.clone(),
            problem: error.to_string(),
        };
        let mut response = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .send(request)
            .map_err(failed)?;
        if !response.status().is_success() {
            let problem = format!("HTTP status {}", response.status().as_u16());
            return Err(TransportError { node: self.url.clone(), problem });
        }
        response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(failed)
    }
}
