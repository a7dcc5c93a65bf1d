//! Which providers can be used right now: a key in the environment, or an Ollama on its port.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use crate::http::Http;

/// How long an Ollama may take to say that it is there.
const PROBE: Duration = Duration::from_millis(300);
/// Longest list of models that is read.
const LIST_BYTES_MAX: usize = 1 << 20;

/// A provider that can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Provider name.
    pub provider: String,
    /// Model to begin with.
    pub model: String,
    /// How it was found, as a phrase: ``key in `OPENAI_API_KEY` ``.
    pub how: String,
    /// Models it says it has; only Ollama is asked.
    pub models: Vec<String>,
}

/// Names of the models of the Ollama at `base` (its `/v1`); none if nobody answers in time.
pub(crate) async fn ollama(http: &Http, base: &Url) -> Option<Vec<String>> {
    timeout(PROBE, tags(http, base)).await.ok().flatten()
}

async fn tags(http: &Http, base: &Url) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Tags {
        models: Vec<Tag>,
    }
    #[derive(Deserialize)]
    struct Tag {
        name: String,
    }
    let mut url = base.clone();
    let root = base
        .path()
        .trim_end_matches('/')
        .strip_suffix("/v1")
        .unwrap_or_default()
        .to_owned();
    url.set_path(&format!("{root}/api/tags"));
    let mut response = http.client(&url).ok()?.get(url).send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if LIST_BYTES_MAX < body.len() {
            return None;
        }
    }
    let tags: Tags = serde_json::from_slice(&body).ok()?;
    Some(tags.models.into_iter().map(|tag| tag.name).collect())
}
