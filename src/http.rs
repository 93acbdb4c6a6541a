//! The HTTP server: connections, limits, request ids, and the way from a path to a dialect. Bodies
//! are read here, whole and bounded, so that no dialect can forget to.

mod bodies;
mod connections;
mod docs;
mod heads;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use axum::{Json, Router};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use self::bodies::Reading;
use self::connections::{Connections, Guest};
use crate::app::App;
use crate::dialect::{Answer, Arrival, Call, Malformed, WIRES, Wire};
use crate::payer::Payer;
use crate::sabotage::Protection;
use crate::{health, telemetry};

/// How long requests in flight may take after the server was told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How patient the server is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a client may take to send its head, and a connection may rest between requests.
    pub head_within: Duration,
    /// How long a client may take to send its body, beside a second for each 16 KiB of it.
    pub body_within: Duration,
    /// How long a client may take to make room for more of an answer.
    pub answer_within: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head_within: Duration::from_secs(15),
            body_within: Duration::from_secs(5),
            answer_within: Duration::from_secs(20),
        }
    }
}

/// Everything that the server serves.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for wire in WIRES {
        for (path, route) in wire.served() {
            let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
            let serve = |handler| on(filter, move |call: Call| wire.serve(handler, call));
            if let Some(handler) = wire.trailing_slash {
                router = router.route(&format!("{path}/"), serve(handler));
            }
            router = router.route(&path, serve(route.handler));
        }
    }
    let mut documents = Vec::new();
    for wire in WIRES {
        let Some(document) = wire.openapi else { continue };
        let path = format!("/openapi/{}.json", wire.dialect.name());
        let answer = async move || Answer::with_type(200, "application/json", document.as_bytes());
        router = router.route(&path, get(answer));
        documents.push(format!("..{path}"));
    }
    router
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .fallback(async |request: Request| malformed(&request, Malformed::UnknownPath))
        .method_not_allowed_fallback(async |request: Request| {
            malformed(&request, Malformed::UnknownMethod)
        })
        .with_state(app)
        .merge(docs::router(documents))
}

fn malformed(request: &Request, fault: Malformed) -> Answer {
    let path = request.uri().path();
    (Wire::of(path).malformed)(fault, path, request.headers())
}

async fn alive(State(app): State<App>) -> Response {
    if app.store.alarm().cause().is_none() {
        Json(json!({"status": "ok"})).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "failed"}))).into_response()
    }
}

async fn ready(State(app): State<App>) -> Response {
    if app.health.is_ready().await && app.store.alarm().cause().is_none() {
        Json(json!({"status": "ready"})).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable"}))).into_response()
    }
}

async fn metrics_text() -> Response {
    match telemetry::text() {
        Some(text) => {
            let media_type = "text/plain; version=0.0.4; charset=utf-8";
            Answer::with_type(200, media_type, text.into_bytes()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Serves until `stop` resolves, then finishes what is in flight within [`STOP_WITHIN`]; what is
/// left then, clients that do not read or have not sent all, is cut off.
///
/// # Errors
/// None of a connection's; only those of the listener's address.
pub async fn serve(
    listener: TcpListener,
    app: App,
    patience: Patience,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let alarm = app.store.alarm();
    let watched = app.clone();
    let beside = [
        tokio::spawn(alarm.clone().keep_up("counting", telemetry::run)),
        tokio::spawn(alarm.clone().keep_up("readiness", move || health::watch(watched.clone()))),
    ];
    let router = router(app.clone());
    let graceful = GracefulShutdown::new();
    let connections_max = app.config.limits.connections.unwrap_or(connections::MAX);
    let connections = Arc::new(Connections::new(connections_max));
    // Dropped when patience is over. Each connection holds the app, and so the writer's queue open.
    let (patient, _) = tokio::sync::watch::channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        let seat = connections.seat();
        let (seat, stream, peer) = tokio::select! {
            () = &mut stop => break,
            (seat, accepted) = async { (seat.await, listener.accept().await) } => match accepted {
                Ok((stream, peer)) => (seat, stream, peer),
                Err(cause) => {
                    // Mostly no file descriptor left: others have to go first.
                    tracing::warn!(error.cause = %cause, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some(seat) = seat else { break };
        let place = connections.take_in(Payer::stranger(peer.ip()), seat);
        let guest = place.guest();
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience.answer_within));
        let (app, router) = (app.clone(), router.clone());
        let service = hyper::service::service_fn(move |request| {
            let (app, router, guest) = (app.clone(), router.clone(), guest.clone());
            async move {
                let response = answer(&app, router, (peer, &guest), patience, request).await;
                // All who can be answered are, before any of it is sent: then a client that has many
                // connections is woken once and not once for each.
                tokio::task::yield_now().await;
                Ok::<_, std::convert::Infallible>(response.map(|body| guest.until_sent(body)))
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        if Protection::ByteBudgets.is_on() {
            builder.max_buf_size(heads::BUFFER_MAX);
        }
        let connection = builder
            .timer(TokioTimer::new())
            .header_read_timeout(
                Some(patience.head_within).filter(|_| Protection::HeadTimeout.is_on()),
            )
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection);
        let mut cut_off = patient.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                // What goes wrong on a connection is the client's affair and already answered.
                _ = connection => {}
                _ = cut_off.changed() => {}
                () = place.cut_off() => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still busy after {STOP_WITHIN:?} and are cut off");
    }
    drop(patient);
    beside.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

async fn answer(
    app: &App,
    router: Router,
    (peer, guest): (SocketAddr, &Guest),
    patience: Patience,
    request: hyper::Request<Incoming>,
) -> Response {
    let begun = Instant::now();
    let arrival = Arrival {
        peer: peer.ip(),
        request_id: heads::request_id(request.headers()),
        at: app.clock.now(),
        body_fault: None,
    };
    let uri = request.uri().clone();
    let wire = Wire::of(uri.path());
    let method = request.method().clone();
    let fault = heads::fault(&uri, request.version(), request.headers());
    let serving = async {
        if let Some(fault) = fault {
            // Its body may be as long as its head, and is not read.
            let answer = (wire.malformed)(fault, uri.path(), request.headers());
            return answer.header("connection", "close").into_response();
        }
        serve_one(app, wire, router, (&arrival, guest), patience, request).await
    };
    let served = AssertUnwindSafe(serving).catch_unwind();
    let mut response = served.await.unwrap_or_else(|_| {
        tracing::error!(request_id = %arrival.request_id, "a request panicked");
        (wire.malformed)(Malformed::Failed, uri.path(), &HeaderMap::new()).into_response()
    });
    if let Ok(id) = HeaderValue::try_from(&arrival.request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    let (status, took) = (response.status(), begun.elapsed());
    telemetry::count(wire, status, took);
    tracing::debug!(dialect = wire.dialect.name(), %method, status = status.as_u16(), ?took, "request");
    response
}

async fn serve_one(
    app: &App,
    wire: &Wire,
    router: Router,
    (arrival, guest): (&Arrival, &Guest),
    patience: Patience,
    request: hyper::Request<Incoming>,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut arrival = arrival.clone();
    // Held until the answer is there: so long is the body in memory.
    let (body, _held) =
        Reading::new(app, wire, &parts, &arrival).whole(body, patience.body_within).await;
    guest.is_served();
    let body = match body {
        Ok(body) => Body::from(body),
        Err(fault) => {
            arrival.body_fault = Some(fault);
            Body::empty()
        }
    };
    let is_whole = arrival.body_fault.is_none();
    parts.extensions.insert(arrival);
    let mut response = match router.oneshot(Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.status() == StatusCode::NOT_FOUND {
        // The router's: a path that is not there allows nothing.
        response.headers_mut().remove("allow");
    }
    if !is_whole {
        // The rest of the body stands between this request and the next.
        response.headers_mut().insert("connection", HeaderValue::from_static("close"));
    }
    response
}
