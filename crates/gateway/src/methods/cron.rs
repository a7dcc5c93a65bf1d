//! `cron.list`, `cron.status`.

use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::cron::{
    CronList, CronListParams, CronPage, CronReport, CronStatus,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::{PAGE_MAX, page};
use crate::snapshot::PLACE;

impl Handle<CronList> for Core {
    async fn handle(&self, _caller: &Caller, params: CronListParams) -> Result<CronPage, Fault> {
        let offset = params.offset.unwrap_or(0);
        Ok(CronPage {
            jobs: Vec::new(),
            snapshot_revision: "0".to_owned(),
            total: 0,
            offset,
            limit: page(params.limit, 50, PAGE_MAX),
            has_more: false,
            next_offset: None,
        })
    }
}

impl Handle<CronStatus> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<CronReport, Fault> {
        Ok(CronReport {
            enabled: false,
            store_path: PLACE.to_owned(),
            jobs: 0,
            next_wake_at_ms: None,
        })
    }
}
