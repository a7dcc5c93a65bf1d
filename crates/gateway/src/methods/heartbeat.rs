//! `last-heartbeat`, `set-heartbeats`, `wake`, `system-event`.

use serde_json::Value;

use adjutant_domain::code::Code;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::heartbeat::{
    Done, HeartbeatsSet, LastHeartbeat, SetHeartbeats, SetHeartbeatsParams, SystemEvent,
    SystemEventParams, Wake, WakeParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

impl Handle<LastHeartbeat> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<Option<Value>, Fault> {
        Ok(None)
    }
}

impl Handle<SetHeartbeats> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SetHeartbeatsParams,
    ) -> Result<HeartbeatsSet, Fault> {
        if params.enabled {
            return Err(no_heartbeat());
        }
        Ok(HeartbeatsSet {
            ok: true,
            enabled: false,
        })
    }
}

impl Handle<Wake> for Core {
    async fn handle(&self, _caller: &Caller, _params: WakeParams) -> Result<Done, Fault> {
        Err(no_heartbeat())
    }
}

impl Handle<SystemEvent> for Core {
    async fn handle(&self, _caller: &Caller, _params: SystemEventParams) -> Result<Done, Fault> {
        Err(no_heartbeat())
    }
}

fn no_heartbeat() -> Fault {
    Fault::new(
        Code::Unavailable,
        "agents of this gateway do not wake by themselves yet",
    )
    .with_hint("send the agent a message with chat.send")
}
