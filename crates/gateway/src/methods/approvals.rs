//! `approvals.*`.

use std::time::Duration;

use adjutant_domain::approval::{Approval, ApprovalState, Choice};
use adjutant_domain::code::Code;
use adjutant_domain::id::ApprovalId;
use adjutant_domain::time::Span;
use adjutant_ports::failpoint::{self, Point};
use adjutant_protocol::methods::approvals::{
    ApprovalIdParams, ApprovalShown, ApprovalsGet, ApprovalsHistory, ApprovalsList,
    ApprovalsListParams, ApprovalsPage, ApprovalsResolve, ApprovalsResolveParams,
    ApprovalsRulesList, ApprovalsRulesRemove, Decision, RuleRemoved, RulesListParams, RulesPage,
    RulesRemoveParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::{PAGE_MAX, page};

/// Characters of a short id.
const SHORT_ID_MIN: usize = 6;
/// Longest answer for a while.
const FOR_MS_MAX: u64 = 366 * 24 * 3_600 * 1_000;

impl Handle<ApprovalsList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ApprovalsListParams,
    ) -> Result<ApprovalsPage, Fault> {
        let limit = page(params.limit, 100, PAGE_MAX);
        let now = self.now();
        let mut approvals = self.deps.store.approvals(self.owner(), true, limit).await?;
        // What nobody answered in time is a no, even before its worker has written that down.
        approvals.retain(|approval| now < approval.expires_at);
        Ok(ApprovalsPage { approvals })
    }
}

impl Handle<ApprovalsHistory> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ApprovalsListParams,
    ) -> Result<ApprovalsPage, Fault> {
        let limit = page(params.limit, 100, PAGE_MAX);
        Ok(ApprovalsPage {
            approvals: self
                .deps
                .store
                .approvals(self.owner(), false, limit)
                .await?,
        })
    }
}

impl Handle<ApprovalsGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: ApprovalIdParams,
    ) -> Result<ApprovalShown, Fault> {
        Ok(ApprovalShown {
            approval: self.question("approvals.get", &params.id).await?,
        })
    }
}

impl Handle<ApprovalsResolve> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: ApprovalsResolveParams,
    ) -> Result<ApprovalShown, Fault> {
        let choice = choice(&params)?;
        let question = self.question("approvals.resolve", &params.id).await?;
        if question.state == ApprovalState::Open && question.expires_at <= self.now() {
            return Err(Fault::new(
                Code::Expired,
                "nobody answered in time, which is a no",
            ));
        }
        let store = &self.deps.store;
        let approval = store
            .resolve_approval(self.owner(), question.id, choice, &caller.name())
            .await?;
        failpoint::reach(Point::AfterApproval);
        Ok(ApprovalShown { approval })
    }
}

impl Handle<ApprovalsRulesList> for Core {
    async fn handle(&self, _caller: &Caller, params: RulesListParams) -> Result<RulesPage, Fault> {
        Ok(RulesPage {
            rules: self
                .deps
                .store
                .grants(self.owner(), params.agent_id.as_ref())
                .await?,
        })
    }
}

impl Handle<ApprovalsRulesRemove> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: RulesRemoveParams,
    ) -> Result<RuleRemoved, Fault> {
        let id = params.id.to_string();
        self.audit(caller, "grant.revoke", &id, serde_json::json!({}))
            .await?;
        let removed = self
            .deps
            .store
            .revoke_grant(self.owner(), params.id)
            .await?;
        if removed {
            self.changed("grant", &id).await?;
        }
        Ok(RuleRemoved { removed })
    }
}

impl Core {
    /// A question by its identifier, or an open one by the end of it.
    async fn question(&self, method: &str, id: &str) -> Result<Approval, Fault> {
        let store = &self.deps.store;
        if let Ok(full) = id.parse::<ApprovalId>() {
            let found = store.approval(self.owner(), full).await?;
            return found.ok_or_else(|| Fault::not_found("approval", id));
        }
        if id.len() < SHORT_ID_MIN || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let reason = format!(
                "`id` must be an approval id or at least {SHORT_ID_MIN} characters of its end"
            );
            return Err(Fault::params(method, reason));
        }
        let end = id.to_ascii_uppercase();
        let open = store.approvals(self.owner(), true, PAGE_MAX).await?;
        let mut found = open
            .into_iter()
            .filter(|approval| approval.id.to_string().ends_with(&end));
        match (found.next(), found.next()) {
            (Some(approval), None) => Ok(approval),
            (Some(_), Some(_)) => Err(Fault::new(
                Code::Conflict,
                format!("`{id}` fits several open questions"),
            )),
            (None, _) => Err(Fault::not_found("open approval", id)),
        }
    }
}

fn choice(params: &ApprovalsResolveParams) -> Result<Choice, Fault> {
    let refuse = |reason: &str| Err(Fault::params("approvals.resolve", reason));
    match (params.decision, params.for_ms) {
        (Decision::For, Some(ms)) if (1..=FOR_MS_MAX).contains(&ms) => Ok(Choice::For {
            span: Span::from(Duration::from_millis(ms)),
        }),
        (Decision::For, Some(_)) => refuse("`forMs` must be between 1 and a year"),
        (Decision::For, None) => refuse("`for` needs `forMs`"),
        (_, Some(_)) => refuse("`forMs` goes with the decision `for` only"),
        (Decision::Once, None) => Ok(Choice::Once),
        (Decision::Session, None) => Ok(Choice::Session),
        (Decision::Always, None) => Ok(Choice::Always),
        (Decision::Deny, None) => Ok(Choice::Deny),
    }
}
