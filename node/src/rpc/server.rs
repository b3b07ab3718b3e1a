//! Listening, limits and the registration of methods.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use jsonrpsee::{
    Methods, RpcModule,
    core::{RegisterMethodError, middleware::RpcServiceBuilder},
    server::{BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle, stop_channel},
    types::{ErrorObjectOwned, Params, error::INTERNAL_ERROR_CODE},
};
use serde::Serialize;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    NodeApi, debug, errors, eth, fees,
    gate::{self, Gate, Metered},
    logs, net, reasons, sealed, subscriptions,
};
use crate::{
    config::RpcConfig,
    listen::{self, Connection, Limits},
    metrics,
};
use blindfold_sdk::rpc::codes;

/// How long a call waits for its turn before the caller is told to come back later.
const CALL_QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Answer of a method.
pub(crate) type Answer<T> = Result<T, ErrorObjectOwned>;

/// What every method gets.
pub(crate) struct Context {
    /// The node.
    pub(crate) api: Arc<dyn NodeApi>,
    /// Limits of this server.
    pub(crate) limits: RpcConfig,
    /// One permit per call that may run at a time.
    calls: Arc<Semaphore>,
    /// One permit per submission that may wait for the mempool.
    pub(crate) submissions: Semaphore,
}

/// A running RPC server. Dropping it stops it.
#[derive(Debug)]
pub struct RpcServer {
    handle: ServerHandle,
    local_addr: SocketAddr,
}

/// Why the RPC server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address could not be bound.
    #[error(
        "cannot listen on {address}: {source}; is another node running? see [rpc] listen in node.toml"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// Two methods of the same name: a mistake in this program.
    #[error("method registered twice: {0}")]
    Method(#[from] RegisterMethodError),
}

impl RpcServer {
    /// Starts serving on `config.listen`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError::Listen`] if the address is taken or not ours.
    pub async fn start(config: RpcConfig, api: Arc<dyn NodeApi>) -> Result<Self, StartError> {
        let module = module(config.clone(), api)?;
        Self::start_with(config, module).await
    }

    /// Serves any methods on `config.listen`, within the limits of `config`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError::Listen`] if the address is taken or not ours.
    pub(crate) async fn start_with(
        config: RpcConfig,
        methods: impl Into<Methods>,
    ) -> Result<Self, StartError> {
        let address = config.listen;
        let failed = |source| StartError::Listen { address, source };
        let timeout = Duration::from_millis(config.timeout_ms);
        let settings = ServerConfig::builder()
            .max_connections(config.max_connections)
            .max_request_body_size(config.max_request_bytes)
            .max_response_body_size(config.max_response_bytes)
            .max_subscriptions_per_connection(config.max_subscriptions_per_connection)
            .set_batch_request_config(BatchRequestConfig::Limit(config.max_batch))
            .set_message_buffer_capacity(config.max_queued_notifications)
            // A client that is gone, or stuck within a message, answers no pings.
            .enable_ws_ping(
                PingConfig::new()
                    .ping_interval(timeout / 2)
                    .inactive_limit(timeout)
                    .max_failures(1),
            )
            .build();
        let listener = listen::bind(address).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (stop, handle) = stop_channel();
        let gate = Arc::new(Gate::new(&config));
        let limits = Limits {
            max_connections: config.max_connections as usize,
            max_connections_per_ip: config.max_connections_per_ip as usize,
            timeout,
        };
        let builder = Server::builder().set_config(settings).to_service_builder();
        let (methods, stopping) = (methods.into(), stop.clone());
        let next_id = AtomicU32::new(0);
        let connect = move |connection: Arc<Connection>| {
            let upgraded = Arc::clone(&connection);
            let metered = RpcServiceBuilder::new()
                .layer_fn(move |inner| Metered { inner, connection: Arc::clone(&connection) });
            let rpc = builder
                .clone()
                // Subscriptions are kept by connection, so no two may share an id.
                .connection_id(next_id.fetch_add(1, Ordering::Relaxed))
                .set_rpc_middleware(metered)
                .build(methods.clone(), stopping.clone());
            let gate = Arc::clone(&gate);
            hyper::service::service_fn(move |request| {
                Arc::clone(&gate).answer(rpc.clone(), Arc::clone(&upgraded), request)
            })
        };
        let refusal = gate::early_json(reasons::TOO_MANY_CONNECTIONS);
        tokio::spawn(listen::serve(listener, limits, stop, refusal, connect));
        tracing::info!(target: "blindfold::rpc", %local_addr, "serving JSON-RPC");
        Ok(Self { handle, local_addr })
    }

    /// Address the server listens on, with the port the system chose if the configured one was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, closes connections, and returns once they are closed.
    pub async fn stop(self) {
        if self.handle.stop().is_ok() {
            self.handle.stopped().await;
        }
    }
}

/// All methods over `api`.
pub(crate) fn module(
    config: RpcConfig,
    api: Arc<dyn NodeApi>,
) -> Result<RpcModule<Context>, RegisterMethodError> {
    let mut module = RpcModule::new(Context {
        api,
        calls: Arc::new(Semaphore::new(config.max_concurrent_calls)),
        submissions: Semaphore::new(config.max_concurrent_submissions),
        limits: config,
    });
    eth::register(&mut module)?;
    fees::register(&mut module)?;
    logs::register(&mut module)?;
    net::register(&mut module)?;
    sealed::register(&mut module)?;
    debug::register(&mut module)?;
    subscriptions::register(&mut module)?;
    Ok(module)
}

/// Registers a method that reads from the node on a blocking thread, within the bound on calls at
/// a time. A call whose caller has gone keeps its permit until it is done.
pub(crate) fn read<T, F>(
    module: &mut RpcModule<Context>,
    name: &'static str,
    method: F,
) -> Result<(), RegisterMethodError>
where
    T: Serialize + Clone + Send + 'static,
    F: Fn(&Context, &Params<'static>) -> Answer<T> + Clone + Send + Sync + 'static,
{
    module.register_async_method(name, move |params, context, _| {
        let method = method.clone();
        async move {
            let started = Instant::now();
            let turn = Arc::clone(&context.calls).acquire_owned();
            let answer = match tokio::time::timeout(CALL_QUEUE_TIMEOUT, turn).await {
                Ok(Ok(permit)) => {
                    let run = move || {
                        let _held = permit;
                        method(&context, &params)
                    };
                    tokio::task::spawn_blocking(run).await.unwrap_or_else(|failure| {
                        tracing::error!(target: "blindfold::rpc", method = name, %failure, "method failed");
                        Err(errors::error(INTERNAL_ERROR_CODE, "internal error"))
                    })
                }
                _ => {
                    let message = "the node is overloaded; try again later";
                    Err(errors::refusal(codes::UNAVAILABLE, reasons::BUSY, message))
                }
            };
            metrics::rpc_call(name, started.elapsed(), answer.is_ok());
            answer
        }
    })?;
    Ok(())
}
