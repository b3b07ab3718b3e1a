//! The embedded L1 as a transport of alloy's.

use std::task::{Context, Poll};

use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy_transport::{TransportError, TransportFut};
use tower::Service;

use super::{Embedded, methods};

/// Answers requests in place: there is no I/O, and a future is ready when it is first polled. A call
/// may take milliseconds of the thread that polls it.
#[derive(Clone, Debug)]
pub struct EmbeddedTransport(pub(super) Embedded);

impl EmbeddedTransport {
    /// A transport to this chain.
    #[must_use]
    pub const fn new(l1: Embedded) -> Self {
        Self(l1)
    }

    fn one(&self, request: &SerializedRequest) -> Response {
        let payload = match methods::answer(&self.0, request.method(), request.params()) {
            Ok(value) => ResponsePayload::Success(value),
            Err(error) => ResponsePayload::Failure(error.payload()),
        };
        Response { id: request.id().clone(), payload }
    }
}

impl Service<RequestPacket> for EmbeddedTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            Ok(match packet {
                RequestPacket::Single(request) => ResponsePacket::Single(this.one(&request)),
                RequestPacket::Batch(requests) => {
                    ResponsePacket::Batch(requests.iter().map(|one| this.one(one)).collect())
                }
            })
        })
    }
}
