//! Requests in frames after the handshake, with the two answers of `agent`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::value::RawValue;

use adjutant_domain::code::Code;
use adjutant_protocol::methods::agent::{AgentReply, AgentStatus};
use adjutant_protocol::methods::exec_approvals::ExecApprovalReply;
use adjutant_protocol::{
    Codec as _, Fault, Frames, Kind, MethodSpec, Outbound, Refused, Reply, Request, RequestId,
};

use crate::call::role_fits;
use crate::socket::hello::JSONRPC_ONLY;
use crate::socket::{Farewell, Link, crowded};

/// Calls in a row that the role may not make before the connection is closed.
const WRONG_ROLES_MAX: u32 = 10;

/// What is answered twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    /// A run: accepted, then its end.
    Run,
    /// A question: accepted, then the decision.
    Question,
}

impl Twice {
    fn of(spec: &MethodSpec) -> Option<Self> {
        match (spec.reply, spec.name) {
            (Reply::Once, _) => None,
            (Reply::AckThenFinal, "exec.approval.request") => Some(Self::Question),
            (Reply::AckThenFinal, _) => Some(Self::Run),
        }
    }
}

impl Link {
    pub(super) fn receive_frame(self: &Arc<Self>, codec: Frames, item: Result<Request, Refused>) {
        let request = match item {
            Ok(request) => request,
            Err(refused) => return self.refuse_frame(codec, &refused.id, &refused.fault),
        };
        let Request {
            id: Some(id),
            method,
            params,
        } = request
        else {
            return;
        };
        if method == "connect" {
            let fault = Fault::new(
                Code::InvalidRequest,
                "connect is only valid as the first request",
            );
            return self.refuse_frame(codec, &id, &fault);
        }
        if JSONRPC_ONLY.contains(&method.as_str()) {
            return self.refuse_frame(codec, &id, &Fault::unknown_method(&method));
        }
        if role_fits(self.caller.role, &method) {
            self.wrong_roles.store(0, Ordering::Relaxed);
        } else if self.wrong_roles.fetch_add(1, Ordering::Relaxed) >= WRONG_ROLES_MAX {
            // Answered first; the client that goes on anyway is not listening.
            return self.outbox.cut(Farewell::new(1008, "unauthorized role"));
        }
        let Some(permit) = self.permit(1) else {
            return self.refuse_frame(codec, &id, &crowded());
        };
        let call = match self.core.prepare(&self.caller, &method, params) {
            Ok(call) => call,
            Err(fault) => return self.refuse_frame(codec, &id, &fault),
        };
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let (reads, twice) = (call.spec.kind == Kind::Read, Twice::of(call.spec));
            let answer = link.core.run_call(&link.caller, call);
            let Some(result) = link.until_gone(reads, answer).await else {
                return;
            };
            match result {
                Ok(payload) if twice == Some(Twice::Run) => {
                    link.answer_run(codec, &id, &payload).await;
                }
                Ok(payload) if twice == Some(Twice::Question) => {
                    link.answer_question(codec, &id, &payload).await;
                }
                result => {
                    let reply = codec.encode(Outbound::Reply {
                        id: &id,
                        result: result.as_deref(),
                    });
                    link.outbox.reply(reply).await;
                }
            }
            drop(permit);
        });
    }

    fn refuse_frame(&self, codec: Frames, id: &RequestId, fault: &Fault) {
        self.say(codec.encode(Outbound::Reply {
            id,
            result: Err(fault),
        }));
    }

    /// Accepted, then the end; or only the end, when it is a repeat of something that is over.
    async fn answer_run(&self, codec: Frames, id: &RequestId, payload: &RawValue) {
        let Ok(first) = serde_json::from_str::<AgentReply>(payload.get()) else {
            return;
        };
        if first.status != AgentStatus::Accepted {
            return self.answer_end(codec, id, &first).await;
        }
        self.outbox
            .reply(codec.encode(Outbound::Reply {
                id,
                result: Ok(payload),
            }))
            .await;
        let end = self.core.agent_end(&self.caller.owner, &first.run_id);
        match self.gone.run_until_cancelled(end).await {
            Some(Ok(end)) => self.answer_end(codec, id, &end).await,
            Some(Err(fault)) => {
                self.outbox
                    .reply(codec.encode(Outbound::Reply {
                        id,
                        result: Err(&fault),
                    }))
                    .await;
            }
            None => {}
        }
    }

    /// Accepted, then the decision; or only the decision, when that was asked for.
    async fn answer_question(&self, codec: Frames, id: &RequestId, payload: &RawValue) {
        self.outbox
            .reply(codec.encode(Outbound::Reply {
                id,
                result: Ok(payload),
            }))
            .await;
        let Ok(first) = serde_json::from_str::<ExecApprovalReply>(payload.get()) else {
            return;
        };
        if first.status.is_none() {
            return;
        }
        let end = self.core.exec_approval_end(&first.id);
        let Some(end) = self.gone.run_until_cancelled(end).await else {
            return;
        };
        let end = end.and_then(|end| {
            serde_json::value::to_raw_value(&end)
                .map_err(|e| Fault::new(Code::Internal, e.to_string()))
        });
        self.outbox
            .reply(codec.encode(Outbound::Reply {
                id,
                result: end.as_deref(),
            }))
            .await;
    }

    async fn answer_end(&self, codec: Frames, id: &RequestId, end: &AgentReply) {
        let Ok(payload) = serde_json::value::to_raw_value(end) else {
            return;
        };
        let reply = if end.status == AgentStatus::Error {
            let fault = Fault::new(Code::Unavailable, end.summary.clone().unwrap_or_default());
            codec.encode(Outbound::Failed {
                id,
                fault: &fault,
                payload: &payload,
            })
        } else {
            codec.encode(Outbound::Reply {
                id,
                result: Ok(&payload),
            })
        };
        self.outbox.reply(reply).await;
    }
}
