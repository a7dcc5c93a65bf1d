//! The words of the architecture as types, and the pure rules over them.
//!
//! This crate never learns: I/O, async, the time of day, JSON-RPC, SQL. Begin reading at [`run`].

pub mod access;
pub mod agent;
pub mod approval;
pub mod code;
pub mod device;
pub mod event;
pub mod id;
pub mod label;
pub mod memory;
pub mod message;
pub mod money;
pub mod need;
pub mod node;
pub mod run;
pub mod session;
pub mod time;
pub mod tool;

pub use agent::{Agent, AgentLimits, ApprovalPolicy, TrustLevel};
pub use approval::{Approval, ApprovalState, Choice, Grant, GrantEffect};
pub use code::{Code, Coded};
pub use event::{Event, EventKind};
pub use id::{
    AgentId, ApprovalId, CallId, ClientKey, DeviceId, EventId, GrantId, IdError, MemoryId,
    MessageId, Need, OwnerId, PairingId, ReservationId, RunId, SessionId, SessionKey, ThreadId,
    WorkerId,
};
pub use label::{Label, Origin, Trust};
pub use memory::{Memory, MemoryKind, MemoryScope};
pub use message::{Message, Part, Role};
pub use money::{Cost, Micros, Price, Usage};
pub use need::Needs;
pub use run::{Entry, Fence, Limits, Logged, Outcome, Run, RunState, Seq, Wake};
pub use session::{Session, Thread};
pub use time::{Span, Timestamp};
pub use tool::{ActionClass, Effect, Operand, ToolCall, ToolOutcome, ToolSpec};
