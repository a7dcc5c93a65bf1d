//! Devices and pairing.

use clap::{Args, Subcommand, ValueEnum};

use adjutant_domain::time::Span;

use super::Removal;

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// A person's surface.
    Operator,
    /// A machine that lends its abilities.
    Node,
}

/// Which device.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeviceArg {
    /// The device: its id, or the beginning of it (six or more digits).
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
}

/// Devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// List devices and the requests that wait for an answer.
    #[command(after_help = "EXAMPLES:
  adjutant devices list
  adjutant devices list --json | jq .paired")]
    List,
    /// Show one device.
    #[command(after_help = "EXAMPLES:
  adjutant devices show 13db86a4b5da")]
    Show {
        #[command(flatten)]
        device: DeviceArg,
    },
    /// Let a device in that waits (the same as `pairing approve`).
    #[command(after_help = "EXAMPLES:
  adjutant devices approve pair_01JD…
  adjutant devices approve 7K2M-9QXD --yes")]
    Approve {
        /// The request, or the code that the device shows.
        #[arg(value_name = "REQUEST")]
        request: String,
    },
    /// Refuse a device that waits (the same as `pairing reject`).
    #[command(after_help = "EXAMPLES:
  adjutant devices reject pair_01JD…")]
    Reject {
        /// The request.
        #[arg(value_name = "REQUEST")]
        request: String,
    },
    /// Remove a device and end its connections.
    #[command(after_help = "EXAMPLES:
  adjutant devices remove 13db86a4b5da --dry-run
  adjutant devices remove 13db86a4b5da --yes")]
    Remove {
        #[command(flatten)]
        device: DeviceArg,
        #[command(flatten)]
        removal: Removal,
    },
    /// Replace a device's token and end the connections that used the old one.
    #[command(after_help = "EXAMPLES:
  adjutant devices rotate 13db86a4b5da
  adjutant devices rotate 13db86a4b5da --role node --json")]
    Rotate {
        #[command(flatten)]
        device: DeviceArg,
        /// For which role.
        #[arg(long, value_enum, default_value_t = RoleArg::Operator, value_name = "ROLE")]
        role: RoleArg,
    },
    /// Take a role away from a device and end its connections. Only an approval gives it back.
    #[command(after_help = "EXAMPLES:
  adjutant devices revoke 13db86a4b5da
  adjutant devices revoke 13db86a4b5da --role node --yes")]
    Revoke {
        #[command(flatten)]
        device: DeviceArg,
        /// Which role.
        #[arg(long, value_enum, default_value_t = RoleArg::Operator, value_name = "ROLE")]
        role: RoleArg,
        #[command(flatten)]
        removal: Removal,
    },
    /// Give a device another name.
    #[command(after_help = "EXAMPLES:
  adjutant devices rename 13db86a4b5da attic")]
    Rename {
        #[command(flatten)]
        device: DeviceArg,
        /// The name.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Pairing.
#[derive(Debug, Subcommand)]
pub(crate) enum PairingCommand {
    /// List requests that wait for an answer.
    #[command(after_help = "EXAMPLES:
  adjutant pairing list")]
    List,
    /// Let a device in: compare code and fingerprint with what it shows.
    #[command(after_help = "EXAMPLES:
  adjutant pairing approve 7K2M-9QXD
  adjutant pairing approve pair_01JD… --yes")]
    Approve {
        /// The request, or the code that the device shows.
        #[arg(value_name = "REQUEST")]
        request: String,
    },
    /// Refuse a device.
    #[command(after_help = "EXAMPLES:
  adjutant pairing reject pair_01JD…")]
    Reject {
        /// The request.
        #[arg(value_name = "REQUEST")]
        request: String,
    },
    /// Make a code that lets one new device in, once, and show it as text and as a picture.
    #[command(after_help = "EXAMPLES:
  adjutant pairing code --url wss://box.example:8443
  adjutant pairing code --role operator --role node --for 2m")]
    Code {
        /// The roles it gives; `operator` when absent.
        #[arg(long = "role", value_enum, value_name = "ROLE")]
        roles: Vec<RoleArg>,
        /// The scopes it gives (`operator.read`); read and write when absent.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Where the device reaches the gateway; `wss://` unless it is on this machine.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// How long it can be used, `10s` to `10m`.
        #[arg(long = "for", value_name = "TIME")]
        life: Option<Span>,
    },
}
