//! What a client reads of an answer, as one line per method: `path:type`, `?` for what may be missing, `[]` for each
//! item. Every line is checked against the recorded answer first, so that a rule that no real gateway keeps is noticed.

use serde_json::Value;

/// Rules of successful answers.
pub(crate) const ANSWERS: &[(&str, &str)] = &[
    (
        "connect",
        "type:str protocol:int server.version:str server.connId:str features.methods[]:str features.events[]:str \
         snapshot.presence[].ts:int snapshot.health.ok:bool snapshot.health.ts:int snapshot.health.agents[].agentId:str \
         snapshot.stateVersion.presence:int snapshot.stateVersion.health:int snapshot.uptimeMs:int \
         snapshot.sessionDefaults.defaultAgentId:str snapshot.sessionDefaults.mainKey:str \
         snapshot.sessionDefaults.mainSessionKey:str auth?.role:str auth?.scopes[]:str policy.maxPayload:int \
         policy.maxBufferedBytes:int policy.tickIntervalMs:int",
    ),
    (
        "health",
        "ok:bool ts:int durationMs:int channels:map channelOrder[]:str channelLabels:map heartbeatSeconds:int \
         defaultAgentId:str agents[].agentId:str agents[].isDefault:bool agents[].heartbeat.enabled:bool \
         agents[].heartbeat.every:str agents[].heartbeat.everyMs:int|null agents[].heartbeat.prompt:str \
         agents[].heartbeat.target:str agents[].heartbeat.ackMaxChars:int agents[].sessions.path:str \
         agents[].sessions.count:int agents[].sessions.recent[].key:str sessions.path:str sessions.count:int \
         sessions.recent[].key:str sessions.recent[].updatedAt:int sessions.recent[].age:int",
    ),
    (
        "status",
        "heartbeat.defaultAgentId:str heartbeat.agents[].agentId:str heartbeat.agents[].enabled:bool \
         heartbeat.agents[].every:str heartbeat.agents[].everyMs:int|null channelSummary:list queuedSystemEvents:list \
         sessions.paths:list sessions.count:int sessions.defaults.model:str|null sessions.defaults.contextTokens:int|null \
         sessions.recent:list sessions.byAgent[].agentId:str sessions.byAgent[].path:str sessions.byAgent[].count:int \
         sessions.byAgent[].recent:list",
    ),
    (
        "system-presence",
        "[].ts:int [].mode?:str [].reason?:str [].text?:str",
    ),
    ("last-heartbeat", ":map|null"),
    (
        "agents.list",
        "defaultId:str mainKey:str scope:str agents[].id:str",
    ),
    ("agent.identity.get", "agentId:str name:str avatar:str"),
    (
        "models.list",
        "models[].id:str models[].name:str models[].provider:str",
    ),
    (
        "tools.catalog",
        "agentId:str profiles[].id:str profiles[].label:str groups[].id:str groups[].label:str groups[].source:str \
         groups[].tools[].id:str groups[].tools[].label:str groups[].tools[].description:str \
         groups[].tools[].source:str groups[].tools[].defaultProfiles:list",
    ),
    (
        "skills.status",
        "workspaceDir:str managedSkillsDir:str skills:list",
    ),
    (
        "commands.list",
        "commands[].name:str commands[].textAliases[]:str commands[].description:str commands[].source:str \
         commands[].scope:str commands[].acceptsArgs:bool",
    ),
    (
        "sessions.list",
        "ts:int path:str count:int defaults.modelProvider:str|null defaults.model:str|null \
         defaults.contextTokens:int|null sessions[].key:str sessions[].kind:str sessions[].updatedAt:int|null \
         sessions[].sessionId?:str sessions[].displayName?:str",
    ),
    (
        "sessions.describe",
        "session.key:str session.kind:str session.updatedAt:int|null session.sessionId:str",
    ),
    (
        "sessions.preview",
        "ts:int previews[].key:str previews[].status:str previews[].items[].role:str previews[].items[].text:str",
    ),
    ("sessions.resolve", "ok:bool key:str"),
    ("sessions.patch", "ok:bool path:str key:str entry:map"),
    (
        "sessions.create",
        "ok:bool key:str sessionId:str entry.sessionId:str",
    ),
    (
        "sessions.reset",
        "ok:bool key:str entry.sessionId:str entry.updatedAt:int",
    ),
    (
        "sessions.delete",
        "ok:bool key:str deleted:bool archived:list",
    ),
    (
        "sessions.compact",
        "ok:bool key:str compacted:bool reason?:str",
    ),
    ("sessions.subscribe", "subscribed:bool"),
    ("sessions.messages.subscribe", "subscribed:bool key:str"),
    ("chat.send", "runId:str status:str"),
    ("chat.abort", "ok:bool aborted:bool runIds[]:str"),
    ("agent.wait", "runId:str status:str"),
    (
        "cron.list",
        "jobs:list total?:int offset?:int limit?:int hasMore?:bool nextOffset?:int|null snapshotRevision?:str",
    ),
    (
        "cron.status",
        "enabled:bool storePath:str jobs:int nextWakeAtMs:int|null",
    ),
    (
        "config.get",
        "path:str exists:bool raw:str|null parsed:map valid:bool config:map hash:str issues:list",
    ),
    (
        "channels.status",
        "ts:int channelOrder:list channelLabels:map channelDetailLabels:map channelSystemImages:map channelMeta:list \
         channels:map channelAccounts:map channelDefaultAccountId:map",
    ),
    ("usage.status", "updatedAt:int providers:list"),
    (
        "usage.cost",
        "updatedAt:int days:int daily[].date:str daily[].totalTokens:int daily[].totalCost:num totals.input:int \
         totals.output:int totals.cacheRead:int totals.cacheWrite:int totals.totalTokens:int totals.totalCost:num",
    ),
    (
        "logs.tail",
        "file:str cursor:int size:int lines[]:str truncated?:bool reset?:bool",
    ),
    ("voicewake.get", "triggers[]:str"),
    (
        "exec.approvals.get",
        "path:str exists:bool hash:str file.version:int",
    ),
    (
        "exec.approval.request",
        "id:str decision:str|null createdAtMs:int expiresAtMs:int",
    ),
    ("exec.approval.resolve", "ok:bool"),
    (
        "exec.approval.list",
        "[].id:str [].request.command:str [].createdAtMs:int [].expiresAtMs:int",
    ),
    (
        "approval.get",
        "approval.id:str approval.status:str approval.presentation.kind:str approval.presentation.commandText:str \
         approval.presentation.allowedDecisions[]:str approval.createdAtMs:int approval.expiresAtMs:int",
    ),
    (
        "approval.resolve",
        "applied:bool approval.id:str approval.status:str approval.decision:str",
    ),
    ("plugin.approval.list", ":list"),
    ("question.list", "questions:list"),
    ("taskSuggestions.list", "suggestions:list"),
    ("tasks.list", "tasks:list"),
    ("sessions.groups.list", "groups:list sectionOrder:list"),
    ("progressCard.get", "card:map|null"),
    ("sessions.branches.list", "branches:list"),
    ("sessions.companion.state", "exchanges:list"),
    ("users.prefs.get", "status:str"),
    (
        "device.pair.list",
        "pending[].requestId:str pending[].deviceId:str pending[].ts:int paired[].deviceId:str paired[].publicKey:str \
         paired[].roles[]:str paired[].createdAtMs:int paired[].approvedAtMs:int paired[].tokens[].role:str \
         paired[].tokens[].createdAtMs:int",
    ),
    ("device.pair.approve", "requestId:str device.deviceId:str"),
    (
        "node.list",
        "ts:int nodes[].nodeId:str nodes[].caps[]:str nodes[].commands[]:str nodes[].paired:bool nodes[].connected:bool",
    ),
    (
        "node.describe",
        "ts:int nodeId:str caps[]:str commands[]:str paired:bool connected:bool",
    ),
    (
        "node.invoke",
        "ok:bool nodeId:str command:str payload:any payloadJSON:str|null",
    ),
    ("node.invoke.result", "ok:bool"),
    ("node.event", "ok:bool"),
    ("node.pair.list", "pending:list paired:list"),
    ("node.pair.approve", "requestId:str node:map"),
    ("node.runnerInventory.update", "nodeId:str"),
    ("node.skills.update", "nodeId:str"),
    ("node.pluginTools.update", "nodeId:str"),
    ("exec.approvals.node.get", ":map"),
];

/// The rule of `chat.history` and the first part of `chat.startup`.
pub(crate) const HISTORY: &str = "sessionKey:str sessionId?:str messages[].role:str messages[].timestamp:int \
                                  messages[].content:str|list";
/// The first answer of `agent`.
pub(crate) const ACCEPTED: &str = "runId:str status:str acceptedAt:int";
/// The second.
pub(crate) const ENDED: &str = "runId:str status:str summary:str result.payloads[].text:str \
                                result.payloads[].mediaUrl:str|null result.meta.durationMs:int \
                                result.meta.agentMeta.sessionId:str result.meta.agentMeta.provider:str \
                                result.meta.agentMeta.model:str";

/// Rules of events.
pub(crate) const EVENTS: &[(&str, &str)] = &[
    ("connect.challenge", "nonce:str ts:int"),
    ("tick", "ts:int"),
    (
        "presence",
        "presence[].ts:int presence[].mode?:str presence[].text?:str",
    ),
    (
        "health",
        "ok:bool ts:int durationMs:int channels:map channelOrder:list defaultAgentId:str agents[].agentId:str",
    ),
    (
        "agent",
        "runId:str stream:str data:map seq:int ts:int sessionKey?:str",
    ),
    ("chat", "runId:str sessionKey:str seq:int state:str"),
    ("sessions.changed", "sessionKey:str ts:int session?.key:str"),
    (
        "session.message",
        "sessionKey:str messageId:str message.role:str session?.key:str",
    ),
    (
        "exec.approval.requested",
        "id:str request.command:str createdAtMs:int expiresAtMs:int",
    ),
    (
        "exec.approval.resolved",
        "id:str decision:str resolvedBy:str|null ts:int",
    ),
    (
        "device.pair.resolved",
        "requestId:str deviceId:str decision:str ts:int",
    ),
    (
        "node.pair.resolved",
        "requestId:str nodeId:str decision:str ts:int",
    ),
    (
        "node.invoke.request",
        "id:str nodeId:str command:str paramsJSON:str|null timeoutMs?:int idempotencyKey?:str",
    ),
    ("voicewake.changed", "triggers[]:str"),
];

/// The rule of this name in a table.
pub(crate) fn rule_of(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, rule)| *rule)
}

/// What of `rule` this value does not keep.
pub(crate) fn broken(rule: &str, value: &Value) -> Vec<String> {
    rule.split_whitespace()
        .filter_map(|term| {
            let (path, types) = term.rsplit_once(':').unwrap();
            let mut steps: Vec<&str> = Vec::new();
            for step in path.split('.').filter(|step| !step.is_empty()) {
                match step.strip_suffix("[]") {
                    Some("") => steps.push("[]"),
                    Some(name) => steps.extend([name, "[]"]),
                    None => steps.push(step),
                }
            }
            keeps(&steps, types, value)
                .err()
                .map(|why| format!("{term}: {why}"))
        })
        .collect()
}

fn keeps(steps: &[&str], types: &str, value: &Value) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        return if types.split('|').any(|word| is(word, value)) {
            Ok(())
        } else {
            let shown: String = value.to_string().chars().take(80).collect();
            Err(format!("found {shown}"))
        };
    };
    if *step == "[]" {
        let items = value.as_array().ok_or("not a list")?;
        return items
            .iter()
            // Lists that are too long for a recording end with a note.
            .filter(|item| !item.as_str().is_some_and(|text| text.starts_with('…')))
            .try_for_each(|item| keeps(rest, types, item));
    }
    let (name, optional) = match step.strip_suffix('?') {
        Some(name) => (name, true),
        None => (*step, false),
    };
    match value.get(name) {
        None if optional || value.get("…").is_some() => Ok(()),
        None => Err(format!("`{name}` is missing")),
        Some(inner) => keeps(rest, types, inner),
    }
}

fn is(word: &str, value: &Value) -> bool {
    match word {
        "str" => value.is_string(),
        "int" => value.is_i64() || value.is_u64(),
        "num" => value.is_number(),
        "bool" => value.is_boolean(),
        "null" => value.is_null(),
        "list" => value.is_array(),
        "map" => value.is_object(),
        "any" => true,
        other => panic!("no such type: {other}"),
    }
}

/// Members that both have and whose types differ. Null fits everything; a number in a recording is a number.
pub(crate) fn type_clashes(recorded: &Value, ours: &Value, path: &str, out: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (name, theirs) in recorded {
                if let Some(mine) = ours.get(name) {
                    type_clashes(theirs, mine, &format!("{path}/{name}"), out);
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            let model = recorded
                .iter()
                .find(|item| !item.is_string() || recorded.len() == 1);
            if let Some(model) = model {
                for (at, mine) in ours.iter().enumerate() {
                    type_clashes(model, mine, &format!("{path}/{at}"), out);
                }
            }
        }
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => {}
        // A message's content is a text or a list of parts in every release.
        (Value::String(_), Value::Array(_)) | (Value::Array(_), Value::String(_))
            if path.ends_with("/content") => {}
        _ => out.push(format!("{path}: recorded {recorded:.60}, ours {ours:.60}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_finds_what_is_missing_and_what_has_another_type() {
        let rule = "a:int b?:str list[].x:str|null any:any";
        let good = json!({ "a": 1, "list": [{ "x": "y" }, { "x": null }], "any": [] });
        assert_eq!(broken(rule, &good), Vec::<String>::new());
        let bad = json!({ "a": "1", "b": 2, "list": [{}], "any": 1 });
        assert_eq!(broken(rule, &bad).len(), 3);
        assert_eq!(broken(":list", &json!({})).len(), 1);
        assert_eq!(broken("[].id:str", &json!([{ "id": 1 }])).len(), 1);
    }

    #[test]
    fn members_of_another_type_are_found_wherever_they_are() {
        let mut found = Vec::new();
        let recorded = json!({ "a": [{ "b": 1, "c": "x" }], "d": null });
        let ours = json!({ "a": [{ "b": "1", "c": "y" }], "d": {} });
        type_clashes(&recorded, &ours, "", &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
