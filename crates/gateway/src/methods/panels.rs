//! Lists that newer control surfaces ask for and this gateway has nothing for.

use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::panels::{
    CompanionState, OfAgentParams, OfSessionParams, ProgressCard, ProgressCardGet, QuestionList,
    QuestionsPage, SessionBranches, SessionGroups, SessionsBranchesList, SessionsCompanionState,
    SessionsGroupsList, SuggestionsPage, TaskSuggestionsList, TasksList, TasksListParams,
    TasksPage, UsersPrefs, UsersPrefsGet, UsersPrefsParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

impl Handle<QuestionList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<QuestionsPage, Fault> {
        Ok(QuestionsPage::default())
    }
}

impl Handle<TaskSuggestionsList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: OfAgentParams,
    ) -> Result<SuggestionsPage, Fault> {
        Ok(SuggestionsPage::default())
    }
}

impl Handle<TasksList> for Core {
    async fn handle(&self, _caller: &Caller, _params: TasksListParams) -> Result<TasksPage, Fault> {
        Ok(TasksPage::default())
    }
}

impl Handle<SessionsGroupsList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<SessionGroups, Fault> {
        Ok(SessionGroups::default())
    }
}

impl Handle<SessionsBranchesList> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: OfSessionParams,
    ) -> Result<SessionBranches, Fault> {
        self.of_session("sessions.branches.list", &params)?;
        Ok(SessionBranches::default())
    }
}

impl Handle<SessionsCompanionState> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: OfSessionParams,
    ) -> Result<CompanionState, Fault> {
        self.of_session("sessions.companion.state", &params)?;
        Ok(CompanionState::default())
    }
}

impl Handle<ProgressCardGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: OfSessionParams,
    ) -> Result<ProgressCard, Fault> {
        self.of_session("progressCard.get", &params)?;
        Ok(ProgressCard::default())
    }
}

impl Handle<UsersPrefsGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        _params: UsersPrefsParams,
    ) -> Result<UsersPrefs, Fault> {
        Ok(UsersPrefs {
            status: "no_durable_identity".to_owned(),
        })
    }
}

impl Core {
    fn of_session(&self, method: &str, params: &OfSessionParams) -> Result<(), Fault> {
        let key = self.key(method, &params.session_key)?;
        Self::agrees(method, &key, params.agent_id.as_deref())
    }
}
