use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

/// Bounds how many requests are handled at once, over all routes and clones that it is put on.
///
/// A request past the bound is answered at once with 503 and `Retry-After: 1`. None is queued: a queue
/// would only grow where work arrives faster than it is done, and every client would wait for its
/// deadline.
#[derive(Clone, Debug)]
pub struct InFlightLimit {
    permits: Arc<Semaphore>,
}

/// An inner service behind an [`InFlightLimit`].
#[derive(Clone, Debug)]
pub struct InFlight<S> {
    inner: S,
    permits: Arc<Semaphore>,
}

impl InFlightLimit {
    /// At most `requests` at once.
    #[must_use]
    pub fn new(requests: usize) -> Self {
        let permits = Arc::new(Semaphore::new(requests.min(Semaphore::MAX_PERMITS)));
        Self { permits }
    }
}

impl<S> Layer<S> for InFlightLimit {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        let permits = Arc::clone(&self.permits);
        InFlight { inner, permits }
    }
}

impl<S> Service<Request> for InFlight<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Box::pin(async { Ok(overloaded()) });
        };
        let response = self.inner.call(request);
        Box::pin(async move {
            let _permit = permit;
            response.await
        })
    }
}

/// 503, to be tried again in a second.
pub(super) fn overloaded() -> Response {
    let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
    let after = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, after);
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    fn request(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn requests_past_the_bound_are_refused_at_once() {
        let may = Arc::new(Notify::new());
        let gate = Arc::clone(&may);
        let waits = async move || gate.notified().await;
        let router = Router::new()
            .route("/", get(waits))
            .layer(InFlightLimit::new(2))
            .route("/healthz", get(async || ()));
        let mut first = Box::pin(router.clone().oneshot(request("/")));
        let mut second = Box::pin(router.clone().oneshot(request("/")));
        for pending in [&mut first, &mut second] {
            assert!(futures_poll(pending).is_pending());
        }
        let third = router.clone().oneshot(request("/")).await.unwrap();
        assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(third.headers()[RETRY_AFTER], "1");
        let health = router.clone().oneshot(request("/healthz")).await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);

        may.notify_one();
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        let fourth = router.oneshot(request("/"));
        may.notify_waiters();
        may.notify_one();
        assert_eq!(fourth.await.unwrap().status(), StatusCode::OK);
        // A request that is given up leaves its place, too.
        drop(second);
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
