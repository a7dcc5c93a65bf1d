//! Model providers: keys, addresses, prices, routes.

use std::sync::Arc;

use adjutant_ports::Models as _;
use adjutant_providers::Registry;

use super::{Findings, Subject};
use crate::setup::{KEYED, ollama_address};

pub(super) async fn look(subject: &Subject, found: &mut Findings) {
    let lookup = |name: &str| {
        subject
            .env
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let providers = &subject.config.providers;
    let registry = match Registry::build(providers, &lookup, Arc::clone(&subject.clock)) {
        Ok(registry) => registry,
        Err(error) => {
            return found.error(
                "providers.config",
                error.to_string(),
                "adjutant config edit",
            );
        }
    };
    // Building it has read every address and every reference to a key.
    found.ok(
        "providers.config",
        "addresses and references to keys are well formed",
    );
    keys(subject, &registry, found);
    routes(subject, &registry, found);
    let usable = registry.discover().await;
    match usable.iter().find(|it| it.provider == "ollama") {
        Some(it) => found.ok(
            "providers.ollama",
            format!("{}, {} models", it.how, it.models.len()),
        ),
        None if is_wanted(subject, "ollama") => found.error(
            "providers.ollama",
            format!("nothing answers at {}", ollama_address(providers)),
            "start it with `ollama serve`",
        ),
        None => found.skipped(
            "providers.ollama",
            format!(
                "nothing answers at {}, and nothing needs it",
                ollama_address(providers)
            ),
        ),
    }
    found.expect(
        "providers.real",
        registry.default_route().split('/').next() != Some("offline"),
        format!("answers come from {}", registry.default_route()),
        "answers come from the built-in responder, which follows fixed rules and is not a model",
        "put a key into the environment, then `adjutant setup`",
    );
    let capped = subject.config.budget.caps() != adjutant_domain::agent::AgentBudget::default();
    let free = registry.default_route().starts_with("offline")
        || registry.default_route().starts_with("ollama");
    found.expect(
        "budget.caps",
        capped || free,
        if capped {
            "a money cap is set"
        } else {
            "the default model costs nothing"
        },
        "no money cap is set: only an agent's own caps hold",
        "adjutant config set budget.day '\"5.00\"'",
    );
}

/// Whether the configuration routes anything to the provider.
fn is_wanted(subject: &Subject, provider: &str) -> bool {
    let providers = &subject.config.providers;
    let routes = providers.default.iter().chain(&providers.fallbacks);
    routes
        .into_iter()
        .any(|route| route.split('/').next() == Some(provider))
}

/// One check for each provider that takes a key.
fn keys(subject: &Subject, registry: &Registry, found: &mut Findings) {
    for (name, variables) in KEYED {
        let id = format!("providers.key.{name}");
        match registry.route(name) {
            Ok(_) => {
                let padded = variables.iter().find(|it| {
                    subject
                        .env
                        .get(**it)
                        .is_some_and(|key| key.trim() != key.as_str())
                });
                match padded {
                    Some(variable) => found.warning(
                        &id,
                        format!("`{variable}` has white space around the key; it is cut off"),
                        format!("set `{variable}` again without it"),
                    ),
                    None => found.ok(&id, "a key is at hand"),
                }
            }
            Err(why)
                if is_wanted(subject, name)
                    || variables.iter().any(|it| subject.env.contains_key(*it)) =>
            {
                found.error(
                    &id,
                    why,
                    format!("{}=… adjutant setup --provider {name}", variables[0]),
                );
            }
            Err(_) => found.skipped(
                &id,
                format!("{} is not set, and nothing needs it", variables[0]),
            ),
        }
    }
}

fn routes(subject: &Subject, registry: &Registry, found: &mut Findings) {
    let default = registry.default_route();
    match registry.route(&default) {
        Err(why) => found.error("providers.default", why, "adjutant setup"),
        Ok(route) => {
            found.ok("providers.default", route.name.clone());
            found.expect(
                "providers.price",
                route.price.is_some(),
                "its price is known",
                format!("no price is known for `{}`: its cost is shown as unknown, and no cap counts it", route.name),
                format!("set `providers.prices.\"{}\"` in the configuration", route.name),
            );
            let local = route.offline || default.starts_with("ollama");
            let known = local || route.context_tokens.is_some();
            found.expect(
                "providers.context",
                known,
                route.context_tokens.map_or_else(
                    || "no fixed size".to_owned(),
                    |it| format!("{it} tokens of context"),
                ),
                format!(
                    "the context size of `{}` is not known; the agent's own limit is used",
                    route.name
                ),
                "set `context_tokens` in the agent's limits to what the model can take",
            );
        }
    }
    let broken: Vec<String> = subject
        .config
        .providers
        .fallbacks
        .iter()
        .filter_map(|route| {
            registry
                .route(route)
                .err()
                .map(|why| format!("`{route}`: {why}"))
        })
        .collect();
    found.expect(
        "providers.fallbacks",
        broken.is_empty(),
        format!(
            "{} further routes, all usable",
            subject.config.providers.fallbacks.len()
        ),
        broken.join("; "),
        "adjutant config set providers.fallbacks '[…]'",
    );
}
