//! What becomes of a press: a message to the agent, or a reason why not.
//!
//! A page that the agent wrote, or that was put before the agent, can say anything at any time, pressed or not. So what
//! arrives is fenced data that lowers the trust of the run like any page from outside; it never stands for the owner's
//! words, and it answers no question: approvals are given elsewhere.

use std::sync::Arc;

use serde_json::json;

use adjutant_domain::id::ClientKey;
use adjutant_domain::label::{Label, Origin, Trust};
use adjutant_domain::run::Work;
use adjutant_protocol::Fault;

use super::a2ui::WITHHELD;
use super::live::Pressed;
use super::{Room, Ticket};
use crate::core::Core;
use crate::methods::Wish;

/// Bytes of what a press brings along.
const CONTEXT_BYTES_MAX: usize = 16 << 10;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 128;

/// Why a press came to nothing. Said to whoever pressed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("its name or id cannot be used")]
    Name,
    #[error("it brings more than {CONTEXT_BYTES_MAX} bytes along")]
    Context,
    #[error("too many at once; wait a moment")]
    TooOften,
    #[error("nothing on this surface sends it")]
    NotOffered,
    #[error("the agent cannot be told: {0}")]
    Gateway(String),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Gateway(fault.message)
    }
}

/// Takes a press. The same id is the same press, whenever it comes again.
pub(super) async fn take(
    core: &Core,
    room: &Arc<Room>,
    ticket: &Ticket,
    pressed: &Pressed,
) -> Result<(), Refused> {
    let plain = |text: &str| {
        let n = text.chars().count();
        (1..=NAME_CHARS_MAX).contains(&n) && !text.chars().any(char::is_control)
    };
    if !plain(&pressed.name) || !plain(&pressed.id) {
        return Err(Refused::Name);
    }
    let mut context = pressed.context.clone().unwrap_or_default();
    if CONTEXT_BYTES_MAX < json!(context).to_string().len() {
        return Err(Refused::Context);
    }
    if !room.may_act(core.deps.clock.monotonic()) {
        return Err(Refused::TooOften);
    }
    let (name, component) = (&pressed.name, pressed.source_component_id.as_deref());
    let (what, label) = match &pressed.surface_id {
        Some(surface) => {
            let component = component.unwrap_or_default();
            let Some(withheld) = room.withheld(surface, component, name) else {
                return Err(Refused::NotOffered);
            };
            for key in withheld {
                if let Some(value) = context.get_mut(&key) {
                    *value = json!(WITHHELD);
                }
            }
            // Drawn by our renderer from what the agent said: data, but not a stranger's.
            let label = Label {
                origin: Origin::Web {
                    url: format!("/a2ui/{surface}"),
                },
                trust: Trust::Workspace,
            };
            let what =
                json!({ "surfaceId": surface, "sourceComponentId": component, "context": context });
            (what, label)
        }
        None => {
            let page: String = pressed
                .page
                .as_deref()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect();
            let url = format!("/canvas/{page}");
            (
                json!({ "page": page, "context": context }),
                Label::of(Origin::Web { url }),
            )
        }
    };
    let text = format!("ui action: {name}\n{what}");
    let key = ClientKey::parse(format!("ui-{}-{}", room.session, pressed.id))
        .map_err(|_odd| Refused::Name)?;
    tracing::info!(session = %room.session, by = ticket.given_to, "a view sent an action");
    core.take_rate().await?;
    core.accept(Wish {
        method: "a2ui.action",
        key: &room.key,
        client_key: &key,
        message: Some(&text),
        work: Work::Chat,
        model: None,
        timeout: None,
        thread: None,
        label: None,
        needs: None,
        said_by: label,
    })
    .await?;
    Ok(())
}
