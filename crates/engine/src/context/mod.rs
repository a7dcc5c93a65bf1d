//! What the model is shown: a stable beginning, then the conversation within a token budget.

mod compact;
mod fence;
mod fit;
mod prefix;
mod recall;
mod tails;

use adjutant_domain::message::{Message, Part, Role};
use adjutant_ports::provider::ModelMessage;

pub(crate) use compact::compact;
pub(crate) use fence::fenced;
pub(crate) use prefix::{Prefix, Prefixes};
pub use prefix::{STANDING_PROMPT, standing_bytes};
pub(crate) use recall::recalled;
pub(crate) use tails::Tails;

use crate::drive::{Cx, Halt};

/// Bytes of text that one token stands for, on average over English and code. For choosing what fits, never for money.
pub(crate) const BYTES_PER_TOKEN: usize = 4;

/// The conversation as the model will see it, oldest first, within `tokens`.
pub(crate) async fn conversation(cx: &mut Cx, tokens: usize) -> Result<Vec<ModelMessage>, Halt> {
    let recalled = recalled(cx).await?;
    let run = cx.run.id;
    let input = cx
        .history()
        .await?
        .iter()
        .rposition(|m| m.run == Some(run) && m.role == Role::User);
    let history = cx.history().await?;
    let mut out: Vec<ModelMessage> = Vec::with_capacity(history.len());
    for index in fit::window(history, run, tokens * BYTES_PER_TOKEN) {
        let message = &history[index];
        let mut shown = shown(message);
        if Some(index) == input && !recalled.is_empty() {
            shown.parts.insert(
                0,
                Part::Text {
                    text: recalled.clone(),
                },
            );
        }
        out.push(shown);
    }
    fit::shorten_results(&mut out, tokens * BYTES_PER_TOKEN);
    fit::pair_up(&mut out);
    fit::in_order(&mut out);
    Ok(out)
}

pub(crate) fn shown(message: &Message) -> ModelMessage {
    match message.role {
        Role::Summary => ModelMessage {
            role: Role::User,
            parts: vec![Part::Text {
                text: fence::fenced(
                    "earlier-conversation",
                    message.id.as_u128(),
                    &message.text(),
                ),
            }],
        },
        // Not everything that comes as a message was said by the owner: what a page sent is data.
        Role::User => ModelMessage {
            role: Role::User,
            parts: message
                .parts
                .iter()
                .map(|part| fence::said(part, message))
                .collect(),
        },
        Role::Assistant => ModelMessage {
            role: Role::Assistant,
            parts: message.parts.clone(),
        },
        Role::Tool => ModelMessage {
            role: Role::Tool,
            parts: message
                .parts
                .iter()
                .map(|part| fence::result(part, message))
                .collect(),
        },
    }
}

/// Roughly how many bytes a message costs on the wire.
pub(crate) fn message_bytes(message: &ModelMessage) -> usize {
    fit::bytes(&message.parts)
}
