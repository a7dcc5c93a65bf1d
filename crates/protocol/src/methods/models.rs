//! `models.*`: models and providers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::money::Price;

use crate::method::{Order, methods};
use crate::methods::common::NoParams;

methods! {
    /// List the models of the catalogue.
    ModelsList = "models.list" (ModelsListParams) -> ModelsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Say which model is used by default, and how the providers are doing.
    ModelsStatus = "models.status" (NoParams) -> ModelsReport
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `models.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelsListParams {
    /// Accepted for newer clients; the list is the same for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Accepted for newer clients; the list is the same for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// `configured`: only those with a credential at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// Only those of this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRow {
    /// Model name as the provider knows it.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Provider name.
    pub provider: String,
    /// Tokens it can take in, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u32>,
    /// Millionths of a dollar per million tokens, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Whether a credential for its provider is at hand.
    pub available: bool,
}

/// Result of `models.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelsPage {
    /// The models.
    pub models: Vec<ModelRow>,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRow {
    /// Provider name.
    pub name: String,
    /// Whether a credential is at hand, or none is needed.
    pub configured: bool,
    /// Where requests go.
    pub base_url: String,
    /// The last fault; none while it works or has not been used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
    /// How long it will not be asked because it kept failing.
    pub resting_ms: u64,
}

/// Result of `models.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelsReport {
    /// `provider/model` for agents that name none.
    pub default: String,
    /// Routes tried after it.
    pub fallbacks: Vec<String>,
    /// The providers.
    pub providers: Vec<ProviderRow>,
}
