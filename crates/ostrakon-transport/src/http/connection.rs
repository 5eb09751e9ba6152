//! One connection, from its first byte to its last.

use std::{convert::Infallible, future::poll_fn, pin::pin, sync::Arc, task::Poll};

use axum::{
    body::Body,
    http::{
        HeaderValue, Request, StatusCode,
        header::{CONNECTION, TRANSFER_ENCODING},
    },
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tower::ServiceExt;

use super::{
    body::{BodyBudget, BodyError},
    limit::overloaded,
    listener::{ListenerLimits, Peer, Site},
    mutual_tls::{HandshakeFailure, PeerCertificate, Tls},
    pace::{Allowed, Overdue, Pace, Paced},
};

/// What the connections of one listener share.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    site: Site,
    limits: ListenerLimits,
    bodies: BodyBudget,
    protocol: http1::Builder,
    stopped: watch::Receiver<bool>,
}

impl Connections {
    pub(super) fn new(site: Site, limits: ListenerLimits, stopped: watch::Receiver<bool>) -> Self {
        let mut protocol = http1::Builder::new();
        // `Pace` keeps the deadlines: hyper's own counts the idle time as part of the next head.
        protocol
            .header_read_timeout(None)
            .max_buf_size(limits.head_bytes.max(8 << 10));
        Self(Arc::new(Shared {
            bodies: BodyBudget::new(&limits),
            site,
            limits,
            protocol,
            stopped,
        }))
    }

    pub(super) fn limits(&self) -> &ListenerLimits {
        &self.0.limits
    }

    /// Serves one connection until it ends, is too slow, or is idle at shutdown. It occupies `slot`.
    pub(super) fn run<S>(
        &self,
        stream: S,
        peer: Peer,
        slot: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        async move {
            let _slot = slot;
            shared.serve(stream, (peer, None)).await;
        }
    }

    /// The same for a client that must first prove who it is, within the time for a head and before it gives
    /// way to others. Then it takes one of `slots`.
    pub(super) fn run_tls(
        &self,
        stream: TcpStream,
        tls: Tls,
        peer: Peer,
        slots: Arc<Semaphore>,
        gives_way: Arc<Notify>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move {
            let mut stopped = shared.stopped.clone();
            let limit = shared.limits.head_timeout;
            let accepted = tokio::select! {
                accepted = timeout(limit, tls.accept(stream)) => accepted,
                () = gives_way.notified() => return tls.fail(HandshakeFailure::Other),
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            drop(gives_way);
            match accepted {
                Ok(Some((stream, certificate))) => {
                    let Ok(Ok(_slot)) = timeout(limit, slots.acquire_owned()).await else {
                        return;
                    };
                    shared.serve(stream, (peer, Some(certificate))).await;
                }
                Ok(None) => {}
                Err(_) => tls.fail(HandshakeFailure::Other),
            }
        }
    }
}

/// Who is at the other end, and what proves it.
type Who = (Peer, Option<PeerCertificate>);

impl Shared {
    async fn serve<S>(&self, stream: S, who: Who)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Pace::new(self.allowed());
        let stream = TokioIo::new(Paced::new(stream, pace.clone()));
        let service = service_fn(|request| self.answer(request, &who, &pace));
        let mut connection = pin!(self.protocol.serve_connection(stream, service));
        let mut overdue = pin!(Overdue::new(pace.clone()));
        let mut stopped = self.stopped.clone();
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let mut stopping = false;
        poll_fn(|cx| {
            if !stopping && stop.as_mut().poll(cx).is_ready() {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            match connection.as_mut().poll(cx) {
                Poll::Ready(ended) => {
                    self.tell_of(ended);
                    Poll::Ready(())
                }
                Poll::Pending => overdue.as_mut().poll(cx),
            }
        })
        .await;
    }

    fn allowed(&self) -> Allowed {
        Allowed {
            idle: self.limits.idle_timeout,
            head: self.limits.head_timeout,
            write: self.limits.write_timeout,
        }
    }

    /// Tells of a head that could not be read, which the protocol has answered. What else a stranger's
    /// connection failed of is no news.
    fn tell_of(&self, ended: hyper::Result<()>) {
        match ended {
            Err(error) if error.is_parse_too_large() => {
                (self.site.refused)(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
            Err(error) if error.is_parse() => (self.site.refused)(StatusCode::BAD_REQUEST),
            _ => {}
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        who: &Who,
        pace: &Pace,
    ) -> Result<Response, Infallible> {
        let busy = pace.busy();
        let response = match self.read(request, who).await {
            // The bytes stay within the budget until the handler is done with them.
            Ok((request, _held)) => self.site.router.clone().oneshot(request).await?,
            Err(refusal) => {
                (self.site.refused)(refusal.status());
                pace.linger();
                refusal
            }
        };
        // The connection is busy until the answer's last byte was handed over, and then idle.
        let while_busy = move |error| {
            let _busy = &busy;
            error
        };
        Ok(response.map(|body| Body::new(body.map_err(while_busy))))
    }

    /// Reads the body to its end, and makes the request that the router sees.
    async fn read(
        &self,
        request: Request<Incoming>,
        (peer, certificate): &Who,
    ) -> Result<(Request<Body>, OwnedSemaphorePermit), Response> {
        let (mut head, body) = request.into_parts();
        if head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(closing(StatusCode::LENGTH_REQUIRED));
        }
        let (bytes, held) = self.bodies.read(body).await.map_err(|error| match error {
            BodyError::TooLarge => closing(StatusCode::PAYLOAD_TOO_LARGE),
            BodyError::TooSlow => closing(StatusCode::REQUEST_TIMEOUT),
            BodyError::Broken => closing(StatusCode::BAD_REQUEST),
            BodyError::NoRoom => closing(overloaded()),
        })?;
        head.extensions.insert(*peer);
        if let Some(certificate) = certificate {
            head.extensions.insert(certificate.clone());
        }
        Ok((Request::from_parts(head, Body::from(bytes)), held))
    }
}

/// An answer after which the connection closes, because the rest of the request is unread.
fn closing(refusal: impl IntoResponse) -> Response {
    let mut response = refusal.into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
