//! What went wrong, in OpenAI's shape.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use adjutant_domain::code::Code;
use adjutant_ports::StoreError;
use adjutant_protocol::Fault;

use crate::compat::Body;
use crate::edge::Refusal;

/// A request that gets no answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: String,
    param: Option<&'static str>,
    message: String,
    retry_after_secs: Option<u64>,
}

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_request".to_owned(),
            param: None,
            message: message.into(),
            retry_after_secs: None,
        }
    }

    pub(super) fn param(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::bad(message)
        }
    }

    pub(super) fn coded(mut self, code: &str) -> Self {
        code.clone_into(&mut self.code);
        self
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn no_model(model: &str) -> Self {
        let model: String = model.chars().take(80).collect();
        let message =
            format!("The model `{model}` does not exist: a model is an agent, as `adjutant/main`.");
        Self::param("model", message)
            .coded("model_not_found")
            .with_status(StatusCode::NOT_FOUND)
    }

    pub(super) fn no_page() -> Self {
        Self::bad("no such page")
            .coded("not_found")
            .with_status(StatusCode::NOT_FOUND)
    }

    pub(super) fn store(error: StoreError) -> Self {
        Self::fault(&Fault::from(error))
    }

    pub(super) fn fault(fault: &Fault) -> Self {
        let wire = fault.wire();
        let code = match fault.code {
            Code::Unauthorized => "invalid_api_key".to_owned(),
            _ => wire.word.to_ascii_lowercase(),
        };
        Self {
            status: StatusCode::from_u16(wire.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            param: None,
            message: fault.message.to_string(),
            retry_after_secs: fault.retry_after_ms().map(|ms| ms.div_ceil(1_000).max(1)),
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self {
            status: refusal.status,
            ..Self::fault(&refusal.fault)
        }
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 | 421 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The `error` object.
    pub(super) fn to_json(&self) -> Value {
        json!({ "message": self.message, "type": self.kind(), "param": self.param, "code": self.code })
    }

    pub(super) fn answer(&self) -> Response<Body> {
        let text = json!({ "error": self.to_json() }).to_string();
        let mut answer = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        } else {
            // The official clients repeat by themselves; what is not worth it is not repeated.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        answer
    }
}
