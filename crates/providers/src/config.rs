//! The `[providers]` section of the configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::money::Price;
use adjutant_domain::time::Span;

use crate::endpoint::{base_url, is_loopback};
use crate::kind::{BUILT_IN, Kind};

/// Longest deadline that makes sense: a day.
const SPAN_MS_MAX: u128 = 24 * 3_600_000;
/// Dearest believable price, in micro-dollars per million tokens: ten thousand dollars.
const PRICE_MAX: u64 = 10_000_000_000;

/// Model providers: where they are, which keys they get, what they cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The route of agents that name none: `provider/model`, or a provider for its default model. When unset, the
    /// first provider with a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Routes tried after the first one failed, in order.
    pub fallbacks: Vec<String>,
    /// Longest time of a whole exchange with a model.
    pub timeout: Span,
    /// Longest time until a connection stands.
    pub connect_timeout: Span,
    /// Longest time from sending a request to the first byte of the reply.
    pub first_byte_timeout: Span,
    /// Longest silence within a reply.
    pub idle_timeout: Span,
    /// When a provider that keeps failing is left alone.
    pub breaker: Breaker,
    /// Anthropic Messages.
    pub anthropic: Remote,
    /// OpenAI Chat Completions.
    pub openai: Remote,
    /// OpenAI Responses.
    #[serde(rename = "openai-responses", alias = "openai_responses")]
    pub openai_responses: Remote,
    /// Google Gemini.
    pub gemini: Remote,
    /// Groq.
    pub groq: Remote,
    /// OpenRouter.
    pub openrouter: Remote,
    /// Ollama.
    pub ollama: Remote,
    /// Further endpoints that speak OpenAI Chat Completions, by name.
    pub custom: Vec<Custom>,
    /// Prices of one's own, by `provider/model` or a beginning of it.
    pub prices: BTreeMap<String, PriceOverride>,
}

/// One built-in provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Remote {
    /// Whether it may be used.
    pub enabled: bool,
    /// Where it is, instead of its usual place. The key is then sent there, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Reference to the key: `env:NAME` or `file:/path`. When unset, the provider's usual environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Model when only the provider is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            enabled: true,
            base_url: None,
            key: None,
            model: None,
        }
    }
}

/// One further endpoint that speaks OpenAI Chat Completions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Its name in routes: small letters, digits and `-`.
    pub name: String,
    /// Where it is.
    pub base_url: String,
    /// Reference to the key: `env:NAME` or `file:/path`. No key is sent when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Model when only the endpoint is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens its models can take in, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// Whether it may be used.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// When a provider that keeps failing is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// So many faults in a row.
    pub faults: u32,
    /// For so long; longer when it still fails afterwards.
    pub rest: Span,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            faults: 5,
            rest: Span::from_secs(15),
        }
    }
}

/// A price of one's own, in micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceOverride {
    /// Prompt tokens.
    pub input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Prompt tokens read from the provider's cache; like `input` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Prompt tokens written to the provider's cache; like `input` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
}

impl PriceOverride {
    /// The price with nothing left open.
    #[must_use]
    pub fn price(&self) -> Price {
        Price {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read.unwrap_or(self.input),
            cache_write: self.cache_write.unwrap_or(self.input),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default: None,
            fallbacks: Vec::new(),
            timeout: Span::from_secs(120),
            connect_timeout: Span::from_secs(10),
            first_byte_timeout: Span::from_secs(60),
            idle_timeout: Span::from_secs(60),
            breaker: Breaker::default(),
            anthropic: Remote::default(),
            openai: Remote::default(),
            openai_responses: Remote::default(),
            gemini: Remote::default(),
            groq: Remote::default(),
            openrouter: Remote::default(),
            ollama: Remote::default(),
            custom: Vec::new(),
            prices: BTreeMap::new(),
        }
    }
}

/// One thing that is wrong with the section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Key below this section.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Config {
    /// The table of a built-in provider, for `--base-url` and for setup.
    pub fn remote_mut(&mut self, provider: &str) -> Option<&mut Remote> {
        Some(match provider {
            "anthropic" => &mut self.anthropic,
            "openai" => &mut self.openai,
            "openai-responses" => &mut self.openai_responses,
            "gemini" => &mut self.gemini,
            "groq" => &mut self.groq,
            "openrouter" => &mut self.openrouter,
            "ollama" => &mut self.ollama,
            _ => return None,
        })
    }

    pub(crate) fn remote(&self, kind: Kind) -> &Remote {
        match kind {
            Kind::Anthropic => &self.anthropic,
            Kind::OpenAi => &self.openai,
            Kind::Responses => &self.openai_responses,
            Kind::Gemini => &self.gemini,
            Kind::Groq => &self.groq,
            Kind::OpenRouter => &self.openrouter,
            Kind::Ollama => &self.ollama,
        }
    }

    /// Values that parse but make no sense; empty when the section is fine.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut found = Findings(Vec::new());
        let spans = [
            ("timeout", self.timeout),
            ("connect_timeout", self.connect_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
            ("idle_timeout", self.idle_timeout),
            ("breaker.rest", self.breaker.rest),
        ];
        for (key, span) in spans {
            let ms = span.duration().as_millis();
            if ms == 0 || SPAN_MS_MAX < ms {
                found.add(key, format!("must be between `1ms` and `24h`: {span}"));
            }
        }
        if self.breaker.faults == 0 || 1000 < self.breaker.faults {
            found.add(
                "breaker.faults",
                format!("must be between 1 and 1000: {}", self.breaker.faults),
            );
        }
        for kind in BUILT_IN {
            let remote = self.remote(kind);
            let key_of = |field: &str| format!("{}.{field}", kind.name());
            found.key_reference(&key_of("key"), remote.key.as_deref());
            if let Some(text) = &remote.base_url {
                let needs_key = !kind.key_variables().is_empty() || remote.key.is_some();
                found.base_url(&key_of("base_url"), text, kind, needs_key);
            }
        }
        for (at, custom) in self.custom.iter().enumerate() {
            let key_of = |field: &str| format!("custom[{at}].{field}");
            let taken = custom.name == "offline"
                || BUILT_IN.iter().any(|kind| kind.name() == custom.name)
                || self.custom[..at]
                    .iter()
                    .any(|other| other.name == custom.name);
            if taken {
                found.add(
                    &key_of("name"),
                    format!("is taken already: `{}`", custom.name),
                );
            }
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if custom.name.is_empty() || 64 < custom.name.len() || !custom.name.bytes().all(plain) {
                let message = format!("must be 1 to 64 of a-z, 0-9, `-`: `{}`", custom.name);
                found.add(&key_of("name"), message);
            }
            found.base_url(
                &key_of("base_url"),
                &custom.base_url,
                Kind::OpenAi,
                custom.key.is_some(),
            );
            found.key_reference(&key_of("key"), custom.key.as_deref());
        }
        let routes = self
            .default
            .iter()
            .map(|route| ("default".to_owned(), route));
        let fallbacks = self
            .fallbacks
            .iter()
            .enumerate()
            .map(|(at, route)| (format!("fallbacks[{at}]"), route));
        for (key, route) in routes.chain(fallbacks) {
            let provider = route.split('/').next().unwrap_or_default();
            if !self.knows(provider) {
                let message =
                    format!("must begin with a provider, as in `openai/gpt-5-mini`: `{route}`");
                found.add(&key, message);
            }
        }
        for (name, price) in &self.prices {
            found.price(name, price);
        }
        found.0
    }

    fn knows(&self, provider: &str) -> bool {
        provider == "offline"
            || BUILT_IN.iter().any(|kind| kind.name() == provider)
            || self.custom.iter().any(|custom| custom.name == provider)
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, key: &str, message: String) {
        self.0.push(Finding {
            key: key.to_owned(),
            message,
        });
    }

    fn key_reference(&mut self, key: &str, reference: Option<&str>) {
        if let Some(Err(message)) = reference.map(KeyReference::parse) {
            self.add(key, message.to_owned());
        }
    }

    fn base_url(&mut self, key: &str, text: &str, kind: Kind, with_key: bool) {
        match base_url(text, kind.style()) {
            Err(error) => self.add(key, error.to_string()),
            Ok(url) if with_key && url.scheme() == "http" && !is_loopback(&url) => {
                self.add(
                    key,
                    "must be `https`: a key does not travel in the clear".to_owned(),
                );
            }
            Ok(_) => {}
        }
    }

    fn price(&mut self, name: &str, price: &PriceOverride) {
        let key = format!("prices.\"{name}\"");
        let (provider, model) = name.split_once('/').unwrap_or((name, ""));
        if provider.is_empty() || model.is_empty() {
            self.add(&key, "must be named `provider/model`".to_owned());
        }
        let price = price.price();
        for value in [
            price.input,
            price.output,
            price.cache_read,
            price.cache_write,
        ] {
            if PRICE_MAX < value {
                let message = format!(
                    "must be at most {PRICE_MAX} micro-dollars per million tokens: {value}"
                );
                self.add(&key, message);
            }
        }
    }
}

/// Where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyReference<'a> {
    Env(&'a str),
    File(&'a str),
}

impl<'a> KeyReference<'a> {
    /// Reads `env:NAME` or `file:/path`. The text itself is never part of the message: it may be a key.
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name)),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path)),
            Some(("file", _)) => Err("must be an absolute path behind `file:`"),
            Some(("vault", _)) => {
                Err("cannot be opened from the vault yet; use `env:NAME` or `file:/path`")
            }
            _ => Err(
                "must be a reference, not the key itself: put the key into an environment \
                      variable and write `env:NAME`, or into a file only you can read and write \
                      `file:/path`",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let config: Config = toml::from_str(text).unwrap();
        config
            .check()
            .into_iter()
            .map(|f| format!("{}: {}", f.key, f.message))
            .collect()
    }

    #[test]
    fn the_defaults_are_fine_and_survive_their_text_form() {
        let config = Config::default();
        assert_eq!(config.check(), []);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        assert_eq!(toml::from_str::<Config>("").unwrap(), config);
    }

    // covers: S45
    #[test]
    fn a_key_in_the_file_is_refused_without_repeating_it() {
        let found = findings("[openai]\nkey = 'sk-planted-4711'");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("openai.key: must be a reference, not the key itself"));
        assert!(!found[0].contains("4711"));
    }

    // covers: S47
    #[test]
    fn a_key_does_not_travel_in_the_clear() {
        let far = "[anthropic]\nbase_url = 'http://models.example.test/v1'";
        assert_eq!(
            findings(far),
            ["anthropic.base_url: must be `https`: a key does not travel in the clear"]
        );
        let near = "[anthropic]\nbase_url = 'http://127.0.0.1:4010/v1'\n[ollama]\nbase_url = 'http://10.0.0.5:11434'";
        assert_eq!(findings(near), Vec::<String>::new());
    }

    #[test]
    fn every_finding_names_its_place() {
        let found = findings(
            "default = 'gpt-5'\nfallbacks = ['offline', 'nobody/x']\ntimeout = '0s'\n\
             [breaker]\nfaults = 0\n\
             [[custom]]\nname = 'openai'\nbase_url = 'here'\n\
             [[custom]]\nname = 'Lab 1'\nbase_url = 'https://lab.test/v1'\nkey = 'file:relative'\n\
             [prices.'gpt']\ninput = 1\noutput = 99999999999",
        );
        insta::assert_snapshot!(found.join("\n"));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("timout = '1s'").is_err());
        assert!(toml::from_str::<Config>("[openai]\nbaseurl = 'x'").is_err());
    }
}
