#![allow(clippy::unwrap_used)]

use super::*;
use crate::tests_support::HandClock;

fn registry(text: &str, env: &[(&str, &str)]) -> Arc<Registry> {
    let config: Config = toml::from_str(text).unwrap();
    let env = |name: &str| {
        env.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Registry::build(&config, &env, HandClock::new()).unwrap()
}

fn refusal(registry: &Registry, name: &str) -> String {
    registry
        .route(name)
        .err()
        .expect("the route must be refused in this test")
}

#[test]
fn a_route_is_split_at_its_first_slash_only() {
    let registry = registry(
        "",
        &[
            ("OPENROUTER_API_KEY", "k-123456"),
            ("OPENAI_API_KEY", "k-654321"),
        ],
    );
    let route = registry
        .route("openrouter/anthropic/claude-sonnet-4.5")
        .unwrap();
    assert_eq!(route.model, "anthropic/claude-sonnet-4.5");
    assert_eq!(route.price.unwrap().output, 15_000_000);
    let route = registry.route("openai").unwrap();
    assert_eq!(
        (route.name.as_str(), route.context_tokens),
        ("openai/gpt-5-mini", Some(400_000))
    );
    let route = registry.route("openai-responses/gpt-4.1").unwrap();
    assert_eq!(route.price.unwrap().input, 2_000_000);
    assert_eq!(registry.route("openai/gpt-unheard-of").unwrap().price, None);
}

#[test]
fn what_cannot_be_used_says_how_to_fix_it() {
    let registry = registry(
        "[groq]\nenabled = false\n[gemini]\nkey = 'env:NOPE'\n[anthropic]\nkey = 'file:/nowhere/key'",
        &[],
    );
    assert!(refusal(&registry, "opnai/x").contains("there are: anthropic, openai,"));
    assert!(refusal(&registry, "openai").contains("set `OPENAI_API_KEY`"));
    assert!(refusal(&registry, "groq").contains("providers.groq.enabled"));
    assert!(refusal(&registry, "gemini").contains("`NOPE` is not set"));
    assert!(refusal(&registry, "anthropic").contains("`/nowhere/key` cannot be read"));
    assert!(refusal(&registry, "offline/gpt").contains("offline/rules"));
}

#[test]
fn the_default_is_what_has_a_key_and_else_the_honest_responder() {
    assert_eq!(registry("", &[]).default_route(), "offline/rules");
    assert!(registry("", &[]).route("offline").unwrap().offline);
    let keyed = registry(
        "",
        &[("GOOGLE_API_KEY", "k-123456"), ("GROQ_API_KEY", "k-1")],
    );
    assert_eq!(keyed.default_route(), "gemini/gemini-2.5-flash");
    let chosen = registry(
        "default = 'ollama'\nfallbacks = ['offline']\n[ollama]\nmodel = 'qwen3'",
        &[],
    );
    assert_eq!(chosen.default_route(), "ollama/qwen3");
    assert_eq!(chosen.fallbacks(), ["offline"]);
    assert_eq!(
        chosen.route("ollama").unwrap().price,
        Some(Price::default())
    );
}

// covers: S45
#[test]
fn a_key_from_a_file_is_used_and_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "planted-4711\n").unwrap();
    let text = format!("[openai]\nkey = 'file:{}'", file.path().display());
    let registry = registry(&text, &[]);
    assert!(registry.route("openai").is_ok());
    let shown = format!(
        "{:?}{:?}{}",
        registry.status(),
        registry.list(),
        registry.default_route()
    );
    assert!(!shown.contains("4711"));
}

#[test]
fn the_list_says_what_is_available() {
    let registry = registry(
        "[[custom]]\nname = 'lab'\nbase_url = 'http://127.0.0.1:1/v1'\nmodel = 'm'",
        &[("OPENAI_API_KEY", "k-123456")],
    );
    let list = registry.list();
    let of = |provider: &str| {
        list.iter()
            .find(|model| model.provider == provider)
            .unwrap()
    };
    assert!(of("openai").available);
    assert!(!of("anthropic").available);
    assert!(of("lab").available);
    assert_eq!(of("lab").price, None);
    assert_eq!(of("offline").price, Some(Price::default()));
    let status = registry.status();
    assert_eq!(status.len(), 9);
    assert!(status.iter().all(|status| status.last_fault.is_none()));
}

#[test]
fn a_broken_section_names_every_place() {
    let config: Config = toml::from_str("timeout = '0s'\n[openai]\nbase_url = 'nope'").unwrap();
    let error = Registry::build(&config, &|_| None, HandClock::new())
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "providers.timeout: must be between `1ms` and `24h`: 0ms; \
         providers.openai.base_url: not an address: write it as `https://host/path`"
    );
}
