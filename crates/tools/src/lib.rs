//! What an agent can do out of the box.
//!
//! Each tool is one file: the arguments as a type, the schema made from that type, and the act. A tool only receives
//! permits; it never learns why one was given. What lies outside is reached through ports alone: files beneath the
//! agent's roots, processes behind the walls, pages through the network broker. Begin reading at `tool.rs`.

mod canvas;
mod code;
mod config;
mod cut;
mod data;
mod files;
mod memory;
mod nodes;
mod process;
mod shell;
mod talk;
mod thread;
mod tool;
mod web;

use std::path::PathBuf;
use std::sync::Arc;

use adjutant_ports::sandbox::ProcessLimits;
use adjutant_ports::store::MemoryStore;
use adjutant_ports::{Canvas, Egress, Nodes, Sandbox, Tool};

pub use config::{Config, Finding, Shell, Web};

use tool::Built;

/// The tools that ask other devices, for a process whose gateway has some.
#[must_use]
pub fn nodes(door: &Arc<dyn Nodes>, config: &Config) -> Vec<Arc<dyn Tool>> {
    let shown_max = config.output_bytes;
    vec![
        Built::share(nodes::List::new(Arc::clone(door), shown_max)),
        Built::share(nodes::Look::new(Arc::clone(door), shown_max)),
        Built::share(nodes::Invoke::new(Arc::clone(door), shown_max)),
    ]
}

/// The tools that show something, for a process whose gateway has a canvas.
#[must_use]
pub fn canvas(door: &Arc<dyn Canvas>, config: &Config) -> Vec<Arc<dyn Tool>> {
    vec![
        Built::share(canvas::Write::new(Arc::clone(door))),
        Built::share(canvas::Read::new(Arc::clone(door), config.output_bytes)),
        Built::share(canvas::Show::new(Arc::clone(door))),
        Built::share(canvas::Ui::new(Arc::clone(door))),
    ]
}

/// The doors the tools go through. Files come with each call ([`adjutant_ports::ToolCx::files`]).
#[derive(Clone)]
pub struct Parts {
    /// Walls for processes.
    pub sandbox: Arc<dyn Sandbox>,
    /// The way to the network.
    pub egress: Arc<dyn Egress>,
    /// Facts to recall.
    pub memories: Arc<dyn MemoryStore>,
    /// Our own state, hidden from every process.
    pub state_dir: PathBuf,
    /// Ceilings of one process, as the sandbox is configured; the wall-clock part is set for each call.
    pub limits: ProcessLimits,
}

/// The built-in tools, in the order they are offered to a model.
#[must_use]
pub fn builtin(parts: &Parts, config: &Config) -> Vec<Arc<dyn Tool>> {
    let shown_max = config.output_bytes;
    let runner = || process::Runner::new(parts, config);
    vec![
        Built::share(files::Read::new(shown_max)),
        Built::share(files::List::new(shown_max)),
        Built::share(files::Search::new(shown_max)),
        Built::share(files::Write::new()),
        Built::share(files::Edit::new()),
        Built::share(files::ApplyPatch::new()),
        Built::share(shell::Run::new(runner())),
        Built::share(code::Run::new(runner())),
        Built::share(web::Fetch::new(
            Arc::clone(&parts.egress),
            &config.web,
            shown_max,
        )),
        Built::share(memory::Search::new(Arc::clone(&parts.memories))),
        Built::share(memory::Write::new(Arc::clone(&parts.memories))),
        Built::share(memory::Forget::new(Arc::clone(&parts.memories))),
        Built::share(data::Query::new(shown_max)),
        Built::share(talk::AskUser::new()),
    ]
}
