//! The method table: one file per namespace, one row per method.
//!
//! A row gives the marker type, the bound in [`Server`] (a method without a handler does not compile), the arm in
//! [`call`], the schema of both types and a page in the reference.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;

use adjutant_domain::code::Code;

use crate::access::Caller;
use crate::fault::Fault;
use crate::method::{Method, MethodSpec};

pub mod agent;
pub mod agents;
pub mod approvals;
pub mod budget;
pub mod canvas;
pub mod catalogue;
pub mod channels;
pub mod chat;
pub mod common;
pub mod config;
pub mod cron;
pub mod devices;
pub mod exec_approvals;
pub mod heartbeat;
pub mod logs;
pub mod memory;
pub mod models;
pub mod nodes;
pub mod panels;
pub mod runs;
pub mod session_views;
pub mod sessions;
pub mod system;
pub mod threads;
pub mod tools;
pub mod usage;
pub mod workers;

macro_rules! namespaces {
    ($($module:ident)*) => {
        /// Answers every method.
        pub trait Server: $( $module::Serves + )* Send + Sync {}

        impl<T> Server for T where T: $( $module::Serves + )* Send + Sync {}

        /// Every row, namespace by namespace.
        pub const NAMESPACES: &[(&str, &[MethodSpec])] = &[ $( (stringify!($module), $module::ROWS), )* ];

        /// Calls the method of this name.
        ///
        /// # Errors
        /// [`Code::UnknownMethod`], [`Code::InvalidParams`], and whatever the handler says. Access is not checked here:
        /// that comes before (see [`find`]).
        pub async fn call<S: Server>(
            server: &S,
            caller: &Caller,
            name: &str,
            params: &RawValue,
        ) -> Result<Box<RawValue>, Fault> {
            $( if $module::ROWS.iter().any(|row| row.name == name) {
                return $module::call(server, caller, name, params).await;
            } )*
            Err(Fault::unknown_method(name))
        }
    };
}

namespaces! {
    agent agents approvals budget canvas catalogue channels chat config cron devices exec_approvals heartbeat logs memory
    models nodes panels runs session_views sessions system threads tools usage workers
}

/// Every row.
pub fn specs() -> impl Iterator<Item = &'static MethodSpec> {
    NAMESPACES.iter().flat_map(|(_, rows)| rows.iter())
}

/// The row of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static MethodSpec> {
    specs().find(|row| row.name == name)
}

/// Reads the parameters of a method. Missing parameters count as `{}`; a list is not accepted.
pub(crate) fn decode<M: Method>(params: &RawValue) -> Result<M::Params, Fault> {
    read(M::NAME, params)
}

/// Reads an object of parameters and says which field does not fit.
///
/// # Errors
/// [`Code::InvalidParams`].
pub fn read<T: DeserializeOwned>(method: &str, params: &RawValue) -> Result<T, Fault> {
    let text = params.get();
    if !text.trim_start().starts_with('{') {
        return Err(Fault::params(method, "must be an object"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|e| Fault::params(method, reason(&e)))
}

/// serde's words, as clients of the protocol know them.
fn reason(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    let place = place(error.path());
    let at = |what: String| match place.as_str() {
        "" => what,
        place => format!("at {place}: {what}"),
    };
    if let Some(field) = text
        .strip_prefix("missing field `")
        .and_then(|t| t.strip_suffix('`'))
    {
        return at(format!("must have required property '{field}'"));
    }
    if let Some(rest) = text.strip_prefix("unknown field `")
        && let Some((field, known)) = rest.split_once('`')
    {
        let field: String = field.chars().take(64).collect();
        let known = known.strip_prefix(", ").unwrap_or(known);
        return format!("unexpected property '{field}' ({known})").replace(" ()", "");
    }
    at(text.chars().take(300).collect())
}

/// Where in the parameters, as a JSON pointer.
fn place(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{key}")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer.chars().take(200).collect()
}

pub(crate) fn encode<T: Serialize>(result: &T) -> Result<Box<RawValue>, Fault> {
    serde_json::value::to_raw_value(result).map_err(|e| {
        Fault::new(
            Code::Internal,
            format!("the answer could not be written: {e}"),
        )
    })
}
