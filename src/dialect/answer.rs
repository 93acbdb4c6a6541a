//! Building answers.

use std::borrow::Cow;
use std::fmt::Display;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::Answer;

/// Bytes that most answers take, so that few of them have to be moved while they grow.
const BODY_USUAL: usize = 1536;

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A JSON answer of type `application/json`.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let mut json = Vec::with_capacity(BODY_USUAL);
        match serde_json::to_writer(&mut json, body) {
            Ok(()) => Self::with_type(status, "application/json", json),
            // No body of ours is without a JSON form; if one were, it must not pass for an answer.
            Err(_) => Self::empty(500),
        }
    }

    /// An answer of a media type.
    pub fn with_type(
        status: u16,
        media_type: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
    ) -> Self {
        // Room for an entity tag too.
        let mut headers = Vec::with_capacity(2);
        headers.push(("content-type".into(), media_type.into()));
        Self { status, headers, body: body.into() }
    }

    /// The same with another header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with an entity tag (RFC 9110 section 8.8.3): the record's version, or what
    /// [`crate::domain::tag`] makes of it and of what is shown with it.
    #[must_use]
    pub fn etag(self, tag: impl Display) -> Self {
        self.header("etag", format!("\"{tag}\""))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(&*name), HeaderValue::try_from(value.into_owned()))
            {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}
