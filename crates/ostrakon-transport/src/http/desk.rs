use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::net::TcpListener;

use super::{Drained, ListenerLimits, serve};

/// What answers at a small listener, at once and from memory: for whoever has no service to run, and so
/// no use for a router.
pub trait Desk: Send + Sync + 'static {
    /// Answers what was sent to `path`, with a content type. `None` where there is nothing for the
    /// sender: 400, as a key shard server answers strangers.
    fn answer(&self, path: &str, body: &[u8]) -> Option<(&'static str, Vec<u8>)>;
}

/// Serves `desk` on `listener` until `shutdown` completes, then drains.
pub async fn serve_desk(
    listener: TcpListener,
    desk: Arc<dyn Desk>,
    limits: ListenerLimits,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let router = Router::new().fallback(move |request: Request| answer(Arc::clone(&desk), request));
    serve(listener, router, limits, shutdown).await
}

async fn answer(desk: Arc<dyn Desk>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = match axum::RequestExt::extract::<Bytes, _>(request).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    match desk.answer(&path, &body) {
        Some((kind, bytes)) => ([(CONTENT_TYPE, kind)], bytes).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::{Method, Uri};

    use super::*;
    use crate::http::{ClientConfig, HttpClient};

    struct Echo;

    impl Desk for Echo {
        fn answer(&self, path: &str, body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
            (path == "/echo").then(|| ("text/plain", body.to_vec()))
        }
    }

    #[tokio::test]
    async fn a_desk_answers_what_it_knows_and_400_for_the_rest() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(serve_desk(
            listener,
            Arc::new(Echo),
            ListenerLimits::default(),
            async move { drop(stopped.await) },
        ));
        let mut config = ClientConfig::new(vec![url.parse().unwrap()]);
        config.deadline = Duration::from_secs(5);
        let client = HttpClient::new(config).unwrap();
        let send = async |path: &'static str| {
            let mut request = hyper::Request::new(Bytes::from_static(b"hello"));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from_static(path);
            let response = client.send(&request).await.unwrap();
            (response.status(), response.into_body())
        };
        assert_eq!(send("/echo").await, (StatusCode::OK, "hello".into()));
        assert_eq!(send("/other").await.0, StatusCode::BAD_REQUEST);
        drop(stop);
        assert_eq!(serving.await.unwrap().cut_off, 0);
    }
}
