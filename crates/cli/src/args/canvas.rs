//! What agents show.

use clap::Subcommand;

/// What agents show.
#[derive(Debug, Subcommand)]
pub(crate) enum CanvasCommand {
    /// Print an address that shows a canvas to whoever opens it, until fifteen minutes after the last look.
    #[command(after_help = "EXAMPLES:
  adjutant canvas open
  adjutant canvas open --ui --session agent:main:main")]
    Open {
        /// Whose canvas; the main session when absent.
        #[arg(long, value_name = "KEY")]
        session: Option<String>,
        /// The surfaces of A2UI instead of the pages.
        #[arg(long)]
        ui: bool,
    },
    /// List the files of a canvas.
    #[command(after_help = "EXAMPLES:
  adjutant canvas list")]
    List {
        /// Whose canvas; the main session when absent.
        #[arg(long, value_name = "KEY")]
        session: Option<String>,
    },
    /// Give messages of A2UI to the surfaces of a canvas.
    #[command(after_help = "EXAMPLES:
  adjutant canvas push form.jsonl")]
    Push {
        /// One message a line, or a list.
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
        /// Whose canvas; the main session when absent.
        #[arg(long, value_name = "KEY")]
        session: Option<String>,
    },
    /// Take away the surfaces of a canvas.
    #[command(after_help = "EXAMPLES:
  adjutant canvas reset")]
    Reset {
        /// Only this one.
        #[arg(value_name = "SURFACE")]
        surface: Option<String>,
        /// Whose canvas; the main session when absent.
        #[arg(long, value_name = "KEY")]
        session: Option<String>,
    },
}
