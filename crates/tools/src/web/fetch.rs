//! `web_fetch`: a page as readable text, through the network broker.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::egress::{EgressError, EgressGrant, Incoming, Outgoing};
use adjutant_ports::{Egress, ToolCx};

use crate::config::Web;
use crate::cut;
use crate::files::is_binary;
use crate::thread::apart;
use crate::tool::{Act, Halt, Traits, found};
use crate::web::readable;

const ACCEPT: &str =
    "text/html, text/markdown, text/plain, application/json;q=0.9, text/*;q=0.8, */*;q=0.1";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    url: String,
}

pub(crate) struct Fetch {
    spec: ToolSpec,
    egress: Arc<dyn Egress>,
    web: Web,
    shown_max: usize,
}

impl Fetch {
    pub(crate) fn new(egress: Arc<dyn Egress>, web: &Web, shown_max: usize) -> Self {
        let traits = Traits {
            name: "web_fetch",
            about: "Fetch a page as text.",
            effect: Effect::Reads,
            level: TrustLevel::L2,
            class: ActionClass::NetRead,
            operands: vec![Operand::Url {
                arg: "url".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
            egress,
            web: web.clone(),
            shown_max,
        }
    }
}

#[async_trait]
impl Act for Fetch {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let grant = EgressGrant {
            private_hosts: self.web.private_hosts.clone(),
            body_bytes_max: self.web.max_bytes,
            deadline: self.web.timeout.duration().min(cx.deadline),
            ..EgressGrant::default()
        };
        let request = Outgoing {
            url: args.url,
            headers: vec![("accept".to_owned(), ACCEPT.to_owned())],
        };
        let incoming = self.egress.get(request, &grant).await.map_err(sentence)?;
        let shown_max = self.shown_max;
        apart(cx.deadline, move |_until| page(&incoming, shown_max)).await
    }
}

fn sentence(error: EgressError) -> Halt {
    let advice = match &error {
        EgressError::Refused { .. } => {
            "; only public addresses are fetched, and those the owner put in `tools.web.private_hosts`"
        }
        EgressError::BadAddress { .. } => {
            "; write a whole address such as https://example.com/page"
        }
        EgressError::TimedOut { .. } | EgressError::Failed { .. } => "",
    };
    Halt::failed(format!("{error}{advice}"))
}

fn is_plain_type(essence: &str) -> bool {
    let known = [
        "application",
        "audio",
        "font",
        "image",
        "model",
        "multipart",
        "text",
        "video",
    ];
    let plain = |it: &str| {
        it.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    essence
        .split_once('/')
        .is_some_and(|(a, b)| known.contains(&a) && b.len() <= 32 && plain(b))
}

/// How a body is to be read.
enum Kind {
    Html,
    Text,
    Other,
}

fn page(incoming: &Incoming, shown_max: usize) -> Result<ToolOutcome, Halt> {
    let Incoming {
        url,
        status,
        content_type,
        body,
        truncated,
    } = incoming;
    let announced = content_type.as_deref().unwrap_or_default();
    let essence = announced
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let body_text = match kind(&essence, body) {
        Kind::Html => readable::markdown(&decoded(body, announced)),
        Kind::Text => decoded(body, announced),
        Kind::Other => {
            let size = if *truncated { "more than " } else { "" };
            // A failure carries no label, so nothing a stranger wrote may be in it.
            let essence = if is_plain_type(&essence) {
                essence.as_str()
            } else {
                "of an unknown type"
            };
            return Err(Halt::failed(format!(
                "the answer (HTTP {status}) is {essence}, {size}{} bytes, and not text that can be read here",
                body.len()
            )));
        }
    };
    let mut text = String::new();
    if !(200..300).contains(status) {
        text.push_str(&format!("[error: HTTP {status}]\n"));
    }
    let advice = if *truncated {
        "; the page is longer still"
    } else {
        ""
    };
    text.push_str(&cut::keep_head(
        &body_text,
        shown_max,
        body_text.len() as u64,
        advice,
    ));
    if *truncated && body_text.len() <= shown_max {
        text.push_str(&format!(
            "\n[cut: only the first {} bytes of the page were read]",
            body.len()
        ));
    }
    if body_text.is_empty() {
        text.push_str("[the page holds no text]");
    }
    // A page keeps its label whatever the status: an error page is written by strangers too.
    Ok(found(text, Origin::Web { url: url.clone() }))
}

fn kind(essence: &str, body: &[u8]) -> Kind {
    let looks_like_html = || {
        let start: String = String::from_utf8_lossy(&body[..body.len().min(512)])
            .trim_start()
            .to_ascii_lowercase();
        ["<!doctype html", "<html", "<head", "<body"]
            .iter()
            .any(|it| start.starts_with(it))
    };
    match essence {
        "text/html" | "application/xhtml+xml" => Kind::Html,
        "" if is_binary(body) => Kind::Other,
        "" if looks_like_html() => Kind::Html,
        "" => Kind::Text,
        "application/json"
        | "application/xml"
        | "application/javascript"
        | "application/yaml"
        | "application/toml"
        | "application/x-ndjson"
        | "application/jsonl" => Kind::Text,
        other if other.ends_with("+json") || other.ends_with("+xml") => Kind::Text,
        other if other.starts_with("text/") && !is_binary(body) => Kind::Text,
        _ => Kind::Other,
    }
}

/// The text of a body. UTF-8 unless the server says Latin-1.
fn decoded(body: &[u8], content_type: &str) -> String {
    let lower = content_type.to_ascii_lowercase();
    let charset = lower
        .split("charset=")
        .nth(1)
        .map(|it| it.trim_matches(['"', '\'', ' ']));
    match charset {
        // Latin-1 code points are Unicode's first 256.
        Some(it) if it.starts_with("iso-8859-1") || it.starts_with("windows-1252") => {
            body.iter().map(|byte| char::from(*byte)).collect()
        }
        _ => String::from_utf8_lossy(body)
            .trim_start_matches('\u{feff}')
            .to_owned(),
    }
}
