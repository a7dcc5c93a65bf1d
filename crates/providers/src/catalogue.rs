//! What models cost and how much they take in, as data (TE-1 to TE-3).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use adjutant_domain::money::Price;

use crate::config::PriceOverride;

/// The catalogue shipped with the program.
const SHIPPED: &str = include_str!("../catalog.toml");
/// What may follow a prefix: the rest is then a date, a size or a variant of the same model.
const BOUNDARIES: [char; 4] = ['-', ':', '@', '.'];

/// One model of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Provider name.
    pub provider: String,
    /// Model name as the provider knows it.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Tokens it can take in.
    pub context: u32,
    /// Tokens it can generate in one reply.
    pub max_output: u32,
    /// Micro-dollars per million prompt tokens.
    pub input: u64,
    /// Micro-dollars per million generated tokens.
    pub output: u64,
    /// Micro-dollars per million prompt tokens read from a cache; like `input` when unset.
    pub cache_read: Option<u64>,
    /// Micro-dollars per million prompt tokens written to a cache; like `input` when unset.
    pub cache_write: Option<u64>,
    /// Where the price was published.
    pub source: String,
    /// When it was looked up, `YYYY-MM-DD`.
    pub as_of: String,
}

impl Model {
    /// The price with nothing left open.
    #[must_use]
    pub fn price(&self) -> Price {
        let Self {
            input,
            output,
            cache_read,
            cache_write,
            ..
        } = *self;
        PriceOverride {
            input,
            output,
            cache_read,
            cache_write,
        }
        .price()
    }
}

/// A provider whose models cost nothing, declared on purpose (TE-3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Free {
    provider: String,
    /// Why, for the person who reads the file.
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shipped {
    model: Vec<Model>,
    free: Vec<Free>,
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the catalogue cannot be read")]
pub struct CatalogueError(#[from] toml::de::Error);

/// Prices and sizes by provider and model.
#[derive(Debug)]
pub struct Catalogue {
    models: BTreeMap<String, Model>,
    free: Vec<String>,
}

impl Catalogue {
    /// The catalogue shipped with the program.
    ///
    /// Read when first asked for: a start does not pay for it.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        static ONCE: OnceLock<Arc<Catalogue>> = OnceLock::new();
        let read = || {
            Arc::new(Self::parse(SHIPPED).expect("a test reads the catalogue that is compiled in"))
        };
        Arc::clone(ONCE.get_or_init(read))
    }

    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`CatalogueError`] with line and reason.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let Shipped { model, free } = toml::from_str(text)?;
        let models = model
            .into_iter()
            .map(|model| (format!("{}/{}", model.provider, model.id), model))
            .collect();
        Ok(Self {
            models,
            free: free.into_iter().map(|free| free.provider).collect(),
        })
    }

    /// All models, by provider and name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// The entry for a model: its own, else the one with the longest name that is a prefix of it.
    #[must_use]
    pub fn model(&self, provider: &str, model: &str) -> Option<&Model> {
        longest(&self.models, &format!("{provider}/{model}"))
    }

    /// The price of a model in the order of TE-1; none is *unpriced*, which is never free.
    #[must_use]
    pub fn price(
        &self,
        overrides: &BTreeMap<String, PriceOverride>,
        provider: &str,
        model: &str,
    ) -> Option<Price> {
        let listed_as = listed_as(provider);
        longest(overrides, &format!("{provider}/{model}"))
            .or_else(|| longest(overrides, &format!("{listed_as}/{model}")))
            .map(PriceOverride::price)
            .or_else(|| self.model(listed_as, model).map(Model::price))
            .or_else(|| self.is_free(provider).then(Price::default))
    }

    fn is_free(&self, provider: &str) -> bool {
        self.free.iter().any(|free| free == provider)
    }
}

/// Two doors to the same models.
pub(crate) fn listed_as(provider: &str) -> &str {
    match provider {
        "openai-responses" => "openai",
        other => other,
    }
}

/// The value at `name`, else at the longest key that is a prefix of `name` and ends at a boundary.
fn longest<'a, T>(table: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    if let Some(found) = table.get(name) {
        return Some(found);
    }
    name.char_indices()
        .rev()
        .filter(|(_, c)| BOUNDARIES.contains(c))
        .find_map(|(at, _)| table.get(name.get(..at)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use adjutant_domain::money::{Micros, Usage};

    fn price(provider: &str, model: &str) -> Option<Price> {
        Catalogue::shipped().price(&BTreeMap::new(), provider, model)
    }

    #[test]
    fn the_shipped_catalogue_is_complete() {
        let catalogue = Catalogue::shipped();
        assert!(40 <= catalogue.models().count());
        for model in catalogue.models() {
            let name = format!("{}/{}", model.provider, model.id);
            assert!(model.source.starts_with("https://"), "{name}");
            assert_eq!(model.as_of.len(), 10, "{name}");
            assert!(0 < model.input && model.input <= model.output, "{name}");
            assert!(model.max_output <= model.context, "{name}");
            let price = model.price();
            assert!(price.cache_read <= price.input, "{name}");
        }
    }

    #[test]
    fn every_default_model_has_a_price() {
        for kind in crate::kind::BUILT_IN {
            assert!(
                price(kind.name(), kind.default_model()).is_some(),
                "{}",
                kind.name()
            );
        }
    }

    #[test]
    fn a_dated_mini_name_takes_the_mini_price() {
        assert_eq!(
            price("openai", "gpt-4o-mini-2024-07-18"),
            price("openai", "gpt-4o-mini")
        );
        assert_ne!(
            price("openai", "gpt-4o-mini-2024-07-18"),
            price("openai", "gpt-4o")
        );
        assert_eq!(
            price("openai", "gpt-4o-2024-11-20"),
            price("openai", "gpt-4o")
        );
        assert_eq!(
            price("openai-responses", "gpt-5-mini"),
            price("openai", "gpt-5-mini")
        );
    }

    #[test]
    fn a_prefix_counts_only_at_a_boundary() {
        assert_eq!(price("openai", "gpt-4omega"), None);
        assert_eq!(price("openai", "gpt-5000"), None);
    }

    #[test]
    fn unknown_is_unpriced_and_local_is_free() {
        assert_eq!(price("openai", "gpt-unheard-of"), None);
        assert_eq!(price("somewhere", "gpt-5"), None);
        assert_eq!(price("ollama", "llama3.2"), Some(Price::default()));
        assert_eq!(price("offline", "rules"), Some(Price::default()));
    }

    #[test]
    fn ones_own_price_beats_the_catalogue_even_with_a_shorter_name() {
        let own = |input| PriceOverride {
            input,
            output: 2,
            cache_read: None,
            cache_write: Some(9),
        };
        let table: BTreeMap<String, PriceOverride> = [
            ("openai/gpt-5".to_owned(), own(1)),
            ("openai/gpt-5-mini-2025".to_owned(), own(7)),
        ]
        .into();
        let look = |model| {
            Catalogue::shipped()
                .price(&table, "openai", model)
                .unwrap()
                .input
        };
        assert_eq!(look("gpt-5"), 1);
        assert_eq!(look("gpt-5-mini"), 1);
        assert_eq!(look("gpt-5-mini-2025-08-07"), 7);
        let price = Catalogue::shipped()
            .price(&table, "openai", "gpt-5")
            .unwrap();
        assert_eq!(
            price,
            Price {
                input: 1,
                output: 2,
                cache_read: 1,
                cache_write: 9
            }
        );
    }

    #[test]
    fn a_thousand_tokens_cost_what_the_price_list_says() {
        let cost = |provider, model, usage: &Usage| price(provider, model).unwrap().cost(usage);
        let usage = Usage {
            input: 1000,
            output: 1000,
            cache_read: 1000,
            cache_write: 1000,
            estimated: false,
        };
        // 3 + 15 + 0.30 + 3.75 dollars per million.
        assert_eq!(
            cost("anthropic", "claude-sonnet-4-5-20250929", &usage),
            Micros(22_050)
        );
        let usage = Usage {
            cache_write: 0,
            ..usage
        };
        // 0.15 + 0.60 + 0.075 dollars per million.
        assert_eq!(cost("openai", "gpt-4o-mini", &usage), Micros(825));
    }
}
