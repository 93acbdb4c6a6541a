//! The pages that show the documents. All their addresses are relative: a proxy may serve them below a path
//! of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use utoipa_swagger_ui::{Config, serve};

/// The pages, for the documents at these addresses, relative to `/docs/`.
pub(super) fn router(documents: Vec<String>) -> Router {
    let config = Arc::new(Config::new(documents));
    let page = move |path: Option<Path<String>>| {
        let config = Arc::clone(&config);
        async move { file(path.as_deref().map_or("", String::as_str), config) }
    };
    Router::new()
        .route("/docs", get(async || (StatusCode::SEE_OTHER, [(header::LOCATION, "docs/")])))
        .route("/docs/", get(page.clone()))
        .route("/docs/{*path}", get(page))
}

fn file(path: &str, config: Arc<Config<'static>>) -> Response {
    match serve(path, config) {
        Ok(Some(file)) => {
            let mut answer =
                ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response();
            if file.gzpipped {
                let gzip = http::HeaderValue::from_static("gzip");
                answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            }
            answer
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(cause) => {
            tracing::error!(error.cause = %cause, "a page of the documents");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
