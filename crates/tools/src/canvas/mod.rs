//! What the owner is shown: pages, and surfaces of controls.

mod read;
mod show;
mod ui;
mod write;

pub(crate) use read::Read;
pub(crate) use show::Show;
pub(crate) use ui::Ui;
pub(crate) use write::Write;

use adjutant_ports::ToolCx;
use adjutant_ports::canvas::{CanvasError, CanvasOf};

use crate::tool::Halt;

/// The canvas of the conversation that a call is part of.
fn of(cx: &ToolCx) -> CanvasOf {
    CanvasOf {
        owner: cx.owner.clone(),
        session: cx.session,
    }
}

/// How many see it, and what to do when nobody does.
fn seen_by(views: usize) -> String {
    match views {
        0 => "No view is open; the owner opens the canvas in a surface or with `adjutant canvas open`.".to_owned(),
        1 => "1 view is open.".to_owned(),
        n => format!("{n} views are open."),
    }
}

impl From<CanvasError> for Halt {
    fn from(error: CanvasError) -> Self {
        Self::failed(error.to_string())
    }
}
