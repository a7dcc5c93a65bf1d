//! `models.*`.

use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::models::{
    ModelRow, ModelsList, ModelsListParams, ModelsPage, ModelsReport, ModelsStatus, ProviderRow,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

impl Handle<ModelsList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ModelsListParams,
    ) -> Result<ModelsPage, Fault> {
        let mut known = self.deps.models.list();
        known.retain(|model| {
            (params.view.as_deref() != Some("configured") || model.available)
                && params
                    .provider
                    .as_deref()
                    .is_none_or(|provider| model.provider == provider)
        });
        let models = known.into_iter().map(|model| ModelRow {
            id: model.id,
            name: model.name,
            provider: model.provider,
            context_window: model.context_window,
            price: model.price,
            available: model.available,
        });
        Ok(ModelsPage {
            models: models.collect(),
        })
    }
}

impl Handle<ModelsStatus> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<ModelsReport, Fault> {
        let providers = self
            .deps
            .models
            .status()
            .into_iter()
            .map(|provider| ProviderRow {
                name: provider.name,
                configured: provider.configured,
                base_url: provider.base_url,
                last_fault: provider.last_fault,
                resting_ms: u64::try_from(provider.resting.as_millis()).unwrap_or(u64::MAX),
            });
        Ok(ModelsReport {
            default: self.deps.models.default_route(),
            fallbacks: self.deps.models.fallbacks(),
            providers: providers.collect(),
        })
    }
}
