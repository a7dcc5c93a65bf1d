//! Nodes of a gateway, from the operator's side.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use adjutant_domain::node::Group;
use adjutant_domain::time::Span;

/// Nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// List nodes and what they offer.
    #[command(after_help = "EXAMPLES:
  adjutant nodes list
  adjutant nodes list --json | jq '.nodes[].displayName'")]
    List,
    /// Show one node.
    #[command(after_help = "EXAMPLES:
  adjutant nodes show studio")]
    Show {
        /// Name, id, or the beginning of the id.
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// List what nodes offer and nobody has approved yet.
    #[command(after_help = "EXAMPLES:
  adjutant nodes pending")]
    Pending,
    /// Approve what a node offers.
    #[command(after_help = "EXAMPLES:
  adjutant nodes approve studio")]
    Approve {
        /// Name or id of the node, or the id of the request.
        #[arg(value_name = "NODE")]
        request: String,
    },
    /// Refuse what a node offers; what was approved before stays.
    #[command(after_help = "EXAMPLES:
  adjutant nodes reject studio")]
    Reject {
        /// Name or id of the node, or the id of the request.
        #[arg(value_name = "NODE")]
        request: String,
    },
    /// Give a node another name.
    #[command(after_help = "EXAMPLES:
  adjutant nodes rename 3f9a2c \"living room\"")]
    Rename {
        /// Name, id, or the beginning of the id.
        #[arg(value_name = "NODE")]
        node: String,
        /// The new name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Ask a node for one command and print its answer.
    ///
    /// Pictures and films go into a file with `--output`.
    #[command(after_help = "EXAMPLES:
  adjutant nodes invoke studio system.which --params '{\"bins\":[\"git\"]}'
  adjutant nodes invoke phone camera.snap --output snap.jpg")]
    Invoke {
        /// Name, id, or the beginning of the id.
        #[arg(value_name = "NODE")]
        node: String,
        /// The command.
        #[arg(value_name = "COMMAND")]
        command: String,
        /// Parameters as JSON.
        #[arg(long, value_name = "JSON")]
        params: Option<String>,
        /// Write the picture or film into this file.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Wait for a node that is away, until the time is over (`--timeout`, by default 30s).
        #[arg(long)]
        queue: bool,
    },
    /// Run a program on a node. You approve it by running this; the node's own rules must allow it, too.
    #[command(after_help = "EXAMPLES:
  adjutant nodes run studio -- uname -a
  adjutant nodes run studio --cwd /srv -- git pull")]
    Run {
        /// Name, id, or the beginning of the id.
        #[arg(value_name = "NODE")]
        node: String,
        /// The folder on the node.
        #[arg(long, value_name = "DIR")]
        cwd: Option<String>,
        /// Program and arguments.
        #[arg(
            value_name = "PROGRAM",
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        argv: Vec<String>,
    },
    /// Let private commands (camera, screen, location, …) through for a while.
    #[command(
        subcommand,
        after_help = "EXAMPLES:
  adjutant nodes lease list
  adjutant nodes lease arm camera --node phone --for 5m"
    )]
    Lease(LeaseCommand),
}

/// Leases.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// List what is armed.
    #[command(after_help = "EXAMPLES:
  adjutant nodes lease list")]
    List,
    /// Arm a group of commands. It ends by itself, at the latest with the gateway.
    #[command(after_help = "EXAMPLES:
  adjutant nodes lease arm camera
  adjutant nodes lease arm screen --node studio --for 30m --uses 1")]
    Arm {
        /// What to let through.
        #[arg(value_name = "GROUP")]
        group: LeaseGroup,
        /// On this node only.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// For how long, `10s` to `4h`.
        #[arg(long = "for", value_name = "TIME", default_value = "10m")]
        span: Span,
        /// How often, 1 to 100.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
        uses: Option<u32>,
    },
    /// End what is armed: all of it, or one group.
    #[command(after_help = "EXAMPLES:
  adjutant nodes lease end
  adjutant nodes lease end camera")]
    End {
        /// Only this group.
        #[arg(value_name = "GROUP")]
        group: Option<LeaseGroup>,
    },
}

/// A group of private commands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LeaseGroup {
    /// Pictures and clips.
    Camera,
    /// Pictures and films of the screen.
    Screen,
    /// Where the device is.
    Location,
    /// Writing into calendar, contacts, reminders.
    Writes,
    /// Sending messages.
    Messages,
    /// Reading calendar, contacts, reminders, photos, motion.
    Private,
}

impl From<LeaseGroup> for Group {
    fn from(group: LeaseGroup) -> Self {
        match group {
            LeaseGroup::Camera => Self::Camera,
            LeaseGroup::Screen => Self::Screen,
            LeaseGroup::Location => Self::Location,
            LeaseGroup::Writes => Self::Writes,
            LeaseGroup::Messages => Self::Messages,
            LeaseGroup::Private => Self::Private,
        }
    }
}
